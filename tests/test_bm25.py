"""ChromaBm25EmbeddingFunction: the published rows, and what collections remember of it."""

from __future__ import annotations

import doctest
from typing import Any

import pytest

import vermilion.embeddings.bm25
from vermilion.embeddings.bm25 import ChromaBm25EmbeddingFunction, murmur3
from vermilion.embeddings.lookup import config_to_sparse_embedding_function
from vermilion.embeddings.sparse import (
    SparseEmbeddingFunction,
    register_sparse_embedding_function,
    sparse_known_embedding_functions,
)
from vermilion.types import SparseVector

# The text, parameters, stems by ascending index, indices, values.
ROWS: list[tuple[str, dict[str, Any], str, str, list[float]]] = [
    (
        "The quick brown fox jumps over the lazy dog",
        {},
        "lazi brown quick dog fox jump",
        "226376294 741580288 771291085 1312749093 1621867415 1913189942",
        [1.6652868125369606] * 6,
    ),
    (
        "Running runners ran: don't RUN, can't stop! (C++ & C#)",
        {},
        "run c ran runner stop",
        "243905464 516762017 567658162 946033505 1459505690",
        [1.8927911275415896] * 2 + [1.6608670008846949] * 3,
    ),
    (
        "Usain Bolt's top speed reached ~27.8 mph (44.72 km/h)",
        {},
        "",
        "230246813 395514983 458027949 488165615 729632045 734978415 997512866 1114505193 "
        "1381820790 1501587190 1649421877 1837285388",
        [1.6391152502910362] * 12,
    ),
    (
        "naïve café — Straße 東京 user_name e-mail 3.14 U.S.A.",
        {},
        "",
        "116628897 136374366 264741300 605818632 756638508 1646279392 1701593959 1749031367 "
        "1765863102 2095602437",
        [1.6477472205968404] * 10,
    ),
    (
        "cats cat cat dogs",
        {},
        "dog cat",
        "1312749093 1751422759",
        [1.6741973840665876, 1.9915134370579917],
    ),
    (
        "Vector search: searching vectors with a vector database",
        {"k": 1.5, "b": 0.6, "avg_doc_length": 8},
        "",
        "553238108 1423958341 1955147705",
        [1.5267175572519085, 1.098901098901099, 1.7543859649122806],
    ),
]


@pytest.mark.parametrize(("text", "parameters", "stems", "indices", "values"), ROWS)
def test_the_published_rows(
    text: str, parameters: Any, stems: str, indices: str, values: list[float]
) -> None:
    [vector] = ChromaBm25EmbeddingFunction(**parameters, include_tokens=True)([text])
    assert vector.indices == [int(index) for index in indices.split()]
    assert vector.values == values
    if stems:
        assert vector.labels == stems.split()


def test_a_text_without_words_has_an_empty_vector() -> None:
    assert ChromaBm25EmbeddingFunction()(["the of !"]) == [SparseVector([], [])]


def test_tokens_of_more_than_forty_characters_are_left_out() -> None:
    assert ChromaBm25EmbeddingFunction().tokens("x" * 40 + " " + "y" * 41) == ["x" * 40]


def test_stop_words_may_be_chosen() -> None:
    assert ChromaBm25EmbeddingFunction(stopwords=["Fox"]).tokens("the fox") == ["the"]


@pytest.mark.parametrize(
    ("data", "hashed"),
    [(b"", 0), (b"a", 0x3C2569B2), (b"abcd", 0x43ED676A), (b"hello", 0x248BFA47)],
)
def test_murmur3_of_known_bytes(data: bytes, hashed: int) -> None:
    assert murmur3(data) == hashed


def test_the_examples_in_the_docstrings() -> None:
    assert doctest.testmod(vermilion.embeddings.bm25).failed == 0


@pytest.mark.parametrize("parameters", [{}, {"k": 1.5, "stopwords": ["x"], "include_tokens": True}])
def test_it_is_built_again_from_what_is_remembered(parameters: Any) -> None:
    function = ChromaBm25EmbeddingFunction(**parameters)
    form = {"name": function.name(), "config": function.get_config()}
    assert config_to_sparse_embedding_function(form) == function


def test_unknown_parameters_are_refused() -> None:
    form = {"name": "chroma_bm25", "config": {"what": 1}}
    with pytest.raises(ValueError, match="unknown"):
        config_to_sparse_embedding_function(form)
    with pytest.raises(ValueError, match="allowed"):
        ChromaBm25EmbeddingFunction().validate_config_update({}, {"what": 1})


def test_a_function_of_ones_own_is_registered_and_checked() -> None:
    @register_sparse_embedding_function()
    class Lengths(SparseEmbeddingFunction[list[str]]):
        def __call__(self, input: list[str]) -> Any:
            return [SparseVector([len(text)], [1.0]) for text in input]

        @staticmethod
        def name() -> str:
            return "test-lengths"

        def get_config(self) -> dict[str, Any]:
            return {}

        @staticmethod
        def build_from_config(config: dict[str, Any]) -> Any:
            return Lengths()

    try:
        function = config_to_sparse_embedding_function({"name": "test-lengths"})
        assert function.embed_query(["ab"]) == [SparseVector([2], [1.0])]
        with pytest.raises(ValueError, match="non-empty list"):
            function([])
    finally:
        del sparse_known_embedding_functions["test-lengths"]
    with pytest.raises(ValueError, match="not found"):
        config_to_sparse_embedding_function({"name": "test-lengths"})
    with pytest.raises(ValueError, match="Failed to register"):
        register_sparse_embedding_function(int)
