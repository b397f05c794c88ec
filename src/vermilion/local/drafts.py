"""Folders of collections to come: nobody sees one before it is complete and on the disk.

A draft stands beside the collections' folders under a name that is no collection's. Whoever writes
it holds a lock, so that what a process leaves behind when it dies can be told from what another
one is writing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import UUID, uuid4

from vermilion import forks
from vermilion.local.lock import try_lock
from vermilion.local.sqlite import sync_directory, translated

SUFFIX = ".new"
LOCK = ".lock"


@contextmanager
def drafting(root: Path, id: UUID) -> Iterator[Path]:
    """An empty folder, for `settle` to give it its name; what is left of it is removed."""
    draft = root / f"{id}.{uuid4().hex[:8]}{SUFFIX}"
    lock = draft.with_name(f"{draft.name}{LOCK}")
    with translated(str(root)), forks.held_off:
        try:
            with try_lock(lock):  # nobody else can want this name
                draft.mkdir()
                yield draft
        except BaseException:
            remove_tree(draft)  # it may be what fills the disk
            raise
        finally:
            lock.unlink(missing_ok=True)


def settle(draft: Path, folder: Path) -> bool:
    """Gives the draft, whose files are on the disk, its name for good.

    False, and the draft is removed, when there is such a folder already. What it holds is on the
    disk before its name is: most file systems keep that order by themselves, not all.
    """
    with translated(str(folder)):
        sync_directory(draft)
        try:
            os.rename(draft, folder)
        except OSError:
            if not folder.exists():
                raise
            remove_tree(draft)
            return False
        sync_directory(folder.parent)
        return True


def ending(folder: Path, suffix: str) -> list[Path]:
    """What lies in a folder under such names; `glob` would first compile an expression."""
    return [folder / name for name in os.listdir(folder) if name.endswith(suffix)]


def remove_abandoned(root: Path) -> None:
    """Removes the drafts whose makers died."""
    for lock in ending(root, f"{SUFFIX}{LOCK}"):
        with suppress(OSError), try_lock(lock) as free:
            if free:
                remove_tree(lock.with_name(lock.name.removesuffix(LOCK)))
                lock.unlink()


def remove_tree(folder: Path) -> None:
    """Removes a folder with all that can be removed of it."""
    import shutil  # takes 3 ms, and most processes never need it

    shutil.rmtree(folder, ignore_errors=True)
