"""Filters on documents: read as few as the answer takes, and never miss or invent one."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oracle import Oracle
from test_real_text import real_vectors
from test_segments import home, seal
from vermilion.engine import Selection
from vermilion.local import matches, search
from vermilion.local.engine import LocalEngine
from vermilion.local.index import text
from vermilion.local.snapshot import Keys, Snapshot
from vermilion.records import Batch
from vermilion.types import Address, Effort
from words import make, where

ROWS = 3_000
FILTERS: list[Selection] = [
    where(None, {"$contains": " the "}),
    where(None, {"$contains": "the"}),
    where(None, {"$contains": "th"}),
    where(None, {"$not_contains": "river bank"}),
    where(None, {"$not_contains": "abc"}),
    where(None, {"$regex": "(over|by) the r[a-z]+ [0-9]*7$"}),
    where(None, {"$not_regex": "the river 1"}),
    where(None, {"$regex": "[0-9]$"}),
    where(None, {"$and": [{"$contains": " the "}, {"$not_contains": "7"}]}),
    where(None, {"$or": [{"$contains": "river 12"}, {"$not_contains": " the "}]}),
    where({"n": {"$lt": 900}}, {"$contains": " the "}),
    where({"$or": [{"n": {"$lt": 50}}, {"#document": {"$contains": " by the"}}]}),
    where({"$and": [{"n": {"$gte": 20}}, {"#document": {"$not_regex": "bank|sea"}}]}),
    where({"$or": [{"#id": "id7"}, {"#document": {"$regex": "x{3}"}}]}),
]
TEXTS = ["over the river {}", "by the river bank {}", "at sea {}", "the {}", None, "then, abc {}"]


def batch(count: int, start: int = 0) -> Batch:
    numbers = range(start, start + count)
    texts = [TEXTS[n * 7 % len(TEXTS)] for n in numbers]
    return Batch(
        [f"id{n}" for n in numbers],
        real_vectors(count, 5 + start),
        documents=[
            None if one is None else one.format(n) for n, one in zip(numbers, texts, strict=True)
        ],
        metadatas=[{"n": n} for n in numbers],
    )


@pytest.fixture
def filled(disk: LocalEngine, folder: Path) -> Iterator[tuple[Address, Oracle]]:
    """Two segments, dead rows, and a tail."""
    address, oracle = make(disk, space="cosine"), Oracle("cosine")
    for start, count in ((0, ROWS // 2), (ROWS // 2, ROWS // 3)):
        disk.add(address, batch(count, start))
        oracle.add(batch(count, start))
        seal(folder, address)
    for change in (batch(200, 700), batch(ROWS // 6, 5 * ROWS // 6)):
        disk.upsert(address, change)
        oracle.upsert(change)
    yield address, oracle


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many documents each look into the store was for."""
    counts: list[int] = []
    documents = Snapshot.documents

    def counted(self: Snapshot, keys: Keys) -> Iterator[str | None]:
        counts.append(len(keys))
        return documents(self, keys)

    monkeypatch.setattr(Snapshot, "documents", counted)
    return counts


def check(engine: LocalEngine, address: Address, oracle: Oracle) -> None:
    for selection in FILTERS:
        queries = real_vectors(3, seed=77)
        for k in (3, 40):
            found = engine.query(address, queries, k, selection)
            for hits, query in zip(found, queries, strict=True):
                oracle.check_hits(hits, query, k, selection)
        wanted = oracle.selected(selection)
        for limit, offset in ((5, 0), (7, 11), (0, 3), (None, 2)):
            page = engine.get(address, selection, limit=limit, offset=offset).ids
            assert page == wanted[offset : None if limit is None else offset + limit]
        assert engine.count(address, selection) == len(wanted)


@pytest.mark.parametrize("eager", [0, 256, 10**6])
def test_a_filter_on_documents_is_exact_however_late_they_are_read(
    filled: tuple[Address, Oracle],
    disk: LocalEngine,
    monkeypatch: pytest.MonkeyPatch,
    eager: int,
) -> None:
    monkeypatch.setattr(search, "SETTLED", eager)
    monkeypatch.setattr(search, "EXACT", min(eager, 400))
    monkeypatch.setattr(matches, "FIRST_STEP", 1)
    check(disk, *filled)
    check(disk, *filled)  # with what was learnt


def test_facts_that_were_forgotten_are_found_again(
    filled: tuple[Address, Oracle], disk: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "MOST_FACTS", 2)
    monkeypatch.setattr(text, "FACTS_BYTES", 1)
    check(disk, *filled)


def test_threads_that_learn_at_once_agree(
    filled: tuple[Address, Oracle], disk: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "MOST_FACTS", 3)
    address, oracle = filled
    queries = real_vectors(4, seed=80)

    def ask(number: int) -> None:
        selection = FILTERS[number % len(FILTERS)]
        [hits] = disk.query(address, queries[number % 4][None], 5, selection)
        oracle.check_hits(hits, queries[number % 4], 5, selection)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(150)))


def test_a_common_text_costs_few_documents_and_none_twice(
    filled: tuple[Address, Oracle], disk: LocalEngine, reads: list[int]
) -> None:
    address, oracle = filled
    common = where(None, {"$contains": " the "})
    assert len(oracle.selected(common)) > ROWS // 4
    query = real_vectors(1, seed=78)
    disk.query(address, query, 5, common)
    assert 0 < sum(reads) < 150
    first = sum(reads)
    disk.query(address, query, 5, common)
    assert sum(reads) - first < 60, "those of the tail only"


def test_three_bytes_are_settled_by_the_index(
    filled: tuple[Address, Oracle], disk: LocalEngine, reads: list[int]
) -> None:
    address, oracle = filled
    the = where(None, {"$contains": "the"})
    assert disk.count(address, the) == len(oracle.selected(the))
    assert sum(reads) == ROWS // 6 + 200, "those of the tail only"


def test_a_page_reads_documents_up_to_its_end(
    filled: tuple[Address, Oracle], disk: LocalEngine, reads: list[int]
) -> None:
    address, oracle = filled
    common = where(None, {"$contains": " the "})
    assert disk.get(address, common, limit=5, offset=5).ids == oracle.selected(common)[5:10]
    assert sum(reads) <= 80


def test_exact_measures_all_that_match(filled: tuple[Address, Oracle], disk: LocalEngine) -> None:
    address, oracle = filled
    for selection in FILTERS:
        query = real_vectors(1, seed=79)
        [hits] = disk.query(address, query, 30, selection, effort=Effort(exact=True))
        oracle.check_hits(hits, query[0], 30, selection)


def test_a_segment_that_another_wrote_has_facts_of_its_own(
    filled: tuple[Address, Oracle], disk: LocalEngine, folder: Path
) -> None:
    address, oracle = filled
    check(disk, address, oracle)
    change = replace(batch(300, 100), documents=[f"by the sea {n}" for n in range(300)])
    disk.upsert(address, change)
    oracle.upsert(change)
    seal(folder, address)
    assert home(folder, address).exists()
    check(disk, address, oracle)


def test_what_is_true_of_few_among_many_is_found(disk: LocalEngine, folder: Path) -> None:
    """Every document may match, two do, and they are far from the query."""
    address = make(disk, space="l2")
    count = 4_500
    vectors = np.arange(count, dtype=np.float32)[:, None] * np.ones(4, np.float32)
    texts: list[Any] = [f"{n} b" if n % 2_000 == 1_999 else f"{n} a" for n in range(count)]
    disk.add(address, Batch([str(n) for n in range(count)], vectors, documents=texts))
    for _ in range(2):  # in the tail, then in a segment
        [hits] = disk.query(address, vectors[:1], 10, where(None, {"$regex": "[0-9] [b]"}))
        assert hits.records.ids == ["1999", "3999"]
        seal(folder, address, "l2")
