"""Writes a directory that Chroma 1.5 opens.

Everything goes into its queue of writes, as if it had been added a moment ago; Chroma makes its
own tables and indexes of that when it opens the collection for the first time.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from hashlib import md5
from pathlib import Path
from typing import Any
from uuid import uuid4

import apsw

from vermilion.errors import StorageError
from vermilion.migration.chroma_dir import Loss
from vermilion.migration.chroma_queue import ADD, DOCUMENT, URI
from vermilion.migration.chroma_sqlite import FILE
from vermilion.migration.moving import (
    EVERYTHING_WANTED,
    Moved,
    Options,
    Progress,
    Report,
    wanted_of,
)
from vermilion.migration.places import Described, Source, title
from vermilion.types import DEFAULT_DATABASE, DEFAULT_TENANT, Records, SparseVector
from vermilion.wire.schemas import write_schema

ROWS = 1000
# The texts of its migrations, taken from a directory that it made.
TABLES = "chroma_tables.json"
_FIRST = (
    "create table migrations (dir text not null, version integer not null, filename text not null,"
    " sql text not null, hash text not null, primary key (dir, version))",
    "create table acquire_write (id integer primary key, lock_status integer not null)",
)
_QUEUE = '{"automatically_purge":true,"_type":"EmbeddingsQueueConfigurationInternal"}'
_SEGMENTS = (
    ("urn:chroma:segment/vector/hnsw-local-persisted", "VECTOR"),
    ("urn:chroma:segment/metadata/sqlite", "METADATA"),
)
_TOPIC = "persistent://default/default/"
_DEFAULT_DATABASE_ID = "00000000-0000-0000-0000-000000000000"
_DRAFT = ".writing"


def write_chroma(
    source: Source,
    target: Path,
    options: Options = EVERYTHING_WANTED,
    progress: Progress = lambda title, rows: None,
) -> Report:
    """Makes the directory `target` for Chroma, with what is wanted of the source.

    It appears when everything is in it. Raises StorageError when there is something already.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise StorageError(f"{target} is not empty: a directory for Chroma is made anew")
    draft = target.with_name(target.name + _DRAFT)
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
        report = _written(source, draft / FILE, options, progress)
        if target.exists():
            target.rmdir()
        draft.rename(target)
    except OSError as error:
        raise StorageError(f"{target} cannot be written: {error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return report


def _written(source: Source, file: Path, options: Options, progress: Progress) -> Report:
    connection = apsw.Connection(str(file))
    try:
        with connection:
            report = _Writer(connection, source, options, progress).run()
    except apsw.Error as error:
        raise StorageError(f"{file}: {error}") from error
    finally:
        connection.close()
    return report


class _Writer:
    """Fills the tables of one new file."""

    def __init__(
        self,
        connection: apsw.Connection,
        source: Source,
        options: Options,
        progress: Progress,
    ) -> None:
        self._connection = connection
        self._source = source
        self._options = options
        self._progress = progress
        self._databases: dict[tuple[str, str], str] = {}

    def run(self) -> Report:
        """Writes everything."""
        self._make_tables()
        report = Report(losses=self._source.losses)
        wanted, databases = wanted_of(self._source, self._options)
        for place in {(DEFAULT_TENANT, DEFAULT_DATABASE), *databases}:
            self._add_database(*place)
        for collection in wanted:
            before = len(self._source.losses)
            moved = self._add_collection(collection)
            told = self._source.losses[before:]
            moved.lost = sum(loss.lost for loss in told)
            moved.noted = len(told) - moved.lost
            report.collections.append(moved)
        return report

    def _make_tables(self) -> None:
        """Makes the tables as Chroma 1.5 says that it made them: it compares every word of it."""
        for statement in _FIRST:
            self._connection.execute(statement)
        text = (Path(__file__).parent / TABLES).read_text("utf-8")
        for folder, version, name, sql in json.loads(text):
            self._connection.execute(sql)
            digest = md5(sql.encode(), usedforsecurity=False).hexdigest()
            self._insert("migrations", (folder, version, name, sql, digest))
        self._insert("acquire_write", (1, 1))
        self._connection.execute(
            "insert or replace into embeddings_queue_config values (1, ?)", (_QUEUE,)
        )

    def _insert(self, table: str, values: tuple[Any, ...]) -> None:
        marks = ", ".join("?" * len(values))
        self._connection.execute(f"insert into {table} values ({marks})", values)

    def _add_database(self, tenant: str, database: str) -> None:
        usual = (tenant, database) == (DEFAULT_TENANT, DEFAULT_DATABASE)
        id = _DEFAULT_DATABASE_ID if usual else str(uuid4())
        self._connection.execute("insert or ignore into tenants values (?)", (tenant,))
        self._connection.execute(
            "insert or ignore into databases values (?, ?, ?)", (id, database, tenant)
        )
        self._databases[(tenant, database)] = id

    def _add_collection(self, collection: Described) -> Moved:
        id = str(collection.id)
        schema = write_schema(collection.schema, collection.configuration)
        self._insert(
            "collections",
            (
                id,
                collection.name,
                None,
                self._databases[(collection.tenant, collection.database)],
                "{}",
                json.dumps(schema, ensure_ascii=False),
            ),
        )
        for key, value in (collection.metadata or {}).items():
            self._insert("collection_metadata", (id, key, *_columns(value)))
        for kind, scope in _SEGMENTS:
            self._insert("segments", (str(uuid4()), kind, scope, id))
        moved = Moved(title(collection), "migrated", id, id)
        dimension = None
        for page in self._source.records(collection, ROWS):
            rows = self._rows(collection, page)
            if rows:
                self._add_records(rows)
                dimension = len(rows[0][3]) // 4
            moved.rows += len(rows)
            self._progress(moved.title, moved.rows)
        self._connection.execute(
            "update collections set dimension = ? where id = ?", (dimension, id)
        )
        return moved

    def _rows(self, collection: Described, page: Records) -> list[tuple[int, str, str, bytes, str]]:
        """The rows of the queue; records that Chroma cannot have are told as lost."""
        assert page.embeddings is not None
        topic, empty = f"{_TOPIC}{collection.id}", [None] * len(page)
        columns = zip(
            page.ids,
            page.embeddings,
            page.documents or empty,
            page.uris or empty,
            page.metadatas or empty,
            strict=True,
        )
        rows = []
        for id, vector, document, uri, metadata in columns:
            cells = self._cells(collection, id, document, uri, metadata)
            if vector is None:
                what = "a directory of Chroma cannot have a record without a vector"
                known = {"record": json.loads(cells)}
                self._source.losses.append(
                    Loss(title(collection), what, id, lost=True, known=known)
                )
            else:
                rows.append((ADD, topic, id, vector.astype("<f4").tobytes(), cells))
        return rows

    def _add_records(self, rows: list[tuple[int, str, str, bytes, str]]) -> None:
        self._connection.executemany(
            "insert into embeddings_queue (operation, topic, id, vector, encoding, metadata)"
            " values (?, ?, ?, ?, 'FLOAT32', ?)",
            rows,
        )

    def _cells(
        self,
        collection: Described,
        id: str,
        document: str | None,
        uri: str | None,
        metadata: Mapping[str, Any] | None,
    ) -> str:
        cells: dict[str, Any] = {}
        for key, value in (metadata or {}).items():
            if isinstance(value, SparseVector):
                what = f"a directory of Chroma cannot have the sparse vector in {key!r}"
                known = {key: value.to_dict()}
                self._source.losses.append(Loss(title(collection), what, id, known=known))
            else:
                cells[key] = value
        cells |= {} if document is None else {DOCUMENT: document}
        cells |= {} if uri is None else {URI: uri}
        return json.dumps(cells, ensure_ascii=False)


def _columns(value: object) -> tuple[Any, Any, Any, Any]:
    """A metadata value in the column of its type."""
    if isinstance(value, bool):
        return None, None, None, int(value)
    if isinstance(value, str):
        return value, None, None, None
    return (None, value, None, None) if isinstance(value, int) else (None, None, value, None)
