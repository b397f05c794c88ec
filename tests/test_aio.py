"""The doors of asyncio, over a database of this process."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import vermilion
from doors import Lengths
from vermilion.api import sharing
from vermilion.api.admin import AdminClient
from vermilion.api.aio import AsyncAdminClient, AsyncClient, AsyncCollection, Opening
from vermilion.api.client import Client
from vermilion.api.collection import Collection
from vermilion.errors import ClosedError, NotFoundError

# ── the same methods ─────────────────────────────────────────────────────────────────────────────

PAIRS = [(Client, AsyncClient), (Collection, AsyncCollection), (AdminClient, AsyncAdminClient)]
# What needs no waiting is not a coroutine there either.
AT_ONCE = {"iter", "get_settings", "get_model", "from_system", "clear_system_cache"}


def public(kind: type) -> dict[str, Any]:
    """Methods and properties, those of the base classes too."""
    return {name: getattr(kind, name) for name in dir(kind) if not name.startswith("_")}


@pytest.mark.parametrize(("blocking", "other"), PAIRS)
def test_every_method_is_there_with_its_parameters_and_documentation(
    blocking: type, other: type
) -> None:
    theirs = public(other)
    for name, method in public(blocking).items():
        assert name in theirs, f"{other.__name__} lacks {name}"
        assert inspect.getdoc(theirs[name]), name
        if callable(method):
            ours = list(inspect.signature(theirs[name]).parameters.values())
            assert ours == list(inspect.signature(method).parameters.values()), name
            assert inspect.iscoroutinefunction(theirs[name]) is (name not in AT_ONCE), name


@pytest.mark.parametrize(("blocking", "other"), PAIRS)
def test_what_is_there_besides(blocking: type, other: type) -> None:
    more = public(other).keys() - public(blocking).keys()
    # tenant and database are attributes of a Client, set when it is made
    assert more <= {"create", "from_system_async", "tenant", "database"}


# ── a database ───────────────────────────────────────────────────────────────────────────────────

Program = Callable[[AsyncClient], Awaitable[object]]
Run = Callable[[Program], object]


@pytest.fixture(params=["ephemeral", "persistent"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Runs a program on an event loop, with a client of an empty database."""
    sharing.forget_all()
    settings = vermilion.Settings(allow_reset=True)

    def opening() -> Opening[AsyncClient]:
        if request.param == "ephemeral":
            return vermilion.AsyncEphemeralClient(settings)
        return vermilion.AsyncPersistentClient(tmp_path / "database", settings)

    async def main(program: Program) -> object:
        async with opening() as client:
            return await program(client)

    yield lambda program: asyncio.run(main(program))
    sharing.forget_all()


def test_the_life_of_a_collection(run: Run) -> None:
    async def program(client: AsyncClient) -> None:
        notes = await client.create_collection("notes", embedding_function=Lengths())
        await notes.add(ids=["a", "b"], documents=["one", "three"], metadatas=[{"n": 1}, {"n": 2}])
        await notes.upsert(ids=["c"], embeddings=[[9, 9]])
        await notes.update(ids=["c"], metadatas=[{"n": 3}])
        assert await notes.count() == 3
        assert (await notes.get(where={"n": {"$gt": 1}}))["ids"] == ["b", "c"]
        assert (await notes.query(query_texts=["two"], n_results=1))["ids"] == [["a"]]
        assert (await notes.peek(1))["ids"] == ["a"]
        assert (await notes.delete(ids=["a"]))["deleted"] == 1
        await notes.modify(name="renamed", metadata={"k": "v"})
        assert (notes.name, notes.metadata) == ("renamed", {"k": "v"})
        assert repr(notes) == "AsyncCollection(name=renamed)"
        [listed] = await client.list_collections()
        assert isinstance(listed, AsyncCollection)
        assert listed.id == notes.id
        assert await listed.count() == 2
        same = await client.get_collection("renamed", embedding_function=None)
        assert same == await client.get_collection_by_id(notes.id, embedding_function=None)
        assert (await client.get_or_create_collection("renamed")).id == notes.id
        await client.delete_collection("renamed")
        assert await client.count_collections() == 0

    run(program)


def test_the_database_itself(run: Run) -> None:
    async def program(client: AsyncClient) -> None:
        assert (client.tenant, client.database) == ("default_tenant", "default_database")
        await client.create_collection("notes")
        assert await client.check(deep=True) == []
        assert list(await client.stats()) == ["notes"]
        assert await client.get_version() == vermilion.__version__
        assert await client.reset()
        assert client.get_settings().allow_reset
        with pytest.raises(NotFoundError):
            await client.set_database("unknown")

    run(program)


def test_what_the_loop_does_while_an_embedding_function_works(run: Run) -> None:
    async def program(client: AsyncClient) -> None:
        event, embedding = threading.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        class Slow(Lengths):
            def __call__(self, input: Any) -> Any:
                loop.call_soon_threadsafe(embedding.set)
                assert event.wait(60)  # set only if the loop is not held up
                return super().__call__(input)

        notes = await client.create_collection("notes", embedding_function=Slow())
        task = asyncio.create_task(notes.add(ids=["a"], documents=["one"]))
        await embedding.wait()
        assert await notes.count() == 0
        event.set()
        await task
        assert await notes.count() == 1

    run(program)


def test_many_at_once(run: Run) -> None:
    async def program(client: AsyncClient) -> None:
        notes = await client.create_collection("notes", embedding_function=None)
        await asyncio.gather(*[notes.add([f"{n}"], [[n, 1]]) for n in range(100)])
        found = await asyncio.gather(*[notes.query([[n, 1]], n_results=1) for n in range(100)])
        assert [one["ids"] for one in found] == [[[f"{n}"]] for n in range(100)]

    run(program)


def test_a_closed_client_says_so(run: Run) -> None:
    async def program(client: AsyncClient) -> None:
        notes = await client.create_collection("notes", embedding_function=None)
        await client.close()
        await client.close()
        with pytest.raises(ClosedError):
            await notes.count()

    run(program)


def test_errors_are_those_of_the_other_clients(run: Run) -> None:
    async def program(client: AsyncClient) -> None:
        with pytest.raises(NotFoundError, match=r"Collection \[none\] does not exist"):
            await client.get_collection("none")
        notes = await client.create_collection("notes", embedding_function=None)
        with pytest.raises(ValueError, match=r"in add\.$"):
            await notes.add(ids=[], embeddings=[[1]])

    run(program)


# ── opening ──────────────────────────────────────────────────────────────────────────────────────


def test_a_client_is_awaited_or_entered(tmp_path: Path) -> None:
    async def main() -> None:
        client = await vermilion.AsyncPersistentClient(tmp_path)
        await client.create_collection("notes", embedding_function=None)
        async with vermilion.AsyncPersistentClient(tmp_path) as second:
            assert await second.count_collections() == 1
        async with client:
            assert await client.count_collections() == 1
        with pytest.raises(ClosedError):
            await client.count_collections()

    asyncio.run(main())


def test_an_opening_is_a_coroutine(tmp_path: Path) -> None:
    async def both() -> None:
        one = asyncio.create_task(vermilion.AsyncPersistentClient(tmp_path))
        two = asyncio.create_task(vermilion.AsyncPersistentClient(tmp_path, database="unknown"))
        await (await one).close()
        with pytest.raises(NotFoundError):
            await two

    client = asyncio.run(vermilion.AsyncPersistentClient(tmp_path))
    asyncio.run(client.close())
    asyncio.run(both())
    vermilion.AsyncPersistentClient(tmp_path).close()  # nothing was opened, and nobody complains


def test_settings_name_the_database(tmp_path: Path) -> None:
    settings = vermilion.Settings(is_persistent=True, persist_directory=str(tmp_path))

    async def main() -> None:
        async with await AsyncClient.create(settings=settings) as client:
            await client.create_collection("notes", embedding_function=None)
        async with AsyncAdminClient(settings) as admin:
            await admin.create_tenant("other")
            await admin.create_database("theirs", "other")
            assert [one["name"] for one in await admin.list_databases(tenant="other")] == ["theirs"]

    asyncio.run(main())
    with vermilion.PersistentClient(tmp_path) as client:
        assert client.count_collections() == 1


def test_an_unknown_database_is_not_opened(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(NotFoundError):
            await vermilion.AsyncPersistentClient(tmp_path, database="unknown")

    asyncio.run(main())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_the_child_of_a_fork_has_threads_of_its_own(tmp_path: Path) -> None:
    async def opened() -> AsyncClient:
        client = await vermilion.AsyncPersistentClient(tmp_path)
        await client.create_collection("notes", embedding_function=None)
        return client

    client = asyncio.run(opened())
    child = os.fork()
    if not child:
        code = 1
        try:
            code = 0 if asyncio.run(client.count_collections()) == 1 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    asyncio.run(client.close())
