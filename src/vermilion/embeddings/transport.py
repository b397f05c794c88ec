"""One request to a provider of embeddings: sent, tried again where that helps, and its answer read.

An answer that is not what was asked for becomes an EmbeddingError with the provider's name, the
status and the provider's own words, never with the key.
"""

from __future__ import annotations

import atexit
import os
import random
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vermilion import forks
from vermilion.errors import EmbeddingError
from vermilion.offline import need_network

if TYPE_CHECKING:
    import httpx

TRIES = 3
# What may be over in a moment: too many requests, and a server in trouble.
TRANSIENT = frozenset({408, 429, 500, 502, 503, 504, 529})
LONGEST_WAIT = 60.0
# Of a provider's words an error quotes so much.
QUOTED = 500


@dataclass(frozen=True)
class Request:
    """What is sent to a provider. The repr leaves out what is secret."""

    url: str
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    params: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout: float = 60.0


def send(provider: str, request: Request, secrets: Iterable[str] = ()) -> Any:
    """The JSON that the provider answers. Raises EmbeddingError; `secrets` are never in it."""
    need_network(f"The embedding provider {provider}", request.url)
    hidden = [secret for secret in secrets if secret]
    for attempt in range(1, TRIES + 1):
        last = attempt == TRIES
        try:
            answer = _post(request)
        except _network_errors() as error:
            if last:
                raise EmbeddingError(provider, None, _hide(_unreachable(error), hidden)) from None
            time.sleep(_pause(attempt))
            continue
        if answer.status_code in TRANSIENT and not last:
            time.sleep(_pause(attempt, answer.headers.get("retry-after")))
            continue
        return _read(provider, answer, hidden)
    raise AssertionError("the last try returns or raises")


def _post(request: Request) -> httpx.Response:
    return _client().post(
        request.url,
        json=request.body,
        headers=dict(request.headers),
        params=dict(request.params) or None,
        timeout=request.timeout,
    )


_guard = forks.Lock()
_clients: list[httpx.Client] = []


def _client() -> httpx.Client:
    """Connections are kept for the next batch. Redirects are not followed: they would take keys."""
    import httpx  # only those who ask a provider pay for it

    with _guard:
        if not _clients:
            atexit.register(close)
            _clients.append(httpx.Client())
        return _clients[0]


def close() -> None:
    """Lets all connections go; the next request opens new ones."""
    with _guard:
        while _clients:
            _clients.pop().close()


if hasattr(os, "register_at_fork"):
    # A child speaks on connections of its own, and leaves the parent's open.
    os.register_at_fork(after_in_child=_clients.clear)


def _network_errors() -> tuple[type[Exception], ...]:
    import httpx

    return (httpx.TransportError,)


def _pause(attempt: int, retry_after: str | None = None) -> float:
    """Seconds: what the provider asks for, else longer with each attempt and never the same."""
    try:
        return min(max(float(retry_after or ""), 0.0), LONGEST_WAIT)
    except ValueError:
        pause: float = 0.25 * 2**attempt * random.uniform(0.5, 1.5)
        return pause


def _read(provider: str, answer: httpx.Response, hidden: list[str]) -> Any:
    try:
        content = answer.json()
    except ValueError:
        content = None
    if not answer.is_success or content is None:
        words = _words(content) or answer.text.strip() or answer.reason_phrase
        raise EmbeddingError(provider, answer.status_code, _hide(words[:QUOTED], hidden))
    return content


def _words(content: Any) -> str | None:
    """What a provider says of a failure, in one of the forms that providers use."""
    if isinstance(content, list) and content:
        return _words(content[0])
    if not isinstance(content, dict):
        return None
    for key in ("error", "errors", "detail", "message"):
        found = content.get(key)
        if isinstance(found, str) and found:
            return found
        if words := _words(found):
            return words
    return None


def _unreachable(error: Exception) -> str:
    return f"no answer ({type(error).__name__}: {error})"


def _hide(words: str, hidden: list[str]) -> str:
    for secret in hidden:
        words = words.replace(secret, "…")
    return words
