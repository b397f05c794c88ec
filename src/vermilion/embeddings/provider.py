"""One row of the table of providers: everything there is to know of one of them.

Its names, its constructor's parameters, where it is, how it wants to be asked and how it answers.
Constructor, stored configuration, checks, JSON Schema and documentation all come from the row.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from vermilion.embeddings.shapes import Asks, Items, Reads, Values
from vermilion.errors import ArgumentTypeError, ArgumentValueError
from vermilion.types import Space

REQUIRED = inspect.Parameter.empty
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
    hosts: tuple[str, ...] = ()  # ends of the names of other hosts that are the provider's own
    variables: tuple[str, ...] = ()  # other environment variables that name the base URL
    leaves_out: tuple[str, ...] = ()  # what other clients store and has no meaning here
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
        usual = given is None or given == default_of(self, self.override or "base_url")
        told = os.environ.get(self.variable) if usual else None
        place: str = told or given or self.base.format_map(values)
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


# ── values ───────────────────────────────────────────────────────────────────────────────────────


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
    check_types(provider, config)


def snake_case(config: Mapping[str, Any]) -> dict[str, Any]:
    """Keys as JavaScript writes them, `apiKeyEnvVar`, are `api_key_env_var`."""
    return {re.sub("(?<=[a-z0-9])([A-Z])", r"_\1", key).lower(): config[key] for key in config}


def check_types(provider: Provider, values: Mapping[str, Any]) -> None:
    """Raises TypeError for a value that is not of its parameter's type."""
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


def plain(value: Any) -> Any:
    """A value without the enumerations that it may be told in."""
    if isinstance(value, dict):
        return {plain(key): plain(cell) for key, cell in value.items()}
    return value.value if isinstance(value, Enum) else value


def signature(provider: Provider) -> inspect.Signature:
    """The constructor's parameters as Python shows them."""
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


def default_of(provider: Provider, name: str) -> Any:
    """The default of a parameter."""
    return next((one.default for one in provider.parameters if one.name == name), None)
