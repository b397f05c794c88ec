"""The half of a collection that tells all of its records, page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

from vermilion.api.results import columns_for
from vermilion.api.searching import naming, selected
from vermilion.engine import CollectionInfo, Column, Engine, Selection
from vermilion.errors import ArgumentTypeError, ArgumentValueError
from vermilion.records import check_include
from vermilion.types import Include, Record, Records

# So many records are read at once.
BATCH_SIZE = 1000


class Iterating:
    """What `Collection` inherits."""

    _engine: Callable[[], Engine]
    _info: CollectionInfo

    def __iter__(self) -> Iterator[Record]:
        return self.iter()

    def __contains__(self, id: object) -> bool:
        """Whether there is a record with this id."""
        with naming("in"):
            selection = selected(id, None, None)
        return bool(self._engine().count(self._info.address, selection))

    def iter(
        self,
        where: Any = None,
        where_document: Any = None,
        include: Include = ["metadatas", "documents", "uris"],  # noqa: B006  (only read)
        batch_size: int = BATCH_SIZE,
    ) -> Iterator[Record]:
        """Yields the records that match, in the order of insertion.

        They are read `batch_size` at a time, each time as they are at that moment, and nothing is
        held up in between. What matches all the while comes once; what others write meanwhile may
        come or not.
        """
        return chain.from_iterable(self._pages(where, where_document, include, batch_size))

    def _pages(
        self,
        where: Any = None,
        where_document: Any = None,
        include: Include = ["metadatas", "documents", "uris"],  # noqa: B006  (only read)
        batch_size: int = BATCH_SIZE,
    ) -> Iterator[Iterator[Record]]:
        """What `iter` yields, so many records at a time."""
        with naming("iter"):
            selection = selected(None, where, where_document)
            columns = columns_for(check_iterated(include))
            rows = check_batch_size(batch_size)
        return _pages(self._engine, self._info, selection, columns, rows)

    def ids(self, where: Any = None, where_document: Any = None) -> list[str]:
        """Returns the ids of the records that match, in the order of insertion."""
        with naming("ids"):
            selection = selected(None, where, where_document)
        return self._engine().get(self._info.address, selection).ids


def check_iterated(include: object) -> list[str]:
    """The columns that a record can have."""
    wanted = check_include(include, distances=False)
    if "data" in wanted:
        raise ArgumentValueError("Include item cannot be data here: get loads data")
    return wanted


def check_batch_size(batch_size: object) -> int:
    """How many rows are read or written at once: at least one."""
    if not isinstance(batch_size, int) or isinstance(batch_size, bool):
        raise ArgumentTypeError(f"Expected batch_size to be an integer, got {batch_size!r}")
    if batch_size < 1:
        raise ArgumentValueError(f"Expected batch_size to be at least 1, got {batch_size}")
    return batch_size


def _pages(
    engine: Callable[[], Engine],
    info: CollectionInfo,
    selection: Selection,
    columns: set[Column],
    rows: int,
) -> Iterator[Iterator[Record]]:
    after: int | None = None
    while True:
        page = engine().page(info.address, selection, columns, rows, after)
        yield as_records(page.records)
        if page.next is None:
            return
        after = page.next


def as_records(records: Records) -> Iterator[Record]:
    """The rows of aligned columns."""
    columns = (records.documents, records.metadatas, records.embeddings, records.uris)
    cells: list[Any] = [[None] * len(records) if column is None else column for column in columns]
    for row in zip(records.ids, *cells, strict=True):
        yield Record(*row)
