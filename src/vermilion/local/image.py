"""Reading a small file that nobody has open: from its bytes, in memory.

To open a file that has a WAL makes two files beside it and locks in both, which takes longer than
a query of some records. Without a WAL beside it nobody has the file open, or they have only begun
to: all there is stands in the file itself. Its bytes are compared at each read, so that what others
have written meanwhile is seen.
"""

from __future__ import annotations

import os
from pathlib import Path

import apsw

# A larger file is opened: to compare it would take as long as to lock it.
MOST_BYTES = 2**18
# The bytes of the header that say that there may be a WAL, and those of a file without one.
WAL_PLACE, WITH_WAL, _WITHOUT = slice(18, 20), b"\2\2", b"\1\1"
_FLAGS = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_MAIN_DB


class Image(apsw.Connection):
    """A file as it was when it was read, in memory."""

    content: bytes


class Images:
    """The image of one file, for one reader at a time."""

    def __init__(self, path: Path) -> None:
        self._path, self._wal = str(path), f"{path}-wal"
        self._kept: Image | None = None
        self._lent = False

    def lend(self) -> Image | None:
        """The file as it is now; None when it has to be opened."""
        if self._lent:
            return None
        kept, self._kept = self._kept, None
        content = self._read()
        if kept is not None and kept.content != content:
            kept.close()
            kept = None
        # What was read while somebody wrote to the file is not read again.
        if content is None or (kept is None and self._read() != content):
            return None
        self._lent = True
        return kept or _image(content)

    def take_back(self, image: Image, *, keep: bool) -> None:
        """Keeps it for the next read, unless the file was opened or closed meanwhile."""
        self._lent = False
        if keep:
            self._kept = image
        else:
            image.close(force=True)

    def close(self) -> None:
        """Gives up what is kept."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close(force=True)

    def _read(self) -> bytes | None:
        """The bytes of the file, if it is small, and has had no WAL all the while.

        It is read through SQLite: to close a descriptor that SQLite does not know of would free
        the locks of other connections of this process.
        """
        if os.path.exists(self._wal):
            return None
        try:
            file = apsw.VFSFile("", self._path, [_FLAGS, 0])
        except apsw.Error:  # to open it as a database tells why
            return None
        try:
            length = file.xFileSize()
            content = file.xRead(length, 0) if length <= MOST_BYTES else b""
        except apsw.Error:
            return None
        finally:
            file.xClose()
        return None if content[WAL_PLACE] != WITH_WAL or os.path.exists(self._wal) else content


def _image(content: bytes) -> Image:
    image = Image(":memory:")
    image.content = content
    alone = bytearray(content)
    alone[WAL_PLACE] = _WITHOUT
    image.deserialize("main", bytes(alone))
    return image
