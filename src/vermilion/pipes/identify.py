"""`id`: gives every record an id."""

from __future__ import annotations

import argparse
import hashlib
import os
from collections.abc import Callable

from vermilion.errors import ArgumentValueError, InvalidArgumentError
from vermilion.pipes import steps
from vermilion.pipes.lines import Record
from vermilion.pipes.templates import Ulids, new_uuid, template

ID = "Give every record an id"

Maker = Callable[[Record], str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `id`."""
    steps.add_arguments(parser)
    parser.add_argument("--uuid", "-u", action="store_true", help="a random UUID")
    parser.add_argument("--ulid", "-U", action="store_true", help="a ULID, which begins with time")
    parser.add_argument(
        "--expr", "-e", metavar="JINJA",
        help="a template of id, metadata, text_chunk, embedding, uuid(), ulid()",
    )  # fmt: skip
    parser.add_argument("--doc-hash", "-d", action="store_true", help="SHA-256 of the document")
    parser.add_argument("--random-hash", "-r", action="store_true", help="SHA-256 of noise")


def identify(arguments: argparse.Namespace) -> None:
    """Writes the records with new ids."""
    make = _maker(arguments)

    def change(record: Record) -> list[Record]:
        record["id"] = make(record)
        return [record]

    steps.run(arguments, "named", change)


def _maker(arguments: argparse.Namespace) -> Maker:
    new_ulid = Ulids()
    kinds: dict[str, Callable[[], Maker]] = {
        "uuid": lambda: lambda record: new_uuid(),
        "ulid": lambda: lambda record: new_ulid(),
        "expr": lambda: template(arguments.expr),
        "doc_hash": lambda: _document_hash,
        "random_hash": lambda: lambda record: hashlib.sha256(os.urandom(32)).hexdigest(),
    }
    chosen = [name for name in kinds if getattr(arguments, name)]
    if len(chosen) != 1:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in kinds)
        raise ArgumentValueError(f"exactly one of {flags} is needed, got {len(chosen)}")
    return kinds[chosen[0]]()


def _document_hash(record: Record) -> str:
    text = steps.text_of(record)
    if text is None:
        raise InvalidArgumentError("there is no document to make an id of")
    return hashlib.sha256(text.encode()).hexdigest()
