"""Operation: one request of the HTTP API, both of its ends.

An object of a class below this one is a request with its typed arguments. The client makes one,
sends `call()`, and reads the answer with `from_json`. The server finds the class by its route,
makes the same object with `decode`, lets it `perform`, and writes `to_json` of what came out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar
from urllib.parse import parse_qsl, quote, urlencode
from uuid import UUID

from vermilion.engine import Engine
from vermilion.errors import InvalidArgumentError
from vermilion.types import Address
from vermilion.wire.fields import Fields, Form, read, read_query
from vermilion.wire.text import dumps, loads

API = "/api/v2"

# What the caller has to be: anyone at all, anyone with good credentials, or one who may read or
# write this database, or administer.
Right = Literal["anyone", "open", "read", "write", "admin"]

A = TypeVar("A")


@dataclass(frozen=True)
class Route:
    """Where an operation lives, and what it takes and gives.

    `path` is below API. `answer` is the JSON schema of the answer. `safe`: doing it twice does what
    doing it once does. `patient`: it may take as long as it takes. `ours`: Chroma has none such.
    """

    method: str
    path: str
    says: str
    right: Right
    answer: Form
    status: int = 200
    body: Fields | None = None
    query: Fields = ()
    safe: bool = False
    patient: bool = False
    ours: bool = False


@dataclass(frozen=True)
class Call:
    """One request as it is sent; `path` is below API."""

    method: str
    path: str
    body: bytes | None = None
    safe: bool = False
    patient: bool = False


@dataclass(frozen=True)
class Received:
    """A request as it has come: the parts of its path, its query string and its body, decoded."""

    path: Mapping[str, str]
    query: Form
    body: Form


class Operation(ABC, Generic[A]):
    """One request with its arguments. `A` is what the engine answers."""

    route: ClassVar[Route]

    # ── asking ───────────────────────────────────────────────────────────────────────────────────

    def path(self) -> Mapping[str, str]:
        """The parts of the path that differ from request to request."""
        return {}

    def query(self) -> Form:
        """The query string; None is left out."""
        return {}

    def body(self) -> Form | None:
        """The JSON that is sent."""
        return None

    @classmethod
    @abstractmethod
    def decode(cls, received: Received) -> Self:
        """The request that has come, checked. Raises InvalidArgumentError."""

    @classmethod
    def receive(cls, path: Mapping[str, str], query: str, body: bytes) -> Self:
        """The request that these bytes are. Raises InvalidArgumentError."""
        route = cls.route
        given = dict(parse_qsl(query, keep_blank_values=True)) if query else {}
        form = {} if route.body is None else read(route.body, loads(body))
        return cls.decode(Received(path, read_query(route.query, given), form))

    def call(self) -> Call:
        """What is sent."""
        route = self.route
        path = _filled(route.path, tuple(self.path().items()))
        given = {name: value for name, value in self.query().items() if value is not None}
        tail = f"?{urlencode(given)}" if given else ""
        body = self.body()
        return Call(
            route.method,
            path + tail,
            None if body is None else dumps(body),
            route.safe,
            route.patient,
        )

    # ── answering ────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def perform(self, engine: Engine) -> A:
        """Asks the engine."""

    @abstractmethod
    def to_json(self, answer: A) -> Any:
        """What is answered."""

    @abstractmethod
    def from_json(self, form: Any) -> A:
        """What an answer says."""


class Plain(Operation[A]):
    """An operation whose arguments are nothing but the parts of its path."""

    @classmethod
    def decode(cls, received: Received) -> Self:
        """See Operation."""
        return cls(**received.path)

    def path(self) -> Mapping[str, str]:
        """See Operation."""
        return vars(self)


class Silent(Operation[A]):
    """An operation that answers {}; what the engine tells stays with the server."""

    def to_json(self, answer: A) -> Any:
        """See Operation."""
        return {}


@dataclass(frozen=True)
class OnCollection(Operation[A]):
    """An operation on one collection, which its path names by id."""

    address: Address

    def path(self) -> Mapping[str, str]:
        """See Operation."""
        return {
            "tenant": self.address.tenant,
            "database": self.address.database,
            "collection_id": str(self.address.collection),
        }


DATABASE = "/tenants/{tenant}/databases/{database}"
COLLECTIONS = f"{DATABASE}/collections"
COLLECTION = f"{COLLECTIONS}/{{collection_id}}"

NOTHING: Form = {"type": "object", "maxProperties": 0}


def address_of(
    path: Mapping[str, str], problem: str = "Collection ID is not a valid UUIDv4"
) -> Address:
    """The collection that a path names. Raises InvalidArgumentError unless it is a UUID."""
    try:
        id = _uuid(path["collection_id"])
    except ValueError:
        raise InvalidArgumentError(problem) from None
    return Address(path["tenant"], path["database"], id)


@lru_cache(1024)
def _filled(path: str, parts: tuple[tuple[str, str], ...]) -> str:
    """The path with these parts: most requests are about a few collections."""
    return path.format_map({name: quote(value, safe="") for name, value in parts})


_uuid = lru_cache(1024)(UUID)
