"""Our clients against a real server of Chroma, which whoever runs the tests has to name:

    chroma run --path /tmp/somewhere --port 8123
    CHROMA_SERVER_URL=http://localhost:8123 pytest tests/test_chroma_server.py

Everything happens in a tenant of its own.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

import vermilion
from vermilion.api.admin import AdminClient
from vermilion.api.aio import AsyncClient, AsyncCollection
from vermilion.api.client import Client
from vermilion.api.collection import Collection
from vermilion.api.settings import Settings
from vermilion.compat.batches import create_batches
from vermilion.errors import (
    AlreadyExistsError,
    BatchTooLargeError,
    ChromaAuthError,
    ChromaError,
    DimensionError,
    InvalidArgumentError,
    NotFoundError,
    UnsupportedError,
)

URL = os.environ.get("CHROMA_SERVER_URL", "")
pytestmark = pytest.mark.skipif(not URL, reason="CHROMA_SERVER_URL names no server of Chroma")


@pytest.fixture(scope="module")
def place() -> dict[str, str]:
    """A tenant and a database of their own."""
    names = {"tenant": f"tenant_{uuid4().hex}", "database": f"database_{uuid4().hex}"}
    settings = Settings(chroma_api_impl="chromadb.api.fastapi.FastAPI", chroma_server_host=URL)
    with AdminClient(settings) as admin:
        admin.create_tenant(names["tenant"])
        admin.create_database(names["database"], names["tenant"])
        assert admin.get_tenant(names["tenant"]) == {"name": names["tenant"]}
        found = admin.list_databases(tenant=names["tenant"])
        assert [one["name"] for one in found] == [names["database"]]
        assert admin.get_database(names["database"], names["tenant"]) == found[0]
        with pytest.raises(AlreadyExistsError):
            admin.create_tenant(names["tenant"])
    return names


@pytest.fixture
def client(place: dict[str, str]) -> Iterator[Client]:
    with vermilion.HttpClient(URL, **place) as client:
        yield client
        for one in client.list_collections():
            client.delete_collection(one.name)


@pytest.fixture
def notes(client: Client) -> Collection:
    """Four records on a line; the fourth has neither metadata nor a document."""
    collection = client.create_collection("notes", embedding_function=None)
    collection.add(
        ids=["a", "b", "c", "d"],
        embeddings=[[1, 0], [2, 0], [3, 0], [4, 0]],
        metadatas=[
            {"n": 1, "x": 1.5, "word": "red", "yes": True, "list": ["red", "blue"]},
            {"n": 2, "x": 2.0, "word": "blue", "yes": False},
            {"n": 3, "word": "1"},
            None,
        ],
        documents=["one fish", "two fish", "Red (fish)", None],
        uris=["u", None, None, None],
    )
    return collection


# ── the whole ────────────────────────────────────────────────────────────────────────────────────


def test_the_server_itself(client: Client) -> None:
    assert client.heartbeat() > 1_700_000_000 * 10**9
    assert client.get_version() == "1.0.0"
    assert client.get_max_batch_size() == 5461
    assert client.get_user_identity().tenant == "default_tenant"
    with pytest.raises(ChromaAuthError, match="Reset is disabled"):
        client.reset()


def test_unknown_places_are_not_found(place: dict[str, str]) -> None:
    with pytest.raises(NotFoundError, match="Tenant"):
        vermilion.HttpClient(URL, tenant="no such tenant")
    with pytest.raises(NotFoundError, match="Database"):
        vermilion.HttpClient(URL, tenant=place["tenant"], database="nowhere")


# ── collections ──────────────────────────────────────────────────────────────────────────────────


def test_the_life_of_a_collection(client: Client) -> None:
    made = client.create_collection(
        "made",
        configuration={"hnsw": {"space": "cosine", "ef_search": 77}},
        metadata={"a": 1, "b": 2.0, "c": "x", "d": True},
        embedding_function=None,
    )
    assert made.metadata == {"a": 1, "b": 2.0, "c": "x", "d": True}
    assert made.configuration_json["hnsw"]["space"] == "cosine"
    assert made.configuration_json["hnsw"]["ef_search"] == 77
    again = client.get_collection("made", embedding_function=None)
    assert (again.id, again.configuration_json) == (made.id, made.configuration_json)
    assert client.get_collection_by_id(made.id).name == "made"
    assert client.get_or_create_collection("made").id == made.id
    made.modify(name="renamed", metadata={"e": 5}, configuration={"hnsw": {"ef_search": 99}})
    assert (made.name, made.metadata) == ("renamed", {"e": 5})
    assert client.get_collection("renamed").configuration_json["hnsw"]["ef_search"] == 99
    with pytest.raises(AlreadyExistsError):
        client.create_collection("renamed")
    for number in range(5):
        client.create_collection(f"other-{number}")
    assert client.count_collections() == len(client.list_collections()) == 6
    assert len(client.list_collections(limit=4, offset=3)) == 3
    client.delete_collection("renamed")
    for call in (made.count, made.peek, lambda: made.add(["x"], [[1.0]])):
        with pytest.raises(NotFoundError):
            call()
    with pytest.raises(NotFoundError):
        client.delete_collection("renamed")


def test_the_default_function_is_remembered(client: Client) -> None:
    client.create_collection("texts").add(ids=["1", "2"], documents=["a cat sleeps", "rust"])
    texts = client.get_collection("texts")
    assert texts.query(query_texts=["a small pet"], n_results=1)["ids"] == [["1"]]
    assert texts.configuration_json["embedding_function"]["name"] == "default"


# ── records ──────────────────────────────────────────────────────────────────────────────────────


def test_what_was_written_is_read(notes: Collection) -> None:
    got = notes.get(include=["embeddings", "documents", "metadatas", "uris"])
    assert got["ids"] == ["a", "b", "c", "d"]
    assert got["embeddings"] is not None
    assert got["embeddings"].tolist() == [[1, 0], [2, 0], [3, 0], [4, 0]]
    assert got["documents"] == ["one fish", "two fish", "Red (fish)", None]
    assert got["uris"] == ["u", None, None, None]
    assert got["metadatas"] == [
        {"n": 1, "x": 1.5, "word": "red", "yes": True, "list": ["red", "blue"]},
        {"n": 2, "x": 2.0, "word": "blue", "yes": False},
        {"n": 3, "word": "1"},
        None,
    ]
    kinds = [type(value) for value in (got["metadatas"][1] or {}).values()]
    assert sorted(kind.__name__ for kind in kinds) == ["bool", "float", "int", "str"]


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ({"n": 2}, ["b"]),
        ({"n": {"$gt": 1}}, ["b", "c"]),
        ({"x": {"$lte": 1.5}}, ["a"]),
        ({"word": {"$in": ["red", "1"]}}, ["a", "c"]),
        ({"word": {"$ne": "red"}}, ["b", "c", "d"]),
        ({"list": {"$contains": "blue"}}, ["a"]),
        ({"$and": [{"n": {"$gte": 1}}, {"$or": [{"yes": True}, {"n": 3}]}]}, ["a", "c"]),
    ],
)
def test_filters(notes: Collection, where: dict[str, Any], ids: list[str]) -> None:
    assert notes.get(where=where)["ids"] == ids
    found = notes.query(query_embeddings=[[0, 0]], where=where)
    assert found["ids"] == [ids]
    assert found["distances"] == [[float("abcd".index(id) + 1) ** 2 for id in ids]]


def test_document_filters_ids_and_pages(notes: Collection) -> None:
    assert notes.get(where_document={"$contains": "fish"}, limit=2, offset=1)["ids"] == ["b", "c"]
    assert notes.get(where_document={"$regex": "^[a-z]+ fish$"})["ids"] == ["a", "b"]
    assert notes.get(ids=["c", "a", "missing"])["ids"] == ["a", "c"]
    assert notes.query(query_embeddings=[[9, 0]], ids=["a", "b"], n_results=5)["ids"] == [
        ["b", "a"]
    ]
    assert notes.get(where={"n": 1}, where_document={"$contains": "two"})["ids"] == []
    assert notes.peek(2)["ids"] == ["a", "b"]


def test_updates_merge_and_upserts_insert(notes: Collection) -> None:
    notes.update(ids=["a", "missing"], metadatas=[{"n": 9, "word": None}, {"n": 1}])
    notes.upsert(ids=["b", "e"], embeddings=[[7, 7], [8, 8]], documents=["new", "five"])
    notes.add(ids=["b"], embeddings=[[0, 0]])
    got = notes.get(ids=["a", "b", "e"], include=["metadatas", "documents", "embeddings"])
    metadatas, embeddings = got["metadatas"] or [], got["embeddings"]
    assert metadatas[0] == {"n": 9, "x": 1.5, "yes": True, "list": ["red", "blue"]}
    assert got["documents"] == ["one fish", "new", "five"]
    assert embeddings is not None
    assert embeddings.tolist() == [[1, 0], [7, 7], [8, 8]]
    assert notes.count() == 5
    assert notes.delete(where={"n": {"$gt": 2}})["deleted"] == 2
    notes.delete(ids=["b"])
    assert notes.get()["ids"] == ["d", "e"]


def test_float32_survives_the_way_there_and_back(client: Client) -> None:
    vectors = np.random.default_rng(1).standard_normal((500, 33)).astype(np.float32)
    collection = client.create_collection("random", embedding_function=None)
    collection.add(ids=[f"{n}" for n in range(500)], embeddings=list(vectors))
    got = collection.get(include=["embeddings"])["embeddings"]
    assert got is not None
    assert (got.astype(np.float32) == vectors).all()
    found = collection.query(query_embeddings=list(vectors[:20]), n_results=1)
    assert found["ids"] == [[f"{n}"] for n in range(20)]


# ── what it refuses ──────────────────────────────────────────────────────────────────────────────


def test_errors_have_their_classes(client: Client, notes: Collection) -> None:
    with pytest.raises(DimensionError, match="dimension of 2, got 3"):
        notes.add(ids=["x"], embeddings=[[1, 2, 3]])
    with pytest.raises(DimensionError):
        notes.query(query_embeddings=[[1, 2, 3]])
    with pytest.raises(InvalidArgumentError):
        notes.get(where_document={"$regex": "("})
    with pytest.raises(NotFoundError, match=r"Collection \[none\] does not exist") as caught:
        client.get_collection("none")
    assert caught.value.trace_id is not None


def test_batches_are_refused_as_a_whole_and_can_be_cut(client: Client) -> None:
    collection = client.create_collection("many", embedding_function=None)
    ids, vectors = [f"{n}" for n in range(6000)], [np.array([n, 1.0]) for n in range(6000)]
    with pytest.raises(BatchTooLargeError, match="6000 exceeds maximum batch size 5461"):
        collection.add(ids=ids, embeddings=vectors)
    assert collection.count() == 0
    for batch in create_batches(client, ids, embeddings=vectors):
        collection.add(*batch)
    assert collection.count() == 6000


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"n": {"$between": [1, 2]}, "list": {"$all": ["red", "blue"]}}, ["a"]),
        ({"n": {"$gt": 1, "$lt": 3}}, ["b"]),
        ({"word": {"$in": ["red", 1]}}, ["a"]),
        ({"n": {"$not": {"$in": [1, 2]}}}, ["c", "d"]),
        ({"#document": {"$exists": True}}, ["a", "b", "c"]),
    ],
)
def test_what_chroma_lacks_is_spelled_out(notes: Collection, where: Any, expected: Any) -> None:
    assert notes.get(where=where)["ids"] == expected


MISSING: dict[str, Callable[[Client, Collection], object]] = {
    "explain": lambda client, notes: notes.explain(query_embeddings=[[1, 2]]),
    "why_not": lambda client, notes: notes.why_not("a", query_embeddings=[[1, 2]]),
    "flush": lambda client, notes: notes.flush(),
    "stats": lambda client, notes: notes.stats(),
    "compact": lambda client, notes: notes.compact(),
    "check": lambda client, notes: client.check(),
    "secure": lambda client, notes: notes.delete(ids=["a"], secure=True),
    "clear": lambda client, notes: notes.update(ids=["a"], clear=["documents"]),
    "named": lambda client, notes: notes.delete(ids=["a"], report=True),
    "new_only": lambda client, notes: notes.add(["a"], [[1, 2]], on_conflict="error"),
    "exact": lambda client, notes: notes.query(query_embeddings=[[1, 2]], exact=True),
    "recall": lambda client, notes: notes.query(query_embeddings=[[1, 2]], recall=0.9),
    "filters": lambda client, notes: notes.get(where={"n": {"$exists": True}}),
    "typed": lambda client, notes: notes.update(ids=["a"], metadatas=[{"a": {"b": 1}}]),
}


@pytest.mark.parametrize("what", MISSING)
def test_what_only_our_servers_can_do_is_named(
    client: Client, notes: Collection, what: str
) -> None:
    before = notes.get()
    with pytest.raises(UnsupportedError, match=what):
        MISSING[what](client, notes)
    assert notes.get() == before


def test_rows_pages_and_changes_by_filter(client: Client) -> None:
    collection = client.create_collection("stepwise", embedding_function=None)
    rows: list[dict[str, Any]] = [{"id": f"{n}", "embedding": [n, 1], "n": n} for n in range(7)]
    collection.add_rows(rows, batch_size=3)
    numbers = [(one.metadata or {})["n"] for one in collection.iter(batch_size=2)]
    assert numbers == [*range(7)]
    assert collection.update_where({"n": {"$gt": 4}}, set={"m": "x"}, unset=["n"]) == 2
    assert collection.ids(where={"m": "x"}) == ["5", "6"]
    assert collection.sync(rows[1:]).ids["deleted"] == ["0"]
    assert collection.get(["5"])["metadatas"] == [{"n": 5}]


def test_what_it_has_only_in_its_cloud(notes: Collection) -> None:
    with pytest.raises(ChromaError, match="not implemented"):
        notes.get_indexing_status()


# ── asyncio ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def run(place: dict[str, str], client: Client) -> Callable[..., object]:
    """Runs a program on an event loop, with a client of the same database."""

    async def main(program: Callable[[AsyncClient], Awaitable[object]]) -> object:
        async with vermilion.AsyncHttpClient(URL, **place) as asynchronous:
            return await program(asynchronous)

    return lambda program: asyncio.run(main(program))


def test_hundreds_of_requests_without_threads(
    run: Callable[..., object], notes: Collection
) -> None:
    async def program(client: AsyncClient) -> None:
        same = await client.get_collection("notes", embedding_function=None)
        assert isinstance(same, AsyncCollection)
        before = threading.active_count()
        queries = [same.query(query_embeddings=[[n % 4 + 1, 0]], n_results=1) for n in range(400)]
        found = await asyncio.gather(*queries)
        assert [one["ids"][0][0] for one in found] == ["a", "b", "c", "d"] * 100
        assert threading.active_count() == before
        await same.upsert(ids=["e"], documents=["text"], embeddings=[[5, 0]])
        assert await same.count() == 5
        with pytest.raises(UnsupportedError):
            await same.stats()

    run(program)


def test_a_cancelled_task_is_gone(run: Callable[..., object], notes: Collection) -> None:
    async def program(client: AsyncClient) -> None:
        same = await client.get_collection("notes", embedding_function=None)
        tasks = [asyncio.create_task(same.query(query_embeddings=[[1, 0]])) for _ in range(50)]
        await asyncio.sleep(0.001)
        for task in tasks[::2]:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(one, dict) for one in ended[1::2])
        assert await same.count() == 4

    run(program)


def test_a_copy_goes_there_and_back(client: Client, notes: Collection, tmp_path: Path) -> None:
    with vermilion.PersistentClient(tmp_path) as local:
        there = local.create_collection("copy", embedding_function=None)
        everything: Any = ["embeddings", "documents", "metadatas", "uris"]
        rows = notes.get(include=everything)
        names = ("ids", "embeddings", "documents", "metadatas", "uris")
        there.add(**{name: rows[name] for name in names})  # type: ignore[literal-required]
        again = client.create_collection("again", embedding_function=None)
        back = there.get(include=everything)
        again.add(**{name: back[name] for name in names})  # type: ignore[literal-required]
        assert repr(again.get(include=everything)["metadatas"]).count("fish") == 0
        first, last = notes.get(include=everything), again.get(include=everything)
        assert first["embeddings"] is not None and last["embeddings"] is not None
        assert (first.pop("embeddings") == last.pop("embeddings")).all()
        assert first == last
