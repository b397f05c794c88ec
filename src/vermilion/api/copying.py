"""The half of a collection that makes other collections of it: clones, and copies elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self
from uuid import uuid4

from vermilion.api.embedder import Embedder
from vermilion.api.searching import naming, selected
from vermilion.api.sharing import Lease
from vermilion.configuration import Configuration, for_copy, without_legacy
from vermilion.embeddings.base import check_signature, stored_form
from vermilion.embeddings.cache import EmbeddingCache
from vermilion.engine import EVERYTHING, CollectionInfo, Column, Engine, Selection
from vermilion.errors import (
    AlreadyExistsError,
    ArgumentTypeError,
    ArgumentValueError,
    NotFoundError,
    UnsupportedError,
    VermilionError,
)
from vermilion.names import check_collection_name
from vermilion.records import Batch, Columns
from vermilion.types import DataLoader, Records

ALL: tuple[Column, ...] = ("vectors", "documents", "uris", "metadatas")
# So many records are read and written at once.
PAGE = 1000


class Door(Protocol):
    """What of a client a copy needs."""

    tenant: str
    database: str
    _lease: Lease


class _Target(NamedTuple):
    """Where a copy goes, and what of it differs from the original."""

    engine: Callable[[], Engine]
    tenant: str
    database: str
    name: str
    configuration: Configuration
    metadata: dict[str, Any] | None
    function: Any  # that embeds the documents anew, or None


class Copying:
    """What `Collection` inherits."""

    _engine: Callable[[], Engine]
    _info: CollectionInfo
    _function: Any
    _loader: DataLoader | None
    _cache: EmbeddingCache | None

    def clone(
        self,
        name: str,
        *,
        configuration: Mapping[str, Any] | None = None,
        embedding_function: Any = None,
        where: Any = None,
        where_document: Any = None,
    ) -> Self:
        """Returns a new collection beside this one, with the records that match the filters.

        All of them are of one moment; others may write meanwhile. `configuration` changes what it
        names, such as {"hnsw": {"space": "cosine"}}; everything else is as it is here. With an
        `embedding_function` all documents are embedded anew. The collection has its name from the
        moment it is complete; if anything fails there is none. Raises AlreadyExistsError.
        """
        with naming("clone"):
            selection = selected(None, where, where_document)
            info = self._info
            target = self._target(
                self._engine, info.tenant, info.database, name, configuration, embedding_function
            )
        return self._copied(target, selection)

    def copy_to(
        self,
        client: Door,
        name: str | None = None,
        *,
        configuration: Mapping[str, Any] | None = None,
        embedding_function: Any = None,
        where: Any = None,
        where_document: Any = None,
    ) -> Self:
        """As `clone`, into the database of another client, be it a directory or a server.

        Without a `name` it is called as it is here. Vectors are copied as they are.
        """
        with naming("copy_to"):
            lease = getattr(client, "_lease", None)
            if not isinstance(lease, Lease):
                raise ArgumentTypeError(
                    "Expected client to be a client that blocks, such as a PersistentClient or an "
                    f"HttpClient, got {type(client).__name__}"
                )
            selection = selected(None, where, where_document)
            target = self._target(
                lease.engine,
                client.tenant,
                client.database,
                self._info.name if name is None else name,
                configuration,
                embedding_function,
            )
        return self._copied(target, selection)

    def save_bundle(self, path: str | os.PathLike[str]) -> None:
        """Writes this collection, as it is at one moment, to one new file.

        `Client.load_bundle` makes a collection of it, in any directory. Raises StorageError when
        there is such a file.
        """
        engine = self._engine()
        save = getattr(engine, "save_bundle", None)
        if save is None:
            raise UnsupportedError(
                "A bundle is made where the database's directory is; copy_to makes a copy here"
            )
        save(self._info.address, Path(path))

    def _target(
        self,
        engine: Callable[[], Engine],
        tenant: str,
        database: str,
        name: str,
        configuration: Any,
        function: Any,
    ) -> _Target:
        inside = (
            configuration.get("embedding_function") if isinstance(configuration, dict) else None
        )
        if function is not None and inside is not None:
            raise ArgumentValueError(
                "Expected embedding_function as an argument or in the configuration, got both"
            )
        function = inside if function is None else function
        if function is not None:
            check_signature(function)
        form = None if function is None else stored_form(function)
        made = for_copy(self._info.configuration, configuration, form)
        same = made.hnsw == self._info.configuration.hnsw
        metadata = self._info.metadata if same else without_legacy(self._info.metadata)
        checked = check_collection_name(name)
        return _Target(engine, tenant, database, checked, made, metadata, function)

    def _copied(self, target: _Target, selection: Selection) -> Self:
        source, engine = self._engine(), target.engine()
        info = self._forked(source, target) if selection == EVERYTHING else None
        if info is None:
            with _appearing(engine, target, self._info.schema) as draft:
                for page in source.scan(self._info.address, selection, ALL, PAGE):
                    engine.add(draft.address, _batch(page, target.function, self._cache))
            info = replace(draft, name=target.name)
            info = engine.get_collection_by_id(info.address)
        function = self._function if target.function is None else target.function
        made: Any = type(self)
        copy: Self = made(target.engine, info, function, self._loader, self._cache)
        return copy

    def _forked(self, source: Engine, target: _Target) -> CollectionInfo | None:
        """A copy that differs in nothing is made by the engine, if it can."""
        here = (self._info.tenant, self._info.database, self._info.configuration)
        there = (target.tenant, target.database, target.configuration)
        if target.engine() is not source or here != there or target.function is not None:
            return None
        try:
            return source.fork_collection(self._info.address, target.name)
        except UnsupportedError:  # a server of Chroma
            return None


@contextmanager
def _appearing(
    engine: Engine, target: _Target, schema: dict[str, Any] | None
) -> Iterator[CollectionInfo]:
    """A new collection that gets its name when the block ends, and is removed when it fails."""
    with suppress(NotFoundError):
        engine.get_collection(target.name, target.tenant, target.database)
        raise AlreadyExistsError(f"Collection [{target.name}] already exists")
    draft, _ = engine.create_collection(
        f"{target.name[:480]}.copying-{uuid4().hex[:8]}",
        target.tenant,
        target.database,
        configuration=target.configuration,
        metadata=target.metadata,
        schema=schema,
    )
    try:
        yield draft
        engine.modify_collection(draft.address, name=target.name)
    except BaseException:
        with suppress(VermilionError):  # what went wrong first is what is told
            engine.delete_collection(draft.name, target.tenant, target.database)
        raise


def _batch(page: Records, function: Any, cache: EmbeddingCache | None) -> Batch:
    if function is not None:
        documents = page.documents or []
        bare = [id for id, text in zip(page.ids, documents, strict=True) if text is None]
        if bare:
            raise ArgumentValueError(
                f"Record {bare[0]!r} has no document that could be embedded anew: leave such "
                "records out by where_document, or copy without an embedding_function"
            )
        columns = Columns(page.ids, None, page.documents, None, None, None)
        made = Embedder(function, None, None, cache).vectors(columns)
        page = replace(page, vectors=made, has_vector=None)
    return Batch.of(page)
