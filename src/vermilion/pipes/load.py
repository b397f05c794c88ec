"""`import`: a stream of records into a collection, batch by batch, each of them all or nothing."""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

from vermilion.api.embedder import Embedder
from vermilion.configuration import Configuration
from vermilion.embeddings.base import stored_form
from vermilion.engine import CollectionInfo
from vermilion.errors import InvalidArgumentError, NotFoundError, VermilionError
from vermilion.names import check_collection_name
from vermilion.pipes import headers, options
from vermilion.pipes.batches import Batches, Row, Rows
from vermilion.pipes.files import FORMATS, Meter
from vermilion.pipes.functions import add_function, make
from vermilion.pipes.inputs import add_input, input_name, records_in
from vermilion.pipes.lines import COLLECTION, Faults, Line
from vermilion.pipes.places import Door, open_door
from vermilion.pipes.writer import Writer

IMPORT = "Read records into a collection"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `import`."""
    options.add_environment(parser)
    options.add_uri(parser)
    add_input(parser)
    parser.add_argument(
        "--create", action=argparse.BooleanOptionalAction, default=False,
        help="make the collection if there is none, as the first record describes it",
    )  # fmt: skip
    parser.add_argument(
        "--upsert", action=argparse.BooleanOptionalAction, default=False,
        help="change records whose id exists; otherwise they stay as they are",
    )  # fmt: skip
    parser.add_argument(
        "--resume", action="store_true",
        help="leave out records whose id exists before anything is embedded",
    )  # fmt: skip
    options.add_window(parser, "lines")
    options.add_batch_size(parser)
    add_function(parser)
    options.add_features(parser, "-m")
    options.add_space(parser)
    parser.add_argument(
        "--format", choices=FORMATS, help="lines of JSON, csv or parquet [by the file name]"
    )
    options.add_threads(parser)


def load(arguments: argparse.Namespace) -> None:
    """Writes the records, and tells the totals."""
    faults, meter = Faults(arguments.on_error), Meter("imported", quiet=arguments.quiet)
    features, name = options.features_of(arguments), input_name(arguments)
    with records_in(name, faults, features, arguments.format) as lines:
        first = next(lines, None)
        if first is None:
            warnings.warn("no records came, so nothing was done", UserWarning, stacklevel=2)
            return
        form = first.record.pop(COLLECTION, None)
        form = None if form is None else headers.checked(form)
        rest = lines if _is_empty(first) and form is not None else chain([first], lines)
        create = options.wish(arguments.uri, arguments, "create_collection")
        with open_door(arguments.uri, arguments, write=True, create=create) as door:
            writer = _writer(door, arguments, form, create)
            _write(writer, _window(rest, arguments), arguments, faults, meter)
    meter.finish(writer.told())
    faults.finish()


def _is_empty(line: Line) -> bool:
    """Whether a line has nothing but the description of a collection."""
    return all(value is None for value in line.record.values())


def _window(lines: Iterator[Line], arguments: argparse.Namespace) -> Iterator[Line]:
    offset = options.wish(arguments.uri, arguments, "offset")
    limit = options.limit_of(options.wish(arguments.uri, arguments, "limit"))
    return islice(lines, offset, None if limit is None else offset + limit)


def _write(
    writer: Writer,
    lines: Iterator[Line],
    arguments: argparse.Namespace,
    faults: Faults,
    meter: Meter,
) -> None:
    rows = Rows(
        faults,
        dimension=writer.info.dimension,
        needs_ids=arguments.resume,
    )
    asked = options.wish(arguments.uri, arguments, "batch_size")
    batches = Batches(asked, writer.most_rows, keep_all=writer.upsert)
    try:
        for batch in batches.of(rows.of(lines)):
            _write_batch(writer, batch, faults)
            meter.advance(len(batch))
    except VermilionError as error:
        raise InvalidArgumentError(
            f"{error}; {writer.written:,} records before are stored, and nothing of this batch"
        ) from error
    writer.skipped += batches.repeated


def _write_batch(writer: Writer, batch: list[Row], faults: Faults) -> None:
    """One transaction; what the engine refuses is left out where that was asked for."""
    try:
        writer.write(batch)
    except writer.refusals as error:
        first, last = batch[0].number, batch[-1].number
        if faults.policy == "stop":
            lines = f"line {first}" if first == last else f"lines {first} to {last}"
            raise InvalidArgumentError(f"{lines}: {error}") from error
        if len(batch) == 1:
            faults.leave_out(first, error)
            return
        middle = len(batch) // 2
        _write_batch(writer, batch[:middle], faults)
        _write_batch(writer, batch[middle:], faults)


# ── the collection ───────────────────────────────────────────────────────────────────────────────


def _writer(
    door: Door, arguments: argparse.Namespace, form: dict[str, Any] | None, create: bool
) -> Writer:
    function = None if arguments.ef is None else make(arguments.ef, os.environ)
    space = options.wish(arguments.uri, arguments, "df")
    info = door.find()
    if info is None and not create:
        raise NotFoundError(f"{door.uri}: there is no collection {door.name!r}; --create makes it")
    if info is None:
        info = create_collection(door, form, space, function)
    else:
        _warn_of_difference(info, form, space)
    embedder = Embedder(function, info.configuration.embedding_function, None)
    upsert = options.wish(arguments.uri, arguments, "upsert")
    return Writer(door.engine, info, embedder, upsert=upsert, resume=arguments.resume)


def create_collection(
    door: Door, form: dict[str, Any] | None, space: str | None, function: Any = None
) -> CollectionInfo:
    """A new collection: as the stream describes it, but for the distance and the function given."""
    stored = None if function is None else stored_form(function)
    form = form or {}
    if stored is None and "embedding_function" not in (form.get("configuration") or {}):
        stored = stored_form(make("default", os.environ))  # what a new collection has
    made = headers.understand(headers.changed(form, space, stored))
    info, _ = door.engine.create_collection(
        check_collection_name(door.name),
        door.tenant,
        door.database,
        configuration=made.configuration,
        metadata=made.metadata,
        schema=made.schema,
        get_or_create=True,
    )
    return info


def _warn_of_difference(
    info: CollectionInfo, form: dict[str, Any] | None, space: str | None
) -> None:
    """A collection that exists keeps its distance, which may not be the one that came."""
    if form is None and space is None:
        return
    wanted = headers.understand(headers.changed(form or {}, space)).configuration
    has = info.configuration.hnsw.space
    if wanted.hnsw.space != has and (space is not None or wanted != Configuration()):
        warnings.warn(
            f"the collection {info.name} exists and measures by {has}, not by {wanted.hnsw.space}",
            UserWarning,
            stacklevel=2,
        )
