"""The metadata of records and of collections: what may be stored, and the fields that filters see.

The metadata of a collection hold what Chroma's do. Those of records may also hold dates and times,
lists of any scalars or of nothing, and dicts in dicts, whose fields are named by paths: "a.b".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from typing import Any, cast

from vermilion.errors import ArgumentTypeError, ArgumentValueError
from vermilion.query.operators import INT64, plain
from vermilion.times import TIME_TAGS, plain_time, time_of_form
from vermilion.types import SPARSE_VECTOR_TYPE_VALUE, TYPE_KEY, SparseVector

RESERVED_KEY = "chroma:document"
# So many dicts may lie in each other.
MAX_NESTING = 16

SCALAR_TYPES = (str, int, float, bool)


def fields_of(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of a record by name; those of dicts in dicts are named by paths as well.

    Where two have one name, that of fewer steps counts: a key with a dot hides a path.

    >>> fields_of({"a": {"b": 1, "c": 2}, "a.b": 3})
    {'a': {'b': 1, 'c': 2}, 'a.b': 3, 'a.c': 2}
    """
    if dict not in map(type, metadata.values()):
        return metadata
    fields: dict[str, Any] = {}
    level = [("", metadata)]
    while level:
        below = []
        for prefix, values in level:
            for key, value in values.items():
                fields.setdefault(prefix + key, value)
                if type(value) is dict:
                    below.append((f"{prefix}{key}.", value))
        level = sorted(below, key=lambda pair: -len(pair[0]))
    return fields


def metadata_column(metadatas: list[Any] | None) -> list[dict[str, Any] | None] | None:
    """Metadata dicts, checked; tagged sparse vectors become SparseVector."""
    if metadatas is None:
        return None
    return [
        None if metadata is None else check_metadata(metadata, place)
        for place, metadata in enumerate(metadatas)
    ]


def check_metadata(metadata: object, place: int = 0) -> dict[str, Any]:
    """A checked copy of the metadata of record number `place`; None values are kept."""
    if not isinstance(metadata, Mapping):
        raise ArgumentValueError(
            f"Expected metadata to be a dict or None, got {metadata!r} at index {place}"
        )
    if not metadata:
        raise ArgumentValueError(
            f"Expected metadata to be a non-empty dict, got 0 metadata attributes at index {place}"
        )
    checked = {}
    for key, value in metadata.items():
        if type(key) is not str or not _is_usual_key(key):
            key = check_key(key, f"Invalid metadata at index {place}")
        checked[key] = value if _is_usual(value) else check_field_value(key, value)
    return checked


@lru_cache(1024)
def _is_usual_key(key: str) -> bool:
    """Whether nothing can be wrong with a key; all records tend to have the same ones."""
    return key.isidentifier() and key.isascii()


def _is_usual(value: object) -> bool:
    """Whether nothing can be wrong with a value: most are such, and this is quick to tell."""
    kind = type(value)
    if kind is str:
        return cast(str, value).isascii()
    if kind is int:
        return cast(int, value) in INT64
    return kind is bool or (kind is float and math.isfinite(cast(float, value)))


def check_key(key: object, prefix: str) -> str:
    """A metadata key that can be stored: a string, not empty, not reserved."""
    if not isinstance(key, str):
        raise ArgumentTypeError(
            f"Expected metadata key to be a str, got {key!r} of {type(key).__name__}"
        )
    if key == RESERVED_KEY:
        raise ArgumentValueError(
            f"Expected metadata to not contain the reserved key {RESERVED_KEY}"
        )
    if not key:
        raise ArgumentValueError(f"{prefix}: Metadata key cannot be empty")
    if key[0] in "#$":
        raise ArgumentValueError(f"{prefix}: Metadata key cannot start with '#' or '$': {key}")
    encodable(key, "metadata key")
    return str.__str__(key)


# ── values ───────────────────────────────────────────────────────────────────────────────────────


def check_value(key: object, value: object) -> Any:
    """A value for the metadata of a collection, that is given back as it is."""
    if value is None or isinstance(value, SparseVector):
        return value
    if isinstance(value, dict) and value.get(TYPE_KEY) == SPARSE_VECTOR_TYPE_VALUE:
        return SparseVector.from_dict(value)
    if isinstance(value, list):
        return _list_of_one_type(key, value)
    if not isinstance(value, SCALAR_TYPES):
        raise ArgumentValueError(
            "Expected metadata value to be a str, int, float, bool, SparseVector, list, or None, "
            f"got {value!r} of {type(value).__name__} for key {key!r}"
        )
    return _scalar(key, value)


def check_field_value(key: str, value: object, depth: int = 0) -> Any:
    """A value for the metadata of a record, that is given back as it is."""
    if isinstance(value, SCALAR_TYPES):
        return _scalar(key, value)
    if value is None or (isinstance(value, SparseVector) and not depth):
        return value
    if isinstance(value, date):
        return plain_time(value)
    if isinstance(value, list):
        return [_element(key, item, place) for place, item in enumerate(value)]
    if isinstance(value, dict):
        return _nested(key, value, depth)
    raise ArgumentValueError(
        "Expected metadata value to be a str, int, float, bool, SparseVector, list, or None, "
        f"or a date, datetime or dict, got {value!r} of {type(value).__name__} for key {key!r}"
        + ("; a SparseVector lies in no dict" if isinstance(value, SparseVector) else "")
    )


def _nested(key: str, value: Mapping[Any, Any], depth: int) -> Any:
    if value.get(TYPE_KEY) in TIME_TAGS:
        return time_of_form(value)
    if TYPE_KEY in value and not depth:
        return SparseVector.from_dict(value)
    if depth >= MAX_NESTING:
        raise ArgumentValueError(
            f"Expected metadata to nest at most {MAX_NESTING} dicts, got more at {key!r}"
        )
    told = f"Invalid metadata in {key!r}"
    checked = {
        check_key(name, told): check_field_value(f"{key}.{name}", one, depth + 1)
        for name, one in value.items()
    }
    return {name: one for name, one in checked.items() if one is not None}


def _element(key: str, item: object, place: int) -> Any:
    """An element of a list: no list, and nothing that stands for no value."""
    if type(item) in SCALAR_TYPES:
        return _scalar(key, cast(Any, item))
    if isinstance(item, date):
        return plain_time(item)
    if isinstance(item, dict) and item.get(TYPE_KEY) in TIME_TAGS:
        return time_of_form(item)
    raise ArgumentValueError(
        f"Expected metadata list value for key {key!r} to hold str, int, float, bool, date or "
        f"datetime, got {item!r} of {type(item).__name__} at index {place}"
    )


def _scalar(key: object, given: str | int | float) -> str | int | float:
    value: str | int | float = plain(given)
    if isinstance(value, str):
        encodable(value, f"metadata value of key {key!r}")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ArgumentValueError(
            f"Expected metadata value to be a finite number, got {value} for key {key!r}; "
            "leave the key out instead"
        )
    elif isinstance(value, int) and value not in INT64:
        raise ArgumentValueError(
            f"Expected metadata value to be an int of 64 bits, got {value} for key {key!r}; "
            "store larger ones as strings"
        )
    return value


def _list_of_one_type(key: object, value: list[Any]) -> list[Any]:
    if not value:
        raise ArgumentValueError(
            f"Expected metadata list value for key {key!r} to be non-empty, got []"
        )
    types = {type(item) for item in value}
    if len(types) > 1 or not types <= set(SCALAR_TYPES):
        raise ArgumentValueError(
            f"Expected metadata list value for key {key!r} to hold str, int, float or bool, and "
            f"all elements must be the same type, got {sorted(kind.__name__ for kind in types)}"
        )
    return [_scalar(key, item) for item in value]


def encodable(text: str, noun: str) -> None:
    """Refuses half a surrogate pair: no file and no wire can carry it."""
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ArgumentValueError(
            f"Expected {noun} to be valid Unicode, got a lone surrogate at position {error.start}"
        ) from None
