"""Space: what a directory takes, gives back, and forgets for good."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from oracle import Oracle
from test_segments import SCHEMA, check, home, real_batch, seal, segments_of
from vermilion.api.client import Client
from vermilion.engine import EVERYTHING, Engine, Selection
from vermilion.errors import StorageError
from vermilion.local import compactor, eraser
from vermilion.local.builder import Builder
from vermilion.local.engine import LocalEngine
from vermilion.records import Batch
from words import ids, make, where

ROWS, DIMENSION = 3_000, 384
# Another process looks: closing a file that this one has open would drop SQLite's locks on it.
SCAN = """
import sys
from pathlib import Path
needles = [line.encode().decode("unicode_escape").encode("latin-1") for line in sys.stdin]
needles = [needle.rstrip(b"\\n") for needle in needles]
for path in Path(sys.argv[1]).rglob("*"):
    content = path.read_bytes() if path.is_file() else b""
    for needle in needles:
        if needle in content:
            print(path.name, needle[:20])
"""


@pytest.fixture(autouse=True)
def no_builder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Builder, "start", lambda *_: None)


def traces(folder: Path, needles: list[bytes]) -> str:
    """Which files hold which of these bytes."""
    lines = "".join("".join(f"\\x{byte:02x}" for byte in needle) + "\n" for needle in needles)
    done = subprocess.run(
        [sys.executable, "-c", SCAN, str(folder)],
        input=lines,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def random_batch(start: int, count: int = ROWS) -> Batch:
    random = np.random.default_rng(start)
    numbers = range(start, start + count)
    return Batch(
        [f"id{n}" for n in numbers],
        random.normal(size=(count, DIMENSION)).astype(np.float32),
        documents=[f"document {n} " * (1 + n % 7) for n in numbers],
        metadatas=[{"n": n} for n in numbers],
    )


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


# ── compaction ───────────────────────────────────────────────────────────────────────────────────


def test_compaction_gives_back_what_every_other_record_took(
    disk: LocalEngine, folder: Path, tmp_path: Path
) -> None:
    address, batch = make(disk), random_batch(0)
    disk.add(address, batch)
    odd = [id for n, id in enumerate(batch.ids) if n % 2]
    disk.delete(address, Selection(ids=odd))
    before = disk.get(address, EVERYTHING, ["documents", "vectors"])
    full = disk.stats(address)
    assert full.reclaimable_bytes > 0.4 * full.records_bytes
    given_back = disk.compact(address)
    stats = disk.stats(address)
    assert given_back == full.records_bytes - stats.records_bytes > 0.4 * full.records_bytes
    assert stats.wal_bytes == 0
    after = disk.get(address, EVERYTHING, ["documents", "vectors"])
    assert after.ids == before.ids and after.documents == before.documents
    assert np.array_equal(after.vectors, before.vectors)  # type: ignore[arg-type]
    assert disk.check(deep=True) == []
    fresh = LocalEngine(tmp_path / "fresh")
    assert after.vectors is not None
    fresh.add(make(fresh), Batch(after.ids, after.vectors, documents=after.documents))
    fresh.compact(fresh.get_collection("things", address.tenant, address.database).address)
    assert size(folder) <= 1.5 * size(tmp_path / "fresh")
    fresh.close()


def test_nothing_is_rewritten_where_nothing_is_to_be_had(disk: LocalEngine) -> None:
    address = make(disk)
    disk.add(address, random_batch(0, 500))
    stats = disk.stats(address)
    assert stats.reclaimable_bytes < 0.1 * stats.records_bytes
    assert disk.compact(address) == 0


def test_a_builder_compacts_a_bloated_file(
    disk: LocalEngine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compactor, "SMALL_FILE", 0)
    address = make(disk, space="cosine")
    disk.add(address, real_batch(1000))
    disk.delete(address, where({"n": {"$lt": 700}}))
    bloated = disk.stats(address).records_bytes
    seal(folder, address)
    assert disk.stats(address).records_bytes < bloated / 2
    assert disk.check(deep=True) == []


def test_readers_and_writers_go_on_while_it_is_compacted(
    disk: LocalEngine, other: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = make(disk)
    disk.add(address, random_batch(0, 600))
    disk.delete(address, where({"n": {"$lt": 300}}))
    monkeypatch.setattr(compactor, "ROWS", 50)
    pack, turns = compactor._pack_some, []

    def between(*arguments: object) -> object:
        turns.append(pack(*arguments))  # type: ignore[arg-type]
        return turns[-1]

    def pack_table(store: object, table: object) -> None:
        real(store, table)  # type: ignore[arg-type]
        other.add(address, random_batch(1000 * (len(turns) + 1), 3))
        other.delete(address, ids("id301"))

    real = compactor._pack
    monkeypatch.setattr(compactor, "_pack_some", between)
    monkeypatch.setattr(compactor, "_pack", pack_table)
    disk.compact(address)
    assert len(turns) > 12
    assert disk.count(address) == 299 + 9
    assert disk.check(deep=True) == other.check(deep=True) == []


def test_stats_of_nothing_and_of_memory(engine: Engine) -> None:
    address = make(engine)
    assert engine.stats(address).rows == 0
    assert engine.compact(address) == 0
    engine.add(address, random_batch(0, 20))
    stats = engine.stats(address)
    assert stats.rows == stats.tail_rows == 20
    assert stats.records_bytes > stats.live_bytes // 2 > 0
    assert engine.check(deep=True) == []


def test_the_client_tells_and_gives_back(client: Client) -> None:
    collection = client.create_collection("things", embedding_function=None)
    collection.add(["a"], [[1.0, 2.0]], documents=["one"])
    assert client.stats() == {"things": collection.stats()}
    assert client.stats()["things"].rows == 1
    assert client.compact() + collection.compact() >= 0
    assert client.check(deep=True) == []
    assert collection.delete(["a"], secure=True) == {"deleted": 1}


def test_a_deleted_collection_leaves_no_file(disk: LocalEngine, folder: Path) -> None:
    address = make(disk, space="cosine")
    disk.add(address, real_batch(50))
    seal(folder, address)
    disk.delete_collection("things", address.tenant, address.database)
    assert list((folder / "collections").iterdir()) == []


# ── secure deletion ──────────────────────────────────────────────────────────────────────────────


def secret_batch(count: int, turn: int = 0) -> Batch:
    random = np.random.default_rng(turn)
    return Batch(
        [f"<id{n:05d}>" for n in range(count)],
        random.normal(size=(count, 32)).astype(np.float32),
        documents=[f"<doc{n:05d}>" + "x" * int(random.integers(0, 400)) for n in range(count)],
        metadatas=[{"secret": f"<meta{n:05d}>"} for n in range(count)],
    )


@pytest.mark.parametrize("reach", ["ids", "filter"])
def test_no_byte_is_left_of_what_was_deleted_securely(
    disk: LocalEngine, other: LocalEngine, folder: Path, reach: str
) -> None:
    address, oracle = make(disk, space="cosine", schema=SCHEMA), Oracle("cosine")
    for turn in range(5):  # growing documents make SQLite move cells from page to page
        batch = secret_batch(1500, turn)
        disk.upsert(address, batch)
        oracle.upsert(batch)
        if turn == 3:
            seal(folder, address)
    other.count(address, where({"secret": "x"}))  # it has the index files open
    gone = list(range(0, 1500, 7))
    names = [f"<id{n:05d}>" for n in gone]
    marks = [f"<{kind}{n:05d}>".encode() for kind in ("id", "doc", "meta") for n in gone]
    assert batch.vectors is not None
    marks += [batch.vectors[n].tobytes() for n in gone]
    assert traces(folder, marks) != ""
    by_filter = where({"secret": {"$in": [f"<meta{n:05d}>" for n in gone]}})
    selection = Selection(ids=names) if reach == "ids" else by_filter
    assert disk.delete(address, selection, secure=True).deleted == len(gone)
    oracle.delete(Selection(ids=names))
    assert traces(folder, marks) == ""
    for engine in (disk, other):
        assert engine.get(address).ids == oracle.selected(EVERYTHING)
        [hits] = engine.query(address, batch.vectors[:1], 10)
        oracle.check_hits(hits, batch.vectors[0], 10, EVERYTHING)
    assert disk.check(deep=True) == []
    seal(folder, address)
    assert traces(folder, marks) == ""


def test_copies_that_sqlite_left_in_unused_parts_of_pages_are_gone(
    disk: LocalEngine, folder: Path
) -> None:
    """Without writing the file anew one of these documents would stay, under its id."""
    address, random = make(disk), np.random.default_rng(1)

    def some(numbers: list[int], vectors: bool) -> Batch:
        return Batch(
            [f"<id{n:05d}>" for n in numbers],
            np.zeros((len(numbers), 2), np.float32) if vectors else None,
            documents=[f"<doc{n:05d}>" + "x" * int(random.integers(0, 400)) for n in numbers],
        )

    disk.add(address, some(list(range(3000)), True))
    for _ in range(30):  # cells that grow are moved to other pages
        disk.update(address, some(random.choice(3000, 100, replace=False).tolist(), False))
    gone = random.choice(3000, 1500, replace=False).tolist()
    disk.delete(address, Selection(ids=[f"<id{n:05d}>" for n in gone]), secure=True)
    assert (
        traces(folder, [f"<{kind}{n:05d}>".encode() for kind in ("id", "doc") for n in gone]) == ""
    )
    assert disk.check(deep=True) == []


def test_segments_without_the_deleted_stay(disk: LocalEngine, folder: Path) -> None:
    address, oracle = make(disk, space="cosine", schema=SCHEMA), Oracle("cosine")
    for start, count in ((0, 900), (900, 100)):
        disk.add(address, real_batch(count, start))
        oracle.add(real_batch(count, start))
        seal(folder, address)
    assert [rows for rows, _ in segments_of(folder, address)] == [900, 100]
    disk.delete(address, ids("id950"), secure=True)
    oracle.delete(ids("id950"))
    assert [rows for rows, _ in segments_of(folder, address)] == [900]
    check(disk, address, oracle)
    assert disk.check(deep=True) == []


def test_a_reader_in_the_way_is_told_of(
    disk: LocalEngine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eraser, "READER_SECONDS", 0.2)
    address = make(disk)
    disk.add(address, secret_batch(50))
    disk.delete(address, ids("nobody"))  # opens the file: else it would be read in memory
    code = (
        "import sys; from pathlib import Path; from vermilion.local.store import Store\n"
        "store = Store.open(Path(sys.argv[1]), 'x', 'normal')\n"
        "with store.reading(): print('reading', flush=True); sys.stdin.read()"
    )
    reader = subprocess.Popen(
        [sys.executable, "-c", code, str(home(folder, address) / "records.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert reader.stdin is not None and reader.stdout is not None
    assert reader.stdout.readline() == "reading\n"
    with pytest.raises(StorageError, match="once more"):
        disk.delete(address, ids("<id00001>"), secure=True)
    assert disk.count(address) == 49
    reader.stdin.close()
    reader.stdout.close()
    reader.wait()
    assert disk.delete(address, ids("<id00001>"), secure=True).missing == 1
    assert traces(folder, [b"<id00001>", b"<doc00001>"]) == ""


def test_a_builder_in_the_way_is_told_of(
    disk: LocalEngine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vermilion.local.lock import try_lock

    monkeypatch.setattr(eraser, "BUILDER_SECONDS", 0.1)
    address = make(disk)
    disk.add(address, secret_batch(5))
    with (
        try_lock(home(folder, address) / "builder.lock"),
        pytest.raises(StorageError, match="nothing was deleted"),
    ):
        disk.delete(address, ids("<id00001>"), secure=True)
    assert disk.count(address) == 5
