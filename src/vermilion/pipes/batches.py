"""Records of a stream, checked one by one with the numbers of their lines, cut into batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from vermilion.errors import DimensionError, InvalidArgumentError
from vermilion.metadata import check_metadata
from vermilion.pipes.lines import Faults, Line, Record
from vermilion.records import check_finite, document_column, id_list, uri_column

# What is written at once: about so many bytes of records, and no more records than this.
BATCH_BYTES = 8_000_000
BATCH_ROWS = 10_000


class Row(NamedTuple):
    """A checked record and the number of its line."""

    number: int
    id: str
    vector: NDArray[np.float32] | None
    document: str | None
    metadata: dict[str, Any] | None
    uri: str | None

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        vector = 0 if self.vector is None else self.vector.nbytes
        return vector + len(self.document or "") + 100


class Rows:
    """Checks records."""

    def __init__(self, faults: Faults, *, dimension: int | None, needs_ids: bool = False) -> None:
        """Vectors have to be of the `dimension`, or all of that of the first."""
        self._faults = faults
        self._dimension = dimension
        self._needs_ids = needs_ids

    def of(self, lines: Iterable[Line]) -> Iterator[Row]:
        """The records that can be written; the others are faults."""
        for number, record in lines:
            try:
                row = self._row(number, record)
            except (InvalidArgumentError, ValueError, TypeError) as error:
                self._faults.leave_out(number, error)
                continue
            yield row

    def _row(self, number: int, record: Record) -> Row:
        document = record["text_chunk"]
        if document is not None:
            document_column([document], optional=False)
        uri = record.get("uri")
        if uri is not None:
            uri_column([uri])
        metadata = record["metadata"] or None
        return Row(
            number,
            self._id(record["id"]),
            self._vector(record["embedding"], uri if document is None else document),
            document,
            None if metadata is None else check_metadata(metadata),
            uri,
        )

    def _id(self, id: object) -> str:
        if id is None:
            if self._needs_ids:
                raise InvalidArgumentError("no id, by which --resume could tell what is there")
            return str(uuid4())
        return id_list([id])[0]

    def _vector(self, embedding: object, source: str | None) -> NDArray[np.float32] | None:
        if embedding is None:
            if source is None:
                raise InvalidArgumentError("there is neither an embedding nor a document")
            return None
        vector = as_vector(embedding)
        if self._dimension is None:
            self._dimension = len(vector)
        if len(vector) != self._dimension:
            raise DimensionError(
                f"expected an embedding of {self._dimension} dimensions, got {len(vector)}"
            )
        return vector


def as_vector(embedding: object) -> NDArray[np.float32]:
    """The numbers of an embedding as float32."""
    wide = np.array(embedding) if isinstance(embedding, list) else np.asarray(embedding)
    if wide.ndim != 1 or not wide.size or wide.dtype.kind not in "fiu":
        raise InvalidArgumentError("expected the embedding to be a list of numbers")
    with np.errstate(over="ignore"):  # what overflows float32 is refused below
        vector = wide.astype(np.float32)
    if not np.isfinite(vector).all():
        check_finite(vector[np.newaxis])
    return vector


class Batches:
    """Cuts rows into batches, no id twice in one of them."""

    def __init__(self, asked: int | None, most: int, *, keep_all: bool) -> None:
        """`asked` is how many rows a batch has; without it, as many as BATCH_BYTES hold.

        A row whose id the batch has already begins the next one if it is to be kept; otherwise
        the first of them is the one that counts.
        """
        self._bytes = BATCH_BYTES if asked is None else None
        self._rows = min(BATCH_ROWS if asked is None else asked, most)
        self._keep_all = keep_all
        self.repeated = 0

    def of(self, rows: Iterable[Row]) -> Iterator[list[Row]]:
        """The batches, in order."""
        batch: dict[str, Row] = {}
        size = 0
        for row in rows:
            if row.id in batch:
                if not self._keep_all:
                    self.repeated += 1
                    continue
                yield [*batch.values()]
                batch, size = {}, 0
            batch[row.id] = row
            size += row.size
            # At once: a wrong line after it is no matter of this batch.
            if len(batch) >= self._rows or (self._bytes is not None and size >= self._bytes):
                yield [*batch.values()]
                batch, size = {}, 0
        if batch:
            yield [*batch.values()]
