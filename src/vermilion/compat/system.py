"""Chroma's older doors: a System to make clients from, RustClient, and configure."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from vermilion.api.client import Client, ephemeral_client, persistent_client
from vermilion.api.servers import lease_for, make_client
from vermilion.api.settings import Settings
from vermilion.api.sharing import Lease
from vermilion.types import DEFAULT_DATABASE, DEFAULT_TENANT


class System:
    """The database that the settings name, held open from `start` to `stop`.

    Clients of the same settings share it. They hold it open themselves, so they outlive `stop`.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lease: Lease | None = None

    def start(self) -> None:
        """Opens the database; doing so twice is fine."""
        if self._lease is None:
            self._lease = lease_for(self.settings)

    def stop(self) -> None:
        """Lets the database go; doing so twice is fine."""
        if self._lease is not None:
            self._lease.release()
            self._lease = None

    def reset_state(self) -> None:
        """Deletes everything. Raises AuthorizationError unless the settings have allow_reset."""
        with make_client(self.settings) as client:
            client.reset()


def rust_client(
    path: str | Path | None = None,
    settings: Settings | None = None,
    tenant: str = DEFAULT_TENANT,
    database: str = DEFAULT_DATABASE,
) -> Client:
    """A client in memory without a path, else of the database in that directory."""
    if path is None:
        return ephemeral_client(settings, tenant, database)
    return persistent_client(path, settings, tenant, database)


def is_in_colab() -> bool:
    """Whether this process is a notebook of Google Colab."""
    return "google.colab" in sys.modules


IN_COLAB = is_in_colab()
# Chroma has a distribution that is only a client of servers; this is the whole.
is_client = False


_settings = Settings()


def configure(**given: Any) -> None:
    """Replaces what `get_settings` returns. As in Chroma, clients do not look at it."""
    vars(_settings).update(vars(Settings(**given)))


def get_settings() -> Settings:
    """Returns the settings that `configure` was given, or the defaults."""
    return _settings
