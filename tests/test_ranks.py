"""Rank expressions: the forms they have, and what is refused.

The forms were compared with those of chromadb 1.5.9 for the same expressions.
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from vermilion.query.keys import K
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
from vermilion.types import SparseVector


def val(number: float) -> dict[str, float]:
    return {"$val": number}


def knn(query: Any, **options: Any) -> dict[str, Any]:
    return {"$knn": {"query": query, "key": "#embedding", "limit": 16} | options}


DENSE, TEXT = Knn(query=[1.0, 2.0], return_rank=True), Knn(query="x", return_rank=True)
SPARSE_FORM = {"#type": "sparse_vector", "indices": [1, 3], "values": [0.5, 1.0]}


def share(weight: float, rank: dict[str, Any], k: float = 60) -> dict[str, Any]:
    return {"$div": {"left": val(weight), "right": {"$sum": [val(k), rank]}}}


RANKS: list[tuple[Rank, dict[str, Any]]] = [
    (Knn(query=[1.0, 2]), knn([1.0, 2])),
    (Knn(query="x"), knn("x")),
    (Knn(query=np.array([1.5, 2.0], dtype=np.float32)), knn([1.5, 2.0])),
    (Knn(query=np.array([1, 2])), knn([1, 2])),
    (Knn(query=np.array([[1.5, 2.0]])), knn([1.5, 2.0])),
    (Knn(query=(1.0, 2.0)), knn([1.0, 2.0])),
    (Knn(query=SparseVector([1, 3], [0.5, 1.0])), knn(SPARSE_FORM)),
    (
        Knn(query=SparseVector([1, 3], [0.5, 1.0], ["a", "b"])),
        knn(SPARSE_FORM | {"tokens": ["a", "b"]}),
    ),
    (Knn([1.0], "k", 3, 0.5, True), knn([1.0], key="k", limit=3, default=0.5, return_rank=True)),
    (Knn([1.0], key=K("k"), default=0), knn([1.0], key="k", default=0)),
    (Knn([1.0], limit=np.int64(3)), knn([1.0], limit=3)),  # type: ignore[arg-type]
    (Val(1), val(1)),
    (Val(np.float64(1.5)), val(1.5)),
    (Val(1) + 2, {"$sum": [val(1), val(2)]}),
    (2 + Val(1), {"$sum": [val(2), val(1)]}),
    (Val(1) + np.int64(2), {"$sum": [val(1), val(2)]}),
    (Val(1) - 2, {"$sub": {"left": val(1), "right": val(2)}}),
    (2 - Val(1), {"$sub": {"left": val(2), "right": val(1)}}),
    (Val(1) * 2, {"$mul": [val(1), val(2)]}),
    (2 * Val(1), {"$mul": [val(2), val(1)]}),
    (Val(1) / 2, {"$div": {"left": val(1), "right": val(2)}}),
    (2 / Val(1), {"$div": {"left": val(2), "right": val(1)}}),
    (-Val(1), {"$mul": [val(-1), val(1)]}),
    (abs(Val(1)), {"$abs": val(1)}),
    (Val(1).abs(), {"$abs": val(1)}),
    (Val(1).exp(), {"$exp": val(1)}),
    (Val(1).log(), {"$log": val(1)}),
    (Val(1).max(2), {"$max": [val(1), val(2)]}),
    (Val(1).min(Val(2)), {"$min": [val(1), val(2)]}),
    (Val(1) + 2 + 3, {"$sum": [val(1), val(2), val(3)]}),
    (Val(1) + (Val(2) + 3), {"$sum": [val(1), val(2), val(3)]}),
    (1 + (Val(2) + 3), {"$sum": [val(1), val(2), val(3)]}),
    ((Val(1) * 2) * (Val(3) * 4), {"$mul": [val(1), val(2), val(3), val(4)]}),
    (Val(1).max(2).max(3), {"$max": [val(1), val(2), val(3)]}),
    (Val(1).min(Val(2).min(3)), {"$min": [val(1), val(2), val(3)]}),
    (Val(1).max(2).min(3), {"$min": [{"$max": [val(1), val(2)]}, val(3)]}),
    (Val(1) + 2 * Val(3), {"$sum": [val(1), {"$mul": [val(2), val(3)]}]}),
    (
        Val(1) - 2 - 3,
        {"$sub": {"left": {"$sub": {"left": val(1), "right": val(2)}}, "right": val(3)}},
    ),
    (sum([Val(1), Val(2)]), {"$sum": [val(0), val(1), val(2)]}),  # type: ignore[list-item]
    (Sum([Val(1), Val(2)]), {"$sum": [val(1), val(2)]}),
    (Mul([Val(1), Val(2)]), {"$mul": [val(1), val(2)]}),
    (Max([Val(1), Val(2)]), {"$max": [val(1), val(2)]}),
    (Min([Val(1), Val(2)]), {"$min": [val(1), val(2)]}),
    (Sub(Val(1), Val(2)), {"$sub": {"left": val(1), "right": val(2)}}),
    (Div(Val(1), Val(2)), {"$div": {"left": val(1), "right": val(2)}}),
    (Abs(Val(1)), {"$abs": val(1)}),
    (Exp(Val(1)), {"$exp": val(1)}),
    (Log(Val(1)), {"$log": val(1)}),
    (
        Knn(query=[1.0]) * 0.7 + Knn(query="x") * 0.3,
        {"$sum": [{"$mul": [knn([1.0]), val(0.7)]}, {"$mul": [knn("x"), val(0.3)]}]},
    ),
]

# Chains of two minus signs stay nested when made, and are flattened when read.
MINUS_ONE = -Val(1)
NESTED: list[tuple[Rank, dict[str, Any]]] = [
    (-MINUS_ONE, {"$mul": [val(-1), {"$mul": [val(-1), val(1)]}]}),
    (-(Val(1) * 2), {"$mul": [val(-1), {"$mul": [val(1), val(2)]}]}),
]

FUSIONS: list[tuple[Rank, dict[str, Any]]] = [
    (
        Rrf([DENSE]),
        {"$mul": [val(-1), share(1.0, knn([1.0, 2.0], return_rank=True))]},
    ),
    (
        Rrf([DENSE, TEXT]),
        {
            "$mul": [
                val(-1),
                {
                    "$sum": [
                        share(1.0, knn([1.0, 2.0], return_rank=True)),
                        share(1.0, knn("x", return_rank=True)),
                    ]
                },
            ]
        },
    ),
    (
        Rrf([Val(1), Val(2)], k=10, weights=[2.0, 1.0]),
        {"$mul": [val(-1), {"$sum": [share(2.0, val(1), 10), share(1.0, val(2), 10)]}]},
    ),
    (
        Rrf([Val(1), Val(2)], weights=[3, 1], normalize=True),
        {"$mul": [val(-1), {"$sum": [share(0.75, val(1)), share(0.25, val(2))]}]},
    ),
    (
        Rrf([Val(1), Val(2)], normalize=True),
        {"$mul": [val(-1), {"$sum": [share(0.5, val(1)), share(0.5, val(2))]}]},
    ),
    (
        Rrf([Val(1), Val(2)], weights=[0, 0]),
        {"$mul": [val(-1), {"$sum": [share(0, val(1)), share(0, val(2))]}]},
    ),
    (
        Rrf([Val(1) + 2]),
        {
            "$mul": [
                val(-1),
                {"$div": {"left": val(1.0), "right": {"$sum": [val(60), val(1), val(2)]}}},
            ]
        },
    ),
    (
        Rrf([Val(1)]) + 1,
        {"$sum": [{"$mul": [val(-1), share(1.0, val(1))]}, val(1)]},
    ),
    (
        Rrf([Val(1)]) * 2,
        {"$mul": [{"$mul": [val(-1), share(1.0, val(1))]}, val(2)]},
    ),
]


@pytest.mark.parametrize(("rank", "form"), RANKS + NESTED + FUSIONS)
def test_a_rank_has_the_form_that_travels(rank: Rank, form: dict[str, Any]) -> None:
    assert json.dumps(rank.to_dict()) == json.dumps(form)


@pytest.mark.parametrize(("rank", "form"), RANKS)
def test_a_rank_is_read_back_as_it_was(rank: Rank, form: dict[str, Any]) -> None:
    assert Rank.from_dict(json.loads(json.dumps(form))) == rank


@pytest.mark.parametrize(("rank", "form"), FUSIONS[:-1])
def test_a_fusion_is_read_back_as_its_arithmetic(rank: Rank, form: dict[str, Any]) -> None:
    assert Rank.from_dict(form).to_dict() == form


@pytest.mark.parametrize(
    ("form", "rank"),
    [
        (NESTED[0][1], Mul([Val(-1), Val(-1), Val(1)])),
        ({"$sum": [val(3), {"$sum": [val(1), val(2)]}]}, Sum([Val(3), Val(1), Val(2)])),
        ({"$max": [val(1)]}, Val(1)),
        ({"$sum": [val(1)]}, Val(1)),
        (knn({"indices": [1, 3], "values": [0.5, 1.0]}), Knn(SparseVector([1, 3], [0.5, 1.0]))),
        (knn([1.0], default=None), Knn([1.0])),
        ({"$knn": {"query": [1.0]}}, Knn([1.0])),
    ],
)
def test_other_spellings_of_a_rank_are_read(form: dict[str, Any], rank: Rank) -> None:
    assert Rank.from_dict(form) == rank


DEEP_RANK: dict[str, Any] = {"$val": 1}
for _ in range(200):
    DEEP_RANK = {"$abs": DEEP_RANK}

Refusal = tuple[Callable[[], Any], type[Exception], str]

REFUSALS: list[Refusal] = [
    (lambda: Rank().to_dict(), TypeError, "contract"),
    (lambda: Val("x"), TypeError, "$val requires a number"),  # type: ignore[arg-type]
    (lambda: Val(True), TypeError, "$val requires a number, got bool"),
    (lambda: Val(1) + "x", TypeError, "requires a number, got str"),  # type: ignore[operator]
    (lambda: None - Val(1), TypeError, "requires a number, got NoneType"),  # type: ignore[operator]
    (lambda: Val(1).max([1]), TypeError, "requires a number, got list"),  # type: ignore[arg-type]
    (lambda: Knn(query=None), TypeError, "query must be a list"),  # type: ignore[arg-type]
    (lambda: Knn(query=[]), ValueError, "non-empty"),
    (lambda: Knn(query=["x"]), TypeError, "requires a number"),  # type: ignore[list-item]
    (lambda: Knn(query=[[1.0], [2.0]]), TypeError, "requires a number"),  # type: ignore[list-item]
    (lambda: Knn(query={"indices": [1]}), ValueError, "indices and values"),
    (lambda: Knn(query="x", limit=0), ValueError, "limit must be positive"),
    (lambda: Knn(query="x", limit=1.5), TypeError, "limit must be an integer"),  # type: ignore[arg-type]
    (lambda: Knn(query="x", key=1), TypeError, "key must be a string"),  # type: ignore[arg-type]
    (lambda: Knn(query="x", default="a"), TypeError, "default requires a number"),  # type: ignore[arg-type]
    (lambda: Knn(query="x", return_rank=1), TypeError, "must be a boolean"),  # type: ignore[arg-type]
    (lambda: Rank.from_dict("x"), TypeError, "Expected dict for Rank"),  # type: ignore[arg-type]
    (lambda: Rank.from_dict({}), ValueError, "Rank dict cannot be empty"),
    (lambda: Rank.from_dict(val(1) | {"$abs": val(1)}), ValueError, "exactly one operator, got 2"),
    (lambda: Rank.from_dict({"$rrf": {}}), ValueError, "Unknown rank operator: $rrf"),
    (lambda: Rank.from_dict({"$val": "x"}), TypeError, "requires a number"),
    (lambda: Rank.from_dict({"$knn": 1}), TypeError, "$knn requires a dict"),
    (lambda: Rank.from_dict({"$knn": {}}), ValueError, "$knn requires 'query' field"),
    (lambda: Rank.from_dict(knn([1.0], rank=True)), ValueError, "Unexpected keys in $knn dict"),
    (lambda: Rank.from_dict({"$sum": 1}), TypeError, "$sum requires a list"),
    (lambda: Rank.from_dict({"$min": []}), ValueError, "$min requires at least one rank"),
    (lambda: Rank.from_dict({"$sum": [1, 2]}), TypeError, "Expected dict for Rank"),
    (lambda: Rank.from_dict({"$sub": 1}), TypeError, "requires a dict with 'left' and 'right'"),
    (lambda: Rank.from_dict({"$div": {"left": val(1)}}), ValueError, "'left' and 'right' fields"),
    (lambda: Rank.from_dict({"$log": 1}), TypeError, "$log requires a rank dict"),
    (lambda: Rank.from_dict(DEEP_RANK), ValueError, "nested more than 100 levels"),
    (lambda: Rrf([]).to_dict(), ValueError, "requires at least one rank"),
    (lambda: Rrf([Val(1)], k=0).to_dict(), ValueError, "k must be positive"),
    (lambda: Rrf([Val(1)], weights=[1, 2]).to_dict(), ValueError, "Number of weights (2) must"),
    (lambda: Rrf([Val(1)], weights=[-1]).to_dict(), ValueError, "weights must be non-negative"),
    (
        lambda: Rrf([Val(1)], weights=[0], normalize=True).to_dict(),
        ValueError,
        "Sum of weights must be positive",
    ),
]


@pytest.mark.parametrize(("attempt", "error", "anchor"), REFUSALS)
def test_what_cannot_be_sent_is_refused_in_words(
    attempt: Callable[[], Any], error: type[Exception], anchor: str
) -> None:
    with pytest.raises(error) as refusal:
        attempt()
    assert anchor in str(refusal.value)
