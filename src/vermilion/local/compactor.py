"""Gives back the room that deleted records leave behind.

SQLite reuses free pages, but deleting every other record leaves pages half full and none free.
So ranges of rows are taken out and put back, which packs them, then the free pages are cut off. A
transaction is short, and other writers go in between.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import apsw

from vermilion.local.history import untold
from vermilion.local.segment import FOLDER
from vermilion.local.snapshot import Snapshot
from vermilion.local.store import RECORDS, Store

if TYPE_CHECKING:
    from vermilion.reports import Stats

# A transaction takes so many rows, or so many bytes: some 5 ms with vectors of 384 dimensions.
ROWS = 2_000
BYTES = 8 * 2**20
# Pages that are cut off in one transaction.
PAGES = 500
# Above this share of the live bytes, a builder compacts without being asked.
BLOATED = 1.5
# Smaller files are not worth a thought, nor is a smaller share that is left to give back.
SMALL_FILE = 4 * 2**20
NEGLIGIBLE = 0.03
# How long readers may keep the WAL from being cut.
WAL_SECONDS = 5.0


class _Table(NamedTuple):
    """How rows are read in order from one on, taken out, and put back."""

    first: tuple[int, ...]
    read: str
    take: str
    put: str


# `first` is below every key: keys begin at 1, hashes have 64 bits and a sign.
_TABLES = (
    _Table(
        (0,),
        "select key, id, document, uri, metadata, crc from records where key > ? order by key",
        "delete from records where key between ? and ?",
        "insert into records (key, id, document, uri, metadata, crc) values (?, ?, ?, ?, ?, ?)",
    ),
    _Table(
        (0,),
        "select key, vector, crc from vectors where key > ? order by key",
        "delete from vectors where key between ? and ?",
        "insert into vectors (key, vector, crc) values (?, ?, ?)",
    ),
    _Table(
        (-(2**63), -1),
        "select hash, key from ids where (hash, key) > (?, ?) order by hash, key",
        "delete from ids where (hash, key) between (?, ?) and (?, ?)",
        "insert into ids (hash, key) values (?, ?)",
    ),
)


def compact(store: Store) -> int:
    """Packs the rows, cuts the file and empties the WAL; returns by how many bytes the file shrank.

    Readers and writers may be at work all the while.
    """
    with store.reading() as snapshot:
        before, live = _pages(snapshot.connection)
    if before - live > NEGLIGIBLE * before:
        with store.writing() as transaction:
            transaction.fold_ids()
        for table in _TABLES:
            _pack(store, table)
    _cut(store)
    store.empty_wal(WAL_SECONDS)
    with store.reading() as snapshot:
        return before - _pages(snapshot.connection)[0]


def compact_if_due(store: Store) -> None:
    """Compacts a file that is much larger than what lives in it."""
    with store.reading() as snapshot:
        head, connection = snapshot.head, snapshot.connection
        # Whatever else there is, the vectors live: who is not much larger need not be measured,
        # which reads a part of every page.
        vectors = head.rows * 4 * (head.dimension or 0)
        if _size(connection) <= max(SMALL_FILE, BLOATED * vectors):
            return
        size, live = _pages(connection)
    if size > max(SMALL_FILE, BLOATED * live):
        compact(store)


def stats(store: Store, folder: Path | None) -> Stats:
    """What the collection holds and takes."""
    from vermilion.reports import Stats  # few programs ask

    with store.reading() as snapshot:
        size, live = _pages(snapshot.connection)
        head = snapshot.head
        return Stats(
            rows=head.rows,
            tail_rows=head.tail,
            segments=len(snapshot.segments()),
            records_bytes=size,
            wal_bytes=0 if folder is None else _bytes([folder / f"{RECORDS}-wal"]),
            index_bytes=0 if folder is None else _bytes((folder / FOLDER).glob("*")),
            live_bytes=live,
            reclaimable_bytes=size - live,
        )


def cached_bytes(snapshot: Snapshot, indexes: Path | None) -> int:
    """About how much the indexes over these records take in memory when all of them are in use.

    Those of the segments are as large as their files. Of what is in no segment, vectors and columns
    are made of Python's and numpy's objects: twice what the records take on the disk.
    """
    head = snapshot.head
    sealed = 0 if indexes is None else _bytes(indexes.glob("*"))
    if not head.rows:
        return sealed
    size = _size(snapshot.connection)
    return sealed + 2 * min(head.tail, head.rows) * size // head.rows


def _bytes(paths: Iterable[Path]) -> int:
    total = 0
    for path in paths:
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # a builder removed it, or there never was one
            continue
    return total


def _size(connection: apsw.Connection) -> int:
    """The bytes of the file."""
    size: int = connection.execute(
        "select page_size * page_count from pragma_page_size, pragma_page_count"
    ).get
    return size


def _pages(connection: apsw.Connection) -> tuple[int, int]:
    """The bytes of the file, and about how many it would have if every page were full."""
    size: int = connection.execute("pragma page_size").get
    count = _size(connection) // size
    spare = 0
    leaves: Any = connection.execute(
        "select count(*), sum(ncell), sum(pgsize - unused) from dbstat"
        " where pagetype = 'leaf' group by name having sum(ncell) > 0"
    )
    for pages, cells, used in leaves:
        # Rows are not cut, so a page has room for a whole number of them.
        fit = max(1, size * cells // used)
        spare += max(0, pages - -(-cells // fit))
    free: int = connection.execute("pragma freelist_count").get
    return size * count, size * (count - free - spare)


def _pack(store: Store, table: _Table) -> None:
    place: tuple[int, ...] | None = table.first
    while place is not None:
        with store.writing() as transaction, untold(transaction.connection):
            place = _pack_some(transaction, table, place)


def _pack_some(snapshot: Snapshot, table: _Table, place: tuple[int, ...]) -> tuple[int, ...] | None:
    """Takes out the rows that follow, and puts them back; returns the last one's place."""
    connection, width = snapshot.connection, len(place)
    rows: list[Any] = []
    size = 0
    cursor = connection.execute(table.read, place)
    for row in cursor:
        rows.append(row)
        size += sum(len(cell) for cell in row if isinstance(cell, str | bytes))
        if len(rows) >= ROWS or size >= BYTES:
            break
    cursor.close()
    if not rows:
        return None
    last: tuple[int, ...] = rows[-1][:width]
    connection.execute(table.take, (*rows[0][:width], *last))
    connection.executemany(table.put, rows)
    return last


def _cut(store: Store) -> None:
    """Gives the free pages back to the disk, some at a time."""
    left = 1
    while left:
        with store.writing() as transaction:
            connection = transaction.connection
            connection.execute(f"pragma incremental_vacuum({PAGES:d})").fetchall()
            left = connection.execute("pragma freelist_count").get
