"""Keys name the fields of a record; comparing a key with a value writes a filter for `Search`.

    K("year") > 1999                          a filter on a metadata field
    K.DOCUMENT.contains("whale")              … on the text
    (K("year") > 1999) & (K("lang") == "en")  … combined

A filter here is what a caller writes and what travels; its dict form is the `where` that every
other operation takes, so what it matches is said in one place, `vermilion.where`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from vermilion.errors import ArgumentTypeError, ArgumentValueError

Form = dict[str, Any]
Scalar = str | int | float | bool

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


def _check_list(operator: str, operand: object) -> None:
    if not isinstance(operand, list):
        raise ArgumentTypeError(f"{operator} requires a list, got {type_name(operand)}")


def _check_pattern(operator: str, operand: object) -> None:
    if not isinstance(operand, str):
        raise ArgumentTypeError(f"{operator} requires a string pattern, got {type_name(operand)}")


def _check_element(operator: str, key: str, operand: object) -> None:
    if not isinstance(operand, Scalar):
        raise ArgumentTypeError(
            f"{operator} requires a str, int, float, or bool, got {type_name(operand)}"
        )
    if key == Key.DOCUMENT.name and not isinstance(operand, str):
        raise ArgumentTypeError(
            f"{operator} on {key} requires a string pattern, got {type_name(operand)}"
        )


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────


class Key:
    """The name of a field of a record; comparing it with a value makes a filter.

    A name that starts with "#" is a part of every record and has a constant here; any other name
    is a metadata field. Two keys are equal when their names are.

    >>> (K("year") > 1999).to_dict()
    {'year': {'$gt': 1999}}
    """

    __slots__ = ("name",)

    ID: ClassVar[Key]
    DOCUMENT: ClassVar[Key]
    EMBEDDING: ClassVar[Key]
    METADATA: ClassVar[Key]
    SCORE: ClassVar[Key]

    def __init__(self, name: str) -> None:
        if not isinstance(name, str):
            raise ArgumentTypeError(f"Key name must be a str, got {type_name(name)}")
        self.name = name

    def __repr__(self) -> str:
        return f"K({self.name!r})"

    def __hash__(self) -> int:
        return hash(self.name)

    # Chroma makes a filter of two keys as well. That filter could not be sent, and because it is
    # truthy, all keys would look equal.
    def __eq__(self, other: object) -> Any:
        return self.name == other.name if isinstance(other, Key) else Eq(self.name, other)

    def __ne__(self, other: object) -> Any:
        return self.name != other.name if isinstance(other, Key) else Ne(self.name, other)

    def __gt__(self, value: float) -> Where:
        return Gt(self.name, value)

    def __ge__(self, value: float) -> Where:
        return Gte(self.name, value)

    def __lt__(self, value: float) -> Where:
        return Lt(self.name, value)

    def __le__(self, value: float) -> Where:
        return Lte(self.name, value)

    def is_in(self, values: list[Any] | tuple[Any, ...] | set[Any]) -> Where:
        """Returns the filter for records whose field equals one of the values."""
        return In(self.name, _values(values))

    def not_in(self, values: list[Any] | tuple[Any, ...] | set[Any]) -> Where:
        """Returns the filter for records whose field equals none of the values."""
        return Nin(self.name, _values(values))

    def regex(self, pattern: str) -> Where:
        """Returns the filter for records whose text matches the pattern somewhere."""
        return Regex(self.name, pattern)

    def not_regex(self, pattern: str) -> Where:
        """Returns the filter for records whose text matches the pattern nowhere."""
        return NotRegex(self.name, pattern)

    def contains(self, value: Scalar) -> Where:
        """Returns the filter for records whose text contains the string, or list the element."""
        return Contains(self.name, value)

    def not_contains(self, value: Scalar) -> Where:
        """Returns the filter for records whose text or list does not contain the value."""
        return NotContains(self.name, value)


Key.ID = Key("#id")
Key.DOCUMENT = Key("#document")
Key.EMBEDDING = Key("#embedding")
Key.METADATA = Key("#metadata")
Key.SCORE = Key("#score")
K = Key


def _values(values: object) -> Any:
    """A list of the values; what is not a collection is left for the filter to refuse."""
    return list(values) if isinstance(values, tuple | set | frozenset) else values


def key_name(key: Key | str, noun: str) -> str:
    """The name of a key that may be given as a Key or as its name."""
    if isinstance(key, Key):
        return key.name
    if isinstance(key, str):
        return key
    raise ArgumentTypeError(f"{noun} must be a string or a Key, got {type_name(key)}")


def key_names(keys: Key | str | Iterable[Key | str], noun: str) -> list[str]:
    """The names of one key or of several."""
    several = [keys] if isinstance(keys, Key | str) else keys
    if not isinstance(several, list | tuple | set | frozenset):
        raise ArgumentTypeError(f"{noun} keys must be a list/tuple/set, got {type_name(keys)}")
    return [key_name(key, f"{noun} key") for key in several]


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


def _read(form: object, depth: int) -> Where:
    if depth == 0:
        raise ArgumentValueError(f"Where dict is nested more than {MAX_DEPTH} levels deep")
    form = require_dict(form, "Where")
    for operator in _JUNCTIONS:
        if operator in form and len(form) > 1:
            raise ArgumentValueError(
                f"{operator} cannot be combined with other fields in the same dict"
            )
    field, operand = one_entry(form, "Where dict", "field")
    if not isinstance(field, str):
        raise ArgumentTypeError(f"Field name must be a string, got {type_name(field)}")
    if field in _JUNCTIONS:
        return _read_junction(field, operand, depth)
    if field.startswith("$"):
        raise ArgumentValueError(f"Unknown operator: {field}; allowed are {sorted(_JUNCTIONS)}")
    return _read_condition(field, operand)


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


def _read_condition(field: str, operand: object) -> Where:
    if not isinstance(operand, dict):
        return Eq(field, operand)
    operator, value = one_entry(operand, f"Operator dict for field '{field}'", "operator")
    if operator not in _CONDITIONS:
        raise ArgumentValueError(f"Unknown operator: {operator}; allowed are {list(_CONDITIONS)}")
    return _CONDITIONS[operator](field, value)
