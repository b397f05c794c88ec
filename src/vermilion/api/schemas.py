"""Schemas at the door: their embedding functions are checked, remembered, and found again."""

from __future__ import annotations

from typing import Any

from vermilion.configuration import Configuration
from vermilion.embeddings.base import check_signature, stored_form
from vermilion.embeddings.lookup import (
    config_to_embedding_function,
    config_to_sparse_embedding_function,
)
from vermilion.embeddings.sparse import sparse_known_embedding_functions
from vermilion.engine import CollectionInfo
from vermilion.errors import ArgumentTypeError, ArgumentValueError
from vermilion.query.keys import Form
from vermilion.schema.builder import EMBEDDING, Schema
from vermilion.schema.config import SparseVectorIndexConfig, VectorIndexConfig
from vermilion.schema.rules import Rules, reconciled, shown
from vermilion.schema.types import ROW_OF


def for_new_collection(
    schema: object, configuration: Configuration, function: Any
) -> tuple[Configuration, Form | None, Any]:
    """The configuration, the schema that is kept, and the function of the new handle."""
    if not isinstance(schema, Schema):
        raise ArgumentTypeError(f"Expected schema to be a Schema, got {type(schema).__name__}")
    dense = _vector_function(schema)
    if dense is not None:
        check_signature(dense)
        stored_form(dense)  # registers its class
    for config in Rules(schema).sparse_indexes().values():
        _register(config)
    configuration, form = reconciled(schema, configuration)
    return configuration, form, function if dense is None else dense


def of_collection(info: CollectionInfo) -> Schema:
    """The schema of a collection, embedding functions included where they are known."""
    return shown(info.schema, info.configuration, build_known)


def build_known(form: Form) -> Any:
    """The function that a form describes, dense or sparse; the form itself if nobody knows it."""
    for build in (config_to_sparse_embedding_function, config_to_embedding_function):
        try:
            return build(form)
        except ArgumentValueError:
            continue
    return form


def _vector_function(schema: Schema) -> Any:
    """The function of the vector index, where it is an object and not the form of one."""
    types = schema.keys.get(EMBEDDING)
    entry = None if types is None else ROW_OF[VectorIndexConfig].get(types)
    function = None if entry is None else entry.config.embedding_function
    return None if isinstance(function, dict) else function


def _register(config: SparseVectorIndexConfig) -> None:
    """Makes a sparse function known: whoever made the collection can use it again."""
    function = config.embedding_function
    name = getattr(function, "name", None)
    if callable(name) and isinstance(name(), str):
        sparse_known_embedding_functions.setdefault(name(), type(function))
