"""Answers as tables of pandas, polars and Arrow: a row per record. Each needs its extra.

A metadata field is a column of its own, called "metadata.…" where a column of hits has its name.
Columns of polars and Arrow have one type; a field whose values have several is text, as in JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vermilion.api.hits import NAMES, Hit
from vermilion.embeddings.base import optional
from vermilion.types import SparseVector

if TYPE_CHECKING:
    from pandas import DataFrame
    from polars import DataFrame as PolarsFrame
    from pyarrow import Table

Groups = Sequence[Sequence[Hit]]

# ── Chroma's frames ──────────────────────────────────────────────────────────────────────────────

# A column of an answer, and what it is called in a frame.
_CHROMA = {
    "embeddings": "embedding",
    "documents": "document",
    "uris": "uri",
    "data": "data",
    "metadatas": "metadata",
    "distances": "distance",
}


def get_result_to_df(get_result: Mapping[str, Any]) -> DataFrame:
    """What `get` returned, with the columns that it includes; the index is called "id"."""
    return _frame(get_result["ids"], get_result)


def query_result_to_dfs(query_result: Mapping[str, Any]) -> list[DataFrame]:
    """What `query` returned, a frame for each query, nearest first."""
    return [
        _frame(ids, {name: _of_query(query_result, name, place) for name in _CHROMA})
        for place, ids in enumerate(query_result["ids"])
    ]


def _of_query(result: Mapping[str, Any], name: str, place: int) -> Any:
    column = result.get(name)
    return None if column is None else column[place]


def _frame(ids: list[str], columns: Mapping[str, Any]) -> DataFrame:
    pandas = _pandas()
    given = {
        ours: list(columns[theirs])  # an array of vectors is a cell per vector
        for theirs, ours in _CHROMA.items()
        if columns.get(theirs) is not None
    }
    frame: DataFrame = pandas.DataFrame(
        given, index=pandas.Index(ids, name="id"), columns=list(given)
    )
    return frame


# ── a table of all hits ──────────────────────────────────────────────────────────────────────────


def to_pandas(groups: Groups, *, batch: bool) -> DataFrame:
    """A data frame of all hits; a cell holds whatever a value is."""
    columns = _columns(groups, batch)
    frame: DataFrame = _pandas().DataFrame(columns, columns=list(columns))
    return frame


def to_polars(groups: Groups, *, batch: bool) -> PolarsFrame:
    """A polars data frame of all hits."""
    polars = optional("polars", "pip install 'vermilion[polars]'")
    columns: dict[str, Any] = _typed(_columns(groups, batch))
    if "embedding" in columns and all(row is not None for row in columns["embedding"]):
        columns["embedding"] = np.array(columns["embedding"], np.float64)
    frame: PolarsFrame = polars.DataFrame(columns)
    return frame


def to_arrow(groups: Groups, *, batch: bool) -> Table:
    """An Arrow table of all hits."""
    pyarrow = optional("pyarrow", "pip install 'vermilion[arrow]'")
    columns = _typed(_columns(groups, batch))
    arrays = {name: pyarrow.array(cells) for name, cells in columns.items() if name != "embedding"}
    if "embedding" in columns:
        width = max((len(row) for row in columns["embedding"] if row is not None), default=0)
        kind = pyarrow.list_(pyarrow.float64(), width)
        arrays["embedding"] = pyarrow.array(columns["embedding"], kind)
    return pyarrow.table({name: arrays[name] for name in columns})


def _pandas() -> Any:
    return optional("pandas", "pip install 'vermilion[pandas]'")


def _columns(groups: Groups, batch: bool) -> dict[str, list[Any]]:
    """The columns that hold something, ids always; fields in the order in which they come."""
    hits = [hit for group in groups for hit in group]
    told: dict[str, list[Any]] = {}
    if batch:
        told["query"] = [place for place, group in enumerate(groups) for _ in group]
    for name in NAMES:
        cells = [getattr(hit, name) for hit in hits]
        if name == "metadata":
            told |= _fields(cells)
        elif name == "id" or any(cell is not None for cell in cells):
            told[name] = cells
    return told


def _fields(metadatas: Sequence[Mapping[str, Any] | None]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for metadata in metadatas for name in metadata or ())
    return {
        f"metadata.{name}" if name in (*NAMES, "query") or name.startswith("metadata.") else name: [
            (metadata or {}).get(name) for metadata in metadatas
        ]
        for name in names
    }


def _typed(columns: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """The columns with values of one type each. What a data loader gave has none."""
    return {
        name: [None if cell is None else cell.tolist() for cell in map(_array, cells)]
        if name == "embedding"
        else _of_one_type(cells)
        for name, cells in columns.items()
        if name != "data"
    }


def _array(cell: Any) -> Any:
    return None if cell is None else np.asarray(cell, np.float64)


def _of_one_type(cells: list[Any]) -> list[Any]:
    kinds = {_kind(cell) for cell in cells if cell is not None}
    if kinds <= {"int", "float"}:
        return cells if len(kinds) < 2 else _each(float, cells)
    if len(kinds) == 1 and kinds <= _PLAIN:
        return cells
    return _each(_json, cells)


_PLAIN = {"bool", "str", "bool list", "int list", "float list", "str list"}


def _each(change: Callable[[Any], Any], cells: Iterable[Any]) -> list[Any]:
    return [None if cell is None else change(cell) for cell in cells]


def _kind(cell: Any) -> str:
    """What type a column of such values has."""
    if isinstance(cell, list):
        kinds = {_kind(element) for element in cell}
        return f"{kinds.pop()} list" if len(kinds) == 1 else "several"
    return type(cell).__name__


def _json(cell: Any) -> str:
    return cell if isinstance(cell, str) else json.dumps(cell, default=_plain, ensure_ascii=False)


def _plain(value: Any) -> Any:
    return value.to_dict() if isinstance(value, SparseVector) else str(value)
