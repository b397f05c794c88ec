"""Rows from wherever they are: lists and iterators of dicts, pandas, polars and Arrow tables.

No library is imported for it: a table is known by the methods it has. A source is read once, from
its beginning, and never held as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vermilion.api.made_ids import MakeIds, made_id
from vermilion.errors import ArgumentTypeError, ArgumentValueError, VermilionError
from vermilion.metadata import metadata_column
from vermilion.records import (
    Columns,
    document_column,
    id_column,
    uri_column,
    vector_column,
    vector_rows,
)

# What a column of one of these names holds; any other is a key of the metadata.
FIELDS = ("id", "document", "embedding", "uri", "metadata")

Cells = Mapping[str, Any]


class Row(NamedTuple):
    """One row of a source, whose number counts from 0. What it does not have is None."""

    number: int
    id: Any = None
    document: Any = None
    embedding: Any = None
    uri: Any = None
    metadata: dict[str, Any] | None = None
    made: bool = False  # whether the id was made here


# ── sources ──────────────────────────────────────────────────────────────────────────────────────


def rows_of(source: object, batch_size: int, key: str | Callable[[Cells], str] = "id") -> Any:
    """The rows of a source. `key` names the column with the id, or makes the id of a row."""
    for number, cells in enumerate(_cells(source, batch_size)):
        yield _row(number, cells, key)


def _cells(source: object, batch_size: int) -> Iterator[Cells]:
    """Each row of a source as a dict; tables among the items of an iterable are opened, too."""
    if isinstance(source, str | bytes | Mapping):
        raise ArgumentTypeError(
            "Expected a table, or a list or iterator of dicts, one for each row, got "
            f"{type(source).__name__}"
        )
    if _is_table(source):
        yield from _table(source, batch_size)
        return
    if not isinstance(source, Iterable):
        raise ArgumentTypeError(
            "Expected a pandas, polars or Arrow table, or a list or iterator of dicts, one for "
            f"each row, got {type(source).__name__}"
        )
    for number, item in enumerate(source):
        if isinstance(item, Mapping):
            yield item
        elif _is_table(item):
            yield from _table(item, batch_size)
        else:
            raise ArgumentTypeError(
                f"Row {number}: Expected a dict, got {type(item).__name__}: {str(item)[:50]!r}"
            )


def _is_table(source: object) -> bool:
    return any(hasattr(source, name) for name in ("__arrow_c_stream__", "iloc", "to_pylist"))


def _table(table: Any, batch_size: int) -> Iterator[Cells]:
    """The rows of a table, so many at a time."""
    if hasattr(table, "iloc") and hasattr(table, "to_dict"):  # pandas
        if table.index.name == "id" and "id" not in table.columns:
            table = table.reset_index()
        for start in range(0, len(table), batch_size):
            for row in table.iloc[start : start + batch_size].to_dict("records"):
                yield {name: None if _is_missing(cell) else cell for name, cell in row.items()}
    elif hasattr(table, "iter_slices") and hasattr(table, "to_dicts"):  # polars
        for part in table.iter_slices(batch_size):
            yield from part.to_dicts()
    elif hasattr(table, "to_pylist") and hasattr(table, "num_rows"):  # Arrow, tables and batches
        for start in range(0, table.num_rows, batch_size):
            yield from table.slice(start, batch_size).to_pylist()
    else:
        for batch in _arrow_batches(table):
            yield from _table(batch, batch_size)


def _arrow_batches(stream: Any) -> Iterable[Any]:
    """The batches of anything else that gives out an Arrow stream."""
    try:
        arrow = import_module("pyarrow")  # which the caller installs, if it is needed
    except ImportError:
        raise ArgumentTypeError(
            f"To read rows of {type(stream).__name__} takes pyarrow: pip install pyarrow"
        ) from None
    reader: Iterable[Any] = arrow.RecordBatchReader.from_stream(stream)
    return reader


def _is_missing(cell: object) -> bool:
    """Whether pandas means by this cell that there is none."""
    if isinstance(cell, float):
        return cell != cell
    return type(cell).__name__ in ("NAType", "NaTType")


# ── rows ─────────────────────────────────────────────────────────────────────────────────────────


def _row(number: int, cells: Cells, key: str | Callable[[Cells], str]) -> Row:
    given = {name: cells[name] for name in FIELDS if name in cells}
    metadata = given.pop("metadata", None)
    if metadata is not None and not isinstance(metadata, Mapping):
        raise ArgumentValueError(
            f"Row {number}, column 'metadata': Expected a dict or None, got {metadata!r}"
        )
    merged = dict(metadata or {})
    for name, cell in cells.items():
        if name in FIELDS or cell is None:
            continue
        if merged.get(name) is not None:
            raise ArgumentValueError(f"Row {number}, column {name!r}: it is in 'metadata', too")
        merged[name] = cell
    if callable(key):
        given["id"] = key(cells)
    elif key != "id":
        given["id"] = cells.get(key)
    known = {name: _plain(cell) for name, cell in merged.items() if cell is not None}
    return Row(number, **given, metadata=known or None)


def _plain(cell: Any) -> Any:
    return cell.item() if isinstance(cell, np.generic) and not isinstance(cell, str) else cell


def with_ids(rows: Iterable[Row], make_ids: MakeIds | None) -> Iterator[Row]:
    """The rows, each with an id."""
    for row in rows:
        if row.id is None and make_ids is not None:
            yield row._replace(id=_made(row, make_ids), made=True)
        elif row.id is None:
            raise ArgumentValueError(
                f"Row {row.number}, column 'id': Expected an id, got none: give one, or have "
                "add_rows make them, by make_ids='uuid7' or make_ids='hash'"
            )
        else:
            yield row


def _made(row: Row, how: MakeIds) -> str:
    columns, _ = checked([row._replace(id="any")])
    cells = (columns.documents, columns.uris, columns.vectors)
    return made_id(how, *(None if cell is None else cell[0] for cell in cells))  # type: ignore[arg-type]  # each is of its column


def chunks(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    """The rows in lists of at most so many, none of which has an id twice."""
    chunk: dict[Any, Row] = {}
    for row in rows:
        if not isinstance(row.id, str):
            checked([row])  # says what is wrong with it
        if len(chunk) == size or row.id in chunk:
            yield list(chunk.values())
            chunk = {}
        chunk[row.id] = row
    if chunk:
        yield list(chunk.values())


# ── checking ─────────────────────────────────────────────────────────────────────────────────────


def checked(rows: list[Row]) -> tuple[Columns, NDArray[np.bool_]]:
    """The rows as checked columns, with vectors only for those rows that the array tells of.

    Raises errors that name the row and the column.
    """
    try:
        return _columns(rows)
    except (VermilionError, ValueError, TypeError) as error:
        for row in rows:
            _blame(row, len(np.atleast_1d(_first_vector(rows))))
        error.args = (f"Rows {rows[0].number} to {rows[-1].number}: {error}",)
        raise


def _columns(rows: list[Row]) -> tuple[Columns, NDArray[np.bool_]]:
    given = np.array([row.embedding is not None for row in rows], np.bool_)
    vectors = [row.embedding for row in rows if row.embedding is not None]
    columns = Columns(
        ids=id_column([row.id for row in rows]),
        vectors=vector_column(vector_rows(vectors)) if vectors else None,
        documents=document_column([row.document for row in rows], optional=True),
        images=None,
        uris=uri_column([row.uri for row in rows]),
        metadatas=metadata_column([row.metadata for row in rows]),
    )
    return columns, given


def _first_vector(rows: list[Row]) -> Any:
    return next((row.embedding for row in rows if row.embedding is not None), ())


def _blame(row: Row, dimension: int) -> None:
    """Raises an error that names the cell, if the row alone is wrong already."""
    checks: dict[str, Callable[[], object]] = {
        "id": lambda: id_column([row.id]),
        "document": lambda: document_column([row.document], optional=True),
        "uri": lambda: uri_column([row.uri]),
        "embedding": lambda: _check_vector(row.embedding, dimension),
    }
    for name, value in (row.metadata or {}).items():
        checks[name] = lambda name=name, value=value: metadata_column([{name: value}])  # type: ignore[misc]  # what a loop binds
    for column, check in checks.items():
        try:
            check()
        except (VermilionError, ValueError, TypeError) as error:
            error.args = (f"Row {row.number}, column {column!r}: {error}",)
            raise


def _check_vector(cell: Any, dimension: int) -> None:
    if cell is None:
        return
    vectors = vector_column(vector_rows([cell]))
    if vectors is not None and vectors.shape[1] != dimension:
        raise ArgumentValueError(
            f"Expected {dimension} dimensions, as the rows before, got {vectors.shape[1]}"
        )
