"""Records that expire: no read sees them from then on, and later they are gone."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from vermilion.api.client import Client
from vermilion.configuration import Configuration
from vermilion.engine import EVERYTHING, Engine, Selection
from vermilion.lifetimes import Ttl
from vermilion.local import lives
from vermilion.local.engine import LocalEngine
from vermilion.query.search import Search
from vermilion.types import Address
from words import ALL, HERE, cells, ids, rows, where

Clock = Callable[[float], None]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Puts the clock of expiry this many seconds forward."""
    real = time.time

    def forward(seconds: float) -> None:
        monkeypatch.setattr(lives.time, "time", lambda: real() + seconds)

    return forward


def expiring(engine: Engine, ttl: Ttl | None = None) -> Address:
    configuration = Configuration(ttl=ttl or Ttl())
    return engine.create_collection("things", *HERE, configuration=configuration)[0].address


def filled(engine: Engine, clock: Clock) -> Address:
    """Of four records "b" ends in a minute, "c" in an hour; "d" holds something else there."""
    address, now = expiring(engine), time.time()
    ends = [None, {"expires_at": now + 60, "n": 1}, {"expires_at": now + 3600, "n": 2}]
    engine.add(
        address,
        rows("a b c d", documents=["x"] * 4, metadatas=[*ends, {"expires_at": "never"}]),
    )
    return address


QUERY = np.array([[1.0, 1.0]], np.float32)


def everywhere(engine: Engine, address: Address) -> list[list[str]]:
    """The ids that each way of reading finds."""
    [hits] = engine.query(address, QUERY, 10)
    [found] = engine.search(address, [Search().limit(10)])
    return [
        engine.get(address).ids,
        engine.get(address, columns=ALL).ids,
        engine.get(address, limit=10).ids,
        engine.get(address, offset=0, limit=10).ids,
        engine.get(address, ids("a b c d")).ids,
        engine.get(address, where(None, {"$contains": "x"})).ids,
        sorted(hits.records.ids),
        sorted(found.records.ids),
        [id for page in engine.scan(address) for id in page.ids],
    ]


def test_no_read_sees_what_has_expired(engine: Engine, clock: Clock) -> None:
    address = filled(engine, clock)
    for seconds, left in ((0, "a b c d"), (61, "a c d"), (3601, "a d")):
        clock(seconds)
        assert everywhere(engine, address) == [left.split()] * 9
        assert engine.count(address) == len(left.split())
        assert engine.count(address, where({"n": {"$gte": 1}})) == left.count("b") + left.count("c")
    assert engine.facets(address, ["n"]) == [[]]
    assert engine.get(address, where({"n": {"$ne": 9}})).ids == ["a", "d"]


def test_an_end_may_be_a_time(engine: Engine, clock: Clock) -> None:
    address, now = expiring(engine), datetime.now(UTC)
    ends = [{"expires_at": now + timedelta(minutes=1)}, {"expires_at": now + timedelta(hours=1)}]
    engine.add(address, rows("a b", metadatas=ends))
    assert engine.get(address).ids == ["a", "b"]
    clock(61)
    assert engine.get(address).ids == ["b"]
    engine.add(address, rows("a", [[3, 3]]))
    assert engine.get(address).ids == ["b", "a"]


def test_writes_do_not_see_it_either(engine: Engine, clock: Clock) -> None:
    address = filled(engine, clock)
    clock(61)
    assert engine.update(address, cells("b", documents=["y"])).missing in (0, 1)
    assert engine.get(address, ids("b")).ids == []
    engine.add(address, rows("b", [[5, 5]]))
    assert engine.get(address).ids == ["a", "c", "d", "b"]  # a new record
    clock(3601)
    engine.upsert(address, rows("c", [[6, 6]], documents=["new"]))
    got = engine.get(address, ids("c"), ALL)
    assert (got.ids, got.documents, got.metadatas) == (["c"], ["new"], [None])
    assert engine.delete(address, Selection(ids=["a"])).deleted in (0, 1)
    assert engine.check(deep=True) == []


def test_a_rule_gives_new_records_their_end(engine: Engine, clock: Clock) -> None:
    address = expiring(engine, Ttl("end", 100.0))
    engine.add(address, rows("a b", metadatas=[None, {"end": time.time() + 1000}]))
    clock(50)
    engine.upsert(address, rows("a c", [[1, 1], [2, 2]]))  # "a" keeps its end
    clock(101)
    assert engine.get(address).ids == ["b", "c"]
    clock(151)
    assert engine.get(address).ids == ["b"]
    engine.update(address, cells("b", metadatas=[{"end": None}]))
    clock(5000)
    assert engine.get(address).ids == ["b"]


def test_what_has_expired_is_deleted_in_the_background(
    local_engine: LocalEngine, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = filled(local_engine, clock)
    clock(61)
    monkeypatch.setattr(lives, "SWEEP_SECONDS", 0.0)
    assert local_engine.count(address) == 3
    deadline = time.monotonic() + 30
    while local_engine.stats(address).rows != 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert local_engine.stats(address).rows == 3


def test_compact_deletes_it_at_once(local_engine: LocalEngine, clock: Clock) -> None:
    address = filled(local_engine, clock)
    clock(3601)
    assert local_engine.stats(address).rows == 4
    local_engine.compact(address)
    assert local_engine.stats(address).rows == 2
    assert local_engine.get(address, EVERYTHING).ids == ["a", "d"]


# ── the door ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("30d", {"field": "expires_at", "default": "30d"}),
        ({"field": "end"}, {"field": "end", "default": None}),
        ({"default": 90}, {"field": "expires_at", "default": "90s"}),
        ({}, {"field": "expires_at", "default": None}),
    ],
)
def test_rules_at_the_door(client: Client, given: Any, shown: Any) -> None:
    collection = client.create_collection(
        "notes", configuration={"ttl": given}, embedding_function=None
    )
    assert collection.configuration_json["ttl"] == shown
    assert client.get_collection("notes").configuration_json["ttl"] == shown
    collection.modify(configuration={"ttl": None})
    assert "ttl" not in client.get_collection("notes").configuration_json


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("soon", "expected a duration"),
        ({"fields": "end"}, "unknown field `fields`"),
        ({"field": ""}, "the name of a metadata field"),
        ({"default": -1}, r"configuration\.ttl\.default: expected a duration"),
    ],
)
def test_wrong_rules(client: Client, given: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        client.create_collection("notes", configuration={"ttl": given})
    assert client.count_collections() == 0


def test_the_end_of_a_record_can_be_read(client: Client, clock: Clock) -> None:
    collection = client.create_collection(
        "notes", configuration={"ttl": "1h"}, embedding_function=None
    )
    before = time.time()
    collection.add(ids=["a"], embeddings=[[1.0]], metadatas=[{"n": 1}])
    [metadata] = collection.get()["metadatas"] or []
    assert metadata["n"] == 1
    assert before + 3599 < metadata["expires_at"] < time.time() + 3601
    clock(3601)
    assert collection.count() == 0
    assert collection.get()["ids"] == []
