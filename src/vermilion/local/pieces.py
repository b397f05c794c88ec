"""Files kept as pieces that are named by their contents: what is the same is kept once.

The second backup of a large file takes the room of what has changed in it. A piece is checked
whenever it is read: its name is the SHA-256 of what it holds.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from vermilion.errors import DamagedError
from vermilion.local.sqlite import sync_directory, translated

PIECE_BYTES = 2**19
FOLDER = "pieces"


class Kept(NamedTuple):
    """A file that is kept: its name, its length, and its pieces in their order."""

    name: str
    size: int
    pieces: list[str]


class Pieces:
    """The pieces in one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root / FOLDER
        self._touched: set[Path] = set()
        self.new_bytes = 0

    def keep(self, path: Path, name: str) -> Kept:
        """Takes in what is new of a file. `sync` makes it last."""
        pieces: list[str] = []
        size = 0
        with translated(str(path)), open(path, "rb") as file:
            while piece := file.read(PIECE_BYTES):
                pieces.append(self._keep(piece))
                size += len(piece)
        return Kept(name, size, pieces)

    def _keep(self, piece: bytes) -> str:
        digest = hashlib.sha256(piece).hexdigest()
        place = self._of(digest)
        if not place.exists():
            draft = place.with_name(f"{digest}.{os.getpid()}.new")
            with translated(str(place)):
                place.parent.mkdir(parents=True, exist_ok=True)
                try:
                    with open(draft, "xb") as file:
                        file.write(piece)
                        file.flush()
                        os.fsync(file.fileno())
                    os.replace(draft, place)
                except BaseException:
                    draft.unlink(missing_ok=True)  # it may be what fills the disk
                    raise
            self._touched.add(place.parent)
            self.new_bytes += len(piece)
        return digest

    def has(self, files: Iterable[Kept]) -> bool:
        """Whether every piece of these files is here."""
        return all(self._of(digest).exists() for kept in files for digest in kept.pieces)

    def sync(self) -> None:
        """Brings the names of the new pieces to the disk; their contents are there."""
        with translated(str(self._root)):
            for folder in self._touched:
                sync_directory(folder)
            if self._touched:
                sync_directory(self._root)
        self._touched.clear()

    def read(self, kept: Kept) -> Iterator[bytes]:
        """What the file held. Raises DamagedError when a piece is not what was kept."""
        size = 0
        for digest in kept.pieces:
            piece = self._read(digest)
            size += len(piece)
            yield piece
        if size != kept.size:
            raise DamagedError(f"{kept.name} of the backup has {size} bytes instead of {kept.size}")

    def _read(self, digest: str) -> bytes:
        place = self._of(digest)
        try:
            piece = place.read_bytes()
        except OSError as error:
            raise DamagedError(f"A piece of the backup cannot be read: {error}") from error
        if hashlib.sha256(piece).hexdigest() != digest:
            raise DamagedError(f"{place} is damaged: it is not what was backed up")
        return piece

    def write(self, kept: Kept, path: Path) -> None:
        """Makes the file again; it is on the disk when the call returns."""
        with translated(str(path)), open(path, "xb") as file:
            for piece in self.read(kept):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())

    def remove_others(self, wanted: set[str]) -> int:
        """Removes the pieces that are none of these; returns how many bytes."""
        freed = 0
        for path in self._root.glob("??/*"):
            if path.name not in wanted:
                with suppress(OSError):
                    size = path.stat().st_size
                    path.unlink()
                    freed += size
        return freed

    def _of(self, digest: str) -> Path:
        return self._root / digest[:2] / digest
