"""Embedding functions that ask a provider over HTTP, each made of one row of a table.

A `Provider` says everything there is to know of one: its names, its constructor's parameters, where
it is, how it wants to be asked and how it answers. `make_class` turns a row into a class whose
constructor, stored configuration, checks and documentation all come from that row.
"""

from __future__ import annotations

import inspect
import os
import re
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from vermilion.embeddings.base import EmbeddingFunction, register_builtin
from vermilion.embeddings.shapes import Asks, Items, Reads, Values, is_image
from vermilion.embeddings.transport import Request, send
from vermilion.errors import ArgumentTypeError, ArgumentValueError, EmbeddingError
from vermilion.types import Embeddings, Space, pages

REQUIRED = inspect.Parameter.empty
# So many requests of one call are under way at a time.
PARALLEL = 4
SPACES: tuple[Space, ...] = ("cosine", "l2", "ip")
_JSON_TYPES = {"string": str, "integer": int, "number": (int, float), "boolean": bool}
_JSON_TYPES |= {"object": dict}


@dataclass(frozen=True)
class Parameter:
    """A parameter of a constructor, and what becomes of it.

    `kind` is its JSON type. A parameter is stored in a collection's configuration unless it is the
    key itself; with `if_set`, only when it is not None. `fixed` ones cannot be changed afterwards.
    A parameter without a default has to be there, and may be None only where it is `nullable`.
    """

    name: str
    default: Any = None
    kind: str = "string"
    stored: bool = True
    if_set: bool = False
    fixed: bool = False
    keyword_only: bool = False
    nullable: bool = False
    stores: Callable[[Any], Any] = lambda value: value


KEY = Parameter("api_key", stored=False)
# Where else to ask, for proxies and tests; not for those that have such a parameter of their own.
BASE_URL = Parameter("base_url", if_set=True, keyword_only=True)


def model(default: Any = REQUIRED, name: str = "model_name") -> Parameter:
    """The model, which no collection can change."""
    return Parameter(name, default, fixed=True)


def key_variable(default: str | None) -> Parameter:
    """Which environment variable has the key."""
    return Parameter("api_key_env_var", default)


def query_task() -> Parameter:
    """What queries are embedded for, where that shall differ from documents."""
    return Parameter("query_task", if_set=True, keyword_only=True)


Auth = Callable[[Values, str], dict[str, str]]


def bearer(values: Values, key: str) -> dict[str, str]:
    """The key as a bearer token."""
    return {"Authorization": f"Bearer {key}"}


def header(name: str) -> Auth:
    """The key in a header of its own."""
    return lambda values, key: {name: key}


def required(values: Values) -> str:
    """Nothing goes without a key."""
    return "required"


def optional_key(values: Values) -> str:
    """A key is sent where there is one."""
    return "optional"


def no_key(values: Values) -> str:
    """There is no key, or another way to say who asks."""
    return "none"


@dataclass(frozen=True)
class Provider:
    """A provider of embeddings.

    `names` are those under which collections remember it, the first is what new ones store. `base`
    and `path` are filled with the values of the parameters. `batch` is how many inputs one request
    may carry. `prefers` is an environment variable that comes before the default one.
    """

    names: tuple[str, ...]
    class_name: str
    title: str
    parameters: tuple[Parameter, ...]
    base: str
    path: str
    asks: Asks
    reads: Reads
    batch: int
    prefers: str | None = None
    auth: Auth = bearer
    key: Callable[[Values], str] = required
    key_param: str | None = None  # a parameter of the URL instead of a header
    override: str | None = None  # the parameter that names the base, if it is not base_url
    headers: Callable[[Values], dict[str, str]] = field(default=lambda values: {})
    check: Callable[[Values], None] = field(default=lambda values: None)
    url: Callable[[Provider, Values, Items], str] | None = None
    images: str = ""  # "either" texts or images, or "mixed"
    space: Callable[[Values], tuple[Space, ...]] = field(default=lambda values: SPACES)
    retired: str | None = None
    example: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name that new collections store."""
        return self.names[0]

    @property
    def all_parameters(self) -> tuple[Parameter, ...]:
        """The constructor's parameters, with that for the base URL."""
        return self.parameters if self.override else (*self.parameters, BASE_URL)

    @property
    def variable(self) -> str:
        """The environment variable that names another base URL."""
        return f"VERMILION_{re.sub('[^A-Z0-9]', '_', self.name.upper())}_BASE_URL"

    def base_url(self, values: Values) -> str:
        """Where to ask: as given, else as the environment says, else the provider's own place."""
        given = values.get(self.override or "base_url")
        place: str = given or os.environ.get(self.variable) or self.base.format_map(values)
        if not place.startswith(("http://", "https://")):
            raise ArgumentValueError(f"Expected an http or https URL for {self.name}, got {place}")
        return place.rstrip("/")

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of what collections store."""
        stored = [one for one in self.all_parameters if one.stored]
        return {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "title": self.class_name,
            "type": "object",
            "properties": {one.name: {"type": [one.kind, "null"]} for one in stored},
            "required": [one.name for one in stored if one.default is REQUIRED],
            "additionalProperties": False,
        }


class HostedEmbeddingFunction(EmbeddingFunction[Any]):
    """Asks a provider over HTTP. Its subclasses are made by `make_class`, from the table."""

    provider: Provider

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Takes the parameters of its provider. Raises ValueError when the key is not to be had."""
        bound = inspect.signature(type(self)).bind(*args, **kwargs)
        bound.apply_defaults()
        self._values = {
            name: _plain(value) for name, value in bound.arguments.items() if name != KEY.name
        }
        _check_types(self.provider, self._values)
        self.provider.check(self._values)
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
        usual = variable in (None, _default(self.provider, "api_key_env_var"))
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

    def __call__(self, input: Any) -> Embeddings:
        """Returns one vector per input, in their order, however many requests that takes."""
        return self._embed(list(input), query=False)

    def embed_query(self, input: Any) -> Embeddings:
        """Returns one vector per query; as for documents unless a query task was asked for."""
        return self._embed(list(input), query=True)

    def _embed(self, inputs: list[Any], *, query: bool) -> list[Any]:
        self._check_inputs(inputs)
        batches = [inputs[page] for page in pages(len(inputs), self._batch(inputs))]
        if len(batches) < 2:
            return [one for batch in batches for one in self._embed_batch(batch, query)]
        with ThreadPoolExecutor(min(PARALLEL, len(batches))) as pool:
            waiting = [pool.submit(self._embed_batch, batch, query) for batch in batches]
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
        headers = provider.headers(values)
        if key and not provider.key_param:
            headers = {**headers, **provider.auth(values, key)}
        return Request(
            place(provider, values, items).format_map(values),
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

    def default_space(self) -> Space:
        """Returns the first of the spaces that suit the model."""
        return self.provider.space(self._values)[0]

    def supported_spaces(self) -> list[Space]:
        """Returns the spaces that suit the model."""
        return list(self.provider.space(self._values))

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
                    "collection with the other embedding function instead"
                )

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, HostedEmbeddingFunction)
            and type(self) is type(other)
            and self.get_config() == other.get_config()
        )

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({told})"


# ── a row becomes a class ────────────────────────────────────────────────────────────────────────


def make_class(provider: Provider) -> type[HostedEmbeddingFunction]:
    """The embedding function of a provider, registered under its names."""

    def name() -> str:
        """Returns the name that collections store."""
        return provider.name

    def validate_config(config: dict[str, Any]) -> None:
        """Raises ValueError when a value is missing, unknown, or of the wrong type."""
        check_config(provider, config)

    def build_from_config(config: dict[str, Any]) -> HostedEmbeddingFunction:
        """Returns the function that `get_config` described."""
        values = snake_case(config)
        check_config(provider, values)
        keys = [one for one in provider.parameters if not one.stored]
        return kind(**values, **{one.name: None for one in keys})

    kind: type[HostedEmbeddingFunction] = type(
        provider.class_name,
        (HostedEmbeddingFunction,),
        {
            "__doc__": f"Embeddings from {provider.title}.",
            "__module__": __name__,
            "__signature__": _signature(provider),
            "provider": provider,
            "name": staticmethod(name),
            "validate_config": staticmethod(validate_config),
            "build_from_config": staticmethod(build_from_config),
        },
    )
    register_builtin(kind, *provider.names)
    return kind


def check_config(provider: Provider, config: Mapping[str, Any]) -> None:
    """Raises ValueError unless these are values that a collection may store for the provider."""
    known = {one.name: one for one in provider.all_parameters if one.stored}
    if unknown := sorted(set(config) - set(known)):
        raise ArgumentValueError(
            f"Config validation failed for schema {provider.name!r}: unknown {', '.join(unknown)}; "
            f"allowed are {', '.join(known)}"
        )
    for one in known.values():
        there = one.name in config if one.nullable else config.get(one.name) is not None
        if one.default is REQUIRED and not there:
            raise ArgumentValueError(
                f"Config validation failed for schema {provider.name!r}: {one.name} is missing"
            )
    _check_types(provider, config)


def snake_case(config: Mapping[str, Any]) -> dict[str, Any]:
    """Keys as JavaScript writes them, `apiKeyEnvVar`, are `api_key_env_var`."""
    return {re.sub("(?<=[a-z0-9])([A-Z])", r"_\1", key).lower(): config[key] for key in config}


def _check_types(provider: Provider, values: Mapping[str, Any]) -> None:
    for one in provider.all_parameters:
        value = values.get(one.name)
        if value is None:
            continue
        wrong = isinstance(value, bool) and one.kind != "boolean"
        if wrong or not isinstance(value, _JSON_TYPES[one.kind]):  # type: ignore[arg-type]
            raise ArgumentTypeError(
                f"Expected {one.name} of {provider.class_name} to be of type {one.kind}, "
                f"got {value!r}"
            )


def _plain(value: Any) -> Any:
    """A value without the enumerations that it may be told in."""
    if isinstance(value, dict):
        return {_plain(key): _plain(cell) for key, cell in value.items()}
    return value.value if isinstance(value, Enum) else value


def _signature(provider: Provider) -> inspect.Signature:
    return inspect.Signature(
        [
            inspect.Parameter(
                one.name,
                inspect.Parameter.KEYWORD_ONLY
                if one.keyword_only
                else inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=one.default,
            )
            for one in provider.all_parameters
        ]
    )


def _default(provider: Provider, name: str) -> Any:
    return next((one.default for one in provider.parameters if one.name == name), None)
