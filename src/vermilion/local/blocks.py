"""Files of named arrays: written once, mapped, and believed only after their checksums agree.

    magic, length of the header, CRC of the header
    header: JSON with kind, version, values, and for each block its dtype, shape, place and CRC
    the blocks, each at a multiple of 64 bytes

Indexes live in such files. They are caches: whatever is wrong with one, the answer is
`CacheDamaged`, and the index is made again from the store.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

MAGIC = b"VMLNBLK1"
ALIGNMENT = 64
_PREFIX = struct.Struct("<8sII")
MAX_HEADER = 64 * 2**20


class CacheDamaged(Exception):
    """The file is not what was written, or of another version; it has to be made again."""


def write_blocks(
    path: Path,
    kind: str,
    version: int,
    blocks: Mapping[str, NDArray[Any] | bytes],
    values: Mapping[str, Any] | None = None,
) -> None:
    """Writes a file that is complete from the moment it has its name.

    Not synced: a cache that a power cut takes is made again.
    """
    arrays = {
        name: np.frombuffer(block, np.uint8) if isinstance(block, bytes) else block
        for name, block in blocks.items()
    }
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    table: dict[str, dict[str, Any]] = {}
    place = 0
    for name, array in arrays.items():
        place = _aligned(place)
        table[name] = {
            "dtype": array.dtype.str,
            "shape": list(array.shape),
            "place": place,
            "crc": crc32(array.data.cast("B")) if array.size else 0,
        }
        place += array.nbytes
    header = json.dumps(
        {"kind": kind, "version": version, "values": values or {}, "blocks": table, "size": place}
    ).encode()
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    with open(draft, "wb") as file:
        file.write(_PREFIX.pack(MAGIC, len(header), crc32(header)) + header)
        start = _aligned(file.tell())
        for name, array in arrays.items():
            file.seek(start + int(table[name]["place"]))
            if array.size:
                file.write(array.data.cast("B"))
        file.truncate(start + place)
    os.replace(draft, path)


def _aligned(place: int) -> int:
    return -(-place // ALIGNMENT) * ALIGNMENT


class Blocks:
    """A mapped file of blocks. Each is checked when it is first asked for."""

    def __init__(self, path: Path, kind: str, version: int) -> None:
        """Opens and checks the header. Raises CacheDamaged."""
        self._path = path
        try:
            with open(path, "rb") as file:
                self._read_header(file, kind, version)
                empty = not self._header["size"]
                self._map = None if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
            raise CacheDamaged(f"{path}: {error}") from error
        self._checked: dict[str, NDArray[Any]] = {}

    def _read_header(self, file: Any, kind: str, version: int) -> None:
        magic, length, crc = _PREFIX.unpack(file.read(_PREFIX.size))
        if magic != MAGIC or length > MAX_HEADER:
            raise ValueError("not a file of blocks")
        text = file.read(length)
        if len(text) != length or crc32(text) != crc:
            raise ValueError("the header is damaged")
        self._header: dict[str, Any] = json.loads(text)
        if (self._header["kind"], self._header["version"]) != (kind, version):
            raise ValueError(f"not {kind} of version {version}")
        self._start = _aligned(file.tell())
        size = os.fstat(file.fileno()).st_size
        if size != self._start + self._header["size"]:
            raise ValueError(f"{size} bytes long instead of {self._start + self._header['size']}")

    @property
    def values(self) -> dict[str, Any]:
        """The plain values that were written with the blocks."""
        values: dict[str, Any] = self._header["values"]
        return values

    def check(self) -> Blocks:
        """Checks every block now. Raises CacheDamaged."""
        for name in self._header["blocks"]:
            self.array(name)
        return self

    def __contains__(self, name: str) -> bool:
        return name in self._header["blocks"]

    def array(self, name: str) -> NDArray[Any]:
        """The block as a read-only array. Raises CacheDamaged when its checksum is wrong."""
        if name not in self._checked:
            self._checked[name] = self._check(name)
        return self._checked[name]

    def _check(self, name: str) -> NDArray[Any]:
        try:
            row = self._header["blocks"][name]
            dtype = np.dtype(row["dtype"])
        except (KeyError, TypeError) as error:
            raise CacheDamaged(f"{self._path}: no block {name}") from error
        count = int(np.prod(row["shape"], dtype=np.int64))
        if not count or self._map is None:
            return np.empty(row["shape"], dtype)
        array = np.frombuffer(self._map, dtype, count, self._start + row["place"])
        if crc32(array.data.cast("B")) != row["crc"]:
            raise CacheDamaged(f"{self._path}: block {name} is damaged")
        return array.reshape(row["shape"])
