"""One connection to a server, for the thread that calls; requests go through it one by one.

`Direct` is http.client's, which takes a third of the time of httpx. Through a proxy it is httpx's,
and where requests wait on an event loop, too.
"""

from __future__ import annotations

import http.client
import io
import re
import select
import socket
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlsplit

from vermilion.errors import ArgumentValueError
from vermilion.remote.target import Target

if TYPE_CHECKING:
    import ssl

    import httpx

    from vermilion.wire.operation import Call

# Bytes of a body that are copied behind the head, so that they leave together.
JOINED = 2**16
# Bytes that are asked for at once: at first, and of a body whose length is known.
READ, READ_MORE = 2**16, 2**20
# What may stand in the path of an address beside letters and digits.
_IN_PATHS = "/%:@!$&'()*+,;=-._~"


class Unconnected(Exception):
    """Nobody took the connection: nothing was sent."""


class Silent(Exception):
    """The server said nothing for too long."""


class Broken(Exception):
    """The connection ended before the answer did."""


@dataclass(frozen=True)
class Answer:
    """What the server said; names of headers are small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connection(Protocol):
    """What requests of one thread after the other go through."""

    def exchange(self, call: Call) -> Answer:
        """The answer. Raises Unconnected, Silent, Broken."""
        ...

    def close(self) -> None:
        """Ends it."""
        ...


class Direct:
    """A connection that nobody is between."""

    def __init__(
        self, target: Target, headers: Mapping[str, str], context: ssl.SSLContext | None
    ) -> None:
        """`context` is what checks the certificate of a server that has one."""
        parts = urlsplit(target.url)
        assert parts.hostname is not None, "`server_url` saw to it"
        self._target = target
        self._path = quote(parts.path, safe=_IN_PATHS)
        self._head = _head({"Host": _ascii(parts.netloc), **headers})
        self._used = 0.0
        place, patience = (_ascii(parts.hostname), parts.port), target.connect_timeout
        self._line = (
            http.client.HTTPConnection(*place, timeout=patience)
            if context is None
            else http.client.HTTPSConnection(*place, timeout=patience, context=context)
        )

    def close(self) -> None:
        """See Connection."""
        self._line.close()

    def exchange(self, call: Call) -> Answer:
        """See Connection."""
        line = self._connected()
        try:
            line.settimeout(None if call.patient else self._target.timeout)
            self._send(line, call)
            answer = self._receive(line, call.method)
        except TimeoutError as error:
            raise Silent from error
        except (OSError, EOFError, http.client.HTTPException, zlib.error) as error:
            raise Broken from error
        self._used = time.monotonic()
        return answer

    def _connected(self) -> socket.socket:
        """The socket, connected anew when the server has closed it meanwhile, or soon will."""
        line: socket.socket | None = self._line.sock
        if line is not None:
            idle = time.monotonic() - self._used
            if idle < self._target.keepalive_seconds and not _has_something(line):
                return line
            self._line.close()
        try:
            self._line.connect()
        except (OSError, http.client.HTTPException) as error:
            raise Unconnected from error
        connected: socket.socket = self._line.sock
        return connected

    def _send(self, line: socket.socket, call: Call) -> None:
        """Sends the request, as one piece if it is small.

        http.client would send head and body apart, and wake the server twice.
        """
        body = call.body or b""
        length = b"" if call.body is None else b"Content-Length: %d\r\n" % len(body)
        path = (self._path + call.path).encode("ascii")
        head = b"%s %s HTTP/1.1\r\n%s%s\r\n" % (call.method.encode(), path, self._head, length)
        pieces = (head + body,) if len(body) <= JOINED else (head, body)
        # A server may refuse a body before it has read all of it: its answer says why.
        with suppress(ConnectionError):
            for piece in pieces:
                _send_all(line, piece)

    def _receive(self, line: socket.socket, method: str) -> Answer:
        """The answer. One in the usual form is read here, any other by http.client.

        That makes an e-mail of every head, which takes as long as all else the client does.
        """
        seen = line.recv(READ)
        usual = _usual(seen)
        if usual is None:
            return self._received(_Seen(line, seen), method)
        status, headers, body = usual
        missing = int(headers["content-length"]) - len(body)
        pieces = [body]
        while missing > 0:
            pieces.append(line.recv(min(missing, READ_MORE)))
            missing -= len(pieces[-1])
            if not pieces[-1]:
                raise http.client.IncompleteRead(b"".join(pieces), missing)
        return Answer(status, headers, _unpacked(b"".join(pieces), headers))

    def _received(self, line: _Seen, method: str) -> Answer:
        response = http.client.HTTPResponse(line, method=method)  # type: ignore[arg-type]  # enough of a socket
        try:
            response.begin()
            headers = {name.lower(): value for name, value in response.getheaders()}
            body = _unpacked(response.read(), headers)
            if response.will_close:
                self._line.close()
        finally:
            response.close()
        return Answer(response.status, headers, body)


class _Seen(io.RawIOBase):
    """A connection of which something has been read already."""

    def __init__(self, line: socket.socket, seen: bytes) -> None:
        self._line = line
        self._seen = seen

    def makefile(self, mode: str) -> io.BufferedReader:
        """As a socket has it."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills the buffer, or a part of it."""
        if not self._seen:
            return self._line.recv_into(buffer)
        some, self._seen = self._seen[: len(buffer)], self._seen[len(buffer) :]
        buffer[: len(some)] = some
        return len(some)


def _usual(seen: bytes) -> tuple[int, dict[str, str], bytes] | None:
    """The status, the headers and the beginning of the body.

    None unless the head is complete, tells the length of the body, and says nothing else that has
    to be understood.
    """
    head, end, body = seen.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    length = headers.get("content-length", "")
    plain = head.isascii() and length.isdigit() and len(length) < 19 and len(headers) == len(lines)
    if not (end and plain and _STATUS.match(first)) or not _UNUSUAL.isdisjoint(headers):
        return None
    if any(line[:1].isspace() for line in lines) or len(body) > int(length):
        return None
    return int(first[9:12]), headers, body


_STATUS = re.compile(r"HTTP/1\.1 (?!204|304)[2-5]\d\d\b")
_UNUSUAL = {"transfer-encoding", "connection"}


def _head(headers: Mapping[str, str]) -> bytes:
    """The lines of these headers. Raises ArgumentValueError for what cannot be sent."""
    lines = b""
    for name, value in headers.items():
        line = f"{name}: {value}"
        if not line.isascii() or not line.isprintable():
            raise ArgumentValueError(
                f"The header {name!r} cannot be sent: expected printable ASCII characters"
            )
        lines += line.encode() + b"\r\n"
    return lines


def _ascii(place: str) -> str:
    """The name of a host as it is sent."""
    return place if place.isascii() else place.encode("idna").decode()


def _send_all(line: socket.socket, data: bytes) -> None:
    """Sends it; as socket.sendall, but the time-out is one of silence, however much there is."""
    sent = line.send(data)
    if sent < len(data):
        rest = memoryview(data)[sent:]
        while rest:
            rest = rest[line.send(rest) :]


def _has_something(line: socket.socket) -> bool:
    """Whether there is something to read where nothing was asked: usually that it was closed."""
    if hasattr(select, "poll"):
        asked = select.poll()
        asked.register(line, select.POLLIN)
        return bool(asked.poll(0))
    return bool(select.select([line], [], [], 0)[0])  # Windows, where it takes any descriptor


def _unpacked(body: bytes, headers: Mapping[str, str]) -> bytes:
    """The body as it was before it was packed. Raises OSError, EOFError, zlib.error."""
    if headers.get("content-encoding") != "gzip":
        return body
    import gzip

    return gzip.decompress(body)


# ── httpx ────────────────────────────────────────────────────────────────────────────────────────


class Through:
    """A connection of httpx."""

    def __init__(
        self, transport: httpx.BaseTransport, request: Callable[[Call], httpx.Request]
    ) -> None:
        """`request` makes what it sends."""
        self._transport = transport
        self._request = request

    def close(self) -> None:
        """See Connection."""
        self._transport.close()

    def exchange(self, call: Call) -> Answer:
        """See Connection."""
        with translated():
            response = self._transport.handle_request(self._request(call))
            body = response.read()
        return Answer(response.status_code, response.headers, body)


@contextmanager
def translated() -> Iterator[None]:
    """Turns httpx's errors into ours."""
    import httpx

    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise Unconnected from error
    except httpx.TimeoutException as error:
        raise Silent from error
    except httpx.RequestError as error:
        raise Broken from error
