"""Where records come from and go to: URIs of collections and of data sets.

http://[user:password@]host[:8000]/collection[?database=…&limit=…]
file://relative/directory/collection or file:///absolute/directory/collection
hf://user/name[?split=…] or file://name[?split=…] for a data set
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from vermilion.configuration import check_space
from vermilion.errors import ArgumentValueError

PORT = 8000

# In place of a user's name, and the environment variables for the same.
BEARER, CHROMA_TOKEN = "__auth_token__", "__x_chroma_token__"
_VARIABLES = ("CHROMA_BASIC_AUTH", "CHROMA_TOKEN_AUTH", "CHROMA_XTOKEN_AUTH")

_SECRET = re.compile(r"(?<=://)[^/\s@]*@(?:[^/\s@]*@)*")


def redacted(text: str) -> str:
    """The text without the credentials that URIs in it have.

    >>> redacted("no answer from http://me:secret@host:8000/books")
    'no answer from http://***@host:8000/books'
    """
    return _SECRET.sub("***@", text)


@dataclass(frozen=True)
class CollectionUri:
    """A collection: in a directory, or of a server at `base`, with the options of the URI."""

    scheme: str
    base: str
    name: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # they hold secrets
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_file(self) -> bool:
        """Whether it is in a directory of this machine."""
        return self.scheme == "file"

    @property
    def whole(self) -> str:
        """The directory, if all of the path names one and the collection is named elsewhere."""
        return f"{self.base.rstrip('/')}/{self.name}" if self.name else self.base

    def __str__(self) -> str:
        head = f"file://{self.base}" if self.is_file else self.base
        return f"{head.rstrip('/')}/{self.name}"


@dataclass(frozen=True)
class DatasetUri:
    """A data set: of Hugging Face's hub, or a file or folder of this machine."""

    scheme: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.name}"


# ── options ──────────────────────────────────────────────────────────────────────────────────────


def _flag(name: str, text: str) -> bool:
    if text.lower() not in ("true", "1", "yes", "", "false", "0", "no"):
        raise ArgumentValueError(f"{name}={text}: expected true or false")
    return text.lower() in ("true", "1", "yes", "")


def _number(name: str, text: str) -> int:
    if not re.fullmatch(r"-1|\d+", text):
        raise ArgumentValueError(f"{name}={text}: expected a number, or -1")
    return int(text)


def _size(name: str, text: str) -> int:
    if not re.fullmatch(r"0*[1-9]\d*", text):
        raise ArgumentValueError(f"{name}={text}: expected a number from 1 on")
    return int(text)


def _text(name: str, text: str) -> str:
    return text


def _space(name: str, text: str) -> str:
    return check_space(name, text)


def _names(name: str, text: str) -> list[str]:
    return [one for one in text.split(",") if one]


_Readers = Mapping[str, Callable[[str, str], Any]]
COLLECTION_OPTIONS: _Readers = {
    "database": _text, "tenant": _text, "batch_size": _size, "create_collection": _flag,
    "upsert": _flag, "limit": _number, "offset": _number, "df": _space,
}  # fmt: skip
DATASET_OPTIONS: _Readers = {
    "limit": _number, "offset": _number, "split": _text, "stream": _flag, "id_feature": _text,
    "doc_feature": _text, "embed_feature": _text, "meta_features": _names, "private": _flag,
    "batch_size": _size,
}  # fmt: skip


def _options(query: str, readers: _Readers) -> dict[str, Any]:
    given = parse_qsl(query, keep_blank_values=True)
    for name, _ in given:
        if name not in readers:
            raise ArgumentValueError(
                f"unknown option {name!r} in a URI, expected one of {', '.join(readers)}"
            )
    return {name: readers[name](name, text) for name, text in given}


# ── collections ──────────────────────────────────────────────────────────────────────────────────


def collection_uri(text: str, environment: Mapping[str, str]) -> CollectionUri:
    """The collection that the text names. Raises ArgumentValueError, which shows no secret.

    Without credentials in it, a server gets those of the environment.
    """
    parts = _split(text, ("http", "https", "file"), "http://host:8000/name or file://folder/name")
    options = _options(parts.query, COLLECTION_OPTIONS)
    folder, _, name = parts.path.rstrip("/").rpartition("/")
    if parts.scheme == "file":
        place = unquote(f"{parts.netloc}{folder}") or ("/" if parts.path.startswith("/") else ".")
        if parts.netloc and not parts.path.rstrip("/"):
            place, name = ".", parts.netloc
        return CollectionUri("file", place, unquote(name), {}, options)
    headers = _in_uri(parts) or _in_environment(environment)
    base = f"{parts.scheme}://{_address(parts)}{folder}"
    return CollectionUri(parts.scheme, base, unquote(name), headers, options)


def _split(text: str, schemes: tuple[str, ...], example: str) -> SplitResult:
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise ArgumentValueError(f"{redacted(text)!r} is no URI: {error}") from None
    if parts.scheme not in schemes:
        raise ArgumentValueError(f"{redacted(text)!r} is no URI such as {example}")
    if parts.fragment:
        raise ArgumentValueError(f"{redacted(text)!r}: expected no # in it; write %23")
    return parts


def _address(parts: SplitResult) -> str:
    try:
        port = parts.port
    except ValueError:
        place = parts.netloc.rpartition("@")[2]
        raise ArgumentValueError(
            f"{parts.scheme}://{place}: the port is not a number from 0 to 65535"
        ) from None
    if not parts.hostname:
        raise ArgumentValueError(f"{parts.scheme}://: a host is missing")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{host}:{port or PORT}"


def _in_uri(parts: SplitResult) -> dict[str, str]:
    if parts.username is None or parts.password is None:
        return {}
    return _header(unquote(parts.username), unquote(parts.password))


def _in_environment(environment: Mapping[str, str]) -> dict[str, str]:
    for variable, user in zip(_VARIABLES, ("", BEARER, CHROMA_TOKEN), strict=True):
        given = environment.get(variable)
        if given:
            name, _, password = given.partition(":")
            return _header(user, given) if user else _header(name, password)
    return {}


def _header(user: str, secret: str) -> dict[str, str]:
    if not secret.isascii() or not secret.isprintable():
        raise ArgumentValueError("credentials: expected printable ASCII characters")
    if user == BEARER:
        return {"Authorization": f"Bearer {secret}"}
    if user == CHROMA_TOKEN:
        return {"X-Chroma-Token": secret}
    both = base64.b64encode(f"{user}:{secret}".encode()).decode()
    return {"Authorization": f"Basic {both}"}


# ── data sets ────────────────────────────────────────────────────────────────────────────────────


def dataset_uri(text: str) -> DatasetUri:
    """The data set that the text names."""
    parts = _split(text, ("hf", "file"), "hf://user/name or file://name")
    name = unquote(f"{parts.netloc}{parts.path}")
    if not name.strip("/"):
        raise ArgumentValueError(f"{text!r}: a name is missing")
    return DatasetUri(parts.scheme, name, _options(parts.query, DATASET_OPTIONS))
