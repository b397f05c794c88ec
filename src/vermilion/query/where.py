"""Filter dicts become a tree of conditions.

A filter is a `Condition` on one field, or an `And` / `Or` of filters. `where` and `where_document`
share the tree: a condition on documents has the field "#document". What stands for something longer
("$not", "$all", "$between", several fields in one dict) is spelled out by the parser, so nobody
else knows of it; `operators` says what the others mean.

An error names the place: "where.$and[1].year.$between: Expected two values, got 3".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

from vermilion.errors import ArgumentValueError
from vermilion.query.operands import ACCEPTS, Place, no_text, ordered, scalar, show
from vermilion.query.operators import (
    DOCUMENT_OPERATORS,
    ID_OPERATORS,
    INT64,
    MAX_PATTERN,
    OPERATORS,
    SHORTHANDS,
    Operator,
    ascending,
    kind,
    opposite,
    pattern,
    plain,
)
from vermilion.types import TYPE_KEY

# What those who know filters know of their operators, too.
__all__ = (
    "DOCUMENT", "DOCUMENT_OPERATORS", "ID", "ID_OPERATORS", "INT64", "MAX_DEPTH", "MAX_PATTERN",
    "OPERATORS", "SHORTHANDS", "And", "Condition", "Filter", "Operator", "Or", "ascending",
    "beyond", "both", "conditions", "expression", "kind", "negation", "parse", "parse_where",
    "parse_where_document", "pattern", "plain",
)  # fmt: skip

DOCUMENT = "#document"
ID = "#id"

# Deeper filters are refused: evaluation recurses, and nobody writes these by hand.
MAX_DEPTH = 100


# ── the tree ─────────────────────────────────────────────────────────────────────────────────────


class Condition(NamedTuple):
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
    return _all(given) if given else None


def _all(parts: tuple[Filter, ...]) -> Filter:
    return parts[0] if len(parts) == 1 else And(parts)


def negation(filter: Filter) -> Filter:
    """What matches every record that the filter does not."""
    if isinstance(filter, Condition):
        return filter._replace(operator=opposite(filter.operator))
    joined = Or if isinstance(filter, And) else And
    return joined(tuple(negation(part) for part in filter.parts))


def expression(condition: Condition) -> dict[str, Any]:
    """What is written beside the field: an operator with its operand, under "$not" if need be."""
    row = condition.operator
    written = {row.name: condition.operand}
    return {"$not": written} if row.is_inverted else written


def beyond(filter: Filter) -> str | None:
    """What of it Chroma's servers do not know, in words; None where they know all of it."""
    for one in conditions(filter):
        row, operand = one.operator, one.operand
        values = operand if isinstance(operand, list) else [operand]
        if row.ours or row.is_inverted:
            return f"{next(iter(expression(one)))} on {one.field!r}"
        if any(isinstance(value, date) for value in values):
            return f"a time as the operand of {row.name} on {one.field!r}"
        if row.accepts == "ordered" and isinstance(operand, str):
            return f"a text as the operand of {row.name} on {one.field!r}"
    return None


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


def parse_where(where: object, at_least: int = 2, *, implicit: bool = True) -> Filter:
    """The tree of one metadata filter.

    `implicit` tells whether several fields may stand in one dict, which all have to match.
    """
    return _filter(where, Place("where", at_least, implicit))


def parse_where_document(where: object, at_least: int = 2, *, implicit: bool = True) -> Filter:
    """The tree of one document filter; `implicit` as above, for operators."""
    return _filter(where, Place("where document", at_least, implicit, about_text=True))


def _filter(where: object, place: Place) -> Filter:
    noun = place.noun
    if not isinstance(where, dict):
        raise place.error(f"Expected {noun} to be a dict, got {show(where)}")
    if not where or (len(where) > 1 and not place.implicit):
        raise place.error(
            f"Expected {noun} to have exactly one operator, got {show(where)}"
            + ('; join several conditions with {"$and": [...]}' if where else "")
        )
    return _all(tuple(_entry(name, operand, place) for name, operand in where.items()))


def _entry(name: object, operand: object, place: Place) -> Filter:
    if name in ("$and", "$or"):
        parts = tuple(
            _filter(part, place.below(f".{name}[{number}]", deeper=True))
            for number, part in enumerate(_parts(str(name), operand, place.below(f".{name}")))
        )
        return And(parts) if name == "$and" else Or(parts)
    if name == "$not":
        place = place.below(".$not", deeper=True)
        _check_depth(place)
        return negation(_filter(operand, place))
    if place.about_text:
        return _operation(DOCUMENT, name, operand, place)
    if not isinstance(name, str):
        raise place.error(f"Expected where key to be a str, got {show(name)}")
    if name.startswith("$"):
        raise place.error(
            "Invalid where clause: expected a metadata field name or a logical operator "
            f"($and, $or, $not), got {show(name)}"
        )
    return _about(name, operand, place.below(f".{name}"))


def _parts(name: str, operand: object, place: Place) -> list[object]:
    noun = place.noun
    if not isinstance(operand, list):
        raise place.error(
            f"Expected {noun} value for {name} to be a list of {noun} expressions, "
            f"got {show(operand)}"
        )
    if len(operand) < place.at_least:
        raise place.error(
            f"Expected {noun} value for {name} to be a list with at least two {noun} "
            f"expressions, got {show(operand)}"
        )
    _check_depth(place.below("", deeper=True))
    return operand


def _check_depth(place: Place) -> None:
    if place.depth > MAX_DEPTH:
        raise ArgumentValueError(f"Expected {place.noun} to nest at most {MAX_DEPTH} levels deep")


# ── one field ────────────────────────────────────────────────────────────────────────────────────

_NOT_A_VALUE = "Expected where value to be a str, int, float, or operator expression"


def _about(field: str, operand: object, place: Place) -> Filter:
    """A value that the field has, or operators that it passes."""
    if field.startswith("#") and field not in (DOCUMENT, ID):
        raise place.error(
            f"Cannot filter using metadata key {field!r}: keys that start with '#' are reserved, "
            f"only {DOCUMENT!r} and {ID!r} can be filtered"
        )
    if isinstance(operand, dict) and TYPE_KEY not in operand:
        if not operand:
            raise place.error(
                "Expected operator expression to have exactly one operator, or several, got {}"
            )
        parts = (_operation(field, name, one, place) for name, one in operand.items())
        return _all(tuple(parts))
    if not isinstance(operand, str | int | float | date | dict):
        raise place.error(f"{_NOT_A_VALUE}, got {show(operand)}")
    return _operation(field, "$eq", operand, place)


def _operation(field: str, name: object, operand: object, place: Place) -> Filter:
    rows = {DOCUMENT: DOCUMENT_OPERATORS, ID: ID_OPERATORS}.get(field, OPERATORS)
    row = rows.get(str(name))
    below = place.below(f".{name}", deeper=True) if isinstance(name, str) else place
    if name == "$not":
        _check_depth(below)
        if not isinstance(operand, dict):
            raise below.error(
                f"Expected where operator $not to hold an operator expression, got {show(operand)}"
            )
        return negation(_about(field, operand, below))
    if name == "$exists" and field == DOCUMENT:  # a document that is there holds the empty text
        there = ACCEPTS["flag"]("$exists", operand, below)
        return Condition(field, rows["$contains" if there else "$not_contains"], "")
    if name in _SPELLED_OUT and rows is OPERATORS:
        return _SPELLED_OUT[str(name)](field, operand, below)
    if row is None:
        raise _unknown(field, name, place)
    if place.about_text and operand == "" and place.at_least > 0:
        raise no_text(str(name), operand, below)
    value = ACCEPTS[row.accepts](row.name, operand, below)
    if row.accepts == "scalars":
        return _members(field, row, value)
    return Condition(field, row, value)


def _unknown(field: str, name: object, place: Place) -> ArgumentValueError:
    if place.about_text:
        allowed = ", ".join([*DOCUMENT_OPERATORS, "$exists", "$and", "$or", "$not"])
        return place.error(
            f"Expected where document operator to be one of {allowed}, got {show(name)}"
        )
    few = {DOCUMENT: DOCUMENT_OPERATORS, ID: ID_OPERATORS}.get(field)
    if few is not None and name in (*OPERATORS, *SHORTHANDS):
        return place.error(
            f"Cannot filter using metadata key {field!r} with {name}: it takes {', '.join(few)}"
        )
    told = ", ".join(few or (*OPERATORS, *SHORTHANDS))
    return place.error(f"Expected where operator to be one of {told}, got {show(name)}")


# ── what is spelled out ──────────────────────────────────────────────────────────────────────────


def _between(field: str, operand: object, place: Place) -> Filter:
    if not isinstance(operand, list | tuple) or len(operand) != 2:
        got = len(operand) if isinstance(operand, list | tuple) else show(operand)
        raise place.error(f"Expected two values, got {got}")
    low, high = (ordered("$between", one, place.below(f"[{at}]")) for at, one in enumerate(operand))
    if (kind(low) == "number") != (kind(high) == "number"):
        raise place.error(f"Expected two numbers or two times, got {show(operand)}")
    ends = (("$gte", low), ("$lte", high))
    return And(tuple(Condition(field, OPERATORS[name], value) for name, value in ends))


def _every(field: str, operand: object, place: Place) -> Filter:
    if not isinstance(operand, list) or not operand:
        raise place.error(f"Expected a list of values that is not empty, got {show(operand)}")
    row = OPERATORS["$contains"]
    values = (scalar("$all", one, place.below(f"[{at}]")) for at, one in enumerate(operand))
    return _all(tuple(Condition(field, row, value) for value in values))


_SPELLED_OUT: dict[str, Callable[[str, object, Place], Filter]] = {
    "$between": _between,
    "$all": _every,
}


def _members(field: str, row: Operator, values: list[Any]) -> Filter:
    """A condition for each kind of value, so that any server understands what it can."""
    kinds: dict[Any, list[Any]] = {}
    for value in values:
        kinds.setdefault(kind(value), []).append(value)
    parts: tuple[Filter, ...] = tuple(Condition(field, row, some) for some in kinds.values())
    return parts[0] if len(parts) == 1 else (And if row.negated else Or)(parts)
