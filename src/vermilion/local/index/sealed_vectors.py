"""The vectors of a sealed segment as 4-bit codes: a scan finds candidates, never answers.

A candidate's score estimates its distance; the caller measures the real one from the stored
vector. The codes are turbovec's. They are only a cache: where that package is not installed, or
cannot take the dimension, a segment has none and its vectors are measured one by one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from vermilion.local.blocks import CacheDamaged
from vermilion.local.index.base import Mask, Slots
from vermilion.types import Space, pages

BITS = 4
# The rotation inside the codec costs d² bytes and time.
DIMENSIONS = range(1, 4097)
# Rows from which the codec learns how coordinates are spread, and where their middle is.
SAMPLE = 2_048
# Queries that are scanned for at a time.
SCANNED = 32
# Vectors that are read and coded at a time: a million at once took 5 GB of memory.
PAGE = 8_192
# What was learnt serves until there are so many times as many rows, and while the middle of those
# that are added is off by at most this share of how far they are from it (both as squares).
GROWTH = 8
OFF = 0.05


class Rows(Protocol):
    """Vectors that can be read in part: a matrix, or those of records in the store."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice | Slots, /) -> NDArray[np.float32]: ...


class Candidates(NamedTuple):
    """Slots of a segment, best first, with the distance that their codes suggest.

    `horizon` is the estimate from which on there may be others, infinite if these are all. `spread`
    is the standard deviation of such estimates, where it is known.
    """

    slots: Slots
    estimates: NDArray[np.float32]
    horizon: float
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
    coder = make_coder(space, vectors)
    if coder is None:
        return None
    for page in pages(len(vectors), PAGE):
        coder.add(directed(space, vectors[page]))
    return coder.sealed()


def make_coder(space: Space, vectors: Rows) -> Coder | None:
    """What codes these vectors, given to it page by page; None when they cannot be coded."""
    package = codec()
    if package is None or not len(vectors) or vectors[:1].shape[1] not in DIMENSIONS:
        return None
    sample = directed(space, _sample(vectors, 0))
    frame = _frame(space, sample)
    rows = frame.rows(sample)
    index = package.TurboQuantIndex(dim=rows.shape[1], bit_width=BITS)
    if np.any(rows):
        index.calibrate(rows)
    return Coder(frame, index, len(vectors))


def make_coder_from(space: Space, vectors: Rows, blocks: Source) -> Coder | None:
    """What codes these vectors, and has the codes of the first of them from a file.

    None when all are better coded anew, by what is learnt from all of them. Raises CacheDamaged.
    """
    known: int = blocks.values["rows"]
    learnt: int = blocks.values.get("learnt", known)
    if len(vectors) > GROWTH * learnt:
        return None
    frame = _Frame.read(blocks)
    if len(frame.centre) != vectors[:1].shape[1]:  # when they were coded no record had a vector
        return None
    if known < len(vectors):
        moved = directed(space, _sample(vectors, known)) - frame.centre
        middle, around = moved.mean(axis=0), float(np.einsum("ij,ij->", moved, moved)) / len(moved)
        if not float(middle @ middle) <= OFF * around:
            return None
    return Coder(frame, SealedVectors.read(blocks), learnt)


def _sample(vectors: Rows, first: int) -> NDArray[np.float32]:
    """Some of the vectors from one on, ascending; the same ones every time, so that sealing gives
    the same file for the same rows."""
    places = np.random.default_rng(0).permutation(len(vectors) - first)[:SAMPLE]
    return vectors[first + np.sort(places)]


class Coder:
    """Makes the codes of a segment."""

    def __init__(self, frame: _Frame, index: Any, learnt: int) -> None:
        self._frame = frame
        self._index = index
        self._learnt = learnt

    def __len__(self) -> int:
        return len(self._index)

    @property
    def centre(self) -> NDArray[np.float32]:
        """About the mean of the rows."""
        return self._frame.centre

    def add(self, rows: NDArray[np.float32]) -> None:
        """Codes the rows that follow, for cosine their directions."""
        self._index.add(self._frame.rows(rows))

    def sealed(self) -> tuple[dict[str, NDArray[Any] | bytes], dict[str, Any]]:
        """The blocks and values of all of them."""
        values = {
            "space": self._frame.space,
            "rows": len(self),
            "weight": self._frame.weight,
            "offset": self._frame.offset,
            "learnt": self._learnt,
        }
        return {"codes": bytes(self._index.to_bytes()), "centre": self._frame.centre}, values


class Source(Protocol):
    """What `build_vectors` made: a file of blocks, or the blocks themselves."""

    @property
    def values(self) -> dict[str, Any]:
        """See Blocks."""
        ...

    def array(self, name: str, /) -> NDArray[Any]:
        """See Blocks."""
        ...


class SealedVectors:
    """Codes in memory: of one segment, or of some of its records."""

    # Candidates asked for at first, and at most.
    first, most = 32, 32_768

    def __init__(self, blocks: Source) -> None:
        """Raises CacheDamaged when the file does not hold what its header says."""
        self._frame = _Frame.read(blocks)
        self._bytes = blocks.array("codes").nbytes
        self._index = self.read(blocks)
        self._warm_up(blocks.array("centre"))

    @staticmethod
    def read(blocks: Source) -> Any:
        """The codec's index."""
        package = codec()
        if package is None:
            raise CacheDamaged("the package that reads the codes is not installed")
        try:
            index = package.TurboQuantIndex.from_bytes(blocks.array("codes").tobytes())
        except (ValueError, MemoryError) as error:
            raise CacheDamaged(f"codes cannot be read: {error}") from error
        if len(index) != blocks.values["rows"]:
            raise CacheDamaged("codes and header do not agree")
        return index

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
    def dimension(self) -> int:
        """Of the vectors that were coded."""
        return len(self._frame.centre)

    @property
    def space(self) -> Space:
        """The space that the estimates are about."""
        return self._frame.space

    @property
    def bytes(self) -> int:
        """About what they take in memory: the codes, and the matrix that rotates queries."""
        return self._bytes + 4 * len(self._frame.centre) ** 2

    def candidates(
        self, query: NDArray[np.float32], count: int, allowed: Mask | None
    ) -> Candidates:
        """The `count` best slots by their codes, among the allowed ones."""
        return self.candidates_of([query], count, allowed)[0]

    def candidates_of(
        self, queries: Sequence[NDArray[np.float32]], count: int, allowed: Mask | None
    ) -> list[Candidates]:
        """The same for several queries, in one scan."""
        framed = [self._frame.query(query) for query in queries]
        first = framed[0][0]
        rows = first[np.newaxis] if len(framed) == 1 else np.stack([row for row, _ in framed])
        scores, slots = self._index.search(rows, count, mask=allowed)
        slots = slots.astype(np.int64)
        estimates = [
            self._frame.distances(score, constant)
            for score, (_, constant) in zip(scores, framed, strict=True)
        ]
        return [
            Candidates(found, far, np.inf if len(found) < count else float(far[-1]))
            for found, far in zip(slots, estimates, strict=True)
        ]


class Scanner(Protocol):
    """What finds candidates: codes, or something coarser."""

    first: int
    most: int

    def candidates(
        self, query: NDArray[np.float32], count: int, allowed: Mask | None, /
    ) -> Candidates:
        """See SealedVectors."""
        ...


class Ahead:
    """Codes that are scanned for several queries at once, when the first of them asks.

    A scan for eight takes half the time of eight scans. Only what all will ask for is found ahead:
    so many candidates as the first one asks for.
    """

    def __init__(self, codes: SealedVectors, queries: Sequence[NDArray[np.float32]]) -> None:
        """Those who ask have to ask with these very rows."""
        self._codes = codes
        self._queries = queries
        self._places = {id(query): place for place, query in enumerate(queries)}
        self._wanted: tuple[int, Mask | None] | None = None
        self._found: dict[int, Candidates] = {}
        self.first, self.most = codes.first, codes.most

    def candidates(
        self, query: NDArray[np.float32], count: int, allowed: Mask | None
    ) -> Candidates:
        """See SealedVectors."""
        if self._wanted is None:
            self._wanted = count, allowed
        if self._wanted[0] != count or self._wanted[1] is not allowed:
            return self._codes.candidates(query, count, allowed)
        place = self._places[id(query)]
        if place not in self._found:
            some = range(place, min(place + SCANNED, len(self._queries)))
            rows = [self._queries[one] for one in some]
            found = self._codes.candidates_of(rows, count, allowed)
            self._found = dict(zip(some, found, strict=True))
        return self._found[place]


class _Built(NamedTuple):
    """Blocks that were never in a file."""

    blocks: dict[str, NDArray[Any] | bytes]
    values: dict[str, Any]

    def array(self, name: str, /) -> NDArray[Any]:
        block = self.blocks[name]
        return np.frombuffer(block, np.uint8) if isinstance(block, bytes) else block


def coded(space: Space, vectors: Rows) -> SealedVectors | None:
    """The codes of these vectors, or None when they cannot be coded."""
    built = build_vectors(space, vectors)
    return None if built is None else SealedVectors(_Built(*built))


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

    @classmethod
    def read(cls, blocks: Source) -> _Frame:
        """That of the codes in a file."""
        values = blocks.values
        return cls(values["space"], blocks.array("centre"), values["weight"], values["offset"])

    def rows(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """The rows to code, of vectors or for cosine their directions."""
        moved = vectors - self.centre
        if self.space != "l2":
            return _padded(moved)
        halves = np.einsum("ij,ij->i", moved, moved, dtype=np.float64) / 2
        return _padded(np.column_stack((moved, (self.offset - halves) / self.weight)))

    def query(self, query: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
        """The row to search with, and the constant that `distances` needs."""
        row = _direction(query) if self.space == "cosine" else query
        if self.space != "l2":
            return _padded(row[np.newaxis])[0], float(row @ self.centre)
        moved = row - self.centre
        return _padded(np.append(moved, self.weight)[np.newaxis])[0], float(moved @ moved)

    def distances(self, scores: NDArray[np.float32], constant: float) -> NDArray[np.float32]:
        """What scores say of distances."""
        if self.space == "l2":
            return np.float32(constant + 2 * self.offset) - np.float32(2) * scores
        return np.float32(1 - constant) - scores


def _frame(space: Space, sample: NDArray[np.float32]) -> _Frame:
    mean = sample.mean(axis=0, dtype=np.float64)
    centre = mean.astype(np.float32)
    if space != "l2":
        return _Frame(space, centre, 1.0, 0.0)
    squares = float(np.einsum("ij,ij->", sample, sample, dtype=np.float64)) / len(sample)
    square = max(0.0, squares - float(mean @ mean))
    return _Frame(space, centre, max(square**0.5 / 2, 1e-30), square / 2)


def directed(space: Space, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The rows themselves, or for cosine their directions."""
    if space != "cosine":
        return vectors
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    lengths[lengths == 0] = 1
    directions: NDArray[np.float32] = (vectors / lengths[:, np.newaxis]).astype(np.float32)
    return directions


def _direction(query: NDArray[np.float32]) -> NDArray[np.float32]:
    """As `directed` has it for one vector, in fewer steps."""
    wide = query.astype(np.float64)
    return query / np.float32(math.sqrt(wide @ wide) or 1)


def _padded(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Rows as float32 with zeros up to a multiple of 8 coordinates, which the codec asks for."""
    missing = -rows.shape[1] % 8
    if not missing:
        return np.ascontiguousarray(rows, dtype=np.float32)
    return np.ascontiguousarray(np.pad(rows, ((0, 0), (0, missing))), dtype=np.float32)
