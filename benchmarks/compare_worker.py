"""One system under compare.py: drives it as asked, in a process of its own.

    python compare_worker.py SYSTEM DATABASE DATA ROWS

Reads a JSON object a line from standard input, {"do": NAME, ...}, runs the function of that name
with the rest as arguments, and answers with one line. All systems are used through the same calls:
vermilion and chromadb have them, compare_peers.py has the others behind them. What differs is
`settle`, as only vermilion builds indexes later by itself.
"""

from __future__ import annotations

import gzip
import importlib
import json
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import compare_peers as peers
import numpy as np

ANSWER = ["documents", "metadatas", "distances"]
LOAD_BATCH = 1_000


class Corpus:
    """The first rows of the data set; read when first used, so that a reader weighs nothing."""

    def __init__(self, folder: Path, rows: int) -> None:
        self.folder = folder
        self.rows = rows

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        with gzip.open(self.folder / "base.jsonl.gz", "rt", encoding="utf-8") as lines:
            return [json.loads(line) for line, _ in zip(lines, range(self.rows), strict=False)]

    @cached_property
    def vectors(self) -> np.ndarray:
        half = np.load(self.folder / "base.f16.npy", mmap_mode="r")[: self.rows]
        vectors = half.astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    @cached_property
    def queries(self) -> np.ndarray:
        return np.load(self.folder / "queries.npy")

    def batch(self, start: int, size: int, prefix: str = "") -> dict[str, Any]:
        """Rows as the arguments of `add`; with a prefix they are copies under other ids."""
        places = [place % self.rows for place in range(start, start + size)]
        records = [self.records[place] for place in places]
        number = (f"{prefix}{place}" for place in range(start, start + size))
        return {
            "ids": list(number) if prefix else [record["id"] for record in records],
            "embeddings": self.vectors[places],
            "documents": [record["text"] for record in records],
            "metadatas": [record["metadata"] for record in records],
        }


def timed(calls: Iterable[Callable[[], Any]]) -> dict[str, Any]:
    """Runs the calls one after the other: seconds of each, processor seconds of all, answers."""
    seconds, answers, cpu = [], [], 0.0
    for call in calls:
        before, start = process_time(), perf_counter()
        answers.append(call())
        seconds.append(perf_counter() - start)
        cpu += process_time() - before
    return {"seconds": seconds, "cpu": cpu, "answers": answers}


def children_cpu() -> float:
    """Processor seconds of the processes this one started and has seen the end of."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def resident_mb() -> dict[str, float]:
    """Resident memory, all of it and the part that is not pages of files."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    fields = dict(line.split(":", 1) for line in status.splitlines())
    names = {"all": "VmRSS", "anonymous": "RssAnon"}
    return {name: int(fields[field].split()[0]) / 1024 for name, field in names.items()}


class Worker:
    """The functions that compare.py may call; each returns what is written back."""

    def __init__(self, system: str, database: Path, corpus: Corpus) -> None:
        self._system = system
        self._database = database
        self._corpus = corpus
        self._written = 0

    # ── opening ──────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def client(self) -> Any:
        return importlib.import_module(self._system).PersistentClient(str(self._database))

    @cached_property
    def collection(self) -> Any:
        if self._system in peers.PEERS:
            schema = peers.Schema.read(self._schema_path)
            return peers.PEERS[self._system](self._database, schema)
        return self.client.get_or_create_collection(
            "glosses", embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
        )

    @property
    def _schema_path(self) -> Path:
        return self._database.with_suffix(".schema")

    def version(self) -> str:
        """The release of the package."""
        if self._system in peers.PEERS:
            return peers.version(self._system)
        return str(importlib.import_module(self._system).__version__)

    def first(self, vector: list[float]) -> dict[str, Any]:
        """Imports, opens and asks one question; call it in a process that did nothing before."""
        start, cpu = perf_counter(), process_time()
        importlib.import_module(peers.PACKAGES.get(self._system, ("", self._system))[1])
        imported, imported_cpu = perf_counter(), process_time()
        if self._system in peers.PEERS:
            collection = self.collection
        else:
            collection = self.client.get_collection("glosses", embedding_function=None)
        collection.query(query_embeddings=[vector], n_results=10, include=ANSWER)
        return {
            "import": imported - start,
            "import_cpu": imported_cpu - cpu,
            "open": perf_counter() - imported,
            "open_cpu": process_time() - imported_cpu,
            "resident": resident_mb(),
        }

    # ── writes ───────────────────────────────────────────────────────────────────────────────────

    def load_peer(self, filtered: list[str]) -> dict[str, Any]:
        """Loads all rows into one of the others and has it build its indexes."""
        metadatas = (record["metadata"] for record in self._corpus.records)
        peers.Schema.of(metadatas, filtered).write(self._schema_path)
        batches, collection = self._batches(), self.collection
        start, cpu = perf_counter(), process_time()
        done = timed(lambda batch=batch: collection.insert(**batch) for batch in batches)
        collection.finish()
        complete, cpu = perf_counter() - start, process_time() - cpu
        last = self._corpus.vectors[-1:]
        seen = collection.query(query_embeddings=last, n_results=10)
        assert self._corpus.records[-1]["id"] in seen["ids"][0], "not visible"
        return {"batches": done["seconds"], "complete": complete, "cpu": cpu}

    def _batches(self) -> list[dict[str, Any]]:
        rows = self._corpus.rows
        starts = range(0, rows, LOAD_BATCH)
        return [self._corpus.batch(at, min(LOAD_BATCH, rows - at)) for at in starts]

    def load(self) -> dict[str, Any]:
        """Loads all rows, asks for the last one, then waits for every index."""
        batches, collection = self._batches(), self.collection
        children, start = children_cpu(), perf_counter()
        done = timed(lambda batch=batch: collection.add(**batch) for batch in batches)
        last = self._corpus.vectors[-1:]
        seen = timed([lambda: collection.query(query_embeddings=last, n_results=10)])
        assert self._corpus.records[-1]["id"] in seen["answers"][0]["ids"][0], "not visible"
        visible = perf_counter() - start
        self.settle()
        return {
            "batches": done["seconds"],
            "visible": visible,
            "complete": perf_counter() - start,
            "cpu": done["cpu"] + seen["cpu"],
            "builder_cpu": children_cpu() - children,
        }

    def settle(self) -> dict[str, float]:
        """Waits until no index is left to build; tells what building has cost in all so far."""
        if self._system == "vermilion":
            folders = self._database / "collections"
            for folder in folders.iterdir():
                self._build(folder)
        return {"builder_cpu": children_cpu()}

    def _build(self, folder: Path) -> None:
        """Runs builders until two in a row find nothing to do."""
        from vermilion.local.lock import FileLock

        command = [sys.executable, "-m", "vermilion.local.builder", str(folder), "cosine"]
        idle, before = 0, set[Path]()
        while idle < 2:
            with FileLock(folder / "builder.lock")():
                pass  # waits for the one at work
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            after = set((folder / "indexes").glob("*"))
            idle = idle + 1 if after == before else 0
            before = after

    def add(self, size: int, times: int) -> dict[str, Any]:
        """Adds copies of rows under new ids."""
        batches = [self._copies(size) for _ in range(times)]
        return _without_answers(
            timed(lambda batch=batch: self.collection.add(**batch) for batch in batches)
        )

    def upsert(self, size: int, times: int) -> dict[str, Any]:
        """Upserts rows as they are already there."""
        batches = [self._corpus.batch(number * size, size) for number in range(times)]
        return _without_answers(
            timed(lambda batch=batch: self.collection.upsert(**batch) for batch in batches)
        )

    def update(self, size: int, times: int, mark: int) -> dict[str, Any]:
        """Gives rows one more key of metadata."""
        batches = [self._corpus.batch(number * size, size)["ids"] for number in range(times)]
        metadatas = [{"mark": mark}] * size
        return _without_answers(
            timed(
                lambda ids=ids: self.collection.update(ids=ids, metadatas=metadatas)
                for ids in batches
            )
        )

    def delete(self, size: int, times: int) -> dict[str, Any]:
        """Deletes by id copies that were added before, untimed."""
        batches = [self._copies(size) for _ in range(times)]
        for batch in batches:
            self.collection.add(**batch)
        self.settle()
        return _without_answers(
            timed(lambda ids=batch["ids"]: self.collection.delete(ids=ids) for batch in batches)
        )

    def _copies(self, size: int) -> dict[str, Any]:
        self._written += size
        return self._corpus.batch(self._written - size, size, f"copy-{os.getpid()}-")

    # ── reads ────────────────────────────────────────────────────────────────────────────────────

    def query(self, requests: list[dict[str, Any]]) -> dict[str, Any]:
        """Ten nearest for each request: the number of a query vector, and filters. The first
        request is asked once more beforehand, untimed."""
        calls = [lambda request=request: self._ask(**request) for request in requests]
        calls[0]()
        done = timed(calls)
        return {**done, "answers": [answer["ids"][0] for answer in done["answers"]]}

    def _ask(self, vector: int, **filters: Any) -> Any:
        queries = self._corpus.queries[vector : vector + 1]
        return self.collection.query(
            query_embeddings=queries, n_results=10, include=ANSWER, **filters
        )

    def get(self, requests: list[dict[str, Any]]) -> dict[str, Any]:
        """Documents and metadatas of what each request selects; the answers are their numbers."""
        calls = [lambda request=request: self.collection.get(**request) for request in requests]
        calls[0]()
        done = timed(calls)
        return {**done, "answers": [len(answer["ids"]) for answer in done["answers"]]}

    def count(self, times: int) -> dict[str, Any]:
        """The number of records."""
        self.collection.count()
        return timed([self.collection.count] * times)

    # ── both at once, and many collections ───────────────────────────────────────────────────────

    def threads(self, readers: int, seconds: float, size: int) -> dict[str, Any]:
        """Readers query and one thread adds, all as fast as they can."""
        until, reads, errors = perf_counter() + seconds, [0] * readers, list[str]()
        written = 0

        def guarded(work: Callable[[], None]) -> None:
            while perf_counter() < until:
                try:
                    work()
                except Exception as error:  # counted, and shown
                    errors.append(repr(error))

        def read(number: int) -> None:
            self._ask((reads[number] * readers + number) % len(self._corpus.queries))
            reads[number] += 1

        def write() -> None:
            nonlocal written
            self.collection.add(**self._copies(size))
            written += size

        work: list[Callable[[], None]] = [lambda n=n: read(n) for n in range(readers)]
        cpu, start = process_time(), perf_counter()
        running = [threading.Thread(target=guarded, args=[one]) for one in [*work, write]]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        took = perf_counter() - start
        return {
            "queries": sum(reads) / took,
            "writes": written / took,
            "errors": errors[:5],
            "error_count": len(errors),
            "cpu": process_time() - cpu,
        }

    def collections(self, count: int) -> dict[str, Any]:
        """Creates that many collections, fills each with ten rows, queries and deletes each."""
        names = [f"collection-{number}" for number in range(count)]
        space = {"hnsw": {"space": "cosine"}}
        made = timed(
            lambda name=name: self.client.create_collection(
                name, embedding_function=None, configuration=space
            )
            for name in names
        )
        batches = [self._corpus.batch(10 * number, 10) for number in range(count)]
        query = self._corpus.queries[:1]
        pairs = list(zip(made.pop("answers"), batches, strict=True))
        steps = {
            "create": made,
            "fill": timed(lambda c=c, batch=batch: c.add(**batch) for c, batch in pairs),
            "query": timed(
                lambda c=c: c.query(query_embeddings=query, n_results=10) for c, _ in pairs
            ),
            "delete": timed(
                lambda name=name: self.client.delete_collection(name) for name in names
            ),
        }
        return {name: _without_answers(step) for name, step in steps.items()}


def _without_answers(done: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in done.items() if name != "answers"}


def main() -> None:
    """Serves until standard input ends."""
    system, database, folder, rows = sys.argv[1:]
    worker = Worker(system, Path(database), Corpus(Path(folder), int(rows)))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a package prints is no answer
    for line in sys.stdin:
        message = json.loads(line)
        name = message.pop("do")
        answers.write(json.dumps(getattr(worker, name)(**message)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
