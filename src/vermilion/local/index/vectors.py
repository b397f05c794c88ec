"""The flat vector index: every vector as float32, searched exactly.

A matrix product gives each row a score with a known rounding error; all rows that could still be
among the k nearest are then measured by `distances`. So the answer is the exact one, and its
digits do not depend on how it was found.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vermilion.local.index.base import TINY, Change, Growable, Mask, Slots, distances, squares
from vermilion.local.snapshot import Keys, Snapshot
from vermilion.types import Space, pages

# Rows read from the store at a time while the index is loaded.
LOAD_ROWS = 8_192
# Scores held at a time while a batch of queries is answered: 64 MB.
SCORES = 16_000_000
# So few rows are measured at once instead of scored first.
MEASURE_ROWS = 256
# Up to so many queries are multiplied one by one.
FEW_QUERIES = 2
# More are made a multiple of so many: kernels for Haswell take longer for three than for four.
TOGETHER = 4
# Up to so many in pieces: those that are asked at the same time by several callers.
SOME_QUERIES = 32
# So many multiplications OpenBLAS does in one thread; with fewer rows a piece is not worth it.
ONE_THREAD, LEAST_PIECE = 2**18, 16
# Outside of these lengths of vectors a score is not precise; then all rows are measured.
MIN_LENGTH, MAX_LENGTH = 1e-15, 1e15


class Nearest(NamedTuple):
    """The answer to one query: slots and their distances, nearest first."""

    slots: Slots
    distances: NDArray[np.float32]


class FlatVectors:
    """Vectors of the slots from `base` on."""

    def __init__(self, space: Space, dimension: int, base: int = 0) -> None:
        self._space = space
        self._base = base
        self.dimension = dimension
        self._rows = Growable(np.float32, dimension)
        self._squares = Growable(np.float32)

    def apply(self, change: Change, snapshot: Snapshot) -> None:
        """Reads the new vectors; those that were kept are copied from the slot before."""
        for page in pages(len(change.keys), LOAD_ROWS):
            kept = change.vector_kept[page] & (change.replaces[page] >= self._base)
            rows = np.empty((len(kept), self.dimension), np.float32)
            rows[kept] = self._rows.array()[change.replaces[page][kept] - self._base]
            rows[~kept] = snapshot.vectors(change.keys[page][~kept])
            self._rows.append(rows)
            self._squares.append(squares(rows))

    def search(
        self, queries: NDArray[np.float32], k: int, slots: Slots, keys: Keys
    ) -> list[Nearest]:
        """For each query the k nearest of these slots, by distance, then key.

        `keys` are the keys of the slots. Fewer than k come back when there are fewer slots.
        """
        if not len(slots):
            return [Nearest(slots, np.empty(0, np.float32)) for _ in queries]
        places = slots - self._base
        last = int(places[-1]) + 1
        everything = len(places) == last
        rows = self._rows.array(last) if everything else self._rows.array()[places]
        lengths = self._squares.array(last) if everything else self._squares.array()[places]
        scan = Scan(self._space, rows, lengths, keys)
        found: list[Nearest] = []
        for page in pages(len(queries), max(1, SCORES // len(rows))):
            for hits, measured in scan.nearest(queries[page], k):
                found.append(Nearest(slots[hits], measured))
        return found


class Scan(NamedTuple):
    """Rows side by side with what is known of each: searched exactly."""

    space: Space
    rows: NDArray[np.float32]
    squares: NDArray[np.float32]
    keys: Keys

    @classmethod
    def of(cls, space: Space, rows: NDArray[np.float32], keys: Keys) -> Scan:
        """These rows, with the keys of their records."""
        return cls(space, rows, squares(rows), keys)

    def only(self, kept: Mask) -> Scan:
        """Some of the rows."""
        return Scan(self.space, self.rows[kept], self.squares[kept], self.keys[kept])

    @property
    def bytes(self) -> int:
        """What they take in memory."""
        return self.rows.nbytes + self.squares.nbytes + self.keys.nbytes

    def nearest(
        self, queries: NDArray[np.float32], k: int
    ) -> list[tuple[Slots, NDArray[np.float32]]]:
        """For each query the places of the k nearest rows, and their distances."""
        longest = float(np.sqrt(self.squares.max()))
        query_lengths = np.sqrt(squares(queries))
        lengths = np.append(query_lengths, longest)
        few = len(self.rows) <= max(k, MEASURE_ROWS)
        if few or not (lengths.min() > MIN_LENGTH and lengths.max() < MAX_LENGTH):
            return [self._measure(query, np.arange(len(self.rows)), k) for query in queries]
        vague = self.squares <= TINY if self.space == "cosine" else None
        scores = self._scores(queries, vague)
        margins = self._margin(longest, query_lengths)
        sure = k + (0 if vague is None else int(np.count_nonzero(vague)))
        return [
            self._measure(query, _contenders(row, sure, margin), k)
            for query, row, margin in zip(queries, scores, margins, strict=True)
        ]

    def _scores(
        self, queries: NDArray[np.float32], vague: NDArray[np.bool_] | None
    ) -> NDArray[np.float32]:
        """About the distances, shape (queries, rows), up to what does not change the order.

        Vague rows, too short to have a direction in float32, score as if they were nearest.
        """
        dots = self._dots(queries)
        if self.space == "ip":
            return -dots
        if self.space == "l2":
            dots *= np.float32(-2)
            dots += self.squares
            return dots
        with np.errstate(divide="ignore", invalid="ignore"):
            dots /= -np.sqrt(self.squares)
        dots[:, vague] = -np.inf
        return dots

    def _dots(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """The dot products, shape (queries, rows).

        A product with one query is bound by memory: one thread is as fast as BLAS with two, and
        does not make them wait for each other when the processors are busy (0.3 against 10 ms).
        With some queries at once it is made in pieces for which BLAS starts no threads: they go on
        spinning for 10 ms after they have saved a fraction of one.
        """
        if len(queries) > SOME_QUERIES:
            return queries @ self.rows.T
        if len(queries) <= FEW_QUERIES:
            return self._dots_apart(queries)
        wide = np.pad(queries, ((0, -len(queries) % TOGETHER), (0, 0)))
        piece = ONE_THREAD // wide.size
        if piece < LEAST_PIECE:
            return self._dots_apart(queries)
        dots = np.empty((len(wide), len(self.rows)), np.float32)
        for page in pages(len(self.rows), piece):
            np.matmul(wide, self.rows[page].T, out=dots[:, page])
        return dots[: len(queries)]

    def _dots_apart(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.stack([np.vecdot(self.rows, query) for query in queries])

    def _margin(self, longest: float, query_lengths: NDArray[np.float32]) -> NDArray[np.float64]:
        """How far two scores may be from the truth together.

        A float32 dot product of d terms is off by at most d·2⁻²⁴·|a||b| (Higham, Accuracy and
        Stability of Numerical Algorithms, 3.1), and so is the distance it is compared with. Small
        dot products are rounded once more when they are taken from 1, so that rows may be equally
        far whose scores are not equal.
        """
        unit = 4 * (self.rows.shape[1] + 8) * 2.0**-24
        if self.space == "l2":
            return np.asarray(unit * (longest + query_lengths.astype(np.float64)) ** 2)
        if self.space == "cosine":
            return np.asarray(unit * query_lengths.astype(np.float64))
        return np.asarray(unit * longest * query_lengths.astype(np.float64) + 2.0**-22)

    def _measure(
        self, query: NDArray[np.float32], places: Slots, k: int
    ) -> tuple[Slots, NDArray[np.float32]]:
        rows = self.rows if len(places) == len(self.rows) else self.rows[places]
        measured = distances(self.space, rows, query)
        order = np.lexsort((self.keys[places], measured))[:k]
        return places[order], measured[order]


def _contenders(scores: NDArray[np.float32], k: int, margin: float) -> Slots:
    """Where a score is so low that the row may be one of the k nearest."""
    if k >= len(scores):
        return np.arange(len(scores))
    kth = float(np.partition(scores, k - 1)[k - 1])
    return np.flatnonzero(scores <= kth + margin)
