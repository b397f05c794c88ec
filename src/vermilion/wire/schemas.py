"""The index schema of a collection on the wire.

An answer always has one, made from the configuration. Of a schema that comes in, the vector index
becomes the configuration; what it says besides has to be what every collection has.
"""

from __future__ import annotations

import os
from typing import Any

from vermilion.configuration import Configuration
from vermilion.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    InvalidArgumentError,
    UnprocessableError,
)
from vermilion.wire.fields import OBJECT, Field, Form, read

# What a schema may say; "key_overrides" is another name of "keys".
FIELDS = (
    Field("defaults", OBJECT, "The indexes of every key, by type.", required=True),
    Field("keys", OBJECT, "The indexes of single keys, where they differ.", required=True),
)

_ON: Form = {"enabled": True, "config": {}}
_OFF: Form = {"enabled": False, "config": {}}


def schema_of(configuration: Configuration) -> Form:
    """The schema that a collection of this configuration has."""
    hnsw = configuration.hnsw
    index: Form = {
        "space": hnsw.space,
        "hnsw": {
            "ef_construction": hnsw.ef_construction,
            "max_neighbors": hnsw.max_neighbors,
            "ef_search": hnsw.ef_search,
            "num_threads": hnsw.num_threads or os.cpu_count() or 1,
            "batch_size": hnsw.batch_size,
            "sync_threshold": hnsw.sync_threshold,
            "resize_factor": hnsw.resize_factor,
        },
    }
    function = configuration.embedding_function
    if function is not None:
        index["embedding_function"] = function
    sparse = {"embedding_function": {"type": "unknown"}, "bm25": False}
    return {
        "defaults": {
            "string": {"fts_index": _OFF, "string_inverted_index": _ON},
            "float_list": {"vector_index": {"enabled": False, "config": index}},
            "sparse_vector": {"sparse_vector_index": {"enabled": False, "config": sparse}},
            "int": {"int_inverted_index": _ON},
            "float": {"float_inverted_index": _ON},
            "bool": {"bool_inverted_index": _ON},
        },
        "keys": {
            "#document": {"string": {"fts_index": _ON, "string_inverted_index": _OFF}},
            "#embedding": {
                "float_list": {
                    "vector_index": {
                        "enabled": True,
                        "config": {**index, "source_key": "#document"},
                    }
                }
            },
        },
    }


def configuration_of(form: Form, at: str) -> Form:
    """The configuration, as it is sent, that a schema asks for; {} for the default one.

    Raises UnprocessableError for a shape that is none, InvalidArgumentError for one that asks for
    something else than every collection has.
    """
    from vermilion.schema import DEFAULT_FUNCTION, EMBEDDING, Schema, VectorIndexConfig
    from vermilion.schema_types import ROW_OF

    named = form if "keys" in form else form | {"keys": form.get("key_overrides")}
    if named["keys"] is None:
        named = {name: value for name, value in named.items() if name != "keys"}
    read(FIELDS, named, at)
    if named.get("source_attached_function_id") is not None:
        raise InvalidArgumentError(
            "Failed to reconcile schema: source_attached_function_id cannot be set by clients"
        )
    try:
        schema = Schema.deserialize_from_json(named)
    except (ArgumentValueError, ArgumentTypeError) as error:
        raise UnprocessableError(f"Failed to deserialize the JSON body: {at}: {error}") from None
    row = ROW_OF[VectorIndexConfig]
    places = (schema.keys.get(EMBEDDING, Schema().defaults), schema.defaults)
    entries = [entry for types in places if (entry := row.get(types)) is not None]
    _check_rest(schema)
    asked: Form = {}
    for entry in reversed(entries):  # what stands at "#embedding" wins
        asked |= _vector_index(entry.config, DEFAULT_FUNCTION)
    return asked


def _vector_index(config: Any, default: Form) -> Form:
    out: Form = {}
    hnsw = (
        {} if config.hnsw is None else {k: v for k, v in vars(config.hnsw).items() if v is not None}
    )
    if config.space is not None:
        hnsw["space"] = config.space
    if hnsw:
        out["hnsw"] = hnsw
    if isinstance(config.embedding_function, dict) and config.embedding_function != default:
        out["embedding_function"] = config.embedding_function
    return out


def _check_rest(schema: Any) -> None:
    """Raises InvalidArgumentError where a schema asks for indexes that are not there."""
    from vermilion.schema import EMBEDDING, Schema, SparseVectorIndexConfig, VectorIndexConfig
    from vermilion.schema_types import ROW_OF, ROWS

    usual = Schema()
    for key, types in [("defaults", schema.defaults), *schema.keys.items()]:
        for row in ROWS:
            entry = row.get(types)
            if entry is None or (
                row is ROW_OF[VectorIndexConfig] and key in ("defaults", EMBEDDING)
            ):
                continue
            expected = row.get(usual.keys.get(key, usual.defaults)) or row.get(usual.defaults)
            if row is ROW_OF[SparseVectorIndexConfig] and entry.enabled:
                raise InvalidArgumentError(
                    "Failed to reconcile schema: Invalid schema input: Sparse vector indexing is "
                    "not enabled in local"
                )
            if expected is None or entry.enabled != expected.enabled:
                raise InvalidArgumentError(
                    f"Failed to reconcile schema: {key}: {row.index} is not available with "
                    f"enabled={str(entry.enabled).lower()} in this release"
                )
