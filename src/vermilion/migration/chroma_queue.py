"""Chroma's queue of writes: what came after the moment at which a segment was saved.

The queue has each write in the order it was made. A release that keeps all of them has every
vector just as it was given; others remove what is in both segments.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vermilion.errors import DamagedError
from vermilion.migration.chroma_sqlite import ChromaSqlite

ADD, UPDATE, UPSERT, DELETE = range(4)
DOCUMENT, URI = "chroma:document", "chroma:uri"
_ENCODINGS = {"FLOAT32": "<f4", "INT32": "<i4"}


@dataclass
class Cells:
    """What is known of a record besides its vector."""

    metadata: dict[str, Any] = field(default_factory=dict)

    def parts(self) -> tuple[str | None, str | None, dict[str, Any] | None]:
        """Document, uri and metadata: Chroma keeps them together."""
        rest = {key: value for key, value in self.metadata.items() if key not in (DOCUMENT, URI)}
        return _text(self.metadata.get(DOCUMENT)), _text(self.metadata.get(URI)), rest or None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


class Queue:
    """The writes to one collection, by their numbers."""

    def __init__(self, source: ChromaSqlite, collection: str) -> None:
        self._source = source
        self.steps: list[tuple[int, int, str, bool]] = []
        if source.has("embeddings_queue"):
            topic = f"%/{collection}"
            self.steps = list(
                source.rows(
                    "select seq_id, operation, id, vector is not null from embeddings_queue"
                    " where topic like ? order by seq_id",
                    (topic,),
                )
            )

    def vectors_after(self, start: int, there: Any, *, sure: bool) -> dict[str, int | None]:
        """Which vectors changed after a moment: the write that has them, None for deleted ones.

        `there` are the ids that had vectors at that moment; unless that is `sure`, an update is
        believed to have been one.
        """
        latest: dict[str, int | None] = {}
        for seq, operation, id, has_vector in self.steps:
            if seq <= start:
                continue
            exists = latest[id] is not None if id in latest else id in there
            if operation == DELETE:
                latest[id] = None
            elif has_vector and _applies(operation, exists or (operation == UPDATE and not sure)):
                latest[id] = seq
        return latest

    def vectors_before(self, end: int) -> dict[str, int]:
        """The writes that gave the vectors of a moment, as far as the queue still has them."""
        latest: dict[str, int] = {}
        for seq, operation, id, has_vector in self.steps:
            if seq > end:
                break
            if operation == DELETE:
                latest.pop(id, None)
            elif has_vector and not (operation == ADD and id in latest):
                latest[id] = seq
        return latest

    def steps_after(self, start: int) -> dict[str, list[tuple[int, int]]]:
        """The later writes to each record: number and operation."""
        found: dict[str, list[tuple[int, int]]] = {}
        for seq, operation, id, _ in self.steps:
            if seq > start:
                found.setdefault(id, []).append((seq, operation))
        return found

    def vector(self, seq: int) -> NDArray[np.float32]:
        """The vector of a write. Raises DamagedError."""
        (blob, encoding) = self._row(seq, "vector, encoding")
        kind = _ENCODINGS.get(str(encoding))
        if kind is None or not isinstance(blob, bytes) or len(blob) % 4:
            raise DamagedError(f"the vector of write {seq} cannot be read")
        return np.frombuffer(blob, kind).astype(np.float32)

    def apply(self, cells: Cells | None, steps: list[tuple[int, int]]) -> Cells | None:
        """A record after some writes; None when it does not exist."""
        for seq, operation in steps:
            if operation == DELETE:
                cells = None
                continue
            if not _applies(operation, cells is not None):
                continue
            cells = Cells(dict(cells.metadata) if cells else {})
            for key, value in self._change(seq).items():
                if value is None:
                    cells.metadata.pop(key, None)
                else:
                    cells.metadata[key] = value
        return cells

    def _change(self, seq: int) -> dict[str, Any]:
        (text,) = self._row(seq, "metadata")
        try:
            change = json.loads(text) if text else {}
        except ValueError as error:
            raise DamagedError(f"the metadata of write {seq} cannot be read") from error
        return change if isinstance(change, dict) else {}

    def _row(self, seq: int, columns: str) -> tuple[Any, ...]:
        rows: Iterator[tuple[Any, ...]] = self._source.rows(
            f"select {columns} from embeddings_queue where seq_id = ?", (seq,)
        )
        return next(rows)


def _applies(operation: int, exists: bool) -> bool:
    return operation == UPSERT or exists == (operation == UPDATE)
