"""Which slot holds which key, and which slots are alive: the spine that all indexes align to."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from vermilion.local.index.base import Change, Growable, Mask, Slots
from vermilion.local.snapshot import Keys, Touched


class SlotTable:
    """Keys by slot: those of the sealed segments first, then those of the tail.

    A new key takes the next slot; so does a key whose record changed.
    """

    def __init__(self, tail: Keys, sealed: Sequence[Keys] = ()) -> None:
        """`sealed` are the keys of each segment; all are ascending.

        A key may be in several segments and in the tail: which slot of it is alive, the caller
        says, and a later segment counts before an earlier one.
        """
        self._keys = Growable(np.int64)
        self._runs: list[tuple[int, Keys]] = []
        for keys in sealed:
            self._runs.append((len(self._keys), keys))
            self._keys.append(keys)
        self.sealed = len(self._keys)
        self._keys.append(tail)
        # Of each slot that came later, the slot it took over from, or -1.
        self._began = len(self._keys)
        self._replaces = Growable(np.int64)
        # Where each key of the tail was first put: keys are given out ascending, so it is sorted.
        self._first_keys = Growable(np.int64)
        self._first_keys.append(tail)
        self._first_slots = Growable(np.int64)
        self._first_slots.append(self.sealed + np.arange(len(tail)))
        self._moved: dict[int, int] = {}  # keys that changed since: their newest slot

    def __len__(self) -> int:
        return len(self._keys)

    def keys(self, length: int) -> Keys:
        """The keys of the first slots."""
        return self._keys.array(length)

    def counts(self, mask: Mask) -> tuple[int, ...]:
        """How many slots of each segment a mask has."""
        return tuple(
            int(np.count_nonzero(mask[base : base + len(keys)])) for base, keys in self._runs
        )

    def advance(self, touched: Touched, present: Keys, live: Mask) -> tuple[Change, Mask]:
        """Gives every present key a new slot; returns what is new and which slots are alive now.

        `present` are those of the touched keys that still have a record, ascending.
        """
        first = len(self)
        before = self.slots(touched.keys, first)
        live = np.concatenate((live, np.ones(len(present), np.bool_)))
        live[before[before >= 0]] = False
        replaces = self.slots(present, first)
        fresh = replaces < 0
        self._replaces.append(replaces)
        # Keys before slots: a reader that sees a slot must find its key.
        self._first_keys.append(present[fresh])
        self._first_slots.append(first + np.flatnonzero(fresh))
        self._keys.append(present)
        moved = zip(
            present[~fresh].tolist(), (first + np.flatnonzero(~fresh)).tolist(), strict=True
        )
        self._moved.update(moved)
        kept = ~fresh & ~np.isin(present, touched.vectors, assume_unique=True)
        return Change(first, present, replaces, kept), live

    def slots(self, keys: Keys, length: int) -> Slots:
        """The slot of each key among the first `length`, or -1."""
        slots = np.full(len(keys), -1)
        for base, run in self._runs:  # a later segment holds what is newer
            places, found = _places(run, keys)
            slots = np.where(found, base + places, slots)
        first_slots = self._first_slots.array()
        places, found = _places(self._first_keys.array(len(first_slots)), keys)
        slots[found] = first_slots[places[found]]
        if self._moved:
            newest = (self._moved.get(key, -1) for key in keys.tolist())
            slots = np.maximum(slots, np.fromiter(newest, np.int64, len(keys)))
        # A later moment may have moved it on already: walk back to where it was.
        while (late := slots >= length).any():
            slots[late] = self._replaces.array()[slots[late] - self._began]
        return slots


def _places(run: Keys, keys: Keys) -> tuple[Slots, Mask]:
    """Where each key is in an ascending run, and whether it is there at all."""
    if not len(run):
        return np.zeros(len(keys), np.int64), np.zeros(len(keys), np.bool_)
    places = np.minimum(np.searchsorted(run, keys), len(run) - 1)
    return places, run[places] == keys


class View:
    """The slots as they are at one moment of the log.

    `bare` marks those of records without a vector; None when no record is without one.
    """

    def __init__(self, seq: int, live: Mask, table: SlotTable, bare: Mask | None = None) -> None:
        self.seq = seq
        self.live = live
        self.table = table
        self.bare = bare

    def __len__(self) -> int:
        return len(self.live)

    @cached_property
    def keys(self) -> Keys:
        """The key of each slot."""
        return self.table.keys(len(self))

    @cached_property
    def ordered(self) -> Keys:
        """The keys of all records, ascending."""
        return np.sort(self.keys[self.live])

    @cached_property
    def tail(self) -> Slots:
        """The slots of the tail that hold a record."""
        return self.table.sealed + np.flatnonzero(self.live[self.table.sealed :])

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """How many slots of each segment hold a record."""
        return self.table.counts(self.live)

    @cached_property
    def living(self) -> Slots:
        """The slots that hold a record."""
        return np.flatnonzero(self.live)

    def mask(self, keys: Keys) -> Mask:
        """The living slots of these keys."""
        mask = np.zeros(len(self), np.bool_)
        slots = self.table.slots(keys, len(self))
        mask[slots[slots >= 0]] = True
        return mask & self.live
