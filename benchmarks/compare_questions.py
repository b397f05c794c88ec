"""The questions of compare.py, for each data set, and their exact answers, computed by numpy."""

from __future__ import annotations

import operator
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
Filters = dict[str, Any]


@dataclass(frozen=True)
class Questions:
    """Filters by the name of their row in the table; `correlated` is the key of one more: it asks
    for the value that the query's own nearest neighbour has."""

    filters: dict[str, Filters]
    correlated: str

    def filtered_keys(self) -> set[str]:
        """The keys of metadata that some filter names."""
        keys = {self.correlated}
        for filters in self.filters.values():
            where = filters.get("where", {})
            keys |= {key for one in where.get("$and", [where]) for key in one}
        return keys


def _all_of(*conditions: Filters) -> Filters:
    return {"where": {"$and": list(conditions)}}


SETS = {
    "wordnet": Questions(
        {
            "query": {},
            "equality": {"where": {"lexfile": "noun.communication"}},
            "range": _all_of(
                {"definition_chars": {"$gte": 60}},
                {"definition_chars": {"$lt": 65}},
                {"n_pointers": {"$gte": 4}},
            ),
            "in": {"where": {"lexfile": {"$in": ["noun.plant", "noun.animal", "noun.substance"]}}},
            "contains rare": {"where_document": {"$contains": "volcan"}},
            "contains common": {"where_document": {"$contains": " the "}},
            "regex": {"where_document": {"$regex": r"composer .*\(1[78]\d\d"}},
        },
        "lexfile",
    ),
    "bible": Questions(
        {
            "query": {},
            "equality": {"where": {"book": "Psa"}},
            "range": _all_of(
                {"words": {"$gte": 20}}, {"words": {"$lt": 23}}, {"chapter": {"$gte": 30}}
            ),
            "in": {"where": {"book": {"$in": ["Mat", "Mark", "Luke", "John"]}}},
            "contains rare": {"where_document": {"$contains": "vineyard"}},
            "contains common": {"where_document": {"$contains": " LORD "}},
            "regex": {"where_document": {"$regex": r"begat [A-Z]\w+; and"}},
        },
        "book",
    ),
}

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": operator.eq,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$in": lambda value, allowed: value in allowed,
    "$contains": lambda text, part: part in text,
    "$regex": lambda text, pattern: re.search(pattern, text) is not None,
}


def passes(record: Record, filters: Filters) -> bool:
    """Whether a record is among those asked for; knows the operators that are used here."""
    document = filters.get("where_document", {})
    return _holds(record["metadata"], filters.get("where", {})) and all(
        _COMPARE[name](record["text"], value) for name, value in document.items()
    )


def _holds(metadata: Record, where: Filters) -> bool:
    for key, value in where.items():
        if key == "$and":
            if not all(_holds(metadata, one) for one in value):
                return False
            continue
        comparisons = value if isinstance(value, dict) else {"$eq": value}
        if not all(
            key in metadata and _COMPARE[name](metadata[key], bound)
            for name, bound in comparisons.items()
        ):
            return False
    return True


def questions_of(corpus: Corpus) -> Questions:
    """The questions that fit the records."""
    keys = corpus.records[0]["metadata"]
    return next(questions for questions in SETS.values() if questions.correlated in keys)


class Judge:
    """Knows the right answers for one corpus."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self.questions = questions_of(corpus)
        self._place = {record["id"]: place for place, record in enumerate(corpus.records)}
        self._masks = {
            name: np.array([passes(record, filters) for record in corpus.records])
            for name, filters in self.questions.filters.items()
        }
        key = self.questions.correlated
        self._classes = np.array([record["metadata"][key] for record in corpus.records])

    def share(self, name: str) -> float:
        """Which part of the records a filter lets through."""
        return float(self._masks[name].mean())

    def filters(self, name: str, query: int) -> Filters:
        """The filters that a query goes with."""
        if name in self.questions.filters:
            return self.questions.filters[name]
        return {"where": {self.questions.correlated: self._class(query)}}

    def recall(self, name: str, queries: list[int], answers: list[list[str]]) -> float:
        """Which part of the right neighbours was found, averaged over the queries."""
        shares = []
        for query, ids in zip(queries, answers, strict=True):
            mask = self._masks.get(name)
            allowed = self._classes == self._class(query) if mask is None else mask
            shares.append(self.found(query, allowed, ids))
        return float(np.mean(shares))

    def found(self, query: int, allowed: np.ndarray, ids: list[str]) -> float:
        """Which part of the nearest among the allowed records these ids are."""
        nearness = np.where(allowed, self.nearness(query), -np.inf)
        due = min(K, int(allowed.sum()))
        if not due:
            return float(not ids)
        least = np.partition(nearness, -due)[-due] - TIE
        return sum(nearness[self._place[id]] >= least for id in set(ids)) / due

    def nearness(self, query: int) -> np.ndarray:
        """The cosine of a query with every record."""
        return self._corpus.vectors @ self._corpus.queries[query]

    def _class(self, query: int) -> str:
        return str(self._classes[np.argmax(self.nearness(query))])
