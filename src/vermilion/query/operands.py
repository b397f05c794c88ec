"""What operands of filters may be, and errors that name the place of one that may not be."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable
from datetime import date
from typing import Any, NamedTuple

from vermilion.errors import ArgumentValueError, InvalidArgumentError
from vermilion.query.operators import INT64, MAX_PIECE, kind, pattern, plain
from vermilion.times import TIME_TAGS, plain_time, read_time, time_of_form
from vermilion.types import TYPE_KEY


class Place(NamedTuple):
    """Where in a filter something stands, and what is allowed there."""

    noun: str
    at_least: int
    implicit: bool
    about_text: bool = False
    steps: str = ""
    depth: int = 0

    def below(self, step: str, *, deeper: bool = False) -> Place:
        """The place one step further on."""
        return self._replace(steps=f"{self.steps}{step}", depth=self.depth + deeper)

    def error(self, text: str) -> ArgumentValueError:
        """An error that begins with the place, unless that is the filter as a whole."""
        at = f"{self.noun.replace(' ', '_')}{_brief(self.steps)}: " if self.steps else ""
        return ArgumentValueError(f"{at}{text}")


def scalar(name: str, operand: object, place: Place) -> Any:
    """A value that one stored value can be equal to."""
    value = _exact(operand, place)
    if value is None:
        raise place.error(
            f"Expected where operand value to be a str, int, float, or bool for operator {name}, "
            f"or a date or datetime, got {show(operand)}"
        )
    return value


def ordered(name: str, operand: object, place: Place) -> Any:
    """A number, a time, or the text of a time."""
    value = _exact(operand, place)
    text = isinstance(value, str) and read_time(value) is not None
    if not text and kind(value) not in ("number", "time"):
        raise place.error(
            f"Expected operand value to be an int or a float for operator {name}, "
            f"or a date or datetime or the text of one in ISO 8601, got {show(operand)}"
        )
    return value


def _scalars(name: str, operand: object, place: Place) -> list[Any]:
    if not isinstance(operand, list):
        raise place.error(
            f"Expected operand value to be an list for operator {name}, got {show(operand)}"
        )
    values = [_exact(value, place.below(f"[{at}]")) for at, value in enumerate(operand)]
    if not values or None in values:
        raise place.error(
            f"Expected where operand value for operator {name} to be a non-empty list, and all "
            f"values to be str, int, float, bool, date or datetime, got {show(operand)}"
        )
    return values


def _text(name: str, operand: object, place: Place) -> str:
    if not isinstance(operand, str):
        raise no_text(name, operand, place)
    return operand


def _piece(name: str, operand: object, place: Place) -> str:
    if not isinstance(operand, str) or not operand:
        raise no_text(name, operand, place)
    if len(operand) > MAX_PIECE:
        raise place.error(f"Expected at most {MAX_PIECE} characters for {name}, got {len(operand)}")
    return plain(operand)  # type: ignore[no-any-return]


def no_text(name: str, operand: object, place: Place) -> ArgumentValueError:
    """The error for an operand that should be a text, and is none or an empty one."""
    noun = "where document" if place.about_text else "where"
    return place.error(
        f"Expected {noun} operand value for operator {name} to be a non-empty str, "
        f"got {show(operand)}"
    )


def _pattern(name: str, operand: object, place: Place) -> str:
    text = _text(name, operand, place)
    pattern(text)
    return text


def _flag(name: str, operand: object, place: Place) -> bool:
    if not isinstance(operand, bool):
        raise place.error(f"Expected true or false for operator {name}, got {show(operand)}")
    return operand


def _count(name: str, operand: object, place: Place) -> int:
    if kind(operand) != "number" or not isinstance(operand, int) or operand not in INT64[2**63 :]:
        raise place.error(f"Expected an int from 0 on for operator {name}, got {show(operand)}")
    return int(operand)


def _exact(operand: object, place: Place) -> Any:
    """A value that can be stored, or None for what is none.

    Refuses numbers that no stored value can be compared with.
    """
    if isinstance(operand, dict) and operand.get(TYPE_KEY) in TIME_TAGS:
        return _timed(time_of_form, operand, place)
    if isinstance(operand, date):
        return _timed(plain_time, operand, place)
    if kind(operand) in (None, "list", "map"):
        return None
    value = plain(operand)
    if isinstance(value, float) and not math.isfinite(value):
        raise place.error(f"Invalid where clause: {value} is not a finite number")
    if isinstance(value, int) and value not in INT64:
        raise place.error(f"Invalid where clause: {value} does not fit 64 bits")
    return value


def _timed(read: Callable[[Any], date], operand: object, place: Place) -> date:
    try:
        return read(operand)
    except InvalidArgumentError as error:
        raise place.error(str(error)) from None


ACCEPTS: dict[str, Callable[[str, object, Place], Any]] = {
    "scalar": scalar,
    "ordered": ordered,
    "scalars": _scalars,
    "element": scalar,
    "text": _text,
    "pattern": _pattern,
    "piece": _piece,
    "flag": _flag,
    "count": _count,
}


_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 100


def show(value: object) -> str:
    """What was got, short enough for an error text, however long or deep it is."""
    return _repr.repr(value)


def _brief(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:97]}...{text[-100:]}"
