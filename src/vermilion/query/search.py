"""Search is one request for scored records: filter, rank, group, page, columns.

    Search().where(K("year") > 1999).rank(Knn(query="whales")).limit(10).select(K.DOCUMENT, K.SCORE)

Nothing here changes after it was made: every step returns a new Search, and every form that
travels can be read back. `keys` holds what filters are made of, `ranks` what scores are made of;
all of their names are here as well, as in Chroma.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from vermilion.errors import ArgumentTypeError, ArgumentValueError
from vermilion.query.keys import (
    And,
    Contains,
    Eq,
    Form,
    Gt,
    Gte,
    In,
    K,
    Key,
    Lt,
    Lte,
    Ne,
    Nin,
    Not,
    NotContains,
    NotRegex,
    Or,
    Regex,
    Where,
    inside,
    key_name,
    key_names,
    one_entry,
    refuse_unknown,
    require_dict,
    type_name,
)
from vermilion.query.ranks import (
    Abs,
    Div,
    Exp,
    Knn,
    Log,
    Max,
    Min,
    Mul,
    Rank,
    Rrf,
    Sub,
    Sum,
    Val,
)

__all__ = [
    "Abs",
    "Aggregate",
    "And",
    "Contains",
    "Div",
    "Eq",
    "Exp",
    "GroupBy",
    "Gt",
    "Gte",
    "In",
    "K",
    "Key",
    "Knn",
    "Limit",
    "Log",
    "Lt",
    "Lte",
    "Max",
    "MaxK",
    "Min",
    "MinK",
    "Mul",
    "Ne",
    "Nin",
    "Not",
    "NotContains",
    "NotRegex",
    "Or",
    "Rank",
    "Regex",
    "Rrf",
    "Search",
    "SearchWhere",
    "Select",
    "Sub",
    "Sum",
    "Val",
    "Where",
]

# Chroma's second name for the class, where `Where` is already the type of filter dicts.
SearchWhere = Where

Keys = Key | str | Iterable[Key | str]

# ── which rows and columns come back ─────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Limit:
    """Skip `offset` records, then take at most `limit`, or all of them when it is None."""

    offset: int = 0
    limit: int | None = None

    def __post_init__(self) -> None:
        _check_count(self.offset, "Limit offset")
        if self.limit is not None:
            _check_count(self.limit, "Limit limit")

    def to_dict(self) -> Form:
        """Returns {"offset": n}, with "limit" when there is one."""
        return {"offset": self.offset} | ({} if self.limit is None else {"limit": self.limit})

    @classmethod
    def from_dict(cls, form: Form) -> Limit:
        """Returns the limit that `to_dict` wrote; asking for no records at all is refused."""
        refuse_unknown(require_dict(form, "Limit"), "Limit", ("offset", "limit"))
        limit = form.get("limit")
        if limit is not None:
            _check_positive(limit, "Limit limit")
        return cls(form.get("offset", 0), limit)


@dataclass(frozen=True, init=False)
class Select:
    """The columns that come back beside the ids: parts of the record, and metadata fields."""

    keys: frozenset[str]

    def __init__(self, keys: Keys = ()) -> None:
        object.__setattr__(self, "keys", frozenset(key_names(keys, "Select")))

    def to_dict(self) -> Form:
        """Returns {"keys": [...]}, sorted."""
        return {"keys": sorted(self.keys)}

    @classmethod
    def from_dict(cls, form: Form) -> Select:
        """Returns the selection that `to_dict` wrote."""
        refuse_unknown(require_dict(form, "Select"), "Select", ("keys",))
        keys = form.get("keys", ())
        if isinstance(keys, Key | str):
            raise ArgumentTypeError(f"Select keys must be a list/tuple/set, got {type_name(keys)}")
        return cls(keys)


# ── groups ───────────────────────────────────────────────────────────────────────────────────────


class Aggregate:
    """Which records of a group are kept."""

    def to_dict(self) -> Form:
        """Returns the form of this aggregate that travels."""
        raise ArgumentTypeError("Aggregate is the contract of aggregates; use MinK or MaxK")

    @staticmethod
    def from_dict(form: Form) -> Aggregate:
        """Returns the aggregate that `to_dict` wrote."""
        form = require_dict(form, "Aggregate")
        operator, operand = one_entry(form, "Aggregate dict", "operator")
        kinds: dict[str, type[MinK] | type[MaxK]] = {kind.operator: kind for kind in (MinK, MaxK)}
        if operator not in kinds:
            raise ArgumentValueError(
                f"Unknown aggregate operator: {operator}; allowed are {[*kinds]}"
            )
        if not isinstance(operand, dict):
            raise ArgumentTypeError(f"{operator} requires a dict, got {type_name(operand)}")
        _require(operand, operator, "keys", "k")
        refuse_unknown(operand, operator, ("keys", "k"))
        keys = _key_list(operand["keys"], operator)
        _check_positive(operand["k"], f"{operator} k")
        return kinds[operator](keys, operand["k"])


@dataclass(frozen=True, init=False)
class MinK(Aggregate):
    """Keeps the k records of a group whose keys are smallest, compared in order."""

    operator: ClassVar[str] = "$min_k"
    keys: list[str]
    k: int

    def __init__(self, keys: Keys, k: int) -> None:
        object.__setattr__(self, "keys", key_names(keys, self.operator))
        object.__setattr__(self, "k", _check_count(k, f"{self.operator} k"))

    def to_dict(self) -> Form:
        """Returns {"$min_k": {"keys": [...], "k": n}}."""
        return {self.operator: {"keys": self.keys, "k": self.k}}


@dataclass(frozen=True, init=False)
class MaxK(Aggregate):
    """Keeps the k records of a group whose keys are greatest, compared in order."""

    operator: ClassVar[str] = "$max_k"
    keys: list[str]
    k: int

    def __init__(self, keys: Keys, k: int) -> None:
        object.__setattr__(self, "keys", key_names(keys, self.operator))
        object.__setattr__(self, "k", _check_count(k, f"{self.operator} k"))

    def to_dict(self) -> Form:
        """Returns {"$max_k": {"keys": [...], "k": n}}."""
        return {self.operator: {"keys": self.keys, "k": self.k}}


@dataclass(frozen=True, init=False)
class GroupBy:
    """Records with equal values of the keys form a group, and each group keeps its best.

    There is no grouping unless both are given.
    """

    keys: list[str]
    aggregate: Aggregate | None

    def __init__(self, keys: Keys = (), aggregate: Aggregate | None = None) -> None:
        if not isinstance(aggregate, Aggregate | None):
            raise ArgumentTypeError(
                f"GroupBy aggregate must be an Aggregate or None, got {type_name(aggregate)}"
            )
        object.__setattr__(self, "keys", key_names(keys, "GroupBy"))
        object.__setattr__(self, "aggregate", aggregate)

    def to_dict(self) -> Form:
        """Returns {"keys": [...], "aggregate": {...}}, or {} when there is no grouping."""
        if not self.keys or self.aggregate is None:
            return {}
        return {"keys": self.keys, "aggregate": self.aggregate.to_dict()}

    @classmethod
    def from_dict(cls, form: Form) -> GroupBy:
        """Returns the grouping that `to_dict` wrote."""
        if not require_dict(form, "GroupBy"):
            return cls()
        _require(form, "GroupBy", "keys", "aggregate")
        refuse_unknown(form, "GroupBy", ("keys", "aggregate"))
        keys = _key_list(form["keys"], "GroupBy")
        if not isinstance(form["aggregate"], dict):
            raise ArgumentTypeError(
                f"GroupBy aggregate must be a dict, got {type_name(form['aggregate'])}"
            )
        return cls(keys, Aggregate.from_dict(form["aggregate"]))


# ── the search ───────────────────────────────────────────────────────────────────────────────────

# What `select_all` selects.
EVERYTHING = (Key.DOCUMENT, Key.EMBEDDING, Key.METADATA, Key.SCORE)


@dataclass(frozen=True, init=False)
class Search:
    """A request for records: those that pass the filter, in the order of their scores.

    Without a rank they come in the order of insertion. Every part may be given as its dict form.
    """

    # The plain names are taken by the methods that replace these parts; `parts` reads them.
    _where: Where | None
    _rank: Rank | None
    _group_by: GroupBy
    _limit: Limit
    _select: Select

    def __init__(
        self,
        where: Where | Form | None = None,
        rank: Rank | Form | None = None,
        group_by: GroupBy | Form | None = None,
        limit: Limit | Form | int | None = None,
        select: Select | Form | list[str] | set[str] | None = None,
    ) -> None:
        object.__setattr__(self, "_where", _as_where(where))
        object.__setattr__(self, "_rank", _as_rank(rank))
        object.__setattr__(self, "_group_by", _as_group_by(group_by))
        object.__setattr__(self, "_limit", _as_limit(limit))
        object.__setattr__(self, "_select", _as_select(select))

    def where(self, where: Where | Form | None) -> Search:
        """Returns this search with another filter."""
        return _changed(self, _where=_as_where(where))

    def rank(self, rank: Rank | Form | None) -> Search:
        """Returns this search with another rank."""
        return _changed(self, _rank=_as_rank(rank))

    def group_by(self, group_by: GroupBy | Form | None) -> Search:
        """Returns this search with another grouping."""
        return _changed(self, _group_by=_as_group_by(group_by))

    def limit(self, limit: int | None, offset: int = 0) -> Search:
        """Returns this search for another page of its records."""
        return _changed(self, _limit=Limit(offset, limit))

    def select(self, *keys: Key | str) -> Search:
        """Returns this search with other columns."""
        return _changed(self, _select=Select(keys))

    def select_all(self) -> Search:
        """Returns this search with document, embedding, metadata and score."""
        return _changed(self, _select=Select(EVERYTHING))

    def parts(self) -> tuple[Where | None, Rank | None, GroupBy, Limit, Select]:
        """Returns the filter, the rank, the grouping, the page and the columns."""
        return self._where, self._rank, self._group_by, self._limit, self._select

    def to_dict(self) -> Form:
        """Returns the form of this search that travels: always all five parts."""
        return {
            "filter": None if self._where is None else self._where.to_dict(),
            "rank": None if self._rank is None else self._rank.to_dict(),
            "group_by": self._group_by.to_dict(),
            "limit": self._limit.to_dict(),
            "select": self._select.to_dict(),
        }

    @classmethod
    def from_dict(cls, form: Form) -> Search:
        """Returns the search that `to_dict` wrote; parts may be missing, and the filter {}."""
        parts = ("filter", "rank", "group_by", "limit", "select")
        refuse_unknown(require_dict(form, "Search"), "Search", parts)
        readers: tuple[Callable[[object], Any], ...]
        readers = (_as_filter, _as_rank, _as_group_by, _as_limit, _as_select)
        read: list[Any] = []
        for name, reader in zip(parts, readers, strict=True):
            with inside(name):
                read.append(reader(form.get(name)))
        return cls(*read)


def _changed(search: Search, **parts: Any) -> Search:
    """A copy in which the named parts, which are checked already, are replaced."""
    copy = Search()
    for name, part in (vars(search) | parts).items():
        object.__setattr__(copy, name, part)
    return copy


def _as_where(where: object) -> Where | None:
    if where is None or isinstance(where, Where):
        return where
    if isinstance(where, dict):
        return Where.from_dict(where)
    raise ArgumentTypeError(f"where must be a Where object, dict, or None, got {type_name(where)}")


def _as_filter(form: object) -> Where | None:
    return _as_where(form or None)


def _as_rank(rank: object) -> Rank | None:
    if rank is None or isinstance(rank, Rank):
        return rank
    if isinstance(rank, dict):
        return Rank.from_dict(rank)
    raise ArgumentTypeError(f"rank must be a Rank object, dict, or None, got {type_name(rank)}")


def _as_group_by(group_by: object) -> GroupBy:
    if group_by is None or isinstance(group_by, GroupBy):
        return group_by or GroupBy()
    if isinstance(group_by, dict):
        return GroupBy.from_dict(group_by)
    raise ArgumentTypeError(
        f"group_by must be a GroupBy object, dict, or None, got {type_name(group_by)}"
    )


def _as_limit(limit: object) -> Limit:
    if limit is None or isinstance(limit, Limit):
        return limit or Limit()
    if isinstance(limit, dict):
        return Limit.from_dict(limit)
    if isinstance(limit, int) and not isinstance(limit, bool):
        return Limit.from_dict({"limit": limit})
    raise ArgumentTypeError(
        f"limit must be a Limit object, dict, int, or None, got {type_name(limit)}"
    )


def _as_select(select: object) -> Select:
    if select is None or isinstance(select, Select):
        return select or Select()
    if isinstance(select, dict):
        return Select.from_dict(select)
    if isinstance(select, list | set | frozenset):
        return Select(select)
    raise ArgumentTypeError(
        f"select must be a Select object, dict, list, set, or None, got {type_name(select)}"
    )


# ── checks ───────────────────────────────────────────────────────────────────────────────────────


def _check_count(value: object, noun: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ArgumentTypeError(f"{noun} must be an integer, got {type_name(value)}")
    if value < 0:
        raise ArgumentValueError(f"{noun} must be non-negative, got {value}")
    return value


def _check_positive(value: object, noun: str) -> None:
    if isinstance(value, int) and value <= 0:
        raise ArgumentValueError(f"{noun} must be positive, got {value}")


def _require(form: Form, noun: str, *names: str) -> None:
    for name in names:
        if name not in form:
            raise ArgumentValueError(f"{noun} requires '{name}' field")


def _key_list(keys: object, noun: str) -> list[str]:
    """The names in a form, where at least one is needed."""
    if not isinstance(keys, list | tuple):
        raise ArgumentTypeError(f"{noun} keys must be a list, got {type_name(keys)}")
    if not keys:
        raise ArgumentValueError(f"{noun} keys cannot be empty")
    return [key_name(key, f"{noun} key") for key in keys]
