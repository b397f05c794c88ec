"""Rows on the wire: a write's columns, which records are meant, and the columns of an answer."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vermilion.engine import Column, Selection
from vermilion.errors import InvalidArgumentError
from vermilion.query.where import (
    And,
    Condition,
    Filter,
    both,
    expression,
    parse_where,
    parse_where_document,
)
from vermilion.records import Batch, spread
from vermilion.types import Hits, Records
from vermilion.wire import metadata
from vermilion.wire.fields import COUNT, OBJECT, TEXTS, Field, Form
from vermilion.wire.vectors import unpack, write_some

# ── writes ───────────────────────────────────────────────────────────────────────────────────────


def write_batch(batch: Batch, *, packed: bool) -> Form:
    """The columns of a write; `packed` has the vectors as base64."""
    form: Form = {
        "ids": batch.ids,
        "embeddings": None,
        "documents": batch.documents,
        "uris": batch.uris,
        "metadatas": metadata.write(batch.metadatas),
    }
    if batch.vectors is not None:
        form["embeddings"] = write_some(batch.vectors, batch.has_vector, packed)
    elif batch.bare:
        form["embeddings"] = [None] * len(batch)
    if batch.clear:
        form["clear"] = sorted(batch.clear)
    if batch.made_by is not None:
        form["made_by"] = batch.made_by
    if batch.bare:
        form["bare"] = True
    return form


def read_batch(body: Form) -> Batch:
    """The rows of a write whose columns have been checked one by one."""
    ids: list[str] = body["ids"]
    columns = {name: body[name] for name in ("embeddings", "documents", "uris", "metadatas")}
    if any(column is not None and len(column) != len(ids) for column in columns.values()):
        raise InvalidArgumentError(
            "Inconsistent number of IDs, embeddings, documents, URIs and metadatas"
        )
    if not all(ids):
        raise InvalidArgumentError("Empty ID, ID must have at least one character")
    vectors, there = unpack(columns["embeddings"] or (), "embeddings")
    return Batch(
        ids,
        vectors,
        there,
        columns["documents"],
        columns["uris"],
        metadata.checked(columns["metadatas"]),
        frozenset(body.get("clear") or ()),
        body.get("made_by"),
        body.get("bare", False),
    )


def firsts(batch: Batch) -> Batch:
    """The batch with only the first row of every id."""
    if len(set(batch.ids)) == len(batch.ids):
        return batch
    place: dict[str, int] = {}
    for row, id in enumerate(batch.ids):
        place.setdefault(id, row)
    return _picked(batch, [*place.values()])


def merged(batch: Batch) -> Batch:
    """The batch with one row for every id, which does what all of its rows do in their order."""
    if len(set(batch.ids)) == len(batch.ids):
        return batch
    rows: dict[str, list[int]] = {}
    for row, id in enumerate(batch.ids):
        rows.setdefault(id, []).append(row)
    there = batch.has_vector
    last_vectors = [
        next((row for row in reversed(same) if there is None or there[row]), same[0])
        for same in rows.values()
    ]
    return replace(
        _picked(batch, last_vectors),
        documents=_last(batch.documents, rows),
        uris=_last(batch.uris, rows),
        metadatas=_joined(batch, rows),
    )


def _picked(batch: Batch, rows: list[int]) -> Batch:
    def cut(column: Sequence[Any] | None) -> list[Any] | None:
        return None if column is None else [column[row] for row in rows]

    return Batch(
        [batch.ids[row] for row in rows],
        None if batch.vectors is None else batch.vectors[rows],
        None if batch.has_vector is None else batch.has_vector[rows],
        cut(batch.documents),
        cut(batch.uris),
        cut(batch.metadatas),
        batch.clear,
        batch.made_by,
        batch.bare,
    )


def _last(column: Sequence[Any] | None, rows: dict[str, list[int]]) -> list[Any] | None:
    if column is None:
        return None
    return [
        next((column[row] for row in reversed(same) if column[row] is not None), None)
        for same in rows.values()
    ]


def _joined(batch: Batch, rows: dict[str, list[int]]) -> list[Form | None] | None:
    column = batch.metadatas
    if column is None or "metadatas" in batch.clear:
        return _last(column, rows)
    out: list[Form | None] = []
    for same in rows.values():
        given = [cell for row in same if (cell := column[row]) is not None]
        out.append({key: value for cell in given for key, value in cell.items()} or None)
    return out


# ── which records ────────────────────────────────────────────────────────────────────────────────

IDS = Field("ids", TEXTS, "Only these records; ids that do not exist select nothing.")
WHERE = Field("where", OBJECT, "Only records whose metadata match this filter.")
WHERE_DOCUMENT = Field("where_document", OBJECT, "Only records whose document matches this filter.")
SELECTION = (IDS, WHERE, WHERE_DOCUMENT)
LIMIT = Field("limit", COUNT, "At most so many records.")
OFFSET = Field("offset", COUNT, "Leave out so many records first.")


def write_selection(selection: Selection) -> Form:
    """The ids and the filter; conditions on documents stand in the filter, too."""
    where = None if selection.filter is None else write_filter(selection.filter)
    return {"ids": selection.ids, "where": where}


def write_filter(filter: Filter) -> Form:
    """A filter as the dict that is read as this filter."""
    if isinstance(filter, Condition):
        return {filter.field: expression(filter)}
    return {"$and" if isinstance(filter, And) else "$or": [write_filter(p) for p in filter.parts]}


def read_selection(body: Form) -> Selection:
    """Which records a body means. Raises InvalidArgumentError for filters that make no sense."""
    ids, where, where_document = body["ids"], body["where"], body["where_document"]
    if ids is not None:
        ids = list(dict.fromkeys(ids))
    return Selection(ids, read_filters(where, where_document))


def read_filters(where: Form | None, where_document: Form | None) -> Filter | None:
    """The filter that both of them mean."""
    return both(
        None if where is None else _parsed(parse_where, where, "Invalid where clause"),
        None
        if where_document is None
        else _parsed(parse_where_document, where_document, "Invalid where document clause"),
    )


def _parsed(parse: Any, form: Form, problem: str) -> Filter:
    try:
        found: Filter = parse(form, 0, implicit=False)
    except InvalidArgumentError as error:
        told = str(error)
        if told.startswith("Regex"):  # Chroma's server tells what is wrong with a pattern
            raise
        # Chroma's says no more than this; what stands at a place of the filter may be told.
        at_a_place = told.startswith(("where.", "where_document."))
        raise InvalidArgumentError(f"{problem}: {told}" if at_a_place else problem) from error
    return found


# ── answers ──────────────────────────────────────────────────────────────────────────────────────

# What the columns are called on the wire.
NAMES: dict[Column, str] = {
    "vectors": "embeddings",
    "documents": "documents",
    "uris": "uris",
    "metadatas": "metadatas",
}
INCLUDABLE = ("distances", "documents", "embeddings", "metadatas", "uris")


def include_of(columns: Collection[Column]) -> list[str]:
    """The columns as a request names them."""
    return [name for column, name in NAMES.items() if column in columns]


def columns_of(include: Collection[str]) -> tuple[Column, ...]:
    """The columns that a request names."""
    return tuple(column for column, name in NAMES.items() if name in include)


def cells(records: Records, column: Column) -> Any:
    """A column of the records as it is sent: null for a vector that is not there."""
    return records.embeddings if column == "vectors" else getattr(records, column)


def write_records(records: Records, include: list[str], *, typed: bool = True) -> Form:
    """The columns of the records; those that were not asked for are null.

    `typed` has metadata as they are stored, see `metadata.write`.
    """
    return {
        "ids": records.ids,
        "embeddings": records.embeddings,
        "documents": records.documents,
        "uris": records.uris,
        "metadatas": metadata.write(records.metadatas, typed=typed),
        "include": include,
    }


def read_records(form: Form) -> Records:
    """The records of an answer."""
    embeddings, metadatas = form.get("embeddings"), form.get("metadatas")
    vectors, has_vector = (None, None) if embeddings is None else _matrix(embeddings)
    return Records(
        form["ids"],
        vectors,
        form.get("documents"),
        form.get("uris"),
        None if metadatas is None else [metadata.read(one) for one in metadatas],
        has_vector,
    )


def write_hits(hits: list[Hits], include: list[str], *, typed: bool = True) -> Form:
    """As `write_records`, with one inner list for each query."""
    form: Form = {"ids": [hit.records.ids for hit in hits]}
    for column, name in NAMES.items():
        asked = name in include
        form[name] = [cells(hit.records, column) for hit in hits] if asked else None
    if form["metadatas"] is not None:
        form["metadatas"] = [metadata.write(one, typed=typed) for one in form["metadatas"]]
    form["distances"] = [hit.distances for hit in hits] if "distances" in include else None
    return form | {"include": include}


def read_hits(form: Form) -> list[Hits]:
    """The answer to each query."""
    names = ("ids", *NAMES.values())
    return [
        Hits(
            read_records({n: form[n][place] for n in names if form.get(n) is not None}),
            np.array(distances, dtype=np.float32),
        )
        for place, distances in enumerate(form["distances"])
    ]


def _matrix(
    rows: list[list[float] | None],
) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
    """The vectors of an answer, and which of them there are: None for all."""
    given = [row for row in rows if row is not None]
    there = np.array(given, dtype=np.float32).reshape(len(given), -1 if given else 0)
    if len(given) == len(rows):
        return there, None
    has_vector = np.array([row is not None for row in rows], np.bool_)
    return spread(there, has_vector), has_vector
