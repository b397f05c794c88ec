"""Searches through the engine: whatever the expression, the answer is that of the oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oracle import Oracle
from ranking_oracle import RankingOracle
from vermilion.engine import Engine
from vermilion.errors import DimensionError, InvalidArgumentError
from vermilion.local.engine import LocalEngine
from vermilion.query.keys import K
from vermilion.query.ranks import Knn, Rank, Rrf, Val
from vermilion.query.search import GroupBy, MaxK, MinK, Search
from vermilion.records import Batch
from vermilion.schema.builder import Schema, SparseVectorIndexConfig
from vermilion.types import Address, SparseVector
from words import make

COUNT = 12


def batch() -> Batch:
    numbers = range(COUNT)
    vectors = np.array([[n % 5, (n * 7) % 4, 0.1 * n] for n in numbers], np.float32)
    metadatas: list[Any] = [
        {"group": ["a", "b", 1, 1.0, True, None][n % 6], "size": n % 3, "price": n % 4 or None}
        for n in numbers
    ]
    metadatas[5] = None
    for n in (0, 1, 4, 9):
        metadatas[n] |= {"sp": SparseVector([n, 20], [0.1, n / 3])}
    documents = [None if n % 4 == 3 else f"text {n} of Übung {'text ' * n}" for n in numbers]
    return Batch([f"id{n}" for n in numbers], vectors, documents=documents, metadatas=metadatas)


def schema(bm25: bool) -> Schema:
    return Schema().create_index(SparseVectorIndexConfig(bm25=bm25), key="sp")


def filled(engine: Engine, space: Any = "l2", bm25: bool = False) -> tuple[Address, RankingOracle]:
    address, oracle = make(engine, space=space, schema=schema(bm25)), Oracle(space)
    oracle.add(batch())
    engine.add(address, batch())
    return address, RankingOracle(oracle, bm25=bm25)


# ── any expression ───────────────────────────────────────────────────────────────────────────────

NUMBERS = st.sampled_from([-1.0, 0.0, 0.5, 1, 2, 60])
DENSE = st.lists(st.sampled_from([0.0, 1.0, 2.0, -0.7]), min_size=3, max_size=3)
SPARSE = st.dictionaries(st.sampled_from([0, 1, 4, 7, 20]), st.sampled_from([1.0, -0.3])).map(
    lambda parts: SparseVector(sorted(parts), [parts[index] for index in sorted(parts)])
)
TEXTS = st.sampled_from(["", "!", "text", "Ubung 3 text", "text text 4", "nowhere"])
QUERIES = st.one_of(
    st.tuples(DENSE, st.just("#embedding")),
    st.tuples(SPARSE, st.just("sp")),
    st.tuples(TEXTS, st.just("#document")),
)
KNNS = st.builds(
    lambda query, **more: Knn(*query, **more),
    QUERIES,
    limit=st.integers(1, 6),
    default=st.none() | NUMBERS,
    return_rank=st.booleans(),
)
LEAVES: st.SearchStrategy[Rank] = KNNS | KNNS | st.builds(Val, NUMBERS)


def _grown(ranks: st.SearchStrategy[Rank]) -> st.SearchStrategy[Rank]:
    two = st.tuples(ranks, ranks | NUMBERS)
    return st.one_of(
        two.map(lambda pair: pair[0] + pair[1]),
        two.map(lambda pair: pair[0] * pair[1]),
        two.map(lambda pair: pair[0] - pair[1]),
        two.map(lambda pair: pair[0] / pair[1]),
        two.map(lambda pair: pair[0].max(pair[1])),
        two.map(lambda pair: pair[0].min(pair[1])),
        ranks.map(abs),
        ranks.map(lambda rank: rank.exp()),
        ranks.map(lambda rank: rank.log()),
        st.builds(Rrf, st.lists(KNNS, min_size=1, max_size=3), normalize=st.booleans()),
    )


RANKS = st.none() | st.recursive(LEAVES, _grown, max_leaves=5)
WHERES = st.sampled_from([None, K("size") > 0, K("group") == "a", K.DOCUMENT.contains("1")])
AGGREGATES = st.builds(
    lambda kind, keys, k: kind(keys, k),
    st.sampled_from([MinK, MaxK]),
    st.sampled_from([["price"], [K.SCORE], ["size", "price"], ["price", K.SCORE]]),
    st.integers(1, 3),
)
GROUPS = st.none() | st.builds(GroupBy, st.sampled_from([["group"], ["size", "group"]]), AGGREGATES)
LIMITS = st.none() | st.integers(1, 5)


@pytest.mark.parametrize("space", ["l2", "cosine", "ip"])
def test_a_search_answers_as_the_oracle_does(space: Any) -> None:
    engine = LocalEngine()
    address, oracle = filled(engine, space, bm25=space == "ip")

    @given(rank=RANKS, where=WHERES, group_by=GROUPS, limit=LIMITS, offset=st.integers(0, 3))
    @example(  # a quotient by minus nothing
        Knn(query="text", key="#document", limit=1) / (Val(-1.0) * Val(0.0)), None, None, None, 0
    )
    @settings(max_examples=150)
    def check(rank: Any, where: Any, group_by: Any, limit: Any, offset: int) -> None:
        search = Search(where, rank, group_by if rank is not None else None).limit(limit, offset)
        [ranked] = engine.search(address, [search])
        told = list(zip(ranked.records.ids, ranked.scores.tolist(), strict=True))
        assert repr(told) == repr(oracle.search(search))
        again = Search.from_dict(search.to_dict())
        assert repr(engine.search(address, [again])[0].scores) == repr(ranked.scores)

    check()
    engine.close()


# ── sentences ────────────────────────────────────────────────────────────────────────────────────


def found(engine: Engine, address: Address, search: Search) -> list[str]:
    return engine.search(address, [search])[0].records.ids


def test_without_a_rank_records_come_in_the_order_of_insertion(engine: Engine) -> None:
    address, _ = filled(engine)
    [ranked] = engine.search(address, [Search().limit(2, 1)])
    assert ranked.records.ids == ["id1", "id2"]
    assert ranked.scores.tolist() == [1, 2]


def test_a_constant_ranks_nobody(engine: Engine) -> None:
    address, _ = filled(engine)
    assert found(engine, address, Search(rank=Val(1))) == []


def test_records_that_one_neighbourhood_lacks_drop_out_unless_it_has_a_default(
    engine: Engine,
) -> None:
    address, _ = filled(engine)
    near, far = Knn([0, 0, 0], limit=2), Knn([4, 3, 1], limit=2)
    assert found(engine, address, Search(rank=near + far)) == []
    assert len(found(engine, address, Search(rank=near + Knn([4, 3, 1], limit=2, default=9)))) == 2
    both = Knn([0, 0, 0], limit=2, default=9) + Knn([4, 3, 1], limit=2, default=9)
    assert len(found(engine, address, Search(rank=both))) == 4


def test_only_what_passes_the_filter_is_a_neighbour(engine: Engine) -> None:
    address, _ = filled(engine)
    ids = found(engine, address, Search(K.ID.is_in(["id3", "id9"]), Knn([0, 0, 0], limit=1)))
    assert ids == ["id3"] or ids == ["id9"]


def test_several_searches_are_answered_at_once(engine: Engine) -> None:
    address, _ = filled(engine)
    answers = engine.search(address, [Search().limit(1), Search(K("size") == 2).limit(1)])
    assert [one.records.ids for one in answers] == [["id0"], ["id2"]]
    assert engine.search(address, []) == []


def test_selected_columns_come_back(engine: Engine) -> None:
    address, _ = filled(engine)
    search = Search().limit(1).select(K.DOCUMENT, K.EMBEDDING, "size", "nothing")
    [ranked] = engine.search(address, [search])
    assert ranked.records.documents == ["text 0 of Übung "]
    assert ranked.records.metadatas == [{"size": 0}]
    assert ranked.records.vectors is not None
    assert ranked.records.vectors.tolist() == [[0, 0, 0]]
    [ranked] = engine.search(address, [Search().limit(1).select("nothing")])
    assert ranked.records.metadatas == [None]
    [ranked] = engine.search(address, [Search().limit(1, 2).select_all()])
    assert ranked.records.metadatas == [{"group": 1, "size": 2, "price": 2}]
    [ranked] = engine.search(address, [Search().limit(1)])
    assert ranked.records.documents is ranked.records.metadatas is ranked.records.vectors is None


def test_a_collection_without_records_answers_with_nothing(engine: Engine) -> None:
    address = make(engine)
    [ranked] = engine.search(address, [Search(rank=Knn([1.0])).select_all()])
    assert ranked.records.ids == ranked.records.documents == []
    assert ranked.scores.tolist() == []


@pytest.mark.parametrize(
    ("search", "words"),
    [
        (Search(group_by=GroupBy("a", MinK("b", 1))), "searches[0].group_by: group_by requires"),
        (Search(rank=Val(1), group_by=GroupBy("#id", MinK("b", 1))), "must be metadata fields"),
        (Search(rank=Val(1), group_by=GroupBy("a", MinK("#id", 1))), "must be metadata fields"),
        (Search(rank=Val(1), group_by=GroupBy("a", MinK("b", 0))), "k must be "),
        (Search(rank=Val(1), group_by=GroupBy("a", MinK([], 1))), "key"),
        (Search(select=["#what"]), "searches[0].select: '#what' is not a column"),
        (Search(rank=Knn("text")), "vector"),
        (Search(rank=1 + Knn([1.0], "#document")), "needs a text"),
        (Search(rank=Knn([1e39, 0, 0])), "NaN or Infinity"),
        (Search(rank=Knn(SparseVector([1], [1.0]), "no")), "'no' with type 'SparseVector'"),
        (Search(rank=Knn([1.0], "sp")), "a Knn on 'sp' needs a sparse vector"),
        (Search(K("a").regex("(")), "Regex syntax errror"),
    ],
)
def test_what_makes_no_sense_is_refused(engine: Engine, search: Search, words: str) -> None:
    address, _ = filled(engine)
    with pytest.raises(InvalidArgumentError) as refusal:
        engine.search(address, [search])
    assert words in str(refusal.value)


def test_a_query_of_another_dimension_is_refused(engine: Engine) -> None:
    address, _ = filled(engine)
    with pytest.raises(DimensionError):
        engine.search(address, [Search(rank=Knn([1.0]))])
