"""Queries that come at the same time are asked together.

A question for one vector and one for eight share most of their work: the transaction, the filter,
what there is to look through; and threads that ask one after the other do not wait for each other's
turn at the interpreter. So while a query of a collection is being answered, others like it wait,
and what differs in nothing but its vectors then becomes one call. When nobody else asks, a query
waits for nothing. A slow one holds up the others only for a moment.

A `Line` is who waits for one collection. `Gathering` is for threads that wait for their answer
themselves; the server has its requests wait without a thread.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from vermilion import forks
from vermilion.engine import Column, Selection
from vermilion.types import Effort, Hits

# Query vectors of one call, and the results of one query up to which it may be part of one.
MOST_TOGETHER = 32
MOST_RESULTS = 128
# Seconds after which those that wait are answered by another thread.
PATIENCE = 0.02
# Who was just answered and asks again at once is waited for: no longer than this share of the time
# that the last call took, nor these seconds. When they do not come, so many calls go without.
MOMENT, LONGEST, WITHOUT = 0.2, 0.002, 8
# So many calls that differ in more than their vectors are answered at a time, patience aside.
AT_ONCE = os.cpu_count() or 1


class Question:
    """The arguments of Engine.query, but for the collection."""

    def __init__(
        self,
        vectors: NDArray[np.float32],
        k: int,
        selection: Selection,
        columns: Collection[Column],
        effort: Effort,
    ) -> None:
        self.vectors = vectors
        self.k = k
        self.selection = selection
        self.columns = columns
        self.effort = effort

    @property
    def is_small(self) -> bool:
        """Whether it may wait for others; large ones take as long alone."""
        ids = self.selection.ids
        return (
            0 < len(self.vectors) <= MOST_TOGETHER
            and self.k <= MOST_RESULTS
            and (ids is None or len(ids) <= MOST_RESULTS)
        )

    def goes_with(self, other: Question) -> bool:
        """Whether both can be one call."""
        return (
            self.k == other.k
            and self.columns == other.columns
            and self.effort == other.effort
            and self.vectors.shape[1] == other.vectors.shape[1]
            and self.selection == other.selection
        )


Answer = list[Hits] | Exception
Ask = Callable[[Question], list[Hits]]


def together(ask: Ask, questions: Sequence[Question]) -> list[Answer]:
    """The answer to each, by one call; when that fails, each is asked alone."""
    first = questions[0]
    alone = len(questions) == 1
    if not alone:
        vectors = np.concatenate([one.vectors for one in questions])
        first = Question(vectors, first.k, first.selection, first.columns, first.effort)
    try:
        hits = ask(first)
    except Exception as error:
        return [error] if alone else [together(ask, [one])[0] for one in questions]
    answers: list[Answer] = []
    for one in questions:
        mine, hits = hits[: len(one.vectors)], hits[len(one.vectors) :]
        answers.append(mine)
    return answers


# ── who waits ────────────────────────────────────────────────────────────────────────────────────


class Asked(Protocol):
    """Somebody with a question."""

    @property
    def question(self) -> Question:
        """What is asked."""
        ...


T = TypeVar("T", bound=Asked)


class Line(Generic[T]):
    """Those who ask: some lead, and answer what goes with their own question, the others wait."""

    def __init__(self) -> None:
        self._guard = forks.Lock()
        self._waiting: deque[T] = deque()
        self._leading: list[Question] = []
        # How many asked at the same time when they were last answered, and how long it took.
        self._usual, self._took = 0, 0.0
        self._without = 0
        self._missing, self._gate = 0, threading.Lock()
        forks.renew_in_child(self)

    def after_fork(self) -> None:
        """Those who were in line are not there."""
        self._waiting, self._leading = deque(), []
        self._usual = 0

    @property
    def is_empty(self) -> bool:
        """Whether nobody asks."""
        return not self._leading and not self._waiting

    @property
    def is_alone(self) -> bool:
        """Whether nobody asks but one."""
        return len(self._leading) == 1 and not self._waiting

    def enter(self, one: T) -> bool:
        """Whether who comes leads; if not, it waits."""
        question = one.question
        with self._guard:
            leading = self._leading
            if not leading or (
                len(leading) < AT_ONCE and not any(map(question.goes_with, leading))
            ):
                leading.append(question)
                return True
            self._waiting.append(one)
            self._missing -= 1
            if self._missing == 0:
                self._gate.release()
            return False

    def lose_patience(self, one: T) -> bool:
        """Whether who has waited for long leads from now on; if not, it is being answered."""
        with self._guard:
            if one not in self._waiting:
                return False
            self._waiting.remove(one)
            self._leading.append(one.question)
            return True

    def gather(self, leader: T) -> list[T]:
        """As `group`, but those who were just answered have a moment to ask again.

        Otherwise half of them are answered while the other half waits, by turns, and what calls
        cost whatever their size is paid twice.
        """
        gate = self._expect()
        if gate is not None and not gate.acquire(timeout=min(MOMENT * self._took, LONGEST)):
            with self._guard:
                self._without, self._missing = WITHOUT, 0
        return self.group(leader)

    def _expect(self) -> threading.Lock | None:
        """What opens when as many wait as usual; None where nobody is to be waited for."""
        if self._usual <= 1:
            return None
        with self._guard:
            self._without -= 1
            missing = min(self._usual, MOST_TOGETHER) - 1 - len(self._waiting)
            if self._without > 0 or missing <= 0 or len(self._leading) > 1:
                return None
            self._missing, self._gate = missing, threading.Lock()
            self._gate.acquire()
            return self._gate

    def answered(self, group: Sequence[T], took: float) -> None:
        """Learns how many ask at the same time."""
        self._usual, self._took = len(group) + len(self._waiting), took

    def group(self, leader: T) -> list[T]:
        """Takes out of the line what the leader answers: itself, and those that go with it."""
        group, room = [leader], MOST_TOGETHER - len(leader.question.vectors)
        if not self._waiting:
            return group
        with self._guard:
            others: deque[T] = deque()
            for one in self._waiting:
                size = len(one.question.vectors)
                if size <= room and one.question.goes_with(leader.question):
                    group.append(one)
                    room -= size
                else:
                    others.append(one)
            self._waiting = others
        return group

    def put_back(self, group: Sequence[T]) -> None:
        """Has those wait again whom their leader did not answer."""
        with self._guard:
            self._waiting.extendleft(reversed(group))

    def leave(self, one: T) -> T | None:
        """Somebody goes, answered or not. When it led, the first that waits leads in its place."""
        with self._guard:
            if one in self._waiting:
                self._waiting.remove(one)
            if one.question not in self._leading:
                return None
            self._leading.remove(one.question)
            if not self._waiting:
                return None
            following = self._waiting.popleft()
            self._leading.append(following.question)
            return following


# ── threads ──────────────────────────────────────────────────────────────────────────────────────


class _Thread:
    """A thread that asks. The gate opens when it has its answer, or is to lead."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.answer: Answer | None = None
        self.gate = threading.Lock()
        self.gate.acquire()


class Gathering:
    """The queries of one collection, each asked by a thread that waits for its answer."""

    def __init__(self) -> None:
        self._line: Line[_Thread] = Line()

    def answer(self, question: Question, ask: Ask) -> list[Hits]:
        """The answer, found by this thread or by one that asks the like."""
        me = _Thread(question)
        try:
            if self._line.enter(me) or self._is_to_lead(me):
                self._lead(me, ask)
        finally:  # also when the user has pressed Ctrl-C
            following = self._line.leave(me)
            if following is not None:
                following.gate.release()
        assert me.answer is not None
        if isinstance(me.answer, Exception):
            raise me.answer
        return me.answer

    def _is_to_lead(self, me: _Thread) -> bool:
        """Waits until it is answered, or has to answer others and itself."""
        if not me.gate.acquire(timeout=PATIENCE):
            if self._line.lose_patience(me):
                return True
            me.gate.acquire()
        return me.answer is None

    def _lead(self, me: _Thread, ask: Ask) -> None:
        group = self._line.gather(me)
        began = time.perf_counter()
        try:
            answers = together(ask, [one.question for one in group])
        except BaseException:
            self._line.put_back(group[1:])
            raise
        self._line.answered(group, time.perf_counter() - began)
        for one, answer in zip(group, answers, strict=True):
            one.answer = answer
            one.gate.release()
