"""VERMILION_OFFLINE: with it, nothing of the package speaks to anything but this machine."""

from __future__ import annotations

import os
import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from vermilion.errors import OfflineError

VARIABLE = "VERMILION_OFFLINE"
_NO = ("", "0", "false", "no", "off")


def offline() -> bool:
    """Whether the environment asks for silence."""
    return os.environ.get(VARIABLE, "").strip().lower() not in _NO


def need_network(what: str, url: str | None = None) -> None:
    """Raises OfflineError when that is asked for, unless the URL is one of this machine."""
    if offline() and not (url is not None and is_loopback(url)):
        place = "" if url is None else f" at {origin(url)}"
        raise OfflineError(
            f"{what}{place} was not asked, because {VARIABLE} is set: unset it to allow "
            "connections to other machines"
        )


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine.

    >>> [is_loopback(url) for url in ("http://127.0.0.1:80/x", "http://[::1]", "http://127.a.com")]
    [True, True, False]
    """
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return re.fullmatch(r"([a-z0-9-]+\.)*localhost", host) is not None


def origin(url: str) -> str:
    """Scheme, host and port of a URL: who is asked, without what.

    >>> origin("https://key@example.com:8443/v1?secret=1")
    'https://example.com:8443'
    """
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2].lower()
    return f"{parts.scheme}://{host}"
