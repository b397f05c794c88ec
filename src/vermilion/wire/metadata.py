"""Metadata on the wire: of records and of collections."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from vermilion.errors import ArgumentValueError, InvalidArgumentError
from vermilion.metadata import MAX_NESTING, check_field_value, check_key, fields_of
from vermilion.names import check_collection_metadata
from vermilion.query.operators import INT64
from vermilion.times import TIME_TAGS, time_of_form
from vermilion.types import SPARSE_VECTOR_TYPE_VALUE, TYPE_KEY, SparseVector
from vermilion.wire.fields import FLAG, Field, Form, Kind, mismatch

# The tag of a dict that would be taken for a sparse vector without it.
MAP = "map"

_VALUE = "a string, number, boolean, list of one of them, or sparse vector"
_FIELD = "a string, number, boolean, list of them, map, or tagged time or sparse vector"
_SCALARS: list[Form] = [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]
_SPARSE: Form = {
    "type": "object",
    "properties": {
        TYPE_KEY: {"const": SPARSE_VECTOR_TYPE_VALUE},
        "indices": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "values": {"type": "array", "items": {"type": "number"}},
        "tokens": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]},
    },
    "required": ["indices", "values"],
}
_TIME: Form = {
    "type": "object",
    "properties": {TYPE_KEY: {"enum": [*TIME_TAGS]}, "value": {"type": "string"}},
    "required": [TYPE_KEY, "value"],
    "additionalProperties": False,
}
_MAP: Form = {"type": "object", "description": "Fields as those around it; not in Chroma's API."}
TYPED = Field(
    "typed", FLAG, "Answer metadata as they are stored, not as Chroma's clients understand them.",
    nullable=False, default=False, ours=True,
)  # fmt: skip


def _schema(optional: bool, ours: bool) -> Form:
    items = [*_SCALARS, _TIME] if ours else _SCALARS
    values = [*_SCALARS, {"type": "array", "items": {"anyOf": items}}, _SPARSE]
    values += [_TIME, _MAP] if ours else []
    nulls = [{"type": "null"}] if optional else []
    return {"type": "object", "additionalProperties": {"anyOf": values + nulls}}


def _kind(optional: bool, *, ours: bool = False) -> Kind:
    """The kind of one metadata map; in an `optional` one null values are kept.

    With `ours` it may hold what the records of Chroma do not.
    """
    read = _field if ours else _value

    def check(value: Any, at: str) -> Any:
        if not isinstance(value, dict):
            raise mismatch(at, value, "a map")
        found = {
            key: None if one is None and optional else read(one, f"{at}.{key}")
            for key, one in value.items()
        }
        return found if ours else {key: one for key, one in found.items() if one != []}

    return Kind(check, _schema(optional, ours))


def _kinds(optional: bool) -> Kind:
    """The kind of a list of metadata maps of records, or nulls."""
    one = _kind(optional, ours=True)

    def check(value: Any, at: str) -> Any:
        if not isinstance(value, list):
            raise mismatch(at, value, "a sequence")
        return [
            None if cell is None else one.check(cell, f"{at}[{place}]")
            for place, cell in enumerate(value)
        ]

    cell = {"anyOf": [one.schema, {"type": "null"}]}
    return Kind(check, {"type": "array", "items": cell})


def _scalar(value: Any, at: str, expected: str) -> Any:
    kind = type(value)
    if kind is str or kind is float or kind is bool:
        return value
    if kind is int:
        return value if value in INT64 else float(value)
    raise mismatch(at, value, expected)


def _value(value: Any, at: str) -> Any:
    """A value as the metadata of collections have them."""
    if type(value) is list:
        return _list(value, at)
    return _sparse(value, at) if type(value) is dict else _scalar(value, at, _VALUE)


def _list(value: list[Any], at: str) -> list[Any]:
    kinds = set(map(type, value))
    if kinds == {int, float} or (kinds == {int} and any(one not in INT64 for one in value)):
        return [float(one) for one in value]
    if len(kinds) > 1 or not kinds <= {str, int, float, bool}:
        raise mismatch(at, value, "a list of strings, of numbers or of booleans")
    return value


def _sparse(value: Form, at: str) -> Form | SparseVector:
    """A sparse vector; one that is none stays as it is, and is refused with its record."""
    tag = value.get(TYPE_KEY, SPARSE_VECTOR_TYPE_VALUE)
    lists = value.get("indices"), value.get("values"), value.get("tokens") or []
    if tag != SPARSE_VECTOR_TYPE_VALUE or not all(isinstance(one, list) for one in lists):
        raise mismatch(at, value, _VALUE)
    try:
        return SparseVector(value["indices"], value["values"], value.get("tokens"))
    except ArgumentValueError:
        return value | {TYPE_KEY: tag}


# ── fields of records ────────────────────────────────────────────────────────────────────────────


def _field(value: Any, at: str, depth: int = 0) -> Any:
    """A value as the metadata of records have them."""
    if type(value) is list:
        return [_element(one, f"{at}[{place}]") for place, one in enumerate(value)]
    if type(value) is not dict:
        return _scalar(value, at, _FIELD)
    tag = value.get(TYPE_KEY)
    if tag in TIME_TAGS:
        return _time(value, at)
    if not depth and (tag == SPARSE_VECTOR_TYPE_VALUE or _may_be_sparse(value)):
        return _sparse(value, at)
    if tag not in (None, MAP) or (tag is None and TYPE_KEY in value) or depth >= MAX_NESTING:
        raise mismatch(at, value, _FIELD)
    return {
        key: _field(one, f"{at}.{key}", depth + 1) for key, one in value.items() if key != TYPE_KEY
    }


def _may_be_sparse(value: Mapping[str, Any]) -> bool:
    """Whether a dict without a tag is taken for a sparse vector."""
    return TYPE_KEY not in value and isinstance(value.get("indices"), list) and "values" in value


def _element(value: Any, at: str) -> Any:
    return _time(value, at) if type(value) is dict else _scalar(value, at, _FIELD)


def _time(value: Form, at: str) -> date:
    try:
        return time_of_form(value)
    except InvalidArgumentError:
        raise mismatch(at, value, "a tagged date or datetime in ISO 8601") from None


OF_RECORDS = _kinds(optional=False)
CHANGES_OF_RECORDS = _kinds(optional=True)
OF_COLLECTION = _kind(optional=False)
CHANGES_OF_COLLECTION = _kind(optional=True)


def checked(metadatas: Sequence[Form | None] | None) -> list[Form | None] | None:
    """Metadata of records that can be stored: without reserved keys, and None instead of {}."""
    if metadatas is None:
        return None
    return [_checked(one, place) if one else None for place, one in enumerate(metadatas)]


def _checked(metadata: Form, place: int) -> Form:
    told = f"Validation error: metadatas: Invalid metadata at index {place}"
    for key, value in metadata.items():
        check_key(key, told)
        if type(value) is dict:
            try:
                check_field_value(key, value)
            except InvalidArgumentError as error:
                raise InvalidArgumentError(f"{told}: {error}") from None
    return metadata


def checked_of_collection(metadata: Form | None, field: str) -> Form | None:
    """Metadata of a collection that can be stored; keys with null are left out."""
    try:
        return check_collection_metadata(metadata)
    except InvalidArgumentError as error:
        text = str(error).replace("Validation error: metadata", f"Validation error: {field}")
        raise InvalidArgumentError(text.split(": expected a non-empty")[0]) from None


# ── answers, and what a client sends ─────────────────────────────────────────────────────────────


def write(
    metadatas: Sequence[Mapping[str, Any] | None] | None, *, typed: bool = True
) -> list[Any] | None:
    """Metadata as they are sent: as they are stored, or as Chroma's clients understand them."""
    if metadatas is None:
        return None
    form = _typed if typed else _plain
    return [None if one is None else form(one) for one in metadatas]


def _typed(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    if dict not in map(type, metadata.values()):
        return metadata
    return {
        key: {TYPE_KEY: MAP, **one} if type(one) is dict and _may_be_sparse(one) else one
        for key, one in metadata.items()
    }


_SIMPLE = {str, int, float, bool, SparseVector}


def _plain(metadata: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Fields by path, times as text, lists of one type; clients break where they find others."""
    if set(map(type, metadata.values())) <= _SIMPLE:
        return metadata
    form = {
        key: _plain_list(one) if isinstance(one, list) else _plain_scalar(one)
        for key, one in fields_of(metadata).items()
        if type(one) is not dict and one != []
    }
    return form or None


def _plain_scalar(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


def _plain_list(values: list[Any]) -> list[Any]:
    kinds = set(map(type, values))
    if kinds == {int, float}:
        return [float(one) for one in values]
    if len(kinds) == 1:
        return [_plain_scalar(one) for one in values]
    return [_text(one) for one in values]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(_plain_scalar(value))


def read(metadata: Form | None) -> Form | None:
    """Metadata that an answer holds; tagged maps become what they stand for."""
    if metadata is not None and not _NESTED.isdisjoint(map(type, metadata.values())):
        for key, value in metadata.items():
            if type(value) in _NESTED:
                metadata[key] = read_value(value)
    return metadata


_NESTED = {dict, list}


def read_value(value: Any) -> Any:
    """A value that an answer holds."""
    if type(value) is list:
        return [read_value(one) for one in value] if dict in map(type, value) else value
    if type(value) is not dict:
        return value
    tag = value.get(TYPE_KEY)
    if tag == SPARSE_VECTOR_TYPE_VALUE:
        return SparseVector.from_dict(value)
    if tag in TIME_TAGS:
        return time_of_form(value)
    return {key: read_value(one) for key, one in value.items() if key != TYPE_KEY}


def beyond(metadatas: Iterable[Mapping[str, Any] | None] | None) -> str | None:
    """The first value that Chroma's servers do not store, in words."""
    for metadata in metadatas or ():
        for key, value in (metadata or {}).items():
            if isinstance(value, dict | date):
                return f"a {type(value).__name__} in {key!r}"
            if isinstance(value, list) and len(set(map(type, value))) != 1:
                return f"{'a mixed' if value else 'an empty'} list in {key!r}"
            if isinstance(value, list) and isinstance(value[0], date):
                return f"times in {key!r}"
    return None
