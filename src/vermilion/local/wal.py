"""The log that SQLite writes ahead of a file: kept short, with room in it for the next write.

A commit that makes the log longer also waits for the file system to note its new length, which
takes as long again as the data. So the log is lengthened by zeros, in steps, by writes that wait
for the disk anyway, and most commits overwrite what is there. To SQLite zeros are no frames: what
it finds after a crash ends at the first that is none.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import apsw

# A longer one is copied into the database by whichever writer finds it so.
WAL_BYTES = 32 * 2**20
# It is lengthened by as much as is in use, within these bounds.
LEAST_ROOM, MOST_ROOM = 2**16, 2**20
# A longer commit is not made room for: to write its zeros would take longer than they save.
LONG_COMMIT = 2**18
BUSY_MS = 60_000
# Readers may be in the way, for long if they build an index: the next writer tries again.
CHECKPOINT_BUSY_MS = 2
# What stands before the frames, and before the page in each.
_HEADER, _FRAME_HEADER = 32, 24


class Wal:
    """The log beside one file, as the connections of this process know it."""

    def __init__(self, path: Path) -> None:
        """`path` is that of the database."""
        self._path = f"{path}-wal"
        self._frame = 0
        self.forget()

    def forget(self) -> None:
        """Begins anew: the file may be closed, and the log be gone."""
        self._used = 0  # as of the last commit here, and what that one took
        self._last = 0
        self._length = 0  # of the log's file, at most: others may have cut it

    def watch(self, connection: apsw.Connection) -> None:
        """Has commits of this connection counted; SQLite does not checkpoint after them."""
        connection.set_wal_hook(self._committed)

    def _committed(self, connection: apsw.Connection, name: str, pages: int) -> int:
        if name == "main":
            used = _HEADER + pages * self._frame
            self._last = used - self._used if used > self._used else used
            self._used = used
        return 0

    def make_room(self, connection: apsw.Connection) -> None:
        """Lengthens the log if the next commit would; to be called inside a write transaction.

        Nobody else writes to the log then: what lies behind its end is nobody's.
        """
        if not self._frame:
            self._frame = int(connection.pragma("page_size")) + _FRAME_HEADER
        if self._used + self._last <= self._length or self._last > LONG_COMMIT:
            return
        with suppress(OSError):  # the commit tells if the disk is full
            self._lengthen(min(max(self._used, LEAST_ROOM), MOST_ROOM))

    def _lengthen(self, room: int) -> None:
        with open(self._path, "r+b", buffering=0) as file:
            end = self._length = file.seek(0, os.SEEK_END)
            if not self._used <= end <= min(self._used + self._last, WAL_BYTES - room):
                return
            try:
                self._length += file.write(bytes(room))
            finally:
                if self._length < end + room:
                    file.truncate(end)
                    self._length = end

    def shorten(self, connection: apsw.Connection) -> None:
        """Copies a long log into the database, for a bounded time: readers may be in the way."""
        if max(self._used, self._length) <= WAL_BYTES:
            return
        try:
            self._length = os.stat(self._path).st_size
        except OSError:
            return
        if self._length <= WAL_BYTES:  # a log that starts over is cut to exactly this
            return
        connection.set_busy_timeout(CHECKPOINT_BUSY_MS)
        try:
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
        except apsw.Error:
            # Readers are in the way, or the disk is full. What was written is safe in the log
            # and was reported as done already: the next writer tries again.
            pass
        finally:
            connection.set_busy_timeout(BUSY_MS)
