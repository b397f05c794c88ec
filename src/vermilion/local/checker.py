"""Checks that a collection's files are what they should be, while others go on writing.

Everything is seen from one read transaction, a page of rows at a time. What is found is told, and
nothing is changed: index files are made again by whoever notices, records can be salvaged.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from vermilion.errors import NotFoundError, VermilionError
from vermilion.local.rows import checksum, decode_metadata
from vermilion.local.segment_checker import check_segments
from vermilion.local.snapshot import WITH_BARE, Snapshot
from vermilion.local.sqlite import integrity
from vermilion.local.store import Store

PAGE = 2_000
# A collection that is damaged all over is not listed row by row.
MOST = 100

_PAGE_OF_RECORDS = (
    "select r.key, r.id, r.document, r.uri, r.metadata, r.crc, v.vector, v.crc"
    " from records r left join vectors v using (key) where r.key > ? order by r.key limit ?"
)


class Finding(NamedTuple):
    """What is wrong with a collection: the kind, what exactly, and whether it heals by itself."""

    kind: str
    detail: str
    repairable: bool = False


def check_store(store: Store, indexes: Path | None, deep: bool) -> list[Finding]:
    """What is wrong with the records and the segments; at most some hundred findings."""
    found: list[Finding] = []
    try:
        with store.reading() as snapshot:
            for finding in _findings(snapshot, indexes, deep):
                found.append(finding)
                if len(found) >= MOST:
                    break
    except NotFoundError:
        raise
    except (VermilionError, TypeError, ValueError) as error:  # what damaged pages hold is anything
        found.append(Finding("file", f"the rest cannot be read: {error}"))
    return found


def _findings(snapshot: Snapshot, indexes: Path | None, deep: bool) -> Iterator[Finding]:
    if deep:
        for complaint in integrity(snapshot.connection):
            yield Finding("file", complaint)
    yield from _counters(snapshot)
    yield from _log(snapshot)
    if deep:
        yield from _rows(snapshot)
        yield from _folded(snapshot)
    if indexes is not None:
        yield from (
            Finding("index", text, True) for text in check_segments(snapshot, indexes, deep)
        )


# ── what head says ───────────────────────────────────────────────────────────────────────────────


def _counters(snapshot: Snapshot) -> Iterator[Finding]:
    head, connection = snapshot.head, snapshot.connection
    counts: dict[str, int] = {
        "records": connection.execute("select count(*) from records").get,
        "vectors": connection.execute("select count(*) from vectors").get,
        "ids": connection.execute(
            "select (select count(*) from ids) + (select count(*) from recent_ids)"
        ).get,
    }
    for table, count in counts.items():
        if count != head.rows:
            yield Finding("counter", f"{head.rows} rows are counted, and {count} are in {table}")
    last = connection.execute("select max(key) from records").get
    if last is not None and last >= head.next_key:
        yield Finding("counter", f"key {last} is in use, and the next one would be {head.next_key}")


def _log(snapshot: Snapshot) -> Iterator[Finding]:
    head = snapshot.head
    row: Any = snapshot.connection.execute(
        "select count(*), min(seq), max(seq), min(lo), max(hi), sum(lo > hi) from log"
    ).fetchone()
    count, first, last, lowest, highest, crossed = row
    if head.sealed > head.seq or head.floor > head.seq:
        yield Finding("log", f"sealed {head.sealed} or floor {head.floor} lies after {head.seq}")
    if count != head.seq - head.floor:
        yield Finding("log", f"{count} entries from {head.floor} to {head.seq}")
    elif count and (first != head.floor + 1 or last != head.seq):
        yield Finding("log", f"entries {first} to {last} instead of {head.floor} to {head.seq}")
    if count and (lowest < 1 or highest >= head.next_key or crossed):
        yield Finding("log", f"keys {lowest} to {highest}, when the next one is {head.next_key}")


# ── every row ────────────────────────────────────────────────────────────────────────────────────


def _rows(snapshot: Snapshot) -> Iterator[Finding]:
    last = 0
    widths = {4 * (snapshot.head.dimension or 0)}
    if snapshot.head.format >= WITH_BARE:
        widths.add(0)
    while page := snapshot.connection.execute(_PAGE_OF_RECORDS, (last, PAGE)).fetchall():
        last = page[-1][0]  # type: ignore[assignment]  # keys are integers
        for row in page:
            yield from _row(row, widths)
        yield from _ids(snapshot, page)


def _row(row: Any, widths: set[int]) -> Iterator[Finding]:
    key, id, document, uri, metadata, crc, vector, vector_crc = row
    if not _sound(id, document, uri, metadata, crc):
        yield Finding("record", f"record {key} ({id!r}) is not what was written")
    if vector is None:
        yield Finding("vector", f"record {key} ({id!r}) has no vector")
    elif len(vector) not in widths or crc32(vector) != vector_crc:
        yield Finding("vector", f"the vector of record {key} ({id!r}) is not what was written")


def _sound(id: Any, document: Any, uri: Any, metadata: Any, crc: Any) -> bool:
    try:
        if checksum(id, document, uri, metadata) != crc:
            return False
        decode_metadata(metadata)
    except (TypeError, ValueError):
        return False
    return True


def _ids(snapshot: Snapshot, page: list[Any]) -> Iterator[Finding]:
    """Every id leads to its record; as there are as many entries as records, none leads astray."""
    keys = {str(row[1]): int(row[0]) for row in page}
    found = snapshot.keys_of(list(keys))
    for row in page:
        key, id = int(row[0]), str(row[1])
        if found.get(id) != key:
            yield Finding("id", f"id {id!r} of record {key} leads to {found.get(id, 'nothing')}")


def _folded(snapshot: Snapshot) -> Iterator[Finding]:
    oldest = snapshot.connection.execute("select min(key) from recent_ids").get
    newest = snapshot.connection.execute("select max(key) from ids").get
    folded = snapshot.head.folded
    if (oldest is not None and oldest < folded) or (newest is not None and newest >= folded):
        yield Finding("id", f"ids from key {folded} on should be in recent_ids, the others in ids")
