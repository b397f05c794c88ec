"""Where a key may be sent: not to any host that a stored configuration names.

Who may change a collection's configuration could otherwise have every reader of the collection send
its key to a host of his. So what is stored is believed as far as it leads to the provider's own
hosts, to this machine, or to where this program has said that it may lead.
"""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from vermilion.embeddings.provider import Provider
from vermilion.errors import ArgumentValueError
from vermilion.offline import is_loopback, origin

# Hosts, with their port if they have one, separated by commas; "*" is any.
VARIABLE = "VERMILION_TRUSTED_EMBEDDING_HOSTS"

_told: set[tuple[str, str]] = set()


def remember(provider: str, url: str) -> None:
    """The program itself has named this address: what is stored may name it, too."""
    _told.add((provider, origin(url)))


def check(provider: Provider, url: str) -> None:
    """Raises ValueError unless a key may go to an address that comes from what is stored."""
    if is_loopback(url) or (provider.name, origin(url)) in _told or _is_own(provider, url):
        return
    place = urlsplit(url).netloc.lower()
    if place in _trusted() or "*" in _trusted() or _is_told_by_environment(provider, url):
        return
    raise ArgumentValueError(
        f"The stored configuration of {provider.name} leads to {origin(url)}, which is not the "
        f"provider's own host, and the key was not sent there. If it is right, set {VARIABLE}="
        f"{place}, or pass embedding_function= to get_collection"
    )


def _is_own(provider: Provider, url: str) -> bool:
    parts = urlsplit(url)
    own = "{" not in provider.base and origin(provider.base) == origin(url)
    return own or (
        parts.scheme == "https"
        and parts.port in (None, 443)
        and re.fullmatch(r"[a-z0-9.-]+", parts.hostname or "") is not None
        and str(parts.hostname).endswith(provider.hosts)
    )


def _trusted() -> set[str]:
    return {one.strip().lower() for one in os.environ.get(VARIABLE, "").split(",") if one.strip()}


def _is_told_by_environment(provider: Provider, url: str) -> bool:
    told = (os.environ.get(name) for name in (provider.variable, *provider.variables))
    return any(place and origin(place) == origin(url) for place in told)
