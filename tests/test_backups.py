"""Backups, restoring and bundles: what went in comes out, whoever writes meanwhile."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest

import in_process
import vermilion
from children import fork
from vermilion import cli
from vermilion.api import sharing
from vermilion.api.client import Client
from vermilion.api.collection import Collection
from vermilion.errors import (
    AlreadyExistsError,
    ArgumentValueError,
    DamagedError,
    NotFoundError,
    StorageError,
    UnsupportedError,
    VersionMismatchError,
)
from vermilion.local import backup as backups
from vermilion.local.builder import TAIL_ROWS, build
from vermilion.local.engine import LocalEngine
from vermilion.local.pieces import PIECE_BYTES
from words import WordLengths

EVERYTHING: Any = ["embeddings", "documents", "metadatas", "uris"]


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Client]:
    """A client of an empty directory."""
    sharing.forget_all()
    with vermilion.PersistentClient(tmp_path / "here") as client:
        yield client
    sharing.forget_all()


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    return tmp_path / "vault"


def made(client: Client, name: str = "birds", count: int = 3) -> Collection:
    collection = client.create_collection(
        name,
        configuration={"hnsw": {"space": "cosine", "ef_search": 70}},
        metadata={"about": name},
        embedding_function=WordLengths(),
    )
    numbers = range(count)
    collection.add(
        ids=[str(n) for n in numbers],
        embeddings=[[n, 1, 0, 1] for n in numbers],
        documents=[f"word {n}" for n in numbers],
        metadatas=[{"n": n, "list": [n, 7]} for n in numbers],
        uris=[f"uri:{n}" for n in numbers],
    )
    return collection


def contents(collection: Collection) -> Any:
    got = collection.get(include=EVERYTHING)
    return {**got, "embeddings": np.asarray(got["embeddings"]).tolist()}


def restored(vault: Path, place: Path, **options: Any) -> Client:
    vermilion.restore_backup(vault, place, **options)
    return vermilion.PersistentClient(place)


# ── there and back ───────────────────────────────────────────────────────────────────────────────


def test_what_was_backed_up_comes_back(here: Client, vault: Path, tmp_path: Path) -> None:
    birds, empty = made(here), here.create_collection("empty", embedding_function=None)
    point = here.backup(vault)
    assert (point.collections, point.records) == (2, 3)
    before = contents(birds)
    birds.delete(ids=["1"])
    with restored(vault, tmp_path / "new") as client:
        again = client.get_collection("birds")
        assert contents(again) == before
        assert again.configuration_json == birds.configuration_json
        assert (again.metadata, again.id) == ({"about": "birds"}, birds.id)
        assert again.query(query_texts=["word 2"], n_results=1)["ids"] == [["2"]]
        assert client.get_collection("empty").id == empty.id
        assert [one.name for one in client.list_collections()] == ["birds", "empty"]
        again.add(ids=["9"], embeddings=[[9, 9, 9, 9]])
        client.get_collection("empty").add(ids=["1"], embeddings=[[1.0]])
        assert client.check(deep=True) == []


def test_tenants_and_databases_come_back(tmp_path: Path, vault: Path) -> None:
    settings = vermilion.Settings(is_persistent=True, persist_directory=str(tmp_path / "here"))
    admin = vermilion.AdminClient(settings)
    admin.create_tenant("acme")
    admin.create_database("crm", "acme")
    admin.create_database("empty", "acme")
    with vermilion.PersistentClient(tmp_path / "here", tenant="acme", database="crm") as client:
        made(client)
        client.backup(vault)
    vermilion.restore_backup(vault, tmp_path / "new")
    with vermilion.PersistentClient(tmp_path / "new", tenant="acme", database="crm") as client:
        assert client.get_collection("birds").count() == 3
    with vermilion.PersistentClient(tmp_path / "new", tenant="acme", database="empty") as client:
        assert client.count_collections() == 0


def test_segments_come_back_with_their_indexes(here: Client, vault: Path, tmp_path: Path) -> None:
    count = TAIL_ROWS + 10
    birds = made(here, count=count)
    build(tmp_path / "here" / "collections" / str(birds.id), "cosine")
    here.backup(vault)
    with restored(vault, tmp_path / "new") as client:
        again = client.get_collection("birds")
        assert again.get_indexing_status().op_indexing_progress == 1.0
        assert again.get(where={"n": count - 1})["ids"] == [str(count - 1)]
        assert client.check(deep=True) == []


def test_a_database_in_memory_is_backed_up_too(vault: Path, tmp_path: Path) -> None:
    sharing.forget_all()
    client = vermilion.EphemeralClient()
    birds = made(client)
    client.backup(vault)
    with restored(vault, tmp_path / "new") as other:
        assert contents(other.get_collection("birds")) == contents(birds)
    with pytest.raises(StorageError, match="copy_to from there"):
        client.restore(vault, collections=["birds"], replace=True)
    sharing.forget_all()


# ── points in time ───────────────────────────────────────────────────────────────────────────────


def test_any_point_can_be_restored(here: Client, vault: Path, tmp_path: Path) -> None:
    birds = made(here)
    first = here.backup(vault)
    birds.update(ids=["1"], metadatas=[{"n": 100}])
    between = datetime.now(UTC)
    second = here.backup(vault)
    birds.delete(ids=["0"])
    assert [point.name for point in vermilion.list_backups(vault)] == [first.name, second.name]
    expected = {first.name: [0, 1, 2], between.isoformat(): [0, 1, 2], second.name: [0, 100, 2]}
    expected |= {(datetime.now(UTC) + timedelta(hours=1)).isoformat(): [0, 100, 2]}
    for at, numbers in expected.items():
        with restored(vault, tmp_path / at, at=at) as client:
            found = client.get_collection("birds").get()["metadatas"] or []
            assert [one["n"] for one in found] == numbers, at
    with pytest.raises(NotFoundError, match="The oldest point is"):
        here.restore(vault, at=first.made - timedelta(seconds=1))
    with pytest.raises(ArgumentValueError, match="the name of a point or a time"):
        here.restore(vault, at="yesterday")


def test_a_second_point_takes_the_room_of_what_changed(
    here: Client, vault: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = np.random.default_rng(5).random((3000, 200))
    many = here.create_collection("many", embedding_function=None)
    many.add(ids=[str(n) for n in range(3000)], embeddings=numbers)
    other = made(here)
    first = here.backup(vault)
    assert first.new_bytes > 3000 * 200 * 4
    other.modify(name="renamed")
    copied: list[object] = []
    original = backups.copy_collection
    monkeypatch.setattr(
        backups, "copy_collection", lambda *given: copied.append(given) or original(*given)
    )
    second = here.backup(vault)
    assert (second.new_bytes, copied) == (0, [])
    assert second.bytes == first.bytes
    many.update(ids=["1500"], metadatas=[{"n": 1}])
    third = here.backup(vault)
    assert len(copied) == 1
    assert 0 < third.new_bytes <= 4 * PIECE_BYTES < first.new_bytes
    assert vermilion.verify_backup(vault) >= 2


def test_keep_leaves_the_last_points(here: Client, vault: Path, tmp_path: Path) -> None:
    birds = made(here)
    names = []
    for number in range(4):
        birds.update(ids=["0"], documents=[f"version {number}"])
        names.append(here.backup(vault, keep=2).name)
    assert [point.name for point in vermilion.list_backups(vault)] == names[-2:]
    vermilion.verify_backup(vault)
    digests = {path.name for path in (vault / "pieces").rglob("*") if path.is_file()}
    wanted = set()
    for path in (vault / "points").iterdir():
        for one in json.loads(path.read_text().splitlines()[0])["collections"]:
            wanted |= {digest for file in one["files"] for digest in file["pieces"]}
    assert digests == wanted
    with restored(vault, tmp_path / "new") as client:
        assert client.get_collection("birds").get(ids="0")["documents"] == ["version 3"]
    with pytest.raises(ValueError, match="keep"):
        here.backup(vault, keep=0)


# ── into a place that has collections ────────────────────────────────────────────────────────────


def test_names_that_are_taken_are_refused_before_anything_happens(
    here: Client, vault: Path
) -> None:
    made(here, "birds")
    fish = made(here, "fish")
    here.backup(vault)
    here.delete_collection("birds")
    fish.delete(ids=["0"])
    with pytest.raises(AlreadyExistsError, match=r"Collection \[fish\] already exists"):
        here.restore(vault)
    assert [one.name for one in here.list_collections()] == ["fish"]
    here.restore(vault, collections="birds")
    assert here.get_collection("birds").count() == 3
    assert fish.count() == 2
    with pytest.raises(NotFoundError, match=r"no collection \[cats\]"):
        here.restore(vault, collections=["fish", "cats"])


def test_replace_takes_the_place_of_what_is_there(here: Client, vault: Path) -> None:
    birds = made(here)
    here.backup(vault)
    birds.delete(ids=["0", "1"])
    here.restore(vault, replace=True)
    assert here.get_collection("birds").count() == 3
    assert [one.name for one in here.list_collections()] == ["birds"]
    with pytest.raises(NotFoundError):
        birds.count()  # a handle of what was replaced
    assert here.check(deep=True) == []


def test_a_new_directory_appears_when_everything_is_in_it(
    here: Client, vault: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(here, "birds")
    made(here, "fish")
    here.backup(vault)
    original = backups.write_files

    def failing(root: Path, kept: backups.KeptCollection, folder: Path) -> None:
        if kept.info.name == "fish":
            raise StorageError("the disk is full")
        original(root, kept, folder)

    monkeypatch.setattr("vermilion.local.backup.write_files", failing)
    with pytest.raises(StorageError, match="the disk is full"):
        vermilion.restore_backup(vault, tmp_path / "new")
    assert not list(tmp_path.glob("new*"))
    with pytest.raises(StorageError, match="neither a database nor an empty"):
        vermilion.restore_backup(vault, tmp_path)


# ── while others write ───────────────────────────────────────────────────────────────────────────


def test_each_point_is_of_one_moment_while_others_write(
    here: Client, vault: Path, tmp_path: Path
) -> None:
    birds = here.create_collection("birds", embedding_function=None)
    birds.add(ids=["0"], embeddings=[[0.0]])
    done = threading.Event()

    def write() -> None:
        number = 1
        while not done.is_set():
            pair = [str(number), str(number + 1)]
            birds.add(ids=pair, embeddings=[[number], [number + 1]])
            number += 2

    writer = threading.Thread(target=write)
    writer.start()
    try:
        points = []
        for _ in range(5):
            points.append(here.backup(vault))
            time.sleep(0.02)
    finally:
        done.set()
        writer.join()
    for point in points:
        with restored(vault, tmp_path / point.name, at=point.name) as client:
            found = client.get_collection("birds").get()["ids"]
            assert found == [str(n) for n in range(point.records)]
            assert len(found) % 2
            assert client.check(deep=True) == []


def test_one_backup_at_a_time(here: Client, vault: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(here)

    def again(*given: object) -> Any:
        here.backup(vault)

    monkeypatch.setattr(backups, "copy_collection", again)
    with pytest.raises(StorageError, match="Another backup"):
        here.backup(vault)


def test_a_backup_that_is_killed_harms_nothing(
    here: Client, vault: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(here)
    here.backup(vault)
    here.get_collection("birds").add(ids=["9"], embeddings=[[9, 9, 9, 9]])

    def killed() -> None:
        monkeypatch.setattr(
            backups, "_write_point", lambda *given: os.kill(os.getpid(), signal.SIGKILL)
        )
        here.backup(vault)

    _, status = os.waitpid(fork(killed), 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert len(vermilion.list_backups(vault)) == 1
    assert here.backup(vault).records == 4
    vermilion.verify_backup(vault)


# ── damage ───────────────────────────────────────────────────────────────────────────────────────


def pieces_of(vault: Path) -> list[Path]:
    return sorted(path for path in (vault / "pieces").rglob("*") if path.is_file())


@pytest.mark.parametrize("how", ["flipped", "cut", "missing"])
def test_a_damaged_piece_is_found(here: Client, vault: Path, tmp_path: Path, how: str) -> None:
    made(here)
    here.backup(vault)
    piece = pieces_of(vault)[0]
    content = piece.read_bytes()
    if how == "missing":
        piece.unlink()
    else:
        end = content[-1:] if how == "cut" else bytes([content[-1] ^ 1])
        piece.write_bytes(content[:-1] + (b"" if how == "cut" else end))
    with pytest.raises(DamagedError):
        vermilion.verify_backup(vault)
    with pytest.raises(DamagedError):
        vermilion.restore_backup(vault, tmp_path / "new")
    assert not list(tmp_path.glob("new*"))


def test_a_lost_piece_is_kept_again(here: Client, vault: Path) -> None:
    made(here)
    here.backup(vault)
    pieces_of(vault)[0].unlink()
    assert here.backup(vault).new_bytes > 0
    vermilion.verify_backup(vault)


def test_a_damaged_point_is_found(here: Client, vault: Path) -> None:
    made(here)
    here.backup(vault)
    [point] = (vault / "points").iterdir()
    point.write_text(point.read_text().replace("birds", "words"))
    with pytest.raises(DamagedError, match="not what was backed up"):
        vermilion.list_backups(vault)


def test_a_point_names_no_file_of_somebody_else(here: Client, vault: Path, tmp_path: Path) -> None:
    made(here)
    here.backup(vault)
    _, [kept] = backups.kept_at(vault, None)
    outside = kept.files[0]._replace(name="indexes/../../outside")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DamagedError, match="which no collection has"):
        backups.write_files(vault, replace(kept, files=[outside]), tmp_path / "folder")
    assert not (tmp_path / "outside").exists()


# ── servers ──────────────────────────────────────────────────────────────────────────────────────


def test_a_server_is_backed_up_where_its_directory_is(vault: Path, tmp_path: Path) -> None:
    with in_process.client(LocalEngine(tmp_path / "here")) as client:
        birds = made(client)
        for call in (
            lambda: client.backup(vault),
            lambda: client.restore(vault),
            lambda: client.load_bundle(vault),
            lambda: birds.save_bundle(vault),
        ):
            with pytest.raises(UnsupportedError, match="where the database's directory is"):
                call()


# ── commands ─────────────────────────────────────────────────────────────────────────────────────


def test_the_commands(
    here: Client, vault: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(here)
    source = str(tmp_path / "here")
    assert cli.main(["backup", source, str(vault), "--keep", "5"]) == 0
    assert "1 collections, 3 records" in capsys.readouterr().out
    assert cli.main(["backups", str(vault), "--verify"]) == 0
    out = capsys.readouterr().out
    assert "3 records" in out and "files are whole" in out
    new = str(tmp_path / "new")
    assert cli.main(["restore", str(vault), new, "--collection", "birds"]) == 0
    assert capsys.readouterr().out == "default_tenant/default_database/birds\n"
    assert cli.main(["restore", str(vault), new]) == 1
    assert "already exists" in capsys.readouterr().err
    assert cli.main(["restore", str(vault), new, "--replace"]) == 0
    assert cli.main(["backup", str(tmp_path / "nowhere"), str(vault)]) == 1
    assert not (tmp_path / "nowhere").exists()
    assert cli.main(["backups", str(tmp_path / "here")]) == 1
    assert "holds no backup" in capsys.readouterr().err


# ── bundles ──────────────────────────────────────────────────────────────────────────────────────


def test_a_bundle_is_one_file_with_everything(here: Client, tmp_path: Path) -> None:
    birds = made(here, count=TAIL_ROWS + 5)
    build(tmp_path / "here" / "collections" / str(birds.id), "cosine")
    file = tmp_path / "birds.bundle"
    birds.save_bundle(file)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["birds.bundle"]
    with vermilion.PersistentClient(tmp_path / "there") as client:
        again = client.load_bundle(file)
        assert contents(again) == contents(birds)
        assert again.configuration_json == birds.configuration_json
        assert again.metadata == birds.metadata
        assert again.query(query_texts=["word 2"]) == birds.query(query_texts=["word 2"])
        again.add(ids=["new"], embeddings=[[1, 2, 3, 4]])
        second = client.load_bundle(file, "second")
        assert second.count() == birds.count()
        with pytest.raises(AlreadyExistsError):
            client.load_bundle(file)
        assert client.check(deep=True) == []
    with pytest.raises(StorageError, match="exists"):
        birds.save_bundle(file)


def test_a_bundle_of_an_empty_collection(here: Client, tmp_path: Path) -> None:
    empty = here.create_collection("empty", embedding_function=None)
    empty.save_bundle(tmp_path / "empty.bundle")
    again = here.load_bundle(tmp_path / "empty.bundle", "again")
    assert again.count() == 0
    again.add(ids=["1"], embeddings=[[1.0]])


def changed(file: Path, statement: str) -> None:
    connection = apsw.Connection(str(file))
    connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("drop table bundle", "does not say what collection"),
        ("update bundle set collection = '[]'", "does not say what collection"),
        (
            "update bundle set collection = json_set(collection, '$.configuration.hnsw.space', 1)",
            "space",
        ),
        ("create trigger t after insert on records begin delete from log; end", "other tables"),
        ("create view extra as select 1", "other tables"),
        ("update records set document = 'forged' where id = '1'", "not what was written"),
        ("delete from vectors where key = 1", "vectors"),
    ],
)
def test_a_bundle_of_a_stranger_is_not_trusted(
    here: Client, tmp_path: Path, statement: str, words: str
) -> None:
    file = tmp_path / "birds.bundle"
    made(here).save_bundle(file)
    changed(file, statement)
    with pytest.raises(DamagedError, match=words):
        here.load_bundle(file, "again")
    assert [one.name for one in here.list_collections()] == ["birds"]
    assert here.check(deep=True) == []


def test_what_is_no_bundle(here: Client, tmp_path: Path) -> None:
    text, later = tmp_path / "text", tmp_path / "later"
    text.write_text("hello " * 1000)
    with pytest.raises(DamagedError):
        here.load_bundle(text)
    with pytest.raises(StorageError):
        here.load_bundle(tmp_path / "missing")
    made(here).save_bundle(later)
    changed(later, "update bundle set format = 99")
    with pytest.raises(VersionMismatchError, match="format 99"):
        here.load_bundle(later, "again")
    assert here.check(deep=True) == []
