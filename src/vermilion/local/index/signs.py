"""The vectors of a sealed segment as one bit a coordinate: for the first queries of a process.

Loading the 4-bit codes takes a tenth of a second of processor time, most of it whatever their
number; a program that asks once need not pay for it. Signs are read as they lie in the file. They
are a far coarser estimate, so more candidates have to be measured: 3 ms a query for 100,000
vectors of 384 dimensions, where codes take 0.2 ms.

A row is estimated as the signs of its coordinates, less those of the mean, times one number that
makes the estimate of its product with itself exact (Gao and Long, RaBitQ, 2024, without the
rotation). Of the query, 4 bits a coordinate are compared with those signs, plane by plane.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vermilion.local.blocks import Blocks, CacheDamaged
from vermilion.local.index.base import Mask, Slots
from vermilion.local.index.sealed_vectors import Candidates, Rows, directed
from vermilion.types import Space, pages

# Rows compared at a time: what is in between fits the processor's cache.
ROWS = 16_384
# Planes of a query's coordinates, and how far from the middle the levels they make reach.
PLANES = 4
REACH = (2**PLANES - 1) / 2
# Rows that the spread of the estimates is learnt from, and rows that serve as queries for it.
SAMPLE, SAMPLE_QUERIES = 1_024, 32

Words = NDArray[np.uint64]


def build_signs(
    space: Space, vectors: Rows, centre: NDArray[np.float32] | None = None
) -> tuple[dict[str, NDArray[Any] | bytes], dict[str, Any]]:
    """The blocks and values of these vectors; the centre is their mean, or near it."""
    if centre is None:
        sums = [
            directed(space, vectors[page]).sum(axis=0, dtype=np.float64)
            for page in pages(len(vectors), ROWS)
        ]
        centre = (np.sum(sums, axis=0) / len(vectors)).astype(np.float32)
    signer = Signer(space, centre, len(vectors))
    for page in pages(len(vectors), ROWS):
        signer.add(directed(space, vectors[page]))
    return signer.sealed(vectors)


class Signer:
    """Makes the signs of a segment."""

    def __init__(self, space: Space, centre: NDArray[np.float32], rows: int) -> None:
        words = -(-len(centre) // 64)
        numbers = np.empty(rows, np.float32), np.empty(rows, np.float32)
        self._signs = _Signs(space, np.empty((words, rows), np.uint64), *numbers, centre)
        self._done = 0

    def add(self, rows: NDArray[np.float32]) -> None:
        """Takes the rows that follow, for cosine their directions."""
        signs, page = self._signs, self._next(len(rows))
        with np.errstate(over="ignore", invalid="ignore"):  # such a spread is never good enough
            moved = rows - signs.centre
            signs.signs[:, page] = _packed(moved > 0).T
            signs.squares[page] = np.einsum("ij,ij->i", moved, moved)
            spans = np.abs(moved, out=moved).sum(axis=1)
            signs.scales[page] = np.divide(
                signs.squares[page], spans, out=np.zeros_like(spans), where=spans > 0
            )

    def take(self, blocks: Blocks) -> None:
        """Takes the rows that follow from a file of the same centre."""
        signs, page = self._signs, self._next(len(blocks.array("squares")))
        signs.signs[:, page] = blocks.array("signs")
        signs.squares[page] = blocks.array("squares")
        signs.scales[page] = blocks.array("scales")

    def _next(self, rows: int) -> slice:
        page = slice(self._done, self._done + rows)
        self._done = page.stop
        return page

    def sealed(self, vectors: Rows) -> tuple[dict[str, NDArray[Any] | bytes], dict[str, Any]]:
        """The blocks and values of all of them, which are these vectors."""
        signs = self._signs
        blocks: dict[str, NDArray[Any] | bytes] = {
            "signs": signs.signs,
            "squares": signs.squares,
            "scales": signs.scales,
            "centre": signs.centre,
        }
        with np.errstate(over="ignore", invalid="ignore"):
            return blocks, {"space": signs.space, "spread": _spread(signs, vectors)}


def _packed(bits: NDArray[np.bool_]) -> Words:
    """Bits as words of 64, shape (rows, words)."""
    missing = -bits.shape[1] % 64
    wide = np.pad(bits, ((0, 0), (0, missing))) if missing else bits
    return np.packbits(wide, axis=1, bitorder="little").view("<u8")


def _spread(signs: _Signs, vectors: Rows) -> float:
    """The standard deviation of an estimated product, for a query of length 1.

    It grows with the length of the row. By ip the nearest rows are long ones, so that is the length
    that counts; by the others they are about as long as the query, whatever that is.
    """
    draw = np.random.default_rng(0)  # the same rows give the same file
    some = np.sort(draw.permutation(len(vectors))[:SAMPLE])
    few = signs.only(some)
    queries = np.sort(draw.permutation(len(vectors))[:SAMPLE_QUERIES])
    asked = directed(signs.space, vectors[queries]) - signs.centre
    moved = directed(signs.space, vectors[some]) - signs.centre
    off = []
    for query in asked:
        length = float(np.linalg.norm(query))
        if length > 0:
            true = moved @ query
            off.append((few.products(query) - true) / length)
    if not off:
        return 0.0
    usual = float(np.sqrt(few.squares.mean()))
    longest = float(np.sqrt(signs.squares.max())) if signs.space == "ip" else usual
    return float(np.sqrt(np.mean(np.square(off)))) * (longest / usual if usual > 0 else 1.0)


class _Signs(NamedTuple):
    space: Space
    signs: Words
    squares: NDArray[np.float32]
    scales: NDArray[np.float32]
    centre: NDArray[np.float32]

    def only(self, slots: Slots) -> _Signs:
        """Those of some of the rows."""
        parts = self.signs[:, slots], self.squares[slots], self.scales[slots]
        return _Signs(self.space, *parts, self.centre)

    def products(self, query: NDArray[np.float32]) -> NDArray[np.float32]:
        """About the dot product of each row with the query, both less the mean."""
        step = float(np.abs(query).max()) / REACH or 1.0
        levels = np.clip(np.floor(query / step) + 2 ** (PLANES - 1), 0, 2**PLANES - 1)
        planes = [
            _packed((levels.astype(np.int64) >> bit & 1).astype(np.bool_)[np.newaxis])[0]
            for bit in range(PLANES)
        ]
        # A product of signs is 1 where the bits are equal and -1 where they differ.
        differing = np.empty(self.signs.shape[1], np.float32)
        for page in pages(len(differing), ROWS):
            differing[page] = self._differing(planes, page)
        return (np.float32(REACH * len(query)) - differing) * np.float32(step) * self.scales

    def _differing(self, planes: list[Words], page: slice) -> NDArray[np.uint32]:
        total = np.zeros(self.signs[0, page].shape, np.uint32)
        for bit, plane in enumerate(planes):
            here = np.zeros(total.shape, np.uint16)
            for row, word in zip(self.signs[:, page], plane, strict=True):
                here += np.bitwise_count(row ^ word)
            total += here.astype(np.uint32) << np.uint32(bit)
        return total

    def estimates(self, query: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
        """About the distance of each row, and the length that the error of it grows with."""
        row = directed(self.space, query[np.newaxis])[0]
        if self.space != "l2":
            constant = np.float32(1 - row @ self.centre)
            return constant - self.products(row), float(np.linalg.norm(row))
        moved = row - self.centre
        length = float(np.linalg.norm(moved))
        return np.float32(length**2) + self.squares - 2 * self.products(moved), 2 * length


class SealedSigns:
    """The signs of one segment, mapped."""

    # Candidates asked for at first, and at most.
    first, most = 256, 2_048

    def __init__(self, blocks: Blocks) -> None:
        """Raises CacheDamaged when the file does not hold what its header says."""
        arrays = [blocks.array(name) for name in ("signs", "squares", "scales", "centre")]
        self._signs = _Signs(blocks.values["space"], *arrays)
        self._spread = float(blocks.values["spread"])
        if not arrays[0].shape[1] == len(arrays[1]) == len(arrays[2]):
            raise CacheDamaged("signs and lengths differ in number")

    def __len__(self) -> int:
        return len(self._signs.squares)

    def candidates(
        self, query: NDArray[np.float32], count: int, allowed: Mask | None
    ) -> Candidates:
        """The `count` best slots by their signs, among the allowed ones."""
        with np.errstate(over="ignore", invalid="ignore"):
            estimates, length = self._signs.estimates(query)
        slots = np.arange(len(self)) if allowed is None else np.flatnonzero(allowed)
        estimates = estimates[slots]
        if len(slots) > count:
            best = np.argpartition(estimates, count - 1)[:count]
            slots, estimates = slots[best], estimates[best]
        order = np.argsort(estimates)
        return Candidates(slots[order], estimates[order], self._spread * length)
