"""The files of an HNSW index as Chroma writes them: which vector belongs to which id.

    header.bin            the sizes: how many elements, how long one is, where in it things lie
    data_level0.bin       the elements: links, vector, label
    length.bin            in cosine spaces the length of each vector, which is kept normalised
    index_metadata.pickle which label an id has; see pickles.py
    link_lists.bin        the upper levels of the graph, which tell nothing about records

Little-endian, as on every machine that Chroma runs on. Nothing has a checksum: a vector is
believed if it is finite, and of length one where it has to be.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vermilion.migration.pickles import read_pickle

HEADER, ELEMENTS, LENGTHS, IDS = (
    "header.bin",
    "data_level0.bin",
    "length.bin",
    "index_metadata.pickle",
)
# Version, then offset, capacity, count, bytes of an element, offsets of label and vector.
_HEADER = struct.Struct("<iQQQQQQ")
_LABEL_BYTES = 8
_LINKS_HEAD = 4
# How far the length of a normalised vector may be from one.
_SLACK = 1e-3


@dataclass(frozen=True)
class Layout:
    """Where things lie in an element."""

    count: int
    size: int
    vector: int
    label: int

    @property
    def dimension(self) -> int:
        """How many numbers a vector has."""
        return (self.label - self.vector) // 4

    def is_sound(self, dimension: int) -> bool:
        """Whether it can be the layout of such vectors."""
        whole = self.label + _LABEL_BYTES == self.size
        return whole and self.vector >= _LINKS_HEAD and self.label - self.vector == 4 * dimension


class HnswFiles:
    """The vectors of one index. Constructing it reads everything but them."""

    def __init__(self, folder: Path, dimension: int, max_neighbors: int, *, cosine: bool) -> None:
        self.flaws: list[str] = []
        self.max_seq_id: int | None = None
        self._cosine = cosine
        self._elements: Any = None
        self._lengths: NDArray[np.float32] | None = None
        self._rows: dict[int, int] = {}
        self.labels = self._read_ids(folder / IDS)
        layout = self._read_header(folder / HEADER, dimension, max_neighbors)
        self._map_elements(folder / ELEMENTS, layout)
        if cosine and self._elements is not None:
            self._read_lengths(folder / LENGTHS)

    def __contains__(self, id: str) -> bool:
        return id in self.labels

    @property
    def whole(self) -> bool:
        """Whether it knows all its ids."""
        return not any(flaw.startswith(IDS) for flaw in self.flaws)

    def has_vector(self, id: str) -> bool:
        """Whether there is a vector, believed or not."""
        return self.labels.get(id) in self._rows

    @property
    def nameless(self) -> int:
        """How many vectors there are of which no id is known."""
        return len(self._rows.keys() - self.labels.values())

    def vector(self, id: str) -> NDArray[np.float32] | None:
        """The vector as Chroma answers it; None where there is none that can be believed."""
        row = self._rows.get(self.labels.get(id, -1))
        if row is None:
            return None
        kept = np.array(self._elements["vector"][row], np.float32)
        if not np.isfinite(kept).all():
            return None
        return self._unnormalised(kept, row) if self._cosine else kept

    def _unnormalised(self, kept: NDArray[np.float32], row: int) -> NDArray[np.float32] | None:
        norm = float(np.linalg.norm(kept.astype(np.float64)))
        if norm and abs(norm - 1) > _SLACK:
            return None
        if self._lengths is None or row >= len(self._lengths):
            return kept
        length = self._lengths[row]
        if not np.isfinite(length) or length <= 0:
            return kept
        scaled: NDArray[np.float32] = kept * length
        return scaled

    # ── the files ────────────────────────────────────────────────────────────────────────────────

    def _read_ids(self, path: Path) -> dict[str, int]:
        try:
            read = read_pickle(path.read_bytes())
        except OSError as error:
            self.flaws.append(f"{IDS} cannot be read: {error.strerror}")
            return {}
        if read.flaw is not None:
            self.flaws.append(f"{IDS} is damaged: {read.flaw}")
        state = read.value if isinstance(read.value, dict) else {}
        if isinstance(state.get("max_seq_id"), int):
            self.max_seq_id = state["max_seq_id"]
        there = {id: label for label, id in _pairs(state, "label_to_id")}
        both = there | dict(_pairs(state, "id_to_label"))
        return {
            id: label
            for id, label in both.items()
            if isinstance(id, str) and isinstance(label, int) and not isinstance(label, bool)
        }

    def _read_header(self, path: Path, dimension: int, max_neighbors: int) -> Layout:
        try:
            data = path.read_bytes()
            _, _, _, count, size, label, vector = _HEADER.unpack_from(data)
            layout = Layout(count, size, vector, label)
            if layout.is_sound(dimension):
                return layout
            self.flaws.append(f"{HEADER} does not describe vectors of dimension {dimension}")
        except struct.error:
            self.flaws.append(f"{HEADER} is too short")
        except OSError as error:
            self.flaws.append(f"{HEADER} cannot be read: {error.strerror}")
        links = _LINKS_HEAD + 2 * max_neighbors * 4
        return Layout(-1, links + 4 * dimension + _LABEL_BYTES, links, links + 4 * dimension)

    def _map_elements(self, path: Path, layout: Layout) -> None:
        try:
            there = path.stat().st_size // layout.size
            if there:
                self._elements = np.memmap(path, _dtype(layout), "r", shape=(there,))
        except (OSError, ValueError) as error:
            self.flaws.append(f"{ELEMENTS} cannot be read: {error}")
            return
        if there < layout.count:
            self.flaws.append(f"{ELEMENTS} ends after {there} of {layout.count} vectors")
        if self._elements is None:
            return
        count = there if layout.count < 0 else min(layout.count, there)
        labels = self._elements["label"][:count].tolist()
        known = set(self.labels.values())
        # Without a header the file's unused end counts as well: only known labels are believed,
        # and the first of them, for what was there before is never cleared.
        for row, label in enumerate(labels):
            if layout.count >= 0 or label in known:
                self._rows.setdefault(label, row)

    def _read_lengths(self, path: Path) -> None:
        try:
            data = path.read_bytes()
        except OSError:
            return  # releases that did not write them answered normalised vectors, too
        self._lengths = np.frombuffer(data[: len(data) // 4 * 4], "<f4")


def dimension_of(folder: Path) -> int:
    """What the header says, where the catalogue does not."""
    try:
        data = (folder / HEADER).read_bytes()
    except OSError:
        return 0
    label, vector = (int.from_bytes(data[at : at + 8], "little") for at in (36, 44))
    return max(0, (label - vector) // 4) if label < 2**32 else 0


def _pairs(state: dict[Any, Any], name: str) -> list[tuple[Any, Any]]:
    found = state.get(name)
    return list(found.items()) if isinstance(found, dict) else []


def _dtype(layout: Layout) -> Any:
    return np.dtype(
        {
            "names": ["vector", "label"],
            "formats": [("<f4", (layout.dimension,)), "<u8"],
            "offsets": [layout.vector, layout.label],
            "itemsize": layout.size,
        }
    )
