"""Many processes read and write one directory; each checks that it sees what the others committed.

    PYTHONPATH=src python benchmarks/soak.py [--processes 8] [--seconds 60] [--quick]
        [--out FILE.json]

Each process adds, updates and deletes records of its own, writes down in shared memory what it has
committed, and looks at the records of another: what that one had committed before the call has to
be in `get` and in `query`. Prints counts, errors and the worst latencies as JSON; exits with 1 when
anything was missing or raised.
"""

import argparse
import sys
import tempfile
import traceback
from collections import Counter
from multiprocessing import get_context
from multiprocessing.sharedctypes import SynchronizedArray
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

import numpy as np
from circumstances import report

import vermilion

DIMENSION = 16
ROWS = 5
# A record of each turn; every third is updated, every fifth deleted again.
UPDATED, DELETED = 3, 5


def vector(process: int, turn: int, row: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A place of its own for each record, exact in float32."""
    place = np.zeros(DIMENSION, np.float32)
    place[:3] = process, turn, row
    return place


class Worker:
    """One process of the soak."""

    def __init__(self, folder: Path, number: int, done: "SynchronizedArray[int]") -> None:
        self.number = number
        self.done = done
        self.client = vermilion.PersistentClient(folder)
        self.notes = self.client.get_or_create_collection("soak", embedding_function=None)
        self.counts: Counter[str] = Counter()
        self.errors: list[str] = []
        self.worst: dict[str, float] = {}

    def run(self, seconds: float) -> None:
        turn, end = 0, monotonic() + seconds
        while monotonic() < end:
            try:
                self.write(turn)
                self.done[self.number] = turn + 1
                self.look(self.number)
                self.look((self.number + 1 + turn) % len(self.done))
            except Exception:
                self.errors.append(traceback.format_exc(limit=-3))
            turn += 1
        self.client.close()

    def timed(self, name: str, call: Any, **arguments: Any) -> Any:
        began = perf_counter()
        answer = call(**arguments)
        self.worst[name] = max(self.worst.get(name, 0.0), perf_counter() - began)
        self.counts[name] += 1
        return answer

    def write(self, turn: int) -> None:
        ids = [f"{self.number}-{turn}-{row}" for row in range(ROWS)]
        vectors = [vector(self.number, turn, row) for row in range(ROWS)]
        metadatas = [{"process": self.number, "turn": turn}] * ROWS
        self.timed("add", self.notes.add, ids=ids, embeddings=vectors, metadatas=metadatas)
        if turn % UPDATED == 0:
            self.timed("update", self.notes.update, ids=[ids[1]], metadatas=[{"updated": True}])
        if turn % DELETED == 0:
            self.timed("delete", self.notes.delete, ids=[ids[2]])

    def look(self, other: int) -> None:
        """What that process had committed before this call must be found."""
        turn = self.done[other] - 1
        if turn < 0:
            return
        expected = {f"{other}-{turn}-{row}" for row in range(ROWS)}
        if turn % DELETED == 0:
            expected.remove(f"{other}-{turn}-2")
        mine = {"$and": [{"process": other}, {"turn": turn}]}
        got = self.timed("get", self.notes.get, where=mine, include=["metadatas"])
        self.compare("get", set(got["ids"]), expected)
        for id, metadata in zip(got["ids"], got["metadatas"], strict=True):
            if id == f"{other}-{turn}-1" and (turn % UPDATED == 0) != ("updated" in metadata):
                self.errors.append(f"get: the update of {id} is not seen")
        found = self.timed(
            "query",
            self.notes.query,
            query_embeddings=[vector(other, turn, 0)],
            n_results=ROWS,
            where={"process": other},
        )
        self.compare("query", {found["ids"][0][0]}, {f"{other}-{turn}-0"})

    def compare(self, call: str, got: set[str], expected: set[str]) -> None:
        if got != expected:
            self.errors.append(f"{call}: got {sorted(got)}, expected {sorted(expected)}")


def work(
    folder: Path, number: int, done: "SynchronizedArray[int]", seconds: float, to: Any
) -> None:
    worker = Worker(folder, number, done)
    worker.run(seconds)
    to.put((worker.counts, worker.errors, worker.worst))


def soak(folder: Path, processes: int, seconds: float) -> dict[str, Any]:
    context = get_context("spawn")
    done, results = context.Array("q", processes), context.Queue()
    workers = [
        context.Process(target=work, args=(folder, number, done, seconds, results))
        for number in range(processes)
    ]
    for worker in workers:
        worker.start()
    outcomes = [results.get(timeout=seconds + 120) for _ in workers]
    for worker in workers:
        worker.join()
    counts = sum((outcome[0] for outcome in outcomes), Counter[str]())
    errors = [error for outcome in outcomes for error in outcome[1]]
    rows = sum(
        ROWS * turns - len(range(0, turns, DELETED)) for turns in done
    )  # all that was written, and not deleted
    with vermilion.PersistentClient(folder) as client:
        kept = client.get_collection("soak").count()
    if kept != rows:
        errors.append(f"at the end there are {kept} records, {rows} were committed")
    return {
        "processes": processes,
        "seconds": seconds,
        "calls": dict(counts),
        "records": kept,
        "errors": len(errors),
        "first errors": errors[:3],
        "worst milliseconds": {
            name: round(1000 * max(outcome[2].get(name, 0.0) for outcome in outcomes), 1)
            for name in counts
        },
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--quick", action="store_true", help="5 seconds")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        seconds = 5 if arguments.quick else arguments.seconds
        result = soak(Path(folder) / "database", arguments.processes, seconds)
    report(result, arguments.out)
    return 1 if result["errors"] else 0


if __name__ == "__main__":
    sys.exit(main())
