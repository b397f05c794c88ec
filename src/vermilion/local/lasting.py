"""The part of a local collection that is about time: what expires, and what it was before."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from collections.abc import Collection as AnyCollection
from contextlib import suppress
from datetime import datetime
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING

from vermilion.engine import Column, Selection
from vermilion.errors import NotFoundError, VermilionError
from vermilion.local import bulk, history, planner
from vermilion.local.indexer import Indexer
from vermilion.local.lives import SWEEP_ROWS, Lives
from vermilion.local.snapshot import Keys
from vermilion.local.store import Store
from vermilion.local.transaction import Transaction
from vermilion.records import Batch
from vermilion.types import Records, WriteResult

if TYPE_CHECKING:
    from vermilion.reports import Call, Difference


class Lasting:
    """What `LocalCollection` inherits."""

    _lives: Lives
    _history: float | None
    _history_is_kept: bool
    _seals: bool

    @abstractmethod
    def _open(self) -> tuple[Store, Indexer] | None: ...

    @abstractmethod
    def _allowed(self, selection: Selection) -> Selection: ...

    @abstractmethod
    def _write(self, batch: Batch, change: Callable[[Transaction], WriteResult]) -> WriteResult: ...

    def scan(
        self,
        selection: Selection,
        columns: AnyCollection[Column],
        rows: int,
        at: datetime | None = None,
        offset: int = 0,
    ) -> Iterator[Records]:
        """See Engine.scan."""
        if at is not None:
            self._past()
        else:
            selection = self._allowed(selection)
        opened = self._open()
        if opened is None:
            return
        store, indexer = opened
        if at is not None or selection == Selection():
            with store.reading() as snapshot:
                if at is None:
                    for keys in snapshot.pages_of_keys(rows, offset):
                        yield snapshot.records(keys, columns)
                else:
                    then = history.then(snapshot, at)
                    keys = history.keys_then(snapshot, then)
                    read = partial(history.records_then, snapshot, then, columns=columns)
                    yield from _pages(read, keys[offset:], rows)
            return
        with indexer.reading(planner.needs(selection)) as moment:
            keys = planner.select_keys(moment, selection)
            yield from _pages(
                partial(moment.snapshot.records, columns=columns), keys[offset:], rows
            )

    # ── history ──────────────────────────────────────────────────────────────────────────────────

    def history(self, limit: int | None) -> list[Call]:
        """See Engine.history."""
        store = self._past()
        if store is None:
            return []
        with store.reading() as snapshot:
            return history.calls(snapshot, limit)

    def difference(self, since: datetime, until: datetime) -> Difference:
        """See Engine.difference."""
        from vermilion.reports import Difference

        store = self._past()
        if store is None:
            return Difference([], [], [])
        with store.reading() as snapshot:
            return history.difference(snapshot, since, until)

    def undo(self, call: int | None) -> WriteResult:
        """See Engine.undo."""
        if self._past() is None:
            raise NotFoundError("The history of the collection does not have a call to undo")
        return self._write(Batch([]), lambda transaction: history.undo(transaction, call))

    def keep_history(self) -> None:
        """Begins to keep it, or forgets it, as the configuration says."""
        opened = self._open()
        if opened is not None:
            with opened[0].writing() as transaction:
                history.keep(transaction, self._history is not None)

    def _past(self) -> Store | None:
        """What has the history; None before the first write. Raises NotFoundError without one."""
        if self._history is None:
            raise history.not_kept()
        opened = self._open()
        return None if opened is None else opened[0]

    def _remember(self, transaction: Transaction) -> None:
        """Has the past of what is written kept, and forgets what is past the retention."""
        if not self._history_is_kept:
            history.keep(transaction, True)
        if self._history is not None:
            history.prune(transaction, self._history)

    # ── what expires ─────────────────────────────────────────────────────────────────────────────

    def _sweep_if_due(self) -> None:
        """Deletes records that have expired, beside the call that comes to think of it."""
        ended = self._lives.ended()
        if ended is not None and self._seals:
            Thread(target=self._sweep, args=(ended,), daemon=True).start()

    def _sweep(self, ended: Selection) -> None:
        with suppress(VermilionError):  # closed or deleted meanwhile, or the disk is full
            opened = self._open()
            while opened is not None and bulk.delete(*opened, ended, SWEEP_ROWS, False)[0].deleted:
                pass

    def _let_go(self, store: Store) -> None:
        """Gives up now what has expired, and what is past the retention."""
        self._lives.sweep_soon()
        ended = self._lives.ended()
        if ended is not None:
            self._sweep(ended)
        if self._history is not None:
            with store.writing() as transaction:
                history.prune(transaction, self._history, slack=1.0)


def _pages(read: Callable[[Keys], Records], keys: Keys, rows: int) -> Iterator[Records]:
    for start in range(0, len(keys), rows):
        yield read(keys[start : start + rows])
