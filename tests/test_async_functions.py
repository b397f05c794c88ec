"""Embedding functions that are coroutines: awaited on the loop, or run to their end without one."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

import in_process
import vermilion
from vermilion import bridge
from vermilion.api import aio
from vermilion.api.servers import open_client
from vermilion.api.settings import Settings
from vermilion.embeddings.base import EmbeddingFunction
from vermilion.local.engine import LocalEngine
from vermilion.remote.transport import OnLoop
from vermilion.server.app import create_app


class Later(EmbeddingFunction[Any]):
    """Counts letters once the loop has turned; remembers which loop that was."""

    def __init__(self) -> None:
        self.loops: list[Any] = []

    async def __call__(self, input: Any) -> Any:
        self.loops.append(asyncio.get_running_loop())
        await asyncio.sleep(0)
        return [[float(len(text)), 1.0] for text in input]

    async def embed_query(self, input: Any) -> Any:
        return await self(input)


def used(client: Any, function: Any) -> Any:
    notes = client.create_collection("later", embedding_function=function)
    notes.add(ids=["a", "b"], documents=["one", "three"])
    found = notes.query(query_texts=["three"], n_results=1)["ids"]
    client.delete_collection("later")
    return found


def test_without_a_loop() -> None:
    assert used(vermilion.EphemeralClient(), Later()) == [["b"]]


def test_a_client_that_blocks_on_a_loop() -> None:
    async def main() -> Any:
        return used(vermilion.EphemeralClient(), Later())

    assert asyncio.run(main()) == [["b"]]


@pytest.mark.parametrize("cached", [False, True])
def test_on_the_callers_loop(tmp_path: Path, cached: bool) -> None:
    function = Later()

    async def main() -> Any:
        cache = tmp_path / "v.db" if cached else None
        async with vermilion.AsyncPersistentClient(tmp_path, embedding_cache=cache) as client:
            notes = await client.create_collection("later", embedding_function=function)
            await notes.add(ids=["a", "b"], documents=["one", "three"])
            found = await notes.query(query_texts=["three"], n_results=1)
        assert set(function.loops) == {asyncio.get_running_loop()}
        return found["ids"]

    assert asyncio.run(main()) == [["b"]]


def test_over_http_the_loop_is_not_held_up() -> None:
    turns: list[int] = []

    class Waiting(Later):
        async def __call__(self, input: Any) -> Any:
            for _ in range(20):
                await asyncio.sleep(0)
            turns.append(len(turns))
            return [[float(len(text)), 1.0] for text in input]

    async def main() -> Any:
        transport = OnLoop(in_process.TARGET, lambda: httpx.ASGITransport(app))
        places = (Settings(), vermilion.DEFAULT_TENANT, vermilion.DEFAULT_DATABASE)
        made = await bridge.run(open_client, transport, *places)
        async with aio.AsyncClient(made, bridge.run) as client:
            notes = await client.create_collection("later", embedding_function=Waiting())
            await asyncio.gather(
                *(notes.add(ids=[f"{n}"], documents=["x" * n]) for n in range(1, 5))
            )
            return (await notes.query(query_texts=["xxx"], n_results=1))["ids"]

    app = create_app(LocalEngine(), in_process.PERMISSIVE)
    assert asyncio.run(main()) == [["3"]]
    app.close()
    assert len(turns) == 5


def test_a_wrong_number_of_arguments_is_refused_before_anything_is_made() -> None:
    class Wrong:
        async def __call__(self, texts: Any) -> Any:
            return []

    client = vermilion.EphemeralClient()
    before = client.count_collections()
    with pytest.raises(ValueError, match=r"signature: \(self, input\), got \(self, texts\)"):
        client.create_collection("later", embedding_function=Wrong())
    assert client.count_collections() == before
