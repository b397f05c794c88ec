"""The part of a local collection that knows which function made its vectors."""

from __future__ import annotations

import json
from abc import abstractmethod
from contextlib import ExitStack
from typing import Any, Protocol

from vermilion.local import history
from vermilion.local.indexer import Indexer
from vermilion.local.lives import Lives
from vermilion.local.snapshot import Head, Snapshot
from vermilion.local.store import Store
from vermilion.local.transaction import Transaction
from vermilion.switching import MOST_MISSING


class Staged(Protocol):
    """A collection that has new vectors."""

    def store(self) -> Store | None:
        """Its store, if it has records."""
        ...


class Told(Protocol):
    """Who hears that the dimension of a collection changes."""

    def dimension_changes(self, old: int | None, new: int) -> None:
        """Called before it changes for everybody."""
        ...


class Making:
    """What `LocalCollection` inherits."""

    _place: Told
    _lives: Lives

    @abstractmethod
    def _open(self) -> tuple[Store, Indexer] | None: ...

    @abstractmethod
    def _seal_if_due(self, head: Head, *, damaged: bool = False, asked: bool = False) -> None: ...

    def made_with(self) -> tuple[int | None, dict[str, Any] | None]:
        """The dimension of its vectors, when one was ever written, and what made them anew."""
        opened = self._open()
        if opened is None:
            return None, None
        with opened[0].reading() as snapshot:
            maker = snapshot.maker()
            return snapshot.head.dimension, None if maker is None else json.loads(maker)

    def switch_vectors(self, staged: Staged, function: dict[str, Any]) -> list[str]:
        """See Engine.switch_vectors; without a store there is nothing to switch."""
        opened, source = self._open(), staged.store()
        if opened is None:
            return []
        with ExitStack() as stack:
            there = None if source is None else stack.enter_context(source.reading())
            transaction = stack.enter_context(opened[0].writing())
            head, form = transaction.head, json.dumps(function, sort_keys=True)
            if not head.rows:
                transaction.set_maker(form)
            elif there is None:
                return transaction.records(transaction.page_of_keys(MOST_MISSING)).ids
            elif missing := _replaced(transaction, there, form):
                self._lives.bury(transaction, missing)  # what nobody sees any more
                return missing
            # From now on the catalogue asks here: see Catalogue.dimension_changes.
            self._place.dimension_changes(head.dimension or 0, head.dimension or 0)
        self._seal_if_due(head)
        return []

    def function_changes(self, function: dict[str, Any]) -> None:
        """Where the records know which function made them, they are told of its new values."""
        opened = self._open()
        if opened is not None and self.made_with()[1] is not None:
            with opened[0].writing() as transaction:
                transaction.set_maker(json.dumps(function, sort_keys=True))


def _replaced(transaction: Transaction, staged: Snapshot, form: str) -> list[str]:
    """Replaces all vectors; returns the ids that lack one.

    A history that is kept begins anew: no moment before has vectors that compare with these.
    """
    kept = history.is_kept(transaction)
    with history.untold(transaction.connection):
        missing = transaction.replace_vectors(staged, form)
    if kept and not missing:
        history.keep(transaction, False)
        history.keep(transaction, True)
    return missing
