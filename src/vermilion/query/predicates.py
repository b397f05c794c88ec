"""Filters for `Search`, as a caller writes them and as they travel: one class for each operator.

The dict form of a filter is the `where` that every other operation takes, so what it matches is
said in one place, `vermilion.query.operators`. `keys` has the expressions that make these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any, ClassVar

from vermilion.errors import ArgumentTypeError, ArgumentValueError, InvalidArgumentError
from vermilion.query.operators import DOCUMENT_OPERATORS, OPERATORS, SHORTHANDS
from vermilion.query.where import DOCUMENT
from vermilion.types import TYPE_KEY

Form = dict[str, Any]
# What a list may hold, and a filter look for in it.
Scalar = str | int | float | bool | date

# Deeper expressions are refused: reading them recurses, and nobody writes these by hand.
MAX_DEPTH = 100


def type_name(value: object) -> str:
    """The name of a value's type, for error texts."""
    return type(value).__name__


def require_dict(form: object, noun: str) -> Form:
    """The same value, if it is a dict."""
    if not isinstance(form, dict):
        raise ArgumentTypeError(f"Expected dict for {noun}, got {type_name(form)}")
    return form


def one_entry(form: Form, noun: str, entry: str) -> tuple[Any, Any]:
    """The only key and value of a dict; `noun` and `entry` say what was expected."""
    if not form:
        raise ArgumentValueError(f"{noun} cannot be empty")
    if len(form) != 1:
        raise ArgumentValueError(f"{noun} must contain exactly one {entry}, got {len(form)}")
    return next(iter(form.items()))


def refuse_unknown(form: Form, noun: str, allowed: Iterable[str]) -> None:
    """Raises ValueError when a dict has a key that nobody would read."""
    if unknown := sorted(map(str, set(form) - set(allowed))):
        raise ArgumentValueError(
            f"Unexpected keys in {noun} dict: {unknown}; allowed are {sorted(allowed)}"
        )


@contextmanager
def inside(step: str) -> Iterator[None]:
    """Errors about a part of a form end with where it is, such as "(at rank.$sum[1].$knn)"."""
    try:
        yield
    except InvalidArgumentError as error:
        place, said = getattr(error, "place", ("", str(error)))
        path = step + ("." if place and not place.startswith("[") else "") + place
        error.place = path, said  # type: ignore[attr-defined]
        error.args = (f"{said} (at {path})",)
        raise


# ── filters ──────────────────────────────────────────────────────────────────────────────────────


class Where:
    """A filter on records; `&` and `|` combine filters."""

    def to_dict(self) -> Form:
        """Returns the `where` dict of this filter."""
        raise ArgumentTypeError("Where is the contract of filters; compare a Key with a value")

    @staticmethod
    def from_dict(form: Form) -> Where:
        """Returns the filter that a `where` dict describes.

        Unlike the `where` of `get` and `query`, an "$and" or "$or" may hold a single filter.
        """
        return _read(form, MAX_DEPTH)

    def __and__(self, other: Where) -> Where:
        if not isinstance(other, Where):
            return NotImplemented
        return And([*_members(self, And), *_members(other, And)])

    def __or__(self, other: Where) -> Where:
        if not isinstance(other, Where):
            return NotImplemented
        return Or([*_members(self, Or), *_members(other, Or)])

    def __invert__(self) -> Where:
        return Not(self)


@dataclass(frozen=True)
class And(Where):
    """Records that every condition matches."""

    operator: ClassVar[str] = "$and"
    conditions: list[Where]

    def to_dict(self) -> Form:
        """Returns {"$and": [...]}."""
        return {self.operator: [condition.to_dict() for condition in self.conditions]}


@dataclass(frozen=True)
class Or(Where):
    """Records that some condition matches."""

    operator: ClassVar[str] = "$or"
    conditions: list[Where]

    def to_dict(self) -> Form:
        """Returns {"$or": [...]}."""
        return {self.operator: [condition.to_dict() for condition in self.conditions]}


@dataclass(frozen=True)
class Not(Where):
    """Records that the condition does not match. Not one of Chroma's."""

    condition: Where

    def to_dict(self) -> Form:
        """Returns {"$not": {...}}."""
        return {"$not": self.condition.to_dict()}


def _members(where: Where, kind: type[And] | type[Or]) -> list[Where]:
    """A chain of `&` becomes one flat And, and a chain of `|` one flat Or."""
    return where.conditions if isinstance(where, kind) else [where]


@dataclass(frozen=True)
class Eq(Where):
    """Records whose field equals the value."""

    key: str
    value: Any

    def to_dict(self) -> Form:
        """Returns {key: {"$eq": value}}."""
        return {self.key: {"$eq": self.value}}


@dataclass(frozen=True)
class Ne(Where):
    """Records whose field differs from the value, or that do not have the field."""

    key: str
    value: Any

    def to_dict(self) -> Form:
        """Returns {key: {"$ne": value}}."""
        return {self.key: {"$ne": self.value}}


@dataclass(frozen=True)
class Gt(Where):
    """Records whose field is greater than the value."""

    key: str
    value: Any

    def to_dict(self) -> Form:
        """Returns {key: {"$gt": value}}."""
        return {self.key: {"$gt": self.value}}


@dataclass(frozen=True)
class Gte(Where):
    """Records whose field is greater than the value, or equal to it."""

    key: str
    value: Any

    def to_dict(self) -> Form:
        """Returns {key: {"$gte": value}}."""
        return {self.key: {"$gte": self.value}}


@dataclass(frozen=True)
class Lt(Where):
    """Records whose field is less than the value."""

    key: str
    value: Any

    def to_dict(self) -> Form:
        """Returns {key: {"$lt": value}}."""
        return {self.key: {"$lt": self.value}}


@dataclass(frozen=True)
class Lte(Where):
    """Records whose field is less than the value, or equal to it."""

    key: str
    value: Any

    def to_dict(self) -> Form:
        """Returns {key: {"$lte": value}}."""
        return {self.key: {"$lte": self.value}}


@dataclass(frozen=True)
class In(Where):
    """Records whose field equals one of the values."""

    key: str
    values: list[Any]

    def __post_init__(self) -> None:
        _check_list("$in", self.values)

    def to_dict(self) -> Form:
        """Returns {key: {"$in": values}}."""
        return {self.key: {"$in": self.values}}


@dataclass(frozen=True)
class Nin(Where):
    """Records whose field equals none of the values, or that do not have the field."""

    key: str
    values: list[Any]

    def __post_init__(self) -> None:
        _check_list("$nin", self.values)

    def to_dict(self) -> Form:
        """Returns {key: {"$nin": values}}."""
        return {self.key: {"$nin": self.values}}


@dataclass(frozen=True)
class Regex(Where):
    """Records whose text matches the pattern somewhere."""

    key: str
    pattern: str

    def __post_init__(self) -> None:
        _check_pattern("$regex", self.pattern)

    def to_dict(self) -> Form:
        """Returns {key: {"$regex": pattern}}."""
        return {self.key: {"$regex": self.pattern}}


@dataclass(frozen=True)
class NotRegex(Where):
    """Records whose text matches the pattern nowhere, or that have no text."""

    key: str
    pattern: str

    def __post_init__(self) -> None:
        _check_pattern("$not_regex", self.pattern)

    def to_dict(self) -> Form:
        """Returns {key: {"$not_regex": pattern}}."""
        return {self.key: {"$not_regex": self.pattern}}


@dataclass(frozen=True)
class Contains(Where):
    """Records whose text contains the string, or whose list has the element."""

    key: str
    value: Scalar

    def __post_init__(self) -> None:
        _check_element("$contains", self.key, self.value)

    def to_dict(self) -> Form:
        """Returns {key: {"$contains": value}}."""
        return {self.key: {"$contains": self.value}}


@dataclass(frozen=True)
class NotContains(Where):
    """Records whose text or list does not contain the value, or that have neither."""

    key: str
    value: Scalar

    def __post_init__(self) -> None:
        _check_element("$not_contains", self.key, self.value)

    def to_dict(self) -> Form:
        """Returns {key: {"$not_contains": value}}."""
        return {self.key: {"$not_contains": self.value}}


@dataclass(frozen=True)
class Passes(Where):
    """Records whose field passes an operator that is none of Chroma's."""

    key: str
    operator: str
    operand: Any

    def to_dict(self) -> Form:
        """Returns {key: {operator: operand}}."""
        return {self.key: {self.operator: self.operand}}


def _check_list(operator: str, operand: object) -> None:
    if not isinstance(operand, list):
        raise ArgumentTypeError(f"{operator} requires a list, got {type_name(operand)}")


def _check_pattern(operator: str, operand: object) -> None:
    if not isinstance(operand, str):
        raise ArgumentTypeError(f"{operator} requires a string pattern, got {type_name(operand)}")


def _check_element(operator: str, key: str, operand: object) -> None:
    # A date that has travelled is a tagged dict, which the parser of filters reads.
    if not isinstance(operand, Scalar) and not (isinstance(operand, dict) and TYPE_KEY in operand):
        raise ArgumentTypeError(
            f"{operator} requires a str, int, float, bool, or date, got {type_name(operand)}"
        )
    if key == DOCUMENT and not isinstance(operand, str):
        raise ArgumentTypeError(
            f"{operator} on {key} requires a string pattern, got {type_name(operand)}"
        )


# ── reading filters ──────────────────────────────────────────────────────────────────────────────

_JUNCTIONS: dict[str, type[And] | type[Or]] = {kind.operator: kind for kind in (And, Or)}

_CONDITIONS: dict[str, Callable[[str, Any], Where]] = {
    "$eq": Eq,
    "$ne": Ne,
    "$gt": Gt,
    "$gte": Gte,
    "$lt": Lt,
    "$lte": Lte,
    "$in": In,
    "$nin": Nin,
    "$regex": Regex,
    "$not_regex": NotRegex,
    "$contains": Contains,
    "$not_contains": NotContains,
}


_OURS = {
    name
    for name, ours in (
        *((row.name, row.ours) for row in (*OPERATORS.values(), *DOCUMENT_OPERATORS.values())),
        *((name, True) for name in SHORTHANDS),
    )
    if ours and name not in _CONDITIONS
}


def _read(form: object, depth: int) -> Where:
    if depth == 0:
        raise ArgumentValueError(f"Where dict is nested more than {MAX_DEPTH} levels deep")
    form = require_dict(form, "Where")
    for operator in _JUNCTIONS:
        if operator in form and len(form) > 1:
            raise ArgumentValueError(
                f"{operator} cannot be combined with other fields in the same dict"
            )
    if not form:
        raise ArgumentValueError("Where dict cannot be empty")
    return _together([_read_entry(field, operand, depth) for field, operand in form.items()])


def _read_entry(field: object, operand: object, depth: int) -> Where:
    if not isinstance(field, str):
        raise ArgumentTypeError(f"Field name must be a string, got {type_name(field)}")
    if field in _JUNCTIONS:
        return _read_junction(field, operand, depth)
    if field == "$not":
        return Not(_read(operand, depth - 1))
    if field.startswith("$"):
        allowed = sorted([*_JUNCTIONS, "$not"])
        raise ArgumentValueError(f"Unknown operator: {field}; allowed are {allowed}")
    return _read_field(field, operand, depth)


def _together(conditions: list[Where]) -> Where:
    """All of them, in a chain without links."""
    if len(conditions) == 1:
        return conditions[0]
    return And([member for condition in conditions for member in _members(condition, And)])


def _read_junction(operator: str, operand: object, depth: int) -> Where:
    if not isinstance(operand, list):
        raise ArgumentTypeError(f"{operator} must be a list, got {type_name(operand)}")
    if not operand:
        raise ArgumentValueError(f"{operator} requires at least one condition")
    kind = _JUNCTIONS[operator]
    conditions = [_read(condition, depth - 1) for condition in operand]
    if len(conditions) == 1:
        return conditions[0]
    return kind([member for condition in conditions for member in _members(condition, kind)])


def _read_field(field: str, operand: object, depth: int) -> Where:
    """A value of a field, or operators that it passes."""
    if depth == 0:
        raise ArgumentValueError(f"Where dict is nested more than {MAX_DEPTH} levels deep")
    if not isinstance(operand, dict) or TYPE_KEY in operand:
        return Eq(field, operand)
    if not operand:
        raise ArgumentValueError(f"Operator dict for field '{field}' cannot be empty")
    return _together([_read_operator(field, *one, depth) for one in operand.items()])


def _read_operator(field: str, operator: object, value: object, depth: int) -> Where:
    if operator == "$not" and isinstance(value, dict):
        return Not(_read_field(field, value, depth - 1))
    if operator in _OURS:
        return Passes(field, str(operator), value)
    if operator not in _CONDITIONS:
        allowed = sorted({*_CONDITIONS, *_OURS})
        raise ArgumentValueError(f"Unknown operator: {operator}; allowed are {allowed}")
    return _CONDITIONS[str(operator)](field, value)
