"""What a body may hold, a row per field: the check, the default, and the JSON schema of it.

A wrong shape raises UnprocessableError (422) and says where; what the values mean is checked by
those who use them (400).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vermilion.errors import InvalidArgumentError, UnprocessableError

Form = dict[str, Any]
Check = Callable[[Any, str], Any]

U32 = 2**32 - 1


@dataclass(frozen=True)
class Kind:
    """A type of value: how it is checked, and how it is described."""

    check: Check
    schema: Form


@dataclass(frozen=True)
class Field:
    """One key of an object. One that is missing, or null where that is allowed, is the default."""

    name: str
    kind: Kind
    says: str
    required: bool = False
    nullable: bool = True
    default: Any = None
    ours: bool = field(default=False)  # Chroma's servers do not know it

    @property
    def schema(self) -> Form:
        """Its JSON schema."""
        form: Form = {"description": self.says}
        if self.nullable and not self.required:
            return {"anyOf": [self.kind.schema, {"type": "null"}]} | form
        return self.kind.schema | form


Fields = tuple[Field, ...]


def read(fields: Fields, form: object, at: str = "") -> Form:
    """The fields of an object, each checked; unknown keys are left aside."""
    if not isinstance(form, dict):
        raise mismatch(at, form, "a map")
    out: Form = {}
    for one in fields:
        value = form.get(one.name)
        if value is not None:
            out[one.name] = one.kind.check(value, f"{at}.{one.name}" if at else one.name)
        elif one.required and one.name not in form:
            raise UnprocessableError(
                f"{_PREFIX}{at + ': ' if at else ''}missing field `{one.name}`"
            )
        elif one.name in form and (one.required or not one.nullable):
            raise mismatch(f"{at}.{one.name}" if at else one.name, None, "a value")
        else:
            out[one.name] = one.default
    return out


def read_query(fields: Fields, given: Mapping[str, str]) -> Form:
    """The fields of a query string; unknown ones are left aside. Raises InvalidArgumentError."""
    return {
        one.name: one.kind.check(given[one.name], one.name) if one.name in given else one.default
        for one in fields
    }


_PREFIX = "Failed to deserialize the JSON body into the target type: "


def mismatch(at: str, value: object, expected: str) -> UnprocessableError:
    """The error for a value of a wrong type."""
    where = f"{at}: " if at else ""
    return UnprocessableError(f"{_PREFIX}{where}invalid type: {_told(value)}, expected {expected}")


def unknown(at: str, name: object, allowed: tuple[str, ...]) -> UnprocessableError:
    """The error for a key or a word that is not one of those allowed."""
    told = ", ".join(f"`{one}`" for one in allowed)
    return UnprocessableError(f"{_PREFIX}{at}: unknown variant `{name}`, expected one of {told}")


def _told(value: object) -> str:
    if isinstance(value, str):
        return f"string {value[:50]!r}"
    if isinstance(value, bool) or value is None:
        return {True: "boolean `true`", False: "boolean `false`", None: "null"}[value]
    if isinstance(value, int | float):
        return f"number `{value}`"
    return "map" if isinstance(value, dict) else "sequence"


# ── kinds ────────────────────────────────────────────────────────────────────────────────────────


def _text(value: Any, at: str) -> Any:
    if not isinstance(value, str):
        raise mismatch(at, value, "a string")
    return value


def _flag(value: Any, at: str) -> Any:
    if not isinstance(value, bool):
        raise mismatch(at, value, "a boolean")
    return value


def _number(value: Any, at: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise mismatch(at, value, "a number")
    return value


def _count(value: Any, at: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= U32:
        raise mismatch(at, value, f"an integer from 0 to {U32}")
    return value


def _natural(value: Any, at: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise mismatch(at, value, "an integer from 0 to 2^63-1")
    return value


def _object(value: Any, at: str) -> Any:
    if not isinstance(value, dict):
        raise mismatch(at, value, "a map")
    return value


def _array(value: Any, at: str) -> Any:
    if not isinstance(value, list):
        raise mismatch(at, value, "a sequence")
    return value


def _texts(value: Any, at: str) -> Any:
    for place, item in enumerate(_array(value, at)):
        if not isinstance(item, str):
            raise mismatch(f"{at}[{place}]", item, "a string")
    return value


def _optional_texts(value: Any, at: str) -> Any:
    for place, item in enumerate(_array(value, at)):
        if item is not None and not isinstance(item, str):
            raise mismatch(f"{at}[{place}]", item, "a string or null")
    return value


def _digits(value: Any, at: str) -> Any:
    if not (value.isascii() and value.isdigit()) or int(value[:20]) > U32:
        problem = "invalid digit found in string" if value else "cannot parse integer from empty"
        raise InvalidArgumentError(f"Failed to deserialize query string: {at}: {problem}")
    return int(value)


TEXT = Kind(_text, {"type": "string"})
FLAG = Kind(_flag, {"type": "boolean"})
NUMBER = Kind(_number, {"type": "number"})
COUNT = Kind(_count, {"type": "integer", "minimum": 0, "maximum": U32})
NATURAL = Kind(_natural, {"type": "integer", "minimum": 0})
OBJECT = Kind(_object, {"type": "object"})
TEXTS = Kind(_texts, {"type": "array", "items": {"type": "string"}})
OPTIONAL_TEXTS = Kind(
    _optional_texts, {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "null"}]}}
)
ANYTHING = Kind(lambda value, _: value, {})
DIGITS = Kind(_digits, COUNT.schema)


def one_of(words: tuple[str, ...]) -> Kind:
    """One of these words."""

    def check(value: Any, at: str) -> Any:
        if _text(value, at) not in words:
            raise unknown(at, value, words)
        return value

    return Kind(check, {"type": "string", "enum": [*words]})


def some_of(words: tuple[str, ...]) -> Kind:
    """A list of these words."""
    one = one_of(words)

    def check(value: Any, at: str) -> Any:
        return [one.check(item, f"{at}[{place}]") for place, item in enumerate(_array(value, at))]

    return Kind(check, {"type": "array", "items": one.schema})


def object_of(fields: Fields, *, closed: bool = False) -> Kind:
    """An object with these fields; a closed one may have no others. What is not given stays out."""
    names = tuple(one.name for one in fields)

    def check(value: Any, at: str) -> Any:
        read_ = read(fields, value, at)
        if closed:
            for name in value:
                if name not in names:
                    raise unknown(at, name, names)
        return {name: read_[name] for name in value if name in read_}

    schema: Form = {"type": "object", "properties": {one.name: one.schema for one in fields}}
    required = [one.name for one in fields if one.required]
    if required:
        schema["required"] = required
    if closed:
        schema["additionalProperties"] = False
    return Kind(check, schema)
