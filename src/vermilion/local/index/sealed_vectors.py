"""The vectors of a sealed segment as 4-bit codes: a scan finds candidates, never answers.

A candidate's score estimates its distance; the caller measures the real one from the stored
vector. The codes are turbovec's. They are only a cache: where that package is not installed, or
cannot take the dimension, a segment has none and its vectors are measured one by one.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from vermilion.local.blocks import Blocks, CacheDamaged
from vermilion.local.index.base import Mask, Slots
from vermilion.types import Space, pages

BITS = 4
# The rotation inside the codec costs d² bytes and time.
DIMENSIONS = range(1, 4097)
# Rows from which the codec learns how coordinates are spread.
SAMPLE = 2_048
# Vectors that are read and coded at a time: a million at once took 5 GB of memory.
PAGE = 8_192


class Rows(Protocol):
    """Vectors that can be read in part: a matrix, or those of records in the store."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice | Slots, /) -> NDArray[np.float32]: ...


class Candidates(NamedTuple):
    """Slots of a segment, best first, with the distance that their codes suggest.

    `spread` is the standard deviation of such estimates, where it is known.
    """

    slots: Slots
    estimates: NDArray[np.float32]
    spread: float = 0.0


def codec() -> Any | None:
    """The package that makes and scans the codes, or None."""
    try:
        import turbovec  # native code: loaded with the first sealed segment
    except ImportError:
        return None
    return turbovec


def build_vectors(
    space: Space, vectors: Rows
) -> tuple[dict[str, NDArray[Any] | bytes], dict[str, Any]] | None:
    """The blocks and values of these vectors, or None when they cannot be coded."""
    package = codec()
    if package is None or not len(vectors) or vectors[:1].shape[1] not in DIMENSIONS:
        return None
    frame = _frame(space, vectors)
    # Sealing must give the same file for the same rows, so the sample is drawn with a fixed seed.
    places = np.random.default_rng(0).permutation(len(vectors))[:SAMPLE]
    sample = frame.rows(vectors[np.sort(places)])
    index = package.TurboQuantIndex(dim=sample.shape[1], bit_width=BITS)
    if np.any(sample):
        index.calibrate(sample)
    for page in pages(len(vectors), PAGE):
        index.add(frame.rows(vectors[page]))
    values = {
        "space": space,
        "rows": len(vectors),
        "weight": frame.weight,
        "offset": frame.offset,
    }
    return {"codes": bytes(index.to_bytes()), "centre": frame.centre}, values


class SealedVectors:
    """The codes of one segment, loaded into memory."""

    # Candidates asked for at first, and at most.
    first, most = 32, 32_768

    def __init__(self, blocks: Blocks) -> None:
        """Raises CacheDamaged when the file does not hold what its header says."""
        package = codec()
        if package is None:
            raise CacheDamaged("the package that reads the codes is not installed")
        values = blocks.values
        self._frame = _Frame(
            values["space"], blocks.array("centre"), values["weight"], values["offset"]
        )
        try:
            self._index = package.TurboQuantIndex.from_bytes(blocks.array("codes").tobytes())
        except (ValueError, MemoryError) as error:
            raise CacheDamaged(f"codes cannot be read: {error}") from error
        if len(self._index) != values["rows"]:
            raise CacheDamaged("codes and header do not agree")
        self._warm_up(blocks.array("centre"))

    def _warm_up(self, query: NDArray[np.float32]) -> None:
        """Runs the first searches while nobody else can.

        turbovec 1.1.2 lays its codes out in the first search, on the threads of a pool: two first
        searches at once can take each other's work and wait for each other for ever.
        """
        for allowed in (None, np.ones(len(self), np.bool_)):
            self.candidates(query, 1, allowed)

    def __len__(self) -> int:
        return len(self._index)

    @property
    def space(self) -> Space:
        """The space that the estimates are about."""
        return self._frame.space

    def candidates(
        self, query: NDArray[np.float32], count: int, allowed: Mask | None
    ) -> Candidates:
        """The `count` best slots by their codes, among the allowed ones."""
        row, constant = self._frame.query(query)
        scores, slots = self._index.search(row[np.newaxis], count, mask=allowed)
        return Candidates(slots[0].astype(np.int64), self._frame.distances(scores[0], constant))


# ── every space as a dot product, greater is nearer ──────────────────────────────────────────────


class _Frame(NamedTuple):
    """How rows and queries are laid out so that a dot product orders them as the space does.

    cosine: rows of unit length. l2: |x-q|² = |q|² - 2(x·q - |x|²/2), so rows get a last coordinate
    for |x|²/2 and queries a weight to meet it; the weight makes that coordinate about as long as
    the others together. Whatever the space, `centre` is subtracted first, and `offset` is the mean
    of |x|²/2: neither changes the order, and as the error of a code grows with the length of its
    row, both make it smaller.
    """

    space: Space
    centre: NDArray[np.float32]
    weight: float
    offset: float

    def rows(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """The rows to code."""
        moved = directed(self.space, vectors) - self.centre
        if self.space != "l2":
            return _padded(moved)
        halves = np.einsum("ij,ij->i", moved, moved, dtype=np.float64) / 2
        return _padded(np.column_stack((moved, (self.offset - halves) / self.weight)))

    def query(self, query: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
        """The row to search with, and the constant that `distances` needs."""
        row = directed(self.space, query[np.newaxis])[0]
        if self.space != "l2":
            return _padded(row[np.newaxis])[0], float(row @ self.centre)
        moved = row - self.centre
        return _padded(np.append(moved, self.weight)[np.newaxis])[0], float(moved @ moved)

    def distances(self, scores: NDArray[np.float32], constant: float) -> NDArray[np.float32]:
        """What scores say of distances."""
        if self.space == "l2":
            return np.float32(constant + 2 * self.offset) - np.float32(2) * scores
        return np.float32(1 - constant) - scores


def _frame(space: Space, vectors: Rows) -> _Frame:
    total: Any = 0.0
    squares = 0.0
    for page in pages(len(vectors), PAGE):
        rows = directed(space, vectors[page])
        total += rows.sum(axis=0, dtype=np.float64)
        squares += float(np.einsum("ij,ij->", rows, rows, dtype=np.float64))
    mean = total / len(vectors)
    centre = mean.astype(np.float32)
    if space != "l2":
        return _Frame(space, centre, 1.0, 0.0)
    square = max(0.0, squares / len(vectors) - float(mean @ mean))
    return _Frame(space, centre, max(square**0.5 / 2, 1e-30), square / 2)


def directed(space: Space, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The rows themselves, or for cosine their directions."""
    if space != "cosine":
        return vectors
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    lengths[lengths == 0] = 1
    directions: NDArray[np.float32] = (vectors / lengths[:, np.newaxis]).astype(np.float32)
    return directions


def _padded(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Rows as float32 with zeros up to a multiple of 8 coordinates, which the codec asks for."""
    missing = -rows.shape[1] % 8
    if not missing:
        return np.ascontiguousarray(rows, dtype=np.float32)
    return np.ascontiguousarray(np.pad(rows, ((0, 0), (0, missing))), dtype=np.float32)
