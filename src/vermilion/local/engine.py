"""LocalEngine: the database in one directory, or in memory.

A directory holds a catalogue and, in collections/, one folder for each collection that has
records. Any number of engines, in any number of processes, may have it open.
"""

from __future__ import annotations

from collections.abc import Collection as AnyCollection
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import numpy as np
from numpy.typing import NDArray

from vermilion.configuration import Changes, Configuration
from vermilion.engine import EVERYTHING, CollectionInfo, Column, Selection
from vermilion.errors import NotFoundError, StorageError
from vermilion.local.catalogue import Catalogue
from vermilion.local.collection import LocalCollection
from vermilion.local.folders import Folders
from vermilion.local.handles import Handles
from vermilion.local.keeping import Keeping
from vermilion.local.tending import Tending
from vermilion.records import Batch
from vermilion.switching import with_function
from vermilion.types import (
    USUAL,
    Address,
    Database,
    Durability,
    Effort,
    Hits,
    Order,
    Page,
    Ranked,
    Records,
    WriteResult,
)
from vermilion.version import __version__

if TYPE_CHECKING:  # classes that few programs need
    from vermilion.query.search import Search
    from vermilion.reports import (
        Call,
        Difference,
        Explanation,
        Facet,
        IndexingStatus,
        Summary,
        WhyNot,
    )

# One write is one transaction, however long: the number is what clients are told, no limit here.
MAX_BATCH_SIZE = 100_000

CATALOGUE = "catalogue.db"
COLLECTIONS = "collections"
LOST = "lost"


class LocalEngine(Keeping, Tending):
    """See Engine for what every operation means."""

    def __init__(
        self,
        path: Path | None = None,
        *,
        durability: Durability = "full",
        read_only: bool = False,
        memory_limit: int | None = None,
    ) -> None:
        """Opens the directory, made if need be; without a path everything is in memory.

        With `read_only` nothing is made or swept, and what would write raises StorageError. What
        collections on disk keep in memory between calls stays below `memory_limit` bytes.
        """
        self._path = path
        self._read_only = read_only
        self._folders: Folders | None = None
        if path is not None and not read_only:
            try:
                (path / COLLECTIONS).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StorageError(f"{path} cannot be opened as a directory: {error}") from error
        if path is not None:
            self._folders = Folders(
                path / COLLECTIONS, path / LOST, durability, read_only=read_only
            )
        file = None if path is None else path / CATALOGUE
        self._catalogue = Catalogue(file, durability, read_only=read_only)
        self._handles = Handles(
            self._catalogue, self._folders, read_only=read_only, memory_limit=memory_limit
        )
        if not read_only:
            self._sweep()

    # ── the whole ────────────────────────────────────────────────────────────────────────────────

    def version(self) -> str:
        """See Engine.version."""
        return __version__

    def max_batch_size(self) -> int:
        """See Engine.max_batch_size."""
        return MAX_BATCH_SIZE

    def reset(self) -> None:
        """See Engine.reset."""
        for id in self._catalogue.reset():
            self._discard(id)

    def close(self) -> None:
        """See Engine.close."""
        self._handles.close()
        self._catalogue.close()

    # ── tenants and databases ────────────────────────────────────────────────────────────────────

    def create_tenant(self, name: str) -> None:
        """See Engine.create_tenant."""
        self._catalogue.create_tenant(name)

    def get_tenant(self, name: str) -> str:
        """See Engine.get_tenant."""
        return self._catalogue.get_tenant(name)

    def create_database(self, name: str, tenant: str) -> Database:
        """See Engine.create_database."""
        return self._catalogue.create_database(name, tenant)

    def get_database(self, name: str, tenant: str) -> Database:
        """See Engine.get_database."""
        return self._catalogue.get_database(name, tenant)

    def delete_database(self, name: str, tenant: str) -> None:
        """See Engine.delete_database."""
        for id in self._catalogue.delete_database(name, tenant):
            self._discard(id)

    def list_databases(
        self, tenant: str, limit: int | None = None, offset: int | None = None
    ) -> list[Database]:
        """See Engine.list_databases."""
        return self._catalogue.list_databases(tenant, limit, offset)

    # ── collections ──────────────────────────────────────────────────────────────────────────────

    def create_collection(
        self,
        name: str,
        tenant: str,
        database: str,
        *,
        configuration: Configuration,
        metadata: dict[str, Any] | None = None,
        schema: dict[str, Any] | None = None,
        get_or_create: bool = False,
    ) -> tuple[CollectionInfo, bool]:
        """See Engine.create_collection."""
        if self._read_only and get_or_create:  # getting one is reading
            with suppress(NotFoundError):
                return self.get_collection(name, tenant, database), False
        info = CollectionInfo(
            uuid4(), name, tenant, database, configuration, metadata, None, schema
        )
        info, new = self._catalogue.create_collection(info, get_or_create)
        return (info if new else self._with_dimension(info)), new

    def get_collection(self, name: str, tenant: str, database: str) -> CollectionInfo:
        """See Engine.get_collection."""
        return self._with_dimension(self._catalogue.get_collection(name, tenant, database))

    def get_collection_by_id(self, address: Address) -> CollectionInfo:
        """See Engine.get_collection_by_id."""
        return self._with_dimension(self._catalogue.get_collection_by_id(address))

    def list_collections(
        self, tenant: str, database: str, limit: int | None = None, offset: int | None = None
    ) -> list[CollectionInfo]:
        """See Engine.list_collections."""
        infos = self._catalogue.list_collections(tenant, database, limit, offset)
        return [self._with_dimension(info) for info in infos]

    def count_collections(self, tenant: str, database: str) -> int:
        """See Engine.count_collections."""
        return self._catalogue.count_collections(tenant, database)

    def modify_collection(
        self,
        address: Address,
        *,
        name: str | None = None,
        metadata: dict[str, Any] | None = None,
        replace_metadata: bool = False,
        configuration: Changes | None = None,
    ) -> CollectionInfo:
        """See Engine.modify_collection."""
        info = self._catalogue.modify_collection(
            address, name, metadata, replace_metadata, configuration
        )
        if configuration is not None:
            if configuration.embedding_function is not None:
                with self._changing(address) as collection:
                    collection.function_changes(configuration.embedding_function)
            self._handles.reconfigure(info)
            if "history" in configuration.lifetimes:
                with self._handles.using(address) as collection:
                    collection.keep_history()
        return self._with_dimension(info)

    def switch_vectors(
        self, address: Address, staged: Address, function: dict[str, Any]
    ) -> list[str]:
        """See Engine.switch_vectors."""
        with self._changing(address) as collection, self._handles.using(staged) as source:
            missing = collection.switch_vectors(source, function)
            if collection.store() is None:
                changes = Changes({}, function)
                self._catalogue.modify_collection(address, None, None, False, changes)
        if not missing:
            self.get_collection_by_id(address)  # has the catalogue learn of it
        return missing

    def made_with(self, address: Address) -> dict[str, Any] | None:
        """The function that has made all vectors anew, if one has: a look that costs little."""
        with self._handles.using(address) as collection:
            return collection.made_with()[1]

    def delete_collection(self, name: str, tenant: str, database: str) -> None:
        """See Engine.delete_collection."""
        self._discard(self._catalogue.delete_collection(name, tenant, database))

    # ── records ──────────────────────────────────────────────────────────────────────────────────

    def add(
        self, address: Address, batch: Batch, *, new_only: bool = False, named: bool = False
    ) -> WriteResult:
        """See Engine.add."""
        with self._changing(address) as collection:
            return collection.add(batch, new_only=new_only, named=named)

    def upsert(self, address: Address, batch: Batch, *, named: bool = False) -> WriteResult:
        """See Engine.upsert."""
        with self._changing(address) as collection:
            return collection.upsert(batch, named=named)

    def update(self, address: Address, batch: Batch, *, named: bool = False) -> WriteResult:
        """See Engine.update."""
        with self._changing(address) as collection:
            return collection.update(batch, named=named)

    def update_where(
        self,
        address: Address,
        selection: Selection,
        changes: Mapping[str, Any],
        *,
        named: bool = False,
    ) -> WriteResult:
        """See Engine.update_where."""
        with self._changing(address) as collection:
            return collection.update_where(selection, changes, named=named)

    def delete(
        self,
        address: Address,
        selection: Selection,
        limit: int | None = None,
        *,
        secure: bool = False,
        named: bool = False,
    ) -> WriteResult:
        """See Engine.delete."""
        with self._changing(address) as collection:
            return collection.delete(selection, limit, secure=secure, named=named)

    def get(
        self,
        address: Address,
        selection: Selection = EVERYTHING,
        columns: AnyCollection[Column] = (),
        limit: int | None = None,
        offset: int | None = None,
        order_by: Sequence[Order] = (),
    ) -> Records:
        """See Engine.get."""
        with self._handles.using(address) as collection:
            return collection.get(selection, columns, limit, offset, order_by)

    def scan(
        self,
        address: Address,
        selection: Selection = EVERYTHING,
        columns: AnyCollection[Column] = (),
        rows: int = 1000,
        *,
        at: datetime | None = None,
        offset: int = 0,
    ) -> Iterator[Records]:
        """See Engine.scan."""
        with self._handles.using(address) as collection:
            yield from collection.scan(selection, columns, rows, at, offset)

    def history(self, address: Address, limit: int | None = None) -> list[Call]:
        """See Engine.history."""
        with self._handles.using(address) as collection:
            return collection.history(limit)

    def difference(self, address: Address, since: datetime, until: datetime) -> Difference:
        """See Engine.difference."""
        with self._handles.using(address) as collection:
            return collection.difference(since, until)

    def undo(self, address: Address, call: int | None = None) -> WriteResult:
        """See Engine.undo."""
        with self._changing(address) as collection:
            return collection.undo(call)

    def page(
        self,
        address: Address,
        selection: Selection = EVERYTHING,
        columns: AnyCollection[Column] = (),
        rows: int = 1000,
        after: int | None = None,
    ) -> Page:
        """See Engine.page."""
        with self._handles.using(address) as collection:
            return collection.page(selection, columns, rows, after)

    def facets(
        self, address: Address, keys: Sequence[str], selection: Selection = EVERYTHING
    ) -> list[list[Facet]]:
        """See Engine.facets."""
        with self._handles.using(address) as collection:
            return collection.facets(keys, selection)

    def summarize(
        self, address: Address, key: str, by: str | None, selection: Selection = EVERYTHING
    ) -> list[Summary]:
        """See Engine.summarize."""
        with self._handles.using(address) as collection:
            return collection.summarize(key, by, selection)

    def query(
        self,
        address: Address,
        vectors: NDArray[np.float32],
        k: int,
        selection: Selection = EVERYTHING,
        columns: AnyCollection[Column] = (),
        effort: Effort = USUAL,
    ) -> list[Hits]:
        """See Engine.query."""
        with self._handles.using(address) as collection:
            return collection.query(vectors, k, selection, columns, effort)

    def search(self, address: Address, searches: Sequence[Search]) -> list[Ranked]:
        """See Engine.search."""
        with self._handles.using(address) as collection:
            return collection.search(searches)

    def explain(
        self,
        address: Address,
        vectors: NDArray[np.float32],
        k: int,
        selection: Selection = EVERYTHING,
        effort: Effort = USUAL,
    ) -> Explanation:
        """See Engine.explain."""
        with self._handles.using(address) as collection:
            return collection.explain(vectors, k, selection, effort)

    def why_not(
        self,
        address: Address,
        id: str,
        vector: NDArray[np.float32],
        k: int,
        selection: Selection = EVERYTHING,
        effort: Effort = USUAL,
    ) -> WhyNot:
        """See Engine.why_not."""
        with self._handles.using(address) as collection:
            return collection.why_not(id, vector, k, selection, effort)

    def indexing_status(self, address: Address) -> IndexingStatus:
        """See Engine.indexing_status."""
        with self._handles.using(address) as collection:
            return collection.indexing_status()

    def flush(self, address: Address) -> None:
        """See Engine.flush."""
        with self._handles.using(address) as collection:
            collection.flush()

    def count(self, address: Address, selection: Selection = EVERYTHING) -> int:
        """See Engine.count."""
        with self._handles.using(address) as collection:
            return collection.count(selection)

    # ── helpers ──────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def _changing(self, address: Address) -> Iterator[LocalCollection]:
        """The collection, to write to; refused before anything is touched."""
        if self._read_only:
            raise StorageError(f"{self._path} was opened read-only: nothing can be written")
        with self._handles.using(address) as collection:
            yield collection

    def _with_dimension(self, info: CollectionInfo) -> CollectionInfo:
        """The catalogue has learned most dimensions; the others are asked for, and learned."""
        if info.dimension is not None:
            return info
        if self._folders is not None and not self._folders.has_records(info.id):
            return info
        try:
            with self._handles.using(info.address) as collection:
                dimension, function = collection.made_with()
        except NotFoundError:  # deleted since it was looked up
            return info
        told = info if function is None else with_function(info, function)
        with suppress(StorageError):  # the disk is full: it is asked for again
            if dimension is not None and not self._read_only:
                self._catalogue.learn_dimension(info.id, dimension)
            if function is not None and told != info and not self._read_only:
                self._catalogue.learn_function(info.address, function)
        return replace(told, dimension=dimension)

    def _discard(self, id: UUID) -> None:
        """Removes the records of a collection that is no longer in the catalogue."""
        handle = self._handles.take(id)
        told = handle is not None and handle.drop()
        if self._folders is not None:
            self._folders.remove(id, told=told)

    def _sweep(self) -> None:
        """Puts in order what processes left behind when they died, or the catalogue has lost."""
        if self._folders is None:
            return
        with self._catalogue.exclusive():
            known, deleted = self._catalogue.ids()
            self._folders.sweep(known, deleted)
        # To tell others that a collection is deleted takes its lock, whose holder may want ours.
        self._folders.finish_removals(deleted)
        self._catalogue.forget_deleted(deleted - self._folders.ids())
