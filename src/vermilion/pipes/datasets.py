"""`ds-get` and `ds-put`: data sets in files, in folders, and on Hugging Face's hub."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from vermilion.errors import ArgumentValueError, NotFoundError
from vermilion.pipes import options, steps
from vermilion.pipes.files import Meter, need, told_downstream, writing
from vermilion.pipes.inputs import add_faults, add_input, input_name, records_in
from vermilion.pipes.lines import COLLECTION, Faults, Features, Line, Record, dumps
from vermilion.pipes.uri import DatasetUri

GET = "Read a data set: of files, or of Hugging Face's hub"
PUT = "Write records as a data set: to a file, or to Hugging Face's hub"

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet", ".arrow")
DEFAULT_SPLIT = "train"
ROWS = 1000


def add_get_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `ds-get`."""
    _add_common(parser, "document")
    parser.add_argument(
        "--stream", action=argparse.BooleanOptionalAction, default=False,
        help="do not download the whole of it first",
    )  # fmt: skip
    add_faults(parser)


def add_put_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `ds-put`."""
    _add_common(parser, "text_chunk")
    add_input(parser)
    parser.add_argument(
        "--private", action=argparse.BooleanOptionalAction, default=False,
        help="whether only you may see it on the hub",
    )  # fmt: skip


def _add_common(parser: argparse.ArgumentParser, document: str) -> None:
    options.add_environment(parser)
    options.add_dataset(parser)
    parser.add_argument("--split", default=DEFAULT_SPLIT, help=f"the part [{DEFAULT_SPLIT}]")
    options.add_features(parser, document=document)
    options.add_window(parser)
    options.add_batch_size(parser, "-b")


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


def get(arguments: argparse.Namespace) -> None:
    """Writes the rows of the data set as records."""
    uri: DatasetUri = arguments.uri
    faults, meter = Faults(arguments.on_error), Meter("read", quiet=arguments.quiet)
    features = options.features_of(arguments, uri)
    offset = options.wish(uri, arguments, "offset")
    limit = options.limit_of(options.wish(uri, arguments, "limit"))
    split = options.wish(uri, arguments, "split")
    with told_downstream():
        if uri.scheme == "hf":
            rows = _of_hub(uri, split, options.wish(uri, arguments, "stream"), features)
        else:
            rows = _of_files(uri, split, faults, features)
        window = islice(rows, offset, None if limit is None else offset + limit)
        steps.write((one.record for one in window), meter)
        meter.finish()
        faults.finish()


def _of_hub(uri: DatasetUri, split: str, stream: bool, features: Features) -> Iterator[Line]:
    library = _hub()
    rows = library.load_dataset(uri.name, split=split, streaming=stream)
    for number, row in enumerate(rows, 1):
        yield Line(number, features.record(dict(row)))


def _hub() -> Any:
    try:
        import datasets  # type: ignore[import-not-found, unused-ignore]  # large, and optional
    except ImportError:
        raise ArgumentValueError(
            "hf:// needs the package datasets of Hugging Face: pip install datasets"
        ) from None
    return datasets


def _of_files(uri: DatasetUri, split: str, faults: Faults, features: Features) -> Iterator[Line]:
    for path in files_of(Path(uri.name), split):
        if path.suffix == ".arrow":
            rows: Iterable[Record] = _arrow_rows(path)
        elif path.suffix == ".json":
            rows = _json_rows(path)
        else:
            with records_in(str(path), faults, features) as lines:
                yield from lines
            continue
        for number, row in enumerate(rows, 1):
            yield Line(number, features.record(row))


def files_of(place: Path, split: str) -> list[Path]:
    """The files of a split: the one that is named, those in its folder, or those named after it."""
    if place.is_file():
        return [place]
    folder = place / split if (place / split).is_dir() else place
    there = sorted(path for path in folder.glob("*") if _suffix(path) in SUFFIXES)
    named = [path for path in there if path.name.startswith((f"{split}.", f"{split}-"))]
    found = there if folder != place else named
    if not found:
        raise NotFoundError(f"{place}: there is no data set with a part {split!r}")
    return found


def _suffix(path: Path) -> str:
    return Path(path.name.removesuffix(".gz").removesuffix(".zst")).suffix


def _arrow_rows(path: Path) -> Iterator[Record]:
    """The rows of a file as Hugging Face's library saves it."""
    ipc = need("pyarrow.ipc", "arrow")
    with path.open("rb") as file:
        for batch in ipc.open_stream(file):
            yield from batch.to_pylist()


def _json_rows(path: Path) -> list[Record]:
    rows = orjson.loads(path.read_bytes())
    if not isinstance(rows, list):
        raise ArgumentValueError(f"{path}: expected a list of objects")
    return rows


# ── writing ──────────────────────────────────────────────────────────────────────────────────────


def put(arguments: argparse.Namespace) -> None:
    """Writes the records."""
    uri: DatasetUri = arguments.uri
    faults, meter = Faults(arguments.on_error), Meter("written", quiet=arguments.quiet)
    names = options.features_of(arguments, uri)
    split = options.wish(uri, arguments, "split")
    offset = options.wish(uri, arguments, "offset")
    limit = options.limit_of(options.wish(uri, arguments, "limit"))
    with records_in(input_name(arguments), faults, Features()) as lines:
        window = islice(lines, offset, None if limit is None else offset + limit)
        rows = _counted((_row(line, names) for line in window), meter)
        if uri.scheme == "hf":
            made = _hub().Dataset.from_list([*rows])
            made.push_to_hub(
                uri.name, split=split, private=options.wish(uri, arguments, "private"),
                token=os.environ.get("HF_TOKEN"),
            )  # fmt: skip
        else:
            _write_file(Path(uri.name), split, rows)
    meter.finish()
    faults.finish()


def _counted(rows: Iterable[Record], meter: Meter) -> Iterator[Record]:
    for row in rows:
        yield row
        meter.advance()


def _row(line: Line, names: Features) -> Record:
    record = {key: value for key, value in line.record.items() if key != COLLECTION}
    return {
        names.id: record["id"],
        names.document: record["text_chunk"],
        names.embedding: record["embedding"],
        "metadata": names.wanted(steps.metadata_of(record)) or None,
    }


def _write_file(place: Path, split: str, rows: Iterable[Record]) -> None:
    """One file: the one that is named, or the split's, as parquet, in the folder."""
    path = place if _suffix(place) in SUFFIXES else place / f"{split}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    if _suffix(path) == ".parquet":
        _write_parquet(path, rows)
        return
    if _suffix(path) != ".jsonl":
        raise ArgumentValueError(f"{path}: a data set is written as .jsonl or .parquet")
    with writing(str(path)) as stream:
        stream.writelines(map(dumps, rows))


def _write_parquet(path: Path, rows: Iterable[Record]) -> None:
    arrow, parquet = need("pyarrow", "arrow"), need("pyarrow.parquet", "arrow")
    pending, writer = iter(rows), None
    try:
        while batch := [*islice(pending, ROWS)]:
            for row in batch:
                metadata = row["metadata"]
                row["metadata"] = None if metadata is None else dumps(metadata).decode().strip()
            names = list(batch[0])
            kinds = [arrow.string(), arrow.string(), arrow.list_(arrow.float32()), arrow.string()]
            schema = arrow.schema([*zip(names, kinds, strict=True)])
            writer = writer or parquet.ParquetWriter(path, schema, compression="zstd")
            writer.write_table(arrow.Table.from_pylist(batch, schema=schema))
    finally:
        if writer is not None:
            writer.close()
