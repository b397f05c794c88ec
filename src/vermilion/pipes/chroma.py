"""A collection in a directory of Chroma's, as a source of records."""

from __future__ import annotations

import warnings
from collections.abc import Collection as AnyCollection
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

from vermilion.configuration import Configuration
from vermilion.engine import CollectionInfo, Column, Selection
from vermilion.errors import NotFoundError
from vermilion.local.engine import LocalEngine
from vermilion.migration.chroma_dir import ChromaCollection, ChromaDirectory, open_chroma
from vermilion.pipes.uri import CollectionUri
from vermilion.pipes.window import Window, windowed
from vermilion.records import Batch
from vermilion.types import DEFAULT_DATABASE, DEFAULT_TENANT, Records


@contextmanager
def chroma_source(directory: Path, uri: CollectionUri, name: str) -> Iterator[ChromaSource]:
    """The collection of that name. Raises NotFoundError; nothing is changed."""
    tenant = uri.options.get("tenant", DEFAULT_TENANT)
    database = uri.options.get("database", DEFAULT_DATABASE)
    with open_chroma(directory) as opened:
        here = [
            one for one in opened.collections() if (one.tenant, one.database) == (tenant, database)
        ]
        found = next((one for one in here if one.name == name), None)
        if found is None:
            there = ", ".join(one.name for one in here) or "none"
            raise NotFoundError(f"{uri}: there is no collection {name!r}; there are: {there}")
        yield ChromaSource(opened, found)


class ChromaSource:
    """See places.Source."""

    def __init__(self, directory: ChromaDirectory, collection: ChromaCollection) -> None:
        self._directory = directory
        self._collection = collection
        self.info = CollectionInfo(
            UUID(collection.id),
            collection.name,
            collection.tenant,
            collection.database,
            collection.configuration,
            collection.metadata,
            collection.dimension,
            collection.schema,
        )

    def pages(
        self, selection: Selection, columns: AnyCollection[Column], rows: int, window: Window
    ) -> Iterator[Records]:
        """See places.Source. What could not be read is a warning."""
        pages = self._directory.records(self._collection, rows)
        if selection != Selection():
            pages = _matching(pages, selection)
        for page in windowed(pages, window):
            yield Records(
                page.ids,
                *(getattr(page, name) if name in columns else None for name in _COLUMNS),
            )
        if self._directory.losses:
            lost = len(self._directory.losses)
            warnings.warn(
                f"{self._directory.path} is damaged: {lost} losses; `vermilion migrate` lists them",
                UserWarning,
                stacklevel=2,
            )


_COLUMNS: tuple[Column, ...] = ("vectors", "documents", "uris", "metadatas")


def _matching(pages: Iterator[Records], selection: Selection) -> Iterator[Records]:
    """The records that match: each page is asked in memory, by our own rules."""
    engine = LocalEngine()
    try:
        for page in pages:
            info, _ = engine.create_collection(
                f"page-{uuid4()}", DEFAULT_TENANT, DEFAULT_DATABASE, configuration=Configuration()
            )
            engine.add(info.address, Batch.of(page))
            found = engine.get(info.address, selection, _COLUMNS)
            engine.delete_collection(info.name, DEFAULT_TENANT, DEFAULT_DATABASE)
            if found.ids:
                yield found
    finally:
        engine.close()
