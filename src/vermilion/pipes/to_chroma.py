"""`export --to chroma`: a collection as a directory that Chroma 1.5 opens."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from vermilion.engine import EVERYTHING, CollectionInfo, Column
from vermilion.pipes.places import Source
from vermilion.pipes.window import Window
from vermilion.types import Records

if TYPE_CHECKING:
    from vermilion.migration.chroma_dir import Loss

ALL: tuple[Column, ...] = ("vectors", "documents", "uris", "metadatas")


def write_directory(source: Source, target: str) -> int:
    """Makes the directory; returns how many records it holds. Raises StorageError if it exists."""
    from vermilion.migration.chroma_writer import write_chroma  # few exports need it

    report = write_chroma(_One(source), Path(target))
    for what, count in Counter(one.what for one in report.losses).items():
        warnings.warn(f"{count:,} × left out: {what}", UserWarning, stacklevel=2)
    return sum(one.rows for one in report.collections)


class _One:
    """The source of a migration that has one collection."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.losses: list[Loss] = []

    def databases(self) -> list[tuple[str, str]]:
        """See Source of migration/places.py."""
        return [(self._source.info.tenant, self._source.info.database)]

    def collections(self) -> list[CollectionInfo]:
        """See databases."""
        return [self._source.info]

    def records(self, collection: CollectionInfo, rows: int = 1000) -> Iterator[Records]:
        """See databases."""
        return self._source.pages(EVERYTHING, ALL, rows, Window())

    def close(self) -> None:
        """Who opened the source closes it."""
