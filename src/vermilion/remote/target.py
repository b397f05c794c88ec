"""A server to speak to: where it is, what every request carries, how patient its client is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from vermilion.errors import ArgumentValueError

API = "/api/v2"


@dataclass(frozen=True)
class Target:
    """A server. `verify` is whether to trust its certificate only if an authority known to the
    machine signed it, or the file or folder of other authorities.

    `timeout` is how many seconds of silence end a request, None for never; `retries` how often a
    request that may be repeated is sent again when the connection breaks or the server is busy.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # they hold secrets
    verify: bool | str = True
    timeout: float | None = 120.0
    connect_timeout: float = 10.0
    retries: int = 3
    max_connections: int = 100
    keepalive_seconds: float = 40.0

    @property
    def is_near(self) -> bool:
        """Whether the server is on this machine, so that compressing answers wastes time."""
        return urlsplit(self.url).hostname in ("localhost", "127.0.0.1", "::1")


def server_url(host: str, port: int | str, ssl: bool) -> str:
    """The base address of the API, without a slash at its end.

    `host` is a name, to which `port` and `ssl` belong, or a URL, which has its own and may have a
    path, as behind a proxy.

    >>> server_url("localhost", 8000, False)
    'http://localhost:8000/api/v2'
    >>> server_url("https://example.org/chroma/", 8000, False)
    'https://example.org/chroma/api/v2'
    """
    host = str(host).strip()
    if "/" not in host:
        return f"{'https' if ssl else 'http'}://{_bracketed(host)}:{_port(port)}{API}"
    parts = urlsplit(host)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ArgumentValueError(
            f"Invalid URL {host!r}. Unrecognized protocol - {parts.scheme!r}: pass the name of a "
            "host, or a URL that begins with http:// or https://"
        )
    if parts.query or parts.fragment:
        raise ArgumentValueError(f"Invalid URL {host!r}: expected no ? and no # in it")
    path = parts.path.rstrip("/")
    place = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{place}{path if path.endswith(API) else path + API}"


def url_credentials(host: str) -> str | None:
    """The name and the password that stand in a URL, as `name:password`.

    They go in a header: errors and logs show addresses.
    """
    parts = urlsplit(str(host).strip())
    if parts.username is None:
        return None
    return f"{unquote(parts.username)}:{unquote(parts.password or '')}"


def _bracketed(host: str) -> str:
    if not host:
        raise ArgumentValueError("Expected host to be the name of a host or a URL, got ''")
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _port(port: int | str) -> int:
    try:
        number = int(port)
    except (TypeError, ValueError):
        number = -1
    if not 0 < number < 2**16:
        raise ArgumentValueError(f"Expected port to be a number from 1 to 65535, got {port!r}")
    return number
