"""Types of values and the indexes that each can have; ROWS has one row per kind of index.

Reading, writing and changing a schema go by ROWS.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from vermilion.errors import ArgumentValueError
from vermilion.query.keys import Form, require_dict
from vermilion.schema.config import (
    BoolInvertedIndexConfig,
    Build,
    FloatInvertedIndexConfig,
    FtsIndexConfig,
    IntInvertedIndexConfig,
    SparseVectorIndexConfig,
    StringInvertedIndexConfig,
    VectorIndexConfig,
    read_config,
    refuse_fields,
    write_config,
)


@dataclass(frozen=True)
class FtsIndexType:
    """Whether words and substrings of texts are indexed."""

    enabled: bool
    config: FtsIndexConfig


@dataclass(frozen=True)
class StringInvertedIndexType:
    """Whether filters may use strings."""

    enabled: bool
    config: StringInvertedIndexConfig


@dataclass(frozen=True)
class VectorIndexType:
    """Whether vectors are indexed, and how."""

    enabled: bool
    config: VectorIndexConfig


@dataclass(frozen=True)
class SparseVectorIndexType:
    """Whether sparse vectors are indexed, and how."""

    enabled: bool
    config: SparseVectorIndexConfig


@dataclass(frozen=True)
class IntInvertedIndexType:
    """Whether filters may use whole numbers."""

    enabled: bool
    config: IntInvertedIndexConfig


@dataclass(frozen=True)
class FloatInvertedIndexType:
    """Whether filters may use numbers with a fraction."""

    enabled: bool
    config: FloatInvertedIndexConfig


@dataclass(frozen=True)
class BoolInvertedIndexType:
    """Whether filters may use booleans."""

    enabled: bool
    config: BoolInvertedIndexConfig


@dataclass(frozen=True)
class StringValueType:
    """The indexes of strings."""

    fts_index: FtsIndexType | None = None
    string_inverted_index: StringInvertedIndexType | None = None


@dataclass(frozen=True)
class FloatListValueType:
    """The index of vectors."""

    vector_index: VectorIndexType | None = None


@dataclass(frozen=True)
class SparseVectorValueType:
    """The index of sparse vectors."""

    sparse_vector_index: SparseVectorIndexType | None = None


@dataclass(frozen=True)
class IntValueType:
    """The index of whole numbers."""

    int_inverted_index: IntInvertedIndexType | None = None


@dataclass(frozen=True)
class FloatValueType:
    """The index of numbers with a fraction."""

    float_inverted_index: FloatInvertedIndexType | None = None


@dataclass(frozen=True)
class BoolValueType:
    """The index of booleans."""

    bool_inverted_index: BoolInvertedIndexType | None = None


@dataclass(frozen=True)
class ValueTypes:
    """The indexes of every type of value; what is None is not said here but by the defaults."""

    string: StringValueType | None = None
    float_list: FloatListValueType | None = None
    sparse_vector: SparseVectorValueType | None = None
    int_value: IntValueType | None = None
    float_value: FloatValueType | None = None
    boolean: BoolValueType | None = None


@dataclass(frozen=True)
class Row:
    """One kind of index: where it lives in ValueTypes, and in the JSON."""

    config: type[Any]
    entry: type[Any]
    index: str
    holder: type[Any]
    value: str
    json: str

    def get(self, types: ValueTypes) -> Any | None:
        """Returns what the types say about this index, if anything."""
        holder = getattr(types, self.value)
        return None if holder is None else getattr(holder, self.index)

    def put(self, types: ValueTypes, enabled: bool, config: Any) -> ValueTypes:
        """Returns the types with this index changed."""
        holder = getattr(types, self.value) or self.holder()
        changed = replace(holder, **{self.index: self.entry(enabled, config)})
        return replace(types, **{self.value: changed})


ROWS = (
    Row(
        FtsIndexConfig, FtsIndexType, "fts_index", StringValueType, "string", "string"
    ),
    Row(
        StringInvertedIndexConfig, StringInvertedIndexType, "string_inverted_index",
        StringValueType, "string", "string",
    ),
    Row(
        VectorIndexConfig, VectorIndexType, "vector_index",
        FloatListValueType, "float_list", "float_list",
    ),
    Row(
        SparseVectorIndexConfig, SparseVectorIndexType, "sparse_vector_index",
        SparseVectorValueType, "sparse_vector", "sparse_vector",
    ),
    Row(
        IntInvertedIndexConfig, IntInvertedIndexType, "int_inverted_index",
        IntValueType, "int_value", "int",
    ),
    Row(
        FloatInvertedIndexConfig, FloatInvertedIndexType, "float_inverted_index",
        FloatValueType, "float_value", "float",
    ),
    Row(
        BoolInvertedIndexConfig, BoolInvertedIndexType, "bool_inverted_index",
        BoolValueType, "boolean", "bool",
    ),
)  # fmt: skip

ROW_OF: dict[type[Any], Row] = {row.config: row for row in ROWS}


def write_types(types: ValueTypes) -> Form:
    """Returns {value type: {index: {"enabled": ..., "config": ...}}} for what is not None."""
    form: Form = {}
    for row in ROWS:
        if getattr(types, row.value) is None:
            continue
        indexes = form.setdefault(row.json, {})
        entry = row.get(types)
        if entry is not None:
            indexes[row.index] = {"enabled": entry.enabled, "config": write_config(entry.config)}
    return form


def read_types(form: object, build: Build) -> ValueTypes:
    """Returns the types that `write_types` wrote."""
    types = ValueTypes()
    for value, indexes in require_dict(form, "value types").items():
        refuse_fields([_plain(value)], "value types", [*dict.fromkeys(row.json for row in ROWS)])
        rows = {row.index: row for row in ROWS if row.json == _plain(value)}
        for row in rows.values():
            types = replace(types, **{row.value: row.holder()})
        for index, entry in require_dict(indexes, value).items():
            refuse_fields([_plain(index)], value, [*rows])
            types = _read_entry(types, rows[_plain(index)], entry, build)
    return types


def _plain(name: str) -> str:
    """Names may be marked as the system's own, as in "#string" and "$fts_index"."""
    return name.lstrip("#$")


def _read_entry(types: ValueTypes, row: Row, form: object, build: Build) -> ValueTypes:
    entry = require_dict(form, row.index)
    refuse_fields(entry, row.index, ["enabled", "config"])
    enabled = entry.get("enabled", True)
    if not isinstance(enabled, bool):
        raise ArgumentValueError(f"{row.index}: enabled must be a bool, got {enabled!r}")
    return row.put(types, enabled, read_config(row.config, entry.get("config") or {}, build))
