"""Searches: from a plan to records, groups and scores.

A rank becomes scores of records, float32. A Knn knows the scores of the nearest records that pass
the filter; any other has its default, or none. Two scores are combined for the records that both
know, where a default counts as knowing; so a Val, which is nothing but a default, knows nobody, and
what neither knows is no answer.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Collection as AnyCollection
from dataclasses import replace
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vermilion.engine import Column, Selection
from vermilion.local import planner
from vermilion.local.index.vectors import Nearest
from vermilion.local.indexer import Moment, Needs
from vermilion.local.matches import Matches
from vermilion.local.search import Wish
from vermilion.local.search import search as k_nearest
from vermilion.local.snapshot import Keys, no_records
from vermilion.local.weighing import sparse_nearest, text_nearest
from vermilion.metadata import fields_of
from vermilion.query.operators import SCALAR_KINDS, ascending, kind
from vermilion.query.plans import DOCUMENT, EMBEDDING, SCORE, URI, Plan, leaves
from vermilion.query.ranks import Abs, Div, Exp, Knn, Log, Max, Min, Mul, Rank, Sub, Sum, Val
from vermilion.schema.rules import Rules
from vermilion.types import Ranked, SparseVector

Values = NDArray[np.float32]
Compute = Callable[..., Any]


def needs(plans: Sequence[Plan]) -> Needs:
    """Which indexes these searches ask for."""
    filters = [planner.needs(Selection(filter=one.filter)) for one in plans]
    keys = {leaf.key for one in plans for leaf in leaves(one.rank)}
    return Needs(
        vectors=sum(leaf.key == EMBEDDING for one in plans for leaf in leaves(one.rank)),
        columns=any(one.columns for one in filters),
        text=any(one.text for one in filters),
        sparse=bool(keys - {EMBEDDING, DOCUMENT}),
        words=DOCUMENT in keys,
    )


def search(moment: Moment, plan: Plan, wish: Callable[[int], Wish], rules: Rules) -> Ranked:
    """The answer to one search; `wish` says how to look for so many nearest."""
    matches = planner.selected(moment, Selection(filter=plan.filter))
    found = _Ranking(moment, wish, rules, matches).ranked(plan.rank)
    if plan.aggregate is not None:
        found = found.take(_kept(moment, found, plan))
    stop = None if plan.limit is None else plan.offset + plan.limit
    return _answer(moment, found.take(slice(plan.offset, stop)), plan)


# ── scores ───────────────────────────────────────────────────────────────────────────────────────


class Scores(NamedTuple):
    """Scores of some records; every other one has the default, or no score at all."""

    keys: Keys
    values: Values
    default: np.float32 | None = None

    def at(self, keys: Keys) -> Values:
        """The scores of these records, which are known or have the default."""
        default = 0 if self.default is None else self.default  # -0.0 keeps its sign
        values = np.full(len(keys), default, np.float32)
        if len(self.keys):
            places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
            known = self.keys[places] == keys
            values[known] = self.values[places[known]]
        return values

    def take(self, places: Any) -> Scores:
        """Some of them, in another order."""
        return Scores(self.keys[places], self.values[places])


_NOBODY = np.empty(0, np.int64), np.empty(0, np.float32)


class _Ranking(NamedTuple):
    """What the ranks of one search are about."""

    moment: Moment
    wish: Callable[[int], Wish]
    rules: Rules
    matches: Matches

    def ranked(self, rank: Rank | None) -> Scores:
        """The records with a score, best first; without a rank all of them, numbered."""
        if rank is None:
            keys = np.sort(self.moment.view.keys[self.matches.settle()])
            return Scores(keys, np.arange(len(keys), dtype=np.float32))
        with np.errstate(all="ignore"):  # what is infinite or no number is sorted last
            scores = self.scores(rank)
        return scores.take(np.lexsort((scores.keys, scores.values)))

    def scores(self, rank: Rank) -> Scores:
        """The scores, by ascending keys."""
        match rank:
            case Val():
                return Scores(*_NOBODY, np.float32(rank.value))
            case Knn():
                return self._nearest(rank)
            case Sum() | Mul() | Max() | Min():
                parts = [self.scores(part) for part in rank.ranks]
                return reduce(lambda a, b: _joined(_OF_TWO[type(rank)], a, b), parts)
            case Sub() | Div():
                left, right = self.scores(rank.left), self.scores(rank.right)
                return _joined(_OF_TWO[type(rank)], left, right)
            case Abs() | Exp() | Log():
                return _changed(_OF_ONE[type(rank)], self.scores(rank.rank))
        raise AssertionError(f"plans do not hold a {type(rank).__name__}")

    def _nearest(self, leaf: Knn) -> Scores:
        nearest = self._neighbours(leaf)
        values = nearest.distances
        if leaf.return_rank:
            values = np.arange(len(values), dtype=np.float32)
        keys = self.moment.view.keys[nearest.slots]
        order = np.argsort(keys)
        default = None if leaf.default is None else np.float32(leaf.default)
        return Scores(keys[order], values[order], default)

    def _neighbours(self, leaf: Knn) -> Nearest:
        if isinstance(leaf.query, str):
            return text_nearest(self.moment, leaf.query, leaf.limit, self.matches.settle())
        if isinstance(leaf.query, SparseVector):
            bm25 = self.rules.sparse(leaf.key)
            return sparse_nearest(
                self.moment, leaf.key, leaf.query, leaf.limit, self.matches.settle(), bm25=bm25
            )
        queries = np.array([leaf.query], np.float32)
        planner.check_dimension(self.moment, queries)
        matches = self.matches.with_vectors()
        return k_nearest(self.moment, self.wish(leaf.limit), queries, matches)[0].nearest


_OF_TWO: Mapping[type[Rank], Compute] = {
    Sum: operator.add,
    Mul: operator.mul,
    Sub: operator.sub,
    Div: operator.truediv,
    Max: np.maximum,
    Min: np.minimum,
}
_OF_ONE: Mapping[type[Rank], Compute] = {Abs: np.abs, Exp: np.exp, Log: np.log}


def _joined(compute: Compute, left: Scores, right: Scores) -> Scores:
    keys = _support(left, right)
    values = compute(left.at(keys), right.at(keys))
    if left.default is None or right.default is None:
        return Scores(keys, values)
    return Scores(keys, values, compute(left.default, right.default))


def _support(left: Scores, right: Scores) -> Keys:
    """The records whose score both sides know."""
    if left.default is not None and right.default is not None:
        return np.union1d(left.keys, right.keys)
    if left.default is not None:
        return right.keys
    if right.default is not None:
        return left.keys
    return np.intersect1d(left.keys, right.keys, assume_unique=True)


def _changed(compute: Compute, scores: Scores) -> Scores:
    default = None if scores.default is None else compute(scores.default)
    return Scores(scores.keys, compute(scores.values), default)


# ── groups ───────────────────────────────────────────────────────────────────────────────────────

# How values of one field are ordered: by kind, then by value. What is missing comes last whichever
# way the order goes: a record without a price is neither the cheapest nor the dearest.
_KINDS = (*SCALAR_KINDS, "list")


def _kept(moment: Moment, found: Scores, plan: Plan) -> list[int]:
    """Which places the groups keep; as they come, which is by score."""
    groups: dict[Any, list[int]] = {}
    metadatas = [fields_of(metadata or {}) for metadata in moment.snapshot.metadatas(found.keys)]
    for place, metadata in enumerate(metadatas):
        member = tuple(_comparable(metadata.get(key)) for key in plan.group_by)
        groups.setdefault(member, []).append(place)
    aggregate = plan.aggregate
    assert aggregate is not None, "the caller looks"
    down = aggregate.operator == "$max_k"
    kept: list[int] = []
    for places in groups.values():
        for key in reversed(aggregate.keys):  # sorting is stable: the first key counts most
            scored = {place: float(found.values[place]) for place in places}
            values = scored if key == SCORE else {p: metadatas[p].get(key) for p in places}
            places = sorted_by(values, places, down=down)
        kept += places[: aggregate.k]
    return sorted(kept)


def sorted_by(values: Mapping[int, Any], places: Sequence[int], *, down: bool) -> list[int]:
    """The places in the order of their values; equals as they come, what has no value last."""
    there = {p: _comparable(values[p]) for p in places if values[p] is not None}
    gone = [p for p in places if values[p] is None]
    return sorted(there, key=there.__getitem__, reverse=down) + gone


def _comparable(value: Any) -> Any:
    """A value that can be compared with those of any kind, and be a key of a dict."""
    if value is None:
        return ()
    what = kind(value)
    if what == "list":
        return (_KINDS.index("list"), tuple(_comparable(element) for element in value))
    return ascending(value) if what in SCALAR_KINDS else (len(_KINDS), repr(value))


# ── columns ──────────────────────────────────────────────────────────────────────────────────────


_COLUMN_OF: dict[str, Column] = {DOCUMENT: "documents", EMBEDDING: "vectors", URI: "uris"}


def no_answer(plan: Plan) -> Ranked:
    """The answer where there are no records."""
    return Ranked(no_records(_columns(plan)), np.empty(0, np.float32))


def _answer(moment: Moment, found: Scores, plan: Plan) -> Ranked:
    records, fields = moment.snapshot.records(found.keys, _columns(plan)), plan.fields
    if fields is not None and records.metadatas is not None:
        cut = [_only(metadata or {}, fields) for metadata in records.metadatas]
        records = replace(records, metadatas=cut)
    return Ranked(records, found.values)


def _columns(plan: Plan) -> list[Column]:
    columns = [column for key, column in _COLUMN_OF.items() if key in plan.select]
    return columns if plan.fields == frozenset() else [*columns, "metadatas"]


def _only(metadata: dict[str, Any], fields: AnyCollection[str]) -> dict[str, Any] | None:
    found = fields_of(metadata)
    return {key: value for key, value in found.items() if key in fields} or None
