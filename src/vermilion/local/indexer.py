"""Keeps the indexes in step with the store: loads them when they are first needed, then replays
the log.

Every read that uses an index begins here: under a lock for as long as it takes to begin the
transaction and to catch up with it, so that a snapshot is never older than the indexes that
answer for it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np

from vermilion.local.index.base import Change
from vermilion.local.index.columns import Columns
from vermilion.local.index.slots import SlotTable, View
from vermilion.local.index.vectors import FlatVectors
from vermilion.local.snapshot import Snapshot
from vermilion.local.store import Store
from vermilion.local.transaction import Transaction
from vermilion.types import Space

# Slots of changed and deleted records are given up when they are more than the living ones, and
# more than this.
DEAD_SLOTS = 4_096


@dataclass(frozen=True)
class Moment:
    """A snapshot, and the indexes as of that snapshot; those not asked for may be None."""

    snapshot: Snapshot
    view: View
    columns: Columns | None
    vectors: FlatVectors | None


class Indexer:
    """The indexes of one collection."""

    def __init__(self, store: Store, space: Space) -> None:
        self._store = store
        self._space = space
        self._lock = threading.Lock()
        self._view: View | None = None
        self._columns: Columns | None = None
        self._vectors: FlatVectors | None = None

    @contextmanager
    def reading(self, *, columns: bool = False, vectors: bool = False) -> Iterator[Moment]:
        """This moment of the collection, with the indexes that are needed."""
        with ExitStack() as stack:
            with self._lock:
                snapshot = stack.enter_context(self._store.reading())
                moment = self._catch_up(snapshot, columns, vectors)
            yield moment

    @contextmanager
    def writing(self, *, columns: bool = False) -> Iterator[tuple[Transaction, Moment]]:
        """A transaction that may look things up before it writes."""
        with self._lock, self._store.writing() as transaction:
            yield transaction, self._catch_up(transaction, columns, False)

    def _drop(self) -> None:
        self._view = self._columns = self._vectors = None

    def _catch_up(self, snapshot: Snapshot, columns: bool, vectors: bool) -> Moment:
        try:
            if self._vectors is not None and self._vectors.dimension != snapshot.head.dimension:
                self._vectors = None  # emptied, and filled again with vectors of another dimension
            view = self._replay(snapshot)
            if self._missing(snapshot, columns, vectors) and not view.live.all():
                view = self._reload(snapshot)  # an index starts from slots that are all alive
            self._view = view
            self._build(snapshot, view, columns, vectors)
        except BaseException:
            self._drop()  # half applied is worse than not at all
            raise
        return Moment(snapshot, view, self._columns, self._vectors)

    def _missing(self, snapshot: Snapshot, columns: bool, vectors: bool) -> bool:
        dimension_known = snapshot.head.dimension is not None
        return (columns and self._columns is None) or (
            vectors and dimension_known and self._vectors is None
        )

    def _replay(self, snapshot: Snapshot) -> View:
        view, seq = self._view, snapshot.head.seq
        if view is None:
            return self._reload(snapshot)
        if view.seq == seq:
            return view
        touched = snapshot.touched_since(view.seq)
        if touched is None or 2 * len(touched.keys) > len(view) + DEAD_SLOTS:
            return self._reload(snapshot)
        change, live = view.table.advance(touched, snapshot.present(touched.keys), view.live)
        dead = len(live) - snapshot.head.rows
        if dead > max(DEAD_SLOTS, snapshot.head.rows):
            return self._reload(snapshot)
        self._apply(change, snapshot)
        return View(seq, live, view.table)

    def _reload(self, snapshot: Snapshot) -> View:
        self._drop()
        keys = snapshot.all_keys()
        return View(snapshot.head.seq, np.ones(len(keys), np.bool_), SlotTable(keys))

    def _apply(self, change: Change, snapshot: Snapshot) -> None:
        for index in (self._columns, self._vectors):
            if index is not None:
                index.apply(change, snapshot)

    def _build(self, snapshot: Snapshot, view: View, columns: bool, vectors: bool) -> None:
        nothing = np.full(len(view), -1), np.zeros(len(view), np.bool_)
        everything = Change(0, view.keys, *nothing)
        if columns and self._columns is None:
            self._columns = Columns()
            self._columns.apply(everything, snapshot)
        dimension = snapshot.head.dimension
        if vectors and self._vectors is None and dimension is not None:
            self._vectors = FlatVectors(self._space, dimension)
            self._vectors.apply(everything, snapshot)
