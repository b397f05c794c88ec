"""Searches: how long they take, beside two libraries of BM25, and how good their answers are.

    pip install bm25s tantivy
    python benchmarks/search.py [--rows N] [--data FOLDER] [--out NAME]

CPU time of the process beside the clock, one question of each kind after the other so that a busy
machine slows all of them alike; medians. `search_data` says what the folder holds; without one,
texts and vectors are made up, and quality is not measured. `--out` writes NAME.json and NAME.md in
benchmarks/results, of which docs/benchmarks.md shows one.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from circumstances import report
from search_data import Corpus, corpus, gloss, judged, query_sparse
from search_peers import beside

import vermilion
from vermilion.query.ranks import Knn
from vermilion.query.search import K, Search
from vermilion.schema.builder import Schema, SparseVectorIndexConfig, VectorIndexConfig

RESULTS = Path(__file__).parent / "results"
ROUNDS, WARM = 100, 3
JUDGED_ROWS, JUDGED_QUERIES, PEER_QUERIES = 10_000, 300, 100
# What the figures have to be: at most so many ms of CPU, or so many times the dense query.
GOALS = {"sparse, 10 terms": 3.0, "facets, 45 values": 5.0, "order_by, 10": 5.0}
HYBRID = 3.0


def filled(client: Any, things: Corpus) -> Any:
    schema = Schema().create_index(VectorIndexConfig(space="cosine", embedding_function=None))
    schema.create_index(SparseVectorIndexConfig(bm25=True), key="terms")
    collection = client.create_collection("things", schema=schema)
    for start in range(0, len(things.documents), 10_000):
        page = slice(start, start + 10_000)
        documents = things.documents[page]
        collection.add(
            ids=[str(n) for n in range(start, start + len(documents))],
            embeddings=things.vectors[page],
            documents=documents,
            metadatas=things.metadatas[page],
        )
    collection.flush()
    return collection


def questions(collection: Any, things: Corpus) -> dict[str, Callable[[], Any]]:
    generator = np.random.default_rng(11)
    vectors, texts = cycle(things.query_vectors.tolist()), cycle(things.query_texts)

    def both() -> dict[str, Any]:
        return {"query_embeddings": [next(vectors)], "query_texts": [next(texts)]}

    some = {"lexfile": things.metadatas[0]["lexfile"]}
    short = {"definition_chars": {"$lt": 60}}
    return {
        "dense, 10 of them": lambda: collection.query([next(vectors)], n_results=10),
        "keywords, 5 words": lambda: collection.query(query_texts=next(texts), mode="keyword"),
        "hybrid, 5 words": lambda: collection.query(**both(), mode="hybrid"),
        "hybrid, filtered": lambda: collection.query(**both(), mode="hybrid", where=some),
        "sparse, 10 terms": lambda: collection.search(
            Search(rank=Knn(query_sparse(generator, 10), "terms", limit=10)).select(K.SCORE)
        ),
        "facets, 45 values": lambda: collection.facets("lexfile"),
        "facets, filtered": lambda: collection.facets("lexfile", where=short),
        "order_by, 10": lambda: collection.get(order_by="-definition_chars", limit=10),
        "order_by two fields, 10": lambda: collection.get(
            order_by=["lexfile", "-definition_chars"], limit=10
        ),
    }


def timed(asked: dict[str, Callable[[], Any]]) -> dict[str, dict[str, float]]:
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in asked}
    for turn in range(ROUNDS + WARM):
        for name, ask in asked.items():
            cpu, wall = time.process_time(), time.perf_counter()
            ask()
            took = time.process_time() - cpu, time.perf_counter() - wall
            if turn >= WARM:
                spent[name].append(took)
    out = {}
    for name, measured in spent.items():
        cpu, wall = (statistics.median(column) * 1000 for column in zip(*measured, strict=True))
        out[name] = {"cpu_ms": cpu, "ms": wall}
    return out


def quality(data: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Recall, nDCG and MRR of the three modes for each kind of query."""
    lines, kinds = judged(data, JUDGED_ROWS, JUDGED_QUERIES)
    client = vermilion.EphemeralClient()
    collection = client.create_collection("judged", configuration={"hnsw": {"space": "cosine"}})
    for start in range(0, len(lines), 1000):
        page = lines[start : start + 1000]
        collection.add(ids=[line["id"] for line in page], documents=[gloss(line) for line in page])
    out: dict[str, dict[str, dict[str, float]]] = {}
    for kind in kinds:
        told = collection.evaluate(kind.queries, kind.relevant, ("dense", "keyword", "hybrid"))
        print(kind.says, told, sep="\n")
        out[kind.says] = told.to_dict()
    return out


# ── what is written ──────────────────────────────────────────────────────────────────────────────


def tables(result: dict[str, Any]) -> str:
    """The figures as Markdown."""
    dense = result["speed"]["dense, 10 of them"]["cpu_ms"]
    lines = [
        f"{result['rows']:,} records, milliseconds, medians:",
        "",
        "| search | CPU | clock | CPU by that of the dense query | goal |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    for name, row in result["speed"].items():
        times = row["cpu_ms"] / dense
        goal = f"≤ {GOALS[name]:g} ms" if name in GOALS else ""
        goal = f"≤ {HYBRID:g}×" if name == "hybrid, 5 words" else goal
        lines.append(f"| {name} | {row['cpu_ms']:.2f} | {row['ms']:.2f} | {times:.1f}× | {goal} |")
    lines += [
        "",
        "BM25 beside two libraries, in memory, given the same words; ten results:",
        "",
        "| store | CPU | clock | by Vermilion's CPU | tau of the first 100, mean; worst |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    own = result["beside"]["vermilion"]["cpu_ms"]
    for name, row in result["beside"].items():
        lines.append(
            f"| {name} | {row['cpu_ms']:.2f} | {row['ms']:.2f} | {row['cpu_ms'] / own:.2f}× | "
            f"{row['tau']:.4f}; {row['worst']:.4f} |"
        )
    if "quality" in result:
        lines += ["", f"Quality over {JUDGED_ROWS:,} glosses, nDCG@10 (MRR@10):", ""]
        lines += ["| query, what it should find | dense | keyword | hybrid |"]
        lines += ["| --- | ---: | ---: | ---: |"]
        for says, modes in result["quality"].items():
            cells = [f"{row['nDCG@10']:.3f} ({row['MRR@10']:.3f})" for row in modes.values()]
            lines.append(f"| {says} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out")
    options = parser.parse_args()
    things = corpus(options.data, options.rows)
    result: dict[str, Any] = {
        "rows": options.rows,
        "data": "WordNet" if options.data else "made up",
    }
    with tempfile.TemporaryDirectory() as folder, vermilion.PersistentClient(folder) as client:
        began = time.perf_counter()
        collection = filled(client, things)
        result["loaded_s"] = time.perf_counter() - began
        result["speed"] = timed(questions(collection, things))
        queries = things.query_texts[:PEER_QUERIES]
        result["beside"] = beside(collection, things.documents, queries)
    if options.data:
        result["quality"] = quality(options.data)
    text = tables(result)
    print(text)
    report(result, RESULTS / f"{options.out}.json" if options.out else None)
    if options.out:
        (RESULTS / f"{options.out}.md").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
