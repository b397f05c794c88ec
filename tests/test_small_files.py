"""Small files that nobody has open are read in memory: no file is made, and nothing missed."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from vermilion.errors import DamagedError, NotFoundError
from vermilion.local import image
from vermilion.local.engine import LocalEngine
from vermilion.types import Address
from words import ALL, HERE, ids, make, numbered, rows


@pytest.fixture
def address(tmp_path: Path) -> Address:
    """A collection of ten records that nobody has open."""
    with closing(LocalEngine(tmp_path)) as engine:
        address = make(engine)
        engine.add(address, numbered(10, documents=[f"number {n}" for n in range(10)]))
    return address


def beside(folder: Path, address: Address) -> set[str]:
    return set(os.listdir(folder / "collections" / str(address.collection)))


def nearest(engine: LocalEngine, address: Address, number: float, k: int = 2) -> list[str]:
    [hits] = engine.query(address, np.array([[number]], np.float32), k)
    return hits.records.ids


def test_to_read_a_small_file_makes_none(tmp_path: Path, address: Address) -> None:
    with closing(LocalEngine(tmp_path)) as engine:
        assert nearest(engine, address, 3.2) == ["3", "4"]
        assert engine.get(address, ids("7"), ALL).documents == ["number 7"]
        assert engine.count(address) == 10
        assert beside(tmp_path, address) == {"records.db"}


def test_a_larger_file_is_opened(tmp_path: Path, address: Address) -> None:
    with closing(LocalEngine(tmp_path)) as engine:
        engine.add(address, numbered(2, 10, documents=["x" * image.MOST_BYTES] * 2))
    with closing(LocalEngine(tmp_path)) as engine:
        assert engine.count(address) == 12
        assert "records.db-wal" in beside(tmp_path, address)


def test_what_others_write_is_seen_at_once(tmp_path: Path, address: Address) -> None:
    with closing(LocalEngine(tmp_path)) as reader:
        assert nearest(reader, address, 20) == ["9", "8"]
        with closing(LocalEngine(tmp_path)) as writer:
            writer.add(address, numbered(1, 10))
            assert nearest(reader, address, 20) == ["10", "9"]
            writer.add(address, numbered(1, 11))
            assert nearest(reader, address, 20) == ["11", "10"]
        assert nearest(reader, address, 20) == ["11", "10"]


def test_what_others_wrote_and_closed_is_seen(tmp_path: Path, address: Address) -> None:
    with closing(LocalEngine(tmp_path)) as reader:
        for number in range(10, 15):
            with closing(LocalEngine(tmp_path)) as writer:
                writer.add(address, numbered(1, number))
            assert beside(tmp_path, address) >= {"records.db", "records.lock"}
            assert nearest(reader, address, 20) == [str(number), str(number - 1)]


def test_a_write_after_a_read_is_seen(tmp_path: Path, address: Address) -> None:
    with closing(LocalEngine(tmp_path)) as engine:
        assert engine.count(address) == 10
        engine.delete(address, ids("3 4"))
        assert nearest(engine, address, 3.4) == ["2", "5"]


def test_a_long_read_is_of_one_moment(tmp_path: Path, address: Address) -> None:
    with closing(LocalEngine(tmp_path)) as engine:
        pages = engine.scan(address, rows=4)
        found = next(pages).ids
        engine.delete(address, ids("8 9"))
        assert engine.count(address) == 8
        for page in pages:
            found += page.ids
        assert found == [str(number) for number in range(10)]


def test_a_collection_deleted_by_others_is_missed(tmp_path: Path, address: Address) -> None:
    with closing(LocalEngine(tmp_path)) as reader, closing(LocalEngine(tmp_path)) as other:
        assert reader.count(address) == 10
        other.delete_collection("things", *HERE)
        assert os.listdir(tmp_path / "collections") == []
        with pytest.raises(NotFoundError):
            reader.count(address)


def test_a_collection_that_was_only_read_is_deleted_whole(tmp_path: Path, address: Address) -> None:
    with closing(LocalEngine(tmp_path)) as engine:
        assert engine.count(address) == 10
        engine.delete_collection("things", *HERE)
        assert os.listdir(tmp_path / "collections") == []


def test_a_damaged_small_file_says_so(tmp_path: Path, address: Address) -> None:
    file = tmp_path / "collections" / str(address.collection) / "records.db"
    content = bytearray(file.read_bytes())
    content[100:2_000] = bytes(1_900)
    file.write_bytes(content)
    with closing(LocalEngine(tmp_path)) as engine, pytest.raises(DamagedError):
        engine.count(address)


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="needs Linux's /proc")
def test_to_read_in_memory_frees_no_lock_of_this_process(tmp_path: Path, address: Address) -> None:
    file = tmp_path / "collections" / str(address.collection) / "records.db"
    number = f":{file.stat().st_ino} "
    with closing(LocalEngine(tmp_path)) as other:
        other.add(address, numbered(1, 10))  # has it open
        held = Path("/proc/locks").read_text().count(number)
        lent = image.Images(file)
        lent._wal = str(tmp_path / "no such file")  # as if both were opening it just now
        assert lent.lend() is not None
        assert Path("/proc/locks").read_text().count(number) == held > 0


def test_many_threads_read_and_one_writes(tmp_path: Path, address: Address) -> None:
    with closing(LocalEngine(tmp_path)) as engine:
        counts: list[list[int]] = [[] for _ in range(4)]

        def read(mine: list[int]) -> None:
            mine.extend(engine.count(address) for _ in range(50))

        threads = [Thread(target=read, args=[mine]) for mine in counts]
        for thread in threads:
            thread.start()
        for number in range(10, 20):
            engine.add(address, rows([str(number)], [[number]]))
        for thread in threads:
            thread.join()
        assert all(mine == sorted(mine) and len(mine) == 50 for mine in counts)
        assert engine.count(address) == 20
