"""What commands that read records have in common: where from, in which format, and wrong lines."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from vermilion.errors import ArgumentValueError, InvalidArgumentError
from vermilion.pipes.files import STANDARD, TABLES, format_of, packing_errors, reading
from vermilion.pipes.lines import POLICIES, Faults, Features, Line, read


def add_input(parser: argparse.ArgumentParser) -> None:
    """Declares where records are read from, and what becomes of wrong lines."""
    parser.add_argument("inf", metavar="INF", nargs="?", help="a file; - or none: standard input")
    parser.add_argument("--in", dest="in_file", metavar="FILE", help="the same")
    add_faults(parser)


def add_faults(parser: argparse.ArgumentParser) -> None:
    """Declares what becomes of wrong lines, and whether totals are told."""
    parser.add_argument(
        "--on-error", choices=POLICIES, default="stop",
        help="a wrong record ends it, is left out, or is left out and told [stop]",
    )  # fmt: skip
    add_quiet(parser)


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """Declares what keeps stderr empty."""
    parser.add_argument("--quiet", action="store_true", help="no progress and no totals on stderr")


def input_name(arguments: argparse.Namespace) -> str:
    """The file that is read."""
    if arguments.inf and arguments.in_file:
        raise ArgumentValueError("INF and --in name two files: one is enough")
    return cast(str, arguments.in_file or arguments.inf or STANDARD)


@contextmanager
def records_in(
    name: str, faults: Faults, features: Features, format: str | None = None
) -> Iterator[Iterator[Line]]:
    """The records of a file of any format, with the numbers of their lines or rows."""
    kind = format_of(name, format)
    stream = reading(name)
    try:
        if kind in TABLES:
            from vermilion.pipes import tables  # few streams are tables

            yield tables.read(kind, stream, faults, features)
        else:
            yield read(stream, faults, features)
    except packing_errors(name) as error:
        raise InvalidArgumentError(f"{name} is damaged: {error}") from error
    finally:
        if name != STANDARD:
            stream.close()
