"""Sealed segments: built by another process, exact after all, and replaceable at any time."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oracle import Oracle
from ranking_oracle import RankingOracle
from test_real_text import real_vectors
from vermilion.engine import EVERYTHING, Selection
from vermilion.local import builder, search, segment
from vermilion.local.blocks import write_blocks
from vermilion.local.builder import (
    JOINED,
    MOST_SEGMENTS,
    REST_SEARCHES,
    SHORT_TAIL,
    TAIL_ROWS,
    Builder,
)
from vermilion.local.engine import LocalEngine
from vermilion.local.index import sealed_vectors
from vermilion.local.segment import FOLDER, VERSIONS
from vermilion.local.snapshot import Snapshot
from vermilion.local.store import Store
from vermilion.query.keys import K
from vermilion.query.ranks import Knn
from vermilion.query.search import Search
from vermilion.records import Batch
from vermilion.schema.builder import Schema, SparseVectorIndexConfig
from vermilion.types import Address, SparseVector
from words import make, where

PARTS = sorted(VERSIONS)
SCHEMA = Schema().create_index(SparseVectorIndexConfig(bm25=True), key="sparse")
RANKS = [
    Knn("the number 17", K.DOCUMENT, limit=20),
    Knn(sparse := SparseVector([1, 4, 12], [1.0, 0.5, -2.0]), "sparse", limit=20),
    Knn("number 3", K.DOCUMENT, default=5) + Knn(sparse, "sparse", default=5),
]
FILTERS = [
    EVERYTHING,
    where({"n": {"$lt": 5}}),
    where({"n": {"$lt": 500}}),
    where({"tag": "even"}),
    where({"tag": {"$ne": "even"}}, {"$contains": "number 1"}),
    where(None, {"$not_contains": "7"}),
    where(None, {"$regex": "number [0-9]+5$"}),
]


def real_batch(count: int, start: int = 0, seed: int = 3) -> Batch:
    numbers = range(start, start + count)
    return Batch(
        [f"id{n}" for n in numbers],
        real_vectors(count, seed + start),
        documents=[f"this is number {n}" for n in numbers],
        metadatas=[
            {"n": n, "tag": "odd" if n % 2 else "even", "sparse": sparse_vector(n)} for n in numbers
        ],
    )


def sparse_vector(n: int) -> SparseVector:
    return SparseVector([n % 5, 10 + n % 7, 2**32 - 1], [0.1 * (n % 11), -1.5, 1.0])


def home(folder: Path, address: Address) -> Path:
    return folder / "collections" / str(address.collection)


def seal(
    folder: Path,
    address: Address,
    space: Any = "cosine",
    tail: int = 1,
    joined: float = float("inf"),
) -> None:
    """Builds here and now what the builder's process would build later, but joins nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builder, "TAIL_ROWS", tail)
        patch.setattr(builder, "JOINED", joined)
        builder.build(home(folder, address), space)


def snapshot_of(folder: Path, address: Address, look: Any) -> Any:
    store = Store.open(home(folder, address) / "records.db", "things", "normal")
    try:
        with store.reading() as snapshot:
            return look(snapshot)
    finally:
        store.close()


def builder_of(engine: LocalEngine, address: Address) -> Builder:
    """What starts builders for a collection that is open."""
    found = engine._handles._entries[address.collection].collection._builder
    assert found is not None
    return found


def segments_of(folder: Path, address: Address) -> list[tuple[int, int]]:
    """For each segment how many rows it has, and how many of them are dead."""

    def look(snapshot: Snapshot) -> list[tuple[int, int]]:
        return [(len(row.dead), int(row.dead.sum())) for row in snapshot.segments()]

    return list(snapshot_of(folder, address, look))


def check(engine: LocalEngine, address: Address, oracle: Oracle, k: int = 10) -> None:
    """Every filter, by query, get and count."""
    queries = real_vectors(3, seed=99)
    for selection in FILTERS:
        for hits, query in zip(engine.query(address, queries, k, selection), queries, strict=True):
            oracle.check_hits(hits, query, k, selection)
        assert engine.get(address, selection).ids == oracle.selected(selection)
        assert engine.count(address, selection) == len(oracle.selected(selection))
    ranking = RankingOracle(oracle, bm25=True)
    for rank in RANKS:
        for filter in (None, K("tag") == "even"):
            wanted = Search(filter, rank)
            [ranked] = engine.search(address, [wanted])
            told = zip(ranked.records.ids, ranked.scores.tolist(), strict=True)
            assert list(told) == ranking.search(wanted)


@pytest.mark.parametrize("space", ["l2", "cosine", "ip"])
def test_sealed_records_answer_as_all_others(disk: LocalEngine, folder: Path, space: Any) -> None:
    address, oracle = make(disk, space=space, schema=SCHEMA), Oracle(space)
    for start in (0, 700, 900):
        batch = real_batch(700 if not start else 200, start)
        assert disk.add(address, batch, named=True) == oracle.add(batch)
        seal(folder, address, space)
    check(disk, address, oracle)
    change = real_batch(150, 600, seed=40)
    assert disk.upsert(address, change, named=True) == oracle.upsert(change)
    gone = where(
        {
            "n": {
                "$gte": 100,
            }
        },
        {"$contains": "3"},
    )
    assert disk.delete(address, gone).deleted == len(oracle.delete(gone))
    check(disk, address, oracle)
    seal(folder, address, space)
    check(disk, address, oracle)


def test_near_duplicates_and_ties_are_settled_exactly(disk: LocalEngine, folder: Path) -> None:
    address, oracle = make(disk, space="l2", schema=SCHEMA), Oracle("l2")
    centre, random = real_vectors(1, seed=7), np.random.default_rng(0)
    near = centre + random.normal(0, 1e-3, (1500, centre.shape[1])).astype(np.float32)
    near[::3] = near[0]  # 500 of them are the same
    batch = Batch([f"id{n}" for n in range(1500)], near)
    assert disk.add(address, batch, named=True) == oracle.add(batch)
    seal(folder, address, "l2")
    for query in (near[0], near[1]):
        [hits] = disk.query(address, query[None], 20)
        oracle.check_hits(hits, query, 20, EVERYTHING)


def test_codes_are_believed_only_as_far_as_they_were_right(
    disk: LocalEngine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recall over filters of every selectivity, with as few candidates as the search may use."""
    monkeypatch.setattr(search, "EXACT", 0)
    address = make(disk, space="cosine", schema=SCHEMA)
    vectors = real_vectors(6000, seed=11)
    share = np.random.default_rng(5).random(6000)
    disk.add(
        address,
        Batch(
            [str(n) for n in range(6000)],
            vectors,
            metadatas=[{"share": float(one)} for one in share],
        ),
    )
    seal(folder, address)
    queries = real_vectors(40, seed=12)
    for bound in (0.01, 0.1, 0.5, 1.0):
        among = np.flatnonzero(share < bound)
        scores = queries @ vectors[among].T
        found = disk.query(address, queries, 10, where({"share": {"$lt": bound}}))
        right = 0
        for hits, row in zip(found, scores, strict=True):
            best = {str(among[place]) for place in np.argsort(-row)[:10]}
            right += len(best & set(hits.records.ids))
        assert right >= 0.99 * 10 * len(queries), bound


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("how", ["flipped", "cut", "emptied", "removed", "of another version"])
def test_a_damaged_file_changes_no_answer_and_is_made_again(
    disk: LocalEngine,
    folder: Path,
    part: str,
    how: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Builder, "start", lambda *_: None)
    address, oracle = make(disk, space="cosine", schema=SCHEMA), Oracle("cosine")
    batch = real_batch(300)
    disk.add(address, batch)
    oracle.add(batch)
    seal(folder, address)
    [path] = (home(folder, address) / FOLDER).glob(f"*.{part}")
    content = bytearray(path.read_bytes())
    if how == "flipped":
        content[len(content) // 2] ^= 16
    elif how == "of another version":
        content[7] += 1
    path.unlink()
    if how != "removed":
        keep = {"cut": len(content) - 7, "emptied": 0}.get(how, len(content))
        path.write_bytes(content[:keep])
    with caplog.at_level(logging.WARNING, logger="vermilion"):
        check(disk, address, oracle)
    assert len(caplog.records) == 1, "one line in the log, however often it is read"
    seal(folder, address)
    other = LocalEngine(folder)
    caplog.clear()
    check(other, address, oracle)
    assert caplog.records == []
    other.close()


def test_sizes_grow_and_segments_stay_few(disk: LocalEngine, folder: Path) -> None:
    address, oracle = make(disk, space="cosine", schema=SCHEMA), Oracle("cosine")
    for turn in range(20):
        batch = real_batch(60, 60 * turn)
        disk.add(address, batch)
        oracle.add(batch)
        seal(folder, address)
        assert len(segments_of(folder, address)) <= MOST_SEGMENTS
    assert sum(rows - dead for rows, dead in segments_of(folder, address)) == 1200
    check(disk, address, oracle)
    names = {path.name.partition(".")[0] for path in (home(folder, address) / FOLDER).iterdir()}
    assert len(names) <= 2 * MOST_SEGMENTS, "files of the lists before are removed"


def test_segments_become_one_when_nothing_else_is_due(disk: LocalEngine, folder: Path) -> None:
    address, oracle = make(disk, space="cosine", schema=SCHEMA), Oracle("cosine")
    start = 0
    for rows, sizes in ((500, [500]), (20, [20, 500]), (10, [530])):
        disk.add(address, real_batch(rows, start))
        oracle.add(real_batch(rows, start))
        seal(folder, address, joined=JOINED)
        assert sorted(segments_of(folder, address)) == [(size, 0) for size in sizes]
        start += rows
    gone = where({"n": 7})  # now the largest has to be made anew, which takes longer
    assert disk.delete(address, gone).deleted == len(oracle.delete(gone))
    for rows, sizes in ((90, [(90, 0), (530, 1)]), (20, [(639, 0)])):
        disk.add(address, real_batch(rows, start))
        oracle.add(real_batch(rows, start))
        seal(folder, address, joined=JOINED)
        assert sorted(segments_of(folder, address)) == sizes
        start += rows
    check(disk, address, oracle)


def test_what_was_merged_goes_when_nobody_reads_it(disk: LocalEngine, folder: Path) -> None:
    address = make(disk)
    for start, rows in ((0, 500), (500, 20)):
        disk.add(address, real_batch(rows, start))
        seal(folder, address, "l2")
    store = Store.open(home(folder, address) / "records.db", "things", "normal")
    with store.writing():
        pass  # who has written reads the file, not an image of it
    with store.reading():
        seal(folder, address, "l2", joined=0)
        assert len(segments_of(folder, address)) == 1
        assert len(list((home(folder, address) / FOLDER).glob("*.keys"))) == 3
    seal(folder, address, "l2")
    store.close()
    assert len(list((home(folder, address) / FOLDER).glob("*.keys"))) == 1


@pytest.mark.parametrize("space", ["l2", "cosine", "ip"])
def test_a_merge_takes_over_what_its_segments_have(
    disk: LocalEngine, folder: Path, space: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Documents and metadata of segments without a dead row are not read again, nor vectors coded;
    what comes out is what is made from the records."""
    address, oracle = make(disk, space=space, schema=SCHEMA), Oracle(space)
    read: list[int] = []
    documents = Snapshot.documents
    monkeypatch.setattr(
        Snapshot, "documents", lambda self, keys: read.append(len(keys)) or documents(self, keys)
    )
    for start, rows in ((0, 300), (300, 500), (800, 100), (900, 200)):
        disk.add(address, real_batch(rows, start))
        oracle.add(real_batch(rows, start))
        joined = 0 if start == 900 else float("inf")
        seal(folder, address, space, joined=joined)
    assert [(rows, dead) for rows, dead in segments_of(folder, address)] == [(1_100, 0)]
    assert read == 2 * [300] + 2 * [500] + 2 * [100] + 2 * [200]
    check(disk, address, oracle)
    assert parts_of(folder, address) == parts_made_anew(folder, address, space)


def test_a_merge_makes_anew_what_has_changed(disk: LocalEngine, folder: Path) -> None:
    address, oracle = make(disk, space="cosine", schema=SCHEMA), Oracle("cosine")
    for start in (0, 100, 200):
        disk.add(address, real_batch(100, start))
        oracle.add(real_batch(100, start))
        seal(folder, address, tail=1 if start < 200 else 10**6)
    change = real_batch(1, 150, seed=41)
    assert disk.upsert(address, change, named=True) == oracle.upsert(change)
    gone = where({"n": 20})
    assert disk.delete(address, gone).deleted == len(oracle.delete(gone))
    seal(folder, address, joined=0)
    assert segments_of(folder, address) == [(299, 0)]
    check(disk, address, oracle)
    assert parts_of(folder, address) == parts_made_anew(folder, address, "cosine")


def test_codes_are_learnt_anew_when_the_vectors_are_others(
    disk: LocalEngine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    make_coder = segment.make_coder
    monkeypatch.setattr(
        segment, "make_coder", lambda space, rows: made.append(len(rows)) or make_coder(space, rows)
    )
    address = make(disk, space="l2", schema=SCHEMA)
    vectors = real_vectors(8_000, 5)
    others = vectors + 3 * np.abs(vectors).max()
    disk.add(address, Batch([f"a{n}" for n in range(100)], vectors[:100]))
    seal(folder, address, "l2")
    disk.add(address, Batch([f"b{n}" for n in range(100)], vectors[100:200]))
    seal(folder, address, "l2")
    assert made == [100]
    disk.add(address, Batch([f"c{n}" for n in range(200)], others[:200]))
    seal(folder, address, "l2")
    assert made == [100, 400], "their middle is elsewhere"
    disk.add(address, Batch([f"d{n}" for n in range(400)], np.roll(others[:400], 7, axis=0)))
    seal(folder, address, "l2")
    disk.add(address, Batch([f"e{n}" for n in range(3_000)], vectors[:3_000]))
    seal(folder, address, "l2")
    assert made[-1] == 3_800, "there are too many more of them"


def parts_of(folder: Path, address: Address) -> dict[str, bytes]:
    """The files of the only segment that must be the same however it came to be."""
    [row] = snapshot_of(folder, address, lambda snapshot: snapshot.segments())
    indexes = home(folder, address) / FOLDER
    parts = ("keys", "columns", "text", "sparse", "words")
    return {part: (indexes / f"{row.name}.{part}").read_bytes() for part in parts}


def parts_made_anew(folder: Path, address: Address, space: Any) -> dict[str, bytes]:
    """The same, from the records."""

    def build(snapshot: Snapshot) -> None:
        path = home(folder, address) / "anew"
        name = segment.build_segment(path, space, snapshot, snapshot.all_keys())
        files.update({part: (path / f"{name}.{part}").read_bytes() for part in PARTS})

    files: dict[str, bytes] = {}
    snapshot_of(folder, address, build)
    return {part: files[part] for part in ("keys", "columns", "text", "sparse", "words")}


def test_dead_rows_are_dropped(disk: LocalEngine, folder: Path) -> None:
    address = make(disk, space="cosine", schema=SCHEMA)
    disk.add(address, real_batch(500))
    seal(folder, address)
    disk.delete(address, where({"n": {"$lt": 200}}))
    seal(folder, address, tail=10**6)
    assert segments_of(folder, address) == [(300, 0)]
    disk.delete(address, EVERYTHING)
    seal(folder, address)
    assert segments_of(folder, address) == []
    assert disk.query(address, real_vectors(1, 1), 5)[0].records.ids == []


def test_many_deletions_are_sealed_once_and_for_all(disk: LocalEngine, folder: Path) -> None:
    """Otherwise every query would start a builder that finds nothing to do."""
    address, oracle = make(disk, space="cosine", schema=SCHEMA), Oracle("cosine")
    disk.add(address, real_batch(500))
    oracle.add(real_batch(500))
    seal(folder, address)
    some = where({"n": {"$lt": 50}})
    assert disk.delete(address, some).deleted == len(oracle.delete(some)) == 50
    assert snapshot_of(folder, address, lambda snapshot: snapshot.head.tail) == 50
    seal(folder, address, tail=50)
    assert segments_of(folder, address) == [(500, 50)]
    assert snapshot_of(folder, address, lambda snapshot: snapshot.head.tail) == 0
    check(disk, address, oracle)


def test_a_long_tail_is_sealed_by_another_process(disk: LocalEngine, folder: Path) -> None:
    address = make(disk, space="cosine", schema=SCHEMA)
    vectors = np.random.default_rng(1).normal(size=(TAIL_ROWS + 10, 8)).astype(np.float32)
    disk.add(address, Batch([str(n) for n in range(len(vectors))], vectors))
    deadline = time.monotonic() + 60
    while not segments_of(folder, address) and time.monotonic() < deadline:
        time.sleep(0.05)  # the process says nothing when it is done
    assert segments_of(folder, address) == [(TAIL_ROWS + 10, 0)]
    [hits] = disk.query(address, vectors[:1], 1)
    assert hits.records.ids == ["0"]


def test_a_short_tail_is_sealed_while_it_is_asked_for_and_stays_as_it_is(
    disk: LocalEngine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builder, "REST_SECONDS", 0.0)
    address = make(disk, space="cosine", schema=SCHEMA)
    disk.add(address, real_batch(SHORT_TAIL - 1))
    query = real_vectors(1, 1)

    def segments_after(searches: int) -> list[tuple[int, int]]:
        for _ in range(searches):
            disk.query(address, query, 1)
        builder_of(disk, address).wait()
        return segments_of(folder, address)

    assert segments_after(2 * REST_SEARCHES) == [], "it is very short"
    disk.add(address, real_batch(1, SHORT_TAIL))
    assert segments_after(REST_SEARCHES - 1) == []
    disk.add(address, real_batch(1, SHORT_TAIL + 1))
    assert segments_after(REST_SEARCHES - 1) == [], "it has changed"
    assert segments_after(1) == [(SHORT_TAIL + 1, 0)]


def test_one_builder_works_and_a_killed_one_is_replaced(disk: LocalEngine, folder: Path) -> None:
    address = make(disk, space="cosine", schema=SCHEMA)
    disk.add(address, real_batch(50))
    lock = home(folder, address) / "builder.lock"
    code = (
        "import sys; from pathlib import Path; from vermilion.local.lock import try_lock\n"
        "with try_lock(Path(sys.argv[1])) as free: print(free, flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None and holder.stdin is not None
    assert holder.stdout.readline() == "True\n"
    seal(folder, address)
    assert segments_of(folder, address) == [], "another builder is at work"
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    holder.stdin.close()
    holder.stdout.close()
    seal(folder, address)
    assert segments_of(folder, address) == [(50, 0)]


def test_without_the_codec_everything_is_answered_from_memory(
    disk: LocalEngine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, oracle = make(disk, space="cosine", schema=SCHEMA), Oracle("cosine")
    batch = real_batch(200)
    disk.add(address, batch)
    oracle.add(batch)
    seal(folder, address)
    monkeypatch.setattr(sealed_vectors, "codec", lambda: None)
    other = LocalEngine(folder)
    check(other, address, oracle)
    seal(folder, address)
    check(other, address, oracle)
    other.close()


def test_a_deleted_collection_leaves_no_index(disk: LocalEngine, folder: Path) -> None:
    address = make(disk, space="cosine", schema=SCHEMA)
    disk.add(address, real_batch(50))
    seal(folder, address)
    disk.query(address, real_vectors(1, 1), 1, Selection())
    disk.delete_collection("things", address.tenant, address.database)
    assert not home(folder, address).exists()


def test_a_program_that_is_no_python_builds_in_a_thread(
    disk: LocalEngine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frozen application would start itself again."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **more: pytest.fail("a process"))
    monkeypatch.setattr(builder, "TAIL_ROWS", 10)
    address = make(disk, space="cosine", schema=SCHEMA)
    disk.add(address, real_batch(50))
    builder_of(disk, address).wait()
    assert segments_of(folder, address) == [(50, 0)]


FIRST_SEARCHES = """
import os, sys, threading
from pathlib import Path
import numpy as np
from vermilion.local.blocks import Blocks
from vermilion.local.index.sealed_vectors import SealedVectors

vectors = SealedVectors(Blocks(Path(sys.argv[1]), "vectors", 1))
queries = np.random.default_rng(0).normal(size=(16, 64)).astype(np.float32)
some = np.arange(len(vectors)) % 3 > 0
start, done = threading.Barrier(16), []

def ask(number):
    start.wait()
    done.append(vectors.candidates(queries[number], 32, some if number % 2 else None))

threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(20)
os._exit(0 if len(done) == 16 else 1)
"""


def test_first_searches_of_many_threads_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """Without the search that `SealedVectors` begins with, every second process hangs."""
    random = np.random.default_rng(0).normal(size=(100_000, 64)).astype(np.float32)
    built = sealed_vectors.build_vectors("cosine", random)
    assert built is not None
    write_blocks(tmp_path / "vectors", "vectors", 1, *built)
    for _ in range(5):
        subprocess.run(
            [sys.executable, "-c", FIRST_SEARCHES, str(tmp_path / "vectors")], check=True
        )
