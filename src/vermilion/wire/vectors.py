"""Vectors on the wire: arrays of numbers, or the bytes of little-endian float32 as base64."""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vermilion.errors import InvalidArgumentError
from vermilion.records import MAX_DIMENSION, spread
from vermilion.wire.fields import Form, Kind, mismatch

Vectors = NDArray[np.float32]

_NUMBERS: Form = {"type": "array", "items": {"type": "number"}, "minItems": 1}
_PACKED: Form = {"type": "string", "format": "byte", "minLength": 6}


_NUMERIC = {float, int}


def _rows(optional: bool) -> Kind:
    """The kind of a list of vectors; what they hold is read by `unpack`."""
    expected = "a sequence of numbers or a base64 string"

    def check(value: Any, at: str) -> Any:
        if not isinstance(value, list):
            raise mismatch(at, value, "a sequence")
        for place, row in enumerate(value):
            if not isinstance(row, list | str) and not (optional and row is None):
                raise mismatch(f"{at}[{place}]", row, expected)
        return value

    forms = [_NUMBERS, _PACKED, *([{"type": "null"}] if optional else [])]
    return Kind(check, {"type": "array", "items": {"anyOf": forms}})


ROWS = _rows(optional=False)
OPTIONAL_ROWS = _rows(optional=True)


def pack(vectors: Vectors) -> list[str]:
    """Each row as base64."""
    rows = np.ascontiguousarray(vectors, dtype="<f4")
    return [binascii.b2a_base64(row.data, newline=False).decode("ascii") for row in rows]


def write_some(vectors: Vectors, there: NDArray[np.bool_] | None, packed: bool) -> list[Any]:
    """Each row as base64 or as numbers, with null for those that are not there."""
    rows: list[Any] = [*(pack(vectors) if packed else np.ascontiguousarray(vectors))]
    if there is None:
        return rows
    return [row if given else None for row, given in zip(rows, there, strict=True)]


def unpack(rows: Sequence[Any], at: str) -> tuple[Vectors | None, NDArray[np.bool_] | None]:
    """Rows as one array, and which of them are there: None for all. Both are None for no rows.

    Raises UnprocessableError for what is no number, InvalidArgumentError for what cannot be used.
    """
    given = [row for row in rows if row is not None]
    if not given:
        return None, None
    matrix = _matrix(given, at)
    if len(given) == len(rows):
        return matrix, None
    there = np.array([row is not None for row in rows])
    return spread(matrix, there), there


def unpack_all(rows: Sequence[Any], at: str) -> Vectors:
    """As `unpack`, where every row is there; no rows are an array of none."""
    return _matrix(rows, at) if rows else np.empty((0, 0), np.float32)


def _matrix(rows: Sequence[Any], at: str) -> Vectors:
    kinds = set(map(type, rows))
    if kinds == {str}:
        matrix = _stacked([_decoded(row) for row in rows])
        _check_coordinates(matrix)
    elif kinds == {list}:
        matrix = _numbers(rows, at)
    else:
        matrix = _stacked(
            [_decoded(r) if isinstance(r, str) else _numbers([r], at)[0] for r in rows]
        )
    if not np.isfinite(matrix).all():
        raise InvalidArgumentError(
            f"Validation error: {at}: Embeddings must not contain NaN or Infinity values"
        )
    return matrix


def _stacked(rows: list[Vectors]) -> Vectors:
    _check_lengths({len(row) for row in rows})
    return np.stack(rows)


def _numbers(rows: Sequence[list[Any]], at: str) -> Vectors:
    kinds = set(map(type, rows[0] if len(rows) == 1 else chain.from_iterable(rows)))
    if not kinds <= _NUMERIC:
        raise mismatch(at, _first(rows, (kinds - _NUMERIC).pop()), "a number")
    _check_lengths({len(row) for row in rows})
    with np.errstate(over="ignore"):  # what does not fit is reported
        return np.array(rows, dtype=np.float64).astype(np.float32)


def _first(rows: Sequence[list[Any]], kind: type) -> object:
    return next(item for item in chain.from_iterable(rows) if type(item) is kind)


def _check_lengths(lengths: set[int]) -> None:
    if len(lengths) > 1:
        raise InvalidArgumentError("Inconsistent dimensions in provided embeddings")
    if 0 in lengths:
        raise InvalidArgumentError(
            "Validation error: embeddings: Each embedding must have at least 1 dimension"
        )
    if max(lengths) > MAX_DIMENSION:
        raise InvalidArgumentError(
            f"Validation error: embeddings: Expected at most {MAX_DIMENSION} dimensions, "
            f"got {max(lengths)}"
        )


def _decoded(text: str) -> Vectors:
    try:
        raw = binascii.a2b_base64(text, strict_mode=True)
    except ValueError as error:  # binascii's own error, or a character that is not ASCII
        raise InvalidArgumentError(f"Invalid base64 string: {error}") from None
    if len(raw) % 4:
        raise InvalidArgumentError(
            f"Invalid byte length: {len(raw)} bytes cannot be converted to f32 values "
            "(must be divisible by 4)"
        )
    return np.frombuffer(raw, "<f4")


def _check_coordinates(matrix: Vectors) -> None:
    finite = np.isfinite(matrix)
    if not finite.all():
        row, place = np.argwhere(~finite)[0]
        value = float(matrix[row, place])
        told = "NaN" if value != value else "inf" if value > 0 else "-inf"
        raise InvalidArgumentError(f"Non-finite float value at embedding index {place}: {told}")
