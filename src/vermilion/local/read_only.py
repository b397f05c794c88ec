"""Connections to a SQLite file that is only read: no lock file, and no change to what is stored.

Where SQLite may put its shared memory beside the file, or a writer has put it there, reading goes
on beside writers as usual. On a medium that cannot be written it cannot say that it is reading;
then a connection takes the files as they are and serves for one read, so the next sees what has
changed. Measured on SQLite 3.54 with a file system mounted read-only.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

import apsw

_FLAGS = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI


class Unlocked(apsw.Connection):
    """A connection that takes no locks: good for one read, not to be kept."""


def connect(path: Path) -> apsw.Connection:
    """A connection that can read the file. Raises apsw.CantOpenError."""
    connection = apsw.Connection(_uri(path, "mode=ro"), flags=_FLAGS)
    try:
        _look(connection)
        return connection
    except (apsw.CantOpenError, apsw.ReadOnlyError):
        connection.close(force=True)
    return _connect_unlocked(path)


def _connect_unlocked(path: Path) -> Unlocked:
    if not _has_wal(path):
        connection = Unlocked(_uri(path, "immutable=1"), flags=_FLAGS)
    else:
        # "immutable" would leave out what is in the WAL. Without locks and in exclusive mode its
        # index is made in this process's memory, and nothing beside the file.
        nobody = "win32-none" if os.name == "nt" else "unix-none"
        connection = Unlocked(_uri(path, "mode=ro"), flags=_FLAGS, vfs=nobody)
        connection.pragma("locking_mode", "exclusive")
    try:
        _look(connection)
    except BaseException:
        connection.close(force=True)
        raise
    return connection


def _has_wal(path: Path) -> bool:
    try:
        return os.stat(f"{path}-wal").st_size > 0
    except FileNotFoundError:
        return False


def _look(connection: apsw.Connection) -> None:
    """Reads something: only then does SQLite open the WAL."""
    connection.execute("select 1 from sqlite_schema limit 1").fetchall()


def _uri(path: Path, parameters: str) -> str:
    return f"file:{quote(path.absolute().as_posix())}?{parameters}"
