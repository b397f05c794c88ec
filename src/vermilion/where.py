"""Filter dicts become a tree; OPERATORS has one row per operator, and everybody reads it.

A filter is a `Condition` on one field, or an `And` / `Or` of filters. `where` and `where_document`
share the tree: a condition on documents has the field "#document".

The parser, the metadata columns, the document scan, the documentation and the tests' oracle all
read the same row. `test` is the meaning: given one stored value and the operand, does it match?
A negated operator matches every record that its opposite does not, records without the field
included.
"""

from __future__ import annotations

import math
import operator
import reprlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from vermilion.errors import ArgumentValueError

DOCUMENT = "#document"
ID = "#id"

INT64 = range(-(2**63), 2**63)
# Longer patterns are refused: compiling one costs time and memory on the server.
MAX_PATTERN = 10_000
# Deeper filters are refused: evaluation recurses, and nobody writes these by hand.
MAX_DEPTH = 100

Kind = Literal["string", "number", "bool", "list"]
Family = Literal["equal", "compare", "member", "element", "substring", "regex"]
Test = Callable[[Any, Any], bool]


def kind(value: object) -> Kind | None:
    """The type of a stored value or operand, as filters see it: int and float are one kind."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "list" if isinstance(value, list) else None


def ascending(value: object) -> tuple[int, Any]:
    """What scalars of any type are ordered by: bools first, then numbers, then strings."""
    return ("bool", "number", "string").index(str(kind(value))), value


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


def equal(stored: object, operand: object) -> bool:
    """Same kind and same value; Python compares int with float exactly.

    >>> equal(2, 2.0), equal(2, 2.5), equal(1, True), equal("1", 1)
    (True, False, False, False)
    """
    return kind(stored) == kind(operand) != "list" and stored == operand


def among(stored: object, operands: list[object]) -> bool:
    """Equal to one of the operands."""
    return any(equal(stored, operand) for operand in operands)


def numeric(compare: Callable[[Any, Any], bool]) -> Test:
    """A comparison that only numbers take part in."""
    return lambda stored, operand: kind(stored) == "number" and bool(compare(stored, operand))


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


# ── the table ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Operator:
    """One row of the language.

    `accepts` is what its operand may be. `family` tells an index how to answer it, with `compare`
    for the comparisons. `negated` turns the meaning into its complement over all records.
    """

    name: str
    accepts: Literal["scalar", "number", "scalars", "element", "text", "pattern"]
    family: Family
    test: Test
    says: str
    negated: bool = False
    compare: Callable[[Any, Any], Any] = operator.eq


def _row(
    name: str, accepts: Any, family: Family, test: Test, says: str, **more: Any
) -> tuple[str, Operator]:
    return name, Operator(name, accepts, family, test, says, **more)


# On metadata. Strings are not ordered.
OPERATORS: dict[str, Operator] = dict(
    (
        _row("$eq", "scalar", "equal", equal, "is this value"),
        _row("$ne", "scalar", "equal", equal, "is not this value, or is absent", negated=True),
        _row("$gt", "number", "compare", numeric(operator.gt), "is greater", compare=operator.gt),
        _row(
            "$gte",
            "number",
            "compare",
            numeric(operator.ge),
            "is greater or equal",
            compare=operator.ge,
        ),
        _row("$lt", "number", "compare", numeric(operator.lt), "is less", compare=operator.lt),
        _row(
            "$lte",
            "number",
            "compare",
            numeric(operator.le),
            "is less or equal",
            compare=operator.le,
        ),
        _row("$in", "scalars", "member", among, "is one of these values"),
        _row(
            "$nin",
            "scalars",
            "member",
            among,
            "is none of these values, or is absent",
            negated=True,
        ),
        _row("$contains", "element", "element", has_element, "is a list that holds this value"),
        _row(
            "$not_contains",
            "element",
            "element",
            has_element,
            "is no list that holds this value, or is absent",
            negated=True,
        ),
    )
)

# On documents.
DOCUMENT_OPERATORS: dict[str, Operator] = dict(
    (
        _row("$contains", "text", "substring", has_substring, "holds this text"),
        _row(
            "$not_contains",
            "text",
            "substring",
            has_substring,
            "does not hold this text, or is absent",
            negated=True,
        ),
        _row("$regex", "pattern", "regex", has_match, "matches this regular expression"),
        _row(
            "$not_regex",
            "pattern",
            "regex",
            has_match,
            "does not match this regular expression, or is absent",
            negated=True,
        ),
    )
)

# On "#id".
ID_OPERATORS = {name: OPERATORS[name] for name in ("$eq", "$ne", "$in", "$nin")}


# ── the tree ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Condition:
    """One field, one operator, one operand."""

    field: str
    operator: Operator
    operand: Any

    def matches(self, record: Callable[[str], object]) -> bool:
        """The slow meaning: `record` gives the value of a field, or None."""
        return self.operator.test(record(self.field), self.operand) != self.operator.negated


@dataclass(frozen=True)
class And:
    """Every part matches. No parts: everything does."""

    parts: tuple[Filter, ...]

    def matches(self, record: Callable[[str], object]) -> bool:
        """The slow meaning."""
        return all(part.matches(record) for part in self.parts)


@dataclass(frozen=True)
class Or:
    """At least one part matches. No parts: nothing does."""

    parts: tuple[Filter, ...]

    def matches(self, record: Callable[[str], object]) -> bool:
        """The slow meaning."""
        return any(part.matches(record) for part in self.parts)


Filter = Condition | And | Or


def conditions(filter: Filter) -> Iterator[Condition]:
    """Every condition in the tree, from left to right."""
    if isinstance(filter, Condition):
        yield filter
    else:
        for part in filter.parts:
            yield from conditions(part)


def both(*filters: Filter | None) -> Filter | None:
    """All of these filters at once; None where there is none."""
    given = tuple(filter for filter in filters if filter is not None)
    return given[0] if len(given) == 1 else And(given) if given else None


# ── parsing ──────────────────────────────────────────────────────────────────────────────────────


def parse(where: object, where_document: object = None, *, at_least: int = 2) -> Filter | None:
    """The tree of a `where` and a `where_document`, either of which may be None.

    `at_least` is how many parts "$and" and "$or" need. Raises InvalidArgumentError (a ValueError,
    too) that says what was got and what is allowed.
    """
    return both(
        None if where is None else parse_where(where, at_least),
        None if where_document is None else parse_where_document(where_document, at_least),
    )


def parse_where(where: object, at_least: int = 2, depth: int = 0) -> Filter:
    """The tree of one metadata filter."""
    if not isinstance(where, dict):
        raise ArgumentValueError(f"Expected where to be a dict, got {_show(where)}")
    if len(where) != 1:
        raise ArgumentValueError(
            f"Expected where to have exactly one operator, got {_show(where)}; "
            'join several conditions with {"$and": [...]}'
        )
    field, operand = next(iter(where.items()))
    if not isinstance(field, str):
        raise ArgumentValueError(f"Expected where key to be a str, got {_show(field)}")
    if field in ("$and", "$or"):
        parts = _parts("where", field, operand, at_least, depth)
        return _join(field, tuple(parse_where(part, at_least, depth + 1) for part in parts))
    if field.startswith("$"):
        raise ArgumentValueError(
            f"Invalid where clause: expected a metadata field name or a logical operator "
            f"($and, $or), got {field!r}"
        )
    return _condition(field, operand)


def parse_where_document(where: object, at_least: int = 2, depth: int = 0) -> Filter:
    """The tree of one document filter."""
    if not isinstance(where, dict):
        raise ArgumentValueError(f"Expected where document to be a dict, got {_show(where)}")
    if len(where) != 1:
        raise ArgumentValueError(
            f"Expected where document to have exactly one operator, got {_show(where)}"
        )
    name, operand = next(iter(where.items()))
    if name in ("$and", "$or"):
        parts = _parts("where document", name, operand, at_least, depth)
        return _join(name, tuple(parse_where_document(part, at_least, depth + 1) for part in parts))
    row = DOCUMENT_OPERATORS.get(name)
    if row is None:
        raise ArgumentValueError(
            f"Expected where document operator to be one of "
            f"{', '.join([*DOCUMENT_OPERATORS, '$and', '$or'])}, got {_show(name)}"
        )
    return Condition(DOCUMENT, row, _ACCEPTS[row.accepts](row.name, operand))


def _join(name: str, parts: tuple[Filter, ...]) -> Filter:
    return And(parts) if name == "$and" else Or(parts)


def _parts(noun: str, name: str, operand: object, at_least: int, depth: int) -> list[object]:
    if not isinstance(operand, list):
        raise ArgumentValueError(
            f"Expected {noun} value for {name} to be a list of {noun} expressions, "
            f"got {_show(operand)}"
        )
    if len(operand) < at_least:
        raise ArgumentValueError(
            f"Expected {noun} value for {name} to be a list with at least two {noun} "
            f"expressions, got {_show(operand)}"
        )
    if depth >= MAX_DEPTH:
        raise ArgumentValueError(f"Expected {noun} to nest at most {MAX_DEPTH} levels deep")
    return operand


def _condition(field: str, operand: object) -> Condition:
    rows = {DOCUMENT: DOCUMENT_OPERATORS, ID: ID_OPERATORS}.get(field, OPERATORS)
    if field.startswith("#") and rows is OPERATORS:
        raise ArgumentValueError(
            f"Cannot filter using metadata key {field!r}: keys that start with '#' are reserved, "
            f"only {DOCUMENT!r} and {ID!r} can be filtered"
        )
    if isinstance(operand, dict):
        if len(operand) != 1:
            raise ArgumentValueError(
                f"Expected operator expression to have exactly one operator, got {_show(operand)}"
            )
        name, operand = next(iter(operand.items()))
    elif isinstance(operand, str | int | float):
        name = "$eq"
    else:
        raise ArgumentValueError(
            f"Expected where value to be a str, int, float, or operator expression, "
            f"got {_show(operand)}"
        )
    row = rows.get(name)
    if row is None and name in OPERATORS:
        raise ArgumentValueError(
            f"Cannot filter using metadata key {field!r} with {name}: it takes {', '.join(rows)}"
        )
    if row is None:
        raise ArgumentValueError(
            f"Expected where operator to be one of {', '.join(rows)}, got {_show(name)}"
        )
    return Condition(field, row, _ACCEPTS[row.accepts](row.name, operand))


# ── what operands may be ─────────────────────────────────────────────────────────────────────────


def _scalar(name: str, operand: object) -> object:
    if kind(operand) in (None, "list"):
        raise ArgumentValueError(
            f"Expected where operand value to be a str, int, float, or bool for operator {name}, "
            f"got {_show(operand)}"
        )
    return _exact(operand)


def _number(name: str, operand: object) -> object:
    if kind(operand) != "number":
        raise ArgumentValueError(
            f"Expected operand value to be an int or a float for operator {name}, "
            f"got {_show(operand)}"
        )
    return _exact(operand)


def _scalars(name: str, operand: object) -> object:
    if not isinstance(operand, list):
        raise ArgumentValueError(
            f"Expected operand value to be an list for operator {name}, got {_show(operand)}"
        )
    kinds = {kind(value) for value in operand}
    if len(kinds) != 1 or not kinds <= {"string", "number", "bool"}:
        raise ArgumentValueError(
            f"Expected where operand value for operator {name} to be a non-empty list, and all "
            f"values to be of the same type (str, number or bool), got {_show(operand)}"
        )
    return [_exact(value) for value in operand]


def _text(name: str, operand: object) -> str:
    if not isinstance(operand, str) or not operand:
        raise ArgumentValueError(
            f"Expected where document operand value for operator {name} to be a non-empty str, "
            f"got {_show(operand)}"
        )
    return operand


def _pattern(name: str, operand: object) -> str:
    text = _text(name, operand)
    pattern(text)
    return text


def _exact(operand: object) -> object:
    """Refuses numbers that no stored value can be compared with."""
    value = plain(operand)
    if isinstance(value, float) and not math.isfinite(value):
        raise ArgumentValueError(f"Invalid where clause: {value} is not a finite number")
    if isinstance(value, int) and value not in INT64:
        raise ArgumentValueError(f"Invalid where clause: {value} does not fit 64 bits")
    return value


_ACCEPTS: dict[str, Callable[[str, object], object]] = {
    "scalar": _scalar,
    "number": _number,
    "scalars": _scalars,
    "element": _scalar,
    "text": _text,
    "pattern": _pattern,
}


_brief = reprlib.Repr()
_brief.maxstring = _brief.maxother = 100


def _show(value: object) -> str:
    """What was got, short enough for an error text, however long or deep it is."""
    return _brief.repr(value)
