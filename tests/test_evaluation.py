"""`Collection.evaluate`: its measures against worked examples, and set-ups compared."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from math import log2
from pathlib import Path
from typing import Any

import pytest

import vermilion
from doors import Lengths
from vermilion.api.client import Client
from vermilion.api.collection import Collection
from vermilion.api.evaluation import Evaluation, ndcg, recall, reciprocal_rank

TEXTS = {"whale": "a white whale", "storm": "a storm at sea", "pets": "cats and dogs at sea"}


def filled(client: Client) -> Collection:
    """Where meaning is how long a text is, words find more."""
    collection = client.create_collection("things", embedding_function=Lengths())
    collection.add(ids=list(TEXTS), documents=list(TEXTS.values()))
    return collection


# ── measures ─────────────────────────────────────────────────────────────────────────────────────

GRADED = {"a": 3.0, "b": 2.0, "c": 1.0}


def test_the_measures_of_a_worked_example() -> None:
    ranking = ["b", "x", "a", "y"]
    assert recall(ranking, GRADED, 10) == pytest.approx(2 / 3)
    assert recall(ranking, GRADED, 2) == pytest.approx(1 / 3)
    best = 3 + 2 / log2(3) + 1 / 2
    assert ndcg(ranking, GRADED, 10) == pytest.approx((2 + 3 / 2) / best)
    assert ndcg(ranking, GRADED, 1) == pytest.approx(2 / 3)
    assert reciprocal_rank(["x", "y", "b"], GRADED, 10) == pytest.approx(1 / 3)
    assert reciprocal_rank(["x", "y", "b"], GRADED, 2) == 0


def test_the_best_ranking_has_1_and_an_empty_one_0() -> None:
    for measure in (recall, ndcg, reciprocal_rank):
        assert measure(["a", "b", "c"], GRADED, 10) == pytest.approx(1)
        assert measure([], GRADED, 10) == 0


def test_a_record_counts_once() -> None:
    assert ndcg(["a", "a", "a"], {"a": 1.0, "b": 1.0}, 10) == pytest.approx(1 / (1 + 1 / log2(3)))
    assert recall(["a", "a", "b"], {"a": 1.0, "b": 1.0}, 2) == 1


# ── set-ups ──────────────────────────────────────────────────────────────────────────────────────

QUERIES, RELEVANT = ["white", "storm", "cats"], ["whale", ["storm"], {"pets": 2, "storm": 0}]


def test_the_modes_are_compared(client: Client) -> None:
    told = filled(client).evaluate(QUERIES, RELEVANT, k=1)
    assert list(told.to_dict()) == ["keyword", "dense", "hybrid"]
    assert told.to_dict()["keyword"] == {"recall@1": 1, "nDCG@1": 1, "MRR@1": 1}
    # Of the three texts the shortest is nearest to every query.
    assert told["dense"].ndcgs == (1, 0, 0)
    dense, _ = told.comparisons
    assert (dense.first, dense.second) == ("keyword", "dense")
    assert (dense.better, dense.equal, dense.worse) == (0, 1, 2)
    assert dense.difference == pytest.approx(-2 / 3)


def test_set_ups_are_modes_arguments_or_functions(client: Client) -> None:
    collection = filled(client)

    def backwards(texts: list[str]) -> Any:
        return [ids[::-1] for ids in collection.query(query_texts=texts)["ids"]]

    setups: Any = {
        "words": "keyword",
        "filtered": {"mode": "keyword", "where_document": {"$contains": "sea"}},
        "backwards": backwards,
        "searched": collection.search,
    }
    told = collection.evaluate(QUERIES, RELEVANT, setups)
    assert list(told.to_dict()) == list(setups)
    assert told["filtered"].recalls == (0, 1, 1)
    assert told["backwards"].reciprocal_ranks == pytest.approx((1 / 3, 1 / 2, 1))
    assert [one.name for one in collection.evaluate(QUERIES, RELEVANT, [backwards]).qualities] == [
        "backwards"
    ]


def test_one_set_up_is_enough_and_judgements_may_be_by_query(client: Client) -> None:
    told = filled(client).evaluate("storm", {"storm": "storm", "other": "x"}, "keyword")
    assert told["keyword"].mrr == 1
    assert told.comparisons == ()
    with pytest.raises(KeyError):
        told["dense"]


def test_without_an_embedding_function_words_are_measured(client: Client) -> None:
    collection = client.create_collection("plain", embedding_function=None)
    collection.add(ids=["a"], embeddings=[[1.0]], documents=["red"])
    assert list(collection.evaluate("red", ["a"]).to_dict()) == ["keyword"]


def test_there_may_be_many_queries(client: Client) -> None:
    told = filled(client).evaluate(["storm", "cats"] * 60, ["storm", "pets"] * 60, "keyword")
    assert told["keyword"].recalls == (1,) * 120


def test_an_evaluation_shows_as_a_table(client: Client) -> None:
    told = filled(client).evaluate(QUERIES, RELEVANT, {"a<b": "keyword", "dense": "dense"}, k=1)
    assert repr(told).splitlines() == [
        "3 queries  recall@1  nDCG@1  MRR@1",
        "a<b           1.000   1.000  1.000",
        "dense         0.333   0.333  0.333",
        "dense against a<b: nDCG -0.667, better in 0 queries, equal in 1, worse in 2",
    ]
    assert "<td>a&lt;b</td><td>1.000</td>" in told._repr_html_()


def test_evaluations_are_awaited() -> None:
    async def evaluated() -> Evaluation:
        async with vermilion.AsyncEphemeralClient() as client:
            name = "evaluated"
            things = await client.create_collection(name, embedding_function=Lengths())
            await things.add(ids=list(TEXTS), documents=list(TEXTS.values()))
            told = await things.evaluate(QUERIES, RELEVANT, "keyword")
            await client.delete_collection(name)
            return told

    assert asyncio.run(evaluated())["keyword"].recall == 1


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ((None, []), ValueError, "queries must be a text or a list of texts in evaluate."),
        ((["a"], "b"), TypeError, "Expected relevant to be a list or a dict, got 'b'"),
        ((["a"], ["b", "c"]), ValueError, "to be as long as queries, 1, got 2"),
        ((["a"], {"b": "c"}), ValueError, "relevant has nothing for the query 'a'"),
        ((["a"], [[]]), ValueError, "relevant[0] names no relevant record"),
        ((["a"], [{"b": 0}]), ValueError, "relevant[0] names no relevant record"),
        (
            (["a"], [{"b": -1}]),
            ValueError,
            "grade of 'b' in relevant[0] to be a number of at least",
        ),
        ((["a"], [{"b": True}]), ValueError, "got True"),
        ((["a"], [[1]]), TypeError, "Expected ids in relevant[0] to be str, got 1"),
        ((["a"], [5]), TypeError, "Expected relevant[0] to be an id, ids, or a dict of grades"),
        (
            (["a"], ["b"], "nearest"),
            ValueError,
            "to be one of dense, keyword, hybrid, got 'nearest'",
        ),
        ((["a"], ["b"], 5), TypeError, "Expected setups to be set-ups by name, or a list, got 5"),
        ((["a"], ["b"], [5]), TypeError, "a mode, a dict of arguments of query, or a function"),
        ((["a"], ["b"], []), ValueError, "Expected at least one set-up, got none"),
        ((["a"], ["b"], ["dense", "dense"]), ValueError, "Two set-ups are called 'dense'"),
        ((["a"], ["b"], {"x": {"n_results": 3}}), ValueError, "cannot give 'n_results'"),
        ((["a"], ["b"], {1: "dense"}), TypeError, "name of a set-up to be str, got 1"),
        ((["a"], ["b"], lambda texts: "x"), TypeError, "a list of ids for each text"),
        ((["a"], ["b"], lambda texts: [["x"], ["y"]]), ValueError, "Expected 1 lists of ids"),
    ],
)
def test_what_is_wrong_is_said(client: Client, arguments: Any, kind: Any, words: str) -> None:
    collection = filled(client)
    with pytest.raises(kind) as refusal:
        collection.evaluate(*arguments)
    assert words in str(refusal.value)


def test_the_example_runs() -> None:
    example = Path(__file__).parent.parent / "examples" / "quality.py"
    done = subprocess.run([sys.executable, str(example)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["3", "queries", "recall@3", "nDCG@3", "MRR@3"]
    assert [line.split()[0] for line in lines[1:5]] == ["dense", "keyword", "hybrid", "reranked"]
    assert lines[-2].startswith("cake")
