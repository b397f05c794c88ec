"""Settings as Chroma's clients pass them, read at the doors and handed no further.

Each but `memory_limit` and `read_only` may also come from the environment, under its name in
capitals: ALLOW_RESET=TRUE.
"""

from __future__ import annotations

import copy
import os
import re
import warnings
from enum import Enum
from typing import Any

from vermilion.errors import ArgumentValueError


class APIVersion(str, Enum):  # noqa: UP042  (Chroma's bases: format() gives the name)
    """Where a release of the HTTP interface begins; ours speaks the second."""

    V1 = "/api/v1"
    V2 = "/api/v2"


# Name: (type, default). What is only here so that old code keeps working has no effect.
FIELDS: dict[str, tuple[type, Any]] = {
    "is_persistent": (bool, False),
    "persist_directory": (str, "./chroma"),
    "allow_reset": (bool, False),
    "memory_limit": (object, None),  # bytes, or "512MB"; of PersistentClient
    "read_only": (bool, False),
    "embedding_cache": (object, None),  # a path, or True
    "anonymized_telemetry": (bool, False),  # there is none
    "chroma_api_impl": (str, "vermilion.local.engine.LocalEngine"),
    "chroma_server_host": (str, None),
    "chroma_server_http_port": (int, None),
    "chroma_server_headers": (dict, None),
    "chroma_server_ssl_enabled": (bool, False),
    "chroma_server_ssl_verify": (object, None),
    "chroma_server_api_default_path": (str, APIVersion.V2.value),
    "chroma_server_cors_allow_origins": (list, []),
    "chroma_http_keepalive_secs": (float, 40.0),
    "chroma_http_max_connections": (int, None),
    "chroma_http_max_keepalive_connections": (int, None),
    "chroma_client_auth_provider": (str, None),
    "chroma_client_auth_credentials": (str, None),
    "chroma_auth_token_transport_header": (str, None),
    "chroma_overwrite_singleton_tenant_database_access_from_auth": (bool, False),
    "chroma_server_authn_provider": (str, None),
    "chroma_server_authn_credentials": (str, None),
    "chroma_server_authn_credentials_file": (str, None),
    "chroma_server_authz_provider": (str, None),
    "chroma_server_authz_config": (dict, None),
    "chroma_server_authz_config_file": (str, None),
    "chroma_server_nofile": (int, None),
    "chroma_server_thread_pool_size": (int, 40),
    "chroma_memory_limit_bytes": (int, 0),
    "chroma_segment_cache_policy": (str, None),
    "migrations": (str, "apply"),
    "migrations_hash_algorithm": (str, "md5"),
    "chroma_otel_collection_endpoint": (str, None),
    "chroma_otel_service_name": (str, None),
    "chroma_otel_collection_headers": (dict, {}),
    "chroma_otel_granularity": (str, None),
}

# What embedded clients of Chroma name as their implementation: all of them are our engine.
EMBEDDED = ("vermilion.", "chromadb.api.rust.", "chromadb.api.segment.")

LEGACY_ERROR = (
    "chroma_db_impl belongs to a release of Chroma before 0.4. Use PersistentClient(path) or "
    "EphemeralClient() instead"
)

_BYTES = r"(?i)(\d+(?:\.\d+)?) ?([KMGT]?I?B?)"
_UNITS = {
    f"{prefix}{infix}{suffix}": base**power
    for power, prefix in enumerate(["", "K", "M", "G", "T"])
    for infix, base in (("", 1000), ("I", 1024))
    for suffix in ("", "B")
}

# In the environment such general names belong to somebody else.
_ONLY_GIVEN = {"memory_limit", "read_only", "embedding_cache"}
_YES, _NO = {"1", "true", "yes", "on"}, {"0", "false", "no", "off", ""}


class Settings:
    """Options of a client; unknown ones are warned about and have no effect."""

    is_persistent: bool
    persist_directory: str
    allow_reset: bool
    chroma_api_impl: str

    def __init__(self, **given: Any) -> None:
        if given.get("chroma_db_impl"):
            raise ArgumentValueError(LEGACY_ERROR)
        for name, (kind, default) in FIELDS.items():
            if name not in _ONLY_GIVEN:
                default = os.environ.get(name.upper(), default)
            value = given.pop(name, default)
            setattr(self, name, _read(name, kind, value))
        if given:
            warnings.warn(
                f"Unknown settings have no effect: {', '.join(sorted(given))}",
                UserWarning,
                stacklevel=2,
            )

    def changed(self, **values: Any) -> Settings:
        """Returns a copy with these values; the settings themselves stay as they are."""
        copied = copy.copy(self)
        vars(copied).update(values)
        return copied

    def __getitem__(self, name: str) -> Any:
        if name not in FIELDS:
            raise KeyError(name)
        return getattr(self, name)

    def require(self, name: str) -> Any:
        """Returns the setting; raises ValueError when it has no value."""
        value = self[name]
        if value is None:
            raise ArgumentValueError(f"Missing required config value '{name}'")
        return value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Settings) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  # it can be changed

    def __repr__(self) -> str:
        changed = [
            f"{name}={self[name]!r}"
            for name, (_, default) in FIELDS.items()
            if self[name] != default and "credentials" not in name and "headers" not in name
        ]
        return f"Settings({', '.join(changed)})"


def memory_limit_of(settings: Settings) -> int | None:
    """How many bytes of caches the settings allow; `memory_limit` wins over Chroma's name."""
    given = settings["memory_limit"]
    return (
        parse_bytes(given) if given is not None else settings["chroma_memory_limit_bytes"] or None
    )


def parse_bytes(limit: object) -> int:
    """A number of bytes, which may be written as a text with a unit.

    >>> parse_bytes("512MB"), parse_bytes("1.5 GiB"), parse_bytes(1000)
    (512000000, 1610612736, 1000)
    """
    found = re.fullmatch(_BYTES, limit.strip()) if isinstance(limit, str) else None
    if found is not None:
        limit = int(float(found[1]) * _UNITS[found[2].upper()])
    if isinstance(limit, bool) or not isinstance(limit, int) or limit <= 0:
        raise ArgumentValueError(
            f'Expected memory_limit to be a number of bytes above 0 or a text such as "512MB", '
            f"got {limit!r}"
        )
    return limit


def _read(name: str, kind: type, value: Any) -> Any:
    if value is None or kind is object or isinstance(value, kind):
        return value
    try:
        if kind is bool:
            return _bool(str(value))
        if kind in (int, float, str):
            return kind(value)
    except ValueError:
        pass
    raise ArgumentValueError(f"Setting {name}: expected {kind.__name__}, got {value!r}")


def _bool(text: str) -> bool:
    if text.lower() in _YES | _NO:
        return text.lower() in _YES
    raise ValueError(text)
