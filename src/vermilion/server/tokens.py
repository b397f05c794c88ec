"""Tokens: who may come in, and what they may do. A file of them holds no secret, only hashes.

    [[token]]
    name = "reader"
    hash = "sha256:…"              # of a token that `vermilion token` made
    tenant = "default_tenant"      # or "*"
    databases = ["default_database"]
    rights = ["read"]              # of read, write, admin
    rate_limit = 100               # requests a second; optional

A token has 256 random bits: nobody finds it by trying, so one round of SHA-256 hides it as well as
a slow hash would, and costs a request 2 µs. A password, which people choose and which comes with
HTTP's basic authentication, is hashed by scrypt; one that was right is remembered, by a keyed hash
of it, while the process lives.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import tomllib
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vermilion.errors import ArgumentValueError
from vermilion.types import DEFAULT_DATABASE, DEFAULT_TENANT

RIGHTS = ("read", "write", "admin")
ANY = "*"
PREFIX = "vm_"

# 16 MiB and some 50 ms for each try.
_SCRYPT = {"n": 2**14, "r": 8, "p": 1}
_REMEMBERED = 1_000


@dataclass(frozen=True)
class Token:
    """One entry of the file."""

    name: str
    hash: str
    tenant: str = DEFAULT_TENANT
    databases: tuple[str, ...] = (DEFAULT_DATABASE,)
    rights: frozenset[str] = frozenset({"read", "write"})
    rate_limit: float | None = None

    def may(self, right: str, tenant: str | None, database: str | None) -> bool:
        """Whether it is good for this; None stands for the whole of them."""
        if right not in self.rights:
            return False
        if self.tenant != ANY and tenant != self.tenant:
            return False
        return database is None or ANY in self.databases or database in self.databases


class Tokens:
    """The tokens of a file."""

    def __init__(self, tokens: tuple[Token, ...]) -> None:
        self.all = tokens
        self._by_digest = {one.hash: one for one in tokens if one.hash.startswith("sha256:")}
        self._by_name = {one.name: one for one in tokens}
        # An unknown name takes as long as a wrong password, where there are passwords.
        slow = any(one.hash.startswith("scrypt:") for one in tokens)
        self._nobody = _NO_PASSWORD if slow else _NO_TOKEN
        self._key = os.urandom(32)
        self._right: dict[bytes, Token] = {}

    def of_secret(self, secret: str) -> Token | None:
        """The entry of a token, or None."""
        digest = sha256(secret)
        found = self._by_digest.get(digest)
        # The look-up's time tells of the digest at most, from which no token is to be had.
        return found if found is not None and hmac.compare_digest(found.hash, digest) else None

    def of_basic(
        self, credentials: str, about_to_try: Callable[[], None] = lambda: None
    ) -> Token | None:
        """The entry of a name and a password or token, as basic authentication sends them.

        `about_to_try` is called before a password is hashed.
        """
        mark = hmac.digest(self._key, credentials.encode(), "sha256")
        known = self._right.get(mark)
        if known is not None:
            return known
        name, _, secret = _unpacked(credentials).partition(":")
        token = self._by_name.get(name)
        hash = self._nobody if token is None else token.hash
        if hash.startswith("scrypt:"):
            about_to_try()
        if not _fits(secret, hash) or token is None:
            return None
        if len(self._right) >= _REMEMBERED:
            self._right.clear()
        self._right[mark] = token
        return token


def _unpacked(credentials: str) -> str:
    try:
        return b64decode(credentials, validate=True).decode()
    except ValueError:
        return ""


# ── hashes ───────────────────────────────────────────────────────────────────────────────────────


def new_secret() -> str:
    """A token of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def sha256(secret: str) -> str:
    """The hash of a random token."""
    return f"sha256:{hashlib.sha256(secret.encode()).hexdigest()}"


def scrypt(secret: str, salt: bytes | None = None) -> str:
    """The hash of a password."""
    salt = secrets.token_bytes(16) if salt is None else salt
    made = hashlib.scrypt(secret.encode(), salt=salt, **_SCRYPT)
    return f"scrypt:{salt.hex()}:{made.hex()}"


def _fits(secret: str, stored: str) -> bool:
    """Whether a hash is that of the secret; a hash of a password takes its time either way."""
    kind, _, rest = stored.partition(":")
    made = sha256(secret) if kind == "sha256" else scrypt(secret, bytes.fromhex(rest[:32]))
    return hmac.compare_digest(made, stored)


_NO_PASSWORD = f"scrypt:{'0' * 32}:{'0' * 128}"
_NO_TOKEN = f"sha256:{'0' * 64}"


# ── the file ─────────────────────────────────────────────────────────────────────────────────────


def parse(text: str) -> Tokens:
    """The tokens that a file says. Raises ArgumentValueError, which never shows a hash."""
    try:
        form = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ArgumentValueError(f"The file of tokens is no TOML: {error}") from None
    entries = form.get("token", [])
    if not isinstance(entries, list) or set(form) - {"token"}:
        raise ArgumentValueError("The file of tokens may hold nothing but [[token]] entries")
    tokens = tuple(_entry(one, place) for place, one in enumerate(entries, 1))
    names = [one.name for one in tokens]
    if len(set(names)) != len(names):
        raise ArgumentValueError("Two tokens have the same name")
    return Tokens(tokens)


_KEYS = ("name", "hash", "tenant", "databases", "rights", "rate_limit")


def _entry(form: Any, place: int) -> Token:
    told = f"Token {place}"
    if not isinstance(form, Mapping) or set(form) - set(_KEYS):
        raise ArgumentValueError(f"{told}: expected nothing but {', '.join(_KEYS)}")
    name, hash = form.get("name"), form.get("hash")
    if not isinstance(name, str) or not name or ":" in name:
        raise ArgumentValueError(f"{told}: expected a name without a colon")
    if not isinstance(hash, str) or not _is_hash(hash):
        raise ArgumentValueError(f"{told} ({name}): its hash is none; `vermilion token` makes one")
    rights = _words(form.get("rights", ["read", "write"]), f"{told} ({name}): rights")
    if set(rights) - set(RIGHTS):
        raise ArgumentValueError(f"{told} ({name}): rights are {', '.join(RIGHTS)}")
    rate = form.get("rate_limit")
    if rate is not None and (isinstance(rate, bool) or not isinstance(rate, int | float)):
        raise ArgumentValueError(f"{told} ({name}): expected rate_limit to be a number")
    databases = _words(form.get("databases", [DEFAULT_DATABASE]), f"{told} ({name}): databases")
    tenant = str(form.get("tenant", DEFAULT_TENANT))
    return Token(name, hash, tenant, databases, frozenset(rights), rate)


def _words(value: Any, told: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ArgumentValueError(f"{told}: expected a list of strings")
    return tuple(value)


def _is_hash(text: str) -> bool:
    kind, *parts = text.split(":")
    lengths = {"sha256": [64], "scrypt": [32, 128]}.get(kind)
    return [len(one) for one in parts] == lengths and all(
        set(one) <= set("0123456789abcdef") for one in parts
    )


def written(token: Token) -> str:
    """The entry as it stands in a file."""
    databases = ", ".join(f'"{_escaped(one)}"' for one in token.databases)
    rights = ", ".join(f'"{one}"' for one in RIGHTS if one in token.rights)
    lines = [
        "[[token]]",
        f'name = "{_escaped(token.name)}"',
        f'hash = "{token.hash}"',
        f'tenant = "{_escaped(token.tenant)}"',
        f"databases = [{databases}]",
        f"rights = [{rights}]",
    ]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
