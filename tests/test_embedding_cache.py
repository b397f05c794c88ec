"""The cache of vectors: nothing is embedded twice, and nothing that is wrong with it matters."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

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
    return cache.vectors(function, texts, purpose, function).tolist()


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
