"""The half of a collection that writes: checks the columns, embeds them, and asks the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from vermilion.embedder import Embedder
from vermilion.engine import CollectionInfo, Engine, Selection
from vermilion.errors import ArgumentValueError
from vermilion.following import Following, following
from vermilion.records import check_clear, check_columns, check_count
from vermilion.searching import naming, selected
from vermilion.sparse_embedder import SparseEmbedder
from vermilion.types import DeleteResult


class Writing(Following):
    """What `Collection` inherits."""

    _engine: Callable[[], Engine]
    _info: CollectionInfo
    _embedder: Embedder
    _sparse: SparseEmbedder

    @following
    def add(
        self,
        ids: Any,
        embeddings: Any = None,
        metadatas: Any = None,
        documents: Any = None,
        images: Any = None,
        uris: Any = None,
    ) -> None:
        """Inserts records; an id that exists keeps its record as it is.

        Without `embeddings` the embedding function makes them of the documents, the images, or
        what the data loader gives for the uris: exactly one of the three.
        """
        with naming("add"):
            columns = check_columns(ids, embeddings, metadatas, documents, images, uris)
            vectors = self._embedder.vectors(columns)
            batch = self._signed(columns, self._sparse.filled(columns).batch(vectors))
        self._engine().add(self._info.address, batch)

    @following
    def upsert(
        self,
        ids: Any,
        embeddings: Any = None,
        metadatas: Any = None,
        documents: Any = None,
        images: Any = None,
        uris: Any = None,
        *,
        clear: Iterable[str] = (),
    ) -> None:
        """Inserts records, or updates those whose id exists, as `update` does.

        Metadata alone is enough where every id exists.
        """
        with naming("upsert"):
            columns = check_columns(ids, embeddings, metadatas, documents, images, uris)
            vectors = self._embedder.vectors(columns, needed=False)
            batch = self._sparse.filled(columns).batch(vectors, check_clear(clear))
            batch = self._signed(columns, batch)
        self._engine().upsert(self._info.address, batch)

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
    ) -> None:
        """Changes what is given of records that exist; unknown ids are left out.

        Metadata is merged key by key, and a key given as None is removed. New documents and images
        are embedded again; so are new uris, where the collection has a data loader.

        `clear` names columns that are emptied first, of "documents", "metadatas" and "uris": what
        is then given replaces them as a whole, and what is not given is gone. Embeddings stay.
        """
        with naming("update"):
            columns = check_columns(ids, embeddings, metadatas, documents, images, uris)
            vectors = self._embedder.vectors_if_any(columns)
            batch = self._sparse.filled(columns).batch(vectors, check_clear(clear))
            batch = self._signed(columns, batch)
        self._engine().update(self._info.address, batch)

    def delete(
        self,
        ids: Any = None,
        where: Any = None,
        where_document: Any = None,
        limit: int | None = None,
        *,
        secure: bool = False,
    ) -> DeleteResult:
        """Deletes the records with these ids that match the filters; tells how many there were.

        `limit` bounds how many, oldest first; it needs a filter. With `secure` no file holds a byte
        of them when the call returns; it writes the collection's file anew.
        """
        with naming("delete"):
            selection = selected(ids, where, where_document)
            if selection == Selection():
                raise ArgumentValueError(
                    "At least one of ids, where, or where_document must be provided"
                )
            if limit is not None and selection.filter is None:
                raise ArgumentValueError(
                    "limit can only be specified when a where or where_document clause is provided"
                )
            limit = check_count("limit", limit)
        result = self._engine().delete(self._info.address, selection, limit, secure=secure)
        return {"deleted": result.deleted}
