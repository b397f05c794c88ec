"""The part of a collection's handle that knows what makes its vectors, and that this may change.

Another process may have all vectors made anew by another function (see `reembedding`). A handle
from before then notices: what it embedded with the old function is embedded again.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

import numpy as np

from vermilion.api.embedder import Embedder
from vermilion.embeddings.cache import EmbeddingCache
from vermilion.engine import EVERYTHING, CollectionInfo, Column, Engine
from vermilion.errors import DimensionError, FunctionChangedError
from vermilion.records import Batch, Columns
from vermilion.switching import maker_of
from vermilion.types import DataLoader

P = ParamSpec("P")
R = TypeVar("R")
# So many vectors tell whether all are of unit length.
SAMPLE = 16
_VECTORS: tuple[Column, ...] = ("vectors",)


class Fingerprint(NamedTuple):
    """What makes the vectors of a collection: vectors of two fingerprints do not compare.

    `name` and `config` are None where the collection remembers no function, `dimension` and
    `normalised` (whether all are of unit length) where it has no records.
    """

    name: str | None
    config: dict[str, Any] | None
    dimension: int | None
    normalised: bool | None

    def __str__(self) -> str:
        told = "no function that it remembers"
        if self.name is not None:
            told = f"{self.name} {self.config}"
        length = {None: "", True: ", unit length", False: ", of any length"}[self.normalised]
        return f"{told} ({self.dimension} dimensions{length})"


class Following:
    """What `Collection` inherits."""

    _engine: Callable[[], Engine]
    _info: CollectionInfo
    _function: Any
    _loader: DataLoader | None
    _cache: EmbeddingCache | None
    _embedder: Embedder

    def fingerprint(self) -> Fingerprint:
        """Returns what makes its vectors: function, dimension, whether they are of unit length."""
        info = self._engine().get_collection_by_id(self._info.address)
        sample = self._engine().get(info.address, EVERYTHING, _VECTORS, SAMPLE)
        normalised, found = None, sample.vectors
        if found is not None and sample.has_vector is not None:
            found = found[sample.has_vector]
        if found is not None and len(found):
            lengths = np.linalg.norm(found.astype(np.float64), axis=1)
            normalised = bool(np.allclose(lengths, 1.0, atol=1e-3))
        stored = info.configuration.embedding_function or {}
        return Fingerprint(stored.get("name"), stored.get("config"), info.dimension, normalised)

    def _follow(self) -> None:
        """Takes over what the collection is now; a function from before is not used any more."""
        before = maker_of(self._info.configuration.embedding_function)
        self._info = self._engine().get_collection_by_id(self._info.address)
        stored = self._info.configuration.embedding_function
        if before is not None and self._embedder.maker == before and maker_of(stored) != before:
            self._function = None
        self._embedder = self._new_embedder()

    def _new_embedder(self) -> Embedder:
        stored = self._info.configuration.embedding_function
        return Embedder(self._function, stored, self._loader, self._cache)

    def _keep_up(self) -> None:
        """Follows before something is embedded, where asking costs less than embedding."""
        made_with = getattr(self._engine(), "made_with", None)
        if made_with is None:  # a server is asked for it by nobody
            return
        maker = maker_of(made_with(self._info.address))
        if maker is not None and self._embedder.maker not in (None, maker):
            self._follow()

    def _signed(self, columns: Columns, batch: Batch) -> Batch:
        """The batch with the function that made its vectors, if one did."""
        if batch.vectors is None or columns.vectors is not None:
            return batch
        return replace(batch, made_by=self._embedder.maker)

    def _explained(self, error: DimensionError, given: bool) -> DimensionError:
        """The error with both sides: what the collection is made with, and what came."""
        if "expecting embedding with dimension" not in str(error):
            return error
        came = "embeddings that were given"
        if not given:
            came = f"vectors of {self._embedder.maker or 'the function of this handle'}"
        return DimensionError(
            f"{error}. The vectors of collection {self._info.name} are made by "
            f"{self.fingerprint()}; what came are {came}. Use one function for both, or "
            "collection.reembed(function) to change the collection's"
        )


S = TypeVar("S", bound=Following)


def following(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """A method that embeds: called again when the function has changed, plain about dimensions."""

    @functools.wraps(method)
    def followed(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(self, *args, **kwargs)
        except FunctionChangedError:
            self._follow()
            return method(self, *args, **kwargs)
        except DimensionError as error:
            bound = inspect.signature(method).bind(self, *args, **kwargs).arguments
            given = bound.get("embeddings", bound.get("query_embeddings")) is not None
            raise self._explained(error, given) from None

    return followed
