"""What is kept of filters that come again: it answers as if nothing were, whatever was written."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oracle import Oracle
from test_real_text import real_vectors
from test_segments import seal
from vermilion.configuration import Configuration, Hnsw
from vermilion.engine import Selection
from vermilion.lifetimes import Ttl
from vermilion.local import compactor, filter_cache, lives, planner, search
from vermilion.local.builder import Builder
from vermilion.local.engine import LocalEngine
from vermilion.local.filter_cache import key_of
from vermilion.query.where import And, parse
from vermilion.records import Batch
from vermilion.types import Address
from words import HERE, keep_filters_at_once, make, where

ROWS = 3_000
FILTERS: list[Selection] = [
    where({"tag": "rare"}),
    where({"n": {"$lt": 700}}),
    where({"tag": {"$ne": "even"}}),
    where({"$or": [{"n": {"$gte": 2_990}}, {"tag": "rare"}]}),
    where({"new": True}),
    where({"tag": "none has it"}),
]


@pytest.fixture(autouse=True)
def no_other_builder(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is built here is not joined by a process beside the test."""
    monkeypatch.setattr(Builder, "start", lambda *_: None)


@pytest.fixture(params=["vectors", "codes"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How records are kept apart."""
    keep_filters_at_once(monkeypatch)
    if request.param == "codes":
        monkeypatch.setattr(search, "FEW_BYTES", 0)
        monkeypatch.setattr(search, "EXACT", 20)
    return str(request.param)


def batch(start: int, end: int, **changes: Any) -> Batch:
    numbers = range(start, end)
    return Batch(
        [f"id{n}" for n in numbers],
        real_vectors(end - start, seed=start),
        documents=[f"number {n}" for n in numbers],
        metadatas=[
            {"n": n, "tag": "rare" if n % 50 == 7 else "odd" if n % 2 else "even", **changes}
            for n in numbers
        ],
    )


@pytest.fixture
def filled(disk: LocalEngine, folder: Path) -> tuple[Address, Oracle]:
    """Two segments and a tail."""
    address, oracle = make(disk, space="cosine"), Oracle("cosine")
    for start, end in ((0, 2_000), (2_000, 2_800), (2_800, ROWS)):
        if start:
            seal(folder, address)
        disk.add(address, batch(start, end))
        oracle.add(batch(start, end))
    return address, oracle


def check(engine: LocalEngine, address: Address, oracle: Oracle) -> None:
    queries = real_vectors(2, seed=99)
    for selection in FILTERS:
        for _ in range(3):
            found = engine.query(address, queries, 10, selection)
            for hits, query in zip(found, queries, strict=True):
                oracle.check_hits(hits, query, 10, selection)
        wanted = oracle.selected(selection)
        assert engine.count(address, selection) == len(wanted)
        assert engine.get(address, selection, limit=7).ids == wanted[:7]


def kept(engine: LocalEngine, address: Address, selection: Selection) -> str:
    return engine.explain(address, real_vectors(1, seed=1), 5, selection).filter


def test_what_is_kept_is_told(filled: tuple[Address, Oracle], disk: LocalEngine, kind: str) -> None:
    address, _ = filled
    told = [kept(disk, address, where({"n": {"$lt": 700}})) for _ in range(3)]
    assert told == ["evaluated", *2 * [f"known, its records kept apart as {kind}"]]
    assert kept(disk, address, Selection()) == "none"
    text = where(None, {"$contains": "1"})
    assert [kept(disk, address, text) for _ in range(3)] == ["evaluated"] * 3
    ids = Selection(["id7"], where({"n": {"$lt": 700}}).filter)
    assert kept(disk, address, ids) == "evaluated"


CHANGES: dict[str, Callable[[Any], object]] = {
    "add": lambda one: one.add(batch(ROWS, ROWS + 30)),
    "new metadata in a segment": lambda one: one.update(
        Batch(["id7", "id8"], metadatas=[{"tag": "even"}, {"tag": "rare"}])
    ),
    "new vectors in a segment": lambda one: one.update(
        Batch([f"id{n}" for n in range(7, 700, 50)], real_vectors(14, seed=5))
    ),
    "delete": lambda one: one.delete(Selection([f"id{n}" for n in range(0, 900, 7)])),
    "delete by the filter": lambda one: one.delete(where({"tag": "rare"})),
    "update by the filter": lambda one: one.update_where(where({"tag": "rare"}), {"new": True}),
    "come back": lambda one: (one.delete(Selection(["id7"])), one.add(batch(7, 8))),
}


@pytest.mark.parametrize("elsewhere", [False, True])
def test_every_write_is_seen_at_once(
    filled: tuple[Address, Oracle],
    disk: LocalEngine,
    other: LocalEngine,
    folder: Path,
    kind: str,
    *,
    elsewhere: bool,
) -> None:
    address, oracle = filled
    writer = other if elsewhere else disk
    check(disk, address, oracle)

    class Both:
        def __getattr__(self, name: str) -> Any:
            def call(*arguments: Any) -> None:
                getattr(writer, name)(address, *arguments)
                getattr(oracle, name)(*arguments)

            return call

    for change in CHANGES.values():
        change(Both())
        check(disk, address, oracle)
    seal(folder, address)
    check(disk, address, oracle)
    compactor.compact(other._handles._enter(address).collection.store())  # type: ignore[arg-type]
    check(disk, address, oracle)


def test_new_vectors_for_all_are_searched(
    filled: tuple[Address, Oracle], disk: LocalEngine, kind: str
) -> None:
    address, oracle = filled
    check(disk, address, oracle)
    anew = Batch([f"id{n}" for n in range(ROWS)], real_vectors(ROWS, seed=123))
    disk.update(address, anew)
    oracle.update(anew)
    check(disk, address, oracle)


def test_records_that_expire_are_hidden_at_once(
    disk: LocalEngine, folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    configuration = Configuration(Hnsw(space="cosine"), ttl=Ttl())
    info, _ = disk.create_collection("things", *HERE, configuration=configuration)
    now = time.time()
    disk.add(info.address, batch(0, 600))
    disk.add(info.address, batch(600, 900, expires_at=now + 60))
    seal(folder, info.address)
    [query] = real_vectors(1, seed=3)[:, np.newaxis]
    everybody = where({"n": {"$gte": 590}})
    for _ in range(4):
        assert len(disk.query(info.address, query, 400, everybody)[0].records) == 310
    monkeypatch.setattr(lives.time, "time", lambda: now + 61)
    assert len(disk.query(info.address, query, 400, everybody)[0].records) == 10


def test_threads_see_their_own_moment(
    filled: tuple[Address, Oracle], disk: LocalEngine, kind: str
) -> None:
    """Writers take the records of a filter away and bring them back while many ask for them."""
    address, oracle = filled
    rare, queries = where({"tag": "rare"}), real_vectors(3, seed=44)
    some = batch(0, 2_000)
    count = len(oracle.selected(rare))
    stop = threading.Event()

    def ask(number: int) -> None:
        while not stop.is_set():
            with (
                disk._handles.using(address) as collection,
                collection._open()[1].reading(  # type: ignore[index]
                    planner.needs(rare, vectors=1)
                ) as moment,
            ):
                found = planner.query(
                    moment, collection._wish(count), queries[[number]], rare, ("metadatas",)
                )
                assert len(found[0].records) == planner.select(moment, rare).sum()
            assert {m["tag"] for m in found[0].records.metadatas or [] if m} <= {"rare"}

    with ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(ask, number) for number in range(3)]
        for start in range(0, 500, 50):
            disk.delete(address, Selection([f"id{start + 7}"]))
            disk.update(address, Batch([f"id{start + 57}"], metadatas=[{"n": -1}]))
            disk.upsert(
                address, Batch(some.ids[start : start + 9], some.vectors[start : start + 9])
            )  # type: ignore[index]
        stop.set()
        for one in asking:
            one.result()


def test_codes_are_made_by_another_thread(
    filled: tuple[Address, Oracle], disk: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "FEW_BYTES", 0)
    monkeypatch.setattr(filter_cache, "SHARE", 0.5)
    monkeypatch.setattr(filter_cache, "ROW_BYTES", 2**20)
    address, oracle = filled
    some, queries = where({"n": {"$lt": 700}}), real_vectors(30, seed=45)
    with ThreadPoolExecutor(4) as pool:
        for hits, query in pool.map(
            lambda query: (disk.query(address, query[np.newaxis], 10, some)[0], query), queries
        ):
            oracle.check_hits(hits, query, 10, some)
    with disk._handles.using(address) as collection:
        indexer = collection._open()[1]  # type: ignore[index]
    assert indexer._state is not None
    indexer._state.filters.wait()
    assert kept(disk, address, some).endswith("codes")
    [hits] = disk.query(address, queries[:1], 10, some)
    oracle.check_hits(hits, queries[0], 10, some)


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────


def test_filters_that_mean_the_same_have_one_key() -> None:
    moment = datetime(2024, 2, 29, 12, tzinfo=UTC)
    forms: list[Any] = [
        *({"x": value} for value in (1, 1.0, True, "1", 0, -1, moment, moment.date())),
        *({"x": {"$in": values}} for values in ([1, 2], [1, 2.0], [True, 2], [2, 1], ["1", "2"])),
        *({"x": {name: 1}} for name in ("$ne", "$gt", "$gte", "$lt", "$lte", "$contains")),
        *({"x": {"$not": {name: 1}}} for name in ("$gt", "$lte")),
        {"y": 1},
        {"x": {"$exists": True}},
        {"x": {"$exists": False}},
        {"$and": [{"x": 1}, {"y": 1}]},
        {"$or": [{"x": 1}, {"y": 1}]},
        {"$and": [{"y": 1}, {"x": 1}]},
    ]
    keys = [key_of(parse(form, None)) for form in forms]  # type: ignore[arg-type]
    assert len(set(keys)) == len(forms)
    again = [key_of(parse(form, None)) for form in forms]  # type: ignore[arg-type]
    assert again == keys
    assert key_of(And(())) is not None


def test_filters_that_ask_the_store_have_no_key() -> None:
    assert key_of(parse(None, {"$contains": "x"})) is None  # type: ignore[arg-type]
    assert key_of(parse({"$and": [{"x": 1}, {"#id": "a"}]}, None)) is None  # type: ignore[arg-type]
    assert key_of(parse({"x": {"$in": [*range(1_000)]}}, None)) is None  # type: ignore[arg-type]


# ── memory ───────────────────────────────────────────────────────────────────────────────────────


def test_what_is_kept_stays_below_a_limit(
    filled: tuple[Address, Oracle],
    disk: LocalEngine,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(filter_cache, "BYTES", 8_000_000)
    monkeypatch.setattr(filter_cache, "FILTERS", 40)
    address, oracle = filled
    query = real_vectors(1, seed=46)
    with disk._handles.using(address) as collection:
        indexer = collection._open()[1]  # type: ignore[index]
    for n in range(60):
        some = where({"n": {"$lt": 40 + n}})
        for _ in range(3):
            oracle.check_hits(disk.query(address, query, 10, some)[0], query[0], 10, some)
        assert indexer._state is not None
        assert 0 < indexer.filter_bytes <= 8_000_000 + 16 * ROWS
    assert len(indexer._state.filters._known) <= 40


def test_a_memory_limit_leaves_no_room_for_filters(
    filled: tuple[Address, Oracle], disk: LocalEngine, folder: Path, kind: str
) -> None:
    address, oracle = filled
    check(disk, address, oracle)
    with disk._handles.using(address) as collection:
        size = collection.cached_bytes(2**40)
        filters = collection._open()[1].filter_bytes  # type: ignore[index]
    assert filters > 0
    limited = LocalEngine(folder, memory_limit=size - filters + 1)
    check(limited, address, oracle)
    assert kept(limited, address, FILTERS[0]) == "evaluated"
    assert len(limited._handles._entries) == 1  # it was not closed for what it keeps
    limited.close()
