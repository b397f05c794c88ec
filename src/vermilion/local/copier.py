"""Copies a collection as it is at one moment, while others go on writing to it.

The records are copied page by page inside a read transaction. Files of segments never change, so
the copy shares them with the original where the file system has links.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from vermilion.local.segment import FOLDER
from vermilion.local.snapshot import Head
from vermilion.local.sqlite import alone_in, copy_pages, harden
from vermilion.local.store import RECORDS, Store


def copy_collection(store: Store, folder: Path | None, target: Path) -> Head:
    """Fills the empty folder `target` with what the collection in `folder` has.

    Without a folder it lives in memory and has no segments. Returns where it stood.
    """
    with store.reading() as snapshot:
        with alone_in(target / RECORDS) as connection:
            copy_pages(snapshot.connection, connection)
        (target / FOLDER).mkdir()
        if folder is not None:
            for row in snapshot.segments():
                for path in (folder / FOLDER).glob(f"{row.name}.*"):
                    # What a builder has just removed is built again from the records.
                    with suppress(FileNotFoundError):
                        _share(path, target / FOLDER / path.name)
        head = snapshot.head
    harden(target / RECORDS)
    return head


def _share(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without links
        import shutil  # as in drafts.py

        shutil.copyfile(path, target)
