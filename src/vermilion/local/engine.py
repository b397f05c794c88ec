"""LocalEngine: the database in one directory, or in memory.

A directory holds a catalogue and, in collections/, one folder for each collection that has
records. Any number of engines, in any number of processes, may have it open.
"""

from __future__ import annotations

import shutil
from collections import OrderedDict
from collections.abc import Collection as AnyCollection
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
from numpy.typing import NDArray

from vermilion import forks
from vermilion.configuration import Changes, Configuration
from vermilion.engine import EVERYTHING, CollectionInfo, Column, Selection
from vermilion.errors import ClosedError, DamagedError, NotFoundError, StorageError
from vermilion.local.catalogue import Catalogue
from vermilion.local.collection import LocalCollection
from vermilion.local.sqlite import sync_directory
from vermilion.local.store import RECORDS, Store
from vermilion.records import Batch
from vermilion.types import (
    USUAL,
    Address,
    Database,
    Durability,
    Effort,
    Explanation,
    Hits,
    IndexingStatus,
    Problem,
    Records,
    Stats,
    WhyNot,
    WriteResult,
)
from vermilion.version import __version__

# One write is one transaction, however long: the number is what clients are told, no limit here.
MAX_BATCH_SIZE = 100_000
# So many collections keep files open: three descriptors and some 200 kB each.
OPEN_COLLECTIONS = 32

CATALOGUE = "catalogue.db"
COLLECTIONS = "collections"


class _Entry:
    """A collection that is open, and how many calls are inside it."""

    def __init__(self, address: Address, collection: LocalCollection) -> None:
        self.address = address
        self.collection = collection
        self.users = 0


class LocalEngine:
    """See Engine for what every operation means."""

    def __init__(
        self,
        path: Path | None = None,
        *,
        durability: Durability = "full",
        read_only: bool = False,
    ) -> None:
        """Opens the directory, made if need be; without a path everything is in memory.

        With `read_only` nothing is made or swept, and what would write raises StorageError.
        """
        self._path = path
        self._read_only = read_only
        self._durability = durability
        self._guard = forks.Lock()
        self._entries: OrderedDict[UUID, _Entry] = OrderedDict()
        self._closed = False
        if path is not None and not read_only:
            try:
                (path / COLLECTIONS).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StorageError(f"{path} cannot be opened as a directory: {error}") from error
        file = None if path is None else path / CATALOGUE
        self._catalogue = Catalogue(file, durability, read_only=read_only)
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
        with self._guard:
            self._closed = True
            entries = list(self._entries.values())
            self._entries.clear()
        for entry in entries:
            entry.collection.close()
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
            self._reopen(address)
        return self._with_dimension(info)

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
    ) -> Records:
        """See Engine.get."""
        with self._collection(address) as collection:
            return collection.get(selection, columns, limit, offset)

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
        with self._collection(address) as collection:
            return collection.query(vectors, k, selection, columns, effort)

    def explain(
        self,
        address: Address,
        vectors: NDArray[np.float32],
        k: int,
        selection: Selection = EVERYTHING,
        effort: Effort = USUAL,
    ) -> Explanation:
        """See Engine.explain."""
        with self._collection(address) as collection:
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
        with self._collection(address) as collection:
            return collection.why_not(id, vector, k, selection, effort)

    def indexing_status(self, address: Address) -> IndexingStatus:
        """See Engine.indexing_status."""
        with self._collection(address) as collection:
            return collection.indexing_status()

    def flush(self, address: Address) -> None:
        """See Engine.flush."""
        with self._collection(address) as collection:
            collection.flush()

    def count(self, address: Address, selection: Selection = EVERYTHING) -> int:
        """See Engine.count."""
        with self._collection(address) as collection:
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
        return found + self._strays()

    def _check(self, info: CollectionInfo, deep: bool) -> list[Problem]:
        if self._path is not None:
            folder = self._folder(info.id)
            if folder.exists() and any(folder.iterdir()) and not (folder / RECORDS).exists():
                self._catalogue.get_collection_by_id(info.address)
                detail = f"{folder / RECORDS} is missing"
                return [Problem(info.id, info.name, "file", detail)]
        with self._collection(info.address) as collection:
            return [Problem(info.id, info.name, *finding) for finding in collection.check(deep)]

    def _strays(self) -> list[Problem]:
        """Folders of collections that nobody knows: they go when the directory is next opened."""
        if self._path is None:
            return []
        with self._catalogue.exclusive():
            strays = self._found_on_disk() - self._catalogue.collection_ids()
        detail = "the catalogue does not know this collection"
        return [Problem(id, None, "file", detail, repairable=True) for id in sorted(strays)]

    def stats(self, address: Address) -> Stats:
        """See Engine.stats."""
        with self._collection(address) as collection:
            return collection.stats()

    def compact(self, address: Address) -> int:
        """See Engine.compact."""
        with self._changing(address) as collection:
            return collection.compact()

    def compact_all(self) -> list[tuple[str, int]]:
        """Compacts every collection of every database; the name and the bytes of each."""
        infos = self._catalogue.every_collection()
        return [(info.name, self.compact(info.address)) for info in infos]

    # ── open collections ─────────────────────────────────────────────────────────────────────────

    @contextmanager
    def _changing(self, address: Address) -> Iterator[LocalCollection]:
        """As _collection, to write; refused before anything is touched."""
        if self._read_only:
            raise StorageError(f"{self._path} was opened read-only: nothing can be written")
        with self._collection(address) as collection:
            yield collection

    @contextmanager
    def _collection(self, address: Address) -> Iterator[LocalCollection]:
        entry = self._enter(address)
        try:
            yield entry.collection
        except NotFoundError:
            self._forget(entry)
            raise
        except (StorageError, ClosedError):
            # A collection that was deleted meanwhile has no file any more: the catalogue knows.
            self._catalogue.get_collection_by_id(address)
            raise
        finally:
            for idle in self._leave(entry):
                idle.close()

    def _enter(self, address: Address) -> _Entry:
        with self._guard:
            if self._closed:
                raise ClosedError("This client was closed; make a new one to go on")
            entry = self._entries.get(address.collection)
            if entry is None:
                entry = _Entry(address, self._open(address))
                self._entries[address.collection] = entry
            if entry.address != address:
                raise NotFoundError(f"Collection [{address.collection}] does not exist")
            self._entries.move_to_end(address.collection)
            entry.users += 1
            return entry

    def _leave(self, entry: _Entry) -> list[LocalCollection]:
        """Ends one use; returns collections that were not used for long, to be closed."""
        with self._guard:
            entry.users -= 1
            surplus = len(self._entries) - OPEN_COLLECTIONS
            if self._path is None or surplus <= 0:
                return []
            idle = [id for id, other in self._entries.items() if not other.users][:surplus]
            return [self._entries.pop(id).collection for id in idle]

    def _reopen(self, address: Address) -> None:
        """Has the next call open the collection anew, with what is configured now."""
        with self._guard:
            entry = self._entries.get(address.collection)
            if self._path is None or entry is None:
                return
        self._forget(entry)

    def _forget(self, entry: _Entry) -> None:
        """Gives up a collection deleted by another process: while it is open it takes space."""
        with self._guard:
            if self._entries.get(entry.address.collection) is entry:
                del self._entries[entry.address.collection]
        entry.collection.close()

    def _open(self, address: Address) -> LocalCollection:
        info = self._catalogue.get_collection_by_id(address)
        find = self._find_in_memory if self._path is None else self._find_file
        return LocalCollection(
            info.configuration.hnsw,
            lambda make, dimension: find(address, make, dimension),
            None if self._path is None else self._folder(address.collection),
            seal=not self._read_only,
        )

    def _find_in_memory(self, address: Address, make: bool, dimension: int | None) -> Store | None:
        self._catalogue.get_collection_by_id(address)
        return Store.in_memory(str(address.collection)) if make else None

    def _find_file(self, address: Address, make: bool, dimension: int | None) -> Store | None:
        path = self._folder(address.collection) / RECORDS
        if not path.exists():
            if not make:
                self._catalogue.get_collection_by_id(address)
                return None
            with self._catalogue.exclusive():  # nobody deletes the collection meanwhile
                self._catalogue.get_collection_by_id(address)
                if not path.exists():
                    path.parent.mkdir(exist_ok=True)
                    sync_directory(path.parent.parent)
                    Store.create(path, dimension)
        id = str(address.collection)
        return Store.open(path, id, self._durability, read_only=self._read_only)

    def _with_dimension(self, info: CollectionInfo) -> CollectionInfo:
        if self._path is not None and not (self._folder(info.id) / RECORDS).exists():
            return info
        try:
            with self._collection(info.address) as collection:
                return replace(info, dimension=collection.dimension())
        except NotFoundError:  # deleted since it was looked up
            return info

    # ── deleted collections ──────────────────────────────────────────────────────────────────────

    def _discard(self, id: UUID) -> None:
        """Removes the records of a collection that is no longer in the catalogue."""
        with self._guard:
            entry = self._entries.pop(id, None)
        if self._path is not None and (self._folder(id) / RECORDS).exists():
            self._mark_dropped(id)
        if entry is not None:
            entry.collection.close()
        if self._path is not None:
            # What cannot be removed now, because somebody reads it, goes when it is swept.
            shutil.rmtree(self._folder(id), ignore_errors=True)

    def _mark_dropped(self, id: UUID) -> None:
        """Tells whoever has the file open, here or in another process, that it is no more."""
        store = Store.open(self._folder(id) / RECORDS, str(id), self._durability)
        with suppress(StorageError, DamagedError):  # a file that cannot be read is removed, too
            store.drop()
        store.close()

    def _sweep(self) -> None:
        """Removes folders that a process left behind when it died while deleting."""
        if self._path is None:
            return
        with self._catalogue.exclusive():
            for id in self._found_on_disk() - self._catalogue.collection_ids():
                self._discard(id)

    def _found_on_disk(self) -> set[UUID]:
        assert self._path is not None, "only a database on disk has folders"
        folders = (self._path / COLLECTIONS).iterdir()
        return {UUID(folder.name) for folder in folders if _is_id(folder.name)}

    def _folder(self, id: UUID) -> Path:
        assert self._path is not None, "only a database on disk has folders"
        return self._path / COLLECTIONS / str(id)


def _is_id(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False
