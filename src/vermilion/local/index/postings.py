"""Postings: for each term the slots that have it, and a number for each slot.

A term is a number of 64 bits: the index of a sparse vector's component, or the hash of a word. A
`Run` is four arrays that never change, in memory or in a file. Postings that grow are some runs,
of which small ones are merged as soon as a run as large comes behind them; so each posting is
merged a logarithmic number of times, and a term is looked up in few runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vermilion.local.blocks import Blocks, CacheDamaged
from vermilion.local.index.base import Slots
from vermilion.local.index.joining import joint, put, sizes_of

Terms = NDArray[np.uint64]
Array = NDArray[Any]

_NOTHING = np.empty(0, np.float32)


class Run(NamedTuple):
    """Terms, ascending; where the postings of each begin and the last end; slots and values."""

    terms: Terms
    starts: NDArray[Any]
    slots: NDArray[np.uint32]
    values: Array

    def of(self, term: int) -> slice:
        """Where the postings of a term are: ascending slots."""
        wanted = np.uint64(term)
        place = int(np.searchsorted(self.terms, wanted))
        if place == len(self.terms) or self.terms[place] != wanted:
            return slice(0, 0)
        return slice(int(self.starts[place]), int(self.starts[place + 1]))

    def blocks(self, prefix: str = "") -> dict[str, Array]:
        """The arrays as the blocks of a file."""
        small = np.uint32 if len(self.slots) < 2**32 else np.int64
        return {
            f"{prefix}terms": self.terms,
            f"{prefix}starts": self.starts.astype(small),
            f"{prefix}slots": self.slots,
            f"{prefix}values": self.values,
        }


def read_run(blocks: Blocks, rows: int, prefix: str = "") -> Run:
    """The run whose blocks are in a file over so many slots. Raises CacheDamaged."""
    names = ("terms", "starts", "slots", "values")
    terms, starts, slots, values = (blocks.array(prefix + name) for name in names)
    if len(starts) != len(terms) + 1 or len(slots) != len(values) or starts[-1] != len(slots):
        raise CacheDamaged(f"postings {prefix}: arrays of other lengths than they should have")
    if len(slots) and slots.max() >= rows:
        raise CacheDamaged(f"postings {prefix}: slots beyond the end")
    return Run(terms, starts, slots, values)


def make_run(terms: Terms, slots: Array, values: Array) -> Run:
    """The run of postings in any order, of which those of equal terms have ascending slots."""
    order = np.argsort(terms, kind="stable")
    ordered = terms[order]
    firsts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))[: len(ordered)]
    starts = np.append(firsts, len(ordered)).astype(np.int64)
    return Run(ordered[firsts], starts, slots[order].astype(np.uint32), values[order])


class GrowingPostings:
    """Runs over ascending slots; a reader that took them may go on while more are appended."""

    def __init__(self) -> None:
        self._runs: tuple[Run, ...] = ()

    def append(self, terms: Terms, slots: Array, values: Array) -> None:
        """Adds the postings of new slots, which are beyond those that are there."""
        self.add(make_run(terms, slots, values))

    def add(self, run: Run) -> None:
        """Adds a run over new slots."""
        if not len(run):
            return
        runs = [*self._runs, run]
        while len(runs) > 1 and len(runs[-2]) <= 2 * len(runs[-1]):
            last = runs.pop()
            runs[-1] = joined([(0, runs[-1]), (0, last)])
        self._runs = tuple(runs)

    def whole(self) -> Run:
        """All of it as one run."""
        return joined([(0, run) for run in self._runs])

    def of(self, term: int, length: int) -> Iterator[tuple[Slots, Array]]:
        """The slots below `length` that have the term, and their values."""
        for run in self._runs:
            place = run.of(term)
            slots = run.slots[place]
            known = int(np.searchsorted(slots, length))
            if known:
                yield slots[:known].astype(np.int64), run.values[place][:known]


def joined(runs: Sequence[tuple[int, Run]]) -> Run:
    """Runs as one, each after so many slots; the slots of each come behind those of the others."""
    some = [(base, run) for base, run in runs if len(run)]
    if not some:
        return make_run(np.empty(0, np.uint64), _NOTHING, _NOTHING)
    if len(some) == 1 and not some[0][0]:
        return some[0][1]
    sizes = [sizes_of(run.starts) for _, run in some]
    whole = joint([(run.terms, own) for (_, run), own in zip(some, sizes, strict=True)])
    slots = np.empty(whole.starts[-1], np.uint32)
    values = np.empty(whole.starts[-1], some[0][1].values.dtype)
    for (base, run), firsts, own in zip(some, whole.firsts, sizes, strict=True):
        begins = run.starts[:-1]
        put(slots, firsts, run.slots, begins, own, base)
        put(values, firsts, run.values, begins, own)
    return Run(whole.terms, whole.starts, slots, values)
