"""How a request reaches the server and its answer comes back: connections, patience, retries.

`Transport.send` is written once. `Threaded` holds the thread that calls up until the answer is
there; `OnLoop` waits on the event loop (see `bridge`), where any number of requests wait beside
each other and cancelling a task closes its connection.

Connections are kept here, and the last one that came back is the next one that goes: httpx's own
pool asks every idle one whether it still lives at every request, 7 ms with 500 requests at once.
"""

from __future__ import annotations

import os
import random
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from vermilion import bridge, forks
from vermilion.errors import ServerTimeoutError, UnreachableError, client_closed
from vermilion.offline import need_network
from vermilion.remote.connections import (
    Answer,
    Broken,
    Connection,
    Direct,
    Silent,
    Through,
    Unconnected,
    translated,
)
from vermilion.remote.target import Target
from vermilion.version import __version__

if TYPE_CHECKING:
    import asyncio
    import ssl

    import httpx

    from vermilion.wire.operation import Call

# The first pause before a request is sent again; each further one is twice as long.
FIRST_PAUSE = 0.1
# A server may say when to come back. Longer than this is not waited for.
LONGEST_PAUSE = 30.0


class Transport(ABC):
    """Sends requests to one server."""

    def __init__(self, target: Target) -> None:
        need_network("The server", target.url)
        self.target = target
        self._closed = False
        self._url = lru_cache(maxsize=256)(self._parsed)

    def close(self) -> None:
        """Closes the connections; nothing can be sent afterwards. Closing twice is fine."""
        self._closed = True
        self._disconnect()

    @abstractmethod
    def _disconnect(self) -> None: ...

    @abstractmethod
    def _exchange(self, call: Call) -> Answer:
        """The answer. Raises Unconnected, Silent, Broken."""

    @abstractmethod
    def _pause(self, seconds: float) -> None: ...

    def send(self, call: Call) -> Answer:
        """What the server answers, whatever its status.

        A request that did not reach the server, or that it turned away, is sent again after a
        pause; one whose connection broke only if it is `safe`. Raises UnreachableError, and
        ServerTimeoutError after too long a silence.
        """
        for attempt in range(self.target.retries):
            try:
                answer = self._attempt(call)
            except ServerTimeoutError:
                raise
            except UnreachableError as error:
                if error.sent and not call.safe:
                    raise
                pause = 0.0
            else:
                asked = _pause_asked_for(answer, call)
                if asked is None or asked > LONGEST_PAUSE:
                    return answer
                pause = asked
            self._pause(max(pause, _back_off(attempt)))
        return self._attempt(call)

    def _attempt(self, call: Call) -> Answer:
        if self._closed:
            raise client_closed()
        try:
            return self._exchange(call)
        except Unconnected as error:
            raise UnreachableError(self._nobody(error), sent=False) from error
        except Silent as error:
            raise ServerTimeoutError(
                f"The server at {self.target.url} was silent for {self.target.timeout:g} seconds "
                f"after {call.method} {call.path}, which it may still be doing; timeout= of the "
                "client says how long to wait"
            ) from error
        except Broken as error:
            raise UnreachableError(
                f"The connection to the server at {self.target.url} broke in {call.method} "
                f"{call.path}: {_words(error)}. Whether the server did it is not known",
                sent=True,
            ) from error

    def _nobody(self, error: Exception) -> str:
        port = urlsplit(self.target.url).port
        hint = f"`vermilion run --path my_data{f' --port {port}' if port else ''}` starts one"
        return (
            f"Could not connect to a Chroma server at {self.target.url}: {_words(error)}. "
            f"Are you sure it is running? {hint if self.target.is_near else 'Check host and port'}"
        )

    # ── what connections need ────────────────────────────────────────────────────────────────────

    def _request(self, call: Call) -> httpx.Request:
        import httpx

        patience = None if call.patient else self.target.timeout
        connect = self.target.connect_timeout
        times = {"connect": connect, "read": patience, "write": patience, "pool": None}
        return httpx.Request(
            call.method,
            self._url(call.path),
            headers=self._headers,
            content=call.body,
            extensions={"timeout": times},
        )

    def _parsed(self, path: str) -> httpx.URL:
        import httpx

        return httpx.URL(self.target.url + path)

    @cached_property
    def _headers(self) -> dict[str, str]:
        return {
            "User-Agent": f"vermilion/{__version__}",
            "Accept": "application/json",
            # On one machine, to compress is slower than to send.
            "Accept-Encoding": "identity" if self.target.is_near else "gzip",
            "Content-Type": "application/json",
            **self.target.headers,
        }

    @cached_property
    def _context(self) -> ssl.SSLContext | None:
        """What checks the server's certificate; to read those of authorities takes 20 ms."""
        return _certificates(self.target) if self.target.url.startswith("https:") else None

    @cached_property
    def _proxy(self) -> str | None:
        return _proxy(self.target.url)

    @cached_property
    def _options(self) -> dict[str, Any]:
        """What every connection of httpx is made with."""
        import httpx

        return {
            "verify": False if self._context is None else self._context,
            "proxy": self._proxy,
            "limits": httpx.Limits(
                max_connections=1, keepalive_expiry=self.target.keepalive_seconds
            ),
        }


class Threaded(Transport):
    """Holds the calling thread up; each thread that calls at the same time has a connection."""

    def __init__(
        self, target: Target, connect: Callable[[], httpx.BaseTransport] | None = None
    ) -> None:
        """`connect` makes a connection; without it there is one to the target."""
        super().__init__(target)
        self._connect = connect
        self._idle: deque[Connection] = deque()
        forks.renew_in_child(self)

    def after_fork(self) -> None:
        """Lets go of the connections, which are the parent's."""
        self._disconnect()

    def _disconnect(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _connection(self) -> Connection:
        if self._connect is not None:
            return Through(self._connect(), self._request)
        if self._proxy is None:
            return Direct(self.target, self._headers, self._context)
        import httpx

        return Through(httpx.HTTPTransport(**self._options), self._request)

    def _exchange(self, call: Call) -> Answer:
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connection()
        try:
            answer = connection.exchange(call)
        except BaseException:  # also when the user has pressed Ctrl-C: an answer may still come
            connection.close()
            raise
        if self._closed or len(self._idle) >= self.target.max_connections:
            connection.close()
        else:
            self._idle.append(connection)
        return answer

    def _pause(self, seconds: float) -> None:
        time.sleep(seconds)


class OnLoop(Transport):
    """Waits on the event loop, for calls that `bridge.run` makes."""

    def __init__(
        self, target: Target, connect: Callable[[], httpx.AsyncBaseTransport] | None = None
    ) -> None:
        """`connect` makes a connection; without it there is one to the target."""
        super().__init__(target)
        self._connect = connect or self._connection
        self._idle: list[httpx.AsyncBaseTransport] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def _disconnect(self) -> None:
        """Somewhere else than on its loop it leaves the closing to the loop."""
        idle, self._idle = self._idle, []
        if bridge.inside():
            bridge.wait(_close_all(idle))
        elif self._loop is not None and self._loop.is_running():
            self._loop.call_soon_threadsafe(self._loop.create_task, _close_all(idle))

    def _connection(self) -> httpx.AsyncBaseTransport:
        import httpx

        return httpx.AsyncHTTPTransport(**self._options)

    def _exchange(self, call: Call) -> Answer:
        with translated():
            return bridge.wait(self._exchanged(self._request(call)))

    async def _exchanged(self, request: httpx.Request) -> Answer:
        self._start_on_this_loop()
        async with self._room:
            connection = self._idle.pop() if self._idle else self._connect()
            try:
                response = await connection.handle_async_request(request)
                body = await response.aread()
            except BaseException:  # a cancelled task, too: what is on the line is not for others
                await connection.aclose()
                raise
            self._idle.append(connection)
        return Answer(response.status_code, response.headers, body)

    def _start_on_this_loop(self) -> None:
        import asyncio

        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # connections belong to the loop that made them
            self._loop = loop
            self._idle = []
            self._room = asyncio.Semaphore(self.target.max_connections)

    def _pause(self, seconds: float) -> None:
        import asyncio

        bridge.wait(asyncio.sleep(seconds))


async def _close_all(connections: list[httpx.AsyncBaseTransport]) -> None:
    for connection in connections:
        await connection.aclose()


# ── patience ─────────────────────────────────────────────────────────────────────────────────────


def _pause_asked_for(answer: Answer, call: Call) -> float | None:
    """How many seconds the server, or a proxy before it, asks for; None where it has answered."""
    if answer.status == 429 or (answer.status == 503 and "retry-after" in answer.headers):
        try:
            return max(0.0, float(answer.headers.get("retry-after", 0)))
        except ValueError:  # it may be a date; nobody sends one
            return 0.0
    return 0.0 if answer.status in (502, 503, 504) and call.safe else None


def _back_off(attempt: int) -> float:
    """Twice as long each time, and not the same for all who were turned away together."""
    return float(FIRST_PAUSE * 2**attempt * random.uniform(0.5, 1.5))


def _words(error: BaseException) -> str:
    """What went wrong at the bottom of it: the libraries between say less than the system."""
    while (below := error.__cause__ or error.__context__) is not None:
        error = below
    number = error.errno if isinstance(error, OSError) else None
    if number is not None and number > 0 and type(error).__module__ != "ssl":  # has its own numbers
        return os.strerror(number)
    return str(error) or type(error).__name__


# ── connecting ───────────────────────────────────────────────────────────────────────────────────


def _certificates(target: Target) -> ssl.SSLContext:
    """What checks the server's certificate."""
    import ssl
    from pathlib import Path

    if isinstance(target.verify, str):
        folder = Path(target.verify).is_dir()
        context = ssl.create_default_context(
            cafile=None if folder else target.verify, capath=target.verify if folder else None
        )
    else:
        context = ssl.create_default_context()
    if target.verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for this server, as HTTPS_PROXY and NO_PROXY do."""
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(url)
    if proxy_bypass(parts.netloc):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")
