"""What the metadata columns tell beyond filters: the order of records by their fields, and counts.

Values of different types are ordered bool, number, time, string. A record without the field, or
with a list in it, comes last whichever way the order goes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vermilion.local.index.base import Mask, Slots
from vermilion.local.index.columns import ELEMENTS, SCALARS, Part, values_of
from vermilion.local.indexer import Moment
from vermilion.local.snapshot import Keys
from vermilion.query.where import ascending
from vermilion.types import Order

if TYPE_CHECKING:
    from vermilion.reports import Facet, Summary


def parts(moment: Moment, key: str) -> Iterator[Part]:
    """The values of a field, in segments and tail, dead slots included."""
    assert moment.columns is not None, "the columns were not asked for"
    for base, segment in moment.segments:
        assert segment.columns is not None, "the columns were not asked for"
        for part in segment.columns.parts(key):
            yield part._replace(slots=base + part.slots)
    yield from moment.columns.parts(key, len(moment.view))


# ── order ────────────────────────────────────────────────────────────────────────────────────────


def ordered(moment: Moment, allowed: Mask, orders: Sequence[Order], stop: int | None) -> Keys:
    """The keys of the allowed slots in this order, then that of insertion; the first `stop`."""
    columns = [_column(moment, allowed, order) for order in orders]
    slots = np.flatnonzero(allowed)
    if stop is not None and stop < len(slots):
        slots = _first(slots, *columns[0], stop)
    keys = moment.view.keys[slots]
    ranks: list[NDArray[Any]] = [keys]
    for values, missing in reversed(columns):
        ranks += [values[slots], missing[slots]]
    found: Keys = keys[np.lexsort(ranks)[:stop]]
    return found


def _first(slots: Slots, values: NDArray[Any], missing: Mask, stop: int) -> Slots:
    """Those of the slots that may be among the first `stop` by one column."""
    there: Slots = slots[~missing[slots]]
    if not 0 < stop <= len(there):
        return slots
    last = np.partition(values[there], stop - 1)[stop - 1]
    first: Slots = there[values[there] <= last]
    return first


def _column(moment: Moment, allowed: Mask, order: Order) -> tuple[NDArray[Any], Mask]:
    """A number for each slot that ascends in the order, and which slots have no value."""
    found = []
    for part in parts(moment, order.field):
        kept = allowed[part.slots]
        if part.kind in SCALARS and kept.any():
            found.append(part._replace(slots=part.slots[kept], values=part.values[kept]))
    kinds = {part.kind for part in found}
    numbers = [_numbered(found)[:2]] if len(kinds) > 1 or "str" in kinds else _plain(found)
    values: NDArray[Any] = np.zeros(len(allowed), "f8" if kinds == {"float"} else "i8")
    missing = np.ones(len(allowed), np.bool_)
    for slots, some in numbers:
        values[slots] = some
        missing[slots] = False
    if order.descending:  # the complement: the least integer has no opposite
        values = -values if values.dtype.kind == "f" else ~values
        values[missing] = 0
    return values, missing


def _plain(found: list[Part]) -> list[tuple[Slots, NDArray[Any]]]:
    """Numbers or bools of one kind stand for themselves."""
    return [
        (part.slots, part.values if part.terms is None else np.array(part.terms)[part.values])
        for part in found
    ]


def _numbered(found: list[Part]) -> tuple[Slots, NDArray[np.int64], list[Any]]:
    """The slots of all parts, for each the place of its value among all values, and those."""
    distinct = []
    for part in found:
        codes, inverse = np.unique(part.values, return_inverse=True)
        terms = _terms(part, codes.tolist())
        distinct.append((terms, inverse))
    values = {ascending(term): term for terms, _ in reversed(distinct) for term in terms}
    ranked = sorted(values)
    places = {rank: place for place, rank in enumerate(ranked)}
    ranks = [
        np.array([places[ascending(term)] for term in terms], np.int64)[inverse]
        for terms, inverse in distinct
    ]
    slots = np.concatenate([part.slots for part in found])
    return slots, np.concatenate(ranks), [values[rank] for rank in ranked]


def _terms(part: Part, codes: list[Any]) -> list[Any]:
    """The values that stand in a part as these codes."""
    kept = codes if part.terms is None else [part.terms[code] for code in codes]
    return values_of(part.kind, kept)


# ── counts ───────────────────────────────────────────────────────────────────────────────────────


def facets(moment: Moment, allowed: Mask, key: str) -> list[Facet]:
    """The values of a field in the allowed slots, the most frequent first, then by value.

    A list counts once for each of its distinct elements. 1 and 1.0 are one value.
    """
    from vermilion.reports import Facet  # few programs ask

    counts: dict[tuple[int, Any], tuple[Any, int]] = {}
    for part in parts(moment, key):
        if part.kind not in (*SCALARS, *ELEMENTS):
            continue
        values = part.values[allowed[part.slots]]
        for value, count in _counted(values, part):
            known = counts.get(ascending(value), (value, 0))
            counts[ascending(value)] = known[0], known[1] + count
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1][1], pair[0]))
    return [Facet(*pair) for _, pair in ranked]


def _counted(values: NDArray[Any], part: Part) -> Iterator[tuple[Any, int]]:
    if part.terms is None:
        found, often = np.unique(values, return_counts=True)
    else:
        often = np.bincount(values, minlength=len(part.terms))
        found = np.flatnonzero(often)
        often = often[found]
    yield from zip(_terms(part, found.tolist()), often.tolist(), strict=True)


# ── sums ─────────────────────────────────────────────────────────────────────────────────────────


def summaries(moment: Moment, allowed: Mask, key: str, by: str | None) -> list[Summary]:
    """The numbers of a field, summed up for each value of another."""
    groups, names = _groups(moment, by)
    numbers: dict[int, list[int | float]] = {}
    for part in parts(moment, key):
        kept = allowed[part.slots]
        if part.kind not in ("int", "float") or not kept.any():
            continue
        slots, values = part.slots[kept], part.values[kept]
        order = np.argsort(groups[slots], kind="stable")
        found, starts = np.unique(groups[slots][order], return_index=True)
        for group, some in zip(found.tolist(), np.split(values[order], starts[1:]), strict=True):
            numbers.setdefault(group, []).extend(some.tolist())
    return [_summary(names[group], numbers[group]) for group in sorted(numbers)]


def _groups(moment: Moment, by: str | None) -> tuple[NDArray[np.int64], list[Any]]:
    """The number of the group of each slot, and what each group has in common."""
    found = [] if by is None else [one for one in parts(moment, by) if one.kind in SCALARS]
    found = [part for part in found if len(part.slots)]
    if not found:
        return np.zeros(len(moment.view), np.int64), [None]
    slots, places, names = _numbered(found)
    groups = np.full(len(moment.view), len(names))
    groups[slots] = places
    return groups, [*names, None]


def _summary(value: Any, numbers: list[int | float]) -> Summary:
    from vermilion.reports import Summary  # as above

    whole = all(isinstance(number, int) for number in numbers)
    total = sum(numbers) if whole else math.fsum(numbers)
    return Summary(value, len(numbers), min(numbers), max(numbers), total)
