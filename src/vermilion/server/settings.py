"""What a server can be told, a row per setting: by flag, by environment, by file.

A flag beats the environment, the environment beats the file. Names of Chroma's servers are
understood in files and in the environment.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from vermilion.errors import ArgumentValueError

MIB = 2**20


def _setting(default: Any, says: str, *others: str, unit: str = "") -> Any:
    """One setting; `others` are its names in Chroma's files."""
    what = {"says": says, "others": others, "unit": unit}
    if isinstance(default, list):
        return field(default_factory=lambda: [*default], metadata=what)
    return field(default=default, metadata=what)


@dataclass(frozen=True)
class ServerSettings:
    """How a server runs. Units are in the names or in the table of docs/server.md."""

    path: str = _setting("./chroma", "the directory of the database", "persist_path")
    host: str = _setting("localhost", "the address to listen at", "listen_address")
    port: int = _setting(8000, "the port; 0 takes a free one")
    workers: int = _setting(1, "how many processes share the port and the directory")
    threads: int = _setting(8, "how many requests a process works on at once")
    backlog: int = _setting(256, "how many more may wait; others are turned away with 503")
    allow_reset: bool = _setting(False, "whether /reset may delete everything")
    durability: str = _setting("full", "`normal` writes faster and may lose the last writes in a "
                               "power cut")  # fmt: skip
    memory_limit: int = _setting(0, "caches of collections, in MiB for each process; 0: no limit")
    auth_file: str = _setting("", "a file of tokens: who may do what; see `vermilion token`")
    allow_unauthenticated: bool = _setting(
        False, "whether to listen at a public address without an auth_file"
    )
    tls_cert: str = _setting("", "a file with the certificate and its chain, in PEM")
    tls_key: str = _setting("", "a file with the private key, in PEM")
    cors_allow_origins: list[str] = _setting(
        [],
        "origins of web pages that may ask this server, or *",
        "chroma_server_cors_allow_origins",
    )
    max_body_bytes: int = _setting(
        256 * MIB, "the longest request body, unpacked", "max_payload_size_bytes"
    )
    max_bodies_bytes: int = _setting(
        1024 * MIB, "all request bodies that a process holds; others are turned away with 503"
    )
    max_batch_size: int = _setting(10_000, "the most records of one write; clients are told")
    max_results: int = _setting(100_000, "the most results of one query vector")
    max_queries: int = _setting(1_000, "the most query vectors or searches of one request")
    request_timeout: float = _setting(300.0, "seconds after which a caller is told to give up")
    head_timeout: float = _setting(30.0, "seconds in which the headers of a request have to come")
    answer_timeout: float = _setting(60.0, "seconds after which a client that does not read its "
                                     "answer is given up")  # fmt: skip
    max_connections: int = _setting(
        10_000, "the most open connections of a process; others are turned away with 503"
    )
    keep_alive: float = _setting(75.0, "seconds that an idle connection stays open")
    stop_timeout: float = _setting(30.0, "seconds that requests may take to end when it stops")
    rate_limit: float = _setting(0.0, "requests a second for each token or address; 0: no limit")
    rate_burst: int = _setting(100, "how many requests may come at once before rate_limit counts")
    metrics: bool = _setting(True, "whether there is /metrics")
    access_log: bool = _setting(False, "whether every request is logged, a JSON object a line")
    slow_query_ms: float = _setting(1_000.0, "queries that take longer are logged with their plan; "
                                    "0: none")  # fmt: skip
    otel_endpoint: str = _setting("", "where traces go, by OTLP over HTTP")

    def check(self) -> None:
        """Raises ArgumentValueError for what cannot work."""
        if not 0 <= self.port < 2**16:
            raise ArgumentValueError(f"port: expected a number from 0 to 65535, got {self.port}")
        for name in (
            "workers", "threads", "max_connections", "max_body_bytes", "max_bodies_bytes",
            "max_batch_size",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise ArgumentValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.durability not in ("full", "normal"):
            raise ArgumentValueError(
                f"durability: expected full or normal, got {self.durability!r}"
            )
        if bool(self.tls_cert) != bool(self.tls_key):
            raise ArgumentValueError("tls_cert and tls_key belong together: give both or none")


KINDS: dict[str, type[Any]] = {name: type(value) for name, value in vars(ServerSettings()).items()}
NAMES = tuple(one.name for one in fields(ServerSettings))
# What Chroma's files call them.
OTHERS = {other: one.name for one in fields(ServerSettings) for other in one.metadata["others"]}
# Variables of older servers that are not prefixed.
_BARE = {"ALLOW_RESET": "allow_reset", "CHROMA_SERVER_CORS_ALLOW_ORIGINS": "cors_allow_origins"}


def settings_from(
    flags: Mapping[str, Any], environment: Mapping[str, str], file: Path | None
) -> ServerSettings:
    """The settings that all of these together mean. Raises ArgumentValueError, OSError."""
    given: dict[str, Any] = {} if file is None else _from_file(file)
    given |= _from_environment(environment)
    given |= {name: value for name, value in flags.items() if value is not None}
    settings = ServerSettings(**{name: _typed(name, value) for name, value in given.items()})
    settings.check()
    return settings


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for prefix in ("CHROMA_", "VERMILION_"):  # the second wins
        for name in (*OTHERS, *NAMES):
            value = environment.get(prefix + name.upper())
            if value is not None:
                given[OTHERS.get(name, name)] = value
    for variable, name in _BARE.items():
        if variable in environment:
            given.setdefault(name, environment[variable])
    return given


def _from_file(path: Path) -> dict[str, Any]:
    """The settings in a TOML or YAML file; names that only Chroma's servers know are left aside."""
    try:
        text = path.read_text(encoding="utf-8")
        form = tomllib.loads(text) if path.suffix == ".toml" else _yaml(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ArgumentValueError(f"{path}: {error}") from None
    if not isinstance(form, dict):
        raise ArgumentValueError(f"{path}: expected names and values")
    known = {OTHERS.get(str(name), str(name)): value for name, value in form.items()}
    return {name: value for name, value in known.items() if name in NAMES}


def _yaml(text: str) -> Any:
    try:
        import yaml
    except ImportError:
        raise ArgumentValueError(
            "YAML files need PyYAML: pip install 'vermilion[server]', or write TOML"
        ) from None
    try:
        return yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ArgumentValueError(f"This is no YAML: {error}") from None


_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


def _typed(name: str, value: Any) -> Any:
    kind = KINDS[name]
    try:
        if kind is list:
            return _list(value)
        if kind is bool and not isinstance(value, bool):
            text = str(value).strip().lower()
            if text not in _YES + _NO:
                raise ValueError
            return text in _YES
        return kind(value)
    except (TypeError, ValueError):
        raise ArgumentValueError(f"{name}: expected {kind.__name__}, got {value!r}") from None


def _list(value: Any) -> list[str]:
    if isinstance(value, str):
        text = value.strip().strip("[]")
        return [one.strip().strip("\"'") for one in text.split(",") if one.strip()]
    return [str(one) for one in value]


def environment() -> Mapping[str, str]:
    """The variables of this process."""
    return os.environ
