"""The nearest slots: the tail exactly, the segments by their codes and then exactly.

Codes give an estimate of each distance. The best candidates are measured on the stored vectors,
which also tells how far off the estimates are for this query; more candidates are asked for until
the worst of them could not have been among the k nearest. A query for which that does not happen
soon, because many records are about equally near, is answered by measuring all of them.

Where a filter is not settled until documents are read, they are read in order of distance, until k
are found that match.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vermilion.local.filter_cache import Apart, KnownFilter
from vermilion.local.index.base import Mask, Slots, distances
from vermilion.local.index.graph import SealedGraph, Trust, is_quicker
from vermilion.local.index.sealed_vectors import Ahead, Scanner, SealedVectors
from vermilion.local.index.vectors import Nearest, Scan
from vermilion.local.indexer import Moment
from vermilion.local.matches import Matches
from vermilion.local.segment import Segment
from vermilion.types import USUAL, Course, Effort, Space, pages

# So few records of the segments are measured at once: 400 vectors are read in 0.5 ms.
EXACT = 400
# So few unsure slots are settled at once: their documents are read in 0.2 ms.
SETTLED = 256
# The vectors of a filter that comes again are kept rather than coded while they take no more: they
# are as fast to scan, and take no more memory than the codes of so few.
FEW_BYTES = 2_500_000
# So many more candidates than are wanted are measured at first: that settles three queries of four.
FEW = 6
# Candidates asked for at first; then four times as many, later eight times, then all.
FIRST = 32
GROWTH, LEAP = 4, 8
# While documents have to be read, at most so many (or 8 k).
MOST = 2_048
# So many are measured in any case. They tell how near an estimate has to be; of all that a last
# round finds, those are measured that are. To scan 100,000 codes takes 0.4 ms for 32 candidates,
# 3 ms for 4,096, 30 ms for 32,768.
SOUNDING = 512
# How much of the error is allowed for then: measuring more may show that it is larger.
AHEAD = 1.3
# A segment of which this share is allowed is scanned without a mask, for as many more candidates,
# and what is not allowed is dropped afterwards. On 100,000 rows a masked scan takes 0.2 to 0.3 ms
# longer, and every candidate 1.5 µs.
UNMASKED = 0.25
# So many candidates are asked for without a mask; more take longer than the mask does.
UNMASKED_MOST = 1_024
# If fewer are left than this share of what was hoped for, it is scanned with the mask after all.
SCARCE = 0.5
# So many candidates of each segment are measured at least, to tell how far off its estimates are.
TELLING = 8
# Of the nodes of a graph, how many have to be allowed, and of what it suggests, how much has to be
# alive: near many dead ones it misses living ones.
LED, LIVING = 0.9, 0.75
# Vectors read from the store at a time.
MEASURE_ROWS = 2_048
# How many standard deviations the estimates may be off before a neighbour is missed, when so much
# recall is aimed at: .999 to 1.000 is measured (with other recalls the quantile moves along).
SIGMAS, AIM = 3.0, 0.99


class Wish(NamedTuple):
    """What a search is asked for; `floor` is the least number of candidates.

    Without `audit` no search is spent on finding out what graphs miss.
    """

    space: Space
    k: int
    effort: Effort = USUAL
    floor: int = FIRST
    audit: bool = True

    @property
    def sigmas(self) -> float:
        """How many standard deviations to allow for."""
        if self.effort.recall == AIM:
            return SIGMAS
        from statistics import NormalDist  # takes 3 ms

        normal = NormalDist()
        recall = min(max(self.effort.recall, 0.01), 0.999_999)
        return max(0.0, SIGMAS + normal.inv_cdf(recall) - normal.inv_cdf(AIM))


class Found(NamedTuple):
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
    tail = matches.tail
    found = _in_tail(moment, wish.k, queries, tail, matches) if len(tail) else []
    if not any(matches.counts):
        nearest = found or [_NOTHING] * len(queries)
        return [Found(one, Course("exact", len(tail))) for one in nearest]
    rows = [*queries]
    segments = _Sealed(moment, wish, matches, rows)
    answers = [segments.search(query) for query in rows]
    if not found:
        return answers
    return [
        _joined(moment, wish.k, one, len(tail), answer)
        for one, answer in zip(found, answers, strict=True)
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
    course = sealed.course._replace(measured=sealed.course.measured + measured)
    return Found(_best(moment, k, tail, sealed.nearest), course)


def _best(moment: Moment, k: int, *parts: Nearest) -> Nearest:
    slots = np.concatenate([part.slots for part in parts])
    measured = np.concatenate([part.distances for part in parts])
    order = np.lexsort((moment.view.keys[slots], measured))[:k]
    return Nearest(slots[order], measured[order])


class _Sealed:
    """The slots of the segments that may match, for all queries of one call."""

    def __init__(
        self, moment: Moment, wish: Wish, matches: Matches, queries: list[NDArray[np.float32]]
    ) -> None:
        self._moment = moment
        self._queries = queries
        self._wish = wish
        self._matches = matches
        self._plan: Literal["codes", "graph"] = "codes"
        self._audits: list[tuple[Trust, _Part, Slots]] = []
        self._look()

    def _look(self) -> None:
        """Takes in which slots may match by now."""
        possible, counts = self._matches.possible, self._matches.counts
        self._count = sum(counts)
        self._few: tuple[Slots, NDArray[np.float32]] | None = None
        self._parts: list[_Part | _Apart] = []
        self._led: list[SealedGraph | None] = []
        self._scan: tuple[Slots, Scan] | None = None
        if self._matches.known is not None and self._kept_apart(self._matches.known):
            return
        for (base, segment), allowed in zip(self._moment.segments, counts, strict=True):
            if allowed:
                mask = possible[base : base + len(segment)]
                led = self._led_by(segment, allowed)
                scanned: Scanner = segment.scanned(len(self._queries))
                if led is None:
                    scanned = _ahead(scanned, self._queries)
                self._parts.append(_Part(base, segment, scanned, mask, allowed / len(segment)))
                self._led.append(led)

    def _kept_apart(self, known: KnownFilter) -> bool:
        """Whether the records of a filter that comes again are apart, be it from now on."""
        view, apart = self._moment.view, known.apart(self._moment.view)
        if apart is None:
            dimension = self._moment.snapshot.head.dimension or 0
            size = 4 * self._count * dimension
            if self._count > EXACT and size > FEW_BYTES:
                known.code(self._count, view.table.sealed, dimension)
                return False
            if not known.is_due(self._count, size):
                return False
            slots, vectors = self._all()
            scan = Scan.of(self._wish.space, vectors, view.keys[slots])
            apart = Apart(view.seq, slots, scan)
            known.keep(apart)
        if apart.scan is not None:
            self._scan = apart.slots, apart.scan
        elif apart.codes is not None:
            codes = _ahead(apart.codes, self._queries)
            self._parts.append(_Apart(apart.slots, codes, self._matches.possible))
            self._led.append(None)
        return True

    def search(self, query: NDArray[np.float32]) -> Found:
        """The k nearest."""
        if self._matches.unsure:
            found = self._by_codes(query)
            if found is not None:
                return found
            self._matches.settle()
            self._look()
        if self._scan is not None:
            return self._exactly(self._scanned(query, *self._scan))
        if self._count <= max(EXACT, self._wish.k):
            return self._exactly(self._measured(query, *self._all()))
        found = None if self._wish.effort.exact else self._by_codes(query)
        return found or self._exactly(self._by_all(query))

    def _exactly(self, nearest: Nearest) -> Found:
        return Found(nearest, Course("exact", self._count))

    def _scanned(self, query: NDArray[np.float32], slots: Slots, scan: Scan) -> Nearest:
        [(places, measured)] = scan.nearest(query[np.newaxis], self._wish.k)
        return Nearest(slots[places], measured)

    def _all(self) -> tuple[Slots, NDArray[np.float32]]:
        """The few allowed slots and their vectors, read once for all queries."""
        if self._few is None:
            slots = self._allowed()
            self._few = slots, self._moment.snapshot.vectors(self._moment.view.keys[slots])
        return self._few

    def _allowed(self) -> Slots:
        return np.flatnonzero(self._matches.possible[: self._moment.view.table.sealed])

    def _measured(
        self, query: NDArray[np.float32], slots: Slots, vectors: NDArray[np.float32]
    ) -> Nearest:
        measured = Nearest(slots, distances(self._wish.space, vectors, query))
        return _best(self._moment, self._wish.k, measured)

    def _by_all(self, query: NDArray[np.float32]) -> Nearest:
        slots, best = self._allowed(), _NOTHING
        for page in pages(len(slots), MEASURE_ROWS):
            vectors = self._moment.snapshot.vectors(self._moment.view.keys[slots[page]])
            here = self._measured(query, slots[page], vectors)
            best = _best(self._moment, self._wish.k, best, here)
        return best

    def _by_codes(self, query: NDArray[np.float32]) -> Found | None:
        """The k nearest by way of candidates; None when they do not settle it."""
        k, rounds, wanted = self._wish.k, 0, np.inf
        scanned = [part.scanned for part in self._parts]
        count = max(max(one.first for one in scanned), self._wish.floor, 3 * k)
        most = MOST if self._matches.unsure else min(one.most for one in scanned)
        most = max(most, 8 * k, self._wish.floor)
        while True:
            rounds += 1
            seen = self._candidates(query, count)
            if count > SOUNDING:
                seen = [one.up_to(wanted) for one in seen]
            for some in self._portions(seen, rounds):
                best, measured, error, settled = self._judged(query, some)
                if settled:
                    self._report(query, best)
                    return Found(best, Course(self._plan, measured, rounds, error))
            if count >= most:
                break
            wanted = float(best.distances[-1]) + AHEAD * error if len(best.slots) == k else np.inf
            count = min(count * (GROWTH if count < SOUNDING else LEAP), most)
        for part in self._parts:
            part.doubt()
        return None

    def _portions(self, seen: list[_Seen], rounds: int) -> list[list[_Seen]]:
        """How many candidates to measure: at first few, which are often enough, then all."""
        if rounds > 1 or self._matches.unsure or self._wish.floor > FIRST:
            return [seen]
        few = _best_of(seen, FEW + self._wish.k)
        return [seen] if few is seen else [few, seen]

    def _judged(
        self, query: NDArray[np.float32], seen: list[_Seen]
    ) -> tuple[Nearest, int, float, bool]:
        """The best of these candidates, how many they are, their error, and if that settles it."""
        slots = seen[0].slots if len(seen) == 1 else np.concatenate([one.slots for one in seen])
        vectors = self._moment.snapshot.vectors(self._moment.view.keys[slots])
        measured = distances(self._wish.space, vectors, query)
        best = self._best_matches(Nearest(slots, measured))
        error, reach = _reach(seen, measured, self._wish.sigmas)
        enough = len(best.slots) == self._wish.k and reach > best.distances[-1]
        return best, len(slots), error, enough or all(one.horizon == np.inf for one in seen)

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
        self._plan = "codes"
        seen = [
            self._suggested(part, led, query, count) or part.candidates(query, count)
            for part, led in zip(self._parts, self._led, strict=True)
        ]
        return seen if len(seen) == 1 else _best_of(seen, count)

    def _led_by(self, segment: Segment, allowed: int) -> SealedGraph | None:
        """The graph of the segment, if it is to be asked."""
        graph = segment.graph
        if graph is None or self._matches.unsure or not is_quicker(len(graph), len(self._queries)):
            return None
        # What is allowed is alive, and what is alive is in the graph.
        return graph if allowed >= LED * len(graph) else None

    def _suggested(
        self,
        part: _Part | _Apart,
        graph: SealedGraph | None,
        query: NDArray[np.float32],
        count: int,
    ) -> _Seen | None:
        """What the graph suggests; None when it cannot tell, or this is an audit."""
        recall = self._wish.effort.recall
        if graph is None or isinstance(part, _Apart):
            return None
        found = graph.candidates(query, count, recall)
        if found is None:
            return None
        kept = part.mask[found.slots]
        if kept.mean() < LIVING:
            return None
        trust = graph.trust(recall)
        if self._wish.audit and trust.audit_due():
            self._audits.append((trust, part, part.base + found.slots[kept]))
            return None
        self._plan = "graph"
        slots = part.base + found.slots[kept]
        return _Seen(slots, found.estimates[kept], found.horizon, found.spread)

    def _report(self, query: NDArray[np.float32], best: Nearest) -> None:
        """Tells graphs how many of these neighbours, which a scan has found, they missed.

        Another record that is as near does as well: of a thousand equal ones a graph names others.
        """
        for trust, part, slots in self._audits:
            here = best.slots - part.base
            wanted = int(np.count_nonzero((here >= 0) & (here < len(part.segment))))
            vectors = self._moment.snapshot.vectors(self._moment.view.keys[slots])
            far = distances(self._wish.space, vectors, query)
            near = int(np.count_nonzero(far <= best.distances[-1]))
            trust.audited(wanted, max(0, wanted - near))
        self._audits.clear()


def _ahead(scanned: Scanner, queries: list[NDArray[np.float32]]) -> Scanner:
    """Scans for all of them at once, where that is cheaper."""
    if isinstance(scanned, SealedVectors) and len(queries) > 1:
        return Ahead(scanned, queries)
    return scanned


class _Seen(NamedTuple):
    """Candidates of one segment, best first, and the estimate from which on none was looked at.

    `spread` is the least standard deviation to reckon with.
    """

    slots: Slots
    estimates: NDArray[np.float32]
    horizon: float
    spread: float

    def up_to(self, estimate: float) -> _Seen:
        """Those that are better than this, and the first few in any case."""
        return self.first(int(self.estimates.searchsorted(estimate)))

    def first(self, count: int) -> _Seen:
        """So many of them, or the first few in any case."""
        end = max(count, TELLING)
        if end >= len(self.slots):
            return self
        horizon = min(self.horizon, float(self.estimates[end]))
        return _Seen(self.slots[:end], self.estimates[:end], horizon, self.spread)


def _best_of(seen: list[_Seen], count: int) -> list[_Seen]:
    """The best of all, but of each so many that they tell how far off it is."""
    if sum(len(one.slots) for one in seen) <= count:
        return seen
    if len(seen) == 1:
        return [seen[0].first(count)]
    last = np.partition(np.concatenate([one.estimates for one in seen]), count)[count]
    return [one.up_to(last) for one in seen]


class _Part:
    """A segment, and which of its slots are allowed."""

    def __init__(
        self, base: int, segment: Segment, scanned: Scanner, mask: Mask, share: float
    ) -> None:
        """`scanned` finds candidates, `share` is how much of the segment the mask allows."""
        self.base = base
        self.segment = segment
        self.scanned = scanned
        self.mask = mask
        self._share = share
        self._masked = share < UNMASKED

    def doubt(self) -> None:
        """Learns that candidates did not settle a query."""
        self.segment.doubt_signs()

    def candidates(self, query: NDArray[np.float32], count: int) -> _Seen:
        """About the `count` best of them."""
        if count > self._share * UNMASKED_MOST:
            self._masked = True
        asked = count if self._masked else int(count / self._share)
        found = self.scanned.candidates(query, asked, self.mask if self._masked else None)
        if self._share == 1:
            return _Seen(self.base + found.slots, found.estimates, found.horizon, found.spread)
        kept = self.mask[found.slots]
        if not self._masked and found.horizon < np.inf and kept.sum() < SCARCE * count:
            # What is near the query is not what is allowed: from now on the mask is used.
            self._masked = True
            return self.candidates(query, count)
        slots = self.base + found.slots[kept]
        return _Seen(slots, found.estimates[kept], found.horizon, found.spread)


class _Apart:
    """The records of a filter that comes again, coded apart from the others."""

    def __init__(self, slots: Slots, codes: Scanner, possible: Mask) -> None:
        """Not all of these slots are `possible` any more."""
        self._slots = slots
        self._possible = possible
        self.scanned = codes

    def doubt(self) -> None:
        """There is nothing else to ask."""

    def candidates(self, query: NDArray[np.float32], count: int) -> _Seen:
        """The `count` best of them, without those that have died."""
        found = self.scanned.candidates(query, count, None)
        slots = self._slots[found.slots]
        kept = self._possible[slots]
        return _Seen(slots[kept], found.estimates[kept], found.horizon, found.spread)


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
