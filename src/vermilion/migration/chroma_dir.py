"""A directory of Chroma, 0.4 to 1.5, read without Chroma and without changing a byte of it.

    with open_chroma(path) as directory:
        for collection in directory.collections():
            for page in directory.records(collection):
                ...
        directory.losses

What a record is stands in three places. The metadata segment (tables of chroma.sqlite3) has ids,
documents, uris and metadata. The vector segment (files of a folder) has vectors as they were when
it was last saved. The queue has the writes since then, and in some releases all of them.

Vectors come bit for bit as they were given where the queue still has them, and elsewhere as the
segment has them: for l2 and ip that is the same. In cosine spaces a segment has a normalised
vector and its length, and what was given comes back to within the rounding of float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vermilion.errors import DamagedError, InvalidArgumentError
from vermilion.metadata import check_key, check_value
from vermilion.migration.chroma_catalogue import (
    ChromaCollection,
    read_collections,
    read_databases,
    scalar,
)
from vermilion.migration.chroma_queue import DOCUMENT, URI, Cells, Queue
from vermilion.migration.chroma_sqlite import ChromaSqlite, is_chroma_directory
from vermilion.migration.hnsw import HnswFiles, dimension_of
from vermilion.migration.recovery import KEYS
from vermilion.types import Records

__all__ = ["ChromaCollection", "ChromaDirectory", "Loss", "is_chroma_directory", "open_chroma"]

# How much a vector that was normalised and scaled back may differ from what was given.
_CLOSE = 1e-4


@dataclass(frozen=True)
class Loss:
    """Something that could not be brought out whole: of a record, a collection or the directory.

    `lost` tells whether a record is missing in what `records` yields; `known` is what is left.
    """

    collection: str | None
    what: str
    id: str | None = None
    lost: bool = False
    known: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Record:
    id: str
    seq: int
    cells: Cells


def open_chroma(path: Path | str) -> ChromaDirectory:
    """Opens a directory of Chroma for reading. Raises NotFoundError when it is none."""
    return ChromaDirectory(Path(path))


class ChromaDirectory:
    """See the module. `losses` grows while records are read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.losses: list[Loss] = []
        self._source = ChromaSqlite(path)
        if self._source.recovered is not None:
            self._lose(None, str(self._source.recovered))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the files."""
        self._source.close()

    @property
    def damaged(self) -> bool:
        """Whether chroma.sqlite3 had to be read page by page."""
        return self._source.recovered is not None

    @property
    def incomplete(self) -> bool:
        """Whether rows with documents and metadata may be lost."""
        recovered = self._source.recovered
        parts = {"embedding_metadata", "embedding_metadata_array", "embeddings"}
        if not self._source.has("embedding_metadata_array"):
            parts.remove("embedding_metadata_array")
        return recovered is not None and bool(recovered.broken and parts & recovered.tables)

    def databases(self) -> list[tuple[str, str]]:
        """Every database, as tenant and name."""
        return read_databases(self._source)

    def collections(self) -> list[ChromaCollection]:
        """Every collection in the order of creation, each with a name of its own."""
        found: list[ChromaCollection] = []
        taken: set[str] = set()
        for one in read_collections(self._source):
            if one.title in taken:
                notes = (*one.notes, f"another one is called {one.name}, too")
                one = replace(one, name=f"{one.name}-{one.id}", notes=notes)
            taken.add(one.title)
            found.append(one)
        return found

    def count(self, collection: ChromaCollection) -> int:
        """How many records the metadata segment has; the queue may change that."""
        ((number,),) = self._source.rows(
            "select count(*) from embeddings where segment_id = ?", (collection.metadata_segment,)
        )
        return int(number)

    def records(self, collection: ChromaCollection, rows: int = 1000) -> Iterator[Records]:
        """The records in the order they were inserted, so many at a time, each with its vector.

        Records whose vectors are gone are not among them: `losses` has what is left of them.
        """
        for note in collection.notes:
            self._lose(collection, note)
        reader = _Reader(self, self._source, collection)
        dimension = collection.dimension
        for page in reader.pages(rows):
            found = [(record, reader.vector(record)) for record in page]
            if dimension is None:
                dimension = next((len(vector) for _, vector in found if vector is not None), None)
            kept = [
                (record, vector)
                for record, vector in found
                if vector is not None and self._fits(collection, record, vector, dimension)
            ]
            if kept:
                yield self._records(collection, kept)
        reader.tell_rest()

    def _fits(
        self,
        collection: ChromaCollection,
        record: _Record,
        vector: NDArray[np.float32],
        dimension: int | None,
    ) -> bool:
        if len(vector) == dimension:
            return True
        what = f"its vector has {len(vector)} dimensions instead of {dimension}"
        self.lose_record(collection, record, what)
        return False

    def _records(
        self, collection: ChromaCollection, found: list[tuple[_Record, NDArray[np.float32]]]
    ) -> Records:
        parts = [record.cells.parts() for record, _ in found]
        return Records(
            [record.id for record, _ in found],
            np.stack([vector for _, vector in found]),
            [document for document, _, _ in parts],
            [uri for _, uri, _ in parts],
            [
                self._checked(collection, record.id, metadata)
                for (record, _), (_, _, metadata) in zip(found, parts, strict=True)
            ],
        )

    def _checked(
        self, collection: ChromaCollection, id: str, metadata: dict[str, Any] | None
    ) -> dict[str, Any] | None:
        """The metadata that can be kept; older releases allowed more."""
        kept = {}
        for key, value in (metadata or {}).items():
            try:
                kept[check_key(key, "Invalid metadata")] = check_value(key, value)
            except InvalidArgumentError as error:
                self._lose(collection, f"a metadata value: {error}", id, known={str(key): value})
        return kept or None

    # ── losses ───────────────────────────────────────────────────────────────────────────────────

    def lose_record(self, collection: ChromaCollection, record: _Record, what: str) -> None:
        """A record that does not come out, and what is known of it."""
        document, uri, metadata = record.cells.parts()
        known = {"document": document, "uri": uri, "metadata": metadata}
        self._lose(
            collection, what, record.id, lost=True,
            known={key: value for key, value in known.items() if value is not None},
        )  # fmt: skip

    def _lose(
        self,
        collection: ChromaCollection | None,
        what: str,
        id: str | None = None,
        *,
        lost: bool = False,
        known: dict[str, Any] | None = None,
    ) -> None:
        title = None if collection is None else collection.title
        self.losses.append(Loss(title, what, id, lost, known or {}))

    def note(self, collection: ChromaCollection, what: str, id: str | None = None) -> None:
        """Something of a collection that is damaged or doubtful."""
        self._lose(collection, what, id)


class _Reader:
    """Puts the records of one collection together."""

    def __init__(
        self, owner: ChromaDirectory, source: ChromaSqlite, collection: ChromaCollection
    ) -> None:
        self._owner = owner
        self._source = source
        self._collection = collection
        self._queue = Queue(source, collection.id)
        self._index = self._open_index()
        saved = self._saved_at()
        self._saved = saved
        self._before = self._queue.vectors_before(saved)
        there: Any = self._before if self._index is None else self._index
        sure = not owner.damaged and (not saved or (self._index is not None and self._index.whole))
        self._after = self._queue.vectors_after(saved, there, sure=sure)
        self._queued = {seq for seq, *_ in self._queue.steps}
        self._incomplete = owner.incomplete and collection.metadata_segment is not None
        if self._incomplete:
            owner.note(collection, "some of its records, documents and metadata may be lost")
        merged = self._max_seq(collection.metadata_segment) or 0
        self._pending = self._queue.steps_after(merged)
        self._whole = self._queue.steps_after(-1) if owner.damaged else {}
        if saved and self._index is None and collection.vector_segment is not None:
            owner.note(collection, "the folder of its index is missing")
        if collection.metadata_segment is None:
            what = (
                "the catalogue has lost its records: only what the queue has comes out as its own"
            )
            owner.note(collection, what)

    def _open_index(self) -> HnswFiles | None:
        collection = self._collection
        if collection.vector_segment is None:
            return None
        folder = self._owner.path / collection.vector_segment
        if not folder.is_dir():
            return None
        dimension = collection.dimension
        if dimension is None:
            dimension = dimension_of(folder)
        hnsw = collection.configuration.hnsw
        files = HnswFiles(folder, dimension, hnsw.max_neighbors, cosine=hnsw.space == "cosine")
        if self._max_seq(collection.vector_segment) is not None or files.labels:
            for flaw in files.flaws:
                self._owner.note(collection, flaw)
        return files

    def _saved_at(self) -> int:
        """The last write that the index has; 0 when nobody knows.

        Then all writes that the queue has are made once more, which comes to the same.
        """
        saved = self._max_seq(self._collection.vector_segment)
        if saved is None and self._index is not None:
            saved = self._index.max_seq_id
            if saved is None and self._index.labels:
                self._owner.note(self._collection, "it is not known up to where the index goes")
        return saved or 0

    def _max_seq(self, segment: str | None) -> int | None:
        rows = self._source.rows("select seq_id from max_seq_id where segment_id = ?", (segment,))
        return next((_number(seq) for (seq,) in rows), None)

    # ── what exists ──────────────────────────────────────────────────────────────────────────────

    def pages(self, rows: int) -> Iterator[list[_Record]]:
        """The records as they are after the queue."""
        seen: set[str] = set()
        keys = self._keys()
        for start in range(0, len(keys), rows):
            page = self._page(keys[start : start + rows].tolist())
            ids = (record.id for record in page)
            seen.update(id for id in ids if self._owner.damaged or id in self._pending)
            changed = [self._changed(record) for record in page]
            yield [record for record in changed if record is not None]
        late = self._late(seen)
        for start in range(0, len(late), rows):
            yield late[start : start + rows]

    def _keys(self) -> NDArray[np.int64]:
        found = self._source.rows(
            "select id from embeddings where segment_id = ?",
            (self._collection.metadata_segment,),
        )
        return np.sort(np.fromiter((key for (key,) in found), np.int64, -1))

    def _page(self, keys: list[int]) -> list[_Record]:
        bounds = (keys[0], keys[-1])
        heads = self._source.rows(
            "select id, embedding_id, seq_id from embeddings"
            " where id between ? and ? and segment_id = ? order by id",
            (*bounds, self._collection.metadata_segment),
        )
        page = {key: _Record(str(id), _number(seq), Cells()) for key, id, seq in heads}
        flag = "bool_value" if self._source.has("embedding_metadata", "bool_value") else "null"
        cells = self._source.rows(
            f"select id, key, string_value, int_value, float_value, {flag}"
            " from embedding_metadata where id between ? and ? order by id, rowid",
            bounds,
        )
        for key, name, *values in cells:
            value = scalar(*values)
            if key in page and value is not None:
                page[key].cells.metadata[name] = value
        self._read_lists(page, bounds)
        if self._owner.damaged:
            self._tell_lost_keys(page, bounds)
        return list(page.values())

    def _read_lists(self, page: dict[int, _Record], bounds: tuple[int, int]) -> None:
        if not self._source.has("embedding_metadata_array"):
            return
        items = self._source.rows(
            "select id, key, string_value, int_value, float_value, bool_value"
            " from embedding_metadata_array where id between ? and ? order by rowid",
            bounds,
        )
        lists: dict[tuple[int, str], list[Any]] = {}
        for key, name, *values in items:
            if key in page:
                lists.setdefault((key, name), []).append(scalar(*values))
        for (key, name), value in lists.items():
            page[key].cells.metadata[name] = value

    def _tell_lost_keys(self, page: dict[int, _Record], bounds: tuple[int, int]) -> None:
        """Notes the values that indexes know of and no row has."""
        known = self._source.rows(f"select id, key from {KEYS} where id between ? and ?", bounds)
        for key, name in known:
            if key in page and name not in page[key].cells.metadata:
                what = f"its metadata value of {name!r} is lost"
                what = {DOCUMENT: "its document is lost", URI: "its uri is lost"}.get(name, what)
                self._owner.note(self._collection, what, page[key].id)

    def _changed(self, record: _Record) -> _Record | None:
        """The record after the writes that the metadata segment does not have yet."""
        steps = self._pending.get(record.id, [])
        cells: Cells | None = record.cells
        if not record.cells.metadata and record.id in self._whole:
            steps, cells = self._whole[record.id], record.cells  # its rows are lost
        if not steps:
            return record
        made = self._queue.apply(cells, steps)
        return None if made is None else _Record(record.id, steps[-1][0], made)

    def _late(self, seen: set[str]) -> list[_Record]:
        """Records that the metadata segment does not have: only in the queue, or lost from it.

        `seen` are those that it has, of a whole directory only those that the queue has, too.
        """
        found = []
        for id, steps in {**self._whole, **self._pending}.items():
            if id not in seen:
                cells = self._queue.apply(None, self._whole.get(id, steps))
                if cells is not None:
                    seen.add(id)
                    found.append(_Record(id, steps[-1][0], cells))
        if self._owner.damaged and self._index is not None:
            for id in self._index.labels:
                if id not in seen and self._after.get(id, 0) is not None:
                    what = "only its vector is left"
                    self._owner.note(self._collection, what, id)
                    found.append(_Record(id, 0, Cells()))
        return found

    # ── vectors ──────────────────────────────────────────────────────────────────────────────────

    def vector(self, record: _Record) -> NDArray[np.float32] | None:
        """The vector of a record; None, and a loss, where there is none."""
        id = record.id
        try:
            later = self._after.get(id)
            if later is not None:
                return self._queue.vector(later)
            kept = None if self._index is None else self._index.vector(id)
            given = self._queue.vector(self._before[id]) if id in self._before else None
        except DamagedError as error:
            self._owner.lose_record(self._collection, record, str(error))
            return None
        if kept is None and given is None:
            self._owner.lose_record(self._collection, record, self._why(record))
            return None
        if kept is not None and self._saved and self._misses(record):
            what = "the queue has lost its last change: its vector may be an older one"
            self._owner.note(self._collection, what, id)
        return given if kept is None or _are_close(kept, given) else kept

    def _misses(self, record: _Record) -> bool:
        """Whether the queue should have the record's last change, and has not."""
        return record.seq > self._saved and record.seq not in self._queued

    def _why(self, record: _Record) -> str:
        if self._index is not None and self._index.has_vector(record.id):
            return "its vector in the index is damaged"
        if record.seq > self._saved:
            return "its vector was only in the queue, which has lost it"
        return "its vector is not in the index"

    def tell_rest(self) -> None:
        """Vectors of which nobody knows the record."""
        nameless = self._index.nameless if self._index is not None else 0
        if nameless and self._index is not None and self._index.flaws:
            what = f"{nameless} vectors of the index belong to ids that are lost"
            self._owner.note(self._collection, what)


def _are_close(kept: NDArray[np.float32], given: NDArray[np.float32] | None) -> bool:
    """Whether what the queue has is what the index keeps, apart from normalising."""
    if given is None or len(given) != len(kept):
        return False
    lengths = float(np.linalg.norm(kept)), float(np.linalg.norm(given))
    if not all(lengths):
        return not any(lengths)
    return bool(np.allclose(kept / lengths[0], given / lengths[1], atol=_CLOSE))


def _number(seq: object) -> int:
    """A number of the queue: 0.4 to 0.6 kept it as big-endian bytes."""
    if isinstance(seq, bytes):
        return int.from_bytes(seq, "big")
    return int(seq) if isinstance(seq, int | str) else 0
