"""Records as rows of a table: CSV and Parquet.

The columns are those of a record; metadata and, in CSV, embeddings are cells of JSON. Parquet also
keeps what the collection itself is.
"""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import orjson

from vermilion.errors import InvalidArgumentError
from vermilion.pipes.files import Meter, need
from vermilion.pipes.lines import COLLECTION, Faults, Features, Line, Record, dumps, records_of
from vermilion.types import Records

# A cell may be as long as it likes.
LONGEST_CELL = 2**31 - 1

Header = dict[str, Any] | None


def names_of(features: Features) -> list[str]:
    """The columns: of the parts, and of the metadata keys that are wanted by name."""
    parts = [features.id, features.document, features.embedding]
    return [*parts, "uri", *(["metadata"] if features.metadata is None else features.metadata)]


def _cells(record: Record, features: Features) -> list[Any]:
    metadata = record["metadata"]
    if features.metadata is None:
        last = [None if metadata is None else _json(metadata)]
    else:
        last = [(metadata or {}).get(key) for key in features.metadata]
    return [record["id"], record["text_chunk"], record["embedding"], record.get("uri"), *last]


def _json(value: Any) -> str:
    return dumps(value).decode().rstrip("\n")


# ── writing ──────────────────────────────────────────────────────────────────────────────────────


def write(
    kind: str,
    stream: BinaryIO,
    pages: Iterable[Records],
    header: Header,
    features: Features,
    meter: Meter,
    *,
    begun: bool = False,
) -> None:
    """Writes pages of records; `begun` tells that the file has its first line already."""
    if kind == "csv":
        _write_csv(stream, pages, features, meter, begun)
    else:
        _write_parquet(stream, pages, header, features, meter)


def _write_csv(
    stream: BinaryIO, pages: Iterable[Records], features: Features, meter: Meter, begun: bool
) -> None:
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True)
    rows = csv.writer(text, lineterminator="\n")
    if not begun:
        rows.writerow(names_of(features))
    for page in pages:
        for record in records_of(page):
            cells = _cells(record, features)
            cells[2] = None if cells[2] is None else _json(cells[2])
            rows.writerow([_json(one) if isinstance(one, list) else one for one in cells])
        meter.advance(len(page))
    text.flush()
    text.detach()


def _write_parquet(
    stream: BinaryIO, pages: Iterable[Records], header: Header, features: Features, meter: Meter
) -> None:
    arrow, parquet = need("pyarrow", "arrow"), need("pyarrow.parquet", "arrow")
    described = None if header is None else {COLLECTION: _json(header)}
    kinds = [arrow.string(), arrow.string(), arrow.list_(arrow.float32()), arrow.string()]
    names = names_of(features)
    fields = [*zip(names, kinds, strict=False), *((name, arrow.string()) for name in names[4:])]
    schema = arrow.schema(fields, metadata=described)
    with parquet.ParquetWriter(_Forward(stream), schema, compression="zstd") as writer:
        for page in pages:
            writer.write_table(_table(arrow, schema, page, features))
            meter.advance(len(page))


def _table(arrow: Any, schema: Any, page: Records, features: Features) -> Any:
    columns = [*zip(*(_cells(one, features) for one in records_of(page)), strict=True)]
    for place in range(4, len(columns)):
        columns[place] = tuple(_cell(one) for one in columns[place])
    arrays = [arrow.array(one, field.type) for one, field in zip(columns, schema, strict=True)]
    return arrow.Table.from_arrays(arrays, schema=schema)


def _cell(value: Any) -> str | None:
    """A metadata value as the text of a cell."""
    return value if value is None or isinstance(value, str) else _json(value)


class _Forward(io.RawIOBase):
    """A stream that only goes on, and knows how far it has come: pipes and packed files."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._place = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def write(self, block: Any) -> int:
        size = memoryview(block).nbytes
        self._stream.write(block)
        self._place += size
        return size


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


def read(kind: str, stream: BinaryIO, faults: Faults, features: Features) -> Iterator[Line]:
    """The rows as records, with their numbers: lines of CSV, rows from 1 of Parquet."""
    rows = _csv_rows(stream, faults) if kind == "csv" else _parquet_rows(stream)
    for number, row in rows:
        try:
            for name in ("metadata", features.embedding):
                if isinstance(row.get(name), str):
                    row[name] = orjson.loads(row[name])
        except orjson.JSONDecodeError as error:
            faults.leave_out(number, InvalidArgumentError(f"{name}: not JSON: {error.msg}"))
            continue
        yield Line(number, features.record(row))


def _csv_rows(stream: BinaryIO, faults: Faults) -> Iterator[tuple[int, Record]]:
    csv.field_size_limit(LONGEST_CELL)
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    rows = csv.DictReader(text)
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except (csv.Error, UnicodeDecodeError) as error:
            faults.leave_out(rows.line_num, error)
            return  # what follows cannot be told apart
        # An empty cell is none: CSV does not tell the two apart.
        yield rows.line_num, {key: cell or None for key, cell in row.items() if key is not None}


def _parquet_rows(stream: BinaryIO) -> Iterator[tuple[int, Record]]:
    parquet = need("pyarrow.parquet", "arrow")
    arrow = need("pyarrow", "arrow")
    with tempfile.TemporaryFile() as copy:
        if not (stream.seekable() and hasattr(stream, "fileno")):
            while block := stream.read(1 << 20):
                copy.write(block)
            copy.seek(0)
            stream = copy
        try:
            file = parquet.ParquetFile(stream)
        except arrow.ArrowInvalid as error:
            raise InvalidArgumentError(f"it is no parquet file: {error}") from None
        header = (file.schema_arrow.metadata or {}).get(COLLECTION.encode())
        number = 0
        for batch in file.iter_batches(batch_size=1000):
            for row in batch.to_pylist():
                number += 1
                if header is not None:
                    row[COLLECTION], header = orjson.loads(header), None
                yield number, row
        if header is not None:
            yield 1, {COLLECTION: orjson.loads(header)}
