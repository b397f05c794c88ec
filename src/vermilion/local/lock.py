"""A lock that processes queue on: an exclusive lock of the operating system on one file."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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

else:
    import fcntl

    def _acquire(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)

    def _try(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class FileLock:
    """Exclusive among threads and among processes; held for the length of a `with`.

    The operating system frees it when the process dies, however it dies. It is an flock, not a
    POSIX record lock: closing other descriptors of the file does not lose it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = threading.Lock()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Waits for the lock and holds it."""
        with self._thread:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                _acquire(descriptor)
                yield
            finally:
                os.close(descriptor)  # closing frees it


class ThreadLock:
    """The same for a database that lives in memory, where no other process can be."""

    def __init__(self) -> None:
        self._thread = threading.Lock()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Waits for the lock and holds it."""
        with self._thread:
            yield


@contextmanager
def try_lock(path: Path) -> Iterator[bool]:
    """Holds the lock if nobody else does; tells whether it is held."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            _try(descriptor)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
