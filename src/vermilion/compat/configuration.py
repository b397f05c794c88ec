"""`chromadb.api.collection_configuration`: configurations as typed dicts, and as JSON.

Nothing inside uses this module. What may be set is checked where it is known: in `configuration`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, TypedDict, cast

from vermilion.configuration import PARAMETERS, for_change, for_new_collection
from vermilion.embeddings.base import (
    LEGACY,
    EmbeddingFunction,
    check_change,
    check_same,
    stored_form,
)
from vermilion.embeddings.default import DefaultEmbeddingFunction
from vermilion.embeddings.lookup import config_to_embedding_function
from vermilion.errors import ArgumentValueError
from vermilion.types import Space

# ── the forms ────────────────────────────────────────────────────────────────────────────────────


class HNSWConfiguration(TypedDict, total=False):
    """The vector index of a collection."""

    space: Space
    ef_construction: int
    max_neighbors: int
    ef_search: int
    num_threads: int
    batch_size: int
    sync_threshold: int
    resize_factor: float


class CreateHNSWConfiguration(HNSWConfiguration, total=False):
    """What may be set of the vector index of a new collection."""


class UpdateHNSWConfiguration(TypedDict, total=False):
    """What may be changed of a vector index."""

    ef_search: int
    max_neighbors: int
    num_threads: int
    batch_size: int
    sync_threshold: int
    resize_factor: float


class SpannConfiguration(TypedDict, total=False):
    """The vector index of a collection in a hosted deployment."""

    search_nprobe: int
    write_nprobe: int
    space: Space
    ef_construction: int
    ef_search: int
    max_neighbors: int
    reassign_neighbor_count: int
    split_threshold: int
    merge_threshold: int


class CreateSpannConfiguration(SpannConfiguration, total=False):
    """What may be set of it for a new collection."""


class UpdateSpannConfiguration(TypedDict, total=False):
    """What may be changed of it."""

    search_nprobe: int
    ef_search: int


class CollectionConfiguration(TypedDict, total=True):
    """What `Collection.configuration` returns."""

    hnsw: HNSWConfiguration | None
    spann: SpannConfiguration | None
    embedding_function: EmbeddingFunction[Any] | None


class CreateCollectionConfiguration(TypedDict, total=False):
    """What `Client.create_collection` takes."""

    hnsw: CreateHNSWConfiguration | None
    spann: CreateSpannConfiguration | None
    embedding_function: EmbeddingFunction[Any] | None


class UpdateCollectionConfiguration(TypedDict, total=False):
    """What `Collection.modify` takes."""

    hnsw: UpdateHNSWConfiguration | None
    spann: UpdateSpannConfiguration | None
    embedding_function: EmbeddingFunction[Any] | None


# ── of a collection ──────────────────────────────────────────────────────────────────────────────


def load_collection_configuration_from_json(
    config_json_map: dict[str, Any],
) -> CollectionConfiguration:
    """Returns the configuration with its embedding function as an object. Raises ValueError."""
    given = load_create_collection_configuration_from_json(config_json_map)
    return {"hnsw": None, "spann": None, "embedding_function": None} | given  # type: ignore[return-value]  # merged


def load_collection_configuration_from_json_str(config_json_str: str) -> CollectionConfiguration:
    """As load_collection_configuration_from_json, of JSON text."""
    return load_collection_configuration_from_json(json.loads(config_json_str))


def collection_configuration_to_json(config: CollectionConfiguration) -> dict[str, Any]:
    """Returns the configuration as plain values, as in `Collection.configuration_json`."""
    return _plain(config, without_function=LEGACY)


def collection_configuration_to_json_str(config: CollectionConfiguration) -> str:
    """As collection_configuration_to_json, as JSON text."""
    return json.dumps(collection_configuration_to_json(config))


# ── of a new collection ──────────────────────────────────────────────────────────────────────────


def load_create_collection_configuration_from_json(
    json_map: dict[str, Any],
) -> CreateCollectionConfiguration:
    """Returns what of the configuration is there. Raises ValueError."""
    for_new_collection(json_map, None)
    return cast(CreateCollectionConfiguration, _with_function(json_map))


def create_collection_configuration_to_json(
    config: CreateCollectionConfiguration, metadata: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Returns the configuration as plain values. Raises ValueError for what cannot be set."""
    for_new_collection(config, metadata)
    return _plain(config, without_function=LEGACY)


def create_collection_configuration_to_json_str(
    config: CreateCollectionConfiguration, metadata: dict[str, Any] | None = None
) -> str:
    """As create_collection_configuration_to_json, as JSON text."""
    return json.dumps(create_collection_configuration_to_json(config, metadata))


def create_collection_configuration_from_legacy_collection_metadata(
    metadata: dict[str, Any],
) -> CreateCollectionConfiguration:
    """Returns the configuration that the old "hnsw:…" keys of collection metadata stand for."""
    hnsw = for_new_collection(None, metadata).hnsw
    complete = asdict(replace(hnsw, num_threads=hnsw.threads))
    return {"hnsw": cast(CreateHNSWConfiguration, complete)}


# Chroma has two names for each of these.
create_collection_configuration_from_legacy_metadata_dict = (
    create_collection_configuration_from_legacy_collection_metadata
)


# ── of a change ──────────────────────────────────────────────────────────────────────────────────


def load_update_collection_configuration_from_json(
    json_map: dict[str, Any],
) -> UpdateCollectionConfiguration:
    """Returns what of the change is there. Raises ValueError."""
    for_change(json_map)
    return cast(UpdateCollectionConfiguration, _with_function(json_map))


def load_update_collection_configuration_from_json_str(
    json_str: str,
) -> UpdateCollectionConfiguration:
    """As load_update_collection_configuration_from_json, of JSON text."""
    return load_update_collection_configuration_from_json(json.loads(json_str))


def update_collection_configuration_to_json(
    config: UpdateCollectionConfiguration,
) -> dict[str, Any]:
    """Returns the change as plain values, {} for none. Raises ValueError for what stays."""
    for_change(config)
    return _plain(config, without_function=None) if config else {}


def update_collection_configuration_to_json_str(config: UpdateCollectionConfiguration) -> str:
    """As update_collection_configuration_to_json, as JSON text."""
    return json.dumps(update_collection_configuration_to_json(config))


def update_collection_configuration_from_legacy_collection_metadata(
    metadata: dict[str, Any],
) -> UpdateCollectionConfiguration:
    """Returns the change that the old "hnsw:…" keys of collection metadata ask for."""
    names = {row.legacy: name for name, row in PARAMETERS.items() if row.mutable}
    changes = {names[key]: value for key, value in metadata.items() if key in names}
    return {"hnsw": cast(UpdateHNSWConfiguration, for_change({"hnsw": changes}).hnsw)}


update_collection_configuration_from_legacy_update_metadata = (
    update_collection_configuration_from_legacy_collection_metadata
)


def overwrite_collection_configuration(
    existing_config: CollectionConfiguration, update_config: UpdateCollectionConfiguration
) -> CollectionConfiguration:
    """Returns the configuration after the change. Raises ValueError for what stays."""
    for_change(update_config)
    hnsw, changes = existing_config.get("hnsw"), update_config.get("hnsw")
    old, new = existing_config.get("embedding_function"), update_config.get("embedding_function")
    return {
        "hnsw": overwrite_hnsw_configuration(hnsw or {}, changes) if changes else hnsw,
        "spann": existing_config.get("spann"),
        "embedding_function": old if new is None else overwrite_embedding_function(old, new),
    }


def overwrite_hnsw_configuration(
    existing_hnsw_config: HNSWConfiguration, update_hnsw_config: UpdateHNSWConfiguration
) -> HNSWConfiguration:
    """Returns the index's configuration after the change. Raises ValueError for what stays."""
    changes = for_change({"hnsw": update_hnsw_config}).hnsw
    return cast(HNSWConfiguration, {**existing_hnsw_config, **changes})


def overwrite_embedding_function(
    existing_embedding_function: EmbeddingFunction[Any] | None,
    update_embedding_function: EmbeddingFunction[Any],
) -> EmbeddingFunction[Any]:
    """Returns the new function. Raises ValueError when it may not follow the old one."""
    check_change(existing_embedding_function, update_embedding_function)
    return update_embedding_function


# ── embedding functions ──────────────────────────────────────────────────────────────────────────


def validate_embedding_function_conflict_on_create(
    embedding_function: EmbeddingFunction[Any] | None,
    configuration_ef: EmbeddingFunction[Any] | None,
) -> None:
    """Raises ValueError when the argument and the configuration name different functions."""
    if configuration_ef is not None and not _stands_for_any(embedding_function):
        check_same(embedding_function, configuration_ef)


def validate_embedding_function_conflict_on_get(
    embedding_function: EmbeddingFunction[Any] | None, persisted_ef_config: dict[str, Any] | None
) -> None:
    """Raises ValueError when a collection remembers another function than this one."""
    if persisted_ef_config in (None, LEGACY) or _stands_for_any(embedding_function):
        return
    name = stored_form(embedding_function).get("name")
    if persisted_ef_config is not None and name != persisted_ef_config.get("name"):
        raise ArgumentValueError(
            "An embedding function already exists in the collection configuration, and a new one "
            f"is provided: {persisted_ef_config.get('name')} and {name}"
        )


def _stands_for_any(function: Any) -> bool:
    """The default function means "whatever there is", so it is never another one."""
    return function is None or isinstance(function, DefaultEmbeddingFunction)


# ── JSON ─────────────────────────────────────────────────────────────────────────────────────────


def _plain(config: Mapping[str, Any], without_function: dict[str, Any] | None) -> dict[str, Any]:
    function = config.get("embedding_function")
    return {
        "hnsw": config.get("hnsw"),
        "spann": config.get("spann"),
        "embedding_function": without_function if function is None else stored_form(function),
    }


def _with_function(form: Mapping[str, Any]) -> dict[str, Any]:
    """The parts that are there, with the embedding function as an object, or None for legacy."""
    out = {name: form[name] for name in ("hnsw", "spann") if form.get(name) is not None}
    stored = form.get("embedding_function")
    if stored is not None:
        known = stored["type"] == "known"
        out["embedding_function"] = config_to_embedding_function(stored) if known else None
    return out
