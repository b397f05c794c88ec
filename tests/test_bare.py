"""Records without a vector: everything finds them but queries, until an update brings one."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vermilion
from served import served
from vermilion.api.client import Client
from vermilion.api.collection import Collection
from vermilion.engine import EVERYTHING, Engine
from vermilion.errors import ArgumentValueError, DimensionError, VersionMismatchError
from vermilion.local import builder, snapshot
from vermilion.local.engine import LocalEngine
from vermilion.local.salvage import salvage
from vermilion.query.ranks import Knn, Rrf
from vermilion.query.search import Search
from vermilion.records import Batch
from vermilion.types import WriteResult
from words import WordLengths, make, rows

DOCUMENTS = ["a whale at sea", "a ship", "a storm", "a harbour"]


def mixed(client: Client, **options: object) -> Collection:
    """Four records, of which "b" and "d" have no vector."""
    collection = client.create_collection("mixed", embedding_function=None, **options)
    collection.add(
        ids=["a", "b", "c", "d"],
        embeddings=[[1, 0], None, [3, 0], None],
        documents=DOCUMENTS,
        metadatas=[{"n": n} for n in range(4)],
    )
    return collection


def embeddings(collection: Collection, **selection: object) -> list[object]:
    found = collection.get(include=["embeddings"], **selection)["embeddings"]
    return [None if row is None else row.tolist() for row in found]


# ── engines ──────────────────────────────────────────────────────────────────────────────────────


def bare(names: str, documents: list[str]) -> Batch:
    return Batch(names.split(), documents=documents, bare=True)


def test_the_first_vector_sets_the_dimension(engine: Engine) -> None:
    address = make(engine)
    assert engine.add(address, bare("a b", ["one", "two"])) == WriteResult(inserted=2)
    assert engine.get_collection_by_id(address).dimension is None
    assert engine.query(address, np.ones((1, 5), np.float32), 3)[0].records.ids == []
    engine.update(address, rows("b", [[1, 2, 3]]))
    assert engine.get_collection_by_id(address).dimension == 3
    with pytest.raises(DimensionError):
        engine.update(address, rows("a", [[1, 2]]))
    [hits] = engine.query(address, np.ones((1, 3), np.float32), 3, columns=("vectors",))
    assert (hits.records.ids, hits.records.vectors.tolist()) == (["b"], [[1, 2, 3]])  # type: ignore[union-attr]  # it was asked for


def test_a_batch_has_to_say_so(engine: Engine) -> None:
    address = make(engine)
    engine.add(address, rows("a"))
    some = Batch(["b"], documents=["text"])
    with pytest.raises(ArgumentValueError, match="embeddings"):
        engine.upsert(address, some)
    with pytest.raises(ArgumentValueError, match="embeddings"):
        engine.upsert(address, Batch(["b"], metadatas=[{"n": 1}], bare=True))
    assert engine.count(address) == 1


def test_answers_tell_which_have_none(engine: Engine) -> None:
    address = make(engine)
    engine.add(address, bare("a", ["one"]))
    found = engine.get(address, EVERYTHING, ("vectors",))
    assert (found.embeddings, found.has_vector.tolist()) == ([None], [False])  # type: ignore[union-attr]  # one is missing
    engine.upsert(address, rows("b", [[1, 2]]))
    found = engine.get(address, EVERYTHING, ("vectors",))
    assert found.has_vector is not None
    assert found.has_vector.tolist() == [False, True]
    copied = make(engine, "copy")
    for page in engine.scan(address, EVERYTHING, ("vectors", "documents"), 1):
        engine.add(copied, Batch.of(page))
    assert engine.get(copied, EVERYTHING, ("vectors",)).has_vector.tolist() == [False, True]  # type: ignore[union-attr]  # as above


def only_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short tails are sealed, by the test alone: another builder would have the lock."""
    monkeypatch.setattr(builder, "TAIL_ROWS", 64)
    monkeypatch.setattr(builder.Builder, "start", lambda *_: None)


def test_sealed_segments_leave_them_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only_here(monkeypatch)
    count, some = 900, np.random.default_rng(5)
    vectors = some.standard_normal((count, 8)).astype(np.float32)
    there = some.random(count) < 0.5
    engine = LocalEngine(tmp_path)
    address = make(engine)
    names = [str(n) for n in range(count)]
    texts = [f"word{n}" for n in range(count)]
    engine.add(address, Batch(names, vectors, there, texts, bare=True))
    builder.build(tmp_path / "collections" / str(address.collection), "l2")
    assert engine.stats(address).segments == 1
    # One gets its vector, another loses its place among those that are sealed.
    late = int(np.flatnonzero(~there)[0])
    engine.update(address, Batch([names[late]], vectors[[late]]))
    there[late] = True
    query = vectors[:1] + 0.1
    [hits] = engine.query(address, query, 450)
    order = np.argsort(np.square(vectors - query).sum(axis=1), kind="stable")
    nearest = [names[place] for place in order if there[place]]
    assert hits.records.ids[:100] == nearest[:100]
    assert len(engine.query(address, query, count)[0].records) == np.count_nonzero(there)
    none = names[int(np.flatnonzero(~there)[-1])]
    assert engine.why_not(address, none, query[0], 5).reason == "no vector"
    assert engine.check(deep=True) == []
    engine.close()


@pytest.mark.parametrize("space", ["l2", "cosine", "ip"])
def test_records_without_any_vector_are_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, space: Any
) -> None:
    """And go on as ever when vectors come, in a segment that has both after a merge."""
    only_here(monkeypatch)
    monkeypatch.setattr(builder, "JOINED", 1e9)
    client = vermilion.PersistentClient(str(tmp_path))
    notes = client.create_collection(
        "notes", embedding_function=None, configuration={"hnsw": {"space": space}}
    )
    count = 600
    ids = [str(n) for n in range(count)]
    texts = [f"word{n} of {n % 7}" for n in range(count)]
    notes.add(
        ids=ids,
        embeddings=[None] * count,
        documents=texts,
        metadatas=[{"n": n} for n in range(count)],
    )
    home = next((tmp_path / "collections").iterdir())

    def look(*, dimension: int | None, segments: int, vectors: int) -> None:
        builder.build(home, space)
        assert notes.stats().segments == segments
        assert notes.get_indexing_status().num_unindexed_ops == 0
        assert notes.get(where_document={"$contains": "word123 "})["ids"] == ["123"]
        assert notes.get(where={"n": {"$gte": 597}})["ids"] == ["597", "598", "599"]
        assert notes.count(where_document={"$contains": "of 3"}) == len(range(3, count, 7))
        assert client.check(deep=True) == []
        if dimension is not None:
            found = notes.query(query_embeddings=[[0.0] * dimension], n_results=count)["ids"][0]
            assert len(found) == vectors

    look(dimension=None, segments=1, vectors=0)
    assert notes.query(query_embeddings=[[1.0, 2.0]], n_results=3)["ids"] == [[]]
    # Now some get a vector: their rows of the segment are dead, the rest of it is not.
    some = np.random.default_rng(2).standard_normal((100, 16)).astype(np.float32)
    some /= np.linalg.norm(some, axis=1, keepdims=True)  # each is the nearest to itself
    notes.update(ids=ids[100:200], embeddings=some)
    look(dimension=16, segments=2, vectors=100)
    [nearest] = notes.query(query_embeddings=some[7:8], n_results=1)["ids"]
    assert nearest == ["107"]
    notes.upsert(ids=ids[:60], embeddings=some[:60], documents=texts[:60])
    look(dimension=16, segments=2, vectors=160)
    more = [f"more{n}" for n in range(900)]
    notes.add(ids=more, embeddings=np.tile(some, (9, 1)), documents=more)
    look(dimension=16, segments=1, vectors=600)
    client.close()


def test_codes_of_none_are_not_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment of records that have no vector, all alive, is merged with records that have."""
    only_here(monkeypatch)
    client = vermilion.PersistentClient(str(tmp_path))
    notes = client.create_collection("notes", embedding_function=None)
    texts = [f"word{n} " for n in range(500)]
    notes.add(ids=texts[:200], embeddings=[None] * 200, documents=texts[:200])
    home = next((tmp_path / "collections").iterdir())
    builder.build(home, "l2")
    assert notes.stats().segments == 1
    vectors = np.random.default_rng(2).standard_normal((300, 16)).astype(np.float32)
    notes.add(ids=texts[200:], embeddings=vectors, documents=texts[200:])
    builder.build(home, "l2")
    assert notes.stats().segments == 1 and notes.stats().tail_rows == 0
    found = notes.query(query_embeddings=vectors[:50], n_results=1)["ids"]
    assert found == [[text] for text in texts[200:250]]
    assert notes.get(where_document={"$contains": "word77 "})["ids"] == ["word77 "]
    assert client.check(deep=True) == []
    client.close()


def test_files_without_such_records_stay_as_they_were(tmp_path: Path) -> None:
    engine = LocalEngine(tmp_path)
    address = make(engine)
    engine.add(address, rows("a"))
    [path] = tmp_path.glob("collections/*/records.db")
    assert sqlite3.connect(path).execute("select format from head").fetchone() == (1,)
    engine.add(address, bare("b", ["text"]))
    engine.close()
    connection = sqlite3.connect(path)
    assert connection.execute("select format from head").fetchone() == (2,)
    plan = connection.execute("explain query plan select key from vectors where length(vector) = 0")
    assert "INDEX bare" in str(plan.fetchall())


def test_releases_that_do_not_know_them_refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = LocalEngine(tmp_path)
    address = make(engine)
    engine.add(address, bare("a", ["text"]))
    monkeypatch.setattr(snapshot, "FORMAT", 1)
    with pytest.raises(VersionMismatchError, match="format 2"):
        engine.get(address)
    engine.close()


def test_they_can_be_salvaged(tmp_path: Path) -> None:
    engine = LocalEngine(tmp_path / "here")
    address = make(engine)
    engine.add(address, bare("a", ["text"]))
    engine.add(address, rows("b", [[1, 2]]))
    engine.close()
    assert [one.records for one in salvage(tmp_path / "here", tmp_path / "there")] == [2]
    saved = LocalEngine(tmp_path / "there")
    info = saved.get_collection("things", "default_tenant", "default_database")
    assert saved.get(info.address, EVERYTHING, ("vectors",)).has_vector.tolist() == [False, True]  # type: ignore[union-attr]  # one is missing
    saved.close()


# ── collections ──────────────────────────────────────────────────────────────────────────────────


def test_everything_but_queries_finds_them(client: Client) -> None:
    notes = mixed(client)
    assert notes.count() == 4
    assert embeddings(notes) == [[1, 0], None, [3, 0], None]
    assert notes.get(where={"n": {"$gte": 2}})["ids"] == ["c", "d"]
    assert notes.get(where_document={"$contains": "harbour"})["ids"] == ["d"]
    assert [one.value for one in notes.facets("n")["n"]] == [0, 1, 2, 3]
    assert notes.query(query_texts=["ship"], mode="keyword", n_results=1)["ids"] == [["b"]]
    assert notes.query(query_embeddings=[[0, 0]])["ids"] == [["a", "c"]]
    assert notes.query(query_embeddings=[[0, 0]], where={"n": 1})["ids"] == [[]]
    assert [one.id for one in notes if one.embedding is None] == ["a", "b", "c", "d"]
    told = {one.id: one.embedding is None for one in notes.iter(include=["embeddings"])}
    assert told == {"a": False, "b": True, "c": False, "d": True}


def test_words_rank_them_beside_the_others(client: Client) -> None:
    notes = mixed(client)
    dense = Knn([1.0, 0.0], return_rank=True, default=10)
    words = Knn("a harbour", key="#document", return_rank=True, default=10)
    found = notes.search(Search().rank(Rrf([dense, words])).select("#embedding"))
    assert sorted(found["ids"][0]) == ["a", "b", "c", "d"]
    assert dict(zip(found["ids"][0], found["embeddings"][0], strict=True))["d"] is None


def test_an_update_brings_the_vector(client: Client) -> None:
    notes = mixed(client)
    notes.update(ids=["b", "c"], embeddings=[[2, 0], None], documents=["a boat", "a gale"])
    assert embeddings(notes) == [[1, 0], [2, 0], [3, 0], None]
    assert notes.query(query_embeddings=[[2, 0]], n_results=1)["ids"] == [["b"]]


def test_a_function_embeds_what_has_none(client: Client) -> None:
    notes = client.create_collection("made", embedding_function=WordLengths())
    notes.add(ids=["a", "b"], embeddings=[[9, 9, 9, 9], None], documents=["ab abc", "ab abc"])
    assert embeddings(notes) == [[9, 9, 9, 9], [2, 3, 0, 0]]
    with pytest.raises(ValueError, match="record 'd', or a document"):
        notes.add(ids=["c", "d"], embeddings=[[1, 1, 1, 1], None], documents=["text", None])
    assert notes.count() == 2


def test_nobody_gets_them_by_leaving_out(client: Client) -> None:
    notes = client.create_collection("plain", embedding_function=None)
    with pytest.raises(ValueError, match="You must provide an embedding function"):
        notes.add(ids=["a"], documents=["text"])
    with pytest.raises(ValueError, match="a list with None of NoneType"):
        notes.add(ids=["a"], embeddings=[None], metadatas=[{"n": 1}])
    with pytest.raises(ValueError, match="a list with None of NoneType"):
        notes.query(query_embeddings=[None])


def test_reembedding_gives_them_vectors(client: Client) -> None:
    notes = mixed(client)
    notes.reembed(WordLengths(), progress=False)
    assert embeddings(notes) == [[1, 5, 2, 3], [1, 4, 0, 0], [1, 5, 0, 0], [1, 7, 0, 0]]


def test_copies_and_the_past_have_them(client: Client) -> None:
    notes = mixed(client, configuration={"history": "1h"})
    begun = notes.history()[0].made
    clone = notes.clone("clone", configuration={"hnsw": {"space": "cosine"}})
    fork = notes.fork("fork")
    notes.update(ids=["b"], embeddings=[[2, 0]])
    notes.delete(ids=["d"])
    for copy in (clone, fork, notes.at(begun)):
        assert embeddings(copy) == [[1, 0], None, [3, 0], None]
    assert notes.diff(begun, notes.history()[0].made).updated == ["b"]
    for call in notes.history()[:2]:
        notes.undo(call)
    assert embeddings(notes) == [[1, 0], None, [3, 0], None]


def test_a_sync_embeds_them(local_client: Client) -> None:
    mixed(local_client)
    notes = local_client.get_collection("mixed", embedding_function=WordLengths())
    notes.update(ids=["a", "c"], embeddings=[[1, 1], [3, 3]])
    done = notes.sync([{"id": id, "document": text, "n": n} for n, (id, text) in enumerate(
        zip("abcd", DOCUMENTS, strict=True))])  # fmt: skip
    assert done.unchanged == 4


def test_backups_and_bundles_have_them(tmp_path: Path) -> None:
    with vermilion.PersistentClient(tmp_path / "here") as client:
        mixed(client).save_bundle(tmp_path / "mixed.bundle")
        client.backup(tmp_path / "backup")
    with vermilion.PersistentClient(tmp_path / "there") as client:
        client.load_bundle(tmp_path / "mixed.bundle")
        bundled = client.get_collection("mixed", embedding_function=None)
        assert embeddings(bundled) == [[1, 0], None, [3, 0], None]
        bundled.add(ids=["e"], embeddings=[None], documents=["text"])
        assert client.check(deep=True) == []


# ── the wire ─────────────────────────────────────────────────────────────────────────────────────


def test_over_http_null_stands_for_none() -> None:
    with served() as server:
        path = server.made()
        body = {"ids": ["a", "b"], "embeddings": [None, [1, 2]], "documents": ["one", "two"]}
        for verb in ("add", "upsert"):
            refused = server.post(f"{path}/{verb}", body)
            assert refused.status_code == 422, verb
            assert "embeddings[0]: invalid type: null" in refused.json()["message"]
        assert server.post(f"{path}/add", body | {"bare": True}).status_code == 201
        found = server.post(f"{path}/get", {"include": ["embeddings"]}).json()
        assert found["embeddings"] == [None, [1, 2]]
        asked = {"query_embeddings": [[1, 2]], "include": ["embeddings"]}
        assert server.post(f"{path}/query", asked).json()["embeddings"] == [[[1, 2]]]
