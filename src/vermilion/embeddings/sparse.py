"""What a sparse embedding function is, which there are, and how one is found again.

As with dense ones, a collection remembers a name and plain values, and the name is looked up among
classes: nothing that stored data names is imported or run.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, runtime_checkable

from vermilion.embeddings.base import builtins, check_signature, optional
from vermilion.errors import ArgumentValueError
from vermilion.types import SparseVector, SparseVectors

Input = TypeVar("Input", contravariant=True)


@runtime_checkable
class SparseEmbeddingFunction(Protocol[Input]):
    """Turns inputs, usually texts, into sparse vectors: one for each."""

    def __call__(self, input: Input) -> SparseVectors:
        """Returns one sparse vector per input."""
        ...

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        if "__call__" in cls.__dict__:
            cls.__call__ = _checked(cls.__dict__["__call__"])  # type: ignore[method-assign]  # the point

    def embed_query(self, input: Input) -> SparseVectors:
        """Returns one sparse vector per query; the same as for documents unless overridden."""
        return self.__call__(input)

    def embed_with_retries(self, input: Input, **retry: Any) -> SparseVectors:
        """Calls the function under `tenacity.retry(**retry)`; needs the package tenacity."""
        tenacity = optional("tenacity", "pip install tenacity")
        result: SparseVectors = tenacity.retry(**retry)(self.__call__)(input)
        return result

    @staticmethod
    def name() -> str:
        """Returns the name under which collections remember the function."""
        ...

    def get_config(self) -> dict[str, Any]:
        """Returns plain values from which `build_from_config` makes an equal function."""
        ...

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> Any:
        """Returns the function that `get_config` described."""
        ...

    @staticmethod
    def validate_config(config: dict[str, Any]) -> None:
        """Raises ValueError when `build_from_config` could not use the values."""
        return None

    def validate_config_update(
        self, old_config: dict[str, Any], new_config: dict[str, Any]
    ) -> None:
        """Raises ValueError when a collection may not change from the old to the new values."""
        return None


def _checked(call: Callable[..., Any]) -> Callable[..., SparseVectors]:
    """The same method, whose answer is always a list of sparse vectors."""

    @functools.wraps(call)
    def checked(self: Any, input: Any) -> SparseVectors:
        return check_sparse_vectors(call(self, input))

    return checked


def check_sparse_vectors(vectors: object) -> SparseVectors:
    """The same list, if it holds sparse vectors and is not empty."""
    if not isinstance(vectors, list) or not vectors:
        raise ArgumentValueError(f"Expected sparse vectors to be a non-empty list, got {vectors!r}")
    for vector in vectors:
        if not isinstance(vector, SparseVector):
            raise ArgumentValueError(
                f"Expected each sparse vector to be a SparseVector, got {vector!r}"
            )
    return vectors


def check_sparse_signature(function: object) -> None:
    """Raises ValueError unless `function` can be called as a sparse embedding function is."""
    check_signature(function)


# ── the registry ─────────────────────────────────────────────────────────────────────────────────

sparse_known_embedding_functions: dict[str, Any] = {}


def register_sparse_embedding_function(kind: Any = None) -> Any:
    """Makes a class known by its `name()`, so that collections can bring it back.

    A decorator, with or without brackets. Raises ValueError for a class without a name.
    """
    if kind is None:
        return register_sparse_embedding_function
    name = kind.name() if callable(getattr(kind, "name", None)) else None
    if not isinstance(name, str) or not callable(getattr(kind, "build_from_config", None)):
        raise ArgumentValueError(
            f"Failed to register sparse embedding function {kind!r}: it needs a static name() "
            "that returns a str, and a static build_from_config(config)"
        )
    sparse_known_embedding_functions[name] = kind
    return kind


def register_sparse_builtin(kind: Any) -> Any:
    """As register_sparse_embedding_function, for the ones that come with the package."""
    builtins.add(kind.__name__)
    return register_sparse_embedding_function(kind)
