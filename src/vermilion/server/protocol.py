"""HTTP from sockets: uvicorn's reader, with bounds on how long and how large a head may be.

uvicorn bounds how long a connection is idle between requests, and the application how long a body
takes; a client that sends its headers byte by byte, or without end, would be waited for for ever.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Bytes of a request's first line and its headers, when they come in pieces.
MOST_HEAD = 2**16


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Subclasses say `head_seconds`, in which a head has to be complete."""

    head_seconds = 30.0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._clock: asyncio.TimerHandle | None = None
        self._head = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # theirs does so
        """A client that says nothing at all is one that is idle."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def data_received(self, data: bytes) -> None:
        """Some bytes; the clock runs while they are not yet a request."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            return
        self._head += len(data)
        if self._head > MOST_HEAD:
            self._refuse(b"431 Request Header Fields Too Large", b"The headers are too long")
        elif self._clock is None:
            told = b"The headers were not complete after %g seconds" % self.head_seconds
            self._clock = self.loop.call_later(
                self.head_seconds, self._refuse, b"408 Request Timeout", told
            )

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._stop_clock()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is waited for any more."""
        self._stop_clock()
        super().connection_lost(exc)

    def _stop_clock(self) -> None:
        self._head = 0
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _refuse(self, status: bytes, told: bytes) -> None:
        if self.transport is None or self.transport.is_closing():
            return
        body = b'{"error":"ChromaError","message":"%s"}' % told
        self.transport.write(
            b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            b"connection: close\r\n\r\n%s" % (status, len(body), body)
        )
        self.transport.close()


def bounded(seconds: float) -> type[BoundedProtocol]:
    """The protocol with this bound."""
    return type("Bounded", (BoundedProtocol,), {"head_seconds": seconds})
