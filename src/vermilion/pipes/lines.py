"""Records as lines of JSON: what travels through a pipe, and where a line is wrong.

A record has the keys id, metadata, embedding and text_chunk; `uri` where there is one. The first
record of an exported collection carries what the collection itself is in `_collection`. A command
that fails says so in a last line, `_failed`, so that the next one does not take a part for all.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import orjson

from vermilion.errors import InvalidArgumentError
from vermilion.pipes.uri import redacted
from vermilion.types import Records, SparseVector

Record = dict[str, Any]

COLLECTION, FAILED = "_collection", "_failed"
RESERVED = ("id", "metadata", "embedding", "text_chunk", "uri", COLLECTION)
BOM = b"\xef\xbb\xbf"
POLICIES = ("stop", "skip", "log")

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_APPEND_NEWLINE


class Line(NamedTuple):
    """A record and the number of its line, from 1."""

    number: int
    record: Record


# ── bytes ────────────────────────────────────────────────────────────────────────────────────────


def dumps(record: Record) -> bytes:
    """The record as one line. float32 has the fewest digits that tell it from its neighbours."""
    try:
        return orjson.dumps(record, _plain, _OPTIONS)
    except TypeError as error:
        raise InvalidArgumentError(f"Cannot be written as JSON: {error}") from None


def _plain(value: object) -> Any:
    if isinstance(value, SparseVector):
        return value.to_dict()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no type of JSON")


def parse(number: int, text: bytes) -> Record:
    """The record of a line. Raises InvalidArgumentError."""
    try:
        record = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidArgumentError(
            f"line {number} is not JSON: {error.msg}, at column {error.colno}"
        ) from None
    if not isinstance(record, dict):
        raise InvalidArgumentError(
            f"line {number}: expected an object, got {type(record).__name__}"
        )
    return record


# ── features ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Features:
    """What the parts of a record are called, and which metadata keys are wanted (None: all)."""

    id: str = "id"
    document: str = "text_chunk"
    embedding: str = "embedding"
    metadata: tuple[str, ...] | None = None

    @property
    def usual(self) -> bool:
        """Whether records need no renaming."""
        return self == Features()

    def record(self, given: Record) -> Record:
        """The record in the usual form.

        Metadata are those of the key `metadata`, or else the wanted keys of the top level.
        """
        if self.usual and "metadata" in given:
            return given
        out = {
            "id": given.get(self.id),
            "metadata": self._metadata(given),
            "embedding": given.get(self.embedding),
            "text_chunk": given.get(self.document),
        }
        for key in ("uri", COLLECTION):
            if key in given:
                out[key] = given[key]
        return out

    def _metadata(self, given: Record) -> Any:
        inside = given.get("metadata")
        if isinstance(inside, Mapping):
            return inside if self.metadata is None else self.wanted(inside)
        if inside is not None:
            return inside  # is refused where it is used, with the number of the line
        return self.wanted(given) if self.metadata is not None else None

    def wanted(self, metadata: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """The metadata keys that are wanted and there."""
        if metadata is None or self.metadata is None:
            return None if metadata is None else dict(metadata)
        return {key: metadata[key] for key in self.metadata if key in metadata} or None

    def flat(self, record: Record) -> Record:
        """The record in one level: the parts under their names, and the metadata beside them."""
        out = {
            self.document: record["text_chunk"],
            self.embedding: record["embedding"],
            self.id: record["id"],
            **(self.wanted(record["metadata"]) or {}),
        }
        for key in ("uri", COLLECTION):
            if record.get(key) is not None:
                out[key] = record[key]
        return out


def records_of(page: Records) -> Iterator[Record]:
    """The rows of a page as records."""
    nothing = [None] * len(page)
    rows = zip(
        page.ids,
        page.metadatas or nothing,
        nothing if page.embeddings is None else page.embeddings,
        page.documents or nothing,
        page.uris or nothing,
        strict=True,
    )
    for id, metadata, vector, document, uri in rows:
        record: Record = {
            "id": id, "metadata": metadata, "embedding": vector, "text_chunk": document,
        }  # fmt: skip
        if uri is not None:
            record["uri"] = uri
        yield record


# ── what to do about a wrong line ────────────────────────────────────────────────────────────────


@dataclass
class Faults:
    """Lines that cannot be used: the first one ends it, or each is left out, told or untold."""

    policy: str = "stop"
    count: int = field(default=0, init=False)

    def leave_out(self, number: int, error: Exception) -> None:
        """Raises InvalidArgumentError, or goes on without the line."""
        text = " ".join(str(error).split())
        if not text.startswith(f"line {number}"):
            text = f"line {number}: {text}"
        if self.policy == "stop":
            raise InvalidArgumentError(text) from error
        self.count += 1
        if self.policy == "log":
            sys.stderr.write(f"left out: {redacted(text)}\n")

    def finish(self) -> None:
        """Raises InvalidArgumentError when lines were left out that nobody said may be."""
        if self.count and self.policy == "log":
            raise InvalidArgumentError(f"{_lines(self.count)} left out")


def _lines(count: int) -> str:
    return "1 line was" if count == 1 else f"{count:,} lines were"


def read(stream: Iterable[bytes], faults: Faults, features: Features) -> Iterator[Line]:
    """The records of a stream of lines; empty lines are none, and count."""
    for number, text in enumerate(stream, 1):
        if number == 1:
            text = text.removeprefix(BOM)
        if text.isspace() or not text:
            continue
        try:
            record = parse(number, text)
        except InvalidArgumentError as error:
            faults.leave_out(number, error)
            continue
        if FAILED in record:
            raise InvalidArgumentError(f"the command before this one failed: {record[FAILED]}")
        yield Line(number, features.record(record))


def write_failure(stream: BinaryIO, error: object) -> None:
    """Ends the stream with a line that makes the next command fail as well."""
    stream.write(dumps({FAILED: redacted(" ".join(str(error).split()))}))
    stream.flush()
