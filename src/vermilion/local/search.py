"""The nearest slots: the tail exactly, the segments by their codes and then exactly.

Codes give an estimate of each distance. The best candidates are measured on the stored vectors,
which also tells how far off the estimates are for this query; more candidates are asked for until
the worst of them could not have been among the k nearest. A query for which that does not happen
soon, because many records are about equally near, is answered by measuring all of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vermilion.local.index.base import Mask, Slots, distances
from vermilion.local.index.vectors import Nearest
from vermilion.local.indexer import Moment
from vermilion.types import Space, pages

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
# How many standard deviations the estimates may be off before a neighbour is missed.
SIGMAS = 3.0


def nearest(
    moment: Moment, space: Space, queries: NDArray[np.float32], k: int, allowed: Mask
) -> list[Nearest]:
    """For each query the k nearest of the allowed slots, by distance, then by key."""
    if moment.vectors is None:
        return [_NOTHING for _ in queries]
    sealed = moment.view.table.sealed
    tail = sealed + np.flatnonzero(allowed[sealed:])
    found = moment.vectors.search(queries, k, tail, moment.view.keys[tail])
    inside = allowed[:sealed]
    count = int(np.count_nonzero(inside))
    if not count:
        return found
    search = _Sealed(moment, space, inside, count, k)
    return [
        _best(moment, k, one, search.nearest(query))
        for query, one in zip(queries, found, strict=True)
    ]


_NOTHING = Nearest(np.empty(0, np.int64), np.empty(0, np.float32))


def _best(moment: Moment, k: int, *parts: Nearest) -> Nearest:
    slots = np.concatenate([part.slots for part in parts])
    measured = np.concatenate([part.distances for part in parts])
    order = np.lexsort((moment.view.keys[slots], measured))[:k]
    return Nearest(slots[order], measured[order])


class _Sealed:
    """The allowed slots of the segments, for all queries of one call."""

    def __init__(self, moment: Moment, space: Space, allowed: Mask, count: int, k: int) -> None:
        self._moment = moment
        self._space = space
        self._allowed = allowed
        self._count = count
        self._k = k
        self._few: tuple[Slots, NDArray[np.float32]] | None = None
        self._masks: list[Mask | None] = []
        for base, segment in moment.segments:
            mask = allowed[base : base + len(segment)]
            unmasked = np.count_nonzero(mask) >= UNMASKED * len(mask)
            self._masks.append(None if unmasked else np.ascontiguousarray(mask))

    def nearest(self, query: NDArray[np.float32]) -> Nearest:
        """The k nearest."""
        if self._count <= max(EXACT, self._k):
            return self._measured(query, *self._all())
        return self._by_codes(query) or self._by_all(query)

    def _all(self) -> tuple[Slots, NDArray[np.float32]]:
        """The few allowed slots and their vectors, read once for all queries."""
        if self._few is None:
            slots = np.flatnonzero(self._allowed)
            self._few = slots, self._moment.snapshot.vectors(self._moment.view.keys[slots])
        return self._few

    def _measured(
        self, query: NDArray[np.float32], slots: Slots, vectors: NDArray[np.float32]
    ) -> Nearest:
        return _best(self._moment, self._k, Nearest(slots, distances(self._space, vectors, query)))

    def _by_all(self, query: NDArray[np.float32]) -> Nearest:
        slots, best = np.flatnonzero(self._allowed), _NOTHING
        for page in pages(len(slots), MEASURE_ROWS):
            vectors = self._moment.snapshot.vectors(self._moment.view.keys[slots[page]])
            best = _best(self._moment, self._k, best, self._measured(query, slots[page], vectors))
        return best

    def _by_codes(self, query: NDArray[np.float32]) -> Nearest | None:
        """The k nearest by way of candidates; None when they do not settle it."""
        count = max(FIRST, 3 * self._k)
        while count <= max(MOST, 8 * self._k):
            slots, estimates, horizon = self._candidates(query, count)
            vectors = self._moment.snapshot.vectors(self._moment.view.keys[slots])
            measured = distances(self._space, vectors, query)
            best = _best(self._moment, self._k, Nearest(slots, measured))
            error = _error(estimates - measured)
            enough = len(best.slots) == self._k and horizon - error > best.distances[-1]
            if enough or horizon == np.inf:
                return best
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


def _error(off: NDArray[np.float32]) -> float:
    """How much too far away an estimate may put a record, judged by those that were measured."""
    return max(0.0, float(off.mean() + SIGMAS * off.std())) if len(off) else 0.0
