"""How cost grows with the number of records: one collection, loaded to a million and measured.

    PYTHONPATH=src python benchmarks/grow.py --data FOLDER --out FILE.json [--rows 1000000]

Records beyond the first 100,000 are made from real ones: a real vector, moved towards another
one and then a little anywhere, so that it keeps about the distance to its nearest neighbours that
real ones have. Every stage runs in a process of its own. A stage that is in FILE.json is not run
again, and a load that was cut short goes on where it stopped; the database stays in --work.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from time import perf_counter, process_time, time
from typing import Any

import numpy as np

BATCH = 1_000
TENTH = 100_000
MARKS = (100_000, 250_000, 500_000, 1_000_000)
QUERIES = 200
K = 10
ANSWER = ["documents", "metadatas", "distances"]
# How much of another vector, and of no direction in particular, a made vector has.
OTHER, NOISE = 0.7, 0.25
# Filters by what share of the records they let through.
SHARES = (0.1, 0.01, 0.001)


# ── the records ──────────────────────────────────────────────────────────────────────────────────


class Corpus:
    """The real records, and any number that are made from them, batch by batch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        with gzip.open(self.folder / "base.jsonl.gz", "rt", encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]

    @cached_property
    def real(self) -> np.ndarray:
        return unit(np.load(self.folder / "base.f16.npy").astype(np.float32))

    @cached_property
    def queries(self) -> np.ndarray:
        return np.load(self.folder / "queries.npy")[:QUERIES]

    def vectors(self, start: int) -> np.ndarray:
        """The vectors of the batch that starts with this row."""
        places = np.arange(start, start + BATCH) % len(self.real)
        if start < len(self.real):
            return self.real[places]
        chance = np.random.default_rng(start)
        others = self.real[chance.integers(0, len(self.real), BATCH)]
        noise = unit(chance.normal(size=others.shape).astype(np.float32))
        return unit(self.real[places] + OTHER * others + NOISE * noise)

    def shares(self, start: int) -> np.ndarray:
        """For each row of the batch a number from 0 to 1."""
        return np.random.default_rng([start, 1]).random(BATCH)

    def classes(self, start: int) -> list[str]:
        """For each row of the batch the class of the real record that it comes from."""
        return [record["metadata"]["lexfile"] for record in self._records(start)]

    def batch(self, start: int) -> dict[str, Any]:
        """The arguments of `add`; ids are random, as those of users are."""
        chance, records = np.random.default_rng([start, 2]), self._records(start)
        shares = self.shares(start).tolist()
        return {
            "ids": [chance.bytes(16).hex() for _ in records],
            "embeddings": self.vectors(start),
            "documents": [record["text"] for record in records],
            "metadatas": [
                record["metadata"] | {"share": share}
                for record, share in zip(records, shares, strict=True)
            ],
        }

    def _records(self, start: int) -> list[dict[str, Any]]:
        place = start % len(self.records)
        return self.records[place : place + BATCH]


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


# ── stages, each in a process of its own ─────────────────────────────────────────────────────────


def collection_of(work: Path) -> Any:
    import vermilion

    client = vermilion.PersistentClient(str(work))
    return client.get_or_create_collection(
        "grow", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
    )


def load(corpus: Corpus, work: Path, upto: int) -> dict[str, Any]:
    """Loads up to so many rows, in tenths of a million, and waits until every index is complete."""
    notes = collection_of(work)
    rows, tenths = notes.count(), []
    corpus.batch(rows)  # reading the data set is not part of the load
    while rows < upto:
        end, wall, cpu = min(upto, rows - rows % TENTH + TENTH), 0.0, 0.0
        first = rows
        while rows < end:
            batch = corpus.batch(rows)
            start, used = perf_counter(), process_time()
            notes.add(**batch)
            wall, cpu = wall + perf_counter() - start, cpu + process_time() - used
            rows += BATCH
        tenths.append({"rows": [first, rows], "rate": (rows - first) / wall, "cpu_s": cpu})
        print(f"  {rows:,} rows, {tenths[-1]['rate']:,.0f} a second", flush=True)
    start, most = perf_counter(), disk(work)
    notes.flush()
    settled = perf_counter() - start
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "tenths": tenths,
        "flush_s": settled,
        "builders_cpu_s": children.ru_utime + children.ru_stime,
        "builder_rss_mb": children.ru_maxrss / 1024,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "disk_before_flush_mb": most,
    }


def truth(corpus: Corpus, work: Path, rows: int) -> dict[str, Any]:
    """The questions, and how far the k-th neighbour really is; apart, so that a reader is small."""
    asked, kths = questions(corpus), nearest(corpus, rows)
    both = {name: {"filters": asked[name], "kth": kths[name].tolist()} for name in asked}
    (work / f"truth-{rows}.json").write_text(json.dumps(both))
    return {}


def measure(corpus: Corpus, work: Path, rows: int) -> dict[str, Any]:
    """Opens, asks, and compares with the truth."""
    queries = corpus.queries
    asked = json.loads((work / f"truth-{rows}.json").read_text())
    start, used = perf_counter(), process_time()
    notes = collection_of(work)
    notes.query(query_embeddings=queries[:1], n_results=K, include=ANSWER)
    out: dict[str, Any] = {
        "first_ms": 1000 * (perf_counter() - start),
        "first_cpu_ms": 1000 * (process_time() - used),
        "first_rss_mb": resident(),
    }
    for name, question in asked.items():
        out[name] = ask(notes, queries, question["filters"], question["kth"])
        print(f"  {name}: {out[name]}", flush=True)
    out["batch"] = batch(notes, queries)
    out["rss_mb"] = resident()
    out["graph"] = notes.explain(query_embeddings=queries[:1]).graph
    out["disk_mb"] = disk(work)
    out["files_mb"] = files(work)
    return out


def codes(corpus: Corpus, work: Path, rows: int) -> dict[str, Any]:
    """The same as if there were no package for graphs."""
    from vermilion.local.index import graph

    graph.package = lambda: None
    return measure(corpus, work, rows)


def ask(notes: Any, queries: np.ndarray, filters: list[Any], kths: list[float]) -> dict[str, Any]:
    for query, where in zip(queries[:20], filters, strict=False):  # audits come first
        notes.query(query_embeddings=query[None], n_results=K, where=where, include=ANSWER)
    walls, cpus, right = [], [], 0
    for query, where, kth in zip(queries, filters, kths, strict=True):
        start, used = perf_counter(), process_time()
        answer = notes.query(query_embeddings=query[None], n_results=K, where=where, include=ANSWER)
        cpus.append(process_time() - used)
        walls.append(perf_counter() - start)
        right += sum(bool(distance <= kth + 1e-6) for distance in answer["distances"][0])
    courses = [
        notes.explain(query_embeddings=query[None], n_results=K, where=filters[0]).courses[0]
        for query in queries[:50]
    ]
    plans = [course.plan for course in courses]
    return {
        "ms": 1000 * float(np.median(walls)),
        "p95_ms": 1000 * float(np.quantile(walls, 0.95)),
        "cpu_ms": 1000 * float(np.mean(cpus)),
        "recall": right / (K * len(queries)),
        "plans": {plan: plans.count(plan) for plan in sorted(set(plans))},
        "measured": float(np.mean([course.measured for course in courses])),
    }


def batch(notes: Any, queries: np.ndarray) -> dict[str, Any]:
    """All queries in one call."""
    start, used = perf_counter(), process_time()
    notes.query(query_embeddings=queries, n_results=K, include=ANSWER)
    wall, cpu = perf_counter() - start, process_time() - used
    return {"ms": 1000 * wall / len(queries), "cpu_ms": 1000 * cpu / len(queries)}


def questions(corpus: Corpus) -> dict[str, list[Any]]:
    """For each kind of query its filters, one for each vector."""
    out: dict[str, list[Any]] = {"unfiltered": [None] * QUERIES}
    for share in SHARES:
        out[f"share {share}"] = [{"share": {"$lt": share}}] * QUERIES
    out["correlated"] = [{"lexfile": name} for name in classes_of(corpus)]
    return out


def classes_of(corpus: Corpus) -> list[str]:
    """The class of the real record nearest to each query."""
    best = (corpus.queries @ corpus.real.T).argmax(axis=1)
    return [corpus.records[place]["metadata"]["lexfile"] for place in best]


def nearest(corpus: Corpus, rows: int) -> dict[str, np.ndarray]:
    """For each kind of query the distance of the k-th of the rows that it lets through."""
    best = {name: np.full((QUERIES, K), np.inf, np.float32) for name in questions(corpus)}
    wanted = np.array(classes_of(corpus))
    for start in range(0, rows, BATCH):
        far = 1 - corpus.queries @ corpus.vectors(start).T
        shares, classes = corpus.shares(start), np.array(corpus.classes(start))
        for name, before in best.items():
            through = far
            if name == "correlated":
                through = np.where(wanted[:, None] == classes[None], far, np.inf)
            elif name.startswith("share"):
                through = far[:, shares < float(name.split()[1])]
            both = np.concatenate((before, through), axis=1)
            best[name] = np.partition(both, K - 1, axis=1)[:, :K]
    return {name: found.max(axis=1) for name, found in best.items()}


def resident() -> dict[str, float]:
    """Resident memory: the process's own, and pages of files, which the system can take back."""
    names = {"RssAnon": "own", "RssFile": "files"}
    with open("/proc/self/status", encoding="ascii") as lines:
        found = dict(line.split(":", 1) for line in lines)
    return {name: int(found[key].split()[0]) / 1024 for key, name in names.items()}


def disk(work: Path) -> float:
    return sum(path.stat().st_size for path in every_file(work)) / 1e6


def files(work: Path) -> dict[str, float]:
    """What each kind of file takes."""
    out: dict[str, float] = {}
    for path in every_file(work):
        out[path.suffix] = out.get(path.suffix, 0) + path.stat().st_size / 1e6
    return {kind: size for kind, size in sorted(out.items()) if size >= 0.1}


def every_file(work: Path) -> Iterator[Path]:
    return (path for path in work.rglob("*") if path.is_file())


STAGES: dict[str, Callable[[Corpus, Path, int], dict[str, Any]]] = {
    "load": load,
    "truth": truth,
    "codes": codes,
    "measure": measure,
}


# ── the run ──────────────────────────────────────────────────────────────────────────────────────


def machine() -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "when": int(time()),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("grow-work"))
    parser.add_argument("--rows", type=int, default=MARKS[-1])
    parser.add_argument("--stage", nargs=2, help="used by the run itself")
    given = parser.parse_args()
    if given.stage:
        stage, rows = given.stage
        result = STAGES[stage](Corpus(given.data), given.work, int(rows))
        given.out.write_text(json.dumps(result))
        return 0
    done = json.loads(given.out.read_text()) if given.out.exists() else {"machine": machine()}
    for mark in (mark for mark in MARKS if mark <= given.rows):
        for stage in STAGES:
            name = f"{stage} {mark}"
            if name in done:
                continue
            print(name, flush=True)
            before = os.getloadavg()[0]
            done[name] = in_process(given, stage, mark) | {"load": [before, os.getloadavg()[0]]}
            given.out.write_text(json.dumps(done, indent=1) + "\n")
    return 0


def in_process(given: argparse.Namespace, stage: str, mark: int) -> dict[str, Any]:
    draft = given.out.with_suffix(".stage")
    command = [sys.executable, __file__, "--data", given.data, "--work", given.work]
    subprocess.run([*command, "--out", draft, "--stage", stage, str(mark)], check=True)
    result: dict[str, Any] = json.loads(draft.read_text())
    draft.unlink()
    return result


if __name__ == "__main__":
    sys.exit(main())
