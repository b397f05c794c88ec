"""Backups of a directory while others write to it, and the way back.

A backup folder holds points in time and the pieces they share (see pieces.py):

    points/2026-11-23T02-30-00.123456Z.json     what there was, and of which pieces
    pieces/ab/abcd…                             the contents, each once

Each collection is as it was at one moment of its own. One whose log has not moved since the last
point is not read again. What is kept are the records and the index files they had; the latter
only save the time to build them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from vermilion.configuration import Configuration
from vermilion.engine import CollectionInfo
from vermilion.errors import (
    ArgumentValueError,
    DamagedError,
    NotFoundError,
    StorageError,
    VersionMismatchError,
)
from vermilion.local.catalogue import Catalogue
from vermilion.local.copier import copy_collection
from vermilion.local.handles import Handles
from vermilion.local.lock import try_lock
from vermilion.local.pieces import Kept, Pieces
from vermilion.local.segment import FOLDER
from vermilion.local.sqlite import sync_directory, translated
from vermilion.local.store import RECORDS
from vermilion.times import instant
from vermilion.version import __version__

FORMAT = 1
POINTS = "points"
STAMP = "%Y-%m-%dT%H-%M-%S.%fZ"
# What a point may name, so that no file of it lands anywhere else.
_FILE = re.compile(rf"{re.escape(RECORDS)}|{FOLDER}/[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


@dataclass(frozen=True)
class BackupPoint:
    """A moment that can be restored. `new_bytes` is what it added to the folder."""

    name: str
    made: datetime
    collections: int
    records: int
    bytes: int
    new_bytes: int


@dataclass(frozen=True)
class KeptCollection:
    """A collection in a point: what it was, how far its log went, and its files."""

    info: CollectionInfo
    head: list[int]
    records: int
    files: list[Kept]


# ── making a point ───────────────────────────────────────────────────────────────────────────────


def back_up(
    catalogue: Catalogue, handles: Handles, root: Path, keep: int | None = None
) -> BackupPoint:
    """Adds a point to the backup folder, and leaves the last `keep` ones there."""
    if keep is not None and keep < 1:
        raise ArgumentValueError(f"Expected keep to be 1 or more, got {keep}")
    with _alone_in(root):
        pieces = Pieces(root)
        last = _last(root)
        collections = []
        with tempfile.TemporaryDirectory(prefix="copy-", dir=root) as copies:
            for info in catalogue.every_collection():
                with suppress(NotFoundError):  # deleted meanwhile
                    before = last.get(info.id)
                    place = Path(copies) / str(info.id)
                    collections.append(_keep(info, handles, before, pieces, place))
        databases = catalogue.every_database()
        pieces.sync()
        form = {
            "format": FORMAT,
            "version": __version__,
            "new_bytes": pieces.new_bytes,
            "databases": databases,
            "collections": [_to_form(one) for one in collections],
        }
        name = _write_point(root, form)
        if keep is not None:
            _prune(root, pieces, keep)
        return _described(name, form)


def _keep(
    info: CollectionInfo,
    handles: Handles,
    before: KeptCollection | None,
    pieces: Pieces,
    place: Path,
) -> KeptCollection:
    with handles.using(info.address) as collection:
        store = collection.store()
        if store is None:
            return KeptCollection(info, [], 0, [])
        with store.reading() as snapshot:
            now = [snapshot.head.seq, snapshot.head.generation, snapshot.head.next_key]
            rows = snapshot.head.rows
        if before is not None and before.head == now and pieces.has(before.files):
            return KeptCollection(info, now, rows, before.files)
        place.mkdir()
        snapshot_head = copy_collection(store, collection.folder, place)
        files = [pieces.keep(place / RECORDS, RECORDS)]
        for path in sorted((place / FOLDER).iterdir()):
            files.append(pieces.keep(path, f"{FOLDER}/{path.name}"))
            path.unlink()
        (place / RECORDS).unlink()
        head = [snapshot_head.seq, snapshot_head.generation, snapshot_head.next_key]
        return KeptCollection(info, head, snapshot_head.rows, files)


def _prune(root: Path, pieces: Pieces, keep: int) -> None:
    names = _names(root)
    for name in names[:-keep]:
        (root / POINTS / name).unlink()
    wanted = {
        digest
        for name in names[-keep:]
        for one in _collections(_read_point(root, name))
        for kept in one.files
        for digest in kept.pieces
    }
    pieces.remove_others(wanted)


# ── reading points ───────────────────────────────────────────────────────────────────────────────


def list_points(root: Path) -> list[BackupPoint]:
    """The points of a backup folder, the oldest first. Raises NotFoundError if it is none."""
    return [_described(name, _read_point(root, name)) for name in _need_names(root)]


def kept_at(root: Path, at: str | datetime | None) -> tuple[list[list[str]], list[KeptCollection]]:
    """Databases and collections of the last point, or of the last one that is not after `at`."""
    form = _read_point(root, _chosen(_need_names(root), at))
    return form["databases"], _collections(form)


def verify(root: Path) -> int:
    """Reads every piece of every point; returns how many files are whole. Raises DamagedError."""
    pieces, seen = Pieces(root), set()
    for name in _need_names(root):
        for one in _collections(_read_point(root, name)):
            for kept in one.files:
                key = (kept.size, *kept.pieces)
                if key not in seen:
                    seen.add(key)
                    for _ in pieces.read(kept):
                        pass
    return len(seen)


def write_files(root: Path, kept: KeptCollection, folder: Path) -> None:
    """Makes the collection's files again in an empty folder."""
    pieces = Pieces(root)
    (folder / FOLDER).mkdir()
    for file in kept.files:
        if not _FILE.fullmatch(file.name):
            raise DamagedError(f"The backup names a file {file.name!r}, which no collection has")
        pieces.write(file, folder / file.name)


def _names(root: Path) -> list[str]:
    return sorted(path.name for path in (root / POINTS).glob("*.json"))


def _need_names(root: Path) -> list[str]:
    names = _names(root)
    if not names:
        raise NotFoundError(f"{root} holds no backup")
    return names


def _chosen(names: Sequence[str], at: str | datetime | None) -> str:
    if at is None:
        return names[-1]
    if isinstance(at, str) and f"{at}.json" in names:
        return f"{at}.json"
    moment = instant(at, "the name of a point or a time")
    before = [name for name in names if _made(name) <= moment]
    if not before:
        raise NotFoundError(f"The oldest point is {Path(names[0]).stem}, which is after {at}")
    return before[-1]


def _made(name: str) -> datetime:
    return datetime.strptime(name.removesuffix(".json"), STAMP).replace(tzinfo=UTC)


def _last(root: Path) -> dict[UUID, KeptCollection]:
    names = _names(root)
    if not names:
        return {}
    return {one.info.id: one for one in _collections(_read_point(root, names[-1]))}


# ── the file of a point ──────────────────────────────────────────────────────────────────────────


def _write_point(root: Path, form: dict[str, Any]) -> str:
    line = json.dumps(form, ensure_ascii=False)
    digest = hashlib.sha256(line.encode()).hexdigest()
    name = f"{datetime.now(UTC).strftime(STAMP)}.json"
    draft = root / POINTS / f"{name}.new"
    with translated(str(root)):
        with open(draft, "x", encoding="utf-8") as file:
            file.write(f"{line}\n{digest}\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, draft.with_name(name))
        sync_directory(root / POINTS)
    return name


def _read_point(root: Path, name: str) -> dict[str, Any]:
    path = root / POINTS / name
    with translated(str(path)):
        text = path.read_bytes()
    line, _, digest = text.rstrip(b"\n").rpartition(b"\n")
    if hashlib.sha256(line).hexdigest().encode() != digest:
        raise DamagedError(f"{path} is damaged: it is not what was backed up")
    form: dict[str, Any] = json.loads(line)
    if form["format"] > FORMAT:
        raise VersionMismatchError(
            f"{path} is of format {form['format']}, this release reads up to {FORMAT}"
        )
    return form


def _described(name: str, form: dict[str, Any]) -> BackupPoint:
    collections = form["collections"]
    return BackupPoint(
        name.removesuffix(".json"),
        _made(name),
        len(collections),
        sum(one["records"] for one in collections),
        sum(file["size"] for one in collections for file in one["files"]),
        form["new_bytes"],
    )


def _to_form(kept: KeptCollection) -> dict[str, Any]:
    return {
        **info_form(kept.info),
        "head": kept.head,
        "records": kept.records,
        "files": [file._asdict() for file in kept.files],
    }


def _collections(form: dict[str, Any]) -> list[KeptCollection]:
    return [
        KeptCollection(
            info_of(one), one["head"], one["records"], [Kept(**file) for file in one["files"]]
        )
        for one in form["collections"]
    ]


def info_form(info: CollectionInfo) -> dict[str, Any]:
    """A collection's description as plain values."""
    return {
        "id": str(info.id),
        "name": info.name,
        "tenant": info.tenant,
        "database": info.database,
        "configuration": info.configuration.to_stored(),
        "metadata": info.metadata,
        "schema": info.schema,
        "dimension": info.dimension,
    }


def info_of(form: dict[str, Any]) -> CollectionInfo:
    """The description that `info_form` wrote."""
    return CollectionInfo(
        UUID(form["id"]),
        form["name"],
        form["tenant"],
        form["database"],
        Configuration.from_stored(form["configuration"]),
        form["metadata"],
        form["dimension"],
        form["schema"],
    )


# ── one at a time ────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _alone_in(root: Path) -> Iterator[None]:
    with translated(str(root)):
        (root / POINTS).mkdir(parents=True, exist_ok=True)
        with try_lock(root / "backup.lock") as free:
            if not free:
                raise StorageError(f"Another backup into {root} is being made")
            yield
