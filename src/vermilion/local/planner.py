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
from vermilion.local.index.base import Mask
from vermilion.local.index.vectors import Nearest
from vermilion.local.indexer import Moment, Needs
from vermilion.local.search import Wish, search
from vermilion.local.snapshot import Keys
from vermilion.types import Hits, pages
from vermilion.where import DOCUMENT, ID, And, Condition, Filter, Or, conditions

# Documents read from the store at a time while a filter is tested on them.
DOCUMENTS = 4_096


def needs(selection: Selection, *, vectors: bool = False) -> Needs:
    """Which indexes this selection asks for."""
    fields = (
        [condition.field for condition in conditions(selection.filter)]
        if (selection.filter is not None)
        else []
    )
    return Needs(
        vectors=vectors,
        columns=any(field not in (DOCUMENT, ID) for field in fields),
        text=DOCUMENT in fields,
    )


def select(moment: Moment, selection: Selection) -> Mask:
    """Which slots hold the selected records."""
    mask = moment.view.live if selection.ids is None else _with_ids(moment, selection.ids)
    return mask if selection.filter is None else matching(moment, selection.filter, mask)


def select_keys(moment: Moment, selection: Selection) -> Keys:
    """The keys of the selected records, in the order of insertion."""
    if selection == Selection():
        return moment.view.ordered
    return np.sort(moment.view.keys[select(moment, selection)])


def query(
    moment: Moment,
    wish: Wish,
    vectors: NDArray[np.float32],
    selection: Selection,
    columns: Collection[Column],
) -> list[Hits]:
    """For each query vector the nearest of the selected records."""
    check_dimension(moment, vectors)
    found = search(moment, wish, vectors, select(moment, selection))
    return [_hits(moment, one.nearest, columns) for one in found]


def check_dimension(moment: Moment, vectors: NDArray[np.float32]) -> None:
    """Raises DimensionError when the vectors are not of the collection's dimension."""
    wanted = moment.snapshot.head.dimension
    if wanted is not None and vectors.shape[1] != wanted:
        raise DimensionError(
            f"Collection expecting embedding with dimension of {wanted}, got {vectors.shape[1]}"
        )


def _hits(moment: Moment, nearest: Nearest, columns: Collection[Column]) -> Hits:
    records = moment.snapshot.records(moment.view.keys[nearest.slots], columns)
    return Hits(records, nearest.distances)


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
    return _in_metadata(moment, condition)


def _in_metadata(moment: Moment, condition: Condition) -> Mask:
    assert moment.columns is not None, "the columns were not asked for"
    mask = moment.columns.matches(condition, len(moment.view))
    for base, segment in moment.segments:
        assert segment.columns is not None, "the columns were not asked for"
        mask[base : base + len(segment)] = segment.columns.matches(condition, len(segment))
    return mask


def _with_ids(moment: Moment, ids: list[str]) -> Mask:
    strings = [id for id in ids if isinstance(id, str)]
    keys = moment.snapshot.keys_of(strings)
    return moment.view.mask(np.fromiter(keys.values(), np.int64, len(keys)))


def _in_documents(moment: Moment, condition: Condition, within: Mask) -> Mask:
    """Tests the documents that may match; the text index rules the others out."""
    negated = condition.operator.negated
    mask = np.full_like(within, negated)
    slots = np.flatnonzero(within & _may_match(moment, condition))
    for page in pages(len(slots), DOCUMENTS):
        documents = moment.snapshot.documents(moment.view.keys[slots[page]])
        test, operand = condition.operator.test, condition.operand
        mask[slots[page]] = [test(document, operand) != negated for document in documents]
    return mask


def _may_match(moment: Moment, condition: Condition) -> Mask:
    """Which slots have to be looked at, negation aside."""
    mask = np.ones(len(moment.view), np.bool_)
    for base, segment in moment.segments:
        candidates = None if segment.text is None else segment.text.candidates(condition)
        if candidates is not None:
            mask[base : base + len(segment)] = False
            mask[base + candidates] = True
    return mask
