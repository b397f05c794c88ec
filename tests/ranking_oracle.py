"""What a search means, record by record: slow, and held against every engine.

Distances are those of `distances`, which the other oracle checks; all else is done here, with
float32 numbers in dicts.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from oracle import Oracle
from vermilion.engine import Selection
from vermilion.local.index.base import distances
from vermilion.local.index.words import word_hash, words, words_to_find
from vermilion.local.weighing import K1, B
from vermilion.query.keys import K
from vermilion.query.ranks import Abs, Div, Exp, Knn, Log, Max, Min, Mul, Rank, Rrf, Sub, Sum, Val
from vermilion.query.search import Search
from vermilion.query.where import parse_where
from vermilion.types import SparseVector

Known = dict[str, np.float32]


class RankingOracle:
    """Answers searches about the records of an Oracle."""

    def __init__(self, records: Oracle, *, bm25: bool = False) -> None:
        """With `bm25` sparse components weigh by their rarity."""
        self.records = records
        self.bm25 = bm25

    def search(self, search: Search) -> list[tuple[str, float]]:
        """Ids and scores, best first."""
        where, rank, group_by, limit, _ = search.parts()
        filter = None if where is None else parse_where(where.to_dict(), at_least=1)
        ids = self.records.selected(Selection(filter=filter))
        if rank is None:
            found = [(id, float(place)) for place, id in enumerate(ids)]
        else:
            with np.errstate(all="ignore"):
                known, _ = self.scores(rank, ids)
            found = [(id, float(known[id])) for id in ids if id in known]
            found.sort(key=lambda pair: (np.isnan(pair[1]), pair[1]))
        if group_by.to_dict():
            found = self.kept(found, group_by)
        return found[limit.offset :][: limit.limit]

    def scores(self, rank: Rank, ids: list[str]) -> tuple[Known, np.float32 | None]:
        """The records that the rank knows, and what it says of all others."""
        if isinstance(rank, Rrf):
            rank = rank.expand()
        if isinstance(rank, Val):
            return {}, np.float32(rank.value)
        if isinstance(rank, Knn):
            return self.nearest(rank, ids)
        if isinstance(rank, Abs | Exp | Log):
            known, default = self.scores(rank.rank, ids)
            compute = {Abs: np.abs, Exp: np.exp, Log: np.log}[type(rank)]
            told = None if default is None else np.float32(compute(default))
            return {id: np.float32(compute(value)) for id, value in known.items()}, told
        if isinstance(rank, Sub | Div):
            return combined(rank, self.scores(rank.left, ids), self.scores(rank.right, ids), ids)
        assert isinstance(rank, Sum | Mul | Max | Min)
        parts = [self.scores(part, ids) for part in rank.ranks]
        answer = parts[0]
        for part in parts[1:]:
            answer = combined(rank, answer, part, ids)
        return answer

    def nearest(self, knn: Knn, ids: list[str]) -> tuple[Known, np.float32 | None]:
        measured = self.measured(knn, ids)
        best = sorted(measured, key=lambda id: (measured[id], ids.index(id)))[: knn.limit]
        default = None if knn.default is None else np.float32(knn.default)
        if knn.return_rank:
            return {id: np.float32(place) for place, id in enumerate(best)}, default
        return {id: measured[id] for id in best}, default

    def measured(self, knn: Knn, ids: list[str]) -> Known:
        if isinstance(knn.query, str):
            return {id: far(sum) for id, sum in self.texts(knn.query).items() if id in ids}
        if isinstance(knn.query, SparseVector):
            found = self.sparse(knn.key, knn.query)
            return {id: far(sum) for id, sum in found.items() if id in ids}
        query = np.array(knn.query, np.float32)
        rows = self.records._matrix(ids)
        return dict(zip(ids, distances(self.records.space, rows, query), strict=True))

    def sparse(self, key: str, query: SparseVector) -> dict[str, float]:
        """The dot products of vectors that share an index with the query."""
        vectors = {id: (row.metadata or {}).get(key) for id, row in self.records.rows.items()}
        parts = {
            id: dict(zip(one.indices, np.array(one.values, np.float32).tolist(), strict=True))
            for id, one in vectors.items()
            if isinstance(one, SparseVector)
        }
        sums: dict[str, float] = {}
        for index, value in zip(query.indices, query.values, strict=True):
            have = [id for id, part in parts.items() if index in part]
            weight = float(np.float32(value))
            if self.bm25:
                weight *= rarity(len(self.records.rows), len(have))
            for id in have:
                sums[id] = sums.get(id, 0.0) + weight * parts[id][index]
        return sums

    def texts(self, query: str) -> dict[str, float]:
        """BM25 of documents that have a word of the query."""
        documents = {id: words(row.document or "") for id, row in self.records.rows.items()}
        documents = {id: found for id, found in documents.items() if found}
        if not documents:
            return {}
        average = sum(map(len, documents.values())) / len(documents)
        sums: dict[str, float] = {}
        wanted = words_to_find(query)
        for word in sorted(set(wanted), key=word_hash):
            have = [id for id, found in documents.items() if word in found]
            weight = wanted.count(word) * rarity(len(documents), len(have)) * (K1 + 1)
            for id in have:
                often = documents[id].count(word)
                share = 1 - B + B * len(documents[id]) / average
                sums[id] = sums.get(id, 0.0) + weight * often / (often + K1 * share)
        return sums

    def kept(self, found: list[tuple[str, float]], group_by: Any) -> list[tuple[str, float]]:
        groups: dict[str, list[tuple[str, float]]] = {}
        for id, score in found:
            metadata = self.records.rows[id].metadata or {}
            groups.setdefault(str([like(metadata.get(key)) for key in group_by.keys]), []).append(
                (id, score)
            )
        aggregate = group_by.aggregate
        down = -1 if aggregate.operator == "$max_k" else 1
        kept = []
        for members in groups.values():
            members.sort(key=lambda pair: self.compared(pair, aggregate.keys, down))
            kept += members[: aggregate.k]
        return [pair for pair in found if pair in kept]

    def compared(self, pair: tuple[str, float], keys: list[str], down: int) -> Any:
        """Only numbers here: what the tests group by."""
        metadata = self.records.rows[pair[0]].metadata or {}
        out = []
        for key in keys:
            value = pair[1] if key == K.SCORE.name else metadata.get(key)
            out.append((value is None, 0 if value is None else down * value))
        return out


def far(sum: float) -> np.float32:
    return np.float32(1 - sum)


def rarity(count: int, have: int) -> float:
    return float(np.log(1 + (count - have + 0.5) / (have + 0.5)))


def like(value: Any) -> Any:
    """1 and 1.0 are one group, 1 and True are two."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return int(value) if value == int(value) else value


def combined(
    rank: Rank,
    left: tuple[Known, np.float32 | None],
    right: tuple[Known, np.float32 | None],
    ids: list[str],
) -> tuple[Known, np.float32 | None]:
    known = {}
    for id in ids:
        if id not in left[0] and id not in right[0]:
            continue
        a, b = left[0].get(id, left[1]), right[0].get(id, right[1])
        if a is not None and b is not None:
            known[id] = computed(rank, a, b)
    if left[1] is None or right[1] is None:
        return known, None
    return known, computed(rank, left[1], right[1])


def computed(rank: Rank, a: np.float32, b: np.float32) -> np.float32:
    match rank:
        case Sum():
            return a + b
        case Mul():
            return a * b
        case Sub():
            return a - b
        case Div():
            return a / b
        case Max():
            return np.maximum(a, b)
        case _:
            return np.minimum(a, b)
