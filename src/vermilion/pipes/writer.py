"""Writes batches of rows into a collection, and embeds what came without a vector."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vermilion.api.embedder import Embedder
from vermilion.api.sparse_embedder import SparseEmbedder
from vermilion.engine import CollectionInfo, Engine, Selection
from vermilion.errors import (
    DimensionError,
    DuplicateIDError,
    InvalidArgumentError,
    UnsupportedError,
)
from vermilion.pipes.batches import Row
from vermilion.records import Columns, spread

# What a write tells, in numbers of records.
COUNTED = ("inserted", "updated", "unchanged", "skipped")


class Writer:
    """One collection that is written to."""

    # What of a batch an engine refuses; anything else ends the command whatever was asked for.
    refusals = (InvalidArgumentError, DuplicateIDError, UnsupportedError)

    def __init__(
        self,
        engine: Engine,
        info: CollectionInfo,
        embedder: Embedder,
        *,
        upsert: bool = False,
        resume: bool = False,
    ) -> None:
        """With `resume`, rows whose id exists are left out before anything is embedded."""
        self.info = info
        self.upsert = upsert
        self.written = 0
        self.skipped = 0
        self.most_rows = engine.max_batch_size()
        self._engine = engine
        self._embedder = embedder
        self._sparse = SparseEmbedder(info.schema)
        self._resume = resume
        self._counts: Counter[str] = Counter()

    def write(self, batch: list[Row]) -> None:
        """One transaction."""
        if self._resume:
            batch = self._missing(batch)
        if not batch:
            return
        columns = Columns(
            ids=[row.id for row in batch],
            vectors=None,
            documents=[row.document for row in batch],
            images=None,
            uris=[row.uri for row in batch] if any(row.uri for row in batch) else None,
            metadatas=[row.metadata for row in batch],
        )
        vectors, there = self._vectors(batch)
        ready = self._sparse.filled(columns)._replace(has_vector=there).batch(vectors)
        ready = replace(ready, bare=there is not None)
        write = self._engine.upsert if self.upsert else self._engine.add
        done = write(self.info.address, ready)
        self._counts.update({kind: getattr(done, kind) for kind in COUNTED})
        self.written += len(batch)

    def _missing(self, batch: list[Row]) -> list[Row]:
        ids = [row.id for row in batch]
        there = set(self._engine.get(self.info.address, Selection(ids)).ids)
        self.skipped += len(there)
        return [row for row in batch if row.id not in there]

    def _vectors(
        self, batch: list[Row]
    ) -> tuple[NDArray[np.float32] | None, NDArray[np.bool_] | None]:
        """Vectors for the rows, and which have one: where nothing makes them, some do not."""
        given = [row.vector for row in batch if row.vector is not None]
        if len(given) == len(batch):
            return np.stack(given), None
        there = np.array([row.vector is not None for row in batch], np.bool_)
        bare = [
            place
            for place, row in enumerate(batch)
            if row.vector is None and row.document is not None and self._embedder.has_function
        ]
        if not bare:
            return spread(np.stack(given), there) if given else None, there
        texts = Columns(
            ids=[batch[place].id for place in bare],
            vectors=None,
            documents=[batch[place].document for place in bare],
            images=None,
            uris=None,
            metadatas=None,
        )
        made = self._embedder.vectors(texts)
        assert made is not None, "there are documents"
        if given and len(given[0]) != made.shape[1]:
            raise DimensionError(
                f"the embeddings that came have {len(given[0])} dimensions, those of the "
                f"embedding function {made.shape[1]}"
            )
        vectors = np.zeros((len(batch), made.shape[1]), np.float32)
        if given:
            vectors[there] = given
        vectors[bare] = made
        there[bare] = True
        return vectors, None if there.all() else there

    def told(self) -> str:
        """What became of the records; a server of Chroma does not tell."""
        skipped = self._counts["skipped"] + self.skipped
        parts = [
            (self._counts["inserted"], "new"),
            (self._counts["updated"], "changed"),
            (self._counts["unchanged"], "as they were"),
            (skipped, "there already"),
        ]
        told = [f"{count:,} {what}" for count, what in parts if count]
        return f": {', '.join(told)}" if told else ""
