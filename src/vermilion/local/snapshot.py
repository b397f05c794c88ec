"""A snapshot: one moment of a collection, seen from inside a read transaction.

It does not outlive the call that opened it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import apsw
import numpy as np
from numpy.typing import NDArray

from vermilion.engine import Column
from vermilion.errors import DamagedError, NotFoundError, VersionMismatchError
from vermilion.local.rows import decode_metadata, hash_ids
from vermilion.types import Records, pages

# Files with bare records, which have an empty vector, are of the newer format.
FORMAT, WITH_BARE = 2, 2
BARE = "CREATE INDEX bare on vectors (key) where length(vector) = 0"

# What a log entry says of its keys.
VECTOR, CELLS, DELETED = 1, 2, 4

Keys = NDArray[np.int64]

# Vectors are copied out of SQLite in pieces of this size, each as one row: for every row apsw gives
# the interpreter up, and beside a busy thread it waits for its turn (24 rows 0.8 ms, as one 0.2).
PIECE_BYTES = 2**17
VECTORS_OF = (
    "select cast(group_concat(v.vector, '') as blob)"
    " from carray(?1) c cross join vectors v on v.key = c.value"
)

# The keys of records that may have ids with these hashes.
KEYS_OF = (
    "select i.key from carray(?1) c cross join ids i on i.hash = c.value"
    " union all"
    " select i.key from carray(?1) c cross join recent_ids i on i.hash = c.value"
)
_CELLS = frozenset(("documents", "uris", "metadatas"))
# The cells of records, in the order of the keys given.
CELLS_OF = (
    "select r.id, r.document, r.uri, r.metadata"
    " from carray(?1) c cross join records r on r.key = c.value"
)


@dataclass
class Head:
    """Where the collection stands: the one row of the table of that name."""

    format: int
    seq: int
    floor: int
    rows: int
    next_key: int
    folded: int
    dimension: int | None
    dropped: int
    sealed: int
    tail: int
    generation: int

    @property
    def stands(self) -> tuple[int | None, ...]:
        """What writes change of it."""
        return (
            self.seq,
            self.floor,
            self.rows,
            self.next_key,
            self.folded,
            self.dimension,
            self.tail,
        )


class SegmentRow(NamedTuple):
    """A segment as the store lists it; `dead` marks the rows that were not current any more."""

    name: str
    dead: NDArray[np.bool_]


class Touched(NamedTuple):
    """Which keys the log says have changed since some moment, ascending.

    `vectors` holds those whose vector is new or gone; the others kept theirs.
    """

    keys: Keys
    vectors: Keys


class Snapshot:
    """One moment of a collection."""

    def __init__(self, connection: apsw.Connection, name: str) -> None:
        self._connection = connection
        self.head = self._head(name)

    @property
    def connection(self) -> apsw.Connection:
        """What it reads through, for those who look after the file itself."""
        return self._connection

    def _head(self, name: str) -> Head:
        row = self._connection.execute(
            "select format, seq, floor, rows, next_key, folded, dimension, dropped,"
            " sealed, tail, generation from head"
        ).get
        head = Head(*row)
        if head.dropped:
            raise NotFoundError(f"Collection [{name}] does not exist")
        if head.format > FORMAT:
            raise VersionMismatchError(
                f"Collection [{name}] is of format {head.format}, this release reads up to {FORMAT}"
            )
        return head

    def maker(self) -> str | None:
        """The JSON of the function that made the vectors, if they were ever made anew by one."""
        if not self._connection.execute("select 1 from sqlite_schema where name = 'maker'").get:
            return None
        form: str | None = self._connection.execute("select form from maker").get
        return form

    # ── keys ─────────────────────────────────────────────────────────────────────────────────────

    def keys_of(self, ids: Sequence[str]) -> dict[str, int]:
        """From each id that exists to its key."""
        if not ids or not self.head.rows:
            return {}
        found = self._connection.execute(
            f"select r.id, r.key from ({KEYS_OF}) f cross join records r on r.key = f.key",
            (apsw.carray(hash_ids(ids)),),
        )
        wanted = set(ids)
        return {id: key for id, key in found if id in wanted}

    def records_of(self, ids: Sequence[str], columns: Collection[Column]) -> Records:
        """The rows with these ids that exist, in the order of insertion."""
        if ids and self.head.rows and not _CELLS.isdisjoint(columns):
            found = self.for_keys(KEYS_OF, hash_ids(ids))
            keys = distinct(np.array([key for (key,) in found], np.int64))
            rows = list(self.for_keys(CELLS_OF, keys))
            if rows and len(rows) == len(keys) and {row[0] for row in rows} <= set(ids):
                return records_of(rows, columns, *self._vectors_if(columns, keys))
        # None is there, or one that is asked for has the hash of another.
        return self.records(np.sort(np.fromiter(self.keys_of(ids).values(), np.int64)), columns)

    def all_keys(self) -> Keys:
        """The keys of all records, ascending."""
        rows = self._connection.execute("select key from ids union all select key from recent_ids")
        keys = np.fromiter((key for (key,) in rows), np.int64, -1)
        keys.sort()
        return keys

    def page_of_keys(self, limit: int | None, after: int | None = None) -> Keys:
        """The first keys, or the first after a key, ascending."""
        if limit is None or (after is None and limit >= self.head.rows):
            return self.all_keys()
        rows = self._connection.execute(
            "select key from records where key > ? order by key limit ?",
            (-1 if after is None else after, limit),
        )
        return np.fromiter((key for (key,) in rows), np.int64, -1)

    def pages_of_keys(self, rows: int, offset: int = 0) -> Iterator[Keys]:
        """The keys of all records but the first `offset`, ascending, so many at a time."""
        after: int | None = -1
        if offset:
            after = self._connection.execute(
                "select key from records order by key limit 1 offset ?", (offset - 1,)
            ).get
        while after is not None and len(keys := self.page_of_keys(rows, after)):
            yield keys
            after = int(keys[-1])

    def present(self, keys: Keys) -> Keys:
        """Those of the keys that have a record, in the order given."""
        rows = self.for_keys(
            "select r.key from carray(?1) c cross join records r on r.key = c.value", keys
        )
        return np.fromiter((key for (key,) in rows), np.int64, -1)

    def touched_since(self, seq: int) -> Touched | None:
        """What the log says happened after `seq`; None when it does not reach back so far."""
        if seq < self.head.floor:
            return None
        runs: list[tuple[int, int, int]] = self._connection.execute(
            "select lo, hi, what from log where seq > ? order by seq", (seq,)
        ).fetchall()  # type: ignore[assignment]  # the table's columns are integers
        keys = _expand([(lo, hi) for lo, hi, _ in runs])
        some = [(lo, hi) for lo, hi, what in runs if what & (VECTOR | DELETED)]
        return Touched(keys, keys if len(some) == len(runs) else _expand(some))

    def segments(self) -> list[SegmentRow]:
        """The current segments, as of `head.sealed`, oldest first."""
        rows = self._connection.execute("select name, rows, dead from segments order by name")
        return [SegmentRow(str(name), _unpacked(dead, count)) for name, count, dead in rows]

    # ── cells, in the order of the keys ──────────────────────────────────────────────────────────

    def records(self, keys: Keys, columns: Collection[Column] = ()) -> Records:
        """The rows with these keys, in their order."""
        if not len(keys):
            return no_records(columns, self.head.dimension)
        vectors, has_vector = self._vectors_if(columns, keys)
        if _CELLS.isdisjoint(columns):
            return Records(self._ids(keys), vectors, has_vector=has_vector)
        rows = self._all(self.for_keys(CELLS_OF, keys), keys)
        return records_of(rows, columns, vectors, has_vector)

    def _vectors_if(
        self, columns: Collection[Column], keys: Keys
    ) -> tuple[NDArray[np.float32] | None, NDArray[np.bool_] | None]:
        """The vectors, where they are asked for, and which of them are there unless all are."""
        if "vectors" not in columns:
            return None, None
        bare = self.bare(keys)
        return self.vectors(keys), None if bare is None else ~bare

    def bare(self, keys: Keys) -> NDArray[np.bool_] | None:
        """Which of these records have no vector; None when all have one."""
        found = self.bare_keys(keys)
        return np.isin(keys, found) if len(found) else None

    def bare_keys(self, keys: Keys | None = None) -> Keys:
        """The records without a vector, of all or of these, ascending."""
        if self.head.format < WITH_BARE:
            return np.empty(0, np.int64)
        if keys is None:
            rows: Iterable[Any] = self._connection.execute(
                "select key from vectors where length(vector) = 0 order by key"
            )
        else:
            rows = self.for_keys(
                "select v.key from carray(?1) c cross join vectors v"
                " on v.key = c.value and length(v.vector) = 0",
                keys,
            )
        return np.sort(np.fromiter((key for (key,) in rows), np.int64, -1))

    def vectors(self, keys: Keys) -> NDArray[np.float32]:
        """The vectors with these keys, in their order, shape (n, dimension); of bare ones zeros."""
        dimension = self.head.dimension or 0
        found = np.empty((len(keys), dimension), "<f4")
        space, end = found.reshape(-1).view(np.uint8), 0
        for page in pages(len(keys), max(1, PIECE_BYTES // (4 * dimension or 1))):
            [(piece,)] = self.for_keys(VECTORS_OF, keys[page])
            some = np.frombuffer(piece or b"", np.uint8)
            if end + len(some) <= len(space):
                space[end : end + len(some)] = some
            end += len(some)
        if end != len(space):
            return self._some_vectors(keys, found)
        return found

    def _some_vectors(self, keys: Keys, found: NDArray[np.float32]) -> NDArray[np.float32]:
        bare = self.bare(keys)
        if bare is None:
            raise DamagedError(f"{len(keys)} vectors were looked up, and not all are there")
        found[bare] = 0
        found[~bare] = self.vectors(keys[~bare])
        return found

    def metadatas(self, keys: Keys) -> Iterator[dict[str, Any] | None]:
        """The metadata with these keys, in their order."""
        rows = self.for_keys(
            "select r.metadata from carray(?1) c cross join records r on r.key = c.value", keys
        )
        return (decode_metadata(text) for (text,) in rows)

    def documents(self, keys: Keys) -> Iterator[str | None]:
        """The documents with these keys, in their order."""
        rows = self.for_keys(
            "select r.document from carray(?1) c cross join records r on r.key = c.value", keys
        )
        return (document for (document,) in rows)

    def _ids(self, keys: Keys) -> list[str]:
        rows = self.for_keys(
            "select r.id from carray(?1) c cross join records r on r.key = c.value", keys
        )
        return [id for (id,) in self._all(rows, keys)]

    def for_keys(self, statement: str, keys: Keys) -> Iterable[Any]:
        """The rows of a statement whose ?1 is an array of keys; no keys, no rows."""
        if not len(keys):
            return ()
        array = apsw.carray(np.ascontiguousarray(keys, dtype=np.int64))
        return self._connection.execute(statement, (array,))

    def _all(self, rows: Iterable[Any], keys: Keys) -> list[Any]:
        found = list(rows)
        if len(found) != len(keys):
            raise DamagedError(f"{len(keys)} records were looked up, and {len(found)} are there")
        return found


def _expand(runs: Sequence[tuple[int, int]]) -> Keys:
    """The distinct keys of runs (lo, hi), ascending.

    >>> _expand([(5, 7), (2, 2), (6, 8)]).tolist()
    [2, 5, 6, 7, 8]
    """
    if not runs:
        return np.empty(0, np.int64)
    if len(runs) == 1:
        return np.arange(runs[0][0], runs[0][1] + 1)
    bounds = np.array(runs, np.int64)
    lengths = bounds[:, 1] - bounds[:, 0] + 1
    ends = np.cumsum(lengths)
    starts = np.repeat(bounds[:, 0] - (ends - lengths), lengths)
    return distinct(starts + np.arange(ends[-1]))


def distinct(keys: Keys) -> Keys:
    """Each of the keys once, ascending, as np.unique has it, whose first call takes 20 ms."""
    keys = np.sort(keys)
    return keys[np.concatenate(([True], keys[1:] != keys[:-1]))] if len(keys) else keys


def _unpacked(bits: Any, count: Any) -> NDArray[np.bool_]:
    return np.unpackbits(np.frombuffer(bits, np.uint8), count=count).astype(np.bool_)


def records_of(
    rows: Iterable[Sequence[Any]],
    columns: Collection[Column],
    vectors: NDArray[np.float32] | None = None,
    has_vector: NDArray[np.bool_] | None = None,
) -> Records:
    """Rows of id, document, uri and metadata as the columns that were asked for."""
    ids, documents, uris, metadatas = map(list, zip(*rows, strict=True))
    return Records(
        ids,
        vectors,
        documents if "documents" in columns else None,
        uris if "uris" in columns else None,
        [*map(decode_metadata, metadatas)] if "metadatas" in columns else None,
        has_vector,
    )


def no_records(columns: Collection[Column], dimension: int | None = None) -> Records:
    """An answer without rows: the columns that were asked for are there, and empty."""
    return Records(
        [],
        np.empty((0, dimension or 0), np.float32) if "vectors" in columns else None,
        [] if "documents" in columns else None,
        [] if "uris" in columns else None,
        [] if "metadatas" in columns else None,
    )
