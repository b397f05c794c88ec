"""The records nearest to a sparse vector, and those that say most of a text's words.

Both are sums over inverted lists, exact: of every record that has a term of the query. The sum is
made in float64 and in the order of the terms, so it is the same wherever a record lies, and then
told as a distance: 1 - sum, float32.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vermilion.local.index.base import Mask, Slots
from vermilion.local.index.vectors import Nearest
from vermilion.local.index.words import word_hash, words_to_find
from vermilion.local.indexer import Moment
from vermilion.types import SparseVector

# BM25's usual parameters: how soon a word that comes again stops to count, and how much the length
# of a document matters.
K1, B = 1.2, 0.75

Weights = NDArray[np.float64]
Weigh = Callable[[int, Slots, NDArray[Any]], Weights]
Lists = Iterator[tuple[Slots, NDArray[Any]]]


def sparse_nearest(
    moment: Moment, key: str, query: SparseVector, k: int, allowed: Mask, *, bm25: bool
) -> Nearest:
    """The k of the allowed slots with the greatest dot product, of those that share an index.

    With `bm25` the query is weighted: the rarer a component is among all records, the more.
    """
    weights = dict(zip(query.indices, np.array(query.values, np.float32).tolist(), strict=True))

    def weigh(term: int, slots: Slots, values: NDArray[Any]) -> Weights:
        weight = weights[term]
        if bm25:
            weight *= _rarity(moment, slots, moment.snapshot.head.rows)
        weighed: Weights = weight * values.astype(np.float64)
        return weighed

    return _most(moment, k, allowed, weights, lambda term: _of_key(moment, key, term), weigh)


def text_nearest(moment: Moment, text: str, k: int, allowed: Mask) -> Nearest:
    """The k of the allowed slots whose documents have the greatest BM25, of those with a word."""
    weights = Counter(map(word_hash, words_to_find(text)))
    if not weights:
        return _NOBODY
    lengths = _lengths(moment)
    written = moment.view.live & (lengths > 0)
    count = int(np.count_nonzero(written))
    average = int(lengths[written].sum(dtype=np.int64)) / count if count else 1.0

    def weigh(term: int, slots: Slots, often: NDArray[Any]) -> Weights:
        weight = weights[term] * _rarity(moment, slots, count) * (K1 + 1)
        shares = 1 - B + B * lengths[slots] / average
        weighed: Weights = weight * often / (often + K1 * shares)
        return weighed

    return _most(moment, k, allowed, weights, lambda term: _of_word(moment, term), weigh)


# ── lists ────────────────────────────────────────────────────────────────────────────────────────


def _of_key(moment: Moment, key: str, term: int) -> Lists:
    """Where a component of the key's vectors occurs, in segments and tail."""
    for base, segment in moment.segments:
        assert segment.sparse is not None, "the sparse indexes were not asked for"
        for slots, values in segment.sparse.of(key, term):
            yield base + slots, values
    assert moment.sparse is not None, "the sparse indexes were not asked for"
    yield from moment.sparse.of(key, term, len(moment.view))


def _of_word(moment: Moment, term: int) -> Lists:
    """Where a word occurs, in segments and tail."""
    for base, segment in moment.segments:
        assert segment.words is not None, "the words were not asked for"
        for slots, often in segment.words.of(term):
            yield base + slots, often
    assert moment.words is not None, "the words were not asked for"
    yield from moment.words.of(term, len(moment.view))


def _lengths(moment: Moment) -> NDArray[np.int32]:
    """How many words the document of each slot has."""
    assert moment.words is not None, "the words were not asked for"
    parts = [segment.words.lengths for _, segment in moment.segments if segment.words is not None]
    return np.concatenate([*parts, moment.words.lengths(len(moment.view))])


def _rarity(moment: Moment, slots: Slots, count: int) -> float:
    """How much a term tells that these slots, dead ones among them, have, of so many records."""
    live = moment.view.live
    have = len(slots) if live.all() else int(np.count_nonzero(live[slots]))
    return float(np.log(1 + (count - have + 0.5) / (have + 0.5)))


# ── sums ─────────────────────────────────────────────────────────────────────────────────────────

_NOBODY = Nearest(np.empty(0, np.int64), np.empty(0, np.float32))


def _most(
    moment: Moment,
    k: int,
    allowed: Mask,
    terms: Iterable[int],
    lists: Callable[[int], Lists],
    weigh: Weigh,
) -> Nearest:
    """The k slots with the greatest sums of weights."""
    sums = np.zeros(len(allowed))
    touching, positive = [], True
    for term in sorted(terms):
        found = list(lists(term))
        if found:
            slots = _joined([slots for slots, _ in found])
            weights = weigh(term, slots, _joined([some for _, some in found]))
            _add(sums, slots, weights)
            touching.append(slots)
            positive &= bool(weights.min() > 0)
    chosen = allowed & (sums > 0 if positive else _marked(touching, len(allowed)))
    with np.errstate(over="ignore", invalid="ignore"):
        if np.count_nonzero(chosen) > k:
            far = np.where(chosen, 1 - sums, np.inf).astype(np.float32)
            chosen &= far <= np.partition(far, k - 1)[k - 1]
        candidates = np.flatnonzero(chosen)
        far = (1 - sums[candidates]).astype(np.float32)
    order = np.lexsort((moment.view.keys[candidates], far))[:k]
    return Nearest(candidates[order], far[order])


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _add(sums: Weights, slots: Slots, weights: Weights) -> None:
    """Adds the weights of one term, which has a slot once."""
    if len(slots) * FEW < len(sums):
        sums[slots] += weights
    else:
        sums += np.bincount(slots, weights, len(sums))


# Adding to single places takes this many times as long for each as adding two arrays.
FEW = 4


def _marked(parts: list[Slots], length: int) -> Mask:
    """Which slots these are; where weights may cancel each other out, sums do not tell."""
    marked = np.zeros(length, np.bool_)
    for slots in parts:
        marked[slots] = True
    return marked
