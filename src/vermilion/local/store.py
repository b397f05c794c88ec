"""The store: the records of one collection, the truth that every index is fed from."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import apsw

from vermilion.local.snapshot import Snapshot
from vermilion.local.sqlite import (
    Database,
    alone_in,
    copy_pages,
    harden,
    image_of,
    template,
    translated,
)
from vermilion.local.transaction import Transaction
from vermilion.local.wal import BUSY_MS
from vermilion.types import Durability

# The file of a collection, in its folder.
RECORDS = "records.db"
SCRIPT = "store.sql"
# A file whose first vectors take no more than this is made in memory and written at once.
IMAGE_BYTES = 2**22


class Store:
    """The file of one collection, or its place in memory."""

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self.name = name

    @classmethod
    def in_memory(cls, name: str) -> Store:
        """A new store that lives as long as the process."""
        return cls(Database(None, script=SCRIPT), name)

    @classmethod
    def open(
        cls, path: Path, name: str, durability: Durability, *, read_only: bool = False
    ) -> Store:
        """The store in an existing file."""
        return cls(Database(path, durability=durability, read_only=read_only), name)

    @staticmethod
    @contextmanager
    def creating(
        path: Path, name: str, dimension: int | None, rows: int | None = None
    ) -> Iterator[Transaction]:
        """A transaction that makes the file, which is complete and safe after the block.

        Nobody may know the file before: it is written without a log. Its pages fit vectors of this
        dimension. `rows` is how many will be written, if that is known.
        """
        page_size = _page_size(dimension)
        if rows is not None and 4 * (dimension or 0) * rows <= IMAGE_BYTES:
            with image_of(path, page_size, SCRIPT) as connection:
                yield Transaction(connection, name)
            return
        with translated(str(path)):
            path.write_bytes(template(page_size, SCRIPT))
        with alone_in(path) as connection:
            connection.execute("begin")
            yield Transaction(connection, name)
            connection.execute("commit")
        harden(path)

    def copy_to(self, target: Store) -> None:
        """Fills a store in memory that has nothing yet with what is in this one."""
        with self._database.reading() as source, target._database.alone() as connection:
            copy_pages(source, connection)

    @contextmanager
    def reading(self) -> Iterator[Snapshot]:
        """This moment of the collection."""
        with self._database.reading() as connection:
            yield Snapshot(connection, self.name)

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        """A transaction, committed unless the block raises; writers queue."""
        with self._database.writing() as connection:
            yield Transaction(connection, self.name)

    def exclusive(self) -> AbstractContextManager[None]:
        """Holds the lock that every writer waits for."""
        return self._database.exclusive()

    @contextmanager
    def changing(self) -> Iterator[Transaction]:
        """As `writing`, for who holds `exclusive` already."""
        with self._database.changing() as connection:
            yield Transaction(connection, self.name)

    def drop(self) -> None:
        """Marks the collection as deleted, for whoever still has it open, here or elsewhere."""
        with self._database.writing(sync=False) as connection:  # the catalogue knows it for good
            connection.execute("update head set dropped = 1")

    def rebuild(self) -> None:
        """Writes the whole file anew, while writers wait.

        Deleted cells are overwritten where they lay, but when SQLite moved a cell to another page
        before, a copy may have stayed in the unused middle of the first one. New pages have none.
        """
        with self._database.alone() as connection:
            connection.pragma("temp_store", "file")  # in memory the copy could be too large
            try:
                connection.execute("vacuum")
            finally:
                connection.pragma("temp_store", "memory")

    def empty_wal(self, seconds: float) -> bool:
        """Copies the WAL into the file and cuts it to nothing; False if readers stay in the way."""
        deadline = time.monotonic() + seconds
        while not self._empty_wal():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)  # other writers go first
        return True

    def _empty_wal(self) -> bool:
        with self._database.alone() as connection:
            connection.set_busy_timeout(50)
            try:
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            except apsw.BusyError:
                return False
            finally:
                connection.set_busy_timeout(BUSY_MS)
        return True

    @property
    def is_open(self) -> bool:
        """Whether its file is open, and not in use."""
        return self._database.is_open

    def close(self, *, give_up: bool = False) -> None:
        """Closes the file; with `give_up` it is about to be removed."""
        self._database.close(give_up=give_up)


def _page_size(dimension: int | None) -> int:
    """Pages on which vectors leave little room unused: 1.07 times their size instead of 1.34."""
    for limit, size in ((384, 8192), (768, 16384), (1536, 32768)):
        if (dimension or 0) <= limit:
            return size
    return 65536
