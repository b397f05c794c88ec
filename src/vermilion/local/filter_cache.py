"""Filters that come again: what they let through of the segments is kept between queries.

A program asks with the same few filters over and over: a tenant, a category, a language. The
segments never change, so what a filter on metadata finds in them is computed once; which of those
records are still alive, and what the tail has, is looked up for each moment. A filter that comes
often and lets few records through gets these records apart from the others, as vectors or as codes,
so that its queries do not scan the whole segments.

A cache belongs to one list of segments and goes with it. A filter that comes once costs a key.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager, suppress
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from vermilion import forks
from vermilion.errors import VermilionError
from vermilion.local.index.base import Mask, Slots
from vermilion.local.index.sealed_vectors import SealedVectors, coded
from vermilion.local.index.slots import View
from vermilion.local.index.vectors import Scan
from vermilion.local.segment import StoredVectors
from vermilion.local.snapshot import Snapshot
from vermilion.query.where import DOCUMENT, ID, Condition, Filter
from vermilion.types import Space

# What a cache may take: so many bytes for each record of the segments, up to so many in all, and
# then a few for each: codes take 200 for each, the vectors themselves 1,500.
ROW_BYTES, BYTES, MORE_ROW_BYTES = 512, 2**25, 16
# Filters that are known by their key at least.
FILTERS = 512
# A list of operands that is longer is not compared with those that came before.
OPERANDS = 256
# At this use what a filter lets through is kept: one that came twice will come again.
KEPT_AT = 2
# At this use its records are kept apart, and later the more there are: to read and code a record
# takes 4 µs, and a query then takes 0.3 ms less.
APART_AT, APART_ROWS = 4, 256
# The records of a filter that lets a larger share through are not kept apart: codes of all that
# are not masked are scanned as fast.
SHARE = 0.25
# Of the whole, so much may be taken by the records of one filter.
LARGEST = 0.5
# Records that were kept apart are given up when fewer than this share of them is alive.
ALIVE = 0.5
# Bytes of vectors that are read at once to be coded; of more, each page is read twice.
READ_AT_ONCE = 2**24


class Reading(Protocol):
    """A moment of the collection, as `Indexer.reading` gives it."""

    @property
    def snapshot(self) -> Snapshot:
        """The records."""
        ...

    @property
    def view(self) -> View:
        """The slots."""
        ...

    @property
    def filters(self) -> FilterCache:
        """The cache that goes with the slots."""
        ...


class Apart(NamedTuple):
    """The records of the segments that a filter let through at one moment: vectors, or codes."""

    seq: int
    slots: Slots
    scan: Scan | None = None
    codes: SealedVectors | None = None

    @property
    def bytes(self) -> int:
        """What they take."""
        codes = 0 if self.codes is None else self.codes.bytes
        return int(self.slots.nbytes) + codes + (0 if self.scan is None else self.scan.bytes)

    def at(self, view: View) -> Apart | None:
        """Its records at a later moment; None when too many have died.

        Vectors lose those that have died. Codes keep them: a search drops what it finds of them.
        """
        alive = view.live[self.slots]
        count = int(np.count_nonzero(alive))
        if count == len(alive):
            return self
        if count < ALIVE * len(alive):
            return None
        if self.scan is None:
            return self
        return self._replace(seq=view.seq, slots=self.slots[alive], scan=self.scan.only(alive))


class Now(NamedTuple):
    """Which slots a filter lets through at one moment, and how many of each segment."""

    view: View
    possible: Mask
    counts: tuple[int, ...]


class KnownFilter:
    """What is known of one filter."""

    def __init__(self, cache: FilterCache, key: Hashable) -> None:
        self._cache = cache
        self.key = key
        self.uses = 0
        self.weighed = 0  # what it took when the cache last looked
        self._in_segments: NDArray[np.uint8] | None = None
        self._now: Now | None = None
        self._apart: tuple[Apart | None, View | None] = None, None
        self._tried = False

    @property
    def bytes(self) -> int:
        """What is kept of it."""
        now, (apart, _), bits = self._now, self._apart, self._in_segments
        return (
            (0 if bits is None else bits.nbytes)
            + (0 if now is None else now.possible.nbytes)
            + (0 if apart is None else apart.bytes)
        )

    # ── masks ────────────────────────────────────────────────────────────────────────────────────

    def now(self, view: View) -> Now | None:
        """What it lets through at this moment, if that was asked before."""
        now = self._now
        return now if now is not None and now.view is view else None

    def in_segments(self, view: View) -> Mask | None:
        """Which slots of the segments it lets through, dead ones among them, if that is known."""
        if self._in_segments is None:
            return None
        return np.unpackbits(self._in_segments, count=view.table.sealed).view(np.bool_)

    def learn(self, in_segments: Mask) -> None:
        """Keeps which slots of the segments it lets through."""
        self._in_segments = np.packbits(in_segments)

    def settle(self, now: Now) -> None:
        """Keeps what it lets through at this moment."""
        now.possible.setflags(write=False)
        self._now = now
        self._cache.weigh(self)

    # ── records apart ────────────────────────────────────────────────────────────────────────────

    def apart(self, view: View) -> Apart | None:
        """Its records in the segments, if they are kept apart."""
        apart, seen = self._apart
        # What died before they were read is not among them, and was alive at earlier moments.
        if apart is None or seen is view or apart.seq > view.seq:
            return apart if seen is view else None
        apart = apart.at(view)
        self._apart = apart, view
        if apart is None:  # to be kept apart anew when it comes often enough
            self._tried, self.uses = False, KEPT_AT
        return apart

    def keep(self, apart: Apart) -> None:
        """Keeps its records apart."""
        self._apart = apart, None
        self._cache.weigh(self)

    def is_due(self, count: int, bytes: int) -> bool:
        """Whether its records, so many that take so much, are worth keeping apart by now."""
        return self.uses >= APART_AT + count // APART_ROWS and self._cache.has_room_for(bytes)

    def code(self, count: int, rows: int, dimension: int) -> None:
        """Has its records coded, so many of the rows of all segments, if that is worth while."""
        # Four bits a coordinate, and what it takes to turn queries as the records were turned.
        size = count * dimension // 2 + 8 * dimension**2
        if not self._tried and count <= SHARE * rows and self.is_due(count, size):
            self._tried = self._cache.code(self)


class FilterCache:
    """The filters of the last queries, over one list of segments."""

    def __init__(
        self,
        space: Space,
        rows: int,
        reading: Callable[[], AbstractContextManager[Reading]],
        limit: int | None = None,
    ) -> None:
        """`rows` are in the segments; at most `limit` bytes are kept."""
        self._space = space
        self._reading = reading
        usual = min(ROW_BYTES * rows, BYTES) + MORE_ROW_BYTES * rows
        self._limit = usual if limit is None else limit
        self._known: OrderedDict[Hashable, KnownFilter] = OrderedDict()
        self.bytes = 0
        self._guard = forks.Lock()
        self._coder: threading.Thread | None = None

    def look_up(self, filter: Filter) -> KnownFilter | None:
        """What is known of a filter that is used once more; None when nothing is to be kept."""
        key = key_of(filter) if self._limit else None
        if key is None:
            return None
        with self._guard:
            known = self._known.get(key)
            if known is None:
                known = self._known[key] = KnownFilter(self, key)
                if len(self._known) > FILTERS:
                    self._forget_oldest()
            self._known.move_to_end(key)
            known.uses += 1
            return known if known.uses >= KEPT_AT else None

    def has_room_for(self, bytes: int) -> bool:
        """Whether the records of one filter may take so much."""
        return bytes <= LARGEST * self._limit

    def weigh(self, known: KnownFilter) -> None:
        """Forgets the filters that were not used for longest, until all fit with this one."""
        with self._guard:
            if self._known.get(known.key) is known:
                self.bytes += known.bytes - known.weighed
                known.weighed = known.bytes
            while self.bytes > self._limit:
                self._forget_oldest()

    def _forget_oldest(self) -> None:
        self.bytes -= self._known.popitem(last=False)[1].weighed

    def close(self) -> None:
        """Forgets all, and keeps nothing from now on."""
        with self._guard:
            self._limit = self.bytes = 0
            self._known.clear()

    # ── coding ───────────────────────────────────────────────────────────────────────────────────

    def code(self, known: KnownFilter) -> bool:
        """Has the records of a filter coded by another thread; False while that has other work."""
        with self._guard:
            if self._coder is not None and self._coder.is_alive():
                return False
            # The end of the program waits for it: a thread must not end inside native code.
            self._coder = threading.Thread(target=self._code, args=(known,), name="code-filter")
            self._coder.start()
            return True

    def wait(self) -> None:
        """Waits until nothing is being coded."""
        if self._coder is not None:
            self._coder.join()

    def _code(self, known: KnownFilter) -> None:
        with suppress(VermilionError), self._reading() as moment:  # it may be closed by now
            allowed = known.in_segments(moment.view)
            if moment.filters is not self or allowed is None:
                return
            slots = np.flatnonzero(allowed & moment.view.live[: len(allowed)])
            dimension = moment.snapshot.head.dimension or 0
            rows: Any = StoredVectors(moment.snapshot, moment.view.keys[slots])
            if 4 * dimension * len(slots) <= READ_AT_ONCE:
                rows = rows[:]
            codes = coded(self._space, rows)
            if codes is not None and self.has_room_for(codes.bytes):
                known.keep(Apart(moment.view.seq, slots, codes=codes))


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────


def key_of(filter: Filter) -> Hashable | None:
    """What tells filters on metadata from each other; None for one that asks for more than that.

    To Python 1, 1.0 and True are the same, to a filter they are not.
    """
    if isinstance(filter, Condition):
        if filter.field in (DOCUMENT, ID):
            return None
        row, operand = filter.operator, filter.operand
        if isinstance(operand, list):
            if len(operand) > OPERANDS:
                return None
            operand = (*map(type, operand), *operand)
        return filter.field, row.name, row.negated, type(operand), operand
    parts = [key_of(part) for part in filter.parts]
    return None if None in parts else (type(filter), *parts)
