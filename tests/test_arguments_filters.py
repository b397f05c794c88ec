"""Which filters are understood, and which are refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from doors import Colour, Raises, Row, each, filled
from vermilion.api.client import Client
from vermilion.api.collection import Collection
from vermilion.errors import ArgumentValueError

Call = Callable[[Collection], object]

NAN, INF = float("nan"), float("inf")


def where(where: Any) -> Call:
    return lambda collection: collection.get(where=where)["ids"]


def documents(where: Any) -> Call:
    return lambda collection: collection.get(where_document=where)["ids"]


def refused(words: str) -> Raises:
    return Raises(ArgumentValueError, words)


NOT_A_DICT = refused("Expected where to be a dict")
ONE_OPERATOR = refused("exactly one operator")
NO_VALUE = refused("Expected where value to be a str, int, float, or operator expression")
NO_OPERATOR = refused("Expected where operator to be one of")
NO_NUMBER = refused("an int or a float for operator")
NO_LIST = refused("Expected operand value to be an list")
ONE_TYPE = refused("non-empty list, and all values to be str")
NO_SCALAR = refused("str, int, float, or bool for operator")
NO_FIELD = refused("Invalid where clause: expected a metadata field name or a logical operator")
INVALID = refused("Invalid where clause")
RESERVED = refused("Cannot filter using metadata key")
PAIRS = refused("a list of where expressions")
AT_LEAST_TWO = refused("at least two")
MATCHES_NOTHING = "matches nothing, without a word"
BY_ENGINE = "is an InvalidArgumentError, and so is ours, too"

ONE = {"n": 1}
SMALL = {"n": {"$lt": 3}}

WHERE = [
    Row("a field and a value", where(ONE), ["a"]),
    Row("a field, an operator and an operand", where({"word": {"$ne": "red"}}), ["b", "c", "d"]),
    Row("filters in filters", where({"$or": [{"$and": [SMALL, ONE]}, {"word": "1"}]}), ["a", "c"]),
    Row("three filters", where({"$and": [SMALL, SMALL, {"yes": False}]}), ["b"]),
    Row("a filter is a dict", where("n"), NOT_A_DICT),
    Row("a filter is no list", where([ONE]), NOT_A_DICT),
    Row("a filter is not empty", where({}), ONE_OPERATOR),
    Row("two fields are joined", where({"n": 1, "word": "red"}), ["a"], "is a ValueError"),
    Row("a field is a str", where({1: 1}), refused("Expected where key to be a str, got 1")),
    Row("a value is not None", where({"n": None}), NO_VALUE),
    Row("a value is no list", where({"n": [1]}), NO_VALUE),
    Row("a value is no tuple", where({"n": (1,)}), NO_VALUE),
    Row("a value is no int of numpy's", where({"n": np.int64(1)}), NO_VALUE),
    Row("a value may be a float of numpy's", where({"x": np.float64(1.5)}), ["a"]),
    Row("a value may be an enumeration's member", where({"word": Colour.RED}), ["a"]),
    Row("so may a value in a list", where({"word": {"$in": [Colour.RED]}}), ["a"]),
    Row("there is an operator", where({"n": {}}), ONE_OPERATOR),
    Row("two operators are joined", where({"n": {"$gt": 1, "$lt": 3}}), ["b"], "is a ValueError"),
    Row("no unknown operator", where({"n": {"$foo": 1}}), NO_OPERATOR),
    Row("no operator without $", where({"n": {"gt": 1}}), NO_OPERATOR),
    Row("$regex of a field", where({"word": {"$regex": "^r"}}), ["a"], "is a ValueError"),
    Row("$not of a value", where({"n": {"$not": 1}}), refused("to hold an operator expression")),
    Row("$not of a field", where({"n": {"$not": {"$lt": 2}}}), ["b", "c", "d"], "is a ValueError"),
    Row("$not of a filter", where({"$not": ONE}), ["b", "c", "d"], "is a ValueError"),
    Row("$exists", where({"x": {"$exists": True}}), ["a", "b"], "is a ValueError"),
    Row("$between", where({"n": {"$between": [2, 3]}}), ["b", "c"], "is a ValueError"),
    Row("$all", where({"list": {"$all": ["blue", "red"]}}), ["a"], "is a ValueError"),
    Row("$size", where({"list": {"$size": 2}}), ["a"], "is a ValueError"),
    Row("$icontains", where({"word": {"$icontains": "UE"}}), ["b"], "is a ValueError"),
    Row("$starts_with", where({"word": {"$starts_with": "bl"}}), ["b"], "is a ValueError"),
    *(
        Row(f"{name} compares {noun} with nothing", where({"n": {name: operand}}), NO_NUMBER, more)
        for name in ("$gt", "$gte", "$lt", "$lte")
        for noun, operand, more in (("a str", "1", ""), ("a bool", True, BY_ENGINE))
    ),
    *(
        Row(f"{name} needs {what}", where({"n": {name: operand}}), outcome, more)
        for name in ("$in", "$nin")
        for what, operand, outcome, more in (
            ("a list", 1, NO_LIST, ""),
            ("a list and no tuple", (1,), NO_LIST, ""),
            ("a list that is not empty", [], ONE_TYPE, ""),
            ("values in its list", [None], ONE_TYPE, BY_ENGINE),
            ("no list in its list", [[1]], ONE_TYPE, BY_ENGINE),
        )
    ),
    Row(
        "$in mixes int and float",
        where({"x": {"$in": [1, 1.5]}}),
        ["a"],
        chroma="is a ValueError",
    ),
    Row("$in mixes types", where({"n": {"$in": [1, "a", True]}}), ["a"], "is a ValueError"),
    Row(
        "$nin mixes int and float", where({"x": {"$nin": [2.5, 1]}}), ["a", "c", "d"], "ValueError"
    ),
    *(
        Row(f"{name} of {what}", where({"n": {name: operand}}), NO_SCALAR)
        for name in ("$eq", "$ne", "$contains", "$not_contains")
        for what, operand in (("None", None), ("a dict", {"a": 1}), ("a list", [1]))
    ),
    Row("$contains of a list", where({"list": {"$contains": "red"}}), ["a"]),
    *(
        Row(f"{name} is no field", where({name: "x"}), NO_FIELD, BY_ENGINE)
        for name in ("$contains", "$in", "$eq", "$foo")
    ),
    *(
        Row(f"{name} of {what}", where({name: operand}), outcome)
        for name in ("$and", "$or")
        for what, operand, outcome in (
            ("a dict", ONE, PAIRS),
            ("nothing", [], AT_LEAST_TWO),
            ("one filter", [ONE], AT_LEAST_TWO),
            ("no filters", [1, 2], NOT_A_DICT),
        )
    ),
    *(
        Row(f"{value} is nothing to compare with", where({"n": operand}), INVALID)
        for value, operand in (
            ("NaN", NAN),
            ("infinity", {"$gt": INF}),
            ("an int of 65 bits", 2**63),
            ("an int of 65 bits in a list", {"$in": [1, -(2**63) - 1]}),
        )
    ),
    Row("documents do not equal", where({"#document": "one fish"}), RESERVED),
    Row("documents do not equal with $eq", where({"#document": {"$eq": "one fish"}}), RESERVED),
    Row("documents contain", where({"#document": {"$contains": "one"}}), ["a"]),
    Row(
        "documents contain a str",
        where({"#document": {"$contains": 1}}),
        refused("to be a non-empty str"),
    ),
    Row("ids equal", where({"#id": "a"}), ["a"], MATCHES_NOTHING),
    Row("ids do not equal", where({"#id": {"$ne": "a"}}), ["b", "c", "d"], MATCHES_NOTHING),
    Row("ids are among", where({"#id": {"$in": ["d", "a"]}}), ["a", "d"], MATCHES_NOTHING),
    Row("ids are not among", where({"#id": {"$nin": ["d", "a"]}}), ["b", "c"], MATCHES_NOTHING),
    Row("ids are not ordered", where({"#id": {"$gt": 1}}), RESERVED, MATCHES_NOTHING),
    Row("no other key with #", where({"#foo": 1}), RESERVED, MATCHES_NOTHING),
    Row("a key without characters is in no record", where({"": 1}), []),
    Row(
        "chroma:document is no document",
        where({"chroma:document": "one fish"}),
        [],
        chroma="finds the document that is equal",
    ),
]

DOCUMENT_DICT = refused("Expected where document to be a dict")
NO_DOCUMENT_OPERATOR = refused("Expected where document operator to be one of $contains")
NO_TEXT = refused("to be a non-empty str")
REGEX = refused("Regex syntax errror")

FISH = {"$contains": "fish"}

WHERE_DOCUMENT = [
    Row("$contains", documents(FISH), ["a", "b", "c"]),
    Row("$not_contains", documents({"$not_contains": "fish"}), ["d"]),
    Row("$regex", documents({"$regex": "(?i)^red"}), ["c"]),
    Row("$not_regex", documents({"$not_regex": "^o"}), ["b", "c", "d"]),
    Row("$and", documents({"$and": [FISH, {"$contains": "one"}]}), ["a"]),
    Row("$or", documents({"$or": [{"$contains": "two"}, {"$contains": "one"}]}), ["a", "b"]),
    Row("a document filter is a dict", documents("fish"), DOCUMENT_DICT),
    Row("a document filter is not empty", documents({}), ONE_OPERATOR),
    Row("two operators", documents(FISH | {"$regex": "^t"}), ["b"], "is a ValueError"),
    Row("$starts_with", documents({"$starts_with": "one"}), ["a"], "is a ValueError"),
    Row("$icontains", documents({"$icontains": "red"}), ["c"], "is a ValueError"),
    Row("$not", documents({"$not": FISH}), ["d"], "is a ValueError"),
    Row("$exists", documents({"$exists": True}), ["a", "b", "c"], "is a ValueError"),
    Row("every document holds nothing", where({"#document": {"$contains": ""}}), ["a", "b", "c"]),
    Row("none does not", where({"#document": {"$not_contains": ""}}), ["d"]),
    Row("a document filter has no field", documents({"n": 1}), NO_DOCUMENT_OPERATOR),
    Row("documents have no $eq", documents({"$eq": "one fish"}), NO_DOCUMENT_OPERATOR),
    Row("$and of one document filter", documents({"$and": [FISH]}), AT_LEAST_TWO),
    Row("$or of no list", documents({"$or": FISH}), refused("list of where document expressions")),
    *(
        Row(f"{name} of {what}", documents({name: operand}), NO_TEXT)
        for name in ("$contains", "$not_contains", "$regex", "$not_regex")
        for what, operand in (
            ("no characters", ""),
            ("a number", 1),
            ("None", None),
            ("a list", ["a"]),
        )
    ),
    *(
        Row(f"{name} of {what}", documents({name: operand}), REGEX)
        for name in ("$regex", "$not_regex")
        for what, operand in (
            ("an open bracket", "("),
            ("a look-ahead", "a(?=b)"),
            ("a back-reference", r"(a)\1"),
        )
    ),
]


@each(WHERE, WHERE_DOCUMENT)
def test_filters_are_understood_or_refused(client: Client, row: Row) -> None:
    row.check(filled(client))


@pytest.mark.parametrize("method", ["get", "query", "delete"])
@pytest.mark.parametrize("argument", ["where", "where_document"])
def test_every_method_with_filters_refuses_a_bad_one(
    client: Client, method: str, argument: str
) -> None:
    collection = filled(client)
    asked = {"query_embeddings": [[1.0, 0.0]]} if method == "query" else {}
    with pytest.raises(ValueError, match="exactly one operator"):
        getattr(collection, method)(**{argument: {}}, **asked)
    assert collection.count() == 4
