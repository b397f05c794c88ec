"""Sparse vectors of one handle: of documents and fields on the way in, of texts in searches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vermilion.embeddings.lookup import config_to_sparse_embedding_function
from vermilion.embeddings.sparse import check_sparse_vectors
from vermilion.errors import ArgumentValueError, InvalidArgumentError
from vermilion.query.where import DOCUMENT
from vermilion.records import Columns
from vermilion.types import SparseVector, SparseVectors

Form = dict[str, Any]


class SparseEmbedder:
    """Makes the sparse vectors that the stored schema of a collection asks for."""

    def __init__(self, schema: Form | None) -> None:
        self._indexes = {} if schema is None else _indexes(schema)
        self._built: dict[str, Any] = {}

    @property
    def sources(self) -> dict[str, str]:
        """Which field each sparse vector is made of, of those that are made."""
        return {
            key: config["source_key"]
            for key, config in self._indexes.items()
            if config.get("source_key") is not None and _form(config) is not None
        }

    def filled(self, columns: Columns) -> Columns:
        """The columns, where every sparse field that has a source holds a vector of it.

        A field that is given stays as it is; a record without the source gets none.
        """
        for key, source in self.sources.items():
            columns = self._fill(columns, key, source)
        return columns

    def query(self, key: str, texts: list[str]) -> SparseVectors:
        """One vector per text for a search in this field.

        Raises InvalidArgumentError when the field has no sparse index with a function.
        """
        config = self._indexes.get(key)
        if config is None:
            raise ArgumentValueError(
                f"Cannot filter using metadata key '{key}' with type 'SparseVector' because "
                "indexing is disabled"
            )
        if _form(config) is None:
            raise ArgumentValueError(
                f"The sparse index of '{key}' has no embedding function: pass a SparseVector "
                "instead of a text"
            )
        function = self._function(key)
        return _one_each(getattr(function, "embed_query", function), texts)

    def _fill(self, columns: Columns, key: str, source: str) -> Columns:
        metadatas = columns.metadatas or [None] * len(columns.ids)
        texts: dict[int, str] = {}
        for row, metadata in enumerate(metadatas):
            text = _text(columns, row, source)
            if text is not None and key not in (metadata or {}):
                texts[row] = text
        if not texts:
            return columns
        vectors = dict(zip(texts, _one_each(self._function(key), [*texts.values()]), strict=True))
        filled = [
            {**(metadata or {}), key: vectors[row]} if row in vectors else metadata
            for row, metadata in enumerate(metadatas)
        ]
        return columns._replace(metadatas=filled)

    def _function(self, key: str) -> Any:
        if key not in self._built:
            form = _form(self._indexes[key])
            assert form is not None, "the callers look"
            self._built[key] = config_to_sparse_embedding_function(form)
        return self._built[key]


def _indexes(schema: Form) -> dict[str, Form]:
    """The settings of every sparse index that is switched on, by key."""
    found: dict[str, Form] = {}
    for key, types in schema["keys"].items():
        index = types.get("sparse_vector", {}).get("sparse_vector_index")
        if index is not None and index["enabled"]:
            found[key] = index["config"]
    return found


def _form(config: Form) -> Form | None:
    """The form of the embedding function, if it is one that can be built."""
    form: Form = config["embedding_function"]
    return form if form["type"] == "known" else None


def _text(columns: Columns, row: int, source: str) -> str | None:
    """What the source of a row says, if it is a text."""
    if source == DOCUMENT:
        return None if columns.documents is None else columns.documents[row]
    metadata = None if columns.metadatas is None else columns.metadatas[row]
    value = (metadata or {}).get(source)
    return value if isinstance(value, str) else None


def _one_each(embed: Callable[..., Any], texts: list[str]) -> list[SparseVector]:
    vectors = check_sparse_vectors(embed(input=texts))
    if len(vectors) != len(texts):
        raise InvalidArgumentError(
            f"Expected one sparse vector per text, got {len(vectors)} of {len(texts)}"
        )
    return vectors
