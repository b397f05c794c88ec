"""Which of the selected records are meant: all but the first, and at most so many."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from vermilion.types import Records


class Window(NamedTuple):
    """Which of the selected records: all but the first `offset`, at most `limit`."""

    offset: int = 0
    limit: int | None = None


def windowed(pages: Iterator[Records], window: Window) -> Iterator[Records]:
    """The pages without the records that are not in the window."""
    offset, left = window
    for page in pages:
        if left == 0:
            return
        start = min(offset, len(page))
        stop = len(page) if left is None else min(len(page), start + left)
        offset -= start
        if left is not None:
            left -= stop - start
        if stop > start:
            yield page if stop - start == len(page) else _cut(page, slice(start, stop))


def _cut(page: Records, rows: slice) -> Records:
    return Records(
        page.ids[rows],
        None if page.vectors is None else page.vectors[rows],
        None if page.documents is None else page.documents[rows],
        None if page.uris is None else page.uris[rows],
        None if page.metadatas is None else page.metadatas[rows],
        None if page.has_vector is None else page.has_vector[rows],
    )
