"""From a stored name to an embedding function: those of this process, of this package, of others.

A name is looked up among classes; nothing that stored data names is imported or run. Another
distribution offers its classes by an entry point of the group "vermilion.embeddings".
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from vermilion.embeddings.base import (
    EmbeddingFunction,
    builtins,
    known_embedding_functions,
    register_embedding_function,
)
from vermilion.embeddings.sparse import (
    SparseEmbeddingFunction,
    register_sparse_embedding_function,
    sparse_known_embedding_functions,
)
from vermilion.errors import ArgumentValueError
from vermilion.logs import log

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "vermilion.embeddings"


def config_to_embedding_function(form: Mapping[str, Any]) -> EmbeddingFunction[Any]:
    """The function that a stored name and config stand for.

    Raises ValueError when no function of that name is registered in this process, or when its
    config is not one that it takes.
    """
    if "name" not in form:
        raise ArgumentValueError(f"Embedding function name not found in config: {dict(form)}")
    name = form["name"]
    if name not in known_embedding_functions:
        register_all()
    kind = known_embedding_functions.get(name)
    if kind is None:
        raise ArgumentValueError(
            f"Embedding function {name} not found. Add @register_embedding_function decorator to "
            "the class definition and import it, or pass embedding_function= to get_collection"
        )
    function: EmbeddingFunction[Any] = kind.build_from_config(form.get("config") or {})
    return function


def config_to_sparse_embedding_function(form: Mapping[str, Any]) -> SparseEmbeddingFunction[Any]:
    """The sparse function that a stored name and config stand for; as for dense ones."""
    import vermilion.embeddings.bm25  # noqa: F401  (what most collections have)

    name = form.get("name")
    if name not in sparse_known_embedding_functions:
        register_all()
    kind = sparse_known_embedding_functions.get(str(name))
    if kind is None:
        raise ArgumentValueError(
            f"Sparse embedding function {name} not found. Add @register_sparse_embedding_function "
            "decorator to the class definition and import it"
        )
    function: SparseEmbeddingFunction[Any] = kind.build_from_config(form.get("config") or {})
    return function


def get_builtins() -> set[str]:
    """The class names of the embedding functions that come with the package."""
    register_all()
    return set(builtins)


@cache
def register_all() -> None:
    """Makes every function of this package and of installed ones known; most programs need none."""
    from importlib.metadata import entry_points  # loads a good deal

    import vermilion.embeddings.bm25
    import vermilion.embeddings.default
    import vermilion.embeddings.installed
    import vermilion.embeddings.providers
    import vermilion.embeddings.sparse_models  # noqa: F401

    for point in entry_points(group=GROUP):
        if point.name not in {*known_embedding_functions, *sparse_known_embedding_functions}:
            _register(point)


def _register(point: EntryPoint) -> None:
    """Makes a class of another distribution known; one that is broken stands in nobody's way."""
    try:
        kind = point.load()
        sparse = SparseEmbeddingFunction in getattr(kind, "__mro__", ())
        (register_sparse_embedding_function if sparse else register_embedding_function)(kind)
    except Exception as error:  # whatever the other distribution does
        log().warning(
            "embedding function %s (%s) cannot be used: %r", point.name, point.value, error
        )
