"""Rank expressions say how `Search` scores records: nearest neighbours, arithmetic, and fusion.

    Knn(query="whales") * 0.7 + Knn(query=sparse, key="terms") * 0.3
    Rrf([Knn(query="whales", return_rank=True), Knn(query=sparse, key="terms", return_rank=True)])

The lower score is the better one, as with distances. Ranks do not change: every operator makes a
new one, and numbers become `Val` on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from vermilion.errors import ArgumentTypeError, ArgumentValueError, InvalidArgumentError
from vermilion.query.keys import (
    MAX_DEPTH,
    Form,
    Key,
    inside,
    key_name,
    one_entry,
    refuse_unknown,
    require_dict,
    type_name,
)
from vermilion.types import SPARSE_VECTOR_TYPE_VALUE, TYPE_KEY, SparseVector

Number = int | float
# What an operator takes beside a rank.
Operand = Number | np.integer[Any] | np.floating[Any]
# A text is embedded by the collection before the search is sent.
Query = str | list[Number] | SparseVector

# How many neighbours a Knn looks for unless told otherwise.
DEFAULT_KNN_LIMIT = 16
# The greater, the less the first places stand out; 60 is the choice of the paper on the method.
DEFAULT_RRF_K = 60


class Rank:
    """A score for records, of which the lowest is the best."""

    def to_dict(self) -> Form:
        """Returns the form of this rank that travels."""
        raise ArgumentTypeError("Rank is the contract of ranks; use Knn, Val or Rrf")

    @staticmethod
    def from_dict(form: Form) -> Rank:
        """Returns the rank that `to_dict` wrote; an Rrf comes back as the arithmetic it means."""
        return _read(form, MAX_DEPTH)

    def abs(self) -> Rank:
        """Returns the absolute value."""
        return Abs(self)

    def exp(self) -> Rank:
        """Returns e to the power of this rank."""
        return Exp(self)

    def log(self) -> Rank:
        """Returns the natural logarithm."""
        return Log(self)

    def max(self, other: Rank | Operand) -> Rank:
        """Returns the greater of the two."""
        return Max([*_terms(self, Max), *_terms(_lift(other, "max"), Max)])

    def min(self, other: Rank | Operand) -> Rank:
        """Returns the smaller of the two."""
        return Min([*_terms(self, Min), *_terms(_lift(other, "min"), Min)])

    def __abs__(self) -> Rank:
        return Abs(self)

    def __neg__(self) -> Rank:
        return Mul([Val(-1), self])

    def __add__(self, other: Rank | Operand) -> Rank:
        return Sum([*_terms(self, Sum), *_terms(_lift(other, "+"), Sum)])

    def __radd__(self, other: Operand) -> Rank:
        return _lift(other, "+") + self

    def __sub__(self, other: Rank | Operand) -> Rank:
        return Sub(self, _lift(other, "-"))

    def __rsub__(self, other: Operand) -> Rank:
        return _lift(other, "-") - self

    def __mul__(self, other: Rank | Operand) -> Rank:
        return Mul([*_terms(self, Mul), *_terms(_lift(other, "*"), Mul)])

    def __rmul__(self, other: Operand) -> Rank:
        return _lift(other, "*") * self

    def __truediv__(self, other: Rank | Operand) -> Rank:
        return Div(self, _lift(other, "/"))

    def __rtruediv__(self, other: Operand) -> Rank:
        return _lift(other, "/") / self


# ── leaves ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Val(Rank):
    """The same number for every record."""

    value: Number

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", _number(self.value, "$val"))

    def to_dict(self) -> Form:
        """Returns {"$val": number}."""
        return {"$val": self.value}


@dataclass(frozen=True, init=False)
class Knn(Rank):
    """The distance to the query, for the `limit` records nearest to it.

    `key` is the field to search: the embedding, or a metadata field of sparse vectors. Other
    records score `default`, or drop out when there is none. With `return_rank` the score is the
    place among the neighbours, from 0, instead of the distance.
    """

    query: Query
    key: str
    limit: int
    default: Number | None
    return_rank: bool

    def __init__(
        self,
        query: str | Sequence[Number] | NDArray[Any] | SparseVector | Form,
        key: Key | str = Key.EMBEDDING,
        limit: int = DEFAULT_KNN_LIMIT,
        default: Number | None = None,
        return_rank: bool = False,
    ) -> None:
        object.__setattr__(self, "query", _query(query))
        object.__setattr__(self, "key", key_name(key, "$knn key"))
        object.__setattr__(self, "limit", _positive(limit, "$knn limit"))
        if default is not None:
            default = _number(default, "$knn default")
        object.__setattr__(self, "default", default)
        if not isinstance(return_rank, bool):
            raise ArgumentTypeError(
                f"$knn return_rank must be a boolean, got {type_name(return_rank)}"
            )
        object.__setattr__(self, "return_rank", return_rank)

    def to_dict(self) -> Form:
        """Returns {"$knn": {...}}, in which options that were not used are left out."""
        query = self.query.to_dict() if isinstance(self.query, SparseVector) else self.query
        knn: Form = {"query": query, "key": self.key, "limit": self.limit}
        if self.default is not None:
            knn["default"] = self.default
        if self.return_rank:
            knn["return_rank"] = True
        return {"$knn": knn}


# ── arithmetic ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Sum(Rank):
    """The sum of ranks."""

    operator: ClassVar[str] = "$sum"
    ranks: list[Rank]

    def to_dict(self) -> Form:
        """Returns {"$sum": [...]}."""
        return {self.operator: [rank.to_dict() for rank in self.ranks]}


@dataclass(frozen=True)
class Mul(Rank):
    """The product of ranks."""

    operator: ClassVar[str] = "$mul"
    ranks: list[Rank]

    def to_dict(self) -> Form:
        """Returns {"$mul": [...]}."""
        return {self.operator: [rank.to_dict() for rank in self.ranks]}


@dataclass(frozen=True)
class Max(Rank):
    """The greatest of ranks."""

    operator: ClassVar[str] = "$max"
    ranks: list[Rank]

    def to_dict(self) -> Form:
        """Returns {"$max": [...]}."""
        return {self.operator: [rank.to_dict() for rank in self.ranks]}


@dataclass(frozen=True)
class Min(Rank):
    """The smallest of ranks."""

    operator: ClassVar[str] = "$min"
    ranks: list[Rank]

    def to_dict(self) -> Form:
        """Returns {"$min": [...]}."""
        return {self.operator: [rank.to_dict() for rank in self.ranks]}


@dataclass(frozen=True)
class Sub(Rank):
    """The difference of two ranks."""

    operator: ClassVar[str] = "$sub"
    left: Rank
    right: Rank

    def to_dict(self) -> Form:
        """Returns {"$sub": {"left": ..., "right": ...}}."""
        return {self.operator: {"left": self.left.to_dict(), "right": self.right.to_dict()}}


@dataclass(frozen=True)
class Div(Rank):
    """The quotient of two ranks."""

    operator: ClassVar[str] = "$div"
    left: Rank
    right: Rank

    def to_dict(self) -> Form:
        """Returns {"$div": {"left": ..., "right": ...}}."""
        return {self.operator: {"left": self.left.to_dict(), "right": self.right.to_dict()}}


@dataclass(frozen=True)
class Abs(Rank):
    """The absolute value of a rank."""

    operator: ClassVar[str] = "$abs"
    rank: Rank

    def to_dict(self) -> Form:
        """Returns {"$abs": {...}}."""
        return {self.operator: self.rank.to_dict()}


@dataclass(frozen=True)
class Exp(Rank):
    """e to the power of a rank."""

    operator: ClassVar[str] = "$exp"
    rank: Rank

    def to_dict(self) -> Form:
        """Returns {"$exp": {...}}."""
        return {self.operator: self.rank.to_dict()}


@dataclass(frozen=True)
class Log(Rank):
    """The natural logarithm of a rank."""

    operator: ClassVar[str] = "$log"
    rank: Rank

    def to_dict(self) -> Form:
        """Returns {"$log": {...}}."""
        return {self.operator: self.rank.to_dict()}


# ── fusion ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Rrf(Rank):
    """Reciprocal rank fusion: minus the sum of weight / (k + rank), which needs no common scale.

    The ranks should be Knn with `return_rank=True`. A record that one of them does not find drops
    out, unless that Knn has a `default`.
    """

    ranks: list[Rank]
    k: int = DEFAULT_RRF_K
    weights: list[float] | None = None
    normalize: bool = False

    def to_dict(self) -> Form:
        """Returns the arithmetic that this fusion stands for; raises ValueError when it has none.

        A fusion is checked here and not when it is made, as in Chroma.
        """
        return self.expand().to_dict()

    def expand(self) -> Rank:
        """Returns the arithmetic that this fusion stands for."""
        terms = [
            Div(Val(weight), Sum([Val(self.k), *_terms(rank, Sum)]))
            for weight, rank in zip(self._checked_weights(), self.ranks, strict=True)
        ]
        return Mul([Val(-1), terms[0] if len(terms) == 1 else Sum([*terms])])

    def _checked_weights(self) -> list[float]:
        if not self.ranks:
            raise ArgumentValueError("RRF requires at least one rank")
        if self.k <= 0:
            raise ArgumentValueError(f"k must be positive, got {self.k}")
        weights = [1.0] * len(self.ranks) if self.weights is None else self.weights
        if len(weights) != len(self.ranks):
            raise ArgumentValueError(
                f"Number of weights ({len(weights)}) must match number of ranks ({len(self.ranks)})"
            )
        if any(weight < 0 for weight in weights):
            raise ArgumentValueError(f"All weights must be non-negative, got {weights}")
        return self._normalized(weights) if self.normalize else weights

    def _normalized(self, weights: list[float]) -> list[float]:
        total = sum(weights)
        if total <= 0:
            raise ArgumentValueError("Sum of weights must be positive when normalize=True")
        return [weight / total for weight in weights]


# ── what goes into a rank ────────────────────────────────────────────────────────────────────────

_Several = type[Sum] | type[Mul] | type[Max] | type[Min]


def _terms(rank: Rank, kind: _Several) -> list[Rank]:
    """A chain of one operator becomes one flat rank."""
    return rank.ranks if isinstance(rank, kind) else [rank]


def _lift(value: object, operator: str) -> Rank:
    """A number becomes a Val."""
    if isinstance(value, Rank):
        return value
    return Val(_number(value, f"{operator} on a rank"))


def _number(value: object, noun: str) -> Number:
    """A Python number; numpy's would not survive JSON."""
    if isinstance(value, np.integer | np.floating):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ArgumentTypeError(f"{noun} requires a number, got {type_name(value)}")
    return value


def _positive(value: object, noun: str) -> int:
    if isinstance(value, np.integer):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int):
        raise ArgumentTypeError(f"{noun} must be an integer, got {type_name(value)}")
    if value <= 0:
        raise ArgumentValueError(f"{noun} must be positive, got {value}")
    return value


def _query(query: object) -> Query:
    """A text, a sparse vector, or one dense vector as a list."""
    if isinstance(query, str | SparseVector):
        return query
    if isinstance(query, dict):
        return _sparse(query)
    if isinstance(query, np.ndarray):
        query = query.tolist()
    if not isinstance(query, list | tuple):
        raise ArgumentTypeError(
            "$knn query must be a list, numpy array, or SparseVector dict, or a text, "
            f"got {type_name(query)}"
        )
    if len(query) == 1 and isinstance(query[0], list):
        return _query(query[0])
    if not query:
        raise ArgumentValueError("$knn query must be a non-empty vector, got []")
    return [_number(component, "$knn query") for component in query]


def _sparse(query: Form) -> SparseVector:
    """A sparse vector; Chroma's JavaScript client sends it without the tag."""
    if not {"indices", "values"} <= query.keys():
        raise ArgumentValueError(
            f"Expected a sparse vector with indices and values, got keys {sorted(query)}"
        )
    return SparseVector.from_dict({TYPE_KEY: SPARSE_VECTOR_TYPE_VALUE, **query})


# ── reading ranks ────────────────────────────────────────────────────────────────────────────────


def _read(form: object, depth: int) -> Rank:
    if depth == 0:
        raise ArgumentValueError(f"Rank dict is nested more than {MAX_DEPTH} levels deep")
    operator, operand = one_entry(require_dict(form, "Rank"), "Rank dict", "operator")
    if operator not in _READERS:
        raise ArgumentValueError(f"Unknown rank operator: {operator}; allowed are {[*_READERS]}")
    with inside(operator):
        return _READERS[operator](operand, depth - 1)


def _read_val(operand: Any, depth: int) -> Rank:
    return Val(operand)


def _read_knn(operand: object, depth: int) -> Rank:
    if not isinstance(operand, dict):
        raise ArgumentTypeError(f"$knn requires a dict, got {type_name(operand)}")
    if "query" not in operand:
        raise ArgumentValueError("$knn requires 'query' field")
    refuse_unknown(operand, "$knn", ("query", "key", "limit", "default", "return_rank"))
    try:
        return Knn(**operand)
    except InvalidArgumentError:
        for name, value in operand.items():
            with inside(name):  # the first that is wrong by itself
                Knn(**{"query": "", name: value})
        raise


def _read_several(kind: _Several) -> Callable[[Any, int], Rank]:
    def read(operand: object, depth: int) -> Rank:
        if not isinstance(operand, list | tuple):
            raise ArgumentTypeError(f"{kind.operator} requires a list, got {type_name(operand)}")
        if not operand:
            raise ArgumentValueError(f"{kind.operator} requires at least one rank, got 0")
        ranks = []
        for place, form in enumerate(operand):
            with inside(f"[{place}]"):
                ranks.append(_read(form, depth))
        # Chroma's JavaScript client fuses a single rank into a sum of one.
        return ranks[0] if len(ranks) == 1 else kind(_flat(ranks, kind))

    return read


def _flat(ranks: Iterable[Rank], kind: _Several) -> list[Rank]:
    return [term for rank in ranks for term in _terms(rank, kind)]


def _read_pair(kind: type[Sub] | type[Div]) -> Callable[[Any, int], Rank]:
    def read(operand: object, depth: int) -> Rank:
        if not isinstance(operand, dict):
            raise ArgumentTypeError(
                f"{kind.operator} requires a dict with 'left' and 'right', got {type_name(operand)}"
            )
        if not {"left", "right"} <= operand.keys():
            raise ArgumentValueError(f"{kind.operator} requires 'left' and 'right' fields")
        refuse_unknown(operand, kind.operator, ("left", "right"))
        sides = []
        for name in ("left", "right"):
            with inside(name):
                sides.append(_read(operand[name], depth))
        return kind(*sides)

    return read


def _read_one(kind: type[Abs] | type[Exp] | type[Log]) -> Callable[[Any, int], Rank]:
    def read(operand: object, depth: int) -> Rank:
        if not isinstance(operand, dict):
            raise ArgumentTypeError(
                f"{kind.operator} requires a rank dict, got {type_name(operand)}"
            )
        return kind(_read(operand, depth))

    return read


_READERS: dict[str, Callable[[Any, int], Rank]] = {
    "$val": _read_val,
    "$knn": _read_knn,
    **{kind.operator: _read_several(kind) for kind in (Sum, Mul, Max, Min)},
    **{kind.operator: _read_pair(kind) for kind in (Sub, Div)},
    **{kind.operator: _read_one(kind) for kind in (Abs, Exp, Log)},
}
