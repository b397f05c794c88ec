"""Fixtures: every engine there is, and every door to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import in_process
import vermilion
from vermilion.api import sharing
from vermilion.api.client import Client
from vermilion.engine import Engine
from vermilion.local.engine import LocalEngine

# How long an example takes says nothing on a busy machine.
settings.register_profile("vermilion", deadline=None, print_blob=False)
settings.load_profile("vermilion")


@pytest.fixture(params=["memory", "disk"])
def local_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LocalEngine]:
    """An engine of this process with an empty database."""
    engine = LocalEngine(tmp_path / "database" if request.param == "disk" else None)
    yield engine
    engine.close()


@pytest.fixture(params=["memory", "disk", "remote", "remote on a loop"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An engine with an empty database; the remote ones speak to a server in this process."""
    engine = LocalEngine(tmp_path / "database" if request.param == "disk" else None)
    with in_process.reached(request.param, engine) as reached:
        yield reached
        reached.close()
    engine.close()


def opened(kind: str, directory: Path) -> Iterator[Client]:
    sharing.forget_all()
    settings = vermilion.Settings(allow_reset=True)
    if kind == "ephemeral":
        yield vermilion.EphemeralClient(settings)
    elif kind == "persistent":
        yield vermilion.PersistentClient(directory, settings)
    else:
        with in_process.client(LocalEngine()) as client:
            yield client
    sharing.forget_all()


@pytest.fixture(params=["ephemeral", "persistent", "remote"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Client]:
    """A client of an empty database that may be reset."""
    yield from opened(request.param, tmp_path / "database")


@pytest.fixture(params=["ephemeral", "persistent"])
def local_client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Client]:
    """A client of an empty database of this process that may be reset."""
    yield from opened(request.param, tmp_path / "database")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "nested" / "database"


@pytest.fixture
def disk(folder: Path) -> Iterator[LocalEngine]:
    engine = LocalEngine(folder)
    yield engine
    engine.close()


@pytest.fixture
def other(disk: LocalEngine, folder: Path) -> Iterator[LocalEngine]:
    """A second engine on the directory of `disk`, as another process would be."""
    engine = LocalEngine(folder)
    yield engine
    engine.close()
