"""The server: an ASGI application over any engine.

    app = create_app(LocalEngine(Path("my_data")))

A request goes its way in the order of the text: it is found in the wire's table, its caller is let
in, its body comes in, and a worker thread decodes it, performs it and writes the answer. Small
queries that come at the same time are performed together.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from vermilion.engine import Engine
from vermilion.errors import AuthorizationError
from vermilion.server.cors import Cors
from vermilion.server.exchange import Bodies, ClientGone, Exchange, Receive, Scope, Send
from vermilion.server.gathering import Gathering
from vermilion.server.guard import Caller, Guard
from vermilion.server.limits import Limits
from vermilion.server.observing import Observer, Span
from vermilion.server.pages import Page, Pages
from vermilion.server.refusals import (
    Refusal,
    answer_of,
    busy,
    is_ours,
    took_too_long,
    unknown_route,
    wrong_method,
)
from vermilion.server.settings import ServerSettings
from vermilion.types import Hits
from vermilion.wire import records, system
from vermilion.wire.operation import API, Operation
from vermilion.wire.table import Kind, Routes
from vermilion.wire.text import dumps

log = logging.getLogger("vermilion.server")

# Bytes of a body that is decoded without a thread of its own: 1,500 numbers take 0.2 ms.
SMALL = 2**15

# Those need neither the disk nor a thread.
_AT_ONCE = (
    system.Heartbeat,
    system.HeartbeatAlias,
    system.Version,
    system.PreFlightChecks,
    system.Identity,
)


def create_app(engine: Engine, settings: ServerSettings | None = None) -> App:
    """The application over this engine, which it closes when the server stops."""
    return App(engine, settings or ServerSettings())


class App:
    """An ASGI application."""

    def __init__(self, engine: Engine, settings: ServerSettings) -> None:
        """Raises ArgumentValueError, OSError for settings that cannot be followed."""
        self.engine = engine
        self.settings = settings
        self.ready = True
        self._routes = Routes()
        self._guard = Guard(settings)
        self._cors = Cors(settings.cors_allow_origins)
        self._limits = Limits(settings, engine.max_batch_size())
        self._observer = Observer(settings)
        self._pages = Pages(settings, self._observer)
        self._pool = ThreadPoolExecutor(settings.threads, thread_name_prefix="request")
        self._gathering = Gathering(engine, self._pool)
        self._bodies = Bodies(settings.max_body_bytes, settings.max_bodies_bytes)
        self._inside = 0
        self._most = settings.threads + settings.backlog

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection's request, or the beginning and the end of the server."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(Exchange(scope, receive, send))

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.ready = False
        self.close()
        await send({"type": "lifespan.shutdown.complete"})

    def close(self) -> None:
        """Waits for requests, and closes the engine."""
        self._pool.shutdown(wait=True)
        self.engine.close()

    async def _http(self, exchange: Exchange) -> None:
        span = self._observer.begin(exchange.headers.get(b"x-request-id"))
        try:
            page = await self._answered(exchange, span)
        except ClientGone:
            page = None
        except Exception as error:
            page = self._told(error, exchange, span)
        try:
            if page is not None:
                page.headers.append((b"x-request-id", span.id.encode()))
                page.headers += self._cors.headers(exchange)
                await exchange.answer(page.status, page.body, page.headers, page.kind)
        finally:
            self._bodies.give_back(exchange.held)
            self._observer.end(
                span, exchange.method, exchange.path, exchange.status, exchange.client
            )

    def _told(self, error: Exception, exchange: Exchange, span: Span) -> Page:
        """The answer that tells an error."""
        if not is_ours(error):
            log.error(
                "%s %s failed (request %s)", exchange.method, exchange.path, span.id, exc_info=error
            )
        status, body, headers = answer_of(error)
        headers = [*headers, (b"chroma-trace-id", span.id.encode())]
        if isinstance(error, AuthorizationError) and status == 401:
            headers.append((b"www-authenticate", b'Bearer, Basic realm="vermilion"'))
        return Page(status, body, headers)

    # ── finding ──────────────────────────────────────────────────────────────────────────────────

    async def _answered(self, exchange: Exchange, span: Span) -> Page:
        path = exchange.path
        if exchange.method == "OPTIONS":
            return self._cors.options(exchange, self._allowed(path))
        self._cors.check(exchange)
        if not path.startswith(API):
            return await self._page(exchange, span)
        method = "GET" if exchange.method == "HEAD" else exchange.method
        found = self._routes.find(method, path[len(API) :])
        if found is None:
            allowed = self._allowed(path)
            raise wrong_method(allowed) if allowed else unknown_route()
        kind, parts = found
        self._observer.traced(span, kind.__name__, exchange.headers)
        caller = self._guard.let_in(exchange.headers, exchange.client, kind.route.right)
        span.caller = caller.name
        self._guard.check_path(caller, kind.route.right, parts)
        body = b""
        if kind.route.body is not None:
            exchange.check_type()
            body = await exchange.body(self._bodies, self.settings.request_timeout)
        return await self._performed(kind, parts, exchange, body, caller, span)

    def _allowed(self, path: str) -> list[str]:
        if path.startswith(API):
            return self._routes.methods(path[len(API) :])
        return self._pages.methods(path)

    async def _page(self, exchange: Exchange, span: Span) -> Page:
        """What is not in the wire's table: documentation, health, metrics."""
        span.name = "page"
        find = self._pages.find(exchange.method, exchange.path)
        if find.guarded:
            caller = self._guard.let_in(exchange.headers, exchange.client)
            self._guard.check_all(caller)
        if not find.asks:
            return find.make()
        ready = self.ready and await self._in_thread(self._is_ready, None)
        return self._pages.readiness(ready)

    def _is_ready(self) -> bool:
        try:
            return system.Healthcheck().perform(self.engine)
        except Exception as error:
            log.error("The database cannot be used: %r", error)
            return False

    # ── performing ───────────────────────────────────────────────────────────────────────────────

    async def _performed(
        self,
        kind: Kind,
        parts: dict[str, str],
        exchange: Exchange,
        body: bytes,
        caller: Caller,
        span: Span,
    ) -> Page:
        def received() -> Operation[Any]:
            operation = kind.receive(parts, exchange.query, body)
            self._guard.check(caller, operation)
            self._limits.check(operation)
            return operation

        def work() -> bytes:
            operation = small or received()
            began = time.perf_counter()
            answer = dumps(operation.to_json(self._perform(operation, caller)))
            if kind.route.right != "read":
                self._gathering.written()
            self._told_if_slow(operation, time.perf_counter() - began, span)
            return answer

        timeout = None if kind.route.patient else self.settings.request_timeout
        small = received() if kind is records.Query and len(body) <= SMALL else None
        if kind in _AT_ONCE:
            done = work()
        elif isinstance(small, records.Query) and Gathering.takes(small):
            done = await self._gathered(small, exchange.is_alone, timeout, span)
        else:
            done = await self._in_thread(work, timeout)
        return Page(kind.route.status, done, [])

    async def _gathered(
        self, query: records.Query, alone: bool, timeout: float | None, span: Span
    ) -> bytes:
        """The answer to a small query, asked together with others."""

        def finish(hits: list[Hits], took: float) -> bytes:
            self._told_if_slow(query, took, span)
            return dumps(query.to_json(hits))

        self._enter()
        answer = self._gathering.ask(query, finish, alone=alone)
        clock = None
        if timeout is not None and not answer.done():  # asyncio.wait_for takes ten times as long
            clock = answer.get_loop().call_later(timeout, _give_up, answer, timeout)
        try:
            return await answer
        finally:
            self._left(None)
            if clock is not None:
                clock.cancel()

    def _told_if_slow(self, operation: Operation[Any], took: float, span: Span) -> None:
        if self._observer.slow(operation, took):
            assert isinstance(operation, records.Query)
            self._pool.submit(self._observer.explain, operation, self.engine, took, span.id)

    def _perform(self, operation: Operation[Any], caller: Caller) -> Any:
        """Asks the engine, or the server itself where it is about the server."""
        if isinstance(operation, system.Identity):
            return caller.identity()
        if isinstance(operation, system.PreFlightChecks):
            return system.PreFlight(self._limits.max_batch_size, True)
        if isinstance(operation, system.Reset) and not self.settings.allow_reset:
            raise Refusal(403, "Reset is disabled by config")
        answer = operation.perform(self.engine)
        if isinstance(operation, system.ListDatabases):
            return self._guard.visible(caller, answer)
        return answer

    async def _in_thread(self, work: Callable[[], Any], timeout: float | None) -> Any:
        self._enter()
        future = self._pool.submit(work)
        future.add_done_callback(self._left)
        wrapped = asyncio.wrap_future(future)
        try:
            return await asyncio.wait_for(wrapped, timeout)
        except TimeoutError:
            if not future.done():
                future.cancel()
            raise took_too_long(timeout) from None

    def _enter(self) -> None:
        if self._inside >= self._most:
            raise busy()
        self._inside += 1

    def _left(self, _: Any) -> None:
        self._inside -= 1


def _give_up(answer: asyncio.Future[bytes], timeout: float) -> None:
    if not answer.done():
        answer.set_exception(took_too_long(timeout))
