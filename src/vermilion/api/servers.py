"""Doors to servers: HttpClient and CloudClient, and the settings that name a server."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from vermilion.api import client as embedded
from vermilion.api import sharing
from vermilion.api.client import Client, EmbeddingPlace, with_cache
from vermilion.api.settings import Settings
from vermilion.api.sharing import Lease
from vermilion.auth_types import TokenTransportHeader
from vermilion.errors import ArgumentValueError, ChromaAuthError
from vermilion.remote.target import Target, server_url, url_credentials
from vermilion.remote.transport import Threaded, Transport
from vermilion.types import DEFAULT_DATABASE, DEFAULT_TENANT, UserIdentity

if TYPE_CHECKING:  # with the whole wire, which embedded programs do not need
    from vermilion.remote.engine import RemoteEngine

# What clients of servers name as their implementation.
SERVED = ("chromadb.api.fastapi.", "chromadb.api.async_fastapi.")

DEFAULT_HOST = "localhost"
DEFAULT_PORT = 8000
# Seconds of silence that end a request, and how often one that may be repeated is.
TIMEOUT = 120.0
RETRIES = 3


class RemoteClient(Client):
    """A client of a server: who the caller is and what is allowed is for the server to say."""

    @property
    def _server(self) -> RemoteEngine:
        return cast("RemoteEngine", self._lease.engine())

    def heartbeat(self) -> int:
        """Returns the time of the server in nanoseconds since 1970."""
        return self._server.heartbeat()

    def get_user_identity(self) -> UserIdentity:
        """Returns who the caller is to the server, and where they may go."""
        return self._server.identity()

    def reset(self) -> bool:
        """Deletes everything. Raises an error unless the server allows it."""
        self._server.reset()
        return True


# ── the doors users open ─────────────────────────────────────────────────────────────────────────


def http_client(
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    ssl: bool = False,
    headers: dict[str, str] | None = None,
    settings: Settings | None = None,
    tenant: str = DEFAULT_TENANT,
    database: str = DEFAULT_DATABASE,
    *,
    timeout: float | None = TIMEOUT,
    retries: int = RETRIES,
    embedding_cache: EmbeddingPlace = None,
) -> Client:
    """A client of a server, ours or Chroma's.

    `host` may be a URL, with a path if the server is behind a proxy. `timeout` is how many seconds
    of silence end a request, None for never. What may be repeated is sent up to `retries` times
    more when the connection breaks or the server is busy. Raises UnreachableError when no server
    answers. For `embedding_cache` see persistent_client.
    """
    settings = with_cache(settings, embedding_cache)
    settings = served(settings, host, port, ssl, headers)
    target = target_of(settings, timeout, retries)
    return open_client(Threaded(target), settings, tenant, database)


def cloud_client(
    tenant: str | None = None,
    database: str | None = None,
    api_key: str | None = None,
    settings: Settings | None = None,
    *,
    cloud_host: str = "api.trychroma.com",
    cloud_port: int = 443,
    enable_ssl: bool = True,
    embedding_cache: EmbeddingPlace = None,
) -> Client:
    """A client of Chroma Cloud, or of a server with tokens.

    What is not given comes from the environment: CHROMA_TENANT, CHROMA_DATABASE, CHROMA_API_KEY;
    tenant and database then from what the server says about the key. For `embedding_cache` see
    persistent_client.
    """
    key = api_key or os.environ.get("CHROMA_API_KEY")
    if not key:
        raise ArgumentValueError(
            "Missing required arguments: api_key. Pass it, or set CHROMA_API_KEY"
        )
    headers = {TokenTransportHeader.X_CHROMA_TOKEN.value: _token(key)}
    settings = with_cache(settings, embedding_cache)
    settings = served(settings, cloud_host, cloud_port, enable_ssl, headers)
    return open_client(
        Threaded(target_of(settings)),
        settings,
        tenant or os.environ.get("CHROMA_TENANT"),
        database or os.environ.get("CHROMA_DATABASE"),
        identify=True,
    )


def make_client(
    settings: Settings | None = None,
    tenant: str = DEFAULT_TENANT,
    database: str = DEFAULT_DATABASE,
) -> Client:
    """A client of what the settings name: a server, a directory, or else the memory."""
    settings = settings or Settings()
    if names_server(settings):
        return open_client(Threaded(target_of(settings)), settings, tenant, database)
    return embedded.make_client(settings, tenant, database)


def lease_for(settings: Settings, transport: Callable[[Target], Transport] = Threaded) -> Lease:
    """A hold on the database that the settings name, also one that a server has."""
    if names_server(settings):
        return sharing.lease_engine(_engine(transport(target_of(settings))))
    return embedded.lease_for(settings)


def open_client(
    transport: Transport,
    settings: Settings,
    tenant: str | None,
    database: str | None,
    *,
    identify: bool = False,
) -> Client:
    """A client that speaks through the transport.

    With `identify` the server is asked who the caller is: that has to agree with tenant and
    database, or tells them where they are None.
    """
    engine = _engine(transport)
    lease = sharing.lease_engine(engine)
    try:
        if settings[_FROM_IDENTITY]:
            tenant = None if tenant == DEFAULT_TENANT else tenant
            database = None if database == DEFAULT_DATABASE else database
        if identify or tenant is None or database is None:
            tenant, database = _place(engine.identity(), tenant, database)
        return RemoteClient(tenant, database, settings, lease=lease)
    except BaseException:
        lease.release()
        raise


def _engine(transport: Transport) -> RemoteEngine:
    from vermilion.remote.engine import RemoteEngine

    return RemoteEngine(transport)


# ── where the caller belongs ─────────────────────────────────────────────────────────────────────

_FROM_IDENTITY = "chroma_overwrite_singleton_tenant_database_access_from_auth"


def _place(identity: UserIdentity, tenant: str | None, database: str | None) -> tuple[str, str]:
    """The tenant and the database of the caller. Raises an error where that is not clear."""
    theirs = None if identity.tenant == "*" else identity.tenant
    if tenant is None and not theirs:
        raise ArgumentValueError("The server does not say which tenant this is: pass tenant=")
    if tenant is not None and theirs and tenant != theirs:
        raise ChromaAuthError(
            f"Tenant {tenant} does not match {theirs}, whose credentials these are"
        )
    databases = identity.databases or []
    if database is None and (len(databases) != 1 or databases == ["*"]):
        raise ArgumentValueError(
            "The server does not say which database this is: pass database=, one of "
            f"{', '.join(databases) or 'those it has'}"
        )
    if database is not None and databases and not {database, "*"} & set(databases):
        raise ChromaAuthError(
            f"Database {database} does not match {', '.join(databases)}, which they may use"
        )
    return tenant or str(theirs), database or databases[0]


# ── settings ─────────────────────────────────────────────────────────────────────────────────────


def names_server(settings: Settings) -> bool:
    """Whether the settings name a server."""
    return settings.chroma_api_impl.startswith(SERVED)


def served(
    settings: Settings | None,
    host: str,
    port: int,
    ssl: bool,
    headers: Mapping[str, str] | None,
) -> Settings:
    """The settings with the server that these arguments name.

    Raises ValueError where settings and arguments name different ones; an argument that has its
    default names nothing.
    """
    settings = settings or Settings()
    given: list[tuple[str, Any, Any]] = [
        ("chroma_server_host", str(host), DEFAULT_HOST),
        ("chroma_server_http_port", port, DEFAULT_PORT),
        ("chroma_server_ssl_enabled", bool(ssl), False),
    ]
    chosen = {name: _chosen(settings, name, value, default) for name, value, default in given}
    theirs = settings["chroma_server_headers"] or {}
    return settings.changed(
        chroma_api_impl=f"{SERVED[0]}FastAPI",
        chroma_server_headers={**theirs, **(headers or {})},
        **chosen,
    )


def _chosen(settings: Settings, name: str, value: Any, default: Any) -> Any:
    stored = settings[name]
    if stored is None or stored in (default, value):
        return value
    if value == default:
        return stored
    raise ArgumentValueError(
        f"The setting {name}={stored!r} is different to the one provided in HttpClient: {value!r}"
    )


def target_of(
    settings: Settings, timeout: float | None = TIMEOUT, retries: int = RETRIES
) -> Target:
    """The server that the settings name, with the credentials that they have for it."""
    verify = settings["chroma_server_ssl_verify"]
    host = settings["chroma_server_host"] or DEFAULT_HOST
    inside = url_credentials(host)
    return Target(
        server_url(
            host,
            settings["chroma_server_http_port"] or DEFAULT_PORT,
            settings["chroma_server_ssl_enabled"],
        ),
        headers={
            **({} if inside is None else _basic(inside)),
            **(settings["chroma_server_headers"] or {}),
            **_credentials(settings),
        },
        verify=True if verify is None else verify,
        timeout=timeout,
        retries=retries,
        max_connections=settings["chroma_http_max_connections"] or 100,
        keepalive_seconds=settings["chroma_http_keepalive_secs"],
    )


def _credentials(settings: Settings) -> dict[str, str]:
    """The header that proves who the caller is, by the names Chroma has for its kinds."""
    provider = settings["chroma_client_auth_provider"]
    if not provider:
        return {}
    secret = settings.require("chroma_client_auth_credentials")
    kind = provider.rpartition(".")[2]
    if kind == "BasicAuthClientProvider":
        return _basic(secret)
    if kind != "TokenAuthClientProvider":
        raise ArgumentValueError(
            f"Unknown chroma_client_auth_provider {provider!r}: expected "
            "chromadb.auth.token_authn.TokenAuthClientProvider or "
            "chromadb.auth.basic_authn.BasicAuthClientProvider"
        )
    header = TokenTransportHeader(
        settings["chroma_auth_token_transport_header"] or TokenTransportHeader.AUTHORIZATION
    )
    bearer = "Bearer " if header is TokenTransportHeader.AUTHORIZATION else ""
    return {header.value: bearer + _token(secret)}


def _basic(secret: str) -> dict[str, str]:
    import base64  # few clients need it

    return {"Authorization": f"Basic {base64.b64encode(secret.encode()).decode()}"}


def _token(secret: str) -> str:
    """The token. Raises ValueError unless a header can hold it; the error does not show it."""
    if not secret.isascii() or not secret.isprintable() or secret != secret.strip():
        raise ArgumentValueError("Invalid token: expected printable ASCII characters, no spaces")
    return secret
