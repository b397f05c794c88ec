"""Clients: they find the engine, hold a tenant and a database, and give out collections."""

from __future__ import annotations

import os
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from vermilion.api import sharing
from vermilion.api.backups import BackingUp
from vermilion.api.collection import Collection
from vermilion.api.settings import EMBEDDED, Settings, memory_limit_of
from vermilion.api.sharing import Lease, Leasing
from vermilion.configuration import Configuration, for_new_collection
from vermilion.embeddings.base import (
    check_same,
    check_signature,
    stored_form,
    what_differs,
)
from vermilion.embeddings.cache import open_cache
from vermilion.embeddings.default import DefaultEmbeddingFunction
from vermilion.embeddings.lookup import config_to_embedding_function
from vermilion.engine import CollectionInfo, Engine
from vermilion.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    AuthorizationError,
    InvalidArgumentError,
)
from vermilion.names import (
    check_collection_metadata,
    check_collection_name,
)
from vermilion.records import check_count
from vermilion.types import (
    DEFAULT_DATABASE,
    DEFAULT_TENANT,
    Address,
    DataLoader,
    Durability,
    UserIdentity,
)

if TYPE_CHECKING:
    from vermilion.reports import Problem, Stats

EmbeddingPlace = str | os.PathLike[str] | bool | None

# What a method's parameter holds when the caller left it out.
_DEFAULT_FUNCTION = DefaultEmbeddingFunction()


class Client(Leasing, BackingUp):
    """A door to one database of one tenant. `close` it, or use it in a `with` block."""

    def __init__(
        self,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
        settings: Settings | None = None,
        *,
        lease: Lease | None = None,
    ) -> None:
        """Use EphemeralClient, PersistentClient or Client of the package instead.

        Without a `lease` it opens the database that the settings name.
        """
        self._settings = settings or Settings()
        self._cache = open_cache(self._settings["embedding_cache"])
        self._lease = lease or lease_for(self._settings)
        self.tenant = str(tenant)
        self.database = str(database)
        try:
            self._engine.get_database(self.database, self._engine.get_tenant(self.tenant))
        except BaseException:
            self._lease.release()
            raise

    @classmethod
    def from_system(
        cls, system: Any, tenant: str = DEFAULT_TENANT, database: str = DEFAULT_DATABASE
    ) -> Client:
        """Returns a client of the database that `system.settings` name."""
        return cls(tenant, database, system.settings)

    @property
    def _engine(self) -> Engine:
        return self._lease.engine()

    # ── the whole ────────────────────────────────────────────────────────────────────────────────

    def heartbeat(self) -> int:
        """Returns the time in nanoseconds since 1970."""
        self._lease.engine()
        return time.time_ns()

    def get_version(self) -> str:
        """Returns the release of the engine."""
        return self._engine.version()

    def get_max_batch_size(self) -> int:
        """Returns how many records one call should carry at most; more are accepted here."""
        return self._engine.max_batch_size()

    def get_settings(self) -> Settings:
        """Returns the settings this client was made with."""
        return self._settings

    def get_user_identity(self) -> UserIdentity:
        """Returns who the caller is: embedded, nobody in particular."""
        return UserIdentity("", self.tenant, [self.database])

    def reset(self) -> bool:
        """Deletes everything. Raises AuthorizationError unless the settings have allow_reset."""
        if not self._settings.allow_reset:
            raise AuthorizationError("Reset is disabled by config: set allow_reset=True to use it")
        self._engine.reset()
        return True

    def check(self, deep: bool = False) -> list[Problem]:
        """Returns what is wrong with the files of the whole directory; nothing is changed.

        `deep` reads every record, compares checksums, and asks the indexes about the records.
        """
        return self._engine.check(deep)

    def stats(self) -> dict[str, Stats]:
        """Returns for each collection, by name, what it holds and takes on the disk."""
        infos = self._engine.list_collections(self.tenant, self.database)
        return {info.name: self._engine.stats(info.address) for info in infos}

    def compact(self) -> int:
        """Gives room that deleted records left back to the disk; returns how many bytes.

        Others may read and write meanwhile.
        """
        infos = self._engine.list_collections(self.tenant, self.database)
        return sum(self._engine.compact(info.address) for info in infos)

    @staticmethod
    def clear_system_cache() -> None:
        """Closes every database this process has open; clients made before fail afterwards."""
        sharing.forget_all()

    # ── where it works ───────────────────────────────────────────────────────────────────────────

    def set_tenant(self, tenant: str, database: str = DEFAULT_DATABASE) -> None:
        """Goes to another tenant; collections given out before stay where they are."""
        self._engine.get_database(database, self._engine.get_tenant(tenant))
        self.tenant, self.database = tenant, database

    def set_database(self, database: str) -> None:
        """Goes to another database of the tenant."""
        self.set_tenant(self.tenant, database)

    # ── collections ──────────────────────────────────────────────────────────────────────────────

    def list_collections(
        self, limit: int | None = None, offset: int | None = None
    ) -> list[Collection]:
        """Returns the collections in the order they were created."""
        infos = self._engine.list_collections(
            self.tenant,
            self.database,
            check_count("limit", limit),
            check_count("offset", offset),
        )
        return [self._collection(info, _DEFAULT_FUNCTION, None) for info in infos]

    def count_collections(self) -> int:
        """Returns how many collections the database has."""
        return self._engine.count_collections(self.tenant, self.database)

    def create_collection(
        self,
        name: str,
        schema: Any = None,
        configuration: Any = None,
        metadata: Any = None,
        embedding_function: Any = _DEFAULT_FUNCTION,
        data_loader: DataLoader | None = None,
        get_or_create: bool = False,
    ) -> Collection:
        """Creates a collection.

        Raises AlreadyExistsError when the name is taken, unless `get_or_create`.
        """
        collection, _ = self._create(
            name, schema, configuration, metadata, embedding_function, data_loader, get_or_create
        )
        return collection

    def get_or_create_collection(
        self,
        name: str,
        schema: Any = None,
        configuration: Any = None,
        metadata: Any = None,
        embedding_function: Any = _DEFAULT_FUNCTION,
        data_loader: DataLoader | None = None,
        *,
        on_exists: str = "keep",
    ) -> Collection:
        """Returns the collection of that name, creating it if there is none.

        An existing one stays as it is, with a warning when other metadata is given;
        `on_exists="update"` replaces its metadata instead.
        """
        if on_exists not in ("keep", "update"):
            raise ArgumentValueError(
                f'Expected on_exists to be "keep" or "update", got {on_exists!r}'
            )
        collection, new = self._create(
            name, schema, configuration, metadata, embedding_function, data_loader, True
        )
        if not new and metadata is not None and on_exists == "update":
            collection.modify(metadata=metadata)
        elif not new:
            _warn_of_difference(collection, check_collection_metadata(metadata))
        return collection

    def get_collection(
        self,
        name: str,
        embedding_function: Any = _DEFAULT_FUNCTION,
        data_loader: DataLoader | None = None,
    ) -> Collection:
        """Returns the collection of that name. Raises NotFoundError.

        It embeds with the function it was created with. Another one given here is used by this
        handle only, with a warning, and not stored.
        """
        if not isinstance(name, str):
            raise ArgumentTypeError(f"Expected a collection name to be a str, got {name!r}")
        info = self._engine.get_collection(name, self.tenant, self.database)
        return self._collection(info, embedding_function, data_loader)

    def get_collection_by_id(
        self,
        id: UUID | str,
        embedding_function: Any = _DEFAULT_FUNCTION,
        data_loader: DataLoader | None = None,
    ) -> Collection:
        """As get_collection, by id."""
        try:
            parsed = id if isinstance(id, UUID) else UUID(str(id))
        except ValueError:
            raise InvalidArgumentError(
                "Validation error: collection_id: Invalid collection ID format, expected UUID, "
                f"got {id!r}"
            ) from None
        info = self._engine.get_collection_by_id(Address(self.tenant, self.database, parsed))
        return self._collection(info, embedding_function, data_loader)

    def delete_collection(self, name: str) -> None:
        """Deletes a collection and all its records. Raises NotFoundError."""
        if not isinstance(name, str):
            raise ArgumentTypeError(f"Expected a collection name to be a str, got {name!r}")
        self._engine.delete_collection(name, self.tenant, self.database)

    def _create(
        self,
        name: str,
        schema: Any,
        configuration: Any,
        metadata: Any,
        embedding_function: Any,
        data_loader: DataLoader | None,
        get_or_create: bool,
    ) -> tuple[Collection, bool]:
        name = check_collection_name(name)
        checked = check_collection_metadata(metadata)
        function = _chosen_function(embedding_function, configuration)
        made = _configuration(configuration, checked, function)
        form = None
        if schema is not None:
            from vermilion.api import schemas  # with the Schema classes, which few programs need

            made, form, function = schemas.for_new_collection(schema, made, function)
        info, new = self._engine.create_collection(
            name,
            self.tenant,
            self.database,
            configuration=made,
            metadata=checked,
            schema=form,
            get_or_create=get_or_create,
        )
        return self._collection(info, function, data_loader), new

    def _collection(
        self, info: CollectionInfo, function: Any, loader: DataLoader | None
    ) -> Collection:
        if function is not None:
            check_signature(function)
            _warn_of_override(info, function)
        return Collection(self._lease.engine, info, function, loader, self._cache)


# ── the doors users open ─────────────────────────────────────────────────────────────────────────


def lease_for(settings: Settings) -> Lease:
    """A hold on the database that the settings name."""
    if not settings.chroma_api_impl.startswith(EMBEDDED):
        raise ArgumentValueError(
            f"Unsupported Chroma API implementation {settings.chroma_api_impl}"
        )
    if settings.is_persistent:
        return sharing.lease_directory(
            settings.persist_directory,
            read_only=settings["read_only"],
            memory_limit=memory_limit_of(settings),
        )
    return sharing.lease_memory()


def make_client(
    settings: Settings | None = None,
    tenant: str = DEFAULT_TENANT,
    database: str = DEFAULT_DATABASE,
) -> Client:
    """A client in memory, or on disk when the settings say is_persistent."""
    settings = settings or Settings()
    return Client(tenant, database, settings, lease=lease_for(settings))


def ephemeral_client(
    settings: Settings | None = None,
    tenant: str = DEFAULT_TENANT,
    database: str = DEFAULT_DATABASE,
    *,
    embedding_cache: EmbeddingPlace = None,
) -> Client:
    """A client of the database in memory. All clients in memory of one process share it.

    For `embedding_cache` see persistent_client.
    """
    settings = with_cache(settings, embedding_cache).changed(is_persistent=False)
    return Client(tenant, database, settings, lease=sharing.lease_memory())


def persistent_client(
    path: str | Path = "./chroma",
    settings: Settings | None = None,
    tenant: str = DEFAULT_TENANT,
    database: str = DEFAULT_DATABASE,
    *,
    durability: Durability = "full",
    read_only: bool = False,
    memory_limit: int | str | None = None,
    embedding_cache: EmbeddingPlace = None,
) -> Client:
    """A client of the database in a directory, which is made if need be.

    Any number of clients and processes may use one directory at once. A call that returned
    survives the death of the process and, with durability="full", a power cut; "normal" is faster
    for small writes and may lose the last of them in a power cut, never half of one.

    With `read_only` the directory has to hold a database already, and may be on a medium that
    cannot be written; what would write raises StorageError.

    `memory_limit` (bytes, or a text such as "512MB") is for what collections keep in memory
    between calls; those not used for longest give up theirs first.

    `embedding_cache`, a file or True for one among the user's caches, keeps the vectors of texts:
    what was embedded before, by the same function, is not embedded or paid for again.
    """
    settings = with_cache(settings, embedding_cache).changed(
        is_persistent=True, persist_directory=str(path)
    )
    read_only = read_only or settings["read_only"]
    if memory_limit is not None:
        settings = settings.changed(memory_limit=memory_limit)
    settings = settings.changed(read_only=read_only)
    limit = memory_limit_of(settings)
    lease = sharing.lease_directory(path, durability, read_only=read_only, memory_limit=limit)
    _warn_of_chroma(Path(path))
    return Client(tenant, database, settings, lease=lease)


def with_cache(settings: Settings | None, place: EmbeddingPlace) -> Settings:
    """The settings with this cache, where one is given."""
    settings = settings or Settings()
    return settings if place is None else settings.changed(embedding_cache=place)


# ── helpers ──────────────────────────────────────────────────────────────────────────────────────


def _is_default(function: Any) -> bool:
    return isinstance(function, DefaultEmbeddingFunction)


def _chosen_function(given: Any, configuration: Any) -> Any:
    """The function of a new collection: the argument, or the one inside the configuration."""
    inside = configuration.get("embedding_function") if isinstance(configuration, dict) else None
    if isinstance(inside, dict):
        inside = config_to_embedding_function(inside)
    if inside is not None:
        check_signature(inside)
        if given is not None and not _is_default(given):
            check_same(given, inside)
        return inside
    if given is not None:
        check_signature(given)
    return given


def _configuration(
    configuration: Any, metadata: dict[str, Any] | None, function: Any
) -> Configuration:
    if function is None:
        # Without a function the stored form tells whether anything was configured at all.
        stored = None if not configuration else {"type": "legacy"}
        return for_new_collection(configuration, metadata, stored)
    space = function.default_space() if hasattr(function, "default_space") else None
    made = for_new_collection(configuration, metadata, stored_form(function), space)
    supported = function.supported_spaces() if hasattr(function, "supported_spaces") else None
    if supported is not None and made.hnsw.space not in supported:
        warnings.warn(
            f"The space {made.hnsw.space} is not supported by the embedding function, which "
            f"names {', '.join(supported)}",
            UserWarning,
            stacklevel=4,
        )
    return made


def _warn_of_override(info: CollectionInfo, function: Any) -> None:
    stored = info.configuration.embedding_function
    if _is_default(function) or stored is None or stored["type"] != "known":
        return
    differs = what_differs(stored, function)
    if differs is not None:
        warnings.warn(
            f"An embedding function already exists in the collection configuration: {differs}. "
            "Nothing is stored, and vectors of two functions do not compare: leave "
            "embedding_function out, or use collection.reembed(function)",
            UserWarning,
            stacklevel=4,
        )


def _warn_of_difference(collection: Collection, metadata: dict[str, Any] | None) -> None:
    if metadata is not None and metadata != collection.metadata:
        warnings.warn(
            f"Collection {collection.name} exists with other metadata, which is kept; "
            'pass on_exists="update" to replace it',
            UserWarning,
            stacklevel=3,
        )


def _warn_of_chroma(path: Path) -> None:
    if (path / "chroma.sqlite3").exists():
        warnings.warn(
            f"{path} also holds a database of Chroma (chroma.sqlite3), which is left alone: "
            "its collections are not visible here; `vermilion migrate` brings them",
            UserWarning,
            stacklevel=3,
        )
