"""Which clients of a process share an engine: those of one directory, and all in memory.

A `Lease` is one client's hold on a shared engine. Its collections hold it, too. The engine is
closed when the last lease is given back.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

from vermilion import forks
from vermilion.engine import Engine
from vermilion.errors import ArgumentValueError, StorageError, client_closed
from vermilion.types import Durability

IN_MEMORY = "ephemeral"


class _Shared:
    """An engine, and how many hold it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.leases = 0


# Re-entrant: a client that is collected while another one is opened is released by the same thread.
_guard = forks.Lock(reentrant=True)
_engines: dict[str, _Shared] = {}


class Lease:
    """A hold on an engine, until it is released."""

    def __init__(self, key: str, shared: _Shared) -> None:
        self._engine: Engine | None = shared.engine
        # A client on disk that nobody refers to any more is as good as closed. What is in memory
        # would be lost, so there only `close` counts.
        if key == IN_MEMORY:
            self._give_back: Callable[[], object] = _once(lambda: _release(key, shared))
        else:
            self._give_back = weakref.finalize(self, _release, key, shared)

    def engine(self) -> Engine:
        """The engine. Raises ClosedError after `release`."""
        if self._engine is None:
            raise client_closed()
        return self._engine

    def release(self) -> None:
        """Gives the engine back; doing so twice is fine."""
        self._engine = None
        self._give_back()


class Leasing:
    """What has a lease: `close` gives it back, and so does the end of a `with`."""

    _lease: Lease

    def close(self) -> None:
        """Releases the database; this client and its collections cannot be used afterwards."""
        self._lease.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def lease_memory() -> Lease:
    """A hold on the database in memory, which all such clients of the process share."""
    return _lease(IN_MEMORY, lambda: _local_engine(None, "full"))


def lease_directory(
    path: str | os.PathLike[str],
    durability: Durability = "full",
    *,
    read_only: bool = False,
    memory_limit: int | None = None,
) -> Lease:
    """A hold on the database in a directory, however its path is spelled.

    Clients that only read it and clients that write it have different engines. Durability and
    limit are those of the client that opened it.
    """
    directory = _directory(path)
    key = f"{directory}\0read-only" if read_only else str(directory)  # no path has a NUL
    return _lease(key, lambda: _local_engine(directory, durability, read_only, memory_limit))


def lease_engine(engine: Engine) -> Lease:
    """A hold on an engine that only this client has, such as one that speaks to a server."""
    return _lease(str(uuid4()), lambda: engine)


def forget_all() -> None:
    """Closes every engine of the process; leases that are still held fail from now on."""
    with _guard:
        engines = [shared.engine for shared in _engines.values()]
        _engines.clear()
    for engine in engines:
        engine.close()


def _local_engine(
    path: Path | None,
    durability: Durability,
    read_only: bool = False,
    memory_limit: int | None = None,
) -> Engine:
    from vermilion.local.engine import LocalEngine  # not every program that imports us opens one

    return LocalEngine(path, durability=durability, read_only=read_only, memory_limit=memory_limit)


def _directory(path: str | os.PathLike[str]) -> Path:
    text = os.fspath(path)
    if not text:
        raise ArgumentValueError("Expected path to name a directory, got an empty string")
    if "\0" in text:
        raise ArgumentValueError("Expected path to name a directory, got one with a NUL character")
    directory = Path(os.path.realpath(text))
    if directory.exists() and not directory.is_dir():
        raise StorageError(f"{directory} is a file, not a directory: File exists")
    theirs = directory / "chroma.sqlite3"
    if theirs.exists() and theirs.stat().st_size and not (directory / "catalogue.db").exists():
        raise StorageError(
            f"{directory} is a directory of Chroma, and stays one: bring what it holds into a new "
            f"directory by `vermilion migrate {directory} NEW_DIRECTORY`, and open that one"
        )
    return directory


def _lease(key: str, make: Callable[[], Engine]) -> Lease:
    with _guard:
        while True:
            shared = _engines.get(key)
            if shared is None:
                shared = _engines[key] = _Shared(make())
            shared.leases += 1
            # A client that was collected in between may have given back the last lease but this.
            if _engines.get(key) is shared:
                return Lease(key, shared)


def _release(key: str, shared: _Shared) -> None:
    with _guard:
        shared.leases -= 1
        if shared.leases or _engines.get(key) is not shared:  # in use, or closed by forget_all
            return
        del _engines[key]
    shared.engine.close()


def _once(action: Callable[[], object]) -> Callable[[], object]:
    """The action, and nothing from the second call on."""
    pending = [action]
    return lambda: pending.pop()() if pending else None
