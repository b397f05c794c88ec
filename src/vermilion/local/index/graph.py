"""A graph over the vectors of a large segment: paths lead to the nearest without a look at all.

The graph is faiss's HNSW over 8-bit codes. It suggests candidates as the 4-bit codes do, and the
caller measures them. A scan sees every row; a graph misses what no path leads to, and how much that
is depends on the queries as much as on the vectors: at a million, a search 256 wide found .991 of
the neighbours of held-out texts, and .884 of those of mixtures of three texts. So some searches of
every process are compared with a scan, and widened until the recall that is wanted is reached.
Where that would take longer than a scan, there is a scan.

faiss is an extra. Without it no graph is built and none is read.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vermilion import forks
from vermilion.local.blocks import Blocks, CacheDamaged
from vermilion.local.index import processor
from vermilion.local.index.base import Slots, squares
from vermilion.local.index.sealed_vectors import Candidates, directed
from vermilion.types import Space

PART = "graph"
VERSION = 1
# Smaller segments have none: what a graph saves them is not worth building it. See "How cost grows"
# in docs/benchmarks.md.
ROWS = 400_000
# The same where the processor scans codes slowly: 100,000 take 1.7 ms to scan, 0.3 ms by a graph.
ROWS_IF_SLOW = 100_000
# Queries that are asked together share a scan: a graph has to have so many times ROWS for each of
# them, up to eight, to be quicker. (A million: alone 4.7 ms against 1.2, eight 1.0 against 1.2.)
# A slow scan takes longer than a graph however many share it.
TOGETHER, MOST_TOGETHER = 0.625, 8
# Vectors from which the codes learn their ranges.
SAMPLE = 16_384
# How wide a search begins for a recall: what held-out texts need among a million. Among fewer it is
# less by the root of the share: 100 for .99 among 100,000.
MILLION = 1_000_000
WIDTHS = ((0.9, 32), (0.95, 64), (0.98, 128), (0.99, 320), (0.995, 768), (1.0, 1_536))
# A search wider than this takes longer than a scan of the codes.
WIDEST = 1_600
# The first so many searches of a process are compared with a scan, and later one of so many.
AUDITS = 32
AUDIT_EVERY = 32


def package() -> Any | None:
    """The package that makes and searches graphs, or None."""
    try:
        import faiss  # native code, and an extra: loaded with the first large segment
    except ImportError:
        return None
    return faiss


def pays(rows: int) -> bool:
    """Whether so many rows are to have a graph."""
    return rows >= ROWS or (rows >= ROWS_IF_SLOW and not processor.scans_codes_fast())


def is_quicker(rows: int, queries: int) -> bool:
    """Whether a graph of so many rows answers so many queries sooner than one scan for all."""
    if not processor.scans_codes_fast():
        return True
    return rows >= ROWS * TOGETHER * min(queries, MOST_TOGETHER)


class Recipe(NamedTuple):
    """How to build a graph; configuration.PARAMETERS says what the numbers mean."""

    max_neighbors: int = 16
    ef_construction: int = 100
    threads: int = 1


# ── building ─────────────────────────────────────────────────────────────────────────────────────


class GraphBuilding:
    """A graph that grows page by page."""

    def __init__(self, space: Space, recipe: Recipe, sample: NDArray[np.float32]) -> None:
        """`sample` tells what vectors are like; they are not in the graph yet."""
        faiss = package()
        assert faiss is not None, "a graph is only built where there is a package for it"
        self._faiss, self._recipe = faiss, recipe
        self._frame = _frame(space, sample)
        rows = self._frame.rows(sample)
        self._index = faiss.IndexHNSWSQ(
            rows.shape[1], faiss.ScalarQuantizer.QT_8bit, recipe.max_neighbors, faiss.METRIC_L2
        )
        self._index.hnsw.efConstruction = recipe.ef_construction
        self._index.train(rows)
        self._slots: list[Slots] = []

    def add(self, slots: Slots, vectors: NDArray[np.float32]) -> None:
        """Takes in the vectors of these slots."""
        self._faiss.omp_set_num_threads(self._recipe.threads)
        self._index.add(self._frame.rows(vectors))
        self._slots.append(slots)

    def blocks(self) -> tuple[dict[str, NDArray[Any] | bytes], dict[str, Any]]:
        """The blocks and values of the file."""
        blocks: dict[str, NDArray[Any] | bytes] = {
            "graph": self._faiss.serialize_index(self._index),
            "slots": np.concatenate(self._slots).astype(np.int32),
        }
        values = {
            "space": self._frame.space,
            "reach": self._frame.reach,
            "max_neighbors": self._recipe.max_neighbors,
            "ef_construction": self._recipe.ef_construction,
        }
        return blocks, values


# ── searching ────────────────────────────────────────────────────────────────────────────────────


class SealedGraph:
    """The graph of one segment, searched where its file is mapped: processes share the memory.

    Some searches are audited: their caller scans the codes, too, and reports what the graph missed.
    """

    def __init__(self, blocks: Blocks, rows: int) -> None:
        """Every byte has been checked. Raises CacheDamaged when the file is of other rows."""
        faiss, values = package(), blocks.values
        if faiss is None:
            raise CacheDamaged("the package that reads graphs is not installed")
        self._bytes = blocks.array("graph")  # the index points into it
        reader = faiss.ZeroCopyIOReader(faiss.swig_ptr(self._bytes), self._bytes.size)
        try:
            self._index = faiss.read_index(reader, faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as error:
            raise CacheDamaged(f"a graph cannot be read: {error}") from error
        self._slots: Slots = blocks.array("slots").astype(np.int64)
        self._frame = _Frame(values["space"], values["reach"])
        self._trust: dict[int, Trust] = {}
        if self._index.ntotal != len(self._slots) or self._slots.max(initial=-1) >= rows:
            raise CacheDamaged("graph and segment do not agree")

    def __len__(self) -> int:
        return len(self._slots)

    def trust(self, recall: float) -> Trust:
        """What audits have taught about searches for this recall."""
        width = next(width for reached, width in WIDTHS if recall <= reached)
        share = min(1.0, len(self) / MILLION)
        return self._trust.setdefault(width, Trust(math.ceil(width * share**0.5), recall))

    def leads_to(self, slots: Slots, vectors: NDArray[np.float32]) -> int:
        """To how many of the slots their own vectors lead, or to others that are just as near."""
        found = 0
        for slot, row in zip(slots.tolist(), self._frame.rows(vectors), strict=True):
            nodes, far = _nodes(self._index, row, WIDTHS[-1][1], 16)
            found += slot in self._slots[nodes] or bool(far[-1] <= far[0])
        return found

    def candidates(
        self, query: NDArray[np.float32], count: int, recall: float
    ) -> Candidates | None:
        """The `count` best slots, or None where the recall cannot be promised."""
        trust = self.trust(recall)
        if not trust.serves or count > min(len(self), WIDEST):
            return None
        row = self._frame.queries(query[np.newaxis])[0]
        nodes, far = _nodes(self._index, row, max(trust.width, count), count)
        if len(nodes) < count:
            return None
        estimates = self._frame.distances(far, query)
        return Candidates(self._slots[nodes], estimates, float(estimates[-1]))


class Trust:
    """How wide to search for a recall, as far as this process has found out."""

    def __init__(self, width: int, recall: float) -> None:
        self.width = width
        self._lost = 1 - recall
        self._searches = 0
        self._wanted = self._missed = 0
        self._guard = forks.Lock()

    @property
    def serves(self) -> bool:
        """Whether the recall can be had for less than a scan costs."""
        return self.width <= WIDEST

    def audit_due(self) -> bool:
        """Whether the search that comes now should be compared with a scan."""
        self._searches += 1
        return self._searches <= AUDITS or self._searches % AUDIT_EVERY == 0

    def audited(self, wanted: int, missed: int) -> None:
        """Takes the result of one: how many neighbours there were, how many were not found.

        When more were missed than chance explains, searches become twice as wide.
        """
        with self._guard:
            self._wanted += wanted
            self._missed += missed
            expected = self._lost * self._wanted
            if self._missed > expected + expected**0.5 / 2 + 1:
                self.width *= 2
                self._searches = self._wanted = self._missed = 0


def _nodes(
    index: Any, query: NDArray[np.float32], width: int, count: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The best nodes that a search of this width finds, and their squared distances."""
    faiss = package()
    assert faiss is not None, "somebody made the index"
    # One thread, whichever thread this is: a team of OpenMP would hang in the child of a fork.
    faiss.omp_set_num_threads(1)
    parameters = faiss.SearchParametersHNSW(efSearch=width)
    far, nodes = index.search(query[np.newaxis], min(count, width), params=parameters)
    found = nodes[0] >= 0
    return nodes[0][found], far[0][found]


# ── every space as a squared Euclidean distance ──────────────────────────────────────────────────


class _Frame(NamedTuple):
    """How rows and queries are laid out so that squared distances order them as the space does.

    cosine: rows of unit length. ip: a last coordinate makes all rows as long as the longest of the
    sample, `reach`; a row that is longer still counts as a little farther than it is.
    """

    space: Space
    reach: float

    def rows(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """The rows of the graph."""
        rows = directed(self.space, vectors)
        if self.space == "ip":
            missing = np.maximum(0, self.reach**2 - squares(rows).astype(np.float64))
            rows = np.column_stack((rows, np.sqrt(missing)))
        return np.ascontiguousarray(rows, np.float32)

    def queries(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """The rows to search with."""
        rows = directed(self.space, vectors)
        if self.space == "ip":
            rows = np.pad(rows, ((0, 0), (0, 1)))
        return np.ascontiguousarray(rows, np.float32)

    def distances(
        self, far: NDArray[np.float32], query: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """What squared distances say of distances."""
        if self.space == "l2":
            return far
        if self.space == "cosine":
            return far / np.float32(2)
        constant = float(squares(query[np.newaxis])[0]) + self.reach**2
        return np.float32(1 - constant / 2) + far / np.float32(2)


def _frame(space: Space, sample: NDArray[np.float32]) -> _Frame:
    return _Frame(space, float(np.sqrt(squares(sample).max())) if space == "ip" else 0.0)
