"""One collection of the local engine: its store, its indexes, and the operations on records.

The store's file is made by the first write, so a collection without records costs no file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Collection as AnyCollection
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from vermilion import forks
from vermilion.configuration import Hnsw
from vermilion.engine import Column, Selection
from vermilion.errors import DamagedError, NotFoundError, StorageError, VermilionError
from vermilion.local import compactor, explain, planner, values
from vermilion.local.builder import TAIL_ROWS, Builder
from vermilion.local.eraser import erasing, forget
from vermilion.local.grapher import Grapher
from vermilion.local.indexer import Indexer
from vermilion.local.search import FIRST, Wish
from vermilion.local.segment import FOLDER
from vermilion.local.snapshot import Head, Keys, Snapshot, no_records
from vermilion.local.store import Store
from vermilion.local.transaction import Transaction
from vermilion.records import Batch
from vermilion.types import (
    USUAL,
    Course,
    Effort,
    Explanation,
    Facet,
    Hits,
    IndexingStatus,
    Order,
    Ranked,
    Records,
    Stats,
    Summary,
    WhyNot,
    WriteResult,
)

if TYPE_CHECKING:  # forty classes, of which a first query needs none
    from vermilion.local.checker import Finding
    from vermilion.schema_rules import Rules
    from vermilion.search import Search

# What an open file takes: SQLite's connection and pages.
HANDLE_BYTES = 450_000


class MadeMeanwhile(Exception):
    """Another writer made the store of a collection first."""


class Place(Protocol):
    """Where the records of a collection are, or will be. Both raise NotFoundError."""

    def find(self) -> Store | None:
        """The store, if there is one."""
        ...

    def creating(self, dimension: int | None, rows: int) -> AbstractContextManager[Transaction]:
        """The transaction that makes it with so many rows, or nothing at all.

        Raises MadeMeanwhile at its end.
        """
        ...

    def dimension_changes(self, old: int | None, new: int) -> None:
        """Called before the dimension changes for everybody."""
        ...


class LocalCollection:
    """Records of one collection."""

    def __init__(
        self,
        hnsw: Hnsw,
        place: Place,
        folder: Path | None = None,
        *,
        rules: Rules | None = None,
        seal: bool = True,
    ) -> None:
        """`folder` is where its files are, or None when it lives in memory.

        Without `rules` every filter is allowed. Without `seal` it starts no builder.
        """
        self._hnsw = hnsw
        self._rules = rules
        self._place = place
        self._folder = folder
        self._builder: Builder | None = None
        self._grapher: Grapher | None = None
        if folder is not None and seal:
            self._grapher = Grapher(folder, hnsw)
            self._builder = Builder(folder, hnsw.space, self._grapher.start_if_due)
        self._indexes = None if folder is None else folder / FOLDER
        self._guard = forks.Lock()
        self._opened: tuple[Store, Indexer] | None = None

    def close(self) -> None:
        """Closes the store and drops the indexes."""
        with self._guard:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened[0].close()

    def drop(self) -> bool:
        """Closes the store of a deleted collection, having told whoever else has it open.

        False when it is not open here, and nobody was told.
        """
        with self._guard:
            opened, self._opened = self._opened, None
        if opened is None:
            return False
        told = False
        with suppress(StorageError, DamagedError, NotFoundError):
            opened[0].drop()
            told = True
        opened[0].close(give_up=True)
        return told

    # ── writes ───────────────────────────────────────────────────────────────────────────────────

    def add(self, batch: Batch) -> WriteResult:
        """See Engine.add."""
        return self._write(batch, lambda transaction: transaction.add(batch))

    def upsert(self, batch: Batch) -> WriteResult:
        """See Engine.upsert."""
        return self._write(batch, lambda transaction: transaction.upsert(batch))

    def update(self, batch: Batch) -> WriteResult:
        """See Engine.update."""
        if self._open() is None:
            return WriteResult(missing=len(batch))
        return self._write(batch, lambda transaction: transaction.update(batch))

    def delete(self, selection: Selection, limit: int | None, secure: bool = False) -> WriteResult:
        """See Engine.delete."""
        self._check(selection)
        opened = self._open()
        if opened is None:
            return WriteResult(missing=len(set(selection.ids or ())))
        if not secure or self._folder is None:
            result, head = _delete(*opened, selection, limit)
        else:
            with erasing(opened[0], self._folder):
                result, head = _delete(*opened, selection, limit, self._folder)
        self._seal_if_due(head)
        return result

    # ── reads ────────────────────────────────────────────────────────────────────────────────────

    def get(
        self,
        selection: Selection,
        columns: AnyCollection[Column],
        limit: int | None,
        offset: int | None,
        order_by: Sequence[Order] = (),
    ) -> Records:
        """See Engine.get."""
        self._check(selection)
        opened = self._open()
        if opened is None:
            return no_records(columns)
        store, indexer = opened
        if order_by:
            needs = replace(planner.needs(selection), columns=True)
            stop = None if limit is None else (offset or 0) + limit
            with indexer.reading(needs) as moment:
                allowed = planner.select(moment, selection)
                keys = values.ordered(moment, allowed, order_by, stop)[offset or 0 :]
                return moment.snapshot.records(keys, columns)
        if selection.filter is None and (selection.ids is not None or not offset):
            with store.reading() as snapshot:
                if selection.ids is None:
                    keys = snapshot.page_of_keys(limit)
                else:
                    found = snapshot.keys_of(selection.ids).values()
                    keys = _page(np.sort(np.fromiter(found, np.int64, len(found))), limit, offset)
                return snapshot.records(keys, columns)
        with indexer.reading(planner.needs(selection)) as moment:
            stop = None if limit is None else (offset or 0) + limit
            keys = _page(planner.select_keys(moment, selection, stop), limit, offset)
            return moment.snapshot.records(keys, columns)

    def scan(
        self, selection: Selection, columns: AnyCollection[Column], rows: int
    ) -> Iterator[Records]:
        """See Engine.scan."""
        self._check(selection)
        opened = self._open()
        if opened is None:
            return
        store, indexer = opened
        if selection == Selection():
            with store.reading() as snapshot:
                yield from _pages(snapshot, snapshot.all_keys(), columns, rows)
            return
        with indexer.reading(planner.needs(selection)) as moment:
            keys = planner.select_keys(moment, selection)
            yield from _pages(moment.snapshot, keys, columns, rows)

    def facets(self, keys: Sequence[str], selection: Selection) -> list[list[Facet]]:
        """See Engine.facets."""
        self._check(selection)
        opened = self._open()
        if opened is None:
            return [[] for _ in keys]
        with opened[1].reading(replace(planner.needs(selection), columns=True)) as moment:
            allowed = planner.select(moment, selection)
            return [values.facets(moment, allowed, key) for key in keys]

    def summarize(self, key: str, by: str | None, selection: Selection) -> list[Summary]:
        """See Engine.summarize."""
        self._check(selection)
        opened = self._open()
        if opened is None:
            return []
        with opened[1].reading(replace(planner.needs(selection), columns=True)) as moment:
            return values.summaries(moment, planner.select(moment, selection), key, by)

    def query(
        self,
        vectors: NDArray[np.float32],
        k: int,
        selection: Selection,
        columns: AnyCollection[Column],
        effort: Effort,
    ) -> list[Hits]:
        """See Engine.query."""
        self._check(selection)
        opened = self._open()
        if opened is None:
            return [Hits(no_records(columns), np.empty(0, np.float32)) for _ in vectors]
        with opened[1].reading(planner.needs(selection, vectors=len(vectors))) as moment:
            self._seal_if_due(moment.snapshot.head, damaged=opened[1].damaged)
            if self._grapher is not None and explain.lacks_graph(moment):
                self._grapher.start_if_due()
            return planner.query(moment, self._wish(k, effort), vectors, selection, columns)

    def search(self, searches: Sequence[Search]) -> list[Ranked]:
        """See Engine.search."""
        from vermilion.local import ranking
        from vermilion.plans import leaves, plan
        from vermilion.schema_rules import Rules

        rules = self._rules or Rules(None)
        plans = [plan(search, place) for place, search in enumerate(searches)]
        for one in plans:
            rules.check(one.filter)
            for leaf in leaves(one.rank):
                rules.check_ranked(leaf.key)
        opened = self._open()
        if opened is None:
            return [ranking.no_answer(one) for one in plans]
        with opened[1].reading(ranking.needs(plans)) as moment:
            self._seal_if_due(moment.snapshot.head, damaged=opened[1].damaged)
            return [ranking.search(moment, one, self._wish, rules) for one in plans]

    def explain(
        self, vectors: NDArray[np.float32], k: int, selection: Selection, effort: Effort
    ) -> Explanation:
        """See Engine.explain."""
        self._check(selection)
        opened = self._open()
        if opened is None:
            return Explanation(0, 0, 0, 0, [Course("nothing", 0) for _ in vectors], {})
        with opened[1].reading(planner.needs(selection, vectors=1)) as moment:
            return explain.explain(moment, self._wish(k, effort), vectors, selection)

    def why_not(
        self, id: str, vector: NDArray[np.float32], k: int, selection: Selection, effort: Effort
    ) -> WhyNot:
        """See Engine.why_not."""
        self._check(selection)
        opened = self._open()
        if opened is None:
            return WhyNot("unknown id")
        with opened[1].reading(planner.needs(selection, vectors=1)) as moment:
            return explain.why_not(moment, self._wish(k, effort), vector, selection, id)

    def _check(self, selection: Selection) -> None:
        if self._rules is not None:
            self._rules.check(selection.filter)

    def _wish(self, k: int, effort: Effort = USUAL) -> Wish:
        # The default of a graph's ef_search is no wish of the user: codes need fewer candidates.
        wanted = self._hnsw.ef_search
        floor = FIRST if wanted == Hnsw().ef_search else wanted
        return Wish(self._hnsw.space, k, effort, floor)

    # ── indexes ──────────────────────────────────────────────────────────────────────────────────

    def indexing_status(self) -> IndexingStatus:
        """See Engine.indexing_status."""
        opened = self._open()
        rows = tail = 0
        if opened is not None:
            with opened[0].reading() as snapshot:
                rows, tail = snapshot.head.rows, min(snapshot.head.tail, snapshot.head.rows)
        if tail < TAIL_ROWS:  # so few are searched exactly; there is nothing to wait for
            tail = 0
        return IndexingStatus(rows - tail, tail, rows, 1.0 if not rows else (rows - tail) / rows)

    def flush(self) -> None:
        """See Engine.flush."""
        while self._builder is not None and self.indexing_status().num_unindexed_ops:
            before = self.indexing_status()
            self._builder.start()
            self._builder.wait()
            if self.indexing_status() == before and not self._builder.busy_elsewhere():
                return  # these vectors cannot be coded: they are searched exactly
        self._flush_graphs()

    def _flush_graphs(self) -> None:
        opened = self._open()
        while opened is not None and self._grapher is not None:
            missing = self._grapher.missing(opened[0])
            if not missing:
                return
            self._grapher.start()
            self._grapher.wait()
            if self._grapher.missing(opened[0]) == missing and not self._grapher.busy_elsewhere():
                return  # there is no room for it

    def count(self, selection: Selection) -> int:
        """See Engine.count."""
        self._check(selection)
        opened = self._open()
        if opened is None:
            return 0
        store, indexer = opened
        if selection == Selection():
            with store.reading() as snapshot:
                return snapshot.head.rows
        with indexer.reading(planner.needs(selection)) as moment:
            return int(np.count_nonzero(planner.select(moment, selection)))

    def dimension(self) -> int | None:
        """The dimension of its vectors, when one was ever written."""
        opened = self._open()
        if opened is None:
            return None
        with opened[0].reading() as snapshot:
            return snapshot.head.dimension

    # ── the files ────────────────────────────────────────────────────────────────────────────────

    def check(self, deep: bool) -> list[Finding]:
        """What is wrong with the collection; see Engine.check."""
        from vermilion.local.checker import check_store

        opened = self._open()
        return [] if opened is None else check_store(opened[0], self._indexes, deep)

    def cached_bytes(self) -> int:
        """About how much memory it may take at most while it is open."""
        with self._guard:
            opened = self._opened
        if opened is None:
            return 0
        try:
            with opened[0].reading() as snapshot:
                return HANDLE_BYTES + compactor.cached_bytes(snapshot, self._indexes)
        except VermilionError:  # it is damaged, or deleted
            return HANDLE_BYTES

    def stats(self) -> Stats:
        """See Engine.stats."""
        opened = self._open()
        return Stats() if opened is None else compactor.stats(opened[0], self._folder)

    def compact(self) -> int:
        """See Engine.compact."""
        opened = self._open()
        return 0 if opened is None else compactor.compact(opened[0])

    # ── opening ──────────────────────────────────────────────────────────────────────────────────

    def _seal_if_due(self, head: Head, *, damaged: bool = False) -> None:
        """Has the tail sealed, by another process, when it is long."""
        if self._builder is not None and (damaged or head.tail >= TAIL_ROWS):
            self._builder.start()

    def _write(self, batch: Batch, change: Callable[[Transaction], WriteResult]) -> WriteResult:
        """One transaction; the first one makes the store, or leaves nothing."""
        while True:
            opened = self._open()
            if opened is None:
                writing = self._place.creating(batch.dimension, len(batch))
            else:
                writing = opened[0].writing()
            try:
                with writing as transaction:
                    before = transaction.head.dimension
                    result = change(transaction)
                    after = transaction.head.dimension
                    if after is not None and after != before:
                        self._place.dimension_changes(before, after)
            except MadeMeanwhile:
                continue
            self._seal_if_due(transaction.head)
            return result

    def _open(self) -> tuple[Store, Indexer] | None:
        with self._guard:
            if self._opened is None:
                store = self._place.find()
                if store is not None:
                    self._opened = store, Indexer(store, self._hnsw.space, self._indexes)
            return self._opened

    @property
    def folder(self) -> Path | None:
        """Where its files are, or None when it lives in memory."""
        return self._folder

    def store(self) -> Store | None:
        """Its store, if it has records or ever had."""
        opened = self._open()
        return None if opened is None else opened[0]


def _delete(
    store: Store,
    indexer: Indexer,
    selection: Selection,
    limit: int | None,
    forgetting: Path | None = None,
) -> tuple[WriteResult, Head]:
    """Deletes in one transaction; with `forgetting`, segments that hold the records go, too."""
    if selection.filter is None and selection.ids is not None:
        with store.writing() as transaction:
            found = transaction.keys_of(selection.ids).values()
            keys = np.sort(np.fromiter(found, np.int64, len(found)))[:limit]
            missing = max(0, len(set(selection.ids)) - len(found))
            return _delete_keys(transaction, keys, missing, forgetting)
    with indexer.writing(planner.needs(selection)) as (transaction, moment):
        keys = planner.select_keys(moment, selection)[:limit]
        return _delete_keys(transaction, keys, 0, forgetting)


def _delete_keys(
    transaction: Transaction, keys: Keys, missing: int, forgetting: Path | None
) -> tuple[WriteResult, Head]:
    deleted = transaction.delete(keys)
    if forgetting is not None:
        forget(transaction, forgetting, keys)
    return WriteResult(deleted=deleted, missing=missing), transaction.head


def _pages(
    snapshot: Snapshot, keys: Keys, columns: AnyCollection[Column], rows: int
) -> Iterator[Records]:
    for start in range(0, len(keys), rows):
        yield snapshot.records(keys[start : start + rows], columns)


def _page(keys: Keys, limit: int | None, offset: int | None) -> Keys:
    start = offset or 0
    return keys[start : None if limit is None else start + limit]
