"""The configuration of a collection on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from vermilion.configuration import (
    PARAMETERS,
    SPACES,
    SPANN_RANGES,
    Changes,
    Configuration,
    Hnsw,
    for_change,
    for_new_collection,
)
from vermilion.errors import InvalidArgumentError
from vermilion.lifetimes import duration_text
from vermilion.wire.fields import (
    NUMBER,
    OBJECT,
    TEXT,
    Field,
    Form,
    Kind,
    mismatch,
    object_of,
    one_of,
    unknown,
)


def _integer(value: Any, at: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, int):
        raise mismatch(at, value, "an integer")
    return value


INTEGER = Kind(_integer, {"type": "integer"})

_NUMBERS = tuple(
    Field(name, INTEGER if row.kind is int else NUMBER, f"From {row.low:g} to {row.high:g}.")
    for name, row in PARAMETERS.items()
)
_SPACE = Field("space", one_of(SPACES), "How vectors are compared.")
_HNSW = object_of((_SPACE, *_NUMBERS), closed=True)
_SPANN = object_of(
    (_SPACE, *(Field(name, INTEGER, "Chroma Cloud's.") for name in SPANN_RANGES)), closed=True
)
_MUTABLE = object_of(tuple(one for one in _NUMBERS if PARAMETERS[one.name].mutable), closed=True)
_FUNCTION_TYPES = ("legacy", "known", "unknown")


def _embedding_function(value: Any, at: str) -> Any:
    if not isinstance(value, dict):
        raise mismatch(at, value, "a map")
    if value.get("type") not in _FUNCTION_TYPES:
        raise unknown(f"{at}.type", value.get("type"), _FUNCTION_TYPES)
    if value["type"] != "known":
        return {"type": value["type"]}
    for name, kind in (("name", TEXT), ("config", OBJECT)):
        kind.check(value.get(name), f"{at}.{name}")
    _refuse_code(value["config"])
    return value


def _refuse_code(config: Form) -> None:
    """A stored configuration must not make the next client run code from a model's files."""
    for form in (config, config.get("kwargs"), config.get("model_kwargs")):
        if isinstance(form, dict) and form.get("trust_remote_code"):
            raise InvalidArgumentError(
                "embedding_function: trust_remote_code cannot be stored: it would make every "
                "client that opens the collection run code that comes with a model"
            )


EMBEDDING_FUNCTION = Kind(
    _embedding_function,
    {
        "type": "object",
        "properties": {
            "type": {"type": "string", "enum": [*_FUNCTION_TYPES]},
            "name": {"type": "string"},
            "config": {"type": "object"},
        },
        "required": ["type"],
    },
)


LIFETIMES = (
    Field("history", TEXT, 'For how long the past is kept, such as "7d".', ours=True),
    Field("ttl", OBJECT, "`field` and `default`: when records expire.", ours=True),
)


def _configuration(hnsw: Kind) -> Kind:
    return object_of(
        (
            Field("hnsw", hnsw, "The vector index."),
            Field("spann", _SPANN, "Chroma Cloud's index; only `space` is used."),
            Field("embedding_function", EMBEDDING_FUNCTION, "Kept for clients, who embed."),
            *LIFETIMES,
        )
    )


CONFIGURATION = _configuration(_HNSW)
CHANGES = _configuration(_MUTABLE)


def write_configuration(configuration: Configuration) -> Form:
    """A configuration as clients send it: numbers that are not set stay out."""
    given = {one.name: getattr(configuration.hnsw, one.name) for one in fields(Hnsw)}
    return {
        "hnsw": {name: value for name, value in given.items() if value is not None},
        "spann": None,
        "embedding_function": configuration.embedding_function,
        **configuration.lifetimes_json(),
    }


def read_configuration(given: Form | None, metadata: Form | None) -> Configuration:
    """The configuration of a new collection.

    Clients send the default index also when nobody asked for it: one that equals the default
    counts as not given, so that the old keys of the metadata have their say.
    """
    form = _given(given or {})
    return for_new_collection(form, metadata, form.get("embedding_function"))


def _given(form: Form) -> Form:
    hnsw, spann = form.get("hnsw"), form.get("spann")
    if hnsw is not None and spann is not None:
        raise InvalidArgumentError("Multiple vector index configurations provided")
    if spann is not None:
        hnsw = {"space": spann.get("space")}
    given = {name: value for name, value in (hnsw or {}).items() if value is not None}
    usual = vars(Hnsw())
    out: Form = {"embedding_function": form.get("embedding_function"), **_lifetimes(form)}
    if any(value != usual[name] for name, value in given.items()):
        out["hnsw"] = given
    return out


def _lifetimes(form: Form) -> Form:
    return {field.name: form[field.name] for field in LIFETIMES if field.name in form}


def write_lifetimes(lifetimes: Mapping[str, Any]) -> Form:
    """Changes of "history" and "ttl" as clients send them."""
    history, ttl = lifetimes.get("history"), lifetimes.get("ttl")
    forms = {"history": duration_text(history), "ttl": None if ttl is None else ttl.to_json()}
    return {name: form for name, form in forms.items() if name in lifetimes}


def read_changes(form: Form | None) -> Changes | None:
    """The changes that a body asks for."""
    if form is None:
        return None
    if form.get("hnsw") is not None and form.get("spann") is not None:
        raise InvalidArgumentError("Multiple vector index configurations provided")
    # A spann configuration has nothing to change here, and is accepted as Chroma's server does.
    asked = {"hnsw": form.get("hnsw"), **_lifetimes(form)}
    return for_change(asked, form.get("embedding_function"))
