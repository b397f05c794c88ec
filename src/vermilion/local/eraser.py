"""Secure deletion: no file of the directory holds a byte of the deleted records afterwards.

The segments that hold them go, whether or not their rows are dead; the file of the records is
written anew and its WAL emptied. The builder is kept out meanwhile: it may be reading a moment at
which the records were still there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from vermilion.errors import StorageError
from vermilion.local.blocks import CacheDamaged
from vermilion.local.lock import try_lock
from vermilion.local.segment import FOLDER, Segment, remove_others
from vermilion.local.snapshot import Keys
from vermilion.local.store import Store
from vermilion.local.transaction import Transaction

# How long a builder, and then readers, may be in the way.
BUILDER_SECONDS = 60.0
READER_SECONDS = 20.0


@contextmanager
def erasing(store: Store, folder: Path) -> Iterator[None]:
    """Around a deletion: waits for the builder, and removes what is left when it is committed.

    Raises StorageError when something is in the way for too long, and says what is left to do.
    """
    with _builder_kept_out(folder):
        yield
        with store.reading() as snapshot:
            names = {row.name for row in snapshot.segments()}
        remove_others(folder / FOLDER, names)
        left = [path for path in _files(folder) if path.name.partition(".")[0] not in names]
        if left:
            raise StorageError(
                f"The records are deleted, but {left[0]} still holds parts of them: it is in use. "
                "Delete securely once more when the other programs have closed the directory"
            )
        store.rebuild()
        if not store.empty_wal(READER_SECONDS):
            raise StorageError(
                f"The records are deleted, but {store.name} still has them in its files: somebody "
                "reads what was there before. Delete securely once more when they are done"
            )


def forget(transaction: Transaction, folder: Path, keys: Keys) -> None:
    """Takes the segments that hold any of these keys from the list, in the deleting transaction."""
    names: list[str] = []
    orphans: list[Keys] = []
    for row in transaction.segments():
        try:
            held = Segment(folder / FOLDER, row.name).keys
        except CacheDamaged:  # it may hold anything: every record counts as being in no segment
            names.append(row.name)
            orphans.append(np.arange(1, transaction.head.next_key, dtype=np.int64))
            continue
        if np.isin(held, keys, assume_unique=True).any():
            names.append(row.name)
            orphans.append(held[~row.dead])
    if names:
        transaction.forget_segments(names, np.unique(np.concatenate(orphans)).tolist())


def _files(folder: Path) -> list[Path]:
    indexes = folder / FOLDER
    return sorted(indexes.iterdir()) if indexes.exists() else []


@contextmanager
def _builder_kept_out(folder: Path) -> Iterator[None]:
    deadline = time.monotonic() + BUILDER_SECONDS
    while True:
        with try_lock(folder / "builder.lock") as free:
            if free:
                yield
                return
        if time.monotonic() > deadline:
            raise StorageError(
                f"Indexes of {folder} are being built: nothing was deleted. Try again later"
            )
        time.sleep(0.05)
