"""Connections to one SQLite file: any number of readers beside one writer.

A read is a deferred transaction that ends with the call that began it. A write takes the thread
lock, then the file lock, then BEGIN IMMEDIATE: writers queue instead of failing. SQLite's errors
leave as ours. Before a fork every file is closed; see forks.py.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Literal

import apsw

from vermilion import forks
from vermilion.errors import (
    ClosedError,
    DamagedError,
    InternalError,
    StorageError,
    VermilionError,
)
from vermilion.local import read_only, wal
from vermilion.local.image import WAL_PLACE, WITH_WAL, Image, Images
from vermilion.local.lock import FileLock, ThreadLock
from vermilion.types import Durability

# Older releases can lose a committed transaction when the WAL is reset (fixed in 3.51.3).
OLDEST_SQLITE = 3_051_003
# Only addresses: a file of a million records takes 2 GB.
MMAP_BYTES = 2**36
# So many reads in a row that find the file changed give the map of it up; so many that do not
# bring it back.
CHANGES, CALM = 3, 16
# How SQLite fails when a file cannot grow for another reason than a full disk, and when the disk
# is too full for its shared memory.
CANNOT_GROW = {apsw.SQLITE_IOERR_WRITE, apsw.SQLITE_IOERR_SHMSIZE, apsw.SQLITE_IOERR_TRUNCATE}
# The first that fits.
ERRORS: tuple[tuple[type[Exception], type[VermilionError], str], ...] = (
    (apsw.CorruptError, DamagedError, " is damaged: {}"),
    (apsw.NotADBError, DamagedError, " is damaged: {}"),
    (apsw.FullError, StorageError, ": the disk is full, nothing was written"),
    (apsw.ReadOnlyError, StorageError, " is read-only: {}"),
    (
        apsw.CantOpenError,
        StorageError,
        " cannot be opened: {}; where nothing can be written, use read_only=True",
    ),
    (apsw.IOError, StorageError, ": {}"),
    (apsw.BusyError, StorageError, ": {}"),
    (apsw.LockedError, StorageError, ": {}"),
    (apsw.NoMemError, StorageError, ": {}"),
    (apsw.ConnectionClosedError, ClosedError, " was closed"),
    (OSError, StorageError, ": {}"),
)

if apsw.SQLITE_VERSION_NUMBER < OLDEST_SQLITE:
    raise ImportError(
        f"apsw carries SQLite {apsw.sqlite_lib_version()}, and releases before 3.51.3 can lose "
        "committed data: pip install --upgrade apsw"
    )


class translated:  # a class, since every call passes here and a generator takes three times as long
    """Turns SQLite's errors about the disk into ours; `what` names the file."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, apsw.Error | OSError):  # OSError: of the lock, or of a folder
            raise _ours(self._what, error) from error


def _ours(what: str, error: apsw.Error | OSError) -> VermilionError:
    if getattr(error, "extendedresult", None) in CANNOT_GROW:
        hint = "is the disk full, or is there a limit on the size of files?"
        return StorageError(f"{what}: {error}; {hint}")
    for theirs, ours, text in ERRORS:
        if isinstance(error, theirs):
            return ours(f"{what}{text.format(error)}")
    return InternalError(f"{what}: {type(error).__name__}: {error}")


@cache
def template(page_size: int, name: str) -> bytes:
    """The bytes of a new file with the tables of a .sql file; `harden` makes it one with a WAL."""
    with closing(_in_memory(page_size, name)) as connection:
        return connection.serialize("main")


def _in_memory(page_size: int, name: str) -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    connection.pragma("page_size", page_size)
    connection.pragma("auto_vacuum", 2)  # incremental: freed pages can be given back
    text = Path(__file__).with_name(name).read_text(encoding="utf-8")
    connection.execute(f"begin; {text}; commit")
    return connection


@contextmanager
def alone_in(draft: Path) -> Iterator[apsw.Connection]:
    """The only connection to a file that nobody knows yet; nothing is safe before `harden`."""
    with translated(str(draft)), forks.held_off:
        connection = apsw.Connection(os.fspath(draft))
        try:
            connection.execute(
                "pragma journal_mode=off; pragma synchronous=off; pragma secure_delete=1;"
                "pragma temp_store=memory; pragma locking_mode=exclusive"
            ).fetchall()
            yield connection
        finally:
            connection.close(force=True)


@contextmanager
def image_of(draft: Path, page_size: int, name: str) -> Iterator[apsw.Connection]:
    """A connection to the tables of a .sql file in memory, inside a transaction.

    What becomes of them is the draft, safe on the disk. For a small file that takes half as long
    as writing it page by page.
    """
    with translated(str(draft)):
        connection = _press(page_size, name)
        try:
            connection.execute("begin")
            yield connection
            image = connection.serialize("main")
            connection.execute("rollback")
        except BaseException:
            connection.close(force=True)
            raise
        _presses[page_size, name] = connection
    write_safely(draft, image)


# Connections to empty tables that have made a file before: they know the tables and statements.
_presses: dict[tuple[int, str], apsw.Connection] = {}


def _press(page_size: int, name: str) -> apsw.Connection:
    with suppress(KeyError):
        return _presses.pop((page_size, name))
    return _in_memory(page_size, name)


def write_safely(draft: Path, image: bytes) -> None:
    """Writes a database file that is opened with a WAL, and brings it to the disk."""
    with translated(str(draft)), open(draft, "wb", buffering=0) as file:
        left = memoryview(_with_wal(image))
        while left:
            left = left[file.write(left) :]
        os.fsync(file.fileno())


def _with_wal(image: bytes) -> bytes:
    """With what `pragma journal_mode=wal` sets in the header; it would also make the WAL."""
    return image[: WAL_PLACE.start] + WITH_WAL + image[WAL_PLACE.stop :]


def harden(draft: Path) -> None:
    """Has the draft opened with a WAL from now on, and brings it to the disk."""
    with translated(str(draft)), forks.held_off:
        descriptor = os.open(draft, os.O_RDWR | getattr(os, "O_BINARY", 0))
        try:
            os.lseek(descriptor, WAL_PLACE.start, os.SEEK_SET)
            os.write(descriptor, WITH_WAL)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def create_file(path: Path, content: bytes) -> None:
    """Makes a database file that is complete from the moment it has its name."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        write_safely(draft, content)
        with translated(str(path)):
            os.replace(draft, path)
            sync_directory(path.parent)
    except BaseException:
        draft.unlink(missing_ok=True)  # it may be what fills the disk
        raise


def copy_pages(source: apsw.Connection, target: apsw.Connection) -> None:
    """Copies the file as the source's transaction sees it into an empty one."""
    with target.backup("main", source, "main") as backup:
        backup.step()


def integrity(connection: apsw.Connection, most: int = 20) -> list[str]:
    """What SQLite's own check finds wrong with the file: nothing, or its first complaints."""
    found = connection.execute(f"pragma integrity_check({most:d})").fetchall()
    lines = [line for (text,) in found for line in str(text).splitlines()]
    return [] if lines == ["ok"] else lines


def sync_directory(path: Path) -> None:
    """Makes a rename in this directory survive a power cut, where the system offers it."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Mapped(apsw.Connection):
    """A connection that maps the file into memory, but not while others write to it.

    When SQLite finds that somebody has written it gives up the whole map, and page faults bring it
    back one by one: to read 16 vectors takes 100 µs then, without a map 48. While nobody writes it
    takes 18 and 31.
    """

    _mapped = True
    _against = 0
    _version = 0

    def after_change(self) -> None:
        """To be called after a change of its own, which costs it nothing that it had read."""
        self._version = self.data_version()

    def after_read(self) -> None:
        """To be called after each read transaction; maps the file, or gives the map up."""
        version = self.data_version()
        changed, self._version = version != self._version, version
        self._against = self._against + 1 if changed is self._mapped else 0
        if self._against >= (CHANGES if self._mapped else CALM):
            self._mapped, self._against = not self._mapped, 0
            self.pragma("mmap_size", MMAP_BYTES if self._mapped else 0)


class Database:
    """One SQLite file, or one in memory when `path` is None."""

    def __init__(
        self,
        path: Path | None,
        *,
        durability: Durability = "full",
        read_only: bool = False,
        script: str = "",
    ) -> None:
        """In memory, it begins with the tables of the .sql file named by `script`."""
        self._path = path
        self._durability = durability
        self._read_only = read_only
        self._idle: list[apsw.Connection] = []
        self._guard = threading.RLock()
        self._closed = False
        self._wal = None if path is None else wal.Wal(path)
        self._images = None if path is None or read_only else Images(path)
        self._write_lock: Callable[[], AbstractContextManager[None]]
        if path is None:
            self._write_lock = ThreadLock()
            self._memory: apsw.Connection | None = _in_memory(4096, script)
        else:
            self._write_lock = FileLock(path.with_suffix(".lock"))
            self._memory = None
        forks.close_before(self)

    @property
    def name(self) -> str:
        """What errors call it."""
        return "the database in memory" if self._path is None else str(self._path)

    @contextmanager
    def reading(self) -> Iterator[apsw.Connection]:
        """A connection inside a read transaction: it sees one moment of the file."""
        with self._connection(to_read=True) as connection:
            connection.execute("begin")
            try:
                yield connection
            finally:
                _end(connection, "commit")
            if isinstance(connection, Mapped):
                connection.after_read()

    @contextmanager
    def writing(self, *, sync: bool = True) -> Iterator[apsw.Connection]:
        """A connection inside a write transaction, committed unless the block raises.

        Without `sync` it is not waited for until the disk has it: for what may be lost.
        """
        with self.exclusive(), self.changing(sync=sync) as connection:
            yield connection

    @contextmanager
    def changing(self, *, sync: bool = True) -> Iterator[apsw.Connection]:
        """As `writing`, for who holds `exclusive` already."""
        with self._connection() as connection, self._syncing(connection, sync):
            connection.execute("begin immediate")
            before = connection.total_changes()
            try:
                yield connection
                if self._wal is not None and connection.total_changes() != before:
                    self._wal.make_room(connection)
                connection.execute("commit")
            except BaseException:
                _end(connection, "rollback")
                raise
            if self._wal is not None:
                self._wal.shorten(connection)
            if isinstance(connection, Mapped):
                connection.after_change()

    @contextmanager
    def _syncing(self, connection: apsw.Connection, sync: bool) -> Iterator[None]:
        if sync:
            yield
            return
        connection.pragma("synchronous", "off")
        try:
            yield
        finally:
            connection.pragma("synchronous", self._durability)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Holds the lock that every writer of this file waits for."""
        if self._read_only:
            raise StorageError(f"{self.name} was opened read-only: nothing can be written")
        with translated(self.name), self._write_lock():
            yield

    @contextmanager
    def alone(self) -> Iterator[apsw.Connection]:
        """A connection outside of any transaction, while every other writer waits."""
        with self.exclusive(), self._connection() as connection:
            yield connection

    def close(self, *, give_up: bool = False) -> None:
        """Closes every connection; calls that still run finish, and close theirs.

        With `give_up` the WAL is not brought into the file, which is about to be removed.
        """
        with forks.held_off:
            with self._guard:
                self._closed = True
                connections = [*self._idle, *([self._memory] if self._memory else ())]
                self._idle.clear()
                self._memory = None
                if self._images is not None:
                    self._images.close()
            for connection in connections:
                if give_up:
                    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
                connection.close(force=True)

    @property
    def is_open(self) -> bool:
        """Whether there are connections to it that are not in use."""
        return bool(self._idle)

    def before_fork(self) -> None:
        """Closes the file until it is needed again. The child has a copy of what is in memory."""
        if self._wal is not None:
            self._wal.forget()
        if self._images is not None:
            self._images.close()
        while self._idle:
            with suppress(apsw.Error):  # one that fails must not keep the others open
                self._idle.pop().close(force=True)

    @contextmanager
    def _connection(self, *, to_read: bool = False) -> Iterator[apsw.Connection]:
        with translated(self.name), forks.held_off:
            if self._path is None:
                with self._guard:  # one connection is all that sees a database in memory
                    if self._memory is None:
                        raise ClosedError(f"{self.name} was closed")
                    yield self._memory
                return
            connection = self._take(to_read)
            try:
                yield connection
            finally:
                self._put_back(connection)

    def _take(self, to_read: bool) -> apsw.Connection:
        with self._guard:
            if self._closed:
                raise ClosedError(f"{self.name} was closed")
            if self._idle:
                return self._idle.pop()
            image = self._images.lend() if to_read and self._images is not None else None
            return image or self._connect()

    def _put_back(self, connection: apsw.Connection) -> None:
        with self._guard:
            if isinstance(connection, Image) and self._images is not None:
                self._images.take_back(connection, keep=not (self._closed or self._idle))
                return
            if not self._closed and not isinstance(connection, read_only.Unlocked):
                self._idle.append(connection)
                return
        connection.close(force=True)

    def _connect(self) -> apsw.Connection:
        assert self._path is not None and self._wal is not None, "in memory there is one already"
        if self._read_only:
            connection = read_only.connect(self._path)
        else:
            connection = Mapped(str(self._path), flags=apsw.SQLITE_OPEN_READWRITE)
        connection.set_busy_timeout(wal.BUSY_MS)
        self._wal.watch(connection)
        connection.execute(
            f"pragma synchronous={self._durability}; pragma journal_size_limit={wal.WAL_BYTES:d};"
            f"pragma mmap_size={MMAP_BYTES:d}; pragma secure_delete=1; pragma temp_store=memory"
        ).fetchall()
        return connection


def _end(connection: apsw.Connection, how: Literal["commit", "rollback"]) -> None:
    """Ends the transaction, unless SQLite ended it already."""
    if not connection.get_autocommit():
        connection.execute(how)
