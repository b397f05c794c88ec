"""Data loaders, batches and the distance of two vectors: what users take from chromadb.utils."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vermilion
from vermilion.compat.batches import create_batches
from vermilion.compat.data_loaders import ChromaLangchainPassthroughDataLoader, ImageLoader
from vermilion.compat.distance_functions import cosine, ip, l2

# ── images ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif(importlib.util.find_spec("PIL") is None, reason="Pillow is not installed")
def test_images_are_read_in_the_order_of_their_uris(tmp_path: Path) -> None:
    from PIL import Image

    pictures = [np.full((2, 3, 3), shade, np.uint8) for shade in (10, 20, 30)]
    paths = [str(tmp_path / f"{number}.png") for number in range(3)]
    for picture, path in zip(pictures, paths, strict=True):
        Image.fromarray(picture).save(path)
    loaded = ImageLoader(max_workers=2)([paths[2], None, paths[0]])
    assert loaded[1] is None
    assert np.array_equal(loaded[0], pictures[2])  # type: ignore[arg-type]
    assert np.array_equal(loaded[2], pictures[0])  # type: ignore[arg-type]


def test_without_pillow_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ValueError, match="PIL python package is not installed.*install pillow"):
        ImageLoader()


def test_passing_through() -> None:
    assert ChromaLangchainPassthroughDataLoader()(["a", None]) == ("images", ["a", None])


def test_a_collection_reads_through_its_loader() -> None:
    client = vermilion.EphemeralClient()
    collection = client.create_collection(
        "pictures", embedding_function=None, data_loader=lambda uris: [f"<{uri}>" for uri in uris]
    )
    try:
        collection.add(ids=["a"], embeddings=[[1, 2]], uris=["u"])
        assert collection.get(include=["data"])["data"] == ["<u>"]
    finally:
        client.delete_collection("pictures")


# ── batches ──────────────────────────────────────────────────────────────────────────────────────


class AtMostTwo:
    def get_max_batch_size(self) -> int:
        return 2


@pytest.mark.parametrize(
    ("arguments", "batches"),
    [
        ((["a", "b", "c"],), [(["a", "b"], None, None, None), (["c"], None, None, None)]),
        ((["a"], [[1.0]], [{"k": 1}]), [(["a"], [[1.0]], [{"k": 1}], None)]),
        (
            (["a", "b", "c"], None, None, ["x", "y", "z"]),
            [(["a", "b"], None, None, ["x", "y"]), (["c"], None, None, ["z"])],
        ),
        (([],), []),
    ],
)
def test_batches(arguments: Any, batches: Any) -> None:
    api: Any = AtMostTwo()
    assert create_batches(api, *arguments) == batches


def test_a_batch_is_what_add_takes() -> None:
    client = vermilion.EphemeralClient()
    collection = client.create_collection("batched", embedding_function=None)
    try:
        size = client.get_max_batch_size()
        ids = [str(number) for number in range(size + 1)]
        for batch in create_batches(client, ids, np.zeros((size + 1, 2), np.float32)):  # type: ignore[arg-type]
            collection.add(*batch)
        assert collection.count() == size + 1
    finally:
        client.delete_collection("batched")


# ── distances ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("distance", "x", "y", "expected"),
    [
        (l2, [1, 2], [3, 4], 8.0),
        (l2, [0, 0], [3, 4], 25.0),
        (cosine, [1, 0], [0, 1], 1.0),
        (cosine, [1, 2], [2, 4], 0.0),
        (cosine, [0, 0], [3, 4], 1.0),
        (ip, [1, 2], [3, 4], -10.0),
    ],
)
def test_distances(distance: Any, x: Any, y: Any, expected: float) -> None:
    assert distance(np.array(x), np.array(y)) == pytest.approx(expected, abs=1e-6)
