"""The read path: a selection becomes slots, slots become the nearest ones.

Filters are answered by the metadata columns, as masks over slots. What only the document can tell
is asked last, of the slots that are still in question.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from vermilion.engine import Column, Selection
from vermilion.errors import DimensionError
from vermilion.local.index.base import Mask, Slots
from vermilion.local.indexer import Moment
from vermilion.local.snapshot import Keys
from vermilion.types import Hits, Records, pages
from vermilion.where import DOCUMENT, ID, And, Condition, Filter, Or, conditions

# Documents read from the store at a time while a filter is tested on them.
DOCUMENTS = 4_096


def needs_columns(selection: Selection) -> bool:
    """Whether the metadata columns are asked for by this selection."""
    return selection.filter is not None and any(
        condition.field not in (DOCUMENT, ID) for condition in conditions(selection.filter)
    )


def select(moment: Moment, selection: Selection) -> Slots:
    """The slots of the selected records, ascending."""
    view = moment.view
    if selection.ids is None and selection.filter is None:
        return view.living
    mask = view.live if selection.ids is None else _with_ids(moment, selection.ids)
    if selection.filter is not None:
        mask = matching(moment, selection.filter, mask)
    return np.flatnonzero(mask)


def select_keys(moment: Moment, selection: Selection) -> Keys:
    """The keys of the selected records, in the order of insertion."""
    if selection == Selection():
        return moment.view.ordered
    return np.sort(moment.view.keys[select(moment, selection)])


def nearest(
    moment: Moment,
    queries: NDArray[np.float32],
    k: int,
    selection: Selection,
    columns: Collection[Column],
) -> list[Hits]:
    """For each query the nearest of the selected records."""
    wanted = moment.snapshot.head.dimension
    if wanted is not None and queries.shape[1] != wanted:
        raise DimensionError(
            f"Collection expecting embedding with dimension of {wanted}, got {queries.shape[1]}"
        )
    if moment.vectors is None:
        nothing = np.empty(0, np.int64), np.empty(0, np.float32)
        return [_hits(moment, *nothing, columns) for _ in queries]
    slots = select(moment, selection)
    found = moment.vectors.search(queries, k, slots, moment.view.keys[slots])
    return [_hits(moment, one.slots, one.distances, columns) for one in found]


def _hits(
    moment: Moment, slots: Slots, distances: NDArray[np.float32], columns: Collection[Column]
) -> Hits:
    records: Records = moment.snapshot.records(moment.view.keys[slots], columns)
    return Hits(records, distances)


# ── filters ──────────────────────────────────────────────────────────────────────────────────────


def matching(moment: Moment, filter: Filter, within: Mask) -> Mask:
    """Which of the slots in `within` match."""
    if isinstance(filter, And):
        mask = within
        for part in _cheap_first(filter.parts):
            mask = matching(moment, part, mask)
        return mask
    if isinstance(filter, Or):
        found = np.zeros_like(within)
        for part in _cheap_first(filter.parts):
            found |= matching(moment, part, within & ~found)
        return found
    return within & _holds(moment, filter, within)


def _cheap_first(parts: tuple[Filter, ...]) -> list[Filter]:
    """Parts that read documents come last, when few slots are left to read."""
    return sorted(parts, key=lambda part: any(c.field == DOCUMENT for c in conditions(part)))


def _holds(moment: Moment, condition: Condition, within: Mask) -> Mask:
    if condition.field == DOCUMENT:
        return _in_documents(moment, condition, within)
    if condition.field == ID:
        operand = condition.operand
        mask = _with_ids(moment, operand if isinstance(operand, list) else [operand])
        return ~mask if condition.operator.negated else mask
    assert moment.columns is not None, "the columns were not asked for"
    return moment.columns.matches(condition, len(moment.view))


def _with_ids(moment: Moment, ids: list[str]) -> Mask:
    strings = [id for id in ids if isinstance(id, str)]
    keys = moment.snapshot.keys_of(strings)
    return moment.view.mask(np.fromiter(keys.values(), np.int64, len(keys)))


def _in_documents(moment: Moment, condition: Condition, within: Mask) -> Mask:
    mask = np.zeros_like(within)
    slots = np.flatnonzero(within)
    test, operand, negated = (
        condition.operator.test,
        condition.operand,
        condition.operator.negated,
    )
    for page in pages(len(slots), DOCUMENTS):
        documents = moment.snapshot.documents(moment.view.keys[slots[page]])
        mask[slots[page]] = [test(document, operand) != negated for document in documents]
    return mask
