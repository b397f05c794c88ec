"""Threads that query at the same time: one asks for all of them, and each gets its own answer."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from children import in_child
from vermilion import gathering
from vermilion.engine import EVERYTHING, Selection
from vermilion.errors import ClosedError, DimensionError, NotFoundError
from vermilion.gathering import Line, Question
from vermilion.local.collection import LocalCollection
from vermilion.local.engine import LocalEngine
from vermilion.records import Batch
from vermilion.types import Address, Effort, Hits
from words import HERE, make


class Held:
    """Has the first so many calls of every collection wait, and notes how many vectors each has."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, hold: int) -> None:
        self.sizes: list[int] = []
        self.go_on = threading.Event()
        answer = LocalCollection._answer

        def held(collection: LocalCollection, question: Any) -> list[Hits]:
            self.sizes.append(len(question.vectors))
            if len(self.sizes) <= hold:
                assert self.go_on.wait(30)
            return answer(collection, question)

        monkeypatch.setattr(LocalCollection, "_answer", held)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    """The first call waits; the others wait for it, however long it takes."""
    monkeypatch.setattr(gathering, "PATIENCE", 60)
    monkeypatch.setattr(gathering, "AT_ONCE", 1)
    return Held(monkeypatch, 1)


@pytest.fixture(params=["memory", "disk"])
def engine(request: Any, tmp_path: Path) -> Iterator[LocalEngine]:
    engine = LocalEngine(tmp_path if request.param == "disk" else None)
    yield engine
    engine.close()


def filled(engine: LocalEngine) -> Address:
    address = make(engine)
    vectors = np.array([[n, 1] for n in range(10)], np.float32)
    engine.add(address, Batch([f"r{n}" for n in range(10)], vectors))
    return address


def at(x: float) -> Any:
    return np.array([[x, 1]], np.float32)


def ids(hits: list[Hits]) -> list[list[str]]:
    return [one.records.ids for one in hits]


def waiting(engine: LocalEngine, address: Address) -> int:
    return len(engine._handles._entries[address.collection].collection._gathering._line._waiting)


def asked_at_once(
    engine: LocalEngine, address: Address, held: Held, *others: Callable[[], Any]
) -> list[Future[Any]]:
    """The first is a query that is held up until the others wait for it, which come in order."""
    with ThreadPoolExecutor(1 + len(others)) as pool:
        futures = [pool.submit(engine.query, address, at(0), 2)]
        while not held.sizes:
            time.sleep(0.001)
        for number, other in enumerate(others, 1):
            futures.append(pool.submit(other))
            while waiting(engine, address) < number and not futures[-1].done():
                time.sleep(0.001)
        held.go_on.set()
        return futures


def test_threads_that_wait_are_answered_by_one_call(engine: LocalEngine, held: Held) -> None:
    address = filled(engine)
    queries = [at(x) for x in (3.1, 8.2, 0.4)] + [np.array([[1.2, 1], [7.7, 1]], np.float32)]
    futures = asked_at_once(
        engine, address, held, *(lambda q=q: engine.query(address, q, 2) for q in queries)
    )
    assert held.sizes == [1, 5]
    for future, query in zip(futures[1:], queries, strict=True):
        alone = engine.query(address, query, 2)
        assert ids(future.result()) == ids(alone)
        for one, other in zip(future.result(), alone, strict=True):
            assert one.distances.tobytes() == other.distances.tobytes()


class Asked(NamedTuple):
    """Somebody in line."""

    number: int
    question: Question = Question(at(0), 1, EVERYTHING, (), Effort())


def test_who_was_just_answered_has_a_moment_to_ask_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "LONGEST", 60)
    line, (leader, *others) = Line[Asked](), [Asked(number) for number in range(4)]
    line.answered([leader, *others], took=1e6)
    assert line.enter(leader)
    with ThreadPoolExecutor(1) as pool:
        group = pool.submit(line.gather, leader)
        for one in others:
            assert not group.done()
            assert not line.enter(one)
        assert group.result() == [leader, *others]


def test_who_does_not_come_is_not_waited_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "LONGEST", 0.001)
    line, leader = Line[Asked](), Asked(0)
    line.answered([leader, Asked(1)], took=1e6)
    assert line.enter(leader)
    assert line.gather(leader) == [leader]
    monkeypatch.setattr(gathering, "LONGEST", threading.TIMEOUT_MAX)
    assert line.gather(leader) == [leader], "at once"


def test_what_differs_in_more_than_its_vectors_is_asked_apart(
    engine: LocalEngine, held: Held
) -> None:
    address = filled(engine)
    kinds: list[Callable[[], Any]] = [
        lambda: engine.query(address, at(3), 2),
        lambda: engine.query(address, at(3), 3),
        lambda: engine.query(address, at(3), 2, Selection(ids=["r1", "r2"])),
        lambda: engine.query(address, at(3), 2, EVERYTHING, ("documents",)),
        lambda: engine.query(address, at(3), 2, EVERYTHING, (), Effort(exact=True)),
        lambda: engine.query(address, at(4), 2),
    ]
    futures = asked_at_once(engine, address, held, *kinds)
    assert sorted(held.sizes) == [1, 1, 1, 1, 1, 2]
    assert [ids(one.result()) for one in futures[1:]] == [ids(kind()) for kind in kinds]


def test_an_error_is_told_to_who_caused_it(engine: LocalEngine, held: Held) -> None:
    address = filled(engine)
    wrong = np.ones((1, 3), np.float32)
    futures = asked_at_once(
        engine,
        address,
        held,
        lambda: engine.query(address, wrong, 2),
        lambda: engine.query(address, at(5), 2),
        lambda: engine.query(address, wrong, 2),
    )
    assert ids(futures[2].result()) == [["r5", "r4"]]
    errors = [futures[1].exception(), futures[3].exception()]
    assert [type(error) for error in errors] == [DimensionError] * 2
    assert errors[0] is not errors[1]


def test_who_asks_sees_what_was_written_before(engine: LocalEngine, held: Held) -> None:
    address = filled(engine)

    def write_and_ask() -> list[Hits]:
        engine.add(address, Batch(["new"], at(2.5)))
        return engine.query(address, at(2.5), 1)

    futures = asked_at_once(
        engine, address, held, lambda: engine.query(address, at(2.4), 1), write_and_ask
    )
    assert ids(futures[2].result()) == [["new"]]


@pytest.mark.parametrize("how", ["closed", "deleted"])
def test_a_collection_that_goes_meanwhile(tmp_path: Path, held: Held, how: str) -> None:
    engine = LocalEngine(tmp_path)
    address = filled(engine)

    def goes() -> None:
        if how == "closed":
            engine.close()
        else:
            engine.delete_collection("things", *HERE)

    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(engine.query, address, at(1), 1)]
        while not held.sizes:
            time.sleep(0.001)
        futures += [pool.submit(engine.query, address, at(1), 1) for _ in range(2)]
        while waiting(engine, address) < 2:
            time.sleep(0.001)
        collection = engine._handles._entries[address.collection].collection
        goes()
        held.go_on.set()
        errors = {type(one.exception()) for one in futures}
    # A call that had begun when the engine was closed may still be answered.
    assert errors <= {type(None), ClosedError} if how == "closed" else errors == {NotFoundError}
    assert collection._gathering._line.is_empty
    engine.close()
    assert collection._opened is None, "nobody has opened it again"
    with pytest.raises(ClosedError):
        engine.query(address, at(1), 1)


def test_a_slow_call_holds_up_the_others_only_for_a_moment(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch, 1)
    address = filled(engine)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(engine.query, address, at(0), 1)
        while not held.sizes:
            time.sleep(0.001)
        assert ids(engine.query(address, at(7), 1)) == [["r7"]]
        assert ids(engine.query(address, at(7), 1, Selection(ids=["r2"]))) == [["r2"]]
        assert not first.done()
        held.go_on.set()
        assert ids(first.result()) == [["r0"]]


def test_who_is_interrupted_leaves_the_others_their_turn(
    engine: LocalEngine, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = filled(engine)
    answer = LocalCollection._answer

    def interrupted(collection: LocalCollection, question: Any) -> list[Hits]:
        found = answer(collection, question)
        if len(held.sizes) == 1:
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(LocalCollection, "_answer", interrupted)

    def ask() -> list[Hits]:
        return engine.query(address, at(6), 1)

    futures = asked_at_once(engine, address, held, ask, ask)
    assert isinstance(futures[0].exception(), KeyboardInterrupt)
    assert [ids(one.result()) for one in futures[1:]] == [[["r6"]]] * 2
    assert held.sizes == [1, 2]


def test_many_threads_beside_one_that_writes(engine: LocalEngine) -> None:
    address = filled(engine)
    done = threading.Event()

    def read(seed: int) -> int:
        random, asked = np.random.default_rng(seed), 0
        while not done.is_set():
            x = int(random.integers(10))
            assert ids(engine.query(address, at(x), 1)) == [[f"r{x}"]]
            asked += 1
        return asked

    with ThreadPoolExecutor(8) as pool:
        readers = [pool.submit(read, seed) for seed in range(8)]
        try:
            for number in range(100):
                engine.add(address, Batch([f"w{number}"], at(1_000 + number)))
                assert ids(engine.query(address, at(1_000 + number), 1)) == [[f"w{number}"]]
        finally:
            done.set()
        assert all(reader.result() for reader in readers)
    line = engine._handles._entries[address.collection].collection._gathering._line
    assert line.is_empty


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_fork_while_threads_wait(tmp_path: Path) -> None:
    engine = LocalEngine(tmp_path)
    address = filled(engine)
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            assert ids(engine.query(address, at(4), 1)) == [["r4"]]

    def ask_in_child() -> None:
        assert ids(engine.query(address, at(3), 1)) == [["r3"]]

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(4)]
        try:
            for _ in range(5):
                assert in_child(ask_in_child)
        finally:
            done.set()
        for reader in readers:
            reader.result()
    engine.close()
