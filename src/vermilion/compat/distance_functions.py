"""The distance of two vectors, as every query measures it: l2, cosine, ip."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vermilion.local.index.base import distances
from vermilion.types import Space


def l2(x: ArrayLike, y: ArrayLike) -> float:
    """The sum of the squared differences, without the root."""
    return _distance("l2", x, y)


def cosine(x: ArrayLike, y: ArrayLike) -> float:
    """1 - the cosine of the angle, and 1 when a vector is zero."""
    return _distance("cosine", x, y)


def ip(x: ArrayLike, y: ArrayLike) -> float:
    """1 - the dot product."""
    return _distance("ip", x, y)


def _distance(space: Space, x: ArrayLike, y: ArrayLike) -> float:
    row: NDArray[Any] = np.asarray(x, np.float32)[np.newaxis]
    return float(distances(space, row, np.asarray(y, np.float32))[0])
