"""A collection's configuration: what may be set, its ranges and defaults, JSON both ways.

PARAMETERS has one row per number that steers the index. The names are Chroma's; the last column
says what each steers here.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from typing import Any, NamedTuple

from vermilion.errors import ArgumentValueError, InvalidArgumentError
from vermilion.lifetimes import Ttl, duration_text, history_of, ttl_of
from vermilion.types import Space

SPACES: tuple[Space, ...] = ("l2", "cosine", "ip")


class Parameter(NamedTuple):
    """One number of the configuration: its range, its old name, and what it steers."""

    kind: type[int] | type[float]
    low: float
    high: float
    legacy: str
    mutable: bool
    returned: bool
    says: str


def _row(
    kind: type[int] | type[float],
    low: float,
    high: float,
    legacy: str,
    *,
    mutable: bool,
    returned: bool,
    says: str,
) -> Parameter:
    return Parameter(kind, low, high, legacy, mutable, returned, says)


PARAMETERS: dict[str, Parameter] = {
    "ef_construction": _row(
        int, 1, 10_000, "hnsw:construction_ef", mutable=False, returned=True,
        says="how widely the graph of a large segment is built",
    ),
    "ef_search": _row(
        int, 1, 10_000, "hnsw:search_ef", mutable=True, returned=True,
        says="the least number of candidates in large collections, unless it is the default",
    ),
    "max_neighbors": _row(
        int, 2, 2_048, "hnsw:M", mutable=True, returned=True,
        says="neighbours of a node in the graph of a large segment; a change builds it anew",
    ),
    "num_threads": _row(
        int, 0, 1_024, "hnsw:num_threads", mutable=True, returned=False,
        says="threads of the process that builds graphs; 0 and none: as many as processors",
    ),
    "batch_size": _row(
        int, 0, 10**9, "hnsw:batch_size", mutable=True, returned=False,
        says="kept for Chroma's clients; the write path has no such buffer",
    ),
    "sync_threshold": _row(
        int, 0, 10**9, "hnsw:sync_threshold", mutable=True, returned=True,
        says="kept for Chroma's clients; every write is durable when it returns",
    ),
    "resize_factor": _row(
        float, 0.0, 1_000.0, "hnsw:resize_factor", mutable=True, returned=True,
        says="kept for Chroma's clients; nothing has to be resized",
    ),
}  # fmt: skip

LEGACY_SPACE = "hnsw:space"

# What a hosted deployment understands besides; checked, and only `space` has a meaning here.
SPANN_RANGES: dict[str, tuple[int, int]] = {
    "search_nprobe": (1, 128),
    "write_nprobe": (1, 32),
    "ef_construction": (1, 200),
    "ef_search": (1, 200),
    "max_neighbors": (1, 64),
    "reassign_neighbor_count": (1, 64),
    "split_threshold": (25, 200),
    "merge_threshold": (12, 100),
}


@cache
def _processors() -> int:
    return os.cpu_count() or 1


@dataclass(frozen=True)
class Hnsw:
    """The vector index of a collection: its distance, and the numbers of PARAMETERS."""

    space: Space = "l2"
    ef_construction: int = 100
    ef_search: int = 100
    max_neighbors: int = 16
    num_threads: int | None = None  # None: as many as there are processors
    batch_size: int = 100
    sync_threshold: int = 1000
    resize_factor: float = 1.2

    @property
    def threads(self) -> int:
        """How many threads may be used."""
        return self.num_threads or _processors()


@dataclass(frozen=True)
class Configuration:
    """What a collection was created with.

    `embedding_function` is its stored form: None, {"type": "legacy"} or
    {"type": "known", "name": …, "config": …}. `history` is for how many seconds the past is kept,
    `ttl` when records expire.
    """

    hnsw: Hnsw = Hnsw()
    embedding_function: dict[str, Any] | None = None
    history: float | None = None
    ttl: Ttl | None = None

    def to_json(self) -> dict[str, Any]:
        """The form that users and clients see."""
        shown = [name for name, row in PARAMETERS.items() if row.returned]
        hnsw = {name: getattr(self.hnsw, name) for name in ("space", *shown)}
        form = {"hnsw": hnsw, "spann": None, "embedding_function": self.embedding_function}
        return form | self.lifetimes_json()

    def lifetimes_json(self) -> dict[str, Any]:
        """What there is of "history" and "ttl", which Chroma does not have."""
        kept = {} if self.history is None else {"history": duration_text(self.history)}
        return kept | ({} if self.ttl is None else {"ttl": self.ttl.to_json()})

    def to_stored(self) -> dict[str, Any]:
        """The complete form that the catalogue keeps."""
        return asdict(self)

    @classmethod
    def from_stored(cls, stored: Mapping[str, Any]) -> Configuration:
        """The configuration that `to_stored` wrote; keys of later releases are left aside."""
        known = {field.name for field in fields(Hnsw)}
        hnsw = {name: value for name, value in stored["hnsw"].items() if name in known}
        ttl = stored.get("ttl")
        return cls(
            Hnsw(**hnsw),
            stored["embedding_function"],
            stored.get("history"),
            None if ttl is None else Ttl(**ttl),
        )


class Changes(NamedTuple):
    """What `modify` asks of a configuration; None and absent keys stay as they are.

    `lifetimes` holds what is said of "history" and "ttl", where None ends them.
    """

    hnsw: dict[str, Any]
    embedding_function: dict[str, Any] | None = None
    lifetimes: Mapping[str, Any] = {}

    def apply(self, configuration: Configuration) -> Configuration:
        """The configuration after these changes."""
        return replace(
            configuration,
            hnsw=replace(configuration.hnsw, **self.hnsw),
            embedding_function=self.embedding_function or configuration.embedding_function,
            **self.lifetimes,
        )


# ── creating ─────────────────────────────────────────────────────────────────────────────────────


def for_new_collection(
    configuration: Mapping[str, Any] | None,
    metadata: Mapping[str, Any] | None,
    embedding_function: dict[str, Any] | None = None,
    default_space: Space | None = None,
) -> Configuration:
    """The configuration of a new collection.

    An explicit key of `configuration["hnsw"]` wins, then an old "hnsw:…" key of the metadata, then
    the embedding function's own space, then the default. Raises InvalidArgumentError (a
    ValueError, too) for unknown keys, wrong types and numbers out of range.
    """
    given = _vector_index(configuration)
    settings: dict[str, Any] = {} if default_space is None else {"space": default_space}
    settings |= _legacy(metadata or {})
    settings |= given
    return Configuration(Hnsw(**settings), embedding_function, **_lifetimes(configuration or {}))


def _lifetimes(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """What a configuration says of "history" and "ttl"."""
    read: dict[str, Callable[[Mapping[str, Any]], Any]] = {"history": history_of, "ttl": ttl_of}
    return {name: of(configuration) for name, of in read.items() if name in configuration}


def _vector_index(configuration: Mapping[str, Any] | None) -> dict[str, Any]:
    if configuration is None:
        return {}
    if not isinstance(configuration, Mapping):
        raise ArgumentValueError(f"Expected configuration to be a dict, got {configuration!r}")
    hnsw, spann = configuration.get("hnsw"), configuration.get("spann")
    if hnsw is not None and spann is not None:
        raise ArgumentValueError(
            "hnsw and spann cannot both be provided: Multiple vector index configurations"
        )
    if spann is not None:
        return _from_spann(_mapping("spann", spann))
    return _checked_hnsw({} if hnsw is None else _mapping("hnsw", hnsw), ("space", *PARAMETERS))


def _mapping(name: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ArgumentValueError(f"configuration.{name}: invalid type, expected a dict: {value!r}")
    return value


def _from_spann(spann: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in spann.items():
        if name == "space":
            continue
        if name not in SPANN_RANGES:
            raise _unknown_field("spann", name, ("space", *SPANN_RANGES))
        if value is not None:
            _check_number(f"configuration.spann.{name}", value, int, *SPANN_RANGES[name])
    unused = [name for name in spann if name != "space" and spann[name] is not None]
    if unused:
        warnings.warn(
            f"configuration.spann: {', '.join(unused)} have no meaning in this engine; "
            "only space is used",
            UserWarning,
            stacklevel=2,
        )
    space = spann.get("space")
    return {} if space is None else {"space": check_space("configuration.spann.space", space)}


def _legacy(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The old "hnsw:…" keys of collection metadata as configuration keys."""
    names = {row.legacy: name for name, row in PARAMETERS.items()} | {LEGACY_SPACE: "space"}
    given = {key: value for key, value in metadata.items() if key.startswith("hnsw:")}
    unknown = given.keys() - names.keys()
    try:
        if unknown:
            raise _unknown_field("metadata", min(unknown), tuple(names))
        return _checked_hnsw({names[key]: value for key, value in given.items()}, names.values())
    except InvalidArgumentError as error:
        raise ArgumentValueError(
            f"Failed to parse hnsw parameters from segment metadata: {error}"
        ) from None


def for_copy(
    original: Configuration,
    configuration: Mapping[str, Any] | None,
    embedding_function: dict[str, Any] | None,
) -> Configuration:
    """The configuration of a collection's copy: the original's but for what is given."""
    return replace(
        original,
        hnsw=replace(original.hnsw, **_vector_index(configuration)),
        embedding_function=embedding_function or original.embedding_function,
        **_lifetimes(configuration or {}),
    )


def without_legacy(metadata: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Collection metadata without the old keys that configured it."""
    kept = {key: value for key, value in (metadata or {}).items() if not key.startswith("hnsw:")}
    return kept or None


# ── modifying ────────────────────────────────────────────────────────────────────────────────────


def for_change(
    configuration: Mapping[str, Any], embedding_function: dict[str, Any] | None = None
) -> Changes:
    """The changes that a `modify(configuration=…)` asks for, checked before anything is stored."""
    hnsw, spann = configuration.get("hnsw"), configuration.get("spann")
    if hnsw is not None and spann is not None:
        raise ArgumentValueError("Multiple vector index configurations provided: hnsw and spann")
    if spann is not None:
        raise ArgumentValueError(
            "Cannot change spann parameters: the collection's schema has HNSW, not SPANN"
        )
    mutable = tuple(name for name, row in PARAMETERS.items() if row.mutable)
    return Changes(
        _checked_hnsw(_mapping("hnsw", hnsw or {}), mutable),
        embedding_function,
        _lifetimes(configuration),
    )


# ── checking ─────────────────────────────────────────────────────────────────────────────────────


def check_space(where: str, value: object) -> Space:
    """A distance that exists, or InvalidArgumentError."""
    if not isinstance(value, str) or value not in SPACES:
        raise ArgumentValueError(
            f"{where}: invalid value: unknown variant {value!r}, expected one of "
            f"{', '.join(SPACES)}"
        )
    return value


def _checked_hnsw(given: Mapping[str, Any], allowed: Any) -> dict[str, Any]:
    allowed = tuple(allowed)
    out: dict[str, Any] = {}
    for name, value in given.items():
        if name not in allowed:
            raise _unknown_field("hnsw", name, allowed)
        if value is None:
            continue
        where = f"configuration.hnsw.{name}"
        if name == "space":
            out[name] = check_space(where, value)
        else:
            row = PARAMETERS[name]
            out[name] = _check_number(where, value, row.kind, row.low, row.high)
    return out


def _check_number(
    where: str, value: object, kind: type[int] | type[float], low: float, high: float
) -> int | float:
    wanted = (int, float) if kind is float else (int,)
    noun = "a number" if kind is float else "an integer"
    if isinstance(value, bool) or not isinstance(value, wanted):
        raise ArgumentValueError(
            f"{where}: invalid value: invalid type {type(value).__name__} ({value!r}), expected "
            f"{noun} from {low} to {high}"
        )
    if not math.isfinite(value) or not low <= value <= high:
        raise ArgumentValueError(
            f"{where}: invalid value: {value}, expected {noun} from {low} to {high}"
        )
    return kind(value)


def _unknown_field(where: str, name: object, allowed: tuple[str, ...]) -> InvalidArgumentError:
    return ArgumentValueError(
        f"configuration.{where}: unknown field `{name}`, expected one of {', '.join(allowed)}"
    )
