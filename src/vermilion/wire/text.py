"""JSON as bytes: what a body says, and how values are written.

Floats have a point or an exponent and ints have none, doubles keep all their digits, and float32
arrays are written as the shortest text that reads back as the same float32.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from vermilion.errors import InvalidArgumentError
from vermilion.times import time_form
from vermilion.types import SparseVector


def dumps(value: object) -> bytes:
    """A value as JSON. What is not finite becomes null."""
    import orjson  # programs that speak to no server and are none do not need it

    options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_PASSTHROUGH_DATACLASS
    options |= orjson.OPT_PASSTHROUGH_DATETIME
    return orjson.dumps(value, default=_plain, option=options)


def loads(body: bytes) -> Any:
    """What a body says; ints beyond 64 bits are floats. Raises InvalidArgumentError."""
    import orjson

    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidArgumentError(f"Failed to parse the request body as JSON: {error}") from None


def _plain(value: object) -> object:
    if isinstance(value, SparseVector):
        return value.to_dict()
    if isinstance(value, date):
        return time_form(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
