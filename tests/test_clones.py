"""clone and copy_to: collections made of collections, in this database or another."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import in_process
import vermilion
from vermilion.api import sharing
from vermilion.api.client import Client
from vermilion.api.collection import Collection
from vermilion.embeddings.base import EmbeddingFunction
from vermilion.errors import AlreadyExistsError, ArgumentTypeError, ArgumentValueError
from vermilion.local.engine import LocalEngine
from vermilion.schema.builder import Schema
from vermilion.schema.config import StringInvertedIndexConfig
from words import WordLengths

EVERYTHING: Any = ["embeddings", "documents", "metadatas", "uris"]


class Ones(EmbeddingFunction[Any]):
    """One number for each text."""

    def __call__(self, input: Any) -> Any:
        return [[float(len(text))] for text in input]


def original(client: Client) -> Collection:
    collection = client.create_collection(
        "original",
        configuration={"hnsw": {"space": "cosine", "ef_search": 70}},
        metadata={"about": "birds"},
        embedding_function=WordLengths(),
    )
    collection.add(
        ids=["c", "a", "b"],
        embeddings=[[3, 4, 0, 0], [3, 4, 0, 1], [3, 0, 0, 0]],
        documents=["one fish", "two fish", "red"],
        metadatas=[{"n": 1, "list": ["x"]}, {"n": 2}, None],
        uris=["u:1", None, None],
    )
    return collection


def contents(collection: Collection) -> Any:
    got = collection.get(include=EVERYTHING)
    vectors = np.asarray(got["embeddings"]).tolist()
    return {**got, "embeddings": vectors}


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Client]:
    """A client of another database than `client`."""
    with in_process.client(LocalEngine(tmp_path / "elsewhere")) as client:
        yield client


# ── clone ────────────────────────────────────────────────────────────────────────────────────────


def test_a_clone_has_all_that_the_original_has(client: Client) -> None:
    source = original(client)
    clone = source.clone("copy")
    assert contents(clone) == contents(source)
    assert clone.configuration_json == source.configuration_json
    assert clone.metadata == {"about": "birds"}
    assert clone.id != source.id
    assert client.get_collection("copy").id == clone.id
    assert clone.query(query_texts=["two fish"], n_results=1)["ids"] == [["c"]]


def test_a_clone_with_another_distance(client: Client) -> None:
    source = client.create_collection(
        "original", metadata={"hnsw:space": "cosine", "kept": 1}, embedding_function=None
    )
    source.add(ids=["a", "b"], embeddings=[[1, 0], [0, 3]])
    clone = source.clone("copy", configuration={"hnsw": {"space": "l2"}})
    assert clone.configuration_json["hnsw"]["space"] == "l2"
    assert clone.metadata == {"kept": 1}  # it would say cosine
    assert contents(clone) == contents(source)
    assert clone.query(query_embeddings=[[0, 1]], n_results=1)["distances"] == [[2.0]]
    assert source.query(query_embeddings=[[0, 1]], n_results=1)["distances"] == [[0.0]]


def test_a_clone_of_what_matches(client: Client) -> None:
    source = original(client)
    assert source.clone("by-metadata", where={"n": {"$gte": 1}}).get()["ids"] == ["c", "a"]
    named = source.clone("by-document", where_document={"$contains": "red"})
    assert named.get()["ids"] == ["b"]
    assert source.clone("nothing", where={"n": 9}).count() == 0


def test_a_clone_with_another_function_embeds_the_documents(client: Client) -> None:
    source = original(client)
    clone = source.clone("copy", embedding_function=Ones())
    assert contents(clone) == {**contents(source), "embeddings": [[8.0], [8.0], [3.0]]}
    assert clone.query(query_texts=["four"], n_results=1)["ids"] == [["c"]]
    again = source.clone("again", configuration={"embedding_function": Ones()})
    assert contents(again) == contents(clone)


def test_a_clone_that_fails_leaves_nothing(client: Client) -> None:
    source = original(client)
    source.add(ids=["bare"], embeddings=[[1, 1, 1, 1]])
    with pytest.raises(ArgumentValueError, match="Record 'bare' has no document"):
        source.clone("copy", embedding_function=Ones())
    assert [one.name for one in client.list_collections()] == ["original"]


@pytest.mark.parametrize("options", [{}, {"where": {"n": 1}}])
def test_a_name_that_is_taken(client: Client, options: Any) -> None:
    source = original(client)
    taken = client.create_collection("taken", embedding_function=None)
    with pytest.raises(AlreadyExistsError, match=r"Collection \[taken\] already exists"):
        source.clone("taken", **options)
    assert taken.count() == 0
    assert client.count_collections() == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"configuration": {"hnsw": {"space": "far"}}}, "unknown variant 'far'"),
        ({"where": {"n": {"$near": 1}}}, "$near"),
        ({"name": "?"}, "Expected a name"),
        (
            {"embedding_function": Ones(), "configuration": {"embedding_function": Ones()}},
            "got both in clone.",
        ),
    ],
)
def test_wrong_arguments_leave_nothing(client: Client, options: Any, words: str) -> None:
    source = original(client)
    with pytest.raises(ValueError, match=words.replace("$", r"\$").replace("?", r"\?")):
        source.clone(**({"name": "copy"} | options))
    assert client.count_collections() == 1


def test_a_clone_keeps_its_schema(local_client: Client) -> None:
    schema = Schema().delete_index(StringInvertedIndexConfig(), key="word")
    source = local_client.create_collection("original", schema=schema, embedding_function=None)
    source.add(ids=["a", "b"], embeddings=[[1.0], [2.0]], metadatas=[{"word": "x"}, {"n": 1}])
    clone = source.clone("copy", where={"n": 1})
    assert clone.schema.serialize_to_json() == source.schema.serialize_to_json()


def test_large_collections_are_cloned_in_order(client: Client) -> None:
    source = client.create_collection("original", embedding_function=None)
    ids = [str(n) for n in range(2500)]
    source.add(ids=ids, embeddings=np.arange(2500.0)[:, None], metadatas=[{"n": 1}] * 2500)
    assert source.clone("copy", where={"n": 1}).get(include=[])["ids"] == ids


# ── copy_to ──────────────────────────────────────────────────────────────────────────────────────


def test_a_copy_in_another_database(client: Client, elsewhere: Client) -> None:
    source = original(client)
    copy = source.copy_to(elsewhere)
    assert copy.name == "original"
    assert contents(elsewhere.get_collection("original")) == contents(source)
    assert copy.configuration_json == source.configuration_json
    back = copy.copy_to(client, "back", where={"n": 2})
    assert back.get()["ids"] == ["a"]
    assert client.get_collection("back").query(query_texts=["x"])["ids"] == [["a"]]


def test_a_copy_to_its_own_database_needs_another_name(client: Client) -> None:
    source = original(client)
    with pytest.raises(AlreadyExistsError):
        source.copy_to(client)
    assert source.copy_to(client, "copy").count() == 3


def test_a_copy_goes_to_a_client(client: Client) -> None:
    with pytest.raises(ArgumentTypeError, match=r"Expected client to be a client .* in copy_to"):
        original(client).copy_to("http://localhost:8000")  # type: ignore[arg-type]  # the point


def test_copies_between_clients_of_an_event_loop(tmp_path: Path) -> None:
    async def program() -> None:
        here = await vermilion.AsyncPersistentClient(tmp_path / "here")
        there = await vermilion.AsyncPersistentClient(tmp_path / "there")
        notes = await here.create_collection("notes", embedding_function=None)
        await notes.add(ids=["a"], embeddings=[[1.0]])
        assert await (await notes.clone("clone")).count() == 1
        copy = await notes.copy_to(there)
        assert await copy.count() == await (await there.get_collection("notes")).count() == 1
        with pytest.raises(ArgumentTypeError, match="an AsyncClient"):
            await notes.copy_to(vermilion.EphemeralClient())
        await here.close()
        await there.close()

    asyncio.run(program())
    sharing.forget_all()
