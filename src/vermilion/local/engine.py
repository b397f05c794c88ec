"""LocalEngine: the database in one directory, or in memory.

A directory holds a catalogue and, in collections/, one folder for each collection that has
records. Any number of engines, in any number of processes, may have it open.
"""

from __future__ import annotations

from collections.abc import Collection as AnyCollection
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
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
from vermilion.local.copier import copy_collection
from vermilion.local.folders import Folders
from vermilion.local.handles import Handles
from vermilion.local.keeping import Keeping
from vermilion.local.store import RECORDS, Store
from vermilion.records import Batch
from vermilion.types import (
    USUAL,
    Address,
    Database,
    Durability,
    Effort,
    Explanation,
    Facet,
    Hits,
    IndexingStatus,
    Order,
    Problem,
    Ranked,
    Records,
    Stats,
    Summary,
    WhyNot,
    WriteResult,
)
from vermilion.version import __version__

if TYPE_CHECKING:  # classes that few programs need
    from vermilion.search import Search

# One write is one transaction, however long: the number is what clients are told, no limit here.
MAX_BATCH_SIZE = 100_000

CATALOGUE = "catalogue.db"
COLLECTIONS = "collections"
LOST = "lost"


class LocalEngine(Keeping):
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
            self._handles.reopen(address.collection)
        return self._with_dimension(info)

    def fork_collection(self, address: Address, new_name: str) -> CollectionInfo:
        """See Engine.fork_collection."""
        with self._changing(address) as collection:
            info = self._catalogue.get_collection_by_id(address)
            self._catalogue.need_free_name(new_name, info.tenant, info.database)
            made = replace(info, id=uuid4(), name=new_name, dimension=None)
            store = collection.store()
            if store is None:
                made, _ = self._catalogue.create_collection(made, False)
            elif self._folders is None:
                copied = Store.in_memory(str(made.id))
                store.copy_to(copied)
                self._catalogue.adopt_collection(made, lambda: self._handles.adopt(made, copied))
            else:
                folder = self._folders.of(address.collection)
                self._adopt(made, lambda draft: copy_collection(store, folder, draft))
        return self._with_dimension(made)

    def delete_collection(self, name: str, tenant: str, database: str) -> None:
        """See Engine.delete_collection."""
        self._discard(self._catalogue.delete_collection(name, tenant, database))

    # ── records ──────────────────────────────────────────────────────────────────────────────────

    def add(self, address: Address, batch: Batch) -> WriteResult:
        """See Engine.add."""
        with self._changing(address) as collection:
            return collection.add(batch)

    def upsert(self, address: Address, batch: Batch) -> WriteResult:
        """See Engine.upsert."""
        with self._changing(address) as collection:
            return collection.upsert(batch)

    def update(self, address: Address, batch: Batch) -> WriteResult:
        """See Engine.update."""
        with self._changing(address) as collection:
            return collection.update(batch)

    def delete(
        self,
        address: Address,
        selection: Selection,
        limit: int | None = None,
        *,
        secure: bool = False,
    ) -> WriteResult:
        """See Engine.delete."""
        with self._changing(address) as collection:
            return collection.delete(selection, limit, secure)

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
    ) -> Iterator[Records]:
        """See Engine.scan."""
        with self._handles.using(address) as collection:
            yield from collection.scan(selection, columns, rows)

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

    # ── the files ────────────────────────────────────────────────────────────────────────────────

    def check(self, deep: bool = False) -> list[Problem]:
        """See Engine.check."""
        damage = self._catalogue.damage() if deep else []
        found = [Problem(None, None, "file", text) for text in damage]
        for info in self._catalogue.every_collection():
            try:
                found += self._check(info, deep)
            except NotFoundError:  # deleted since
                continue
        return found + self._lost()

    def _check(self, info: CollectionInfo, deep: bool) -> list[Problem]:
        if self._folders is not None and self._folders.lacks_records(info.id):
            self._catalogue.get_collection_by_id(info.address)
            detail = f"{self._folders.of(info.id) / RECORDS} is missing"
            return [Problem(info.id, info.name, "file", detail)]
        with self._handles.using(info.address) as collection:
            return [Problem(info.id, info.name, *finding) for finding in collection.check(deep)]

    def _lost(self) -> list[Problem]:
        """Collections whose folders are there, and that the catalogue has forgotten."""
        if self._folders is None:
            return []
        found = self._folders.ids()  # before the catalogue, which is told of everything first
        known, deleted = self._catalogue.ids()
        strays = {id: self._folders.of(id) for id in found - known - deleted}
        places = {id: place for id, place in strays.items() if place.exists()}
        places |= self._folders.lost()
        detail = "the catalogue has lost this collection; salvage brings out what is in {}"
        return [
            Problem(id, None, "file", detail.format(place)) for id, place in sorted(places.items())
        ]

    def stats(self, address: Address) -> Stats:
        """See Engine.stats."""
        with self._handles.using(address) as collection:
            return collection.stats()

    def compact(self, address: Address) -> int:
        """See Engine.compact."""
        with self._changing(address) as collection:
            return collection.compact()

    def compact_all(self) -> list[tuple[str, int]]:
        """Compacts every collection of every database; the name and the bytes of each."""
        infos = self._catalogue.every_collection()
        return [(info.name, self.compact(info.address)) for info in infos]

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
                dimension = collection.dimension()
        except NotFoundError:  # deleted since it was looked up
            return info
        if dimension is not None and not self._read_only:
            with suppress(StorageError):  # the disk is full: it is asked for again
                self._catalogue.learn_dimension(info.id, dimension)
        return replace(info, dimension=dimension)

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
