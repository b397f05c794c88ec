"""How many documents the default embedding computes in a second of one core, and how many Chroma's.

    python benchmarks/default_embedding.py --peer-python VENV/bin/python --peer-model FOLDER

Chroma's default function needs `model.onnx` and five small files beside it. It downloads them when
it is first used; where it has not, --peer-model names a folder with them, else it is left out.
Every contestant is a process of its own with one thread on one core, and takes its turn in each
round. The reading is CPU time, so that other load on the machine does little harm; medians are
printed. Chroma computes fewer documents (--peer-count), as it pads each one to 256 tokens.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

REPOSITORY = Path(__file__).parent.parent
SHIPPED_TEXTS = REPOSITORY / "src" / "vermilion" / "commands" / "demo_data" / "glosses.jsonl.gz"
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}

Encode = Callable[[Sequence[str]], Any]


class Skip(Exception):
    """A contestant cannot take part, for the reason given."""


def main() -> None:
    """Runs the rounds and prints a table, or serves one contestant when called with --worker."""
    options = arguments()
    if options.worker:
        serve(options.worker, options.peer_model)
        return
    texts = read_texts(options.texts, options.count, options.join)
    contestants = start(options, texts)
    readings: dict[str, list[dict[str, float]]] = {name: [] for name in contestants}
    for _ in range(options.rounds):
        for name, contestant in contestants.items():
            readings[name].append(contestant.round())
    for contestant in contestants.values():
        contestant.stop()
    characters = sum(map(len, texts)) / len(texts)
    print(f"{len(texts)} texts of {characters:.0f} characters, {options.rounds} rounds, one thread")
    report(readings)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--texts", type=Path, default=SHIPPED_TEXTS, help="JSON lines with a text")
    parser.add_argument("--count", type=int, default=1024, help="documents a round")
    parser.add_argument("--join", type=int, default=1, help="texts a document: 12 fill 256 tokens")
    parser.add_argument("--peer-count", type=int, default=64, help="documents a round for Chroma")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer-python", help="a Python that has chromadb; without it, left out")
    parser.add_argument("--peer-model", type=Path, help="a folder with Chroma's model files")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args()


def read_texts(path: Path, count: int, join: int) -> list[str]:
    open_lines = gzip.open if path.suffix == ".gz" else open
    with open_lines(path, "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in islice(lines, count * join)]
    return [" ".join(texts[start : start + join]) for start in range(0, len(texts), join)]


def start(options: argparse.Namespace, texts: list[str]) -> dict[str, "Contestant"]:
    """The contestants that can take part, warmed up; says why the others cannot."""
    peer_texts = texts[: options.peer_count]
    entries = [
        ("vermilion, numpy", sys.executable, "numpy", texts),
        ("vermilion, onnxruntime", sys.executable, "onnx", texts),
        ("chromadb", options.peer_python, "peer", peer_texts),
    ]
    contestants = {}
    for name, python, kind, share in entries:
        try:
            contestants[name] = Contestant(python, kind, share, options.peer_model)
        except Skip as reason:
            print(f"{name} is left out: {reason}")
    return contestants


class Contestant:
    """A process that embeds the same texts whenever it is asked to, and says how long it took."""

    def __init__(
        self, python: str | None, kind: str, texts: list[str], peer_model: Path | None
    ) -> None:
        if python is None:
            raise Skip("no --peer-python")
        command = [python, str(Path(__file__).resolve()), "--worker", kind]
        if peer_model:
            command += ["--peer-model", str(peer_model.resolve())]
        environment = os.environ | ONE_THREAD | {"PYTHONPATH": str(REPOSITORY / "src")}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._say(texts)
        answer = self._hear()
        if "skip" in answer:
            self.stop()
            raise Skip(answer["skip"])

    def round(self) -> dict[str, float]:
        """One reading: documents for each second of CPU, and milliseconds for a single one."""
        self._say("go")
        answer: dict[str, float] = self._hear()
        return answer

    def stop(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()

    def _say(self, message: object) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def _hear(self) -> Any:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline() or '{"skip": "its process ended"}')


def serve(kind: str, peer_model: Path | None) -> None:
    """The process of a contestant: reads the texts, then answers each further line by a reading."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    texts = json.loads(sys.stdin.readline())
    try:
        encode = peer(peer_model) if kind == "peer" else ours(kind)
        encode(texts[:8])
    except (Skip, ImportError, RuntimeError) as error:
        print(json.dumps({"skip": str(error)}), flush=True)
        return
    print(json.dumps({"ready": True}), flush=True)
    for _ in sys.stdin:
        seconds = cpu_seconds(encode, texts)
        one = cpu_seconds(encode, texts[:1])
        print(json.dumps({"speed": len(texts) / seconds, "one": 1000 * one}), flush=True)


def cpu_seconds(encode: Encode, texts: list[str]) -> float:
    start = time.process_time()
    encode(texts)
    return time.process_time() - start


def ours(runtime: Any) -> Encode:
    from vermilion.embeddings.minilm import MiniLM

    return MiniLM(runtime).encode


def peer(folder: Path | None) -> Encode:
    """Chroma's default function, held to one thread by the options that it hands to onnxruntime."""
    import onnxruntime
    from chromadb.utils.embedding_functions import (  # type: ignore[import-not-found]
        ONNXMiniLM_L6_V2,  # only the peer's Python has it
    )

    create_options = onnxruntime.SessionOptions

    def one_thread() -> Any:
        session_options = create_options()
        session_options.intra_op_num_threads = 1
        return session_options

    onnxruntime.SessionOptions = one_thread
    if folder:
        ONNXMiniLM_L6_V2.DOWNLOAD_PATH = folder.parent
        ONNXMiniLM_L6_V2.EXTRACTED_FOLDER_NAME = folder.name
    function = ONNXMiniLM_L6_V2()
    model = Path(function.DOWNLOAD_PATH, function.EXTRACTED_FOLDER_NAME, "model.onnx")
    if not model.exists():
        raise Skip("its model is not in its cache, and no --peer-model was given")
    return lambda texts: function(list(texts))


def report(readings: dict[str, list[dict[str, float]]]) -> None:
    peer_speed = median(r["speed"] for r in readings["chromadb"]) if "chromadb" in readings else 0
    print(f"{'':24}{'docs/CPU-s':>12}{'one doc, ms':>14}{'ratio':>8}")
    for name, rounds in readings.items():
        speed = median(reading["speed"] for reading in rounds)
        one = median(reading["one"] for reading in rounds)
        ratio = f"{speed / peer_speed:.1f}" if peer_speed else "-"
        print(f"{name:24}{speed:12.1f}{one:14.1f}{ratio:>8}")


if __name__ == "__main__":
    main()
