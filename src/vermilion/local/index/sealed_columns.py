"""The metadata columns of a sealed segment, read from a mapped file and not into Python objects.

Strings, bools and list elements are inverted: a sorted dictionary of terms, and for each term
where it occurs. A term in few slots lists them, a common one has a bit for every slot. Numbers
are scanned: a value for every slot, or slots and values when fewer than half of the slots have
one.

Every array of every key lies in a few blocks, and tables of numbers say where, so that thousands of
keys open as fast as one:

    key text, key ends      the keys, sorted
    columns                 for each key and kind: the key, the kind, the number of its first array
    arrays                  a row per array: pack, place, length, dtype
    pack 0, pack 1, …       the arrays, end to end
"""

from __future__ import annotations

import operator
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, pairwise
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from vermilion.local.blocks import ALIGNMENT, Blocks
from vermilion.local.index.base import Mask, Slots
from vermilion.local.index.columns import (
    KINDS,
    LOAD_ROWS,
    Columns,
    Compare,
    Part,
    Question,
    is_complement,
    questions,
    starting,
)
from vermilion.query.where import Condition
from vermilion.times import TIME_KINDS

# Columns share a pack up to this length. What a query first touches is checksummed by the pack:
# 0.15 ms a megabyte.
PACK_BYTES = 2**20
# So many keys that were asked for are not looked up again.
REMEMBERED = 256
DTYPES = ("|u1", "|b1", "|i1", "<i2", "<i4", "<i8", "<f8", "<u4")
NUMBERS = ("int", "float", *TIME_KINDS, "[]")
TEXTS = ("str", "[str]")

Array = NDArray[Any]
Words = NDArray[np.uint32]
Numbers = NDArray[np.int64]


class SealedColumns:
    """The metadata of the slots of one segment, by key and kind."""

    def __init__(self, blocks: Blocks) -> None:
        """Takes the blocks that `build_columns` made. Raises CacheDamaged, as every method does."""
        self._blocks = blocks
        self._rows: int = blocks.values["rows"]
        self._keys = Texts(blocks.array("key text"), blocks.array("key ends"))
        self._key_of, self._kind_of, self._array_of = blocks.array("columns")
        self._arrays = blocks.array("arrays")
        self._asked_before: dict[str, dict[str, SealedNumbers | Terms]] = {}

    def matches(self, condition: Condition, length: int) -> Mask:
        """Which of the first `length` slots match; a negated operator gives the complement.

        Slots beyond the segment's end have no metadata.
        """
        mask = np.zeros(max(length, self._rows), np.bool_)
        for question, column in self._asked(condition):
            column.mark(mask[: self._rows], question.compare, question.operand)
        mask = mask[:length]
        return ~mask if is_complement(condition) else mask

    def estimate(self, condition: Condition) -> int:
        """At most so many slots match. Exact for what asks which terms are equal."""
        most = least = 0
        for question, column in self._asked(condition):
            if isinstance(column, Terms) and question.compare is not operator.eq:
                most = self._rows
                continue
            count = column.most(question.operand)
            most += count
            least += 0 if question.kind in NUMBERS else count
        return self._rows - least if is_complement(condition) else min(most, self._rows)

    def keys(self) -> Iterable[str]:
        """Every key that a slot has a value for."""
        return self._keys

    def parts(self, key: str) -> Iterator[Part]:
        """The values of a key; a list has several."""
        number = self._keys.find(key)
        if number is None:
            return
        first, end = np.searchsorted(self._key_of, [number, number + 1]).tolist()
        for place in range(first, end):
            kind = KINDS[self._kind_of[place]]
            yield Part(kind, *self._column(kind, int(self._array_of[place])).part())

    def _asked(self, condition: Condition) -> list[tuple[Question, SealedNumbers | Terms]]:
        """The questions of the condition that the key has a column for, each with the column."""
        columns = self._of_key(condition.field)
        return [(one, columns[one.kind]) for one in questions(condition) if one.kind in columns]

    def _of_key(self, key: str) -> dict[str, SealedNumbers | Terms]:
        """The columns of a key by kind; those of the first keys are remembered."""
        columns = self._asked_before.get(key)
        if columns is None:
            number = self._keys.find(key)
            first, end = (
                (0, 0)
                if number is None
                else np.searchsorted(self._key_of, [number, number + 1]).tolist()
            )
            kinds = {KINDS[self._kind_of[place]]: place for place in range(first, end)}
            columns = {
                kind: self._column(kind, int(self._array_of[place]))
                for kind, place in kinds.items()
            }
            if len(self._asked_before) < REMEMBERED:
                self._asked_before[key] = columns
        return columns

    def _column(self, kind: str, number: int) -> SealedNumbers | Terms:
        if kind in NUMBERS:
            return SealedNumbers(self._rows, self._array(number), self._array(number + 1))
        terms, starts, places = (self._array(number + n) for n in range(3))
        texts = Texts(terms, self._array(number + 3)) if kind in TEXTS else terms
        return Terms(self._rows, texts, starts, places)

    def _array(self, number: int) -> Array:
        pack, place, length, code = self._arrays[number].tolist()
        dtype = np.dtype(DTYPES[code])
        array: Array = self._blocks.array(f"pack {pack}")[place : place + length * dtype.itemsize]
        return array.view(dtype)


class SealedNumbers:
    """The numbers of a key.

    Either every slot has a value, and `where` is empty or the bits of those that are no filling;
    or `where` lists the slot of each value.
    """

    def __init__(self, rows: int, values: Array, where: Words) -> None:
        self._rows = rows
        self._values = values
        self._where = where

    def mark(self, mask: Mask, compare: Compare, operand: Any) -> None:
        """Sets the slots where the comparison with the operand holds."""
        hits = compare(self._values, operand)
        if len(self._values) < self._rows:
            mask[self._where[np.flatnonzero(hits)]] = True
            return
        if len(self._where):
            hits &= from_bits(self._where, self._rows)
        mask |= hits

    def part(self) -> tuple[Slots, Array, Sequence[Any] | None]:
        """All of them, as in `Part`."""
        if len(self._values) < self._rows:
            return self._where.astype(np.int64), self._values, None
        if not len(self._where):
            return np.arange(self._rows), self._values, None
        slots = np.flatnonzero(from_bits(self._where, self._rows))
        return slots, self._values[slots], None

    def most(self, operand: Any) -> int:
        """How many values there are."""
        dense = len(self._values) == self._rows
        return int(self._where[0]) if dense and len(self._where) else len(self._values)


class Terms:
    """Strings, bools or list elements: for each distinct one, the term, where it occurs.

    The places of term number i begin at `starts[i]`: its slots, or bits when those are shorter.
    """

    def __init__(self, rows: int, terms: Texts | Array, starts: Array, places: Words) -> None:
        self._rows = rows
        self._terms = terms
        self._starts = starts
        self._places = places

    def mark(self, mask: Mask, compare: Compare, operand: Any) -> None:
        """Sets the slots that have the term, or one of those for which the comparison holds."""
        if compare is starting and isinstance(self._terms, Texts):
            self._mark_all(mask, self._terms.starting(operand))
            return
        if compare is not operator.eq:
            self._mark_all(mask, np.flatnonzero(compare(self._terms, operand)))
            return
        places = self._find(operand)
        if len(places) > words(self._rows):
            mask |= from_bits(places, self._rows)
        else:
            mask[places] = True

    def _mark_all(self, mask: Mask, terms: NDArray[np.int64]) -> None:
        starts: NDArray[np.int64] = self._starts.astype(np.int64)
        sizes = starts[1:] - starts[:-1]
        common = sizes[terms] > words(self._rows)
        listed = np.zeros(len(sizes), np.bool_)
        listed[terms[~common]] = True
        mask[self._places[np.repeat(listed, sizes)]] = True
        for term in terms[common].tolist():
            mask |= from_bits(self._places[int(starts[term]) : int(starts[term + 1])], self._rows)

    def part(self) -> tuple[Slots, Array, Sequence[Any] | None]:
        """All of them, as in `Part`."""
        starts: NDArray[np.int64] = self._starts.astype(np.int64)
        sizes = starts[1:] - starts[:-1]
        common = sizes > words(self._rows)
        listed = self._places[np.repeat(~common, sizes)].astype(np.int64)
        slots, codes = [listed], [np.repeat(np.flatnonzero(~common), sizes[~common])]
        for term in np.flatnonzero(common).tolist():
            places = self._places[int(self._starts[term]) : int(self._starts[term + 1])]
            slots.append(np.flatnonzero(from_bits(places, self._rows)))
            codes.append(np.full(len(slots[-1]), term))
        terms = self._terms if isinstance(self._terms, Texts) else self._terms.tolist()
        return np.concatenate(slots), np.concatenate(codes), terms

    def most(self, operand: Any) -> int:
        """How many slots have the term."""
        places = self._find(operand)
        return int(places[0]) if len(places) > words(self._rows) else len(places)

    def _find(self, operand: Any) -> Words:
        terms = self._terms
        found = terms.find(operand) if isinstance(terms, Texts) else find_number(terms, operand)
        if found is None:
            return self._places[:0]
        return self._places[int(self._starts[found]) : int(self._starts[found + 1])]


class Texts(Sequence[str]):
    """Sorted strings: their UTF-8 end to end, and where it is cut, with both ends."""

    def __init__(self, text: Array, ends: Array) -> None:
        self._text = text.data
        self._ends = ends.data

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, number: int) -> str: ...
    @overload
    def __getitem__(self, number: slice) -> list[str]: ...
    def __getitem__(self, number: int | slice) -> str | list[str]:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        if not 0 <= number < len(self):
            raise IndexError(number)
        return self._at(number).decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        ends = self._ends.tolist()
        whole = bytes(self._text)
        if whole.isascii():  # to cut one string takes a third of the time
            text = whole.decode("ascii")
            return (text[a:b] for a, b in pairwise(ends))
        return (whole[a:b].decode("utf-8", "surrogatepass") for a, b in pairwise(ends))

    def starting(self, text: str) -> NDArray[np.int64]:
        """The numbers of the strings that start with the text: they lie together."""
        places, code = range(len(self)), text.encode("utf-8", "surrogatepass")
        first = bisect_left(places, code, key=self._at)
        end = bisect_right(places, code, first, key=lambda place: self._at(place)[: len(code)])
        return np.arange(first, end)

    def find(self, wanted: str) -> int | None:
        """The number of the string, if it is there."""
        count, code = len(self._ends) - 1, wanted.encode("utf-8", "surrogatepass")
        place = bisect_left(range(count), code, key=self._at)
        return place if place < count and self._at(place) == code else None

    def _at(self, number: int) -> bytes:
        return bytes(self._text[self._ends[number] : self._ends[number + 1]])


def find_number(terms: Array, wanted: int | float) -> int | None:
    """The place of a number in an ascending array, if it is there."""
    place = int(np.searchsorted(terms, np.asarray(wanted)))
    return place if place < len(terms) and terms[place] == wanted else None


# ── bits: how many are set, then one for every slot ──────────────────────────────────────────────


def words(rows: int) -> int:
    """How many numbers of 32 bits have a bit for every slot."""
    return -(-rows // 32)


def to_bits(slots: Array, rows: int) -> Words:
    """The slots, each once, as bits."""
    mask = np.zeros(32 * words(rows), np.bool_)
    mask[slots] = True
    count = np.array([len(slots)], np.uint32)
    return np.concatenate((count, np.packbits(mask, bitorder="little").view(np.uint32)))


def from_bits(bits: Words, rows: int) -> Mask:
    """The mask of the slots."""
    return np.unpackbits(bits[1:].view(np.uint8), count=rows, bitorder="little").view(np.bool_)


# ── building ─────────────────────────────────────────────────────────────────────────────────────


def build_columns(
    metadatas: Iterable[Mapping[str, Any] | None],
) -> tuple[dict[str, NDArray[Any] | bytes], dict[str, Any]]:
    """The metadata of slots 0, 1, … as blocks and values of a file for `SealedColumns`."""
    columns, rows = Columns(), 0
    stream = iter(metadatas)
    while page := list(islice(stream, LOAD_ROWS)):
        columns.append(rows, page)
        rows += len(page)
    return join_columns([(0, columns)], rows)


def join_columns(
    parts: Sequence[tuple[int, Columns | SealedColumns]], rows: int
) -> tuple[dict[str, NDArray[Any] | bytes], dict[str, Any]]:
    """The metadata of all parts, each from a slot on, as blocks and values of a file."""
    keys = sorted(set().union(*(part.keys() for _, part in parts)))
    table: list[tuple[int, int, int]] = []
    packs = Packs()
    for number, key in enumerate(keys):
        by_kind = _by_kind(parts, key, rows)
        for kind in sorted(by_kind, key=KINDS.index):
            table.append((number, KINDS.index(kind), len(packs.table)))
            packs.add(_sealed(kind, by_kind[kind], rows))
    text, ends = _texts(keys)
    blocks: dict[str, NDArray[Any] | bytes] = {
        "key text": text,
        "key ends": ends,
        "columns": np.array(table, np.int64).reshape(-1, 3).T,
        "arrays": np.array(packs.table, np.int64).reshape(-1, 4),
    }
    return {**blocks, **packs.blocks()}, {"rows": rows}


def _by_kind(
    parts: Sequence[tuple[int, Columns | SealedColumns]], key: str, rows: int
) -> dict[str, list[Part]]:
    """What the parts have of a key, with the slots that it gets."""
    found: dict[str, list[Part]] = {}
    for base, columns in parts:
        own = columns.parts(key) if isinstance(columns, SealedColumns) else columns.parts(key, rows)
        for part in own:
            found.setdefault(part.kind, []).append(part._replace(slots=part.slots + base))
    return found


class Packs:
    """Arrays laid end to end, and a table of where each is: pack, place, length, dtype."""

    def __init__(self) -> None:
        self.table: list[tuple[int, int, int, int]] = []
        self._packs = [bytearray()]

    def add(self, arrays: Sequence[Array]) -> None:
        """Puts the arrays of one column last, in one pack; a large column gets one of its own."""
        size = sum(array.nbytes + ALIGNMENT for array in arrays)
        if self._packs[-1] and len(self._packs[-1]) + size > PACK_BYTES:
            self._packs.append(bytearray())
        pack = self._packs[-1]
        for array in arrays:
            code = DTYPES.index(array.dtype.str)
            self.table.append((len(self._packs) - 1, len(pack), len(array), code))
            pack += array.tobytes()
            pack += bytes(-len(pack) % ALIGNMENT)

    def blocks(self) -> dict[str, NDArray[Any] | bytes]:
        """The packs by name."""
        packs = enumerate(self._packs)
        return {f"pack {number}": np.frombuffer(pack, np.uint8) for number, pack in packs}


def _sealed(kind: str, parts: list[Part], rows: int) -> tuple[Array, ...]:
    """The arrays that a column becomes, in the order in which they are read again."""
    slots = np.concatenate([part.slots for part in parts])
    if kind in NUMBERS:
        return _sealed_numbers(slots, np.concatenate([_wide(part.values) for part in parts]), rows)
    terms, codes = _common_terms(parts)
    counts = np.bincount(codes, minlength=len(terms))
    starts, places = _sealed_places(counts, slots[np.argsort(codes, kind="stable")], rows)
    if kind in TEXTS:
        text, ends = _texts(terms)
        return text, starts, places, ends
    return _narrow(np.array(terms)), starts, places


def _common_terms(parts: list[Part]) -> tuple[list[Any], Numbers]:
    """The terms of all parts, ascending, and for each of their values which it is."""
    found = []
    for part in parts:
        if part.terms is None:  # bools, as they are
            truths = [truth for truth in (False, True) if truth in part.values]
            found.append((truths, part.values & (len(truths) > 1)))
        else:
            found.append((list(part.terms), part.values))
    # Ascending means by code point, which is the order of UTF-8, too.
    terms = sorted(set().union(*(own for own, _ in found)))
    numbers = {term: number for number, term in enumerate(terms)}
    codes = [
        np.array([numbers[term] for term in own], np.int64)[values.astype(np.int64)]
        for own, values in found
    ]
    return terms, np.concatenate(codes)


def _sealed_numbers(slots: Slots, values: Array, rows: int) -> tuple[Array, Words]:
    values = _narrow(values)
    if len(slots) == rows:
        return values, np.empty(0, np.uint32)
    if 2 * len(slots) < rows:
        return values, slots.astype(np.uint32)
    # Reading a million bits takes 0.02 ms, going by 500,000 slots 0.7 ms. Measured as above.
    filled = np.zeros(rows, values.dtype)
    filled[slots] = values
    return filled, to_bits(slots, rows)


def _sealed_places(counts: NDArray[np.int64], slots: Slots, rows: int) -> tuple[Array, Words]:
    """Where the places of each term start, and the places of all."""
    common = counts > words(rows)
    sizes = np.where(common, words(rows) + 1, counts)
    starts = _running(sizes)
    places = np.empty(starts[-1], np.uint32)
    places[np.repeat(~common, sizes)] = slots[np.repeat(~common, counts)]
    ends = np.cumsum(counts)
    for term in np.flatnonzero(common).tolist():
        bits = to_bits(slots[ends[term] - counts[term] : ends[term]], rows)
        places[starts[term] : starts[term + 1]] = bits
    return _narrow(starts), places


def _texts(strings: list[str]) -> tuple[Array, Array]:
    """The arrays of `Texts`, for sorted strings: Python's order of them is that of their UTF-8."""
    codes = [string.encode("utf-8", "surrogatepass") for string in strings]
    lengths = np.fromiter(map(len, codes), np.int64, len(codes))
    return np.frombuffer(b"".join(codes), np.uint8), _narrow(_running(lengths))


def _running(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each of some runs starts, and where the last one ends."""
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)))


def _wide(array: Array) -> Array:
    """Integers as they are before they are made narrow."""
    return array.astype(np.int64) if array.dtype.kind == "i" else array


def _narrow(array: Array) -> Array:
    """Integers in the smallest signed type that holds them; anything else as it is."""
    if array.dtype != np.int64:
        return array
    for dtype in (np.int8, np.int16, np.int32):
        limits = np.iinfo(dtype)
        if limits.min <= array.min() and array.max() <= limits.max:
            return array.astype(dtype)
    return array
