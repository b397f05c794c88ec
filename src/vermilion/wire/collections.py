"""Operations on collections, and what the wire knows of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self
from uuid import UUID

from vermilion.configuration import (
    Changes,
    Configuration,
    Hnsw,
)
from vermilion.engine import CollectionInfo, Engine
from vermilion.errors import InvalidArgumentError
from vermilion.lifetimes import history_of, ttl_of
from vermilion.names import check_collection_name
from vermilion.wire import metadata as wire_metadata
from vermilion.wire import schemas, settings
from vermilion.wire.fields import (
    FLAG,
    OBJECT,
    TEXT,
    Field,
    Form,
)
from vermilion.wire.operation import (
    COLLECTION,
    COLLECTIONS,
    DATABASE,
    NOTHING,
    OnCollection,
    Operation,
    Plain,
    Received,
    Route,
    address_of,
)
from vermilion.wire.system import PAGE

# ── the object ───────────────────────────────────────────────────────────────────────────────────

_TEXT: Form = {"type": "string"}
_OPTIONAL: Form = {"anyOf": [{"type": "object"}, {"type": "null"}]}
INFO: Form = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "name": _TEXT,
        "configuration_json": {"type": "object"},
        "schema": _OPTIONAL,
        "metadata": _OPTIONAL,
        "dimension": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "tenant": _TEXT,
        "database": _TEXT,
        "log_position": {"type": "integer"},
        "version": {"type": "integer"},
    },
    "required": ["id", "name", "configuration_json", "tenant", "database", "log_position"],
}


def write_info(info: CollectionInfo) -> Form:
    """A collection as it is answered."""
    return {
        "id": str(info.id),
        "name": info.name,
        "configuration_json": info.configuration.to_json(),
        "schema": schemas.write_schema(info.schema, info.configuration),
        "metadata": info.metadata,
        "dimension": info.dimension,
        "tenant": info.tenant,
        "database": info.database,
        "log_position": 0,
        "version": 0,
    }


def read_info(form: Form) -> CollectionInfo:
    """The collection of an answer, of Chroma's servers too."""
    stored = form.get("configuration_json") or {}
    given = stored.get("hnsw") or {"space": (stored.get("spann") or {}).get("space")}
    known = {one.name for one in fields(Hnsw)}
    hnsw = {name: value for name, value in given.items() if name in known and value is not None}
    configuration = Configuration(
        Hnsw(**hnsw), stored.get("embedding_function"), history_of(stored), ttl_of(stored)
    )
    schema = form.get("schema")
    if schema == schemas.schema_of(configuration):  # which every collection has
        schema = None
    return CollectionInfo(
        UUID(form["id"]),
        form["name"],
        form["tenant"],
        form["database"],
        configuration,
        wire_metadata.read(form.get("metadata")),
        form.get("dimension"),
        schema,
    )


class _Told(Operation[CollectionInfo]):
    """An operation that answers with a collection."""

    def to_json(self, answer: CollectionInfo) -> Any:
        """See Operation."""
        return write_info(answer)

    def from_json(self, form: Any) -> CollectionInfo:
        """See Operation."""
        return read_info(form)


# ── the operations ───────────────────────────────────────────────────────────────────────────────

REPORT = Field(
    "report", FLAG, "Tell in the answer what was done.", nullable=False, default=False, ours=True
)


@dataclass(frozen=True)
class CreateCollection(Operation[tuple[CollectionInfo, bool | None]]):
    """Creates a collection. Servers of Chroma do not tell whether it is new: then that is None."""

    tenant: str
    database: str
    name: str
    configuration: Configuration
    metadata: Form | None = None
    schema: Form | None = None
    get_or_create: bool = False
    report: bool = False

    route = Route(
        "POST", COLLECTIONS, "Create a collection", "write", INFO,
        body=(
            Field("name", TEXT, "3-512 characters from [a-zA-Z0-9._-].", required=True),
            Field("metadata", wire_metadata.OF_COLLECTION, "At least one key."),
            Field("configuration", settings.CONFIGURATION, "How vectors are compared and made."),
            Field("schema", OBJECT, "The indexes: `defaults` and `keys`."),
            Field(
                "get_or_create", FLAG, "Answer with the one of that name if there is one.",
                nullable=False, default=False,
            ),
            REPORT,
        ),
    )  # fmt: skip

    def path(self) -> Mapping[str, str]:
        """See Operation."""
        return {"tenant": self.tenant, "database": self.database}

    def body(self) -> Form:
        """See Operation."""
        return {
            "name": self.name,
            "metadata": self.metadata,
            # A schema has all that its collection is configured with; only one of them may say it.
            "configuration": None
            if self.schema is not None
            else settings.write_configuration(self.configuration),
            "schema": self.schema,
            "get_or_create": self.get_or_create,
            **({"report": True} if self.report else {}),
        }

    @classmethod
    def decode(cls, received: Received) -> Self:
        """See Operation."""
        body = received.body
        name = check_collection_name(body["name"])
        metadata = wire_metadata.checked_of_collection(body["metadata"], "metadata")
        configuration = settings.read_configuration(body["configuration"], metadata)
        schema = None
        if body["schema"] is not None:
            from vermilion.schema.rules import reconciled  # with classes that few programs need

            wanted = schemas.read_schema(body["schema"], "schema")
            configuration, schema = reconciled(wanted, configuration)
        return cls(
            received.path["tenant"],
            received.path["database"],
            name,
            configuration,
            metadata,
            schema,
            body["get_or_create"],
            body["report"],
        )

    def perform(self, engine: Engine) -> tuple[CollectionInfo, bool | None]:
        """See Operation."""
        return engine.create_collection(
            self.name,
            self.tenant,
            self.database,
            configuration=self.configuration,
            metadata=self.metadata,
            schema=self.schema,
            get_or_create=self.get_or_create,
        )

    def to_json(self, answer: tuple[CollectionInfo, bool | None]) -> Any:
        """See Operation."""
        info, new = answer
        return write_info(info) | ({"created": new} if self.report else {})

    def from_json(self, form: Any) -> tuple[CollectionInfo, bool | None]:
        """See Operation."""
        return read_info(form), form.get("created")


@dataclass(frozen=True)
class GetCollection(Plain[CollectionInfo], _Told):
    """A collection by its name."""

    tenant: str
    database: str
    name: str

    route = Route("GET", f"{COLLECTIONS}/{{name}}", "A collection by its name", "read", INFO,
                  safe=True)  # fmt: skip

    def perform(self, engine: Engine) -> CollectionInfo:
        """See Operation."""
        return engine.get_collection(self.name, self.tenant, self.database)


@dataclass(frozen=True)
class GetCollectionById(OnCollection[CollectionInfo], _Told):
    """A collection by its id."""

    route = Route(
        "GET", f"{COLLECTIONS}/by-id/{{collection_id}}", "A collection by its id", "read", INFO,
        safe=True,
    )  # fmt: skip

    @classmethod
    def decode(cls, received: Received) -> Self:
        """See Operation."""
        return cls(
            address_of(
                received.path,
                "Validation error: collection_id: Invalid collection ID format, expected UUID",
            )
        )

    def perform(self, engine: Engine) -> CollectionInfo:
        """See Operation."""
        return engine.get_collection_by_id(self.address)


@dataclass(frozen=True)
class GetCollectionByCrn(_Told):
    """A collection by its resource name."""

    tenant: str
    database: str
    name: str

    route = Route(
        "GET", "/collections/{crn}", "A collection by `tenant:database:name`", "read", INFO,
        safe=True,
    )  # fmt: skip

    def path(self) -> Mapping[str, str]:
        """See Operation."""
        return {"crn": f"{self.tenant}:{self.database}:{self.name}"}

    @classmethod
    def decode(cls, received: Received) -> Self:
        """See Operation."""
        parts = received.path["crn"].split(":")
        if len(parts) != 3 or not all(parts):
            raise InvalidArgumentError(
                "Validation error: crn: Expected tenant:database:collection, each not empty"
            )
        return cls(*parts)

    def perform(self, engine: Engine) -> CollectionInfo:
        """See Operation."""
        return engine.get_collection(self.name, self.tenant, self.database)


@dataclass(frozen=True)
class ListCollections(Operation[list[CollectionInfo]]):
    """The collections of a database."""

    tenant: str
    database: str
    limit: int | None = None
    offset: int | None = None

    route = Route(
        "GET", COLLECTIONS, "The collections of a database, in the order of creation", "read",
        {"type": "array", "items": INFO}, query=PAGE, safe=True,
    )  # fmt: skip

    def path(self) -> Mapping[str, str]:
        """See Operation."""
        return {"tenant": self.tenant, "database": self.database}

    def query(self) -> Form:
        """See Operation."""
        return {"limit": self.limit, "offset": self.offset}

    @classmethod
    def decode(cls, received: Received) -> Self:
        """See Operation."""
        return cls(**received.path, limit=received.query["limit"], offset=received.query["offset"])

    def perform(self, engine: Engine) -> list[CollectionInfo]:
        """See Operation."""
        return engine.list_collections(self.tenant, self.database, self.limit, self.offset)

    def to_json(self, answer: list[CollectionInfo]) -> Any:
        """See Operation."""
        return [write_info(one) for one in answer]

    def from_json(self, form: Any) -> list[CollectionInfo]:
        """See Operation."""
        return [read_info(one) for one in form]


@dataclass(frozen=True)
class CountCollections(Plain[int]):
    """How many collections a database has."""

    tenant: str
    database: str

    route = Route(
        "GET", f"{DATABASE}/collections_count", "How many collections the database has", "read",
        {"type": "integer"}, safe=True,
    )  # fmt: skip

    def perform(self, engine: Engine) -> int:
        """See Operation."""
        return engine.count_collections(self.tenant, self.database)

    def to_json(self, answer: int) -> Any:
        """See Operation."""
        return answer

    def from_json(self, form: Any) -> int:
        """See Operation."""
        return int(form)


@dataclass(frozen=True)
class ModifyCollection(OnCollection[CollectionInfo | None]):
    """Renames, replaces the metadata, changes the configuration.

    Servers of Chroma answer nothing: then the answer is None.
    """

    name: str | None = None
    metadata: Form | None = None
    replace_metadata: bool = False
    configuration: Changes | None = None
    report: bool = False

    route = Route(
        "PUT", COLLECTION, "Rename a collection, replace its metadata, change its configuration",
        "write", NOTHING,
        body=(
            Field("new_name", TEXT, "3-512 characters from [a-zA-Z0-9._-]."),
            Field(
                "new_metadata", wire_metadata.CHANGES_OF_COLLECTION,
                "Replaces all; keys with null are left out.",
            ),
            Field("new_configuration", settings.CHANGES, "Numbers of the index, the function."),
            REPORT,
        ),
        safe=True,
    )  # fmt: skip

    def body(self) -> Form:
        """See Operation."""
        changes = None
        if self.configuration is not None:
            changes = {
                "hnsw": self.configuration.hnsw or None,
                "spann": None,
                "embedding_function": self.configuration.embedding_function,
                **settings.write_lifetimes(self.configuration.lifetimes),
            }
        # A map of nothing but null is how to have no metadata.
        emptied = {"none": None} if self.replace_metadata else None
        return {
            "new_name": self.name,
            "new_metadata": self.metadata or emptied,
            "new_configuration": changes,
            **({"report": True} if self.report else {}),
        }

    @classmethod
    def decode(cls, received: Received) -> Self:
        """See Operation."""
        body = received.body
        name, metadata = body["new_name"], body["new_metadata"]
        return cls(
            address_of(received.path),
            None if name is None else check_collection_name(name, "new_name"),
            wire_metadata.checked_of_collection(metadata, "new_metadata"),
            metadata is not None,
            settings.read_changes(body["new_configuration"]),
            body["report"],
        )

    def perform(self, engine: Engine) -> CollectionInfo | None:
        """See Operation."""
        return engine.modify_collection(
            self.address,
            name=self.name,
            metadata=self.metadata,
            replace_metadata=self.replace_metadata,
            configuration=self.configuration,
        )

    def to_json(self, answer: CollectionInfo | None) -> Any:
        """See Operation."""
        return write_info(answer) if self.report and answer is not None else {}

    def from_json(self, form: Any) -> CollectionInfo | None:
        """See Operation."""
        return read_info(form) if form else None


@dataclass(frozen=True)
class DeleteCollection(Plain[None]):
    """Deletes a collection and its records."""

    tenant: str
    database: str
    name: str

    route = Route(
        "DELETE", f"{COLLECTIONS}/{{name}}", "Delete a collection by its name", "write", NOTHING
    )

    def perform(self, engine: Engine) -> None:
        """See Operation."""
        engine.delete_collection(self.name, self.tenant, self.database)

    def to_json(self, answer: None) -> Any:
        """See Operation."""
        return {}

    def from_json(self, form: Any) -> None:
        """See Operation."""


@dataclass(frozen=True)
class ForkCollection(_Told, OnCollection[CollectionInfo]):
    """Makes a copy that goes its own way."""

    new_name: str

    route = Route(
        "POST", f"{COLLECTION}/fork", "Copy a collection; the copy goes its own way", "write",
        INFO,
        body=(Field("new_name", TEXT, "3-512 characters from [a-zA-Z0-9._-].", required=True),),
        patient=True,
    )  # fmt: skip

    def body(self) -> Form:
        """See Operation."""
        return {"new_name": self.new_name}

    @classmethod
    def decode(cls, received: Received) -> Self:
        """See Operation."""
        name = check_collection_name(received.body["new_name"], "new_name")
        return cls(address_of(received.path), name)

    def perform(self, engine: Engine) -> CollectionInfo:
        """See Operation."""
        return engine.fork_collection(self.address, self.new_name)
