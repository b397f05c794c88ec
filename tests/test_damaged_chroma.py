"""Whatever is damaged in a directory of Chroma: what is whole comes out, the rest is listed.

Everything that comes out is compared with what the release itself answered before the damage.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import numpy as np
import pytest

from chroma_directories import rows_of, unpack
from vermilion.migration.chroma_dir import Loss, open_chroma
from vermilion.migration.pages import Pages

PAGE = 4096
HURT = "default_tenant/default_database/everything"
RELEASES = ["0.4.24", "0.6.3", "1.5.9"]


def connect(path: Path) -> apsw.Connection:
    return apsw.Connection(str(path / "chroma.sqlite3"))


def index_of(path: Path) -> Path:
    connection = connect(path)
    ((name,),) = connection.execute(
        "select s.id from segments s join collections c on c.id = s.collection"
        " join databases d on d.id = c.database_id"
        " where c.name = 'everything' and d.name = 'default_database' and scope = 'VECTOR'"
    )
    connection.close()
    return path / str(name)


def truncate(file: Path, share: float) -> None:
    os.truncate(file, int(file.stat().st_size * share))


def execute(path: Path, statement: str) -> None:
    connection = connect(path)
    connection.execute("pragma foreign_keys = off")
    connection.execute(statement)
    connection.close()


def root_of(path: Path, table: str) -> int:
    connection = connect(path)
    ((root,),) = connection.execute("select rootpage from sqlite_schema where name = ?", (table,))
    connection.close()
    return int(root)


def leaf_of(path: Path, table: str, place: int) -> int:
    pages = Pages(path / "chroma.sqlite3")
    found = list(pages.leaves(root_of(path, table)))[place]
    pages.close()
    return found


def overwrite(path: Path, page: int) -> None:
    with open(path / "chroma.sqlite3", "r+b") as file:
        file.seek((page - 1) * PAGE)
        file.write(b"\xaa" * PAGE)


def spoil_vector(path: Path) -> None:
    file = index_of(path) / "data_level0.bin"
    data = bytearray(file.read_bytes())
    data[68:84] = b"\xff" * 16  # 16 links and their number stand before it
    file.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "vectors cut off": lambda path: truncate(index_of(path) / "data_level0.bin", 0.02),
    "vectors missing": lambda path: (index_of(path) / "data_level0.bin").unlink(),
    "index missing": lambda path: shutil.rmtree(index_of(path)),
    "a vector overwritten": spoil_vector,
    "header garbled": lambda path: (index_of(path) / "header.bin").write_bytes(b"\xff" * 100),
    "header missing": lambda path: (index_of(path) / "header.bin").unlink(),
    "ids cut off": lambda path: truncate(index_of(path) / "index_metadata.pickle", 0.3),
    "ids garbled": lambda path: (index_of(path) / "index_metadata.pickle").write_bytes(b"no" * 99),
    "queue partly lost": lambda path: execute(
        path, "delete from embeddings_queue where seq_id in (49, 50, 54)"
    ),
    "queue lost": lambda path: execute(path, "delete from embeddings_queue"),
    "moments lost": lambda path: execute(path, "delete from max_seq_id"),
    "a leaf of records": lambda path: overwrite(path, leaf_of(path, "embeddings", 0)),
    "a leaf of metadata": lambda path: overwrite(path, leaf_of(path, "embedding_metadata", 1)),
    "the root of metadata": lambda path: overwrite(path, root_of(path, "embedding_metadata")),
    "the first page": lambda path: overwrite(path, 1),
    "indexes forgotten": lambda path: execute(path, "delete from segments where scope = 'VECTOR'"),
}
# After these nothing is missing, though the losses tell what had to be done without. A release
# that keeps its whole queue, as 0.4 does, needs no index either.
HARMLESS = {
    "header garbled",
    "header missing",
    "moments lost",
    "a leaf of records",
    "the root of metadata",
    "the first page",
}
INDEX_ONLY = {
    "vectors cut off",
    "vectors missing",
    "index missing",
    "a vector overwritten",
    "ids cut off",
    "ids garbled",
    "indexes forgotten",
}


class Outcome(NamedTuple):
    """What came out of a damaged directory, against what was in it."""

    right: set[tuple[str, str]]
    wrong: set[tuple[str, str]]
    missing: set[tuple[str, str]]
    losses: list[Loss]


def outcome(path: Path, told: dict[str, Any]) -> Outcome:
    right, wrong = set(), set()
    with open_chroma(path) as directory:
        for collection in directory.collections():
            rows = rows_of(told[collection.title])
            for page in directory.records(collection):
                cells = zip(page.vectors, page.documents, page.uris, page.metadatas, strict=True)  # type: ignore[arg-type]
                for id, cell in zip(page.ids, cells, strict=True):
                    ok = is_same(cell, rows[id])
                    (right if ok else wrong).add((collection.title, id))
        losses = directory.losses
    every = {(title, id) for title, one in told.items() for id in one["records"]["ids"]}
    return Outcome(right, wrong, every - right - wrong, losses)


def is_same(cell: Any, told: Any) -> bool:
    near = np.allclose(cell[0], np.array(told[0], np.float32), atol=1e-5)
    return bool(near) and list(cell[1:]) == [told[1], told[2], told[3] or None]


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_whole_comes_out_and_the_rest_is_listed(
    damage: str, release: str, tmp_path: Path
) -> None:
    path, told = unpack(release, tmp_path)
    DAMAGES[damage](path)
    found = outcome(path, told)
    listed = {(loss.collection, loss.id) for loss in found.losses}
    assert found.wrong <= listed  # nothing is passed off as what was stored
    assert found.missing <= listed
    if damage in HARMLESS or (damage in INDEX_ONLY and release == "0.4.24"):
        assert not found.wrong | found.missing
    else:
        assert found.losses or (release, damage) == ("0.6.3", "vectors cut off")
    untouched = {title for title, _ in found.wrong | found.missing} - {HURT}
    if damage not in ("queue lost", "a leaf of metadata", "indexes forgotten"):
        assert not untouched


@pytest.mark.parametrize("release", RELEASES)
def test_a_file_that_was_cut_off(release: str, tmp_path: Path) -> None:
    """What stood at its end is gone, deletions as well; what is left comes out."""
    path, told = unpack(release, tmp_path)
    truncate(path / "chroma.sqlite3", 0.8)
    with open_chroma(path) as directory:
        for collection in directory.collections():
            rows = rows_of(told.get(collection.title, {"records": NOTHING}))
            for page in directory.records(collection):
                if rows:
                    assert set(page.ids) <= rows.keys() | DELETED
        assert directory.damaged
        assert "chroma.sqlite3 is damaged" in directory.losses[0].what


DELETED = {"id-06", "id-20", "id-41", "🦊 fox", "c7", "c32"}
NOTHING = {"ids": [], "embeddings": [], "documents": [], "uris": [], "metadatas": []}


@pytest.mark.parametrize("release", RELEASES)
def test_what_the_catalogue_has_lost_comes_out_without_names(release: str, tmp_path: Path) -> None:
    path, told = unpack(release, tmp_path)
    execute(path, "delete from collections")
    with open_chroma(path) as directory:
        by_id = {one["id"]: one for one in told.values()}
        for collection in directory.collections():
            assert collection.name == f"lost-{collection.id}"
            ids = [id for page in directory.records(collection) for id in page.ids]
            assert sorted(ids) == sorted(by_id.pop(collection.id)["records"]["ids"])
        assert by_id == {}
        assert len(directory.losses) == len(told)


CATALOGUE: dict[str, Callable[[Path], object]] = {
    "rows of collections": lambda path: execute(path, "delete from collections"),
    "the page of collections": lambda path: overwrite(path, root_of(path, "collections")),
    "rows of segments": lambda path: execute(path, "delete from segments"),
    "the page of segments": lambda path: overwrite(path, root_of(path, "segments")),
    "both": lambda path: (
        execute(path, "delete from collections"),
        execute(path, "delete from segments"),
    ),
}


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("damage", CATALOGUE)
def test_records_are_joined_with_their_index_without_the_catalogue(
    damage: str, release: str, tmp_path: Path
) -> None:
    """Every record comes out once, under whatever name, with its own vector and cells."""
    path, told = unpack(release, tmp_path)
    CATALOGUE[damage](path)
    wanted = [row for collection in told.values() for row in rows_of(collection).items()]
    with open_chroma(path) as directory:
        found = [
            (id, cell)
            for collection in directory.collections()
            for page in directory.records(collection)
            for id, cell in zip(
                page.ids,
                zip(page.vectors, page.documents, page.uris, page.metadatas, strict=True),  # type: ignore[arg-type]
                strict=True,
            )
        ]
        assert directory.losses
    assert [one for one in wanted if not any(is_like(two, one) for two in found)] == []
    assert len(found) == len(wanted)


def is_like(one: tuple[str, Any], told: tuple[str, Any]) -> bool:
    """The same record, but for the length of its vector: the distance is lost with the catalogue,
    and in a cosine space an index has vectors of unit length."""
    (id, cell), (told_id, told_cell) = one, told
    a, b = np.array(cell[0]), np.array(told_cell[0], np.float32)
    if id != told_id or len(a) != len(b):
        return False
    scaled = a / (np.linalg.norm(a) or 1), *cell[1:]
    return is_same(scaled, (b / (np.linalg.norm(b) or 1), *told_cell[1:]))


def test_collections_of_lost_databases_do_not_get_in_each_others_way(tmp_path: Path) -> None:
    path, told = unpack("1.5.9", tmp_path)
    execute(path, "delete from databases")
    with open_chroma(path) as directory:
        titles = [one.title for one in directory.collections()]
    assert len(set(titles)) == len(told)
