"""One collection of the local engine: its store, its indexes, and the operations on records.

The store's file is made by the first write, so a collection without records costs no file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Collection as AnyCollection
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vermilion import forks
from vermilion.configuration import Configuration, Hnsw
from vermilion.engine import Column, Selection
from vermilion.errors import (
    DamagedError,
    NotFoundError,
    StorageError,
    VermilionError,
    client_closed,
)
from vermilion.gathering import Gathering, Question
from vermilion.local import bulk, compactor, planner, values
from vermilion.local.builder import SHORT_TAIL, TAIL_ROWS, Builder
from vermilion.local.eraser import erasing
from vermilion.local.grapher import Grapher
from vermilion.local.indexer import Indexer
from vermilion.local.lasting import Lasting
from vermilion.local.lives import Lives
from vermilion.local.making import Making
from vermilion.local.search import FIRST, Wish
from vermilion.local.segment import FOLDER
from vermilion.local.snapshot import Head, Keys, no_records
from vermilion.local.store import Store
from vermilion.local.transaction import Transaction
from vermilion.records import Batch
from vermilion.types import USUAL, Course, Effort, Hits, Order, Page, Ranked, Records, WriteResult

if TYPE_CHECKING:  # forty classes, of which a first query needs none
    from vermilion.local.checker import Finding
    from vermilion.query.search import Search
    from vermilion.reports import Explanation, Facet, IndexingStatus, Stats, Summary, WhyNot
    from vermilion.schema.rules import Rules

# What an open file takes: SQLite's connection and pages.
HANDLE_BYTES = 450_000


USUAL_HNSW = Hnsw()


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


class LocalCollection(Lasting, Making):
    """Records of one collection."""

    _place: Place

    def __init__(
        self,
        configuration: Configuration,
        place: Place,
        folder: Path | None = None,
        *,
        rules: Rules | None = None,
        seal: bool = True,
    ) -> None:
        """`folder` is where its files are, or None when it lives in memory.

        Without `rules` every filter is allowed. Without `seal` it starts no builder.
        """
        self.configure(configuration)
        hnsw = configuration.hnsw
        self._rules = rules
        self._seals = seal
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
        self._closed = False
        self._gathering = Gathering()

    def configure(self, configuration: Configuration) -> None:
        """Goes by this configuration from now on."""
        self._hnsw = configuration.hnsw
        self._lives = Lives(configuration.ttl)
        self._history = configuration.history
        self._history_is_kept = configuration.history is None

    def close(self, *, for_good: bool = False) -> None:
        """Closes the store and drops the indexes; who asks opens them again unless `for_good`."""
        with self._guard:
            opened, self._opened = self._opened, None
            self._closed = self._closed or for_good
        if opened is not None:
            opened[0].close()

    def drop(self) -> bool:
        """Closes the store of a deleted collection, having told whoever else has it open.

        False when its file is not open here, and nobody was told.
        """
        with self._guard:
            opened, self._opened = self._opened, None
        if opened is None:
            return False
        told = False
        if opened[0].is_open:
            with suppress(StorageError, DamagedError, NotFoundError):
                opened[0].drop()
                told = True
        opened[0].close(give_up=True)
        return told

    def _allowed(self, selection: Selection) -> Selection:
        """What a read selects: the schema has to allow it, and the records have to be alive."""
        if self._rules is not None:
            self._rules.check(selection.filter)
        self._sweep_if_due()
        return self._lives.selection(selection)

    # ── writes ───────────────────────────────────────────────────────────────────────────────────

    def add(self, batch: Batch, *, new_only: bool = False, named: bool = False) -> WriteResult:
        """See Engine.add."""
        return self._write(
            batch,
            lambda one: one.add(self._lives.given(one, batch), new_only=new_only, named=named),
        )

    def upsert(self, batch: Batch, *, named: bool = False) -> WriteResult:
        """See Engine.upsert."""
        return self._write(
            batch, lambda one: one.upsert(self._lives.given(one, batch), named=named)
        )

    def update(self, batch: Batch, *, named: bool = False) -> WriteResult:
        """See Engine.update."""
        if self._open() is None:
            return WriteResult.of({"missing": batch.ids}, named=named)

        def update(transaction: Transaction) -> WriteResult:
            self._lives.bury(transaction, batch.ids)
            return transaction.update(batch, named=named)

        return self._write(batch, update)

    def update_where(
        self, selection: Selection, changes: Mapping[str, Any], *, named: bool = False
    ) -> WriteResult:
        """See Engine.update_where."""
        selection = self._allowed(selection)
        opened = self._open()
        if opened is None:
            return WriteResult()
        result, head = bulk.update(opened[1], selection, changes, named)
        self._seal_if_due(head)
        return result

    def delete(
        self, selection: Selection, limit: int | None, *, secure: bool = False, named: bool = False
    ) -> WriteResult:
        """See Engine.delete."""
        selection = self._allowed(selection)
        opened = self._open()
        if opened is None:
            return WriteResult.of({"missing": [*dict.fromkeys(selection.ids or ())]}, named=named)
        if not secure or self._folder is None:
            result, head = bulk.delete(*opened, selection, limit, named)
        else:
            with erasing(opened[0], self._folder):
                result, head = bulk.delete(*opened, selection, limit, named, self._folder)
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
        selection = self._allowed(selection)
        opened = self._open()
        if opened is None:
            return no_records(columns)
        store, indexer = opened
        if order_by:
            needs = planner.needs(selection)._replace(columns=True)
            stop = None if limit is None else (offset or 0) + limit
            with indexer.reading(needs) as moment:
                allowed = planner.select(moment, selection)
                keys = values.ordered(moment, allowed, order_by, stop)[offset or 0 :]
                return moment.snapshot.records(keys, columns)
        if selection.filter is None and (selection.ids is not None or not offset):
            with store.reading() as snapshot:
                if selection.ids is None:
                    return snapshot.records(snapshot.page_of_keys(limit), columns)
                if limit is None and not offset:
                    return snapshot.records_of(selection.ids, columns)
                found = snapshot.keys_of(selection.ids).values()
                keys = _page(np.sort(np.fromiter(found, np.int64, len(found))), limit, offset)
                return snapshot.records(keys, columns)
        with indexer.reading(planner.needs(selection)) as moment:
            stop = None if limit is None else (offset or 0) + limit
            keys = _page(planner.select_keys(moment, selection, stop), limit, offset)
            return moment.snapshot.records(keys, columns)

    def page(
        self, selection: Selection, columns: AnyCollection[Column], rows: int, after: int | None
    ) -> Page:
        """See Engine.page."""
        selection = self._allowed(selection)
        opened = self._open()
        if opened is None:
            return Page(no_records(columns), None)
        return bulk.page(*opened, selection, columns, rows, after)

    def facets(self, keys: Sequence[str], selection: Selection) -> list[list[Facet]]:
        """See Engine.facets."""
        selection = self._allowed(selection)
        opened = self._open()
        if opened is None:
            return [[] for _ in keys]
        with opened[1].reading(planner.needs(selection)._replace(columns=True)) as moment:
            allowed = planner.select(moment, selection)
            return [values.facets(moment, allowed, key) for key in keys]

    def summarize(self, key: str, by: str | None, selection: Selection) -> list[Summary]:
        """See Engine.summarize."""
        selection = self._allowed(selection)
        opened = self._open()
        if opened is None:
            return []
        with opened[1].reading(planner.needs(selection)._replace(columns=True)) as moment:
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
        question = Question(vectors, k, selection, columns, effort)
        if not question.is_small:
            return self._answer(question)
        return self._gathering.answer(question, self._answer)

    def _answer(self, question: Question) -> list[Hits]:
        vectors, columns = question.vectors, question.columns
        selection = self._allowed(question.selection)
        opened = self._open()
        if opened is None:
            return [Hits(no_records(columns), np.empty(0, np.float32)) for _ in vectors]
        with opened[1].reading(planner.needs(selection, vectors=len(vectors))) as moment:
            self._seal_if_due(moment.snapshot.head, damaged=opened[1].damaged, asked=True)
            if self._grapher is not None and moment.lacks_graph:
                self._grapher.start_if_due()
            wish = self._wish(question.k, question.effort)
            return planner.query(moment, wish, vectors, selection, columns)

    def search(self, searches: Sequence[Search]) -> list[Ranked]:
        """See Engine.search."""
        from vermilion.local import ranking
        from vermilion.query.plans import leaves, plan
        from vermilion.schema.rules import Rules

        rules = self._rules or Rules(None)
        plans = [plan(search, place) for place, search in enumerate(searches)]
        for one in plans:
            rules.check(one.filter)
            for leaf in leaves(one.rank):
                rules.check_ranked(leaf.key)
        plans = [replace(one, filter=self._lives.of_now(one.filter)) for one in plans]
        opened = self._open()
        if opened is None:
            return [ranking.no_answer(one) for one in plans]
        with opened[1].reading(ranking.needs(plans)) as moment:
            self._seal_if_due(moment.snapshot.head, damaged=opened[1].damaged, asked=True)
            return [ranking.search(moment, one, self._wish, rules) for one in plans]

    def explain(
        self, vectors: NDArray[np.float32], k: int, selection: Selection, effort: Effort
    ) -> Explanation:
        """See Engine.explain."""
        from vermilion.local import explain  # few programs ask
        from vermilion.reports import Explanation

        selection = self._allowed(selection)
        opened = self._open()
        if opened is None:
            return Explanation(0, 0, 0, 0, [Course("nothing", 0) for _ in vectors], {})
        with opened[1].reading(planner.needs(selection, vectors=1)) as moment:
            return explain.explain(moment, self._wish(k, effort), vectors, selection)

    def why_not(
        self, id: str, vector: NDArray[np.float32], k: int, selection: Selection, effort: Effort
    ) -> WhyNot:
        """See Engine.why_not."""
        from vermilion.local import explain  # as above
        from vermilion.reports import WhyNot

        selection = self._allowed(selection)
        opened = self._open()
        if opened is None:
            return WhyNot("unknown id")
        with opened[1].reading(planner.needs(selection, vectors=1)) as moment:
            return explain.why_not(moment, self._wish(k, effort), vector, selection, id)

    def _wish(self, k: int, effort: Effort = USUAL) -> Wish:
        # The default of a graph's ef_search is no wish of the user: codes need fewer candidates.
        wanted = self._hnsw.ef_search
        floor = FIRST if wanted == USUAL_HNSW.ef_search else wanted
        return Wish(self._hnsw.space, k, effort, floor)

    # ── indexes ──────────────────────────────────────────────────────────────────────────────────

    def indexing_status(self) -> IndexingStatus:
        """See Engine.indexing_status."""
        from vermilion.reports import IndexingStatus

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
            self._builder.start(SHORT_TAIL)
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
        selection = self._allowed(selection)
        opened = self._open()
        if opened is None:
            return 0
        store, indexer = opened
        if selection == Selection():
            with store.reading() as snapshot:
                return snapshot.head.rows
        with indexer.reading(planner.needs(selection)) as moment:
            return int(np.count_nonzero(planner.select(moment, selection)))

    # ── the files ────────────────────────────────────────────────────────────────────────────────

    def check(self, deep: bool) -> list[Finding]:
        """What is wrong with the collection; see Engine.check."""
        from vermilion.local.checker import check_store

        opened = self._open()
        return [] if opened is None else check_store(opened[0], self._indexes, deep)

    def cached_bytes(self, limit: int) -> int:
        """About how much memory it may take at most while it is open.

        If that were more than the limit, nothing is kept of filters from now on.
        """
        with self._guard:
            opened = self._opened
        if opened is None:
            return 0
        try:
            with opened[0].reading() as snapshot:
                size = HANDLE_BYTES + compactor.cached_bytes(snapshot, self._indexes)
        except VermilionError:  # it is damaged, or deleted
            return HANDLE_BYTES
        if size + opened[1].filter_bytes > limit:
            opened[1].forget_filters()
        return size + opened[1].filter_bytes

    def stats(self) -> Stats:
        """See Engine.stats."""
        from vermilion.reports import Stats

        opened = self._open()
        return Stats() if opened is None else compactor.stats(opened[0], self._folder)

    def compact(self) -> int:
        """See Engine.compact."""
        opened = self._open()
        if opened is None:
            return 0
        self._let_go(opened[0])
        return compactor.compact(opened[0])

    # ── opening ──────────────────────────────────────────────────────────────────────────────────

    def _seal_if_due(self, head: Head, *, damaged: bool = False, asked: bool = False) -> None:
        """Has the tail sealed, by another process, when it is long or stays as it is."""
        self._sweep_if_due()
        if self._builder is not None:
            self._builder.seal_if_due(head, damaged=damaged, asked=asked)

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
                    self._remember(transaction)
                    result = change(transaction)
                    after = transaction.head.dimension
                    if after is not None and after != before:
                        self._place.dimension_changes(before, after)
            except MadeMeanwhile:
                continue
            self._history_is_kept = True
            self._seal_if_due(transaction.head)
            return result

    def _open(self) -> tuple[Store, Indexer] | None:
        with self._guard:
            if self._closed:  # while this call stood in line
                raise client_closed()
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


def _page(keys: Keys, limit: int | None, offset: int | None) -> Keys:
    start = offset or 0
    return keys[start : None if limit is None else start + limit]
