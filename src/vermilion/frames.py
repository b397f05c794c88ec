"""Answers as pandas data frames: a row per record, by id. Needs pandas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vermilion.types import GetResult, QueryResult

if TYPE_CHECKING:
    from pandas import DataFrame

# A column of an answer, and what it is called where each row is one record.
_NAMES = {
    "embeddings": "embedding",
    "documents": "document",
    "uris": "uri",
    "data": "data",
    "metadatas": "metadata",
    "distances": "distance",
}


def get_result_to_df(get_result: GetResult) -> DataFrame:
    """What `get` returned, with the columns that it includes; the index is called "id"."""
    return _frame(get_result["ids"], get_result)


def query_result_to_dfs(query_result: QueryResult) -> list[DataFrame]:
    """What `query` returned, a frame for each query, nearest first."""
    return [
        _frame(ids, {name: _of_query(query_result, name, place) for name in _NAMES})
        for place, ids in enumerate(query_result["ids"])
    ]


def _of_query(result: Mapping[str, Any], name: str, place: int) -> Any:
    column = result.get(name)
    return None if column is None else column[place]


def _frame(ids: list[str], columns: Mapping[str, Any]) -> DataFrame:
    from pandas import DataFrame, Index  # an extra, and most programs never ask for it

    given = {
        ours: list(columns[theirs])  # an array of vectors is a cell per vector
        for theirs, ours in _NAMES.items()
        if columns.get(theirs) is not None
    }
    return DataFrame(given, index=Index(ids, name="id"), columns=list(given))
