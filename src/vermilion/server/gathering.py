"""Queries that come at the same time are asked together.

A question for one vector and one for eight share most of their work: the transaction, the filter,
what there is to look through. So while a query of a collection is being answered, others of the
same collection wait, and those that differ in nothing but their vectors then become one call. When
nobody else asks, a query waits for nothing. A slow one holds up the others only for a moment.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vermilion.engine import Engine
from vermilion.types import Address, Hits
from vermilion.wire.records import Query

# Query vectors of one call, and the results of one query up to which it may be part of one.
MOST_TOGETHER = 32
MOST_RESULTS = 128
# Seconds after which those that wait are answered by another thread.
PATIENCE = 0.02

# Makes the answer of what was found, and of how long it took.
Finish = Callable[[list[Hits], float], bytes]


@dataclass(frozen=True)
class _Asked:
    """A query, and who waits for it."""

    query: Query
    finish: Finish
    answer: asyncio.Future[bytes]

    def goes_with(self, other: _Asked) -> bool:
        """Whether both can be one call."""
        mine, yours = self.query, other.query
        return (
            mine.k == yours.k
            and mine.columns == yours.columns
            and mine.effort == yours.effort
            and mine.vectors.shape[1] == yours.vectors.shape[1]
            and mine.selection == yours.selection
        )


@dataclass
class _Line:
    """Those that wait for one collection, and how many threads are answering them."""

    waiting: deque[_Asked] = field(default_factory=deque)
    threads: int = 0
    timed: bool = False


class Gathering:
    """The queries that are being asked, by collection."""

    def __init__(self, engine: Engine, pool: Executor, threads: int) -> None:
        self._engine = engine
        self._pool = pool
        self._threads = threads
        self._guard = threading.Lock()
        self._lines: dict[Address, _Line] = {}

    @staticmethod
    def takes(query: Query) -> bool:
        """Whether a query may wait for others; large ones take as long alone."""
        return 0 < len(query.vectors) <= MOST_TOGETHER and query.k <= MOST_RESULTS

    def ask(self, query: Query, finish: Finish) -> asyncio.Future[bytes]:
        """The answer to come; `finish` runs in a thread."""
        loop = asyncio.get_running_loop()
        asked = _Asked(query, finish, loop.create_future())
        with self._guard:
            line = self._lines.setdefault(query.address, _Line())
            line.waiting.append(asked)
            begins = not line.threads
            line.threads += begins
            waits = not begins and not line.timed
            line.timed |= waits
        if begins:
            self._pool.submit(self._answer, query.address, line)
        elif waits:
            loop.call_later(PATIENCE, self._relieve, query.address, line)
        return asked.answer

    def _relieve(self, address: Address, line: _Line) -> None:
        """Sends one more thread to those who are still waiting."""
        with self._guard:
            line.timed = False
            begins = bool(line.waiting) and 0 < line.threads < self._threads
            line.threads += begins
        if begins:
            self._pool.submit(self._answer, address, line)

    # ── in a thread ──────────────────────────────────────────────────────────────────────────────

    def _answer(self, address: Address, line: _Line) -> None:
        while group := self._next(address, line):
            answers = self._together(group)
            for loop in {asked.answer.get_loop() for asked in group}:
                mine = [
                    (asked.answer, answer)
                    for asked, answer in zip(group, answers, strict=True)
                    if asked.answer.get_loop() is loop
                ]
                _hand_over(loop, mine)

    def _next(self, address: Address, line: _Line) -> list[_Asked]:
        """The first that waits and those that go with it; this thread's end when nobody waits."""
        with self._guard:
            group: list[_Asked] = []
            others: deque[_Asked] = deque()
            room = MOST_TOGETHER
            for asked in line.waiting:
                size = len(asked.query.vectors)
                if asked.answer.done():
                    continue
                if not group or (size <= room and asked.goes_with(group[0])):
                    group.append(asked)
                    room -= size
                else:
                    others.append(asked)
            line.waiting = others
            if not group:
                line.threads -= 1
                if not line.threads:
                    del self._lines[address]
            return group

    def _together(self, group: Sequence[_Asked]) -> list[bytes | Exception]:
        """The answer to each; when one call for all fails, each is asked alone."""
        began = time.perf_counter()
        first = group[0].query
        alone = len(group) == 1
        vectors = first.vectors if alone else np.concatenate([one.query.vectors for one in group])
        try:
            hits = self._engine.query(
                first.address, vectors, first.k, first.selection, first.columns, first.effort
            )
        except Exception as error:
            return [error] if alone else [self._together([one])[0] for one in group]
        took = time.perf_counter() - began
        answers: list[bytes | Exception] = []
        for one in group:
            mine, hits = hits[: len(one.query.vectors)], hits[len(one.query.vectors) :]
            answers.append(_finished(one.finish, mine, took))
        return answers


def _finished(finish: Finish, hits: list[Hits], took: float) -> bytes | Exception:
    try:
        return finish(hits, took)
    except Exception as error:
        return error


def _hand_over(loop: Any, answers: list[tuple[asyncio.Future[bytes], bytes | Exception]]) -> None:
    def give() -> None:
        for future, answer in answers:
            if future.done():  # the caller has given up
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    try:
        loop.call_soon_threadsafe(give)
    except RuntimeError:  # the loop is closed: nobody waits any more
        return
