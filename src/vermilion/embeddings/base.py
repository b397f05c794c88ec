"""What an embedding function is, which there are, and how one is written down and found again.

Write a class with `__call__` and you have an embedding function. Add `name`, `get_config` and
`build_from_config`, register it, and collections remember it:

    @register_embedding_function
    class WordLengths(EmbeddingFunction):
        def __call__(self, input):
            return [[float(len(word)) for word in text.split()[:4]] for text in input]

        @staticmethod
        def name():
            return "word-lengths"

        def get_config(self):
            return {}

        @staticmethod
        def build_from_config(config):
            return WordLengths()

What is stored is a name and plain values. A name is looked up in the registry of this process;
nothing that stored data names is ever imported or run.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, runtime_checkable

from vermilion.errors import ArgumentValueError
from vermilion.records import vector_column, vector_rows
from vermilion.types import Embeddings, Space

Input = TypeVar("Input", contravariant=True)


@runtime_checkable
class EmbeddingFunction(Protocol[Input]):
    """Turns inputs, usually texts, into vectors: one for each, all of one dimension.

    `__call__` and `embed_query` may be coroutines: asynchronous clients await them on their loop,
    others run them to their end.
    """

    def __call__(self, input: Input) -> Embeddings:
        """Returns one vector per input. Subclasses may return lists of floats."""
        ...

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        if "__call__" in cls.__dict__:
            cls.__call__ = _checked(cls.__dict__["__call__"])  # type: ignore[method-assign]  # the point

    def embed_query(self, input: Input) -> Embeddings:
        """Returns one vector per query; the same as for documents unless overridden."""
        return self.__call__(input)

    def embed_with_retries(self, input: Input, **retry: Any) -> Embeddings:
        """Calls the function under `tenacity.retry(**retry)`; needs the package tenacity."""
        tenacity = optional("tenacity", "pip install tenacity")
        result: Embeddings = tenacity.retry(**retry)(self.__call__)(input)
        return result

    @staticmethod
    def name() -> Any:
        """Returns the name under which collections remember the function."""
        return NotImplemented

    def get_config(self) -> Any:
        """Returns plain values, a dict, from which `build_from_config` makes an equal function."""
        return NotImplemented

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> Any:
        """Returns the function that `get_config` described."""
        return NotImplemented

    def default_space(self) -> Space:
        """Returns the distance that a collection gets unless it asks for another."""
        return "l2"

    def supported_spaces(self) -> list[Space]:
        """Returns the distances that make sense for these vectors."""
        return ["cosine", "l2", "ip"]

    @staticmethod
    def validate_config(config: dict[str, Any]) -> None:
        """Raises ValueError when `build_from_config` could not use the values."""
        return None

    def validate_config_update(
        self, old_config: dict[str, Any], new_config: dict[str, Any]
    ) -> None:
        """Raises ValueError when a collection may not change from the old to the new values."""
        return None

    def is_legacy(self) -> bool:
        """Returns whether collections cannot remember this function."""
        return stored_form(self) == LEGACY


def _checked(call: Callable[..., Any]) -> Callable[..., Embeddings]:
    """The same method, whose answer is always a list of float32 arrays."""
    if inspect.iscoroutinefunction(call):
        return _checked_later(call)

    @functools.wraps(call)
    def checked(self: Any, input: Any) -> Embeddings:
        return list(as_vectors(call(self, input)))

    return checked


def _checked_later(call: Callable[..., Any]) -> Callable[..., Any]:
    """As `_checked`, for a coroutine."""

    @functools.wraps(call)
    async def checked(self: Any, input: Any) -> Embeddings:
        return list(as_vectors(await call(self, input)))

    return checked


def as_vectors(result: object) -> Any:
    """What an embedding function returned, as float32 of shape (n, dimension)."""
    rows = vector_rows(result)
    if rows is None:
        raise ArgumentValueError("Expected embeddings from the embedding function, got None")
    return vector_column(rows)


def check_signature(function: object) -> None:
    """Raises ValueError unless `function` can be called as an embedding function is."""
    if isinstance(function, type) or not callable(function):
        raise ArgumentValueError(f"Expected an embedding function, got {function!r}")
    got = list(inspect.signature(type(function).__call__).parameters)
    if got != ["self", "input"]:
        raise ArgumentValueError(
            "Expected EmbeddingFunction.__call__ to have the following signature: "
            f"(self, input), got ({', '.join(got)})"
        )


# ── the registry ─────────────────────────────────────────────────────────────────────────────────

known_embedding_functions: dict[str, Any] = {}

# The class names of those that come with the package.
builtins: set[str] = set()


def register_embedding_function(kind: Any = None) -> Any:
    """Makes a class known by its `name()`, so that collections can bring it back.

    A decorator, with or without brackets. Raises ValueError for a class without a name.
    """
    if kind is None:
        return register_embedding_function
    name = kind.name() if callable(getattr(kind, "name", None)) else None
    if not isinstance(name, str) or not callable(getattr(kind, "build_from_config", None)):
        raise ArgumentValueError(
            f"Failed to register embedding function {kind!r}: it needs a static name() that "
            "returns a str, and a static build_from_config(config)"
        )
    known_embedding_functions[name] = kind
    return kind


def register_builtin(kind: Any, *names: str) -> Any:
    """As register_embedding_function, for the ones that come with the package.

    Under these names, too: what other clients call it.
    """
    builtins.add(kind.__name__)
    known_embedding_functions.update(dict.fromkeys(names, kind))
    return register_embedding_function(kind)


# ── what is stored ───────────────────────────────────────────────────────────────────────────────

LEGACY = {"type": "legacy"}


def stored_form(function: Any) -> dict[str, Any]:
    """How a collection remembers the function: by name and config, or as legacy, not at all.

    The class is registered on the way: whoever made the collection can use it again.
    """
    name = function.name() if callable(getattr(function, "name", None)) else NotImplemented
    config = (
        function.get_config() if callable(getattr(function, "get_config", None)) else NotImplemented
    )
    build = getattr(type(function), "build_from_config", None)
    if (
        not isinstance(name, str)
        or config is NotImplemented
        or build is None
        or build is EmbeddingFunction.build_from_config
    ):
        return dict(LEGACY)
    if not isinstance(config, dict):
        raise ArgumentValueError(
            f"Expected get_config() of embedding function {name} to return a dict, got {config!r}"
        )
    known_embedding_functions.setdefault(name, type(function))
    return {"type": "known", "name": name, "config": config}


def check_same(argument: Any, configured: Any) -> None:
    """Raises ValueError when a call names two functions that are not of one name."""
    one, other = stored_form(argument), stored_form(configured)
    if one.get("name") != other.get("name"):
        raise ArgumentValueError(
            "Multiple embedding functions provided: the argument and the configuration name "
            f"different ones, {_told(one)} and {_told(other)}: pass one of them"
        )


def check_change(old: EmbeddingFunction[Any] | None, new: EmbeddingFunction[Any]) -> None:
    """Raises ValueError unless a collection may go from the old function to the new one."""
    if old is None:
        return
    if old.name() != new.name():
        raise ArgumentValueError(
            f"Cannot update embedding function: incompatible types: {old.name()} and {new.name()}. "
            "The vectors are made by the first one: collection.reembed(function) makes them anew"
        )
    new.validate_config_update(old.get_config(), new.get_config())


def _told(form: dict[str, Any]) -> str:
    """A stored form as people are told of it."""
    return f"{form['name']} {form['config']}" if "name" in form else "one without a name"


def what_differs(stored: dict[str, Any], given: Any) -> str | None:
    """Why vectors of a given function may not fit those of a stored one; None when they do."""
    form = stored_form(given)
    name = form.get("name")
    if name != stored["name"]:
        return f"{stored['name']}; this handle uses {name or type(given).__name__} instead"
    try:
        given.validate_config_update(stored["config"], form["config"])
    except ValueError as error:
        return f"{_told(stored)}; this handle uses {_told(form)} instead ({error})"
    except AttributeError:  # a class of the user's that cannot tell
        return None
    return None


def optional(package: str, remedy: str) -> Any:
    """Imports a package that only some functions need; the error says how to get it."""
    try:
        return __import__(package)
    except ImportError:
        raise ArgumentValueError(
            f"The {package} python package is not installed. Please install it with `{remedy}`"
        ) from None
