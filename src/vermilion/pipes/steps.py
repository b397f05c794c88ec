"""What every step between two pipes does: records in, records out, the first one's extra kept."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator

from vermilion.errors import InvalidArgumentError
from vermilion.pipes.files import Meter, output, told_downstream
from vermilion.pipes.inputs import add_input, input_name, records_in
from vermilion.pipes.lines import COLLECTION, Faults, Features, Line, Record, dumps

# One record becomes any number of records. What cannot be done raises ValueError.
Change = Callable[[Record], Iterable[Record]]

# So many bytes are written at once.
BLOCK = 1 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments that every step has."""
    add_input(parser)


def run(
    arguments: argparse.Namespace, verb: str, change: Change, features: Features | None = None
) -> None:
    """Writes what the change makes of the records that are read."""
    run_lines(arguments, verb, lambda lines, faults: changed(lines, change, faults), features)


def run_lines(
    arguments: argparse.Namespace,
    verb: str,
    change: Callable[[Iterator[Line], Faults], Iterator[Record]],
    features: Features | None = None,
) -> None:
    """The same, for a change that looks at more than one record at a time."""
    faults, meter = Faults(arguments.on_error), Meter(verb, quiet=arguments.quiet)
    with (
        told_downstream(),
        records_in(input_name(arguments), faults, features or Features()) as lines,
    ):
        write(change(lines, faults), meter)
        meter.finish()
        faults.finish()


def write(records: Iterable[Record], meter: Meter) -> None:
    """Writes records to standard output, in blocks."""
    with output() as stream:
        block, size = [], 0
        for record in records:
            line = dumps(record)
            block.append(line)
            size += len(line)
            meter.advance()
            if size >= BLOCK:
                stream.write(b"".join(block))
                block, size = [], 0
        stream.write(b"".join(block))


def changed(lines: Iterator[Line], change: Change, faults: Faults) -> Iterator[Record]:
    """The records that the change makes; what the collection is goes with the first of them."""
    pending: object = None
    for number, record in lines:
        pending = record.pop(COLLECTION, pending)
        if pending is not None and is_bare(record):
            yield {COLLECTION: pending}
            pending = None
            continue
        try:
            made = [*change(record)]
        except (InvalidArgumentError, ValueError, TypeError) as error:
            faults.leave_out(number, error)
            continue
        for one in made:
            if pending is not None:
                one, pending = {**one, COLLECTION: pending}, None
            yield one


def is_bare(record: Record) -> bool:
    """Whether there is nothing in the record, as when it only described a collection."""
    return all(value is None for value in record.values())


def text_of(record: Record) -> str | None:
    """The document. Raises ValueError for what is none."""
    text = record["text_chunk"]
    if text is not None and not isinstance(text, str):
        raise InvalidArgumentError(f"expected a text or null, got {text!r}")
    return text


def metadata_of(record: Record) -> dict[str, object]:
    """A copy of the metadata. Raises ValueError for what is none."""
    metadata = record["metadata"]
    if metadata is not None and not isinstance(metadata, dict):
        raise InvalidArgumentError(f"expected metadata to be an object or null, got {metadata!r}")
    return dict(metadata or {})
