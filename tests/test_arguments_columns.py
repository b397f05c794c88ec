"""Which ids, embeddings, documents, images and uris are taken, and which are refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from doors import Colour, Raises, Row, each, empty, filled, load
from vermilion.api.client import Client
from vermilion.api.collection import Collection
from vermilion.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    DimensionError,
    DuplicateIDError,
    InvalidArgumentError,
)

Call = Callable[[Collection], object]

# What a method needs besides ids.
BESIDES: dict[str, dict[str, Any]] = {
    "add": {"embeddings": [[1.0, 2.0]]},
    "upsert": {"embeddings": [[1.0, 2.0]]},
    "update": {"embeddings": [[1.0, 2.0]]},
    "get": {},
    "delete": {},
    "query": {"query_embeddings": [[1.0, 2.0]]},
}
WRITES = ("add", "upsert", "update")


# ── ids ──────────────────────────────────────────────────────────────────────────────────────────


def refused(
    sentence: str, ids: Any, kind: type[Exception], words: str, chroma: str = "", *, by: Any
) -> list[Row]:
    def call(method: str) -> Call:
        return lambda collection: getattr(collection, method)(ids=ids, **BESIDES[method])

    return [Row(f"{m}: {sentence}", call(m), Raises(kind, words), chroma) for m in by]


def added(**columns: Any) -> Call:
    """The ids that are there afterwards."""

    def call(collection: Collection) -> object:
        collection.add(**{"embeddings": [[1.0, 2.0]]} | columns)
        return collection.get()["ids"]

    return call


NO_ID = "Expected ID to be a str"
TEN = [f"id{i}" for i in range(12)]

IDS = [
    *refused(
        "ids are not empty",
        [],
        ArgumentValueError,
        "Non-empty lists are required for ['ids']",
        by=WRITES,
    ),
    *refused(
        "ids are not empty",
        [],
        ArgumentValueError,
        "Expected IDs to be a non-empty list",
        by=("get", "delete"),
    ),
    *refused("ids are there", None, ArgumentValueError, "Expected IDs to be a list", by=WRITES),
    *refused("a tuple is one id, and no str", ("a",), ArgumentValueError, NO_ID, by=BESIDES),
    *refused("a set is one id, and no str", {"a"}, ArgumentValueError, NO_ID, by=BESIDES),
    *refused("an array is one id", np.array(["a"]), ArgumentValueError, NO_ID, by=BESIDES),
    *refused("an id is a str", [1], ArgumentValueError, f"{NO_ID}, got 1", by=BESIDES),
    *refused(
        "an id has a character",
        [""],
        InvalidArgumentError,
        "Empty ID, ID must have at least one character",
        by=BESIDES,
    ),
    *refused(
        "an id is valid Unicode",
        ["\ud800"],
        ArgumentValueError,
        "lone surrogate",
        "is a UnicodeEncodeError, which is a ValueError, too",
        by=BESIDES,
    ),
    *refused(
        "an id is named once",
        ["b", "a", "a"],
        DuplicateIDError,
        "Expected IDs to be unique, found duplicates of: a",
        by=("get", "delete"),
    ),
    *refused(
        "many ids are named once",
        TEN * 2,
        DuplicateIDError,
        "found 12 duplicated IDs: id0, id1, id2, id3, id4, ..., id7, id8, id9, id10, id11",
        by=("get", "delete"),
    ),
    Row(
        "an id is written once",
        added(ids=["a", "a"], embeddings=[[1.0, 2.0]] * 2),
        Raises(DuplicateIDError, "found duplicates of: a"),
    ),
    Row("a str is one id", added(ids="abc"), ["abc"]),
    Row("an id may be any text", added(ids=["é\n\0'% "]), ["é\n\0'% "]),
    Row("an id may be long", added(ids=["x" * 10_000]), ["x" * 10_000]),
    Row("numpy's strings become plain ones", added(ids=[np.str_("a")]), ["a"]),
    Row("an enumeration's member becomes its value", added(ids=[Colour.RED]), ["red"]),
]


def found(ids: Any) -> Call:
    return lambda collection: collection.query([[1.0, 0.0]], ids=ids, n_results=2)["ids"]


FOUND = [
    Row("query takes no ids for nothing", found([]), [[]]),
    Row("query takes one id", found("c"), [["c"]]),
    Row("query takes an id twice for once", found(["b", "b", "c"]), [["b", "c"]]),
    Row(
        "query leaves unknown ids aside",
        found(["nobody", "c"]),
        [["c"]],
        chroma="is an InternalError: Error finding id",
    ),
    Row(
        "get leaves unknown ids aside, and keeps the order of insertion",
        lambda collection: collection.get(ids=["c", "nobody", "a"])["ids"],
        ["a", "c"],
    ),
    Row(
        "delete tells how many ids there were",
        lambda collection: collection.delete(ids=["c", "nobody"]),
        {"deleted": 1},
        chroma="tells how many ids it was given",
    ),
]


@each(IDS)
def test_ids_are_taken_or_refused(client: Client, row: Row) -> None:
    row.check(empty(client))


@each(FOUND)
def test_ids_are_found(client: Client, row: Row) -> None:
    row.check(filled(client))


# ── columns ──────────────────────────────────────────────────────────────────────────────────────

EXACTLY_ONE = Raises(ArgumentValueError, "Exactly one of")
IMAGE = np.zeros((2, 2))
VECTOR = [[1.0, 2.0]]


def call(method: str, **columns: Any) -> Call:
    return lambda collection: getattr(collection, method)(**columns)


def none_of(column: str) -> Raises:
    return Raises(ArgumentValueError, f"Non-empty lists are required for ['{column}']")


COLUMNS = [
    Row(
        "columns are equally long",
        call("add", ids=["a", "b"], embeddings=VECTOR),
        Raises(ArgumentValueError, "Unequal lengths for fields: ids: 2, embeddings: 1"),
    ),
    Row("documents may not be empty", call("add", ids=["a"], documents=[]), none_of("documents")),
    Row(
        "metadatas may not be empty",
        call("add", ids=["a"], embeddings=VECTOR, metadatas=[]),
        none_of("metadatas"),
    ),
    Row("images may not be empty", call("add", ids=["a"], images=[]), none_of("images")),
    Row("add needs something to embed", call("add", ids=["a"]), EXACTLY_ONE),
    Row("metadata cannot be embedded", call("add", ids=["a"], metadatas=[{"n": 1}]), EXACTLY_ONE),
    Row(
        "add cannot choose between documents and uris",
        call("add", ids=["a"], documents=["one"], uris=["u"]),
        EXACTLY_ONE,
    ),
    Row(
        "add cannot choose between documents and images",
        call("add", ids=["a"], documents=["one"], images=[IMAGE]),
        EXACTLY_ONE,
    ),
    Row(
        "upsert needs something to embed for a new record",
        call("upsert", ids=["a", "z"], metadatas=[{"n": 1}, {"n": 2}]),
        EXACTLY_ONE,
    ),
    Row(
        "uris need a loader",
        call("add", ids=["a"], uris=["u"]),
        Raises(ArgumentValueError, "You must set a data loader on the collection"),
    ),
    Row(
        "upsert needs a loader for uris, too",
        call("upsert", ids=["z"], uris=["u"]),
        Raises(ArgumentValueError, "You must set a data loader on the collection"),
        chroma="refuses uris without embeddings, with a loader or without",
    ),
    Row(
        "update cannot choose between documents and images",
        call("update", ids=["a"], documents=["one"], images=[IMAGE]),
        Raises(ArgumentValueError, "At most one of documents, images"),
    ),
    Row("update with ids alone changes nothing", call("update", ids=["a"]), None),
    Row(
        "query needs something to look for",
        call("query"),
        Raises(
            ArgumentValueError,
            "At least one of one of embeddings, documents, images, uris must be provided",
        ),
    ),
    Row(
        "query ignores texts next to vectors",
        lambda filled: filled.query([[4.0, 0.0]], query_texts=["x"], n_results=1)["ids"],
        [["d"]],
    ),
    Row(
        "query needs as many texts as vectors",
        call("query", query_embeddings=VECTOR, query_texts=["x", "y"]),
        Raises(ArgumentValueError, "Unequal lengths for fields: embeddings: 1, documents: 2"),
    ),
    Row(
        "query cannot choose between texts and images",
        call("query", query_texts=["x"], query_images=[IMAGE]),
        EXACTLY_ONE,
    ),
    Row("no texts are no query", call("query", query_texts=[]), none_of("documents")),
]


@each(COLUMNS)
def test_columns_fit_together_or_are_refused(client: Client, row: Row) -> None:
    collection = filled(client)
    before = collection.get(include=["metadatas", "documents", "uris"])
    row.check(collection)
    assert collection.get(include=["metadatas", "documents", "uris"]) == before


def test_an_update_of_uris_leaves_the_vector(client: Client) -> None:
    collection = filled(client)
    collection.update(ids=["a"], uris=["u"])
    after = collection.get(ids=["a"], include=["uris", "embeddings"])
    assert after["uris"] == ["u"]
    assert after["embeddings"] is not None
    assert after["embeddings"].tolist() == [[1.0, 0.0]]


# ── embeddings ───────────────────────────────────────────────────────────────────────────────────


def stored(embeddings: Any, ids: Any = "a") -> Call:
    def call(collection: Collection) -> object:
        collection.add(ids=list(ids), embeddings=embeddings)
        vectors = collection.get(include=["embeddings"])["embeddings"]
        assert vectors is not None
        return vectors.tolist()

    return call


FORMS = Raises(
    ArgumentValueError,
    "Expected embeddings to be a list of floats or ints, a list of lists, a numpy array, or a list "
    "of numpy arrays, got",
)
NO_VALUES = Raises(ArgumentValueError, "1-dimensional numpy array with at least 1 int/float value")
NO_NUMBERS = Raises(ArgumentValueError, "Expected each value in the embedding to be a int or float")
NO_ROWS = Raises(ArgumentValueError, "Expected Embeddings to be non-empty list or numpy array")
NO_LENGTH = Raises(ArgumentTypeError, "has no len()")
RAGGED = Raises(InvalidArgumentError, "Inconsistent dimensions in provided embeddings")
NOT_FINITE = Raises(InvalidArgumentError, "Embeddings must not contain NaN or Infinity values")
ONE = [[1.0, 2.0]]
TWO = [[1.0, 2.0], [3.0, 4.5]]
NAN, INF = float("nan"), float("inf")

EMBEDDINGS = [
    Row("a list of numbers is one vector", stored([1, 2.0]), ONE),
    Row("a list of lists", stored([[1, 2], [3, 4.5]], "ab"), TWO),
    Row("a list of arrays", stored([np.array([1, 2]), np.array([3, 4.5])], "ab"), TWO),
    Row(
        "arrays and lists may be mixed",
        stored([np.array([1, 2]), [3, 4.5]], "ab"),
        TWO,
        chroma="takes them only in the other order",
    ),
    Row("lists and arrays may be mixed", stored([[1, 2], np.array([3, 4.5])], "ab"), TWO),
    Row("an array of one axis is one vector", stored(np.array([1.0, 2.0])), ONE),
    Row("an array of two axes", stored(np.array(TWO), "ab"), TWO),
    Row("an array of another order", stored(np.asfortranarray(TWO), "ab"), TWO),
    Row(
        "numpy's numbers in a list of lists",
        stored([[np.float32(1), np.int64(2)]]),
        ONE,
        chroma="is a ValueError",
    ),
    *(
        Row(f"an array of {kind.__name__}", stored(np.array([[1, 2]], dtype=kind)), ONE)
        for kind in (np.float16, np.float32, np.float64, np.int32, np.int64)
    ),
    Row("one dimension", stored([[1.5]]), [[1.5]]),
    Row("20000 dimensions", stored([[0.5] * 20_000]), [[0.5] * 20_000]),
    Row("no tuple", stored((1.0, 2.0)), FORMS),
    Row("no list of tuples", stored([(1.0, 2.0)]), FORMS),
    Row("no dict", stored({"a": [1.0]}), FORMS),
    Row("no text", stored("ab"), FORMS),
    Row("no list of texts", stored(["ab"]), FORMS),
    Row("no list of bools", stored([True, False]), FORMS),
    Row("no list of numpy's scalars", stored([np.float32(3)]), FORMS),
    Row("no array of three axes", stored(np.zeros((1, 2, 2))), FORMS),
    Row("no row that is None", stored([None, [1.0]], "ab"), FORMS),
    Row("no later row that is None", stored([[1.0], None], "ab"), FORMS),
    Row("no vectors at all", stored([]), NO_ROWS),
    Row("no rows in an array", stored(np.zeros((0, 2))), NO_ROWS),
    Row("no dimension in a list", stored([[]]), NO_VALUES, chroma="is an IndexError"),
    Row("no dimension in a list of arrays", stored([np.array([])]), NO_VALUES),
    Row("no dimension in an array", stored(np.zeros((1, 0))), NO_VALUES),
    Row("no rows of two axes", stored([np.zeros((2, 2))]), NO_VALUES, chroma="is a TypeError"),
    Row("no array of bytes", stored(np.zeros((1, 2), np.int8)), NO_NUMBERS),
    Row("no array of bools", stored(np.zeros((1, 2), bool)), NO_NUMBERS),
    Row("no texts in a later row", stored([[1.0], ["x"]], "ab"), NO_NUMBERS),
    Row("no number", stored(1.0), NO_LENGTH),
    Row("no generator", stored(row for row in ONE), NO_LENGTH),
    Row("no rows of several dimensions", stored([[1.0], [1.0, 2.0]], "ab"), RAGGED),
    Row("no NaN", stored([[1.0, NAN]]), NOT_FINITE),
    Row("no infinity", stored([[INF, 1.0]]), NOT_FINITE),
    Row("nothing that float32 cannot hold", stored([[1e39, 1.0]]), NOT_FINITE),
]


@each(EMBEDDINGS)
def test_embeddings_are_taken_or_refused(client: Client, row: Row) -> None:
    collection = empty(client)
    row.check(collection)
    refused = isinstance(row.outcome, Raises)
    assert (collection.count() == 0) is refused
    if refused:  # a refused batch does not decide the dimension, either
        collection.add(ids=["z"], embeddings=[[1.0, 2.0, 3.0]])


@each([row for row in EMBEDDINGS if isinstance(row.outcome, Raises)])
def test_query_refuses_what_add_refuses(client: Client, row: Row) -> None:
    class Asking:
        def __init__(self) -> None:
            self.collection = filled(client)

        def add(self, ids: Any, embeddings: Any) -> None:
            self.collection.query(query_embeddings=embeddings)

    row.check(Asking())


DIMENSION = Raises(DimensionError, "Collection expecting embedding with dimension of 2, got 3")


@each(
    [
        *(
            Row(
                f"{method} needs the dimension",
                call(method, ids=["a"], embeddings=[[1, 2, 3]]),
                DIMENSION,
            )
            for method in WRITES
        ),
        Row("query needs the dimension", call("query", query_embeddings=[[1, 2, 3]]), DIMENSION),
    ]
)
def test_all_vectors_of_a_collection_have_one_dimension(client: Client, row: Row) -> None:
    row.check(filled(client))


# ── documents, images, uris ──────────────────────────────────────────────────────────────────────


def cells(column: str, value: Any, **columns: Any) -> Call:
    def call(collection: Collection) -> object:
        collection.add(ids=["a"], **{column: value}, **columns)
        return collection.get(include=[column])[column]  # type: ignore[list-item, literal-required]

    return call


GIVEN = {"embeddings": [[1.0, 2.0]]}

CELLS = [
    Row("a str is one document", cells("documents", "text"), ["text"]),
    Row("an empty document is stored", cells("documents", [""]), [""]),
    Row("a document may be an enumeration's member", cells("documents", [Colour.RED]), ["red"]),
    Row("no document next to an embedding", cells("documents", [None], **GIVEN), [None]),
    Row(
        "no document to embed",
        cells("documents", [None]),
        Raises(ArgumentValueError, "Expected document to be a str, got None"),
    ),
    Row(
        "a document is a str",
        cells("documents", [1]),
        Raises(ArgumentValueError, "Expected document to be a str, got 1"),
    ),
    Row(
        "a tuple of documents is one document, and no str",
        cells("documents", ("text",)),
        Raises(ArgumentValueError, "Expected document to be a str"),
    ),
    Row(
        "a document is valid Unicode",
        cells("documents", ["\ud800"]),
        Raises(ArgumentValueError, "Expected document to be valid Unicode"),
        chroma="is a UnicodeEncodeError",
    ),
    Row(
        "an image is an array",
        call("add", ids=["a"], images=["image"]),
        Raises(ArgumentValueError, "Expected image to be a numpy array, got str"),
    ),
    Row(
        "an image has two axes",
        call("add", ids=["a"], images=[np.zeros(2)]),
        Raises(ArgumentValueError, "Expected image to be a numpy array with 2 or more dimensions"),
    ),
    Row("an image is embedded and not stored", call("add", ids=["a"], images=[IMAGE]), None),
    Row("a str is one uri", cells("uris", "u", **GIVEN), ["u"]),
    Row("no uri", cells("uris", [None], **GIVEN), [None]),
    Row(
        "a uri is a str",
        cells("uris", [1], **GIVEN),
        Raises(ArgumentTypeError, "Expected URI to be a str or None, got 1"),
    ),
]


@each(CELLS)
def test_documents_images_and_uris_are_taken_or_refused(client: Client, row: Row) -> None:
    row.check(empty(client))


@pytest.mark.parametrize("uris", ["u", ["u"]], ids=["one", "list"])
def test_uris_are_loaded_and_embedded(client: Client, uris: Any) -> None:
    collection = empty(client, data_loader=load)
    collection.add(ids=["a"], uris=uris)
    stored = collection.get(include=["uris", "embeddings"])
    assert stored["uris"] == ["u"]
    assert stored["embeddings"] is not None
    assert stored["embeddings"].tolist() == [[3.0, 1.0]]  # the loader gave "<u>"
