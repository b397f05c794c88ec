"""A collection in one file, to be kept or mailed: its records, and what it was called.

The file is that of the records with one more table. Whoever opens one made by a stranger trusts
nothing: its tables have to be exactly those of a store, and every checksum has to agree.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import apsw

from vermilion.configuration import for_new_collection
from vermilion.engine import CollectionInfo
from vermilion.errors import DamagedError, StorageError, VersionMismatchError
from vermilion.local.backup import info_form, info_of
from vermilion.local.checker import check_store
from vermilion.local.history import drop
from vermilion.local.snapshot import BARE
from vermilion.local.sqlite import alone_in, copy_pages, harden, template, translated
from vermilion.local.store import RECORDS, SCRIPT, Store
from vermilion.local.transaction import Transaction
from vermilion.names import check_collection_metadata
from vermilion.schema.rules import rules_of

FORMAT = 1
_TABLE = "create table bundle (format integer not null, collection text not null)"
_PARTS = "select type, name, tbl_name, sql from sqlite_master order by type, name"


def save(info: CollectionInfo, store: Store, path: Path) -> None:
    """Writes the collection, as it is at one moment, to a new file."""
    if path.exists():
        raise StorageError(f"{path} exists already")
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    with translated(str(path)):
        draft.touch(exist_ok=False)
    try:
        with store.reading() as snapshot, alone_in(draft) as connection:
            copy_pages(snapshot.connection, connection)
            with connection:
                drop(connection)
                _without_segments(connection, info.name)
                connection.execute(_TABLE)
                form = json.dumps(info_form(info), ensure_ascii=False)
                connection.execute("insert into bundle values (?, ?)", (FORMAT, form))
            connection.execute("vacuum")
        with translated(str(path)):
            with open(draft, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def load(path: Path, folder: Path) -> CollectionInfo:
    """Fills an empty folder with the records of a bundle; returns what they were.

    Raises DamagedError when anything of the file is not what `save` writes.
    """
    records = folder / RECORDS
    with translated(str(path)):
        shutil.copyfile(path, records)
    try:
        with alone_in(records) as connection:
            connection.pragma("trusted_schema", False)
            connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
            info = _info(connection)
            connection.execute("drop table bundle")
            parts = [part for part in connection.execute(_PARTS) if part[3] != BARE]
            if parts != _parts_of_a_store():
                raise DamagedError("it has other tables than a collection")
    except DamagedError as error:
        raise DamagedError(f"{path} is no bundle, or a damaged one: {error}") from error
    harden(records)
    store = Store.open(records, info.name, "normal")
    try:
        problems = check_store(store, None, deep=True)
    finally:
        store.close()
    for left in (f"{RECORDS}-wal", f"{RECORDS}-shm", "records.lock"):
        with suppress(FileNotFoundError):
            (folder / left).unlink()
    if problems:
        raise DamagedError(f"{path} is damaged: {problems[0].detail}")
    return info


def _without_segments(connection: apsw.Connection, name: str) -> None:
    transaction = Transaction(connection, name)
    names = [row.name for row in transaction.segments()]
    if names:
        transaction.forget_segments(names, transaction.all_keys().tolist())


def _info(connection: apsw.Connection) -> CollectionInfo:
    try:
        row: Any = connection.execute("select format, collection from bundle").fetchone()
        format, text = row
        if isinstance(format, int) and format > FORMAT:
            raise VersionMismatchError(
                f"The bundle is of format {format}, this release reads up to {FORMAT}"
            )
        return _checked(info_of(json.loads(text)))
    except (apsw.Error, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedError(f"it does not say what collection it holds: {error}") from error


def _checked(info: CollectionInfo) -> CollectionInfo:
    """Raises ValueError for a configuration, metadata or schema that no collection can have."""
    stored = {
        name: value
        for name, value in info.configuration.to_stored()["hnsw"].items()
        if value is not None
    }
    for_new_collection({"hnsw": stored}, None)
    check_collection_metadata(info.metadata)
    rules_of(info.schema)
    function = info.configuration.embedding_function
    if function is not None and function.get("type") not in ("legacy", "known"):
        raise ValueError(f"an embedding function of type {function.get('type')!r}")
    return info


def _parts_of_a_store() -> list[Any]:
    connection = apsw.Connection(":memory:")
    with closing(connection):
        connection.deserialize("main", template(8192, SCRIPT))
        return connection.execute(_PARTS).fetchall()
