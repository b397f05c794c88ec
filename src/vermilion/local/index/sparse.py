"""The sparse indexes: inverted lists of the sparse vectors in the metadata, for each key.

Every sparse vector is in here, whatever the schema says: a schema may come later than a segment.
Values are float32, as in dense vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vermilion.local.blocks import Blocks
from vermilion.local.index.base import Change, Slots
from vermilion.local.index.columns import LOAD_ROWS
from vermilion.local.index.postings import GrowingPostings, Run, Terms, joined, read_run
from vermilion.local.snapshot import Snapshot
from vermilion.types import SparseVector, pages

Values = NDArray[np.float32]
Lists = Iterator[tuple[Slots, Values]]


class SparseLists:
    """The sparse vectors of the tail, in memory."""

    def __init__(self) -> None:
        self._keys: dict[str, GrowingPostings] = {}

    def apply(self, change: Change, snapshot: Snapshot) -> None:
        """Reads the sparse vectors of the new slots."""
        for page in pages(len(change.keys), LOAD_ROWS):
            self.append(change.first + page.start, snapshot.metadatas(change.keys[page]))

    def append(self, first: int, metadatas: Iterable[Mapping[str, Any] | None]) -> None:
        """Adds the sparse vectors of new slots, from `first` on."""
        for key, postings in _postings(first, metadatas).items():
            self._keys.setdefault(key, GrowingPostings()).append(*postings)

    def of(self, key: str, term: int, length: int) -> Lists:
        """The slots below `length` whose vector has the component, and its values."""
        postings = self._keys.get(key)
        return iter(()) if postings is None else postings.of(term, length)

    def whole(self) -> dict[str, Run]:
        """All postings of each key as one run."""
        return {key: postings.whole() for key, postings in self._keys.items()}


class SealedSparse:
    """The sparse vectors of one segment, read from a mapped file."""

    def __init__(self, blocks: Blocks, rows: int) -> None:
        """Takes the blocks that `build_sparse` made. Raises CacheDamaged."""
        keys: list[str] = blocks.values["keys"]
        self._keys: dict[str, Run] = {
            key: read_run(blocks, rows, f"{place} ") for place, key in enumerate(keys)
        }

    def whole(self) -> dict[str, Run]:
        """All postings of each key as one run."""
        return self._keys

    def of(self, key: str, term: int) -> Lists:
        """The slots whose vector has the component, and its values."""
        run = self._keys.get(key)
        if run is not None:
            place = run.of(term)
            if place.stop > place.start:
                yield run.slots[place].astype(np.int64), run.values[place]


def join_sparse(
    parts: Sequence[tuple[int, SparseLists | SealedSparse]],
) -> tuple[dict[str, NDArray[Any] | bytes], dict[str, Any]]:
    """The sparse vectors of all parts, each from a slot on, as blocks and values of a file."""
    runs: dict[str, list[tuple[int, Run]]] = {}
    for base, part in parts:
        for key, run in part.whole().items():
            runs.setdefault(key, []).append((base, run))
    keys = sorted(runs)
    blocks: dict[str, NDArray[Any] | bytes] = {}
    for place, key in enumerate(keys):
        blocks |= joined(runs[key]).blocks(f"{place} ")
    return blocks, {"keys": keys}


def _postings(
    first: int, metadatas: Iterable[Mapping[str, Any] | None]
) -> dict[str, tuple[Terms, Slots, Values]]:
    """The components of the sparse vectors of new slots, by key."""
    found: dict[str, list[tuple[int, SparseVector]]] = {}
    for slot, metadata in enumerate(metadatas, first):
        for key, value in (metadata or {}).items():
            if isinstance(value, SparseVector):
                found.setdefault(key, []).append((slot, value))
    return {key: _flat(vectors) for key, vectors in found.items()}


def _flat(vectors: list[tuple[int, SparseVector]]) -> tuple[Terms, Slots, Values]:
    lengths = [len(vector.indices) for _, vector in vectors]
    return (
        np.array([index for _, vector in vectors for index in vector.indices], np.uint64),
        np.repeat(np.array([slot for slot, _ in vectors], np.int64), lengths),
        _narrow([value for _, vector in vectors for value in vector.values]),
    )


def _narrow(values: list[float]) -> Values:
    with np.errstate(over="ignore"):  # what is too large for float32 is infinite
        return np.array(values, np.float64).astype(np.float32)
