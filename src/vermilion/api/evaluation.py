"""How good answers are: measures of rankings against judgements, and two set-ups compared.

A judgement says which records a query should find, and how much each is worth: its grade, 1 unless
told. Only the first k records of a ranking count, a record once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import log2
from statistics import fmean
from typing import Any

from vermilion.errors import ArgumentTypeError, ArgumentValueError

Grades = Mapping[str, float]

# ── measures of one ranking ──────────────────────────────────────────────────────────────────────


def recall(ranking: Sequence[str], grades: Grades, k: int) -> float:
    """Which share of the relevant records is among the first k.

    |relevant ∩ first k| / |relevant| (Manning, Raghavan, Schütze: Introduction to Information
    Retrieval, 2008, section 8.3). A grade above 0 is relevant.

    >>> recall(["a", "x"], {"a": 1, "b": 1}, 10)
    0.5
    """
    return sum(id in grades for id in _first(ranking, k)) / len(grades)


def ndcg(ranking: Sequence[str], grades: Grades, k: int) -> float:
    """How much the first k are worth, the earlier the more, of what the best ranking is worth.

    DCG = Σ grade(i) / log2(i + 1) over the places i = 1 … k, divided by that of the records in the
    order of their grades (Järvelin and Kekäläinen: Cumulated gain-based evaluation of IR
    techniques, ACM TOIS 20(4), 2002; with the discount and the linear gain of trec_eval).

    >>> ndcg(["b", "a"], {"a": 3, "b": 1}, 10) == (1 + 3 / log2(3)) / (3 + 1 / log2(3))
    True
    """
    best = sorted(grades.values(), reverse=True)[:k]
    return _discounted(grades.get(id, 0) for id in _first(ranking, k)) / _discounted(best)


def reciprocal_rank(ranking: Sequence[str], grades: Grades, k: int) -> float:
    """One by the place, from 1, of the first relevant record; 0 when none is among the first k.

    Its mean over queries is the MRR (Voorhees: The TREC-8 Question Answering Track Report, 1999).

    >>> reciprocal_rank(["x", "a"], {"a": 1}, 10)
    0.5
    """
    return next((1 / n for n, id in enumerate(_first(ranking, k), 1) if id in grades), 0.0)


def _first(ranking: Sequence[str], k: int) -> list[str]:
    return list(dict.fromkeys(ranking))[:k]


def _discounted(gains: Iterable[float]) -> float:
    return sum(gain / log2(place + 1) for place, gain in enumerate(gains, 1))


# ── judgements ───────────────────────────────────────────────────────────────────────────────────


def check_judgements(queries: Sequence[str], relevant: object) -> list[Grades]:
    """The grades of each query's relevant records, of which every query needs one.

    `relevant` has for each query an id, several ids, or a dict of ids and grades; it is a list in
    the order of the queries, or a dict by query.
    """
    if isinstance(relevant, Mapping):
        if unknown := [query for query in queries if query not in relevant]:
            raise ArgumentValueError(f"relevant has nothing for the query {unknown[0]!r}")
        relevant = [relevant[query] for query in queries]
    if isinstance(relevant, str) or not isinstance(relevant, Sequence):
        raise ArgumentTypeError(f"Expected relevant to be a list or a dict, got {relevant!r}")
    if len(relevant) != len(queries):
        raise ArgumentValueError(
            f"Expected relevant to be as long as queries, {len(queries)}, got {len(relevant)}"
        )
    return [_grades(judged, place) for place, judged in enumerate(relevant)]


def _grades(judged: object, place: int) -> Grades:
    if isinstance(judged, str):
        judged = [judged]
    if isinstance(judged, Mapping):
        grades = dict(judged)
    elif isinstance(judged, Iterable):
        grades = dict.fromkeys(judged, 1.0)
    else:
        raise ArgumentTypeError(
            f"Expected relevant[{place}] to be an id, ids, or a dict of grades, got {judged!r}"
        )
    for id, grade in grades.items():
        if not isinstance(id, str):
            raise ArgumentTypeError(f"Expected ids in relevant[{place}] to be str, got {id!r}")
        if isinstance(grade, bool) or not isinstance(grade, int | float) or not 0 <= grade < 1e300:
            raise ArgumentValueError(
                f"Expected the grade of {id!r} in relevant[{place}] to be a number of at least 0, "
                f"got {grade!r}"
            )
    kept = {id: float(grade) for id, grade in grades.items() if grade > 0}
    if not kept:
        raise ArgumentValueError(f"relevant[{place}] names no relevant record")
    return kept


# ── what comes of it ─────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Quality:
    """How good one set-up is: means over the queries, and the measures of each query."""

    name: str
    k: int
    recalls: tuple[float, ...]
    ndcgs: tuple[float, ...]
    reciprocal_ranks: tuple[float, ...]

    @property
    def recall(self) -> float:
        """The mean of recall@k."""
        return fmean(self.recalls)

    @property
    def ndcg(self) -> float:
        """The mean of nDCG@k."""
        return fmean(self.ndcgs)

    @property
    def mrr(self) -> float:
        """The mean of the reciprocal ranks."""
        return fmean(self.reciprocal_ranks)


def quality(
    name: str, rankings: Sequence[Sequence[str]], judgements: Sequence[Grades], k: int
) -> Quality:
    """How good these rankings are."""
    pairs = list(zip(rankings, judgements, strict=True))
    return Quality(
        name,
        k,
        tuple(recall(*pair, k) for pair in pairs),
        tuple(ndcg(*pair, k) for pair in pairs),
        tuple(reciprocal_rank(*pair, k) for pair in pairs),
    )


# Differences below this come from the order of sums.
_EQUAL = 1e-9


@dataclass(frozen=True)
class Comparison:
    """What the second of two set-ups makes of the queries, by nDCG@k of each query."""

    first: str
    second: str
    difference: float
    better: int
    equal: int
    worse: int

    def __str__(self) -> str:
        return (
            f"{self.second} against {self.first}: nDCG {self.difference:+.3f}, better in "
            f"{self.better} queries, equal in {self.equal}, worse in {self.worse}"
        )


def comparison(first: Quality, second: Quality) -> Comparison:
    """The second against the first."""
    changes = [b - a for a, b in zip(first.ndcgs, second.ndcgs, strict=True)]
    better = sum(change > _EQUAL for change in changes)
    worse = sum(change < -_EQUAL for change in changes)
    return Comparison(
        first.name,
        second.name,
        second.ndcg - first.ndcg,
        better,
        len(changes) - better - worse,
        worse,
    )


@dataclass(frozen=True, repr=False)
class Evaluation:
    """How good each set-up is, and how each of the others compares with the first."""

    queries: tuple[str, ...]
    qualities: tuple[Quality, ...]

    def __getitem__(self, name: str) -> Quality:
        for one in self.qualities:
            if one.name == name:
                return one
        raise KeyError(name)

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """The others against the first."""
        first, *others = self.qualities
        return tuple(comparison(first, other) for other in others)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Returns the means of each set-up, by its name."""
        return {
            one.name: dict(zip(_heads(one.k), _means(one), strict=True)) for one in self.qualities
        }

    def __repr__(self) -> str:
        rows = self._rows()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                text.ljust(size) if place == 0 else text.rjust(size)
                for place, (text, size) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        return "\n".join([*lines, *map(str, self.comparisons)])

    def _repr_html_(self) -> str:
        rows = [
            "<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>"
            for row in self._rows()
        ]
        told = "".join(f"<p>{escape(str(one))}</p>" for one in self.comparisons)
        return f"<table>{''.join(rows)}</table>{told}"

    def _rows(self) -> list[list[str]]:
        head = [f"{len(self.queries)} queries", *_heads(self.qualities[0].k)]
        return [
            head,
            *([one.name, *(f"{mean:.3f}" for mean in _means(one))] for one in self.qualities),
        ]


def _heads(k: int) -> list[str]:
    return [f"recall@{k}", f"nDCG@{k}", f"MRR@{k}"]


def _means(one: Quality) -> tuple[float, float, float]:
    return one.recall, one.ndcg, one.mrr
