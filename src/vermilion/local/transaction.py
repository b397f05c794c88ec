"""A transaction: a snapshot of a collection that may write.

Every method is one kind of write. It changes records and vectors, keeps the id tables in step,
writes a log entry for each run of changed keys, and counts what it did.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any
from zlib import crc32

import apsw
import numpy as np
from numpy.typing import NDArray

from vermilion.engine import Column
from vermilion.errors import (
    ArgumentValueError,
    DimensionError,
    FunctionChangedError,
    ids_exist,
)
from vermilion.local.rows import checksum, encode_metadata, hash_id, merge_metadata, runs
from vermilion.local.snapshot import (
    BARE,
    CELLS,
    CELLS_OF,
    DELETED,
    VECTOR,
    WITH_BARE,
    Keys,
    SegmentRow,
    Snapshot,
)
from vermilion.records import Batch
from vermilion.switching import MOST_MISSING, source_stamp
from vermilion.types import WriteResult, pages

# The small table of ids is folded into the large one when it has this many rows.
FOLD_IDS = 50_000
# Rows that are inserted by one statement: 384 values at most.
ROWS_A_STATEMENT = 64
_URIS: tuple[Column, ...] = ("uris",)
_SOURCES: tuple[Column, ...] = ("documents", "uris")
_NO_VECTOR = memoryview(b"")
# Records whose vectors are replaced at a time.
ROWS_A_PAGE = 2_000
# So many entries of the log are kept for readers that are behind; who is further back starts over.
LOG_ENTRIES = 20_000
# What is not in the segments is kept this much longer; beyond, they are built anew.
MOST_LOG_ENTRIES = 500_000


class Transaction(Snapshot):
    """One write, all or nothing."""

    def __init__(self, connection: apsw.Connection, name: str) -> None:
        super().__init__(connection, name)
        self._stood = self.head.stands  # as it is in the file

    def add(self, batch: Batch, *, new_only: bool = False, named: bool = False) -> WriteResult:
        """Inserts the rows whose id is new; `new_only` refuses the others, and all with them."""
        self._check_dimension(batch)
        taken = self.keys_of(batch.ids)
        if new_only and taken:
            raise ids_exist([id for id in batch.ids if id in taken])
        rows = [row for row, id in enumerate(batch.ids) if id not in taken]
        self._insert(batch, rows)
        self._finish()
        new = [batch.ids[row] for row in rows]
        skipped = [id for id in batch.ids if id in taken]
        return WriteResult.of({"inserted": new, "skipped": skipped}, named=named)

    def upsert(self, batch: Batch, *, named: bool = False) -> WriteResult:
        """Updates the rows whose id exists and inserts the others."""
        self._check_dimension(batch)
        keys = self.keys_of(batch.ids)
        new = [row for row, id in enumerate(batch.ids) if id not in keys]
        changed = self._change(batch, keys)
        self._insert(batch, new)
        self._finish()
        inserted = {"inserted": [batch.ids[row] for row in new]}
        return WriteResult.of(inserted | _changes(batch, keys, changed), named=named)

    def update(self, batch: Batch, *, named: bool = False) -> WriteResult:
        """Updates the rows whose id exists."""
        self._check_dimension(batch)
        keys = self.keys_of(batch.ids)
        changed = self._change(batch, keys)
        self._finish()
        missing = {"missing": [id for id in batch.ids if id not in keys]}
        return WriteResult.of(_changes(batch, keys, changed) | missing, named=named)

    def delete(self, keys: Keys) -> int:
        """Deletes the records with these keys, and tells how many there were."""
        count = self._remove(keys)
        self._finish()
        return count

    def revert(self, until: int, changed: Keys, deleted: Keys, made: Keys) -> None:
        """Gives back what history.py kept of a call: records are as they were until then.

        Those changed get their old cells and vectors, those deleted are there again under their
        keys, and those made go.
        """
        self._remove(made)
        for table, cells in (
            ("records", "document, uri, metadata, crc"),
            ("vectors", "vector, crc"),
        ):
            past = f"past_{table} p where p.until = {until:d} and p.key"
            self.for_keys(
                f"update {table} set ({cells}) = (select {cells} from {past} = {table}.key)"
                f" where key in (select value from carray(?1))"
                f" and exists (select 1 from {past} = {table}.key)",
                changed,
            )
        self._bring_back(until, deleted)
        self._log({*changed.tolist(), *deleted.tolist()}, VECTOR | CELLS)
        self._finish()

    def _bring_back(self, until: int, keys: Keys) -> None:
        for table, cells in (
            ("records", "key, id, document, uri, metadata, crc"),
            ("vectors", "key, vector, crc"),
        ):
            self.for_keys(
                f"insert into {table} ({cells}) select {cells} from past_{table}"
                f" where until = {until:d} and key in (select value from carray(?1))",
                keys,
            )
        rows = list(
            self.for_keys(
                "select r.id, r.key, length(v.vector) / 4 from carray(?1) c"
                " join records r on r.key = c.value join vectors v on v.key = c.value",
                keys,
            )
        )
        for id, key, dimension in rows:
            if not dimension:
                self._tell_bare()
            elif self.head.rows and self.head.dimension not in (None, dimension):
                raise DimensionError(
                    f"Collection expecting embedding with dimension of {self.head.dimension}, got "
                    f"{dimension}"
                )
            self.head.dimension = dimension or self.head.dimension
            self.head.rows += 1
            table = "ids" if key < self.head.folded else "recent_ids"
            self._connection.execute(
                f"insert into {table} (hash, key) values (?, ?)", (hash_id(id), key)
            )

    def _remove(self, keys: Keys) -> int:
        """Deletes records, and leaves the rest to `_finish`."""
        keys = np.sort(keys)
        rows = list(
            self.for_keys(
                "select r.id, r.key from carray(?1) c cross join records r on r.key = c.value", keys
            )
        )
        hashes = [(hash_id(id), key) for id, key in rows]
        for statement in (
            "delete from ids where hash = ? and key = ?",
            "delete from recent_ids where hash = ? and key = ?",
        ):
            self._connection.executemany(statement, hashes)
        for statement in (
            "delete from records where key in (select value from carray(?1))",
            "delete from vectors where key in (select value from carray(?1))",
        ):
            self.for_keys(statement, keys)
        self._log({key for _, key in rows}, DELETED)
        self.head.rows -= len(rows)
        return len(rows)

    # ── inserting ────────────────────────────────────────────────────────────────────────────────

    def _insert(self, batch: Batch, rows: Sequence[int]) -> None:
        if not rows:
            return
        complete = batch.have_vectors(rows)
        if not complete and not (batch.bare and _have_sources(batch, rows)):
            raise ArgumentValueError(
                "Exactly one of embeddings, documents, images, uris must be provided for records "
                "that do not exist yet"
            )
        self.head.dimension = batch.dimension or self.head.dimension
        if not complete:
            self._tell_bare()
        first = self.head.next_key
        self.head.next_key += len(rows)
        self.head.rows += len(rows)
        self._put(
            "insert into records (key, id, document, uri, metadata, crc) values ",
            _records(batch, rows, first),
        )
        self._put(
            "insert into vectors (key, vector, crc) values ",
            ((first + i, vector, crc32(vector)) for i, vector in enumerate(_blobs(batch, rows))),
        )
        self._put(
            "insert into recent_ids (hash, key) values ",
            sorted((hash_id(batch.ids[row]), first + i) for i, row in enumerate(rows)),
        )
        self._log(range(first, self.head.next_key), VECTOR | CELLS)

    def _tell_bare(self) -> None:
        """Has readers reckon with records that have no vector, and find them."""
        if self.head.format < WITH_BARE:
            self.head.format = WITH_BARE
            self._connection.execute(BARE)
            self._connection.execute("update head set format = ?", (WITH_BARE,))

    def _put(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Inserts some rows with each statement: a tenth less work than a statement a row."""
        pending = iter(rows)
        while some := list(islice(pending, ROWS_A_STATEMENT)):
            row = f"({', '.join('?' * len(some[0]))})"
            self._connection.execute(
                statement + ", ".join([row] * len(some)), list(chain.from_iterable(some))
            )

    # ── changing ─────────────────────────────────────────────────────────────────────────────────

    def _change(self, batch: Batch, keys: dict[str, int]) -> set[int]:
        """Writes the given cells of the records that exist, where they differ from the stored.

        Returns the keys of those that differed.
        """
        if not keys:
            return set()
        rows = [(row, keys[id]) for row, id in enumerate(batch.ids) if id in keys]
        cells = self._changed_cells(batch, rows)
        vectors = self._changed_vectors(batch, rows)
        self._connection.executemany(
            "update records set document = ?2, uri = ?3, metadata = ?4, crc = ?5 where key = ?1",
            cells,
        )
        self._connection.executemany(
            "update vectors set vector = ?2, crc = ?3 where key = ?1", vectors
        )
        changed_cells, changed_vectors = {row[0] for row in cells}, {row[0] for row in vectors}
        self._log(changed_cells, CELLS)
        self._log(changed_vectors, VECTOR)
        return changed_cells | changed_vectors

    def _changed_cells(
        self, batch: Batch, rows: list[tuple[int, int]]
    ) -> list[tuple[int, str | None, str | None, str | None, int]]:
        if not (batch.documents or batch.uris or batch.metadatas or batch.clear):
            return []
        out = []
        keys = np.array([key for _, key in rows], np.int64)
        stored_cells = self._all(self.for_keys(CELLS_OF, keys), keys)
        for (row, key), stored in zip(rows, stored_cells, strict=True):
            id, *before = stored
            document, uri, metadata = (
                None if column in batch.clear else cell
                for column, cell in zip(("documents", "uris", "metadatas"), before, strict=True)
            )
            given_document = batch.documents[row] if batch.documents else None
            given_uri = batch.uris[row] if batch.uris else None
            changes = batch.metadatas[row] if batch.metadatas else None
            after = (
                document if given_document is None else given_document,
                uri if given_uri is None else given_uri,
                merge_metadata(metadata, changes) if changes else metadata,
            )
            if after != tuple(before):
                out.append((key, *after, checksum(id, *after)))
        return out

    def _changed_vectors(
        self, batch: Batch, rows: list[tuple[int, int]]
    ) -> list[tuple[int, memoryview, int]]:
        if batch.vectors is None:
            return []
        rows = [pair for pair in rows if batch.has_vector is None or batch.has_vector[pair[0]]]
        if not rows:
            return []
        keys = np.array([key for _, key in rows], np.int64)
        bare = self.bare(keys)
        if self.head.dimension is None:  # until now no record had a vector
            self.head.dimension = batch.dimension
        stored = self.vectors(keys)
        given = batch.vectors[[row for row, _ in rows]]
        differs = (stored.view(np.int32) != given.view(np.int32)).any(axis=1)
        if bare is not None:
            differs |= bare
        blobs = _blobs(batch, [row for row, _ in rows])
        return [
            (key, blob, crc32(blob))
            for (_, key), blob, new in zip(rows, blobs, differs, strict=True)
            if new
        ]

    # ── all vectors at once ──────────────────────────────────────────────────────────────────────

    def replace_vectors(self, staged: Snapshot, form: str) -> list[str]:
        """Gives every record the vector that is staged under its id, made by the function `form`.

        Returns ids for which there is none, or one of another document: then nothing is changed.
        """
        keys = self.all_keys()
        missing: list[str] = []
        pairs = []
        for page in pages(len(keys), ROWS_A_PAGE):
            late, found = self._pair(staged, keys[page])
            missing += late
            pairs.append(found)
        if missing:
            return missing[:MOST_MISSING]
        for mine, theirs in pairs:
            blobs = _matrix_blobs(staged.vectors(theirs))
            self._connection.executemany(
                "update vectors set vector = ?2, crc = ?3 where key = ?1",
                ((key, blob, crc32(blob)) for key, blob in zip(mine.tolist(), blobs, strict=True)),
            )
        self._start_over(staged.head.dimension)
        self.set_maker(form)
        return []

    def _pair(self, staged: Snapshot, keys: Keys) -> tuple[list[str], tuple[Keys, Keys]]:
        """The ids of those that nothing fitting is staged for, and the keys here and there."""
        records = self.records(keys, _SOURCES)
        there = staged.keys_of(records.ids)
        known = [id for id in records.ids if id in there]
        theirs = np.array([there[id] for id in known], np.int64)
        of: dict[str, str | None] = {}
        if known:
            of = dict(zip(known, staged.records(theirs, _URIS).uris or (), strict=True))
        cells = zip(records.ids, records.documents or (), records.uris or (), strict=True)
        late = [id for id, document, uri in cells if of.get(id) != source_stamp(document, uri)]
        return late, (keys, theirs)

    def _start_over(self, dimension: int | None) -> None:
        """Has every index be made anew: the log does not reach back to what they know."""
        head = self.head
        head.dimension = dimension
        head.seq += 1
        head.floor = head.seq
        head.tail = head.rows
        self._connection.execute("delete from log")
        self._connection.execute("delete from segments")
        self._connection.execute("update head set generation = generation + 1")
        self._finish()

    def set_maker(self, form: str) -> None:
        """Remembers which function makes the vectors from now on."""
        self._connection.execute(
            "create table if not exists maker (id integer primary key check (id = 1), form text)"
        )
        self._connection.execute("insert or replace into maker values (1, ?)", (form,))

    # ── all of them ──────────────────────────────────────────────────────────────────────────────

    def _check_dimension(self, batch: Batch) -> None:
        """A collection without records takes any dimension; afterwards all must be alike."""
        if batch.made_by is not None and self.maker() not in (None, batch.made_by):
            raise FunctionChangedError(
                "The embedding function of the collection was changed meanwhile, and the vectors "
                "are of the one before: get the collection again"
            )
        given, wanted = batch.dimension, self.head.dimension
        if given is not None and self.head.rows and wanted is not None and given != wanted:
            raise DimensionError(
                f"Collection expecting embedding with dimension of {wanted}, got {given}"
            )

    def _log(self, keys: Sequence[int] | set[int], what: int) -> None:
        """An entry for each run of neighbouring keys."""
        ascending = keys if isinstance(keys, range) else sorted(keys)
        for lo, hi in runs(ascending):
            self.head.seq += 1
            self.head.tail += hi - lo + 1
            self._connection.execute(
                "insert into log (seq, lo, hi, what) values (?, ?, ?, ?)",
                (self.head.seq, lo, hi, what),
            )

    def _finish(self) -> None:
        head = self.head
        floor = self._prunable()
        if floor - head.floor > LOG_ENTRIES:
            head.floor = floor
            self._connection.execute("delete from log where seq <= ?", (floor,))
        self._fold_ids()
        if (stands := head.stands) != self._stood:
            self._stood = stands
            self._connection.execute(
                "update head set"
                " seq = ?, floor = ?, rows = ?, next_key = ?, folded = ?, dimension = ?, tail = ?",
                stands,
            )

    def _prunable(self) -> int:
        """Up to where the log is of no use: what the segments do not hold is kept for long."""
        behind = self.head.seq - LOG_ENTRIES
        if not self.head.generation:
            return behind
        return max(min(behind, self.head.sealed), behind - MOST_LOG_ENTRIES)

    def publish(self, segments: Sequence[SegmentRow], sealed: int) -> None:
        """Makes these the current segments, which hold what the log says up to `sealed`."""
        self._connection.execute("delete from segments")
        self._connection.executemany(
            "insert into segments (name, rows, dead) values (?, ?, ?)",
            [(row.name, len(row.dead), np.packbits(row.dead).tobytes()) for row in segments],
        )
        touched = self.touched_since(sealed)
        self.head.tail = 0 if touched is None else len(touched.keys)
        self._connection.execute(
            "update head set generation = generation + 1, sealed = ?, tail = ?",
            (sealed, self.head.tail),
        )

    def forget_segments(self, names: Sequence[str], keys: Sequence[int]) -> None:
        """Takes segments from the list; the records with these keys are in none from now on."""
        self._connection.executemany(
            "delete from segments where name = ?", [(name,) for name in names]
        )
        self._log(keys, VECTOR | CELLS)
        self._connection.execute("update head set generation = generation + 1")
        self._finish()

    def fold_ids(self) -> None:
        """Moves all ids to the large table."""
        self._fold_ids(least=0)
        self._finish()

    def _fold_ids(self, least: int | None = None) -> None:
        if self.head.next_key - self.head.folded > (FOLD_IDS if least is None else least):
            self.head.folded = self.head.next_key
            self._connection.execute("insert into ids select hash, key from recent_ids")
            self._connection.execute("delete from recent_ids")


def _have_sources(batch: Batch, rows: Sequence[int]) -> bool:
    """Whether each row has something that a vector could be made of, or a vector."""
    columns = [column for column in (batch.documents, batch.uris) if column is not None]
    return all(
        batch.have_vectors([row]) or any(column[row] is not None for column in columns)
        for row in rows
    )


def _records(
    batch: Batch, rows: Sequence[int], first: int
) -> Iterator[tuple[int, str, str | None, str | None, str | None, int]]:
    for place, row in enumerate(rows):
        cells = (
            batch.ids[row],
            batch.documents[row] if batch.documents else None,
            batch.uris[row] if batch.uris else None,
            encode_metadata(batch.metadatas[row]) if batch.metadatas else None,
        )
        yield (first + place, *cells, checksum(*cells))


def _changes(batch: Batch, keys: dict[str, int], changed: set[int]) -> dict[str, list[str]]:
    """The ids of the records that exist, by whether they changed."""
    known = [id for id in batch.ids if id in keys]
    return {
        "updated": [id for id in known if keys[id] in changed],
        "unchanged": [id for id in known if keys[id] not in changed],
    }


def _blobs(batch: Batch, rows: Sequence[int]) -> Iterator[memoryview]:
    """The vectors of these rows as bytes, without copying them one by one; of bare ones none."""
    if batch.vectors is None:
        yield from [_NO_VECTOR] * len(rows)
    elif batch.has_vector is None:
        yield from _matrix_blobs(batch.vectors, rows)
    else:
        blobs = _matrix_blobs(batch.vectors, rows)
        for blob, there in zip(blobs, batch.has_vector[list(rows)], strict=True):
            yield blob if there else _NO_VECTOR


def _matrix_blobs(
    vectors: NDArray[np.float32], rows: Sequence[int] | None = None
) -> Iterator[memoryview]:
    matrix = np.ascontiguousarray(vectors, dtype="<f4")
    flat, width = matrix.data.cast("B"), 4 * matrix.shape[1]
    for row in range(len(matrix)) if rows is None else rows:
        yield flat[row * width : (row + 1) * width]
