"""What reading and deleting take and refuse: include, numbers, filters with limits, batches.

Names, columns, metadata and filters have files of their own, tests/test_arguments_*.py. The rows
are what Chroma 1.5.9 does, case by case; where ours differs, the row says what Chroma does.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from doors import Raises, Row, each, empty, filled, load
from vermilion.api.client import Client
from vermilion.api.collection import Collection
from vermilion.errors import ArgumentTypeError, ArgumentValueError, DimensionError

NEAR = [[1.0, 0.0]]


def get(**arguments: Any) -> Callable[[Collection], object]:
    return lambda collection: collection.get(**arguments)["ids"]


def query(**arguments: Any) -> Callable[[Collection], object]:
    return lambda collection: collection.query(NEAR, **arguments)["ids"]


def included(method: str, include: Any) -> Callable[[Collection], object]:
    def call(collection: Collection) -> object:
        embeddings = {"query_embeddings": NEAR} if method == "query" else {}
        return getattr(collection, method)(include=include, **embeddings)["included"]

    return call


NOT_A_LIST = Raises(ArgumentValueError, "Expected include to be a list")
NO_COLUMN = Raises(
    ArgumentValueError,
    "Expected include item to be one of documents, embeddings, metadatas, distances, uris, data",
)
NO_LOADER = Raises(ArgumentValueError, "You must set a data loader on the collection")

INCLUDE = [
    Row("include is a list, not a tuple", included("get", ("documents",)), NOT_A_LIST),
    Row("include is a list, not a str", included("get", "documents"), NOT_A_LIST),
    Row("include is a list, not None", included("query", None), NOT_A_LIST),
    Row("ids are always included and cannot be named", included("get", ["ids"]), NO_COLUMN),
    Row("the columns are named in the plural", included("query", ["metadata"]), NO_COLUMN),
    Row("the columns are named by str", included("get", [1]), NO_COLUMN),
    Row(
        "get has no distances",
        included("get", ["distances"]),
        Raises(ArgumentValueError, "Include item cannot be one of distances"),
    ),
    Row("get loads no data without a loader", included("get", ["data"]), NO_LOADER),
    Row(
        "query loads no data without a loader",
        included("query", ["data"]),
        NO_LOADER,
        chroma="answers data=None, and metadatas that nobody asked for",
    ),
    Row("a column may be named twice", included("get", ["uris", "uris"]), ["uris", "uris"]),
    Row("nothing may be included", included("query", []), []),
]

NOT_A_LIMIT = "to be a non-negative integer"
NEGATIVE = "is an OverflowError"

WINDOWS = [
    Row("no limit is all of them", get(limit=None), ["a", "b", "c", "d"]),
    Row("a limit of 0 is none of them", get(limit=0), []),
    Row("a limit above the count is all of them", get(limit=2**40), ["a", "b", "c", "d"]),
    Row("numpy's integers are limits", get(limit=np.int64(1), offset=np.int64(1)), ["b"]),
    Row("an offset beyond the end is none of them", get(offset=9), []),
    Row("an offset comes before the limit", get(limit=2, offset=1), ["b", "c"]),
    Row(
        "a limit is not negative",
        get(limit=-1),
        Raises(ArgumentValueError, f"Expected limit {NOT_A_LIMIT}, got -1"),
        chroma=NEGATIVE,
    ),
    Row(
        "an offset is not negative",
        get(offset=-1),
        Raises(ArgumentValueError, f"Expected offset {NOT_A_LIMIT}, got -1"),
        chroma=NEGATIVE,
    ),
    Row("a limit is no float", get(limit=1.0), Raises(ArgumentTypeError, NOT_A_LIMIT)),
    Row("an offset is no str", get(offset="1"), Raises(ArgumentTypeError, NOT_A_LIMIT)),
    Row(
        "a limit is no bool",
        get(limit=True),
        Raises(ArgumentTypeError, NOT_A_LIMIT),
        chroma="takes True for 1",
    ),
    Row(
        "peek takes what a limit may be",
        lambda collection: collection.peek(-1),
        Raises(ArgumentValueError, f"Expected limit {NOT_A_LIMIT}, got -1"),
        chroma=NEGATIVE,
    ),
    Row("peek gives the first", lambda collection: collection.peek(1)["ids"], ["a"]),
]

RESULTS = [
    Row("one result", query(n_results=1), [["a"]]),
    Row("more results than records", query(n_results=99), [["a", "b", "c", "d"]]),
    Row(
        "far more results than records",
        query(n_results=2**32),
        [["a", "b", "c", "d"]],
        chroma="is an OverflowError",
    ),
]

# Callers compare the type itself: no subclass will do.
NO_COUNT: list[tuple[object, type[Exception], str]] = [
    (1.0, ValueError, "to be a int"),
    ("1", ValueError, "to be a int"),
    (None, ValueError, "to be a int"),
    (np.int64(1), ValueError, "to be a int"),
    (True, ValueError, "to be a int"),  # Chroma takes True for 1
    (0, TypeError, "Number of requested results 0, cannot be negative, or zero."),
    (-1, TypeError, "Number of requested results -1, cannot be negative, or zero."),
]


def delete(**arguments: Any) -> Callable[[Collection], object]:
    """What is said to be deleted, and what is left."""
    return lambda collection: (collection.delete(**arguments)["deleted"], collection.get()["ids"])


SMALL = {"n": {"$lte": 2}}
NEEDS_A_FILTER = Raises(ArgumentValueError, "limit can only be specified when a where")

DELETE = [
    Row(
        "delete needs to be told what",
        delete(),
        Raises(ArgumentValueError, "At least one of ids, where, or where_document"),
    ),
    Row("a limit alone is no filter", delete(limit=1), Raises(ArgumentValueError, "At least one")),
    Row("ids are no filter for a limit", delete(ids=["a"], limit=1), NEEDS_A_FILTER),
    Row(
        "the limit of delete is no float",
        delete(where=SMALL, limit=1.0),
        Raises(ArgumentTypeError, "non-negative integer"),
    ),
    Row(
        "the limit of delete is no bool",
        delete(where=SMALL, limit=True),
        Raises(ArgumentTypeError, "non-negative integer"),
    ),
    Row(
        "the limit of delete is not negative",
        delete(where=SMALL, limit=-1),
        Raises(ArgumentValueError, "non-negative integer"),
    ),
    Row("an empty filter deletes nothing", delete(where={}), Raises(ArgumentValueError, "where")),
    Row("a limit of 0 deletes nothing", delete(where=SMALL, limit=0), (0, ["a", "b", "c", "d"])),
    Row("a limit deletes the oldest first", delete(where=SMALL, limit=1), (1, ["b", "c", "d"])),
    Row("ids and filters narrow each other", delete(ids=["b", "c"], where=SMALL), (1, list("acd"))),
    Row(
        "the limit counts what is left of both",
        delete(ids=["b", "a"], where=SMALL, limit=1),
        (1, ["b", "c", "d"]),
    ),
    Row("documents can be a filter", delete(where_document={"$contains": "two"}), (1, list("acd"))),
]


@each(INCLUDE, WINDOWS, RESULTS, DELETE)
def test_reading_and_deleting_take_and_refuse(client: Client, row: Row) -> None:
    row.check(filled(client))


@pytest.mark.parametrize(("count", "kind", "words"), NO_COUNT, ids=repr)
def test_n_results_is_refused_with_exactly_one_type(
    client: Client, count: Any, kind: type[Exception], words: str
) -> None:
    collection = filled(client)
    with pytest.raises(kind, match=words) as raised:
        collection.query(NEAR, n_results=count)
    assert raised.type is kind


def test_data_come_with_the_uris_they_were_loaded_from(client: Client) -> None:
    empty(client).add(ids=["a"], embeddings=[[1, 2]], uris=["u"])
    again = client.get_collection("notes", data_loader=load)
    found = again.get(include=["data"])
    assert (found["data"], found["uris"], found["included"]) == (["<u>"], ["u"], ["data", "uris"])


# ── batches ──────────────────────────────────────────────────────────────────────────────────────

CHROMAS_LIMIT = 5461
MANY = [f"id{i}" for i in range(CHROMAS_LIMIT + 1)]
LINE = np.arange(len(MANY), dtype=np.float32)[:, np.newaxis]


@pytest.mark.parametrize("method", ["add", "upsert", "update"])
def test_a_batch_may_be_larger_than_chromas_limit(client: Client, method: str) -> None:
    collection = empty(client)
    if method == "update":
        collection.add(ids=MANY, embeddings=LINE + 1)
    getattr(collection, method)(ids=MANY, embeddings=LINE)
    stored = collection.get(include=["embeddings"])
    assert stored["ids"] == MANY
    assert stored["embeddings"] is not None
    assert (stored["embeddings"] == LINE).all()


def test_a_large_batch_is_written_whole_or_not_at_all(client: Client) -> None:
    collection = empty(client)
    collection.add(ids=["first"], embeddings=[[0.0, 0.0]])
    with pytest.raises(DimensionError):
        collection.upsert(ids=["first", *MANY], embeddings=[[1.0]] * (len(MANY) + 1))
    stored = collection.get(include=["embeddings"])
    assert stored["ids"] == ["first"]
    assert stored["embeddings"] is not None
    assert stored["embeddings"].tolist() == [[0.0, 0.0]]


def test_a_large_batch_of_ids_is_deleted_at_once(client: Client) -> None:
    collection = empty(client)
    collection.add(ids=MANY, embeddings=LINE)
    assert collection.delete(ids=MANY[1:]) == {"deleted": CHROMAS_LIMIT}
    assert collection.get()["ids"] == MANY[:1]


# ── which method it was ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", ["add", "upsert", "update", "get", "delete", "query"])
def test_an_error_about_arguments_ends_with_the_method(client: Client, method: str) -> None:
    collection = empty(client)
    with pytest.raises(ArgumentValueError, match=rf" in {method}\.$"):
        getattr(collection, method)(
            ids=[1], **({"query_embeddings": NEAR} if method == "query" else {})
        )


@pytest.mark.parametrize(
    ("method", "columns"), [("add", "documents"), ("query", "query_texts")], ids=["add", "query"]
)
def test_an_error_of_an_embedding_function_ends_with_the_method(
    client: Client, method: str, columns: str
) -> None:
    class Failing:
        def __call__(self, input: Any) -> Any:
            raise LookupError("no model")

    collection = empty(client, embedding_function=Failing())
    with pytest.raises(LookupError) as raised:
        getattr(collection, method)(ids=["a"], **{columns: ["text"]})
    assert raised.value.args == (f"no model in {method}.",)
