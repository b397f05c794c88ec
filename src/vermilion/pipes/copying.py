"""`copy`, `stats` and `diff`: what takes two pipes otherwise, in one command."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

from vermilion.api.embedder import Embedder
from vermilion.engine import Column, Selection
from vermilion.errors import AlreadyExistsError, InvalidArgumentError
from vermilion.pipes import headers, options, steps
from vermilion.pipes.batches import Row
from vermilion.pipes.files import Meter, output
from vermilion.pipes.inputs import add_quiet
from vermilion.pipes.lines import Record, dumps, records_of
from vermilion.pipes.load import create_collection
from vermilion.pipes.places import Source, open_door, open_source, page_rows
from vermilion.pipes.window import Window
from vermilion.pipes.writer import Writer

COPY = "Copy a collection into another database in one step"
STATS = "Tell what a collection is and holds"
DIFF = "Tell in what two collections differ, one record a line"

EVERYTHING: tuple[Column, ...] = ("vectors", "documents", "metadatas", "uris")


def add_copy_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `copy`."""
    options.add_uri(parser)
    options.add_second_uri(parser)
    options.add_filters(parser)
    options.add_window(parser)
    options.add_batch_size(parser)
    options.add_space(parser)
    parser.add_argument(
        "--upsert", action=argparse.BooleanOptionalAction, default=False,
        help="write into a collection that exists, and change records whose id exists",
    )  # fmt: skip
    parser.add_argument("--resume", action="store_true", help="go on with a copy that was cut off")
    add_quiet(parser)


def copy(arguments: argparse.Namespace) -> None:
    """Copies records and all that the collection itself is."""
    meter = Meter("copied", quiet=arguments.quiet)
    window = Window(arguments.offset, options.limit_of(arguments.limit))
    with (
        open_source(arguments.uri, arguments) as source,
        open_door(arguments.other, write=True, create=True) as door,
    ):
        info = door.find()
        if info is not None and not (arguments.upsert or arguments.resume):
            raise AlreadyExistsError(
                f"{arguments.other}: the collection exists; --upsert writes into it, --resume goes "
                "on with a copy"
            )
        if info is None:
            info = create_collection(door, headers.describe(source.info), arguments.df)
        embedder = Embedder(None, None, None)  # what has no vector has none in the copy
        writer = Writer(
            door.engine, info, embedder, upsert=arguments.upsert, resume=arguments.resume
        )
        rows = min(page_rows(source.info, arguments.batch_size), writer.most_rows)
        pages = source.pages(options.selection_of(arguments), EVERYTHING, rows, window)
        for page in pages:
            writer.write([_row(one) for one in records_of(page)])
            meter.advance(len(page))
    meter.finish(writer.told())


def _row(record: Record) -> Row:
    return Row(
        0, record["id"], record["embedding"], record["text_chunk"], record["metadata"],
        record.get("uri"),
    )  # fmt: skip


# ── stats ────────────────────────────────────────────────────────────────────────────────────────


def add_stats_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `stats`."""
    options.add_uri(parser)


def stats(arguments: argparse.Namespace) -> None:
    """Prints one object of JSON."""
    with open_source(arguments.uri, arguments) as source, output() as stream:
        counts = dict.fromkeys(("records", "documents", "metadatas", "uris", "characters"), 0)
        for page in source.pages(Selection(), EVERYTHING[1:], 2000, Window()):
            counts["records"] += len(page)
            texts = [one for one in page.documents or () if one is not None]
            counts["documents"] += len(texts)
            counts["characters"] += sum(map(len, texts))
            counts["metadatas"] += sum(one is not None for one in page.metadatas or ())
            counts["uris"] += sum(one is not None for one in page.uris or ())
        form = headers.describe(source.info)
        stream.write(dumps({**form, "dimension": source.info.dimension, **counts}))


# ── diff ─────────────────────────────────────────────────────────────────────────────────────────


def add_diff_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `diff`."""
    options.add_uri(parser)
    options.add_second_uri(parser)
    parser.add_argument(
        "--embeddings", action=argparse.BooleanOptionalAction, default=True,
        help="whether embeddings are compared",
    )  # fmt: skip
    add_quiet(parser)


PARTS = ("metadata", "embedding", "text_chunk", "uri")


def diff(arguments: argparse.Namespace) -> None:
    """Prints the differences. Raises InvalidArgumentError, exit code 1, when there are any."""
    meter = Meter("compared", quiet=arguments.quiet)
    columns = EVERYTHING if arguments.embeddings else EVERYTHING[1:]
    with (
        open_source(arguments.uri, arguments) as source,
        open_source(arguments.other) as other,
    ):
        before = dict(_digests(source, columns))
        steps.write(_differences(before, other, columns), meter)
    meter.finish()
    if meter.count:
        raise InvalidArgumentError(f"the two collections differ in {meter.count:,} records")


def _differences(
    before: dict[str, tuple[bytes, ...]], other: Source, columns: tuple[Column, ...]
) -> Iterator[Record]:
    for id, digests in _digests(other, columns):
        old = before.pop(id, None)
        if old is None:
            yield {"id": id, "change": "added"}
        elif old != digests:
            parts = zip(PARTS, old, digests, strict=True)
            yield {"id": id, "change": "changed", "in": [part for part, a, b in parts if a != b]}
    for id in before:
        yield {"id": id, "change": "removed"}


def _digests(
    source: Source, columns: tuple[Column, ...]
) -> Iterator[tuple[str, tuple[bytes, ...]]]:
    """Each id with a short hash of each part: few bytes a record, however large it is."""
    for page in source.pages(Selection(), columns, page_rows(source.info, None), Window()):
        for record in records_of(page):
            yield record["id"], tuple(_digest(record.get(part)) for part in PARTS)


def _digest(part: Any) -> bytes:
    if part is None:
        return b""
    if isinstance(part, dict):
        part = dict(sorted(part.items()))
    return blake2b(dumps({"": part}), digest_size=8).digest()
