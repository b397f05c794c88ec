"""Pipes read directories that real releases of Chroma made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chroma_directories import RELEASES, rows_of, unpack
from pipe_commands import Cdp, found_in, records, run


@pytest.fixture
def cdp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cdp:
    """The command, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return run


@pytest.mark.parametrize("release", RELEASES)
def test_databases_of_chroma_are_read(cdp: Cdp, tmp_path: Path, release: str) -> None:
    path, told = unpack(release, tmp_path / "chroma")
    before = found_in(path)
    for one in told.values():
        place = f"file://{path}/{one['name']}?tenant={one['tenant']}&database={one['database']}"
        got = records(cdp("export", place))
        rows = rows_of(one)
        assert sorted(record["id"] for record in got) == sorted(rows)
        for record in got:
            vector, document, uri, metadata = rows[record["id"]]
            assert record["embedding"] == pytest.approx(vector, abs=1e-5)
            assert (record["text_chunk"], record.get("uri")) == (document, uri)
            assert record["metadata"] == (metadata or None)
        done = cdp("copy", place, f"file://{one['tenant']}/{one['database']}/{one['name']}")
        assert done.returncode == 0, done.stderr
    assert found_in(path) == before


def test_filters_on_databases_of_chroma(cdp: Cdp, tmp_path: Path) -> None:
    path, told = unpack(RELEASES[-1], tmp_path / "chroma")
    one = max(told.values(), key=lambda one: len(one["records"]["ids"]))
    rows = rows_of(one)
    key, value = next(
        (key, value)
        for *_, metadata in rows.values()
        for key, value in (metadata or {}).items()
        if isinstance(value, str | int)
    )
    wanted = [id for id, row in rows.items() if (row[3] or {}).get(key) == value]
    place = f"file://{path}/{one['name']}?tenant={one['tenant']}&database={one['database']}"
    found = records(cdp("export", place, "--where", json.dumps({key: value})))
    assert sorted(record["id"] for record in found) == sorted(wanted)
    first = records(cdp("export", place, "--limit", "2", "--offset", "1", "--no-embeddings"))
    assert len(first) == 2
    assert cdp("export", f"file://{path}/nobody").returncode == 1
