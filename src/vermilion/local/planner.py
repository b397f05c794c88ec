"""The read path: a selection becomes slots, slots become the nearest ones, or the first ones.

Filters are answered by the metadata columns and the text index, as masks over slots. What only the
document can tell is asked last, and of as few slots as the answer takes.
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
from vermilion.local.matches import Matches, everything, matches, those_of
from vermilion.local.search import Wish, search
from vermilion.local.snapshot import Keys
from vermilion.query.where import DOCUMENT, ID, conditions
from vermilion.types import Hits


def needs(selection: Selection, *, vectors: int = 0) -> Needs:
    """Which indexes this selection asks for, and so many query vectors."""
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
    return selected(moment, selection).settle()


def selected(moment: Moment, selection: Selection) -> Matches:
    """The same, with documents not read yet."""
    if selection.filter is not None:
        return matches(moment, selection.filter, selection.ids)
    return everything(moment) if selection.ids is None else those_of(moment, selection.ids)


def select_keys(
    moment: Moment, selection: Selection, stop: int | None = None, after: int | None = None
) -> Keys:
    """The keys of the selected records in the order of insertion, or the first `stop` of them.

    Those up to the key `after` are left out where there is a `stop`.
    """
    if selection == Selection():
        return moment.view.ordered[:stop]
    found = selected(moment, selection)
    if stop is None:
        return np.sort(moment.view.keys[found.settle()])
    slots = np.flatnonzero(found.possible)
    if after is not None:
        slots = slots[moment.view.keys[slots] > after]
    if not found.unsure and len(slots) > stop > 0:
        keys = moment.view.keys[slots]
        return np.sort(np.partition(keys, stop - 1)[:stop])  # far cheaper than sorting them all
    slots = slots[np.argsort(moment.view.keys[slots])]
    return moment.view.keys[slots[found.first(slots, stop)]]


def query(
    moment: Moment,
    wish: Wish,
    vectors: NDArray[np.float32],
    selection: Selection,
    columns: Collection[Column],
) -> list[Hits]:
    """For each query vector the nearest of the selected records."""
    check_dimension(moment, vectors)
    found = search(moment, wish, vectors, selected(moment, selection).with_vectors())
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
