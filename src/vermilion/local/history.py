"""The past of a collection: what its records were, which calls changed them, and how to revert one.

Triggers in the collection's file copy what a call overwrites or deletes (history.sql). A record as
it was after the call that ended at log entry s is then the oldest copy that was made of it since,
or else the record itself. Keys ascend, so the key tells whether it had been inserted by then.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import apsw
import numpy as np
from numpy.typing import NDArray

from vermilion.engine import Column
from vermilion.errors import ConflictError, NotFoundError
from vermilion.local.snapshot import Keys, Snapshot, records_of
from vermilion.local.transaction import Transaction
from vermilion.records import spread
from vermilion.types import Records, WriteResult

if TYPE_CHECKING:
    from vermilion.reports import Call, Difference

TABLES = ("calls", "reach", "past_records", "past_vectors")
TRIGGERS = (
    "call_made", "record_changes", "record_goes", "record_returns", "vector_changes", "vector_goes",
)  # fmt: skip
CHANGED, DELETED, BROUGHT_BACK = 0, 1, 2
# What is older than the retention goes when it is this much older: not at each call.
SLACK = 1.05
EVERY: tuple[Column, ...] = ("vectors", "documents", "uris", "metadatas")

# ?1 are keys, ?2 a log entry: the oldest copies that were made since.
_CELLS = (
    "select p.key, p.id, p.document, p.uri, p.metadata, r.id, r.document, r.uri, r.metadata"
    " from carray(?1) c left join past_records p on p.key = c.value and p.until ="
    " (select min(until) from past_records where key = c.value and until >= ?2)"
    " left join records r on r.key = c.value"
)
_VECTORS = (
    "select coalesce(p.vector, v.vector) from carray(?1) c"
    " left join past_vectors p on p.key = c.value and p.until ="
    " (select min(until) from past_vectors where key = c.value and until >= ?2)"
    " left join vectors v on v.key = c.value"
)
_CALLS = (
    "select seq, before, made, next_key, coalesce(lead(next_key) over (order by seq), ?1) as next"
    " from calls"
)


class Then(NamedTuple):
    """A moment of the past: the last entry of the log, and the first key not yet given out."""

    seq: int
    next_key: int


# ── keeping it ───────────────────────────────────────────────────────────────────────────────────


@cache
def _script() -> str:
    return Path(__file__).with_name("history.sql").read_text(encoding="utf-8")


def is_kept(snapshot: Snapshot) -> bool:
    """Whether the collection's file keeps its history."""
    found = snapshot.connection.execute("select 1 from sqlite_master where name = 'calls'").get
    return found is not None


def keep(transaction: Transaction, kept: bool) -> None:
    """Begins to keep the history from here on, or forgets it and stops."""
    connection = transaction.connection
    if kept and not is_kept(transaction):
        connection.execute(_script())
    elif not kept:
        drop(connection)


def drop(connection: apsw.Connection) -> None:
    """Takes the history out of a file."""
    for kind, names in (("trigger", TRIGGERS), ("table", TABLES)):
        for name in names:
            connection.execute(f"drop {kind} if exists {name}")


@contextmanager
def untold(connection: apsw.Connection) -> Iterator[None]:
    """Around writes that are no change: rows that are taken out and put back."""
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0)
    try:
        yield
    finally:
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 1)


def prune(transaction: Transaction, seconds: float, slack: float = SLACK) -> None:
    """Forgets what is older than the retention, once it is older by some more."""
    connection = transaction.connection
    now = int(time.time() * 1000)
    oldest: Any = connection.execute("select made from calls order by seq limit 1").get
    if oldest is None or oldest > now - seconds * 1000 * slack:
        return
    cutoff = int(now - seconds * 1000)
    first: Any = connection.execute(
        "select seq, before from calls where made >= ? order by seq limit 1", (cutoff,)
    ).fetchone()
    seq, before = first or (transaction.head.seq + 1, transaction.head.seq + 1)
    connection.execute("update reach set since = ?", (cutoff,))
    connection.execute("delete from calls where seq < ?", (seq,))
    for table in ("past_records", "past_vectors"):
        connection.execute(f"delete from {table} where until < ?", (before,))


def forget(transaction: Transaction, keys: Keys) -> None:
    """Forgets the past of records that were just deleted for good, and of others with their ids."""
    if is_kept(transaction):
        ids = "select id from past_records where key in (select value from carray(?1))"
        same: Any = transaction.for_keys(f"select key from past_records where id in ({ids})", keys)
        gone = np.union1d(keys, np.fromiter((key for (key,) in same), np.int64, -1))
        for table in ("past_records", "past_vectors"):
            transaction.for_keys(
                f"delete from {table} where key in (select value from carray(?1))", gone
            )


# ── looking back ─────────────────────────────────────────────────────────────────────────────────


def calls(snapshot: Snapshot, limit: int | None) -> list[Call]:
    """The calls that wrote, the last one first."""
    from vermilion.reports import Call  # few programs ask

    _need(snapshot)
    rows: Any = snapshot.connection.execute(
        f"{_CALLS} order by seq desc limit ?2",
        (snapshot.head.next_key, -1 if limit is None else limit),
    )
    out = []
    for seq, before, made, first, end in rows.fetchall():
        touched = _touched_by(snapshot, before)
        counts = [sum(what == kind for what in touched.values()) for kind in range(3)]
        moment = datetime.fromtimestamp(made / 1000, UTC)
        inserted = end - first + counts[BROUGHT_BACK]
        out.append(Call(seq, moment, inserted, counts[CHANGED], counts[DELETED]))
    return out


def _touched_by(snapshot: Snapshot, before: int) -> dict[int, int]:
    """From the keys of records that a call touched, those it inserted aside, to what it did."""
    rows: Any = snapshot.connection.execute(
        "select key, 0 from past_vectors where until = ?1"
        " union all select key, what from past_records where until = ?1",
        (before,),
    )
    return dict(rows)


def then(snapshot: Snapshot, at: datetime) -> Then:
    """The moment that was then. Raises NotFoundError when it is forgotten."""
    _need(snapshot)
    milliseconds = int(at.timestamp() * 1000)
    since: Any = snapshot.connection.execute("select since from reach").get
    if milliseconds < since:
        reach = datetime.fromtimestamp(since / 1000, UTC).isoformat(timespec="milliseconds")
        raise NotFoundError(f"The history of the collection reaches back to {reach}, not to {at}")
    row: Any = snapshot.connection.execute(
        "select before, next_key from calls where made > ? order by seq limit 1", (milliseconds,)
    ).fetchone()
    return Then(*row) if row else Then(snapshot.head.seq, snapshot.head.next_key)


def keys_then(snapshot: Snapshot, then: Then) -> Keys:
    """The keys that had a record at that moment, ascending."""
    rows: Any = snapshot.connection.execute(
        "select key from records where key < ?2 and not exists"
        " (select 1 from past_records p where p.key = records.key and until >= ?1)"
        " union all"
        " select key from (select key, what, min(until) from past_records"
        " where until >= ?1 and key < ?2 group by key) where what <> 2",
        then,
    )
    keys = np.fromiter((key for (key,) in rows), np.int64, -1)
    keys.sort()
    return keys


def _there(snapshot: Snapshot, then: Then, keys: Keys) -> Keys:
    """Those of the keys that had a record at that moment, ascending."""
    rows: Any = snapshot.for_keys(
        "select c.value, coalesce(p.what, iif(r.key is null, 2, 0)) from carray(?1) c"
        " left join past_records p on p.key = c.value and p.until = (select min(until)"
        f" from past_records where key = c.value and until >= {then.seq:d})"
        f" left join records r on r.key = c.value where c.value < {then.next_key:d}",
        keys,
    )
    there = np.fromiter((key for key, what in rows if what != BROUGHT_BACK), np.int64, -1)
    there.sort()
    return there


def records_then(
    snapshot: Snapshot, then: Then, keys: Keys, columns: Collection[Column]
) -> Records:
    """The rows with these keys as they were."""
    array = apsw.carray(np.ascontiguousarray(keys))
    found: Any = snapshot.connection.execute(_CELLS, (array, then.seq)).fetchall()
    rows = [row[5:] if row[0] is None else row[1:5] for row in found]
    vectors, has_vector = None, None
    if "vectors" in columns:
        found = snapshot.connection.execute(_VECTORS, (array, then.seq))
        vectors, has_vector = _matrix([blob for (blob,) in found])
    return records_of(rows, columns, vectors, has_vector)


def _matrix(blobs: list[bytes]) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
    """Stored vectors as one array, and which of them are none, if any is."""
    has_vector = np.array([bool(blob) for blob in blobs], np.bool_)
    count = int(has_vector.sum())
    there = np.frombuffer(b"".join(blobs), "<f4").reshape(count, -1 if count else 0)
    return (there, None) if has_vector.all() else (spread(there, has_vector), has_vector)


def difference(snapshot: Snapshot, since: datetime, until: datetime) -> Difference:
    """Which records came, changed and went from one time to another."""
    from vermilion.reports import Difference  # as above

    first, last = then(snapshot, since), then(snapshot, until)
    touched = set(range(first.next_key, last.next_key))
    for table in ("past_records", "past_vectors"):
        rows: Any = snapshot.connection.execute(
            f"select distinct key from {table} where until >= ? and until < ?",
            (first.seq, last.seq),
        )
        touched |= {key for (key,) in rows}
    keys = np.array(sorted(touched), np.int64)
    before, after = _states(snapshot, first, keys), _states(snapshot, last, keys)
    return Difference(
        added=[id for id in after if id not in before],
        updated=[id for id in after if id in before and after[id] != before[id]],
        deleted=[id for id in before if id not in after],
    )


def _states(snapshot: Snapshot, then: Then, keys: Keys) -> dict[str, Any]:
    """From ids to all that their records held, of those with these keys that existed."""
    there = _there(snapshot, then, keys)
    return _held(records_then(snapshot, then, there, EVERY)) if len(there) else {}


def _held(records: Records) -> dict[str, Any]:
    embeddings = [] if records.embeddings is None else records.embeddings
    vectors = [b"" if row is None else row.tobytes() for row in embeddings]
    cells = (records.documents or [], records.uris or [], records.metadatas or [], vectors)
    return dict(zip(records.ids, zip(*cells, strict=True), strict=True))


# ── reverting ────────────────────────────────────────────────────────────────────────────────────


def undo(transaction: Transaction, call: int | None) -> WriteResult:
    """Reverts a call, or the last one: all that it touched is as it was before.

    Raises ConflictError, and changes nothing, when any of it is not as the call left it.
    """
    _need(transaction)
    row: Any = transaction.connection.execute(
        f"select * from ({_CALLS}) where seq = coalesce(?2, (select max(seq) from calls))",
        (transaction.head.next_key, call),
    ).fetchone()
    if row is None:
        which = "a call to undo" if call is None else f"a call {call}"
        raise NotFoundError(f"The history of the collection does not have {which}")
    seq, before, _, first, end = row
    touched = _touched_by(transaction, before)
    groups = [
        np.array(sorted(key for key, what in touched.items() if what == kind), np.int64)
        for kind in (CHANGED, DELETED, BROUGHT_BACK)
    ]
    made = np.concatenate([groups[BROUGHT_BACK], np.arange(first, end, dtype=np.int64)])
    touched_keys = np.concatenate([*groups[:BROUGHT_BACK], made])
    _check_untouched(transaction, Then(seq, end), touched_keys, groups[DELETED])
    transaction.revert(before, groups[CHANGED], groups[DELETED], made)
    return WriteResult(
        inserted=len(groups[DELETED]), updated=len(groups[CHANGED]), deleted=len(made)
    )


def _check_untouched(transaction: Transaction, after: Then, keys: Keys, deleted: Keys) -> None:
    """Raises ConflictError unless these records are as they were after the call."""
    left = _states(transaction, after, keys)
    held = _held(transaction.records(transaction.present(np.sort(keys)), EVERY))
    gone: Any = transaction.for_keys(
        "select distinct p.id from carray(?1) c join past_records p on p.key = c.value", deleted
    )
    changed = [id for id in left | held if left.get(id) != held.get(id)]
    changed += transaction.keys_of([id for (id,) in gone])  # other records have these ids now
    if changed:
        raise ConflictError(
            f"Record {changed[0]!r} was changed after call {after.seq}: undo the later calls "
            "first, or write what it should be"
        )


def _need(snapshot: Snapshot) -> None:
    if not is_kept(snapshot):
        raise not_kept()


def not_kept() -> NotFoundError:
    """The error for a collection that keeps no history."""
    return NotFoundError(
        "The collection keeps no history: modify it with "
        'configuration={"history": "7d"} for the time to come'
    )
