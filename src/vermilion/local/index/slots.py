"""Which slot holds which key, and which slots are alive: the spine that all indexes align to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vermilion.local.index.base import Change, Growable, Mask, Slots
from vermilion.local.snapshot import Keys, Touched


class SlotTable:
    """Keys by slot. A new key takes the next slot; so does a key whose record changed."""

    def __init__(self, keys: Keys) -> None:
        self._keys = Growable(np.int64)
        self._keys.append(keys)
        self._replaces = Growable(np.int64)  # by slot: the slot it took over from, or -1
        self._replaces.append(np.full(len(keys), -1))
        # Where each key was first put: keys are given out ascending, so this is sorted.
        self._first_keys = Growable(np.int64)
        self._first_keys.append(keys)
        self._first_slots = Growable(np.int64)
        self._first_slots.append(np.arange(len(keys)))
        self._moved: dict[int, int] = {}  # keys that changed since: their newest slot

    def __len__(self) -> int:
        return len(self._keys)

    def keys(self, length: int) -> Keys:
        """The keys of the first slots."""
        return self._keys.array(length)

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
        first_slots = self._first_slots.array()
        first_keys = self._first_keys.array(len(first_slots))
        if not len(first_keys):
            return np.full(len(keys), -1)
        places = np.minimum(np.searchsorted(first_keys, keys), len(first_keys) - 1)
        slots = np.where(first_keys[places] == keys, first_slots[places], -1)
        if self._moved:
            newest = (self._moved.get(key, -1) for key in keys.tolist())
            slots = np.maximum(slots, np.fromiter(newest, np.int64, len(keys)))
        # A later moment may have moved it on already: walk back to where it was.
        while (late := slots >= length).any():
            slots[late] = self._replaces.array()[slots[late]]
        return slots


@dataclass(frozen=True)
class View:
    """The slots as they are at one moment of the log."""

    seq: int
    live: Mask
    table: SlotTable

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
    def living(self) -> Slots:
        """The slots that hold a record."""
        return np.flatnonzero(self.live)

    def mask(self, keys: Keys) -> Mask:
        """The living slots of these keys."""
        mask = np.zeros(len(self), np.bool_)
        slots = self.table.slots(keys, len(self))
        mask[slots[slots >= 0]] = True
        return mask & self.live
