"""The settings of one index: what is forgotten, and what is refused in words."""

from collections.abc import Callable
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from vermilion.query.keys import K
from vermilion.schema.config import (
    FtsIndexConfig,
    HnswIndexConfig,
    SpannIndexConfig,
    SparseVectorIndexConfig,
    StringInvertedIndexConfig,
    VectorIndexConfig,
)


def test_settings_that_chroma_forgets_are_forgotten() -> None:
    forgotten = [
        *("search_rng_factor", "search_rng_epsilon", "nreplica_count", "write_rng_factor"),
        *("write_rng_epsilon", "num_samples_kmeans", "initial_lambda"),
        *("num_centers_to_merge_to", "quantize", "center_drift_threshold"),
    ]
    assert SpannIndexConfig(**dict.fromkeys(forgotten, 1)) == SpannIndexConfig()
    assert SparseVectorIndexConfig(algorithm="x") == SparseVectorIndexConfig()
    assert FtsIndexConfig(algorithm="x") == FtsIndexConfig()


def test_settings_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        HnswIndexConfig().ef_search = 3  # type: ignore[misc]


def test_a_source_key_is_kept_as_its_name() -> None:
    assert VectorIndexConfig(source_key=K.DOCUMENT).source_key == "#document"
    assert SparseVectorIndexConfig(source_key=K("title")).source_key == "title"


def test_settings_are_made_by_name() -> None:
    with pytest.raises(TypeError):
        VectorIndexConfig("l2")  # type: ignore[call-arg]


REFUSALS: list[tuple[Callable[[], Any], str]] = [
    (lambda: VectorIndexConfig(source_key="#embedding"), "source_key cannot begin with '#'"),
    (lambda: SparseVectorIndexConfig(source_key=K("#x")), "source_key cannot begin with '#'"),
    (lambda: VectorIndexConfig(source_key=1), "source_key must be str or Key"),  # type: ignore[arg-type]
    (lambda: VectorIndexConfig(space="L2"), "space must be one of"),  # type: ignore[arg-type]
    (
        lambda: VectorIndexConfig(embedding_function=1),
        "embedding_function must be callable or None",
    ),
    (
        lambda: SparseVectorIndexConfig(embedding_function="x"),
        "embedding_function must be callable or None",
    ),
    (lambda: SparseVectorIndexConfig(bm25=1), "bm25 must be a bool"),  # type: ignore[arg-type]
    (lambda: VectorIndexConfig(hnsw=1), "HnswIndexConfig"),  # type: ignore[arg-type]
    (
        lambda: VectorIndexConfig(hnsw={"m": 1}),
        "'m' is not a valid field for HnswIndexConfig; allowed are ['ef_",
    ),
    (lambda: HnswIndexConfig(ef_search="x"), "ef_search must be a whole number"),  # type: ignore[arg-type]
    (lambda: HnswIndexConfig(ef_search=1.5), "ef_search must be a whole number"),  # type: ignore[arg-type]
    (lambda: HnswIndexConfig(max_neighbors=-1), "max_neighbors must not be negative"),
    (lambda: HnswIndexConfig(resize_factor="x"), "resize_factor must be a number"),  # type: ignore[arg-type]
    (lambda: HnswIndexConfig(bad=1), "'bad' is not a valid field for HnswIndexConfig"),  # type: ignore[call-arg]
    (lambda: SpannIndexConfig(bad=1), "'bad' is not a valid field for SpannIndexConfig"),  # type: ignore[call-arg]
    (lambda: VectorIndexConfig(bad=1), "'bad' is not a valid field for VectorIndexConfig"),  # type: ignore[call-arg]
    (
        lambda: SparseVectorIndexConfig(bad=1),  # type: ignore[call-arg]
        "'bad' is not a valid field for SparseVectorIndexConfig",
    ),
    (
        lambda: StringInvertedIndexConfig(bad=1),
        "'bad' is not a valid field for StringInvertedIndexConfig",
    ),
]


@pytest.mark.parametrize(("attempt", "anchor"), REFUSALS)
def test_a_setting_that_nobody_understands_is_a_value_error(
    attempt: Callable[[], Any], anchor: str
) -> None:
    with pytest.raises(ValueError) as refusal:
        attempt()
    assert anchor in str(refusal.value)
