"""Dates and times as metadata: how they are compared, written down and read again.

There are three kinds: a `date`, a `datetime` without a time zone, and one with it, an "instant".
All are compared as moments: a date is its midnight, and what has no time zone is in UTC. They are
stored and sent as text in ISO 8601 with a tag, so that they come back as what they were.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal

from vermilion.errors import ArgumentValueError
from vermilion.types import TYPE_KEY

TimeKind = Literal["date", "datetime", "instant"]
TIME_KINDS: tuple[TimeKind, ...] = ("date", "datetime", "instant")
_EPOCH = datetime(1970, 1, 1)
_EPOCH_UTC = _EPOCH.replace(tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LEAST, _MOST = datetime.min - _EPOCH, datetime.max - _EPOCH
# What the tag says; an instant is a datetime whose text has an offset.
_READERS: dict[str, Callable[[str], date]] = {
    "date": date.fromisoformat,
    "datetime": datetime.fromisoformat,
}
TIME_TAGS = tuple(_READERS)
_ISO = r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:?\d\d)?)?"


def time_kind(value: date) -> TimeKind:
    """Which of the three kinds a date or time is."""
    if not isinstance(value, datetime):
        return "date"
    return "datetime" if value.tzinfo is None else "instant"


def microseconds(value: date) -> int:
    """The moment, as microseconds since 1970 in UTC.

    >>> microseconds(date(1970, 1, 2)) == microseconds(datetime(1970, 1, 2, tzinfo=UTC))
    True
    """
    return _since(value) // _MICROSECOND


def _since(value: date) -> timedelta:
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    return value - (_EPOCH if value.utcoffset() is None else _EPOCH_UTC)


def at_microseconds(kind: str, number: int) -> date:
    """The date or time of this kind at a moment; an instant comes in UTC."""
    found = _EPOCH + timedelta(microseconds=number)
    if kind == "date":
        return found.date()
    return found if kind == "datetime" else found.replace(tzinfo=UTC)


def plain_time(value: date) -> date:
    """The same date or time without subclass; a time zone becomes its offset.

    Raises InvalidArgumentError for a moment that is in no year of UTC from 1 to 9999.
    """
    if not isinstance(value, datetime):
        return date(value.year, value.month, value.day)
    if not _LEAST <= _since(value) <= _MOST:
        raise ArgumentValueError(f"Expected a time from year 1 to 9999 in UTC, got {value}")
    # Not to be read from the text for each: few have an offset that is no whole number of seconds.
    return datetime.fromisoformat(value.isoformat())


@lru_cache(maxsize=1024)
def read_time(text: str) -> date | None:
    """The date or time that a text in ISO 8601 is, as long as it has a whole date.

    >>> read_time("2024-02-30"), read_time("2024"), read_time("2024-02-29T12:00")
    (None, None, datetime.datetime(2024, 2, 29, 12, 0))
    """
    if not re.fullmatch(_ISO, text):
        return None
    try:
        if len(text) == len("2024-02-29"):
            return date.fromisoformat(text)
        return plain_time(datetime.fromisoformat(text))
    except ValueError:
        return None


def instant(time: str | datetime, expected: str = "a time") -> datetime:
    """The moment, in UTC, that a caller names by a text or a datetime.

    One without a zone is of this machine's. `expected` says in the error what a text should be.
    """
    if isinstance(time, str):
        try:
            time = datetime.fromisoformat(time)
        except ValueError:
            raise ArgumentValueError(
                f"Expected {expected} such as 2026-11-23T10:30, got {time!r}"
            ) from None
    return time.astimezone(UTC)


# ── written down ─────────────────────────────────────────────────────────────────────────────────


def time_form(value: date) -> dict[str, str]:
    """The form that is stored and sent, tagged with "#type"."""
    tag = "datetime" if isinstance(value, datetime) else "date"
    return {TYPE_KEY: tag, "value": value.isoformat()}


def time_of_form(form: Mapping[str, Any]) -> date:
    """The date or time that `time_form` wrote. Raises InvalidArgumentError for another form."""
    read = _READERS.get(str(form.get(TYPE_KEY)))
    try:
        if read is None or len(form) != 2:
            raise ValueError("another form")
        return plain_time(read(form["value"]))
    except (KeyError, TypeError, ValueError):
        raise ArgumentValueError(
            f'Expected {{"{TYPE_KEY}": "date" or "datetime", "value": its text in ISO 8601}}, '
            f"got {str(form)[:200]}"
        ) from None
