"""Pages and limits of queries, and counting with filters."""

from __future__ import annotations

from typing import Any

import pytest

from vermilion.api.client import Client
from vermilion.api.collection import Collection


def filled(client: Client) -> Collection:
    collection = client.create_collection("things", embedding_function=None)
    collection.add(
        ids=[str(n) for n in range(20)],
        embeddings=[[float(n)] for n in range(20)],
        documents=[f"number {n}" for n in range(20)],
        metadatas=[{"even": n % 2 == 0} for n in range(20)],
    )
    return collection


def test_the_pages_of_a_query_follow_each_other(client: Client) -> None:
    collection = filled(client)
    pages = [collection.query([[0.0]], n_results=6, offset=offset) for offset in range(0, 24, 6)]
    assert [id for page in pages for id in page["ids"][0]] == [str(n) for n in range(20)]
    assert pages[1]["documents"] == [[f"number {n}" for n in range(6, 12)]]
    assert collection.query([[0.0]], offset=30)["ids"] == [[]]


def test_what_is_too_far_is_not_told(client: Client) -> None:
    collection = filled(client)
    include: Any = ["distances", "embeddings", "metadatas", "uris"]
    result = collection.query([[0.0], [19.0]], max_distance=4, include=include)
    assert result["ids"] == [["0", "1", "2"], ["19", "18", "17"]]
    assert result["distances"] == [[0, 1, 4], [0, 1, 4]]
    assert result["embeddings"] is not None
    assert result["embeddings"][0].tolist() == [[0], [1], [2]]
    assert collection.query([[0.0]], max_distance=4, offset=2)["ids"] == [["2"]]
    assert collection.query([[0.5]], max_distance=-1.0)["ids"] == [[]]


def test_hybrid_queries_have_pages_too(client: Client) -> None:
    collection = filled(client)
    whole = collection.query(query_texts="number 3", mode="keyword", n_results=9)["ids"][0]
    page = collection.query(query_texts="number 3", mode="keyword", n_results=4, offset=5)
    assert page["ids"] == [whole[5:]]


def test_records_that_match_are_counted(client: Client) -> None:
    collection = filled(client)
    assert collection.count(where={"even": True}) == 10
    assert collection.count(where={"even": True}, where_document={"$contains": "1"}) == 5
    assert collection.count(where_document={"$contains": "number"}) == collection.count() == 20


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda c: c.query([[0.0]], offset=-1), ValueError, "offset"),
        (lambda c: c.query([[0.0]], max_distance="far"), TypeError, "max_distance to be a number"),
        (lambda c: c.count(where={"a": None}), ValueError, "in count."),
    ],
)
def test_what_is_wrong_is_said(client: Client, call: Any, kind: Any, words: str) -> None:
    with pytest.raises(kind) as refusal:
        call(filled(client))
    assert words in str(refusal.value)
