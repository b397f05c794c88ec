"""`export`: the records of a collection as a stream, in the order they were inserted."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import orjson

from vermilion.engine import Column, Selection
from vermilion.errors import ArgumentValueError, InvalidArgumentError
from vermilion.pipes import headers, options
from vermilion.pipes.files import (
    FORMATS,
    STANDARD,
    TABLES,
    Meter,
    format_of,
    output,
    told_downstream,
)
from vermilion.pipes.inputs import add_quiet
from vermilion.pipes.lines import COLLECTION, Features, Record, dumps, records_of
from vermilion.pipes.places import Source, open_source, page_rows
from vermilion.pipes.to_chroma import write_directory
from vermilion.pipes.window import Window
from vermilion.types import Records

EXPORT = "Write the records of a collection as lines of JSON"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `export`."""
    options.add_environment(parser)
    options.add_uri(parser)
    parser.add_argument("--out", metavar="FILE", help="a file; .gz and .zst are packed [stdout]")
    parser.add_argument(
        "--to", choices=("stream", "chroma"), default="stream",
        help="chroma: --out names a directory to be made, which Chroma 1.5 opens [stream]",
    )  # fmt: skip
    parser.add_argument(
        "--append", action=argparse.BooleanOptionalAction, default=False,
        help="add to the file instead of replacing it",
    )  # fmt: skip
    parser.add_argument(
        "--resume", action="store_true", help="go on where the file --out was cut off"
    )
    options.add_window(parser)
    options.add_batch_size(parser)
    options.add_features(parser)
    options.add_filters(parser)
    parser.add_argument(
        "--format", choices=FORMATS, help="record, jsonl (flat), csv or parquet [by the file name]"
    )
    parser.add_argument(
        "--embeddings", action=argparse.BooleanOptionalAction, default=True,
        help="whether embeddings are written",
    )  # fmt: skip
    parser.add_argument(
        "--with-config", action=argparse.BooleanOptionalAction, default=None,
        help="describe the collection in the first record; with this flag an empty one, too",
    )  # fmt: skip
    options.add_threads(parser)
    add_quiet(parser)


def export(arguments: argparse.Namespace) -> None:
    """Writes the stream, and the totals."""
    if arguments.to == "chroma":
        _export_to_chroma(arguments)
        return
    name, kind = arguments.out or STANDARD, format_of(arguments.out, arguments.format)
    _check(arguments, name, kind)
    if kind in TABLES:
        _export(arguments, name, kind)
    else:
        with told_downstream():
            _export(arguments, name, kind)


def _export_to_chroma(arguments: argparse.Namespace) -> None:
    if arguments.out is None:
        raise ArgumentValueError("--to chroma needs --out DIRECTORY")
    meter = Meter("exported", quiet=arguments.quiet)
    with open_source(arguments.uri, arguments) as source:
        meter.advance(write_directory(source, arguments.out))
    meter.finish()


def _check(arguments: argparse.Namespace, name: str, kind: str) -> None:
    goes_on = arguments.append or arguments.resume
    if goes_on and name == STANDARD:
        raise ArgumentValueError("--append and --resume need --out FILE")
    if goes_on and kind == "parquet":
        raise ArgumentValueError("--append and --resume: a parquet file cannot be continued")
    if arguments.resume and (kind in TABLES or name.endswith((".gz", ".zst"))):
        raise ArgumentValueError("--resume: only a file of lines that are not packed")


def _export(arguments: argparse.Namespace, name: str, kind: str) -> None:
    uri, selection = arguments.uri, options.selection_of(arguments)
    window = Window(
        options.wish(uri, arguments, "offset"),
        options.limit_of(options.wish(uri, arguments, "limit")),
    )
    columns: list[Column] = ["documents", "metadatas", "uris"]
    if arguments.embeddings:
        columns.append("vectors")
    features = options.features_of(arguments)
    meter = Meter("exported", quiet=arguments.quiet)
    with open_source(uri, arguments) as source:
        append = arguments.append or arguments.resume
        if arguments.resume and Path(name).exists():
            window = _resumed(Path(name), source, selection, window, features, kind)
        begun = append and Path(name).exists() and Path(name).stat().st_size > 0
        rows = page_rows(source.info, options.wish(uri, arguments, "batch_size"))
        pages = source.pages(selection, columns, rows, window)
        described = arguments.with_config is not False and not begun
        header = headers.describe(source.info) if described else None
        with output(name, append=append) as stream:
            if kind in TABLES:
                from vermilion.pipes import tables  # few streams are tables

                tables.write(kind, stream, pages, header, features, meter, begun=begun)
            else:
                _write_lines(stream, pages, header, features, kind, meter)
                if header is not None and not meter.count and arguments.with_config:
                    stream.write(dumps({COLLECTION: header}))
    meter.finish()


def _write_lines(
    stream: BinaryIO,
    pages: Iterator[Records],
    header: Record | None,
    features: Features,
    kind: str,
    meter: Meter,
) -> None:
    flat = kind == "jsonl"
    for page in pages:
        lines = []
        for record in records_of(page):
            if header is not None:
                record[COLLECTION], header = header, None
            if flat:
                record = features.flat(record)
            elif features.metadata is not None:
                record["metadata"] = features.wanted(record["metadata"])
            lines.append(dumps(record))
        stream.write(b"".join(lines))
        meter.advance(len(page))


# ── going on ─────────────────────────────────────────────────────────────────────────────────────


def _resumed(
    path: Path,
    source: Source,
    selection: Selection,
    window: Window,
    features: Features,
    kind: str,
) -> Window:
    """What the file does not have yet; a last line that was cut off is removed from it.

    Raises InvalidArgumentError when the file's last record is not where it would be now.
    """
    count, last, size = _complete(path)
    os.truncate(path, size)
    if not count:
        return window
    id = orjson.loads(last).get(features.id if kind == "jsonl" else "id")
    place = Window(window.offset + count - 1, 1)
    found = [one for page in source.pages(selection, (), 1, place) for one in page.ids]
    if found != [id]:
        raise InvalidArgumentError(
            f"{path} cannot be continued: its line {count} is record {id!r}, and in the collection "
            f"{found[0] if found else 'nothing'!r} is at that place now"
        )
    limit = None if window.limit is None else max(0, window.limit - count)
    return Window(window.offset + count, limit)


def _complete(path: Path) -> tuple[int, bytes, int]:
    """How many whole lines the file has, the last of them, and where it ends."""
    count, last, size = 0, b"", 0
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                count, last, size = count + 1, line, size + len(line)
    return count, last, size
