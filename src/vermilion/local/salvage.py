"""Brings what can still be read out of a damaged directory into a new one.

Works on a copy, and believes nothing: a range of keys that cannot be read is halved until what is
left are single keys, and a record comes out only if its checksums and its id agree. The rest, and
all that is known of it, is written down in a report.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TextIO
from uuid import UUID
from zlib import crc32

import apsw
import numpy as np

from vermilion.configuration import Configuration
from vermilion.engine import CollectionInfo
from vermilion.errors import StorageError, VermilionError
from vermilion.local.catalogue import Catalogue
from vermilion.local.engine import CATALOGUE, COLLECTIONS, LOST, LocalEngine
from vermilion.local.rows import checksum, decode_metadata, hash_id
from vermilion.local.store import RECORDS
from vermilion.records import Batch, spread
from vermilion.types import DEFAULT_DATABASE, DEFAULT_TENANT, Address

REPORT = "salvage.jsonl"
PAGE = 500
_UNREADABLE = (apsw.Error, UnicodeDecodeError)

_RECORDS = (
    "select key, id, document, uri, metadata, crc from records where key between ? and ?"
    " order by key"
)
_VECTORS = "select key, vector, crc from vectors where key between ? and ? order by key"


class Salvaged(NamedTuple):
    """What came out of a collection; `lost` counts records and ranges of keys in the report."""

    name: str
    records: int
    lost: int


def salvage(source: Path, target: Path) -> list[Salvaged]:
    """Fills the new directory `target`, and writes the report beside the records.

    Nobody else may have the source open; it is not changed.
    """
    if not source.is_dir():
        raise StorageError(f"{source} is not a directory")
    if target.exists() and any(target.iterdir()):
        raise StorageError(f"{target} is not empty: records are brought out into a new directory")
    target.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="copy-", dir=target) as copy,
        open(target / REPORT, "w", encoding="utf-8") as report,
        closing(LocalEngine(target, durability="normal")) as engine,
    ):
        infos = _collections(engine, source, Path(copy), report)
        return [_salvage(engine, source, Path(copy), info, report) for info in infos]


def _collections(
    engine: LocalEngine, source: Path, copy: Path, report: TextIO
) -> list[CollectionInfo]:
    """What the catalogue says; without it, a collection for each folder, named by its id."""
    try:
        _copy(source, copy, CATALOGUE)
        with closing(Catalogue(copy / CATALOGUE, "normal")) as catalogue:
            databases, infos = catalogue.every_database(), catalogue.every_collection()
            known, deleted = catalogue.ids()
    except (VermilionError, ValueError, KeyError, OSError) as error:
        _write(report, None, "the catalogue cannot be read", detail=str(error))
        return [_unnamed(id) for id in sorted(_folders(source))]
    for tenant in {tenant for tenant, _ in databases} - {DEFAULT_TENANT}:
        engine.create_tenant(tenant)
    for tenant, name in databases:
        if (tenant, name) != (DEFAULT_TENANT, DEFAULT_DATABASE):
            engine.create_database(name, tenant)
    forgotten = sorted(set(_folders(source)) - known - deleted)
    for id in forgotten:
        _write(report, str(id), "the catalogue has lost the name and the configuration")
    return infos + [_unnamed(id) for id in forgotten]


def _folders(source: Path) -> dict[UUID, Path]:
    """The folders with records, by the ids of their collections."""
    found = {}
    for root in (LOST, COLLECTIONS):
        for path in (source / root).glob(f"*/{RECORDS}"):
            with suppress(ValueError):  # the folder of something else
                found[UUID(path.parent.name)] = path.parent
    return found


def _unnamed(id: UUID) -> CollectionInfo:
    return CollectionInfo(
        id, str(id), DEFAULT_TENANT, DEFAULT_DATABASE, Configuration(), None, None
    )


def _copy(source: Path, copy: Path, name: str) -> None:
    """The file and its WAL: reading would bring the WAL into the file, and the source stays."""
    for file in (name, f"{name}-wal"):
        if (source / file).exists():
            shutil.copyfile(source / file, copy / file)


def _write(report: TextIO, collection: str | None, what: str, **known: Any) -> None:
    line = {"collection": collection, "what": what, **known}
    report.write(json.dumps(line, ensure_ascii=False) + "\n")


# ── one collection ───────────────────────────────────────────────────────────────────────────────


def _salvage(
    engine: LocalEngine, source: Path, copy: Path, info: CollectionInfo, report: TextIO
) -> Salvaged:
    made, _ = engine.create_collection(
        info.name,
        info.tenant,
        info.database,
        configuration=info.configuration,
        metadata=info.metadata,
        schema=info.schema,
    )
    folder = _folders(source).get(info.id)
    if folder is None:
        return Salvaged(info.name, 0, 0)
    place = copy / str(info.id)
    place.mkdir()
    _copy(folder, place, RECORDS)
    connection = apsw.Connection(str(place / RECORDS))
    try:
        rescue = _Rescue(connection, info.name, report)
        records = sum(_add(engine, made.address, page) for page in rescue.pages())
    finally:
        connection.close()
        shutil.rmtree(place)
    return Salvaged(info.name, records, rescue.lost)


Row = tuple[str, str | None, str | None, str | None, bytes]


def _add(engine: LocalEngine, address: Address, rows: list[Row]) -> int:
    ids, documents, uris, metadatas, blobs = map(list, zip(*rows, strict=True))
    has_vector = np.array([bool(blob) for blob in blobs], np.bool_)
    there = [np.frombuffer(blob, "<f4") for blob in blobs if blob]
    vectors = spread(np.stack(there), has_vector) if there else None
    batch = Batch(
        ids,
        vectors,
        has_vector,
        documents,
        uris,
        [decode_metadata(text) for text in metadatas],
        bare=True,
    )
    return engine.add(address, batch).inserted


class _Rescue:
    """Reads one damaged file, and tells the report what is lost."""

    def __init__(self, connection: apsw.Connection, name: str, report: TextIO) -> None:
        self._connection = connection
        self._name = name
        self._report = report
        self.lost = 0

    def pages(self) -> Iterator[list[Row]]:
        """The records that are whole, in their order."""
        try:
            end, width = self._bounds()
        except _UNREADABLE as error:
            self._lose("the file cannot be read", detail=str(error))
            return
        for lo in range(1, end + 1, PAGE):
            hi = min(lo + PAGE - 1, end)
            vectors = {key: cells for key, *cells in self._rows("vectors", _VECTORS, lo, hi)}
            whole = [
                self._whole(key, cells, vectors.pop(key, None), width)
                for key, *cells in self._rows("records", _RECORDS, lo, hi)
            ]
            rows = [row for row in whole if row is not None]
            for key in vectors:
                self._lose("a vector without a record", key=key)
            if rows:
                yield rows

    def _bounds(self) -> tuple[int, int]:
        """The last key there can be, and the bytes of a vector; of the tables if head is lost."""
        head = "select next_key - 1, 4 * coalesce(dimension, 0) from head"
        tables = (
            "select (select max(key) from records),"
            " (select length(vector) from vectors where vector <> x'' order by key desc limit 1)"
        )
        try:
            end, width = self._connection.execute(head).fetchone() or (None, None)
        except _UNREADABLE as error:
            self._lose("the table head cannot be read", detail=str(error))
            end, width = self._connection.execute(tables).fetchone() or (None, None)
        return int(end or 0), int(width or 0)

    def _lose(self, what: str, **known: Any) -> None:
        self.lost += 1
        _write(self._report, self._name, what, **known)

    def _rows(self, table: str, statement: str, lo: int, hi: int) -> list[Any]:
        """The rows of a range of keys; from where it cannot be read on, it is halved."""
        rows, error = self._scan(statement, lo, hi)
        start = rows[-1][0] + 1 if rows else lo
        if error is None or start > hi:
            return rows
        if lo == hi:
            self._lose(f"{table}: a key cannot be read", key=lo, detail=error)
            return []
        middle = (start + hi) // 2
        rows += self._rows(table, statement, start, middle)
        if middle < hi:
            rows += self._rows(table, statement, middle + 1, hi)
        return rows

    def _scan(self, statement: str, lo: int, hi: int) -> tuple[list[Any], str | None]:
        """The rows up to the first that cannot be read, and why it cannot."""
        rows: list[Any] = []
        try:
            for row in self._connection.execute(statement, (lo, hi)):
                rows.append(row)
        except _UNREADABLE as error:
            return rows, str(error)
        if any(one[0] >= two[0] for one, two in pairwise(rows)):
            # A damaged key stands where another was: what of this is whose, smaller ranges tell.
            return [], "keys are out of order"
        return rows, None

    def _whole(
        self, key: int, cells: list[Any], vector: list[Any] | None, width: int
    ) -> Row | None:
        """The record, if all of it is what was written; else it is told to the report."""
        id, document, uri, metadata, crc = cells
        wrong = None
        if not self._is_sound(cells):
            wrong = "a record is not what was written"
        elif not self._belongs(id, key):
            wrong = "a record has another key than its id"
        elif vector is None:
            wrong = "a record without a vector"
        elif len(vector[0]) not in (0, width) or crc32(vector[0]) != vector[1]:
            wrong = "the vector is not what was written"
        if wrong is None and vector is not None:
            return id, document, uri, metadata, vector[0]
        known = {"id": id, "document": document, "uri": uri, "metadata": metadata}
        self._lose(str(wrong), key=key, **{name: _shown(value) for name, value in known.items()})
        return None

    def _is_sound(self, cells: list[Any]) -> bool:
        *written, crc = cells
        try:
            decode_metadata(written[3])
            return bool(checksum(*written) == crc)
        except (TypeError, ValueError):
            return False

    def _belongs(self, id: str, key: int) -> bool:
        """Whether the ids say so, too; ids that cannot be read say nothing against it."""
        for statement in (
            "select 1 from ids where hash = ? and key = ?",
            "select 1 from recent_ids where hash = ? and key = ?",
        ):
            try:
                if self._connection.execute(statement, (hash_id(id), key)).fetchone():
                    return True
            except _UNREADABLE:
                return True
        return False


def _shown(cell: Any) -> Any:
    return cell if cell is None or isinstance(cell, str | int | float) else repr(cell)
