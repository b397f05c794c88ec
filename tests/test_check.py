"""Damage of every kind is named, and what lies outside of it can be brought out."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from test_segments import home, real_batch, seal
from vermilion.engine import EVERYTHING
from vermilion.errors import StorageError
from vermilion.local.builder import Builder
from vermilion.local.engine import LocalEngine
from vermilion.local.salvage import REPORT, salvage
from vermilion.local.segment import FOLDER, build_segment
from vermilion.local.snapshot import SegmentRow
from vermilion.local.sqlite import Database
from vermilion.local.store import Store
from vermilion.records import Batch
from vermilion.types import Address
from words import ALL, HERE, make, rows

FULL = 400


@pytest.fixture(autouse=True)
def no_builder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Builder, "start", lambda *_: None)


def filled(folder: Path, count: int = FULL) -> tuple[Address, Batch]:
    """A database with records, in segments and in none, closed."""
    engine = LocalEngine(folder)
    address, batch = make(engine, space="cosine"), real_batch(count)
    engine.add(address, batch)
    seal(folder, address)
    engine.upsert(address, real_batch(20, count - 10, seed=9))
    batch = Batch(*_columns(engine, address))
    engine.close()
    return address, batch


def _columns(engine: LocalEngine, address: Address) -> tuple[Any, ...]:
    all = engine.get(address, EVERYTHING, ALL)
    return all.ids, all.vectors, None, all.documents, all.uris, all.metadatas


def execute(folder: Path, address: Address, *statements: str) -> None:
    database = Database(home(folder, address) / "records.db")
    with database.writing() as connection:
        for statement in statements:
            connection.execute(statement)
    database.close()


def problems(folder: Path, deep: bool = True) -> list[tuple[str, bool]]:
    engine = LocalEngine(folder)
    found = engine.check(deep)
    engine.close()
    return sorted({(one.kind, one.repairable) for one in found})


# ── what check finds ─────────────────────────────────────────────────────────────────────────────

DAMAGE = {
    "a document": ("update records set document = 'x' where key = 7", "record", True),
    "a missing metadata": ("update records set metadata = null where key = 7", "record", True),
    "a vector": ("update vectors set vector = zeroblob(length(vector)) where key = 7", 0, True),
    "a short vector": ("update vectors set vector = x'00000000' where key = 7", "vector", True),
    "a lost vector": ("delete from vectors where key = 7", "counter", False),
    "a lost id": ("delete from recent_ids where key = 7", "counter", False),
    "an id of another": ("update recent_ids set hash = 1 where key = 7", "id", True),
    "an id in the wrong table": ("insert into ids values (1, 500)", "id", False),
    "a count": ("update head set rows = rows + 1", "counter", False),
    "the next key": ("update head set next_key = 5", "counter", False),
    "a log entry": ("delete from log where seq = 1", "log", False),
    "a log entry that ends early": ("update log set lo = hi + 1", "log", False),
    "sealed": ("update head set sealed = seq + 1", "log", False),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_in_tables_is_named(folder: Path, name: str) -> None:
    statement, kind, only_deep = DAMAGE[name]
    address, _ = filled(folder)
    assert problems(folder) == problems(folder, deep=False) == []
    execute(folder, address, statement)
    assert (kind or "vector", False) in problems(folder)
    assert (problems(folder, deep=False) == []) == only_deep


def other_records(folder: Path, address: Address, **parts: bool) -> None:
    """Replaces files of the segment by those of a segment over other records."""
    store = Store.open(home(folder, address) / "records.db", "x", "normal")
    indexes = home(folder, address) / FOLDER
    with store.reading() as snapshot:
        [row] = snapshot.segments()
        keys = snapshot.all_keys()
        name = build_segment(indexes, "cosine", snapshot, keys[-len(row.dead) :])
    store.close()
    for part, replaced in parts.items():
        if replaced:
            (indexes / f"{name}.{part}").replace(indexes / f"{row.name}.{part}")
    for path in indexes.glob(f"{name}.*"):
        path.unlink()


@pytest.mark.parametrize("part", ["keys", "vectors", "columns", "text", "sparse", "words"])
def test_index_files_of_other_records_are_found(folder: Path, part: str) -> None:
    address, _ = filled(folder)
    other_records(folder, address, **{part: True})
    assert problems(folder, deep=False) == []
    assert problems(folder) == [("index", True)]


def test_dead_bits_are_checked(folder: Path) -> None:
    address, _ = filled(folder)
    store = Store.open(home(folder, address) / "records.db", "x", "normal")
    with store.writing() as transaction:
        [row] = transaction.segments()
        row.dead[3] = True
        transaction.publish([SegmentRow(row.name, row.dead)], transaction.head.sealed)
    store.close()
    assert problems(folder) == [("index", True)]


def test_a_damaged_index_file_is_repairable(folder: Path) -> None:
    address, _ = filled(folder)
    path = next((home(folder, address) / FOLDER).glob("*.text"))
    path.write_bytes(path.read_bytes()[:-1])
    assert problems(folder, deep=False) == [("index", True)]
    seal(folder, address)
    assert problems(folder) == []


def test_a_missing_file_is_named(folder: Path) -> None:
    address, _ = filled(folder)
    (home(folder, address) / "records.db").unlink()
    assert problems(folder, deep=False) == [("file", False)]


def test_folders_that_the_catalogue_has_lost_are_named(disk: LocalEngine, folder: Path) -> None:
    stray = folder / "collections" / "00000000-0000-0000-0000-0000000000aa"
    stray.mkdir()
    [problem] = disk.check()
    assert (problem.kind, problem.name, problem.repairable) == ("file", None, False)
    assert str(stray) in problem.detail


# ── salvage ──────────────────────────────────────────────────────────────────────────────────────


def page_size(path: Path) -> int:
    return int.from_bytes(path.read_bytes()[16:18], "big") % 65535 or 65536


def overwrite(path: Path, pages: list[int], random: np.random.Generator) -> None:
    size, content = page_size(path), bytearray(path.read_bytes())
    for page in pages:
        content[page * size : (page + 1) * size] = random.bytes(size)
    path.write_bytes(content)


def flip(path: Path, pages: list[int], random: np.random.Generator) -> None:
    size, content = page_size(path), bytearray(path.read_bytes())
    for page in pages:
        place = page * size + int(random.integers(0, size))
        content[place] ^= 1 << int(random.integers(0, 8))
    path.write_bytes(content)


def zero(path: Path, pages: list[int], random: np.random.Generator) -> None:
    size, content = page_size(path), bytearray(path.read_bytes())
    for page in pages:
        content[page * size : (page + 1) * size] = bytes(size)
    path.write_bytes(content)


def came_out(folder: Path) -> dict[str, Any]:
    engine = LocalEngine(folder)
    try:
        [info] = engine.list_collections(*HERE)
        assert engine.check(deep=True) == []
        ids, vectors, _, *cells = _columns(engine, info.address)
        assert ids == list(dict.fromkeys(ids))
        return {id: (v.tobytes(), *c) for id, v, *c in zip(ids, vectors, *cells, strict=True)}
    finally:
        engine.close()


def contents(batch: Batch) -> dict[str, Any]:
    assert batch.vectors is not None and batch.documents and batch.uris and batch.metadatas
    cells = zip(batch.documents, batch.uris, batch.metadatas, strict=True)
    vectors = (vector.tobytes() for vector in batch.vectors)
    return {id: (v, *c) for id, v, c in zip(batch.ids, vectors, cells, strict=True)}


def leaves(folder: Path, address: Address) -> dict[int, set[str]]:
    """From each page of records or vectors to the ids of the rows that lie on it."""
    code = (
        "import sys, json, apsw; c = apsw.Connection(sys.argv[1])\n"
        "print(json.dumps(c.execute('select name, pageno, pagetype, ncell from dbstat order by "
        "name, path').fetchall()))\n"
        "print(json.dumps(c.execute('select id from records order by key').fetchall()))"
    )
    path = str(home(folder, address) / "records.db")
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, check=True)
    pages, ids = map(json.loads, done.stdout.splitlines())
    held: dict[int, set[str]] = {}
    place = {"records": 0, "vectors": 0}
    for name, page, kind, cells in pages:
        if kind == "leaf" and name in place:
            held[page] = {id for (id,) in ids[place[name] : place[name] + cells]}
            place[name] += cells
    assert place == {"records": len(ids), "vectors": len(ids)}
    return held


@pytest.mark.parametrize("damage", [overwrite, flip, zero])
@pytest.mark.parametrize("seed", range(5))
def test_everything_outside_of_damaged_pages_comes_out(
    folder: Path, tmp_path: Path, seed: int, damage: Callable[..., None]
) -> None:
    address, batch = filled(folder, 1500)
    held = leaves(folder, address)
    random = np.random.default_rng(seed)
    pages = random.choice(sorted(held), 4, replace=False).tolist()
    path = home(folder, address) / "records.db"
    before = path.read_bytes()
    damage(path, [page - 1 for page in pages], random)
    damaged = path.read_bytes()
    assert damaged != before
    [told] = salvage(folder, tmp_path / "new")
    assert path.read_bytes() == damaged, "the source stays as it is"
    out, right = came_out(tmp_path / "new"), contents(batch)
    assert {id: cells for id, cells in out.items() if right[id] != cells} == {}
    touched = set().union(*(held[page] for page in pages))
    assert set(right) - set(out) <= touched
    assert list(out) == [id for id in right if id in out], "in the order of insertion"
    assert told.records == len(out)
    report = (tmp_path / "new" / REPORT).read_text("utf-8").splitlines()
    assert len(report) == told.lost
    if len(out) < len(right):
        assert told.lost
        assert ("file", False) in problems(folder) or damage is flip
        assert [one for one, repairable in problems(folder) if not repairable]


@pytest.mark.parametrize("seed", range(8))
def test_damage_anywhere_lets_nothing_wrong_out(folder: Path, tmp_path: Path, seed: int) -> None:
    address, batch = filled(folder, 600)
    path = home(folder, address) / "records.db"
    random = np.random.default_rng(seed)
    count = path.stat().st_size // page_size(path)
    overwrite(path, random.choice(np.arange(1, count), 6, replace=False).tolist(), random)
    salvage(folder, tmp_path / "new")
    out, right = came_out(tmp_path / "new"), contents(batch)
    assert {id: cells for id, cells in out.items() if right.get(id) != cells} == {}
    assert [one for one, repairable in problems(folder) if not repairable]


@pytest.mark.parametrize("table", ["head", "ids", "recent_ids", "log", "segments"])
def test_no_record_is_lost_with_another_table(folder: Path, tmp_path: Path, table: str) -> None:
    address, batch = filled(folder)
    path = home(folder, address) / "records.db"
    code = "import sys, apsw; c = apsw.Connection(sys.argv[1]); print(c.execute(sys.argv[2]).get)"
    statement = f"select min(pageno) from dbstat where name = '{table}'"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), statement], capture_output=True, check=True
    )
    overwrite(path, [int(done.stdout) - 1], np.random.default_rng(0))
    assert ("file", False) in problems(folder)
    assert [one.records for one in salvage(folder, tmp_path / "new")] == [len(batch)]
    assert came_out(tmp_path / "new") == contents(batch)


def test_a_lost_first_page_is_told(folder: Path, tmp_path: Path) -> None:
    address, _ = filled(folder)
    overwrite(home(folder, address) / "records.db", [0], np.random.default_rng(0))
    assert problems(folder) == [("file", False)]
    assert [(one.records, one.lost) for one in salvage(folder, tmp_path / "new")] == [(0, 2)]


def test_text_that_is_no_text_is_named(folder: Path, tmp_path: Path) -> None:
    address, _ = filled(folder)
    execute(folder, address, "update records set document = cast(x'ff61' as text) where key = 7")
    assert ("file", False) in problems(folder)
    assert [(one.records, one.lost) for one in salvage(folder, tmp_path / "new")] == [
        (FULL + 9, 2)  # the record, and its vector
    ]


def test_without_a_catalogue_collections_are_named_by_their_ids(
    folder: Path, tmp_path: Path
) -> None:
    address, _ = filled(folder)
    (folder / "catalogue.db").write_bytes(b"nothing of the kind" * 1000)
    [told] = salvage(folder, tmp_path / "new")
    assert (told.name, told.records) == (str(address.collection), FULL + 10)


def test_salvage_keeps_what_is_known_of_collections(folder: Path, tmp_path: Path) -> None:
    engine = LocalEngine(folder)
    engine.create_tenant("them")
    engine.create_database("theirs", "them")
    address = make(engine, space="ip", tenant="them", database="theirs")
    make(engine, "empty")
    engine.add(address, rows("a b"))
    engine.close()
    assert [(one.name, one.records, one.lost) for one in salvage(folder, tmp_path / "new")] == [
        ("things", 2, 0),
        ("empty", 0, 0),
    ]
    engine = LocalEngine(tmp_path / "new")
    [info] = engine.list_collections("them", "theirs")
    assert (info.configuration.hnsw.space, engine.count(info.address)) == ("ip", 2)
    engine.close()


def test_salvage_wants_a_new_directory(folder: Path, tmp_path: Path) -> None:
    filled(folder)
    with pytest.raises(StorageError, match="not empty"):
        salvage(folder, folder)
    with pytest.raises(StorageError, match="not a directory"):
        salvage(tmp_path / "nowhere", tmp_path / "new")


# ── the commands ─────────────────────────────────────────────────────────────────────────────────


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vermilion", *map(str, arguments)], capture_output=True, text=True
    )


def test_the_commands(folder: Path, tmp_path: Path) -> None:
    address, _ = filled(folder)
    done = command("check", folder, "--deep")
    assert (done.returncode, done.stdout) == (0, f"{folder}: no problems\n")
    assert command("compact", folder).stdout == "things: 0.0 MB given back\n"
    execute(folder, address, "update records set document = 'x' where key = 7")
    done = command("check", folder, "--deep")
    assert done.returncode == 1
    assert done.stdout == "things: record: record 7 ('id6') is not what was written\n"
    assert done.stderr == f"vermilion: error: 1 problem in {folder}\n"
    done = command("salvage", folder, tmp_path / "new")
    assert done.stdout.startswith(f"things: {FULL + 9} records, 1 losses\n")
    [line] = (tmp_path / "new" / REPORT).read_text("utf-8").splitlines()
    assert json.loads(line)["document"] == "x"
    assert command("check", tmp_path).returncode == 1
