"""The cache of vectors: nothing is embedded twice, and nothing that is wrong with it matters."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vermilion
from vermilion.embeddings.base import EmbeddingFunction
from vermilion.embeddings.cache import EmbeddingCache


class Counting(EmbeddingFunction[Any]):
    """Two numbers for each text, and a list of the texts it was asked for."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale
        self.asked: list[str] = []

    def __call__(self, input: Any) -> Any:
        self.asked += input
        return [[len(text) * self.scale, 1.0] for text in input]

    @staticmethod
    def name() -> str:
        return "counting"

    def get_config(self) -> dict[str, Any]:
        return {"scale": self.scale}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> "Counting":
        return Counting(**config)


class Nameless(EmbeddingFunction[Any]):
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, input: Any) -> Any:
        self.calls += 1
        return [[1.0] for _ in input]


@pytest.fixture
def cache(tmp_path: Path) -> Any:
    made = EmbeddingCache(tmp_path / "vectors.db")
    yield made
    made.close()


def ask(cache: EmbeddingCache, function: Any, *texts: str, purpose: Any = "document") -> Any:
    lookup = cache.look_up(function, texts, purpose)
    if lookup is None:
        return np.array(function(list(texts))).tolist()
    missing = list(lookup.missing.values())
    made = np.array(function(missing) if missing else np.empty((0, 2)), np.float32)
    return cache.complete(lookup, made).tolist()


def test_a_text_is_embedded_once(cache: EmbeddingCache) -> None:
    function = Counting()
    assert ask(cache, function, "a", "bb", "a") == [[1, 1], [2, 1], [1, 1]]
    assert ask(cache, Counting(), "bb", "ccc") == [[2, 1], [3, 1]]
    assert function.asked == ["a", "bb"]


def test_only_what_is_new_is_asked_for(cache: EmbeddingCache) -> None:
    ask(cache, Counting(), "a", "bb")
    again = Counting()
    assert ask(cache, again, "ccc", "bb", "a") == [[3, 1], [2, 1], [1, 1]]
    assert again.asked == ["ccc"]


def test_functions_configurations_and_purposes_are_told_apart(cache: EmbeddingCache) -> None:
    assert ask(cache, Counting(1.0), "a") == [[1, 1]]
    assert ask(cache, Counting(2.0), "a") == [[2, 1]]
    query = Counting(1.0)
    ask(cache, query, "a", purpose="query")
    assert query.asked == ["a"]


def test_a_function_without_a_name_is_always_asked(cache: EmbeddingCache) -> None:
    function = Nameless()
    ask(cache, function, "a")
    ask(cache, function, "a")
    assert function.calls == 2


def test_the_file_is_there_for_other_processes(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from test_embedding_cache import *\n"
        "f = Counting(); print(ask(EmbeddingCache(sys.argv[1]), f, 'a', 'bb'), f.asked)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "v.db"), os.path.dirname(__file__)]
    said = [subprocess.run(command, capture_output=True, text=True, check=True).stdout
            for _ in range(2)]  # fmt: skip
    assert said == ["[[1.0, 1.0], [2.0, 1.0]] ['a', 'bb']\n", "[[1.0, 1.0], [2.0, 1.0]] []\n"]


@pytest.mark.parametrize(
    "content", [b"not a database" * 200, b"SQLite format 3\0" + b"\xff" * 5000]
)
def test_a_damaged_file_is_left_aside_and_made_again(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "vectors.db"
    path.write_bytes(content)
    function = Counting()
    for _ in range(3):
        cache = EmbeddingCache(path)
        assert ask(cache, function, "a") == [[1, 1]]
        cache.close()
    assert function.asked in (["a"], ["a", "a"])


def test_a_flipped_vector_is_embedded_again(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path / "vectors.db")
    ask(cache, Counting(), "abc")
    cache._connection.execute("update vectors set vector = ?", (np.zeros(2, "<f4").tobytes(),))
    function = Counting()
    assert ask(cache, function, "abc") == [[3, 1]]
    assert function.asked == ["abc"]
    cache.close()


def test_a_file_that_cannot_be_made_does_not_stand_in_the_way(tmp_path: Path) -> None:
    function = Counting()
    assert ask(EmbeddingCache(tmp_path / "nowhere" / "v.db"), function, "a") == [[1, 1]]


def test_the_file_stays_below_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vermilion.embeddings.cache._TRIM_SECONDS", 0.0)
    cache = EmbeddingCache(tmp_path / "vectors.db", limit_bytes=200_000)
    for first in range(0, 20_000, 2_000):
        ask(cache, Counting(), *(f"{number}" for number in range(first, first + 2_000)))
    assert (tmp_path / "vectors.db").stat().st_size < 2_000_000
    cache.close()


def test_no_text_is_in_the_file(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path / "vectors.db")
    ask(cache, Counting(), "a very private text")
    cache.close()
    assert b"private" not in (tmp_path / "vectors.db").read_bytes()


# ── through the door ─────────────────────────────────────────────────────────────────────────────


def opened(kind: str, folder: Path, place: Any) -> Any:
    if kind == "persistent":
        return vermilion.PersistentClient(folder / "db", embedding_cache=place)
    return vermilion.EphemeralClient(embedding_cache=place)


@pytest.mark.parametrize("kind", ["persistent", "ephemeral"])
def test_collections_embed_nothing_twice(kind: str, tmp_path: Path) -> None:
    first, second = Counting(), Counting()
    with opened(kind, tmp_path, tmp_path / "vectors.db") as client:
        notes = client.get_or_create_collection("cached", embedding_function=first)
        notes.add(ids=["a", "b"], documents=["one", "three"])
        notes.upsert(ids=["a", "c"], documents=["one", "new"])
        assert first.asked == ["one", "three", "new"]
        notes.query(query_texts=["one"])
        notes.query(query_texts=["one"])
        assert first.asked == ["one", "three", "new", "one"]
        other = client.get_or_create_collection("others", embedding_function=second)
        other.add(ids=["x"], documents=["three"])
        assert second.asked == []
        assert other.get(include=["embeddings"])["embeddings"].tolist() == [[5, 1]]
        other.reembed(Counting(2.0))
        assert other.get(include=["embeddings"])["embeddings"].tolist() == [[10, 1]]
        for name in ("cached", "others"):
            client.delete_collection(name)


def test_asynchronous_clients_embed_nothing_twice(tmp_path: Path) -> None:
    function, place = Counting(), tmp_path / "vectors.db"

    async def main() -> None:
        for client in (
            vermilion.AsyncPersistentClient(tmp_path / "db", embedding_cache=place),
            vermilion.AsyncEphemeralClient(embedding_cache=place),
        ):
            async with client as opened:
                notes = await opened.get_or_create_collection("notes", embedding_function=function)
                await notes.upsert(ids=["a", "b"], documents=["one", "three"])

    asyncio.run(main())
    assert function.asked == ["one", "three"]


def test_without_a_cache_everything_is_embedded(tmp_path: Path) -> None:
    function = Counting()
    with vermilion.PersistentClient(tmp_path) as client:
        notes = client.create_collection("notes", embedding_function=function)
        notes.add(ids=["a"], documents=["one"])
        notes.upsert(ids=["a"], documents=["one"])
    assert function.asked == ["one", "one"]


def test_true_is_a_file_of_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    settings = vermilion.Settings(embedding_cache=True)
    with vermilion.PersistentClient(tmp_path / "db", settings) as client:
        notes = client.create_collection("notes", embedding_function=Counting())
        notes.add(ids=["a"], documents=["one"])
    assert (tmp_path / "vermilion" / "embeddings.db").exists()


def test_what_is_no_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="embedding_cache to be a path, or True for"):
        vermilion.PersistentClient(tmp_path, embedding_cache=7)


def test_images_are_not_kept(tmp_path: Path) -> None:
    function = Counting()
    picture = np.zeros((2, 2, 3), np.uint8)
    with vermilion.PersistentClient(tmp_path / "db", embedding_cache=tmp_path / "v.db") as client:
        notes = client.create_collection("notes", embedding_function=function)
        notes.add(ids=["a", "b"], images=[picture, picture])
    assert len(function.asked) == 2
