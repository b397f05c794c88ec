"""reembed: new vectors while the old ones serve, one moment of change, nothing lost by a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vermilion
from vermilion.api.client import Client
from vermilion.api.collection import Collection
from vermilion.embeddings.base import EmbeddingFunction, register_embedding_function
from vermilion.engine import EVERYTHING, Engine
from vermilion.errors import DimensionError, UnsupportedError
from vermilion.local.builder import TAIL_ROWS
from vermilion.local.engine import LocalEngine
from vermilion.progress import Progress
from vermilion.records import Batch
from vermilion.schema.builder import Schema
from vermilion.switching import source_stamp
from words import ALL, HERE, WordLengths, ids, make, names, numbered, rows, where


@register_embedding_function
class Letters(EmbeddingFunction[list[str]]):
    """How often the first letters of the alphabet are in a text."""

    def __init__(self, letters: int = 6) -> None:
        self.letters = letters
        self.asked: list[str] = []

    def __call__(self, input: list[str]) -> Any:
        self.asked += input
        alphabet = "abcdefghijklmnopqrstuvwxyz"[: self.letters]
        return [[float(text.count(letter)) for letter in alphabet] for text in input]

    @staticmethod
    def name() -> str:
        return "letters"

    def get_config(self) -> dict[str, Any]:
        return {"letters": self.letters}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> Letters:
        return Letters(**config)


LETTERS = {"type": "known", "name": "letters", "config": {"letters": 6}}


def stage(engine: Engine, documents: list[str], name: str = "draft") -> Any:
    """A collection with a vector of each document: its length, three times."""
    draft = make(engine, name)
    batch = Batch(
        [f"{place}" for place in range(len(documents))],
        np.array([[len(text)] * 3 for text in documents], np.float32),
        uris=[source_stamp(text, None) for text in documents],
    )
    engine.add(draft, batch)
    return draft


def texts(count: int) -> list[str]:
    return ["x" * (place % 50 + 1) for place in range(count)]


def things(engine: Engine, documents: list[str]) -> Any:
    address = make(engine)
    vectors = np.zeros((len(documents), 2), np.float32)
    names = [f"{place}" for place in range(len(documents))]
    engine.add(
        address, Batch(names, vectors, documents=documents, metadatas=[{"n": 1}] * len(names))
    )
    return address


# ── the contract, on every engine ────────────────────────────────────────────────────────────────


def test_all_vectors_are_replaced_at_once(engine: Engine) -> None:
    address = things(engine, ["a", "bb", "ccc"])
    draft = stage(engine, ["a", "bb", "ccc"])
    assert engine.switch_vectors(address, draft, LETTERS) == []
    found = engine.get(address, EVERYTHING, ALL)
    assert found.vectors is not None
    assert found.vectors.tolist() == [[1, 1, 1], [2, 2, 2], [3, 3, 3]]
    assert found.documents == ["a", "bb", "ccc"]
    assert found.metadatas == [{"n": 1}] * 3
    info = engine.get_collection_by_id(address)
    assert (info.dimension, info.configuration.embedding_function) == (3, LETTERS)
    assert engine.get_collection("things", *HERE) == info
    [hits] = engine.query(address, np.array([[3, 3, 2]], np.float32), 2)
    assert hits.records.ids == ["2", "1"]
    engine.add(address, rows("new", [[9, 9, 9]]))
    with pytest.raises(DimensionError, match="dimension of 3, got 2"):
        engine.add(address, rows("old", [[1, 1]]))


def test_nothing_changes_while_something_is_missing(engine: Engine) -> None:
    address = things(engine, ["a", "bb", "ccc"])
    draft = stage(engine, ["a", "other"])
    before = engine.get_collection_by_id(address)
    assert sorted(engine.switch_vectors(address, draft, LETTERS)) == ["1", "2"]
    assert sorted(engine.switch_vectors(address, make(engine, "empty"), LETTERS)) == ["0", "1", "2"]
    assert engine.get_collection_by_id(address) == before
    found = engine.get(address, EVERYTHING, ALL).vectors
    assert found is not None and found.tolist() == [[0, 0]] * 3


def test_what_is_staged_and_was_deleted_since_does_not_come_back(engine: Engine) -> None:
    address = things(engine, ["a", "bb", "ccc"])
    draft = stage(engine, ["a", "bb", "ccc"])
    engine.delete(address, ids("1"))
    assert engine.switch_vectors(address, draft, LETTERS) == []
    assert engine.get(address).ids == ["0", "2"]


def test_a_collection_without_records_only_gets_the_function(engine: Engine) -> None:
    for records in (0, 1):
        address = make(engine, f"things-{records}")
        engine.add(address, numbered(records)) if records else None
        engine.delete(address, EVERYTHING)
        draft = make(engine, f"draft-{records}")
        assert engine.switch_vectors(address, draft, LETTERS) == []
        info = engine.get_collection_by_id(address)
        assert info.configuration.embedding_function == LETTERS
        engine.add(address, rows("a", [[1, 2, 3, 4, 5]]))
        assert engine.get_collection_by_id(address).dimension == 5


def test_a_schema_names_the_new_function_too(engine: Engine) -> None:
    address = make(engine, schema=Schema())
    engine.add(address, numbered(1))
    engine.update(address, Batch(engine.get(address).ids, documents=["a"]))
    draft = make(engine, "draft")
    stamp = source_stamp("a", None)
    engine.add(draft, Batch(engine.get(address).ids, np.ones((1, 3), np.float32), uris=[stamp]))
    assert engine.switch_vectors(address, draft, LETTERS) == []
    text = json.dumps(engine.get_collection_by_id(address).schema)
    assert '"name": "letters"' in text
    assert '"name": "default"' not in text


# ── indexes, files, other processes ──────────────────────────────────────────────────────────────


def test_segments_of_the_old_vectors_answer_no_more(disk: LocalEngine, other: LocalEngine) -> None:
    documents = texts(2 * TAIL_ROWS)
    address = things(disk, documents)
    disk.flush(address)
    for engine in (disk, other):
        assert engine.query(address, np.array([[0, 0]], np.float32), 1)
    draft = stage(disk, documents)
    assert disk.switch_vectors(address, draft, LETTERS) == []
    for engine in (disk, other):
        [hits] = engine.query(address, np.array([[7, 7, 7]], np.float32), 3)
        assert {documents[int(id)] for id in hits.records.ids} == {"x" * 7}
        assert engine.count(address, where({"n": 1})) == len(documents)
    disk.flush(address)
    assert disk.indexing_status(address).num_unindexed_ops == 0
    for engine in (disk, other):
        [hits] = engine.query(address, np.array([[9, 9, 9]], np.float32), 1)
        assert documents[int(hits.records.ids[0])] == "x" * 9
    assert disk.check(deep=True) == []


def test_a_fork_and_a_reopened_directory_know_the_function(disk: LocalEngine, folder: Path) -> None:
    address = things(disk, ["a"])
    assert disk.switch_vectors(address, stage(disk, ["a"]), LETTERS) == []
    copy = disk.fork_collection(address, "copy")
    assert (copy.dimension, copy.configuration.embedding_function) == (3, LETTERS)
    disk.close()
    again = LocalEngine(folder)
    assert again.get_collection("copy", *HERE).configuration.embedding_function == LETTERS
    again.close()
    readers = LocalEngine(folder, read_only=True)
    assert readers.get_collection("things", *HERE).configuration.embedding_function == LETTERS
    readers.close()


def test_a_death_between_the_two_files_changes_nothing(
    disk: LocalEngine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The records have switched, and the process dies before the catalogue learns of it."""
    address = things(disk, ["a"])
    draft = stage(disk, ["a"])
    monkeypatch.setattr(LocalEngine, "get_collection_by_id", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        disk.switch_vectors(address, draft, LETTERS)
    monkeypatch.undo()
    readers = LocalEngine(folder, read_only=True)
    info = readers.get_collection("things", *HERE)
    assert (info.dimension, info.configuration.embedding_function) == (3, LETTERS)
    readers.close()
    assert disk.get_collection_by_id(address) == info


# ── through the door ─────────────────────────────────────────────────────────────────────────────


def notes(client: Client, count: int = 3, **more: Any) -> Collection:
    made = client.create_collection("notes", embedding_function=WordLengths(), **more)
    made.add(
        ids=[f"{place}" for place in range(count)],
        documents=[f"{'abcdef'[place % 6]} text {place}" for place in range(count)],
        metadatas=[{"n": place} for place in range(count)],
    )
    return made


def test_a_collection_gets_another_function(client: Client) -> None:
    collection = notes(client)
    assert collection.reembed(Letters()) is collection
    assert collection.configuration_json["embedding_function"] == LETTERS
    assert collection.fingerprint().dimension == 6
    again = client.get_collection("notes")
    assert again.query(query_texts=["bbbb"], n_results=1)["ids"] == [["1"]]
    assert again.get(include=["metadatas"])["metadatas"] == [{"n": 0}, {"n": 1}, {"n": 2}]
    collection.add(ids=["new"], documents=["ffff"])
    assert collection.get("new", include=["embeddings"])["embeddings"].tolist() == [[0] * 5 + [4]]
    assert [one.name for one in client.list_collections()] == ["notes"]


def test_into_makes_another_collection(client: Client) -> None:
    collection = notes(client)
    other = collection.reembed(Letters(), into="other")
    assert (other.name, other.fingerprint().name) == ("other", "letters")
    assert collection.fingerprint().name == client.get_collection("notes").fingerprint().name
    assert collection.fingerprint().name == "word-lengths"


def test_finished_vectors_are_not_made_again(client: Client) -> None:
    collection = notes(client, 1200)

    class Breaking(Letters):
        def __call__(self, input: list[str]) -> Any:
            if len(self.asked) >= 1000:
                raise ConnectionError("the provider is gone")
            return super().__call__(input)

    breaking = Breaking()
    with pytest.raises(ConnectionError):
        collection.reembed(breaking)
    assert client.get_collection("notes").fingerprint().name == "word-lengths"
    assert collection.query(query_texts=["a text 0"], n_results=1)["ids"] == [["0"]]
    whole = Letters()
    collection.update(ids=["0"], documents=["changed since"])
    collection.reembed(whole)
    assert sorted(whole.asked) == sorted(["changed since", *collection.get()["documents"][1000:]])
    assert client.count_collections() == 1


def test_what_is_written_meanwhile_is_not_lost(client: Client) -> None:
    collection = notes(client, 700)
    late = ["bbb later", "ccc later"]

    class Meanwhile(Letters):
        """While texts are embedded, somebody adds one, changes one, deletes one."""

        def __call__(self, input: list[str]) -> Any:
            if late:
                word = late.pop()
                writer = client.get_collection("notes")
                writer.add(ids=[word], documents=[word])
                writer.update(ids=["0"], documents=[f"{word} changed"])
                writer.delete(ids=[f"{len(late) + 1}"])
            return super().__call__(input)

    collection.reembed(Meanwhile())
    found = collection.get(include=["documents", "embeddings"])
    assert len(found["ids"]) == 700
    expected = Letters()(found["documents"])
    assert np.array_equal(found["embeddings"], expected)
    assert {"bbb later", "ccc later"} < set(found["ids"])


def test_a_handle_from_before_follows(client: Client) -> None:
    collection, old = notes(client), client.get_collection("notes")
    collection.reembed(Letters(4))  # of the same dimension
    old.add(ids=["new"], documents=["dddd"])
    old.update(ids=["0"], documents=["cc"])
    found = collection.get(["new", "0"], include=["embeddings"])
    by_id = dict(zip(found["ids"], found["embeddings"].tolist(), strict=True))
    assert by_id == {"new": [0, 0, 0, 4], "0": [0, 0, 2, 0]}


def test_a_handle_from_before_asks_with_the_new_function(local_client: Client) -> None:
    collection, old = notes(local_client), local_client.get_collection("notes")
    collection.reembed(Letters(4))
    assert old.query(query_texts=["bbbb"], n_results=1)["ids"] == [["1"]]
    older = local_client.get_collection("notes")
    collection.reembed(Letters(6))
    assert older.search("bbbb", n_results=1)["ids"] == [["1"]]


def test_records_that_cannot_be_embedded_are_named_and_the_old_vectors_stay(client: Client) -> None:
    collection = notes(client)
    collection.add(ids=["bare"], embeddings=[[1, 2, 3, 4]])
    with pytest.raises(ValueError, match="Record 'bare' has nothing that could be embedded anew"):
        collection.reembed(Letters())
    assert collection.fingerprint().name == "word-lengths"


def test_what_a_uri_leads_to_is_embedded(client: Client) -> None:
    collection = client.create_collection(
        "notes", embedding_function=WordLengths(), data_loader=lambda uris: [f"{u} b" for u in uris]
    )
    collection.add(ids=["a"], uris=["ccc"])
    collection.reembed(Letters(3))
    assert collection.get(include=["embeddings"])["embeddings"].tolist() == [[0, 1, 3]]


def test_a_wrong_function_is_refused_before_anything_happens(client: Client) -> None:
    collection = notes(client)
    for wrong in (None, 7, Letters, lambda texts: texts):
        with pytest.raises((ValueError, TypeError)):
            collection.reembed(wrong)
    assert client.count_collections() == 1


def test_an_unnamed_function_will_do(client: Client) -> None:
    class Nameless(EmbeddingFunction[list[str]]):
        def __call__(self, input: list[str]) -> Any:
            return [[float(len(text))] for text in input]

    collection = notes(client)
    collection.reembed(Nameless())
    assert collection.query(query_texts=["a text 0"], n_results=1)["ids"] == [["0"]]
    assert collection.configuration_json["embedding_function"] == {"type": "legacy"}


def test_a_server_of_chroma_says_what_to_do_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    from vermilion.remote.engine import RemoteEngine

    client = vermilion.EphemeralClient()
    collection = notes(client)
    unable = lambda *_: (_ for _ in ()).throw(UnsupportedError("no"))  # noqa: E731
    monkeypatch.setattr(LocalEngine, "switch_vectors", unable)
    with pytest.raises(UnsupportedError, match="reembed.*into="):
        collection.reembed(Letters())
    assert names(collection._engine()) == ["notes"]
    assert RemoteEngine.switch_vectors is not None
    client.delete_collection("notes")


@pytest.mark.parametrize("page", [1, 2, 4, 6])
def test_a_kill_at_any_moment_loses_nothing(tmp_path: Path, page: int) -> None:
    with vermilion.PersistentClient(tmp_path) as client:
        notes(client, 3000)
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[2])\n"
        "from test_reembedding import *\n"
        "class Slow(Letters):\n"
        "    def __call__(self, input):\n"
        "        print('at work', flush=True); time.sleep(0.02)\n"
        "        return super().__call__(input)\n"
        "vermilion.PersistentClient(sys.argv[1]).get_collection('notes').reembed(Slow())\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path), os.path.dirname(__file__)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(page):
            process.stdout.readline()
        time.sleep(page * 0.005)
        process.send_signal(signal.SIGKILL)
    with vermilion.PersistentClient(tmp_path) as client:
        assert client.check(deep=True) == []
        collection = client.get_collection("notes")
        found = collection.get(include=["documents", "embeddings"])
        switched = collection.fingerprint().name == "letters"
        made_by = Letters() if switched else WordLengths()
        assert np.array_equal(found["embeddings"], made_by(found["documents"]))
        rest = Letters()
        if not switched:
            collection.reembed(rest)
        found = collection.get(include=["documents", "embeddings"])
        assert np.array_equal(found["embeddings"], Letters()(found["documents"]))
        assert len(rest.asked) <= 3000 - 500 * (page - 1)  # those are safe before the next begins
        assert client.count_collections() == 1
        assert client.check(deep=True) == []


# ── both sides of a dimension ────────────────────────────────────────────────────────────────────


def test_a_wrong_dimension_names_both_sides(client: Client) -> None:
    collection = notes(client)
    with pytest.raises(DimensionError, match=r"of 4, got 2\. .*word-lengths \{\} \(4 dim.*given"):
        collection.query(query_embeddings=[[1, 2]])
    with pytest.raises(DimensionError, match=r"of 4, got 2\. .*word-lengths"):
        collection.add(ids=["x"], embeddings=[[1, 2]])
    with pytest.warns(UserWarning, match="already exists"):
        wrong = client.get_collection("notes", embedding_function=Letters(3))
    with pytest.raises(DimensionError, match=r'of 4, got 3\. .*word-len.*vectors of .*"letters"'):
        wrong.add(ids=["x"], documents=["x"])


def test_a_fingerprint_says_what_vectors_are_made_by(client: Client) -> None:
    collection = client.create_collection("notes")
    told = collection.fingerprint()
    assert (told.name, told.dimension, told.normalised) == ("default", None, None)
    collection.add(ids=["a"], documents=["a text"])
    told = collection.fingerprint()
    assert (told.dimension, told.normalised) == (384, True)
    assert str(told) == "default {} (384 dimensions, unit length)"
    assert notes_of_any_length(client).normalised is False


def notes_of_any_length(client: Client) -> Any:
    other = client.create_collection("other", embedding_function=WordLengths())
    other.add(ids=["a"], documents=["some words"])
    return other.fingerprint()


# ── progress ─────────────────────────────────────────────────────────────────────────────────────


def test_a_bar_that_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(1000, "Embedding", True) as bar:
        bar.advance(250)
        bar.advance(750)
    told = capsys.readouterr().err
    assert told.startswith("\rEmbedding: 250 of 1,000 (25%), 0:00 left")
    assert told.rstrip().endswith("\rEmbedding: 1,000 of 1,000 (100%)")


def test_nobody_sees_a_bar_who_did_not_ask(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(1000, "Embedding") as bar, Progress(10, "Embedding", False) as other:
        bar.advance(1000)
        other.advance(10)
    assert capsys.readouterr().err == ""


# ── two functions that do not fit ────────────────────────────────────────────────────────────────


def test_another_configuration_of_the_same_function_is_told(client: Client) -> None:
    class Strict(Letters):
        def validate_config_update(self, old: dict[str, Any], new: dict[str, Any]) -> None:
            if old != new:
                raise ValueError("the number of letters cannot change")

    client.create_collection("notes", embedding_function=Strict())
    with pytest.warns(
        UserWarning, match=r"letters \{'letters': 6\}; this handle.*letters cannot ch"
    ):
        client.get_collection("notes", embedding_function=Strict(3))
    assert client.get_collection("notes", embedding_function=Strict()).name == "notes"


def test_a_distance_that_does_not_suit_the_new_vectors_is_told(client: Client) -> None:
    class OnlyCosine(Letters):
        def supported_spaces(self) -> Any:
            return ["cosine"]

    collection = notes(client)
    with pytest.warns(UserWarning, match="The space l2 of collection notes is not supported"):
        collection.reembed(OnlyCosine())


# ── beside histories and records that expire ─────────────────────────────────────────────────────


def test_a_history_begins_anew(local_client: Client) -> None:
    collection = notes(local_client, configuration={"history": "1h"})
    collection.update(ids=["0"], documents=["changed"])
    collection.reembed(Letters())
    assert len(collection.history()) <= 1
    collection.update(ids=["1"], documents=["bbb"])
    collection.undo()
    found = collection.get("1", include=["embeddings"])["embeddings"].tolist()
    assert found == [Letters()(["b text 1"])[0].tolist()]
    assert local_client.check(deep=True) == []


def test_records_that_have_expired_stand_in_nobodys_way(local_client: Client) -> None:
    collection = notes(local_client, configuration={"ttl": {"field": "end"}})
    collection.update(ids=["0"], metadatas=[{"end": 1}])
    assert collection.count() == 2
    collection.reembed(Letters())
    assert sorted(collection.get()["ids"]) == ["1", "2"]
    assert collection.fingerprint().name == "letters"
