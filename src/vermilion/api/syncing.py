"""The half of a collection that is brought in step with a source: only what differs is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from vermilion.api.iterating import BATCH_SIZE, as_records, check_batch_size
from vermilion.api.row_sources import Cells, Row, checked, chunks, rows_of, with_ids
from vermilion.api.searching import naming, selected
from vermilion.api.sparse_embedder import SparseEmbedder
from vermilion.engine import CollectionInfo, Column, Engine, Selection
from vermilion.errors import ArgumentTypeError, ArgumentValueError, DuplicateIDError
from vermilion.query.where import DOCUMENT, ID
from vermilion.records import Batch
from vermilion.types import Record, WriteResult

_CELLS: tuple[Column, ...] = ("documents", "uris", "metadatas")
_VECTORS: tuple[Column, ...] = ("vectors",)


class _Plan(NamedTuple):
    """What is to be done with one chunk of rows."""

    new: list[Row]
    changed: list[tuple[Row, Record]]
    unchanged: int

    def result(self) -> WriteResult:
        """What is told of it."""
        ids = {
            "inserted": [row.id for row in self.new],
            "updated": [row.id for row, _ in self.changed],
        }
        return replace(WriteResult.of(ids, named=True), unchanged=self.unchanged)


class Syncing:
    """What `Collection` inherits."""

    _engine: Callable[[], Engine]
    _info: CollectionInfo
    _sparse: SparseEmbedder
    _row_batch: Callable[[list[Row]], Batch]

    def sync(
        self,
        source: Any,
        key: str | Callable[[Cells], str] = "id",
        where: Any = None,
        *,
        dry_run: bool = False,
        batch_size: int = BATCH_SIZE,
    ) -> WriteResult:
        """Makes the collection hold what the source holds: rows, as for `add_rows`.

        `key` names the column with the ids, or makes the id of a row. A record that is as its row
        says is left alone; one that differs gets all of its cells from the row, and is embedded
        anew only if its text, or the uri of one without text, is another. At the end, records that
        no row has an id for are deleted. Returns how many were inserted, updated, deleted, with
        their ids, and how many were unchanged.

        With `where` the source is about matching records alone: no others are deleted, and a row
        that does not match is an error. With `dry_run` nothing is embedded or written. Each batch
        is written as a whole; after an error, calling again goes on from there.
        """
        with naming("sync"):
            if not isinstance(key, str) and not callable(key):
                raise ArgumentTypeError(f"Expected key to be a column or a function, got {key!r}")
            scope = selected(None, where, None)
            size = min(check_batch_size(batch_size), self._engine().max_batch_size())
            seen: set[str] = set()
            total = WriteResult()
            for chunk in chunks(with_ids(rows_of(source, size, key), None), size):
                _check_chunk(chunk, seen, scope)
                plan = self._plan(chunk)
                if not dry_run:
                    self._carry_out(plan)
                total += plan.result()
            return total + self._delete_others(seen, scope, size, dry_run)

    def _plan(self, chunk: list[Row]) -> _Plan:
        checked(chunk)
        given = any(row.embedding is not None for row in chunk)
        columns = (*_CELLS, *_VECTORS) if given else _CELLS
        selection = Selection([row.id for row in chunk])
        found = self._engine().get(self._info.address, selection, columns)
        stored = {record.id: record for record in as_records(found)}
        known = [(row, stored[row.id]) for row in chunk if row.id in stored]
        changed = [(row, record) for row, record in known if not self._is_same(row, record)]
        new = [row for row in chunk if row.id not in stored]
        return _Plan(new, changed, len(known) - len(changed))

    def _is_same(self, row: Row, record: Record) -> bool:
        """Whether the record is as the row says; sparse vectors made of texts say nothing new."""
        made = self._sparse.sources
        told = {
            name: value
            for name, value in (record.metadata or {}).items()
            if name not in made or name in (row.metadata or {})
        }
        return (
            (row.document, row.uri) == (record.document, record.uri)
            and _form(row.metadata or {}) == _form(told)
            and (row.embedding is None or _same_vector(row.embedding, record.embedding))
        )

    def _carry_out(self, plan: _Plan) -> None:
        kept = [row.id for row, record in plan.changed if _keeps_vector(row, record)]
        vectors: dict[str, Any] = {}
        if kept:
            found = self._engine().get(self._info.address, Selection(kept), _VECTORS)
            vectors = {record.id: record.embedding for record in as_records(found)}
        rows = list(plan.new)
        for row, record in plan.changed:
            row = row._replace(metadata=self._told_metadata(row, record))
            rows.append(row._replace(embedding=vectors[row.id]) if row.id in vectors else row)
        if rows:
            batch = replace(self._row_batch(rows), clear=_emptied(plan.changed))
            self._engine().upsert(self._info.address, batch)

    def _told_metadata(self, row: Row, record: Record) -> dict[str, Any] | None:
        """The row's metadata, and None for keys that it does not have.

        Sparse vectors whose text is what it was stay.
        """
        before, after = dict(record.metadata or {}), dict(row.metadata or {})
        for name, source in self._sparse.sources.items():
            texts = (
                (row.document, record.document)
                if source == DOCUMENT
                else (after.get(source), before.get(source))
            )
            if texts[0] == texts[1] and name in before:
                after.setdefault(name, before[name])
            elif isinstance(texts[0], str):
                before.pop(name, None)  # it is made anew
        return {**dict.fromkeys(before), **after} or None

    def _delete_others(
        self, seen: set[str], scope: Selection, size: int, dry_run: bool
    ) -> WriteResult:
        ids = self._engine().get(self._info.address, scope).ids
        gone = [id for id in ids if id not in seen]
        for start in range(0, 0 if dry_run else len(gone), size):
            some = Selection(gone[start : start + size], scope.filter)
            self._engine().delete(self._info.address, some)
        return WriteResult.of({"deleted": gone}, named=True)


def _check_chunk(chunk: list[Row], seen: set[str], scope: Selection) -> None:
    """Notes the ids, each of which may come once, and checks that the rows are in the scope."""
    for row in chunk:
        if row.id in seen:
            raise DuplicateIDError(f"Row {row.number}: a row before has the id {row.id!r}, too")
        seen.add(row.id)
        fields = {**(row.metadata or {}), DOCUMENT: row.document, ID: row.id}
        if scope.filter is not None and not scope.filter.matches(fields.get):
            raise ArgumentValueError(
                f"Row {row.number}: the row with the id {row.id!r} does not match `where`"
            )


def _keeps_vector(row: Row, record: Record) -> bool:
    if row.embedding is not None:
        return False
    if row.document is None and record.document is None:
        return bool(row.uri == record.uri)
    return bool(row.document == record.document)


def _emptied(changed: list[tuple[Row, Record]]) -> frozenset[str]:
    """The columns in which a record has a cell and its row has none: only these are cleared."""
    columns = {
        "documents": any(row.document is None is not record.document for row, record in changed),
        "uris": any(row.uri is None is not record.uri for row, record in changed),
    }
    return frozenset(name for name, is_emptied in columns.items() if is_emptied)


def _form(metadata: dict[str, Any]) -> dict[str, str]:
    """Metadata to compare by: 1, 1.0 and True are three values."""
    return {name: repr(value) for name, value in metadata.items()}


def _same_vector(given: Any, stored: Any) -> bool:
    return stored is not None and np.array_equal(np.asarray(given, np.float32), stored)
