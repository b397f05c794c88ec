"""The nearest slots: the tail exactly, the segments by their codes and then exactly.

Codes give an estimate of each distance. The best candidates are measured on the stored vectors,
which also tells how far off the estimates are for this query; more candidates are asked for until
the worst of them could not have been among the k nearest. A query for which that does not happen
soon, because many records are about equally near, is answered by measuring all of them.

Where a filter is not settled until documents are read, they are read in order of distance, until k
are found that match.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vermilion.local.index.base import Mask, Slots, distances
from vermilion.local.index.vectors import Nearest
from vermilion.local.indexer import Moment
from vermilion.local.matches import Matches
from vermilion.local.segment import Segment
from vermilion.types import USUAL, Course, Effort, Space, pages

# So few records of the segments are measured at once: 400 vectors are read in 0.5 ms.
EXACT = 400
# So few unsure slots are settled at once: their documents are read in 0.2 ms.
SETTLED = 256
# Candidates asked for at first; then four times as many, up to MOST (or 8 k), then all.
FIRST = 32
GROWTH = 4
MOST = 2_048
# A segment of which this share is allowed is scanned without a mask, for as many more candidates,
# and what is not allowed is dropped afterwards. On 100,000 rows a masked scan takes 0.2 to 0.3 ms
# longer, and every candidate 1.5 µs.
UNMASKED = 0.25
# So many candidates of each segment are measured at least, to tell how far off its estimates are.
TELLING = 8
# Vectors read from the store at a time.
MEASURE_ROWS = 8_192
# How many standard deviations the estimates may be off before a neighbour is missed, when so much
# recall is aimed at: .999 to 1.000 is measured (with other recalls the quantile moves along).
SIGMAS, AIM = 3.0, 0.99


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
        if self.effort.recall == AIM:
            return SIGMAS
        from statistics import NormalDist  # takes 3 ms

        normal = NormalDist()
        recall = min(max(self.effort.recall, 0.01), 0.999_999)
        return max(0.0, SIGMAS + normal.inv_cdf(recall) - normal.inv_cdf(AIM))


@dataclass(frozen=True)
class Found:
    """The answer to one query, and how it was found."""

    nearest: Nearest
    course: Course


def search(
    moment: Moment, wish: Wish, queries: NDArray[np.float32], matches: Matches
) -> list[Found]:
    """For each query the k nearest of the slots that match, by distance, then by key."""
    if moment.vectors is None:
        return [Found(_NOTHING, Course("nothing", 0)) for _ in queries]
    if wish.effort.exact or matches.unsure <= SETTLED:
        matches.settle()
    sealed = moment.view.table.sealed
    tail = sealed + np.flatnonzero(matches.possible[sealed:])
    found = _in_tail(moment, wish.k, queries, tail, matches)
    if not matches.possible[:sealed].any():
        return [Found(one, Course("exact", len(tail))) for one in found]
    segments = _Sealed(moment, wish, matches)
    return [
        _joined(moment, wish.k, one, len(tail), segments.search(query))
        for query, one in zip(queries, found, strict=True)
    ]


def _in_tail(
    moment: Moment, k: int, queries: NDArray[np.float32], slots: Slots, matches: Matches
) -> list[Nearest]:
    """For each query the k nearest of these slots of the tail that match."""
    assert moment.vectors is not None, "the vectors were not asked for"
    if not matches.unsure:
        return moment.vectors.search(queries, k, slots, moment.view.keys[slots])
    return [_settling(moment, k, query, slots, matches) for query in queries]


def _settling(
    moment: Moment, k: int, query: NDArray[np.float32], slots: Slots, matches: Matches
) -> Nearest:
    """The same for one query, reading the documents of the nearest slots."""
    assert moment.vectors is not None, "the vectors were not asked for"
    count = GROWTH * k
    while count < min(len(slots), MOST):
        [found] = moment.vectors.search(query[np.newaxis], count, slots, moment.view.keys[slots])
        first = matches.first(found.slots, k)
        if len(first) == k:
            return Nearest(found.slots[first], found.distances[first])
        count *= GROWTH
    slots = slots[matches.kept(slots)]
    return moment.vectors.search(query[np.newaxis], k, slots, moment.view.keys[slots])[0]


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
    """The slots of the segments that may match, for all queries of one call."""

    def __init__(self, moment: Moment, wish: Wish, matches: Matches) -> None:
        self._moment = moment
        self._wish = wish
        self._matches = matches
        self._look()

    def _look(self) -> None:
        """Takes in which slots may match by now."""
        self._allowed = self._matches.possible[: self._moment.view.table.sealed]
        self._count = int(np.count_nonzero(self._allowed))
        self._few: tuple[Slots, NDArray[np.float32]] | None = None
        self._parts: list[_Part] = []
        for base, segment in self._moment.segments:
            mask = self._allowed[base : base + len(segment)]
            allowed = int(np.count_nonzero(mask))
            if allowed:
                self._parts.append(_Part(base, segment, mask, allowed / len(segment)))

    def search(self, query: NDArray[np.float32]) -> Found:
        """The k nearest."""
        if self._matches.unsure:
            found = self._by_codes(query)
            if found is not None:
                return found
            self._matches.settle()
            self._look()
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
        k, rounds = self._wish.k, 0
        least = max(part.segment.scanned.first for part in self._parts)
        count = max(least, self._wish.floor, 3 * k)
        most = max(MOST, 8 * k, self._wish.floor)
        while count <= most:
            rounds += 1
            seen = self._candidates(query, count)
            slots = np.concatenate([one.slots for one in seen])
            vectors = self._moment.snapshot.vectors(self._moment.view.keys[slots])
            measured = distances(self._wish.space, vectors, query)
            best = self._best_matches(Nearest(slots, measured))
            error, reach = _reach(seen, measured, self._wish.sigmas)
            enough = len(best.slots) == k and reach > best.distances[-1]
            if enough or all(one.horizon == np.inf for one in seen):
                return Found(best, Course("codes", len(slots), rounds, error))
            count *= GROWTH
        for part in self._parts:
            part.segment.doubt_signs()
        return None

    def _best_matches(self, found: Nearest) -> Nearest:
        """The k nearest of these that match."""
        k = self._wish.k
        if not self._matches.unsure:
            return _best(self._moment, k, found)
        ordered = _best(self._moment, len(found.slots), found)
        first = self._matches.first(ordered.slots, k)
        return Nearest(ordered.slots[first], ordered.distances[first])

    def _candidates(self, query: NDArray[np.float32], count: int) -> list[_Seen]:
        """The best of all segments, but of each so many that they tell how far off it is."""
        seen = [part.candidates(query, count) for part in self._parts]
        if len(seen) > 1:
            estimates = np.concatenate([one.estimates for one in seen])
            if len(estimates) > count:
                last = np.partition(estimates, count)[count]
                seen = [one.up_to(last) for one in seen]
        return seen


@dataclass(frozen=True)
class _Seen:
    """Candidates of one segment, best first, and the estimate from which on none was looked at.

    `spread` is the least standard deviation to reckon with.
    """

    slots: Slots
    estimates: NDArray[np.float32]
    horizon: float
    spread: float

    def up_to(self, estimate: float) -> _Seen:
        """Those that are better than this, and the first few in any case."""
        end = max(int(np.searchsorted(self.estimates, estimate)), TELLING)
        if end >= len(self.slots):
            return self
        horizon = float(self.estimates[end])
        return _Seen(self.slots[:end], self.estimates[:end], horizon, self.spread)


@dataclass(frozen=True)
class _Part:
    """A segment, and which of its slots are allowed."""

    base: int
    segment: Segment
    mask: Mask
    share: float

    def candidates(self, query: NDArray[np.float32], count: int) -> _Seen:
        """About the `count` best of them."""
        scanned = self.segment.scanned
        masked = self.share < UNMASKED
        asked = count if masked else int(count / self.share)
        found = scanned.candidates(query, asked, self.mask if masked else None)
        horizon = np.inf if len(found.slots) < asked else float(found.estimates[-1])
        kept = self.mask[found.slots]
        return _Seen(self.base + found.slots[kept], found.estimates[kept], horizon, found.spread)


def _reach(seen: list[_Seen], measured: NDArray[np.float32], sigmas: float) -> tuple[float, float]:
    """How far off estimates may be, and how near a record that was not looked at may be."""
    start, worst, reach = 0, 0.0, np.inf
    for one in seen:
        end = start + len(one.slots)
        error = _error(one.estimates - measured[start:end], one.spread, sigmas)
        worst, reach, start = max(worst, error), min(reach, one.horizon - error), end
    return worst, reach


def _error(off: NDArray[np.float32], spread: float, sigmas: float) -> float:
    """How much too far away an estimate may put a record, judged by those that were measured.

    About zero, not about their mean: candidates are those whose estimates are low, so that their
    mean tells of the choice, not of the records that were passed over. Of few, the deviation is
    taken for larger than it looks.
    """
    if len(off) < 3:
        return np.inf
    deviation = np.sqrt(np.square(off).sum() / (len(off) - 2))
    return sigmas * max(spread, float(deviation))
