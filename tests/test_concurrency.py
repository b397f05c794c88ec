"""Many threads and many processes on one database."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vermilion.engine import EVERYTHING, Engine, Selection
from vermilion.errors import (
    ClosedError,
    NotFoundError,
)
from vermilion.local.engine import LocalEngine
from vermilion.records import Batch
from vermilion.types import Address
from words import HERE, cells, ids, make, names, numbered, where

# ── many threads ─────────────────────────────────────────────────────────────────────────────────


def test_threads_add_and_query_one_collection(engine: Engine) -> None:
    address, threads, rounds, size = make(engine), 8, 15, 10

    def work(thread: int) -> None:
        for number in range(rounds):
            start = (thread * rounds + number) * size
            added = numbered(size, start, metadatas=[{"thread": thread}] * size)
            engine.add(address, added)
            assert engine.count(address, Selection(ids=added.ids)) == size
            mine = where({"thread": thread})
            assert engine.count(address, mine) == (number + 1) * size
            [hits] = engine.query(address, np.array([[start]], np.float32), 1, mine)
            assert hits.records.ids == [str(start)]
            engine.update(address, cells(str(start), documents=[f"of {thread}"]))
            engine.delete(address, ids(str(start + 1)))
            engine.add(address, numbered(1, start + 1, metadatas=[{"thread": thread}]))

    with ThreadPoolExecutor(threads) as pool:
        for job in [pool.submit(work, thread) for thread in range(threads)]:
            job.result()
    everything = threads * rounds * size
    records = engine.get(address, EVERYTHING, ("vectors", "metadatas"))
    assert sorted(map(int, records.ids)) == list(range(everything))
    assert records.vectors is not None
    assert records.vectors[:, 0].tolist() == [float(id) for id in records.ids]
    [hits] = engine.query(address, np.zeros((1, 1), np.float32), everything)
    assert hits.records.ids == [str(n) for n in range(everything)]


def test_who_is_inside_a_collection_that_is_deleted_is_told_so(engine: Engine) -> None:
    address = make(engine)
    engine.add(address, numbered(2_000, metadatas=[{"n": n} for n in range(2_000)]))

    def read() -> None:
        while True:
            [hits] = engine.query(
                address, np.zeros((1, 1), np.float32), 3, where({"n": {"$gt": 4}})
            )
            assert hits.records.ids == ["5", "6", "7"]
            engine.upsert(address, cells("0", documents=["x"]))

    with ThreadPoolExecutor(6) as pool:
        jobs = [pool.submit(read) for _ in range(6)]
        engine.get(address)
        engine.delete_collection("things", *HERE)
        for job in jobs:
            with pytest.raises(NotFoundError):
                job.result(timeout=60)


def test_closing_waits_for_nobody_and_breaks_nobody(engine: Engine) -> None:
    address = make(engine)
    engine.add(address, numbered(2_000))

    def read() -> None:
        while True:
            [hits] = engine.query(address, np.zeros((1, 1), np.float32), 2)
            assert hits.records.ids == ["0", "1"]

    with ThreadPoolExecutor(6) as pool:
        jobs = [pool.submit(read) for _ in range(6)]
        engine.count(address)
        engine.close()
        for job in jobs:
            with pytest.raises(ClosedError):
                job.result(timeout=60)


def test_listing_survives_collections_that_come_and_go(engine: Engine) -> None:
    def churn(name: str) -> None:
        for _ in range(15):
            engine.add(make(engine, name), Batch(["a"], np.zeros((1, 2), np.float32)))
            engine.delete_collection(name, *HERE)

    with ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(churn, f"churn{number}") for number in range(3)]
        while not all(job.done() for job in jobs):
            assert set(names(engine)) <= {"churn0", "churn1", "churn2"}
        for job in jobs:
            job.result()
    assert names(engine) == []


# ── many processes ───────────────────────────────────────────────────────────────────────────────

processes = get_context("spawn")


def add_and_check(folder: Path, address: Address, number: int) -> None:
    engine = LocalEngine(folder)
    for turn in range(20):
        start = (number * 20 + turn) * 5
        engine.add(address, numbered(5, start, metadatas=[{"process": number}] * 5))
        mine = where({"process": number})
        assert engine.count(address, mine) == 5 * (turn + 1)
        [hits] = engine.query(address, np.array([[start]], np.float32), 1, mine)
        assert hits.records.ids == [str(start)]
        make(engine, f"turn{turn}", get_or_create=True)
    engine.close()


def test_processes_write_one_directory_and_lose_nothing(disk: LocalEngine, folder: Path) -> None:
    address = make(disk)
    with ProcessPoolExecutor(3, processes) as pool:
        jobs = [pool.submit(add_and_check, folder, address, number) for number in range(3)]
        for job in jobs:
            job.result(timeout=120)
    records = disk.get(address, EVERYTHING, ("vectors",))
    assert sorted(map(int, records.ids)) == list(range(300))
    assert records.vectors is not None
    assert records.vectors[:, 0].tolist() == [float(id) for id in records.ids]
    assert sorted(names(disk)) == sorted(["things", *(f"turn{turn}" for turn in range(20))])


ROWS_AT_ONCE = 7


def add_for_ever(folder: Path, address: Address, acknowledge: Any) -> None:
    engine = LocalEngine(folder)
    for turn in itertools.count():
        engine.add(address, numbered(ROWS_AT_ONCE, turn * ROWS_AT_ONCE))
        acknowledge.send(turn)


@pytest.mark.parametrize("turns", [1, 40])
def test_what_was_acknowledged_survives_a_kill(disk: LocalEngine, folder: Path, turns: int) -> None:
    address = make(disk)
    inbox, outbox = processes.Pipe(duplex=False)
    writer = processes.Process(target=add_for_ever, args=(folder, address, outbox))
    writer.start()
    outbox.close()
    done = -1
    while done < turns:
        assert inbox.poll(60), "the writer is stuck"
        done = inbox.recv()
    writer.kill()
    writer.join()
    with suppress(EOFError):
        while inbox.poll(1):
            done = inbox.recv()
    inbox.close()
    for engine in (disk, LocalEngine(folder)):
        found = engine.get(address).ids
        assert len(found) in ((done + 1) * ROWS_AT_ONCE, (done + 2) * ROWS_AT_ONCE)
        assert found == [str(n) for n in range(len(found))]
        [hits] = engine.query(address, np.zeros((1, 1), np.float32), len(found))
        assert hits.records.ids == found
    engine.add(address, numbered(1, 10**6))
    assert disk.count(address) == len(found) + 1
    engine.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_sample_of_the_thousand_kills() -> None:
    program = Path(__file__).parent.parent / "benchmarks" / "kill.py"
    path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, program, "--kills", "5"],
        env=os.environ | path,
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    result = json.loads(done.stdout)
    assert (result["kills"], result["errors"]) == (5, 0)


def test_a_deletion_by_filter_that_waits_for_another_writer_holds_up_no_reader(
    disk: LocalEngine, other: LocalEngine
) -> None:
    address = make(disk)
    disk.add(address, numbered(5, metadatas=[{"n": n} for n in range(5)]))
    store = other._handles._entries
    assert other.count(address) == 5
    held = store[address.collection].collection.store()
    assert held is not None
    with held.exclusive():
        deleting = threading.Thread(target=lambda: disk.delete(address, where({"n": 3})))
        deleting.start()
        deleting.join(0.1)
        answers = ThreadPoolExecutor(1)
        query = answers.submit(disk.query, address, np.array([[3]], np.float32), 1)
        assert query.result(timeout=30)[0].records.ids == ["3"]
        assert deleting.is_alive()
    deleting.join()
    answers.shutdown()
    assert disk.get(address).ids == ["0", "1", "2", "4"]
