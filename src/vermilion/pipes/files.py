"""Files and standard streams, packed or not; progress, and the totals at the end."""

from __future__ import annotations

import gzip
import io
import os
import stat
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from vermilion.errors import ArgumentValueError, VermilionError
from vermilion.pipes.lines import write_failure

STANDARD = "-"
FORMATS = ("record", "jsonl", "csv", "parquet")
TABLES = ("csv", "parquet")
_BLOCK = 1 << 17  # packed bytes that are read at once
_LINE_EVERY = 0.5  # seconds, where stderr is a terminal


def need(package: str, extra: str = "pipes") -> Any:
    """Imports a package of an extra; the error says how to get it."""
    from importlib import import_module

    try:
        return import_module(package)
    except ImportError:
        name = package.partition(".")[0]
        raise ArgumentValueError(
            f"{name} is not installed: pip install 'vermilion[{extra}]'"
        ) from None


# ── formats and packing, by the name of a file ───────────────────────────────────────────────────


def format_of(name: str | None, asked: str | None = None) -> str:
    """The format that was asked for, or the one that the file's name tells."""
    if asked is not None:
        return asked
    plain = Path(name or STANDARD).name.lower().removesuffix(".gz").removesuffix(".zst")
    suffix = plain.rpartition(".")[2]
    return suffix if suffix in TABLES else "record"


def reading(name: str) -> BinaryIO:
    """The file, unpacked, or standard input."""
    if name == STANDARD:
        return sys.stdin.buffer
    return cast(BinaryIO, _unpacked(name))


def _unpacked(name: str) -> Any:
    if name.endswith(".gz"):
        return gzip.open(name, "rb")
    if name.endswith(".zst"):
        return io.BufferedReader(_Unpacked(name))
    return open(name, "rb", _BLOCK)


class _Unpacked(io.RawIOBase):
    """A file of zstd frames, all of them whole; zstandard itself takes a cut for the end."""

    def __init__(self, name: str) -> None:
        self._file = open(name, "rb")  # noqa: SIM115  (closed with this)
        self._new = need("zstandard").ZstdDecompressor().decompressobj
        self._frame: Any = None
        self._ready = b""

    def readable(self) -> bool:
        """See io."""
        return True

    def close(self) -> None:
        """See io."""
        self._file.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        """See io. Raises EOFError when the file ends inside a frame."""
        while not self._ready:
            block = self._file.read(_BLOCK)
            if not block:
                if self._frame is not None:
                    raise EOFError("it ends in the middle")
                return 0
            self._ready = self._unpack(block)
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _unpack(self, block: bytes) -> bytes:
        out = b""
        while block:
            self._frame = self._frame or self._new()
            out += self._frame.decompress(block)
            block = self._frame.unused_data if self._frame.eof else b""
            if self._frame.eof:
                self._frame = None
        return out


def packing_errors(name: str) -> tuple[type[Exception], ...]:
    """What reading a packed file raises when it is damaged."""
    usual = (EOFError, zlib.error, gzip.BadGzipFile)
    return (*usual, need("zstandard").ZstdError) if name.endswith(".zst") else usual


def writing(name: str, *, append: bool = False) -> BinaryIO:
    """The file, to be packed as its name says, or standard output."""
    mode = "ab" if append else "wb"
    if name == STANDARD:
        return sys.stdout.buffer
    if name.endswith(".gz"):
        return cast(BinaryIO, gzip.open(name, mode, compresslevel=6))
    if name.endswith(".zst"):
        raw = open(name, mode)  # noqa: SIM115  (the writer closes it)
        return cast(BinaryIO, need("zstandard").ZstdCompressor().stream_writer(raw))
    return cast(BinaryIO, open(name, mode))


# ── ends ─────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def output(name: str = STANDARD, *, append: bool = False) -> Iterator[BinaryIO]:
    """Where to write."""
    stream = writing(name, append=append)
    try:
        yield stream
        stream.flush()
    finally:
        if name != STANDARD:
            stream.close()


@contextmanager
def told_downstream() -> Iterator[None]:
    """After a failure, whoever reads standard output is told that they do not have all of it."""
    try:
        yield
    except BrokenPipeError:
        raise
    except (VermilionError, OSError, ValueError) as error:
        if not sys.stdout.isatty():
            with suppress(OSError):
                write_failure(sys.stdout.buffer, error)
        raise


# ── progress and totals ──────────────────────────────────────────────────────────────────────────


class Meter:
    """Counts records; shows how many on a terminal, and the totals at the end."""

    def __init__(self, verb: str, *, quiet: bool = False, total: int | None = None) -> None:
        """`verb` is what is done, such as "exported"."""
        self.count = 0
        self._verb = verb
        self._quiet = quiet
        self._start = time.perf_counter()
        self._told = self._start
        shows = not quiet and sys.stderr.isatty() and not _is_pipe(sys.stdout)
        self._bar = _bar(verb, total) if shows else None
        self._line = shows and self._bar is None

    def advance(self, count: int = 1) -> None:
        """Counts so many more."""
        self.count += count
        if self._bar is not None:
            self._bar.update(count)
        elif self._line and time.perf_counter() - self._told > _LINE_EVERY:
            self._told = time.perf_counter()
            sys.stderr.write(f"\r{self._verb} {self.count:,} records")
            sys.stderr.flush()

    def finish(self, more: str = "") -> None:
        """Tells the totals; `more` is what else there is to say."""
        if self._bar is not None:
            self._bar.close()
        if self._quiet:
            return
        seconds = time.perf_counter() - self._start
        records = "1 record" if self.count == 1 else f"{self.count:,} records"
        start = "\r" if self._line else ""
        sys.stderr.write(f"{start}{self._verb} {records} in {seconds:.1f} s{more}\n")


def _bar(verb: str, total: int | None) -> Any:
    """tqdm's, where it is installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(desc=verb, total=total, unit=" records", leave=False, file=sys.stderr)


def _is_pipe(stream: Any) -> bool:
    """Whether another command reads on, which shows its own progress."""
    try:
        return stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):
        return False
