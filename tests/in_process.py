"""Servers without a socket: clients whose requests go straight to an ASGI application."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from inspect import isgeneratorfunction
from typing import Any, TypeVar, cast

import httpx

from vermilion import bridge
from vermilion.api.client import Client
from vermilion.api.servers import open_client
from vermilion.api.settings import Settings
from vermilion.engine import Engine
from vermilion.remote.engine import RemoteEngine
from vermilion.remote.target import Target
from vermilion.remote.transport import OnLoop, Threaded
from vermilion.server.app import create_app
from vermilion.server.settings import ServerSettings
from vermilion.types import DEFAULT_DATABASE, DEFAULT_TENANT

R = TypeVar("R")

TARGET = Target("http://testserver/api/v2", retries=0)
# A server that lets its callers do what an engine lets them do.
PERMISSIVE = ServerSettings(allow_reset=True, max_batch_size=2**32, max_results=2**32)


class Loop:
    """An event loop in a thread of its own, for callers that block."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def do(self, coroutine: Coroutine[Any, Any, R]) -> R:
        """What the coroutine returns."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Connection(httpx.BaseTransport):
    """A connection of a client that blocks."""

    def __init__(self, app: Any, loop: Loop) -> None:
        self._app = httpx.ASGITransport(app)
        self._loop = loop

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._loop.do(self._answer(request))

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        sent = httpx.Request(
            request.method, request.url, headers=request.headers, content=request.read()
        )
        answer = await self._app.handle_async_request(sent)
        body = b"".join([chunk async for chunk in answer.aiter_raw()])
        return httpx.Response(answer.status_code, headers=answer.headers, content=body)


class OnItsLoop:
    """Something whose methods have to run on an event loop, for callers that block."""

    def __init__(self, thing: Any, loop: Loop) -> None:
        self._thing = thing
        self._loop = loop

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._thing, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            answer = method(*args, **kwargs)
            return list(answer) if isinstance(answer, Generator) else answer

        def on_the_loop(*args: Any, **kwargs: Any) -> Any:
            answer = self._loop.do(bridge.run(call, *args, **kwargs))
            return iter(answer) if isgeneratorfunction(method) else answer

        return on_the_loop


@contextmanager
def reached(kind: str, engine: Engine) -> Iterator[Engine]:
    """The engine itself, or what speaks to a server that has it: threads, or an event loop."""
    if not kind.startswith("remote"):
        yield engine
        return
    loop, app = Loop(), create_app(engine, PERMISSIVE)
    try:
        if kind == "remote":
            yield RemoteEngine(Threaded(TARGET, lambda: Connection(app, loop)))
        else:
            remote = RemoteEngine(OnLoop(TARGET, lambda: httpx.ASGITransport(app)))
            yield cast(Engine, OnItsLoop(remote, loop))
    finally:
        loop.close()
        app.close()


@contextmanager
def client(engine: Engine) -> Iterator[Client]:
    """A client of a server that has this engine and lets it be reset."""
    loop, app = Loop(), create_app(engine, PERMISSIVE)
    try:
        transport = Threaded(TARGET, lambda: Connection(app, loop))
        yield open_client(transport, Settings(), DEFAULT_TENANT, DEFAULT_DATABASE)
    finally:
        loop.close()
        app.close()
