"""fork(): parent and child both go on with what was open, and neither harms the other."""

from __future__ import annotations

import os
import threading
import warnings
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from children import fork, in_child, succeeded
from vermilion import forks
from vermilion.api.client import Client
from vermilion.api.collection import Collection
from vermilion.engine import Engine
from vermilion.errors import ClosedError
from vermilion.local.builder import build
from vermilion.local.engine import LocalEngine
from vermilion.types import Address
from words import WordLengths, make, numbered, where

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
    # Python 3.12 warns of any fork in a process with threads.
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


def add_and_find(engine: Engine, address: Address, number: int) -> None:
    """Adds a record and finds it by id, by filter and by vector."""
    engine.upsert(address, numbered(1, number, metadatas=[{"n": number}]))
    assert engine.get(address, where({"n": number})).ids == [str(number)]
    [hits] = engine.query(address, np.array([[number]], np.float32), 1)
    assert hits.records.ids == [str(number)]


def files_below(folder: Path) -> list[str]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:
            continue
    return sorted(path for path in found if path.startswith(str(folder)))


def test_parent_and_child_go_on_with_what_was_open(disk: LocalEngine) -> None:
    address = make(disk)
    add_and_find(disk, address, 0)

    def work(first: int) -> None:
        for number in range(first, first + 40):
            add_and_find(disk, address, number)

    child = fork(lambda: work(100))
    work(200)
    assert succeeded(child)
    assert disk.count(address) == 81
    add_and_find(disk, address, 7)


def test_a_child_has_its_own_copy_of_what_is_in_memory() -> None:
    engine = LocalEngine()
    address = make(engine)
    add_and_find(engine, address, 0)

    def work() -> None:
        add_and_find(engine, address, 1)
        add_and_find(engine, make(engine, "another"), 2)
        assert engine.count(address) == 2

    assert in_child(work)
    assert engine.count(address) == 1
    assert engine.count_collections("default_tenant", "default_database") == 1
    engine.close()


def test_clients_and_collections_of_before_work_in_the_child(local_client: Client) -> None:
    client = local_client
    collection = client.create_collection("notes", embedding_function=WordLengths())
    collection.add(ids=["a"], documents=["one two"])

    def work() -> None:
        collection.add(ids=["b"], documents=["three"])
        assert client.get_collection("notes").count() == 2
        assert collection.query(query_texts=["three"], n_results=1)["ids"] == [["b"]]
        client.create_collection("more")
        client.close()

    assert in_child(work)
    collection.add(ids=["c"], documents=["four"])
    on_disk = client.get_settings().is_persistent
    assert collection.count() == (3 if on_disk else 2)


def test_what_a_child_writes_stays_though_the_parent_closes(
    disk: LocalEngine, folder: Path
) -> None:
    # With the parent's connections in the child, SQLite would think the child holds the parent's
    # locks, and the parent's closing would remove the WAL that the child writes.
    address = make(disk)
    disk.add(address, numbered(10))
    disk.query(address, np.zeros((1, 1), np.float32), 1)
    proceed, closed = os.pipe()

    def work() -> None:
        disk.add(address, numbered(10, 10))
        os.read(proceed, 1)
        disk.add(address, numbered(10, 20))  # and ends without closing: what it wrote is in the WAL

    child = fork(work)
    while disk.count(address) < 20:
        pass
    disk.close()
    os.write(closed, b"x")
    assert succeeded(child)
    os.close(proceed)
    os.close(closed)
    again = LocalEngine(folder)
    assert again.get(address).ids == [str(n) for n in range(30)]
    again.close()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc")
def test_a_child_inherits_no_open_file(disk: LocalEngine, folder: Path) -> None:
    address = make(disk)
    add_and_find(disk, address, 0)
    assert files_below(folder)

    def work() -> None:
        assert files_below(folder) == []
        add_and_find(disk, address, 1)
        mine = f" {os.getpid()} "
        assert mine in Path("/proc/locks").read_text()

    assert in_child(work)
    assert files_below(folder) == []
    add_and_find(disk, address, 2)


def test_twenty_forks_beside_threads_that_write_and_read(disk: LocalEngine) -> None:
    address = make(disk)
    disk.add(address, numbered(1, metadatas=[{"n": 0}]))
    written: list[int] = []
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            number = 1000 + len(written)
            add_and_find(disk, address, number)
            written.append(number)

    def read() -> None:
        while not over.is_set():
            assert disk.get(address, where({"n": 0})).ids == ["0"]

    threads = [threading.Thread(target=write), threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    children = [fork(lambda n=n: add_and_find(disk, address, n)) for n in range(1, 21)]  # type: ignore[misc]
    outcomes = [succeeded(child) for child in children]
    over.set()
    for thread in threads:
        thread.join()
    assert outcomes == [True] * 20
    found = {int(id) for id in disk.get(address).ids}
    assert found == {*range(21), *written}


def test_a_fork_waits_for_the_write_of_another_thread(disk: LocalEngine) -> None:
    address = make(disk)
    disk.add(address, numbered(1))
    inside, leave = threading.Event(), threading.Event()

    def write() -> None:
        with disk._catalogue._file.writing() as connection:
            connection.execute("insert into tenants (name) values ('late')")
            inside.set()
            leave.wait(30)

    thread = threading.Thread(target=write)
    thread.start()
    inside.wait(30)
    threading.Timer(0.2, leave.set).start()

    def work() -> None:
        assert leave.is_set()
        assert disk.get_tenant("late") == "late"
        disk.create_tenant("later")
        add_and_find(disk, address, 5)

    assert in_child(work)
    thread.join()
    assert disk.get_tenant("later") == "later"


def test_a_child_does_not_keep_the_lock_of_a_writer(disk: LocalEngine, other: LocalEngine) -> None:
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with disk._catalogue.exclusive():
            inside.set()
            leave.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait(30)
    wait, end = os.pipe()

    def work() -> None:
        os.close(end)
        os.read(wait, 1)
        disk.create_tenant("of the child")

    child = fork(work)
    leave.set()
    thread.join()
    other.create_tenant("of the parent")  # though the child lives
    os.close(end)
    assert succeeded(child)
    os.close(wait)
    assert disk.get_tenant("of the child")


def test_locks_that_other_threads_hold_are_free_in_the_child(client: Client) -> None:
    lock, mine = forks.Lock(), forks.Lock(reentrant=True)
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            inside.set()
            leave.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait(30)

    def take() -> None:
        with lock:
            pass

    with mine:
        assert in_child(take)
        child = fork(take)
        with mine:
            pass
    assert succeeded(child)
    leave.set()
    thread.join()
    take()


def test_a_child_forked_inside_a_call_is_told_so(
    local_engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = local_engine
    monkeypatch.setattr(forks, "FORK_SECONDS", 0.1)
    address = make(engine)
    engine.add(address, numbered(1))
    inside, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with forks.held_off:
            inside.set()
            leave.wait(30)

    def work() -> None:
        with pytest.raises(ClosedError, match="forked in the middle of a call"):
            engine.count(address)

    thread = threading.Thread(target=stay)
    thread.start()
    inside.wait(30)
    assert in_child(work)
    leave.set()
    thread.join()

    def leave_and_work() -> None:
        forks.held_off.__exit__(None, None, None)
        work()

    with forks.held_off:
        assert in_child(leave_and_work)
    add_and_find(engine, address, 1)


def test_sealed_segments_answer_in_the_child(disk: LocalEngine, folder: Path) -> None:
    address = make(disk)
    vectors = np.random.default_rng(1).normal(size=(6_000, 32)).astype(np.float32)
    batch = numbered(len(vectors))
    disk.add(address, type(batch)(batch.ids, vectors))
    build(folder / "collections" / str(address.collection), "l2")

    def ask() -> list[list[str]]:
        return [hits.records.ids for hits in disk.query(address, vectors[:50], 3)]

    expected = ask()

    def work() -> None:
        assert ask() == expected

    for _ in range(3):
        assert in_child(work)
    assert ask() == expected


def query_in_pool(number: int) -> Any:
    _shared.add(ids=[f"pool {number}"], documents=["one two three"])
    return _shared.get(ids=[f"pool {number}"])["ids"]


_shared: Collection


def test_a_pool_of_forked_processes_shares_a_collection(local_client: Client) -> None:
    global _shared
    client = local_client
    _shared = client.create_collection("notes", embedding_function=WordLengths())
    _shared.add(ids=["a"], documents=["one"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with get_context("fork").Pool(3) as pool:
            found = pool.map(query_in_pool, range(12), chunksize=1)
            pool.close()
            pool.join()
    assert found == [[f"pool {number}"] for number in range(12)]
    assert _shared.count() == (13 if client.get_settings().is_persistent else 1)
