"""Opens what a URI names: a directory of Vermilion's, one of Chroma's to read, or a server."""

from __future__ import annotations

from collections.abc import Collection as AnyCollection
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from vermilion.api import sharing
from vermilion.engine import CollectionInfo, Column, Engine, Selection
from vermilion.errors import ArgumentValueError, NotFoundError, UnsupportedError
from vermilion.names import check_collection_name
from vermilion.pipes.uri import PORT, CollectionUri
from vermilion.pipes.window import Window, windowed
from vermilion.types import DEFAULT_DATABASE, DEFAULT_TENANT, Records

CATALOGUE, CHROMA = "catalogue.db", "chroma.sqlite3"
# Seconds of silence that end a request to a server.
TIMEOUT = 300.0
# A page is about so many bytes of vectors, within bounds.
PAGE_BYTES = 4_000_000


@dataclass(frozen=True)
class Door:
    """A database that is open, and where in it the collection is, or will be."""

    engine: Engine
    tenant: str
    database: str
    name: str
    uri: CollectionUri

    def find(self) -> CollectionInfo | None:
        """The collection, if there is one."""
        try:
            return self.engine.get_collection(self.name, self.tenant, self.database)
        except NotFoundError:
            return None


class Source(Protocol):
    """A collection that is read."""

    @property
    def info(self) -> CollectionInfo:
        """What is known of it."""
        ...

    def pages(
        self, selection: Selection, columns: AnyCollection[Column], rows: int, window: Window
    ) -> Iterator[Records]:
        """The selected records in the order they were inserted, so many at a time."""
        ...


@dataclass(frozen=True)
class EngineSource:
    """A collection that an engine has."""

    engine: Engine
    info: CollectionInfo

    def pages(
        self, selection: Selection, columns: AnyCollection[Column], rows: int, window: Window
    ) -> Iterator[Records]:
        """See Source."""
        address = self.info.address
        if window.limit is not None and window.limit <= rows:
            page = self.engine.get(address, selection, columns, window.limit, window.offset)
            return iter([page] if page.ids else [])
        return windowed(self.engine.scan(address, selection, columns, rows), window)


# ── opening ──────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def open_source(uri: CollectionUri, flags: Any = None) -> Iterator[Source]:
    """The collection that is there. Raises NotFoundError; nothing is ever made."""
    directory, name = _place(uri, flags)
    if directory is not None and holds_chroma(directory):
        from vermilion.pipes.chroma import chroma_source  # few directories are Chroma's

        with chroma_source(directory, uri, name) as source:
            yield source
        return
    with open_door(uri, flags) as door:
        info = door.find()
        if info is None:
            raise _no_collection(door)
        yield EngineSource(door.engine, info)


@contextmanager
def open_door(
    uri: CollectionUri, flags: Any = None, *, write: bool = False, create: bool = False
) -> Iterator[Door]:
    """The database. A directory is made only to `create` a collection in it."""
    directory, name = _place(uri, flags)
    tenant = uri.options.get("tenant", DEFAULT_TENANT)
    database = uri.options.get("database", DEFAULT_DATABASE)
    if directory is None:
        lease = sharing.lease_engine(_server(uri))
    else:
        if create:
            check_collection_name(name)  # before a directory is made for it
        _check_directory(directory, create=create)
        lease = sharing.lease_directory(directory, read_only=not write)
    try:
        engine = lease.engine()
        engine.get_database(database, engine.get_tenant(tenant))
        yield Door(engine, tenant, database, name, uri)
    finally:
        lease.release()


def _no_collection(door: Door) -> NotFoundError:
    there = [one.name for one in door.engine.list_collections(door.tenant, door.database, 20)]
    known = f"; there are {', '.join(there)}" if there else "; the database has none"
    return NotFoundError(f"{door.uri}: there is no collection {door.name!r}{known}")


def _place(uri: CollectionUri, flags: Any) -> tuple[Path | None, str]:
    """The directory, None for a server, and the name of the collection."""
    flag = getattr(flags, "collection", None)
    if not uri.is_file:
        return None, _named(uri.name or flag, uri)
    if flag and holds_database(Path(uri.whole)):
        return Path(uri.whole), flag
    return Path(uri.base), _named(uri.name or flag, uri)


def _named(name: str | None, uri: CollectionUri) -> str:
    if not name:
        raise ArgumentValueError(f"{uri}: the name of a collection is missing")
    return name


def holds_database(directory: Path) -> bool:
    """Whether there is a database in the directory, of Vermilion's or Chroma's."""
    return (directory / CATALOGUE).is_file() or (directory / CHROMA).is_file()


def holds_chroma(directory: Path) -> bool:
    """Whether there is a database of Chroma's, and none of ours."""
    return (directory / CHROMA).is_file() and not (directory / CATALOGUE).is_file()


def _check_directory(directory: Path, *, create: bool) -> None:
    if holds_chroma(directory):
        raise UnsupportedError(
            f"{directory} holds a database of Chroma (chroma.sqlite3), which is only read: "
            "write to another directory, or to a server that has it open"
        )
    if not create and not (directory / CATALOGUE).is_file():
        raise NotFoundError(f"{directory} holds no database")


def _server(uri: CollectionUri) -> Engine:
    from vermilion.remote.engine import RemoteEngine  # with httpx: directories do without
    from vermilion.remote.target import Target, server_url
    from vermilion.remote.transport import Threaded

    url = server_url(f"{uri.base}/", PORT, ssl=False)  # the URI has its own port and scheme
    return RemoteEngine(Threaded(Target(url, headers=uri.headers, timeout=TIMEOUT)))


# ── pages ───────────────────────────────────────────────────────────────────────────────────


def page_rows(info: CollectionInfo, asked: int | None) -> int:
    """How many records a page has: as many as were asked for, or by their size."""
    if asked is not None:
        return asked
    return max(200, min(5_000, PAGE_BYTES // (4 * (info.dimension or 256))))
