"""`meta`: sets and removes metadata."""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

from vermilion.errors import ArgumentValueError
from vermilion.pipes import options, steps
from vermilion.pipes.lines import Record
from vermilion.pipes.templates import template

META = "Set and remove metadata"

_INT = re.compile(r"[+-]?\d+")
_FLOAT = re.compile(r"[+-]?(\d+\.\d*|\.\d+|\d+)([eE][+-]?\d+)?")


class Attribute(NamedTuple):
    """A key and what it is set to."""

    key: str
    text: str

    @classmethod
    def of(cls, text: str) -> Attribute:
        """The two sides of the first equals sign."""
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ArgumentValueError(f"expected key=value, got {text!r}")
        return cls(key, value)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `meta`."""
    steps.add_arguments(parser)
    attribute = options.checked(Attribute.of)
    parser.add_argument(
        "--attr", "-a", action="append", type=attribute, default=[], metavar="KEY=VALUE",
        help="a bool, int, float or text; a text if in quotes; {{…}} is Jinja",
    )  # fmt: skip
    parser.add_argument(
        "--meta", "-m", action="append", type=attribute, default=[], metavar="KEY=VALUE",
        help="the old name of --attr",
    )  # fmt: skip
    parser.add_argument(
        "--remove-key", "-k", action="append", default=[], metavar="KEY", help="remove this key"
    )
    parser.add_argument(
        "--overwrite", "-o", action="store_true", help="replace values of keys that are there"
    )


def meta(arguments: argparse.Namespace) -> None:
    """Writes the records with other metadata."""
    if arguments.meta:
        warnings.warn("--meta is the old name of --attr", DeprecationWarning, stacklevel=2)
    makers = [(one.key, value_of(one.text)) for one in (*arguments.attr, *arguments.meta)]

    def change(record: Record) -> list[Record]:
        metadata = steps.metadata_of(record)
        for key, make in makers:
            if arguments.overwrite or key not in metadata:
                metadata[key] = make(record)
        for key in arguments.remove_key:
            metadata.pop(key, None)
        record["metadata"] = metadata or None
        return [record]

    steps.run(arguments, "noted", change)


def value_of(text: str) -> Callable[[Record], Any]:
    """What makes the value of a record: a template is filled, anything else is always the same."""
    if "{{" in text or "{%" in text:
        fill = template(text)
        return lambda record: parsed(fill(record))
    value = parsed(text)
    return lambda record: value


def parsed(text: str) -> bool | int | float | str:
    """A value as it is written; in quotes it is a text whatever it looks like.

    >>> [parsed(text) for text in ("true", "7", "7.5", "'7'", "a=b")]
    [True, 7, 7.5, '7', 'a=b']
    """
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
