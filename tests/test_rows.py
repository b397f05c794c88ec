"""Rows of dicts and of tables: what becomes of their columns, and which are refused."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas
import polars
import pyarrow
import pytest

from doors import Lengths, empty, load
from vermilion.api.client import Client
from vermilion.errors import IDAlreadyExistsError
from vermilion.types import WriteResult

ROWS: list[dict[str, Any]] = [
    {"id": "a", "document": "one", "year": 1999, "tag": "x"},
    {"id": "b", "document": "three", "year": None, "tag": None},
]
STORED = {
    "ids": ["a", "b"],
    "documents": ["one", "three"],
    "metadatas": [{"year": 1999, "tag": "x"}, None],
    "embeddings": [[3.0, 1.0], [5.0, 1.0]],
}


class Stream:
    """What knows nothing but Arrow's protocol."""

    def __init__(self, table: Any) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
        return self._table.__arrow_c_stream__(requested_schema)


ARROW = pyarrow.Table.from_pylist(ROWS)
SOURCES: dict[str, Any] = {
    "a list": lambda: ROWS,
    "an iterator": lambda: iter(ROWS),
    "pandas": lambda: pandas.DataFrame(ROWS).astype({"year": "Int64"}),
    "pandas, by index": lambda: pandas.DataFrame(ROWS).astype({"year": "Int64"}).set_index("id"),
    "polars": lambda: polars.DataFrame(ROWS),
    "an Arrow table": lambda: ARROW,
    "an Arrow batch": lambda: ARROW.to_batches()[0],
    "an Arrow reader": lambda: ARROW.to_reader(),
    "an Arrow stream": lambda: Stream(ARROW),
    "many tables": lambda: [ARROW.slice(0, 1), polars.DataFrame(ROWS[1:])],
}


def stored(collection: Any) -> dict[str, Any]:
    got = collection.get(include=["documents", "metadatas", "embeddings"])
    return {name: got[name] for name in STORED} | {"embeddings": got["embeddings"].tolist()}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("batch_size", [1, 1000])
def test_rows_are_added(source: str, batch_size: int, client: Client) -> None:
    collection = empty(client)
    done = collection.add_rows(SOURCES[source](), batch_size=batch_size)
    assert done == WriteResult(inserted=2)
    assert stored(collection) == STORED


def test_all_columns_of_a_record(client: Client) -> None:
    collection = empty(client, data_loader=load)
    rows = [
        {"id": "a", "embedding": [1, 2], "metadata": {"n": 1, "gone": None}, "m": np.int64(2)},
        {"id": "b", "embedding": np.array([3, 4]), "uri": "u", "metadata": {}},
        {"id": "c", "document": "four", "embedding": None},
        {"id": "d", "uri": "path"},
    ]
    assert collection.add_rows(rows).inserted == 4
    got = collection.get(include=["documents", "uris", "metadatas", "embeddings"])
    assert got["embeddings"] is not None
    assert got["embeddings"].tolist() == [[1, 2], [3, 4], [4, 1], [6, 1]]
    assert got["documents"] == [None, None, "four", None]
    assert got["uris"] == [None, "u", None, "path"]
    assert got["metadatas"] == [{"n": 1, "m": 2}, None, None, None]


def test_an_answer_of_get_goes_round(client: Client) -> None:
    collection = empty(client)
    collection.add_rows(ROWS)
    with_vectors = [vars(record) for record in collection.iter(include=["documents", "embeddings"])]
    collection.delete(["a", "b"])
    collection.add_rows(with_vectors)
    assert stored(collection)["embeddings"] == STORED["embeddings"]


def test_rows_are_upserted_cell_by_cell(client: Client) -> None:
    collection = empty(client)
    collection.add_rows(ROWS)
    changes = [{"id": "b", "year": 2001}, {"id": "a", "year": 1999}]
    assert collection.upsert_rows(changes, report=True).ids == {
        "updated": ["b"],
        "unchanged": ["a"],
    }
    assert stored(collection)["metadatas"] == [{"year": 1999, "tag": "x"}, {"year": 2001}]


def test_conflicts(client: Client) -> None:
    collection = empty(client)
    collection.add_rows(ROWS[:1])
    with pytest.raises(IDAlreadyExistsError, match="already: a in add_rows"):
        collection.add_rows(ROWS, on_conflict="error")
    assert collection.count() == 1
    assert collection.add_rows(ROWS) == WriteResult(inserted=1, skipped=1)
    assert collection.add_rows([{**ROWS[0], "year": 1}], on_conflict="update").updated == 1


def test_an_id_that_comes_twice_is_as_if_each_row_were_a_call(client: Client) -> None:
    collection = empty(client)
    twice = [{"id": "a", "document": "x"}, {"id": "a", "document": "xx", "n": 1}]
    assert collection.add_rows(twice) == WriteResult(inserted=1, skipped=1)
    assert collection.upsert_rows(twice[::-1]) == WriteResult(updated=2)
    assert collection.get()["documents"] == ["x"]
    assert collection.get()["metadatas"] == [{"n": 1}]


def test_ids_are_made_for_rows_without(client: Client) -> None:
    collection = empty(client)
    rows = [{"document": "x"}, {"id": "mine", "document": "y"}, {"document": "x"}]
    done = collection.add_rows(rows, make_ids="hash", report=True)
    assert (done.inserted, done.skipped) == (2, 1)
    assert done.made == [done.made[0]] * 2
    assert collection.ids() == [done.made[0], "mine"]


def test_an_iterator_is_read_as_it_is_written(client: Client) -> None:
    collection = empty(client)
    counts: list[int] = []

    def rows() -> Iterator[dict[str, Any]]:
        for n in range(10):
            counts.append(collection.count())
            yield {"id": str(n), "embedding": [n, 1]}

    assert collection.add_rows(rows(), batch_size=4).inserted == 10
    assert counts == [0] * 5 + [4] * 4 + [8]


def bad(**cells: Any) -> list[dict[str, Any]]:
    return [{"id": str(n), "embedding": [n, 1]} for n in range(3)] + [
        {"id": "bad", "embedding": [9, 9]} | cells
    ]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (bad(id=5), "Row 3, column 'id': Expected ID to be a str, got 5"),
        (bad(id=""), "Row 3, column 'id': Empty ID"),
        (bad(id=None), "Row 3, column 'id': Expected an id, got none"),
        (bad(document=5), "Row 3, column 'document': Expected document to be a str, got 5"),
        (bad(uri=5), "Row 3, column 'uri': Expected URI"),
        (bad(embedding=[1]), "Row 3, column 'embedding': Expected 2 dimensions"),
        (bad(embedding="x"), "Row 3, column 'embedding': Expected embeddings"),
        (bad(embedding=[1, float("nan")]), "Row 3, column 'embedding': Embeddings must not"),
        (bad(embedding=None), "Row 3: Expected an embedding, or a document or a uri"),
        (bad(year={1}), "Row 3, column 'year': Expected metadata value"),
        (bad(metadata=[1]), "Row 3, column 'metadata': Expected a dict"),
        (bad(metadata={"n": 1}, n=2), "Row 3, column 'n': it is in 'metadata', too"),
        (bad()[:3] + ["text"], "Row 3: Expected a dict, got str"),  # type: ignore[list-item]
        ({"id": "a"}, "Expected a table, or a list or iterator of dicts"),
        ("text", "Expected a table, or a list or iterator of dicts"),
        (5, "Expected a pandas, polars or Arrow table"),
    ],
)
def test_rows_that_are_refused(client: Client, source: Any, words: str) -> None:
    collection = empty(client)
    with pytest.raises((ValueError, TypeError, Exception)) as caught:
        collection.add_rows(source)
    assert words in str(caught.value)
    assert str(caught.value).endswith("in add_rows.")
    assert collection.count() == 0


def test_vectors_that_are_given_and_made_are_of_one_dimension(client: Client) -> None:
    collection = empty(client, embedding_function=Lengths())
    rows = [{"id": "a", "embedding": [1, 2, 3]}, {"id": "b", "document": "x"}]
    with pytest.raises(ValueError, match="those that are made have 2 and 3"):
        collection.add_rows(rows)
