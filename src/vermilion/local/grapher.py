"""The grapher: builds graphs over large segments, which takes minutes, beside the builder.

It runs as a process of its own, `python -m vermilion.local.grapher FOLDER SPACE NUMBERS…`, niced,
and holds another lock than the builder: while it works records are sealed, and segments may be
merged under its hands, which ends its work on them. It reads pages in short transactions and holds
the builder's lock only while it puts a finished graph beside its segment.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from vermilion.configuration import Hnsw
from vermilion.local.blocks import Blocks, CacheDamaged, write_blocks
from vermilion.local.builder import LOCK as BUILDER_LOCK
from vermilion.local.builder import Builder, in_background
from vermilion.local.index import graph
from vermilion.local.index.base import Slots
from vermilion.local.index.graph import GraphBuilding, Recipe
from vermilion.local.lock import FileLock, try_lock
from vermilion.local.segment import FOLDER, Segment, graph_path
from vermilion.local.snapshot import Keys, SegmentRow
from vermilion.local.store import RECORDS, Store
from vermilion.logs import log
from vermilion.types import Space, pages

LOCK = "grapher.lock"
# Rows that are read and inserted at a time; between them it looks whether its segment still counts.
PAGE = 8_192
# With more dead nodes than this a graph is built anew: they crowd out the living.
DEAD_SHARE = 0.1
# Whoever misses a graph starts a grapher; if that one dies, not before so many seconds have passed.
PATIENCE = 60.0


# ── starting one ─────────────────────────────────────────────────────────────────────────────────


class Grapher(Builder):
    """Starts graphers for one collection, one at a time."""

    def __init__(self, folder: Path, hnsw: Hnsw) -> None:
        super().__init__(folder, hnsw.space)
        self._recipe = Recipe(hnsw.max_neighbors, hnsw.ef_construction, hnsw.threads)
        self._started = -PATIENCE

    def start_if_due(self) -> None:
        """Starts one if a segment is large, unless one was started not long ago."""
        now = time.monotonic()
        if now - self._started >= PATIENCE and _any_large(self._folder / FOLDER):
            self._started = now
            self.start()

    def missing(self, store: Store) -> list[str]:
        """The large segments that have no graph, where one can be built."""
        if not self._able():
            return []
        with store.reading() as snapshot:
            return [
                row.name
                for row in snapshot.segments()
                if graph.pays(len(row.dead))
                and not graph_path(self._folder / FOLDER, row.name).exists()
            ]

    def _able(self) -> bool:
        return graph.package() is not None

    def _lock(self) -> Path:
        return self._folder / LOCK

    def _build(self, tail: int | None) -> None:
        # One thread: a process that another program has started may fork, and OpenMP must not.
        build_graphs(self._folder, self._space, self._recipe._replace(threads=1))

    def _command(self, tail: int | None = None) -> list[str]:
        numbers = map(str, self._recipe)
        return [__name__, str(self._folder), self._space, *numbers]


def _any_large(indexes: Path) -> bool:
    """Whether there is a file of keys that a large segment would have."""
    return any(graph.pays(path.stat().st_size // 8) for path in indexes.glob("*.keys"))


# ── building ─────────────────────────────────────────────────────────────────────────────────────


def build_graphs(folder: Path, space: Space, recipe: Recipe) -> None:
    """Builds the graphs that are due, unless another grapher is at work."""
    with try_lock(folder / LOCK) as free:
        if not free or graph.package() is None:
            return
        for leftover in (folder / FOLDER).glob(f"*.{graph.PART}.*"):
            leftover.unlink(missing_ok=True)  # of one that was killed
        store = Store.open(folder / RECORDS, folder.name, "normal")
        try:
            tried: set[str] = set()
            while (row := _due(store, folder / FOLDER, recipe, tried)) is not None:
                tried.add(row.name)
                _Work(store, folder, space, recipe, row).run()
        finally:
            store.close()


def _due(store: Store, indexes: Path, recipe: Recipe, tried: set[str]) -> SegmentRow | None:
    """A segment that needs a graph and was not tried yet, the largest first."""
    with store.reading() as snapshot:
        rows = [row for row in snapshot.segments() if row.name not in tried]
    rows = [row for row in rows if graph.pays(len(row.dead))]
    due = [row for row in rows if not _serves(indexes, row, recipe)]
    return max(due, key=lambda row: len(row.dead), default=None)


def _serves(indexes: Path, row: SegmentRow, recipe: Recipe) -> bool:
    """Whether the segment has a graph that is whole, of this recipe, and mostly of living rows."""
    path = graph_path(indexes, row.name)
    if not path.exists():
        return False
    try:
        blocks = Blocks(path, graph.PART, graph.VERSION).check()
        values, slots = blocks.values, blocks.array("slots")
        made = Recipe(values["max_neighbors"], values["ef_construction"], recipe.threads)
        return made == recipe and bool(row.dead[slots].mean() <= DEAD_SHARE)
    except (CacheDamaged, KeyError, IndexError) as damage:
        log().warning("index file is made again: %s", damage)
        return False


class _Work:
    """One graph in the making."""

    def __init__(
        self, store: Store, folder: Path, space: Space, recipe: Recipe, row: SegmentRow
    ) -> None:
        self._store = store
        self._folder = folder
        self._space = space
        self._recipe = recipe
        self._row = row

    def run(self) -> None:
        """Builds the graph and publishes it, unless its segment goes meanwhile."""
        try:
            keys = Segment(self._folder / FOLDER, self._row.name).keys
        except CacheDamaged:
            return  # the builder makes the segment again
        living = np.flatnonzero(~self._row.dead)
        sample = np.random.default_rng(0).permutation(living)[: graph.SAMPLE]
        _, vectors = self._read(keys, np.sort(sample))
        if not len(vectors):
            return
        work = GraphBuilding(self._space, self._recipe, vectors)
        for page in pages(len(living), PAGE):
            work.add(*self._read(keys, living[page]))
            if not self._listed():
                return
        self._publish(*work.blocks())

    def _read(self, keys: Keys, slots: Slots) -> tuple[Slots, NDArray[np.float32]]:
        """Those of the slots that still have a vector, in their order, and the vectors."""
        with self._store.reading() as snapshot:
            present = np.isin(keys[slots], snapshot.present(keys[slots]))
            present &= ~np.isin(keys[slots], snapshot.bare_keys(keys[slots]))
            return slots[present], snapshot.vectors(keys[slots[present]])

    def _listed(self) -> bool:
        with self._store.reading() as snapshot:
            return self._row.name in {row.name for row in snapshot.segments()}

    def _publish(self, blocks: dict[str, Any], values: dict[str, Any]) -> None:
        path = graph_path(self._folder / FOLDER, self._row.name)
        with FileLock(self._folder / BUILDER_LOCK)():  # nobody merges or erases the segment now
            if not self._listed():
                return
            try:
                write_blocks(path, graph.PART, graph.VERSION, blocks, values)
            finally:
                for leftover in path.parent.glob(f"{path.name}.*"):
                    leftover.unlink(missing_ok=True)
            with self._store.writing() as transaction:  # readers look at the files again
                transaction.publish(transaction.segments(), transaction.head.sealed)


def main() -> int:
    """The process: FOLDER SPACE MAX_NEIGHBORS EF_CONSTRUCTION THREADS."""
    folder, space, *numbers = sys.argv[1:]
    recipe = Recipe(*map(int, numbers))
    return in_background(lambda: build_graphs(Path(folder), cast(Space, space), recipe))


if __name__ == "__main__":
    sys.exit(main())
