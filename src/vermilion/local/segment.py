"""A segment: immutable index files over some records, as they were at one moment.

Each part is a file of its own: keys, vectors, signs, columns, text. A part is checked as a whole
before it is believed. A segment of which anything is wrong is not used; its records are then read
from the store like any others that no segment holds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from vermilion.local.blocks import Blocks, CacheDamaged, write_blocks
from vermilion.local.index.sealed_columns import SealedColumns, build_columns
from vermilion.local.index.sealed_vectors import SealedVectors, build_vectors
from vermilion.local.index.signs import SealedSigns, build_signs
from vermilion.local.index.text import TextPostings, build_text
from vermilion.local.snapshot import Keys, Snapshot
from vermilion.types import Space

FOLDER = "indexes"
# The layout of each part; a file of another version is made again.
VERSIONS = {"keys": 1, "vectors": 1, "signs": 1, "columns": 1, "text": 1}
# So many searches of a process are answered by the signs before the codes are loaded, which takes
# as long as some twenty of them.
BY_SIGNS = 8


class Segment:
    """The parts of one segment, opened when they are needed."""

    def __init__(self, folder: Path, name: str) -> None:
        """Opens the keys. Raises CacheDamaged, as every part does."""
        self.name = name
        self._folder = folder
        self.keys: Keys = self._blocks("keys").array("keys")
        if self.keys.dtype != np.int64:
            raise CacheDamaged(f"segment {name}: keys of type {self.keys.dtype}")
        self.vectors: SealedVectors | None = None
        self._signs: SealedSigns | None = None
        self._searches = 0
        self.columns: SealedColumns | None = None
        self.text: TextPostings | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def open(self, *, vectors: bool, columns: bool, text: bool) -> None:
        """Opens the parts that are needed and not open yet."""
        if vectors and self.vectors is None:
            self._open_signs()
            self.vectors = SealedVectors(self._blocks("vectors"))
            self._check_length(self.vectors)
        if columns and self.columns is None:
            self.columns = SealedColumns(self._blocks("columns"))
        if text and self.text is None:
            self.text = TextPostings(self._blocks("text"))

    def open_for(self, searches: int) -> None:
        """Opens what so many more searches need: the signs, or in the long run the codes."""
        self._searches += searches
        if self._searches > BY_SIGNS:
            self.open(vectors=True, columns=False, text=False)
        elif searches and self._signs is None:
            self._header("vectors")
            self._open_signs()

    @property
    def scanned(self) -> SealedVectors | SealedSigns:
        """What finds candidates: the codes, or until they are loaded the signs."""
        found = self.vectors or self._signs
        assert found is not None, "the vectors were not asked for"
        return found

    def doubt_signs(self) -> None:
        """Has the next search use the codes."""
        self._searches += BY_SIGNS

    def _open_signs(self) -> None:
        if self._signs is None:
            self._signs = SealedSigns(self._blocks("signs"))
            self._check_length(self._signs)

    def _check_length(self, part: SealedVectors | SealedSigns) -> None:
        if len(part) != len(self):
            raise CacheDamaged(f"segment {self.name}: keys and vectors differ in number")

    def _blocks(self, part: str) -> Blocks:
        return self._header(part).check()

    def _header(self, part: str) -> Blocks:
        """The file, its blocks not checked yet."""
        return Blocks(_path(self._folder, self.name, part), part, VERSIONS[part])


def build_segment(folder: Path, space: Space, snapshot: Snapshot, keys: Keys) -> str | None:
    """Writes a segment over the records with these ascending keys; returns its name.

    None when their vectors cannot be coded.
    """
    # Names ascend with time: where a key is in two segments, the later one has the record.
    name = f"{snapshot.head.seq:016x}{uuid4().hex[:8]}"
    rows = snapshot.vectors(keys)
    vectors = build_vectors(space, rows)
    if vectors is None:
        return None
    signs = build_signs(space, rows)
    del rows  # columns and text take memory of their own
    folder.mkdir(exist_ok=True)
    try:
        _write(folder, name, "keys", {"keys": keys})
        _write(folder, name, "vectors", *vectors)
        _write(folder, name, "signs", *signs)
        _write(folder, name, "columns", *build_columns(snapshot.metadatas(keys)))
        _write(folder, name, "text", build_text(snapshot.documents(keys)))
    except BaseException:
        for leftover in folder.glob(f"{name}.*"):  # every attempt would leave some on a full disk
            leftover.unlink(missing_ok=True)
        raise
    return name


def remove_others(folder: Path, names: set[str]) -> None:
    """Removes the files of every segment but these; what is in use goes another time."""
    for path in folder.iterdir() if folder.exists() else ():
        if path.name.partition(".")[0] not in names:
            try:
                path.unlink()
            except OSError:
                continue


def _write(
    folder: Path,
    name: str,
    part: str,
    blocks: dict[str, NDArray[Any] | bytes],
    values: dict[str, Any] | None = None,
) -> None:
    write_blocks(_path(folder, name, part), part, VERSIONS[part], blocks, values)


def _path(folder: Path, name: str, part: str) -> Path:
    return folder / f"{name}.{part}"
