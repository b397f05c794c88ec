"""Records that expire: no read sees them from that moment on, and later they are deleted.

A collection with a rule (`lifetimes.Ttl`) has a metadata field that says when a record's life ends.
Reads get one more condition; writes first remove what has expired of the ids they name.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from vermilion.engine import Selection
from vermilion.lifetimes import Ttl
from vermilion.local.transaction import Transaction
from vermilion.query.operators import OPERATORS
from vermilion.query.where import And, Condition, Filter, Or
from vermilion.records import Batch

_ENDED = OPERATORS["$lte"]
_NOT_ENDED = _ENDED._replace(negated=True)
# How often one process looks for records to delete, and how many go in one transaction.
SWEEP_SECONDS = 60.0
SWEEP_ROWS = 2_000


class Lives:
    """When records of a collection expire; without a rule they never do."""

    def __init__(self, ttl: Ttl | None) -> None:
        self._ttl = ttl
        self._swept = time.monotonic()

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    def of_now(self, filter: Filter | None) -> Filter | None:
        """The filter, and that the records are alive."""
        if self._ttl is None:
            return filter
        alive = tuple(Condition(self._ttl.field, _NOT_ENDED, now) for now in _now())
        return And(alive if filter is None else (filter, *alive))

    def selection(self, selection: Selection) -> Selection:
        """Those of the selected records that are alive."""
        if self._ttl is None:
            return selection
        return Selection(selection.ids, self.of_now(selection.filter))

    def ended(self) -> Selection | None:
        """The records to be deleted; None when it is not yet time to look for them again."""
        if self._ttl is None or time.monotonic() < self._swept + SWEEP_SECONDS:
            return None
        self._swept = time.monotonic()
        return Selection(
            filter=Or(tuple(Condition(self._ttl.field, _ENDED, now) for now in _now()))
        )

    def sweep_soon(self) -> None:
        """Has `ended` look at its next call."""
        self._swept = -SWEEP_SECONDS

    # ── writing ──────────────────────────────────────────────────────────────────────────────────

    def given(self, transaction: Transaction, batch: Batch) -> Batch:
        """The batch with the ends that the rule gives to new records.

        What has expired of its ids is deleted first.
        """
        self.bury(transaction, batch.ids)
        ttl = self._ttl
        if ttl is None or ttl.seconds is None:
            return batch
        end, taken = time.time() + ttl.seconds, transaction.keys_of(batch.ids)
        metadatas: Sequence[Mapping[str, Any] | None] = batch.metadatas or [None] * len(batch)
        return replace(
            batch,
            metadatas=[
                metadata
                if id in taken or ttl.field in (metadata or {})
                else {**(metadata or {}), ttl.field: end}
                for id, metadata in zip(batch.ids, metadatas, strict=True)
            ],
        )

    def bury(self, transaction: Transaction, ids: Sequence[str]) -> None:
        """Deletes the records with these ids that have expired."""
        if self._ttl is None:
            return
        field = self._ttl.field
        found = transaction.keys_of(ids).values()
        keys = np.sort(np.fromiter(found, np.int64, len(found)))
        ends = [(metadata or {}).get(field) for metadata in transaction.metadatas(keys)]
        over = np.array([any(_ENDED.test(end, now) for now in _now()) for end in ends], np.bool_)
        if over.any():
            transaction.delete(keys[over])


def _now() -> tuple[float, datetime]:
    """This moment, for ends that are numbers and for those that are times."""
    now = time.time()
    return now, datetime.fromtimestamp(now, UTC)
