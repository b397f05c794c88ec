"""A full disk: what does not fit is refused as a whole, what was acknowledged stays."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from children import can_mount, in_child, mount_small
from vermilion.errors import StorageError
from vermilion.local import builder
from vermilion.local.engine import LocalEngine
from vermilion.local.segment import VERSIONS
from vermilion.records import Batch
from vermilion.types import Address
from words import HERE, make, names, numbered

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]

FULL = "disk is full|No space left|limit on the size of files|File too large"


def large(count: int, start: int = 0) -> Batch:
    """Records of two kilobytes."""
    ids = [str(number) for number in range(start, start + count)]
    vectors = np.arange(start, start + count, dtype=np.float32)[:, None] * np.ones(500, np.float32)
    return Batch(ids, vectors)


def fill(folder: Path) -> Callable[[], None]:
    """Takes all the room that is left; what is returned gives it back."""
    ballast = folder / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        for size in (65_536, 4_096, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                continue
    return ballast.unlink


def small_disk(folder: Path) -> Callable[[], Callable[[], None]]:
    mount_small(folder, "3m")
    return lambda: fill(folder)


def small_files(folder: Path) -> Callable[[], Callable[[], None]]:
    """No file may be long: for systems where nobody may mount."""
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit() -> Callable[[], None]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8_192, most))
        return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    return limit


@pytest.fixture(params=[small_disk, small_files])
def prepare(request: pytest.FixtureRequest) -> Callable[[Path], Callable[[], Callable[[], None]]]:
    """In a child: makes room scarce; what is returned takes the rest, and then gives it back."""
    if request.param is small_disk and not can_mount():
        pytest.skip("this user or this sandbox may not mount")
    chosen: Callable[[Path], Callable[[], Callable[[], None]]] = request.param
    return chosen


Prepare = Callable[[Path], Callable[[], Callable[[], None]]]


def check(engine: LocalEngine, address: Address, rows: int) -> None:
    assert engine.get(address).ids == [str(number) for number in range(rows)]
    if rows:
        [hits] = engine.query(address, np.zeros((1, 500), np.float32), rows)
        assert hits.records.ids == [str(number) for number in range(rows)]


def test_an_add_that_does_not_fit_leaves_nothing(tmp_path: Path, prepare: Prepare) -> None:
    def work() -> None:
        take = prepare(tmp_path)
        engine = LocalEngine(tmp_path / "database")
        address = make(engine)
        engine.add(address, large(100))
        check(engine, address, 100)  # reading makes SQLite's shared memory, which takes room
        give_back = take()
        for _ in range(3):
            with pytest.raises(StorageError, match=FULL):
                engine.add(address, large(500, 100))
            check(engine, address, 100)
            other = LocalEngine(tmp_path / "database", read_only=True)
            check(other, address, 100)
            other.close()
        give_back()
        engine.add(address, large(100, 100))
        check(engine, address, 200)
        engine.close()
        again = LocalEngine(tmp_path / "database")
        check(again, address, 200)
        again.close()

    assert in_child(work)


def test_adding_until_the_disk_is_full_keeps_what_was_added(tmp_path: Path) -> None:
    if not can_mount():
        pytest.skip("this user or this sandbox may not mount")

    def work() -> None:
        mount_small(tmp_path, "3m")
        engine = LocalEngine(tmp_path / "database")
        address = make(engine)
        added = 0
        with pytest.raises(StorageError, match=FULL):
            while True:
                engine.add(address, large(10, added))
                added += 10
        assert added > 100
        check(engine, address, added)
        engine.close()
        again = LocalEngine(tmp_path / "database")
        check(again, address, added)
        again.close()

    assert in_child(work)


def test_a_collection_that_has_no_room_is_not_created(tmp_path: Path, prepare: Prepare) -> None:
    def work() -> None:
        take = prepare(tmp_path)
        engine = LocalEngine(tmp_path / "database")
        address = make(engine, "empty")
        give_back = take()
        with pytest.raises(StorageError, match=FULL):
            for number in range(100):  # the pages that are there already have room for some
                make(engine, f"new {number}")
        kept = names(engine)
        assert kept == ["empty", *(f"new {number}" for number in range(len(kept) - 1))]
        with pytest.raises(StorageError, match=FULL):
            engine.add(address, large(10))  # its file has to be made
        assert [path.name for path in tmp_path.rglob("*.new*")] == []
        assert engine.get_collection("empty", *HERE).address == address
        give_back()
        make(engine, "things")
        assert names(engine) == [*kept, "things"]
        engine.add(address, large(10))
        check(engine, address, 10)
        engine.close()

    assert in_child(work)


def test_a_builder_that_has_no_room_leaves_nothing(tmp_path: Path, prepare: Prepare) -> None:
    def work() -> None:
        take = prepare(tmp_path)
        engine = LocalEngine(tmp_path / "database")
        address = make(engine)
        rows = builder.TAIL_ROWS
        batch = numbered(rows)
        builder.Builder.start = lambda self: None  # type: ignore[method-assign]
        engine.add(address, batch)
        assert engine.count(address) == rows
        folder = tmp_path / "database" / "collections" / str(address.collection)
        (folder / "indexes").mkdir()
        (folder / "builder.lock").touch()
        give_back = take()
        for _ in range(2):
            with pytest.raises((StorageError, OSError), match=FULL):
                builder.build(folder, "l2")
            assert list((folder / "indexes").iterdir()) == []
            assert engine.count(address) == rows
        give_back()
        builder.build(folder, "l2")
        assert len(list((folder / "indexes").iterdir())) == len(VERSIONS)
        [hits] = engine.query(address, np.array([[77]], np.float32), 1)
        assert hits.records.ids == ["77"]
        engine.close()

    assert in_child(work)
