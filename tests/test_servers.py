"""The doors to servers: which server, which credentials, which tenant and database."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

import vermilion
from vermilion.api.admin import AdminClient
from vermilion.api.aio import AsyncAdminClient, AsyncClient
from vermilion.api.settings import Settings
from vermilion.auth_types import TokenTransportHeader
from vermilion.errors import (
    ArgumentValueError,
    ChromaAuthError,
    NotFoundError,
    UnreachableError,
)

# ── a server that says who the caller is, and nothing else ───────────────────────────────────────


class Stub(ThreadingHTTPServer):
    """Knows one tenant and some databases, and notes what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.identity: dict[str, Any] = {"user_id": "", "tenant": "*", "databases": ["*"]}
        self.seen: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []

    @property
    def host(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answers(BaseHTTPRequestHandler):
    """What the stub says."""

    protocol_version = "HTTP/1.1"
    server: Stub

    def do_GET(self) -> None:
        self.server.seen.append((self.command, self.path))
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        status, answer = self.answer(self.path.split("?")[0])
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def answer(self, path: str) -> tuple[int, Any]:
        parts = path.partition("/api/v2/")[2].split("/")
        match parts:
            case ["heartbeat"]:
                return 200, {"nanosecond heartbeat": 42}
            case ["auth", "identity"]:
                return 200, self.server.identity
            case ["reset"]:
                return 403, {"error": "ChromaError", "message": "Reset is disabled by config"}
            case ["tenants", name]:
                return 200, {"name": name}
            case ["tenants", tenant, "databases"]:
                return 200, [{"id": "0" * 32, "name": "theirs", "tenant": tenant}]
            case ["tenants", tenant, "databases", "unknown"]:
                return 404, {"error": "NotFoundError", "message": "Database [unknown] not found"}
            case ["tenants", tenant, "databases", name]:
                return 200, {"id": "0" * 32, "name": name, "tenant": tenant}
        return 404, {"error": "NotFoundError", "message": path}

    def log_message(self, format: str, *args: object) -> None:
        """Tests are quiet."""


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


# ── which server ─────────────────────────────────────────────────────────────────────────────────


def test_a_client_asks_the_server_for_its_tenant_and_database(stub: Stub) -> None:
    with vermilion.HttpClient("127.0.0.1", stub.server_port, tenant="t1", database="d1") as client:
        assert stub.seen == [
            ("GET", "/api/v2/tenants/t1"),
            ("GET", "/api/v2/tenants/t1/databases/d1"),
        ]
        assert (client.tenant, client.database) == ("t1", "d1")
        assert client.heartbeat() == 42
        assert client.get_user_identity().tenant == "*"
        with pytest.raises(ChromaAuthError, match="Reset is disabled"):
            client.reset()


def test_a_host_may_be_an_address_with_a_path(stub: Stub) -> None:
    vermilion.HttpClient(f"{stub.host}/behind/a/proxy", port=1)
    assert stub.seen[0] == ("GET", "/behind/a/proxy/api/v2/tenants/default_tenant")


def test_names_are_escaped_in_addresses(stub: Stub) -> None:
    vermilion.HttpClient(stub.host, tenant="a/b c")
    assert stub.seen[0][1] == "/api/v2/tenants/a%2Fb%20c"


def test_settings_and_arguments_name_one_server(stub: Stub) -> None:
    settings = Settings(chroma_server_host="127.0.0.1", chroma_server_http_port=stub.server_port)
    client = vermilion.HttpClient(settings=settings)
    assert client.get_settings()["chroma_server_http_port"] == stub.server_port
    assert settings["chroma_api_impl"].startswith("vermilion."), "the caller's settings stay"
    with pytest.raises(ValueError, match="is different to the one provided in HttpClient"):
        vermilion.HttpClient("127.0.0.1", 1, settings=settings)


def test_settings_alone_name_a_server(stub: Stub) -> None:
    settings = Settings(
        chroma_api_impl="chromadb.api.fastapi.FastAPI",
        chroma_server_host="127.0.0.1",
        chroma_server_http_port=stub.server_port,
    )
    with vermilion.Client(settings) as client, AdminClient(settings) as admin:
        assert client.heartbeat() == 42
        assert [one["name"] for one in admin.list_databases()] == ["theirs"]

    async def main() -> None:
        async with AsyncClient.create(settings=settings) as client:
            assert await client.heartbeat() == 42
        async with AsyncAdminClient(settings) as admin:
            assert (await admin.get_database("theirs", "t"))["tenant"] == "t"

    asyncio.run(main())


def test_an_asyncio_client(stub: Stub) -> None:
    async def main() -> None:
        async with vermilion.AsyncHttpClient(stub.host, headers={"X-Mine": "1"}) as client:
            assert await client.heartbeat() == 42
        client = await vermilion.AsyncHttpClient(stub.host)
        assert (await asyncio.gather(*[client.heartbeat() for _ in range(50)])) == [42] * 50
        await client.close()
        with pytest.raises(NotFoundError):
            await vermilion.AsyncHttpClient(stub.host, database="unknown")

    asyncio.run(main())
    assert stub.headers[0]["x-mine"] == "1"


def test_nobody_listens() -> None:
    with pytest.raises(UnreachableError, match="Are you sure it is running"):
        vermilion.HttpClient("127.0.0.1", 1, retries=0)


# ── credentials ──────────────────────────────────────────────────────────────────────────────────

TOKEN = "chromadb.auth.token_authn.TokenAuthClientProvider"
BASIC = "chromadb.auth.basic_authn.BasicAuthClientProvider"


@pytest.mark.parametrize(
    ("options", "header", "value"),
    [
        ({"chroma_client_auth_provider": TOKEN}, "authorization", "Bearer ab:c"),
        (
            {
                "chroma_client_auth_provider": TOKEN,
                "chroma_auth_token_transport_header": TokenTransportHeader.X_CHROMA_TOKEN,
            },
            "x-chroma-token",
            "ab:c",
        ),
        (
            {"chroma_client_auth_provider": BASIC},
            "authorization",
            f"Basic {base64.b64encode(b'ab:c').decode()}",
        ),
    ],
)
def test_settings_hold_credentials(
    stub: Stub, options: dict[str, Any], header: str, value: str
) -> None:
    settings = Settings(chroma_client_auth_credentials="ab:c", **options)
    vermilion.HttpClient(stub.host, settings=settings)
    assert all(headers[header] == value for headers in stub.headers)


def test_an_address_holds_credentials_which_nobody_is_told(stub: Stub) -> None:
    host = stub.host.replace("://", "://ab:c%40d@")
    vermilion.HttpClient(host)
    packed = base64.b64encode(b"ab:c@d").decode()
    assert {one["authorization"] for one in stub.headers} == {f"Basic {packed}"}
    with pytest.raises(UnreachableError) as caught:
        vermilion.HttpClient("http://ab:secret@127.0.0.1:1", retries=0)
    assert "secret" not in str(caught.value)


def test_headers_of_settings_and_arguments_come_together(stub: Stub) -> None:
    settings = Settings(chroma_server_headers={"X-One": "1", "X-Two": "1"})
    vermilion.HttpClient(stub.host, headers={"X-Two": "2"}, settings=settings)
    assert (stub.headers[0]["x-one"], stub.headers[0]["x-two"]) == ("1", "2")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"chroma_client_auth_provider": TOKEN}, "Missing required config value"),
        (
            {"chroma_client_auth_provider": "mine", "chroma_client_auth_credentials": "x"},
            "Unknown chroma_client_auth_provider 'mine'",
        ),
        (
            {"chroma_client_auth_provider": TOKEN, "chroma_client_auth_credentials": "secret\n"},
            "Invalid token",
        ),
    ],
)
def test_credentials_that_cannot_be_used(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ArgumentValueError, match=words) as caught:
        vermilion.HttpClient(settings=Settings(**options))
    assert "secret" not in str(caught.value)


# ── the cloud ────────────────────────────────────────────────────────────────────────────────────


def cloud(stub: Stub, *arguments: Any, **options: Any) -> Any:
    return vermilion.CloudClient(
        *arguments, cloud_host="127.0.0.1", cloud_port=stub.server_port, enable_ssl=False, **options
    )


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CHROMA_API_KEY", "CHROMA_TENANT", "CHROMA_DATABASE"):
        monkeypatch.delenv(name, raising=False)


def test_the_key_says_who_the_caller_is(stub: Stub) -> None:
    stub.identity = {"user_id": "u", "tenant": "mine", "databases": ["only"]}
    client = cloud(stub, api_key="ck-1")
    assert (client.tenant, client.database) == ("mine", "only")
    assert {headers["x-chroma-token"] for headers in stub.headers} == {"ck-1"}


def test_everything_may_be_given(stub: Stub) -> None:
    client = cloud(stub, "t1", "d1", "ck-1")
    assert (client.tenant, client.database) == ("t1", "d1")


def test_everything_may_come_from_the_environment(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHROMA_API_KEY", "ck-2")
    monkeypatch.setenv("CHROMA_TENANT", "t2")
    monkeypatch.setenv("CHROMA_DATABASE", "d2")
    client = cloud(stub)
    assert (client.tenant, client.database) == ("t2", "d2")
    assert stub.headers[-1]["x-chroma-token"] == "ck-2"


def test_its_vectors_may_be_cached(stub: Stub) -> None:
    with pytest.raises(TypeError, match="embedding_cache to be a path, or True for"):
        cloud(stub, "t1", "d1", "ck-1", embedding_cache=7)
    cloud(stub, "t1", "d1", "ck-1", embedding_cache=True).close()


@pytest.mark.parametrize(
    ("identity", "arguments", "words"),
    [
        ({"tenant": "a", "databases": ["d"]}, {"tenant": "b"}, "b does not match a"),
        ({"tenant": "a", "databases": ["d"]}, {"database": "e"}, "e does not match d"),
    ],
)
def test_the_key_is_for_somebody_else(
    stub: Stub, identity: dict[str, Any], arguments: dict[str, Any], words: str
) -> None:
    stub.identity = {"user_id": ""} | identity
    with pytest.raises(ChromaAuthError) as caught:
        cloud(stub, api_key="ck-1", **arguments)
    assert words in str(caught.value)
    assert [path for _, path in stub.seen] == ["/api/v2/auth/identity"]


@pytest.mark.parametrize(
    ("identity", "words"),
    [
        ({"tenant": "*", "databases": ["d"]}, "pass tenant="),
        ({"tenant": "a", "databases": ["*"]}, "pass database="),
        ({"tenant": "a", "databases": ["d", "e"]}, "one of d, e"),
        ({"tenant": "a", "databases": []}, "one of those it has"),
    ],
)
def test_the_key_does_not_say_enough(stub: Stub, identity: dict[str, Any], words: str) -> None:
    stub.identity = {"user_id": ""} | identity
    with pytest.raises(ArgumentValueError) as caught:
        cloud(stub, api_key="ck-1")
    assert words in str(caught.value)


def test_a_key_is_needed() -> None:
    with pytest.raises(ValueError, match="Missing required arguments: api_key"):
        vermilion.CloudClient()


def test_the_caller_of_an_http_client_may_be_asked_for_too(stub: Stub) -> None:
    stub.identity = {"user_id": "u", "tenant": "mine", "databases": ["only"]}
    settings = Settings(chroma_overwrite_singleton_tenant_database_access_from_auth=True)
    client = vermilion.HttpClient(stub.host, settings=settings)
    assert (client.tenant, client.database) == ("mine", "only")
