"""Chroma's SQLite file, opened so that not one byte of its directory changes.

A file with a journal or a write-ahead log beside it is copied, and the copy brings in what they
hold. A file with damaged tables is read page by page into a new one (see recovery.py), and that
one is read. Everything else is read where it is.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import apsw

from vermilion.errors import DamagedError, NotFoundError, StorageError
from vermilion.migration.recovery import LAYOUTS, Recovered, recover

FILE = "chroma.sqlite3"
_FLAGS = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
# At these two places a file says whether it is used with a write-ahead log.
_FORMATS = slice(18, 20)
_BUSY_MS = 10_000


def is_chroma_directory(path: Path) -> bool:
    """Whether a directory is one of Chroma's, and none of ours."""
    return (path / FILE).is_file() and not (path / "catalogue.db").exists()


class ChromaSqlite:
    """The tables of a Chroma directory, however damaged."""

    def __init__(self, directory: Path) -> None:
        """Raises NotFoundError when there is no such file, StorageError when it is not ours."""
        self.directory = directory
        self.recovered: Recovered | None = None
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        path = directory / FILE
        if not path.is_file():
            raise NotFoundError(f"{directory} holds no {FILE}: it is not a directory of Chroma")
        try:
            self._connection = self._open(path)
        except OSError as error:
            self.close()
            raise StorageError(f"{path} cannot be read: {error}") from error
        self._columns = {name: self._columns_of(name) for name in LAYOUTS}

    def close(self) -> None:
        """Lets go of the files, and removes the copies."""
        connection = getattr(self, "_connection", None)
        if connection is not None:
            connection.close(force=True)
        if self._copy is not None:
            self._copy.cleanup()
            self._copy = None

    def has(self, table: str, column: str | None = None) -> bool:
        """Whether this release of Chroma had such a table, and such a column."""
        columns = self._columns[table]
        return bool(columns) if column is None else column in columns

    def rows(self, statement: str, bindings: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """The answer to a query. Raises DamagedError."""
        try:
            yield from self._connection.execute(statement, bindings)
        except (apsw.Error, UnicodeDecodeError) as error:
            raise DamagedError(f"{FILE}: {error}") from error

    # ── opening ──────────────────────────────────────────────────────────────────────────────────

    def _open(self, path: Path) -> apsw.Connection:
        mode = "mode=ro"
        if _has_rest(path):
            path = self._copied(path)
        elif _uses_wal(path):
            mode = "immutable=1"  # it would make an empty log beside the file
        connection, flaw = _connect(path, mode)
        if connection is not None:
            flaw = _flaw(connection)
            if flaw is None:
                return connection
            connection.close(force=True)
        target = self._folder() / "recovered.sqlite3"
        self.recovered = recover(path, target, str(flaw))
        return apsw.Connection(str(target))

    def _folder(self) -> Path:
        if self._copy is None:
            self._copy = tempfile.TemporaryDirectory(prefix="vermilion-migrate-")
        return Path(self._copy.name)

    def _copied(self, path: Path) -> Path:
        folder = self._folder()
        for rest in ("", "-wal", "-journal"):
            file = path.with_name(path.name + rest)
            if file.exists():
                shutil.copyfile(file, folder / file.name)
        copy = folder / path.name
        try:  # brings in what was in the log, or takes back what was half written
            connection = apsw.Connection(str(copy))
            connection.pragma("journal_mode", "delete")
            connection.close()
        except apsw.Error:
            pass  # what can be read without it is read
        return copy

    def _columns_of(self, table: str) -> frozenset[str]:
        found = self.rows("select name from pragma_table_info(?)", (table,))
        return frozenset(name for (name,) in found)


def _has_rest(path: Path) -> bool:
    """Whether something lies beside the file that belongs to it."""
    rests = (path.with_name(path.name + rest) for rest in ("-wal", "-journal"))
    return any(rest.exists() and rest.stat().st_size for rest in rests)


def _uses_wal(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(20)[_FORMATS] == b"\2\2"


def _connect(path: Path, mode: str) -> tuple[apsw.Connection | None, str | None]:
    try:
        uri = f"file:{quote(path.absolute().as_posix())}?{mode}"
        connection = apsw.Connection(uri, flags=_FLAGS)
        connection.set_busy_timeout(_BUSY_MS)
        return connection, None
    except apsw.Error as error:
        return None, str(error)


def _flaw(connection: apsw.Connection) -> str | None:
    """What is wrong with the tables that are read; others, such as full-text indexes, may be."""
    try:
        found = {name for (name,) in connection.execute("select name from sqlite_schema")}
        missing = [name for name in ("collections", "segments", "embeddings") if name not in found]
        if missing:
            return f"the table {missing[0]} is missing"
        for table in LAYOUTS.keys() & found:
            lines = [line for (line,) in connection.execute(f"pragma quick_check({table})")]
            if lines != ["ok"]:
                return f"{table}: {lines[0]}"
    except (apsw.Error, UnicodeDecodeError) as error:
        return str(error)
    return None
