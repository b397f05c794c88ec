"""The metadata columns: which slots match a condition, without asking the store.

A key has a column for each type its values have. A column is two parallel arrays, ascending slots
and values, so a key that few records have costs little. Strings are coded by a dictionary.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vermilion.local.index.base import Change, Growable, Mask, Slots
from vermilion.local.snapshot import Snapshot
from vermilion.types import pages
from vermilion.where import Condition

# Records read from the store at a time while the index is loaded.
LOAD_ROWS = 8_192

Compare = Callable[[Any, Any], Any]


class Columns:
    """The metadata of all slots, by key and type."""

    def __init__(self) -> None:
        self._keys: dict[str, KeyColumns] = {}

    def apply(self, change: Change, snapshot: Snapshot) -> None:
        """Reads the metadata of the new slots."""
        for page in pages(len(change.keys), LOAD_ROWS):
            pending: dict[str, dict[type, tuple[list[int], list[Any]]]] = {}
            slot = change.first + page.start
            for metadata in snapshot.metadatas(change.keys[page]):
                for key, value in (metadata or {}).items():
                    slots, values = pending.setdefault(key, {}).setdefault(type(value), ([], []))
                    slots.append(slot)
                    values.append(value)
                slot += 1
            for key, by_type in pending.items():
                self._keys.setdefault(key, KeyColumns()).append(by_type)

    def matches(self, condition: Condition, length: int) -> Mask:
        """Which of the first `length` slots match; a negated operator gives the complement."""
        mask = np.zeros(length, np.bool_)
        columns = self._keys.get(condition.field)
        if columns is not None:
            for slots in columns.matching(condition):
                mask[slots[: np.searchsorted(slots, length)]] = True
        return ~mask if condition.operator.negated else mask


class KeyColumns:
    """All values of one key."""

    def __init__(self) -> None:
        self._strings = Strings()
        self._ints = Column(np.int64)
        self._floats = Column(np.float64)
        self._bools = Column(np.bool_)
        self._lists = Elements()

    def append(self, by_type: Mapping[type, tuple[list[int], list[Any]]]) -> None:
        """Adds values, given by type as slots and values."""
        homes = {
            str: self._strings.append,
            int: self._ints.append,
            float: self._floats.append,
            bool: self._bools.append,
            list: self._lists.append,
        }
        for kind, (slots, values) in by_type.items():
            if kind in homes:  # sparse vectors have an index of their own
                homes[kind](slots, values)

    def matching(self, condition: Condition) -> list[Slots]:
        """Ascending slots that match the condition's operator, negation aside."""
        row, operand = condition.operator, condition.operand
        if row.family == "element":
            return [self._lists.slots(operand)]
        if row.family == "member":
            return [slots for one in operand for slots in self._compare(operator.eq, one)]
        return self._compare(row.compare, operand)

    def _compare(self, compare: Compare, operand: Any) -> list[Slots]:
        if isinstance(operand, str):
            return [self._strings.slots(operand)]
        if isinstance(operand, bool):
            return [self._bools.slots(compare, operand)]
        return [
            self._ints.slots(*int_bound(compare, operand)),
            self._floats.slots(*float_bound(compare, operand)),
        ]


class Column:
    """Numbers or bools: which slots have one, and what it is."""

    def __init__(self, dtype: Any) -> None:
        self._slots = Growable(np.int64)
        self._values = Growable(dtype)

    def append(self, slots: list[int], values: list[Any]) -> None:
        """Adds values for new, ascending slots."""
        # Values first: a reader that sees a slot must find its value.
        self._values.append(np.array(values))
        self._slots.append(np.array(slots, np.int64))

    def slots(self, compare: Compare, operand: Any) -> Slots:
        """Where the comparison with the operand holds."""
        slots = self._slots.array()
        hits: NDArray[np.bool_] = compare(self._values.array(len(slots)), operand)
        return slots[hits]


class Strings:
    """Strings, as codes of a dictionary."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._column = Column(np.int32)

    def append(self, slots: list[int], values: list[str]) -> None:
        """Adds strings for new, ascending slots."""
        codes = self._codes
        self._column.append(slots, [codes.setdefault(value, len(codes)) for value in values])

    def slots(self, value: str) -> Slots:
        """Where the string is."""
        return self._column.slots(operator.eq, self._codes.get(value, -1))


class Elements:
    """Lists: for each element, told apart by type, where it occurs."""

    def __init__(self) -> None:
        self._places: dict[tuple[type, Any], Growable] = {}

    def append(self, slots: list[int], values: list[list[Any]]) -> None:
        """Adds lists for new, ascending slots."""
        pending: dict[tuple[type, Any], list[int]] = {}
        for slot, value in zip(slots, values, strict=True):
            for element in {(type(element), element) for element in value}:
                pending.setdefault(element, []).append(slot)
        for element, found in pending.items():
            places = self._places.setdefault(element, Growable(np.int64))
            places.append(np.array(found, np.int64))

    def slots(self, element: Any) -> Slots:
        """Where a list holds the element."""
        places = self._places.get((type(element), element))
        return np.empty(0, np.int64) if places is None else places.array()


# ── exact comparison of int with float ───────────────────────────────────────────────────────────
# numpy compares int64 with float64 by rounding the integers, which is wrong beyond 2⁵³. A bound of
# the column's own type that cuts at the same place is exact.


def _never(values: NDArray[Any], operand: object) -> NDArray[np.bool_]:
    return np.zeros(len(values), np.bool_)


def _always(values: NDArray[Any], operand: object) -> NDArray[np.bool_]:
    return np.ones(len(values), np.bool_)


def int_bound(compare: Compare, operand: int | float) -> tuple[Compare, int]:
    """A comparison of integers with an integer that means the same.

    >>> int_bound(operator.gt, 2.5), int_bound(operator.lt, 2.5)
    ((<built-in function gt>, 2), (<built-in function lt>, 3))
    """
    if isinstance(operand, int):
        return compare, operand
    if compare is operator.eq:
        return (compare, int(operand)) if operand.is_integer() and _fits(operand) else (_never, 0)
    bound = (math.floor if compare in (operator.gt, operator.le) else math.ceil)(operand)
    if _fits(bound):
        return compare, bound
    below = compare in (operator.lt, operator.le)
    return (_always if below == (bound > 0) else _never), 0


def _fits(number: int | float) -> bool:
    return -(2**63) <= number < 2**63


def float_bound(compare: Compare, operand: int | float) -> tuple[Compare, float]:
    """A comparison of floats with a float that means the same.

    >>> float_bound(operator.gt, 2**53 + 1)  # between two floats
    (<built-in function gt>, 9007199254740992.0)
    """
    if isinstance(operand, float):
        return compare, operand
    rounded = float(operand)
    if int(rounded) == operand:
        return compare, rounded
    if compare is operator.eq:
        return _never, 0.0
    upwards = compare in (operator.gt, operator.ge)
    if int(rounded) > operand:  # no float lies between: at least, or less than, the rounded one
        return (operator.ge if upwards else operator.lt), rounded
    return (operator.gt if upwards else operator.le), rounded
