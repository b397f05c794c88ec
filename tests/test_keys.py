"""Keys and filters: the forms they have, and what is refused.

The forms were compared with those of chromadb 1.5.9 for the same expressions.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest

from vermilion.query.keys import (
    And,
    Contains,
    Eq,
    Gt,
    Gte,
    In,
    K,
    Lt,
    Lte,
    Ne,
    Nin,
    NotContains,
    NotRegex,
    Or,
    Regex,
    Where,
)

A, B, C = K("a") == 1, K("b") == 2, K("c") == 3
FORM_A, FORM_B, FORM_C = {"a": {"$eq": 1}}, {"b": {"$eq": 2}}, {"c": {"$eq": 3}}


FILTERS: list[tuple[Where, dict[str, Any]]] = [
    (K("a") == 1, {"a": {"$eq": 1}}),
    (K("a") != "x", {"a": {"$ne": "x"}}),
    (K("a") > 1, {"a": {"$gt": 1}}),
    (K("a") >= 1, {"a": {"$gte": 1}}),
    (K("a") < 1.5, {"a": {"$lt": 1.5}}),
    (K("a") <= 1, {"a": {"$lte": 1}}),
    (K("a").is_in([1, 2]), {"a": {"$in": [1, 2]}}),
    (K("a").is_in((1, 2)), {"a": {"$in": [1, 2]}}),
    (K("a").not_in({1}), {"a": {"$nin": [1]}}),
    (K("a").is_in([]), {"a": {"$in": []}}),
    (K("a").regex("^x"), {"a": {"$regex": "^x"}}),
    (K("a").not_regex("^x"), {"a": {"$not_regex": "^x"}}),
    (K("a").contains(True), {"a": {"$contains": True}}),
    (K("a").not_contains(1.5), {"a": {"$not_contains": 1.5}}),
    (K.DOCUMENT.contains("x"), {"#document": {"$contains": "x"}}),
    (K.ID.is_in(["a"]), {"#id": {"$in": ["a"]}}),
    (A & B, {"$and": [FORM_A, FORM_B]}),
    (A | B, {"$or": [FORM_A, FORM_B]}),
    (A & B & C, {"$and": [FORM_A, FORM_B, FORM_C]}),
    (A & (B & C), {"$and": [FORM_A, FORM_B, FORM_C]}),
    ((A | B) | C, {"$or": [FORM_A, FORM_B, FORM_C]}),
    (A & B | C, {"$or": [{"$and": [FORM_A, FORM_B]}, FORM_C]}),
    (A & (B | C), {"$and": [FORM_A, {"$or": [FORM_B, FORM_C]}]}),
    (Eq("a", 1), FORM_A),
    (Ne("a", 1), {"a": {"$ne": 1}}),
    (Gt("a", 1), {"a": {"$gt": 1}}),
    (Gte("a", 1), {"a": {"$gte": 1}}),
    (Lt("a", 1), {"a": {"$lt": 1}}),
    (Lte("a", 1), {"a": {"$lte": 1}}),
    (In("a", [1]), {"a": {"$in": [1]}}),
    (Nin("a", [1]), {"a": {"$nin": [1]}}),
    (Regex("a", "x"), {"a": {"$regex": "x"}}),
    (NotRegex("a", "x"), {"a": {"$not_regex": "x"}}),
    (Contains("a", 1), {"a": {"$contains": 1}}),
    (NotContains("a", "x"), {"a": {"$not_contains": "x"}}),
    (And([A, Or([B, C])]), {"$and": [FORM_A, {"$or": [FORM_B, FORM_C]}]}),
    (~A, {"$not": FORM_A}),
    (~(A & B), {"$not": {"$and": [FORM_A, FORM_B]}}),
    (K("a").exists(), {"a": {"$exists": True}}),
    (K("a").exists(False), {"a": {"$exists": False}}),
    (K("a").between(1, 2), {"a": {"$between": [1, 2]}}),
    (K("a").starts_with("x"), {"a": {"$starts_with": "x"}}),
    (K("a").starts_with("x", any_case=True), {"a": {"$istarts_with": "x"}}),
    (K("a").ends_with("x"), {"a": {"$ends_with": "x"}}),
    (K("a").ends_with("x", any_case=True), {"a": {"$iends_with": "x"}}),
    (K("a").icontains("x"), {"a": {"$icontains": "x"}}),
    (K("a").contains_all((1, 2)), {"a": {"$all": [1, 2]}}),
    (K("a").size(2), {"a": {"$size": 2}}),
]


@pytest.mark.parametrize(("where", "form"), FILTERS)
def test_a_filter_has_the_form_that_every_where_has(where: Where, form: dict[str, Any]) -> None:
    assert where.to_dict() == form


@pytest.mark.parametrize(("where", "form"), FILTERS)
def test_a_filter_is_read_back_as_it_was(where: Where, form: dict[str, Any]) -> None:
    assert Where.from_dict(json.loads(json.dumps(form))) == where


@pytest.mark.parametrize(
    ("form", "where"),
    [
        ({"a": "x"}, Eq("a", "x")),
        ({"a": None}, Eq("a", None)),
        ({"$and": [{"a": 1}]}, A),
        ({"$or": [{"a": 1}]}, A),
        ({"$and": [{"$and": [{"a": 1}, {"b": 2}]}, {"c": 3}]}, And([A, B, C])),
        ({"a": 1, "b": 2, "c": 3}, And([A, B, C])),
        ({"a": {"$gt": 1, "$lt": 2}}, And([Gt("a", 1), Lt("a", 2)])),
        ({"a": {"$not": {"$eq": 1}}}, ~A),
        ({"a": {"#type": "date", "value": "x"}}, Eq("a", {"#type": "date", "value": "x"})),
    ],
)
def test_short_forms_of_filters_are_read(form: dict[str, Any], where: Where) -> None:
    assert Where.from_dict(form) == where


def test_keys_are_names() -> None:
    parts = [K.ID, K.DOCUMENT, K.EMBEDDING, K.METADATA, K.SCORE]
    assert [key.name for key in parts] == ["#id", "#document", "#embedding", "#metadata", "#score"]
    assert repr(K("a")) == "K('a')"
    assert hash(K("a")) == hash("a")


def test_two_keys_are_compared_as_names_and_do_not_make_a_filter() -> None:
    assert (K("a") == K("a")) is True
    assert (K("a") == K("b")) is False
    assert (K("a") != K("b")) is True
    assert {K("a"), K("a"), K("b")} == {K("b"), K("a")}


def test_filters_are_combined_with_filters_only() -> None:
    with pytest.raises(TypeError):
        A & {"b": 1}
    with pytest.raises(TypeError):
        A | None


DEEP_WHERE: dict[str, Any] = {"a": 1}
for _ in range(200):
    DEEP_WHERE = {"$and": [DEEP_WHERE]}

Refusal = tuple[Callable[[], Any], type[Exception], str]

REFUSALS: list[Refusal] = [
    (lambda: K(1), TypeError, "must be a str"),  # type: ignore[arg-type]
    (lambda: K("a").is_in(1), TypeError, "$in requires a list"),  # type: ignore[arg-type]
    (lambda: K("a").not_in("ab"), TypeError, "$nin requires a list"),  # type: ignore[arg-type]
    (lambda: K("a").regex(1), TypeError, "requires a string pattern"),  # type: ignore[arg-type]
    (lambda: K("a").contains([1]), TypeError, "$contains requires"),  # type: ignore[arg-type]
    (lambda: K.DOCUMENT.contains(1), TypeError, "$contains on #document requires a string"),
    (lambda: K.DOCUMENT.contains(True), TypeError, "$contains on #document requires a string"),
    (lambda: K.DOCUMENT.not_contains(3.1), TypeError, "$not_contains on #document requires a"),
    (lambda: Where().to_dict(), TypeError, "contract"),
    (lambda: Where.from_dict("x"), TypeError, "Expected dict for Where"),  # type: ignore[arg-type]
    (lambda: Where.from_dict({}), ValueError, "Where dict cannot be empty"),
    (lambda: Where.from_dict({1: 2}), TypeError, "Field name must be a string"),  # type: ignore[dict-item]
    (lambda: Where.from_dict({"a": {}}), ValueError, "Operator dict for field 'a' cannot be empty"),
    (lambda: Where.from_dict({"a": {"$near": 1}}), ValueError, "Unknown operator: $near"),
    (lambda: Where.from_dict({"$not": [{"a": 1}]}), TypeError, "Expected dict for Where"),
    (lambda: Where.from_dict({"$nor": [{"a": 1}]}), ValueError, "Unknown operator: $nor"),
    (lambda: Where.from_dict({"$and": []}), ValueError, "requires at least one condition"),
    (lambda: Where.from_dict({"$or": 1}), TypeError, "$or must be a list"),
    (lambda: Where.from_dict({"$and": [1]}), TypeError, "Expected dict for Where"),
    (lambda: Where.from_dict({"$and": [], "b": 1}), ValueError, "cannot be combined"),
    (lambda: Where.from_dict({"a": {"$in": (1,)}}), TypeError, "$in requires a list, got tuple"),
    (lambda: Where.from_dict({"a": {"$regex": 1}}), TypeError, "$regex requires a string pattern"),
    (lambda: Where.from_dict({"a": {"$contains": None}}), TypeError, "$contains requires"),
    (lambda: Where.from_dict(DEEP_WHERE), ValueError, "nested more than 100 levels"),
]


@pytest.mark.parametrize(("attempt", "error", "anchor"), REFUSALS)
def test_what_cannot_be_sent_is_refused_in_words(
    attempt: Callable[[], Any], error: type[Exception], anchor: str
) -> None:
    with pytest.raises(error) as refusal:
        attempt()
    assert anchor in str(refusal.value)
