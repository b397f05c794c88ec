"""Keeps the indexes in step with the store: segments from files, the tail in memory.

Every read that uses an index begins here: under a lock for as long as it takes to begin the
transaction and to catch up with it, so that a snapshot is never older than the indexes that
answer for it. A segment whose files are not what they should be is left aside, and its records
become part of the tail; the answer is the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vermilion import forks
from vermilion.local.blocks import CacheDamaged
from vermilion.local.filter_cache import FilterCache
from vermilion.local.index.base import Change, Index, Mask
from vermilion.local.index.columns import Columns
from vermilion.local.index.slots import SlotTable, View
from vermilion.local.index.sparse import SparseLists
from vermilion.local.index.vectors import FlatVectors
from vermilion.local.index.words import Words
from vermilion.local.segment import Segment
from vermilion.local.snapshot import Keys, Snapshot, Touched
from vermilion.local.store import Store
from vermilion.local.transaction import Transaction
from vermilion.logs import log
from vermilion.types import Space

# Slots of changed and deleted records of the tail are given up when they are more than this, and
# more than the living ones.
DEAD_SLOTS = 4_096


class Needs(NamedTuple):
    """Which indexes a read asks for; of vectors, for how many searches."""

    vectors: int = 0
    columns: bool = False
    text: bool = False
    sparse: bool = False
    words: bool = False


class Moment(NamedTuple):
    """A snapshot, and the indexes as of that snapshot; those not asked for may be None.

    The slots of the segments come first, each from its base on; the others are the tail, which
    `columns` and `vectors` are about.
    """

    snapshot: Snapshot
    view: View
    segments: tuple[tuple[int, Segment], ...]
    filters: FilterCache
    columns: Columns | None
    vectors: FlatVectors | None
    sparse: SparseLists | None = None
    words: Words | None = None

    @property
    def lacks_graph(self) -> bool:
        """Whether a segment should have a graph, and has none that can be used."""
        return any(segment.lacks_graph for _, segment in self.segments)


class _Tail:
    """The indexes in memory over the slots that no segment has."""

    columns: Columns | None = None
    vectors: FlatVectors | None = None
    sparse: SparseLists | None = None
    words: Words | None = None

    def indexes(self) -> list[Index]:
        """Those that there are."""
        every = (self.columns, self.vectors, self.sparse, self.words)
        return [index for index in every if index is not None]


class _State:
    """What the last read left behind."""

    def __init__(
        self,
        view: View,
        generation: int,
        segments: tuple[tuple[int, Segment], ...],
        filters: FilterCache,
    ) -> None:
        self.view = view
        self.generation = generation
        self.segments = segments
        self.filters = filters
        self.tail = _Tail()


class Indexer:
    """The indexes of one collection; `folder` has the segments' files, if there can be any."""

    def __init__(self, store: Store, space: Space, folder: Path | None = None) -> None:
        self._store = store
        self._space = space
        self._folder = folder
        self._lock = forks.Lock()
        self._state: _State | None = None
        self._opened: dict[str, Segment] = {}
        self._damaged: set[str] = set()
        self._filter_bytes: int | None = None

    @property
    def filter_bytes(self) -> int:
        """What is kept of filters that came before."""
        state = self._state
        return 0 if state is None else state.filters.bytes

    def forget_filters(self) -> None:
        """Keeps nothing of filters from now on."""
        self._filter_bytes, state = 0, self._state
        if state is not None:
            state.filters.close()

    @property
    def damaged(self) -> bool:
        """Whether a segment is left aside now."""
        return bool(self._damaged)

    @contextmanager
    def reading(self, needs: Needs) -> Iterator[Moment]:
        """This moment of the collection, with the indexes that are needed."""
        with ExitStack() as stack:
            with self._lock:
                snapshot = stack.enter_context(self._store.reading())
                moment = self._catch_up(snapshot, needs)
            yield moment

    @contextmanager
    def writing(self, needs: Needs) -> Iterator[tuple[Transaction, Moment]]:
        """A transaction that may look things up before it writes.

        It waits for other writers first: readers go on until it is its turn.
        """
        with self._store.exclusive(), self._lock, self._store.changing() as transaction:
            yield transaction, self._catch_up(transaction, needs)

    # ── catching up ──────────────────────────────────────────────────────────────────────────────

    def _catch_up(self, snapshot: Snapshot, needs: Needs) -> Moment:
        try:
            self._forget_other_dimension(snapshot)
            state = self._replay(snapshot)
            while not self._open_segments(state, needs):
                state = self._reload(snapshot)
            if self._missing(state, snapshot, needs):
                if not _tail_is_alive(state.view):
                    state = self._reload(snapshot)  # an index starts from slots that are all alive
                self._build_tail(state, snapshot, needs)
        except BaseException:
            self._state = None  # half applied is worse than not at all
            raise
        self._state = state
        tail = state.tail
        return Moment(
            snapshot,
            state.view,
            state.segments,
            state.filters,
            tail.columns,
            tail.vectors,
            tail.sparse,
            tail.words,
        )

    def _forget_other_dimension(self, snapshot: Snapshot) -> None:
        """A collection may be emptied and filled again with vectors of another dimension."""
        tail = _Tail() if self._state is None else self._state.tail
        if tail.vectors is not None and tail.vectors.dimension != snapshot.head.dimension:
            tail.vectors = None

    def _replay(self, snapshot: Snapshot) -> _State:
        state, head = self._state, snapshot.head
        if state is None or state.generation != head.generation:
            return self._reload(snapshot)
        view = state.view
        if view.seq == head.seq:
            return state
        touched = snapshot.touched_since(view.seq)
        if touched is None or 2 * len(touched.keys) > len(view) + DEAD_SLOTS:
            return self._reload(snapshot)
        change, live = view.table.advance(touched, snapshot.present(touched.keys), view.live)
        tail = live[view.table.sealed :]
        alive = int(np.count_nonzero(tail))
        if len(tail) - alive > max(DEAD_SLOTS, alive):
            return self._reload(snapshot)
        for index in state.tail.indexes():
            index.apply(change, snapshot)
        state.view = View(head.seq, live, view.table, _bare(snapshot, change, view.bare))
        return state

    # ── starting over ────────────────────────────────────────────────────────────────────────────

    def _reload(self, snapshot: Snapshot) -> _State:
        touched = snapshot.touched_since(snapshot.head.sealed)
        segments = [] if touched is None else self._current_segments(snapshot, touched)
        if touched is not None and not self._damaged:
            tail = snapshot.present(touched.keys)
        else:
            tail = _others(snapshot.all_keys(), segments)
        table = SlotTable(tail, [segment.keys for segment, _ in segments])
        live = [alive for _, alive in segments]
        live.append(np.ones(len(table) - table.sealed, np.bool_))
        keys = table.keys(len(table))
        view = View(snapshot.head.seq, np.concatenate(live), table, _bare_among(keys, snapshot))
        placed, base = [], 0
        for segment, _ in segments:
            placed.append((base, segment))
            base += len(segment)
        filters = FilterCache(self._space, base, self._reading_again, self._filter_bytes)
        return _State(view, snapshot.head.generation, tuple(placed), filters)

    def _reading_again(self) -> AbstractContextManager[Moment]:
        return self.reading(Needs())

    def _current_segments(self, snapshot: Snapshot, touched: Touched) -> list[tuple[Segment, Mask]]:
        """The segments that can be used, and which of their rows are current."""
        listed = snapshot.segments()
        self._damaged &= {row.name for row in listed}  # the others have been made again
        rows = [row for row in listed if row.name not in self._damaged]
        self._opened = {
            name: segment.renewed()
            for name, segment in self._opened.items()
            if name in {row.name for row in rows}
        }
        out = []
        for row in rows:
            segment = self._open_segment(row.name, len(row.dead))
            if segment is not None:
                alive = ~row.dead & ~np.isin(segment.keys, touched.keys, assume_unique=True)
                out.append((segment, alive))
        return out

    def _open_segment(self, name: str, rows: int) -> Segment | None:
        if name not in self._opened and self._folder is not None:
            try:
                segment = Segment(self._folder, name)
                if len(segment) != rows:
                    raise CacheDamaged(f"segment {name}: {len(segment)} keys instead of {rows}")
                self._opened[name] = segment
            except CacheDamaged as damage:
                self._leave_aside(name, damage)
        return self._opened.get(name)

    def _open_segments(self, state: _State, needs: Needs) -> bool:
        """Opens the parts that are needed; False when a segment had to be left aside."""
        for _, segment in state.segments:
            try:
                segment.open_for(needs.vectors)
                segment.open(
                    vectors=False,
                    columns=needs.columns,
                    text=needs.text,
                    sparse=needs.sparse,
                    words=needs.words,
                )
            except CacheDamaged as damage:
                self._leave_aside(segment.name, damage)
                return False
        return True

    def _leave_aside(self, name: str, damage: CacheDamaged) -> None:
        log().warning("index file left aside, answering from the records: %s", damage)
        self._damaged.add(name)
        self._opened.pop(name, None)

    # ── the tail ─────────────────────────────────────────────────────────────────────────────────

    def _missing(self, state: _State, snapshot: Snapshot, needs: Needs) -> bool:
        tail, dimension = state.tail, snapshot.head.dimension
        return (
            (needs.columns and tail.columns is None)
            or (needs.vectors > 0 and dimension is not None and tail.vectors is None)
            or (needs.sparse and tail.sparse is None)
            or (needs.words and tail.words is None)
        )

    def _build_tail(self, state: _State, snapshot: Snapshot, needs: Needs) -> None:
        tail, base, dimension = state.tail, state.view.table.sealed, snapshot.head.dimension
        count = len(state.view) - base
        nothing = np.full(count, -1), np.zeros(count, np.bool_)
        everything = Change(base, state.view.keys[base:], *nothing)
        if needs.columns and tail.columns is None:
            columns = Columns()
            columns.apply(everything, snapshot)
            tail.columns = columns
        if needs.vectors and tail.vectors is None and dimension is not None:
            vectors = FlatVectors(self._space, dimension, base)
            vectors.apply(everything, snapshot)
            tail.vectors = vectors
        if needs.sparse and tail.sparse is None:
            sparse = SparseLists()
            sparse.apply(everything, snapshot)
            tail.sparse = sparse
        if needs.words and tail.words is None:
            words = Words(base)
            words.apply(everything, snapshot)
            tail.words = words


def _bare_among(keys: Keys, snapshot: Snapshot) -> Mask | None:
    bare = snapshot.bare_keys()
    return np.isin(keys, bare) if len(bare) else None


def _bare(snapshot: Snapshot, change: Change, before: Mask | None) -> Mask | None:
    """Which slots are of records without a vector, those that are new among them."""
    new = snapshot.bare(change.keys)
    if before is None and new is None:
        return None
    old = np.zeros(change.first, np.bool_) if before is None else before
    return np.concatenate((old, np.zeros(len(change.keys), np.bool_) if new is None else new))


def _tail_is_alive(view: View) -> bool:
    return bool(view.live[view.table.sealed :].all())


def _others(keys: Keys, segments: list[tuple[Segment, Mask]]) -> Keys:
    """The keys that are current in none of the segments."""
    held = [segment.keys[alive] for segment, alive in segments]
    return np.setdiff1d(keys, np.concatenate(held), assume_unique=True) if held else keys
