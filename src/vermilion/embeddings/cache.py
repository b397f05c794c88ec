"""Vectors of texts that were embedded before, in a file: nothing is embedded or paid for twice.

The file is a cache: whatever is wrong with it, the function is asked instead. A vector is found by
what made it (the function's name and configuration, document or query) and by the text's SHA-256,
so the file holds no text. Any number of processes may share one.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from vermilion.embeddings.base import LEGACY, stored_form
from vermilion.errors import ArgumentTypeError, StorageError
from vermilion.logs import log
from vermilion.places import user_caches

Matrix = NDArray[np.float32]
Purpose = Literal["document", "query"]

# Older rows go once a file has more than this.
LIMIT_BYTES = 2**30
# The least time between two looks at the size.
_TRIM_SECONDS = 60.0
_SCRIPT = """
create table if not exists vectors (
    maker blob not null,      -- SHA-256 of the function's name, configuration and purpose
    text blob not null,       -- SHA-256 of the text
    vector blob not null,     -- little-endian float32
    crc integer not null,
    used integer not null,    -- the day it was last asked for, since 1970
    primary key (maker, text)
) without rowid;
create index if not exists by_use on vectors (used);
"""


class Lookup(NamedTuple):
    """Texts that were looked for: what was found, and by its hash what has to be made.

    Each text is there once, however often it stands in `hashes`.
    """

    maker: bytes
    hashes: list[bytes]
    found: dict[bytes, Matrix]
    missing: dict[bytes, str]


class EmbeddingCache:
    """A file of vectors. Opened by the first text that it is asked about."""

    def __init__(self, path: str | os.PathLike[str], limit_bytes: int = LIMIT_BYTES) -> None:
        """The file is made when it is not there; its folder has to be."""
        self._path = Path(path)
        self._limit = limit_bytes
        self._lock = threading.Lock()
        self._connection: Any = None
        self._process = 0
        self._trimmed = 0.0

    def look_up(self, function: Any, texts: Sequence[str], purpose: Purpose) -> Lookup | None:
        """What is here of these texts; None for a function that cannot be told from others."""
        maker = _maker(function, purpose)
        if maker is None:
            return None
        hashes = [_hash(text) for text in texts]
        found = self._look_up(maker, set(hashes))
        missing = {key: text for key, text in zip(hashes, texts, strict=True) if key not in found}
        return Lookup(maker, hashes, found, missing)

    def complete(self, lookup: Lookup, made: Matrix) -> Matrix:
        """One row per text: what was found, and what was made of the missing ones, which is kept.

        What has another number of rows is returned as it is, and not kept.
        """
        if len(made) != len(lookup.missing):
            return made
        new = dict(zip(lookup.missing, made, strict=True))
        if new:
            self._keep(lookup.maker, new)
        known = lookup.found | new
        return np.stack([known[key] for key in lookup.hashes])

    def close(self) -> None:
        """Closes the file; the next text opens it again."""
        with self._lock:
            if self._connection is not None and self._process == os.getpid():
                self._connection.close()
            self._connection = None

    # ── the file ─────────────────────────────────────────────────────────────────────────────────

    def _look_up(self, maker: bytes, hashes: set[bytes]) -> dict[bytes, NDArray[np.float32]]:
        found: dict[bytes, NDArray[np.float32]] = {}
        today = _today()

        def read(connection: Any) -> None:
            stale = []
            for key in hashes:
                row = connection.execute(
                    "select vector, crc, used from vectors where maker = ? and text = ?",
                    (maker, key),
                ).fetchone()
                if row is not None and crc32(row[0]) == row[1]:
                    found[key] = np.frombuffer(row[0], "<f4").astype(np.float32)
                    if row[2] != today:
                        stale.append((today, maker, key))
            if stale:
                connection.executemany(
                    "update vectors set used = ? where maker = ? and text = ?", stale
                )

        self._try(read)
        return found

    def _keep(self, maker: bytes, made: dict[bytes, NDArray[np.float32]]) -> None:
        today = _today()
        rows = []
        for key, vector in made.items():
            blob = np.asarray(vector, "<f4").tobytes()
            rows.append((maker, key, blob, crc32(blob), today))

        def write(connection: Any) -> None:
            with connection:
                connection.executemany(
                    "insert or replace into vectors values (?, ?, ?, ?, ?)", rows
                )
            self._trim(connection)

        self._try(write)

    def _trim(self, connection: Any) -> None:
        """Lets go of what was not used for longest, once the file is too large."""
        if time.monotonic() - self._trimmed < _TRIM_SECONDS and self._trimmed:
            return
        self._trimmed = time.monotonic()
        pages, free, size = (
            connection.pragma(name) for name in ("page_count", "freelist_count", "page_size")
        )
        while (pages - free) * size > self._limit:
            with connection:
                connection.execute(
                    "delete from vectors where (maker, text) in "
                    "(select maker, text from vectors order by used limit 10000)"
                )
            free, before = connection.pragma("freelist_count"), free
            if free == before:
                return

    def _try(self, action: Callable[[Any], None]) -> None:
        """Does something with the file, or leaves it: a cache never stands in the way."""
        import apsw  # only who keeps vectors needs it here

        with self._lock:
            try:
                action(self._open(apsw))
            except (apsw.Error, OSError) as error:
                log().warning("embedding cache %s is left aside: %s", self._path, error)
                if isinstance(error, apsw.CorruptError | apsw.NotADBError):
                    self._remove()

    def _open(self, apsw: Any) -> Any:
        if self._connection is None or self._process != os.getpid():
            connection = apsw.Connection(os.fspath(self._path))
            connection.set_busy_timeout(5_000)
            connection.pragma("journal_mode", "wal")
            connection.pragma("synchronous", "off")  # lost rows are embedded again
            connection.execute(_SCRIPT)
            self._connection, self._process = connection, os.getpid()
        return self._connection

    def _remove(self) -> None:
        """Starts over with an empty file."""
        if self._connection is not None:
            self._connection.close(force=True)
            self._connection = None
        for suffix in ("", "-wal", "-shm"):
            with suppress(OSError):
                Path(f"{self._path}{suffix}").unlink()


def _maker(function: Any, purpose: Purpose) -> bytes | None:
    form = stored_form(function)
    if form == LEGACY:
        return None
    told = json.dumps([form["name"], form["config"], purpose], sort_keys=True)
    return _hash(told)


def _hash(text: str) -> bytes:
    from hashlib import sha256  # loads OpenSSL

    return sha256(text.encode()).digest()


def open_cache(place: object) -> EmbeddingCache | None:
    """The cache that a client was given: a path, or True for a file of the user's; one a file."""
    if place is None or place is False or isinstance(place, EmbeddingCache):
        return place or None
    if place is True:
        place = usual_place()
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{place.parent} cannot be made: {error}") from error
    if not isinstance(place, str | os.PathLike):
        raise ArgumentTypeError(
            f"Expected embedding_cache to be a path, or True for {usual_place()}, got {place!r}"
        )
    return _opened(Path(place).absolute())


@cache
def _opened(path: Path) -> EmbeddingCache:
    return EmbeddingCache(path)


def usual_place() -> Path:
    """The file in the user's directory for caches."""
    return user_caches() / "embeddings.db"


def _today() -> int:
    return int(time.time() // 86_400)
