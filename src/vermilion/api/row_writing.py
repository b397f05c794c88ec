"""The half of a collection that takes rows: dicts, and tables of pandas, polars and Arrow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vermilion.api.embedder import Embedder
from vermilion.api.iterating import BATCH_SIZE, check_batch_size
from vermilion.api.made_ids import MakeIds, check_make_ids
from vermilion.api.row_sources import Row, checked, chunks, rows_of, with_ids
from vermilion.api.searching import naming
from vermilion.api.sparse_embedder import SparseEmbedder
from vermilion.api.writing import check_on_conflict
from vermilion.engine import CollectionInfo, Engine
from vermilion.errors import ArgumentValueError
from vermilion.records import Batch, Columns
from vermilion.types import OnConflict, WriteResult


class RowWriting:
    """What `Collection` inherits."""

    _engine: Callable[[], Engine]
    _info: CollectionInfo
    _embedder: Embedder
    _sparse: SparseEmbedder
    _insert: Callable[..., WriteResult]
    _keep_up: Callable[[], None]

    def add_rows(
        self,
        source: Any,
        *,
        on_conflict: OnConflict = "skip",
        make_ids: MakeIds | None = None,
        batch_size: int = BATCH_SIZE,
        report: bool = False,
    ) -> WriteResult:
        """Inserts the rows of a table, or of a list or iterator of dicts; tells how many.

        The columns "id", "document", "embedding", "uri" and "metadata" are those of a record; every
        other one is a key of its metadata, unless the cell is empty. Rows without an embedding get
        one of their document, else of their uri. `batch_size` rows are read, embedded and written
        at a time, each such batch as a whole or not at all. `on_conflict` and `make_ids` as for
        `add`; with `report` the result has the ids.
        """
        with naming("add_rows"):
            how = check_on_conflict(on_conflict)
            return self._write_rows(source, how, make_ids, batch_size, report)

    def upsert_rows(
        self,
        source: Any,
        *,
        make_ids: MakeIds | None = None,
        batch_size: int = BATCH_SIZE,
        report: bool = False,
    ) -> WriteResult:
        """Inserts the rows, or updates the records whose id exists; otherwise as `add_rows`.

        An empty cell leaves what is there as it is.
        """
        with naming("upsert_rows"):
            return self._write_rows(source, "update", make_ids, batch_size, report)

    def _write_rows(
        self, source: Any, how: OnConflict, make_ids: Any, batch_size: Any, report: bool
    ) -> WriteResult:
        size = min(check_batch_size(batch_size), self._engine().max_batch_size())
        made = None if make_ids is None else check_make_ids(make_ids)
        total = WriteResult()
        for chunk in chunks(with_ids(rows_of(source, size), made), size):
            batch = self._row_batch(chunk)
            done = self._insert(batch, how, named=report)
            ours = [row.id for row in chunk if row.made] if report else []
            total += replace(done, made=ours)
        return total

    def _row_batch(self, chunk: list[Row]) -> Batch:
        """A batch of the rows, embedded as far as they bring no vectors."""
        columns, given = checked(chunk)
        if not given.all():
            self._keep_up()
        vectors = self._row_vectors(chunk, columns, given)
        batch = self._sparse.filled(columns).batch(vectors)
        if vectors is None or given.any():
            return batch
        return replace(batch, made_by=self._embedder.maker)

    def _row_vectors(
        self, chunk: list[Row], columns: Columns, given: NDArray[np.bool_]
    ) -> NDArray[np.float32] | None:
        texts = np.array([row.document is not None for row in chunk], np.bool_) & ~given
        places = np.array([row.uri is not None for row in chunk], np.bool_) & ~given & ~texts
        bare = ~(given | texts | places)
        if bare.all():
            return None
        if bare.any():
            number = chunk[int(np.argmax(bare))].number
            raise ArgumentValueError(
                f"Row {number}: Expected an embedding, or a document or a uri to make one of"
            )
        parts: list[tuple[NDArray[np.bool_], NDArray[np.float32]]] = []
        if columns.vectors is not None:
            parts.append((given, columns.vectors))
        for some, sources in ((texts, columns.documents), (places, columns.uris)):
            if some.any() and sources is not None:
                parts.append((some, self._embedded(some, sources, uris=some is places)))
        return _joined(parts, len(chunk))

    def _embedded(
        self, some: NDArray[np.bool_], cells: list[str | None], *, uris: bool
    ) -> NDArray[np.float32]:
        wanted = [cells[place] for place in np.flatnonzero(some)]
        ids = [str(place) for place in range(len(wanted))]
        documents, places = (None, wanted) if uris else (wanted, None)
        vectors = self._embedder.vectors(Columns(ids, None, documents, None, places, None))
        assert vectors is not None, "there is something to make them of"
        return vectors


def _joined(
    parts: list[tuple[NDArray[np.bool_], NDArray[np.float32]]], count: int
) -> NDArray[np.float32]:
    """Vectors for some of the rows each, as one array."""
    widths = {vectors.shape[1] for _, vectors in parts}
    if len(widths) > 1:
        raise ArgumentValueError(
            f"Inconsistent dimensions: the embeddings that are given and those that are made have "
            f"{' and '.join(map(str, sorted(widths)))}"
        )
    out = np.empty((count, *widths), np.float32)
    for some, vectors in parts:
        out[some] = vectors
    return out
