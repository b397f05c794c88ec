"""Answers as they are handed out: aligned columns, one list per query, in Chroma's shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vermilion.api.answers import GetResult, QueryResult
from vermilion.api.embedder import Embedder
from vermilion.engine import Column
from vermilion.errors import ArgumentTypeError
from vermilion.records import check_count
from vermilion.types import Hits, Records, with_none

# How the columns a caller names are called inside.
_COLUMNS: dict[str, Column] = {
    "embeddings": "vectors",
    "documents": "documents",
    "metadatas": "metadatas",
    "uris": "uris",
}


def columns_for(include: Sequence[str]) -> set[Column]:
    """The columns that the engine is asked for."""
    wanted = {_COLUMNS[name] for name in include if name in _COLUMNS}
    return wanted | ({"uris"} if "data" in include else set())


def reported(include: list[str]) -> list[Any]:
    """What the answer says it includes: data come with the uris they were loaded from."""
    return [*include, "uris"] if "data" in include and "uris" not in include else include


def get_result(records: Records, include: list[Any], embedder: Embedder) -> GetResult:
    """What `get` returns."""
    columns = {
        "ids": records.ids,
        "embeddings": _doubles(records),
        "documents": records.documents,
        "uris": records.uris,
        "included": include,
        "data": embedder.load(records.uris) if "data" in include else None,
        "metadatas": records.metadatas,
    }
    return GetResult(columns)


def query_result(hits: list[Hits], include: list[Any], embedder: Embedder) -> QueryResult:
    """What `query` returns."""

    def column(name: str) -> Any:
        inside = _COLUMNS[name]
        return [getattr(hit.records, inside) for hit in hits] if name in include else None

    columns = {
        "ids": [hit.records.ids for hit in hits],
        "embeddings": (
            [_doubles(hit.records) for hit in hits] if "embeddings" in include else None
        ),
        "documents": column("documents"),
        "uris": column("uris"),
        "included": include,
        "data": ([embedder.load(hit.records.uris) for hit in hits] if "data" in include else None),
        "metadatas": column("metadatas"),
        "distances": ([hit.distances.tolist() for hit in hits] if "distances" in include else None),
    }
    return QueryResult(columns)


class Cut(NamedTuple):
    """Which of the nearest are told: from the offset on, and none that is too far."""

    offset: int = 0
    max_distance: float | None = None

    def of(self, hits: list[Hits]) -> list[Hits]:
        """The hits that are left of each answer."""
        if self == Cut():
            return hits
        return [self._of(one) for one in hits]

    def _of(self, hits: Hits) -> Hits:
        count = len(hits.records)
        if self.max_distance is not None:
            count = int(np.count_nonzero(hits.distances <= self.max_distance))
        kept = slice(self.offset, max(count, self.offset))
        columns: dict[str, Any] = {
            column.name: None if cells is None else cells[kept]
            for column in fields(hits.records)
            for cells in [getattr(hits.records, column.name)]
        }
        return Hits(replace(hits.records, **columns), hits.distances[kept])


def check_cut(offset: object, max_distance: object) -> Cut:
    """The cut that a caller asks for."""
    if max_distance is not None and (
        isinstance(max_distance, bool) or not isinstance(max_distance, int | float)
    ):
        raise ArgumentTypeError(f"Expected max_distance to be a number, got {max_distance!r}")
    return Cut(check_count("offset", offset) or 0, max_distance)


def _doubles(records: Records) -> NDArray[np.float64] | list[NDArray[np.float64] | None] | None:
    """Vectors as they are handed out; no vectors at all are one empty axis.

    A list where a record has none.
    """
    if records.vectors is None:
        return None
    doubles = records.vectors.astype(np.float64) if len(records) else np.empty(0)
    return with_none(doubles, records.has_vector)
