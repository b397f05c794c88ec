"""How much more `vermilion run` answers with several workers than with one: the same rows, in turn.

    python benchmarks/server_workers.py --data FOLDER [--vermilion PROGRAM] [--workers 2]
        [--rows 100000] [--work FOLDER] [--out FILE.json] [--seconds 6] [--rounds 5]

Needs wrk, which shares the processors with the servers, as server.py does. "mixed" are queries,
queries with an equality filter, and gets, one of each in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
from pathlib import Path
from typing import Any

from compare_worker import Corpus
from server import Server, load, medians, requests, row_of, serving, wrk

CONCURRENCY = (8, 32)
READS = ("query", "query, equality", "get 1 id")
# How many times as many requests a second two workers are to answer on two processors.
GOAL = 1.6


def bodies_of(corpus: Corpus, server: Server) -> dict[str, tuple[str, list[str]]]:
    """For each kind of read the path, and the lines that wrk's script sends."""
    all_of, path = requests(corpus), server.collection()
    kinds = {name: (f"{path}/{all_of[name][0]}", all_of[name][1]) for name in READS}
    mixed = [
        f"{place}\t{body}"
        for three in zip(*(bodies for _, bodies in kinds.values()), strict=False)
        for (place, _), body in zip(kinds.values(), three, strict=True)
    ]
    return kinds | {"mixed": (path, mixed)}


def measure(servers: list[Server], corpus: Corpus, options: argparse.Namespace) -> dict[str, Any]:
    """Every kind of read at every concurrency; each server's median over the rounds."""
    results: dict[str, Any] = {}
    for name, (path, bodies) in bodies_of(corpus, servers[0]).items():
        file = options.work / "bodies.txt"
        file.write_text("\n".join(bodies) + "\n", encoding="utf-8")
        for concurrency in CONCURRENCY:
            turns: dict[str, list[dict[str, float]]] = {server.name: [] for server in servers}
            for _ in range(options.rounds):
                for server in servers:
                    turns[server.name].append(wrk(server, path, file, options, "x", concurrency))
            results[f"{name} @ {concurrency}"] = medians(turns)
    return results


def table(result: dict[str, Any]) -> str:
    """The result in Markdown."""
    workers = f"{result['workers']} workers"
    lines = [
        f"| requests | connections | one process, requests/s | {workers}, requests/s | ratio "
        "| goal | p99, ms | processor time of the servers, ms |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row, found in result["results"].items():
        name, _, connections = row.partition(" @ ")
        one, more = found["one"], found["more"]
        ratio = more["rate"] / one["rate"]
        aim = f"{GOAL:g}×" + ("" if ratio >= GOAL else " **missed**")
        lines.append(row_of(name, connections, [one, more], f"{ratio:.2f}×", aim))
    return "\n".join(lines) + "\n"


def main() -> None:
    """Loads, measures, writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--vermilion", default=shutil.which("vermilion") or "vermilion")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--work", type=Path, default=Path("server-work"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    options.work.mkdir(exist_ok=True)
    corpus = Corpus(options.data.resolve(), options.rows)
    folder, command = options.work / "vermilion", [options.vermilion, "run", "--workers"]
    with (
        serving("one", [*command, "1"], folder) as one,
        serving("more", [*command, str(options.workers)], folder) as more,
    ):
        load(one, corpus)
        result = {
            "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
            "load average": os.getloadavg(),
            "rows": options.rows,
            "workers": options.workers,
            "results": measure([one, more], corpus, options),
        }
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        options.out.with_suffix(".md").write_text(table(result), encoding="utf-8")
    print(table(result))


if __name__ == "__main__":
    main()
