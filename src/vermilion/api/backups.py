"""Backups, restoring and bundles at the doors: methods of clients, functions, and commands."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from vermilion.api.collection import Collection
from vermilion.api.sharing import Lease, lease_directory
from vermilion.embeddings.default import DefaultEmbeddingFunction
from vermilion.engine import CollectionInfo, Engine
from vermilion.errors import AlreadyExistsError, NotFoundError, StorageError, UnsupportedError
from vermilion.names import check_collection_name
from vermilion.records import check_count

if TYPE_CHECKING:  # the last two load SQLite, which not every program that imports us needs
    import argparse

    from vermilion.local.backup import BackupPoint
    from vermilion.local.engine import LocalEngine

Place = str | os.PathLike[str]

BACKUP = "Add a point to a folder of backups, while others write"
BACKUPS = "List the points of a folder of backups"
RESTORE = "Bring collections back from a folder of backups"


class BackingUp:
    """What `Client` inherits."""

    tenant: str
    database: str
    _lease: Lease

    def backup(self, path: Place, *, keep: int | None = None) -> BackupPoint:
        """Adds a point to the folder of backups at `path`; others may write meanwhile.

        It holds all tenants and databases of the directory, each collection as it is at one
        moment. The first point takes about as much room as the directory, later ones what has
        changed since. With `keep` only the last so many points stay.
        """
        count = check_count("keep", keep)
        return _local(self._lease.engine()).back_up(Path(path), count)

    def restore(
        self,
        path: Place,
        *,
        at: str | datetime | None = None,
        collections: Sequence[str] | None = None,
        replace: bool = False,
    ) -> list[CollectionInfo]:
        """Brings collections back from the folder of backups at `path`, into their databases.

        Those of the last point, or of the last one not after `at` (its name, or a time). Without
        names all of them; each comes back whole or not at all. Raises AlreadyExistsError, before
        anything is restored, where a name is taken, unless `replace`.
        """
        names = [collections] if isinstance(collections, str) else collections
        return _local(self._lease.engine()).restore(Path(path), at, names, replace=replace)

    def load_bundle(self, path: Place, name: str | None = None) -> Collection:
        """Adds the collection in a file of `Collection.save_bundle`, under `name` or its own.

        The file may come from anybody: its checksums and all that it says are checked first.
        """
        checked = None if name is None else check_collection_name(name)
        engine = _local(self._lease.engine())
        info = engine.load_bundle(Path(path), checked, self.tenant, self.database)
        found = engine.get_collection_by_id(info.address)
        return Collection(self._lease.engine, found, DefaultEmbeddingFunction())


# ── functions ────────────────────────────────────────────────────────────────────────────────────


def list_backups(path: Place) -> list[BackupPoint]:
    """The points of a folder of backups, the oldest first. Raises NotFoundError if it is none."""
    from vermilion.local.backup import list_points

    return list_points(Path(path))


def verify_backup(path: Place) -> int:
    """Reads all of a folder of backups; returns how many files are whole. Raises DamagedError."""
    from vermilion.local.backup import verify

    return verify(Path(path))


def restore_backup(
    backup: Place,
    path: Place,
    *,
    at: str | datetime | None = None,
    collections: Sequence[str] | None = None,
    replace: bool = False,
) -> list[CollectionInfo]:
    """As `Client.restore`, into the directory at `path`.

    A new one appears when everything is in it.
    """
    target = Path(path)
    if (target / "catalogue.db").exists():
        return _restored(target, Path(backup), at, collections, replace)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise StorageError(f"{target} is neither a database nor an empty directory")
    draft = target.with_name(f"{target.name}.restoring")
    if draft.exists():
        raise AlreadyExistsError(
            f"{draft} is there: somebody is restoring, or did not get to the end. Remove it"
        )
    try:
        infos = _restored(draft, Path(backup), at, collections, replace)
        if target.exists():
            target.rmdir()
        draft.rename(target)
    except BaseException:
        import shutil  # as in local/drafts.py

        shutil.rmtree(draft, ignore_errors=True)
        raise
    return infos


def _restored(
    target: Path,
    backup: Path,
    at: str | datetime | None,
    collections: Sequence[str] | None,
    replace: bool,
) -> list[CollectionInfo]:
    list_backups(backup)  # before a directory is made
    lease = lease_directory(target)
    try:
        return _local(lease.engine()).restore(backup, at, collections, replace=replace)
    finally:
        lease.release()


def _local(engine: Engine) -> LocalEngine:
    from vermilion.local.engine import LocalEngine

    if not isinstance(engine, LocalEngine):
        raise UnsupportedError(
            "Backups and bundles are made where the database's directory is: on the server, by "
            "`vermilion backup PATH FOLDER`"
        )
    return engine


# ── commands ─────────────────────────────────────────────────────────────────────────────────────


def add_backup_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `vermilion backup`."""
    _add_path(parser, "path", "PATH", "the directory of the database")
    _add_path(parser, "target", "FOLDER", "the folder of backups, made if need be")
    parser.add_argument("--keep", metavar="N", type=int, help="leave only the last N points there")


def backup(arguments: argparse.Namespace) -> None:
    """Adds a point and prints it."""
    if not (arguments.path / "catalogue.db").is_file():
        raise NotFoundError(f"{arguments.path} holds no database")
    lease = lease_directory(arguments.path)
    try:
        point = _local(lease.engine()).back_up(arguments.target, arguments.keep)
    finally:
        lease.release()
    print(_line(point))


def add_backups_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `vermilion backups`."""
    _add_path(parser, "folder", "FOLDER", "the folder of backups")
    parser.add_argument("--verify", action="store_true", help="read all of it, and compare")


def backups(arguments: argparse.Namespace) -> None:
    """Prints the points, one a line."""
    for point in list_backups(arguments.folder):
        print(_line(point))
    if arguments.verify:
        print(f"{verify_backup(arguments.folder)} files are whole")


def add_restore_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `vermilion restore`."""
    _add_path(parser, "folder", "FOLDER", "the folder of backups")
    _add_path(parser, "path", "PATH", "a database, or a directory to be made")
    parser.add_argument(
        "--at", metavar="POINT", help="a point's name, or a time (default: the last)"
    )
    parser.add_argument(
        "--collection", metavar="NAME", action="append", help="only this one; may be repeated"
    )
    parser.add_argument(
        "--replace", action="store_true", help="take the place of collections of the same names"
    )


def restore(arguments: argparse.Namespace) -> None:
    """Prints what was restored."""
    infos = restore_backup(
        arguments.folder,
        arguments.path,
        at=arguments.at,
        collections=arguments.collection,
        replace=arguments.replace,
    )
    for info in infos:
        print(f"{info.tenant}/{info.database}/{info.name}")


def _add_path(parser: argparse.ArgumentParser, name: str, shown: str, purpose: str) -> None:
    parser.add_argument(name, metavar=shown, type=Path, help=purpose)


def _line(point: BackupPoint) -> str:
    return (
        f"{point.name}: {point.collections} collections, {point.records} records, "
        f"{point.bytes / 1e6:,.1f} MB, {point.new_bytes / 1e6:,.1f} MB of them new"
    )
