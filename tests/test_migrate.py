"""`vermilion migrate`: from directories and servers of Chroma, and back into directories of it.

CHROMA_PYTHON=/path/to/python names an interpreter with Chroma 1.5; without one, whether it reads
what is written for it is not tried.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vermilion
from chroma_directories import RELEASES, rows_of, unpack
from processes import running
from test_chroma_directories import fingerprint
from vermilion.cli import main
from vermilion.errors import StorageError
from vermilion.local.engine import LocalEngine
from vermilion.migration.chroma_dir import open_chroma
from vermilion.migration.chroma_writer import write_chroma
from vermilion.migration.moving import Options, migrate
from vermilion.migration.places import EngineSource, open_source

CHROMA = os.environ.get("CHROMA_PYTHON", "")
EVERYTHING = "default_tenant/default_database/everything"


@pytest.fixture
def target(tmp_path: Path) -> Iterator[LocalEngine]:
    engine = LocalEngine(tmp_path / "target")
    yield engine
    engine.close()


def rows_in(path: Path, title: str) -> dict[str, Any]:
    tenant, database, name = title.split("/")
    with vermilion.PersistentClient(path, tenant=tenant, database=database) as client:
        got = client.get_collection(name).get(
            include=["embeddings", "documents", "metadatas", "uris"]
        )
        columns = (got["embeddings"], got["documents"], got["uris"], got["metadatas"])
        return dict(zip(got["ids"], zip(*columns, strict=True), strict=True))  # type: ignore[arg-type]


def compare(found: dict[str, Any], told: dict[str, Any]) -> None:
    assert found.keys() == told.keys()
    for id, (vector, *rest) in found.items():
        assert np.allclose(vector, np.array(told[id][0], np.float32), atol=1e-5)
        assert rest == [*told[id][1:3], told[id][3] or None]


@pytest.mark.parametrize("release", RELEASES)
def test_everything_arrives_and_is_verified(
    release: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, told = unpack(release, tmp_path)
    before = fingerprint(source)
    target = tmp_path / "target"
    assert main(["migrate", str(source), str(target)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(told)
    assert all(line.endswith("migrated, verified") for line in lines)
    for title, one in told.items():
        compare(rows_in(target, title), rows_of(one))
    with vermilion.PersistentClient(target) as client:
        everything = client.get_collection("everything")
        assert everything.metadata == told[EVERYTHING]["metadata"]
        assert client.get_collection("cosine-space").configuration["hnsw"]["space"] == "cosine"
    # Once more, nothing is to be done.
    assert main(["migrate", str(source), str(target)]) == 0
    assert capsys.readouterr().out.count("already there, verified") == len(told)
    assert fingerprint(source) == before


def test_queries_find_what_chroma_found(tmp_path: Path) -> None:
    source, told = unpack("1.5.9", tmp_path)
    assert main(["migrate", str(source), str(tmp_path / "target")]) == 0
    with vermilion.PersistentClient(tmp_path / "target") as client:
        for name in ("everything", "cosine-space", "inner-product"):
            collection = client.get_collection(name)
            for query in told[f"default_tenant/default_database/{name}"]["queries"]:
                answer = collection.query(
                    query_embeddings=[query["vector"]], n_results=len(query["ids"])
                )
                assert answer["ids"][0] == query["ids"]
                assert np.allclose(answer["distances"], [query["distances"]], atol=1e-5)


def test_a_dry_run_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, _ = unpack("0.6.3", tmp_path)
    assert main(["migrate", str(source), str(tmp_path / "target"), "--dry-run"]) == 0
    assert f"{EVERYTHING}: 43 records, 43 with vectors, 0 lost: counted" in capsys.readouterr().out
    assert not (tmp_path / "target").exists()


def test_only_what_is_named(tmp_path: Path, target: LocalEngine) -> None:
    source, _ = unpack("1.0.20", tmp_path)
    with open_chroma(source) as directory:
        migrate(directory, target, Options(tenants=("acme",), collections=("everything",)))
    assert [one.name for one in target.list_collections("acme", "books")] == ["everything"]
    assert target.count_collections("default_tenant", "default_database") == 0
    command = ["migrate", str(source), str(tmp_path / "other"), "--collection", "nobody"]
    assert main(command) == 1


def test_what_is_there_is_never_overwritten_unless_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, told = unpack("1.5.9", tmp_path)
    target = tmp_path / "target"
    with vermilion.PersistentClient(target) as client:
        client.create_collection("everything").add(ids=["mine"], embeddings=[[1.0, 2.0]])
    command = ["migrate", str(source), str(target)]
    assert main(command) == 1
    out = capsys.readouterr()
    assert "exists in the target, and is not the same" in out.out
    assert "1 of 6 collections were not migrated" in out.err
    assert rows_in(target, EVERYTHING).keys() == {"mine"}
    assert main([*command, "--skip-existing"]) == 0
    assert rows_in(target, EVERYTHING).keys() == {"mine"}
    assert main([*command, "--replace"]) == 0
    compare(rows_in(target, EVERYTHING), rows_of(told[EVERYTHING]))


def test_an_interrupted_migration_leaves_no_half_collection_and_is_started_again(
    tmp_path: Path, target: LocalEngine
) -> None:
    source, told = unpack("0.5.23", tmp_path)
    seen = []

    def interrupt(title: str, rows: int) -> None:
        seen.append(title)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with open_chroma(source) as directory:
        with pytest.raises(KeyboardInterrupt):
            migrate(directory, target, progress=interrupt)
        names = [one.name for one in target.list_collections("default_tenant", "default_database")]
        assert names == ["everything"]
        # What a process that was killed leaves behind:
        draft = next(one for one in directory.collections() if one.name == "bare")
        target.create_collection(
            f"bare.migrating-{draft.id[:8]}", draft.tenant, draft.database,
            configuration=draft.configuration,
        )  # fmt: skip
        report = migrate(directory, target)
    outcomes = [one.outcome for one in report.collections]
    assert outcomes == ["already there"] + ["migrated"] * (len(told) - 1)
    there = target.list_collections("default_tenant", "default_database")
    assert not any("migrating" in one.name for one in there)


def test_damage_is_reported_and_the_rest_arrives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, _ = unpack("1.5.9", tmp_path)
    for file in source.glob("*/data_level0.bin"):
        file.unlink()
    target = tmp_path / "target"
    assert main(["migrate", str(source), str(target)]) == 1
    out = capsys.readouterr()
    assert "records are lost" in out.err
    assert len(out.err.splitlines()) == 1
    lines = [json.loads(line) for line in (target / "migration.jsonl").read_text().splitlines()]
    lost = [line for line in lines if line["kind"] == "loss" and line["lost"]]
    assert any(line["known"].get("document") for line in lost)
    counts = {line["title"]: line for line in lines if line["kind"] == "collection"}
    assert counts[EVERYTHING]["rows"] + counts[EVERYTHING]["lost"] == 43


def test_from_a_server_and_to_a_server(tmp_path: Path) -> None:
    source, told = unpack("1.5.9", tmp_path)
    there = ["--tenant", "acme", "--tenant", "default_tenant"]
    with running(tmp_path / "served") as server:
        assert main(["migrate", str(source), server.url]) == 0
        assert main(["migrate", server.url, str(tmp_path / "back"), *there]) == 0
    for title, one in told.items():
        compare(rows_in(tmp_path / "back", title), rows_of(one))


def test_opening_a_directory_of_chroma_by_mistake(tmp_path: Path) -> None:
    source, _ = unpack("1.5.9", tmp_path)
    before = fingerprint(source)
    with pytest.raises(StorageError, match="vermilion migrate"):
        vermilion.PersistentClient(source)
    assert main(["migrate", str(source), str(source)]) == 1
    assert fingerprint(source) == before


def test_wrong_places_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migrate", str(tmp_path / "nothing"), str(tmp_path / "target")]) == 1
    assert "is not a directory" in capsys.readouterr().err
    assert main(["migrate", str(tmp_path), str(tmp_path / "target")]) == 1
    assert "holds no database" in capsys.readouterr().err
    assert not (tmp_path / "target").exists()


# ── and back ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("release", ["0.4.24", "1.5.9"])
def test_a_directory_written_for_chroma_reads_the_same(release: str, tmp_path: Path) -> None:
    source, told = unpack(release, tmp_path)
    with open_chroma(source) as directory:
        write_chroma(directory, tmp_path / "again")
    with open_chroma(tmp_path / "again") as again:
        titles = {one.title: one for one in again.collections()}
        assert titles.keys() == told.keys()
        for title, one in titles.items():
            found = {}
            for page in again.records(one):
                columns = (page.vectors, page.documents, page.uris, page.metadatas)
                cells = zip(*columns, strict=True)  # type: ignore[arg-type]
                found |= dict(zip(page.ids, cells, strict=True))
            compare(found, rows_of(told[title]))
        assert ("acme", "films") in again.databases()
    with open_chroma(source) as directory, pytest.raises(StorageError, match="not empty"):
        write_chroma(directory, tmp_path / "again")


@pytest.mark.skipif(not CHROMA, reason="CHROMA_PYTHON names no interpreter with Chroma")
def test_chroma_opens_what_is_written_for_it(tmp_path: Path) -> None:
    source, told = unpack("1.5.9", tmp_path)
    ours, back = tmp_path / "ours", tmp_path / "back"
    assert main(["migrate", str(source), str(ours)]) == 0
    assert main(["migrate", "--to", "chroma", str(ours), str(back)]) == 0
    places = [title.split("/") for title in told]
    reader = Path(__file__).parent / "chroma_reader.py"
    done = subprocess.run(
        [CHROMA, str(reader), str(back)],
        input=json.dumps(places), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for answer, one in zip(json.loads(done.stdout), told.values(), strict=True):
        assert answer["metadata"] == one["metadata"]
        assert answer["configuration"] == one["configuration"]
        compare(rows_of(answer), rows_of(one))
        if answer["nearest"] is not None and one["name"] != "inner-product":
            assert answer["nearest"][1] == pytest.approx(0, abs=1e-5)


def test_a_source_of_ours_is_only_read(tmp_path: Path, target: LocalEngine) -> None:
    target.create_tenant("t")
    source = open_source(str(tmp_path / "target"))
    assert isinstance(source, EngineSource)
    assert ("default_tenant", "default_database") in source.databases()
    source.close()


def test_one_collection_goes_back_by_export(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with vermilion.PersistentClient(tmp_path / "here") as client:
        for name in ("notes", "others"):
            client.create_collection(name, embedding_function=None, metadata={"about": name}).add(
                ids=["b", "a"], embeddings=[[1, 2], [3, 4]], metadatas=[{"n": 1}, None]
            )
    uri, there = f"file://{tmp_path / 'here'}/notes", tmp_path / "there"
    assert main(["export", uri, "--to", "chroma", "--out", str(there)]) == 0
    assert "2 records" in capsys.readouterr().err
    with closing(open_chroma(there)) as directory:
        [collection] = directory.collections()
        assert (collection.name, collection.metadata) == ("notes", {"about": "notes"})
        assert [id for page in directory.records(collection) for id in page.ids] == ["b", "a"]
    assert main(["export", uri, "--to", "chroma", "--out", str(there)]) == 1
    assert "not empty" in capsys.readouterr().err
    assert main(["export", uri, "--to", "chroma"]) in (1, 2)
