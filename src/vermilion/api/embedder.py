"""Which embedding function serves a collection handle, and how its columns become vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vermilion import bridge
from vermilion.embeddings.base import as_vectors, stored_form
from vermilion.embeddings.cache import EmbeddingCache, Purpose
from vermilion.embeddings.default import DefaultEmbeddingFunction
from vermilion.embeddings.lookup import config_to_embedding_function
from vermilion.errors import ArgumentValueError
from vermilion.records import Columns, spread
from vermilion.switching import maker_of
from vermilion.types import DataLoader

Matrix = NDArray[np.float32]


class Embedder:
    """Makes the vectors of one handle.

    `given` is what the caller passed: None switches embedding off unless the collection remembers
    a function, the default one means "whatever it remembers", any other is used. `stored` is what
    the collection remembers.
    """

    def __init__(
        self,
        given: Any,
        stored: dict[str, Any] | None,
        loader: DataLoader | None,
        cache: EmbeddingCache | None = None,
    ) -> None:
        self._given = given
        self._stored = stored
        self._loader = loader
        self._cache = cache
        self._rebuilt: Any = None

    @property
    def has_function(self) -> bool:
        """Whether there is a function at all, whether or not it can be found in this process."""
        if self._stored is not None and self._stored["type"] == "known":
            return True
        if isinstance(self._given, DefaultEmbeddingFunction):
            return self._stored is None
        return self._given is not None

    @property
    def function(self) -> Any:
        """The function to call. Raises ValueError when there is none, or it is not registered."""
        if self._given is not None and not isinstance(self._given, DefaultEmbeddingFunction):
            return self._given
        if self._stored is not None and self._stored["type"] == "known":
            if self._rebuilt is None:
                self._rebuilt = bridge.apart(config_to_embedding_function, self._stored)
            return self._rebuilt
        if self._given is None or self._stored is not None:
            raise ArgumentValueError(
                "You must provide an embedding function to compute embeddings: pass "
                "embedding_function= to the client's method that gave you this collection, or "
                "pass embeddings"
            )
        return self._given

    @property
    def maker(self) -> str | None:
        """The function as the collection tells it from others; None for one without a name."""
        if self._given is not None and not isinstance(self._given, DefaultEmbeddingFunction):
            return maker_of(stored_form(self._given))
        return maker_of(self._stored)

    # ── writing ──────────────────────────────────────────────────────────────────────────────────

    def completed(self, columns: Columns, *, needed: bool = True) -> Columns:
        """The columns with vectors of the documents where None was given for them.

        Without a function they stay as they are. Raises ValueError for a row that has no document,
        if all are `needed`.
        """
        there = columns.has_vector
        if there is None or not self.has_function:
            return columns
        documents = columns.documents or [None] * len(columns.ids)
        texts = np.array([text is not None for text in documents], np.bool_) & ~there
        missing = np.flatnonzero(~(there | texts))
        if needed and len(missing):
            raise ArgumentValueError(
                f"Expected an embedding of record {columns.ids[missing[0]]!r}, or a document to "
                "make one of, got neither"
            )
        if not texts.any():
            return columns
        made = spread(self.embed([documents[row] for row in np.flatnonzero(texts)]), texts)
        if columns.vectors is not None:
            if made.shape[1] != columns.vectors.shape[1]:
                raise ArgumentValueError(
                    f"Inconsistent dimensions: the embeddings that are given and those that are "
                    f"made have {columns.vectors.shape[1]} and {made.shape[1]}"
                )
            made[there] = columns.vectors[there]
        has_vector = (there | texts) if len(missing) else None
        return columns._replace(vectors=made, has_vector=has_vector)

    def vectors(self, columns: Columns, *, needed: bool = True) -> Matrix | None:
        """Vectors for records: given, or made of documents, images or uris.

        None when there is nothing to make them of and they are not `needed`. Raises ValueError
        when it is not clear what to embed.
        """
        if columns.vectors is not None or columns.has_vector is not None:
            return columns.vectors
        sources = [columns.documents, columns.images, columns.uris]
        count = sum(source is not None for source in sources)
        if not count and not needed:
            return None
        if count != 1:
            raise ArgumentValueError(
                "Exactly one of documents, images, uris must be provided when there are no "
                "embeddings"
            )
        if columns.uris is not None:
            return self.embed(self._load_all(columns.uris))
        return self.embed(columns.documents if columns.images is None else columns.images)

    def vectors_if_any(self, columns: Columns) -> Matrix | None:
        """Vectors for an update: given, or made of new documents or images.

        New uris alone are loaded and embedded where there is a data loader; without one they are
        only noted, and so is a column with an empty cell, which has nothing to load.
        """
        if columns.vectors is not None or columns.has_vector is not None:
            return columns.vectors
        if columns.documents is not None and columns.images is not None:
            raise ArgumentValueError("At most one of documents, images may be provided")
        source = columns.documents if columns.images is None else columns.images
        if source is not None:
            return self.embed(source)
        if columns.uris is None or self._loader is None or None in columns.uris:
            return None
        return self.embed(self._load_all(columns.uris))

    def embed(self, inputs: Any) -> Matrix:
        """One vector for each document, image, or whatever a loader gave."""
        return self._cached(self.function, inputs, "document")

    def _cached(self, function: Any, inputs: Any, purpose: Purpose) -> Matrix:
        """Asks the function for what the cache does not know; images are never in it."""
        call = function if purpose == "document" else getattr(function, "embed_query", function)
        texts = isinstance(inputs, list) and all(isinstance(one, str) for one in inputs)
        if self._cache is None or not texts or not inputs:
            return _called(call, inputs)
        lookup = bridge.apart(self._cache.look_up, function, inputs, purpose)
        if lookup is None:
            return _called(call, inputs)
        missing = list(lookup.missing.values())
        made = _called(call, missing) if missing else np.empty((0, 0), np.float32)
        return bridge.apart(self._cache.complete, lookup, made)

    # ── querying ─────────────────────────────────────────────────────────────────────────────────

    def query_vectors(
        self, documents: Any, images: Any, uris: Sequence[str | None] | None
    ) -> Matrix:
        """One vector per query. Raises ValueError unless exactly one kind of query is there."""
        sources = [source for source in (documents, images, uris) if source is not None]
        if not sources:
            raise ArgumentValueError(
                "At least one of one of embeddings, documents, images, uris must be provided"
            )
        if len(sources) > 1:
            raise ArgumentValueError(
                "Exactly one of query_texts, query_images, query_uris must be provided when "
                "there are no query_embeddings"
            )
        inputs = sources[0] if uris is None else self._load_all(uris)
        return self._cached(self.function, inputs, "query")

    # ── loading ──────────────────────────────────────────────────────────────────────────────────

    @property
    def can_load(self) -> bool:
        """Whether there is a data loader."""
        return self._loader is not None

    def check_loader(self) -> DataLoader:
        """The data loader. Raises ValueError when there is none."""
        if self._loader is None:
            raise ArgumentValueError(
                "You must set a data loader on the collection if loading from URIs: pass "
                "data_loader= to the client's method that gave you this collection"
            )
        return self._loader

    def load(self, uris: Sequence[str | None] | None) -> Any:
        """What the data loader gives for the uris."""
        return self._load_all(uris or [])

    def _load_all(self, uris: Sequence[str | None]) -> Any:
        return bridge.apart(self.check_loader(), uris)


def _called(call: Any, inputs: Any) -> Matrix:
    """What a function gives, be it one that blocks or a coroutine."""
    vectors: Matrix = as_vectors(bridge.awaited(bridge.apart(call, input=inputs)))
    return vectors
