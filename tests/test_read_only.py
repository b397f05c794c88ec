"""read_only=True reads where nothing can be written, and writes nothing where it could."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vermilion
from children import become_nobody, can_mount, in_child, mount_read_only
from vermilion.api import sharing
from vermilion.engine import EVERYTHING
from vermilion.errors import NotFoundError, StorageError
from vermilion.local.builder import TAIL_ROWS, build
from vermilion.local.engine import LocalEngine
from vermilion.types import Address
from words import HERE, PLAIN, cells, ids, make, numbered, where

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file with its size and the time of its last change."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def leave(folder: Path, files: str) -> None:
    """Makes a database as a process leaves it that closed it, or that was killed."""

    def work() -> None:
        engine = LocalEngine(folder)
        address = make(engine)
        engine.add(address, numbered(2, metadatas=[{"n": n} for n in range(2)]))
        engine.add(address, numbered(1, 2, metadatas=[{"n": 2}]))  # the first write makes no WAL
        make(engine, "empty")
        if files == "closed":
            engine.close()
        os._exit(0)  # without closing what is open

    assert in_child(work)
    found = [str(path.name) for path in folder.rglob("*.db-wal") if path.stat().st_size]
    assert len(found) == (0 if files == "closed" else 2)
    if files == "WAL alone":
        for path in folder.rglob("*.db-shm"):
            path.unlink()


def check_reading(engine: LocalEngine) -> None:
    address = engine.get_collection("things", *HERE).address
    assert engine.get(address).ids == ["0", "1", "2"]
    assert engine.get(address, where({"n": {"$gt": 0}})).ids == ["1", "2"]
    [hits] = engine.query(address, np.array([[2]], np.float32), 2)
    assert hits.records.ids == ["2", "1"]
    assert engine.count(engine.get_collection("empty", *HERE).address) == 0
    assert make(engine, get_or_create=True) == address


def writes(engine: LocalEngine, address: Address) -> list[Callable[[], Any]]:
    return [
        lambda: engine.add(address, numbered(1, 9)),
        lambda: engine.upsert(address, numbered(1, 9)),
        lambda: engine.update(address, cells("0", documents=["x"])),
        lambda: engine.delete(address, ids("0")),
        lambda: engine.delete(address, EVERYTHING),
        lambda: engine.create_collection("new", *HERE, configuration=PLAIN),
        lambda: engine.create_collection("new", *HERE, configuration=PLAIN, get_or_create=True),
        lambda: engine.modify_collection(address, name="renamed"),
        lambda: engine.delete_collection("things", *HERE),
        lambda: engine.create_tenant("new"),
        lambda: engine.create_database("new", HERE[0]),
        lambda: engine.delete_database(HERE[1], HERE[0]),
        lambda: engine.reset(),
    ]


def check_refusing(engine: LocalEngine) -> None:
    for name in ("things", "empty"):
        for write in writes(engine, engine.get_collection(name, *HERE).address):
            with pytest.raises(StorageError, match="was opened read-only"):
                write()


def read(folder: Path) -> None:
    engine = LocalEngine(folder, read_only=True)
    for _ in range(2):
        check_reading(engine)
        check_refusing(engine)
    engine.close()


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user can reach, which is not so of pytest's."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder / "database"
    shutil.rmtree(folder)


STATES = ["closed", "killed", "WAL alone"]


@pytest.mark.parametrize("files", STATES)
def test_a_directory_that_can_be_written_is_not(folder: Path, files: str) -> None:
    leave(folder, files)
    before = contents(folder)
    locks = {name for name in before if name.endswith(".lock")}
    assert in_child(lambda: read(folder))
    after = contents(folder)
    # SQLite may put its shared memory beside a file and an empty WAL: it is how it sees writers.
    new = {name: size for name, (size, _) in after.items() if name not in before}
    assert all(name.endswith("-shm") or (name.endswith("-wal") and not new[name]) for name in new)
    assert {name for name in after if name.endswith(".lock")} == locks
    kept = {name: seen for name, seen in before.items() if not name.endswith("-shm")}
    assert kept.items() <= after.items()


@pytest.mark.parametrize("files", STATES)
def test_a_medium_that_is_mounted_read_only(folder: Path, files: str) -> None:
    if not can_mount():
        pytest.skip("this user or this sandbox may not mount")
    leave(folder, files)
    before = contents(folder)

    def work() -> None:
        mount_read_only(folder)
        with pytest.raises(OSError, match="Read-only file system"):
            (folder / "attempt").write_text("")
        read(folder)
        with pytest.raises(StorageError, match="Read-only file system|use read_only=True"):
            LocalEngine(folder).create_tenant("new")

    assert in_child(work)
    assert contents(folder) == before


@pytest.mark.parametrize("files", STATES)
def test_a_directory_of_another_user(public: Path, files: str) -> None:
    leave(public, files)
    if os.getuid() != 0 and os.stat(public).st_uid == os.getuid():
        for path in sorted(public.rglob("*"), reverse=True):
            path.chmod(0o555 if path.is_dir() else 0o444)
        public.chmod(0o555)
    before = contents(public)

    def work() -> None:
        if os.getuid() == 0:
            become_nobody()
        with pytest.raises(PermissionError):
            (public / "attempt").write_text("")
        read(public)

    assert in_child(work)
    assert contents(public) == before
    for path in (public, *public.rglob("*")):
        path.chmod(0o755)


def test_a_reader_sees_what_a_writer_of_another_user_commits(public: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    writer = LocalEngine(public)
    address = make(writer)
    writer.add(address, numbered(1))
    asked, ask = os.pipe()
    answers, answer = os.pipe()

    def work() -> None:
        become_nobody()
        reader = LocalEngine(public, read_only=True)
        while os.read(asked, 1):
            os.write(answer, bytes([reader.count(address)]))

    child = os.fork()
    if not child:
        os.close(ask)
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    for number in range(1, 30):
        os.write(ask, b"?")
        assert os.read(answers, 1) == bytes([number])
        writer.add(address, numbered(1, number))
        if number % 10 == 0:  # a new WAL each time
            writer.close()
            writer = LocalEngine(public)
            writer.add(address, numbered(1, number))
    for descriptor in (ask, asked, answer, answers):
        os.close(descriptor)
    assert os.waitpid(child, 0)[1] == 0
    writer.close()


def test_segments_are_read_and_none_is_built(disk: LocalEngine, folder: Path) -> None:
    address = make(disk)
    disk.add(address, numbered(2 * TAIL_ROWS))
    build(folder / "collections" / str(address.collection), "l2")
    disk.add(address, numbered(TAIL_ROWS, 2 * TAIL_ROWS))
    entry = disk._handles._entries[address.collection].collection
    assert entry._builder is not None
    entry._builder.wait()
    reader = LocalEngine(folder, read_only=True)
    [hits] = reader.query(address, np.array([[7]], np.float32), 1)
    assert hits.records.ids == ["7"]
    assert reader._handles._entries[address.collection].collection._builder is None
    reader.close()


def test_where_there_is_no_database_none_is_made(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(StorageError, match="has no database, and read_only makes none"):
            vermilion.PersistentClient(path, read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_a_client_that_reads_and_one_that_writes_are_two_engines(tmp_path: Path) -> None:
    with vermilion.PersistentClient(tmp_path) as writer:
        notes = writer.create_collection("notes", embedding_function=None)
        with (
            vermilion.PersistentClient(tmp_path, read_only=True) as reader,
            vermilion.PersistentClient(tmp_path, read_only=True) as another,
        ):
            seen = reader.get_collection("notes")
            notes.add(ids=["a"], embeddings=[[1.0]])
            assert seen.count() == another.get_collection("notes").count() == 1
            with pytest.raises(StorageError, match="was opened read-only"):
                seen.add(ids=["b"], embeddings=[[1.0]])
            with pytest.raises(NotFoundError):
                reader.get_collection("missing")
            here = [key for key in sharing._engines if key.startswith(str(tmp_path.resolve()))]
            assert len(here) == 2
        notes.add(ids=["b"], embeddings=[[1.0]])
        assert notes.count() == 2
