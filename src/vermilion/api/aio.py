"""The doors of asyncio: every method of clients and collections as a coroutine.

    async with vermilion.AsyncPersistentClient("my_data") as client:
        notes = await client.get_or_create_collection("notes")
        await notes.add(ids=["1"], documents=["hello"])

A method is described once, by the class that blocks; here it is named. What runs it differs: a
database of this process is asked by threads, a server by the event loop itself (see `bridge`).
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from contextvars import copy_context
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar

from vermilion import bridge, forks
from vermilion.api.admin import AdminClient
from vermilion.api.client import (
    Client,
    EmbeddingPlace,
    ephemeral_client,
    persistent_client,
    with_cache,
)
from vermilion.api.collection import Collection
from vermilion.api.facts import CollectionFacts
from vermilion.api.servers import (
    DEFAULT_HOST,
    DEFAULT_PORT,
    RETRIES,
    TIMEOUT,
    lease_for,
    make_client,
    names_server,
    open_client,
    served,
    target_of,
)
from vermilion.api.settings import Settings
from vermilion.engine import CollectionInfo
from vermilion.errors import ArgumentTypeError
from vermilion.remote.target import Target
from vermilion.remote.transport import OnLoop
from vermilion.types import DEFAULT_DATABASE, DEFAULT_TENANT, Durability, Record

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound="_Closing")

# ── what runs a call ─────────────────────────────────────────────────────────────────────────────


class Runner(Protocol):
    """Makes a blocking call without holding the event loop up."""

    async def __call__(self, call: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """What the call returns, or raises."""


class Threads:
    """Runs calls in threads of its own: as many at once as Python thinks fit for the machine.

    To cancel a task that waits for a thread does not stop the thread: what it has begun happens.
    """

    def __init__(self) -> None:
        self.after_fork()
        forks.renew_in_child(self)

    async def __call__(self, call: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """See Runner."""
        from asyncio import get_running_loop

        loop, context = get_running_loop(), copy_context()
        context.run(bridge.home.set, loop)  # coroutines that the call meets run there
        work = functools.partial(context.run, call, *args, **kwargs)
        return await loop.run_in_executor(self._pool, work)

    def after_fork(self) -> None:
        """Starts with no threads; the next calls bring them."""
        from concurrent.futures import ThreadPoolExecutor  # programs without asyncio need none

        self._pool = ThreadPoolExecutor(thread_name_prefix="vermilion")


# ── naming a method ──────────────────────────────────────────────────────────────────────────────


class _Door:
    """Holds the object that blocks, and what runs its methods."""

    def __init__(self, blocking: Any, run: Runner) -> None:
        self._blocking = blocking
        self._run = run

    def _call(self, name: str, /, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        return self._run(getattr(self._blocking, name), *args, **kwargs)


def _awaited(
    method: Callable[Concatenate[Any, P], R],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]:
    """The method as a coroutine, with its parameters and its documentation."""

    @functools.wraps(method)
    async def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        result: R = await self._call(method.__name__, *args, **kwargs)
        return result

    return call


def _collection(
    method: Callable[Concatenate[Any, P], Collection],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, AsyncCollection]]:
    """As `_awaited`, for a method that gives out a collection."""

    @functools.wraps(method)
    async def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> AsyncCollection:
        return AsyncCollection(await self._call(method.__name__, *args, **kwargs), self._run)

    return call


def _collections(
    method: Callable[Concatenate[Any, P], list[Collection]],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, list[AsyncCollection]]]:
    """As `_awaited`, for a method that gives out a list of collections."""

    @functools.wraps(method)
    async def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> list[AsyncCollection]:
        found = await self._call(method.__name__, *args, **kwargs)
        return [AsyncCollection(one, self._run) for one in found]

    return call


def _into_client(
    method: Callable[Concatenate[Any, Any, P], Collection],
) -> Callable[Concatenate[Any, Any, P], Coroutine[Any, Any, AsyncCollection]]:
    """As `_collection`, for a method whose first argument is another client.

    What speaks to a server has to be on the loop, so a database of this process is then read and
    written there, too, page by page.
    """

    @functools.wraps(method)
    async def call(self: Any, client: Any, /, *args: P.args, **kwargs: P.kwargs) -> AsyncCollection:
        if not isinstance(client, AsyncClient):
            raise ArgumentTypeError(f"Expected client to be an AsyncClient, got {client!r}")
        run = client._run if isinstance(self._run, Threads) else self._run
        made = await run(method, self._blocking, client._blocking, *args, **kwargs)
        return AsyncCollection(made, client._run)

    return call


def _in_pages(
    method: Callable[Concatenate[Any, P], Iterator[Record]],
) -> Callable[Concatenate[Any, P], AsyncIterator[Record]]:
    """The method that yields records, for `async for`: every page is a call of its own."""

    @functools.wraps(method)
    async def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[Record]:
        pages = self._blocking._pages(*args, **kwargs)
        while (page := await self._run(next, pages, None)) is not None:
            for record in page:
                yield record

    return call


# ── the doors ────────────────────────────────────────────────────────────────────────────────────


class AsyncCollection(_Door, CollectionFacts):
    """A Collection whose methods are coroutines; what it tells of itself needs no waiting."""

    _blocking: Collection

    def get_model(self) -> CollectionInfo:
        """Returns all that is known of it."""
        return self._blocking.get_model()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AsyncCollection) and self._blocking == other._blocking

    __hash__ = None  # type: ignore[assignment]  # it can be renamed

    add = _awaited(Collection.add)
    upsert = _awaited(Collection.upsert)
    update = _awaited(Collection.update)
    delete = _awaited(Collection.delete)
    get = _awaited(Collection.get)
    peek = _awaited(Collection.peek)
    count = _awaited(Collection.count)
    query = _awaited(Collection.query)
    search = _awaited(Collection.search)
    evaluate = _awaited(Collection.evaluate)
    facets = _awaited(Collection.facets)
    distinct = _awaited(Collection.distinct)
    summarize = _awaited(Collection.summarize)
    explain = _awaited(Collection.explain)
    why_not = _awaited(Collection.why_not)
    get_indexing_status = _awaited(Collection.get_indexing_status)
    flush = _awaited(Collection.flush)
    stats = _awaited(Collection.stats)
    compact = _awaited(Collection.compact)
    modify = _awaited(Collection.modify)
    fork = _collection(Collection.fork)
    history = _awaited(Collection.history)
    at = _collection(Collection.at)
    diff = _awaited(Collection.diff)
    undo = _awaited(Collection.undo)
    save_bundle = _awaited(Collection.save_bundle)
    fingerprint = _awaited(Collection.fingerprint)
    reembed = _collection(Collection.reembed)
    clone = _collection(Collection.clone)
    copy_to = _into_client(Collection.copy_to)
    update_where = _awaited(Collection.update_where)
    add_rows = _awaited(Collection.add_rows)
    upsert_rows = _awaited(Collection.upsert_rows)
    sync = _awaited(Collection.sync)
    ids = _awaited(Collection.ids)
    iter = _in_pages(Collection.iter)

    def __aiter__(self) -> AsyncIterator[Record]:
        return self.iter()


class _Closing(_Door):
    """A door that can be closed, also by leaving an `async with` block."""

    close = _awaited(Client.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


class AsyncClient(_Closing):
    """A Client whose methods are coroutines and whose collections are AsyncCollections."""

    _blocking: Client

    @property
    def tenant(self) -> str:
        """The tenant it works in."""
        return self._blocking.tenant

    @property
    def database(self) -> str:
        """The database it works in."""
        return self._blocking.database

    def get_settings(self) -> Settings:
        """Returns the settings this client was made with."""
        return self._blocking.get_settings()

    @classmethod
    def create(
        cls,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
        settings: Settings | None = None,
    ) -> Opening[AsyncClient]:
        """Opens the database that the settings name."""
        settings = settings or Settings()
        if names_server(settings):
            return _on_loop(settings, target_of(settings), tenant, database)
        return Opening(_open(Threads(), make_client, settings, tenant, database))

    @classmethod
    def from_system(
        cls, system: Any, tenant: str = DEFAULT_TENANT, database: str = DEFAULT_DATABASE
    ) -> Opening[AsyncClient]:
        """Opens the database that `system.settings` name."""
        return cls.create(tenant, database, system.settings)

    from_system_async = from_system
    clear_system_cache = staticmethod(Client.clear_system_cache)

    heartbeat = _awaited(Client.heartbeat)
    get_version = _awaited(Client.get_version)
    get_max_batch_size = _awaited(Client.get_max_batch_size)
    get_user_identity = _awaited(Client.get_user_identity)
    reset = _awaited(Client.reset)
    check = _awaited(Client.check)
    stats = _awaited(Client.stats)
    compact = _awaited(Client.compact)
    backup = _awaited(Client.backup)
    restore = _awaited(Client.restore)
    load_bundle = _collection(Client.load_bundle)
    set_tenant = _awaited(Client.set_tenant)
    set_database = _awaited(Client.set_database)
    list_collections = _collections(Client.list_collections)
    count_collections = _awaited(Client.count_collections)
    create_collection = _collection(Client.create_collection)
    get_or_create_collection = _collection(Client.get_or_create_collection)
    get_collection = _collection(Client.get_collection)
    get_collection_by_id = _collection(Client.get_collection_by_id)
    delete_collection = _awaited(Client.delete_collection)


class AsyncAdminClient(_Closing):
    """An AdminClient whose methods are coroutines."""

    def __init__(self, settings: Settings | None = None) -> None:
        """Opens the database that the settings name."""
        settings = settings or Settings()
        run: Runner = bridge.run if names_server(settings) else Threads()
        super().__init__(AdminClient(lease=lease_for(settings, OnLoop)), run)

    @classmethod
    def from_system(cls, system: Any) -> AsyncAdminClient:
        """Returns a door to the database that `system.settings` name."""
        return cls(system.settings)

    create_tenant = _awaited(AdminClient.create_tenant)
    get_tenant = _awaited(AdminClient.get_tenant)
    create_database = _awaited(AdminClient.create_database)
    get_database = _awaited(AdminClient.get_database)
    delete_database = _awaited(AdminClient.delete_database)
    list_databases = _awaited(AdminClient.list_databases)


# ── opening one ──────────────────────────────────────────────────────────────────────────────────


class Opening(Coroutine[Any, Any, C], Generic[C]):
    """A client about to be opened: `await` it, or use it in an `async with` block.

    It is a coroutine, so `asyncio.run` and `create_task` take it, too.
    """

    def __init__(self, opened: Coroutine[Any, Any, C]) -> None:
        self._opened = opened

    def __await__(self) -> Generator[Any, Any, C]:
        return self._opened.__await__()

    def send(self, value: Any, /) -> Any:
        """See Coroutine."""
        return self._opened.send(value)

    def throw(self, *error: Any) -> Any:
        """See Coroutine."""
        return self._opened.throw(*error)

    def close(self) -> None:
        """See Coroutine."""
        self._opened.close()

    async def __aenter__(self) -> C:
        self._client = await self
        return self._client

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.close()


def async_ephemeral_client(
    settings: Settings | None = None,
    tenant: str = DEFAULT_TENANT,
    database: str = DEFAULT_DATABASE,
    *,
    embedding_cache: EmbeddingPlace = None,
) -> Opening[AsyncClient]:
    """A client of the database in memory, which it shares with the other clients in memory."""
    make = functools.partial(ephemeral_client, embedding_cache=embedding_cache)
    return Opening(_open(Threads(), make, settings, tenant, database))


def async_persistent_client(
    path: str | Path = "./chroma",
    settings: Settings | None = None,
    tenant: str = DEFAULT_TENANT,
    database: str = DEFAULT_DATABASE,
    *,
    durability: Durability = "full",
    read_only: bool = False,
    memory_limit: int | str | None = None,
    embedding_cache: EmbeddingPlace = None,
) -> Opening[AsyncClient]:
    """A client of the database in a directory; see `PersistentClient`.

    To cancel a task does not stop what its call has begun: a write happens as a whole.
    """
    make = functools.partial(
        persistent_client,
        durability=durability,
        read_only=read_only,
        memory_limit=memory_limit,
        embedding_cache=embedding_cache,
    )
    return Opening(_open(Threads(), make, path, settings, tenant, database))


def async_http_client(
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    ssl: bool = False,
    headers: dict[str, str] | None = None,
    settings: Settings | None = None,
    tenant: str = DEFAULT_TENANT,
    database: str = DEFAULT_DATABASE,
    *,
    timeout: float | None = TIMEOUT,
    retries: int = RETRIES,
    embedding_cache: EmbeddingPlace = None,
) -> Opening[AsyncClient]:
    """A client of a server; see `HttpClient`.

    Requests wait on the event loop, not in threads. To cancel a task closes its connection; a
    write that has reached the server may happen.
    """
    settings = served(with_cache(settings, embedding_cache), host, port, ssl, headers)
    return _on_loop(settings, target_of(settings, timeout, retries), tenant, database)


def _on_loop(
    settings: Settings, target: Target, tenant: str, database: str
) -> Opening[AsyncClient]:
    return Opening(_open(bridge.run, open_client, OnLoop(target), settings, tenant, database))


async def _open(
    run: Runner, make: Callable[P, Client], /, *args: P.args, **kwargs: P.kwargs
) -> AsyncClient:
    return AsyncClient(await run(make, *args, **kwargs), run)
