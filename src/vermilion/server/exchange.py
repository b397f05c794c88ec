"""One HTTP exchange: headers, the body as it comes in, the answer as it goes out."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from functools import cached_property
from typing import Any

from vermilion.errors import InvalidArgumentError
from vermilion.server.refusals import (
    Headers,
    busy,
    too_large,
    too_slow,
    wrong_encoding,
    wrong_type,
)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON = b"application/json"
# Where the server leaves all requests that have come and are not answered, this one among them.
REQUESTS = "requests"
# Smaller answers are not worth packing.
LEAST_PACKED = 1024
# Larger ones are packed in a thread: it takes more than a millisecond.
PACKED_AT_ONCE = 2**16
# So many times may a body be packed: each time costs as much as unpacking the largest one.
MOST_PACKINGS = 2
_NEAR = ("127.0.0.1", "::1", "localhost")


class ClientGone(Exception):
    """The client has closed the connection before its request was complete."""


class Bodies:
    """The bodies of requests that a process holds: how long one may be, and all together."""

    def __init__(self, longest: int, most: int) -> None:
        self.longest = longest
        self._most = most
        self._held = 0

    def hold(self, length: int, before: int) -> None:
        """Takes room for so many bytes more of a body that has had so many before.

        Raises Refusal; one that is alone always fits.
        """
        if self._held > before and self._held + length > self._most:
            raise busy()
        self._held += length

    def give_back(self, length: int) -> None:
        """Ends what `hold` began."""
        self._held -= length


class Exchange:
    """What a request says, and how it is answered."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        raw = scope.get("raw_path") or scope["path"].encode()
        self.path: str = raw.decode("latin-1")
        self.query: str = scope["query_string"].decode("latin-1")
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.client: str = (scope.get("client") or ("", 0))[0]
        self._all: Collection[object] | None = scope.get("state", {}).get(REQUESTS)
        self._receive = receive
        self._send = send
        self.status = 0
        self.held = 0  # bytes of its body, as Bodies counts them

    @property
    def is_alone(self) -> bool:
        """Whether it is known that no other request has come that is not answered."""
        return self._all is not None and len(self._all) == 1

    @cached_property
    def is_near(self) -> bool:
        """Whether the client is on this machine, where packing costs more than sending."""
        return self.client in _NEAR or not self.client

    # ── the request ──────────────────────────────────────────────────────────────────────────────

    def check_type(self) -> None:
        """Raises Refusal for a body that says that it is no JSON; one that says nothing is."""
        given = self.headers.get(b"content-type")
        if given is None or given == JSON:
            return
        kind = given.split(b";")[0].strip().lower()
        if kind != JSON and not (kind.startswith(b"application/") and kind.endswith(b"+json")):
            raise wrong_type()

    async def body(self, bodies: Bodies, seconds: float) -> bytes:
        """The whole body, unpacked. Raises Refusal, ClientGone, InvalidArgumentError.

        One that comes in pieces has to be complete after so many seconds.
        """
        length = self.headers.get(b"content-length")
        if length is not None and length.isdigit() and int(length) > bodies.longest:
            raise too_large(bodies.longest)
        message = await self._receive()
        if not message.get("more_body") and message["type"] == "http.request":
            body: bytes = message.get("body", b"")
            self._hold(bodies, len(body))
        else:
            try:
                async with asyncio.timeout(seconds):
                    body = await self._rest(message, bodies)
            except TimeoutError:
                raise too_slow(seconds) from None
        packing = self.headers.get(b"content-encoding")
        if not packing:
            return body
        # A second for the largest one: others are served meanwhile.
        plain = await asyncio.to_thread(unpacked, body, packing, bodies.longest)
        self._hold(bodies, len(plain))
        return plain

    async def _rest(self, message: MutableMapping[str, Any], bodies: Bodies) -> bytes:
        body = bytearray()
        while message["type"] != "http.disconnect":
            piece = message.get("body", b"")
            self._hold(bodies, len(piece))
            body += piece
            if len(body) > bodies.longest:
                raise too_large(bodies.longest)
            if not message.get("more_body"):
                return bytes(body)
            message = await self._receive()
        raise ClientGone

    def _hold(self, bodies: Bodies, length: int) -> None:
        bodies.hold(length, self.held)
        self.held += length

    # ── the answer ───────────────────────────────────────────────────────────────────────────────

    async def answer(self, status: int, body: bytes, headers: Headers, kind: bytes = JSON) -> None:
        """Sends the answer."""
        self.status = status
        head = [(b"content-type", kind), *headers]
        if len(body) >= LEAST_PACKED and not self.is_near:
            accepted = self.headers.get(b"accept-encoding", b"")
            if len(body) <= PACKED_AT_ONCE:
                body, packing = packed(body, accepted)
            else:
                body, packing = await asyncio.to_thread(packed, body, accepted)
            head.append((b"vary", b"accept-encoding"))
            if packing:
                head.append((b"content-encoding", packing))
        head.append((b"content-length", b"%d" % len(body)))
        await self._send({"type": "http.response.start", "status": status, "headers": head})
        await self._send(
            {"type": "http.response.body", "body": b"" if self.method == "HEAD" else body}
        )


# ── packing ──────────────────────────────────────────────────────────────────────────────────────


def packed(body: bytes, accepted: bytes) -> tuple[bytes, bytes]:
    """The body in the best way the client can unpack, and the name of that way."""
    names = {
        name.strip()
        for name, _, rest in (one.partition(b";") for one in accepted.lower().split(b","))
        if rest.replace(b" ", b"") not in (b"q=0", b"q=0.0")
    }
    if b"zstd" in names and (zstd := _zstandard()) is not None:
        return zstd.ZstdCompressor(level=1).compress(body), b"zstd"
    if b"gzip" in names:
        return gzip.compress(body, compresslevel=1, mtime=0), b"gzip"
    return body, b""


def unpacked(body: bytes, packing: bytes, limit: int) -> bytes:
    """The body that was packed; never more than `limit` bytes are made of it."""
    names = packing.decode("latin-1").lower().split(",")
    if len(names) > MOST_PACKINGS:
        raise wrong_encoding(packing.decode("latin-1")[:100])
    for name in reversed(names):
        body = _unpacked(body, name.strip(), limit)
    return body


def _unpacked(body: bytes, name: str, limit: int) -> bytes:
    try:
        if name in ("gzip", "x-gzip", "deflate"):
            plain = _inflated(body, 31 if name != "deflate" else 15, limit)
        elif name == "zstd" and (zstd := _zstandard()) is not None:
            with zstd.ZstdDecompressor().stream_reader(body) as reader:
                plain = reader.read(limit + 1)
        elif name in ("identity", ""):
            return body
        else:
            raise wrong_encoding(name)
    except zlib.error as error:
        raise InvalidArgumentError(f"The body is no {name}: {error}") from None
    except Exception as error:
        if type(error).__name__ != "ZstdError":
            raise
        raise InvalidArgumentError(f"The body is no zstd: {error}") from None
    if len(plain) > limit:
        raise too_large(limit)
    return plain


def _inflated(body: bytes, window: int, limit: int) -> bytes:
    inflater = zlib.decompressobj(window)
    plain = inflater.decompress(body, limit + 1)
    if len(plain) <= limit and not inflater.eof:
        raise InvalidArgumentError("The body is cut off: its packing does not end")
    return plain


def _zstandard() -> Any:
    """The library for zstd, which the extra brings."""
    try:
        import zstandard
    except ImportError:
        return None
    return zstandard
