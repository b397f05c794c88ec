"""Operations on the whole, on tenants and on databases."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID

from vermilion.engine import Engine
from vermilion.names import check_database_name, check_tenant_name
from vermilion.types import DEFAULT_DATABASE, DEFAULT_TENANT, Database, UserIdentity
from vermilion.wire.fields import DIGITS, TEXT, Field, Form
from vermilion.wire.operation import (
    DATABASE,
    NOTHING,
    Operation,
    Plain,
    Received,
    Route,
    Silent,
)

_ID: Form = {"type": "string", "format": "uuid"}
_TEXT: Form = {"type": "string"}
_DATABASE: Form = {
    "type": "object",
    "properties": {"id": _ID, "name": _TEXT, "tenant": _TEXT},
    "required": ["id", "name", "tenant"],
}
# A page of a list, in a query string.
PAGE = (
    Field("limit", DIGITS, "At most so many."),
    Field("offset", DIGITS, "Leave out so many first."),
)


# ── the whole ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Heartbeat(Plain[int]):
    """The time of the server in nanoseconds since 1970."""

    route = Route(
        "GET", "/heartbeat", "The time of the server, in nanoseconds since 1970", "anyone",
        {"type": "object", "properties": {"nanosecond heartbeat": {"type": "integer"}}},
        safe=True,
    )  # fmt: skip

    def perform(self, engine: Engine) -> int:
        """See Operation."""
        return time.time_ns()

    def to_json(self, answer: int) -> Any:
        """See Operation."""
        return {"nanosecond heartbeat": answer}

    def from_json(self, form: Any) -> int:
        """See Operation."""
        return int(form["nanosecond heartbeat"])


@dataclass(frozen=True)
class HeartbeatAlias(Heartbeat):
    """The same by its other name, which Chroma's asynchronous client uses."""

    route = Route(
        "GET", "", "The same as /heartbeat", "anyone", Heartbeat.route.answer, safe=True
    )  # fmt: skip


@dataclass(frozen=True)
class Version(Plain[str]):
    """The release of the server."""

    route = Route("GET", "/version", "The release of the server", "open", _TEXT, safe=True)

    def perform(self, engine: Engine) -> str:
        """See Operation."""
        return engine.version()

    def to_json(self, answer: str) -> Any:
        """See Operation."""
        return answer

    def from_json(self, form: Any) -> str:
        """See Operation."""
        return str(form)


@dataclass(frozen=True)
class Healthcheck(Plain[bool]):
    """Whether the engine answers."""

    route = Route(
        "GET", "/healthcheck", "Whether the database can be used", "anyone",
        {
            "type": "object",
            "properties": {
                "is_executor_ready": {"type": "boolean"},
                "is_log_client_ready": {"type": "boolean"},
            },
        },
        safe=True,
    )  # fmt: skip

    def perform(self, engine: Engine) -> bool:
        """See Operation."""
        engine.get_tenant(DEFAULT_TENANT)
        return True

    def to_json(self, answer: bool) -> Any:
        """See Operation."""
        return {"is_executor_ready": answer, "is_log_client_ready": answer}

    def from_json(self, form: Any) -> bool:
        """See Operation."""
        return all(form.values())


@dataclass(frozen=True)
class PreFlight:
    """What the server can take."""

    max_batch_size: int
    supports_base64_encoding: bool = False


@dataclass(frozen=True)
class PreFlightChecks(Plain[PreFlight]):
    """What the server can take: clients ask before their first write."""

    route = Route(
        "GET", "/pre-flight-checks", "How large a batch may be, and how vectors may be sent",
        "open",
        {
            "type": "object",
            "properties": {
                "max_batch_size": {"type": "integer"},
                "supports_base64_encoding": {"type": "boolean"},
            },
            "required": ["max_batch_size", "supports_base64_encoding"],
        },
        safe=True,
    )  # fmt: skip

    def perform(self, engine: Engine) -> PreFlight:
        """See Operation."""
        return PreFlight(engine.max_batch_size(), True)

    def to_json(self, answer: PreFlight) -> Any:
        """See Operation."""
        return vars(answer)

    def from_json(self, form: Any) -> PreFlight:
        """See Operation."""
        return PreFlight(form["max_batch_size"], bool(form.get("supports_base64_encoding")))


@dataclass(frozen=True)
class Identity(Plain[UserIdentity]):
    """Who the caller is, and where they may go."""

    route = Route(
        "GET", "/auth/identity", "Who the caller is, and which databases they may use", "open",
        {
            "type": "object",
            "properties": {
                "user_id": _TEXT,
                "tenant": _TEXT,
                "databases": {"type": "array", "items": _TEXT},
            },
            "required": ["user_id", "tenant", "databases"],
        },
        safe=True,
    )  # fmt: skip

    def perform(self, engine: Engine) -> UserIdentity:
        """See Operation. What a server without authentication says."""
        return UserIdentity("", DEFAULT_TENANT, [DEFAULT_DATABASE])

    def to_json(self, answer: UserIdentity) -> Any:
        """See Operation."""
        return {"user_id": answer.user_id, "tenant": answer.tenant, "databases": answer.databases}

    def from_json(self, form: Any) -> UserIdentity:
        """See Operation."""
        return UserIdentity(form["user_id"], form.get("tenant"), form.get("databases"))


@dataclass(frozen=True)
class Reset(Plain[None]):
    """Deletes everything."""

    route = Route(
        "POST", "/reset", "Delete everything, where the server allows it", "admin",
        {"type": "boolean"},
    )  # fmt: skip

    def perform(self, engine: Engine) -> None:
        """See Operation."""
        engine.reset()

    def to_json(self, answer: None) -> Any:
        """See Operation."""
        return True

    def from_json(self, form: Any) -> None:
        """See Operation."""


# ── tenants ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class CreateTenant(Silent[None]):
    """Creates a tenant."""

    name: str

    route = Route(
        "POST", "/tenants", "Create a tenant", "admin", NOTHING,
        body=(Field("name", TEXT, "At least 3 characters.", required=True),),
    )  # fmt: skip

    def body(self) -> Form:
        """See Operation."""
        return {"name": self.name}

    @classmethod
    def decode(cls, received: Received) -> Self:
        """See Operation."""
        return cls(check_tenant_name(received.body["name"]))

    def perform(self, engine: Engine) -> None:
        """See Operation."""
        engine.create_tenant(self.name)

    def from_json(self, form: Any) -> None:
        """See Operation."""


@dataclass(frozen=True)
class GetTenant(Plain[str]):
    """Whether a tenant exists."""

    tenant: str

    route = Route(
        "GET", "/tenants/{tenant}", "A tenant", "read",
        {
            "type": "object",
            "properties": {
                "name": _TEXT, "resource_name": {"anyOf": [_TEXT, {"type": "null"}]},
            },
        },
        safe=True,
    )  # fmt: skip

    def perform(self, engine: Engine) -> str:
        """See Operation."""
        return engine.get_tenant(self.tenant)

    def to_json(self, answer: str) -> Any:
        """See Operation."""
        return {"name": answer, "resource_name": None}

    def from_json(self, form: Any) -> str:
        """See Operation."""
        return str(form["name"])


@dataclass(frozen=True)
class UpdateTenant(Silent[None]):
    """Sets a resource name, which Chroma Cloud has a use for: nothing is stored."""

    tenant: str
    resource_name: str

    route = Route(
        "PATCH", "/tenants/{tenant}", "Accepted for Chroma's clients; nothing is stored", "admin",
        NOTHING,
        body=(Field("resource_name", TEXT, "A name for other systems.", required=True),),
    )  # fmt: skip

    def path(self) -> Mapping[str, str]:
        """See Operation."""
        return {"tenant": self.tenant}

    def body(self) -> Form:
        """See Operation."""
        return {"resource_name": self.resource_name}

    @classmethod
    def decode(cls, received: Received) -> Self:
        """See Operation."""
        return cls(received.path["tenant"], received.body["resource_name"])

    def perform(self, engine: Engine) -> None:
        """See Operation."""
        engine.get_tenant(self.tenant)

    def from_json(self, form: Any) -> None:
        """See Operation."""


# ── databases ────────────────────────────────────────────────────────────────────────────────────


def _written(database: Database) -> Form:
    return {"id": str(database.id), "name": database.name, "tenant": database.tenant}


def _read(form: Form) -> Database:
    return Database(UUID(form["id"]), form["name"], form["tenant"])


@dataclass(frozen=True)
class ListDatabases(Operation[list[Database]]):
    """The databases of a tenant by name."""

    tenant: str
    limit: int | None = None
    offset: int | None = None

    route = Route(
        "GET", "/tenants/{tenant}/databases", "The databases of a tenant, by name", "read",
        {"type": "array", "items": _DATABASE}, query=PAGE, safe=True,
    )  # fmt: skip

    def path(self) -> Mapping[str, str]:
        """See Operation."""
        return {"tenant": self.tenant}

    def query(self) -> Form:
        """See Operation."""
        return {"limit": self.limit, "offset": self.offset}

    @classmethod
    def decode(cls, received: Received) -> Self:
        """See Operation."""
        return cls(received.path["tenant"], received.query["limit"], received.query["offset"])

    def perform(self, engine: Engine) -> list[Database]:
        """See Operation."""
        return engine.list_databases(self.tenant, self.limit, self.offset)

    def to_json(self, answer: list[Database]) -> Any:
        """See Operation."""
        return [_written(one) for one in answer]

    def from_json(self, form: Any) -> list[Database]:
        """See Operation."""
        return [_read(one) for one in form]


@dataclass(frozen=True)
class CreateDatabase(Silent[None]):
    """Creates a database."""

    tenant: str
    name: str

    route = Route(
        "POST", "/tenants/{tenant}/databases", "Create a database", "admin", NOTHING,
        body=(Field("name", TEXT, "3-512 characters from [a-zA-Z0-9._-].", required=True),),
    )  # fmt: skip

    def path(self) -> Mapping[str, str]:
        """See Operation."""
        return {"tenant": self.tenant}

    def body(self) -> Form:
        """See Operation."""
        return {"name": self.name}

    @classmethod
    def decode(cls, received: Received) -> Self:
        """See Operation."""
        return cls(received.path["tenant"], check_database_name(received.body["name"]))

    def perform(self, engine: Engine) -> None:
        """See Operation."""
        engine.create_database(self.name, self.tenant)

    def from_json(self, form: Any) -> None:
        """See Operation."""


@dataclass(frozen=True)
class GetDatabase(Plain[Database]):
    """One database."""

    tenant: str
    database: str

    route = Route("GET", DATABASE, "A database", "read", _DATABASE, safe=True)

    def perform(self, engine: Engine) -> Database:
        """See Operation."""
        return engine.get_database(self.database, self.tenant)

    def to_json(self, answer: Database) -> Any:
        """See Operation."""
        return _written(answer)

    def from_json(self, form: Any) -> Database:
        """See Operation."""
        return _read(form)


@dataclass(frozen=True)
class DeleteDatabase(Plain[None]):
    """Deletes a database with its collections."""

    tenant: str
    database: str

    route = Route("DELETE", DATABASE, "Delete a database with its collections", "admin", NOTHING)

    def perform(self, engine: Engine) -> None:
        """See Operation."""
        engine.delete_database(self.database, self.tenant)

    def to_json(self, answer: None) -> Any:
        """See Operation."""
        return {}

    def from_json(self, form: Any) -> None:
        """See Operation."""
