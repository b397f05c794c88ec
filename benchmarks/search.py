"""How long searches take: dense, keywords, both fused, sparse fields, facets, ordering.

    python benchmarks/search.py [ROWS] [FOLDER]

Random vectors, and texts of Zipf-distributed words. CPU time of the process beside the clock, one
question of each kind after the other so that a busy machine slows all of them alike; medians.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import vermilion
from vermilion.ranks import Knn
from vermilion.schema import Schema, SparseVectorIndexConfig, VectorIndexConfig
from vermilion.search import K, Search
from vermilion.types import SparseVector

DIMENSION, VOCABULARY, LENGTH, TERMS = 384, 30_000, 40, 60
ROUNDS = 60


def texts(random: np.random.Generator, count: int, length: int) -> list[str]:
    numbers = random.zipf(1.3, (count, length)) % VOCABULARY
    return [" ".join(f"w{number}" for number in row) for row in numbers.tolist()]


def sparse(random: np.random.Generator, terms: int) -> SparseVector:
    indices = np.unique(random.zipf(1.2, terms) % VOCABULARY)
    return SparseVector(indices.tolist(), random.random(len(indices)).tolist())


def filled(client: Any, rows: int) -> Any:
    random = np.random.default_rng(7)
    schema = Schema().create_index(VectorIndexConfig(space="cosine", embedding_function=None))
    schema.create_index(SparseVectorIndexConfig(bm25=True), key="terms")
    collection = client.create_collection("things", schema=schema)
    for start in range(0, rows, 10_000):
        count = min(10_000, rows - start)
        collection.add(
            ids=[str(n) for n in range(start, start + count)],
            embeddings=random.normal(size=(count, DIMENSION)).astype(np.float32),
            documents=texts(random, count, LENGTH),
            metadatas=[
                {"kind": f"kind {n % 45}", "year": n * 37 % 1000, "terms": sparse(random, TERMS)}
                for n in range(start, start + count)
            ],
        )
    collection.flush()
    return collection


def questions(collection: Any) -> dict[str, Callable[[], Any]]:
    random = np.random.default_rng(11)

    def vector() -> list[list[float]]:
        rows: list[list[float]] = random.normal(size=(1, DIMENSION)).tolist()
        return rows

    def text() -> str:
        return texts(random, 1, 5)[0]

    return {
        "dense, 10 of them": lambda: collection.query(vector(), n_results=10),
        "keywords, 5 words": lambda: collection.query(query_texts=text(), mode="keyword"),
        "hybrid, 5 words": lambda: collection.query(vector(), text(), mode="hybrid"),
        "hybrid, filtered": lambda: collection.query(
            vector(), text(), mode="hybrid", where={"kind": "kind 3"}
        ),
        "sparse, 10 terms": lambda: collection.search(
            Search(rank=Knn(sparse(random, 10), "terms", limit=10)).select(K.SCORE)
        ),
        "facets, 45 values": lambda: collection.facets("kind"),
        "facets, filtered": lambda: collection.facets("kind", where={"year": {"$lt": 500}}),
        "order_by year, 10": lambda: collection.get(order_by="-year", limit=10),
        "order_by kind, year, 10": lambda: collection.get(order_by=["kind", "-year"], limit=10),
    }


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    folder = Path(sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp())
    client = vermilion.PersistentClient(folder)
    began = time.perf_counter()
    if client.count_collections():
        collection = client.get_collection("things")
    else:
        collection = filled(client, rows)
        print(f"{rows} records written and indexed in {time.perf_counter() - began:.0f} s")
    asked = questions(collection)
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in asked}
    for turn in range(ROUNDS + 3):
        for name, ask in asked.items():
            cpu, wall = time.process_time(), time.perf_counter()
            ask()
            took = time.process_time() - cpu, time.perf_counter() - wall
            if turn >= 3:
                spent[name].append(took)
    print(f"{'':24}{'CPU ms':>8}{'ms':>8}")
    for name, measured in spent.items():
        cpu, wall = (statistics.median(column) * 1000 for column in zip(*measured, strict=True))
        print(f"{name:24}{cpu:8.2f}{wall:8.2f}")


if __name__ == "__main__":
    main()
