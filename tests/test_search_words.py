"""The parts of a `Search`: the forms they have, and what is refused.

The forms were compared with those of chromadb 1.5.9 for the same expressions.
"""

import json
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from vermilion.query import search as words
from vermilion.query.search import (
    Aggregate,
    GroupBy,
    K,
    Key,
    Knn,
    Limit,
    MaxK,
    MinK,
    Rrf,
    Search,
    SearchWhere,
    Select,
    Val,
    Where,
)

A, B = K("a") == 1, K("b") == 2
FORM_A, FORM_B = {"a": {"$eq": 1}}, {"b": {"$eq": 2}}
KNN = {"$knn": {"query": [1.0], "key": "#embedding", "limit": 16}}

Refusal = tuple[Callable[[], Any], type[Exception], str]


def test_every_name_of_the_expression_module_is_here() -> None:
    assert set(words.__all__) == {
        *(
            "Search",
            "Key",
            "K",
            "SearchWhere",
            "Where",
            "And",
            "Or",
            "Not",
            "Eq",
            "Ne",
            "Gt",
            "Gte",
        ),
        *("Lt", "Lte", "In", "Nin", "Regex", "NotRegex", "Contains", "NotContains", "Limit"),
        *("Select", "Rank", "Abs", "Div", "Exp", "Log", "Max", "Min", "Mul", "Knn", "Rrf"),
        *("Sub", "Sum", "Val", "Aggregate", "MinK", "MaxK", "GroupBy"),
    }
    assert SearchWhere is Where
    assert K is Key


# ── limit, select, groups ────────────────────────────────────────────────────────────────────────

PARTS: list[tuple[Limit | Select | GroupBy | Aggregate, dict[str, Any]]] = [
    (Limit(), {"offset": 0}),
    (Limit(2, 3), {"offset": 2, "limit": 3}),
    (Limit(limit=3), {"offset": 0, "limit": 3}),
    (Select(), {"keys": []}),
    (Select({"b", K.SCORE, "a"}), {"keys": ["#score", "a", "b"]}),
    (Select({K.DOCUMENT, "#document"}), {"keys": ["#document"]}),
    (MinK("a", 1), {"$min_k": {"keys": ["a"], "k": 1}}),
    (MaxK([K.SCORE, "a"], 2), {"$max_k": {"keys": ["#score", "a"], "k": 2}}),
    (GroupBy(), {}),
    (
        GroupBy(keys=K("a"), aggregate=MinK(keys=K.SCORE, k=3)),
        {"keys": ["a"], "aggregate": {"$min_k": {"keys": ["#score"], "k": 3}}},
    ),
    (
        GroupBy(keys=["a", K("b")], aggregate=MaxK("c", 1)),
        {"keys": ["a", "b"], "aggregate": {"$max_k": {"keys": ["c"], "k": 1}}},
    ),
]


@pytest.mark.parametrize(("part", "form"), PARTS)
def test_a_part_has_the_form_that_travels_and_is_read_back(part: Any, form: dict[str, Any]) -> None:
    assert part.to_dict() == form
    assert type(part).from_dict(json.loads(json.dumps(form))) == part


def test_there_is_no_grouping_unless_keys_and_aggregate_are_given() -> None:
    assert GroupBy(keys=["a"]).to_dict() == {}
    assert GroupBy(aggregate=MinK("a", 1)).to_dict() == {}


def test_a_key_is_found_among_selected_names() -> None:
    selected = Select.from_dict({"keys": ["#document", "title"]}).keys
    assert K.DOCUMENT in selected
    assert K("title") in selected
    assert K.SCORE not in selected


def min_k(**changes: Any) -> dict[str, Any]:
    return {"$min_k": {"keys": ["a"], "k": 1} | changes}


PART_REFUSALS: list[Refusal] = [
    (lambda: Limit(offset=-1), ValueError, "offset must be non-negative"),
    (lambda: Limit(limit="x"), TypeError, "limit must be an integer"),  # type: ignore[arg-type]
    (lambda: Limit.from_dict(1), TypeError, "Expected dict for Limit"),  # type: ignore[arg-type]
    (lambda: Limit.from_dict({"limit": 0}), ValueError, "must be positive"),
    (lambda: Limit.from_dict({"limit": -1}), ValueError, "must be positive"),
    (lambda: Limit.from_dict({"limit": "1"}), TypeError, "must be an integer"),
    (lambda: Limit.from_dict({"limit": True}), TypeError, "must be an integer"),
    (lambda: Limit.from_dict({"offset": -1}), ValueError, "must be non-negative"),
    (lambda: Limit.from_dict({"offset": 1.5}), TypeError, "must be an integer"),
    (lambda: Limit.from_dict({"max": 1}), ValueError, "Unexpected keys in Limit dict"),
    (lambda: Select.from_dict(1), TypeError, "Expected dict for Select"),  # type: ignore[arg-type]
    (lambda: Select.from_dict({"keys": "a"}), TypeError, "must be a list/tuple/set"),
    (lambda: Select.from_dict({"keys": 1}), TypeError, "must be a list/tuple/set"),
    (lambda: Select.from_dict({"keys": [1]}), TypeError, "must be a string"),
    (lambda: Select.from_dict({"key": []}), ValueError, "Unexpected keys in Select dict"),
    (lambda: Aggregate().to_dict(), TypeError, "contract"),
    (lambda: MinK(["a"], "x"), TypeError, "k must be an integer"),  # type: ignore[arg-type]
    (lambda: Aggregate.from_dict(1), TypeError, "Expected dict"),  # type: ignore[arg-type]
    (lambda: Aggregate.from_dict({}), ValueError, "Aggregate dict cannot be empty"),
    (lambda: Aggregate.from_dict(min_k() | {"$max_k": {}}), ValueError, "exactly one operator"),
    (lambda: Aggregate.from_dict({"$sum_k": {}}), ValueError, "Unknown aggregate operator"),
    (lambda: Aggregate.from_dict({"$min_k": 1}), TypeError, "$min_k requires a dict"),
    (lambda: Aggregate.from_dict({"$min_k": {"k": 1}}), ValueError, "requires 'keys' field"),
    (lambda: Aggregate.from_dict({"$max_k": {"keys": ["a"]}}), ValueError, "requires 'k' field"),
    (lambda: Aggregate.from_dict(min_k(keys="a")), TypeError, "keys must be a list"),
    (lambda: Aggregate.from_dict(min_k(keys=[])), ValueError, "keys cannot be empty"),
    (lambda: Aggregate.from_dict(min_k(k=0)), ValueError, "k must be positive"),
    (lambda: Aggregate.from_dict(min_k(k="1")), TypeError, "k must be an integer"),
    (lambda: Aggregate.from_dict(min_k(n=1)), ValueError, "Unexpected keys in $min_k dict"),
    (lambda: GroupBy(aggregate=1), TypeError, "aggregate must be"),  # type: ignore[arg-type]
    (lambda: GroupBy.from_dict(1), TypeError, "Expected dict for GroupBy"),  # type: ignore[arg-type]
    (lambda: GroupBy.from_dict({"aggregate": min_k()}), ValueError, "requires 'keys' field"),
    (lambda: GroupBy.from_dict({"keys": ["a"]}), ValueError, "requires 'aggregate' field"),
    (
        lambda: GroupBy.from_dict({"keys": [], "aggregate": min_k()}),
        ValueError,
        "keys cannot be empty",
    ),
    (
        lambda: GroupBy.from_dict({"keys": ["a"], "aggregate": None}),
        TypeError,
        "aggregate must be a dict",
    ),
    (
        lambda: GroupBy.from_dict({"keys": ["a"], "aggregate": min_k(), "by": 1}),
        ValueError,
        "Unexpected keys in GroupBy dict",
    ),
]

# ── the search ───────────────────────────────────────────────────────────────────────────────────

NOTHING: dict[str, Any] = {
    "filter": None,
    "rank": None,
    "group_by": {},
    "limit": {"offset": 0},
    "select": {"keys": []},
}
GROUPS = {"keys": ["g"], "aggregate": {"$min_k": {"keys": ["#score"], "k": 1}}}

SEARCHES: list[tuple[Search, dict[str, Any]]] = [
    (Search(), {}),
    (Search(where=A), {"filter": FORM_A}),
    (Search(where={"a": 1}), {"filter": FORM_A}),
    (Search(rank=Knn([1.0])), {"rank": KNN}),
    (Search(rank={"$val": 1}), {"rank": {"$val": 1}}),
    (Search(rank=Rrf([Val(1)])), {"rank": Rrf([Val(1)]).expand().to_dict()}),
    (Search(group_by=GROUPS), {"group_by": GROUPS}),
    (Search(group_by=GroupBy("g", MinK(K.SCORE, 1))), {"group_by": GROUPS}),
    (Search(group_by={}), {}),
    (Search(limit=3), {"limit": {"offset": 0, "limit": 3}}),
    (Search(limit={"limit": 3, "offset": 2}), {"limit": {"offset": 2, "limit": 3}}),
    (Search(limit=Limit(offset=3)), {"limit": {"offset": 3}}),
    (Search(limit={}), {}),
    (Search(select=["#score", "a", "a"]), {"select": {"keys": ["#score", "a"]}}),
    (Search(select={"a"}), {"select": {"keys": ["a"]}}),
    (Search(select={"keys": ["a", "#document"]}), {"select": {"keys": ["#document", "a"]}}),
    (Search(select=Select({K.SCORE})), {"select": {"keys": ["#score"]}}),
    (
        Search({"a": 1}, {"$val": 1}, None, 5, ["a"]),
        {
            "filter": FORM_A,
            "rank": {"$val": 1},
            "limit": {"offset": 0, "limit": 5},
            "select": {"keys": ["a"]},
        },
    ),
    (Search().where(A), {"filter": FORM_A}),
    (Search(where=A).where(None), {}),
    (Search(where=A).where(B), {"filter": FORM_B}),
    (Search().rank({"$val": 2}), {"rank": {"$val": 2}}),
    (Search().group_by(GROUPS), {"group_by": GROUPS}),
    (Search().limit(5), {"limit": {"offset": 0, "limit": 5}}),
    (Search().limit(5, 2), {"limit": {"offset": 2, "limit": 5}}),
    (Search().limit(5, offset=2), {"limit": {"offset": 2, "limit": 5}}),
    (Search().limit(None, 3), {"limit": {"offset": 3}}),
    (Search().select("a", K.SCORE), {"select": {"keys": ["#score", "a"]}}),
    (Search().select("a").select("b"), {"select": {"keys": ["b"]}}),
    (
        Search().select_all(),
        {"select": {"keys": ["#document", "#embedding", "#metadata", "#score"]}},
    ),
    (
        Search()
        .where(A)
        .rank(Knn([1.0]))
        .group_by(GroupBy("g", MinK("#score", 1)))
        .limit(3)
        .select(K.DOCUMENT),
        {
            "filter": FORM_A,
            "rank": KNN,
            "group_by": GROUPS,
            "limit": {"offset": 0, "limit": 3},
            "select": {"keys": ["#document"]},
        },
    ),
]


@pytest.mark.parametrize(("search", "changes"), SEARCHES)
def test_a_search_always_sends_all_five_parts(search: Search, changes: dict[str, Any]) -> None:
    assert search.to_dict() == NOTHING | changes


@pytest.mark.parametrize(("search", "changes"), SEARCHES)
def test_a_search_is_read_back_as_it_was(search: Search, changes: dict[str, Any]) -> None:
    assert Search.from_dict(search.to_dict()).to_dict() == search.to_dict()


def test_a_limit_of_zero_can_be_made_and_is_refused_when_read() -> None:
    form = Search().limit(0).to_dict()
    assert form["limit"] == {"offset": 0, "limit": 0}
    with pytest.raises(ValueError, match="must be positive"):
        Search.from_dict(form)


def test_a_search_from_the_wire_may_leave_parts_out() -> None:
    assert Search.from_dict({}) == Search()
    assert Search.from_dict({"filter": {}, "rank": None, "group_by": {}}) == Search()


def test_a_search_does_not_change_when_another_is_made_from_it() -> None:
    search = Search().limit(3)
    search.where(A).rank(Val(1)).limit(5).select_all()
    assert search == Search(limit=3)
    with pytest.raises(FrozenInstanceError):
        search._limit = Limit()  # type: ignore[misc]


def test_the_parts_of_a_search_can_be_read() -> None:
    search = Search(A, Val(1), GroupBy("g", MinK("a", 1)), 3, ["a"])
    assert search.parts() == (A, Val(1), GroupBy("g", MinK("a", 1)), Limit(0, 3), Select(["a"]))


SEARCH_REFUSALS: list[Refusal] = [
    (lambda: Search(where="x"), TypeError, "where must be"),  # type: ignore[arg-type]
    (lambda: Search(where={}), ValueError, "Where dict cannot be empty"),
    (lambda: Search(rank=1), TypeError, "rank must be"),  # type: ignore[arg-type]
    (lambda: Search(rank=1.5), TypeError, "rank must be"),  # type: ignore[arg-type]
    (lambda: Search(rank={}), ValueError, "Rank dict cannot be empty"),
    (lambda: Search(limit="x"), TypeError, "limit must be"),  # type: ignore[arg-type]
    (lambda: Search(limit=True), TypeError, "limit must be"),
    (lambda: Search(limit=0), ValueError, "must be positive"),
    (lambda: Search(limit=-1), ValueError, "must be positive"),
    (lambda: Search(select="a"), TypeError, "select must be"),  # type: ignore[arg-type]
    (lambda: Search(select=("a",)), TypeError, "select must be"),  # type: ignore[arg-type]
    (lambda: Search(select=[1]), TypeError, "must be a string"),  # type: ignore[list-item]
    (lambda: Search(group_by=1), TypeError, "group_by must be"),  # type: ignore[arg-type]
    (lambda: Search().where("x"), TypeError, "where must be"),  # type: ignore[arg-type]
    (lambda: Search().rank(2), TypeError, "rank must be"),  # type: ignore[arg-type]
    (lambda: Search().group_by([]), TypeError, "group_by must be"),  # type: ignore[arg-type]
    (lambda: Search().limit(5, -1), ValueError, "offset must be non-negative"),
    (lambda: Search().select(["a"]), TypeError, "must be a string"),  # type: ignore[arg-type]
    (lambda: Search.from_dict([]), TypeError, "Expected dict for Search"),  # type: ignore[arg-type]
    (lambda: Search.from_dict({"where": {}}), ValueError, "Unexpected keys in Search dict"),
]


@pytest.mark.parametrize(
    ("attempt", "error", "anchor"),
    PART_REFUSALS + SEARCH_REFUSALS,
)
def test_what_cannot_be_sent_is_refused_in_words(
    attempt: Callable[[], Any], error: type[Exception], anchor: str
) -> None:
    with pytest.raises(error) as refusal:
        attempt()
    assert anchor in str(refusal.value)


# ── where it is wrong ────────────────────────────────────────────────────────────────────────────

GOOD = {"$knn": {"query": [1.0]}}
PLACES: list[tuple[dict[str, Any], str]] = [
    ({"rank": {"$sum": [GOOD, {"$knn": {"query": [1.0], "limit": 0}}]}}, "rank.$sum[1].$knn.limit"),
    ({"rank": {"$knn": {"query": []}}}, "rank.$knn.query"),
    ({"rank": {"$knn": {"query": [1.0], "far": 1}}}, "rank.$knn"),
    ({"rank": {"$div": {"left": GOOD, "right": {"$val": "x"}}}}, "rank.$div.right.$val"),
    ({"rank": {"$exp": {"$max": [GOOD, {"$what": 1}]}}}, "rank.$exp.$max[1]"),
    ({"rank": 5}, "rank"),
    ({"filter": {"a": {"$what": 1}}}, "filter"),
    ({"limit": {"limit": -1}}, "limit"),
    ({"group_by": {"keys": ["a"], "aggregate": {"$min_k": {"keys": ["b"], "k": 0}}}}, "group_by"),
    ({"select": {"keys": [5]}}, "select"),
]


@pytest.mark.parametrize(("form", "place"), PLACES, ids=[place for _, place in PLACES])
def test_an_error_says_where_it_is(form: dict[str, Any], place: str) -> None:
    with pytest.raises((ValueError, TypeError)) as refusal:
        Search.from_dict(form)
    assert str(refusal.value).endswith(f" (at {place})")
    assert str(refusal.value).count("(at ") == 1
