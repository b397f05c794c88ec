"""fork(): the child finds no call half done, no lock held by a thread it lacks, no open file.

SQLite must not be carried across a fork: in the child it takes the parent's locks for its own, so
two processes would believe that they are alone in a file. So a fork waits for the calls that are
inside SQLite, holds new ones off, and closes the files; parent and child open them again when they
need them. It is the process as a whole that forks, which is why this module has state.
"""

from __future__ import annotations

import os
import threading
from types import TracebackType
from typing import Protocol
from weakref import WeakSet

from vermilion.errors import ClosedError

# A call longer than this is not waited for; the child of such a fork cannot use the database.
FORK_SECONDS = 30.0


class Closing(Protocol):
    """Something that closes its files before a fork and opens them again when it needs them."""

    def before_fork(self) -> None:
        """Runs when no other thread is inside `held_off`."""


class Renewing(Protocol):
    """Something of which the child of a fork needs a new one."""

    def after_fork(self) -> None:
        """Runs in the child, whose only thread is the one that forked."""


class _Gate:
    """Every call that must not be cut in two by a fork is inside; `with` it, nested as you like."""

    def __init__(self) -> None:
        # Re-entrant: the garbage collector may close a client in the middle of these few lines.
        self._changed = threading.Condition(threading.RLock())
        self._inside = 0
        self._forks = 0
        self._mine = _Mine()
        self._lost = False

    def __enter__(self) -> None:
        if self._mine.depth == 0:
            if self._lost:
                raise ClosedError(
                    "This process was forked in the middle of a call to the database and cannot "
                    "use it: fork before or after the call, or start the process by spawning"
                )
            with self._changed:
                while self._forks:
                    self._changed.wait()
                self._inside += 1
        self._mine.depth += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._mine.depth -= 1
        if self._mine.depth == 0:
            with self._changed:
                self._inside -= 1
                if self._forks:
                    self._changed.notify_all()

    def shut(self) -> bool:
        """Waits until all are outside, and lets nobody in; False when a call does not end."""
        with self._changed:
            self._forks += 1
            alone = self._mine.depth == 0
            self._mine.whole = alone and self._changed.wait_for(
                lambda: self._inside == 0, FORK_SECONDS
            )
            return self._mine.whole

    def reopen(self) -> None:
        """Lets callers in again, in the parent."""
        with self._changed:
            self._forks -= 1
            self._changed.notify_all()

    def after_fork(self) -> None:
        """Starts anew, in the child."""
        self._changed = threading.Condition(threading.RLock())
        self._inside = min(self._mine.depth, 1)
        self._forks = 0
        self._lost = self._lost or not self._mine.whole


class _Mine(threading.local):
    """What the gate knows about one thread."""

    depth = 0
    whole = True


class Lock:
    """A lock among threads that is free in the child when another thread held it at a fork."""

    def __init__(self, *, reentrant: bool = False) -> None:
        self._make = threading.RLock if reentrant else threading.Lock
        self._lock = self._make()
        self._owner: int | None = None
        self._depth = 0
        renew_in_child(self)

    def __enter__(self) -> None:
        self._lock.acquire()
        self._owner = threading.get_ident()
        self._depth += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._owner = None
        self._lock.release()

    def after_fork(self) -> None:
        """Frees it, unless the thread that forked is the one that holds it."""
        if self._owner != threading.get_ident():
            self._lock, self._owner, self._depth = self._make(), None, 0


held_off = _Gate()
_closing: WeakSet[Closing] = WeakSet()
_renewing: WeakSet[Renewing] = WeakSet()


def close_before(file: Closing) -> None:
    """Has `before_fork` called, for as long as the object lives."""
    with held_off:  # so that nothing is added while a fork goes through the list
        _closing.add(file)


def renew_in_child(thing: Renewing) -> None:
    """Has `after_fork` called in the child, for as long as the object lives."""
    with held_off:
        _renewing.add(thing)


def _before() -> None:
    if held_off.shut():
        for file in list(_closing):
            file.before_fork()


def _after_in_child() -> None:
    held_off.after_fork()
    for thing in list(_renewing):
        thing.after_fork()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(
        before=_before, after_in_parent=held_off.reopen, after_in_child=_after_in_child
    )
