"""The index schema of a collection on the wire.

An answer always has one, made from the configuration where the collection was made without.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from vermilion.configuration import Configuration
from vermilion.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    InvalidArgumentError,
    UnprocessableError,
)
from vermilion.wire.fields import OBJECT, Field, Form, read

if TYPE_CHECKING:
    from vermilion.schema.builder import Schema

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


def write_schema(stored: Form | None, configuration: Configuration) -> Form:
    """The schema of a collection as it is answered."""
    if stored is None:
        return schema_of(configuration)
    from vermilion.schema.rules import shown  # with forty classes that few programs need

    form: Form = shown(stored, configuration).serialize_to_json()
    return form


def read_schema(form: Form, at: str) -> Schema:
    """The schema that a body asks for.

    Raises UnprocessableError for a shape that is none, InvalidArgumentError for what clients may
    not set.
    """
    from vermilion.schema.builder import Schema  # as above

    named = form if "keys" in form else form | {"keys": form.get("key_overrides")}
    if named["keys"] is None:
        named = {name: value for name, value in named.items() if name != "keys"}
    read(FIELDS, named, at)
    if named.get("source_attached_function_id") is not None:
        raise InvalidArgumentError(
            "Failed to reconcile schema: source_attached_function_id cannot be set by clients"
        )
    try:
        return Schema.deserialize_from_json(named)
    except (ArgumentValueError, ArgumentTypeError) as error:
        raise UnprocessableError(f"Failed to deserialize the JSON body: {at}: {error}") from None
