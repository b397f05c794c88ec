"""What is done to all records of a selection at once: they are changed, deleted, told in pages."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vermilion.engine import Column, Selection
from vermilion.local import history, planner
from vermilion.local.eraser import forget
from vermilion.local.indexer import Indexer
from vermilion.local.snapshot import Head, Keys, Snapshot
from vermilion.local.store import Store
from vermilion.local.transaction import Transaction
from vermilion.records import Batch
from vermilion.types import Page, WriteResult


def update(
    indexer: Indexer, selection: Selection, changes: Mapping[str, Any], named: bool
) -> tuple[WriteResult, Head]:
    """Merges the changes into the metadata of the selected records, in one transaction."""
    with indexer.writing(planner.needs(selection)) as (transaction, moment):
        ids = transaction.records(planner.select_keys(moment, selection)).ids
        batch = Batch(ids, metadatas=[changes] * len(ids))
        return transaction.update(batch, named=named), transaction.head


def page(
    store: Store,
    indexer: Indexer,
    selection: Selection,
    columns: Collection[Column],
    rows: int,
    after: int | None,
) -> Page:
    """The next selected records; see Engine.page."""
    if selection == Selection():
        with store.reading() as snapshot:
            return _told(snapshot, snapshot.page_of_keys(rows + 1, after), columns, rows)
    with indexer.reading(planner.needs(selection)) as moment:
        keys = planner.select_keys(moment, selection, rows + 1, after)
        return _told(moment.snapshot, keys, columns, rows)


def _told(snapshot: Snapshot, keys: Keys, columns: Collection[Column], rows: int) -> Page:
    """The page of these keys, of which one more than it has rows tells that there is a next."""
    shown = keys[:rows]
    return Page(snapshot.records(shown, columns), int(shown[-1]) if len(keys) > rows else None)


def delete(
    store: Store,
    indexer: Indexer,
    selection: Selection,
    limit: int | None,
    named: bool,
    forgetting: Path | None = None,
) -> tuple[WriteResult, Head]:
    """Deletes in one transaction; with `forgetting`, segments that hold the records go, too."""
    if selection.filter is None and selection.ids is not None:
        with store.writing() as transaction:
            found = transaction.keys_of(selection.ids)
            keys = np.sort(np.fromiter(found.values(), np.int64, len(found)))[:limit]
            missing = [id for id in dict.fromkeys(selection.ids) if id not in found]
            return _delete_keys(transaction, keys, missing, named, forgetting)
    with indexer.writing(planner.needs(selection)) as (transaction, moment):
        keys = planner.select_keys(moment, selection)[:limit]
        return _delete_keys(transaction, keys, [], named, forgetting)


def _delete_keys(
    transaction: Transaction, keys: Keys, missing: list[str], named: bool, forgetting: Path | None
) -> tuple[WriteResult, Head]:
    gone = transaction.records(keys).ids if named else []
    deleted = transaction.delete(keys)
    if forgetting is not None:
        forget(transaction, forgetting, keys)
        history.forget(transaction, keys)
    result = WriteResult.of({"deleted": gone, "missing": missing}, named=named)
    return replace(result, deleted=deleted), transaction.head
