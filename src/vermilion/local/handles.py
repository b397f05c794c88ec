"""Which collections are open: opened when they are first used, closed when not used for long."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from vermilion import forks
from vermilion.errors import ClosedError, NotFoundError, StorageError
from vermilion.local.catalogue import Catalogue
from vermilion.local.collection import LocalCollection
from vermilion.local.folders import Folders
from vermilion.local.store import Store
from vermilion.schema_rules import rules_of
from vermilion.types import Address

# So many collections keep files open: three descriptors and some 200 kB each.
OPEN_COLLECTIONS = 32


class _Entry:
    """A collection that is open, and how many calls are inside it."""

    def __init__(self, address: Address, collection: LocalCollection) -> None:
        self.address = address
        self.collection = collection
        self.users = 0


class Handles:
    """The open collections of one database; `folders` is None when it lives in memory."""

    def __init__(
        self, catalogue: Catalogue, folders: Folders | None, *, read_only: bool = False
    ) -> None:
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
            self._catalogue.get_collection_by_id(address)
            raise
        finally:
            for idle in self._leave(entry):
                idle.close()

    def reopen(self, id: UUID) -> None:
        """Has the next call open the collection anew, with what is configured now."""
        with self._guard:
            entry = self._entries.get(id)
        if self._folders is not None and entry is not None:
            self._forget(entry)

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
            entry.collection.close()

    # ── the list ─────────────────────────────────────────────────────────────────────────────────

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
            if self._folders is None or surplus <= 0:
                return []
            idle = [id for id, other in self._entries.items() if not other.users][:surplus]
            return [self._entries.pop(id).collection for id in idle]

    def _forget(self, entry: _Entry) -> None:
        """Gives up a collection deleted by another process: while it is open it takes space."""
        with self._guard:
            if self._entries.get(entry.address.collection) is entry:
                del self._entries[entry.address.collection]
        entry.collection.close()

    # ── opening one ──────────────────────────────────────────────────────────────────────────────

    def _open(self, address: Address) -> LocalCollection:
        info = self._catalogue.get_collection_by_id(address)
        find = self._find_in_memory if self._folders is None else self._find_file
        return LocalCollection(
            info.configuration.hnsw,
            lambda make, dimension: find(address, make, dimension),
            None if self._folders is None else self._folders.of(address.collection),
            rules=rules_of(info.schema),
            seal=not self._read_only,
        )

    def _find_in_memory(self, address: Address, make: bool, dimension: int | None) -> Store | None:
        self._catalogue.get_collection_by_id(address)
        return Store.in_memory(str(address.collection)) if make else None

    def _find_file(self, address: Address, make: bool, dimension: int | None) -> Store | None:
        assert self._folders is not None, "only a database on disk has folders"
        id = address.collection
        if not self._folders.has_records(id):
            if not make:
                self._catalogue.get_collection_by_id(address)
                return None
            with self._catalogue.exclusive():  # nobody deletes the collection meanwhile
                self._catalogue.get_collection_by_id(address)
                if not self._folders.has_records(id):
                    self._folders.create(id, dimension)
        return self._folders.open(id)
