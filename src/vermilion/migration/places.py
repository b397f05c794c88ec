"""Where collections come from and where they go: directories of Chroma, ours, and servers.

A source is a ChromaDirectory, or an EngineSource over one of our engines.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from vermilion.configuration import Configuration
from vermilion.engine import EVERYTHING, CollectionInfo, Column, Engine
from vermilion.errors import ArgumentValueError, NotFoundError, StorageError
from vermilion.migration.chroma_dir import (
    ChromaDirectory,
    Loss,
    is_chroma_directory,
    open_chroma,
)
from vermilion.remote.target import Target, server_url
from vermilion.types import DEFAULT_TENANT, Records

ALL: tuple[Column, ...] = ("vectors", "documents", "uris", "metadatas")
TOKEN_HEADER = "X-Chroma-Token"
_PORT = 8000


class Described(Protocol):
    """What every source tells of a collection."""

    @property
    def id(self) -> object:
        """Its id there."""
        ...

    @property
    def tenant(self) -> str:
        """Its tenant."""
        ...

    @property
    def database(self) -> str:
        """Its database."""
        ...

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def metadata(self) -> dict[str, Any] | None:
        """Its metadata."""
        ...

    @property
    def configuration(self) -> Configuration:
        """Its configuration."""
        ...

    @property
    def schema(self) -> dict[str, Any] | None:
        """Its schema, where it says more than the configuration."""
        ...


class Source(Protocol):
    """Where collections come from."""

    losses: list[Loss]

    def databases(self) -> list[tuple[str, str]]:
        """Every database, as tenant and name."""
        ...

    def collections(self) -> Sequence[Any]:
        """Every collection, as Described."""
        ...

    def records(self, collection: Any, rows: int = 1000) -> Iterator[Records]:
        """Its records in their order, so many at a time."""
        ...

    def close(self) -> None:
        """Lets go of it."""
        ...


@dataclass
class EngineSource:
    """The collections of an engine. A server does not tell its tenants: they are named."""

    engine: Engine
    tenants: Sequence[str] = ()
    losses: list[Loss] = field(default_factory=list)

    def databases(self) -> list[tuple[str, str]]:
        """See Source. Raises NotFoundError for a tenant that is not there."""
        every = getattr(self.engine, "every_database", None)
        if every is not None:
            return sorted(every())
        found = []
        for tenant in self.tenants or (DEFAULT_TENANT,):
            self.engine.get_tenant(tenant)
            found += [(tenant, one.name) for one in self.engine.list_databases(tenant)]
        return found

    def collections(self) -> Sequence[CollectionInfo]:
        """See Source."""
        return [
            info
            for tenant, database in self.databases()
            for info in self.engine.list_collections(tenant, database)
        ]

    def records(self, collection: CollectionInfo, rows: int = 1000) -> Iterator[Records]:
        """See Source."""
        return self.engine.scan(collection.address, EVERYTHING, ALL, rows)

    def close(self) -> None:
        """See Source."""
        self.engine.close()


def title(collection: Described) -> str:
    """How a collection is called in reports."""
    return f"{collection.tenant}/{collection.database}/{collection.name}"


def is_url(place: str) -> bool:
    """Whether a place is a server."""
    return place.startswith(("http://", "https://"))


def open_source(
    place: str, tenants: Sequence[str] = (), token: str | None = None
) -> ChromaDirectory | EngineSource:
    """A source; nothing of it is changed. Raises NotFoundError where there is none."""
    if is_url(place):
        return EngineSource(open_server(place, token), tenants)
    path = Path(place)
    if is_chroma_directory(path):
        return open_chroma(path)
    if (path / "catalogue.db").is_file():
        from vermilion.local.engine import LocalEngine  # servers do not need it

        return EngineSource(LocalEngine(path, read_only=True))
    what = "holds no database of Chroma's or ours" if path.is_dir() else "is not a directory"
    raise NotFoundError(f"{place} {what}")


def open_target(place: str, token: str | None = None) -> Engine:
    """Where collections go; a directory is made if need be."""
    if is_url(place):
        return open_server(place, token)
    path = Path(place)
    if is_chroma_directory(path):
        raise StorageError(
            f"{place} is a directory of Chroma: collections go into one of Vermilion's, or with "
            "--to chroma into a new one"
        )
    from vermilion.local.engine import LocalEngine  # as above

    return LocalEngine(path)


def open_server(url: str, token: str | None = None) -> Engine:
    """An engine on a server, ours or Chroma's."""
    from vermilion.remote.engine import RemoteEngine  # with the whole wire
    from vermilion.remote.transport import Threaded

    headers = {} if token is None else {TOKEN_HEADER: token}
    return RemoteEngine(Threaded(Target(server_url(url, _PORT, False), headers)))


def token_of(variable: str | None) -> str | None:
    """The secret in an environment variable: a command line can be read by others."""
    if variable is None:
        return None
    token = os.environ.get(variable)
    if not token:
        raise ArgumentValueError(f"The environment variable {variable} is not set")
    return token
