"""Order, distinct values and counts of metadata, held against Python's own sorting and counting."""

from __future__ import annotations

import math
import random
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from test_segments import seal
from vermilion.api.client import Client
from vermilion.api.collection import Collection
from vermilion.engine import Engine, Selection
from vermilion.local import builder
from vermilion.local.engine import LocalEngine
from vermilion.metadata import fields_of
from vermilion.query.where import ascending
from vermilion.records import Batch
from vermilion.reports import Facet, Summary
from vermilion.types import Address, Order
from words import make, where

VALUES: dict[str, list[Any]] = {
    "int": [3, -1, 2**63 - 1, -(2**63), 0],
    "float": [0.5, -2.0, 1e300, -0.0],
    "str": ["b", "a", "é", "東京", ""],
    "bool": [True, False],
    "mixed": [1, 1.0, 2**53, 2.0**53, 2**53 + 1, True, "1", 0.5],
    "list": [["x", "y", "x"], ["y"], [1, 2], [True], "x"],
    "common": ["one", "one", "one", "two"],
    "time": [date(2024, 2, 29), datetime(1999, 1, 1, 12), datetime(1, 1, 2, tzinfo=UTC), "2024"],
    "times": [[date(2024, 2, 29)], [date(2024, 2, 29), date.max, 1, "x"], []],
    "in.dict": [1, "a", [2]],
}
Row = dict[str, Any]


def rows(count: int, seed: int) -> list[Row | None]:
    chance = random.Random(seed)
    found: list[Row | None] = []
    for _ in range(count):
        row = {key: chance.choice(some) for key, some in VALUES.items() if chance.random() < 0.8}
        if "in.dict" in row and chance.random() < 0.5:
            row["in"] = {"dict": row.pop("in.dict")}
        found.append(row or None)
    return found


class Pair:
    """A collection, and its metadata by id in the order of insertion."""

    def __init__(self, engine: Engine, address: Address) -> None:
        self.engine, self.address = engine, address
        self.rows: dict[str, Row | None] = {}

    def add(self, count: int, seed: int) -> None:
        fresh = {f"{seed}-{n}": row for n, row in enumerate(rows(count, seed))}
        vectors = np.ones((count, 2), np.float32)
        self.engine.upsert(self.address, Batch([*fresh], vectors, metadatas=[*fresh.values()]))
        self.rows |= fresh

    def delete(self, ids: list[str]) -> None:
        self.engine.delete(self.address, Selection(ids=ids))
        for id in ids:
            del self.rows[id]

    def check(self) -> None:
        for selection in (Selection(), where({"common": "one"}), Selection(ids=[*self.rows][::3])):
            ids = self.engine.get(self.address, selection).ids
            for key in VALUES:
                self.check_order(ids, selection, [Order(key)])
                self.check_order(ids, selection, [Order(key, True), Order("str"), Order("int")])
            counted = self.engine.facets(self.address, [*VALUES, "none"], selection)
            assert counted == [self.facets(ids, key) for key in [*VALUES, "none"]]
            for key in ("int", "float", "mixed", "str"):
                for by in (None, "str", "mixed", "list", "time", "in.dict"):
                    summed = self.engine.summarize(self.address, key, by, selection)
                    assert summed == self.summaries(ids, key, by)

    def check_order(self, ids: list[str], selection: Selection, orders: list[Order]) -> None:
        expected = ids
        for order in reversed(orders):
            there = [id for id in expected if scalar(self.rows[id], order.field) is not None]
            gone = [id for id in expected if id not in there]
            there.sort(
                key=lambda id, of=order.field: ascending(scalar(self.rows[id], of)),  # type: ignore[misc]
                reverse=order.descending,
            )
            expected = there + gone
        for limit, offset in ((None, None), (5, None), (3, 4), (0, 1), (10_000, 2)):
            got = self.engine.get(self.address, selection, (), limit, offset, orders).ids
            start = offset or 0
            assert got == expected[start : None if limit is None else start + limit], orders

    def facets(self, ids: list[str], key: str) -> list[Facet]:
        counts: Counter[Any] = Counter()
        values: dict[Any, Any] = {}
        for id in ids:
            value = fields_of(self.rows[id] or {}).get(key)
            several = value if isinstance(value, list) else [] if value is None else [value]
            values |= {ascending(one): one for one in several}
            counts.update({ascending(one) for one in several})
        found = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        return [Facet(values[rank], count) for rank, count in found]

    def summaries(self, ids: list[str], key: str, by: str | None) -> list[Summary]:
        groups: dict[Any, list[Any]] = {}
        names: dict[Any, Any] = {(9,): None}
        for id in ids:
            value = scalar(self.rows[id], key)
            if isinstance(value, int | float) and not isinstance(value, bool):
                name = None if by is None else scalar(self.rows[id], by)
                rank = (9,) if name is None else ascending(name)
                names[rank] = name
                groups.setdefault(rank, []).append(value)
        out = []
        for rank, found in sorted(groups.items()):
            whole = all(isinstance(one, int) for one in found)
            total = sum(found) if whole else math.fsum(found)
            out.append(Summary(names[rank], len(found), min(found), max(found), total))
        return out


def scalar(row: Row | None, key: str) -> Any:
    value = fields_of(row or {}).get(key)
    return None if isinstance(value, list) else value


def test_records_in_memory(engine: Engine) -> None:
    pair = Pair(engine, make(engine))
    pair.check()
    pair.add(40, seed=1)
    pair.check()
    pair.delete([*pair.rows][:15:2])
    pair.add(30, seed=2)
    pair.check()


def test_records_in_segments(
    disk: LocalEngine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builder, "MOST_SEGMENTS", 9)
    pair = Pair(disk, make(disk))
    for seed, count in ((1, 150), (2, 40), (3, 20)):
        pair.add(count, seed)
        seal(folder, pair.address, "l2")
    pair.check()
    pair.delete([*pair.rows][::5])
    pair.add(20, seed=4)
    pair.check()


# ── through the door ─────────────────────────────────────────────────────────────────────────────


def books(client: Client) -> Collection:
    collection = client.create_collection("books", embedding_function=None)
    collection.add(
        ids=list("abcd"),
        embeddings=[[0.0]] * 4,
        documents=["whale", "ball", "sea", "moor"],
        metadatas=[
            {"year": 1851, "title": "Moby Dick", "tags": ["sea", "whale"]},
            {"year": 1813, "title": "Pride"},
            {"year": 1851, "title": "A Voyage", "tags": ["sea"]},
            None,
        ],
    )
    return collection


def test_get_orders_by_fields(client: Client) -> None:
    collection = books(client)
    assert collection.get(order_by="year")["ids"] == ["b", "a", "c", "d"]
    assert collection.get(order_by=["-year", "title"])["ids"] == ["c", "a", "b", "d"]
    got = collection.get(order_by=["title"], limit=1, offset=1, where={"year": 1851})
    assert got["documents"] == ["whale"]
    assert collection.get(order_by=[])["ids"] == list("abcd")


def test_values_are_counted(client: Client) -> None:
    collection = books(client)
    assert collection.facets(["year", "tags"]) == {
        "year": [Facet(1851, 2), Facet(1813, 1)],
        "tags": [Facet("sea", 2), Facet("whale", 1)],
    }
    assert collection.facets("year", where_document={"$contains": "ball"}) == {
        "year": [Facet(1813, 1)]
    }
    assert collection.distinct("year") == [1813, 1851]
    assert collection.distinct("title", where={"year": 1851}) == ["A Voyage", "Moby Dick"]
    assert client.create_collection("empty").facets("a") == {"a": []}


def test_numbers_are_summed_up(client: Client) -> None:
    collection = books(client)
    assert collection.summarize("year", by="tags") == collection.summarize("year")
    [whole] = collection.summarize("year", where={"title": {"$ne": "Pride"}})
    assert whole == Summary(None, 2, 1851, 1851, 3702)
    assert whole.avg == 1851
    assert [one.value for one in collection.summarize("year", by="year")] == [1813, 1851]
    assert collection.summarize("title") == []
    assert client.create_collection("empty").summarize("a") == []


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda c: c.get(order_by=5), "order_by to be a field or a list of fields"),
        (lambda c: c.get(order_by=[5]), "order_by to be a field or a list of fields"),
        (lambda c: c.get(order_by="#id"), "order_by to name metadata fields"),
        (lambda c: c.get(order_by="-"), "order_by to name metadata fields"),
        (lambda c: c.facets([5]), "keys to name metadata fields"),
        (lambda c: c.distinct("#document"), "key to name metadata fields"),
        (lambda c: c.summarize("year", by="#id"), "by to name metadata fields"),
    ],
)
def test_what_is_wrong_is_said(client: Client, call: Any, words: str) -> None:
    with pytest.raises((TypeError, ValueError)) as refusal:
        call(books(client))
    assert words in str(refusal.value)
