"""Metadata on the wire: of records and of collections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vermilion.errors import ArgumentValueError, InvalidArgumentError
from vermilion.names import check_collection_metadata
from vermilion.records import check_key, check_value
from vermilion.types import SPARSE_VECTOR_TYPE_VALUE, TYPE_KEY, SparseVector
from vermilion.where import INT64
from vermilion.wire.fields import Form, Kind, mismatch

_VALUE = "a string, number, boolean, list of one of them, or sparse vector"
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


def _schema(optional: bool) -> Form:
    values = [*_SCALARS, {"type": "array", "items": {"anyOf": _SCALARS}}, _SPARSE]
    nulls = [{"type": "null"}] if optional else []
    return {"type": "object", "additionalProperties": {"anyOf": values + nulls}}


def _kind(optional: bool) -> Kind:
    """The kind of one metadata map; in an `optional` one null values are kept."""

    def check(value: Any, at: str) -> Any:
        if not isinstance(value, dict):
            raise mismatch(at, value, "a map")
        read = {key: _value(one, f"{at}.{key}", optional) for key, one in value.items()}
        return {key: one for key, one in read.items() if one != []}

    return Kind(check, _schema(optional))


def _kinds(optional: bool) -> Kind:
    """The kind of a list of metadata maps or nulls."""
    one = _kind(optional)

    def check(value: Any, at: str) -> Any:
        if not isinstance(value, list):
            raise mismatch(at, value, "a sequence")
        return [
            None if cell is None else one.check(cell, f"{at}[{place}]")
            for place, cell in enumerate(value)
        ]

    cell = {"anyOf": [one.schema, {"type": "null"}]}
    return Kind(check, {"type": "array", "items": cell})


def _value(value: Any, at: str, optional: bool) -> Any:
    kind = type(value)
    if kind is str or kind is float or kind is bool:
        return value
    if kind is int:
        return value if value in INT64 else float(value)
    if kind is list:
        return _list(value, at)
    if kind is dict:
        return _sparse(value, at)
    if not optional:
        raise mismatch(at, value, _VALUE)
    return None


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
        return value


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
                check_value(key, value | {TYPE_KEY: SPARSE_VECTOR_TYPE_VALUE})
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


def read(metadata: Form | None) -> Form | None:
    """Metadata that an answer holds; tagged maps become SparseVector."""
    if metadata is not None:
        for key, value in metadata.items():
            if type(value) is dict and value.get(TYPE_KEY) == SPARSE_VECTOR_TYPE_VALUE:
                metadata[key] = SparseVector.from_dict(value)
    return metadata
