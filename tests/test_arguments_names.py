"""Names, and what they lead to: collections, databases and tenants that are there, or are not."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import vermilion
from doors import Raises, Row, each, empty
from vermilion import AdminClient, Settings
from vermilion.api import sharing
from vermilion.api.client import Client
from vermilion.api.collection import Collection
from vermilion.errors import (
    AlreadyExistsError,
    ArgumentTypeError,
    ArgumentValueError,
    AuthorizationError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    UniqueConstraintError,
    UnknownDatabaseError,
)

# ── names ────────────────────────────────────────────────────────────────────────────────────────

GOOD_NAMES = [
    "abc",
    "A-b_c.d",
    "a--b",
    "999.1.1.1",
    "abc+def",
    "0f8fad5b-d9cb-469f-a165-70867728950e",
    "x" * 512,
]
FORM = "Expected a name containing 3-512 characters from [a-zA-Z0-9._-]"
BAD_NAMES: list[tuple[object, type[Exception], str]] = [
    ("", ArgumentValueError, FORM),
    ("a", ArgumentValueError, FORM),
    ("ab", ArgumentValueError, FORM),
    ("x" * 513, ArgumentValueError, FORM),
    ("_abc", ArgumentValueError, FORM),
    ("abc_", ArgumentValueError, FORM),
    ("a b", ArgumentValueError, FORM),
    ("abc\n", ArgumentValueError, FORM),
    ("éaé", ArgumentValueError, FORM),
    ("::1", ArgumentValueError, FORM),
    ("a+bcd", ArgumentValueError, FORM),
    ("a..b", ArgumentValueError, "two consecutive periods"),
    ("1.2.3.4", ArgumentValueError, "not a valid ip address"),
    ("abc+def+ghi", ArgumentValueError, "at most one topology"),
    (None, ArgumentTypeError, "Expected a name to be a str, got None"),
    (123, ArgumentTypeError, "Expected a name to be a str, got 123"),
]


def short(value: object) -> str:
    return ascii(value)[:30]


@pytest.mark.parametrize("name", GOOD_NAMES, ids=short)
def test_a_collection_may_be_called(client: Client, name: str) -> None:
    assert client.create_collection(name, embedding_function=None).name == name
    assert client.get_collection(name).name == name


@pytest.mark.parametrize(("name", "kind", "words"), BAD_NAMES, ids=short)
@pytest.mark.parametrize("method", ["create_collection", "get_or_create_collection"])
def test_no_collection_is_created_with_the_name(
    client: Client, method: str, name: Any, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind) as raised:
        getattr(client, method)(name, embedding_function=None)
    assert str(raised.value).startswith("Validation error: name: ")
    assert words in str(raised.value)
    assert client.count_collections() == 0


@pytest.mark.parametrize(("name", "kind", "words"), BAD_NAMES[:-2], ids=short)
def test_no_collection_is_renamed_to(
    client: Client, name: Any, kind: type[Exception], words: str
) -> None:
    collection = empty(client)
    with pytest.raises(kind) as raised:
        collection.modify(name=name)
    assert str(raised.value).startswith("Validation error: new_name: ")
    assert words in str(raised.value)
    assert client.get_collection("notes").id == collection.id


# ── collections ──────────────────────────────────────────────────────────────────────────────────

MISSING = Raises(NotFoundError, "Collection [missing] does not exist")
UNKNOWN = UUID(int=1)


def taken(client: Client) -> Collection:
    """The second of two collections."""
    client.create_collection("taken", embedding_function=None)
    return client.create_collection("other", embedding_function=None)


def rename(collection: Collection, **changes: Any) -> str:
    collection.modify(**changes)
    return collection.name


COLLECTIONS = [
    Row(
        "a name is taken once",
        lambda client: taken(client) and client.create_collection("taken"),
        Raises(AlreadyExistsError, "Collection [taken] already exists"),
        chroma="is an InternalError, and so is ours, too",
    ),
    Row(
        "a name that is taken cannot be taken over",
        lambda client: taken(client).modify(name="taken"),
        Raises(AlreadyExistsError, "Collection [taken] already exists"),
        chroma="is an InternalError with the text of an SQL constraint",
    ),
    Row(
        "a collection may be given the name it has",
        lambda client: rename(taken(client), name="other"),
        "other",
    ),
    Row("nothing may be modified", lambda client: rename(taken(client)), "other"),
    Row("what is missing is not found", lambda client: client.get_collection("missing"), MISSING),
    Row("and not deleted", lambda client: client.delete_collection("missing"), MISSING),
    Row(
        "an impossible name is not found, either",
        lambda client: client.get_collection("a b"),
        Raises(NotFoundError, "Collection [a b] does not exist"),
    ),
    Row(
        "a name that is got is a str",
        lambda client: client.get_collection(None),
        Raises(ArgumentTypeError, "Expected a collection name to be a str, got None"),
    ),
    Row(
        "a name that is deleted is a str",
        lambda client: client.delete_collection(None),
        Raises(ArgumentTypeError, "Expected a collection name to be a str, got None"),
    ),
    Row(
        "deleting returns nothing",
        lambda client: taken(client) and client.delete_collection("taken"),
        None,
    ),
    Row(
        "an id is found",
        lambda client: client.get_collection_by_id(taken(client).id).name,
        "other",
    ),
    Row(
        "an id is found as text",
        lambda client: client.get_collection_by_id(str(taken(client).id)).name,
        "other",
    ),
    Row(
        "an unknown id is not found",
        lambda client: client.get_collection_by_id(UNKNOWN),
        Raises(NotFoundError, f"Collection [{UNKNOWN}] does not exist"),
    ),
    Row(
        "an id is a UUID",
        lambda client: client.get_collection_by_id("1234"),
        Raises(InvalidArgumentError, "Invalid collection ID format"),
    ),
    Row(
        "all collections are listed in the order of creation",
        lambda client: taken(client) and [one.name for one in client.list_collections()],
        ["taken", "other"],
        chroma="lists them in the order of their random ids",
    ),
    Row(
        "a page of collections is listed",
        lambda client: taken(client) and [one.name for one in client.list_collections(1, 1)],
        ["other"],
    ),
    Row(
        "a page of no collections is empty",
        lambda client: taken(client) and client.list_collections(limit=0),
        [],
    ),
    Row(
        "a page of collections is not negative",
        lambda client: client.list_collections(limit=-1),
        Raises(ArgumentValueError, "Expected limit to be a non-negative integer, got -1"),
        chroma="is an OverflowError",
    ),
    Row(
        "a page of collections is an integer",
        lambda client: client.list_collections(limit="a"),
        Raises(ArgumentTypeError, "Expected limit to be a non-negative integer, got 'a'"),
    ),
]


@each(COLLECTIONS)
def test_collections_are_found_or_not(client: Client, row: Row) -> None:
    row.check(client)


RECORD_CALLS: dict[str, Callable[[Collection], object]] = {
    "add": lambda gone: gone.add(ids=["a"], embeddings=[[1.0]]),
    "upsert": lambda gone: gone.upsert(ids=["a"], embeddings=[[1.0]]),
    "update": lambda gone: gone.update(ids=["a"], embeddings=[[1.0]]),
    "delete": lambda gone: gone.delete(ids=["a"]),
    "get": lambda gone: gone.get(),
    "peek": lambda gone: gone.peek(),
    "count": lambda gone: gone.count(),
    "query": lambda gone: gone.query(query_embeddings=[[1.0]]),
    "modify": lambda gone: gone.modify(name="again"),
}


@pytest.mark.parametrize("had_records", [False, True], ids=["empty", "filled"])
@pytest.mark.parametrize("method", RECORD_CALLS)
def test_a_deleted_collection_does_not_exist_for(
    client: Client, method: str, had_records: bool
) -> None:
    collection = empty(client)
    if had_records:
        collection.add(ids=["a"], embeddings=[[1.0]])
    client.delete_collection("notes")
    empty(client)  # of the same name: the handle has to stay with the one that is gone
    with pytest.raises(NotFoundError) as raised:
        RECORD_CALLS[method](collection)
    assert f"Collection [{collection.id}] does not exist" in str(raised.value)


def test_what_exists_already_is_caught_as_chroma_raises_it_and_as_it_should() -> None:
    assert issubclass(AlreadyExistsError, InternalError)
    assert issubclass(AlreadyExistsError, UniqueConstraintError)


# ── tenants and databases ────────────────────────────────────────────────────────────────────────


@pytest.fixture(params=["memory", "disk"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """An empty database that a Client and an AdminClient can open."""
    sharing.forget_all()
    yield Settings(is_persistent=request.param == "disk", persist_directory=str(tmp_path))
    sharing.forget_all()


@pytest.fixture
def admin(settings: Settings) -> AdminClient:
    return AdminClient(settings)


@pytest.mark.parametrize(("name", "kind", "words"), BAD_NAMES, ids=short)
def test_no_database_is_created_with_the_name(
    admin: AdminClient, name: Any, kind: type[Exception], words: str
) -> None:
    # Chroma's server has the same rule; embedded, Chroma takes any three characters.
    with pytest.raises(kind) as raised:
        admin.create_database(name)
    assert words in str(raised.value)
    assert [database["name"] for database in admin.list_databases()] == ["default_database"]


def database(admin: AdminClient, name: str, tenant: str = "default_tenant") -> tuple[str, str]:
    admin.create_database(name, tenant)
    found = admin.get_database(name, tenant)
    return found["name"], found["tenant"]


def tenant(admin: AdminClient, name: str) -> str:
    admin.create_tenant(name)
    return str(admin.get_tenant(name)["name"])


TENANCY = [
    Row("a database is created", lambda admin: database(admin, "work"), ("work", "default_tenant")),
    Row(
        "a database may name a topology",
        lambda admin: database(admin, "eu-west+work")[0],
        "eu-west+work",
    ),
    Row(
        "a database is created once",
        lambda admin: admin.create_database("default_database"),
        Raises(AlreadyExistsError, "Database [default_database] already exists"),
    ),
    Row(
        "a database belongs to a tenant that exists",
        lambda admin: admin.create_database("work", "nobody"),
        Raises(NotFoundError, "Tenant [nobody] not found"),
        chroma="creates it, for a tenant that is not there",
    ),
    Row("nobody has no databases", lambda admin: admin.list_databases(tenant="nobody"), []),
    Row(
        "a missing database is not found",
        lambda admin: admin.get_database("missing"),
        Raises(NotFoundError, "Database [missing] not found"),
    ),
    Row(
        "a missing database is not deleted",
        lambda admin: admin.delete_database("missing"),
        Raises(NotFoundError, "Database [missing] not found"),
    ),
    Row("a tenant is created", lambda admin: tenant(admin, "acme"), "acme"),
    Row("a tenant may be any text", lambda admin: tenant(admin, "a b..c"), "a b..c"),
    Row(
        "a tenant has three characters",
        lambda admin: admin.create_tenant("ab"),
        Raises(InvalidArgumentError, "Expected a tenant name of 3-512 characters"),
    ),
    Row(
        "a tenant's name is a str",
        lambda admin: admin.create_tenant(None),
        Raises(ArgumentTypeError, "Expected a tenant name to be a str"),
    ),
    Row(
        "a tenant is created once",
        lambda admin: admin.create_tenant("default_tenant"),
        Raises(AlreadyExistsError, "Tenant [default_tenant] already exists"),
    ),
    Row(
        "a missing tenant is not found",
        lambda admin: admin.get_tenant("missing"),
        Raises(NotFoundError, "Tenant [missing] not found"),
    ),
]


@each(TENANCY)
def test_tenants_and_databases_are_found_or_not(admin: AdminClient, row: Row) -> None:
    row.check(admin)


MOVES: list[tuple[str, Callable[[Client], None], str]] = [
    ("set_database", lambda client: client.set_database("missing"), "Database [missing] not found"),
    ("set_tenant", lambda client: client.set_tenant("missing"), "Tenant [missing] not found"),
    ("bare tenant", lambda client: client.set_tenant("bare"), "Database [default_database]"),
]


@pytest.mark.parametrize(("move", "words"), [move[1:] for move in MOVES], ids=[m[0] for m in MOVES])
def test_a_client_stays_where_it_is_when_it_cannot_go(
    settings: Settings, admin: AdminClient, move: Callable[[Client], None], words: str
) -> None:
    admin.create_tenant("bare")
    client = vermilion.Client(settings)
    with pytest.raises(NotFoundError) as raised:
        move(client)
    assert words in str(raised.value)
    assert (client.tenant, client.database) == ("default_tenant", "default_database")


@pytest.mark.parametrize(
    ("where", "words"),
    [({"tenant": "missing"}, "Tenant [missing]"), ({"database": "missing"}, "Database [missing]")],
    ids=["tenant", "database"],
)
def test_a_client_is_made_only_where_there_is_something(
    settings: Settings, where: dict[str, str], words: str
) -> None:
    with pytest.raises(NotFoundError) as raised:
        vermilion.Client(settings, **where)
    assert words in str(raised.value)


def test_a_collection_is_found_only_in_its_database(settings: Settings, admin: AdminClient) -> None:
    client = vermilion.Client(settings)
    there = client.create_collection("notes", embedding_function=None)
    admin.create_database("elsewhere")
    client.set_database("elsewhere")
    with pytest.raises(NotFoundError):
        client.get_collection_by_id(there.id)
    assert there.count() == 0  # the handle stays where it was made


def test_no_collection_is_created_in_a_database_that_is_gone(
    settings: Settings, admin: AdminClient
) -> None:
    admin.create_database("work")
    client = vermilion.Client(settings, database="work")
    admin.delete_database("work")
    with pytest.raises(UnknownDatabaseError, match="work"):
        client.create_collection("notes", embedding_function=None)


def test_reset_has_to_be_allowed(settings: Settings) -> None:
    client = vermilion.Client(settings)
    client.create_collection("notes", embedding_function=None)
    with pytest.raises(AuthorizationError, match="Reset is disabled by config"):
        client.reset()
    assert client.count_collections() == 1


def test_reset_deletes_everything_but_the_defaults(client: Client) -> None:
    empty(client).add(ids=["a"], embeddings=[[1.0]])
    assert client.reset() is True
    assert client.count_collections() == 0
    assert empty(client).count() == 0
