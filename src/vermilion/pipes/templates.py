"""Jinja in the arguments of `id` and `meta`: a template, in a sandbox, about one record."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from vermilion.errors import ArgumentValueError, InvalidArgumentError
from vermilion.pipes.files import need
from vermilion.pipes.lines import Record

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def template(text: str) -> Callable[[Record], str]:
    """What fills the template with a record. Raises ArgumentValueError for a wrong template."""
    need("jinja2")
    from jinja2 import StrictUndefined, TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
    environment.filters |= {"date": date, "now": now}
    try:
        made = environment.from_string(text)
    except TemplateError as error:
        raise ArgumentValueError(f"{text!r} is no template: {error}") from None

    new_ulid = Ulids()

    def fill(record: Record) -> str:
        try:
            return made.render(
                id=record["id"],
                metadata=record["metadata"] or {},
                text_chunk=record["text_chunk"],
                embedding=record["embedding"],
                uuid=new_uuid,
                ulid=new_ulid,
            )
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise InvalidArgumentError(f"{text!r}: {error}") from None

    return fill


def new_uuid() -> str:
    """A random UUID."""
    return str(uuid4())


class Ulids:
    """Makes ULIDs, 48 bits of milliseconds and 80 random ones; each sorts after the one before."""

    def __init__(self) -> None:
        self._last = 0

    def __call__(self) -> str:
        """The next one."""
        number = time.time_ns() // 1_000_000 << 80 | int.from_bytes(os.urandom(10))
        if number >> 80 <= self._last >> 80:
            number = self._last + 1
        self._last = number
        return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def date(value: Any, form: str = "%Y-%m-%d") -> str:
    """A moment as text: of seconds since 1970, or of a text in ISO 8601."""
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC).strftime(form)
    return datetime.fromisoformat(str(value)).strftime(form)


def now(form: Any = None) -> str:
    """This moment as text, for example {{ "%Y" | now }}; in ISO 8601 without a form."""
    moment = datetime.now(UTC)
    return moment.strftime(str(form)) if form else moment.isoformat(timespec="seconds")
