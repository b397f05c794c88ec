"""The questions of compare.py, each with its exact answer, computed by numpy."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from compare_worker import Corpus

K = 10
# Two records this close to a query may stand in either order.
TIE = 1e-6

Record = dict[str, Any]
Matches = Callable[[Record], bool]
REGEX = r"composer .*\(1[78]\d\d"


@dataclass(frozen=True)
class Question:
    """Filters for a query, and which records they let through."""

    filters: dict[str, Any]
    matches: Matches


def _lexfiles(*names: str) -> Matches:
    return lambda record: record["metadata"]["lexfile"] in names


def _in_range(record: Record) -> bool:
    metadata = record["metadata"]
    return 60 <= metadata["definition_chars"] < 65 and metadata["n_pointers"] >= 4


FILTERS = {
    "query": Question({}, lambda record: True),
    "equality": Question(
        {"where": {"lexfile": "noun.communication"}}, _lexfiles("noun.communication")
    ),
    "range": Question(
        {
            "where": {
                "$and": [
                    {"definition_chars": {"$gte": 60}},
                    {"definition_chars": {"$lt": 65}},
                    {"n_pointers": {"$gte": 4}},
                ]
            }
        },
        _in_range,
    ),
    "in": Question(
        {"where": {"lexfile": {"$in": ["noun.plant", "noun.animal", "noun.substance"]}}},
        _lexfiles("noun.plant", "noun.animal", "noun.substance"),
    ),
    "contains rare": Question(
        {"where_document": {"$contains": "volcan"}}, lambda record: "volcan" in record["text"]
    ),
    "contains common": Question(
        {"where_document": {"$contains": " the "}}, lambda record: " the " in record["text"]
    ),
    "regex": Question(
        {"where_document": {"$regex": REGEX}},
        lambda record: re.search(REGEX, record["text"]) is not None,
    ),
}


class Judge:
    """Knows the right answers for one corpus."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self._place = {record["id"]: place for place, record in enumerate(corpus.records)}
        self._masks = {
            name: np.array([question.matches(record) for record in corpus.records])
            for name, question in FILTERS.items()
        }
        self._lexfiles = np.array([record["metadata"]["lexfile"] for record in corpus.records])

    def share(self, name: str) -> float:
        """Which part of the records a filter lets through."""
        return float(self._masks[name].mean())

    def correlated(self, query: int) -> dict[str, Any]:
        """A filter that the neighbours of a query tend to pass: the lexfile of the nearest."""
        return {"where": {"lexfile": self._lexfile(query)}}

    def recall(self, name: str, queries: list[int], answers: list[list[str]]) -> float:
        """Which part of the right neighbours was found, averaged over the queries."""
        shares = []
        for query, ids in zip(queries, answers, strict=True):
            mask = self._masks.get(name)
            allowed = self._lexfiles == self._lexfile(query) if mask is None else mask
            shares.append(self._found(query, allowed, ids))
        return float(np.mean(shares))

    def _found(self, query: int, allowed: np.ndarray, ids: list[str]) -> float:
        nearness = np.where(allowed, self._nearness(query), -np.inf)
        due = min(K, int(allowed.sum()))
        if not due:
            return float(not ids)
        least = np.partition(nearness, -due)[-due] - TIE
        return sum(nearness[self._place[id]] >= least for id in set(ids)) / due

    def _nearness(self, query: int) -> np.ndarray:
        return self._corpus.vectors @ self._corpus.queries[query]

    def _lexfile(self, query: int) -> str:
        return str(self._lexfiles[np.argmax(self._nearness(query))])
