"""`vermilion run` and `chroma run` side by side: the same rows, the same requests, turn by turn.

    python benchmarks/server.py --data FOLDER --chroma PROGRAM [--vermilion PROGRAM]
        [--client-python PYTHON] [--rows 100000] [--work FOLDER] [--out FILE.json] [--seconds 6]
        [--rounds 3]

Needs wrk, which sends requests over kept connections as fast as the answers come; it shares the
processors with the server, so its own processor time stands beside the server's. PYTHON is that of
an environment with chromadb: then Python clients ask, too, each its own server, and chromadb's asks
both. FOLDER is that of compare.py. A database that is in the work folder is not loaded again.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import platform
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from compare_questions import Judge, K, questions_of
from compare_worker import Corpus

PREFIX = "/api/v2/tenants/default_tenant/databases/default_database/collections"
CONCURRENCY = (1, 8, 32)
# Which Python package's HttpClient asks which server. The last takes longer itself than our server
# does, so its ratios tell what an unchanged program gains, and there is no goal for them.
FOREIGN = "chromadb.HttpClient"
CLIENTS = {
    "its own HttpClient": {"vermilion": "vermilion", "chroma": "chromadb"},
    FOREIGN: {"vermilion": "chromadb", "chroma": "chromadb"},
}
LOAD_BATCH = 1_000
INCLUDE = ["documents", "metadatas", "distances"]
# What is asked, and how many times more requests a second we aim at.
GOALS = {"query": 3.0, "query, equality": 30.0, "get 1 id": 1.5, "add 1": 5.0, "add 100": 10.0}
SCRIPT = Path(__file__).with_name("server_load.lua")
CLIENT = Path(__file__).with_name("server_client.py")


class Server:
    """A server in a process of its own, with the collection that the load made."""

    def __init__(self, name: str, command: list[str], folder: Path) -> None:
        self.name = name
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        start = time.perf_counter()
        self._process = subprocess.Popen(
            [*command, "--path", str(folder), "--port", str(self.port)],
            stdout=subprocess.DEVNULL,
            env=os.environ | {"ANONYMIZED_TELEMETRY": "False"},
            start_new_session=True,
        )
        while not self._answers():
            time.sleep(0.01)
        self.started = time.perf_counter() - start

    def _answers(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"{self.name} ended with {self._process.returncode}")
        try:
            return self.ask("GET", "/api/v2/heartbeat") is not None
        except OSError:
            return False

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One request; raises RuntimeError for an answer that is an error."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status >= 400:
                raise RuntimeError(f"{self.name}: {answer.status} {text[:300]!r}")
            return json.loads(text)
        finally:
            connection.close()

    def collection(self) -> str:
        """The path of the collection, which is made when it is not there."""
        made = self.ask(
            "POST",
            PREFIX,
            {
                "name": "wordnet",
                "get_or_create": True,
                "configuration": {"hnsw": {"space": "cosine"}},
            },
        )
        return f"{PREFIX}/{made['id']}"

    def cpu(self) -> float:
        """Processor seconds of the server and the processes it started, builders included."""
        ticks = sum(sum(map(int, fields[11:15])) for _, fields in self._processes())
        return ticks / os.sysconf("SC_CLK_TCK")

    def _processes(self) -> Iterator[tuple[Path, list[str]]]:
        """The folder under /proc and the fields of `stat` of the server and all below it.

        Also of what is in its session: a builder may have been left behind by who started it.
        """
        known: dict[int, tuple[Path, list[str]]] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text(encoding="utf-8").rpartition(")")[2].split()
            except OSError:
                continue
            known[int(stat.parent.name)] = stat.parent, fields
        ours = {self._process.pid}
        while True:
            more = {
                pid
                for pid, (_, fields) in known.items()
                if ours & {int(fields[1]), int(fields[3])}  # the parent, the session
            } | ours
            if more == ours:
                return iter([known[pid] for pid in ours if pid in known])
            ours = more

    def memory_mb(self) -> dict[str, float]:
        """Memory of the server's processes.

        `resident` counts a page of a file once for every mapping of it, `proportional` shares it
        between them, `anonymous` is what is no file's page.
        """
        sizes = {"Rss": 0.0, "Pss": 0.0, "Anonymous": 0.0}
        for folder, _ in self._processes():
            try:
                text = (folder / "smaps_rollup").read_text(encoding="utf-8")
            except OSError:
                continue
            for line in text.splitlines()[1:]:
                name, _, rest = line.partition(":")
                if name in sizes:
                    sizes[name] += int(rest.split()[0]) / 1024
        names = {"resident": "Rss", "proportional": "Pss", "anonymous": "Anonymous"}
        return {name: round(sizes[key], 1) for name, key in names.items()}

    def close(self) -> None:
        """Asks the server to stop, and waits."""
        os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait(60)


@contextmanager
def serving(name: str, command: list[str], folder: Path) -> Iterator[Server]:
    """A server for the time of the block."""
    server = Server(name, command, folder)
    try:
        yield server
    finally:
        server.close()


# ── requests ─────────────────────────────────────────────────────────────────────────────────────


def encoded(vector: np.ndarray) -> str:
    """A vector as the Python client sends it."""
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def load(server: Server, corpus: Corpus) -> dict[str, float] | None:
    """Fills an empty collection; seconds, or None when it is full already."""
    path = server.collection()
    if server.ask("GET", f"{path}/count") >= corpus.rows:
        return None
    start = time.perf_counter()
    for first in range(0, corpus.rows, LOAD_BATCH):
        batch = corpus.batch(first, min(LOAD_BATCH, corpus.rows - first))
        batch["embeddings"] = [encoded(vector) for vector in batch["embeddings"]]
        server.ask("POST", f"{path}/add", batch)
    return {"rows": corpus.rows, "seconds": time.perf_counter() - start}


def requests(corpus: Corpus) -> dict[str, tuple[str, list[str]]]:
    """For each row of the table the end of the path, and the bodies."""
    equality = questions_of(corpus).filters["equality"]
    queries = [query.tolist() for query in corpus.queries[:200]]
    plain = {"n_results": K, "include": INCLUDE}
    rows = corpus.batch(0, 2_000)
    document, metadata = rows["documents"][0], rows["metadatas"][0]
    vectors = [encoded(vector) for vector in rows["embeddings"]]
    return {
        "query": ("query", [json.dumps({"query_embeddings": [q], **plain}) for q in queries]),
        "query, equality": (
            "query",
            [json.dumps({"query_embeddings": [q], **plain, **equality}) for q in queries],
        ),
        "get 1 id": (
            "get",
            [
                json.dumps({"ids": [id], "include": ["documents", "metadatas"]})
                for id in rows["ids"][::10]
            ],
        ),
        "add 1": ("add", [_adding(vectors[at : at + 1], document, metadata) for at in range(100)]),
        "add 100": (
            "add",
            [_adding(vectors[at : at + 100], document, metadata) for at in range(0, 1_000, 100)],
        ),
    }


def _adding(vectors: list[str], document: str, metadata: dict[str, Any]) -> str:
    rows = len(vectors)
    return json.dumps(
        {
            "ids": ["@ID"] * rows,
            "embeddings": vectors,
            "documents": [document] * rows,
            "metadatas": [metadata] * rows,
        }
    )


def recall(server: Server, corpus: Corpus, judge: Judge, name: str) -> float:
    """Recall@10 of the first queries, against the exact answer."""
    path, bodies = requests(corpus)[name]
    place = f"{server.collection()}/{path}"
    found = [server.ask("POST", place, json.loads(body))["ids"][0] for body in bodies[:50]]
    return judge.recall("query" if name == "query" else "equality", list(range(50)), found)


# ── measuring ────────────────────────────────────────────────────────────────────────────────────


def wrk(server: Server, path: str, file: Path, options: argparse.Namespace, prefix: str,
        concurrency: int) -> dict[str, float]:  # fmt: skip
    """One turn: requests a second, latencies, processor time of both sides for a request."""
    command = [
        "wrk", "-t1", f"-c{concurrency}", f"-d{options.seconds}s", "--timeout", "60s",
        "-s", str(SCRIPT), f"http://127.0.0.1:{server.port}{path}", "--", str(file), prefix,
    ]  # fmt: skip
    before, server_before = _children_cpu(), server.cpu()
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    match = re.search("RESULT (.*)", said)
    if match is None:
        raise RuntimeError(f"wrk said {said}")
    found = json.loads(match[1])
    found["requests"] = max(found["requests"], 1)  # none in time is as bad as one
    if found["status"] or found["lost"]:
        raise RuntimeError(f"{server.name} {path}: {found}")
    return _told(found, server.cpu() - server_before, _children_cpu() - before)


def by_client(server: Server, kind: str, file: Path, options: argparse.Namespace, prefix: str,
              package: str) -> dict[str, float]:  # fmt: skip
    """The same for a Python client, which sends one request after the other."""
    python = options.client_python if package == "chromadb" else sys.executable
    command = [
        python, str(CLIENT), package, str(server.port), kind, str(file), prefix,
        str(options.seconds),
    ]  # fmt: skip
    server_before = server.cpu()
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return _told(found, server.cpu() - server_before, found["cpu"])


def _told(found: dict[str, float], server_cpu: float, client_cpu: float) -> dict[str, float]:
    return {
        "rate": found["requests"] / found["microseconds"] * 1e6,
        "p50": found["p50"] / 1000,
        "p99": found["p99"] / 1000,
        "server cpu": 1000 * server_cpu / found["requests"],
        "client cpu": 1000 * client_cpu / found["requests"],
    }


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measure(servers: list[Server], corpus: Corpus, options: argparse.Namespace) -> dict[str, Any]:
    """Every kind of request at every concurrency; each server's median over the rounds."""
    judge = Judge(corpus)
    results: dict[str, Any] = {}
    for name, (path, bodies) in requests(corpus).items():
        file = options.work / "bodies.txt"
        file.write_text("\n".join(bodies) + "\n", encoding="utf-8")
        for who in (*CONCURRENCY, *(CLIENTS if options.client_python else ())):
            turns: dict[str, list[dict[str, float]]] = {server.name: [] for server in servers}
            for number in range(options.rounds):
                for server in servers:
                    prefix = f"{name[:3]}{who}-{number}-{name[-1]}"
                    at = f"{server.collection()}/{path}"
                    turns[server.name].append(
                        by_client(server, path, file, options, prefix, CLIENTS[who][server.name])
                        if isinstance(who, str)
                        else wrk(server, at, file, options, prefix, who)
                    )
            results[f"{name} @ {who}"] = medians(turns)
            print(name, who, results[f"{name} @ {who}"], file=sys.stderr)
        if name.startswith("query"):
            results[f"recall, {name}"] = {
                server.name: recall(server, corpus, judge, name) for server in servers
            }
    return results


def medians(turns: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, float]]:
    """For each server the median of each figure over its turns."""
    return {
        which: {key: median(turn[key] for turn in some) for key in some[0]}
        for which, some in turns.items()
    }


def row_of(name: str, who: str, pair: list[dict[str, float]], ratio: str, aim: str) -> str:
    """A row of a table: the figures of two servers, and how many times as many the one answers."""
    rates, tails, times = ([one[key] for one in pair] for key in ("rate", "p99", "server cpu"))
    return (
        f"| {name} | {who} | {rates[0]:,.0f} | {rates[1]:,.0f} | {ratio} | {aim} "
        f"| {tails[0]:.1f}, {tails[1]:.1f} | {times[0]:.2f}, {times[1]:.2f} |"
    )


def table(result: dict[str, Any]) -> str:
    """The result in Markdown."""
    lines = [
        "| requests | connections, or client | vermilion, requests/s | chroma, requests/s | ratio "
        "| goal | p99, ms | processor time of the servers, ms |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row, found in result["results"].items():
        name, at, who = row.partition(" @ ")
        if not at:
            continue
        ours, theirs = found["vermilion"], found["chroma"]
        ratio, goal = ours["rate"] / theirs["rate"], GOALS[name]
        aim = f"{goal:g}×" + ("" if ratio >= goal else " **missed**")
        if who == FOREIGN:
            aim = "—"
        lines.append(row_of(name, who, [ours, theirs], f"{ratio:.1f}×", aim))
    return "\n".join(lines) + "\n"


def main() -> None:
    """Loads, measures, writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--chroma", required=True)
    parser.add_argument("--client-python")
    parser.add_argument("--vermilion", default=shutil.which("vermilion") or "vermilion")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--work", type=Path, default=Path("server-work"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    options.work.mkdir(exist_ok=True)
    corpus = Corpus(options.data.resolve(), options.rows)
    ours = [options.vermilion, "run", "--workers", str(options.workers)]
    with (
        serving("vermilion", ours, options.work / "vermilion") as vermilion,
        serving("chroma", [options.chroma, "run"], options.work / "chroma") as chroma,
    ):
        servers = [vermilion, chroma]
        if any(
            server.ask("GET", f"{server.collection()}/count") > options.rows for server in servers
        ):
            raise SystemExit("rows were added by an earlier run: choose another --work")
        loads = {server.name: load(server, corpus) for server in servers}
        result = {
            "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
            "load average": os.getloadavg(),
            "rows": options.rows,
            "workers": options.workers,
            "started after": {server.name: server.started for server in servers},
            "load": loads,
            "MB after the load": {server.name: server.memory_mb() for server in servers},
            "results": measure(servers, corpus, options),
            "MB at the end": {server.name: server.memory_mb() for server in servers},
        }
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        options.out.with_suffix(".md").write_text(table(result), encoding="utf-8")
    print(table(result))


if __name__ == "__main__":
    main()
