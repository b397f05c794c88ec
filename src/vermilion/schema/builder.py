"""Schema says which indexes a collection keeps: per type of value, and per key where that differs.

    Schema().create_index(VectorIndexConfig(space="cosine"))
    Schema().delete_index(IntInvertedIndexConfig(), key="page")

`config` holds the settings of one index, `types` which indexes a type of value has;
their names that users need are here as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from vermilion.errors import ArgumentTypeError, ArgumentValueError
from vermilion.query.keys import Form, Key, key_name, require_dict
from vermilion.schema.config import (
    DEFAULT_FUNCTION,
    BoolInvertedIndexConfig,
    Build,
    FloatInvertedIndexConfig,
    FtsIndexConfig,
    HnswIndexConfig,
    IndexConfig,
    IntInvertedIndexConfig,
    SpannIndexConfig,
    SparseVectorIndexConfig,
    StringInvertedIndexConfig,
    VectorIndexConfig,
    keep,
)
from vermilion.schema.types import (
    ROW_OF,
    ROWS,
    BoolInvertedIndexType,
    BoolValueType,
    FloatInvertedIndexType,
    FloatListValueType,
    FloatValueType,
    FtsIndexType,
    IntInvertedIndexType,
    IntValueType,
    SparseVectorIndexType,
    SparseVectorValueType,
    StringInvertedIndexType,
    StringValueType,
    ValueTypes,
    VectorIndexType,
    read_types,
    write_types,
)

__all__ = [
    "DEFAULT_FUNCTION",
    "BoolInvertedIndexConfig",
    "BoolInvertedIndexType",
    "BoolValueType",
    "Cmek",
    "CmekProvider",
    "FloatInvertedIndexConfig",
    "FloatInvertedIndexType",
    "FloatListValueType",
    "FloatValueType",
    "FtsIndexConfig",
    "FtsIndexType",
    "HnswIndexConfig",
    "IndexConfig",
    "IntInvertedIndexConfig",
    "IntInvertedIndexType",
    "IntValueType",
    "Schema",
    "SpannIndexConfig",
    "SparseVectorIndexConfig",
    "SparseVectorIndexType",
    "SparseVectorValueType",
    "StringInvertedIndexConfig",
    "StringInvertedIndexType",
    "StringValueType",
    "ValueTypes",
    "VectorIndexConfig",
    "VectorIndexType",
]

DOCUMENT = Key.DOCUMENT.name
EMBEDDING = Key.EMBEDDING.name

# ── encryption ───────────────────────────────────────────────────────────────────────────────────


class CmekProvider(StrEnum):
    """Whose key encrypts a collection."""

    GCP = "gcp"


_GCP_PATTERN = re.compile(r"projects/.+/locations/.+/keyRings/.+/cryptoKeys/.+")


@dataclass(frozen=True)
class Cmek:
    """A customer's key that encrypts a collection. The schema keeps it; nothing is encrypted."""

    provider: CmekProvider
    resource: str

    @classmethod
    def gcp(cls, resource: str) -> Cmek:
        """Returns the key with this resource name on Google Cloud."""
        return cls(CmekProvider.GCP, resource)

    def validate_pattern(self) -> bool:
        """Returns whether the resource is projects/…/locations/…/keyRings/…/cryptoKeys/…."""
        return _GCP_PATTERN.fullmatch(self.resource) is not None

    def to_dict(self) -> Form:
        """Returns {"gcp": resource}."""
        return {self.provider.value: self.resource}

    @classmethod
    def from_dict(cls, form: Form) -> Cmek:
        """Returns the key that `to_dict` wrote."""
        provider = CmekProvider.GCP.value
        if not isinstance(form, dict) or provider not in form:
            raise ArgumentValueError(f"Unsupported or missing CMEK provider in data: {form}")
        if not isinstance(form[provider], str):
            raise ArgumentValueError(
                f"CMEK {provider} resource must be a string, got: {type(form[provider]).__name__}"
            )
        return cls.gcp(form[provider])


# ── the schema ───────────────────────────────────────────────────────────────────────────────────

# Inverted indexes are on unless they are switched off; the others are on where they make sense.
_ON_BY_DEFAULT = (
    StringInvertedIndexConfig,
    IntInvertedIndexConfig,
    FloatInvertedIndexConfig,
    BoolInvertedIndexConfig,
)


def _default_types() -> ValueTypes:
    types = ValueTypes()
    for row in ROWS:
        types = row.put(types, row.config in _ON_BY_DEFAULT, row.config())
    return types


def _default_keys() -> dict[str, ValueTypes]:
    document = ROW_OF[FtsIndexConfig].put(ValueTypes(), True, FtsIndexConfig())
    document = ROW_OF[StringInvertedIndexConfig].put(document, False, StringInvertedIndexConfig())
    vectors = VectorIndexConfig(source_key=DOCUMENT)
    return {
        DOCUMENT: document,
        EMBEDDING: ROW_OF[VectorIndexConfig].put(ValueTypes(), True, vectors),
    }


@dataclass
class Schema:
    """The indexes of a collection: `defaults` for every key, and `keys` for those that differ.

    >>> schema = Schema().delete_index(IntInvertedIndexConfig(), key="page")
    >>> schema.keys["page"].int_value.int_inverted_index.enabled
    False
    """

    defaults: ValueTypes = field(default_factory=_default_types)
    keys: dict[str, ValueTypes] = field(default_factory=_default_keys)
    cmek: Cmek | None = None

    def create_index(
        self, config: IndexConfig | None = None, key: Key | str | None = None
    ) -> Schema:
        """Switches an index on, for one key or for all, and returns this schema.

        The vector index is one for the whole collection; full text is for "#document"; sparse
        vectors need a key. Everything else is a ValueError.
        """
        name = None if key is None else key_name(key, "key")
        _check_create(config, name)
        self._change(config, name, enabled=True)
        return self

    def delete_index(
        self, config: IndexConfig | None = None, key: Key | str | None = None
    ) -> Schema:
        """Switches an index off, for one key or for all, and returns this schema.

        The indexes of vectors stay; what else cannot be switched off is a ValueError too.
        """
        name = None if key is None else key_name(key, "key")
        _check_delete(config, name)
        self._change(config, name, enabled=False)
        return self

    def set_cmek(self, cmek: Cmek | None) -> Schema:
        """Sets or removes the customer's key, and returns this schema."""
        if not isinstance(cmek, Cmek | None):
            raise ArgumentTypeError(f"cmek must be a Cmek or None, got {type(cmek).__name__}")
        self.cmek = cmek
        return self

    def serialize_to_json(self) -> Form:
        """Returns the form of this schema that is stored and sent."""
        form: Form = {
            "defaults": write_types(self.defaults),
            "keys": {key: write_types(types) for key, types in self.keys.items()},
        }
        if self.cmek is not None:
            form["cmek"] = self.cmek.to_dict()
        return form

    @classmethod
    def deserialize_from_json(cls, form: Form, build: Build = keep) -> Schema:
        """Returns the schema that a form describes; what it does not mention stays None.

        `build` turns the form of an embedding function into one. Without it the form is kept,
        and written again as it was.
        """
        # Chroma's servers read both names for the keys.
        keys = require_dict(form, "Schema").get("keys", form.get("key_overrides"))
        cmek = form.get("cmek")
        return cls(
            read_types(form.get("defaults") or {}, build),
            {
                key: read_types(types, build)
                for key, types in require_dict(keys or {}, "Schema keys").items()
            },
            None if cmek is None else Cmek.from_dict(cmek),
        )

    def _change(self, config: Any, key: str | None, *, enabled: bool) -> None:
        row = ROW_OF[type(config)]
        if isinstance(config, VectorIndexConfig):
            # The defaults say how, the key says where: that is how the wire has it.
            self.defaults = row.put(self.defaults, False, config)
            config, key = replace(config, source_key=DOCUMENT), EMBEDDING
        if key is None:
            self.defaults = row.put(self.defaults, enabled, config)
        else:
            self.keys[key] = row.put(self.keys.get(key, ValueTypes()), enabled, config)


def _check_create(config: object, key: str | None) -> None:
    if config is None and key is None:
        raise ArgumentValueError(
            "Cannot enable all index types globally. Must specify either config or key."
        )
    if key == EMBEDDING:
        raise ArgumentValueError(
            f"Cannot create index on special key '{EMBEDDING}'. It is managed automatically; "
            "use create_index(config=VectorIndexConfig(...)) without a key."
        )
    _check_reserved(config, key, "create")
    if config is None:
        raise ArgumentValueError(
            f"Cannot enable all index types for key '{key}'. "
            "Please specify a specific index configuration."
        )
    _check_place(config, key)


def _check_place(config: object, key: str | None) -> None:
    """Each kind of index has its place."""
    if isinstance(config, VectorIndexConfig) and key is not None:
        raise ArgumentValueError(
            "Vector index cannot be enabled on specific keys. "
            "Use create_index(config=VectorIndexConfig(...)) without a key."
        )
    if isinstance(config, FtsIndexConfig) and key != DOCUMENT:
        raise ArgumentValueError(
            f"FTS index can only be enabled on {DOCUMENT} key. "
            f"Use create_index(config=FtsIndexConfig(), key='{DOCUMENT}')."
        )
    if isinstance(config, SparseVectorIndexConfig):
        if key is None:
            raise ArgumentValueError(
                "Sparse vector index must be created on a specific key. Please specify a key "
                "using: create_index(config=SparseVectorIndexConfig(...), key='your_key')"
            )
        if config.source_key is not None and config.embedding_function is None:
            raise ArgumentValueError(
                "If source_key is provided then embedding_function must also be provided since "
                f"there is no default embedding function. Config: {config}"
            )
    _check_known(config)


def _check_delete(config: object, key: str | None) -> None:
    if config is None and key is None:
        raise ArgumentValueError("Cannot disable all indexes. Must specify either config or key.")
    if key == EMBEDDING:
        raise ArgumentValueError(f"Cannot modify {EMBEDDING}. Currently not supported")
    _check_reserved(config, key, "delete")
    if isinstance(config, VectorIndexConfig):
        raise ArgumentValueError("Deleting vector index is not currently supported.")
    if isinstance(config, SparseVectorIndexConfig):
        raise ArgumentValueError("Deleting sparse vector index is not currently supported.")
    if isinstance(config, FtsIndexConfig) and key != DOCUMENT:
        raise ArgumentValueError(f"Deleting FTS index is only supported on {DOCUMENT} key.")
    if config is None:
        raise ArgumentValueError(
            f"Cannot disable all index types for key '{key}'. "
            "Please specify a specific index configuration."
        )
    _check_known(config)


def _check_reserved(config: object, key: str | None, verb: str) -> None:
    if key == DOCUMENT and not isinstance(config, FtsIndexConfig):
        raise ArgumentValueError(
            f"Cannot {verb} index on special key '{DOCUMENT}' with this config. "
            f"Only FtsIndexConfig is allowed for {DOCUMENT}."
        )
    if key is not None and key.startswith("#") and key != DOCUMENT:
        raise ArgumentValueError(
            f"key cannot begin with '#', got '{key}'. "
            "Keys starting with '#' are reserved for system use."
        )


def _check_known(config: object) -> None:
    if type(config) not in ROW_OF:
        names = [kind.__name__ for kind in ROW_OF]
        raise ArgumentValueError(f"config must be one of {names}, got {type(config).__name__}")
