"""A million mixed requests to one `vermilion run`: nothing may be lost, and nothing may leak.

    python benchmarks/server_soak.py [--requests 1000000] [--connections 8] [--vermilion PROGRAM]
        [--rows 2000] [--seed 1] [--out FILE.json]

Each connection adds, upserts, updates, deletes, gets and queries records of its own, and keeps what
they have to be: every get, and at the end every record, is compared with that. The numbers of
records stay about the same from the first twentieth on, so the server's memory has to, too. Exits
with 1 when anything was lost, refused or wrong, or when memory has grown over the last four fifths.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from circumstances import report

PREFIX = "/api/v2/tenants/default_tenant/databases/default_database/collections"
DIMENSION = 64
VECTORS = 1_000
# Of a hundred requests, once there are enough records.
MIX = {"add": 10, "upsert": 10, "update": 10, "delete": 10, "get": 30, "query": 30}
# Samples of memory in one run, and how much more the median of the last fifth of them may be than
# that of the second fifth.
SAMPLES, GROWTH = 200, 1.05


class Connection:
    """HTTP over one kept socket, with as little work as possible."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=120)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._kept = b""

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON. Raises RuntimeError for one that is an error."""
        content = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\n\r\n"
        )
        self._socket.sendall(head.encode() + content)
        while b"\r\n\r\n" not in self._kept:
            self._more()
        top, _, rest = self._kept.partition(b"\r\n\r\n")
        lines = top.lower().split(b"\r\n")
        [length] = [int(line[15:]) for line in lines if line.startswith(b"content-length:")]
        self._kept = rest
        while len(self._kept) < length:
            self._more()
        text, self._kept = self._kept[:length], self._kept[length:]
        if int(top.split(b" ", 2)[1]) >= 400:
            raise RuntimeError(f"{method} {path}: {text[:300]!r}")
        return json.loads(text)

    def _more(self) -> None:
        came = self._socket.recv(1 << 16)
        if not came:
            raise RuntimeError("the server has closed the connection")
        self._kept += came


class Client(threading.Thread):
    """One connection, its records and what they have to be."""

    def __init__(self, run: Run, number: int) -> None:
        super().__init__(daemon=True)
        self._run = run
        self._number = number
        self._random = random.Random(run.options.seed * 1_000 + number)
        self._connection = Connection(run.port)
        self._next = 0
        self.truth: dict[str, int] = {}
        self._ids: list[str] = []
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []

    def run(self) -> None:
        while self._run.next():
            kind = self._kind()
            self.counts[kind] += 1
            try:
                getattr(self, f"_{kind}")()
            except Exception as error:
                self.wrong.append(f"{kind}: {error!r}")
                if len(self.wrong) > 10:
                    return

    def _kind(self) -> str:
        rows = len(self._ids)
        if rows < self._run.rows_each // 2:
            return "add"
        if rows > self._run.rows_each:
            return "delete"
        return self._random.choices([*MIX], [*MIX.values()])[0]

    def _ask(self, verb: str, body: dict[str, Any]) -> Any:
        return self._connection.ask("POST", f"{self._run.collection}/{verb}", body)

    def _some(self, most: int) -> list[str]:
        return [*dict.fromkeys(self._random.choices(self._ids, k=self._random.randint(1, most)))]

    def _new(self) -> list[str]:
        ids = [f"{self._number}-{self._next + i}" for i in range(self._random.randint(1, 5))]
        self._next += len(ids)
        return ids

    def _rows(self, ids: list[str], version: int) -> dict[str, Any]:
        return {
            "ids": ids,
            "embeddings": [self._run.vector(id, version) for id in ids],
            "documents": [document(id, version) for id in ids],
            "metadatas": [{"version": version, "owner": self._number} for _ in ids],
        }

    def _add(self) -> None:
        ids = self._new()
        self._ask("add", self._rows(ids, 0))
        self.truth |= dict.fromkeys(ids, 0)
        self._ids += ids

    def _upsert(self) -> None:
        old, new = self._some(4), self._new()[:1]
        version = 1 + max(self.truth[id] for id in old)
        self._ask("upsert", self._rows(old + new, version))
        self.truth |= dict.fromkeys(old + new, version)
        self._ids += new

    def _update(self) -> None:
        ids = self._some(5)
        version = 1 + max(self.truth[id] for id in ids)
        self._ask("update", self._rows(ids, version))
        self.truth |= dict.fromkeys(ids, version)

    def _delete(self) -> None:
        ids = self._some(6)
        self._ask("delete", {"ids": ids})
        for id in ids:
            del self.truth[id]
        gone = set(ids)
        self._ids = [id for id in self._ids if id not in gone]

    def _get(self) -> None:
        ids = self._some(5)
        self.compare(self._ask("get", {"ids": ids, "include": ["documents", "metadatas"]}), ids)

    def compare(self, found: dict[str, Any], ids: list[str]) -> None:
        """Notes every record that is not what it has to be."""
        rows = zip(found["ids"], found["documents"], found["metadatas"], strict=True)
        there = {id: (text, metadata["version"]) for id, text, metadata in rows}
        wanted = {id: (document(id, self.truth[id]), self.truth[id]) for id in ids}
        if there != wanted:
            self.wrong.append(f"expected {wanted}, got {there}"[:500])

    def _query(self) -> None:
        """The nearest of its own records; one of them is the vector's own."""
        [id] = self._some(1)
        body = {"query_embeddings": [self._run.vector(id, self.truth[id])], "n_results": 10}
        if self._random.random() < 0.5:
            body["where"] = {"owner": self._number}
        found = self._ask("query", body)
        near = found["distances"][0]
        if len(near) != 10 or near != sorted(near) or near[0] > 1e-3:
            self.wrong.append(f"query for {id}: {found['ids']} {near}"[:500])


def document(id: str, version: int) -> str:
    """What the record says in this version."""
    return f"record {id} in version {version}"


class Run:
    """One server, its clients and what was counted."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options = options
        self.rows_each = options.rows // options.connections
        self._left = options.requests
        self._guard = threading.Lock()
        rng = np.random.default_rng(options.seed)
        matrix = rng.standard_normal((VECTORS, DIMENSION)).astype(np.float32)
        self._vectors = [[round(float(x), 4) for x in row] for row in matrix]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._process = subprocess.Popen(
            [options.vermilion, "run", "--path", str(folder), "--port", str(self.port)],
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise RuntimeError("the server did not start")
        made = Connection(self.port).ask("POST", PREFIX, {"name": "soak"})
        self.collection = f"{PREFIX}/{made['id']}"

    def next(self) -> bool:
        """Whether there is one more request to send."""
        with self._guard:
            self._left -= 1
            return self._left >= 0

    def vector(self, id: str, version: int) -> list[float]:
        """The vector of a record; some records share one."""
        return self._vectors[(hash_of(id) + version) % VECTORS]

    def memory(self) -> dict[str, float]:
        """MiB of the server's own process: all, and what is no page of a mapped file."""
        text = Path(f"/proc/{self._process.pid}/smaps_rollup").read_text(encoding="utf-8")
        sizes = {line.split(":")[0]: int(line.split()[1]) for line in text.splitlines()[1:]}
        return {"resident": sizes["Rss"] / 1024, "anonymous": sizes["Anonymous"] / 1024}

    def soak(self) -> dict[str, Any]:
        """All of it; what was counted."""
        clients = [Client(self, number) for number in range(self.options.connections)]
        start, samples, last = time.perf_counter(), [], self._left
        for client in clients:
            client.start()
        while any(client.is_alive() for client in clients):
            time.sleep(0.1)
            if last - self._left >= self.options.requests // SAMPLES:
                last = self._left
                samples.append(self.memory())
                self._tell(samples[-1], start)
        seconds = time.perf_counter() - start
        counts: Counter[str] = sum((client.counts for client in clients), Counter())
        left = self._compare(clients)
        wrong = [one for client in clients for one in client.wrong]
        return {
            "requests": counts.total(),
            "connections": len(clients),
            "seconds": seconds,
            "requests a second": counts.total() / seconds,
            "kinds": dict(counts),
            "records at the end": left,
            "wrong": len(wrong),
            "first wrong": wrong[:5],
            "MiB": {name: trend(samples, name) for name in ("resident", "anonymous")},
        }

    def _tell(self, sample: dict[str, float], start: float) -> None:
        done = self.options.requests - max(self._left, 0)
        print(done, f"{time.perf_counter() - start:.0f} s", sample, file=sys.stderr, flush=True)

    def _compare(self, clients: list[Client]) -> int:
        """Every record against what it has to be."""
        connection = Connection(self.port)  # the server closes those that are idle
        count: int = connection.ask("GET", f"{self.collection}/count")
        if count != sum(len(client.truth) for client in clients):
            clients[0].wrong.append(f"{count} records at the end")
        for number, client in enumerate(clients):
            body = {"where": {"owner": number}, "include": ["documents", "metadatas"]}
            found = connection.ask("POST", f"{self.collection}/get", body)
            client.compare(found, list(client.truth))
        return count

    def close(self) -> None:
        """Stops the server."""
        os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait(60)


def hash_of(text: str) -> int:
    """The same number in every run."""
    return int.from_bytes(text.encode(), "big") * 2_654_435_761 % 2**32


def trend(samples: list[dict[str, float]], name: str) -> dict[str, Any]:
    """Medians of the second and the last fifth, every tenth sample, and whether it is flat."""
    values = [sample[name] for sample in samples]
    fifth = max(1, len(values) // 5)
    early, late = np.median(values[fifth : 2 * fifth]), np.median(values[-fifth:])
    return {
        "second fifth": round(float(early), 1),
        "last fifth": round(float(late), 1),
        "flat": bool(late <= GROWTH * early),
        "over time": [round(value, 1) for value in values[:: max(1, len(values) // 20)]],
    }


def main() -> int:
    """Soaks, tells, writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--rows", type=int, default=2_000, help="of all connections together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--vermilion", default=shutil.which("vermilion") or "vermilion")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = Run(options, Path(folder, "database"))
        try:
            result = run.soak()
        finally:
            run.close()
    report(result, options.out)
    return 0 if not result["wrong"] and result["MiB"]["anonymous"]["flat"] else 1


if __name__ == "__main__":
    sys.exit(main())
