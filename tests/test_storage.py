"""What is on disk: files, other engines on the same directory, damage, errors of the system."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest

from vermilion.engine import EVERYTHING
from vermilion.errors import (
    ArgumentValueError,
    DamagedError,
    NotFoundError,
    StorageError,
    VersionMismatchError,
)
from vermilion.local import store, wal
from vermilion.local.drafts import drafting
from vermilion.local.engine import LocalEngine
from vermilion.local.handles import OPEN_COLLECTIONS
from vermilion.local.salvage import salvage
from vermilion.local.sqlite import Database
from vermilion.types import Address, WriteResult
from words import ALL, HERE, cells, ids, make, names, numbered, rows, where


def file_of(folder: Path, address: Address) -> Path:
    return folder / "collections" / str(address.collection) / "records.db"


def open_files(folder: Path) -> list[str]:
    """What this process has open below the folder, unlinked files included."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(os.readlink(descriptor))
    return [path for path in found if path.startswith(str(folder))]


def sql(path: Path, statement: str) -> list[Any]:
    # By the same SQLite: closing a file by another one of the process would free apsw's locks.
    with closing(apsw.Connection(str(path))) as connection:
        return connection.execute(statement).fetchall()


def test_everything_is_there_after_opening_again(disk: LocalEngine, folder: Path) -> None:
    address = make(disk, space="cosine")
    batch = rows("a b", documents=["x", None], uris=[None, "u"], metadatas=[{"n": 1}, None])
    disk.add(address, batch)
    info, before = disk.get_collection("things", *HERE), disk.get(address, EVERYTHING, ALL)
    disk.close()
    again = LocalEngine(folder)
    after = again.get(address, EVERYTHING, ALL)
    assert again.get_collection("things", *HERE) == info
    assert (after.ids, after.documents, after.uris) == (before.ids, before.documents, before.uris)
    assert after.metadatas == before.metadatas
    assert after.vectors is not None and before.vectors is not None
    assert after.vectors.tobytes() == before.vectors.tobytes()
    again.close()


def test_what_changes_nothing_writes_nothing(disk: LocalEngine, folder: Path) -> None:
    address = make(disk)
    same = rows("a b", documents=["x", None], metadatas=[{"n": 1, "m": 2.0}, None])
    disk.add(address, same)
    disk.add(address, rows("c"))
    path = file_of(folder, address)
    wal = path.with_name("records.db-wal")
    before = wal.stat().st_size, sql(path, "select seq from head"), sql(path, "select * from log")
    assert disk.upsert(address, same) == WriteResult(unchanged=2)
    assert disk.update(address, same) == WriteResult(unchanged=2)
    assert disk.add(address, same) == WriteResult(skipped=2)
    assert disk.delete(address, ids("missing")) == WriteResult(missing=1)
    after = wal.stat().st_size, sql(path, "select seq from head"), sql(path, "select * from log")
    assert after == before


def test_a_collection_without_records_has_no_file(disk: LocalEngine, folder: Path) -> None:
    address = make(disk)
    disk.get(address)
    disk.query(address, np.zeros((1, 2), np.float32), 1)
    disk.update(address, rows("a"))
    disk.delete(address, EVERYTHING)
    disk.get_collection("things", *HERE)
    assert list((folder / "collections").iterdir()) == []
    disk.add(address, rows("a"))
    assert file_of(folder, address).exists()
    disk.delete_collection("things", *HERE)
    assert list((folder / "collections").iterdir()) == []


@pytest.mark.parametrize("most", [0, store.IMAGE_BYTES])
def test_a_first_write_makes_a_whole_file_in_memory_or_page_by_page(
    disk: LocalEngine, folder: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(store, "IMAGE_BYTES", most)
    address = make(disk)
    disk.add(address, numbered(300))
    path = file_of(folder, address)
    assert path.read_bytes()[18:20] == b"\2\2", "it has a WAL from now on"
    assert [one.name for one in path.parent.iterdir()] == ["records.db"]
    disk.add(address, numbered(3, 300))
    assert disk.check(deep=True) == []
    disk.close()
    again = LocalEngine(folder)
    assert again.count(address) == 303
    assert again.get(address, limit=2).ids == numbered(2).ids
    again.close()


def test_engines_see_each_others_writes(disk: LocalEngine, other: LocalEngine) -> None:
    address = make(disk)
    assert other.count(address) == 0
    for number in range(20):
        writer, reader = (disk, other) if number % 2 else (other, disk)
        writer.add(address, numbered(1, number, metadatas=[{"n": number}]))
        query = np.array([[number]], np.float32)
        [hits] = reader.query(address, query, 1, where({"n": {"$gte": 0}}))
        assert hits.records.ids == [str(number)]
        assert reader.count(address) == number + 1


@pytest.mark.parametrize("records", [0, 2])
def test_a_collection_that_another_engine_deleted_is_not_found(
    disk: LocalEngine, other: LocalEngine, folder: Path, records: int
) -> None:
    address = make(disk)
    if records:
        disk.add(address, numbered(records))
    assert disk.count(address) == other.count(address) == records
    other.delete_collection("things", *HERE)
    calls: list[Callable[[], object]] = [
        lambda: disk.count(address),
        lambda: disk.get(address, where({"n": 1})),
        lambda: disk.query(address, np.zeros((1, 1), np.float32), 1),
        lambda: disk.add(address, numbered(1, 7)),
        lambda: disk.delete(address, EVERYTHING),
    ]
    for call in calls:
        with pytest.raises(NotFoundError, match="does not exist"):
            call()
    assert not [path for path in open_files(folder) if str(address.collection) in path]
    again = make(disk)
    disk.add(again, numbered(3))
    assert other.count(again) == 3


def test_reset_is_seen_by_the_other_engine(disk: LocalEngine, other: LocalEngine) -> None:
    address = make(disk)
    disk.add(address, numbered(3))
    assert other.count(address) == 3
    disk.reset()
    with pytest.raises(NotFoundError):
        other.count(address)
    assert names(other) == []


def test_a_collection_that_the_catalogue_lost_is_moved_aside(
    disk: LocalEngine, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    address, kept = make(disk), make(disk, "kept")
    disk.add(address, numbered(2))
    disk.add(kept, numbered(2))
    disk.close()
    (folder / "collections" / "lost+found").mkdir()
    sql(folder / "catalogue.db", "delete from collections where name = 'things'")
    again = LocalEngine(folder)
    place = folder / "lost" / str(address.collection)
    assert [record.message for record in caplog.records] == [
        f"the catalogue does not know collection {address.collection}: moved to {place}"
    ]
    assert not file_of(folder, address).parent.exists()
    assert (folder / "collections" / "lost+found").is_dir()
    assert again.count(kept) == 2
    with pytest.raises(NotFoundError):
        again.count(address)
    [problem] = again.check()
    assert problem.collection == address.collection and str(place) in problem.detail
    again.close()
    found = {one.name: one.records for one in salvage(folder, tmp_path / "saved")}
    assert found == {"kept": 2, str(address.collection): 2}


def test_a_whole_catalogue_that_is_missing_loses_no_record(
    disk: LocalEngine, folder: Path, tmp_path: Path
) -> None:
    address = make(disk)
    disk.add(address, numbered(2))
    disk.close()
    (folder / "catalogue.db").unlink()
    again = LocalEngine(folder)
    assert names(again) == [] and len(again.check()) == 1
    again.close()
    assert [one.records for one in salvage(folder, tmp_path / "saved")] == [2]


@pytest.mark.parametrize("left", ["all of it", "renamed", "half of it"])
def test_a_deletion_that_was_cut_short_is_finished(
    disk: LocalEngine, other: LocalEngine, folder: Path, left: str
) -> None:
    address = make(disk)
    disk.add(address, numbered(2))
    assert other.count(address) == 2
    disk._catalogue.delete_collection("things", *HERE)  # and dies
    path = file_of(folder, address).parent
    if left != "all of it":
        path.rename(path.with_name(f"{address.collection}.gone"))
    if left == "half of it":
        (path.with_name(f"{address.collection}.gone") / "records.db").unlink()
    LocalEngine(folder).close()
    assert list((folder / "collections").iterdir()) == []
    assert not (folder / "lost").exists()
    assert sql(folder / "catalogue.db", "select * from deleted") == []
    if left != "half of it":
        with pytest.raises(NotFoundError):  # though the file is still open there
            other.add(address, numbered(1, 7))


def test_a_first_write_that_is_refused_leaves_nothing(disk: LocalEngine, folder: Path) -> None:
    address = make(disk)
    disk.query(address, np.zeros((1, 3), np.float32), 1)
    with pytest.raises(ArgumentValueError):
        disk.upsert(address, cells("a", documents=["a document without a vector"]))
    assert list((folder / "collections").iterdir()) == []
    disk.add(address, numbered(1))
    assert [path.name for path in file_of(folder, address).parent.iterdir()] == ["records.db"]


def test_what_a_first_write_left_when_it_died_is_swept(disk: LocalEngine, folder: Path) -> None:
    address = make(disk)
    dead = folder / "collections" / f"{address.collection}.0123abcd.new"
    dead.mkdir()
    (dead / "records.db").write_bytes(b"half")
    dead.with_name(f"{dead.name}.lock").touch()
    with drafting(folder / "collections", address.collection) as alive:
        LocalEngine(folder).close()
        assert not dead.exists() and alive.exists()
    assert disk.count(address) == 0


def test_several_first_writes_at_once_are_all_kept(disk: LocalEngine, other: LocalEngine) -> None:
    for number in range(10):
        address = make(disk, f"things{number}")
        engines = [disk, other] * 4
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: engines[n].add(address, numbered(1, n)), range(8)))  # noqa: B023
        assert sorted(disk.get(address).ids) == [str(n) for n in range(8)]
        assert disk.check(deep=True) == []


# ── dimensions that the catalogue knows ──────────────────────────────────────────────────────────


def dimensions(engine: LocalEngine) -> list[int | None]:
    return [info.dimension for info in engine.list_collections(*HERE)]


def test_listing_opens_no_collection_whose_dimension_is_known(
    disk: LocalEngine, folder: Path
) -> None:
    for number in range(3):
        disk.add(make(disk, f"things{number}"), rows("a", [[0.0] * (number + 1)]))
    make(disk, "empty")
    assert dimensions(disk) == [1, 2, 3, None]
    disk.close()
    again = LocalEngine(folder)
    assert dimensions(again) == [1, 2, 3, None]
    assert not open_files(folder / "collections")
    again.close()


def test_a_dimension_that_changes_is_told_by_everybody(
    disk: LocalEngine, other: LocalEngine, folder: Path
) -> None:
    address = make(disk)
    for dimension in (2, 3, 1):
        disk.upsert(address, rows("a", [[1.0] * dimension]))
        assert dimensions(disk) == dimensions(other) == [dimension]
        disk.delete(address, EVERYTHING)
        assert dimensions(other) == [dimension]
    reader = LocalEngine(folder, read_only=True)
    assert dimensions(reader) == [1]
    reader.close()


def test_a_dimension_that_was_to_change_when_the_process_died_is_not_believed(
    disk: LocalEngine, other: LocalEngine
) -> None:
    address = make(disk)
    disk.add(address, rows("a", [[1.0, 2.0]]))
    assert dimensions(disk) == [2]
    disk._catalogue.dimension_changes(address.collection, 2, 3)  # and dies before the records do
    assert dimensions(disk) == dimensions(other) == [2]


def test_a_directory_of_the_first_format_opens(disk: LocalEngine, folder: Path) -> None:
    address = make(disk)
    disk.add(address, numbered(2))
    disk.close()
    path = folder / "catalogue.db"
    sql(path, "alter table collections drop column dimension; drop table deleted")
    sql(path, "update head set format = 1")
    reader = LocalEngine(folder, read_only=True)
    assert dimensions(reader) == [1] and reader.check(deep=True) == []
    reader.close()
    assert sql(path, "select format from head") == [(1,)]
    again = LocalEngine(folder)
    assert dimensions(again) == [1] and again.count(address) == 2
    again.delete_collection("things", *HERE)
    again.close()
    assert sql(path, "select format from head") == [(2,)]


@pytest.mark.parametrize("name", ["catalogue.db", "records.db"])
def test_a_later_format_is_refused(disk: LocalEngine, folder: Path, name: str) -> None:
    address = make(disk)
    disk.add(address, numbered(1))
    disk.close()
    path = folder / name if name == "catalogue.db" else file_of(folder, address)
    sql(path, "update head set format = 1000")
    with pytest.raises(VersionMismatchError, match="is of format 1000, this release reads up to"):
        later = LocalEngine(folder)
        try:
            later.count(address)
        finally:
            later.close()
    assert open_files(folder) == []


def test_a_file_where_the_directory_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises(StorageError, match="cannot be opened as a directory"):
        LocalEngine(tmp_path / "file")


def test_damaged_files_are_reported_and_can_be_deleted(disk: LocalEngine, folder: Path) -> None:
    address, kept = make(disk), make(disk, "kept")
    disk.add(address, numbered(100))
    disk.add(kept, numbered(1))
    disk.close()
    file_of(folder, address).write_bytes(b"not a database" * 1000)
    again = LocalEngine(folder)
    with pytest.raises(DamagedError, match="damaged"):
        again.count(address)
    assert again.count(kept) == 1
    again.delete_collection("things", *HERE)
    assert not file_of(folder, address).parent.exists()
    again.close()
    (folder / "catalogue.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(DamagedError, match="damaged"):
        LocalEngine(folder)


def test_errors_of_the_operating_system_are_storage_errors(disk: LocalEngine, folder: Path) -> None:
    address = make(disk)
    disk.add(address, numbered(1))
    lock = file_of(folder, address).with_name("records.lock")
    lock.mkdir()
    with pytest.raises(StorageError, match="Is a directory"):
        disk.add(address, numbered(1, 1))
    assert disk.count(address) == 1


def test_the_wal_does_not_grow_for_ever(
    disk: LocalEngine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal, "WAL_BYTES", 200_000)
    address = make(disk)
    for number in range(60):
        disk.upsert(address, rows("a b", np.full((2, 2_000), number)))
    log = file_of(folder, address).with_name("records.db-wal")
    assert log.stat().st_size < 400_000


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc")
def test_only_so_many_collections_keep_files_open(disk: LocalEngine, folder: Path) -> None:
    addresses = [make(disk, f"things{number}") for number in range(OPEN_COLLECTIONS + 20)]
    for address in addresses:
        disk.add(address, numbered(2))
    assert len(open_files(folder / "collections")) <= 3 * OPEN_COLLECTIONS
    infos = disk.list_collections(*HERE)
    assert [info.address for info in infos] == addresses
    assert {info.dimension for info in infos} == {1}
    assert {disk.count(address) for address in addresses} == {2}
    assert len(open_files(folder / "collections")) <= 3 * OPEN_COLLECTIONS
    disk.close()
    assert open_files(folder) == []


def test_the_wal_has_room_for_the_next_small_write(disk: LocalEngine, folder: Path) -> None:
    address = make(disk)
    lengths = []
    for number in range(40):
        disk.add(address, numbered(1, number))
        log = file_of(folder, address).with_name("records.db-wal")
        lengths.append(log.stat().st_size if log.exists() else 0)
    assert len(set(lengths)) < 12
    assert lengths == sorted(lengths)
    assert lengths[-1] < 4_000_000


def test_the_room_in_a_wal_holds_nothing(disk: LocalEngine, folder: Path, tmp_path: Path) -> None:
    address = make(disk)
    for number in range(10):
        disk.add(address, numbered(1, number))
    copy = tmp_path / "as after a power cut"
    shutil.copytree(folder, copy)
    assert file_of(copy, address).with_name("records.db-wal").read_bytes().endswith(bytes(8_000))
    with closing(LocalEngine(copy)) as again:
        assert again.get(address).ids == [str(number) for number in range(10)]
        assert again.check(deep=True) == []


def test_the_file_is_mapped_except_while_others_write(disk: LocalEngine, folder: Path) -> None:
    address = make(disk)
    disk.add(address, numbered(10))
    path = file_of(folder, address)
    other = Database(path)

    def reads(count: int, *, after_changes: bool) -> int:
        """How much is mapped after so many reads."""
        for _ in range(count):
            if after_changes:
                with other.writing() as connection:
                    connection.execute("update head set dropped = dropped + 1")
            with database.reading() as connection:
                assert connection.execute("select rows from head").get == 10
        return int(connection.pragma("mmap_size"))

    database = Database(path)
    with database.writing():
        pass  # who has written reads the file, not an image of it
    assert reads(20, after_changes=False) > 0
    assert reads(2, after_changes=True) > 0, "once in a while is not often"
    assert reads(1, after_changes=False) > 0
    assert reads(3, after_changes=True) == 0
    assert reads(15, after_changes=False) == 0
    assert reads(1, after_changes=False) > 0
    for _ in range(5):
        with database.writing() as connection:
            connection.execute("update head set dropped = dropped + 1")
        assert reads(1, after_changes=False) > 0, "its own changes do not count"
    database.close()
    other.close()
