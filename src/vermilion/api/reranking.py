"""Reranking: the records of an answer in the order of another judge's scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from vermilion.errors import ArgumentTypeError, ArgumentValueError

# Scores of documents for a query, the greater the better: what a cross-encoder's `predict` gives.
Scorer = Callable[[str, list[str]], Any]


def reranked(
    score: Scorer,
    texts: Sequence[str | None] | None,
    columns: Mapping[str, Any],
    n_results: int | None,
) -> tuple[dict[str, Any], list[list[float | None]]]:
    """The columns that are there in the new order, and the scores in that order.

    `columns` has a list per query in each column, or None for a column or one of its lists.
    """
    check_scorer(score)
    ids, documents = columns["ids"], columns["documents"]
    asked = _checked_texts(texts, len(ids))
    if n_results is not None and (isinstance(n_results, bool) or not isinstance(n_results, int)):
        raise ArgumentTypeError(f"Expected n_results to be an int, got {n_results!r} in rerank.")
    if n_results is not None and n_results < 1:
        raise ArgumentValueError(f"Expected n_results to be at least 1, got {n_results} in rerank.")
    orders, scores = [], []
    for place, text in enumerate(asked):
        column = None if documents is None else documents[place]
        if column is None:
            raise ArgumentValueError(
                'The answer has no documents: include "documents", or select K.DOCUMENT, in rerank.'
            )
        order, told = _order(score, text, column, len(ids[place]))
        orders.append(order[:n_results])
        scores.append(told[:n_results])
    chosen = {
        name: [_taken(cells, order) for cells, order in zip(column, orders, strict=True)]
        for name, column in columns.items()
        if column is not None
    }
    return chosen, scores


def check_scorer(score: object) -> None:
    """Raises ArgumentTypeError for what cannot be called."""
    if not callable(score):
        raise ArgumentTypeError(
            f"Expected a function of a query text and a list of documents, got {score!r} in rerank."
        )


def _checked_texts(texts: Sequence[str | None] | None, count: int) -> list[str]:
    if isinstance(texts, str):
        texts = [texts]
    if texts is None or any(not isinstance(text, str) for text in texts):
        raise ArgumentValueError(
            "The queries were not texts: give query_texts, one for each query, in rerank."
        )
    if len(texts) != count:
        raise ArgumentValueError(
            f"Expected query_texts to be {count} texts, got {len(texts)} in rerank."
        )
    return [str(text) for text in texts]


def _order(
    score: Scorer, text: str, documents: Sequence[str | None], count: int
) -> tuple[list[int], list[float | None]]:
    """The places in their new order, and their scores; those without a document come last."""
    there = [place for place in range(count) if documents[place] is not None]
    said = score(text, [str(documents[place]) for place in there]) if there else []
    try:
        scores = np.asarray(said, np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentTypeError(
            f"Expected a list of numbers from the function of rerank, got {said!r}"
        ) from error
    if scores.shape != (len(there),) or np.isnan(scores).any():
        raise ArgumentValueError(
            f"Expected {len(there)} numbers from the function of rerank, one for each document, "
            f"got {said!r}"
        )
    best = np.argsort(-scores, kind="stable").tolist()
    gone = [place for place in range(count) if documents[place] is None]
    told: list[float | None] = [float(scores[place]) for place in best]
    return [there[place] for place in best] + gone, told + [None] * len(gone)


def _taken(cells: Any, order: list[int]) -> Any:
    """The cells in the order; an array stays one."""
    if cells is None:
        return None
    return cells[order] if isinstance(cells, np.ndarray) else [cells[place] for place in order]
