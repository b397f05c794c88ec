"""What a server answers besides the API: documentation, health, metrics, the old API's farewell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from vermilion.server.observing import Observer
from vermilion.server.refusals import Headers, Refusal, unknown_route, wrong_method
from vermilion.server.settings import ServerSettings
from vermilion.wire.text import dumps

HTML = b"text/html; charset=utf-8"
_OLD = "/api/v1"


@dataclass
class Page:
    """An answer before it is sent."""

    status: int
    body: bytes
    headers: Headers = field(default_factory=list)
    kind: bytes = b"application/json"


@dataclass(frozen=True)
class Found:
    """How a page is made. `guarded`: not for everybody; `asks`: the engine has to be asked."""

    make: Callable[[], Page]
    guarded: bool = False
    asks: bool = False


class Pages:
    """The pages of one server."""

    def __init__(self, settings: ServerSettings, observer: Observer) -> None:
        alive = Page(200, dumps({"status": "alive"}))
        self._pages: dict[str, Found] = {
            "/healthz": Found(lambda: Page(200, alive.body)),
            "/readyz": Found(lambda: Page(200, b""), asks=True),
            "/openapi.json": Found(lambda: Page(200, _openapi())),
            "/docs": Found(lambda: Page(200, _docs(), kind=HTML)),
            "/docs/": Found(lambda: Page(200, _docs(), kind=HTML)),
        }
        if settings.metrics:
            self._pages["/metrics"] = Found(lambda: _metrics(observer), guarded=True)

    def methods(self, path: str) -> list[str]:
        """The methods that a path has."""
        return ["GET"] if path in self._pages else []

    def find(self, method: str, path: str) -> Found:
        """The page of a path. Raises Refusal."""
        if path == _OLD or path.startswith(_OLD + "/"):
            raise Refusal(410, "The v1 API is deprecated. Please use /v2 apis", "Unimplemented")
        found = self._pages.get(path)
        if found is None:
            raise unknown_route()
        if method not in ("GET", "HEAD"):
            raise wrong_method(["GET"])
        return found

    def readiness(self, ready: bool) -> Page:
        """What /readyz says."""
        status = "ready" if ready else "not ready"
        return Page(200 if ready else 503, dumps({"status": status}))


def _metrics(observer: Observer) -> Page:
    body, kind = observer.page()
    return Page(200, body, kind=kind)


@lru_cache(maxsize=1)
def _openapi() -> bytes:
    from vermilion.wire.openapi import document

    return dumps(document())


@lru_cache(maxsize=1)
def _docs() -> bytes:
    from vermilion.server.docs_page import page

    return page().encode()
