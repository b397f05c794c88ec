"""The vectors of a sealed segment as one bit a coordinate: what a single query is sifted by.

Signs are read as they lie in the file, so a process need not load anything first: loading the 4-bit
codes takes a tenth of a second of processor time. And where the processor scans codes slowly, a
single query takes less than half the processor time by signs: see `processor`.

A row is estimated as the signs of its coordinates, less those of the mean, times one number that
makes the estimate of its product with itself exact (Gao and Long, RaBitQ, 2024, without the
rotation). That goes in two steps. First the signs of all rows are compared with those of the query,
which takes a word for 64 coordinates: 0.6 ms for 100,000 rows of 384 dimensions. Then the products
of those that differ in few are estimated with the query as it is.

Signs are a far coarser estimate than codes are, so more candidates have to be measured, unless the
file holds levels as well: then the second step is as good as codes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vermilion.local.blocks import Blocks, CacheDamaged
from vermilion.local.index import processor
from vermilion.local.index.base import Mask, Slots
from vermilion.local.index.levels import PAGE, Levels
from vermilion.local.index.sealed_vectors import Candidates, Rows, SealedVectors, directed
from vermilion.types import Space, pages

# Rows compared at a time: what is in between fits the processor's cache.
ROWS = 16_384
# Words whose bits a byte can count: 3 · 64 is less than 256.
BYTE_WORDS = 3
# For every candidate that is wanted so many are taken on to the second step, where it knows levels
# and where it knows signs only.
SIFTED, SIFTED_BY_SIGNS = 16, 4
# Segments with more coordinates have no levels: all of them are in memory while they are made.
LEVELS_MOST = 2**28
# Of so many rows the place of the cut between them and the others is guessed.
SAMPLED = 4_096
# A smaller share of the rows than this is looked up one by one, and a larger one with the others.
APART = 0.125
# How many standard deviations the first step may be off. Its errors are sums over all coordinates,
# so that few are larger: recall stays at .999 with it.
SIGMAS = 2.0
# So many of them does a search allow for.
USUAL = 3.0
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
        small = rows * len(centre) <= LEVELS_MOST
        levels = small and not processor.scans_codes_fast()
        self._levels = Levels.empty(rows, len(centre)) if levels else None
        self._done = 0

    def add(self, rows: NDArray[np.float32]) -> None:
        """Takes the rows that follow, for cosine their directions."""
        signs, page = self._signs, self._next(len(rows))
        with np.errstate(over="ignore", invalid="ignore"):  # such a spread is never good enough
            moved = rows - signs.centre
            signs.signs[:, page] = _packed(moved > 0).T
            signs.squares[page] = np.einsum("ij,ij->i", moved, moved)
            if self._levels is not None:
                self._levels.put(page, moved)
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
        if "levels" not in blocks:
            self._levels = None
        elif self._levels is not None:
            self._levels.levels[page] = blocks.array("levels")
            self._levels.steps[page] = blocks.array("steps")

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
        if self._levels is not None:
            blocks |= self._levels._asdict()
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
        positive = np.empty(len(self.scales), np.float32)
        for page in pages(len(positive), PAGE):
            rows = np.ascontiguousarray(self.signs[:, page].T).view(np.uint8)
            bits = np.unpackbits(rows, axis=1, count=len(query), bitorder="little")
            # Not by a matrix product, which may wake other threads for so little.
            positive[page] = np.vecdot(bits.astype(np.float32), query)
        positive *= 2
        positive -= query.sum()
        positive *= self.scales
        return positive

    def differing(self, signs: Words) -> NDArray[np.uint16]:
        """In how many coordinates the sign of each row is another than these."""
        rows = len(self.scales)
        total = np.zeros(rows, np.uint16)
        # Used for every page: to have new memory each time takes longer than to count.
        space = np.empty(min(rows, ROWS), np.uint64)
        here, sums = np.empty(len(space), np.uint8), np.empty(len(space), np.uint8)
        for page in pages(rows, ROWS):
            parts = self.signs[:, page]
            words, counts, some = (one[: parts.shape[1]] for one in (space, here, sums))
            for word, (part, sign) in enumerate(zip(parts, signs, strict=True)):
                np.bitwise_xor(part, sign, out=words)
                if word % BYTE_WORDS == 0:
                    np.bitwise_count(words, out=some)
                else:
                    np.bitwise_count(words, out=counts)
                    np.add(some, counts, out=some)
                if word % BYTE_WORDS == BYTE_WORDS - 1 or word == len(signs) - 1:
                    total[page] += some
        return total

    def asked(self, query: NDArray[np.float32]) -> _Asked:
        """A query as estimates need it.

        The rows of cosine are of length 1, where the distance is half the squared Euclidean one:
        that way it is not only the rows that are measured from the mean.
        """
        row = directed(self.space, query[np.newaxis])[0]
        if self.space == "ip":
            return _Asked(row, float(1 - row @ self.centre), 0.0, 1.0)
        moved = row - self.centre
        square = float(moved @ moved)
        if self.space == "l2":
            return _Asked(moved, square, 1.0, 2.0)
        return _Asked(moved, square / 2, 0.5, 1.0)

    def rough_estimates(self, asked: _Asked) -> NDArray[np.float32]:
        """About the distance of each row by the signs of the query, as if it were one of them."""
        products = self.differing(_packed(asked.row[np.newaxis] > 0)[0]).astype(np.float32)
        np.subtract(len(asked.row) / 2, products, out=products)
        products *= self.scales
        products *= 2 * asked.scale
        return asked.distances(products, self.squares)


class _Asked(NamedTuple):
    """A query: a distance is about `constant + square * |x|² - product * (x · row)`."""

    row: NDArray[np.float32]
    constant: float
    square: float
    product: float

    def distances(
        self, products: NDArray[np.float32], squares: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """From products to distances; what is handed in is used up."""
        products *= np.float32(-self.product)
        if self.square:
            products += np.float32(self.square) * squares
        products += np.float32(self.constant)
        return products

    @property
    def length(self) -> float:
        """What the error of an estimate grows with."""
        return self.product * float(np.linalg.norm(self.row))

    @property
    def scale(self) -> float:
        """That of a sign of the query, such that its product with itself is exact."""
        spans = float(np.abs(self.row).sum())
        return float(self.row @ self.row) / spans if spans > 0 else 0.0

    def roughness(self, scale: float) -> float:
        """The standard deviation that its signs add, among rows whose signs count for `scale`."""
        square = float(self.row @ self.row)
        beside = max(0.0, len(self.row) * self.scale**2 - square)
        return self.product * scale * float(np.sqrt(beside))


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
        self._levels: Levels | None = None
        if "levels" in blocks:
            self._levels = Levels(blocks.array("levels"), blocks.array("steps"))
            if not len(self) == len(self._levels.levels) == len(self._levels.steps):
                raise CacheDamaged("signs and levels differ in number")
            self.first = SealedVectors.first  # for estimates that are as good

    def __len__(self) -> int:
        return len(self._signs.squares)

    def candidates(
        self, query: NDArray[np.float32], count: int, allowed: Mask | None
    ) -> Candidates:
        """The `count` best slots by their signs, among the allowed ones."""
        levels = self._levels
        with np.errstate(over="ignore", invalid="ignore"):
            asked = self._signs.asked(query)
            known = self._spread * asked.length
            sifted = count * (SIFTED_BY_SIGNS if levels is None else SIFTED)
            slots, cut, roughness = self._sifted(asked, sifted, allowed)
            if levels is None:
                some = self._signs.only(slots)
                products, squares, spread = some.products(asked.row), some.squares, known
            else:
                products, squares = levels.products(slots, asked.row), self._signs.squares[slots]
                spread = asked.length * levels.spread(slots)
            estimates = asked.distances(products, squares)
        order = np.argsort(estimates)[:count]
        # Who looks at the horizon allows for the spread that is told.
        horizon = cut - max(0.0, SIGMAS * float(np.hypot(known, roughness)) - USUAL * spread)
        if len(slots) > count:
            horizon = min(horizon, float(estimates[order[-1]]))
        return Candidates(slots[order], estimates[order], horizon, spread)

    def _sifted(
        self, asked: _Asked, count: int, allowed: Mask | None
    ) -> tuple[Slots, float, float]:
        """About the `count` best by a rough estimate, that of the next one, and how rough it is."""
        slots: Slots | None = None  # all of them
        if allowed is not None and np.count_nonzero(allowed) < max(APART * len(self), 2 * count):
            slots, allowed = np.flatnonzero(allowed), None
        rows = len(self) if slots is None else len(slots)
        if rows <= 2 * count:
            return np.arange(rows) if slots is None else slots, np.inf, 0.0
        signs = self._signs if slots is None else self._signs.only(slots)
        rough = signs.rough_estimates(asked)
        if allowed is not None:
            rough[~allowed] = np.inf
        places, cut = _lowest(rough, count)
        roughness = asked.roughness(float(signs.scales[places].mean()))
        return places if slots is None else slots[places], cut, roughness


def _lowest(values: NDArray[np.float32], count: int) -> tuple[Slots, float]:
    """The places of about `count` of the lowest values, and the next value.

    There are more values than that.
    """
    step = len(values) // SAMPLED
    if step > 1:
        rank = count // step + 1
        cut = np.partition(values[::step], rank)[rank]
        places = np.flatnonzero(values < cut)
        if count <= 2 * len(places) <= 4 * count:
            return places, float(cut)
    places = np.argpartition(values, count)
    return places[:count], float(values[places[count]])
