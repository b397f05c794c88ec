"""Plans are searches as engines read them: checked, the filter a tree, fusions spelled out.

A `Search` is what a caller writes and what travels; `plan` says once what it means and what is
wrong with it, for every engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from vermilion.errors import ArgumentValueError
from vermilion.query.keys import Key
from vermilion.query.ranks import Abs, Div, Exp, Knn, Log, Max, Min, Mul, Rank, Rrf, Sub, Sum
from vermilion.query.search import Aggregate, GroupBy, MaxK, MinK, Search, Select
from vermilion.query.where import Filter, parse_where
from vermilion.records import vector_column
from vermilion.types import SparseVector

DOCUMENT, EMBEDDING = Key.DOCUMENT.name, Key.EMBEDDING.name
METADATA, SCORE = Key.METADATA.name, Key.SCORE.name
# Not one of Chroma's.
URI = "#uri"
SELECTABLE = (DOCUMENT, EMBEDDING, METADATA, SCORE, URI, Key.ID.name)


@dataclass(frozen=True)
class Plan:
    """One search: a filter, a rank of nothing but arithmetic and Knn, groups, a page, columns."""

    filter: Filter | None
    rank: Rank | None
    group_by: list[str]
    aggregate: MinK | MaxK | None
    offset: int
    limit: int | None
    select: frozenset[str]

    @property
    def fields(self) -> frozenset[str] | None:
        """The metadata fields that are selected; None means all of them."""
        return None if METADATA in self.select else frozenset(_fields(self.select))


def filter_of(search: Search) -> Filter | None:
    """The tree of its filter."""
    where = search.parts()[0]
    return None if where is None else parse_where(where.to_dict(), at_least=1)


def plan(search: Search, place: int = 0) -> Plan:
    """What the search number `place` of a call means.

    Raises InvalidArgumentError, a ValueError, for what no engine could answer.
    """
    _, rank, group_by, limit, select = search.parts()
    told = f"Validation error: searches[{place}]"
    ready = None if rank is None else change_leaves(rank, lambda leaf: _checked(leaf, told))
    return Plan(
        filter_of(search),
        ready,
        *_grouping(group_by, ready, told),
        limit.offset,
        limit.limit,
        _selected(select, told),
    )


# ── ranks ────────────────────────────────────────────────────────────────────────────────────────


def change_leaves(rank: Rank, change: Callable[[Knn], Rank]) -> Rank:
    """The rank with every Knn in it changed, and every fusion as the arithmetic that it means."""
    match rank:
        case Knn():
            return change(rank)
        case Rrf():
            return change_leaves(rank.expand(), change)
        case Sum() | Mul() | Max() | Min():
            return type(rank)([change_leaves(part, change) for part in rank.ranks])
        case Sub() | Div():
            return type(rank)(change_leaves(rank.left, change), change_leaves(rank.right, change))
        case Abs() | Exp() | Log():
            return type(rank)(change_leaves(rank.rank, change))
        case _:
            return rank


def leaves(rank: Rank | None) -> Iterator[Knn]:
    """Every Knn of the rank."""
    found: list[Knn] = []
    if rank is not None:
        change_leaves(rank, lambda leaf: found.append(leaf) or leaf)  # type: ignore[func-returns-value]  # append is None
    return iter(found)


def _checked(leaf: Knn, told: str) -> Knn:
    """A Knn whose query is of the kind that its key holds."""
    kind, wanted = _kind_of(leaf.query), _wanted(leaf)
    if kind != wanted:
        raise ArgumentValueError(
            f"{told}.rank: a Knn on {leaf.key!r} needs {wanted} as its query, got {kind}"
        )
    if isinstance(leaf.query, list):
        vector_column([leaf.query])  # raises for what is no number
    return leaf


def _wanted(leaf: Knn) -> str:
    if leaf.key == EMBEDDING:
        return "a dense vector"
    if leaf.key == DOCUMENT:
        return "a text"
    return "a sparse vector"


def _kind_of(query: object) -> str:
    if isinstance(query, str):
        return "a text"
    return "a sparse vector" if isinstance(query, SparseVector) else "a dense vector"


# ── groups and columns ───────────────────────────────────────────────────────────────────────────


def _grouping(
    group_by: GroupBy, rank: Rank | None, told: str
) -> tuple[list[str], MinK | MaxK | None]:
    aggregate = group_by.aggregate
    if not group_by.keys or aggregate is None:
        return [], None
    told += ".group_by"
    if rank is None:
        raise ArgumentValueError(f"{told}: group_by requires rank to be specified")
    return _fields_only(group_by.keys, told), _aggregate(aggregate, told)


def _aggregate(aggregate: Aggregate, told: str) -> MinK | MaxK:
    if not isinstance(aggregate, MinK | MaxK):
        raise ArgumentValueError(f"{told}: aggregate must be MinK or MaxK, got {aggregate!r}")
    if not aggregate.keys:
        raise ArgumentValueError(f"{told}: aggregate needs at least one key")
    if not aggregate.k:
        raise ArgumentValueError(f"{told}: aggregate k must be greater than 0")
    _fields_only([key for key in aggregate.keys if key != SCORE], told)
    return aggregate


def _fields_only(keys: list[str], told: str) -> list[str]:
    for key in keys:
        if key.startswith("#"):
            raise ArgumentValueError(
                f"{told}: keys must be metadata fields, or {SCORE} in an aggregate, got {key!r}"
            )
    return keys


def _selected(select: Select, told: str) -> frozenset[str]:
    for key in select.keys:
        if key.startswith("#") and key not in SELECTABLE:
            raise ArgumentValueError(
                f"{told}.select: {key!r} is not a column; allowed are {', '.join(SELECTABLE)} and "
                "metadata fields"
            )
    return select.keys


def _fields(keys: Iterable[str]) -> Iterator[str]:
    return (key for key in keys if not key.startswith("#"))
