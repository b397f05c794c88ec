"""`Collection.search` and hybrid queries, through the public door."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from vermilion.api.client import Client
from vermilion.api.collection import Collection
from vermilion.embeddings.base import EmbeddingFunction
from vermilion.embeddings.bm25 import ChromaBm25EmbeddingFunction
from vermilion.errors import InvalidArgumentError
from vermilion.query.ranks import Knn, Rrf
from vermilion.query.search import GroupBy, K, MinK, Search
from vermilion.schema.builder import Schema, SparseVectorIndexConfig
from vermilion.types import ReadLevel, SparseVector

DOCUMENTS = [
    "the whale swims in the sea",
    "a storm at sea",
    "ZX-81 is a computer",
    "cats and dogs",
]


class Initials(EmbeddingFunction[list[str]]):
    """How often four letters occur: enough to tell whose query is whose."""

    calls: list[list[str]] = []

    def __call__(self, input: list[str]) -> Any:
        Initials.calls.append(list(input))
        return [[float(text.count(letter)) for letter in "aest"] for text in input]

    @staticmethod
    def name() -> str:
        return "test-initials"

    def get_config(self) -> dict[str, Any]:
        return {}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> Any:
        return Initials()


def filled(client: Client, **how: Any) -> Collection:
    how.setdefault("embedding_function", Initials())
    collection = client.create_collection("things", **how)
    collection.add(
        ids=["whale", "storm", "zx", "pets"],
        documents=DOCUMENTS,
        metadatas=[{"n": n, "kind": "sea" if n < 2 else "land"} for n in range(4)],
    )
    return collection


def sparse_schema(**more: Any) -> Schema:
    bm25 = ChromaBm25EmbeddingFunction()
    config = SparseVectorIndexConfig(embedding_function=bm25, source_key=K.DOCUMENT, **more)
    return Schema().create_index(config, key="terms")


# ── shapes ───────────────────────────────────────────────────────────────────────────────────────


def test_the_answer_has_a_list_for_each_search(client: Client) -> None:
    collection = filled(client)
    result = collection.search(
        [
            Search(rank=Knn("storm")).limit(1).select(K.DOCUMENT, K.SCORE, "n"),
            Search(K("n") > 2),
        ]
    )
    assert set(result) == {"ids", "documents", "embeddings", "metadatas", "scores", "select"}
    assert result["ids"][1] == ["pets"]
    assert result["documents"] == [[DOCUMENTS[int(result["metadatas"][0][0]["n"])]], None]
    assert result["select"] == [["#document", "#score", "n"], []]
    assert result["scores"][1] is None and isinstance(result["scores"][0][0], float)
    assert result["embeddings"] == [None, None]
    assert result.rows()[1] == [{"id": "pets"}]
    assert set(result.rows()[0][0]) == {"id", "document", "metadata", "score"}


def test_everything_can_be_selected(client: Client) -> None:
    [[row]] = filled(client).search(Search(K.ID == "zx").select_all()).rows()
    assert row == {
        "id": "zx",
        "document": DOCUMENTS[2],
        "metadata": {"n": 2, "kind": "land"},
        "embedding": [1.0, 1.0, 1.0, 1.0],
        "score": 0.0,
    }


def test_a_filter_looks_for_dates_in_lists(client: Client) -> None:
    collection = client.create_collection("days", embedding_function=None)
    days = [date(2024, 2, 29), date(2024, 3, 1)]
    collection.add(ids=["a", "b"], embeddings=[[1.0], [2.0]], metadatas=[{"x": [d]} for d in days])
    for found, rest in [("a", "b"), ("b", "a")]:
        day = days["ab".index(found)]
        for where, id in [(K("x").contains(day), found), (K("x").not_contains(day), rest)]:
            answer = collection.search(Search().where(where).rank(Knn(query=[0.0])))
            assert answer["ids"] == [[id]]


def test_searches_may_be_dicts_and_there_may_be_none(client: Client) -> None:
    collection = filled(client)
    assert collection.search([{"filter": {"n": 1}}])["ids"] == [["storm"]]  # type: ignore[list-item]
    assert collection.search([]).rows() == []


def test_groups_keep_their_best(client: Client) -> None:
    group_by = GroupBy(K("kind"), MinK(K.SCORE, 1))
    result = filled(client).search(Search(rank=Knn("a storm at sea"), group_by=group_by))
    assert result["ids"][0][0] == "storm"
    assert len(result["ids"][0]) == 2


def test_all_texts_for_one_field_are_embedded_at_once(client: Client) -> None:
    collection = filled(client)
    Initials.calls.clear()
    collection.search([Search(rank=Knn("a")), Search(rank=Knn("b") + Knn("a"))])
    assert Initials.calls == [["a", "b"]]


# ── texts alone ──────────────────────────────────────────────────────────────────────────────────


def test_a_text_is_looked_for_by_meaning_and_words(client: Client) -> None:
    result = filled(client).search("zx", n_results=3, where={"n": {"$gt": 0}})
    assert result["ids"][0][0] == "zx"
    assert len(result["ids"][0]) == 3
    assert result.rows()[0][0]["document"] == DOCUMENTS[2]
    assert result["scores"][0] == sorted(result["scores"][0])


def test_several_texts_have_several_answers(client: Client) -> None:
    result = filled(client).search(["zx 81", "cats", Search().limit(1)], n_results=1)
    assert result["ids"] == [["zx"], ["pets"], ["whale"]]


def test_without_an_embedding_function_words_alone_are_looked_for(client: Client) -> None:
    collection = client.create_collection("plain", embedding_function=None)
    collection.add(ids=["a", "b"], embeddings=[[1.0], [2.0]], documents=["red", "Blue blue"])
    assert collection.search("BLUE")["ids"] == [["b"]]
    assert collection.search("green")["ids"] == [[]]


def test_case_accents_and_scripts_without_spaces_are_looked_past(client: Client) -> None:
    collection = client.create_collection("plain", embedding_function=None)
    documents = ["Crème BRÛLÉE", "東京都の夜", "서울에서", "plain"]
    collection.add(ids=list("abcd"), embeddings=[[0.0]] * 4, documents=documents)
    for text, id in (("creme brulee", "a"), ("東京", "b"), ("서울", "c"), ("PLAIN", "d")):
        assert collection.search(text)["ids"] == [[id]], text


def test_queries_may_be_hybrid(client: Client) -> None:
    collection = filled(client)
    result = collection.query(query_texts=["zx", "cats"], n_results=2, mode="hybrid")
    assert [ids[0] for ids in result["ids"]] == ["zx", "pets"]
    assert result["documents"] is not None and result["documents"][0][0] == DOCUMENTS[2]
    assert result["distances"] is not None and result["distances"][0][0] < 0
    assert collection.query(query_texts="sea", mode="keyword")["ids"] == [["storm", "whale"]]


def test_hybrid_queries_take_every_filter(client: Client) -> None:
    collection = filled(client)
    result = collection.query(
        query_texts="sea",
        mode="hybrid",
        ids=["whale", "storm", "gone"],
        where={"n": {"$lt": 3}},
        where_document={"$or": [{"$contains": "whale"}, {"$regex": "^zx"}]},
        include=["uris", "metadatas", "embeddings"],
    )
    assert result["ids"] == [["whale"]]
    assert (result["uris"], result["documents"]) == ([[None]], None)
    assert collection.query(query_texts="sea", mode="hybrid", ids=[])["ids"] == [[]]


def test_a_hybrid_query_may_bring_its_vectors(client: Client) -> None:
    collection = client.create_collection("plain", embedding_function=None)
    collection.add(ids=["a", "b"], embeddings=[[1.0], [2.0]], documents=["red", "blue"])
    result = collection.query([[1.0]], "blue", mode="hybrid")
    assert sorted(result["ids"][0]) == ["a", "b"]


# ── sparse fields ────────────────────────────────────────────────────────────────────────────────


def test_documents_fill_sparse_fields(client: Client) -> None:
    collection = filled(client, schema=sparse_schema(), embedding_function=None)
    [expected] = ChromaBm25EmbeddingFunction()([DOCUMENTS[1]])
    assert collection.get("storm")["metadatas"] == [{"n": 1, "kind": "sea", "terms": expected}]
    assert collection.search(Search(rank=Knn("storms", "terms")))["ids"] == [["storm"]]
    collection.update("storm", documents="all quiet")
    assert collection.search(Search(rank=Knn("storms", "terms")))["ids"] == [[]]
    assert collection.search(Search(rank=Knn("quiet", "terms")))["ids"] == [["storm"]]
    own = SparseVector([7], [1.0])
    collection.upsert("storm", documents="loud", metadatas={"terms": own})
    assert collection.search(Search(rank=Knn(own, "terms")))["ids"] == [["storm"]]
    collection.add("new", documents="loud")
    assert collection.search(Search(rank=Knn("loud", "terms")))["ids"] == [["new"]]


def test_a_metadata_field_may_be_the_source(client: Client) -> None:
    bm25 = ChromaBm25EmbeddingFunction()
    config = SparseVectorIndexConfig(embedding_function=bm25, source_key="title", bm25=True)
    schema = (
        Schema()
        .create_index(config, key="terms")
        .create_index(SparseVectorIndexConfig(), key="other")
    )
    collection = client.create_collection("titles", schema=schema)
    collection.add(
        ids=["a", "b", "c"],
        embeddings=[[1.0]] * 3,
        metadatas=[{"title": "Moby Dick"}, {"title": 7}, {"other": SparseVector([1], [2.0])}],
    )
    assert collection.search(Search(rank=Knn("moby", "terms")))["ids"] == [["a"]]
    assert collection.search(Search(rank=Knn(SparseVector([1], [1.0]), "other")))["ids"] == [["c"]]
    with pytest.raises(InvalidArgumentError, match="has no embedding function"):
        collection.search(Search(rank=Knn("moby", "other")))


def test_dense_and_sparse_are_fused(client: Client) -> None:
    collection = filled(client, schema=sparse_schema(bm25=True), embedding_function=None)
    parts = [Knn("sea", key, return_rank=True, default=99) for key in ("#document", "terms")]
    assert collection.search(Search(rank=Rrf(parts)))["ids"][0] == ["storm", "whale"]


def test_a_collection_that_is_opened_again_goes_on(client: Client) -> None:
    filled(client, schema=sparse_schema(), embedding_function=None)
    collection = client.get_collection("things")
    collection.add("more", documents="lions roar")
    assert collection.search(Search(rank=Knn("lion", "terms")))["ids"] == [["more"]]


# ── mistakes ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda c: c.search(5), TypeError, "a Search, a text, or a list of them, got int"),
        (lambda c: c.search([5]), TypeError, "got int in it"),
        (lambda c: c.search("x", n_results=0), TypeError, "cannot be negative, or zero"),
        (lambda c: c.search("x", read_level="what"), ValueError, "not a valid ReadLevel"),
        (lambda c: c.search("x", where={"a": {"$what": 1}}), ValueError, "Unknown operator"),
        (lambda c: c.search(Search(rank=Knn("x", "no"))), ValueError, "'no' with type 'Sparse"),
        (lambda c: c.query(query_texts="x", mode="what"), ValueError, "mode to be one of dense"),
        (lambda c: c.query([[1.0]], mode="hybrid"), ValueError, "query_texts must be provided"),
        (
            lambda c: c.query([[1.0] * 4], ["a", "b"], mode="hybrid"),
            ValueError,
            "Unequal lengths",
        ),
        (
            lambda c: c.query(query_texts="x", mode="hybrid", where={"a": {"$what": 1}}),
            ValueError,
            "Expected where operator to be one of",
        ),
    ],
)
def test_what_is_wrong_is_said(client: Client, call: Any, kind: Any, words: str) -> None:
    with pytest.raises(kind) as refusal:
        call(filled(client))
    assert words in str(refusal.value)


def test_every_read_level_sees_everything(client: Client) -> None:
    assert filled(client).search("zx", ReadLevel.INDEX_ONLY)["ids"][0][0] == "zx"
