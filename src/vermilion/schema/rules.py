"""What a schema means for a collection: its configuration, its filters, its sparse indexes."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from vermilion.configuration import Configuration, Hnsw, for_new_collection
from vermilion.errors import ArgumentValueError
from vermilion.query.keys import Form
from vermilion.query.where import ID, Condition, Filter, conditions
from vermilion.schema.builder import DOCUMENT, EMBEDDING, Schema
from vermilion.schema.config import (
    BoolInvertedIndexConfig,
    Build,
    FloatInvertedIndexConfig,
    FtsIndexConfig,
    HnswIndexConfig,
    IntInvertedIndexConfig,
    SparseVectorIndexConfig,
    StringInvertedIndexConfig,
    VectorIndexConfig,
    keep,
)
from vermilion.schema.types import ROW_OF, ValueTypes

# The index that answers for an operand, and what Chroma calls the operand's type.
_INDEX_OF: dict[type[Any], tuple[type[Any], str]] = {
    str: (StringInvertedIndexConfig, "Str"),
    bool: (BoolInvertedIndexConfig, "Bool"),
    int: (IntInvertedIndexConfig, "Int"),
    float: (FloatInvertedIndexConfig, "Float"),
}


class Rules:
    """The rules of one collection; without a schema every filter is allowed."""

    def __init__(self, schema: Schema | None) -> None:
        self._schema = schema

    def check(self, filter: Filter | None) -> None:
        """Raises InvalidArgumentError for a filter that asks an index that is switched off."""
        if filter is None or self._schema is None:
            return
        for condition in conditions(filter):
            if condition.field == DOCUMENT:
                self.check_text()
            elif condition.field != ID:
                self._check_operands(condition)

    def check_text(self) -> None:
        """Raises InvalidArgumentError when texts are not indexed."""
        if not self._enabled(DOCUMENT, FtsIndexConfig):
            raise ArgumentValueError(
                "Cannot filter using full-text search because FTS indexing is disabled"
            )

    def sparse(self, key: str) -> bool:
        """Whether the sparse index of the key weighs by rarity.

        Raises InvalidArgumentError when there is no such index.
        """
        config = self.sparse_indexes().get(key)
        if config is None:
            raise _disabled(key, "SparseVector")
        return bool(config.bm25)

    def check_ranked(self, key: str) -> None:
        """Raises InvalidArgumentError when a Knn cannot be about this key."""
        if key == DOCUMENT:
            self.check_text()
        elif key != EMBEDDING:
            self.sparse(key)

    def sparse_indexes(self) -> dict[str, SparseVectorIndexConfig]:
        """The keys that have a sparse index, with its settings."""
        row, found = ROW_OF[SparseVectorIndexConfig], {}
        for key, types in ({} if self._schema is None else self._schema.keys).items():
            entry = row.get(types)
            if entry is not None and entry.enabled:
                found[key] = entry.config
        return found

    def _check_operands(self, condition: Condition) -> None:
        if condition.operator.family in ("exists", "size"):
            return
        operand = condition.operand
        for value in operand if isinstance(operand, list) else [operand]:
            config, name = _INDEX_OF.get(type(value), _INDEX_OF[int])  # times are kept as ints
            if not self._enabled(condition.field, config):
                raise _disabled(condition.field, name)

    def _enabled(self, key: str, config: type[Any]) -> bool:
        if self._schema is None:
            return True
        row = ROW_OF[config]
        entry = row.get(self._schema.keys.get(key, ValueTypes()))
        entry = row.get(self._schema.defaults) if entry is None else entry
        return entry is None or entry.enabled


def _disabled(key: str, name: str) -> ArgumentValueError:
    return ArgumentValueError(
        f"Cannot filter using metadata key '{key}' with type '{name}' because indexing is disabled"
    )


def rules_of(form: Form | None) -> Rules:
    """The rules of a collection whose schema is stored so."""
    return Rules(None if form is None else Schema.deserialize_from_json(form))


# ── a schema for a new collection ────────────────────────────────────────────────────────────────


def reconciled(schema: Schema, configuration: Configuration) -> tuple[Configuration, Form | None]:
    """What a new collection is configured with, and the schema that is kept of it.

    Either of the two may differ from the default, and the other one follows. Raises
    InvalidArgumentError when both do, or for what no collection can have.
    """
    if schema == Schema():
        return configuration, None
    if configuration.hnsw != Hnsw() or _is_chosen(configuration.embedding_function):
        raise ArgumentValueError(
            "Failed to reconcile schema: Cannot set both collection config and schema "
            "simultaneously: give the distance, the parameters and the embedding function to "
            "Schema().create_index(VectorIndexConfig(...))"
        )
    whole = _completed(schema)
    form = whole.serialize_to_json()
    vectors = form["keys"][EMBEDDING]["float_list"]["vector_index"]["config"]
    _check_source(vectors.get("source_key"))
    index = {name: vectors.get(name) for name in ("hnsw", "spann")}
    if vectors.get("space") is not None:
        kind = "hnsw" if index["spann"] is None else "spann"
        index[kind] = {**(index[kind] or {}), "space": vectors["space"]}
    return for_new_collection(index, None, vectors["embedding_function"]), form


def _is_chosen(function: Form | None) -> bool:
    return function is not None and function["type"] == "known" and function["name"] != "default"


def _check_source(key: str | None) -> None:
    if key not in (None, DOCUMENT):
        raise ArgumentValueError(
            f"Failed to reconcile schema: the embedding is made of '{DOCUMENT}', not of {key!r}; "
            "a sparse index may be made of a metadata field"
        )


def _completed(schema: Schema) -> Schema:
    """The schema with everything said that it leaves to the defaults."""
    usual, told = Schema(), "Failed to reconcile schema: Invalid schema input"
    whole = Schema(_over(usual.defaults, schema.defaults), dict(usual.keys), schema.cmek)
    for key, types in schema.keys.items():
        if key.startswith("#") and key not in usual.keys:
            raise ArgumentValueError(f"{told}: key {key!r} is reserved")
        whole.keys[key] = _over(usual.keys.get(key, ValueTypes()), types)
    vectors = ROW_OF[VectorIndexConfig]
    for key, types in {"defaults": whole.defaults, **whole.keys}.items():
        entry = vectors.get(types)
        if (entry is not None and entry.enabled) != (key == EMBEDDING):
            raise ArgumentValueError(f"{told}: the vector index belongs to '{EMBEDDING}', always")
    if schema.cmek is not None and not schema.cmek.validate_pattern():
        raise ArgumentValueError(
            f"Validation error: schema: CMEK does not match expected pattern: {schema.cmek}"
        )
    return whole


def _over(below: ValueTypes, above: ValueTypes) -> ValueTypes:
    """Both, where the second one counts if it says something."""
    for row in ROW_OF.values():
        entry = row.get(above)
        if entry is not None:
            below = row.put(below, entry.enabled, entry.config)
    return below


def shown(form: Form | None, configuration: Configuration, build: Build = keep) -> Schema:
    """The schema of a collection as it is now: what was stored, and the configuration's index.

    `build` makes embedding functions of their forms.
    """
    schema = Schema() if form is None else Schema.deserialize_from_json(form, build)
    stored, row = configuration.embedding_function, ROW_OF[VectorIndexConfig]
    known = stored is not None and stored["type"] == "known"
    hnsw = {setting.name: getattr(configuration.hnsw, setting.name) for setting in _NUMBERS}
    config = VectorIndexConfig(
        space=configuration.hnsw.space,
        embedding_function=build(stored) if known and stored is not None else None,
        hnsw=HnswIndexConfig(**hnsw),
    )
    schema.defaults = row.put(schema.defaults, False, config)
    placed = replace(config, source_key=DOCUMENT)
    schema.keys[EMBEDDING] = row.put(schema.keys[EMBEDDING], True, placed)
    return schema


_NUMBERS = fields(HnswIndexConfig)
