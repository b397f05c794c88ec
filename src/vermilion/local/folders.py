"""The folders of a directory's collections: one for each that has records, named by its id."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from uuid import UUID

from vermilion.errors import DamagedError, NotFoundError, StorageError
from vermilion.local.collection import MadeMeanwhile
from vermilion.local.drafts import drafting, ending, remove_abandoned, remove_tree, settle
from vermilion.local.sqlite import sync_directory
from vermilion.local.store import RECORDS, Store
from vermilion.local.transaction import Transaction
from vermilion.logs import log
from vermilion.types import Durability

# The folder of a deleted collection while its files are being removed.
GONE = ".gone"


class Folders:
    """Finds, makes and removes them; what there should be, the catalogue knows."""

    def __init__(
        self, root: Path, lost: Path, durability: Durability, *, read_only: bool = False
    ) -> None:
        """`lost` is where folders go that the catalogue has forgotten."""
        self._root = root
        self._lost = lost
        self._durability = durability
        self._read_only = read_only

    def of(self, id: UUID) -> Path:
        """The folder of this collection, whether it is there or not."""
        return self._root / str(id)

    def ids(self) -> set[UUID]:
        """The collections that have a folder."""
        return _ids_in(self._root)

    def lost(self) -> dict[UUID, Path]:
        """The folders that the catalogue had forgotten when the directory was opened."""
        return {id: self._lost / str(id) for id in _ids_in(self._lost)}

    def has_records(self, id: UUID) -> bool:
        """Whether this collection has a file of records."""
        return os.path.exists(f"{self._root}/{id}/{RECORDS}")

    def lacks_records(self, id: UUID) -> bool:
        """Whether there are files of this collection, and the one that matters is missing."""
        folder = self.of(id)
        return folder.exists() and any(folder.iterdir()) and not self.has_records(id)

    def open(self, id: UUID) -> Store:
        """The store in the collection's file."""
        return Store.open(
            self.of(id) / RECORDS, str(id), self._durability, read_only=self._read_only
        )

    # ── made ─────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def creating(
        self,
        id: UUID,
        dimension: int | None,
        rows: int,
        while_settled: Callable[[], AbstractContextManager[None]],
    ) -> Iterator[Transaction]:
        """The transaction of the first write: it makes the folder and the file, or nothing at all.

        `while_settled` is entered while the folder gets its name. Raises MadeMeanwhile.
        """
        with drafting(self._root, id) as draft:
            with Store.creating(draft / RECORDS, str(id), dimension, rows) as transaction:
                yield transaction
            with while_settled():
                if not settle(draft, self.of(id)):
                    raise MadeMeanwhile

    @contextmanager
    def filling(self, id: UUID, fill: Callable[[Path], object]) -> Iterator[Callable[[], None]]:
        """The folder of a new collection, filled; the function in the block gives it its name."""
        with drafting(self._root, id) as draft:
            fill(draft)
            yield lambda: _settled(draft, self.of(id))

    # ── removed ──────────────────────────────────────────────────────────────────────────────────

    def remove(self, id: UUID, *, told: bool = False) -> None:
        """Removes the files of a deleted collection; what somebody still reads goes when swept.

        Whoever has it open, here or in another process, is told, unless that was done already.
        """
        folder = self.of(id)
        gone = folder.with_name(f"{id}{GONE}")
        try:
            os.rename(folder, gone)
        except FileNotFoundError:
            return
        except OSError:  # on Windows, while somebody has a file of it open
            gone = folder
        # Whoever has it open has a WAL beside it; whoever comes now, or has read it without
        # opening it, finds no folder.
        if not told and (gone == folder or (gone / f"{RECORDS}-wal").exists()):
            _drop(gone)
        _remove_files(gone)

    def sweep(self, known: set[UUID], deleted: set[UUID]) -> None:
        """Removes what was left half made, and moves aside what the catalogue has forgotten.

        That is a folder of which it knows neither that there is nor that there was a collection.
        To be called where nobody can make a folder.
        """
        remove_abandoned(self._root)
        for id in sorted(self.ids() - known - deleted):
            place = self._lost / str(id)
            with suppress(OSError):
                self._lost.mkdir(exist_ok=True)
                os.rename(self.of(id), place)
                log().warning("the catalogue does not know collection %s: moved to %s", id, place)

    def finish_removals(self, deleted: set[UUID]) -> None:
        """Removes for good what processes that died, or were in the way, have left of these."""
        for id in deleted & self.ids():
            self.remove(id)
        left = ending(self._root, GONE)
        for gone in left:
            _drop(gone)
            _remove_files(gone)
        if deleted or left:  # or somebody else removed the last of these, and died
            sync_directory(self._root)


def _settled(draft: Path, folder: Path) -> None:
    if not settle(draft, folder):
        raise StorageError(f"{folder} exists already")


def _drop(folder: Path) -> None:
    store = Store.open(folder / RECORDS, folder.name, "normal")
    # A file that cannot be read is removed, too; or another process is removing it.
    with suppress(StorageError, DamagedError, NotFoundError):
        store.drop()
    store.close(give_up=True)


def _remove_files(folder: Path) -> None:
    try:
        for entry in os.scandir(folder):
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry)
        os.rmdir(folder)
    except OSError:  # there are indexes, or somebody is in the way
        remove_tree(folder)


def _ids_in(folder: Path) -> set[UUID]:
    names = [path.name for path in folder.iterdir()] if folder.exists() else []
    return {UUID(name) for name in names if _is_id(name)}


def _is_id(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False
