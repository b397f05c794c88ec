"""What a query costs under filters of every selectivity, beside one without and the bare codec.

    PYTHONPATH=src python benchmarks/selectivity.py --data FOLDER --work FOLDER [--rows 100000]

FOLDER of the data holds base.jsonl.gz, base.f16.npy and queries.npy. The rows are loaded into
the work folder once. Each record has a random share between 0 and 1, and a filter asks for those
below a bound. The calls are interleaved, so that whatever else the machine does meets all alike;
times are the medians in milliseconds, recall@10 is against numpy.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np
from compare_worker import ANSWER, Corpus

import vermilion
from vermilion.local.blocks import Blocks
from vermilion.local.index.sealed_vectors import codec
from vermilion.local.segment import VERSIONS

K = 10
SELECTIVITIES = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.95, 1.0)
BATCH = 1_000
WARM_UP = 12
TIE = 1e-6

Ask = Callable[[int], list[str]]


def main() -> None:
    """Loads unless that was done, asks, prints a table."""
    options = arguments()
    corpus = Corpus(options.data, options.rows)
    shares = np.random.default_rng(0).random(options.rows)
    collection = opened(options.work, corpus, shares)
    asks: dict[str, Ask] = {"bare codec": bare(options.work, corpus)}
    asks["unfiltered"] = asking(collection, corpus, {})
    for bound in SELECTIVITIES:
        where = {"share": {"$lt": bound}}
        asks[f"{100 * bound:g} %"] = asking(collection, corpus, {"where": where})
    spent, answers = timed(asks, options.queries)
    print(f"{'':12}{'wall':>8}{'CPU':>8}{'of unfiltered':>15}{'recall':>8}")
    base = median(cpu for _, cpu in spent["unfiltered"])
    for name, times in spent.items():
        wall, cpu = (1000 * median(column) for column in zip(*times, strict=True))
        bound = 1.0 if name == "unfiltered" else float(name.split()[0]) / 100 if "%" in name else 0
        told = f"{recall(corpus, shares < bound, answers[name]):8.4f}" if bound else ""
        print(f"{name:12}{wall:8.3f}{cpu:8.3f}{cpu / 1000 / base:15.2f}{told}")


def opened(work: Path, corpus: Corpus, shares: np.ndarray) -> Any:
    """The collection, filled and indexed."""
    collection = vermilion.PersistentClient(str(work)).get_or_create_collection(
        "shares", embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
    )
    for start in range(collection.count(), corpus.rows, BATCH):
        rows = corpus.batch(start, min(BATCH, corpus.rows - start))
        batch = slice(start, start + BATCH)
        metadatas = [{"share": float(share)} for share in shares[batch]]
        collection.add(**{**rows, "metadatas": metadatas})
    collection.flush()
    return collection


def asking(collection: Any, corpus: Corpus, filters: dict[str, Any]) -> Ask:
    """Asks the collection for the neighbours of one of the queries."""

    def ask(number: int) -> list[str]:
        queries = corpus.queries[number : number + 1]
        found = collection.query(query_embeddings=queries, n_results=K, include=ANSWER, **filters)
        ids: list[str] = found["ids"][0]
        return ids

    return ask


def bare(work: Path, corpus: Corpus) -> Ask:
    """Asks the codec alone, about the same codes."""
    package = codec()
    assert package is not None, "the package that scans codes is not installed"
    paths = sorted(work.glob("collections/*/indexes/*.vectors"))
    blocks = [Blocks(path, "vectors", VERSIONS["vectors"]) for path in paths]
    indexes = [package.TurboQuantIndex.from_bytes(one.array("codes").tobytes()) for one in blocks]

    def ask(number: int) -> list[str]:
        for index in indexes:
            index.search(corpus.queries[number : number + 1], K)
        return []

    return ask


def timed(
    asks: dict[str, Ask], queries: int
) -> tuple[dict[str, list[tuple[float, float]]], dict[str, list[list[str]]]]:
    """Wall and processor seconds of every call, and the answers."""
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in asks}
    answers: dict[str, list[list[str]]] = {name: [] for name in asks}
    for ask in asks.values():
        for number in range(WARM_UP):
            ask(number)
    for number in range(queries):
        for name, ask in asks.items():
            wall, cpu = perf_counter(), process_time()
            answers[name].append(ask(number))
            spent[name].append((perf_counter() - wall, process_time() - cpu))
    return spent, answers


def recall(corpus: Corpus, allowed: np.ndarray, answers: list[list[str]]) -> float:
    """Which part of the right neighbours was found."""
    place = {record["id"]: number for number, record in enumerate(corpus.records)}
    found = 0.0
    for number, ids in enumerate(answers):
        nearness = np.where(allowed, corpus.vectors @ corpus.queries[number], -np.inf)
        due = min(K, int(allowed.sum()))
        least = np.partition(nearness, -due)[-due] - TIE
        found += sum(nearness[place[id]] >= least for id in set(ids)) / due
    return found / len(answers)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=100)
    return parser.parse_args()


if __name__ == "__main__":
    main()
