"""A lock that processes queue on: an exclusive lock of the operating system on one file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vermilion import forks

if os.name == "nt":
    import msvcrt

    def _acquire(descriptor: int) -> None:
        while True:
            try:
                msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined,unused-ignore]  # Windows only
                return
            except OSError:  # gives up after ten seconds; the queue may be longer
                continue

    def _try(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]  # Windows only

    def _close(descriptor: int) -> None:
        os.close(descriptor)  # frees it

else:
    import fcntl

    def _acquire(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)

    def _try(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _close(descriptor: int) -> None:
        # A child forked meanwhile has the descriptor, too: closing ours would free nothing.
        try:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        finally:
            os.close(descriptor)


_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)


class FileLock:
    """Exclusive among threads and among processes; held for the length of a `with`.

    The operating system frees it when the process dies, however it dies. It is an flock, not a
    POSIX record lock: closing other descriptors of the file does not lose it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = forks.Lock()
        self._descriptor: int | None = None
        forks.renew_in_child(self)

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Waits for the lock and holds it."""
        with self._thread:
            descriptor = self._open()
            try:
                _acquire(descriptor)
                yield
            finally:
                self._release()

    def after_fork(self) -> None:
        """Leaves the lock to the parent: a child that keeps the descriptor would hold it, too."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _open(self) -> int:
        with forks.held_off:  # a descriptor that the child does not know it could not close
            self._descriptor = os.open(self._path, _FLAGS, 0o644)
            return self._descriptor

    def _release(self) -> None:
        with forks.held_off:
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is not None:
                _close(descriptor)


class ThreadLock:
    """The same for a database that lives in memory, where no other process can be."""

    def __init__(self) -> None:
        self._thread = forks.Lock()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Waits for the lock and holds it."""
        with self._thread:
            yield


@contextmanager
def try_lock(path: Path) -> Iterator[bool]:
    """Holds the lock if nobody else does; tells whether it is held."""
    descriptor = os.open(path, _FLAGS, 0o644)
    try:
        try:
            _try(descriptor)
        except OSError:
            yield False
        else:
            yield True
    finally:
        _close(descriptor)
