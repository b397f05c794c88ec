"""What an index is, the slots that all indexes align to, and exact distances.

A slot is a row number in the caches of one process. Slots are only ever appended: a record that
changes gets a new slot and its old one dies, so a `View` of an earlier moment stays right while
later changes are applied, and needs no lock.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from vermilion.local.snapshot import Keys, Snapshot
from vermilion.types import Space

Slots = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Growable:
    """A numpy array that rows can be appended to; slices of it taken before stay valid."""

    def __init__(self, dtype: Any, width: int | None = None) -> None:
        self._rows: NDArray[Any] = np.empty((0,) if width is None else (0, width), dtype)
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, rows: NDArray[Any]) -> None:
        """Adds rows at the end."""
        end = self._length + len(rows)
        if end > len(self._rows):
            # The first filling is exact: most collections are loaded once and grow little.
            capacity = end if not self._length else max(end, 2 * self._length)
            grown = np.empty((capacity, *self._rows.shape[1:]), self._rows.dtype)
            grown[: self._length] = self._rows[: self._length]
            self._rows = grown
        self._rows[self._length : end] = rows
        self._length = end

    def array(self, length: int | None = None) -> NDArray[Any]:
        """The first `length` rows, or all of them."""
        # The length first: rows that are appended meanwhile may move to a larger array.
        end = self._length if length is None else length
        return self._rows[:end]


class Change(NamedTuple):
    """New slots, from `first` on: which key each holds, and which slot it replaces, or -1.

    `vector_kept` marks those whose vector is that of the slot they replace.
    """

    first: int
    keys: Keys
    replaces: Slots
    vector_kept: Mask


class Index(Protocol):
    """A cache over slots, fed from the log. Delete it and it is built again from the store."""

    def apply(self, change: Change, snapshot: Snapshot) -> None:
        """Learns of new slots, reading what it needs from the snapshot."""
        ...


# ── distances ────────────────────────────────────────────────────────────────────────────────────


# Squared lengths outside of these are not precise as float32; such rows are measured in float64.
TINY, HUGE = 1e-30, 1e36


def distances(
    space: Space, rows: NDArray[np.float32], query: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The distance of each row to the query, float32.

    l2: sum of (a-b)², without the root. cosine: 1 - a·b/(|a||b|), and 1 where either is zero. ip:
    1 - a·b. Every distance that is reported comes from here, whatever found the row: matrix
    products round differently with the shape of the matrix, this sums each row by itself. BLAS may
    also round with where a row lies in memory, and equal vectors have to be equally far.
    """
    if space == "cosine":
        return _cosine(rows, query)
    with np.errstate(over="ignore", invalid="ignore"):
        if space == "l2":
            return squares(rows - query)
        result: NDArray[np.float32] = np.float32(1) - _dots(rows, query)
        return result


def squares(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """The squared length of each row."""
    with np.errstate(over="ignore", under="ignore"):
        result: NDArray[np.float32] = np.einsum("ij,ij->i", rows, rows)
    return result


def _dots(rows: NDArray[Any], query: NDArray[Any]) -> NDArray[Any]:
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        result: NDArray[Any] = np.einsum("ij,j->i", rows, query)
    return result


def _cosine(rows: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.float32]:
    one = query[np.newaxis]
    with np.errstate(all="ignore"):  # once: `squares` and `_dots` would each set it again
        row_squares = np.einsum("ij,ij->i", rows, rows)
        query_square = np.einsum("ij,ij->i", one, one)
        lengths = np.sqrt(row_squares) * np.sqrt(query_square)
        similarity = np.einsum("ij,j->i", rows, query) / lengths
    is_precise = len(rows) and row_squares.min() > TINY and row_squares.max() < HUGE
    if not (is_precise and TINY < query_square[0] < HUGE):
        precise = (row_squares > TINY) & (row_squares < HUGE)
        precise &= (query_square > TINY) & (query_square < HUGE)
        similarity[~precise] = _wide_similarity(rows[~precise], query)
    result: NDArray[np.float32] = np.float32(1) - np.minimum(np.maximum(similarity, -1), 1)
    return result


def _wide_similarity(rows: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.float64]:
    wide, wide_query = rows.astype(np.float64), query.astype(np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", wide, wide) * (wide_query @ wide_query))
    similarity: NDArray[np.float64] = np.zeros(len(rows))
    np.divide(_dots(wide, wide_query), lengths, out=similarity, where=lengths > 0)
    return similarity
