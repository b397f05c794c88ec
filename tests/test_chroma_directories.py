"""Directories of Chroma are read as the releases that wrote them read them."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest

from chroma_directories import RELEASES, rows_of, unpack
from vermilion.errors import NotFoundError
from vermilion.migration.chroma_dir import (
    ChromaCollection,
    ChromaDirectory,
    is_chroma_directory,
    open_chroma,
)
from vermilion.migration.pickles import read_pickle


def fingerprint(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.rglob("*")
        if path.is_file()
    }


def read(directory: ChromaDirectory, collection: ChromaCollection) -> dict[str, Any]:
    found = {}
    for page in directory.records(collection, rows=7):
        columns = (page.vectors, page.documents, page.uris, page.metadatas)
        for id, *cells in zip(page.ids, *columns, strict=True):  # type: ignore[arg-type]
            assert id not in found
            found[id] = cells
    return found


def same(got: Any, told: Any, *, exact: bool) -> None:
    vector, *rest = got
    expected = np.array(told[0], np.float32)
    assert np.allclose(vector, expected, atol=1e-5)
    assert np.array_equal(vector, expected) or not exact
    assert rest == [*told[1:3], told[3] or None]


@pytest.mark.parametrize("release", RELEASES)
def test_everything_comes_out_as_the_release_told_it(release: str, tmp_path: Path) -> None:
    path, told = unpack(release, tmp_path)
    before = fingerprint(path)
    with open_chroma(path) as directory:
        for collection in directory.collections():
            one = told.pop(collection.title)
            assert collection.id == one["id"]
            assert collection.metadata == one["metadata"]
            rows = rows_of(one)
            found = read(directory, collection)
            assert found.keys() == rows.keys()
            cosine = collection.configuration.hnsw.space == "cosine"
            for id, cells in found.items():
                same(cells, rows[id], exact=not cosine)
        assert told == {}
        assert directory.losses == []
    assert fingerprint(path) == before


@pytest.mark.parametrize("release", RELEASES)
def test_the_setup_of_collections(release: str, tmp_path: Path) -> None:
    path, told = unpack(release, tmp_path)
    with open_chroma(path) as directory:
        assert ("acme", "films") in directory.databases()
        for collection in directory.collections():
            hnsw = collection.configuration.hnsw
            assert (hnsw.max_neighbors, hnsw.sync_threshold) == (8, 20)
            assert collection.schema is None
            shown = told[collection.title]["configuration"]
            if shown is not None:
                assert collection.configuration.to_json() == shown
    spaces = {one.name: one.configuration.hnsw.space for one in directory_of(path)}
    assert spaces["cosine-space"] == "cosine"
    assert spaces["inner-product"] == "ip"


def directory_of(path: Path) -> list[ChromaCollection]:
    with open_chroma(path) as directory:
        return directory.collections()


@pytest.mark.parametrize("release", ["0.4.24", "0.5.0"])
def test_vectors_are_those_that_were_given_where_the_queue_has_them(
    release: str, tmp_path: Path
) -> None:
    """Normalising and scaling back would not give a 3.5 back to the bit."""
    path, told = unpack(release, tmp_path)
    with open_chroma(path) as directory:
        (cosine,) = (one for one in directory.collections() if one.name == "cosine-space")
        found = read(directory, cosine)
    connection = apsw.Connection(str(path / "chroma.sqlite3"))
    for id, blob in connection.execute(
        "select id, vector from embeddings_queue where topic like ? and operation = 0",
        (f"%{cosine.id}",),
    ):
        if id in found:
            assert found[id][0].tobytes() == blob
    connection.close()


def test_a_log_that_was_not_brought_in_is_read_and_left(tmp_path: Path) -> None:
    path, _ = unpack("1.5.9", tmp_path)
    file = path / "chroma.sqlite3"
    writer = apsw.Connection(str(file))
    writer.pragma("journal_mode", "wal")
    writer.execute("insert into tenants values ('only in the log')")
    writer.execute("insert into databases values (?, 'logged', 'only in the log')", ("0" * 32,))
    before = fingerprint(path)
    assert before.keys() >= {"chroma.sqlite3-wal"}
    with open_chroma(path) as directory:
        assert ("only in the log", "logged") in directory.databases()
        assert directory.losses == []
    after = fingerprint(path)
    writer.close()
    assert after == before


def test_a_pickle_is_read_and_not_run(tmp_path: Path) -> None:
    data = {"id_to_label": {"a": 1, "b": 300, "ü": 2**40}, "flag": True, "none": None, "f": 0.5}
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert read_pickle(pickle.dumps(data, protocol)).value["id_to_label"] == data["id_to_label"]
    evil = tmp_path / "ran"
    read_pickle(pickle.dumps(Evil(str(evil))))
    assert not evil.exists()
    whole = pickle.dumps({"id_to_label": {f"id {n}": n for n in range(3000)}})
    part = read_pickle(whole[: len(whole) // 2])
    assert part.flaw is not None
    labels = part.value["id_to_label"]
    assert len(labels) > 1000
    assert all(id == f"id {label}" for id, label in labels.items())


class Evil:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (self.path, "w"))


def test_what_is_no_directory_of_chroma(tmp_path: Path) -> None:
    assert not is_chroma_directory(tmp_path)
    with pytest.raises(NotFoundError, match="not a directory of Chroma"):
        open_chroma(tmp_path)
    assert list(tmp_path.iterdir()) == []
