"""Which metadata records and collections take, which are refused, and what is given back."""

from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from enum import IntEnum
from typing import Any

import numpy as np

from doors import Colour, Raises, Row, each, empty, filled
from vermilion import SparseVector
from vermilion.api.client import Client
from vermilion.api.collection import Collection
from vermilion.errors import ArgumentTypeError, ArgumentValueError, InvalidArgumentError
from vermilion.metadata import MAX_NESTING

Call = Callable[[Any], object]

NAN, INF = float("nan"), float("inf")
SPARSE = SparseVector([1, 7], [0.5, 2.0])


class Level(IntEnum):
    LOW = 1


class Unknown:
    def __repr__(self) -> str:
        return "unknown"


# ── values and keys that records and collections share ───────────────────────────────────────────

LIST = "to be non-empty"
MIXED = "all elements must be the same type"
NO_VALUE = "Expected metadata value to be a str, int, float, bool, SparseVector, list, or None"
LARGE = "is stored as a float"
PANIC = "panics in a collection's metadata"

# Metadata as it is given, and as it comes back.
KEPT: list[tuple[str, dict[Any, Any], dict[str, Any]]] = [
    ("a str, an int, a float and a bool", *[{"s": "x", "i": 1, "f": 1.0, "b": True}] * 2),
    ("the largest and the smallest int", *[{"max": 2**63 - 1, "min": -(2**63)}] * 2),
    ("a float that is a whole number", *[{"f": 1e300, "g": -3.0}] * 2),
    ("an empty str", *[{"s": ""}] * 2),
    ("a list of each type", *[{"s": ["x"], "i": [1, 2], "f": [1.0], "b": [True, False]}] * 2),
    ("a sparse vector", *[{"v": SPARSE}] * 2),
    ("a tagged sparse vector", {"v": SPARSE.to_dict()}, {"v": SPARSE}),
    ("a long str", *[{"s": "x" * 100_000}] * 2),
    ("a long key", *[{"k" * 5000: 1}] * 2),
    ("any key", *[{"a b.c-é": 1, "'\"": 2, "1": 3}] * 2),
    ("a key that begins with chroma:", *[{"chroma:uri": "u", "chroma:other": 1}] * 2),
    ("numpy's float64", {"f": np.float64(1.5)}, {"f": 1.5}),
    ("numpy's str", {np.str_("k"): np.str_("x")}, {"k": "x"}),
    ("an enumeration's members", {"c": Colour.RED, "l": Level.LOW}, {"c": "red", "l": 1}),
    ("no value", {"a": None, "b": 1}, {"b": 1}),
]

REFUSED: list[tuple[str, Any, type[Exception], str]] = [
    ("no key at all", {}, ArgumentValueError, "non-empty dict"),
    ("a text", "x", ArgumentValueError, "Expected metadata to be a dict"),
    ("a tuple of dicts", ({"a": 1},), ArgumentValueError, "Expected metadata to be a dict"),
    ("a key that is no str", {1: "x"}, ArgumentTypeError, "Expected metadata key to be a str"),
    ("a key that is reserved", {"chroma:document": "x"}, ArgumentValueError, "reserved key"),
    ("a key without characters", {"": 1}, InvalidArgumentError, "cannot be empty"),
    ("a key with #", {"#a": 1}, InvalidArgumentError, "cannot start with '#' or '$'"),
    ("a key with $", {"$a": 1}, InvalidArgumentError, "cannot start with '#' or '$'"),
    ("a tuple", {"a": (1, 2)}, ArgumentValueError, NO_VALUE),
    ("bytes", {"a": b"x"}, ArgumentValueError, NO_VALUE),
    ("an object", {"a": Unknown()}, ArgumentValueError, NO_VALUE),
    ("numpy's int64", {"a": np.int64(1)}, ArgumentValueError, NO_VALUE),
    ("numpy's float32", {"a": np.float32(1)}, ArgumentValueError, NO_VALUE),
    ("numpy's bool", {"a": np.bool_(True)}, ArgumentValueError, NO_VALUE),
    # Chroma drops these three without a word, and stores the fourth and the fifth as floats.
    ("NaN", {"a": NAN}, ArgumentValueError, "to be a finite number"),
    ("infinity", {"a": INF}, ArgumentValueError, "to be a finite number"),
    ("NaN in a list", {"a": [1.0, NAN]}, ArgumentValueError, "to be a finite number"),
    ("an int of 65 bits", {"a": 2**63}, ArgumentValueError, "to be an int of 64 bits"),
    ("an int of 65 bits in a list", {"a": [2**63]}, ArgumentValueError, "an int of 64 bits"),
    ("half a surrogate pair", {"a": "\udc00"}, ArgumentValueError, "valid Unicode"),
    ("a key with half a surrogate pair", {"\udc00": 1}, ArgumentValueError, "valid Unicode"),
]

# What the metadata of records hold, and those of collections do not.
DAY, NOON = date(2024, 2, 29), datetime(2024, 2, 29, 12, 0, 0, 5)
EAST = NOON.replace(tzinfo=timezone(timedelta(hours=9)))
DEEP: dict[str, Any] = {"a": 1}
for _ in range(MAX_NESTING):
    DEEP = {"a": DEEP}

KEPT_BY_RECORDS: list[tuple[str, dict[Any, Any], dict[str, Any]]] = [
    ("a dict", *[{"a": {"b": {"c": [1]}, "d e": "x"}}] * 2),
    ("an empty dict", *[{"a": {}}] * 2),
    ("a dict and a key like its path", *[{"a": {"b": 1}, "a.b": 2}] * 2),
    ("as many dicts as may lie in each other", *[DEEP] * 2),
    ("None in a dict", {"a": {"b": None, "c": 1}}, {"a": {"c": 1}}),
    ("what looks like a sparse vector", *[{"a": {"indices": [1], "values": [0.5]}}] * 2),
    ("a date and a datetime", *[{"day": DAY, "noon": NOON}] * 2),
    ("a datetime with a zone", *[{"noon": EAST}] * 2),
    ("times in lists and dicts", *[{"a": [DAY, NOON, "x"], "b": {"c": EAST}}] * 2),
    ("tagged times", {"a": {"#type": "date", "value": "2024-02-29"}}, {"a": DAY}),
    ("an empty list", *[{"a": []}] * 2),
    ("a list of several types", *[{"a": [1, 2.0, True, "x"]}] * 2),
]

REFUSED_BY_RECORDS: list[tuple[str, Any, type[Exception], str]] = [
    ("a list of None", {"a": [None]}, ArgumentValueError, "got None of NoneType at index 0"),
    ("a list of lists", {"a": [1, [1]]}, ArgumentValueError, "got [1] of list at index 1"),
    ("a list of dicts", {"a": [{"b": 1}]}, ArgumentValueError, "of dict at index 0"),
    ("a key in a dict that is no str", {"a": {1: 1}}, ArgumentTypeError, "key to be a str"),
    ("a key in a dict with #", {"a": {"#b": 1}}, InvalidArgumentError, "metadata in 'a'"),
    ("a sparse vector in a dict", {"a": {"b": SPARSE}}, ArgumentValueError, "lies in no dict"),
    ("an object in a dict", {"a": {"b": Unknown()}}, ArgumentValueError, "for key 'a.b'"),
    ("too many dicts", {"b": DEEP}, ArgumentValueError, "nest at most 16 dicts"),
    ("an unknown tag", {"a": {"#type": "x"}}, ArgumentValueError, "Expected #type="),
    ("no time", {"a": {"#type": "date", "value": "2024"}}, ArgumentValueError, "in ISO 8601"),
    ("a time of no year", {"a": datetime.min.replace(tzinfo=EAST.tzinfo)}, ArgumentValueError, "1"),
]

REFUSED_BY_COLLECTIONS: list[tuple[str, Any, type[Exception], str]] = [
    ("a dict", {"a": {"b": 1}}, ArgumentValueError, NO_VALUE),
    ("a date", {"a": DAY}, ArgumentValueError, NO_VALUE),
    ("an empty list", {"a": []}, ArgumentValueError, LIST),
    ("a list of int and float", {"a": [1, 2.0]}, ArgumentValueError, MIXED),
    ("a list of int and bool", {"a": [1, True]}, ArgumentValueError, MIXED),
    ("a list of None", {"a": [None]}, ArgumentValueError, MIXED),
    ("a list of lists", {"a": [[1]]}, ArgumentValueError, MIXED),
]

Way = Callable[[Client, Any], object]


def by_add(client: Client, metadata: Any) -> object:
    collection = empty(client)
    collection.add(ids=["a"], embeddings=[[1.0]], metadatas=[metadata])
    return first(collection)


def by_upsert(client: Client, metadata: Any) -> object:
    collection = empty(client)
    collection.upsert(ids=["a"], embeddings=[[1.0]], metadatas=[metadata])
    return first(collection)


def by_update(client: Client, metadata: Any) -> object:
    collection = empty(client)
    collection.add(ids=["a"], embeddings=[[1.0]])
    collection.update(ids=["a"], metadatas=[metadata])
    return first(collection)


def by_create(client: Client, metadata: Any) -> object:
    client.create_collection("notes", metadata=metadata, embedding_function=None)
    return client.get_collection("notes").metadata


def by_modify(client: Client, metadata: Any) -> object:
    collection = empty(client, metadata={"old": 1})
    collection.modify(metadata=metadata)
    stored = client.get_collection("notes").metadata
    assert collection.metadata == stored
    return stored


def first(collection: Collection) -> Any:
    metadatas = collection.get()["metadatas"]
    assert metadatas is not None
    return metadatas[0]


def through(way: Way, metadata: Any) -> Call:
    return lambda client: way(client, metadata)


OF_RECORDS: tuple[Way, ...] = (by_add, by_upsert, by_update)
OF_COLLECTIONS: tuple[Way, ...] = (by_create, by_modify)
WAYS = OF_RECORDS + OF_COLLECTIONS


@each(
    [
        Row(f"{way.__name__}, {what}", through(way, given), kept)
        for ways, table in ((WAYS, KEPT), (OF_RECORDS, KEPT_BY_RECORDS))
        for way in ways
        for what, given, kept in table
    ]
)
def test_metadata_come_back_as_they_were_given(client: Client, row: Row) -> None:
    row.check(client)


@each(
    [
        Row(f"{way.__name__}, {what}", through(way, given), Raises(kind, words))
        for ways, table in (
            (WAYS, REFUSED),
            (OF_RECORDS, REFUSED_BY_RECORDS),
            (OF_COLLECTIONS, REFUSED_BY_COLLECTIONS),
        )
        for way in ways
        for what, given, kind, words in table
    ]
)
def test_metadata_are_refused(client: Client, row: Row) -> None:
    row.check(client)


# ── records only ─────────────────────────────────────────────────────────────────────────────────


def merged(method: str, changes: Any) -> Call:
    def call(collection: Collection) -> object:
        getattr(collection, method)(ids=["c"], metadatas=changes)
        return collection.get(ids=["c"])["metadatas"]

    return call


MERGED = [
    Row("a dict stands for a list of one", merged("update", {"n": 9}), [{"n": 9, "word": "1"}]),
    Row("other keys stay", merged("upsert", [{"m": 1}]), [{"n": 3, "word": "1", "m": 1}]),
    Row("None removes a key", merged("update", [{"n": None}]), [{"word": "1"}]),
    Row("upsert removes a key, too", merged("upsert", [{"n": None}]), [{"word": "1"}]),
    Row("no key is no metadata", merged("update", [{"n": None, "word": None}]), [None]),
    Row(
        "a key that is not there may be removed",
        merged("update", [{"z": None, "n": None}]),
        [{"word": "1"}],
    ),
    Row("a list replaces a number", merged("update", [{"n": ["x"]}]), [{"n": ["x"], "word": "1"}]),
    Row("no metadata change nothing", merged("update", [None]), [{"n": 3, "word": "1"}]),
    Row(
        "a list of texts is no metadata",
        merged("update", ["x"]),
        Raises(ArgumentValueError, "Expected metadata to be a dict or None, got 'x' at index 0"),
        chroma="is an AttributeError",
    ),
]


@each(MERGED)
def test_metadata_of_a_record_are_merged(client: Client, row: Row) -> None:
    row.check(filled(client))


def test_a_refused_batch_leaves_nothing_behind(client: Client) -> None:
    collection = empty(client)
    row = Row(
        "the second of two rows is refused, and named",
        lambda collection: collection.add(
            ids=["a", "b"], embeddings=[[1.0], [2.0]], metadatas=[{"n": 1}, {"#": 1}]
        ),
        Raises(InvalidArgumentError, "Invalid metadata at index 1"),
    )
    row.check(collection)
    assert collection.count() == 0


# ── collections only ─────────────────────────────────────────────────────────────────────────────


def test_new_metadata_of_a_collection_replace_the_old(client: Client) -> None:
    collection = empty(client, metadata={"a": 1, "b": 2})
    collection.modify(metadata={"b": 3})
    assert collection.metadata == {"b": 3}
    assert client.get_collection("notes").metadata == {"b": 3}


def test_the_distance_of_a_collection_cannot_be_changed(client: Client) -> None:
    row = Row(
        "hnsw:space",
        lambda collection: collection.modify(metadata={"hnsw:space": "ip"}),
        Raises(ArgumentValueError, "Changing the distance function"),
    )
    row.check(empty(client))
