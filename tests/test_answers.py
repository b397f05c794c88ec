"""Answers are Chroma's dicts, and more: hits, rows, frames, tables, another order."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import numpy as np
import pytest

from doors import filled
from vermilion.api.answers import QueryResult, SearchResult
from vermilion.api.client import Client
from vermilion.api.hits import Hit, HitList, as_text
from vermilion.query.ranks import Knn
from vermilion.query.search import K, Search
from vermilion.types import SparseVector

EVERYTHING: Any = ["documents", "metadatas", "embeddings", "uris"]
QUERIES = [[1.0, 0.0], [4.0, 0.0]]


def found(client: Client) -> QueryResult:
    return filled(client).query(QUERIES, n_results=2)


def searched(client: Client) -> SearchResult:
    rank = Knn([1.0, 0.0], limit=2)
    return filled(client).search(Search(rank=rank).select(K.DOCUMENT, K.SCORE, K.METADATA))


# ── dicts ────────────────────────────────────────────────────────────────────────────────────────


def test_a_get_is_a_dict_with_the_keys_and_values_of_chroma(client: Client) -> None:
    result = filled(client).get("a")
    plain = {
        "ids": ["a"],
        "embeddings": None,
        "documents": ["one fish"],
        "uris": None,
        "included": ["metadatas", "documents"],
        "data": None,
        "metadatas": [{"n": 1, "x": 1.5, "word": "red", "yes": True, "list": ["red", "blue"]}],
    }
    assert isinstance(result, dict) and result == plain
    assert list(result) == list(plain)
    assert str(result) == f"{result}" == str(plain)
    assert json.dumps(result) == json.dumps(plain)
    assert result | {} == plain


@pytest.mark.parametrize("make", [lambda c: filled(c).get(), found, searched])
def test_answers_are_copied_and_pickled(client: Client, make: Any) -> None:
    result = make(client)
    for other in (copy.copy(result), copy.deepcopy(result), pickle.loads(pickle.dumps(result))):
        assert type(other) is type(result)
        assert other == result == dict(result)
        assert repr(other) == repr(result)
    assert json.loads(json.dumps(result)) == result


def test_a_copy_knows_what_was_asked(client: Client) -> None:
    result = filled(client).query(query_texts=["x"], n_results=2)
    again = pickle.loads(pickle.dumps(result))
    assert again.rerank(lambda text, documents: range(len(documents)))["ids"] == [
        result["ids"][0][::-1]
    ]


# ── hits and rows ────────────────────────────────────────────────────────────────────────────────


def test_a_get_has_hits(client: Client) -> None:
    hits = filled(client).get(include=EVERYTHING).hits
    assert [hit.id for hit in hits] == ["a", "b", "c", "d"]
    assert (hits[1].document, hits[1].metadata["n"]) == ("two fish", 2)
    assert (hits[3].document, hits[3].metadata, hits[3].uri) == (None, None, None)
    assert hits[3].embedding.tolist() == [4.0, 0.0]
    assert (hits[0].distance, hits[0].score) == (None, None)


def test_each_query_has_hits(client: Client) -> None:
    result = found(client)
    assert [[hit.id for hit in hits] for hits in result.hits] == result["ids"]
    assert [[hit.distance for hit in hits] for hits in result.hits] == result["distances"]


def test_each_search_has_hits(client: Client) -> None:
    [[first, second]] = searched(client).hits
    assert (first.id, first.score, second.score) == ("a", 0.0, 1.0)
    assert first.metadata is not None and first.metadata["word"] == "red"


def test_rows_are_dicts_without_what_is_not_there(client: Client) -> None:
    collection = filled(client)
    assert collection.get(["c", "d"]).rows() == [
        {"id": "c", "document": "Red (fish)", "metadata": {"n": 3, "word": "1"}},
        {"id": "d"},
    ]
    assert collection.query([[4.0, 0.0]], n_results=1).rows() == [[{"id": "d", "distance": 0.0}]]
    assert collection.peek(1).rows()[0]["embedding"].tolist() == [1.0, 0.0]


def test_nothing_has_no_hits(client: Client) -> None:
    collection = filled(client)
    assert collection.get(ids=["unknown"]).hits == []
    assert collection.query(QUERIES, ids=["unknown"]).hits == [[], []]
    assert collection.search([]).hits == []


# ── frames ───────────────────────────────────────────────────────────────────────────────────────


def test_pandas_has_a_row_per_record_and_a_column_per_field(client: Client) -> None:
    frame = filled(client).get().to_pandas()
    assert list(frame.columns) == ["id", "document", "n", "x", "word", "yes", "list"]
    assert list(frame["id"]) == ["a", "b", "c", "d"]
    assert frame.loc[frame.n > 1, "word"].tolist() == ["blue", "1"]


def test_queries_are_told_apart(client: Client) -> None:
    result = found(client)
    for rows in (result.to_pandas().to_dict("records"), result.to_polars().to_dicts()):
        assert [(row["query"], row["id"]) for row in rows] == [
            (place, id) for place, ids in enumerate(result["ids"]) for id in ids
        ]
    assert result.to_arrow().column_names[:3] == ["query", "id", "document"]


@pytest.mark.parametrize("method", ["to_polars", "to_arrow"])
def test_columns_have_one_type(client: Client, method: str) -> None:
    collection = client.create_collection("mixed", embedding_function=None)
    collection.add(
        ids=["a", "b"],
        embeddings=[[1, 2], [3, 4]],
        documents=["x", None],
        metadatas=[
            {"id": "own", "number": 1, "several": "é", "many": [1, 2]},
            {"number": 2.5, "several": True, "sparse": SparseVector([1], [0.5])},
        ],
    )
    result = collection.get(include=EVERYTHING)
    table = getattr(result, method)()
    columns = table.to_dict(as_series=False) if method == "to_polars" else table.to_pydict()
    columns["embedding"] = [list(row) for row in columns["embedding"]]
    assert columns == {
        "id": ["a", "b"],
        "document": ["x", None],
        "metadata.id": ["own", None],
        "number": [1.0, 2.5],
        "several": ["é", "true"],
        "many": [[1, 2], None],
        "sparse": [None, '{"#type": "sparse_vector", "indices": [1], "values": [0.5]}'],
        "embedding": [[1.0, 2.0], [3.0, 4.0]],
    }


@pytest.mark.parametrize("method", ["to_pandas", "to_polars", "to_arrow"])
def test_no_record_is_a_table_without_rows(client: Client, method: str) -> None:
    table = getattr(filled(client).get("unknown"), method)()
    assert table.shape == (0, 1)


# ── tables ───────────────────────────────────────────────────────────────────────────────────────


def test_a_get_shows_as_a_table(client: Client) -> None:
    assert repr(filled(client).get(["c", "d"])).splitlines() == [
        "GetResult of 2 records",
        "",
        "id  document    metadata",
        "──  ──────────  ─────────────",
        "c   Red (fish)  n=3, word='1'",
        "d",
    ]


def test_each_query_shows_as_a_table_below_its_text(client: Client) -> None:
    collection = filled(client)
    text = repr(collection.query(query_texts=["fish", "\x1b[31mred"], n_results=1))
    assert "query 0: fish\n\nid" in text
    assert "query 1: \\x1b[31mred" in text
    assert "\n\nquery 1\n\nid" in repr(collection.query(QUERIES, n_results=1))
    assert repr(collection.get("unknown")) == "GetResult of 0 records\n\nno records"


def test_a_table_is_as_wide_as_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    hits = HitList([Hit("1", "東京都" * 30, {"k": "v" * 90}), Hit("2", "e\u0301" * 20)])
    lines = repr(hits).splitlines()
    assert lines[0].split() == ["id", "document", "metadata"]
    assert lines[2].split() == ["1", "東京都東京都東京…", "k='vvvvvvvvvvvvv…"]
    assert max(map(len, lines[:2])) <= 40


def test_long_answers_are_cut() -> None:
    hits = HitList(Hit(str(n)) for n in range(60))
    assert as_text(hits).splitlines()[-1] == "… and 10 more"
    assert "<p>… and 10 more</p>" in hits._repr_html_()


def test_embeddings_show_their_beginning() -> None:
    assert "[0.1235, 2, 3, … 384]" in repr(HitList([Hit("1", embedding=[0.12345, 2.0, 3.0] * 128)]))
    assert "[1, 2]" in repr(HitList([Hit("1", embedding=np.array([1.0, 2.0]))]))


NASTY = [
    "<script>alert(1)</script>",
    "'\"><img src=x onerror=alert(1)>",
    "&lt;b&gt;",
    "\x1b]0;title\x07\x1b[2J",
    "\u202egnp.exe",
    "line\nline\r\ttab",
    "\ud800",
]


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_nothing_stored_is_markup_or_control(text: str) -> None:
    answer = QueryResult(
        ids=[[text], [text]],
        documents=[[text], [text]],
        metadatas=[[{text: text}], [None]],
        uris=[[text], [text]],
        distances=[[0.5], [0.5]],
    ).asked([text, text])
    page = answer._repr_html_()
    for tag in ("table", "thead", "tbody", "tr", "th", "td", "p"):
        page = page.replace(f"<{tag}>", "").replace(f"</{tag}>", "")
    assert "<" not in page and ">" not in page
    assert "&lt;b" not in page
    assert repr(answer).replace("\n", "").isprintable()
    assert page.isprintable()


# ── another order ────────────────────────────────────────────────────────────────────────────────


def length(text: str, documents: list[str]) -> Any:
    return np.array([len(document) for document in documents], np.float32)


def test_answers_are_reranked(client: Client) -> None:
    result = filled(client).query(QUERIES, n_results=4, include=[*EVERYTHING, "distances"])
    better = result.rerank(length, ["one", "two"])
    assert better["ids"] == [["c", "a", "b", "d"], ["c", "b", "a", "d"]]
    assert better["documents"] == [
        ["Red (fish)", "one fish", "two fish", None],
        ["Red (fish)", "two fish", "one fish", None],
    ]
    assert better["distances"] == [[4.0, 0.0, 1.0, 9.0], [1.0, 4.0, 9.0, 0.0]]
    assert better["embeddings"] is not None and result["embeddings"] is not None
    assert better["embeddings"][0][:, 0].tolist() == [3.0, 1.0, 2.0, 4.0]
    assert [hit.rerank_score for hit in better.hits[0]] == [10.0, 8.0, 8.0, None]
    assert set(better) == set(result) and better["included"] == result["included"]
    assert result["ids"] == [["a", "b", "c", "d"], ["d", "c", "b", "a"]]


def test_a_reranked_answer_may_be_shorter_and_reranked_again(client: Client) -> None:
    result = filled(client).query(query_texts=["a", "b"], n_results=4)
    asked = []

    def judge(text: str, documents: list[str]) -> list[float]:
        asked.append((text, len(documents)))
        return [float(document[0] == "t") for document in documents]

    better = result.rerank(length, n_results=3).rerank(judge, n_results=1)
    assert better["ids"] == [["b"], ["b"]]
    assert asked == [("a", 3), ("b", 3)]
    assert "rerank_score" in repr(better)


def test_searches_are_reranked(client: Client) -> None:
    collection = filled(client)
    result = collection.search(["fish", Search(rank=Knn("fish")).select(K.DOCUMENT)])
    better = result.rerank(length)
    assert [ids[0] for ids in better["ids"]] == ["c", "c"]
    assert (better["scores"][1], better["metadatas"][1]) == (None, None)
    assert better["select"] == result["select"]


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda r: r.rerank(None, ["x", "y"]), TypeError, "Expected a function of a query text"),
        (lambda r: r.rerank(length), ValueError, "The queries were not texts: give query_texts"),
        (
            lambda r: r.rerank(length, ["x"]),
            ValueError,
            "Expected query_texts to be 2 texts, got 1",
        ),
        (lambda r: r.rerank(length, ["x", 1]), ValueError, "The queries were not texts"),
        (lambda r: r.rerank(length, ["x", "y"], "1"), TypeError, "n_results to be an int"),
        (lambda r: r.rerank(length, ["x", "y"], 0), ValueError, "n_results to be at least 1"),
        (lambda r: r.rerank(lambda t, d: [1], ["x", "y"]), ValueError, "Expected 2 numbers"),
        (lambda r: r.rerank(lambda t, d: ["a", "b"], ["x", "y"]), TypeError, "a list of numbers"),
        (lambda r: r.rerank(lambda t, d: [1, float("nan")], ["x", "y"]), ValueError, "2 numbers"),
    ],
)
def test_what_is_wrong_with_a_reranking_is_said(
    client: Client, call: Any, kind: Any, words: str
) -> None:
    result = filled(client).query([[1.0, 0.0]] * 2, n_results=2)
    with pytest.raises(kind) as refusal:
        call(result)
    assert words in str(refusal.value)


def test_reranking_needs_documents(client: Client) -> None:
    result = filled(client).query(query_texts="fish", include=["distances"])
    with pytest.raises(ValueError, match='include "documents"'):
        result.rerank(length)
