"""OPERATORS: a row is an operator of the filter language, and everybody reads the same row.

The parser, the metadata columns, the document scan, the documentation and the tests' oracle do.
`test` is the meaning: given one stored value and the operand, does it match? A negated operator
matches every record that its opposite does not, records without the field included. SHORTHANDS are
written for what other operators say at more length. Rows that are `ours` are none of Chroma's.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from datetime import date
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from vermilion.errors import ArgumentValueError
from vermilion.times import microseconds, read_time

INT64 = range(-(2**63), 2**63)
# Longer patterns are refused: compiling one costs time and memory on the server.
MAX_PATTERN = 10_000
# Longer texts to start with, to end with or to hold in any case are refused: they become patterns.
MAX_PIECE = 4_000

Kind = Literal["bool", "number", "time", "string", "list", "map"]
Family = Literal[
    "equal", "compare", "member", "element", "substring", "regex", "prefix", "exists", "size"
]
Test = Callable[[Any, Any], bool]

# The kinds of scalars, in the order in which values of different kinds are sorted.
SCALAR_KINDS: tuple[Kind, ...] = ("bool", "number", "time", "string")


def kind(value: object) -> Kind | None:
    """The type of a stored value or operand, as filters see it: int and float are one kind."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    if isinstance(value, date):
        return "time"
    if isinstance(value, dict):
        return "map"
    return "list" if isinstance(value, list) else None


def ascending(value: Any) -> tuple[int, Any]:
    """What scalars of any type are ordered by: bools, then numbers, times, strings."""
    found = kind(value)
    return SCALAR_KINDS.index(found or "map"), microseconds(value) if found == "time" else value


def plain(value: Any) -> Any:
    """The str, int, float or bool that a value is, whatever subclass it comes in.

    An enumeration's member hashes and prints as itself, not as the value it stands for.
    """
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bool):
        return value
    return int(value) if isinstance(value, int) else float(value)


# ── what each operator means ─────────────────────────────────────────────────────────────────────


def moment(operand: object) -> int | None:
    """The moment that a time is, or the text of one in ISO 8601; None for anything else."""
    if isinstance(operand, str):
        operand = read_time(operand) if operand[4:5] == "-" else None
    return microseconds(operand) if isinstance(operand, date) else None


def equal(stored: object, operand: object) -> bool:
    """Same kind and same value; Python compares int with float exactly.

    A time also equals the text of its moment.

    >>> equal(2, 2.0), equal(2, 2.5), equal(1, True), equal("1", 1)
    (True, False, False, False)
    """
    if isinstance(stored, date):
        return microseconds(stored) == moment(operand)
    found = kind(stored)
    return found == kind(operand) and found in SCALAR_KINDS and stored == operand


def among(stored: object, operands: list[object]) -> bool:
    """Equal to one of the operands."""
    return any(equal(stored, operand) for operand in operands)


def ordered(compare: Callable[[Any, Any], Any]) -> Test:
    """A comparison of numbers with a number, and of times with a time or the text of one."""

    def test(stored: Any, operand: Any) -> bool:
        if kind(stored) == "time":
            bound = moment(operand)
            return bound is not None and bool(compare(microseconds(stored), bound))
        numbers = kind(stored) == "number" == kind(operand)
        return numbers and bool(compare(stored, operand))

    return test


def has_element(stored: object, operand: object) -> bool:
    """The stored list holds the operand; an element has to be of the very same type.

    >>> has_element(["a", "b"], "a"), has_element([1], 1.0), has_element("a", "a")
    (True, False, False)
    """
    if not isinstance(stored, list):
        return False
    return any(type(element) is type(operand) and element == operand for element in stored)


def has_substring(stored: object, operand: str) -> bool:
    """The stored string holds the operand, case and accents included."""
    return isinstance(stored, str) and operand in stored


def is_there(stored: object, operand: bool) -> bool:
    """There is a value, or there is none."""
    return (stored is not None) == operand


def has_size(stored: object, operand: int) -> bool:
    """The stored list has so many elements."""
    return isinstance(stored, list) and len(stored) == operand


@lru_cache(maxsize=256)
def pattern(text: str) -> Any:
    """A compiled regular expression in the dialect of Rust's regex crate.

    The engine runs in linear time, so no pattern can hang a reader. Raises InvalidArgumentError
    for a pattern that does not parse, look-around and back-references included.
    """
    import paula  # native code: loaded with the first pattern, not with the package

    if len(text) > MAX_PATTERN:
        raise ArgumentValueError(
            f"Regular expression of {len(text)} characters is longer than {MAX_PATTERN}"
        )
    try:
        return paula.Regex(text)
    except ValueError as error:
        # "errror": the spelling is Chroma's, and clients look for it.
        raise ArgumentValueError(f"Regex syntax errror: {error}") from None


def has_match(stored: object, operand: str) -> bool:
    """The pattern matches anywhere in the stored string."""
    return isinstance(stored, str) and bool(pattern(operand).is_match(stored))


def literal(text: str) -> str:
    """The pattern that matches this text.

    >>> literal("1.5 (a)")
    '1\\\\.5 \\\\(a\\\\)'
    """
    return "".join(f"\\{char}" if char in r"\.+*?()|[]{}^$" else char for char in text)


# ── the table ────────────────────────────────────────────────────────────────────────────────────

Accepts = Literal[
    "scalar", "ordered", "scalars", "element", "text", "pattern", "piece", "flag", "count"
]


def _itself(text: str) -> str:
    return text


class Operator(NamedTuple):
    """One row of the language.

    `accepts` is what its operand may be. `family` tells an index how to answer it, with `compare`
    for the comparisons, and `pattern` for what matches a regular expression that is made of the
    operand. `negated` turns the meaning into its complement over all records.
    """

    name: str
    accepts: Accepts
    family: Family
    test: Test
    says: str
    negated: bool = False
    compare: Callable[[Any, Any], Any] = operator.eq
    pattern: Callable[[str], str] = _itself
    ours: bool = False

    @property
    def is_inverted(self) -> bool:
        """Whether it means the opposite of what its name says."""
        return self.negated != (self.name in _POSITIVE)


def _table(*rows: Operator) -> dict[str, Operator]:
    return {row.name: row for row in rows}


def _comparison(name: str, compare: Callable[[Any, Any], Any], says: str) -> Operator:
    return Operator(name, "ordered", "compare", ordered(compare), says, compare=compare)


def _matching(
    name: str, says: str, made: Callable[[str], str], family: Family = "regex"
) -> Operator:
    """A row for strings that match a pattern made of the operand."""

    def test(stored: object, operand: str) -> bool:
        return has_match(stored, made(operand))

    return Operator(name, "piece", family, test, says, pattern=made, ours=True)


def _regex(*, ours: bool) -> tuple[Operator, Operator]:
    matches = Operator(
        "$regex", "pattern", "regex", has_match, "matches this regular expression", ours=ours
    )
    says = "does not match this regular expression, or is absent"
    return matches, matches._replace(name="$not_regex", says=says, negated=True)


# On strings: those of metadata, and documents.
_PIECES = (
    _matching(
        "$starts_with", "starts with this text", lambda text: rf"\A{literal(text)}", "prefix"
    ),
    _matching("$ends_with", "ends with this text", lambda text: rf"{literal(text)}\z"),
    _matching(
        "$icontains", "holds this text, in any case", lambda text: f"(?i){literal(text)}"
    ),
    _matching(
        "$istarts_with", "starts with this text, in any case",
        lambda text: rf"(?i)\A{literal(text)}",
    ),
    _matching(
        "$iends_with", "ends with this text, in any case", lambda text: rf"(?i){literal(text)}\z"
    ),
)  # fmt: skip

# On metadata. Strings are not ordered.
OPERATORS = _table(
    Operator("$eq", "scalar", "equal", equal, "is this value"),
    Operator("$ne", "scalar", "equal", equal, "is not this value, or is absent", negated=True),
    _comparison("$gt", operator.gt, "is greater, or later"),
    _comparison("$gte", operator.ge, "is greater or equal, or not earlier"),
    _comparison("$lt", operator.lt, "is less, or earlier"),
    _comparison("$lte", operator.le, "is less or equal, or not later"),
    Operator("$in", "scalars", "member", among, "is one of these values"),
    Operator(
        "$nin", "scalars", "member", among, "is none of these values, or is absent", negated=True
    ),
    Operator("$contains", "element", "element", has_element, "is a list that holds this value"),
    Operator(
        "$not_contains", "element", "element", has_element,
        "is no list that holds this value, or is absent", negated=True,
    ),
    Operator(
        "$exists", "flag", "exists", is_there, "is there (`true`), or absent (`false`)", ours=True
    ),
    Operator("$size", "count", "size", has_size, "is a list of so many elements", ours=True),
    *_regex(ours=True),
    *_PIECES,
)  # fmt: skip

# On documents.
DOCUMENT_OPERATORS = _table(
    Operator("$contains", "text", "substring", has_substring, "holds this text"),
    Operator(
        "$not_contains", "text", "substring", has_substring,
        "does not hold this text, or is absent", negated=True,
    ),
    *_regex(ours=False),
    *_PIECES,
)  # fmt: skip

# On "#id".
ID_OPERATORS = {name: OPERATORS[name] for name in ("$eq", "$ne", "$in", "$nin")}

# What is written for something longer: the operand, and what it matches.
SHORTHANDS: dict[str, tuple[str, str]] = {
    "$all": ("list of values", "is a list that holds all of these values"),
    "$between": ("two numbers or two times", "lies between them, or is one of them"),
    "$not": ("operators", "does not match these, or is absent"),
}

_POSITIVE = {"$ne": "$eq", "$nin": "$in", "$not_contains": "$contains", "$not_regex": "$regex"}
_OPPOSITES = {**_POSITIVE, **{positive: name for name, positive in _POSITIVE.items()}}


def opposite(row: Operator) -> Operator:
    """The operator that matches every record that this one does not."""
    return row._replace(name=_OPPOSITES.get(row.name, row.name), negated=not row.negated)
