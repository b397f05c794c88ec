"""Kills a process that writes, again and again, and compares what is there with what it was told.

    PYTHONPATH=src python benchmarks/kill.py [--kills 1000] [--seed 1] [--quick] [--out FILE.json]

The writer adds, upserts, updates and deletes in batches of 1 to 300 records, with a WAL that is
short, so that it is copied into the database often. It announces each call and reports when it
returned. Another process builds segments and compacts the database all the time, and every second
time is killed with the writer. After SIGKILL at a random moment the database is opened again: every
call that returned has to be there, and the one that was under way entirely or not at all.

Prints the result as JSON; exits with 1 when anything was wrong.
"""

import argparse
import os
import random
import select
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import Value
from pathlib import Path
from time import monotonic, perf_counter, sleep
from typing import Any

import numpy as np
from circumstances import report

import vermilion
from vermilion.local import builder, compactor, wal
from vermilion.local.index import sealed_vectors

NAME = "kill"
# Not the folders of collections that are being made.
UUID_NAME = "-".join("?" * size for size in (8, 4, 4, 4, 12))
DIMENSION = 8
IDS = 3_000
LONGEST_LIFE = 0.25
SLOWEST_OPENING = 1.0

# A record is made from one number: its vector, its metadata and its document.
Model = dict[str, int]


@cache
def vector(number: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    # Spread in all directions: of vectors on one line the codes tell too little, and search over
    # segments promises recall, not exactness.
    return np.random.default_rng(number).normal(size=DIMENSION).astype(np.float32)


def columns(numbers: list[int]) -> dict[str, Any]:
    return {
        "embeddings": [vector(number) for number in numbers],
        "metadatas": [{"n": number, "even": number % 2 == 0} for number in numbers],
        "documents": [f"the number {number}" for number in numbers],
    }


@dataclass(frozen=True)
class Call:
    """A write, made from its seed: so the writer and the one who checks know the same."""

    kind: str
    ids: list[str]
    numbers: list[int]

    @classmethod
    def of(cls, seed: int) -> "Call":
        chance = random.Random(seed)
        kind = chance.choice(["add", "add", "upsert", "update", "delete"])
        size = chance.choice([1, 3, 30, 300])
        ids = [str(id) for id in chance.sample(range(IDS), size if kind != "delete" else size // 2)]
        return cls(kind, ids or ["0"], [chance.randrange(10**6) for _ in ids or ["0"]])

    def make(self, notes: Any) -> None:
        if self.kind == "delete":
            notes.delete(ids=self.ids)
        else:
            getattr(notes, self.kind)(ids=self.ids, **columns(self.numbers))

    def applied(self, model: Model) -> Model:
        out = dict(model)
        for id, number in zip(self.ids, self.numbers, strict=True):
            if self.kind == "delete":
                out.pop(id, None)
            elif self.kind == "upsert" or (id in out) == (self.kind == "update"):
                out[id] = number
        return out


# ── the writer ───────────────────────────────────────────────────────────────────────────────────


def write_for_ever(folder: Path, seed: int, report: int) -> None:
    wal.WAL_BYTES = 300_000
    client = vermilion.PersistentClient(folder)
    notes = client.get_or_create_collection(NAME, embedding_function=None)
    while True:
        seed += 1
        os.write(report, f"{seed}\n".encode())
        Call.of(seed).make(notes)
        os.write(report, b"done\n")


def live_and_die(folder: Path, seed: int, life: float, beside: int | None) -> list[str]:
    """What a writer reported before it was killed, and the process `beside` with it."""
    inbox, report = os.pipe()
    child = forked(write_for_ever, folder, seed, report)
    os.close(report)
    text, end = b"", monotonic() + life
    while (left := end - monotonic()) > 0:
        if select.select([inbox], [], [], left)[0]:
            part = os.read(inbox, 65_536)
            if not part:
                break
            text += part
    os.kill(child, signal.SIGKILL)
    if beside is not None:
        end_of(beside)
    while part := os.read(inbox, 65_536):
        text += part
    os.close(inbox)
    end_of(child)
    return text.decode().split()


# ── the builder ──────────────────────────────────────────────────────────────────────────────────


class Compactions:
    """How many were begun and how many came to their end; processes share the numbers."""

    def __init__(self) -> None:
        # Without locks, which a killed process would keep: there is one builder at a time.
        self.begun, self.ended = Value("q", 0, lock=False), Value("q", 0, lock=False)

    def run(self, store: Any) -> None:
        self.begun.value += 1
        compactor.compact(store)
        self.ended.value += 1


def build_for_ever(folder: Path, compactions: Compactions) -> None:
    builder.TAIL_ROWS = 200
    # Many short transactions, so that a kill falls between them, and no long wait for readers.
    compactor.ROWS, compactor.PAGES, compactor.WAL_SECONDS = 100, 10, 0.05
    builder.compact_if_due = compactions.run
    while True:
        for file in folder.glob(f"collections/{UUID_NAME}/records.db"):
            builder.build(file.parent, "l2")
        sleep(0.01)


# ── processes ────────────────────────────────────────────────────────────────────────────────────


def forked(action: Callable[..., None], *arguments: Any) -> int:
    child = os.fork()
    if not child:
        try:
            action(*arguments)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(3)
    return child


def end_of(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        raise RuntimeError("a process ended by itself, see above")


# ── the check ────────────────────────────────────────────────────────────────────────────────────


def outcome_of(found: Model, before: Model, cut: Call | None) -> str:
    """What became of the call that was under way, if the rest is right."""
    after = before if cut is None else cut.applied(before)
    if after == before:
        return "without effect" if found == before else "wrong"
    if found == after:
        return "applied"
    return "not applied" if found == before else "wrong"


@dataclass
class Tally:
    """What happened so far."""

    model: Model = field(default_factory=dict)
    # What the last kill cut short and nobody has seen. The WAL may hold it without its index, in
    # shared memory, saying so; then it shows when the last process is gone, unless a write came.
    limbo: Call | None = None
    kills: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    cut: Counter[str] = field(default_factory=Counter)
    openings: list[float] = field(default_factory=list)
    with_segments: int = 0
    errors: list[str] = field(default_factory=list)
    compactions: Compactions = field(default_factory=Compactions)

    def check(self, folder: Path, reports: list[str]) -> None:
        """Opens the database and compares it with what the writer reported."""
        self.kills += 1
        done = [
            Call.of(int(seed))
            for seed, end in zip(reports, reports[1:], strict=False)
            if end == "done"
        ]
        self.calls.update(call.kind for call in done)
        cut = Call.of(int(reports[-1])) if reports and reports[-1] != "done" else None
        began = perf_counter()
        with vermilion.PersistentClient(folder) as client:
            notes = client.get_or_create_collection(NAME, embedding_function=None)
            notes.count()
            self.openings.append(perf_counter() - began)
            self.compare(notes, done, cut)
        self.with_segments += any(folder.glob("collections/*/indexes/*.keys"))
        if self.openings[-1] > SLOWEST_OPENING:
            self.errors.append(f"kill {self.kills}: opening took {self.openings[-1]:.1f} s")

    def compare(self, notes: Any, done: list[Call], cut: Call | None) -> None:
        got = notes.get(include=["embeddings", "metadatas", "documents"])
        found: Model = {id: row["n"] for id, row in zip(got["ids"], got["metadatas"], strict=True)}
        expected, outcome = self.model, "wrong"
        starts = [self.model, *([self.limbo.applied(self.model)] if self.limbo else [])]
        for start in starts:
            expected = start
            for call in done:
                expected = call.applied(expected)
            outcome = outcome_of(found, expected, cut)
            if outcome != "wrong":
                break
        else:
            wrong = {id for id in found | expected if found.get(id) != expected.get(id)}
            self.errors.append(f"kill {self.kills}: {len(wrong)} records differ")
        if cut is not None:
            self.cut[outcome] += 1
        if cut is not None or done:
            self.limbo = cut if outcome == "not applied" else None
        self.model = found  # so that an error is counted once
        self.compare_columns(notes, got, found)

    def compare_columns(self, notes: Any, got: Any, found: Model) -> None:
        """Vectors and documents belong to the metadata; search and filters say the same."""
        numbers = list(found.values())
        wanted = columns(numbers)
        vectors = np.asarray(wanted["embeddings"], np.float32).reshape(-1, DIMENSION)
        stored = np.asarray(got["embeddings"], np.float32).reshape(-1, DIMENSION)
        same = got["documents"] == wanted["documents"] and got["metadatas"] == wanted["metadatas"]
        if not same or not np.array_equal(stored, vectors):
            self.errors.append(f"kill {self.kills}: columns of a record do not belong together")
        if not found:
            return
        even = notes.get(where={"even": True}, include=[])["ids"]
        if set(even) != {id for id, number in found.items() if number % 2 == 0}:
            self.errors.append(f"kill {self.kills}: a filter finds other records")
        at = random.Random(self.kills).choice(numbers)
        hits = notes.query(query_embeddings=[vector(at)], n_results=1)
        if found.get(hits["ids"][0][0]) != at:
            self.errors.append(f"kill {self.kills}: search does not find a record")

    def summary(self) -> dict[str, Any]:
        milliseconds = sorted(1000 * seconds for seconds in self.openings)
        return {
            "kills": self.kills,
            "calls that returned": dict(self.calls),
            "calls cut short": dict(self.cut),
            "kills with segments on disk": self.with_segments,
            "compactions": {
                "begun": self.compactions.begun.value,
                "ended": self.compactions.ended.value,
            },
            "records at the end": len(self.model),
            "opening, milliseconds": {
                "median": round(milliseconds[len(milliseconds) // 2], 1),
                "worst": round(milliseconds[-1], 1),
            },
            "errors": len(self.errors),
            "first errors": self.errors[:5],
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="20 kills")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    sealed_vectors.codec()  # imported here, not by each child of its short life
    chance, tally = random.Random(arguments.seed), Tally()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as parent:
        folder, building = Path(parent) / "database", None
        for kill in range(20 if arguments.quick else arguments.kills):
            life = chance.uniform(0.005, LONGEST_LIFE)
            if building is None:
                building = forked(build_for_ever, folder, tally.compactions)
            goes = building if chance.random() < 0.5 else None
            seed = (arguments.seed * 10_000 + kill) * 100_000
            reports = live_and_die(folder, seed, life, goes)
            building = None if goes else building
            tally.check(folder, reports)
        if building is not None:
            end_of(building)
    report(tally.summary(), arguments.out)
    return 1 if tally.errors else 0


if __name__ == "__main__":
    sys.exit(main())
