"""Filters: what the parser takes and refuses, what each operator means, the dialect of patterns."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta, timezone
from enum import Enum, IntEnum
from typing import Any

import numpy as np
import pytest

from vermilion.errors import ArgumentValueError, InvalidArgumentError
from vermilion.metadata import fields_of
from vermilion.query.operators import MAX_PIECE, SHORTHANDS, has_match
from vermilion.query.where import (
    DOCUMENT,
    DOCUMENT_OPERATORS,
    ID,
    ID_OPERATORS,
    MAX_DEPTH,
    MAX_PATTERN,
    OPERATORS,
    And,
    Condition,
    Or,
    beyond,
    both,
    conditions,
    expression,
    negation,
    parse,
)


def matches(where: Any, record: dict[str, Any]) -> bool:
    filter = parse(where)
    return filter is None or filter.matches(record.get)


def document_matches(where: Any, document: str | None) -> bool:
    filter = parse(None, where)
    return filter is None or filter.matches({DOCUMENT: document}.get)


# ── what operators mean ──────────────────────────────────────────────────────────────────────────

ABSENT = object()

DAY, NOON = date(2024, 2, 29), datetime(2024, 2, 29, 12)
UTC_NOON, HALF = NOON.replace(tzinfo=UTC), timedelta(hours=12)
EAST = UTC_NOON.astimezone(timezone(timedelta(hours=9)))

# operator, operand, what matches, what does not; ABSENT is a record without the key
MEANINGS: list[tuple[str, Any, list[Any], list[Any]]] = [
    ("$eq", "a", ["a"], ["A", "b", "", 1, ["a"], ABSENT]),
    ("$eq", 2, [2, 2.0], [2.5, "2", True, [2], ABSENT]),
    ("$eq", 2.5, [2.5], [2, 3, ABSENT]),
    ("$eq", True, [True], [False, 1, 1.0, "True", ABSENT]),
    ("$eq", 2**53 + 1, [2**53 + 1], [2**53, 2.0**53, ABSENT]),
    ("$ne", "a", ["b", 1, ["a"], ABSENT], ["a"]),
    ("$ne", 2, [3, 2.5, "2", True, ABSENT], [2, 2.0]),
    ("$gt", 2, [3, 2.5], [2, 1, "3", True, [3], ABSENT]),
    ("$gte", 2.5, [3, 2.5], [2, "3", ABSENT]),
    ("$lt", 2.5, [2, 2.25, -1], [3, 2.5, "1", False, ABSENT]),
    ("$lte", 2, [2, 2.0, 1], [2.5, "1", False, ABSENT]),
    ("$in", ["a", "b"], ["a", "b"], ["c", ["a"], 1, ABSENT]),
    ("$in", [1, 2.5], [1, 1.0, 2.5], [2, True, "1", ABSENT]),
    ("$in", [True], [True], [False, 1, ABSENT]),
    ("$nin", ["a", "b"], ["c", ["a"], 1, ABSENT], ["a", "b"]),
    ("$contains", "a", [["a"], ["b", "a"]], ["a", ["b"], ["A"], [1], ABSENT]),
    ("$contains", 1, [[1, 2]], [1, [1.0], [True], ["1"], ABSENT]),
    ("$contains", 1.0, [[1.0]], [[1], ABSENT]),
    ("$contains", True, [[True, False]], [[1], True, ABSENT]),
    ("$not_contains", "a", ["a", ["b"], [1], ABSENT], [["a"], ["b", "a"]]),
    ("$in", [1, "a", True], [1, 1.0, "a", True], [2, False, "1", ["a"], ABSENT]),
    ("$nin", [1, "a"], [2, True, ["a"], ABSENT], [1, 1.0, "a"]),
    ("$exists", True, ["", 0, False, [], {}, DAY], [ABSENT]),
    ("$exists", False, [ABSENT], ["", 0, False, [], {}, DAY]),
    ("$size", 2, [["a", "a"], [1, "x"]], [[], ["a"], "ab", 2, ABSENT]),
    ("$size", 0, [[]], [["a"], "", 0, {}, ABSENT]),
    ("$regex", "^a.c$", ["abc"], ["xabc", ["abc"], 1, ABSENT]),
    ("$not_regex", "^a", ["b", ["a"], 1, ABSENT], ["abc"]),
    ("$starts_with", "a.", ["a.b", "a."], ["ab", "xa.", "A.", ["a."], ABSENT]),
    ("$ends_with", "b)", ["(b)"], ["b) ", "B)", "b)\n", ABSENT]),
    ("$icontains", "É*", ["caf\u00e9*", "\u00c9*"], ["e*", "é", ABSENT]),
    ("$istarts_with", "ab", ["ABC", "aB"], ["xab", "x\nab", 1, ABSENT]),
    ("$iends_with", "ab", ["xAB", "ab"], ["aba", "ab\n", ABSENT]),
    ("$eq", DAY, [DAY, NOON - HALF, UTC_NOON - HALF], [NOON, "2024-02-29", 0, [DAY], ABSENT]),
    ("$eq", "2024-02-29", [DAY, NOON - HALF, "2024-02-29"], [NOON, ABSENT]),
    ("$ne", NOON, [DAY, "2024-02-29T12:00:00", ABSENT], [NOON, UTC_NOON]),
    ("$in", [DAY, 1], [DAY, 1.0], [NOON, "2024-02-29", ABSENT]),
    ("$gt", DAY, [NOON, UTC_NOON], [DAY, "2025-01-01", 10**18, ABSENT]),
    ("$gte", "2024-02-29T12:00:00+00:00", [NOON, UTC_NOON, EAST], [DAY, "2025-01-01", ABSENT]),
    ("$lt", UTC_NOON, [DAY], [NOON, UTC_NOON, EAST, ABSENT]),
    ("$contains", DAY, [[DAY], [1, DAY]], [[NOON], DAY, ["2024-02-29"], ABSENT]),
    ("$contains", UTC_NOON, [[UTC_NOON], [EAST]], [[NOON], [DAY], ABSENT]),
    ("$all", ["a", 1], [["a", 1, "b"]], [["a"], [1], [1.0, "a"], "a", ABSENT]),
    ("$between", [1, 2.5], [1, 2.5, 2], [0, 3, "2", True, ABSENT]),
    ("$between", [DAY, "2024-02-29T12:00"], [DAY, NOON, EAST], [date(2024, 3, 1), 1, ABSENT]),
    ("$not", {"$gt": 1, "$lt": 3}, [1, 3, "2", ABSENT], [2, 2.5]),
    ("$not", {"$not": {"$eq": 1}}, [1], [2, ABSENT]),
]


@pytest.mark.parametrize(("name", "operand", "yes", "no"), MEANINGS)
def test_operators_on_metadata(name: str, operand: Any, yes: list[Any], no: list[Any]) -> None:
    for values, expected in ((yes, True), (no, False)):
        for value in values:
            record = {} if value is ABSENT else {"k": value}
            assert matches({"k": {name: operand}}, record) == expected, value


def test_every_operator_has_a_meaning_in_the_tables() -> None:
    assert {name for name, *_ in MEANINGS} == {*OPERATORS, *SHORTHANDS}
    assert {name for name, *_ in DOCUMENT_MEANINGS} == set(DOCUMENT_OPERATORS)


DOCUMENT_MEANINGS: list[tuple[str, str, list[str | None], list[str | None]]] = [
    ("$contains", "é", ["café", "é"], ["cafe", "É", "", None]),
    ("$contains", "100%_\"'", ["a 100%_\"' b"], ["100", None]),
    ("$contains", "\0b", ["a\0b"], ["ab", None]),
    ("$contains", "京", ["東京"], ["東", None]),
    ("$not_contains", "a", ["b", "", None], ["a", "cab"]),
    ("$regex", "^a.c$", ["abc"], ["xabc", "a\nc", "", None]),
    ("$regex", "x*", ["", "anything"], [None]),
    ("$not_regex", "^a", ["b", "", None], ["abc"]),
    ("$starts_with", "a.", ["a.b"], ["ab", "\na.", None]),
    ("$ends_with", ".", ["a."], ["a", ".\n", None]),
    ("$icontains", "AB", ["xaby"], ["a b", "", None]),
    ("$istarts_with", "É", ["école"], ["l'école", None]),
    ("$iends_with", "K", ["\u212a", "ak"], ["ka", None]),  # the Kelvin sign folds to k
]


def test_documents_are_there_or_not() -> None:
    for there in (True, False):
        assert document_matches({"$exists": there}, "") == there
        assert document_matches({"$exists": there}, None) != there
    assert document_matches({"$not": {"$contains": "a"}}, None)
    assert document_matches({"$contains": "a", "$ends_with": "b"}, "ab")
    assert not document_matches({"$contains": "a", "$ends_with": "b"}, "ba")


@pytest.mark.parametrize(("name", "operand", "yes", "no"), DOCUMENT_MEANINGS)
def test_operators_on_documents(name: str, operand: str, yes: list[Any], no: list[Any]) -> None:
    for documents, expected in ((yes, True), (no, False)):
        for document in documents:
            assert document_matches({name: operand}, document) == expected, document
            assert matches({DOCUMENT: {name: operand}}, {DOCUMENT: document}) == expected


def test_filters_on_ids() -> None:
    for name, operand in (("$eq", "a"), ("$in", ["a", "b"])):
        assert matches({ID: {name: operand}}, {ID: "a"})
        assert not matches({ID: {name: operand}}, {ID: "c"})
    assert set(ID_OPERATORS) == {"$eq", "$ne", "$in", "$nin"}


def test_logic() -> None:
    a, b, c = {"a": 1}, {"b": 1}, {"c": 1}
    filter = {"$or": [{"$and": [a, b]}, c]}
    assert matches(filter, {"a": 1, "b": 1})
    assert matches(filter, {"c": 1})
    assert not matches(filter, {"a": 1})
    assert document_matches({"$and": [{"$contains": "a"}, {"$not_contains": "b"}]}, "a")
    assert not document_matches({"$or": [{"$contains": "a"}, {"$contains": "b"}]}, "c")


# ── the tree ─────────────────────────────────────────────────────────────────────────────────────


def test_no_filter_is_none() -> None:
    assert parse(None) is parse(None, None) is both() is both(None) is None


def test_forms_of_the_tree() -> None:
    a, b = Condition("a", OPERATORS["$eq"], 1), Condition("b", OPERATORS["$gt"], 2)
    text = Condition(DOCUMENT, DOCUMENT_OPERATORS["$contains"], "x")
    assert parse({"a": 1}) == parse({"a": {"$eq": 1}}) == a
    assert parse({"$and": [{"a": 1}, {"b": {"$gt": 2}}]}) == And((a, b))
    assert parse({"$or": [{"a": 1}, {"b": {"$gt": 2}}]}) == Or((a, b))
    assert parse(None, {"$contains": "x"}) == parse({DOCUMENT: {"$contains": "x"}}) == text
    assert parse({"a": 1}, {"$contains": "x"}) == both(a, None, text) == And((a, text))
    tree = Or((And((a, text)), b))
    assert list(conditions(tree)) == [a, text, b]


def test_search_takes_lists_of_one_part() -> None:
    assert parse({"$and": [{"a": 1}]}, at_least=1) == And((parse({"a": 1}),))  # type: ignore[arg-type]


def test_what_stands_for_more_is_spelled_out() -> None:
    a, b = Condition("a", OPERATORS["$gt"], 1), Condition("b", OPERATORS["$eq"], 2)
    assert parse({"a": {"$gt": 1}, "b": 2}) == And((a, b))
    assert parse({"a": {"$gt": 1, "$lt": 3}}) == And((a, Condition("a", OPERATORS["$lt"], 3)))
    assert parse({"$not": {"$and": [{"a": {"$gt": 1}}, {"b": 2}]}}) == Or(
        (negation(a), negation(b))
    )
    assert expression(negation(a)) == {"$not": {"$gt": 1}}  # type: ignore[arg-type]
    assert expression(negation(b)) == {"$ne": 2}  # type: ignore[arg-type]
    assert negation(negation(And((a, b)))) == And((a, b))
    text = Condition("a", OPERATORS["$in"], ["x"]), Condition("a", OPERATORS["$in"], [1, 2.5])
    assert parse({"a": {"$in": ["x", 1, 2.5]}}) == Or(text)


@pytest.mark.parametrize(
    "where",
    [
        {"a": 1, "b": {"$ne": "x"}},
        {"a": {"$between": [1, 2]}},
        {"a": {"$all": [1, 2]}},
        {"a": {"$in": [1, "x"]}},
        {"$not": {"a": {"$in": [1]}}},
        {"a.b": 1},
        {DOCUMENT: {"$regex": "x"}},
        {DOCUMENT: {"$exists": False}},
    ],
)
def test_what_the_servers_of_chroma_know(where: Any) -> None:
    filter = parse(where)
    assert filter is not None and beyond(filter) is None


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ({"a": {"$exists": True}}, "$exists on 'a'"),
        ({"a": 1, "b": {"$regex": "x"}}, "$regex on 'b'"),
        ({"a": {"$not": {"$gt": 1}}}, "$not on 'a'"),
        ({"a": DAY}, "a time as the operand of $eq on 'a'"),
        ({"a": {"$in": [1, DAY]}}, "a time as the operand of $in on 'a'"),
        ({"a": {"$gt": "2024-01-01"}}, "a text as the operand of $gt on 'a'"),
        ({DOCUMENT: {"$icontains": "x"}}, "$icontains on '#document'"),
    ],
)
def test_what_they_do_not_know_is_named(where: Any, told: str) -> None:
    filter = parse(where)
    assert filter is not None and beyond(filter) == told


def test_fields_of_dicts_in_dicts_have_paths() -> None:
    record = {"a": {"b": {"c": 1}, "d": [1]}, "a.d": 2, "e": {}}
    fields = fields_of(record)
    assert fields["a.b.c"] == 1
    assert fields["a.d"] == 2  # a key with a dot hides a path
    assert fields["a"] == record["a"] and fields["a.b"] == {"c": 1} and fields["e"] == {}
    assert fields_of({"a.b": {"c": 1}, "a": {"b": {"c": 2}}})["a.b.c"] == 1
    plain = {"a": 1, "b": [1]}
    assert fields_of(plain) is plain


def test_no_parts_match_everything_or_nothing() -> None:
    assert And(()).matches({}.get)
    assert not Or(()).matches({}.get)


class Colour(str, Enum):  # noqa: UP042  (a StrEnum prints as its value, this one does not)
    RED = "red"


class Size(IntEnum):
    LARGE = 3


@pytest.mark.parametrize(
    ("operand", "stored"),
    [(Colour.RED, "red"), (np.str_("a"), "a"), (Size.LARGE, 3), (np.float64(1.5), 1.5)],
)
def test_operands_of_a_subclass_are_what_they_stand_for(operand: Any, stored: Any) -> None:
    assert matches({"k": operand}, {"k": stored})
    assert matches({"k": {"$in": [operand]}}, {"k": stored})
    assert matches({"k": {"$contains": operand}}, {"k": [stored]})
    filter = parse({"k": operand})
    assert isinstance(filter, Condition)
    assert type(filter.operand) is type(stored)


# ── what is refused ──────────────────────────────────────────────────────────────────────────────

REFUSED: list[tuple[Any, str]] = [
    ("a", "Expected where to be a dict"),
    ([], "Expected where to be a dict"),
    ({}, "exactly one operator"),
    ({1: 2}, "Expected where key to be a str"),
    ({"a": None}, "Expected where value to be a str, int, float, or operator expression"),
    ({"a": [1]}, "Expected where value to be a str, int, float, or operator expression"),
    ({"a": (1,)}, "Expected where value to be a str, int, float, or operator expression"),
    ({"a": np.int64(1)}, "Expected where value to be a str, int, float, or operator expression"),
    ({"a": {}}, "exactly one operator"),
    ({"a": {"$foo": 1}}, "Expected where operator to be one of"),
    ({"a": {"$not": 1}}, "where.a.$not: Expected where operator $not to hold an operator"),
    ({"a": {"$eq": None}}, "str, int, float, or bool for operator"),
    ({"a": {"$ne": {"b": 1}}}, "str, int, float, or bool for operator"),
    ({"a": {"$eq": [1]}}, "str, int, float, or bool for operator"),
    ({"a": {"$gt": "x"}}, "int or a float for operator"),
    ({"a": {"$gte": True}}, "int or a float for operator"),
    ({"a": {"$lt": None}}, "int or a float for operator"),
    ({"a": {"$lte": [1]}}, "int or a float for operator"),
    ({"a": {"$in": 1}}, "Expected operand value to be an list"),
    ({"a": {"$nin": (1,)}}, "Expected operand value to be an list"),
    ({"a": {"$in": []}}, "non-empty list, and all values to be str"),
    ({"a": {"$in": [None]}}, "non-empty list, and all values to be str"),
    ({"a": {"$in": [[1]]}}, "non-empty list, and all values to be str"),
    ({"a": {"$contains": None}}, "str, int, float, or bool for operator"),
    ({"a": {"$not_contains": [1]}}, "str, int, float, or bool for operator"),
    ({"$contains": "x"}, "metadata field name or a logical operator"),
    ({"$in": [1]}, "Invalid where clause"),
    ({"$foo": 1}, "Invalid where clause"),
    ({"$and": {"a": 1}}, "list of where expressions"),
    ({"$or": None}, "list of where expressions"),
    ({"$and": []}, "at least two"),
    ({"$or": [{"a": 1}]}, "at least two"),
    ({"$and": [{"a": 1}, "b"]}, "Expected where to be a dict"),
    ({"a": float("nan")}, "Invalid where clause"),
    ({"a": {"$gt": float("inf")}}, "Invalid where clause"),
    ({"a": 2**63}, "Invalid where clause"),
    ({"a": {"$in": [1, -(2**63) - 1]}}, "Invalid where clause"),
    ({DOCUMENT: "x"}, "Cannot filter using metadata key '#document'"),
    ({DOCUMENT: {"$eq": "x"}}, "Cannot filter using metadata key '#document'"),
    ({DOCUMENT: {"$contains": 1}}, "non-empty str"),
    ({ID: {"$gt": 1}}, "Cannot filter using metadata key '#id'"),
    ({"#other": 1}, "Cannot filter using metadata key '#other'"),
    # The place is told.
    ({"a": {"$between": [1]}}, "where.a.$between: Expected two values, got 1"),
    (
        {"$and": [{"a": 1}, {"year": {"$between": [1, 2, 3]}}]},
        "where.$and[1].year.$between: Expected two values, got 3",
    ),
    ({"a": {"$between": [1, "x"]}}, "where.a.$between[1]: Expected operand value to be an int or"),
    ({"a": {"$between": [1, DAY]}}, "where.a.$between: Expected two numbers or two times"),
    ({"a": {"$all": []}}, "where.a.$all: Expected a list of values that is not empty, got []"),
    ({"a": {"$all": [1, None]}}, "where.a.$all[1]: Expected where operand value"),
    ({"a": {"$exists": 1}}, "where.a.$exists: Expected true or false for operator $exists, got 1"),
    ({"a": {"$size": -1}}, "where.a.$size: Expected an int from 0 on for operator $size, got -1"),
    ({"a": {"$size": True}}, "where.a.$size: Expected an int from 0 on"),
    ({"a": {"$regex": 1}}, "where.a.$regex: Expected where operand value"),
    ({"a": {"$starts_with": ""}}, "where.a.$starts_with: Expected where operand value"),
    ({"a": {"$icontains": "x" * (MAX_PIECE + 1)}}, "where.a.$icontains: Expected at most"),
    ({"a": {"$gt": "2024-02-30"}}, "where.a.$gt: Expected operand value to be an int or a float"),
    ({"a": {"$eq": {"#type": "date", "value": "x"}}}, 'where.a.$eq: Expected {"#type": "date"'),
    ({"a": {"$not": {"$foo": 1}}}, "where.a.$not: Expected where operator to be one of"),
    ({"$not": {"$or": [{"a": 1}, {"b": None}]}}, "where.$not.$or[1].b: Expected where value"),
    ({"$not": [1]}, "where.$not: Expected where to be a dict"),
    ({DOCUMENT: {"$size": 1}}, "Cannot filter using metadata key '#document' with $size"),
    ({ID: {"$between": [1, 2]}}, "Cannot filter using metadata key '#id' with $between"),
]


@pytest.mark.parametrize(("where", "text"), REFUSED)
def test_where_is_refused(where: Any, text: str) -> None:
    with pytest.raises(ValueError, match="(?i)where|metadata key|operator") as caught:
        parse(where)
    assert isinstance(caught.value, InvalidArgumentError)
    assert text in str(caught.value)


DOCUMENT_REFUSED: list[tuple[Any, str]] = [
    ("a", "Expected where document to be a dict"),
    ({}, "exactly one operator"),
    ({"$eq": "a"}, "Expected where document operator to be one of"),
    ({"a": 1}, "Expected where document operator to be one of"),
    ({"$contains": 1}, "non-empty str"),
    ({"$contains": ""}, "non-empty str"),
    ({"$not_contains": None}, "non-empty str"),
    ({"$regex": ""}, "non-empty str"),
    ({"$not_regex": ["a"]}, "non-empty str"),
    ({"$and": {"$contains": "a"}}, "list of where document expressions"),
    ({"$or": [{"$contains": "a"}]}, "at least two"),
    ({"$and": [{"$contains": "a"}, {"b": 1}]}, "where_document.$and[1]: Expected where document"),
    ({"$icontains": ""}, "where_document.$icontains: Expected where document operand value"),
    ({"$size": 1}, "Expected where document operator to be one of"),
]


@pytest.mark.parametrize(("where", "text"), DOCUMENT_REFUSED)
def test_where_document_is_refused(where: Any, text: str) -> None:
    with pytest.raises(ValueError, match="where.document") as caught:
        parse(None, where)
    assert isinstance(caught.value, InvalidArgumentError)
    assert text in str(caught.value)


def nested(depth: int, leaf: Any) -> Any:
    for _ in range(depth):
        leaf = {"$and": [leaf, leaf]}
    return leaf


def chain(depth: int, leaf: Any) -> Any:
    """As deep, but with a single part that goes on."""
    for _ in range(depth):
        leaf = {"$or": [leaf, {"a": 1}]}
    return leaf


def test_filters_nest_to_a_limit() -> None:
    filter = parse(chain(MAX_DEPTH, {"b": 2}))
    assert filter is not None
    assert filter.matches({"b": 2}.get)
    with pytest.raises(ArgumentValueError, match=f"at most {MAX_DEPTH} levels"):
        parse(chain(MAX_DEPTH + 1, {"b": 2}))
    with pytest.raises(ArgumentValueError, match=f"at most {MAX_DEPTH} levels"):
        parse(chain(50_000, {"b": 2}))
    assert parse(nested(5, {"b": 2})) is not None


DEEP: list[Any] = []
for _ in range(50_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    "where", [{"a": DEEP}, {"$and": [DEEP]}, {"a": {"$in": DEEP}}, {"a": 1, "b": DEEP}, DEEP]
)
def test_what_is_too_deep_to_be_shown_is_refused_all_the_same(where: Any) -> None:
    with pytest.raises(ArgumentValueError, match="Expected"):
        parse(where)


def test_error_texts_stay_short() -> None:
    with pytest.raises(ArgumentValueError) as caught:
        parse({"a": {"$in": [*range(100_000), None]}})
    assert len(str(caught.value)) < 500


# ── patterns ─────────────────────────────────────────────────────────────────────────────────────

DIALECT: list[tuple[str, str, bool]] = [
    (r"^\w+$", "café", True),
    (r"^\w+$", "東京", True),
    (r"^\w+$", "a b", False),
    (r"^\d+$", "٣٤٥", True),  # Arabic digits
    (r"^\d+$", "345", True),
    (r"^\d+$", "三", False),
    (r"a\sb", "a\u00a0b", True),
    (r"a\sb", "a\u3000b", True),
    (r"a\sb", "a-b", False),
    (r"\bcaf\b", "café", False),
    (r"\bcafé\b", "un café!", True),
    (r"\b東京\b", "in 東京.", True),
    (r"(?i)CAFÉ", "café", True),
    (r"CAFÉ", "café", False),
    (r"(?m)^b$", "a\nb\nc", True),
    (r"^b$", "a\nb\nc", False),
    (r"a.b", "a\nb", False),
    (r"(?s)a.b", "a\nb", True),
    (r"^.$", "\U0001f600", True),
    (r"^a{2,3}$", "aaa", True),
    (r"[^\x00-\x7F]", "plain", False),
    (r"\p{Greek}", "λ", True),
    (r"\x00", "nul\0", True),
    (r"a|", "z", True),
]


@pytest.mark.parametrize(("pattern", "text", "expected"), DIALECT)
def test_the_dialect_of_patterns(pattern: str, text: str, expected: bool) -> None:
    assert document_matches({"$regex": pattern}, text) == expected
    assert document_matches({"$not_regex": pattern}, text) == (not expected)


@pytest.mark.parametrize(
    "pattern", ["(?=a)", "(?!a)", "(?<=a)b", "(?<!a)b", r"(a)\1", "(", "[", "a{2,1}", "*", r"\q"]
)
def test_patterns_that_are_refused(pattern: str) -> None:
    for name in ("$regex", "$not_regex"):
        with pytest.raises(InvalidArgumentError, match="Regex syntax errror"):
            parse(None, {name: pattern})
        with pytest.raises(InvalidArgumentError, match="Regex syntax errror"):
            parse({"a": {name: pattern}})


def test_long_patterns_are_refused() -> None:
    assert has_match("a" * MAX_PATTERN, "a" * MAX_PATTERN)
    with pytest.raises(InvalidArgumentError, match=f"longer than {MAX_PATTERN}"):
        parse(None, {"$regex": "a" * (MAX_PATTERN + 1)})


def test_texts_of_any_characters_become_patterns() -> None:
    for char in (".", "\u00e9", "\u212a", "京", "\n", "\\", "-", "#", " "):
        text = char * MAX_PIECE
        for name in ("$starts_with", "$ends_with", "$icontains", "$istarts_with", "$iends_with"):
            assert document_matches({name: text}, text)
            assert not document_matches({name: text}, text[1:])


def test_patterns_that_blow_up_are_refused() -> None:
    with pytest.raises(InvalidArgumentError):
        parse(None, {"$regex": "((a{100}){100}){100}{100}"})


def test_no_pattern_hangs_a_reader() -> None:
    text, start = "a" * 50_000 + "b", time.perf_counter()
    for pattern in (r"(a+)+$", r"(a|aa)+$", r"(.*a){20}$", r"^(a?){50}a{50}c"):
        assert not document_matches({"$regex": pattern}, text)
    assert time.perf_counter() - start < 5
