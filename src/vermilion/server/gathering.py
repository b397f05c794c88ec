"""Queries that come at the same time are asked together, and wait without a thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass

from vermilion import gathering
from vermilion.engine import Engine
from vermilion.gathering import Answer, Line, Question, together
from vermilion.types import Address, Hits
from vermilion.wire.records import Query

# Lines of collections that nobody asks any more are kept, up to so many.
MOST_LINES = 1_000
# Seconds that a query may take of the event loop's thread, where others have just taken no more.
QUICK = 0.003

# Makes the answer of what was found, and of how long it took.
Finish = Callable[[list[Hits], float], bytes]
Answers = Sequence[tuple[asyncio.Future[bytes], bytes | Exception]]
Give = Callable[[Answers], None]


@dataclass(frozen=True, eq=False)
class _Asked:
    """A query, and who waits for it."""

    question: Question
    finish: Finish
    answer: asyncio.Future[bytes]


class _Line(Line[_Asked]):
    """Those who wait for one collection."""

    # How many writes there had been when a plain query was last answered quickly.
    quick_at = -1


class Gathering:
    """The queries that are being asked, by collection.

    One that nobody else's is to be asked with, and that is likely to be quick, is answered by the
    thread of the event loop: to hand it to another one and back takes a tenth of a millisecond.
    """

    def __init__(self, engine: Engine, pool: Executor) -> None:
        self._engine = engine
        self._pool = pool
        self._lines: dict[Address, _Line] = {}
        self._writes = 0

    @staticmethod
    def takes(query: Query) -> bool:
        """Whether a query may wait for others; large ones take as long alone."""
        return _question(query).is_small

    def ask(self, query: Query, finish: Finish, *, alone: bool) -> asyncio.Future[bytes]:
        """The answer to come; `alone`: no other request has come with this one."""
        loop = asyncio.get_running_loop()
        asked = _Asked(_question(query), finish, loop.create_future())
        line = self._line(query.address)
        if not line.enter(asked):
            loop.call_later(gathering.PATIENCE, self._relieve, query.address, line, asked)
        elif alone:
            self._begin(query.address, line, asked)
        else:
            # Requests that have come with this one get in line before it is asked.
            loop.call_soon(self._begin, query.address, line, asked)
        return asked.answer

    def written(self) -> None:
        """Something was written: the next query of a collection may have to catch up with it."""
        self._writes += 1

    def _line(self, address: Address) -> _Line:
        line = self._lines.get(address)
        if line is None:
            if len(self._lines) >= MOST_LINES:
                self._lines = {at: one for at, one in self._lines.items() if not one.is_empty}
            line = self._lines[address] = _Line()
        return line

    def _begin(self, address: Address, line: _Line, asked: _Asked) -> None:
        if line.quick_at == self._writes and _is_plain(asked.question) and line.is_alone:
            following = self._answer_group(address, line, asked, _give)
            if following is None:
                return
            asked = following
        self._send(address, line, asked)

    def _relieve(self, address: Address, line: _Line, asked: _Asked) -> None:
        """Has a thread of its own answer who has waited for long."""
        if line.lose_patience(asked):
            self._send(address, line, asked)

    def _send(self, address: Address, line: _Line, leader: _Asked | None) -> None:
        try:
            self._pool.submit(self._answer, address, line, leader)
        except RuntimeError as error:  # the server is stopping
            while leader is not None:
                _give([(leader.answer, error)])
                leader = line.leave(leader)

    # ── in a thread ──────────────────────────────────────────────────────────────────────────────

    def _answer(self, address: Address, line: _Line, leader: _Asked | None) -> None:
        while leader is not None:
            leader = self._answer_group(address, line, leader, _hand_over)

    def _answer_group(
        self, address: Address, line: _Line, leader: _Asked, give: Give
    ) -> _Asked | None:
        """Answers who goes with the leader; returns who leads from now on."""

        def ask(question: Question) -> list[Hits]:
            return self._engine.query(
                address,
                question.vectors,
                question.k,
                question.selection,
                question.columns,
                question.effort,
            )

        group = [one for one in line.group(leader) if not one.answer.done()]
        if not group:
            return line.leave(leader)
        writes, began = self._writes, time.perf_counter()
        answers = together(ask, [one.question for one in group])
        took = time.perf_counter() - began
        if _is_plain(leader.question):
            line.quick_at = writes if took < QUICK * len(group) else -1
        written = [
            (one.answer, _finished(one.finish, answer, took))
            for one, answer in zip(group, answers, strict=True)
        ]
        following = line.leave(leader)  # who is given an answer may ask at once, and finds room
        give(written)
        return following


def _question(query: Query) -> Question:
    return Question(query.vectors, query.k, query.selection, query.columns, query.effort)


def _is_plain(question: Question) -> bool:
    """Whether it takes about as long as others like it: no filter can make it slow."""
    return (
        len(question.vectors) == 1
        and question.selection.ids is None
        and question.selection.filter is None
        and not question.effort.exact
    )


def _hand_over(answers: Answers) -> None:
    """Gives the answers to the loops in which they are waited for."""
    for loop in {future.get_loop() for future, _ in answers}:
        mine = [one for one in answers if one[0].get_loop() is loop]
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_give, mine)


def _finished(finish: Finish, answer: Answer, took: float) -> bytes | Exception:
    if isinstance(answer, Exception):
        return answer
    try:
        return finish(answer, took)
    except Exception as error:
        return error


def _give(answers: Answers) -> None:
    for future, answer in answers:
        if future.done():  # the caller has given up
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
