"""`chunk`: cuts documents into pieces of a bounded length, at separators where it can."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from vermilion.errors import ArgumentValueError
from vermilion.pipes import options, steps
from vermilion.pipes.lines import Record

CHUNK = "Cut documents into pieces"

_ESCAPES = {"\\n": "\n", "\\t": "\t", "\\r": "\r"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `chunk`."""
    steps.add_arguments(parser)
    parser.add_argument(
        "--size", "-s", type=options.count(1), required=True, help="characters of a piece at most"
    )
    parser.add_argument(
        "--overlap", "-o", type=options.count(0), default=0,
        help="characters of the last piece that the next one repeats at most [0]",
    )  # fmt: skip
    parser.add_argument(
        "--separator", "-p", default="\n", help="where to cut; \\n and \\t are known [\\n]"
    )
    parser.add_argument(
        "--add-start-index", "-a", action="store_true",
        help="note in the metadata as start_index where a piece begins",
    )  # fmt: skip
    parser.add_argument(
        "--type", "-t", choices=("character",), default="character", help="how [character]"
    )


def chunk(arguments: argparse.Namespace) -> None:
    """Writes the pieces: with the metadata of the whole, an id of their own, and no embedding."""
    size, overlap = arguments.size, arguments.overlap
    if overlap >= size:
        raise ArgumentValueError(f"--overlap {overlap} has to be smaller than --size {size}")
    separator = arguments.separator
    for written, meant in _ESCAPES.items():
        separator = separator.replace(written, meant)

    def change(record: Record) -> Iterator[Record]:
        text = steps.text_of(record)
        if text is None:
            yield record
            return
        for number, (start, stop) in enumerate(spans(text, size, overlap, separator)):
            yield _piece(
                record, number, text[start:stop], start if arguments.add_start_index else None
            )

    steps.run(arguments, "cut into", change)


def _piece(record: Record, number: int, text: str, start: int | None) -> Record:
    metadata: dict[str, Any] | None = steps.metadata_of(record) or None
    if start is not None:
        metadata = {**(metadata or {}), "start_index": start}
    id = record["id"]
    return {
        **record,
        "id": None if id is None else f"{id}-{number}",
        "metadata": metadata,
        "embedding": None,
        "text_chunk": text,
    }


def spans(text: str, size: int, overlap: int, separator: str) -> Iterator[tuple[int, int]]:
    """Where pieces begin and end: as many parts between separators as fit, or a part cut hard.

    >>> [("one two six"[a:b]) for a, b in spans("one two six", 7, 3, " ")]
    ['one two', 'two six']
    """
    parts = [*_parts(text, size, separator)]
    first = 0
    while first < len(parts):
        last = first
        while last + 1 < len(parts) and parts[last + 1][1] - parts[first][0] <= size:
            last += 1
        yield parts[first][0], parts[last][1]
        if last + 1 == len(parts):
            return
        first = _next_first(parts, first, last, size, overlap)


def _next_first(
    parts: list[tuple[int, int]], first: int, last: int, size: int, overlap: int
) -> int:
    """The part that the next piece begins with: it repeats what the overlap allows."""
    next_first = last + 1
    while (
        next_first - 1 > first
        and parts[last][1] - parts[next_first - 1][0] <= overlap
        and parts[last + 1][1] - parts[next_first - 1][0] <= size
    ):
        next_first -= 1
    return next_first


def _parts(text: str, size: int, separator: str) -> Iterator[tuple[int, int]]:
    """Where the parts between separators are, those that are too long in pieces."""
    start = 0
    while start <= len(text):
        stop = text.find(separator, start) if separator else start + 1
        stop = len(text) if stop < 0 else min(stop, len(text))
        for place in range(start, stop, size):
            yield place, min(place + size, stop)
        if stop >= len(text):
            return
        start = stop + len(separator)
