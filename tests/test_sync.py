"""Syncing: what differs from the source is embedded and written, and nothing else."""

from typing import Any

import pandas
import pytest

from doors import empty
from vermilion.api.client import Client
from vermilion.api.collection import Collection
from vermilion.embeddings.base import EmbeddingFunction
from vermilion.embeddings.bm25 import ChromaBm25EmbeddingFunction
from vermilion.errors import ArgumentTypeError, ArgumentValueError, DuplicateIDError
from vermilion.schema.builder import Schema, SparseVectorIndexConfig
from vermilion.types import WriteResult


class Counting(EmbeddingFunction[Any]):
    """Two numbers for each text, and which texts it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, input: Any) -> Any:
        self.asked += input
        return [[float(len(item)), 1.0] for item in input]

    def new(self) -> list[str]:
        """What it was asked for since the last time."""
        asked, self.asked = self.asked, []
        return asked


def row(id: str, document: str, **metadata: Any) -> dict[str, Any]:
    return {"id": id, "document": document, **metadata}


ROWS = [row("a", "one", n=1), row("b", "two", n=2), row("c", "three", n=3)]
LATER = [row("a", "one", n=1), row("c", "THREE!", n=3), row("d", "four"), row("b", "two", m=0)]
CHANGES = WriteResult(
    inserted=1, updated=2, unchanged=1, ids={"inserted": ["d"], "updated": ["c", "b"]}
)


def synced(client: Client) -> tuple[Collection, Counting]:
    counting = Counting()
    collection = empty(client, embedding_function=counting)
    collection.sync(ROWS)
    assert counting.new() == ["one", "two", "three"]
    return collection, counting


def content(collection: Collection) -> list[Any]:
    got = collection.get(include=["documents", "metadatas", "embeddings", "uris"])
    assert got["embeddings"] is not None
    columns = (got["documents"], got["metadatas"], got["embeddings"].tolist(), got["uris"])
    return sorted(zip(got["ids"], *columns, strict=True), key=str)  # type: ignore[arg-type]


def test_the_first_time_everything_is_new(client: Client) -> None:
    collection = empty(client)
    done = collection.sync(iter(ROWS))
    assert done == WriteResult(inserted=3, ids={"inserted": ["a", "b", "c"]})
    assert collection.get()["documents"] == ["one", "two", "three"]


def test_the_second_time_nothing_is(client: Client) -> None:
    collection, counting = synced(client)
    before = collection.stats()
    assert collection.sync(pandas.DataFrame(ROWS)) == WriteResult(unchanged=3)
    assert counting.new() == []
    assert collection.stats() == before


@pytest.mark.parametrize("batch_size", [1, 2, 1000])
def test_only_texts_that_are_new_are_embedded(client: Client, batch_size: int) -> None:
    collection, counting = synced(client)
    assert collection.sync(LATER, batch_size=batch_size) == CHANGES
    assert sorted(counting.new()) == ["THREE!", "four"]
    fresh = client.create_collection("fresh", embedding_function=Counting())
    fresh.add_rows(LATER)
    assert content(collection) == content(fresh)


def test_what_vanished_is_deleted(client: Client) -> None:
    collection, counting = synced(client)
    done = collection.sync(ROWS[1:2])
    assert done == WriteResult(unchanged=1, deleted=2, ids={"deleted": ["a", "c"]})
    assert collection.ids() == ["b"]
    assert counting.new() == []


def test_a_dry_run_tells_the_same_and_writes_nothing(client: Client) -> None:
    collection, counting = synced(client)
    before = content(collection)
    told = collection.sync(LATER[1:], dry_run=True)
    assert counting.new() == []
    assert content(collection) == before
    assert collection.sync(LATER[1:]) == told
    assert (told.updated, told.deleted) == (2, 1)


def test_a_scope(client: Client) -> None:
    collection, _ = synced(client)
    collection.sync([row("x", "ex", part="p"), row("y", "why", part="p")], where={"part": "p"})
    assert collection.ids() == ["a", "b", "c", "x", "y"]
    done = collection.sync([row("y", "why", part="p")], where={"part": "p"})
    assert done == WriteResult(unchanged=1, deleted=1, ids={"deleted": ["x"]})
    with pytest.raises(ArgumentValueError, match="Row 0: the row with the id 'z' does not match"):
        collection.sync([row("z", "zet", part="q")], where={"part": "p"})
    assert collection.ids() == ["a", "b", "c", "y"]


def test_a_key_that_is_a_column_or_a_function(client: Client) -> None:
    collection = empty(client)
    rows = [{"url": "u1", "document": "one"}, {"url": "u2", "document": "two"}]
    collection.sync(rows, key="url")
    assert collection.ids() == ["u1", "u2"]
    assert collection.get()["metadatas"] == [{"url": "u1"}, {"url": "u2"}]
    numbered = [{"id": 7, "document": "seven"}]
    collection.sync(numbered, key=lambda cells: f"no. {cells['id']}")
    assert collection.ids() == ["no. 7"]


def test_after_an_error_it_goes_on_where_it_was(client: Client) -> None:
    collection, counting = synced(client)

    def torn() -> Any:
        yield from LATER[:3]
        raise OSError("the source is gone")

    with pytest.raises(OSError, match="the source is gone"):
        collection.sync(torn(), batch_size=1)
    assert counting.new() == ["THREE!"]  # "four" waited for the row after it
    assert "b" in collection
    assert collection.sync(LATER, batch_size=1).unchanged == 2
    assert counting.new() == ["four"]


def test_vectors_that_are_given(client: Client) -> None:
    collection = empty(client, embedding_function=Counting())
    rows: list[Any] = [{"id": "a", "embedding": [0.1, 1]}, {"id": "b", "embedding": [2, 1]}]
    collection.sync(rows)
    assert collection.sync(rows) == WriteResult(unchanged=2)
    changed = [rows[0], {"id": "b", "embedding": [2, 2]}]
    assert collection.sync(changed).ids == {"updated": ["b"]}


def test_values_that_look_alike_are_told_apart(client: Client) -> None:
    collection, _ = synced(client)
    rows = [row("a", "one", n=1.0), row("b", "two", n=2), row("c", "three", n=True)]
    assert collection.sync(rows).ids == {"updated": ["a", "c"]}


def test_a_uri_alone_is_loaded_anew_when_it_changes(client: Client) -> None:
    counting = Counting()
    collection = empty(client, embedding_function=counting, data_loader=list)
    collection.sync([{"id": "a", "uri": "path"}, {"id": "b", "uri": "same"}])
    assert counting.new() == ["path", "same"]
    done = collection.sync([{"id": "a", "uri": "other"}, {"id": "b", "uri": "same", "n": 1}])
    assert done.updated == 2
    assert counting.new() == ["other"]


def test_sparse_vectors_stay_with_the_text_they_are_of(client: Client) -> None:
    index = SparseVectorIndexConfig(
        embedding_function=ChromaBm25EmbeddingFunction(), source_key="#document"
    )
    schema = Schema().create_index(index, key="sparse")
    collection = client.create_collection("sparse", schema=schema)
    rows: list[Any] = [{**row(id, f"{id} whale"), "embedding": [1, 0]} for id in "ab"]
    collection.sync(rows)
    before = collection.get()["metadatas"]
    assert collection.sync(rows) == WriteResult(unchanged=2)
    changed = [rows[0] | {"n": 1}, rows[1] | {"document": "two seals"}]
    assert collection.sync(changed).updated == 2
    after = collection.get()["metadatas"]
    assert before is not None
    assert after is not None
    assert after[0] == {**(before[0] or {}), "n": 1}
    assert len((after[1] or {})["sparse"].indices) == 2
    bare = [{**one, "document": None} for one in changed]
    assert collection.sync(bare).updated == 2
    assert collection.get()["metadatas"] == [{"n": 1}, None]
    assert collection.get()["documents"] == [None, None]


@pytest.mark.parametrize(
    ("source", "options", "kind", "words"),
    [
        (ROWS + ROWS[:1], {}, DuplicateIDError, "Row 3: a row before has the id 'a', too"),
        ([{"document": "x"}], {}, ArgumentValueError, "Row 0, column 'id': Expected an id"),
        (ROWS, {"key": 5}, ArgumentTypeError, "key to be a column or a function"),
        (ROWS, {"batch_size": 0}, ArgumentValueError, "at least 1"),
        ("text", {}, ArgumentTypeError, "a table, or a list or iterator of dicts"),
    ],
)
def test_what_is_refused_deletes_nothing(
    client: Client, source: Any, options: Any, kind: type[Exception], words: str
) -> None:
    collection, _ = synced(client)
    with pytest.raises(kind, match=words):
        collection.sync(source, **options)
    assert collection.ids() == ["a", "b", "c"]
