"""The pages of a SQLite file, read without SQLite, for files in which it finds no way.

Only what is needed to bring out rows: leaves of tables, the pages above them, overflow chains and
the list of free pages. Everything is checked against the length of the page it stands in; what
does not fit is left aside and counted. (The file format: https://sqlite.org/fileformat2.html)
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

_TABLE_LEAF, _TABLE_INTERIOR, _INDEX_LEAF, _INDEX_INTERIOR = 0x0D, 0x05, 0x0A, 0x02
_KINDS = (_TABLE_LEAF, _TABLE_INTERIOR, _INDEX_LEAF, _INDEX_INTERIOR)
_USUAL_PAGE = 4096
_FILE_HEADER = 100
# Integers by serial type: their bytes.
_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}


class Row(NamedTuple):
    """One row of some table."""

    rowid: int
    values: list[Any]


class BrokenCell(Exception):
    """A cell that does not fit into its page."""


class Pages:
    """The file, page by page; the first one is number 1."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "rb")  # noqa: SIM115 (closed by `close`)
        header = self._file.read(_FILE_HEADER)
        self.size = _page_size(header)
        self._usable = self.size - (header[20] if len(header) > 20 and header[20] < 64 else 0)
        self.count = -(-path.stat().st_size // self.size)
        self.broken = 0
        self._free_start = struct.unpack_from(">I", header, 32)[0] if len(header) > 36 else 0

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def page(self, number: int) -> bytes:
        """The bytes of a page, filled up with zeros where the file ends."""
        if not 1 <= number <= self.count:
            return b""
        self._file.seek((number - 1) * self.size)
        return self._file.read(self.size).ljust(self.size, b"\0")

    def kind(self, number: int) -> int | None:
        """What sort of tree page it says it is."""
        page = self.page(number)
        start = _FILE_HEADER if number == 1 else 0
        return page[start] if page and page[start] in _KINDS else None

    def free(self) -> set[int]:
        """The pages that belong to nothing."""
        found: set[int] = set()
        trunk = self._free_start
        while 1 <= trunk <= self.count and trunk not in found:
            found.add(trunk)
            page = self.page(trunk)
            following, length = struct.unpack_from(">II", page)
            length = min(length, self.size // 4 - 2)
            found.update(struct.unpack_from(f">{length}I", page, 8))
            trunk = following
        return found

    def leaves(self, root: int) -> Iterator[int]:
        """The leaves of a table's tree from left to right, as far as there is a way."""
        waiting, seen = [root], set()
        while waiting:
            number = waiting.pop()
            if number in seen:
                continue
            seen.add(number)
            kind = self.kind(number)
            if kind == _TABLE_LEAF:
                yield number
            elif kind == _TABLE_INTERIOR:
                waiting.extend(reversed(self._children(number)))
            else:
                self.broken += 1

    def _children(self, number: int) -> list[int]:
        page = self.page(number)
        start = _FILE_HEADER if number == 1 else 0
        children = []
        for at in self._pointers(page, start, 12):
            if at + 4 <= len(page):
                children.append(struct.unpack_from(">I", page, at)[0])
        children.append(struct.unpack_from(">I", page, start + 8)[0])
        return children

    def _pointers(self, page: bytes, start: int, head: int) -> tuple[int, ...]:
        count = struct.unpack_from(">H", page, start + 3)[0]
        count = min(count, (len(page) - start - head) // 2)
        return struct.unpack_from(f">{count}H", page, start + head)

    def rows(self, number: int) -> Iterator[Row]:
        """The rows of a leaf that are whole."""
        page = self.page(number)
        start = _FILE_HEADER if number == 1 else 0
        if not page or page[start] != _TABLE_LEAF:
            return
        for at in self._pointers(page, start, 8):
            try:
                yield self._row(page, at)
            except (BrokenCell, IndexError, struct.error, UnicodeDecodeError):
                self.broken += 1

    def entries(self, number: int) -> Iterator[list[Any]]:
        """The entries of a page of an index that are whole: the columns, then the rowid."""
        kind = self.kind(number)
        if kind not in (_INDEX_LEAF, _INDEX_INTERIOR):
            return
        page = self.page(number)
        head, before = (8, 0) if kind == _INDEX_LEAF else (12, 4)
        for at in self._pointers(page, 0, head):
            try:
                length, at = _varint(page, at + before)
                most = (self._usable - 12) * 64 // 255 - 23
                yield _record(self._payload(page, at, length, most))
            except (BrokenCell, IndexError, struct.error, UnicodeDecodeError):
                continue

    def _row(self, page: bytes, at: int) -> Row:
        if at < 8:
            raise BrokenCell
        length, at = _varint(page, at)
        rowid, at = _varint(page, at)
        payload = self._payload(page, at, length, self._usable - 35)
        return Row(rowid - 2**64 if rowid >= 2**63 else rowid, _record(payload))

    def _payload(self, page: bytes, at: int, length: int, most: int) -> bytes:
        """The bytes of a cell, of which at most so many stand in its page."""
        usable = self._usable
        if length <= most:
            local = length
        else:
            least = (usable - 12) * 32 // 255 - 23
            wanted = least + (length - least) % (usable - 4)
            local = wanted if wanted <= most else least
        parts = [page[at : at + local]]
        if len(parts[0]) < local or length > self.count * self.size:
            raise BrokenCell
        missing = length - local
        following = struct.unpack_from(">I", page, at + local)[0] if missing else 0
        while missing:
            more = self.page(following)
            if not more:
                raise BrokenCell
            part = more[4 : 4 + min(missing, usable - 4)]
            parts.append(part)
            missing -= len(part)
            following = struct.unpack_from(">I", more)[0]
        return b"".join(parts)


def _page_size(header: bytes) -> int:
    size = struct.unpack_from(">H", header, 16)[0] if len(header) >= 18 else 0
    size = 65536 if size == 1 else size
    return size if size >= 512 and size & (size - 1) == 0 else _USUAL_PAGE


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(8):
        byte = data[at + place]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + place + 1
    return value << 8 | data[at + 8], at + 9


def _record(payload: bytes) -> list[Any]:
    end, at = _varint(payload, 0)
    if end > len(payload):
        raise BrokenCell
    kinds = []
    while at < end:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    values = []
    for kind in kinds:
        value, end = _value(payload, end, kind)
        values.append(value)
    if end != len(payload):
        raise BrokenCell
    return values


def _value(payload: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind in (0, 8, 9):
        return {0: None, 8: 0, 9: 1}[kind], at
    if kind in (10, 11):
        raise BrokenCell
    if kind == 7:
        return struct.unpack_from(">d", payload, at)[0], at + 8
    length = _INTEGERS.get(kind, (kind - 12) // 2)
    cell = payload[at : at + length]
    if len(cell) < length:
        raise BrokenCell
    if kind in _INTEGERS:
        return int.from_bytes(cell, "big", signed=True), at + length
    return (cell.decode("utf-8") if kind % 2 else cell), at + length
