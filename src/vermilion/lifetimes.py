"""How long things are kept: durations as text, the history of a collection, records that expire."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from vermilion.errors import ArgumentValueError

UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_TEXT = r"\s*(\d+(?:\.\d+)?)\s*([smhdw])\s*"
# The metadata field that says when a record expires, unless another one is named.
FIELD = "expires_at"


@dataclass(frozen=True)
class Ttl:
    """A rule for records that expire.

    `field` is the metadata field that holds the end of a record's life, in seconds since 1970 (or
    a datetime). A record written without it lives for `seconds`, or for ever when that is None.
    """

    field: str = FIELD
    seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The form that users and clients see."""
        return {"field": self.field, "default": duration_text(self.seconds)}


def seconds_of(where: str, value: object) -> float:
    """A duration in seconds: "7d", a number of seconds, or a timedelta."""
    match = re.fullmatch(_TEXT, value) if isinstance(value, str) else None
    if match is not None:
        seconds = float(match[1]) * UNITS[match[2]]
    elif isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    else:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ArgumentValueError(
            f'{where}: expected a duration such as "45s", "30m", "12h", "7d" or "2w", or a '
            f"positive number of seconds, got {value!r}"
        )
    return seconds


def duration_text(seconds: float | None) -> str | None:
    """A duration in the largest unit that divides it.

    >>> duration_text(604800.0), duration_text(5400), duration_text(0.5)
    ('1w', '90m', '0.5s')
    """
    if seconds is None:
        return None
    for unit, length in sorted(UNITS.items(), key=lambda pair: -pair[1]):
        if seconds % length == 0:
            return f"{int(seconds // length)}{unit}"
    return f"{seconds:g}s"


def history_of(configuration: Mapping[str, Any]) -> float | None:
    """For how many seconds a configuration wants the past to be kept; None for not at all."""
    given = configuration.get("history")
    return None if given is None else seconds_of("configuration.history", given)


def ttl_of(configuration: Mapping[str, Any]) -> Ttl | None:
    """The rule for records that expire: a duration, {"field": …, "default": …}, or None."""
    given = configuration.get("ttl")
    if given is None:
        return None
    if not isinstance(given, Mapping):
        return Ttl(seconds=seconds_of("configuration.ttl", given))
    unknown = sorted(set(given) - {"field", "default"})
    if unknown:
        raise ArgumentValueError(
            f"configuration.ttl: unknown field `{unknown[0]}`, expected one of field, default"
        )
    field, default = given.get("field", FIELD), given.get("default")
    if not isinstance(field, str) or not field or field.startswith("#"):
        raise ArgumentValueError(
            f"configuration.ttl.field: expected the name of a metadata field, got {field!r}"
        )
    return Ttl(field, None if default is None else seconds_of("configuration.ttl.default", default))
