"""The folders of a directory's collections: one for each that has records, named by its id."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from uuid import UUID

from vermilion.errors import DamagedError, StorageError
from vermilion.local.sqlite import sync_directory
from vermilion.local.store import RECORDS, Store
from vermilion.types import Durability


class Folders:
    """Finds, makes and removes them; what there should be, the catalogue knows."""

    def __init__(self, root: Path, durability: Durability, *, read_only: bool = False) -> None:
        self._root = root
        self._durability = durability
        self._read_only = read_only

    def of(self, id: UUID) -> Path:
        """The folder of this collection, whether it is there or not."""
        return self._root / str(id)

    def ids(self) -> set[UUID]:
        """The collections that have a folder."""
        return {UUID(folder.name) for folder in self._root.iterdir() if _is_id(folder.name)}

    def has_records(self, id: UUID) -> bool:
        """Whether this collection has a file of records."""
        return (self.of(id) / RECORDS).exists()

    def lacks_records(self, id: UUID) -> bool:
        """Whether there are files of this collection, and the one that matters is missing."""
        folder = self.of(id)
        return folder.exists() and any(folder.iterdir()) and not self.has_records(id)

    def open(self, id: UUID) -> Store:
        """The store in the collection's file."""
        return Store.open(
            self.of(id) / RECORDS, str(id), self._durability, read_only=self._read_only
        )

    def create(self, id: UUID, dimension: int | None) -> None:
        """Makes the folder and its file of records, with pages for vectors of this dimension."""
        folder = self.of(id)
        folder.mkdir(exist_ok=True)
        sync_directory(self._root)
        Store.create(folder / RECORDS, dimension)

    def drop(self, id: UUID) -> None:
        """Tells whoever has the file open, here or in another process, that it is no more."""
        if not self.has_records(id):
            return
        store = self.open(id)
        with suppress(StorageError, DamagedError):  # a file that cannot be read is removed, too
            store.drop()
        store.close()

    def remove(self, id: UUID) -> None:
        """Removes what can be removed; what somebody still reads goes when it is swept."""
        import shutil  # takes 3 ms, and few programs delete collections

        shutil.rmtree(self.of(id), ignore_errors=True)


def _is_id(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False
