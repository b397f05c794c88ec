"""Attached functions: Chroma's hosted service runs them over what is written; nothing does here.

Programs that name them can be imported; what they ask for is refused, with what to use instead.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, NoReturn

from vermilion.errors import UnsupportedError


class Function(str, Enum):  # noqa: UP042  (Chroma's bases: format() gives the name)
    """The functions that can be attached there."""

    STATISTICS = "statistics"
    RECORD_COUNTER = "record_counter"


STATISTICS_FUNCTION = Function.STATISTICS
RECORD_COUNTER_FUNCTION = Function.RECORD_COUNTER


def get_statistics_fn_name(collection: Any) -> str:
    """Returns what the statistics of a collection are called there."""
    return f"{collection.name}_stats"


def attach_statistics_function(collection: Any, stats_collection_name: str) -> NoReturn:
    """Raises UnsupportedError."""
    _refuse(collection)


def get_statistics_fn(collection: Any) -> NoReturn:
    """Raises UnsupportedError."""
    _refuse(collection)


def detach_statistics_function(collection: Any, delete_stats_collection: bool = False) -> NoReturn:
    """Raises UnsupportedError."""
    _refuse(collection)


def get_statistics(
    collection: Any, stats_collection_name: str, keys: list[str] | None = None
) -> NoReturn:
    """Raises UnsupportedError."""
    _refuse(collection)


def _refuse(collection: Any) -> NoReturn:
    raise UnsupportedError(
        "Attached functions are only supported when connecting to a Chroma server of the hosted "
        f"kind; collection {collection.name!r} counts values with facets() and sums up with "
        "summarize(), without any set-up"
    )
