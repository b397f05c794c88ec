"""One collection as a dict: slow, obvious, and what every engine is held against.

Filters mean what `Filter.matches` says. Distances are computed in float64; `check_hits` allows
float32 answers to differ from them by a rounding error, and by nothing else.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vermilion.engine import Selection
from vermilion.errors import ArgumentValueError, DimensionError, IDAlreadyExistsError
from vermilion.metadata import fields_of
from vermilion.query.where import DOCUMENT, ID
from vermilion.records import Batch
from vermilion.types import Hits, Records, Space, WriteResult

# How far a float32 distance may be off, relative to the lengths of the two vectors.
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Row:
    """A record without its id."""

    vector: tuple[float, ...]
    document: str | None
    uri: str | None
    metadata: dict[str, Any] | None


# A column of a batch, and the field of a row.
COLUMNS = {"documents": "document", "uris": "uri", "metadatas": "metadata"}


class Oracle:
    """The records of a collection by id, in the order of insertion."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.rows: dict[str, Row] = {}
        self.dimension: int | None = None  # of the vectors written last

    # ── writes ───────────────────────────────────────────────────────────────────────────────────

    def add(self, batch: Batch, *, new_only: bool = False) -> WriteResult:
        self.check_dimension(batch.dimension)
        new = [place for place, id in enumerate(batch.ids) if id not in self.rows]
        if new_only and len(new) < len(batch):
            raise IDAlreadyExistsError("some are there")
        skipped = [id for id in batch.ids if id in self.rows]
        self._insert(batch, new)
        return result(inserted=[batch.ids[place] for place in new], skipped=skipped)

    def upsert(self, batch: Batch) -> WriteResult:
        self.check_dimension(batch.dimension)
        new = [place for place, id in enumerate(batch.ids) if id not in self.rows]
        if new and (batch.vectors is None or not _with_vector(batch)[new].all()):
            raise ArgumentValueError("a new record needs a vector")
        updated, unchanged = self._change(batch)
        self._insert(batch, new)
        inserted = [batch.ids[place] for place in new]
        return result(inserted=inserted, updated=updated, unchanged=unchanged)

    def update(self, batch: Batch) -> WriteResult:
        self.check_dimension(batch.dimension)
        missing = [id for id in batch.ids if id not in self.rows]
        updated, unchanged = self._change(batch)
        return result(updated=updated, unchanged=unchanged, missing=missing)

    def update_where(self, selection: Selection, changes: dict[str, Any]) -> WriteResult:
        ids = self.selected(selection)
        return self.update(Batch(ids, metadatas=[changes] * len(ids)))

    def delete(self, selection: Selection, limit: int | None = None) -> list[str]:
        gone = self.selected(selection)[:limit]
        for id in gone:
            del self.rows[id]
        return gone

    def check_dimension(self, dimension: int | None) -> None:
        if self.rows and dimension is not None and dimension != self.dimension:
            raise DimensionError(f"{dimension} is not {self.dimension}")

    def _insert(self, batch: Batch, places: list[int]) -> None:
        for place in places:
            assert batch.vectors is not None
            self.dimension = batch.dimension
            self.rows[batch.ids[place]] = Row(
                tuple(batch.vectors[place].tolist()),
                batch.documents[place] if batch.documents else None,
                batch.uris[place] if batch.uris else None,
                _merged(None, batch.metadatas[place] if batch.metadatas else None),
            )

    def _change(self, batch: Batch) -> tuple[list[str], list[str]]:
        changed: list[str] = []
        unchanged: list[str] = []
        for place, id in enumerate(batch.ids):
            if id not in self.rows:
                continue
            before = after = self.rows[id]
            after = replace(after, **{COLUMNS[column]: None for column in batch.clear})
            if batch.vectors is not None and _with_vector(batch)[place]:
                after = replace(after, vector=tuple(batch.vectors[place].tolist()))
            if batch.documents and batch.documents[place] is not None:
                after = replace(after, document=batch.documents[place])
            if batch.uris and batch.uris[place] is not None:
                after = replace(after, uri=batch.uris[place])
            if batch.metadatas:
                after = replace(after, metadata=_merged(after.metadata, batch.metadatas[place]))
            self.rows[id] = after
            same = repr(before) == repr(after)  # 1 is not 1.0 here, and 0.0 is not -0.0
            (unchanged if same else changed).append(id)
        return changed, unchanged

    # ── reads ────────────────────────────────────────────────────────────────────────────────────

    def selected(self, selection: Selection) -> list[str]:
        """Ids in the order of insertion."""
        return [id for id in self.rows if self._is_selected(id, selection)]

    def get(
        self, selection: Selection, columns: Collection[str], limit: int | None, offset: int | None
    ) -> Records:
        start = offset or 0
        found = self.selected(selection)[start:][:limit]
        rows = [self.rows[id] for id in found]
        return Records(
            found,
            self._matrix(found) if "vectors" in columns else None,
            [row.document for row in rows] if "documents" in columns else None,
            [row.uri for row in rows] if "uris" in columns else None,
            [row.metadata for row in rows] if "metadatas" in columns else None,
        )

    def check_hits(
        self, hits: Hits, query: NDArray[np.float32], k: int, selection: Selection
    ) -> None:
        """Fails unless these are the k nearest of the selected records, in their order."""
        found, selected = hits.records.ids, self.selected(selection)
        assert len(found) == min(k, len(selected))
        assert len(set(found)) == len(found)
        assert set(found) <= set(selected)
        true = dict(zip(selected, self._distances(selected, query), strict=True))
        margins = dict(zip(selected, self._margins(selected, query), strict=True))
        place = {id: number for number, id in enumerate(self.rows)}
        told = list(zip(hits.distances.tolist(), [place[id] for id in found], strict=True))
        assert told == sorted(told), "not by distance, then insertion"
        for id, distance in zip(found, hits.distances.tolist(), strict=True):
            assert abs(distance - true[id]) <= margins[id], (id, distance, true[id])
        for other in set(selected) - set(found):
            for id in found:
                assert true[other] >= true[id] - margins[other] - margins[id], (other, id)
                twins = self.rows[other].vector == self.rows[id].vector
                assert not twins or place[other] > place[id], (other, id)

    def _is_selected(self, id: str, selection: Selection) -> bool:
        row = self.rows[id]
        fields = {**fields_of(row.metadata or {}), DOCUMENT: row.document, ID: id}
        listed = selection.ids is None or id in selection.ids
        return listed and (selection.filter is None or selection.filter.matches(fields.get))

    def _matrix(self, ids: list[str]) -> NDArray[np.float32]:
        shape = len(ids), self.dimension or 0
        return np.array([self.rows[id].vector for id in ids], np.float32).reshape(shape)

    def _distances(self, ids: list[str], query: NDArray[np.float32]) -> list[float]:
        a, b = self._matrix(ids).astype(np.float64), query.astype(np.float64)
        if self.space == "l2":
            return [float(((row - b) ** 2).sum()) for row in a]
        if self.space == "ip":
            return [1 - float(row @ b) for row in a]
        lengths = [float(np.linalg.norm(row) * np.linalg.norm(b)) for row in a]
        return [1 - float(row @ b) / c if c else 1.0 for row, c in zip(a, lengths, strict=True)]

    def _margins(self, ids: list[str], query: NDArray[np.float32]) -> list[float]:
        squares = (self._matrix(ids).astype(np.float64) ** 2).sum(axis=1)
        return [TOLERANCE * (1 + float(s + query.astype(np.float64) @ query)) for s in squares]


def result(**ids: list[str]) -> WriteResult:
    """What an engine that is asked for the ids tells."""
    return WriteResult.of(ids, named=True)


def _with_vector(batch: Batch) -> NDArray[np.bool_]:
    return np.ones(len(batch), np.bool_) if batch.has_vector is None else batch.has_vector


def _merged(stored: Any, changes: Any) -> dict[str, Any] | None:
    merged = {**(stored or {}), **(changes or {})}
    return {key: value for key, value in merged.items() if value is not None} or None
