"""Vermilion, chromadb and other embedded stores side by side: the same data, turn by turn.

    PYTHONPATH=src python benchmarks/compare.py --data FOLDER --peer-python PYTHON \
        [--others-python PYTHON] [--rows 100000] [--stages load,query,...] [--work FOLDER] \
        [--out FILE.json] [--again]

FOLDER holds base.jsonl.gz, base.f16.npy and queries.npy. --peer-python has chromadb and
--others-python the stores of compare_peers.py, which take part in ten works. Each system runs in a
process of its own (compare_worker.py) under its own interpreter, and they take turns, so that
whatever else the machine does meets all alike. A stage whose result is in FILE.json is not run
again. Stages that write come last; to repeat a reading stage after them, start with a new work
folder.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from circumstances import machine
from compare_peers import CANNOT, PEERS
from compare_questions import Judge
from compare_selectivity import measure
from compare_table import markdown
from compare_worker import Corpus

SYSTEMS = ("vermilion", "chromadb")
# What the other stores are asked too; the rest is between the two.
TEN = {"get 100", "page late", "add 1"}
ROUNDS = 5
# Queries in one turn of a stage; filters cost chromadb up to half a second each.
PLAIN, FILTERED = 100, 12
# Of stages that write: an upsert of 1,000 rows may take chromadb seconds.
WRITE_ROUNDS = 3
THREADS_SECONDS = 5.0

# For each system, the figures of one row of the table.
Figures = dict[str, dict[str, Any]]


class Process:
    """A worker, and the pipe to it."""

    def __init__(self, python: str, system: str, run: Run) -> None:
        environment = os.environ | {"ANONYMIZED_TELEMETRY": "False"}
        # One package may run from its sources: compiled anew, each process would pay for it.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        if system != "vermilion":
            environment.pop("PYTHONPATH", None)
        script = Path(__file__).with_name("compare_worker.py")
        command = [python, str(script), system, str(run.database(system))]
        self._process = subprocess.Popen(
            [*command, str(run.corpus.folder), str(run.corpus.rows)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def ask(self, do: str, **arguments: Any) -> Any:
        """Has the worker run one function; returns its answer."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker ended in {do!r}; what it said stands above")
        return json.loads(line)

    def close(self) -> None:
        """Lets the worker end."""
        self._process.communicate()


class Run:
    """One comparison: where the databases lie, the workers, and the right answers."""

    def __init__(self, options: argparse.Namespace) -> None:
        there = len(np.load(options.data / "base.f16.npy", mmap_mode="r"))
        self.corpus = Corpus(options.data.resolve(), min(options.rows, there))
        self.judge = Judge(self.corpus)
        self._work = options.work.resolve()
        self._work.mkdir(parents=True, exist_ok=True)
        self._pythons = dict(zip(SYSTEMS, (sys.executable, options.peer_python), strict=True))
        if options.others_python:
            self._pythons |= dict.fromkeys(PEERS, options.others_python)
        self.all = tuple(self._pythons)
        self._workers: dict[str, Process] = {}

    def database(self, system: str) -> Path:
        """Where a system keeps its database."""
        return Path(self._work, system)

    def start(self, system: str) -> Process:
        """A new worker, which the caller closes."""
        return Process(self._pythons[system], system, self)

    def worker(self, system: str) -> Process:
        """The worker that stays for all stages but the first."""
        if system not in self._workers:
            self._workers[system] = self.start(system)
        return self._workers[system]

    def check(self) -> None:
        """Raises when a database is not as the load left it: its figures would mean nothing."""
        for system in self.all:
            found = self.worker(system).ask("count", times=1)["answers"][0]
            if found != self.corpus.rows:
                raise RuntimeError(f"{self.database(system)}: {found} rows; choose another --work")

    def close(self) -> None:
        """Ends the workers."""
        while self._workers:
            self._workers.popitem()[1].close()

    def those_of(self, name: str) -> list[str]:
        """The systems that are asked this work."""
        systems = self.all if name in TEN else SYSTEMS
        return [system for system in systems if name not in CANNOT.get(system, ())]

    def turns(
        self,
        rounds: int,
        do: str,
        arguments: Callable[[int], dict[str, Any]],
        systems: Iterable[str] = SYSTEMS,
    ) -> Turns:
        """What each system answers in each round, one after the other."""
        turns: Turns = {system: [] for system in systems}
        for number in range(rounds):
            for system in turns:
                turns[system].append(self.worker(system).ask(do, **arguments(number)))
        return turns


Turns = dict[str, list[dict[str, Any]]]


def per_call(turns: list[dict[str, Any]], rows: int = 1) -> dict[str, Any]:
    """Milliseconds: the median over all calls, and of the rounds' mean processor time."""
    seconds = [second for turn in turns for second in turn["seconds"]]
    cpu = [turn["cpu"] / len(turn["seconds"]) for turn in turns]
    ordered = sorted(seconds)
    return {
        "wall": 1000 * median(seconds),
        "cpu": 1000 * median(cpu),
        "p95": 1000 * ordered[int(0.95 * (len(ordered) - 1))],
        "calls": len(seconds),
        "rows": rows,
    }


# ── stages ───────────────────────────────────────────────────────────────────────────────────────


def load(run: Run) -> dict[str, Figures]:
    """All rows, a system after the other: vermilion's builder would run beside the other's turn."""
    done, disk = {}, {}
    for system in SYSTEMS:
        shutil.rmtree(run.database(system), ignore_errors=True)
        worker = run.start(system)
        done[system] = worker.ask("load")
        worker.close()
        disk[system] = {"value": size_mb(run.database(system))}
    rows = run.corpus.rows

    def rates(seconds: Callable[[dict[str, Any]], float], share: float = 1.0) -> Figures:
        return {system: {"value": share * rows / seconds(one)} for system, one in done.items()}

    tenth = max(1, len(done[SYSTEMS[0]]["batches"]) // 10)
    part = tenth * 1000 / rows
    return {
        "load": rates(lambda one: one["visible"]),
        "load first tenth": rates(lambda one: sum(one["batches"][:tenth]), part),
        "load last tenth": rates(lambda one: sum(one["batches"][-tenth:]), part),
        "load complete": rates(lambda one: one["complete"]),
        "load cpu": {system: {"value": one["cpu"]} for system, one in done.items()},
        "builder cpu": {system: {"value": one["builder_cpu"]} for system, one in done.items()},
        "disk": disk,
    }


def others(run: Run) -> dict[str, Figures]:
    """The same rows for the other stores: inserted, then whatever each builds indexes by."""
    figures: dict[str, Figures] = {"load complete": {}, "load cpu": {}, "disk": {}}
    filtered = sorted(run.judge.questions.filtered_keys())
    for system in run.all[len(SYSTEMS) :]:
        shutil.rmtree(run.database(system), ignore_errors=True)
        worker = run.start(system)
        done = worker.ask("load_peer", filtered=filtered)
        worker.close()
        figures["load complete"][system] = {"value": run.corpus.rows / done["complete"]}
        figures["load cpu"][system] = {"value": done["cpu"]}
        figures["disk"][system] = {"value": size_mb(run.database(system))}
        print(f"{system}: loaded in {done['complete']:.0f} s", flush=True)
    return figures


def query(run: Run) -> dict[str, Figures]:
    """Ten nearest with documents, metadatas and distances, under each kind of filter."""
    return {name: asked(run, name) for name in [*run.judge.questions.filters, "correlated"]}


def asked(run: Run, name: str) -> Figures:
    """One kind of filter; every query is asked once of each system."""
    size = PLAIN if name == "query" else FILTERED
    systems = SYSTEMS if name == "regex" else run.all

    def requests(number: int) -> dict[str, Any]:
        queries = range(number * size, (number + 1) * size)
        return {"requests": [{"vector": one, **run.judge.filters(name, one)} for one in queries]}

    figures = {}
    for system, turns in run.turns(ROUNDS, "query", requests, systems).items():
        answers = [ids for turn in turns for ids in turn["answers"]]
        recall = run.judge.recall(name, list(range(len(answers))), answers)
        figures[system] = {**per_call(turns), "recall": recall}
    return figures


def get(run: Run) -> dict[str, Figures]:
    """Documents and metadatas by id, by filter, and page by page."""
    ids = [record["id"] for record in run.corpus.records]
    step = len(ids) // 101  # from everywhere, not from one page of the file

    def some(number: int) -> list[str]:
        return ids[number % step :: step][:100]

    requests: dict[str, Callable[[int], dict[str, Any]]] = {
        "get 1": lambda number: {"ids": [ids[number * 37 % len(ids)]]},
        "get 100": lambda number: {"ids": some(number)},
        "get where": lambda _: {**run.judge.questions.filters["equality"], "limit": 10},
        "page first": lambda _: {"limit": 1000, "offset": 0},
        "page late": lambda _: {"limit": 1000, "offset": len(ids) * 9 // 10},
    }
    calls = {"get 1": 100, "get 100": 20, "get where": 20, "page first": 10, "page late": 10}
    figures = {}
    for name, request in requests.items():
        size = calls[name]
        turns = run.turns(
            ROUNDS,
            "get",
            lambda number, request=request, size=size: {
                "requests": [request(number * size + one) for one in range(size)]
            },
            run.those_of(name),
        )
        figures[name] = {system: per_call(done) for system, done in turns.items()}
        counts = [[turn["answers"] for turn in done] for done in turns.values()]
        same = all(found == counts[0] for found in counts)
        assert same, f"{name}: the systems found different numbers of records"
    return figures


def count(run: Run) -> dict[str, Figures]:
    """The number of records."""
    turns = run.turns(ROUNDS, "count", lambda _: {"times": 50})
    return {"count": {system: per_call(done) for system, done in turns.items()}}


def first(run: Run) -> dict[str, Figures]:
    """A new process each time: import, open, first answer, and what it weighs then."""
    run.close()
    vector = run.corpus.queries[0].tolist()
    turns: Turns = {system: [] for system in run.all}
    for _ in range(ROUNDS):
        for system in run.all:
            worker = run.start(system)
            turns[system].append(worker.ask("first", vector=vector))
            worker.close()

    def middle(one: list[dict[str, Any]], name: str, factor: float = 1000) -> dict[str, Any]:
        cpu = factor * median(turn[f"{name}_cpu"] for turn in one)
        return {"wall": factor * median(turn[name] for turn in one), "cpu": cpu}

    return {
        "import": {system: middle(one, "import") for system, one in turns.items()},
        "open": {system: middle(one, "open") for system, one in turns.items()},
        "memory": {
            system: {
                "value": median(turn["resident"]["all"] for turn in one),
                "anonymous": median(turn["resident"]["anonymous"] for turn in one),
            }
            for system, one in turns.items()
        },
    }


def write(run: Run) -> dict[str, Figures]:
    """Writes of 1, 100 and 1,000 rows in a call; every call is durable when it returns."""
    figures = {}
    for do, sizes in {
        "add": {1: 30},
        "upsert": {1: 20, 100: 5, 1000: 2},
        "update": {1: 20, 100: 5, 1000: 2},
        "delete": {1: 20, 100: 5, 1000: 2},
    }.items():
        for size, times in sizes.items():
            figures[f"{do} {size}"] = written(run, do, size, times)
    return figures


def written(run: Run, do: str, size: int, times: int) -> Figures:
    """One kind of write. Whatever is then built in the background ends before the other's turn."""
    turns: Turns = {system: [] for system in run.those_of(f"{do} {size}")}
    for number in range(WRITE_ROUNDS):
        mark = {"mark": 1000 * size + number} if do == "update" else {}
        for system in turns:
            worker = run.worker(system)
            turns[system].append(worker.ask(do, size=size, times=times, **mark))
            worker.ask("settle")
    return {system: per_call(done, size) for system, done in turns.items()}


def threads(run: Run) -> dict[str, Figures]:
    """Eight threads that query beside one that adds ten rows at a time."""
    turns: Turns = {system: [] for system in SYSTEMS}
    for _ in range(WRITE_ROUNDS):
        for system in SYSTEMS:
            arguments = {"readers": 8, "seconds": THREADS_SECONDS, "size": 10}
            turns[system].append(run.worker(system).ask("threads", **arguments))
            run.worker(system).ask("settle")

    def middle(name: str) -> Figures:
        return {
            system: {
                "value": median(turn[name] for turn in done),
                "errors": sum(turn["error_count"] for turn in done),
                "said": [error for turn in done for error in turn["errors"]][:3],
            }
            for system, done in turns.items()
        }

    return {"threads queries": middle("queries"), "threads writes": middle("writes")}


def collections(run: Run) -> dict[str, Figures]:
    """Two hundred small collections: create, fill with ten rows, query, delete."""
    turns = run.turns(2, "collections", lambda _: {"count": 200})
    return {
        f"collections {step}": {
            system: per_call([turn[step] for turn in done]) for system, done in turns.items()
        }
        for step in ("create", "fill", "query", "delete")
    }


def selectivity(run: Run) -> dict[str, Figures]:
    """Vermilion alone, under filters that let through from a thousandth to nearly all."""
    run.close()
    return measure(run.database("selectivity"), run.corpus, run.judge)


READING = (query, get, count, first)
STAGES: dict[str, Callable[[Run], dict[str, Figures]]] = {
    stage.__name__: stage
    for stage in (
        load,
        others,
        query,
        get,
        count,
        first,
        selectivity,
        write,
        threads,
        collections,
    )
}


# ── the run ──────────────────────────────────────────────────────────────────────────────────────


def size_mb(folder: Path) -> float:
    """What all files of a folder hold."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


@dataclass(frozen=True)
class Report:
    """The JSON file, and the table beside it."""

    path: Path

    def read(self) -> dict[str, Any]:
        """What earlier runs found, or nothing yet."""
        if not self.path.exists():
            return {"stages": {}}
        found: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
        return found

    def write(self, content: dict[str, Any]) -> None:
        """Replaces both files."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        self.path.with_suffix(".md").write_text(markdown(content), encoding="utf-8")


def circumstances(run: Run) -> dict[str, Any]:
    """Machine, date, versions, and what the filters let through."""
    return {
        **{name: value for name, value in machine().items() if name != "load"},
        "versions": {system: run.worker(system).ask("version") for system in run.all},
        "rows": run.corpus.rows,
        "shares": {name: run.judge.share(name) for name in run.judge.questions.filters},
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--peer-python", required=True)
    parser.add_argument("--others-python")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--stages", default=",".join(STAGES))
    parser.add_argument("--work", type=Path, default=Path("compare-work"))
    results = Path(__file__).with_name("results")
    parser.add_argument("--out", type=Path, default=results / "compare.json")
    parser.add_argument("--again", action="store_true", help="run stages that have a result")
    return parser.parse_args()


def main() -> None:
    """Runs the stages, writing the report after each."""
    options = arguments()
    report, run = Report(options.out), Run(options)
    content = report.read()
    if content.get("rows", run.corpus.rows) != run.corpus.rows:
        sys.exit(f"{options.out} is of {content['rows']} rows: choose another --out")
    content |= circumstances(run)
    run.close()
    for name in options.stages.split(","):
        if name in content["stages"] and not options.again:
            continue
        if STAGES[name] in READING:
            run.check()
        loads, start = os.getloadavg()[0], time.time()
        figures = STAGES[name](run)
        content["stages"][name] = {
            "load": [round(loads, 2), round(os.getloadavg()[0], 2)],
            "figures": figures,
        }
        report.write(content)
        print(f"{name}: {time.time() - start:.0f} s, load {loads:.2f}", flush=True)
    run.close()
    report.write(content)
    print(markdown(content))


if __name__ == "__main__":
    main()
