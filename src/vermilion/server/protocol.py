"""HTTP from sockets: uvicorn's reader, with bounds on what a client may take of time and memory.

uvicorn bounds how long a connection is idle between requests, and the application how long a body
takes. Without more, a client that sends its headers byte by byte or without end would be waited for
for ever, and one that never reads would have its answer kept for ever.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from vermilion.server.exchange import REQUESTS
from vermilion.server.settings import ServerSettings
from vermilion.wire.text import dumps

# Bytes that may come without a whole head or a piece of a body: a first line, headers, what stands
# beside the chunks of a body and after them.
MOST_HEAD = 2**16
# What a client has to take of an answer that waits for it, in each period; or all that is left.
LEAST_TAKEN = 2**16
# Bytes of a body that are copied behind the head rather than sent after it.
JOINED = 2**16
# Seconds that the loop stays awake.
AWAKE = 50e-6
# Descriptors that connections leave to files.
FOR_FILES = 512


class Whole:
    """A transport that keeps the head of an answer until its body goes with it.

    uvicorn writes the one and then the other. To send them apart is one more call of the system,
    and the client is woken twice.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Sends it after the head that was kept, or keeps it if it is one."""
        head, self._head = self._head, b""
        if not head and data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 100"):
            self._head = data
        elif len(data) <= JOINED:
            self._transport.write(head + data)
        else:
            self._transport.write(head)
            self._transport.write(data)

    def flush(self) -> None:
        """Sends a head that has no body."""
        if self._head:
            self.write(b"")

    def close(self) -> None:
        """Sends what was kept, and closes."""
        self.flush()
        self._transport.close()


class Lookout:
    """Keeps the loop awake for a moment after an answer: its client may ask again at once.

    To sleep and to be woken takes about as long, more on a virtual machine; so a client that asks
    one thing after the other is answered 4 % sooner, for no more processor time.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds if (os.cpu_count() or 1) > 1 else 0.0
        self._until = 0.0
        self._looks = False

    def answered(self, loop: asyncio.AbstractEventLoop) -> None:
        """The last request that had come has been answered."""
        self._until = time.perf_counter() + self._seconds
        if self._seconds and not self._looks:
            self._look(loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._looks = time.perf_counter() < self._until
        if self._looks:
            loop.call_soon(self._look, loop)


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Subclasses say which bounds there are."""

    head_seconds = 30.0  # in which a head has to be complete
    answer_seconds = 60.0  # in which LEAST_TAKEN has to be taken
    most_connections = 10_000
    lookout = Lookout(AWAKE)  # one for all connections

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._clock: asyncio.TimerHandle | None = None
        self._answer_clock: asyncio.TimerHandle | None = None
        self._head = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # theirs does so
        """A client that says nothing at all is one that is idle."""
        super().connection_made(transport)
        self.transport = Whole(transport)  # type: ignore[assignment]  # it is one in all but name
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )
        if len(self.connections) > self.most_connections:
            self._refuse(b"503 Service Unavailable", "There are too many connections")

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is waited for any more."""
        self._stop_clock()
        self._stop_answer_clock()
        super().connection_lost(exc)

    # ── what comes ───────────────────────────────────────────────────────────────────────────────

    def data_received(self, data: bytes) -> None:
        """Some bytes; the clock runs while they are not yet a request."""
        self._head += len(data)
        super().data_received(data)
        if self._head > MOST_HEAD:
            self._refuse(b"431 Request Header Fields Too Large", "The headers are too long")
        elif self._clock is None and (self.cycle is None or self.cycle.response_complete):
            told = f"The headers were not complete after {self.head_seconds:g} seconds"
            self._clock = self.loop.call_later(
                self.head_seconds, self._refuse, b"408 Request Timeout", told
            )

    def on_headers_complete(self) -> None:
        """The head is there; with it goes a view of all requests that are being answered."""
        self._stop_clock()
        self.scope["state"][REQUESTS] = self.tasks
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of a body is there."""
        self._head = 0
        super().on_body(body)

    def _stop_clock(self) -> None:
        self._head = 0
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    # ── what goes ────────────────────────────────────────────────────────────────────────────────

    def pause_writing(self) -> None:
        """More waits to be taken than should; a client that takes nothing is given up."""
        super().pause_writing()
        self._watch_answer()

    def resume_writing(self) -> None:
        """The client has taken it."""
        super().resume_writing()
        self._stop_answer_clock()

    def on_response_complete(self) -> None:
        """The answer is written; that to a HEAD has no body."""
        self.transport.flush()  # type: ignore[attr-defined]  # see Whole
        super().on_response_complete()
        if len(self.tasks) <= 1:  # this one's is still among them
            self.lookout.answered(self.loop)

    def timeout_keep_alive_handler(self) -> None:
        """The connection is idle: it is closed as soon as what was answered is taken."""
        super().timeout_keep_alive_handler()
        self._watch_answer()

    def _watch_answer(self) -> None:
        left = self.transport.get_write_buffer_size()
        if left and self._answer_clock is None:
            self._answer_clock = self.loop.call_later(
                self.answer_seconds, self._look_at_answer, left
            )

    def _look_at_answer(self, before: int) -> None:
        self._answer_clock = None
        left = self.transport.get_write_buffer_size()
        if left and before - left < min(LEAST_TAKEN, before):
            self.transport.abort()
        else:
            self._watch_answer()

    def _stop_answer_clock(self) -> None:
        if self._answer_clock is not None:
            self._answer_clock.cancel()
            self._answer_clock = None

    # ── refusing ─────────────────────────────────────────────────────────────────────────────────

    def send_400_response(self, msg: str) -> None:
        """What came is no HTTP."""
        self._refuse(b"400 Bad Request", msg)

    def _refuse(self, status: bytes, told: str) -> None:
        if self.transport is None or self.transport.is_closing():
            return
        body = dumps({"error": "ChromaError", "message": told})
        self.transport.write(
            b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            b"connection: close\r\n\r\n%s" % (status, len(body), body)
        )
        self.transport.close()
        self._watch_answer()


def bounded(settings: ServerSettings) -> type[BoundedProtocol]:
    """The protocol with the bounds that the settings tell."""
    bounds = {
        "head_seconds": settings.head_timeout,
        "answer_seconds": settings.answer_timeout,
        "most_connections": min(settings.max_connections, _descriptors()),
    }
    return type("Bounded", (BoundedProtocol,), bounds)


def _descriptors() -> int:
    """How many connections there can be while files can still be opened.

    Has the system allow this process as many descriptors as it may have.
    """
    try:
        import resource
    except ImportError:  # Windows counts them otherwise
        return 2**31
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    except (ValueError, OSError):  # a system may say so and mean less
        pass
    return 2**31 if soft == resource.RLIM_INFINITY else max(soft // 2, soft - FOR_FILES)
