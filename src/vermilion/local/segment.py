"""A segment: immutable index files over some records, as they were at one moment.

Each part is a file of its own: keys, vectors, signs, columns, text. A part is checked as a whole
before it is believed. A segment of which anything is wrong is not used; its records are then read
from the store like any others that no segment holds.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from vermilion.local.blocks import Blocks, CacheDamaged, write_blocks
from vermilion.local.index import graph, processor
from vermilion.local.index.base import Slots
from vermilion.local.index.columns import LOAD_ROWS, Columns
from vermilion.local.index.graph import SealedGraph
from vermilion.local.index.sealed_columns import SealedColumns, join_columns
from vermilion.local.index.sealed_vectors import (
    PAGE,
    SealedVectors,
    directed,
    make_coder,
    make_coder_from,
)
from vermilion.local.index.signs import SealedSigns, Signer
from vermilion.local.index.sparse import SealedSparse, SparseLists, join_sparse
from vermilion.local.index.text import Lists as TextLists
from vermilion.local.index.text import TextPostings, join_text, read_text
from vermilion.local.index.words import SealedWords, Words, join_words, read_words
from vermilion.local.snapshot import Keys, Snapshot
from vermilion.logs import log
from vermilion.types import Space, pages

# The blocks and values of a file.
_Part = tuple[dict[str, NDArray[Any] | bytes], dict[str, Any]]

FOLDER = "indexes"
# The layout of each part; a file of another version is made again.
VERSIONS = {"keys": 1, "vectors": 1, "signs": 1, "columns": 2, "text": 1, "sparse": 1, "words": 3}
# So many searches of a process are answered by the signs before the codes are loaded, which takes
# as long as some twenty of them; and those that come while they are being loaded.
BY_SIGNS = 8
# Where the processor scans codes slowly, fewer searches at a time than this always go by signs, in
# a segment of so many rows or more: one takes 1.6 ms instead of 2.7 among 100,000, and half the
# processor time. Two share a scan, which uses all processors.
TOGETHER, SIFTED_FROM = 2, 32_768


class Segment:
    """The parts of one segment, opened when they are needed."""

    def __init__(self, folder: Path, name: str) -> None:
        """Opens the keys. Raises CacheDamaged, as every part does."""
        self.name = name
        self._folder = folder
        self.keys: Keys = self.blocks("keys").array("keys")
        if self.keys.dtype != np.int64:
            raise CacheDamaged(f"segment {name}: keys of type {self.keys.dtype}")
        self.vectors: SealedVectors | None = None
        self._signs: SealedSigns | None = None
        self._searches = 0
        self._doubted = False
        self._loader: threading.Thread | None = None
        self.columns: SealedColumns | None = None
        self.text: TextPostings | None = None
        self.sparse: SealedSparse | None = None
        self.words: SealedWords | None = None
        self.graph: SealedGraph | None = None
        self._look_for_graph = graph.pays(len(self))
        self._seen: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def open(
        self,
        *,
        vectors: bool,
        columns: bool,
        text: bool,
        sparse: bool = False,
        words: bool = False,
    ) -> None:
        """Opens the parts that are needed and not open yet."""
        if vectors and self._loader is not None:
            self._loader.join()
        if vectors and self.vectors is None:
            self._open_signs()
            self.vectors = self._codes()
        if columns and self.columns is None:
            self.columns = SealedColumns(self.blocks("columns"))
        if text and self.text is None:
            self.text = TextPostings(self.blocks("text"))
        if sparse and self.sparse is None:
            self.sparse = SealedSparse(self.blocks("sparse"), len(self))
        if words and self.words is None:
            self.words = SealedWords(self.blocks("words"), len(self))
        if vectors and self._look_for_graph:
            self._look_for_graph = False
            self._open_graph()

    def check(self) -> Segment:
        """Checks every part against its checksums. Raises CacheDamaged."""
        for part in VERSIONS:
            self.blocks(part)
        return self

    @property
    def lacks_graph(self) -> bool:
        """Whether it is large, and there was no graph when it looked for one."""
        return graph.pays(len(self)) and not self._look_for_graph and self.graph is None

    @property
    def leaves_graph(self) -> bool:
        """Whether it has not looked for a graph: the first searches of a process do not."""
        return self._look_for_graph

    def renewed(self) -> Segment:
        """The segment, which looks at its next opening whether it has got another graph."""
        self._look_for_graph = graph.pays(len(self))
        return self

    def _open_graph(self) -> None:
        """Opens the graph, if there is a whole one; without it the codes are scanned."""
        path = graph_path(self._folder, self.name)
        if graph.package() is None or not path.exists():
            return
        status = path.stat()
        seen, self._seen = self._seen, (status.st_ino, status.st_mtime_ns)
        if seen != self._seen:
            try:
                blocks = Blocks(path, graph.PART, graph.VERSION).check()
                self.graph = SealedGraph(blocks, len(self))
            except CacheDamaged as damage:
                self.graph = None
                log().warning("index file left aside, scanning the codes instead: %s", damage)

    def open_for(self, searches: int) -> None:
        """Opens what so many more searches need: the signs, or in the long run the codes.

        The codes of large segments take a tenth of a second: unless many are asked at once, it is
        another thread that loads them.
        """
        self._searches += searches
        if self._searches <= BY_SIGNS or self._goes_by_signs(searches):
            if searches and self._signs is None:
                self._header("vectors")
                self._open_signs()
            if self._look_for_graph and self._searches > BY_SIGNS:
                self._look_for_graph = False
                self._open_graph()
        elif self._may_wait_for_codes(searches):
            self._load_codes()
        else:
            self.open(vectors=True, columns=False, text=False)

    def _goes_by_signs(self, searches: int) -> bool:
        """Whether so few searches are answered sooner by signs, even where there are codes."""
        alone = searches < TOGETHER and len(self) >= SIFTED_FROM
        return alone and not (self._doubted or processor.scans_codes_fast())

    def _may_wait_for_codes(self, searches: int) -> bool:
        signs_will_do = self._signs is not None and not self._doubted
        return self.vectors is None and signs_will_do and searches <= BY_SIGNS

    def _load_codes(self) -> None:
        """Has them loaded in the background. Raises CacheDamaged when that has failed."""
        if self._loader is None:
            # The end of the program waits for it: a thread must not end inside native code.
            self._loader = threading.Thread(target=self._load, name="load-codes")
            self._loader.start()
        elif not self._loader.is_alive():  # or it was left behind by a fork
            self.open(vectors=True, columns=False, text=False)

    def _load(self) -> None:
        with suppress(CacheDamaged):  # who looks for them next finds out the same
            codes = self._codes()
            if self._look_for_graph:
                self._look_for_graph = False
                self._open_graph()
            self.vectors = codes

    def _codes(self) -> SealedVectors:
        codes = SealedVectors(self.blocks("vectors"))
        self._check_length(codes)
        return codes

    def scanned(self, searches: int) -> SealedVectors | SealedSigns:
        """What finds candidates for so many searches: codes or signs, whichever are there."""
        by_signs = self._signs is not None and self._goes_by_signs(searches)
        found = self._signs if by_signs else self.vectors or self._signs
        assert found is not None, "the vectors were not asked for"
        return found

    def doubt_signs(self) -> None:
        """Has the next search use the codes."""
        self._searches += BY_SIGNS
        self._doubted = True

    def _open_signs(self) -> None:
        if self._signs is None:
            self._signs = SealedSigns(self.blocks("signs"))
            self._check_length(self._signs)

    def _check_length(self, part: SealedVectors | SealedSigns) -> None:
        if len(part) != len(self):
            raise CacheDamaged(f"segment {self.name}: keys and vectors differ in number")

    def blocks(self, part: str) -> Blocks:
        """The file of a part, checked."""
        return self._header(part).check()

    def _header(self, part: str) -> Blocks:
        """The file, its blocks not checked yet."""
        return Blocks(_path(self._folder, self.name, part), part, VERSIONS[part])


class StoredVectors:
    """The vectors with these keys, read from the store in the pages that are asked for.

    Where no record of the collection has one, each has a single zero: texts and metadata are sealed
    together with vectors, and no query looks at the codes of records that have none.
    """

    def __init__(self, snapshot: Snapshot, keys: Keys) -> None:
        self._snapshot = snapshot
        self._keys = keys

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, rows: slice | Slots, /) -> NDArray[np.float32]:
        found = self._snapshot.vectors(self._keys[rows])
        return found if found.shape[1] else np.zeros((len(found), 1), np.float32)


def build_segment(
    folder: Path, space: Space, snapshot: Snapshot, keys: Keys, whole: Sequence[Segment] = ()
) -> str | None:
    """Writes a segment over the records with these ascending keys; returns its name.

    None when their vectors cannot be coded. `whole` are segments of which every row is current:
    what they have is taken over where their keys follow each other in the new one as well.
    """
    # Names ascend with time: where a key is in two segments, the later one has the record.
    name = f"{snapshot.head.seq:016x}{uuid4().hex[:8]}"
    parts = _parts(keys, whole)
    vectors = _vectors(space, StoredVectors(snapshot, keys), parts[0])
    if vectors is None:
        return None
    folder.mkdir(exist_ok=True)
    try:
        _write(folder, name, "keys", {"keys": keys})
        for part, blocks in zip(("vectors", "signs"), vectors, strict=True):
            _write(folder, name, part, *blocks)
        del vectors
        _write(folder, name, "text", join_text([_text(snapshot, part) for part in parts]))
        _write(folder, name, "words", join_words([_words(snapshot, part) for part in parts]))
        columns, sparse = _metadata(snapshot, parts)
        _write(folder, name, "columns", *join_columns(columns, len(keys)))
        _write(folder, name, "sparse", *join_sparse(sparse))
    except BaseException:
        for leftover in folder.glob(f"{name}.*"):  # every attempt would leave some on a full disk
            leftover.unlink(missing_ok=True)
        raise
    return name


# A part of a new segment: a segment that is taken over, or keys of records to read.
Piece = Segment | Keys


def _parts(keys: Keys, whole: Sequence[Segment]) -> list[Piece]:
    """What the rows with these keys are made of, in their order."""
    parts: list[Piece] = []
    done = 0
    for segment in sorted(whole, key=lambda one: int(one.keys[0])):
        first, last = np.searchsorted(keys, segment.keys[[0, -1]]).tolist()
        if first < done or last - first + 1 != len(segment):
            continue  # others are between its keys
        parts += [keys[done:first], segment]
        done = last + 1
    parts.append(keys[done:])
    return [part for part in parts if len(part)]


def _vectors(space: Space, rows: StoredVectors, first: Piece) -> tuple[_Part, _Part] | None:
    """The codes and the signs of the rows."""
    coder = signer = None
    if isinstance(first, Segment):
        codes, signs = first.blocks("vectors"), first.blocks("signs")
        coder = make_coder_from(space, rows, codes)
        if coder is not None and np.array_equal(coder.centre, signs.array("centre")):
            signer = Signer(space, coder.centre, len(rows))
            signer.take(signs)
    if coder is None or signer is None:
        coder = make_coder(space, rows)
        if coder is None:
            return None
        signer = Signer(space, coder.centre, len(rows))
    done = len(coder)
    for page in pages(len(rows) - done, PAGE):
        some = directed(space, rows[done + page.start : done + page.stop])
        coder.add(some)
        signer.add(some)
    return coder.sealed(), signer.sealed(rows)


def _text(snapshot: Snapshot, part: Piece) -> TextLists | TextPostings:
    if isinstance(part, Segment):
        return TextPostings(part.blocks("text"))
    return read_text(snapshot.documents(part))


def _words(snapshot: Snapshot, part: Piece) -> Words | SealedWords:
    if isinstance(part, Segment):
        return SealedWords(part.blocks("words"), len(part))
    return read_words(snapshot.documents(part))


def _metadata(
    snapshot: Snapshot, parts: list[Piece]
) -> tuple[list[tuple[int, Columns | SealedColumns]], list[tuple[int, SparseLists | SealedSparse]]]:
    """The columns and the sparse vectors of each part, and its first slot."""
    columns: list[tuple[int, Columns | SealedColumns]] = []
    sparse: list[tuple[int, SparseLists | SealedSparse]] = []
    base = 0
    for part in parts:
        if isinstance(part, Segment):
            columns.append((base, SealedColumns(part.blocks("columns"))))
            sparse.append((base, SealedSparse(part.blocks("sparse"), len(part))))
        else:
            own_columns, own_sparse = Columns(), SparseLists()
            for page in pages(len(part), LOAD_ROWS):
                rows = list(snapshot.metadatas(part[page]))
                own_columns.append(page.start, rows)
                own_sparse.append(page.start, rows)
            columns.append((base, own_columns))
            sparse.append((base, own_sparse))
        base += len(part)
    return columns, sparse


def others(folder: Path, names: set[str]) -> list[Path]:
    """The files of every segment but these."""
    paths = folder.iterdir() if folder.exists() else ()
    return [path for path in paths if path.name.partition(".")[0] not in names]


def remove_others(folder: Path, names: set[str]) -> None:
    """Removes them; what is in use goes another time."""
    for path in others(folder, names):
        with suppress(OSError):
            path.unlink()


def _write(
    folder: Path,
    name: str,
    part: str,
    blocks: dict[str, NDArray[Any] | bytes],
    values: dict[str, Any] | None = None,
) -> None:
    write_blocks(_path(folder, name, part), part, VERSIONS[part], blocks, values)


def graph_path(folder: Path, name: str) -> Path:
    """Where the graph of a segment is, once it has one: it is built later than the other parts."""
    return _path(folder, name, graph.PART)


def _path(folder: Path, name: str, part: str) -> Path:
    return folder / f"{name}.{part}"
