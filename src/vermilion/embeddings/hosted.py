"""Embedding functions that ask a provider over HTTP, each made of one row of a table.

`make_class` turns a row into a class whose constructor, stored configuration, checks and
documentation all come from that row.
"""

from __future__ import annotations

import inspect
import os
import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from vermilion.embeddings import trust
from vermilion.embeddings.base import EmbeddingFunction, register_builtin
from vermilion.embeddings.provider import (
    KEY,
    Provider,
    check_config,
    check_types,
    default_of,
    plain,
    signature,
    snake_case,
)
from vermilion.embeddings.shapes import is_image
from vermilion.embeddings.sparse import SparseEmbeddingFunction, register_sparse_builtin
from vermilion.embeddings.transport import Request, send
from vermilion.errors import ArgumentValueError, EmbeddingError
from vermilion.progress import Progress
from vermilion.types import Embeddings, Space, SparseVectors, pages

# So many requests of one call are under way at a time.
PARALLEL = 4
K = TypeVar("K", bound="Hosted")


class Hosted:
    """Asks a provider over HTTP: what dense and sparse functions have in common."""

    provider: Provider
    # Whether the parameters come from what a collection remembers, and not from the program.
    _stored = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Takes the parameters of its provider. Raises ValueError when the key is not to be had."""
        bound = inspect.signature(type(self)).bind(*args, **kwargs)
        bound.apply_defaults()
        self._values = {
            name: plain(value) for name, value in bound.arguments.items() if name != KEY.name
        }
        check_types(self.provider, self._values)
        self.provider.check(self._values)
        if not self._stored:
            trust.remember(self.provider.name, self.provider.base_url(self._values))
        self._key = self._find_key(bound.arguments.get(KEY.name))

    def _find_key(self, given: str | None) -> str | None:
        """The key: as given, else from the environment; which variable that is gets stored."""
        if self.provider.key(self._values) == "none":
            return None
        if given is not None:
            warnings.warn(
                "Direct api_key configuration will not be persisted. Please use environment "
                "variables via api_key_env_var for persistent storage.",
                DeprecationWarning,
                stacklevel=3,
            )
            return given
        variable, prefers = self._values["api_key_env_var"], self.provider.prefers
        usual = variable in (None, default_of(self.provider, "api_key_env_var"))
        if prefers and usual and prefers in os.environ:
            variable = self._values["api_key_env_var"] = prefers
        key = None if variable is None else os.environ.get(variable)
        if not key and (self.provider.key(self._values) == "required" or variable):
            raise ArgumentValueError(f"The {variable} environment variable is not set.")
        return key

    def __getattr__(self, name: str) -> Any:
        """Each parameter is an attribute, and so is the key that was found."""
        if name == KEY.name:
            return self.__dict__.get("_key")
        try:
            return self.__dict__["_values"][name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}") from None

    # ── embedding ────────────────────────────────────────────────────────────────────────────────

    def _embed(self, inputs: list[Any], *, query: bool) -> list[Any]:
        self._check_inputs(inputs)
        batches = [inputs[page] for page in pages(len(inputs), self._batch(inputs))]
        if len(batches) < 2:
            return [one for batch in batches for one in self._embed_batch(batch, query)]
        label = f"Embedding by {self.provider.name}"
        with (
            Progress(len(inputs), label) as bar,
            ThreadPoolExecutor(min(PARALLEL, len(batches))) as pool,
        ):
            waiting = [pool.submit(self._embed_batch, batch, query) for batch in batches]
            for one, batch in zip(waiting, batches, strict=True):
                one.add_done_callback(partial(_advance, bar, len(batch)))
            try:
                return [one for batch in waiting for one in batch.result()]
            except BaseException:  # what is not sent yet need not be paid for
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _embed_batch(self, items: list[Any], query: bool) -> list[Any]:
        answer = send(self.provider.name, self._request(items, query), [self._key or ""])
        try:
            vectors = self.provider.reads(answer)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise self._strange(f"an answer that cannot be read ({error!r})") from None
        if len(vectors) != len(items):
            raise self._strange(f"{len(vectors)} vectors for {len(items)} inputs")
        return vectors

    def _strange(self, what: str) -> EmbeddingError:
        return EmbeddingError(self.provider.name, 200, what)

    def _request(self, items: list[Any], query: bool) -> Request:
        provider, values, key = self.provider, self._values, self._key
        place = provider.url or (lambda row, given, items: row.base_url(given) + row.path)
        url = place(provider, values, items).format_map(values)
        headers = provider.headers(values)
        if key and not provider.key_param:
            headers = {**headers, **provider.auth(values, key)}
        if self._stored and (key or headers):
            trust.check(provider, url)
        return Request(
            url,
            provider.asks(values, items, query),
            headers,
            {provider.key_param: key} if key and provider.key_param else {},
            float(values.get("timeout") or 60),
        )

    def _batch(self, inputs: list[Any]) -> int:
        """How many inputs a request carries: an image has one for itself."""
        return 1 if any(map(is_image, inputs)) else self.provider.batch

    def _check_inputs(self, inputs: list[Any]) -> None:
        if self.provider.retired:
            raise EmbeddingError(self.provider.name, None, self.provider.retired)
        allowed = "texts or images" if self.provider.images else "texts"
        for item in inputs:
            if not (isinstance(item, str) or (self.provider.images and is_image(item))):
                raise ArgumentValueError(
                    f"{type(self).__name__} embeds {allowed}, got {type(item).__name__}"
                )
        kinds = {isinstance(item, str) for item in inputs}
        if len(kinds) > 1 and self.provider.images != "mixed":
            raise ArgumentValueError(f"{type(self).__name__} embeds texts or images, not both")

    # ── what is stored ───────────────────────────────────────────────────────────────────────────

    @staticmethod
    def name() -> str:
        """Returns the name that collections store."""
        raise AssertionError("make_class gives each class its own")

    def get_config(self) -> dict[str, Any]:
        """Returns the values of the parameters, never the key."""
        return {
            one.name: one.stores(self._values[one.name])
            for one in self.provider.all_parameters
            if one.stored and not (one.if_set and self._values[one.name] is None)
        }

    def validate_config_update(
        self, old_config: dict[str, Any], new_config: dict[str, Any]
    ) -> None:
        """Raises ValueError when a value differs that vectors already depend on."""
        for one in self.provider.all_parameters:
            old, new = old_config.get(one.name), new_config.get(one.name)
            if one.fixed and old != new:
                raise ArgumentValueError(
                    f"The {one.name.replace('_', ' ')} cannot be changed after the embedding "
                    f"function has been initialized: it is {old!r}, got {new!r}. Clone the "
                    "collection with the other embedding function, or use collection.reembed"
                )

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Hosted)
            and type(self) is type(other)
            and self.get_config() == other.get_config()
        )

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({told})"


class HostedEmbeddingFunction(Hosted, EmbeddingFunction[Any]):
    """Vectors from a provider. Its subclasses are made by `make_class`, from the table."""

    def __call__(self, input: Any) -> Embeddings:
        """Returns one vector per input, in their order, however many requests that takes."""
        return self._embed(list(input), query=False)

    def embed_query(self, input: Any) -> Embeddings:
        """Returns one vector per query; as for documents unless a query task was asked for."""
        return self._embed(list(input), query=True)

    def default_space(self) -> Space:
        """Returns the first of the spaces that suit the model."""
        return self.provider.space(self._values)[0]

    def supported_spaces(self) -> list[Space]:
        """Returns the spaces that suit the model."""
        return list(self.provider.space(self._values))


class HostedSparseEmbeddingFunction(Hosted, SparseEmbeddingFunction[Any]):
    """Sparse vectors from a provider, made in the same way."""

    def __call__(self, input: Any) -> SparseVectors:
        """Returns one sparse vector per text, in their order."""
        return self._embed(list(input), query=False)

    def embed_query(self, input: Any) -> SparseVectors:
        """Returns one sparse vector per query."""
        return self._embed(list(input), query=True)


def _advance(bar: Progress, steps: int, future: Future[Any]) -> None:
    """Counts a batch that came back."""
    if not future.cancelled():
        bar.advance(steps)


# ── a row becomes a class ────────────────────────────────────────────────────────────────────────


def make_class(provider: Provider) -> type[HostedEmbeddingFunction]:
    """The embedding function of a provider, registered under its names."""
    kind = _make(provider, HostedEmbeddingFunction)
    register_builtin(kind, *provider.names)
    return kind


def make_sparse_class(provider: Provider) -> type[HostedSparseEmbeddingFunction]:
    """The sparse embedding function of a provider, registered under its name."""
    kind = _make(provider, HostedSparseEmbeddingFunction)  # type: ignore[type-abstract]
    register_sparse_builtin(kind)
    return kind


def _make(provider: Provider, base: type[K]) -> type[K]:

    def name() -> str:
        """Returns the name that collections store."""
        return provider.name

    def validate_config(config: dict[str, Any]) -> None:
        """Raises ValueError when a value is missing, unknown, or of the wrong type."""
        check_config(provider, config)

    def build_from_config(config: dict[str, Any]) -> K:
        """Returns the function that `get_config` described."""
        values = snake_case(config)
        values = {name: values[name] for name in values if name not in provider.leaves_out}
        check_config(provider, values)
        keys = [one for one in provider.parameters if not one.stored]
        function: K = kind.__new__(kind)
        function._stored = True  # before the constructor, which would believe an address
        function.__init__(**values, **{one.name: None for one in keys})  # type: ignore[misc]
        return function

    kind: type[K] = type(
        provider.class_name,
        (base,),
        {
            "__doc__": f"Embeddings from {provider.title}.",
            "__module__": __name__,
            "__signature__": signature(provider),
            "provider": provider,
            "name": staticmethod(name),
            "validate_config": staticmethod(validate_config),
            "build_from_config": staticmethod(build_from_config),
        },
    )
    return kind
