"""The nearest slots: the tail exactly, the segments by their codes and then exactly.

Codes give an estimate of each distance. The best candidates are measured on the stored vectors,
which also tells how far off the estimates are for this query; more candidates are asked for until
the worst of them could not have been among the k nearest. A query for which that does not happen
soon, because many records are about equally near, is answered by measuring all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from vermilion.local.index.base import Mask, Slots, distances
from vermilion.local.index.vectors import Nearest
from vermilion.local.indexer import Moment
from vermilion.types import USUAL, Course, Effort, Space, pages

# So few records of the segments are measured at once: 400 vectors are read in 0.5 ms.
EXACT = 400
# Candidates asked for at first; then four times as many, up to MOST (or 8 k), then all.
FIRST = 32
GROWTH = 4
MOST = 2_048
# A segment of which this share is allowed is scanned without a mask, which takes half the time, and
# what is not allowed is dropped afterwards.
UNMASKED = 0.9
# Vectors read from the store at a time.
MEASURE_ROWS = 8_192
# How many standard deviations the estimates may be off before a neighbour is missed, when 99 of 100
# are aimed at: measured recall is .996 to 1.000 (with other recalls the quantile moves along).
SIGMAS = 3.0


@dataclass(frozen=True)
class Wish:
    """What a search is asked for; `floor` is the least number of candidates."""

    space: Space
    k: int
    effort: Effort = USUAL
    floor: int = FIRST

    @property
    def sigmas(self) -> float:
        """How many standard deviations to allow for."""
        normal = NormalDist()
        recall = min(max(self.effort.recall, 0.01), 0.999_999)
        return max(0.0, SIGMAS + normal.inv_cdf(recall) - normal.inv_cdf(0.99))


@dataclass(frozen=True)
class Found:
    """The answer to one query, and how it was found."""

    nearest: Nearest
    course: Course


def search(moment: Moment, wish: Wish, queries: NDArray[np.float32], allowed: Mask) -> list[Found]:
    """For each query the k nearest of the allowed slots, by distance, then by key."""
    if moment.vectors is None:
        return [Found(_NOTHING, Course("nothing", 0)) for _ in queries]
    sealed = moment.view.table.sealed
    tail = sealed + np.flatnonzero(allowed[sealed:])
    found = moment.vectors.search(queries, wish.k, tail, moment.view.keys[tail])
    inside = allowed[:sealed]
    if not inside.any():
        return [Found(one, Course("exact", len(tail))) for one in found]
    segments = _Sealed(moment, wish, inside)
    return [
        _joined(moment, wish.k, one, len(tail), segments.search(query))
        for query, one in zip(queries, found, strict=True)
    ]


_NOTHING = Nearest(np.empty(0, np.int64), np.empty(0, np.float32))


def _joined(moment: Moment, k: int, tail: Nearest, measured: int, sealed: Found) -> Found:
    course = replace(sealed.course, measured=sealed.course.measured + measured)
    return Found(_best(moment, k, tail, sealed.nearest), course)


def _best(moment: Moment, k: int, *parts: Nearest) -> Nearest:
    slots = np.concatenate([part.slots for part in parts])
    measured = np.concatenate([part.distances for part in parts])
    order = np.lexsort((moment.view.keys[slots], measured))[:k]
    return Nearest(slots[order], measured[order])


class _Sealed:
    """The allowed slots of the segments, for all queries of one call."""

    def __init__(self, moment: Moment, wish: Wish, allowed: Mask) -> None:
        self._moment = moment
        self._wish = wish
        self._allowed = allowed
        self._count = int(np.count_nonzero(allowed))
        self._few: tuple[Slots, NDArray[np.float32]] | None = None
        self._masks: list[Mask | None] = []
        for base, segment in moment.segments:
            mask = allowed[base : base + len(segment)]
            unmasked = np.count_nonzero(mask) >= UNMASKED * len(mask)
            self._masks.append(None if unmasked else np.ascontiguousarray(mask))

    def search(self, query: NDArray[np.float32]) -> Found:
        """The k nearest."""
        if self._count <= max(EXACT, self._wish.k):
            return self._exactly(self._measured(query, *self._all()))
        found = None if self._wish.effort.exact else self._by_codes(query)
        return found or self._exactly(self._by_all(query))

    def _exactly(self, nearest: Nearest) -> Found:
        return Found(nearest, Course("exact", self._count))

    def _all(self) -> tuple[Slots, NDArray[np.float32]]:
        """The few allowed slots and their vectors, read once for all queries."""
        if self._few is None:
            slots = np.flatnonzero(self._allowed)
            self._few = slots, self._moment.snapshot.vectors(self._moment.view.keys[slots])
        return self._few

    def _measured(
        self, query: NDArray[np.float32], slots: Slots, vectors: NDArray[np.float32]
    ) -> Nearest:
        measured = Nearest(slots, distances(self._wish.space, vectors, query))
        return _best(self._moment, self._wish.k, measured)

    def _by_all(self, query: NDArray[np.float32]) -> Nearest:
        slots, best = np.flatnonzero(self._allowed), _NOTHING
        for page in pages(len(slots), MEASURE_ROWS):
            vectors = self._moment.snapshot.vectors(self._moment.view.keys[slots[page]])
            here = self._measured(query, slots[page], vectors)
            best = _best(self._moment, self._wish.k, best, here)
        return best

    def _by_codes(self, query: NDArray[np.float32]) -> Found | None:
        """The k nearest by way of candidates; None when they do not settle it."""
        k, count, rounds = self._wish.k, max(FIRST, self._wish.floor, 3 * self._wish.k), 0
        most = max(MOST, 8 * k, self._wish.floor)
        while count <= most:
            rounds += 1
            slots, estimates, horizon = self._candidates(query, count)
            vectors = self._moment.snapshot.vectors(self._moment.view.keys[slots])
            measured = distances(self._wish.space, vectors, query)
            best = _best(self._moment, k, Nearest(slots, measured))
            error = _error(estimates - measured, self._wish.sigmas)
            enough = len(best.slots) == k and horizon - error > best.distances[-1]
            if enough or horizon == np.inf:
                return Found(best, Course("codes", len(slots), rounds, error))
            count *= GROWTH
        return None

    def _candidates(
        self, query: NDArray[np.float32], count: int
    ) -> tuple[Slots, NDArray[np.float32], float]:
        """The best of every segment, and the estimate beyond which nothing was looked at."""
        slots, estimates, horizon = [], [], np.inf
        for (base, segment), mask in zip(self._moment.segments, self._masks, strict=True):
            if mask is not None and not mask.any():
                continue
            assert segment.vectors is not None, "the vectors were not asked for"
            found = segment.vectors.candidates(query, count, mask)
            kept = self._allowed[base + found.slots]
            slots.append(base + found.slots[kept])
            estimates.append(found.estimates[kept])
            if len(found.slots) == count:
                horizon = min(horizon, float(found.estimates[-1]))
        return np.concatenate(slots), np.concatenate(estimates), horizon


def _error(off: NDArray[np.float32], sigmas: float) -> float:
    """How much too far away an estimate may put a record, judged by those that were measured."""
    return max(0.0, float(off.mean() + sigmas * off.std())) if len(off) else 0.0
