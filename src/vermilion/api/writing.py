"""The half of a collection that writes: checks the columns, embeds them, and asks the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, get_args

from vermilion.api.embedder import Embedder
from vermilion.api.following import Following, following
from vermilion.api.made_ids import MakeIds, check_make_ids, made_id
from vermilion.api.searching import naming, selected
from vermilion.api.sparse_embedder import SparseEmbedder
from vermilion.engine import CollectionInfo, Engine, Selection
from vermilion.errors import ArgumentTypeError, ArgumentValueError
from vermilion.metadata import check_metadata
from vermilion.records import (
    Batch,
    Columns,
    as_list,
    check_clear,
    check_columns,
    check_count,
    id_column,
    some_rows,
    vector_rows,
)
from vermilion.types import DeleteResult, OnConflict, WriteResult, with_none


class Writing(Following):
    """What `Collection` inherits."""

    _engine: Callable[[], Engine]
    _info: CollectionInfo
    _embedder: Embedder
    _sparse: SparseEmbedder

    @following
    def add(
        self,
        ids: Any = None,
        embeddings: Any = None,
        metadatas: Any = None,
        documents: Any = None,
        images: Any = None,
        uris: Any = None,
        *,
        on_conflict: OnConflict = "skip",
        make_ids: MakeIds | None = None,
        report: bool = False,
    ) -> WriteResult | list[str] | None:
        """Inserts records; an id that exists keeps its record as it is.

        Without `embeddings` the embedding function makes them of the documents, the images, or
        what the data loader gives for the uris: exactly one of the three. None among them has it
        made of the document; where the collection has no function, the record is stored without
        one: queries do not find it, everything else does, until an update brings one.

        With on_conflict="error" an id that exists raises IDAlreadyExistsError and nothing is
        written; with "update" its record is updated, as `upsert` does. Without `ids`, `make_ids`
        makes them: "uuid7" by time, "hash" of the document, else the uri, else the embedding, so
        that the same text is the same record. They are returned, one for each row. With `report`
        a WriteResult is returned instead, which has what became of every id, and those made.
        """
        with naming("add"):
            how = check_on_conflict(on_conflict)
            given = ids, embeddings, metadatas, documents, images, uris
            columns, made = _with_ids(given, make_ids, how)
            columns = self._embedder.completed(columns)
            vectors = self._embedder.vectors(columns)
            batch = self._signed(columns, self._sparse.filled(columns).batch(vectors))
            batch = self._barely(batch)
        return _told(self._insert(batch, how, named=report), made, report)

    @following
    def upsert(
        self,
        ids: Any = None,
        embeddings: Any = None,
        metadatas: Any = None,
        documents: Any = None,
        images: Any = None,
        uris: Any = None,
        *,
        clear: Iterable[str] = (),
        make_ids: MakeIds | None = None,
        report: bool = False,
    ) -> WriteResult | list[str] | None:
        """Inserts records, or updates those whose id exists, as `update` does.

        Metadata alone is enough where every id exists. `make_ids` and `report` as for `add`.
        """
        with naming("upsert"):
            given = ids, embeddings, metadatas, documents, images, uris
            columns, made = _with_ids(given, make_ids, "update")
            columns = self._embedder.completed(columns, needed=False)
            vectors = self._embedder.vectors(columns, needed=False)
            batch = self._sparse.filled(columns).batch(vectors, check_clear(clear))
            batch = self._barely(self._signed(columns, batch))
        return _told(self._insert(batch, "update", named=report), made, report)

    def _barely(self, batch: Batch) -> Batch:
        """The batch, which makes bare records of rows with None where nothing could embed them."""
        bare = batch.has_vector is not None and not self._embedder.has_function
        return replace(batch, bare=bare)

    def _insert(self, batch: Batch, on_conflict: OnConflict, *, named: bool) -> WriteResult:
        engine, address = self._engine(), self._info.address
        if on_conflict == "update":
            return engine.upsert(address, batch, named=named)
        return engine.add(address, batch, new_only=on_conflict == "error", named=named)

    @following
    def update(
        self,
        ids: Any,
        embeddings: Any = None,
        metadatas: Any = None,
        documents: Any = None,
        images: Any = None,
        uris: Any = None,
        *,
        clear: Iterable[str] = (),
        report: bool = False,
    ) -> WriteResult | None:
        """Changes what is given of records that exist; unknown ids are left out.

        Metadata is merged key by key, and a key given as None is removed. New documents and images
        are embedded again; so are new uris, where the collection has a data loader.

        `clear` names columns that are emptied first, of "documents", "metadatas" and "uris": what
        is then given replaces them as a whole, and what is not given is gone. Embeddings stay.

        With `report` it is told which ids were updated, were as asked already, or are missing.
        """
        with naming("update"):
            columns = check_columns(ids, embeddings, metadatas, documents, images, uris)
            columns = self._embedder.completed(columns, needed=False)
            vectors = self._embedder.vectors_if_any(columns)
            batch = self._sparse.filled(columns).batch(vectors, check_clear(clear))
            batch = self._signed(columns, batch)
        result = self._engine().update(self._info.address, batch, named=report)
        return result if report else None

    def update_where(
        self,
        where: Any = None,
        where_document: Any = None,
        *,
        set: Mapping[str, Any] | None = None,
        unset: Iterable[str] = (),
        report: bool = False,
    ) -> int | WriteResult:
        """Changes the metadata of all records that match; tells how many were changed.

        `set` has values for keys, `unset` names keys that are removed. All of it is one
        transaction: what matches is looked for in the moment in which it is changed.
        """
        with naming("update_where"):
            selection = _some(selected(None, where, where_document), "where or where_document")
            changes = self._changes_of(set, unset)
        result = self._engine().update_where(self._info.address, selection, changes, named=report)
        return result if report else result.updated

    def _changes_of(self, values: Any, unset: Any) -> Mapping[str, Any]:
        if values is not None and not isinstance(values, Mapping):
            raise ArgumentTypeError(f"Expected set to be a dict, got {values!r}")
        if isinstance(unset, str) or not isinstance(unset, Iterable):
            raise ArgumentTypeError(f"Expected unset to be a list of keys, got {unset!r}")
        removed = dict.fromkeys(unset)
        both = [key for key in removed if key in (values or {})]
        if both:
            raise ArgumentValueError(f"Expected a key in set or in unset, got {both[0]!r} in both")
        if not values and not removed:
            raise ArgumentValueError("Expected set or unset to name at least one key, got none")
        changes = check_metadata({**(values or {}), **removed})
        one = self._sparse.filled(Columns(["any"], None, None, None, None, [changes]))
        return one.metadatas[0] or {} if one.metadatas else {}

    def delete(
        self,
        ids: Any = None,
        where: Any = None,
        where_document: Any = None,
        limit: int | None = None,
        *,
        secure: bool = False,
        report: bool = False,
    ) -> DeleteResult | WriteResult:
        """Deletes the records with these ids that match the filters; tells how many there were.

        `limit` bounds how many, oldest first; it needs a filter. With `secure` no file holds a byte
        of them when the call returns; it writes the collection's file anew. With `report` it is
        told which ids are gone, and which of those given there were none of.
        """
        with naming("delete"):
            selection = selected(ids, where, where_document)
            _some(selection, "ids, where, or where_document")
            if limit is not None and selection.filter is None:
                raise ArgumentValueError(
                    "limit can only be specified when a where or where_document clause is provided"
                )
            limit = check_count("limit", limit)
        result = self._engine().delete(
            self._info.address, selection, limit, secure=secure, named=report
        )
        return result if report else {"deleted": result.deleted}


# ── arguments and answers ────────────────────────────────────────────────────────────────────────


def check_on_conflict(on_conflict: object) -> OnConflict:
    """What is done with a row whose id exists."""
    if on_conflict not in get_args(OnConflict):
        raise ArgumentValueError(
            f"Expected on_conflict to be one of {', '.join(get_args(OnConflict))}, "
            f"got {on_conflict!r}"
        )
    how: OnConflict = on_conflict  # type: ignore[assignment]  # it is one of the three
    return how


def _some(selection: Selection, arguments: str) -> Selection:
    if selection == Selection():
        raise ArgumentValueError(f"At least one of {arguments} must be provided")
    return selection


def _with_ids(
    given: tuple[Any, ...], make_ids: MakeIds | None, on_conflict: OnConflict
) -> tuple[Columns, list[str] | None]:
    """The checked columns, and the ids that were made for their rows."""
    if make_ids is None:
        return check_columns(*given), None
    ids, *rest = given
    how = check_make_ids(make_ids)
    if ids is not None:
        raise ArgumentValueError("Expected ids or make_ids, got both")
    given_rows, there = some_rows(rest[0])
    lists = [vector_rows(given_rows) if there is None else there, *map(as_list, rest[1:])]
    count = max(0 if column is None else len(column) for column in lists)
    columns = check_columns([str(row) for row in range(count)], *rest)
    cells = [columns.documents, columns.uris, with_none(columns.vectors, columns.has_vector)]
    rows = zip(*([None] * count if column is None else column for column in cells), strict=True)
    made = [made_id(how, *row) for row in rows]
    if on_conflict == "error":
        id_column(made)
    return _one_each(columns._replace(ids=made), last=on_conflict == "update"), made


def _one_each(columns: Columns, *, last: bool) -> Columns:
    """The columns with only the first row of every id, or the last."""
    places: dict[str, int] = {}
    for place, id in enumerate(columns.ids):
        if last or id not in places:
            places[id] = place
    if len(places) == len(columns.ids):
        return columns
    kept = list(places.values())

    def cut(column: Any) -> Any:
        return None if column is None else [column[place] for place in kept]

    return Columns(
        [*places],
        None if columns.vectors is None else columns.vectors[kept],
        cut(columns.documents),
        cut(columns.images),
        cut(columns.uris),
        cut(columns.metadatas),
        None if columns.has_vector is None else columns.has_vector[kept],
    )


def _told(
    result: WriteResult, made: list[str] | None, report: bool
) -> WriteResult | list[str] | None:
    return replace(result, made=made or []) if report else made
