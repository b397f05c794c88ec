"""CORS: which web pages of other origins may ask this server."""

from __future__ import annotations

from vermilion.server.exchange import Exchange
from vermilion.server.pages import Page
from vermilion.server.refusals import Headers, unknown_route

_HEADERS = b"authorization, content-type, content-encoding, x-chroma-token, x-request-id"


class Cors:
    """The rules of one server."""

    def __init__(self, origins: list[str]) -> None:
        self._all = "*" in origins
        self._origins = {one.rstrip("/").encode() for one in origins}

    def headers(self, exchange: Exchange) -> Headers:
        """What an answer has to say to a web page; nothing to all others."""
        origin = exchange.headers.get(b"origin")
        if origin is None or not (self._all or origin in self._origins):
            return []
        allowed = b"*" if self._all else origin
        return [
            (b"access-control-allow-origin", allowed),
            (b"access-control-expose-headers", b"x-request-id, chroma-trace-id, retry-after"),
            *([] if self._all else [(b"vary", b"origin")]),
        ]

    def options(self, exchange: Exchange, allowed: list[str]) -> Page:
        """The answer to OPTIONS, also to the question that browsers ask before a request."""
        if not allowed:
            raise unknown_route()
        methods = ", ".join(sorted({*allowed, "HEAD", "OPTIONS"})).encode()
        headers: Headers = [(b"allow", methods)]
        if b"access-control-request-method" in exchange.headers and self.headers(exchange):
            headers += [
                (b"access-control-allow-methods", methods),
                (b"access-control-allow-headers", _HEADERS),
                (b"access-control-max-age", b"600"),
            ]
        return Page(204, b"", headers)
