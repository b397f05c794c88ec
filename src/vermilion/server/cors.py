"""CORS: which web pages of other origins may ask this server."""

from __future__ import annotations

from vermilion.server.exchange import Exchange
from vermilion.server.pages import Page
from vermilion.server.refusals import Headers, Refusal, unknown_route

_HEADERS = b"authorization, content-type, content-encoding, x-chroma-token, x-request-id"


class Cors:
    """The rules of one server."""

    def __init__(self, origins: list[str]) -> None:
        self._all = "*" in origins
        self._origins = {one.rstrip("/").encode() for one in origins}

    def headers(self, exchange: Exchange) -> Headers:
        """What an answer has to say to a web page; nothing to all others."""
        origin = exchange.headers.get(b"origin")
        if origin is None or not self._allows(origin):
            return []
        allowed = b"*" if self._all else origin
        return [
            (b"access-control-allow-origin", allowed),
            (b"access-control-expose-headers", b"x-request-id, chroma-trace-id, retry-after"),
            *([] if self._all else [(b"vary", b"origin")]),
        ]

    def _allows(self, origin: bytes) -> bool:
        return self._all or origin in self._origins

    def check(self, exchange: Exchange) -> None:
        """Raises Refusal for a page of another origin that asks for more than reading.

        Browsers keep the answer from it, but send what they take for a form: a body that does not
        say that it is JSON, or none.
        """
        origin = exchange.headers.get(b"origin")
        if origin is None or exchange.method in ("GET", "HEAD") or self._allows(origin):
            return
        site = exchange.headers.get(b"sec-fetch-site")
        if site is None:  # a browser that is old, or does not trust the connection
            ours = origin.partition(b"://")[2] == exchange.headers.get(b"host")
        else:
            ours = site in (b"same-origin", b"none")
        if not ours:
            raise Refusal(
                403, "Web pages of other origins have to be allowed: see cors_allow_origins"
            )

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
