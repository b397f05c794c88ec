"""The builder: seals the tail of a collection into segments, and merges segments that are small.

It runs as a process of its own, `python -m vermilion.local.builder FOLDER SPACE`, niced: building
in a thread would take the interpreter from the queries beside it. One builder at a time works on a
collection; the lock of one that is killed is free, and whoever notices next starts another. Until
it is done, and if it never is, answers come from the records themselves.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

import vermilion.local.segment as segments
from vermilion import forks
from vermilion.errors import VermilionError
from vermilion.local.blocks import CacheDamaged
from vermilion.local.compactor import compact_if_due
from vermilion.local.index import sealed_vectors
from vermilion.local.lock import try_lock
from vermilion.local.segment import FOLDER, Segment, build_segment
from vermilion.local.snapshot import Head, Keys, SegmentRow, Snapshot
from vermilion.local.store import RECORDS, Store
from vermilion.logs import log
from vermilion.types import Space

LOCK = "builder.lock"
# A longer tail is sealed. Scanning this many vectors of 384 dimensions takes 0.2 ms.
TAIL_ROWS = 4_096
# So is one of so many when it stays as it is: to scan a segment of them takes a third of the time.
# It stays when these seconds have passed without a change, and the collection was asked so often.
SHORT_TAIL, REST_SECONDS, REST_SEARCHES = 512, 2.0, 32
# A search visits every segment, so there are few: smaller ones are merged into the next.
MOST_SEGMENTS = 4
# When nothing else is due, all become one if the smaller ones hold this share of what the largest
# holds: a search pays for every segment. While a collection doubles, that is four times at most. If
# no row of the largest is dead, most is taken over, and a share that much smaller is enough.
JOINED = 0.2
TAKEN_OVER = 4
# A segment with more dead rows than this is built anew.
DEAD_SHARE = 0.3
# Processes that a builder leaves the processor to.
NICENESS = 10


# ── starting one ─────────────────────────────────────────────────────────────────────────────────


class Builder:
    """Starts builders for one collection, one at a time."""

    def __init__(
        self, folder: Path, space: Space, afterwards: Callable[[], None] | None = None
    ) -> None:
        """`afterwards` is called when one has ended."""
        self._folder = folder
        self._space = space
        self._afterwards = afterwards
        self._thread: threading.Thread | None = None
        self._guard = forks.Lock()
        self._seen, self._since, self._searches = -1, 0.0, 0

    def seal_if_due(self, head: Head, *, damaged: bool, asked: bool) -> None:
        """Starts a builder if the tail is long, or stays as it is while it is `asked` for."""
        if damaged or head.tail >= TAIL_ROWS:
            self.start()
        elif asked and head.tail >= SHORT_TAIL and self._rests(head.seq):
            self.start(SHORT_TAIL)

    def _rests(self, seq: int) -> bool:
        """Whether nothing has changed for a while; says so once."""
        if seq != self._seen:
            self._seen, self._since, self._searches = seq, time.monotonic(), 0
        self._searches += 1
        if self._searches < REST_SEARCHES or time.monotonic() - self._since < REST_SECONDS:
            return False
        self._since = math.inf
        return True

    def start(self, tail: int | None = None) -> None:
        """Starts a builder unless one that we started is at work; returns at once.

        A tail of so many rows is sealed, or else a long one.
        """
        if not self._able():
            return
        with self._guard:
            if self._thread is not None and self._thread.is_alive():
                return
            # The thread only waits, so that the process is reaped; it never holds up an exit.
            self._thread = threading.Thread(
                target=self._run, args=[tail], name="vermilion-builder", daemon=True
            )
            self._thread.start()

    def wait(self) -> None:
        """Waits for the builder that was started, if there is one."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def busy_elsewhere(self) -> bool:
        """Whether a builder of another process is at work on the collection."""
        with try_lock(self._lock()) as free:
            return not free

    def _run(self, tail: int | None) -> None:
        python = _interpreter()
        try:
            if python is None:
                self._build(tail)
            else:
                _run_process([python, "-m", *self._command(tail)])
        except (OSError, VermilionError) as error:
            log().warning("the index builder stopped: %s", error)
        if self._afterwards is not None:
            self._afterwards()

    def _lock(self) -> Path:
        return self._folder / LOCK

    def _able(self) -> bool:
        return sealed_vectors.codec() is not None

    def _build(self, tail: int | None) -> None:
        build(self._folder, self._space, tail)

    def _command(self, tail: int | None = None) -> list[str]:
        """The module to run as a process, and its arguments."""
        return [__name__, str(self._folder), self._space, *([] if tail is None else [str(tail)])]


def _interpreter() -> str | None:
    """The Python to start, or None where the program is not one: an application that is frozen
    or has Python inside would start itself again."""
    name = Path(sys.executable or "").name.lower()
    is_python = name.startswith(("python", "pypy")) and not getattr(sys, "frozen", False)
    return sys.executable if is_python else None


def _run_process(command: list[str]) -> None:
    """Runs a process to its end; it finds modules where we do, and goes on if we end."""
    import subprocess  # takes 4 ms, and who only reads never needs it

    subprocess.run(
        command,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        check=False,
    )


# ── building ─────────────────────────────────────────────────────────────────────────────────────


class Plan(NamedTuple):
    """What to build: the keys of the new segment, and the segments that stay beside it.

    `whole` are segments without a dead row that go into the new one.
    """

    keys: Keys
    stay: list[SegmentRow]
    whole: list[Segment]


def build(folder: Path, space: Space, tail: int | None = None) -> None:
    """Seals and merges until nothing is due, unless another builder is at work.

    A tail of so many rows is sealed, or else a long one.
    """
    tail = TAIL_ROWS if tail is None else tail
    with try_lock(folder / LOCK) as free:
        if not free:
            return
        store = Store.open(folder / RECORDS, folder.name, "normal")
        try:
            while _step(store, folder / FOLDER, space, tail):
                pass
            compact_if_due(store)
            _clear(store, folder / FOLDER)
        finally:
            store.close()


def _step(store: Store, indexes: Path, space: Space, tail: int) -> bool:
    with store.reading() as snapshot:
        plan = _plan(snapshot, indexes, tail)
        if plan is None:
            return False
        name = None
        if len(plan.keys):
            name = _built(indexes, space, snapshot, plan)
        if name is None and len(plan.keys):
            return False
        before = {row.name for row in snapshot.segments()}
    rows = list(plan.stay)
    if name is not None:
        rows.append(SegmentRow(name, np.zeros(len(plan.keys), np.bool_)))
    with store.writing() as transaction:
        transaction.publish(rows, snapshot.head.seq)
    # A reader that began before may still be about to open what it listed: those go later.
    segments.remove_others(indexes, {row.name for row in rows} | before)
    return True


def _clear(store: Store, indexes: Path) -> None:
    """Removes what has been replaced if nobody reads what was before; else it goes next time."""
    with store.reading() as snapshot:
        names = {row.name for row in snapshot.segments()}
    # The WAL can be emptied when every reader sees all that is written.
    if segments.others(indexes, names) and store.empty_wal(0):
        segments.remove_others(indexes, names)


def _built(indexes: Path, space: Space, snapshot: Snapshot, plan: Plan) -> str | None:
    try:
        return build_segment(indexes, space, snapshot, plan.keys, plan.whole)
    except CacheDamaged as damage:  # since it was checked
        log().warning("index file is made again: %s", damage)
        return build_segment(indexes, space, snapshot, plan.keys)


def _plan(snapshot: Snapshot, indexes: Path, least: int) -> Plan | None:
    """What is due, seen from this snapshot, or None; the tail is, from so many rows on."""
    touched = snapshot.touched_since(snapshot.head.sealed)
    if touched is None:
        return Plan(snapshot.all_keys(), [], [])
    current = [_refreshed(row, indexes, touched.keys) for row in snapshot.segments()]
    whole = [pair for pair in current if pair is not None]
    if len(whole) < len(current):
        return Plan(snapshot.all_keys(), [], [])
    tail = snapshot.present(touched.keys)
    # Deleted records count: else the log since the segments, and what is read of it, would grow.
    due = max(len(tail), snapshot.head.tail) >= least
    stay, merged = _sorted_out(whole, len(tail), due)
    if not due and not merged:
        if not _worth_joining(whole):
            return None
        stay, merged = [], whole
    keys = np.concatenate([tail, *(segment.keys[~row.dead] for segment, row in merged)])
    # Keys that others have as well are of records that have changed: their row here is dead.
    unchanged = [segment for segment, row in merged if not row.dead.any()]
    return Plan(np.unique(keys), [row for _, row in stay], unchanged)


def _refreshed(
    row: SegmentRow, indexes: Path, touched: NDArray[np.int64]
) -> tuple[Segment, SegmentRow] | None:
    """The segment with the rows that died since; None when its files are damaged."""
    try:
        segment = Segment(indexes, row.name).check()
    except CacheDamaged as damage:
        log().warning("index file is made again: %s", damage)
        return None
    dead = row.dead | np.isin(segment.keys, touched, assume_unique=True)
    return segment, SegmentRow(row.name, dead)


Pairs = list[tuple[Segment, SegmentRow]]


def _sorted_out(segments: Pairs, tail: int, due: bool) -> tuple[Pairs, Pairs]:
    """Which segments stay, and which are merged with the tail into a new one.

    Small ones are merged, so that sizes about double from one to the next and a record is built
    into a segment a logarithmic number of times; and those with many dead rows.
    """
    stay, merged, rows = [], [], tail
    by_size = sorted(segments, key=lambda pair: np.count_nonzero(~pair[1].dead))
    for place, (segment, row) in enumerate(by_size):
        alive = int(np.count_nonzero(~row.dead))
        left = len(by_size) - place
        grown = due and (alive <= 2 * rows or (rows > 0 and left >= MOST_SEGMENTS))
        if grown or alive < (1 - DEAD_SHARE) * len(segment):
            merged.append((segment, row))
            rows += alive
        else:
            stay.append((segment, row))
    return stay, merged


def _worth_joining(segments: Pairs) -> bool:
    alive = [int(np.count_nonzero(~row.dead)) for _, row in segments]
    if len(alive) < 2:
        return False
    largest = int(np.argmax(alive))
    share = JOINED if segments[largest][1].dead.any() else JOINED / TAKEN_OVER
    return sum(alive) - alive[largest] >= share * alive[largest]


def in_background(work: Callable[[], object]) -> int:
    """Does the work of a process behind all others; returns the status that it ends with."""
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    try:
        work()
    except (VermilionError, OSError) as error:  # OSError: no room for the files
        log().warning("the index builder stopped: %s", error)
        return 1
    return 0


def main() -> int:
    """The process: FOLDER SPACE, and of how many rows the tail is to be sealed unless long."""
    folder, space, *given = sys.argv[1:]
    tail = int(given[0]) if given else None
    return in_background(lambda: build(Path(folder), cast(Space, space), tail))


if __name__ == "__main__":
    sys.exit(main())
