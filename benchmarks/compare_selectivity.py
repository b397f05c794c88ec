"""Vermilion's filtered query from one record in a thousand to nearly all, as a stage of compare.py.

Each record gets a number drawn by chance, and for each of a few anchors (queries of the set) its
rank by nearness to that anchor. A filter by the number is independent of the query ("random"); by
rank it is not: queries near an anchor are asked for the records nearest to it ("near"), or for
those farthest from it ("far"), where no neighbour of the query is among the allowed.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np
from compare_questions import Judge
from compare_worker import ANSWER, Corpus

SHARES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5, 0.8, 0.95)
ANCHORS, NEIGHBOURS = 4, 10
ROUNDS = 5
BATCH = 1_000
# Draws and ranks are told in millionths of all records.
WHOLE = 1_000_000

Figures = dict[str, dict[str, Any]]
Filter = tuple[dict[str, Any], np.ndarray]
# Of a share, the number of an anchor, and a number that is new for each query.
Make = Callable[[float, int, int], Filter]


class Spread:
    """The records' draws and ranks, and the filters made of them."""

    def __init__(self, corpus: Corpus) -> None:
        chance, rows = np.random.default_rng(1), corpus.rows
        self.draws = chance.integers(0, WHOLE, rows)
        # Every tenth query, so that the anchors differ; around each its nearest queries.
        anchors = corpus.queries[: 10 * ANCHORS : 10]
        self.queries = np.argsort(-(corpus.queries @ anchors.T), axis=0)[:NEIGHBOURS].T
        order = np.argsort(-(corpus.vectors @ anchors.T), axis=0)
        self.ranks = np.empty((rows, ANCHORS), np.int64)
        for anchor in range(ANCHORS):
            self.ranks[order[:, anchor], anchor] = np.arange(rows) * WHOLE // rows

    def metadata(self, place: int) -> dict[str, int]:
        """What is added to a record."""
        ranks = {f"rank{anchor}": int(rank) for anchor, rank in enumerate(self.ranks[place])}
        return {"draw": int(self.draws[place]), **ranks}

    def random(self, share: float, anchor: int, turn: int) -> Filter:
        """Those whose draw is low, the same for every query."""
        bound = int(share * WHOLE)
        return {"draw": {"$lt": bound}}, self.draws < bound

    def fresh(self, share: float, anchor: int, turn: int) -> Filter:
        """The same, with another bound for each query."""
        bound = int(share * WHOLE) + 1 + turn
        return {"draw": {"$lt": bound}}, self.draws < bound

    def near(self, share: float, anchor: int, turn: int) -> Filter:
        """Those nearest to the anchor."""
        bound = int(share * WHOLE)
        return {f"rank{anchor}": {"$lt": bound}}, self.ranks[:, anchor] < bound

    def far(self, share: float, anchor: int, turn: int) -> Filter:
        """Those farthest from it."""
        bound = int((1 - share) * WHOLE)
        return {f"rank{anchor}": {"$gte": bound}}, self.ranks[:, anchor] >= bound


def loaded(folder: Path, corpus: Corpus, spread: Spread) -> Any:
    """The client and a collection of all records, with every index complete."""
    import vermilion

    shutil.rmtree(folder, ignore_errors=True)
    client = vermilion.PersistentClient(folder)
    space = {"hnsw": {"space": "cosine"}}
    collection = client.create_collection("rows", embedding_function=None, configuration=space)
    for start in range(0, corpus.rows, BATCH):
        places = range(start, min(start + BATCH, corpus.rows))
        batch = corpus.batch(start, len(places))
        batch["metadatas"] = [spread.metadata(place) for place in places]
        collection.add(**batch)
    collection.flush()
    return client, collection


def measure(folder: Path, corpus: Corpus, judge: Judge) -> dict[str, Figures]:
    """Loads a collection, asks it, and tells for each filter its times and its recall."""
    spread = Spread(corpus)
    client, collection = loaded(folder, corpus, spread)
    everything = np.ones(corpus.rows, np.bool_)
    kinds: dict[str, Make] = {
        "unfiltered": lambda *_: ({}, everything),
        "random": spread.random,
        "fresh": spread.fresh,
        "near": spread.near,
        "far": spread.far,
    }

    def asked(kind: str, share: float) -> Asked:
        return Asked(collection, corpus, judge, spread.queries, kinds[kind], share)

    filters = {"unfiltered": asked("unfiltered", 1.0)}
    for share in SHARES:
        for kind in list(kinds)[1:]:
            filters[f"{kind} {share:.1%}"] = asked(kind, share)
    for _ in range(ROUNDS):  # each has its turn in each round, as the systems have elsewhere
        for one in filters.values():
            one.turn()
    client.close()
    return {f"selectivity {name}": {"vermilion": one.figure()} for name, one in filters.items()}


@dataclass
class Asked:
    """One kind of filter at one selectivity, and what came of it so far."""

    collection: Any
    corpus: Corpus
    judge: Judge
    queries: np.ndarray
    make: Make
    share: float
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    answers: list[tuple[int, int, list[str]]] = field(default_factory=list)
    calls: int = 0

    def turn(self) -> None:
        """Asks every query once; the first is asked once more beforehand, and not counted."""
        self.ask(0, int(self.queries[0, 0]))
        cpu = 0.0
        for anchor, queries in enumerate(self.queries):
            for query in queries.tolist():
                seconds, spent, found = self.ask(anchor, query)
                self.seconds.append(seconds)
                # Judged at the end, as numpy's threads would be at work beside the next query.
                self.answers.append((anchor, query, found))
                cpu += spent
        self.cpu.append(cpu / self.queries.size)

    def ask(self, anchor: int, query: int) -> tuple[float, float, list[str]]:
        """Seconds, processor seconds, and the answer of one query."""
        where, _ = self.make(self.share, anchor, self.calls)
        self.calls += 1
        vector = self.corpus.queries[query : query + 1]
        filters = {"where": where} if where else {}
        before, start = process_time(), perf_counter()
        found = self.collection.query(
            query_embeddings=vector, n_results=10, include=ANSWER, **filters
        )
        return perf_counter() - start, process_time() - before, found["ids"][0]

    def recall(self) -> list[float]:
        """Of each query. The calls beforehand, one in each turn, count in what `make` is told."""
        shares, size = [], self.queries.size
        for place, (anchor, query, found) in enumerate(self.answers):
            _, allowed = self.make(self.share, anchor, place + place // size + 1)
            shares.append(self.judge.found(query, allowed, found))
        return shares

    def figure(self) -> dict[str, Any]:
        """As compare.py has them: milliseconds and recall."""
        ordered, recall = sorted(self.seconds), self.recall()
        return {
            "wall": 1000 * median(ordered),
            "cpu": 1000 * median(self.cpu),
            "p95": 1000 * ordered[int(0.95 * (len(ordered) - 1))],
            "calls": len(ordered),
            "recall": float(np.mean(recall)),
            "least recall": min(recall),
        }
