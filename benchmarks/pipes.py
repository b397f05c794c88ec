"""Times `cdp export | cdp import`, beside the same pipeline of chromadb-data-pipes with chromadb.

python benchmarks/pipes.py [--rows 100000] [--peer PYTHON --peer-rows 10000] [--out FILE.json]

PYTHON is a 3.11 that has chromadb-data-pipes; freshly installed, it starts only with these:
pip install chromadb-data-pipes==0.0.12 'numpy<2' 'pyarrow<18' 'click<8.2' jinja2 \\
    langchain_community

Both pipelines move records of 384 dimensions with a document and metadata from one directory into
another. Wall time, processor time of the two processes and the peak of the memory that they hold
themselves:
pages of files that are mapped are the system's. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

DIMENSION, SEED, BATCH = 384, 7, 5_000
OURS = "import sys; from vermilion.cli import cdp; sys.exit(cdp())"
THEIRS = "from chroma_dp.main import app; app()"

FILL = """
import json, sys
import numpy as np
import {library} as library
path, rows = sys.argv[1], int(sys.argv[2])
vectors = np.random.default_rng({seed}).standard_normal((rows, {dimension})).astype(np.float32)
collection = library.PersistentClient(path).create_collection("notes")
import time
began = time.perf_counter(), time.process_time()
for start in range(0, rows, {batch}):
    these = range(start, min(start + {batch}, rows))
    collection.add(
        ids=[f"id-{{n}}" for n in these],
        embeddings=list(vectors[start : these.stop]),
        documents=[f"Document {{n}}: some words about the number {{n}} and more." for n in these],
        metadatas=[{{"n": n, "parity": "odd" if n % 2 else "even"}} for n in these],
    )
print(json.dumps([time.perf_counter() - began[0], time.process_time() - began[1]]))
"""


def fill(python: str, library: str, path: Path, rows: int) -> dict[str, float]:
    """Makes the source; what `add` took."""
    code = FILL.format(library=library, seed=SEED, dimension=DIMENSION, batch=BATCH)
    done = subprocess.run(
        [python, "-c", code, str(path), str(rows)], capture_output=True, text=True, check=True
    )
    wall, cpu = json.loads(done.stdout.splitlines()[-1])
    return {"wall": wall, "cpu": cpu}


def pipeline(python: str, program: str, source: Path, target: Path) -> dict[str, float]:
    """One run of export | import."""
    commands = [
        [python, "-c", program, "export", f"file://{source}/notes"],
        [python, "-c", program, "import", f"file://{target}/notes", "--create"],
    ]
    began = time.perf_counter()
    first = subprocess.Popen(commands[0], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    second = subprocess.Popen(
        commands[1], stdin=first.stdout, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    assert first.stdout is not None
    first.stdout.close()
    peaks: dict[int, int] = {}
    watching = threading.Thread(target=watch, args=([first.pid, second.pid], peaks))
    watching.start()
    used = []
    for process in (first, second):
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, commands
        used.append(usage)
    return {
        "wall": time.perf_counter() - began,
        "cpu": sum(one.ru_utime + one.ru_stime for one in used),
        "export_mb": peaks[first.pid] / 1024,
        "import_mb": peaks[second.pid] / 1024,
    }


def watch(processes: list[int], peaks: dict[int, int]) -> None:
    """Notes the most kB of anonymous memory that each process had, until they have ended."""
    while True:
        alive = 0
        for process in processes:
            try:
                status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
            except OSError:
                continue
            for line in status.splitlines():
                if line.startswith("RssAnon"):
                    alive += 1
                    peaks[process] = max(peaks.get(process, 0), int(line.split()[1]))
        if not alive:
            return
        time.sleep(0.02)


def count(python: str, library: str, path: Path) -> int:
    """How many records arrived."""
    code = f"import {library} as library; print(library.PersistentClient({str(path)!r})"
    code += ".get_collection('notes').count())"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout.splitlines()[-1])


def measure(python: str, library: str, program: str, rows: int, runs: int) -> dict[str, Any]:
    """The median of some runs, each into a new directory."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        source = Path(folder) / "source"
        added = fill(python, library, source, rows)
        took = []
        for run in range(runs):
            target = Path(folder) / f"target{run}"
            took.append(pipeline(python, program, source, target))
            arrived = count(python, library, target)
            assert arrived == rows, f"{arrived} of {rows} records arrived"
    middle = {name: median(one[name] for one in took) for name in took[0]}
    return {"rows": rows, "add": added, **middle, "a_second": rows / middle["wall"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--peer", metavar="PYTHON")
    parser.add_argument("--peer-rows", type=int, nargs="+", default=[10_000])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    results: dict[str, Any] = {"ours": [], "peer": []}
    for rows in arguments.rows:
        results["ours"].append(measure(sys.executable, "vermilion", OURS, rows, arguments.runs))
        print(json.dumps(results["ours"][-1]))
    for rows in arguments.peer_rows if arguments.peer else ():
        results["peer"].append(measure(arguments.peer, "chromadb", THEIRS, rows, 1))
        print(json.dumps(results["peer"][-1]))
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
