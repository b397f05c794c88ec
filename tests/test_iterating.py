"""All records of a collection, page by page, while others write."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import in_process
import vermilion
from doors import empty, filled
from vermilion.api.client import Client
from vermilion.engine import Engine, Selection
from vermilion.errors import ArgumentTypeError, ArgumentValueError
from vermilion.local.engine import LocalEngine
from vermilion.types import Record
from words import make, numbered


def many(client: Client, count: int) -> Any:
    collection = empty(client)
    ids = [f"n{n}" for n in range(count)]
    collection.add(
        ids=ids,
        embeddings=[[n, 1] for n in range(count)],
        metadatas=[{"n": n} for n in range(count)],
    )
    return collection


def test_records_come_in_the_order_of_insertion(client: Client) -> None:
    assert list(filled(client))[1:] == [
        Record("b", "two fish", {"n": 2, "x": 2.5, "word": "blue", "yes": False}),
        Record("c", "Red (fish)", {"n": 3, "word": "1"}),
        Record("d"),
    ]
    assert [record.id for record in empty(client, get_or_create=True)] == list("abcd")


def test_a_collection_without_records_yields_none(client: Client) -> None:
    collection = empty(client)
    assert list(collection) == []
    assert collection  # it is there, whatever it holds


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 5, 100])
def test_pages_of_any_size(client: Client, batch_size: int) -> None:
    collection = filled(client)
    assert [one.id for one in collection.iter(batch_size=batch_size)] == list("abcd")
    found = collection.iter(where={"n": {"$gte": 2}}, batch_size=batch_size)
    assert [one.id for one in found] == ["b", "c"]
    found = collection.iter(where_document={"$contains": "fish"}, batch_size=batch_size)
    assert [one.id for one in found] == ["a", "b", "c"]


def test_only_what_is_asked_for_is_told(client: Client) -> None:
    [first, *_] = filled(client).iter(include=["embeddings"])
    assert (first.document, first.metadata) == (None, None)
    assert first.embedding is not None
    assert first.embedding.tolist() == [1, 0]
    assert first.embedding.dtype == np.float32


@pytest.mark.parametrize("where", [None, {"n": {"$gte": 0}}])
def test_what_others_delete_meanwhile_leaves_nothing_out(client: Client, where: Any) -> None:
    collection = many(client, 10)
    told = []
    for record in collection.iter(where=where, batch_size=3):
        told.append(record.id)
        if record.id == "n2":
            collection.delete(["n0", "n1", "n2", "n7"])
    assert told == ["n0", "n1", "n2", "n3", "n4", "n5", "n6", "n8", "n9"]


def test_what_others_write_meanwhile_is_not_kept_waiting(client: Client) -> None:
    collection = many(client, 4)
    records = collection.iter(batch_size=2)
    assert next(records).id == "n0"
    collection.update(["n1", "n3"], metadatas=[{"n": 11}, {"n": 33}])
    collection.add(ids="late", embeddings=[0, 0])
    assert [(one.id, one.metadata) for one in records] == [
        ("n1", {"n": 1}),  # read with the first page
        ("n2", {"n": 2}),
        ("n3", {"n": 33}),
        ("late", None),
    ]


def test_ids(client: Client) -> None:
    collection = filled(client)
    assert collection.ids() == list("abcd")
    assert collection.ids(where={"n": {"$lt": 3}}) == ["a", "b"]
    assert collection.ids(where_document={"$contains": "Red"}) == ["c"]
    assert "a" in collection
    assert "z" not in collection


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"batch_size": 0}, ArgumentValueError, "at least 1, got 0 in iter"),
        ({"batch_size": 1.5}, ArgumentTypeError, "an integer"),
        ({"include": ["data"]}, ArgumentValueError, "cannot be data"),
        ({"include": ["distances"]}, ArgumentValueError, "cannot be one of distances"),
        ({"where": {}}, ArgumentValueError, "where"),
    ],
)
def test_wrong_arguments_are_told_before_the_first_record(
    client: Client, options: Any, kind: type[Exception], words: str
) -> None:
    collection = filled(client)
    with pytest.raises(kind, match=words):
        collection.iter(**options)


def test_async_for() -> None:
    async def main() -> list[str]:
        async with vermilion.AsyncEphemeralClient() as client:
            notes = await client.get_or_create_collection("async-for", embedding_function=None)
            await notes.upsert(ids=["a", "b", "c"], embeddings=[[1, 0]] * 3)
            some = [record.id async for record in notes.iter(batch_size=2)]
            return some + [record.id async for record in notes]

    assert asyncio.run(main()) == ["a", "b", "c", "a", "b", "c"]


# ── scans of engines ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("offset", [0, 1, 4, 7, 8])
def test_a_scan_begins_after_its_offset(engine: Engine, offset: int) -> None:
    address = make(engine)
    engine.add(address, numbered(8))
    engine.delete(address, Selection(["3"]))
    left = ["0", "1", "2", "4", "5", "6", "7"]
    pages = [page.ids for page in engine.scan(address, rows=2, offset=offset)]
    assert [id for page in pages for id in page] == left[offset:]
    assert max(map(len, pages), default=0) <= 2


@pytest.mark.parametrize("extensions", [None, frozenset({"report"})], ids=["ours", "Chroma's"])
def test_a_scan_over_http_ends_though_its_reader_writes(
    tmp_path: Path, extensions: frozenset[str] | None
) -> None:
    local = LocalEngine(tmp_path)
    with in_process.reached("remote", local) as engine:
        engine._extensions = extensions  # type: ignore[attr-defined]  # what the server says it can
        address = make(engine)
        engine.add(address, numbered(7))
        seen: list[str] = []
        for page in engine.scan(address, rows=2, offset=1):
            seen += page.ids
            engine.add(address, numbered(2, start=100 + len(seen)))
        assert seen[:6] == ["1", "2", "3", "4", "5", "6"]
        assert len(seen) <= 7
    local.close()


def test_a_scan_of_files_is_of_one_moment(tmp_path: Path) -> None:
    engine, other = LocalEngine(tmp_path), LocalEngine(tmp_path)
    address = make(engine)
    engine.add(address, numbered(6))
    seen: list[str] = []
    for page in engine.scan(address, rows=2):
        seen += page.ids
        other.add(address, numbered(2, start=100 + len(seen)))
        other.delete(address, Selection(["5"]))
    assert seen == ["0", "1", "2", "3", "4", "5"]
    engine.close()
    other.close()
