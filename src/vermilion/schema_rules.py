"""What a stored schema allows: which filters, and which fields have sparse indexes."""

from __future__ import annotations

from typing import Any

from vermilion.errors import ArgumentValueError
from vermilion.keys import Form
from vermilion.schema import DOCUMENT, EMBEDDING, Schema
from vermilion.schema_config import (
    BoolInvertedIndexConfig,
    FloatInvertedIndexConfig,
    FtsIndexConfig,
    IntInvertedIndexConfig,
    SparseVectorIndexConfig,
    StringInvertedIndexConfig,
)
from vermilion.schema_types import ROW_OF, ValueTypes
from vermilion.where import ID, Condition, Filter, conditions

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
        operand = condition.operand
        for value in operand if isinstance(operand, list) else [operand]:
            config, name = _INDEX_OF[type(value)]
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


def completed(schema: Schema) -> Schema:
    """The schema with everything said that it leaves to the defaults.

    Raises InvalidArgumentError for what a schema's JSON can say and no collection can have.
    """
    usual = Schema()
    whole = Schema(_over(usual.defaults, schema.defaults), dict(usual.keys), schema.cmek)
    for key, types in schema.keys.items():
        if key.startswith("#") and key not in usual.keys:
            raise ArgumentValueError(
                f"Failed to reconcile schema: Invalid schema input: key {key!r} is reserved"
            )
        whole.keys[key] = _over(usual.keys.get(key, ValueTypes()), types)
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
