"""Collections that keep their history: the past is read, compared and brought back."""

from __future__ import annotations

import random
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vermilion.api.client import Client
from vermilion.api.collection import Collection
from vermilion.configuration import Changes, Configuration
from vermilion.engine import EVERYTHING, Engine
from vermilion.errors import ConflictError, NotFoundError, StorageError
from vermilion.local import history
from vermilion.local.builder import build
from vermilion.local.engine import LocalEngine
from vermilion.types import Address, Records
from words import ALL, HERE, cells, ids, numbered, rows, where

KEPT = Configuration(history=3600.0)


def kept(engine: Engine, name: str = "things") -> Address:
    return engine.create_collection(name, *HERE, configuration=KEPT)[0].address


def shown(records: Records) -> Any:
    """Everything of some records, as plain values, by id and in order."""
    assert records.vectors is not None and records.documents is not None
    assert records.uris is not None and records.metadatas is not None
    columns = (records.documents, records.uris, records.metadatas, records.vectors.tolist())
    return dict(zip(records.ids, zip(*columns, strict=True), strict=True))


def now(engine: Engine, address: Address) -> Any:
    return shown(engine.get(address, EVERYTHING, ALL))


def then(engine: Engine, address: Address, at: datetime) -> Any:
    out: dict[str, Any] = {}
    for page in engine.scan(address, EVERYTHING, ALL, 3, at=at):
        out |= shown(page)
    return out


def tick() -> datetime:
    """A moment that no call of before or after shares."""
    time.sleep(0.003)
    moment = datetime.now(UTC)
    time.sleep(0.003)
    return moment


# ── the contract, on every engine ────────────────────────────────────────────────────────────────


def test_every_state_there_was_can_be_read(engine: Engine) -> None:
    address = kept(engine)
    states = []

    def remember() -> None:
        states.append((tick(), now(engine, address)))

    engine.add(address, rows("a b c", documents=["x", None, "z"], metadatas=[{"n": 1}] * 3))
    remember()
    engine.update(address, cells("b c", documents=["y", "zz"], uris=["u", None]))
    remember()
    engine.upsert(address, rows("c d", [[9, 9], [8, 8]], metadatas=[{"n": 2}, None]))
    remember()
    engine.delete(address, ids("a d"))
    remember()
    engine.add(address, rows("a", [[5, 5]]))
    remember()
    engine.delete(address, EVERYTHING)
    remember()
    engine.add(address, rows("z", [[1, 2]]))
    remember()
    assert len({repr(state) for _, state in states}) == len(states)
    for moment, state in states:
        assert then(engine, address, moment) == state
        assert list(then(engine, address, moment)) == list(state)
    assert engine.check(deep=True) == []


def test_the_calls_that_wrote_are_told(engine: Engine) -> None:
    address = kept(engine)
    engine.add(address, rows("a b c"))
    engine.upsert(address, rows("c d", [[9, 9], [8, 8]]))
    engine.upsert(address, rows("c d", [[9, 9], [8, 8]]))  # changes nothing, and is no call
    engine.delete(address, ids("a b"))
    calls = engine.history(address)
    assert [(one.inserted, one.updated, one.deleted) for one in calls] == [
        (0, 0, 2),
        (1, 1, 0),
        (3, 0, 0),
    ]
    assert [one.id for one in calls] == sorted((one.id for one in calls), reverse=True)
    assert all(abs(one.made - datetime.now(UTC)) < timedelta(minutes=1) for one in calls)
    assert engine.history(address, 1) == calls[:1]


def test_what_changed_between_two_times(engine: Engine) -> None:
    address = kept(engine)
    engine.add(address, rows("a b c d"))
    first = tick()
    engine.delete(address, ids("a"))
    engine.update(address, cells("b", documents=["new"]))
    engine.update(address, cells("c", documents=["new"]))
    second = tick()
    engine.update(address, cells("c", documents=["newer"]))
    engine.add(address, rows("e"))
    engine.delete(address, ids("e"))
    engine.delete(address, ids("d"))
    engine.add(address, rows("d", [[3, 3]]))  # as it was
    engine.add(address, rows("f"))
    third = tick()
    change = engine.difference(address, first, second)
    assert (change.added, change.updated, change.deleted) == ([], ["b", "c"], ["a"])
    change = engine.difference(address, second, third)
    assert (change.added, change.updated, change.deleted) == (["f"], ["c"], [])
    change = engine.difference(address, first, third)
    assert (change.added, change.updated, change.deleted) == (["f"], ["b", "c"], ["a"])


def test_undo_goes_back_call_by_call_and_forward_again(engine: Engine) -> None:
    address = kept(engine)
    engine.add(address, rows("a b c", documents=["x", None, "z"], uris=["u"] * 3))
    states = [now(engine, address)]
    engine.update(address, cells("a b", documents=["y", "w"]))
    states.append(now(engine, address))
    engine.upsert(address, rows("c d", [[9, 9], [8, 8]], metadatas=[{"n": 1}, {"n": 2}]))
    states.append(now(engine, address))
    engine.delete(address, ids("a c"))
    done = engine.undo(address)
    assert (done.inserted, done.updated, done.deleted) == (2, 0, 0)
    assert now(engine, address) == states[2]
    assert list(now(engine, address)) == ["a", "b", "c", "d"]  # in their old places
    calls = engine.history(address)
    engine.undo(address, calls[2].id)  # the upsert
    assert now(engine, address) == states[1]
    engine.undo(address, calls[3].id)
    assert now(engine, address) == states[0]
    engine.undo(address)  # the undoing itself
    assert now(engine, address) == states[1]
    [hits] = engine.query(address, np.array([[0.1, 0.1]], np.float32), 1)
    assert hits.records.ids == ["a"]
    assert engine.get(address, where(None, {"$contains": "y"})).ids == ["a"]
    assert engine.check(deep=True) == []


def test_undo_refuses_what_later_calls_have_touched(engine: Engine) -> None:
    address = kept(engine)
    engine.add(address, rows("a b c"))
    engine.update(address, cells("a", documents=["one"]))
    engine.update(address, cells("a", documents=["two"]))
    engine.delete(address, ids("b"))
    engine.add(address, rows("b", [[7, 7]]))
    before = now(engine, address)
    _, deleted, _, first, added = (one.id for one in engine.history(address))
    for call in (first, deleted, added):
        with pytest.raises(ConflictError, match="was changed after call"):
            engine.undo(address, call)
    assert now(engine, address) == before
    engine.undo(address)
    engine.undo(address, deleted)
    assert list(now(engine, address)) == ["a", "b", "c"]


def test_undo_of_what_there_is_not(engine: Engine) -> None:
    address = kept(engine)
    engine.add(address, rows("a"))
    with pytest.raises(NotFoundError, match="does not have a call 99"):
        engine.undo(address, 99)


def test_without_a_history_there_is_none(engine: Engine) -> None:
    info, _ = engine.create_collection("plain", *HERE, configuration=Configuration())
    engine.add(info.address, rows("a"))
    for call in (
        lambda: engine.history(info.address),
        lambda: engine.undo(info.address),
        lambda: list(engine.scan(info.address, at=datetime.now(UTC))),
        lambda: engine.difference(info.address, datetime.now(UTC), datetime.now(UTC)),
    ):
        with pytest.raises(NotFoundError, match="keeps no history"):
            call()


def test_it_begins_and_ends_when_the_collection_is_modified(engine: Engine) -> None:
    info, _ = engine.create_collection("things", *HERE, configuration=Configuration())
    address = info.address
    engine.add(address, rows("a b"))
    too_early = tick()
    info = engine.modify_collection(address, configuration=Changes({}, None, {"history": 60.0}))
    assert info.configuration.history == 60.0
    moment = tick()
    engine.delete(address, ids("a"))
    assert list(then(engine, address, moment)) == ["a", "b"]
    with pytest.raises(NotFoundError, match="reaches back to"):
        then(engine, address, too_early)
    engine.modify_collection(address, configuration=Changes({}, None, {"history": None}))
    with pytest.raises(NotFoundError, match="keeps no history"):
        engine.history(address)
    engine.delete(address, ids("b"))
    assert engine.check(deep=True) == []


def test_random_calls_and_every_moment_between(local_engine: LocalEngine) -> None:
    """Against a list of all states there were, with undo among the calls."""
    dice, address = random.Random(7), kept(local_engine)
    names = "abcdefgh"
    local_engine.add(address, rows("a"))
    states: list[tuple[datetime, Any]] = []
    for step in range(120):
        some = dice.sample(names, dice.randint(1, 4))
        vectors = [[dice.randint(0, 3), step] for _ in some]
        choice = dice.randrange(5)
        if choice == 0:
            local_engine.add(address, rows(some, vectors))
        elif choice == 1:
            local_engine.upsert(address, rows(some, vectors, documents=[f"d{step}"] * len(some)))
        elif choice == 2:
            local_engine.update(address, cells(" ".join(some), documents=[f"u{step}"] * len(some)))
        elif choice == 3:
            local_engine.delete(address, ids(" ".join(some)))
        elif local_engine.history(address):
            back = dice.choice(local_engine.history(address, 3))
            with suppress(ConflictError):
                local_engine.undo(address, back.id)
        states.append((tick(), now(local_engine, address)))
    for moment, state in states:
        assert then(local_engine, address, moment) == state
    for _ in range(60):
        (one, before), (two, after) = sorted(dice.sample(states, 2), key=lambda pair: pair[0])
        change = local_engine.difference(address, one, two)
        assert set(change.added) == after.keys() - before.keys()
        assert set(change.deleted) == before.keys() - after.keys()
        both = after.keys() & before.keys()
        assert set(change.updated) == {id for id in both if before[id] != after[id]}
    assert local_engine.check(deep=True) == []


# ── what it takes ────────────────────────────────────────────────────────────────────────────────


def test_what_is_older_than_the_retention_goes(
    local_engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = kept(local_engine)
    local_engine.add(address, rows("a b"))
    for n in range(20):
        local_engine.update(address, cells("a", documents=[f"version {n}"]))
    assert len(local_engine.history(address)) == 21
    real = time.time
    monkeypatch.setattr(history.time, "time", lambda: real() + 2 * 3600)
    local_engine.update(address, cells("b", documents=["later"]))
    assert len(local_engine.history(address)) == 1
    with pytest.raises(NotFoundError, match="reaches back to"):
        list(local_engine.scan(address, at=datetime.now(UTC) - timedelta(minutes=30)))
    monkeypatch.setattr(history.time, "time", lambda: real() + 4 * 3600)
    local_engine.compact(address)
    assert local_engine.history(address) == []


def test_compacting_is_no_change(local_engine: LocalEngine) -> None:
    address = kept(local_engine)
    local_engine.add(address, numbered(3000))
    local_engine.delete(address, ids(" ".join(str(n) for n in range(0, 3000, 2))))
    moment, calls = tick(), local_engine.history(address)
    local_engine.compact(address)
    assert local_engine.history(address) == calls
    assert list(then(local_engine, address, moment)) == [str(n) for n in range(1, 3000, 2)]
    local_engine.update(address, cells("1", documents=["seen"]))
    assert len(local_engine.history(address)) == 3
    local_engine.undo(address, calls[0].id)
    assert local_engine.count(address) == 3000


def test_secure_deletion_forgets_the_past_too(disk: LocalEngine, folder: Path) -> None:
    address = kept(disk)
    disk.add(address, rows("keep secret-id", documents=["x", "first secret words"]))
    disk.update(address, cells("secret-id", documents=["second secret words"]))
    disk.delete(address, ids("secret-id"))
    disk.add(address, rows("secret-id", documents=["third secret words"]))
    disk.delete(address, ids("secret-id"), secure=True)
    disk.close()
    everything = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert b"secret" not in everything


def test_a_fork_has_the_history_and_goes_its_own_way(local_engine: LocalEngine) -> None:
    address = kept(local_engine)
    local_engine.add(address, rows("a b"))
    moment = tick()
    local_engine.delete(address, ids("a"))
    copy = local_engine.fork_collection(address, "copy").address
    assert list(then(local_engine, copy, moment)) == ["a", "b"]
    local_engine.undo(copy)
    assert list(now(local_engine, copy)) == ["a", "b"]
    assert list(now(local_engine, address)) == ["b"]


def test_undo_reaches_into_segments(disk: LocalEngine, folder: Path) -> None:
    address = kept(disk)
    count = 4200
    disk.add(address, numbered(count, metadatas=[{"n": n} for n in range(count)]))
    build(folder / "collections" / str(address.collection), "l2")
    disk.delete(address, where({"n": {"$lt": 100}}))
    disk.undo(address)
    assert disk.count(address) == count
    assert disk.get(address, where({"n": 5})).ids == ["5"]
    [hits] = disk.query(address, np.array([[7.0]], np.float32), 1)
    assert hits.records.ids == ["7"]
    assert disk.check(deep=True) == []


# ── the door ─────────────────────────────────────────────────────────────────────────────────────


def notes(client: Client) -> Collection:
    return client.create_collection(
        "notes", configuration={"history": "7d"}, embedding_function=None
    )


def test_a_collection_as_it_was(client: Client) -> None:
    collection = notes(client)
    assert collection.configuration_json["history"] == "1w"
    assert client.get_collection("notes").configuration_json["history"] == "1w"
    collection.add(
        ids=["a", "b"],
        embeddings=[[1.0, 0.0], [0.0, 1.0]],
        documents=["one fish", "two fish"],
        metadatas=[{"n": 1}, {"n": 2}],
    )
    moment = tick()
    collection.update(ids=["a"], documents=["red fish"], embeddings=[[2.0, 0.0]])
    collection.delete(ids=["b"])
    past = collection.at(moment)
    assert past.get()["documents"] == ["one fish", "two fish"]
    assert past.query(query_embeddings=[[0, 1]], n_results=1)["ids"] == [["b"]]
    assert past.get(where={"n": 2})["ids"] == ["b"]
    assert past.count() == 2
    with pytest.raises(StorageError, match="read-only"):
        past.add(ids=["c"], embeddings=[[1.0, 1.0]])
    assert collection.count() == 1
    change = collection.diff(moment)
    assert (change.added, change.updated, change.deleted) == ([], ["a"], ["b"])
    deletion = collection.history(limit=1)[0]
    assert (deletion.inserted, deletion.updated, deletion.deleted) == (0, 0, 1)
    assert collection.at(deletion).get()["documents"] == ["red fish"]
    collection.undo(deletion)
    assert collection.get(ids="b")["documents"] == ["two fish"]
    assert collection.at(timedelta(seconds=0)).count() == 2


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda c: c.at("yesterday"), "Expected a time such as"),
        (lambda c: c.at(5), "Expected a datetime"),
        (lambda c: c.diff("2026-01-02", "2026-01-01"), "before until"),
        (lambda c: c.undo(-1), "call"),
        (lambda c: c.history(limit=-1), "limit"),
    ],
)
def test_wrong_arguments(local_client: Client, call: Any, words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        call(notes(local_client))


@pytest.mark.parametrize("given", ["soon", "0d", -1, True, [], "7 years"])
def test_wrong_retentions(client: Client, given: Any) -> None:
    with pytest.raises(ValueError, match=r"configuration\.history: expected a duration"):
        client.create_collection("notes", configuration={"history": given})
    assert client.count_collections() == 0


def test_modify_at_the_door(client: Client) -> None:
    collection = client.create_collection("notes", embedding_function=None)
    collection.add(ids=["a"], embeddings=[[1.0]])
    collection.modify(configuration={"history": timedelta(hours=2)})
    assert collection.configuration_json["history"] == "2h"
    collection.delete(ids=["a"])
    collection.undo()
    assert collection.count() == 1
    collection.modify(configuration={"history": None})
    assert "history" not in collection.configuration_json
    with pytest.raises(NotFoundError):
        collection.undo()


def test_the_past_leaves_no_files(local_client: Client, tmp_path: Path, monkeypatch: Any) -> None:
    import gc
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    collection = notes(local_client)
    collection.add(ids=["a"], embeddings=[[1.0]])
    past = collection.at(datetime.now(UTC))
    assert past.count() == 1
    assert list(tmp_path.glob("vermilion-*"))
    del past
    gc.collect()
    assert not list(tmp_path.glob("vermilion-*"))
