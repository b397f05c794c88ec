"""The catalogue: which tenants, databases and collections exist, and how each was configured."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import apsw

from vermilion.configuration import Changes, Configuration
from vermilion.engine import CollectionInfo
from vermilion.errors import (
    AlreadyExistsError,
    NotFoundError,
    StorageError,
    UnknownDatabaseError,
    VersionMismatchError,
)
from vermilion.local.rows import decode_metadata, encode_metadata
from vermilion.local.sqlite import Database as File
from vermilion.local.sqlite import create_file, integrity, template
from vermilion.switching import with_function
from vermilion.types import Address, Database, Durability

FORMAT = 2
PAGE_SIZE = 4096
SCRIPT = "catalogue.sql"
# What makes a file of a format one of the next. Records of the first format are as they were.
STEPS = {
    1: "alter table collections add column dimension integer;"
    "create table deleted (id text primary key) without rowid;"
    "update head set format = 2"
}
# What stands for the dimension of a collection that has had more than one.
VARIES = 0

# It may have been deleted; its id is always this one.
_DEFAULT_DATABASE = (
    "insert or ignore into databases (id, tenant, name)"
    " values ('00000000-0000-0000-0000-000000000000', 'default_tenant', 'default_database')"
)
_COLLECTION = (
    "select c.id, c.name, d.tenant, d.name, c.configuration, c.metadata, c.schema, {}"
    " from collections c join databases d on d.id = c.database"
)
_BY_ID = " where c.id = ? and d.tenant = ? and d.name = ?"


class Catalogue:
    """The catalogue of one directory, or one in memory when `path` is None."""

    def __init__(
        self, path: Path | None, durability: Durability, *, read_only: bool = False
    ) -> None:
        self._file = File(path, durability=durability, read_only=read_only, script=SCRIPT)
        if path is not None and not path.exists():
            if read_only:
                raise StorageError(f"{path.parent} has no database, and read_only makes none")
            with self._file.exclusive():
                if not path.exists():  # another process may have been first
                    create_file(path, template(PAGE_SIZE, SCRIPT))
        try:
            self._format = self._open(read_only)
        except BaseException:
            self._file.close()
            raise

    def _open(self, read_only: bool) -> int:
        """Brings an old file up to date, if it may; returns the format."""
        with self._file.reading() as connection:
            format = _format(connection)
        if format < FORMAT and not read_only:
            with self._file.writing() as connection:
                while (format := _format(connection)) < FORMAT:
                    connection.execute(STEPS[format])
        return format

    @property
    def _select(self) -> str:
        return _COLLECTION.format("null" if self._format < 2 else "c.dimension")

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keeps every other writer of the catalogue waiting."""
        with self._file.exclusive():
            yield

    # ── tenants and databases ────────────────────────────────────────────────────────────────────

    def create_tenant(self, name: str) -> None:
        """Adds a tenant."""
        with self._file.writing() as connection:
            if _has_tenant(connection, name):
                raise AlreadyExistsError(f"Tenant [{name}] already exists")
            connection.execute("insert into tenants (name) values (?)", (name,))

    def get_tenant(self, name: str) -> str:
        """The name, if there is such a tenant."""
        with self._file.reading() as connection:
            _need_tenant(connection, name)
        return name

    def create_database(self, name: str, tenant: str) -> Database:
        """Adds a database."""
        database = Database(uuid4(), name, tenant)
        with self._file.writing() as connection:
            _need_tenant(connection, tenant)
            if _database_id(connection, name, tenant) is not None:
                raise AlreadyExistsError(f"Database [{name}] already exists")
            connection.execute(
                "insert into databases (id, tenant, name) values (?, ?, ?)",
                (str(database.id), tenant, name),
            )
        return database

    def get_database(self, name: str, tenant: str) -> Database:
        """The database of that name."""
        with self._file.reading() as connection:
            id = _database_id(connection, name, tenant)
        if id is None:
            raise NotFoundError(f"Database [{name}] not found. Are you sure it exists?")
        return Database(UUID(id), name, tenant)

    def delete_database(self, name: str, tenant: str) -> list[UUID]:
        """Removes a database; returns the ids of the collections that went with it."""
        with self._file.writing() as connection:
            id = _database_id(connection, name, tenant)
            if id is None:
                raise NotFoundError(f"Database [{name}] not found")
            gone = _delete(connection, "where database = ?", id)
            connection.execute("delete from databases where id = ?", (id,))
        return gone

    def list_databases(self, tenant: str, limit: int | None, offset: int | None) -> list[Database]:
        """The databases of a tenant by name."""
        with self._file.reading() as connection:
            rows = connection.execute(
                "select id, name from databases where tenant = ? order by name limit ? offset ?",
                (tenant, -1 if limit is None else limit, offset or 0),
            ).fetchall()
        return [Database(UUID(str(id)), str(name), tenant) for id, name in rows]

    # ── collections ──────────────────────────────────────────────────────────────────────────────

    def create_collection(
        self, info: CollectionInfo, get_or_create: bool
    ) -> tuple[CollectionInfo, bool]:
        """Adds a collection, or returns the one of that name; the flag tells whether it is new."""
        with self._file.writing() as connection:
            found = self._insert(connection, info)
            if found is not None and not get_or_create:
                raise AlreadyExistsError(f"Collection [{info.name}] already exists")
        return found or info, found is None

    def need_free_name(self, name: str, tenant: str, database: str) -> None:
        """Raises AlreadyExistsError when a collection has this name."""
        with self._file.reading() as connection:
            self._need_free(connection, name, tenant, database)

    def adopt_collection(
        self, info: CollectionInfo, settle: Callable[[], None], *, replace: bool = False
    ) -> list[UUID]:
        """Adds a collection whose files `settle` puts in their place: all of it or nothing.

        When the process dies in between, its files count as those of a deleted one. With `replace`
        it takes the place of the one of that name; returns the id of that one, if there was one.
        """
        replaced: list[UUID] = []
        with self._file.exclusive():
            with self._file.changing() as connection:
                if not replace:
                    self._need_free(connection, info.name, info.tenant, info.database)
                _add_deleted(connection, [info.id])
            settle()
            with self._file.changing() as connection:
                found = self._by_name(connection, info.name, info.tenant, info.database)
                if found is not None:
                    replaced = _delete(connection, "where id = ?", str(found.id))
                self._insert(connection, info)
                connection.execute("delete from deleted where id = ?", (str(info.id),))
        return replaced

    def _insert(self, connection: apsw.Connection, info: CollectionInfo) -> CollectionInfo | None:
        """Adds a collection, unless there is one of that name, which is returned."""
        database = _database_id(connection, info.database, info.tenant)
        if database is None:
            raise UnknownDatabaseError(f"Database [{info.database}] does not exist")
        found = self._by_name(connection, info.name, info.tenant, info.database)
        if found is None:
            connection.execute(
                "insert into collections (id, database, name, metadata, configuration, schema,"
                " dimension) values (?, ?, ?, ?, ?, ?, ?)",
                (str(info.id), database, info.name, *_stored(info), info.dimension),
            )
        return found

    def get_collection(self, name: str, tenant: str, database: str) -> CollectionInfo:
        """The collection of that name."""
        with self._file.reading() as connection:
            return _need(self._by_name(connection, name, tenant, database), name)

    def get_collection_by_id(self, address: Address) -> CollectionInfo:
        """The collection with that id, in that database."""
        with self._file.reading() as connection:
            return _need(self._by_id(connection, address), address.collection)

    def need_collection(self, address: Address) -> None:
        """Raises NotFoundError when there is no such collection."""
        with self._file.reading() as connection:
            found = connection.execute(
                "select 1 from collections c join databases d on d.id = c.database" + _BY_ID,
                _by_id(address),
            ).get
        if found is None:
            raise _unknown(address.collection)

    def list_collections(
        self, tenant: str, database: str, limit: int | None, offset: int | None
    ) -> list[CollectionInfo]:
        """The collections of a database in the order of creation."""
        with self._file.reading() as connection:
            rows = connection.execute(
                self._select + " where d.tenant = ? and d.name = ? order by c.key limit ? offset ?",
                (tenant, database, -1 if limit is None else limit, offset or 0),
            ).fetchall()
        return [_info(row) for row in rows]

    def count_collections(self, tenant: str, database: str) -> int:
        """How many collections a database has."""
        with self._file.reading() as connection:
            count: int = connection.execute(
                "select count(*) from collections c join databases d on d.id = c.database"
                " where d.tenant = ? and d.name = ?",
                (tenant, database),
            ).get
        return count

    def modify_collection(
        self,
        address: Address,
        name: str | None,
        metadata: dict[str, Any] | None,
        replace_metadata: bool,
        configuration: Changes | None,
    ) -> CollectionInfo:
        """Changes what is given, all of it or nothing."""
        with self._file.writing() as connection:
            info = _need(self._by_id(connection, address), address.collection)
            if name is not None and name != info.name:
                self._need_free(connection, name, address.tenant, address.database)
                info = replace(info, name=name)
            if replace_metadata:
                info = replace(info, metadata=metadata)
            if configuration is not None:
                info = replace(info, configuration=configuration.apply(info.configuration))
            connection.execute(
                "update collections set name = ?, metadata = ?, configuration = ?, schema = ?"
                " where id = ?",
                (info.name, *_stored(info), str(info.id)),
            )
        return info

    def delete_collection(self, name: str, tenant: str, database: str) -> UUID:
        """Removes a collection and returns its id."""
        with self._file.writing() as connection:
            info = _need(self._by_name(connection, name, tenant, database), name)
            _delete(connection, "where id = ?", str(info.id))
        return info.id

    def ids(self) -> tuple[set[UUID], set[UUID]]:
        """The ids of all collections there are, and of deleted ones whose files may be there."""
        with self._file.reading() as connection:
            known = connection.execute("select id from collections").fetchall()
            if self._format < 2:
                return _uuids(known), set()
            deleted = connection.execute("select id from deleted").fetchall()
        return _uuids(known), _uuids(deleted)

    def forget_deleted(self, ids: set[UUID]) -> None:
        """Forgets deleted collections of which no file is left."""
        if ids:
            with self._file.writing() as connection:
                connection.executemany(
                    "delete from deleted where id = ?", [(str(id),) for id in ids]
                )

    # ── dimensions ───────────────────────────────────────────────────────────────────────────────
    # Records know their dimension; here it saves opening their file. So nothing may be learned
    # that can become wrong: a dimension that changes is marked before it does, and for ever.

    def learn_dimension(self, id: UUID, dimension: int) -> None:
        """Remembers the dimension of a collection that has vectors, unless it has changed once."""
        with self._file.reading() as connection:
            known = _dimension(connection, id)
        if known is None:
            with self._file.writing(sync=False) as connection:  # it can be learned again
                connection.execute(
                    "update collections set dimension = ? where id = ? and dimension is null",
                    (dimension, str(id)),
                )

    def learn_function(self, address: Address, form: dict[str, Any]) -> None:
        """Remembers the function that the records know to have made their vectors."""
        with self._file.writing() as connection:
            info = self._by_id(connection, address)
            if info is not None:
                _, configuration, schema = _stored(with_function(info, form))
                connection.execute(
                    "update collections set configuration = ?, schema = ? where id = ?",
                    (configuration, schema, str(info.id)),
                )

    def dimension_changes(self, id: UUID, old: int | None, new: int) -> None:
        """Tells that the dimension is about to change; to be called before that is committed."""
        with self._file.reading() as connection:
            known = _dimension(connection, id)
        if old is not None or known not in (None, new):
            with self._file.writing() as connection:
                connection.execute(
                    "update collections set dimension = ? where id = ?", (VARIES, str(id))
                )

    # ── all of it ────────────────────────────────────────────────────────────────────────────────

    def every_collection(self) -> list[CollectionInfo]:
        """All collections of all databases, in the order of creation."""
        with self._file.reading() as connection:
            rows = connection.execute(self._select + " order by c.key").fetchall()
        return [_info(row) for row in rows]

    def every_database(self) -> list[tuple[str, str]]:
        """The tenant and the name of every database."""
        with self._file.reading() as connection:
            rows = connection.execute("select tenant, name from databases").fetchall()
        return [(str(tenant), str(name)) for tenant, name in rows]

    def damage(self) -> list[str]:
        """What SQLite finds wrong with the file."""
        with self._file.reading() as connection:
            return integrity(connection)

    def reset(self) -> list[UUID]:
        """Removes everything but the defaults; returns the ids of the collections that went."""
        with self._file.writing() as connection:
            gone = _delete(connection, "")
            connection.execute(
                "delete from databases where (tenant, name) <> ('default_tenant', "
                "'default_database')"
            )
            connection.execute("delete from tenants where name <> 'default_tenant'")
            connection.execute(_DEFAULT_DATABASE)
        return gone

    def _need_free(
        self, connection: apsw.Connection, name: str, tenant: str, database: str
    ) -> None:
        if self._by_name(connection, name, tenant, database) is not None:
            raise AlreadyExistsError(f"Collection [{name}] already exists")

    def _by_name(
        self, connection: apsw.Connection, name: str, tenant: str, database: str
    ) -> CollectionInfo | None:
        row = connection.execute(
            self._select + " where d.tenant = ? and d.name = ? and c.name = ?",
            (tenant, database, name),
        ).get
        return None if row is None else _info(row)

    def _by_id(self, connection: apsw.Connection, address: Address) -> CollectionInfo | None:
        row = connection.execute(self._select + _BY_ID, _by_id(address)).get
        return None if row is None else _info(row)


# ── inside a transaction ─────────────────────────────────────────────────────────────────────────


def _format(connection: apsw.Connection) -> int:
    format = connection.execute("select format from head").get
    if not isinstance(format, int) or format > FORMAT:
        raise VersionMismatchError(
            f"The directory is of format {format}, this release reads up to {FORMAT}"
        )
    return format


def _delete(connection: apsw.Connection, which: str, *bindings: str) -> list[UUID]:
    """Deletes collections, and remembers that they were there for as long as their files may be."""
    rows = connection.execute(f"delete from collections {which} returning id", bindings).fetchall()
    gone = sorted(_uuids(rows))
    _add_deleted(connection, gone)
    return gone


def _add_deleted(connection: apsw.Connection, ids: list[UUID]) -> None:
    connection.executemany("insert into deleted (id) values (?)", [(str(id),) for id in ids])


def _dimension(connection: apsw.Connection, id: UUID) -> int | None:
    dimension: int | None = connection.execute(
        "select dimension from collections where id = ?", (str(id),)
    ).get
    return dimension


def _uuids(rows: list[Any]) -> set[UUID]:
    return {UUID(str(id)) for (id,) in rows}


def _has_tenant(connection: apsw.Connection, name: str) -> bool:
    return connection.execute("select 1 from tenants where name = ?", (name,)).get is not None


def _need_tenant(connection: apsw.Connection, name: str) -> None:
    if not _has_tenant(connection, name):
        raise NotFoundError(f"Tenant [{name}] not found")


def _database_id(connection: apsw.Connection, name: str, tenant: str) -> str | None:
    id: str | None = connection.execute(
        "select id from databases where tenant = ? and name = ?", (tenant, name)
    ).get
    return id


def _need(info: CollectionInfo | None, name: str | UUID) -> CollectionInfo:
    if info is None:
        raise _unknown(name)
    return info


def _unknown(name: str | UUID) -> NotFoundError:
    end = "." if isinstance(name, UUID) else ""  # as Chroma's servers say
    return NotFoundError(f"Collection [{name}] does not exist{end}")


def _by_id(address: Address) -> tuple[str, str, str]:
    return str(address.collection), address.tenant, address.database


def _info(row: Any) -> CollectionInfo:
    id, name, tenant, database, configuration, metadata, schema, dimension = row
    return CollectionInfo(
        id=UUID(id),
        name=name,
        tenant=tenant,
        database=database,
        configuration=Configuration.from_stored(json.loads(configuration)),
        metadata=decode_metadata(metadata),
        dimension=dimension or None,
        schema=None if schema is None else json.loads(schema),
    )


def _stored(info: CollectionInfo) -> tuple[str | None, str, str | None]:
    return (
        encode_metadata(info.metadata),
        json.dumps(info.configuration.to_stored()),
        None if info.schema is None else json.dumps(info.schema),
    )
