"""Memory and open files: what many collections take, what stays after closing, memory_limit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import vermilion
from vermilion.api.settings import Settings, memory_limit_of, parse_bytes
from vermilion.compat.system import System
from vermilion.errors import ArgumentValueError, StorageError
from vermilion.local.builder import TAIL_ROWS, build
from vermilion.local.engine import LocalEngine
from vermilion.types import Address
from words import make, numbered, where

linux = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc")

PROGRAM = """
import os, sys, tempfile
from pathlib import Path
import numpy as np
import vermilion

def resident():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024

def descriptors():
    return len(os.listdir("/proc/self/fd"))

vectors = np.random.default_rng(0).standard_normal((10, 384)).astype(np.float32)
columns = {
    "ids": [str(number) for number in range(10)],
    "embeddings": vectors,
    "documents": ["a text of some length " * 5] * 10,
    "metadatas": [{"n": number, "word": "red", "x": 1.5} for number in range(10)],
}

def ask(collection):
    found = collection.query(query_embeddings=vectors[:1], n_results=3, where={"n": {"$lt": 5}})
    assert found["ids"][0][0] == "0"

place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # a disk would be slow
with tempfile.TemporaryDirectory(dir=place) as folder:
"""

MANY = """
    with vermilion.PersistentClient(folder) as client:
        for number in range(300):
            name = f"things{number}"
            collection = client.create_collection(name, embedding_function=None)
            collection.add(**columns)
            ask(collection)
        print(resident(), descriptors())
"""

AGAIN = """
    def once():
        with vermilion.PersistentClient(folder) as client:
            collection = client.get_or_create_collection("things", embedding_function=None)
            collection.upsert(**columns)
            ask(collection)

    for _ in range(20):
        once()
    before, files = resident(), descriptors()
    for _ in range(100):
        once()
    print(before, resident(), descriptors() - files)
"""


def run(program: str) -> list[float]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + program], check=True, capture_output=True, timeout=300
    )
    return [float(number) for number in done.stdout.split()]


@linux
def test_small_collections_take_no_memory_once_others_are_used() -> None:
    memory, files = run(MANY)
    assert memory <= 100  # 43 + 300 × 0.45 if all of them were kept open
    assert files <= 150


@linux
def test_opening_and_closing_again_and_again_leaves_nothing() -> None:
    before, after, files = run(AGAIN)
    assert abs(after - before) <= 0.05 * before
    assert files == 0


# ── memory_limit ─────────────────────────────────────────────────────────────────────────────────


def entries(engine: LocalEngine) -> dict[str, int]:
    return {str(id): entry.bytes for id, entry in engine._handles._entries.items()}


def filled(engine: LocalEngine, count: int) -> list[Address]:
    addresses = [make(engine, f"things{number}") for number in range(count)]
    for address in addresses:
        engine.add(address, numbered(500, metadatas=[{"n": n} for n in range(500)]))
    return addresses


def test_collections_that_were_not_used_for_longest_give_up_their_caches(folder: Path) -> None:
    engine = LocalEngine(folder, memory_limit=2_000_000)
    addresses = filled(engine, 12)
    for _ in range(2):
        for address in addresses:
            [hits] = engine.query(address, np.array([[7]], np.float32), 1, where({"n": {"$lt": 9}}))
            assert hits.records.ids == ["7"]
            assert sum(entries(engine).values()) <= 2_000_000
            assert str(address.collection) in entries(engine)
    every = [str(address.collection) for address in addresses]
    kept = [id for id in every if entries(engine).get(id)]
    assert kept == every[-len(kept) :]
    assert 1 < len(kept) < 12
    engine.close()


def test_without_a_limit_they_keep_them(disk: LocalEngine) -> None:
    addresses = filled(disk, 12)
    for address in addresses:
        disk.query(address, np.array([[7]], np.float32), 1)
    assert len(entries(disk)) == 12


def test_a_limit_that_one_collection_exceeds_keeps_nothing(folder: Path) -> None:
    engine = LocalEngine(folder, memory_limit=1)
    [address] = filled(engine, 1)
    for _ in range(3):
        assert engine.count(address, where({"n": 7})) == 1
        assert entries(engine) == {}
    engine.close()


def test_index_files_count(folder: Path) -> None:
    engine = LocalEngine(folder, memory_limit=10**9)
    address = make(engine)
    engine.add(address, numbered(2 * TAIL_ROWS))
    place = folder / "collections" / str(address.collection)
    build(place, "l2")
    engine.query(address, np.array([[7]], np.float32), 1)
    [size] = entries(engine).values()
    assert size >= sum(path.stat().st_size for path in (place / "indexes").iterdir())
    engine.close()


def test_a_limit_is_a_number_of_bytes_or_a_text_with_a_unit() -> None:
    texts = {"1": 1, "512MB": 512 * 10**6, "512 mib": 512 * 2**20, "1.5G": 15 * 10**8, " 2k ": 2000}
    assert {text: parse_bytes(text) for text in texts} == texts
    wrong: list[object] = ["", "MB", "-1", 0, -5, 1.5, True, "12 apples", "0", [1]]
    for given in wrong:
        with pytest.raises(ArgumentValueError, match="Expected memory_limit to be a number of"):
            parse_bytes(given)


def test_a_client_passes_its_limit_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMORY_LIMIT", "somebody else's")
    assert memory_limit_of(Settings()) is None
    assert memory_limit_of(Settings(chroma_memory_limit_bytes=5_000)) == 5_000
    assert memory_limit_of(Settings(chroma_memory_limit_bytes=5_000, memory_limit="1k")) == 1_000
    with pytest.raises(ArgumentValueError, match="memory_limit"):
        vermilion.PersistentClient(tmp_path / "new", memory_limit="much")
    assert not (tmp_path / "new").exists()
    for door in (
        lambda: vermilion.PersistentClient(tmp_path, memory_limit="1 MB"),
        lambda: vermilion.PersistentClient(tmp_path, Settings(memory_limit=10**6)),
        lambda: vermilion.Client(
            Settings(is_persistent=True, persist_directory=str(tmp_path), memory_limit="1MB")
        ),
    ):
        with door() as client:
            engine = client._engine
            assert isinstance(engine, LocalEngine)
            assert engine._handles._memory_limit == 10**6
            assert client.get_settings()["memory_limit"] in ("1 MB", "1MB", 10**6)


def test_settings_may_say_that_a_directory_is_only_read(tmp_path: Path) -> None:
    place = {"is_persistent": True, "persist_directory": str(tmp_path)}
    vermilion.PersistentClient(tmp_path).close()
    settings = Settings(read_only=True, **place)
    with vermilion.AdminClient(settings) as admin:
        assert admin.get_tenant("default_tenant") == {"name": "default_tenant"}
        with pytest.raises(StorageError, match="was opened read-only"):
            admin.create_tenant("acme")
    with vermilion.PersistentClient(tmp_path, read_only=True) as client:
        system = System(client.get_settings())
        with vermilion.AdminClient.from_system(system) as admin, pytest.raises(StorageError):
            admin.create_tenant("acme")
