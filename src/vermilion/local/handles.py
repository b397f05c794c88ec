"""Which collections are open: opened when they are first used, closed when not used for long."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING
from uuid import UUID

from vermilion import forks
from vermilion.engine import CollectionInfo
from vermilion.errors import ClosedError, NotFoundError, StorageError, client_closed
from vermilion.local.catalogue import Catalogue
from vermilion.local.collection import LocalCollection, MadeMeanwhile
from vermilion.local.folders import Folders
from vermilion.local.store import Store
from vermilion.local.transaction import Transaction
from vermilion.types import Address

if TYPE_CHECKING:  # forty classes, of which a collection without a schema needs none
    from vermilion.schema.rules import Rules

# So many collections keep files open: three descriptors and, with ten records each, 450 kB.
OPEN_COLLECTIONS = 32


class _Entry:
    """A collection that is open, and how many calls are inside it."""

    def __init__(self, address: Address, collection: LocalCollection) -> None:
        self.address = address
        self.collection = collection
        self.users = 0
        self.bytes = 0  # as of the end of the last call; not kept up without a limit


class Handles:
    """The open collections of one database; `folders` is None when it lives in memory."""

    def __init__(
        self,
        catalogue: Catalogue,
        folders: Folders | None,
        *,
        read_only: bool = False,
        memory_limit: int | None = None,
    ) -> None:
        self._memory_limit = memory_limit
        self._catalogue = catalogue
        self._folders = folders
        self._read_only = read_only
        self._guard = forks.Lock()
        self._entries: OrderedDict[UUID, _Entry] = OrderedDict()
        self._closed = False

    @contextmanager
    def using(self, address: Address) -> Iterator[LocalCollection]:
        """The collection, open for as long as the block takes."""
        entry = self._enter(address)
        try:
            yield entry.collection
        except NotFoundError:
            self._forget(entry)
            raise
        except (StorageError, ClosedError):
            # A collection that was deleted meanwhile has no file any more: the catalogue knows.
            self._catalogue.need_collection(address)
            raise
        finally:
            for idle in self._leave(entry):
                idle.close()

    def adopt(self, info: CollectionInfo, store: Store) -> None:
        """Opens a new collection in memory that begins with this store."""
        place = _InMemory(self._catalogue, info.address, store)
        entry = _Entry(info.address, LocalCollection(info.configuration, place))
        with self._guard:
            self._entries[info.id] = entry

    def reconfigure(self, info: CollectionInfo) -> None:
        """Has the next call go by what is configured now."""
        with self._guard:
            entry = self._entries.get(info.id)
        if entry is None:
            return
        if self._folders is not None:
            self._forget(entry)
        else:  # it would be lost
            entry.collection.configure(info.configuration)

    def take(self, id: UUID) -> LocalCollection | None:
        """Takes the collection off the list, if it is open; the caller closes it."""
        with self._guard:
            entry = self._entries.pop(id, None)
        return None if entry is None else entry.collection

    def close(self) -> None:
        """Closes all of them, and opens none from now on."""
        with self._guard:
            self._closed = True
            entries = list(self._entries.values())
            self._entries.clear()
        for entry in entries:
            entry.collection.close(for_good=True)

    # ── the list ─────────────────────────────────────────────────────────────────────────────────

    def _enter(self, address: Address) -> _Entry:
        with self._guard:
            if self._closed:
                raise client_closed()
            entry = self._entries.get(address.collection)
            if entry is None:
                entry = _Entry(address, self._open(address))
                self._entries[address.collection] = entry
            if entry.address != address:
                raise NotFoundError(f"Collection [{address.collection}] does not exist.")
            self._entries.move_to_end(address.collection)
            entry.users += 1
            return entry

    def _leave(self, entry: _Entry) -> list[LocalCollection]:
        """Ends one use; returns collections that were not used for long, to be closed."""
        limit = self._memory_limit
        size = 0 if limit is None else entry.collection.cached_bytes(limit)
        with self._guard:
            entry.users -= 1
            entry.bytes = size
            surplus = len(self._entries) - OPEN_COLLECTIONS
            excess = 0
            if limit is not None:
                excess = sum(other.bytes for other in self._entries.values()) - limit
            if self._folders is None or (surplus <= 0 and excess <= 0):
                return []
            closed = []
            for id, other in list(self._entries.items()):  # the longest unused first
                if not other.users and (surplus > 0 or (excess > 0 and other.bytes)):
                    closed.append(self._entries.pop(id).collection)
                    surplus -= 1
                    excess -= other.bytes
            return closed

    def _forget(self, entry: _Entry) -> None:
        """Gives up a collection deleted by another process: while it is open it takes space."""
        with self._guard:
            if self._entries.get(entry.address.collection) is entry:
                del self._entries[entry.address.collection]
        entry.collection.close()

    # ── opening one ──────────────────────────────────────────────────────────────────────────────

    def _open(self, address: Address) -> LocalCollection:
        info = self._catalogue.get_collection_by_id(address)
        given, rules = info.configuration, _rules(info)
        if self._folders is None:
            return LocalCollection(given, _InMemory(self._catalogue, address), rules=rules)
        place = _OnDisk(self._catalogue, self._folders, address)
        folder = self._folders.of(address.collection)
        return LocalCollection(given, place, folder, rules=rules, seal=not self._read_only)


def _rules(info: CollectionInfo) -> Rules | None:
    if info.schema is None:
        return None
    from vermilion.schema.rules import rules_of

    return rules_of(info.schema)


class _OnDisk:
    """A collection's folder, made by the first write."""

    def __init__(self, catalogue: Catalogue, folders: Folders, address: Address) -> None:
        self._catalogue = catalogue
        self._folders = folders
        self._address = address

    def find(self) -> Store | None:
        """See Place.find."""
        if not self._folders.has_records(self._address.collection):
            self._catalogue.need_collection(self._address)
            return None
        return self._folders.open(self._address.collection)

    def creating(self, dimension: int | None, rows: int) -> AbstractContextManager[Transaction]:
        """See Place.creating."""
        return self._folders.creating(self._address.collection, dimension, rows, self._kept)

    @contextmanager
    def _kept(self) -> Iterator[None]:
        with self._catalogue.exclusive():  # nobody deletes the collection meanwhile
            self._catalogue.need_collection(self._address)
            yield

    def dimension_changes(self, old: int | None, new: int) -> None:
        """See Place.dimension_changes."""
        self._catalogue.dimension_changes(self._address.collection, old, new)


class _InMemory:
    """A collection that lives as long as the process; `store` is what it begins with."""

    def __init__(self, catalogue: Catalogue, address: Address, store: Store | None = None) -> None:
        self._catalogue = catalogue
        self._address = address
        self._store = store

    def find(self) -> Store | None:
        """See Place.find."""
        if self._store is None:
            self._catalogue.need_collection(self._address)
        return self._store

    @contextmanager
    def creating(self, dimension: int | None, rows: int) -> Iterator[Transaction]:
        """See Place.creating."""
        store = Store.in_memory(str(self._address.collection))
        with store.writing() as transaction:
            yield transaction
        with self._catalogue.exclusive():
            self._catalogue.need_collection(self._address)
            if self._store is not None:
                raise MadeMeanwhile
            self._store = store

    def dimension_changes(self, old: int | None, new: int) -> None:
        """See Place.dimension_changes."""
        self._catalogue.dimension_changes(self._address.collection, old, new)
