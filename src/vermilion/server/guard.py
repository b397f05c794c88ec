"""The guard: who is calling, what they may do, and how often."""

from __future__ import annotations

import ipaddress
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vermilion.errors import ArgumentValueError, AuthorizationError, ChromaAuthError
from vermilion.server.refusals import Refusal
from vermilion.server.settings import ServerSettings
from vermilion.server.tokens import ANY, RIGHTS, Token, Tokens, parse
from vermilion.types import DEFAULT_DATABASE, DEFAULT_TENANT, Database, UserIdentity
from vermilion.wire import collections, system
from vermilion.wire.operation import Operation, Right

log = logging.getLogger("vermilion.server")

# How often the file of tokens is looked at, in seconds.
LOOK_AGAIN = 1.0
# So many callers' rates are kept; the longest silent one is forgotten.
MOST_CALLERS = 10_000
# Passwords that an address may try at once, and then each second: a try costs the server 50 ms.
TRIES, TRIES_A_SECOND = 10, 1.0


@dataclass(frozen=True)
class Caller:
    """Who sent a request. Without a file of tokens, everybody is the one who may do everything."""

    token: Token
    known: bool = True

    @property
    def name(self) -> str:
        """What logs call them."""
        return self.token.name if self.known else ""

    def identity(self) -> UserIdentity:
        """What `auth/identity` says."""
        if not self.known:
            return UserIdentity("", DEFAULT_TENANT, [DEFAULT_DATABASE])
        return UserIdentity(self.token.name, self.token.tenant, [*self.token.databases])


EVERYBODY = Caller(Token("", "", ANY, (ANY,), frozenset(RIGHTS)), known=False)


@dataclass
class _Bucket:
    """How many requests a caller has left, and when that was true."""

    left: float
    at: float = field(default_factory=time.monotonic)


class Guard:
    """Lets callers in, or does not."""

    def __init__(self, settings: ServerSettings) -> None:
        """Reads the file of tokens. Raises ArgumentValueError, OSError."""
        self._file = Path(settings.auth_file) if settings.auth_file else None
        self._stamp: tuple[int, int, int] | None = None
        self._looked = 0.0
        self._tokens: Tokens | None = None
        self._rate, self._burst = settings.rate_limit, settings.rate_burst
        self._buckets: dict[str, _Bucket] = {}
        self._tries: dict[str, _Bucket] = {}
        if self._file is not None:
            self._stamp = _stamp(self._file)
            self._tokens = parse(self._file.read_text(encoding="utf-8"))
            self._looked = time.monotonic()

    # ── who ──────────────────────────────────────────────────────────────────────────────────────

    def let_in(self, headers: dict[bytes, bytes], client: str, right: Right = "open") -> Caller:
        """Who sends these headers. Raises AuthorizationError, and Refusal for one too many."""
        free = self._file is None or right == "anyone"
        caller = EVERYBODY if free else self._known(headers, client)
        rate = caller.token.rate_limit if caller.token.rate_limit is not None else self._rate
        if rate > 0:
            told = f"Too many requests: {rate:g} a second are allowed"
            _count(self._buckets, caller.name or client, self._burst, rate, told)
        return caller

    def _known(self, headers: dict[bytes, bytes], client: str) -> Caller:
        self._look_again()
        assert self._tokens is not None

        def about_to_try() -> None:
            told = "Too many passwords were tried"
            _count(self._tries, _network(client), TRIES, TRIES_A_SECOND, told)

        token = _credentials(self._tokens, headers, about_to_try)
        if token is None:
            raise AuthorizationError(
                "Unknown credentials: send a token as `Authorization: Bearer` or `X-Chroma-Token`, "
                "or a name and a password as basic authentication"
            )
        return Caller(token)

    def _look_again(self) -> None:
        """Reads the file once more when it has changed; one that makes no sense changes nothing."""
        assert self._file is not None
        now = time.monotonic()
        if now - self._looked < LOOK_AGAIN:
            return
        self._looked = now
        try:
            stamp = _stamp(self._file)
            if stamp != self._stamp:
                self._tokens = parse(self._file.read_text(encoding="utf-8"))
                self._stamp = stamp
                log.info("The file of tokens was read again: %d entries", len(self._tokens.all))
        except (ArgumentValueError, OSError, UnicodeDecodeError) as error:
            log.error("The file of tokens cannot be read, the last one stays: %s", error)

    # ── what ─────────────────────────────────────────────────────────────────────────────────────

    def check_path(self, caller: Caller, right: Right, parts: dict[str, str]) -> None:
        """Raises ChromaAuthError where the path alone tells that it is not allowed."""
        if caller.known and right != "open" and "tenant" in parts:
            _require(caller, right, parts["tenant"], parts.get("database"))

    def check(self, caller: Caller, operation: Operation[Any]) -> None:
        """Raises ChromaAuthError unless the caller may do this."""
        right = operation.route.right
        if caller.known and right != "open":
            _require(caller, right, *_place(operation))

    def check_all(self, caller: Caller) -> None:
        """Raises ChromaAuthError unless the caller may read everything, as metrics tell of all."""
        if caller.known:
            _require(caller, "read", None, None)

    def visible(self, caller: Caller, found: list[Database]) -> list[Database]:
        """The databases that the caller may see."""
        return [one for one in found if caller.token.may("read", one.tenant, one.name)]


# ── how often ────────────────────────────────────────────────────────────────────────────────────


def _count(buckets: dict[str, _Bucket], name: str, burst: int, rate: float, told: str) -> None:
    """One more of somebody's. Raises Refusal for one too many."""
    now = time.monotonic()
    bucket = buckets.pop(name, None) or _Bucket(float(burst), now)
    bucket.left = min(float(burst), bucket.left + (now - bucket.at) * rate)
    bucket.at = now
    buckets[name] = bucket  # the last in the dict is the last that came
    if len(buckets) > MOST_CALLERS:
        del buckets[next(iter(buckets))]
    if bucket.left < 1:
        seconds = max(1, round((1 - bucket.left) / rate + 0.5))
        raise Refusal(429, told, "RateLimitError", [(b"retry-after", b"%d" % seconds)])
    bucket.left -= 1


def _network(client: str) -> str:
    """The address of a client, or the network that is one client's: IPv6 gives everybody 2^64."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    return str(address) if address.version == 4 else str(int(address) >> 64)


# ── what they may do ─────────────────────────────────────────────────────────────────────────────


def _require(caller: Caller, right: Right, tenant: str | None, database: str | None) -> None:
    if not caller.token.may(right, tenant, database):
        raise ChromaAuthError(f"{caller.name} may not {right} here")


def _place(operation: Operation[Any]) -> tuple[str | None, str | None]:
    """The tenant and the database that an operation is about; None where it is about all."""
    if isinstance(operation, collections.GetCollectionByCrn):
        return operation.tenant, operation.database
    if isinstance(operation, system.CreateTenant):
        return operation.name, None
    if isinstance(operation, system.CreateDatabase):
        return operation.tenant, operation.name
    path = operation.path()
    return path.get("tenant"), path.get("database")


def _credentials(
    tokens: Tokens, headers: dict[bytes, bytes], about_to_try: Callable[[], None]
) -> Token | None:
    """The token that the headers prove, if any; `about_to_try` is told of slow tries."""
    given = headers.get(b"x-chroma-token")
    if given is not None:
        text = given.decode("latin-1")
        return tokens.of_secret(text.removeprefix("Bearer ").strip())
    scheme, _, rest = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    if scheme.lower() == "bearer":
        return tokens.of_secret(rest.strip())
    if scheme.lower() == "basic":
        return tokens.of_basic(rest.strip(), about_to_try)
    return None


def _stamp(path: Path) -> tuple[int, int, int]:
    found = os.stat(path)
    return found.st_mtime_ns, found.st_size, found.st_ino
