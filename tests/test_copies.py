"""fork_collection: a collection with all that another one has at one moment."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from pathlib import Path

import numpy as np
import pytest

from children import fork
from vermilion.api.client import Client
from vermilion.configuration import Changes, Configuration, Hnsw
from vermilion.engine import EVERYTHING, Engine
from vermilion.errors import AlreadyExistsError, ArgumentValueError, NotFoundError, StorageError
from vermilion.local import copier
from vermilion.local.builder import TAIL_ROWS, build
from vermilion.local.engine import LocalEngine
from vermilion.types import Address
from words import ALL, HERE, WordLengths, cells, ids, make, names, numbered, rows, where


def nearest(engine: Engine, address: Address, number: float, k: int = 3) -> list[str]:
    [hits] = engine.query(address, np.array([[number]], np.float32), k)
    return hits.records.ids


def folder_of(folder: Path, address: Address) -> Path:
    return folder / "collections" / str(address.collection)


# ── the contract, on every engine ────────────────────────────────────────────────────────────────


def test_a_copy_has_everything_the_original_has(engine: Engine) -> None:
    configuration = Configuration(Hnsw(space="cosine", ef_search=50))
    original, _ = engine.create_collection(
        "things", *HERE, configuration=configuration, metadata={"a": 1}
    )
    batch = rows(
        "c a b", documents=["x", None, "y"], uris=["u", None, None], metadatas=[{"n": 1}] * 3
    )
    engine.add(original.address, batch)
    engine.delete(original.address, ids("a"))
    engine.add(original.address, rows("a", [[7.0, 7.0]]))
    copy = engine.fork_collection(original.address, "copy")
    assert copy == engine.get_collection("copy", *HERE)
    assert (copy.name, copy.tenant, copy.database) == ("copy", *HERE)
    assert copy.id != original.id
    assert (copy.configuration, copy.metadata, copy.schema) == (configuration, {"a": 1}, None)
    assert copy.dimension == 2
    one, two = (engine.get(info.address, EVERYTHING, ALL) for info in (original, copy))
    assert two.ids == ["c", "b", "a"]
    assert (two.ids, two.documents, two.uris) == (one.ids, one.documents, one.uris)
    assert two.metadatas == one.metadatas
    assert one.vectors is not None and two.vectors is not None
    assert two.vectors.tobytes() == one.vectors.tobytes()
    assert engine.check(deep=True) == []


def test_a_copy_and_its_original_go_their_own_ways(engine: Engine) -> None:
    original = make(engine)
    engine.add(original, numbered(5, metadatas=[{"n": n} for n in range(5)]))
    copy = engine.fork_collection(original, "copy").address
    engine.delete(original, ids("2"))
    engine.update(copy, cells("3", metadatas=[{"n": 30}]))
    engine.add(copy, numbered(1, 9))
    assert engine.get(original).ids == ["0", "1", "3", "4"]
    assert engine.get(copy).ids == ["0", "1", "2", "3", "4", "9"]
    assert engine.get(original, where({"n": 3})).ids == ["3"]
    assert engine.get(copy, where({"n": 30})).ids == ["3"]
    assert nearest(engine, copy, 9, 1) == ["9"]
    engine.delete_collection("things", *HERE)
    assert engine.count(copy) == 6
    assert engine.check(deep=True) == []


def test_a_collection_without_records_is_copied(engine: Engine) -> None:
    copy = engine.fork_collection(make(engine, space="ip"), "copy")
    assert (copy.dimension, copy.configuration.hnsw.space) == (None, "ip")
    engine.add(copy.address, numbered(1))
    assert engine.count(copy.address) == 1


def test_a_copy_of_a_copy(engine: Engine) -> None:
    address = make(engine)
    engine.add(address, numbered(2))
    for number in range(3):
        address = engine.fork_collection(address, f"copy-{number}").address
        engine.add(address, numbered(1, 10 + number))
    assert engine.get(address).ids == ["0", "1", "10", "11", "12"]


def test_names_that_are_taken_and_collections_that_are_gone_are_refused(engine: Engine) -> None:
    address, other = make(engine), make(engine, "other")
    engine.add(address, numbered(2))
    for name in ("things", "other"):
        with pytest.raises(AlreadyExistsError, match=f"Collection \\[{name}\\] already exists"):
            engine.fork_collection(address, name)
    engine.modify_collection(other, configuration=Changes(hnsw={}))
    engine.delete_collection("things", *HERE)
    with pytest.raises(NotFoundError):
        engine.fork_collection(address, "copy")
    assert names(engine) == ["other"]


def test_a_copy_is_of_one_moment_while_others_write(engine: Engine) -> None:
    address, done = make(engine), threading.Event()
    engine.add(address, numbered(1))

    def write() -> None:
        number = 1
        while not done.is_set():
            engine.add(address, numbered(2, number))  # two at a time
            number += 2

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(8):
            copy = engine.fork_collection(address, f"copy-{number}").address
            found = engine.get(copy).ids
            assert found == [str(n) for n in range(len(found))] and len(found) % 2
            assert engine.count(copy) == len(found)
    finally:
        done.set()
        writer.join()
    assert engine.check(deep=True) == []


# ── the door ─────────────────────────────────────────────────────────────────────────────────────


def test_a_collection_forks_with_its_function(client: Client) -> None:
    notes = client.create_collection("notes", embedding_function=WordLengths(), metadata={"a": 1})
    notes.add(ids=["a"], documents=["one two"])
    copy = notes.fork("notes-2")
    copy.add(ids=["b"], documents=["three four"])
    assert (copy.name, copy.metadata, copy.count(), notes.count()) == ("notes-2", {"a": 1}, 2, 1)
    assert copy.configuration_json == notes.configuration_json
    assert copy.query(query_texts="three four", n_results=1)["ids"] == [["b"]]
    assert client.get_collection("notes-2").get_model() == copy.get_model()
    with pytest.raises(ArgumentValueError, match="Expected a name"):
        notes.fork("?")


# ── on disk ──────────────────────────────────────────────────────────────────────────────────────


def test_index_files_are_shared_with_the_copy(disk: LocalEngine, folder: Path) -> None:
    address = make(disk)
    disk.add(address, numbered(2 * TAIL_ROWS))
    build(folder_of(folder, address), "l2")
    disk.delete(address, ids("0 7"))
    copy = disk.fork_collection(address, "copy").address
    one, two = (
        {path.name: path.stat().st_ino for path in (folder_of(folder, at) / "indexes").iterdir()}
        for at in (address, copy)
    )
    assert one and one == two
    assert disk.indexing_status(copy) == disk.indexing_status(address)
    assert disk.check(deep=True) == []
    disk.delete(address, ids("8"), secure=True)
    assert nearest(disk, copy, 8, 1) == ["8"]
    disk.delete_collection("things", *HERE)
    assert nearest(disk, copy, 6, 1) == ["6"]
    assert disk.check(deep=True) == []


def test_where_files_cannot_be_linked_they_are_copied(
    disk: LocalEngine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*paths: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(copier.os, "link", refuse)
    address = make(disk)
    disk.add(address, numbered(TAIL_ROWS))
    build(folder_of(folder, address), "l2")
    copy = disk.fork_collection(address, "copy").address
    shutil.rmtree(folder_of(folder, address) / "indexes")
    assert disk.indexing_status(copy).num_unindexed_ops == 0
    assert nearest(disk, copy, 77, 1) == ["77"]
    assert [one for one in disk.check(deep=True) if one.collection == copy.collection] == []


def test_a_directory_that_is_only_read_has_no_copies_made(disk: LocalEngine, folder: Path) -> None:
    address = make(disk)
    disk.add(address, numbered(1))
    reader = LocalEngine(folder, read_only=True)
    with pytest.raises(StorageError, match="was opened read-only"):
        reader.fork_collection(address, "copy")
    reader.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("moment", ["copied", "named", "settled"])
def test_a_copy_that_is_killed_leaves_nothing(folder: Path, moment: str) -> None:
    def work() -> None:
        engine = LocalEngine(folder)
        address = make(engine)
        engine.add(address, numbered(3))
        if moment == "copied":  # all is there, and has no name yet
            engine._catalogue.adopt_collection = die  # type: ignore[method-assign,assignment]
        elif moment == "named":
            engine._catalogue._insert = die  # type: ignore[method-assign,assignment]
        engine.fork_collection(address, "copy")
        die()

    child = fork(work)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    left = list((folder / "collections").glob("*.new"))
    assert len(left) == (1 if moment == "copied" else 0)
    again = LocalEngine(folder)
    made = ["things", "copy"] if moment == "settled" else ["things"]
    assert names(again) == made
    found = [again.count(again.get_collection(name, *HERE).address) for name in made]
    assert found == [3] * len(made)
    assert len(list((folder / "collections").iterdir())) == len(made)
    assert again.check(deep=True) == [] and not (folder / "lost").exists()
    assert again.fork_collection(again.get_collection("things", *HERE).address, "new")
    again.close()


def die(*arguments: object, **more: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
