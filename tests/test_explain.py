"""How a query was answered, why a record is not in the answer, and how sure a search has to be."""

from __future__ import annotations

import numpy as np
import pytest

import vermilion
from test_real_text import real_vectors
from vermilion.api.client import Client
from vermilion.api.collection import Collection
from vermilion.local import builder, search

ROWS = builder.TAIL_ROWS + 500


@pytest.fixture
def sealed(tmp_path: object) -> Collection:
    """A collection whose first records are in a segment, and 100 in the tail."""
    client = vermilion.PersistentClient(str(tmp_path))
    collection = client.create_collection(
        "things", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
    )
    vectors, numbers = real_vectors(ROWS, seed=21), range(ROWS)
    collection.add(
        ids=[str(n) for n in numbers],
        embeddings=vectors,
        documents=[f"number {n}" for n in numbers],
        metadatas=[{"n": n} for n in numbers],
    )
    collection.flush()
    collection.add(ids=[f"late{n}" for n in range(100)], embeddings=real_vectors(100, seed=22))
    return collection


def test_explain_tells_the_plan_the_counts_and_the_times(sealed: Collection) -> None:
    query = real_vectors(2, seed=23)
    told = sealed.explain(query_embeddings=query, n_results=5)
    assert (told.records, told.selected) == (ROWS + 100, ROWS + 100)
    assert (told.in_segments, told.in_tail) == (ROWS, 100)
    assert [course.plan for course in told.courses] == ["codes", "codes"]
    assert all(100 < course.measured < 1000 and course.rounds for course in told.courses)
    assert all(course.error > 0 for course in told.courses)
    assert set(told.milliseconds) == {"filter", "search", "records"}
    assert all(spent > 0 for spent in told.milliseconds.values())


def test_few_matches_are_measured_exactly(sealed: Collection) -> None:
    told = sealed.explain(query_embeddings=real_vectors(1, 23), where={"n": {"$lt": 50}})
    assert told.selected == 50
    assert [(course.plan, course.measured) for course in told.courses] == [("exact", 50)]


def test_exact_measures_everything(sealed: Collection) -> None:
    query = real_vectors(1, seed=24)
    [course] = sealed.explain(query_embeddings=query, exact=True).courses
    assert (course.plan, course.measured) == ("exact", ROWS + 100)
    vectors = np.array(sealed.get(include=["embeddings"])["embeddings"], np.float32)
    best = np.argsort(-(vectors @ query[0]))[:10]
    ids = sealed.get(include=[])["ids"]
    answer = sealed.query(query_embeddings=query, exact=True, include=[])
    assert answer["ids"] == [[ids[place] for place in best]]


def test_a_higher_recall_allows_for_a_larger_error(sealed: Collection) -> None:
    query = real_vectors(1, seed=25)
    errors = [
        sealed.explain(query_embeddings=query, recall=recall).courses[0].error
        for recall in (0.5, 0.9, 0.99, 0.999)
    ]
    assert errors == sorted(set(errors))


def test_ef_search_is_the_least_number_of_candidates(sealed: Collection) -> None:
    query = real_vectors(1, seed=26)
    before = sealed.explain(query_embeddings=query).courses[0].measured
    sealed.modify(configuration={"hnsw": {"ef_search": 1500}})
    after = sealed.explain(query_embeddings=query).courses[0].measured
    assert before < 1500 <= after


def test_why_not_names_the_reason(client: Client) -> None:
    collection = client.create_collection("things", embedding_function=None)
    assert collection.why_not("a", [[0.0]]).reason == "unknown id"
    collection.add(
        ids=["a", "b", "c"],
        embeddings=[[0.0], [1.0], [2.0]],
        documents=["one", "two", "three"],
        metadatas=[{"n": 1}, {"n": 2}, None],
    )
    query = [[0.0]]
    assert collection.why_not("zz", query).reason == "unknown id"
    assert collection.why_not("b", query, ids=["a"]).reason == "not among the ids"
    told = collection.why_not(
        "b",
        query,
        where={"$and": [{"n": 2}, {"n": {"$gt": 5}}]},
        where_document={"$or": [{"$contains": "x"}, {"$regex": "y"}]},
    )
    assert told.reason == "filter"
    assert told.failing == ["n $gt 5", "#document $contains 'x' or #document $regex 'y'"]
    told = collection.why_not("c", query, n_results=2)
    assert (told.reason, told.distance, told.last_distance, told.rank) == ("farther", 4.0, 1.0, 2)
    told = collection.why_not("b", query, n_results=2)
    assert (told.reason, told.distance, told.rank) == ("found", 1.0, 1)


def test_why_not_tells_what_the_index_missed(
    sealed: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = real_vectors(1, seed=27)
    [[first]] = sealed.query(query_embeddings=query, n_results=1, include=[])["ids"]
    assert sealed.why_not(first, query, n_results=1).reason == "found"
    # An index that suggests the worse half of its candidates, and a search that believes it.
    candidates = search._Sealed._candidates

    def the_worse_half(self: search._Sealed, *arguments: object) -> object:
        [found] = candidates(self, *arguments)  # type: ignore[arg-type]
        half = len(found.slots) // 2
        worse = found._replace(slots=found.slots[half:], estimates=found.estimates[half:])
        return [worse._replace(horizon=np.inf)]

    monkeypatch.setattr(search._Sealed, "_candidates", the_worse_half)
    told = sealed.why_not(first, query, n_results=1)
    assert (told.reason, told.rank) == ("missed", 0)


@pytest.mark.parametrize("recall", [0, -1, 1.5, "0.9", None, True])
def test_a_recall_that_cannot_be_is_refused(client: Client, recall: object) -> None:
    collection = client.create_collection("things", embedding_function=None)
    with pytest.raises((ValueError, TypeError), match="Expected recall to be .* in query"):
        collection.query(query_embeddings=[[1.0]], recall=recall)  # type: ignore[arg-type]


def test_status_counts_what_waits_for_an_index(client: Client) -> None:
    collection = client.create_collection("things", embedding_function=None)
    assert collection.get_indexing_status().op_indexing_progress == 1.0
    collection.add(ids=["a"], embeddings=[[1.0]])
    status = collection.get_indexing_status()
    assert (status.num_indexed_ops, status.num_unindexed_ops, status.total_ops) == (1, 0, 1)
    collection.flush()


def test_flush_waits_for_the_builder(sealed: Collection) -> None:
    status = sealed.get_indexing_status()
    assert (status.num_unindexed_ops, status.total_ops) == (0, ROWS + 100)
    assert sealed.explain(query_embeddings=real_vectors(1, 1)).in_segments == ROWS
