"""A server in this process: requests go straight into the ASGI application, without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from vermilion.local.engine import LocalEngine
from vermilion.server.app import App, create_app
from vermilion.server.settings import ServerSettings

HERE = "/api/v2/tenants/default_tenant/databases/default_database"
NOBODY = "00000000-0000-4000-8000-000000000000"


class Served:
    """A client of an application."""

    def __init__(self, app: App, client: tuple[str, int] = ("127.0.0.1", 123)) -> None:
        self.app = app
        self._transport = httpx.ASGITransport(app=app, client=client)

    def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        """The answer to one request."""
        return asyncio.run(self.answer(method, path, **request))

    async def answer(self, method: str, path: str, **request: Any) -> httpx.Response:
        """The same, beside others."""
        async with httpx.AsyncClient(transport=self._transport, base_url="http://server") as client:
            return await client.request(method, path, **request)

    def get(self, path: str, **request: Any) -> httpx.Response:
        return self.ask("GET", path, **request)

    def post(self, path: str, json: Any = None, **request: Any) -> httpx.Response:
        return self.ask("POST", path, **({} if json is None else {"json": json}), **request)

    def made(self, name: str = "things", **body: Any) -> str:
        """The path of a new collection."""
        answer = self.post(f"{HERE}/collections", {"name": name, **body})
        assert answer.status_code == 200, answer.text
        return f"{HERE}/collections/{answer.json()['id']}"

    def filled(self, name: str = "things", **body: Any) -> str:
        """The path of a new collection with three records on a line."""
        path = self.made(name, **body)
        rows = {
            "ids": ["a", "b", "c"],
            "embeddings": [[1, 0], [2, 0], [3, 0]],
            "documents": ["one fish", "two fish", None],
            "metadatas": [{"n": 1}, {"n": 2, "x": 1.5}, None],
        }
        assert self.post(f"{path}/add", rows).status_code == 201
        return path


@contextmanager
def served(path: Path | None = None, **settings: Any) -> Iterator[Served]:
    """A server of a directory, or of a database in memory."""
    app = create_app(LocalEngine(path), ServerSettings(**settings))
    try:
        yield Served(app)
    finally:
        app.close()


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    """A body that comes in pieces, without a length."""
    for part in parts:
        yield part
