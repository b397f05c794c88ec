"""The settings of one index: what may be set, and what it means to leave it out.

An embedding function in here is whatever has `name()` and `get_config()`, or the JSON form of one:
building it needs code, and this module only knows words.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, ClassVar, Self, TypeVar, get_args

from vermilion.errors import ArgumentValueError
from vermilion.query.keys import Form, Key, require_dict
from vermilion.types import Space

# The embedding function of who names none, as it is written; None means that there is none.
DEFAULT_FUNCTION: Form = {"type": "known", "name": "default", "config": {}}

EmbeddingFunction = Any
# Turns the JSON form of an embedding function into one.
Build = Callable[[Form], EmbeddingFunction]


class _Config:
    """What the configs share: they are made by name, and a wrong name is a ValueError."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def __new__(cls, **settings: object) -> Self:
        # A dataclass alone would answer with a TypeError that does not say what is allowed.
        refuse_fields(settings, cls.__name__, [*cls.__dataclass_fields__])
        return super().__new__(cls)


@dataclass(frozen=True, kw_only=True)
class HnswIndexConfig(_Config):
    """Settings of an HNSW graph; None leaves one to the engine."""

    ef_construction: int | None = None
    max_neighbors: int | None = None
    ef_search: int | None = None
    num_threads: int | None = None
    batch_size: int | None = None
    sync_threshold: int | None = None
    resize_factor: float | None = None

    def __post_init__(self) -> None:
        _check_numbers(self)


def _ignored() -> Any:
    """A setting that Chroma accepts and forgets: it is neither compared nor written."""
    return field(default=None, repr=False, compare=False)


@dataclass(frozen=True, kw_only=True)
class SpannIndexConfig(_Config):
    """Settings of Chroma Cloud's SPANN index, kept so that schemas survive the round trip."""

    search_nprobe: int | None = None
    write_nprobe: int | None = None
    ef_construction: int | None = None
    ef_search: int | None = None
    max_neighbors: int | None = None
    reassign_neighbor_count: int | None = None
    split_threshold: int | None = None
    merge_threshold: int | None = None
    search_rng_factor: object = _ignored()
    search_rng_epsilon: object = _ignored()
    nreplica_count: object = _ignored()
    write_rng_factor: object = _ignored()
    write_rng_epsilon: object = _ignored()
    num_samples_kmeans: object = _ignored()
    initial_lambda: object = _ignored()
    num_centers_to_merge_to: object = _ignored()
    quantize: object = _ignored()
    center_drift_threshold: object = _ignored()

    def __post_init__(self) -> None:
        _check_numbers(self)


@dataclass(frozen=True, init=False)
class VectorIndexConfig(_Config):
    """How vectors are made from `source_key`, compared, and indexed.

    Without a `space` the embedding function's own is used. `embedding_function=None` means that
    the collection is only ever given vectors.
    """

    space: Space | None
    embedding_function: EmbeddingFunction
    source_key: str | None
    hnsw: HnswIndexConfig | None
    spann: SpannIndexConfig | None

    def __init__(
        self,
        *,
        space: Space | None = None,
        embedding_function: EmbeddingFunction = DEFAULT_FUNCTION,
        source_key: Key | str | None = None,
        hnsw: HnswIndexConfig | Form | None = None,
        spann: SpannIndexConfig | Form | None = None,
    ) -> None:
        if space is not None and space not in get_args(Space):
            raise ArgumentValueError(f"space must be one of {[*get_args(Space)]}, got {space!r}")
        object.__setattr__(self, "space", space)
        _check_function(embedding_function)
        object.__setattr__(self, "embedding_function", embedding_function)
        object.__setattr__(self, "source_key", _source_key(source_key))
        object.__setattr__(self, "hnsw", _settings(hnsw, HnswIndexConfig))
        object.__setattr__(self, "spann", _settings(spann, SpannIndexConfig))


@dataclass(frozen=True, init=False)
class SparseVectorIndexConfig(_Config):
    """How sparse vectors are made from `source_key`, and whether rare terms weigh more (`bm25`)."""

    embedding_function: EmbeddingFunction
    source_key: str | None
    bm25: bool | None
    algorithm: object = _ignored()

    def __init__(
        self,
        *,
        embedding_function: EmbeddingFunction = None,
        source_key: Key | str | None = None,
        bm25: bool | None = None,
        algorithm: object = None,
    ) -> None:
        if not isinstance(bm25, bool | None):
            raise ArgumentValueError(f"bm25 must be a bool or None, got {bm25!r}")
        _check_function(embedding_function)
        object.__setattr__(self, "embedding_function", embedding_function)
        object.__setattr__(self, "source_key", _source_key(source_key))
        object.__setattr__(self, "bm25", bm25)
        object.__setattr__(self, "algorithm", algorithm)


@dataclass(frozen=True, kw_only=True)
class FtsIndexConfig(_Config):
    """The full-text index has no settings."""

    algorithm: object = _ignored()


@dataclass(frozen=True, kw_only=True)
class StringInvertedIndexConfig(_Config):
    """The index of strings has no settings."""


@dataclass(frozen=True, kw_only=True)
class IntInvertedIndexConfig(_Config):
    """The index of whole numbers has no settings."""


@dataclass(frozen=True, kw_only=True)
class FloatInvertedIndexConfig(_Config):
    """The index of numbers with a fraction has no settings."""


@dataclass(frozen=True, kw_only=True)
class BoolInvertedIndexConfig(_Config):
    """The index of booleans has no settings."""


IndexConfig = (
    FtsIndexConfig
    | VectorIndexConfig
    | SparseVectorIndexConfig
    | StringInvertedIndexConfig
    | IntInvertedIndexConfig
    | FloatInvertedIndexConfig
    | BoolInvertedIndexConfig
)


def refuse_fields(form: Iterable[str], noun: str, allowed: list[str]) -> None:
    """Raises ValueError when there is a field that nobody would read."""
    for name in form:
        if name not in allowed:
            raise ArgumentValueError(
                f"'{name}' is not a valid field for {noun}; allowed are {allowed}"
            )


def _check_numbers(config: HnswIndexConfig | SpannIndexConfig) -> None:
    for setting in fields(config):
        value = getattr(config, setting.name)
        if value is None or not setting.compare:
            continue
        whole = setting.name != "resize_factor"
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            raise ArgumentValueError(
                f"{setting.name} must be a {'whole ' if whole else ''}number, got {value!r}"
            )
        if value < 0:
            raise ArgumentValueError(f"{setting.name} must not be negative, got {value!r}")


def _check_function(function: EmbeddingFunction) -> None:
    if function is not None and not callable(function) and not isinstance(function, Mapping):
        raise ArgumentValueError(f"embedding_function must be callable or None, got {function!r}")


def _source_key(key: object) -> str | None:
    name = key.name if isinstance(key, Key) else key
    if not isinstance(name, str | None):
        raise ArgumentValueError(f"source_key must be str or Key, got {type(key).__name__}")
    if name is not None and name.startswith("#") and name != Key.DOCUMENT.name:
        raise ArgumentValueError(
            "source_key cannot begin with '#'. The only valid key starting with '#' is "
            f"Key.DOCUMENT or '{Key.DOCUMENT.name}', got {name!r}"
        )
    return name


_Numbers = TypeVar("_Numbers", HnswIndexConfig, SpannIndexConfig)


def _settings(value: object, kind: type[_Numbers]) -> _Numbers | None:
    """The nested settings, which may be given as a dict."""
    if value is None or isinstance(value, kind):
        return value
    if isinstance(value, dict):
        return kind(**value)
    raise ArgumentValueError(f"Expected a {kind.__name__}, a dict or None, got {value!r}")


# ── JSON ─────────────────────────────────────────────────────────────────────────────────────────


def keep(function: Form) -> EmbeddingFunction:
    """Returns the form of an embedding function as it is, to be built by somebody else."""
    return function


def write_config(config: Any) -> Form:
    """Returns the settings that are not None, and the embedding function if there can be one."""
    form: Form = {}
    for setting in fields(config):
        value = getattr(config, setting.name)
        if value is not None and setting.compare:
            form[setting.name] = write_config(value) if is_dataclass(value) else value
    if isinstance(config, SparseVectorIndexConfig):
        form["embedding_function"] = _write_function(config.embedding_function, "unknown")
    if isinstance(config, VectorIndexConfig):
        form["embedding_function"] = _write_function(config.embedding_function, "legacy")
        if space := _space(config):
            form["space"] = space
    return form


def read_config(kind: type[Any], form: object, build: Build) -> Any:
    """Returns the config of this kind that `write_config` wrote."""
    settings = dict(require_dict(form, kind.__name__))
    if "embedding_function" in settings:
        settings["embedding_function"] = _read_function(settings["embedding_function"], build)
    return kind(**settings)


def _write_function(function: EmbeddingFunction, otherwise: str) -> Form:
    """{"type": "known", ...}, or the type that stands for a function nobody can build again."""
    if isinstance(function, Mapping):
        return deepcopy(dict(function))
    identity = _identity(function)
    if identity is None:
        return {"type": otherwise}
    name, config = identity
    return {"type": "known", "name": name, "config": config}


def _read_function(form: object, build: Build) -> EmbeddingFunction:
    if form is None:
        return None
    function = require_dict(form, "embedding_function")
    if function.get("type") in ("legacy", "unknown"):
        return None
    if function.get("type") != "known" or not isinstance(function.get("name"), str):
        raise ArgumentValueError(
            'Expected embedding_function to be {"type": "known", "name": ..., "config": ...}, '
            f'{{"type": "legacy"}} or {{"type": "unknown"}}, got {function}'
        )
    return build(function)


def _identity(function: EmbeddingFunction) -> tuple[str, Form] | None:
    """The name and config that a function can be built from again, unless it is a legacy one."""
    name, config = (getattr(function, method, None) for method in ("name", "get_config"))
    if not callable(name) or not callable(config):
        return None
    try:
        identity = name(), config()
    except NotImplementedError:
        return None
    # Chroma's protocol returns NotImplemented where a function did not say.
    return None if NotImplemented in identity else identity


def _space(config: VectorIndexConfig) -> str | None:
    """The space that was set, or else the embedding function's own."""
    function = config.embedding_function
    if function == DEFAULT_FUNCTION:
        return config.space or "l2"
    if isinstance(function, Mapping) or (identity := _identity(function)) is None:
        return config.space
    supported = getattr(function, "supported_spaces", lambda: None)()
    if config.space and supported and config.space not in supported:
        warnings.warn(
            f"space {config.space} is not supported by {identity[0]}. "
            f"Supported spaces: {supported}",
            stacklevel=2,
        )
    own: str | None = getattr(function, "default_space", lambda: None)()
    return config.space or own
