"""The metadata columns: which slots match a condition, without asking the store.

A key has a column for each kind of value that it has: "str", "int", "float", "bool", and for times,
as moments, "date", "datetime" and "instant"; for the distinct elements of lists "[str]", "[int]"
and so on, and for their lengths "[]"; "{}" tells where there is a dict or a sparse vector. Fields
of dicts in dicts are keys of their own. A condition becomes questions to these columns;
`SealedColumns` answers the same questions from a file. The columns here are in memory and grow.
Most are two parallel arrays, ascending slots and values, so a key that few records have costs
little.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vermilion.local.index.base import Change, Growable, Mask, Slots
from vermilion.local.snapshot import Snapshot
from vermilion.metadata import SCALAR_TYPES, fields_of
from vermilion.query.operators import Operator, moment, pattern
from vermilion.query.where import Condition
from vermilion.times import TIME_KINDS, at_microseconds, microseconds, time_kind
from vermilion.types import pages

# Records read from the store at a time while the index is loaded.
LOAD_ROWS = 8_192
# So few numbers `$in` compares one by one, 0.03 to 0.12 ms each for a million values; more go by
# the lookup table of numpy.isin, 1.5 to 8 ms. Measured on one core of an EPYC, 2026-11.
FEW_OPERANDS = 32

Compare = Callable[[Any, Any], Any]


class Part(NamedTuple):
    """Values of one key and kind: parallel slots and values, or numbers of `terms` as values."""

    kind: str
    slots: Slots
    values: NDArray[Any]
    terms: Sequence[Any] | None = None


class Columns:
    """The metadata of all slots, by key and kind."""

    def __init__(self) -> None:
        self._keys: dict[str, dict[str, AnyColumn]] = {}

    def apply(self, change: Change, snapshot: Snapshot) -> None:
        """Reads the metadata of the new slots."""
        for page in pages(len(change.keys), LOAD_ROWS):
            self.append(change.first + page.start, snapshot.metadatas(change.keys[page]))

    def append(self, first: int, metadatas: Iterable[Mapping[str, Any] | None]) -> None:
        """Adds the metadata of new slots, from `first` on."""
        for (key, kind), (slots, values) in _pairs(first, metadatas).items():
            columns = self._keys.setdefault(key, {})
            column = columns[kind] if kind in columns else _COLUMN_OF[kind]()
            column.append(slots, values)
            columns[kind] = column

    def matches(self, condition: Condition, length: int) -> Mask:
        """Which of the first `length` slots match; a negated operator gives the complement."""
        mask = np.zeros(length, np.bool_)
        columns = self._keys.get(condition.field, {})
        for kind, compare, operand in questions(condition):
            if kind in columns:
                columns[kind].mark(mask, compare, operand)
        return ~mask if is_complement(condition) else mask

    def parts(self, key: str, length: int) -> Iterator[Part]:
        """The values of a key in the first `length` slots; a list has several."""
        for kind, column in self._keys.get(key, {}).items():
            yield Part(kind, *column.part(length))

    def keys(self) -> Iterable[str]:
        """Every key that a slot has a value for."""
        return self._keys


_Pairs = dict[tuple[str, str], tuple[Sequence[int], list[Any]]]
# Records are looked at key by key when at least one of so many has the key.
USUAL = 4
_NAMES = {kind: kind.__name__ for kind in SCALAR_TYPES}
_NAMES_IN_LISTS = {kind: f"[{name}]" for kind, name in _NAMES.items()}


def _pairs(first: int, metadatas: Iterable[Mapping[str, Any] | None]) -> _Pairs:
    """Slots and values by key and kind. A list counts as its distinct elements."""
    rows = [fields_of(metadata) if metadata else {} for metadata in metadatas]
    keys = dict.fromkeys(chain.from_iterable(rows))
    if len(keys) * len(rows) > USUAL * sum(map(len, rows)):
        return _by_kind(
            (key, slot, value) for slot, row in enumerate(rows, first) for key, value in row.items()
        )
    pairs: _Pairs = {}
    for key in keys:  # a third of the time, as most keys have values of one kind
        values = [row.get(key) for row in rows]
        slots: Sequence[int] = range(first, first + len(rows))
        kinds: set[Any] = set(map(type, values))
        if type(None) in kinds:
            slots = [slot for slot, value in zip(slots, values, strict=True) if value is not None]
            values = [value for value in values if value is not None]
            kinds.remove(type(None))
        if len(kinds) == 1 and (kind := _NAMES.get(kinds.pop())):
            pairs[key, kind] = slots, values
        else:
            cells = zip(slots, values, strict=True)
            pairs |= _by_kind((key, slot, value) for slot, value in cells)
    return pairs


def _by_kind(cells: Iterable[tuple[str, int, Any]]) -> _Pairs:
    """Slots and values by key and kind, of a key, a slot and a value each."""
    pairs: dict[tuple[str, str], tuple[list[int], list[Any]]] = {}
    for key, slot, value in cells:
        kind = _NAMES.get(type(value))
        for name, kept in _columns_of(value) if kind is None else ((kind, value),):
            slots, values = pairs.setdefault((key, name), ([], []))
            slots.append(slot)
            values.append(kept)
    return dict(pairs)


def _columns_of(value: Any) -> Iterable[tuple[str, Any]]:
    """The kinds of column that keep something of a value that is no str, int, float or bool."""
    if isinstance(value, list):
        names = _NAMES_IN_LISTS
        found = {(names.get(type(one)) or f"[{_kind_of(one)}]", _kept(one)) for one in value}
        return *found, ("[]", len(value))
    return () if value is None else ((_kind_of(value), _kept(value)),)


def _kind_of(value: Any) -> str:
    """The kind of column that a value, or an element of a list, is kept in."""
    if isinstance(value, date):
        return time_kind(value)
    return _NAMES.get(type(value), "{}")


def _kept(value: Any) -> Any:
    """What is kept of a value: of a time its moment, of a dict or a vector that it is there."""
    if type(value) in _NAMES:
        return value
    return microseconds(value) if isinstance(value, date) else True


def values_of(kind: str, kept: list[Any]) -> list[Any]:
    """The values of which a column of this kind keeps so much."""
    kind = kind.strip("[]")
    return [at_microseconds(kind, one) for one in kept] if kind in TIME_KINDS else kept


class Column:
    """Numbers or bools: which slots have one, and what it is."""

    def __init__(self, dtype: Any) -> None:
        self._slots = Growable(np.int64)
        self._values = Growable(dtype)

    def append(self, slots: Sequence[int], values: list[Any]) -> None:
        """Adds values for new, ascending slots."""
        # Values first: a reader that sees a slot must find its value.
        self._values.append(np.array(values))
        self._slots.append(np.array(slots, np.int64))

    def mark(self, mask: Mask, compare: Compare, operand: Any) -> None:
        """Sets the slots where the comparison with the operand holds."""
        slots, values = self.arrays(len(mask))
        hits = compare(values, operand)
        if len(slots) == len(mask):  # every slot has a value
            mask |= hits
        else:
            mask[slots[np.flatnonzero(hits)]] = True

    def arrays(self, length: int | None = None) -> tuple[Slots, NDArray[Any]]:
        """The slots that have a value, of all or of the first `length`, and their values."""
        slots = self._slots.array()
        if length is not None:
            slots = slots[: np.searchsorted(slots, length)]
        return slots, self._values.array(len(slots))

    def part(self, length: int) -> tuple[Slots, NDArray[Any], Sequence[Any] | None]:
        """The values of the first slots, as in `Part`."""
        return *self.arrays(length), None


class Strings:
    """Strings, as codes of a dictionary."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._column = Column(np.int32)

    def append(self, slots: Sequence[int], values: list[str]) -> None:
        """Adds strings for new, ascending slots."""
        codes = self._codes
        self._column.append(slots, [codes.setdefault(value, len(codes)) for value in values])

    def mark(self, mask: Mask, compare: Compare, operand: Any) -> None:
        """Sets the slots that have the string, or one of those for which the comparison holds."""
        if compare is not operator.eq:
            slots, codes = self._column.arrays(len(mask))  # before the terms, which may grow
            hits = compare(list(self._codes), operand)
            mask[slots[hits[codes]]] = True
            return
        code = self._codes.get(operand)
        if code is not None:
            self._column.mark(mask, compare, code)

    def part(self, length: int) -> tuple[Slots, NDArray[Any], Sequence[Any] | None]:
        """The strings of the first slots, as in `Part`."""
        slots, codes = self._column.arrays(length)  # before the terms, which may grow
        return slots, codes, list(self._codes)


class Elements:
    """List elements of one type: for each, where it occurs."""

    def __init__(self) -> None:
        self._places: dict[Any, Growable] = {}

    def append(self, slots: Sequence[int], values: list[Any]) -> None:
        """Adds elements of new slots; a slot may have several, each once."""
        pending: dict[Any, list[int]] = {}
        for slot, element in zip(slots, values, strict=True):
            pending.setdefault(element, []).append(slot)
        for element, found in pending.items():
            places = self._places.setdefault(element, Growable(np.int64))
            places.append(np.array(found, np.int64))

    def mark(self, mask: Mask, compare: Compare, operand: Any) -> None:
        """Sets the slots of the lists that hold the element."""
        if operand in self._places:
            slots = self._places[operand].array()
            mask[slots[: np.searchsorted(slots, len(mask))]] = True

    def part(self, length: int) -> tuple[Slots, NDArray[Any], Sequence[Any] | None]:
        """The elements of the first slots, as in `Part`."""
        terms = list(self._places)
        runs = [self._places[term].array() for term in terms]
        runs = [run[: np.searchsorted(run, length)] for run in runs]
        codes = np.repeat(np.arange(len(terms)), [len(run) for run in runs])
        return np.concatenate(runs), codes, terms


AnyColumn = Column | Strings | Elements
_COLUMN_OF: dict[str, Callable[[], AnyColumn]] = {
    "str": Strings,
    "int": partial(Column, np.int64),
    "float": partial(Column, np.float64),
    "bool": partial(Column, np.bool_),
    **dict.fromkeys(("[str]", "[int]", "[float]", "[bool]"), Elements),
    **dict.fromkeys(TIME_KINDS, partial(Column, np.int64)),
    **dict.fromkeys((f"[{kind}]" for kind in TIME_KINDS), Elements),
    "[]": partial(Column, np.int64),
    "{}": partial(Column, np.bool_),
}
# A file has places in this list: new kinds come last.
KINDS = tuple(_COLUMN_OF)
ELEMENTS = tuple(kind for kind, column in _COLUMN_OF.items() if column is Elements)
# Where a slot has a value, it is in one of these.
_ANY = tuple(kind for kind in KINDS if kind not in ELEMENTS)
# Values that records are ordered by, and counted.
SCALARS = ("bool", "int", "float", *TIME_KINDS, "str")


# ── what a condition asks ────────────────────────────────────────────────────────────────────────


class Question(NamedTuple):
    """Which values of this kind compare so with the operand? Of elements: which are equal?

    Comparisons other than equality take all terms of strings and bools at once.
    """

    kind: str
    compare: Compare
    operand: Any


def is_complement(condition: Condition) -> bool:
    """Whether the slots that match are all those but the answers to the questions."""
    absent = condition.operator.family == "exists" and not condition.operand
    return condition.operator.negated != absent


def questions(condition: Condition) -> Iterator[Question]:
    """What a condition asks of the columns of its key, negation aside; the answers are united.

    No slot is in two of the answers.
    """
    row, operand = condition.operator, condition.operand
    match row.family:
        case "element":
            yield Question(f"[{_kind_of(operand)}]", operator.eq, _kept(operand))
        case "exists":
            yield from (Question(kind, _always, None) for kind in _ANY)
        case "size":
            yield Question("[]", operator.eq, operand)
        case "regex":
            yield Question("str", _matching, row.pattern(operand))
        case "prefix":
            yield Question("str", starting, operand)
        case _:
            yield from _compared(row, operand if row.family == "member" else [operand])


def _compared(row: Operator, operands: list[Any]) -> Iterator[Question]:
    """Which scalars are equal to one of the operands, or compare so with the only one?"""
    texts = {one for one in operands if isinstance(one, str)}
    if row.family != "compare":  # strings have no order
        yield from (Question("str", operator.eq, text) for text in texts)
    for truth in {one for one in operands if isinstance(one, bool)}:
        yield Question("bool", operator.eq, truth)
    numbers = [one for one in operands if type(one) in (int, float)]
    if row.family == "member":
        yield from _among(numbers)
    elif numbers:
        yield Question("int", *int_bound(row.compare, numbers[0]))
        yield Question("float", *float_bound(row.compare, numbers[0]))
    moments = [at for one in operands if (at := moment(one)) is not None]
    if row.family == "member" and moments:
        yield from (Question(kind, _is_in, np.array(moments)) for kind in TIME_KINDS)
    elif moments:
        yield from (Question(kind, row.compare, moments[0]) for kind in TIME_KINDS)


def _matching(terms: Sequence[str], text: str) -> NDArray[np.bool_]:
    """Which strings match a pattern."""
    matches = pattern(text).is_match
    return np.fromiter(map(matches, terms), np.bool_, len(terms))


def starting(terms: Sequence[str], text: str) -> NDArray[np.bool_]:
    """Which strings start with the text."""
    return np.fromiter((term.startswith(text) for term in terms), np.bool_, len(terms))


def _among(numbers: list[int | float]) -> Iterator[Question]:
    """Which values are one of the numbers?"""
    for kind, bound, dtype in (("int", int_bound, np.int64), ("float", float_bound, np.float64)):
        bounds = (bound(operator.eq, number) for number in numbers)
        wanted = [number for compare, number in bounds if compare is operator.eq]
        if wanted:
            yield Question(kind, _is_in, np.array(wanted, dtype))


def _is_in(values: NDArray[Any], operands: NDArray[Any]) -> NDArray[np.bool_]:
    if values.dtype.kind == "i":  # a file has the smallest integers that do: no copy for those
        limits = np.iinfo(values.dtype)
        operands = operands[(limits.min <= operands) & (operands <= limits.max)]
        operands = operands.astype(values.dtype)
    return np.isin(values, operands, kind="sort" if len(operands) <= FEW_OPERANDS else None)


# ── exact comparison of int with float ───────────────────────────────────────────────────────────
# numpy compares int64 with float64 by rounding the integers, which is wrong beyond 2⁵³. A bound of
# the column's own type that cuts at the same place is exact.


def _never(values: Sequence[Any] | NDArray[Any], operand: object) -> NDArray[np.bool_]:
    return np.zeros(len(values), np.bool_)


def _always(values: Sequence[Any] | NDArray[Any], operand: object) -> NDArray[np.bool_]:
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
