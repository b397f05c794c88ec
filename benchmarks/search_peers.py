"""BM25 beside bm25s and tantivy, given the same words: is the ranking the same, and what it takes.

pip install bm25s tantivy
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vermilion.local.index.words import words
from vermilion.local.weighing import K1, B

DEPTH, ROUNDS = 100, 3

Ranking = list[tuple[str, float]]
Answer = Callable[[str, int], Ranking]


def ours(collection: Any) -> Answer:
    def answer(text: str, k: int) -> Ranking:
        found = collection.query(
            query_texts=text, mode="keyword", n_results=k, include=["distances"]
        )
        return [
            (id, 1 - far) for id, far in zip(found["ids"][0], found["distances"][0], strict=True)
        ]

    return answer


def bm25s_library(documents: list[str]) -> Answer:
    import bm25s

    index = bm25s.BM25(method="lucene", k1=K1, b=B)
    index.index([words(text) for text in documents], show_progress=False)

    def answer(text: str, k: int) -> Ranking:
        told = index.retrieve([words(text)], k=k, show_progress=False, n_threads=1)
        pairs = zip(told.documents[0].tolist(), told.scores[0].tolist(), strict=True)
        return [(str(place), score) for place, score in pairs if score > 0]

    return answer


def tantivy_library(documents: list[str]) -> Answer:
    import tantivy

    builder = tantivy.SchemaBuilder()
    builder.add_text_field("text", stored=False, tokenizer_name="whitespace")
    builder.add_unsigned_field("row", stored=True)
    schema = builder.build()
    index = tantivy.Index(schema)
    writer = index.writer(heap_size=200_000_000, num_threads=1)
    for row, text in enumerate(documents):
        writer.add_document(tantivy.Document(text=" ".join(words(text)), row=row))
    writer.commit()
    writer.wait_merging_threads()
    index.reload()
    searcher = index.searcher()

    def answer(text: str, k: int) -> Ranking:
        terms = [
            (tantivy.Occur.Should, tantivy.Query.term_query(schema, "text", word))
            for word in words(text)
        ]
        hits = searcher.search(tantivy.Query.boolean_query(terms), k, count=False).hits
        return [(str(searcher.doc(address)["row"][0]), score) for score, address in hits]

    return answer


def beside(collection: Any, documents: list[str], queries: list[str]) -> dict[str, Any]:
    """Medians of CPU and clock for ten results, interleaved; and tau of the first hundred."""
    answers = {
        "vermilion": ours(collection),
        "bm25s": bm25s_library(documents),
        "tantivy": tantivy_library(documents),
    }
    rankings = {name: [answer(text, DEPTH) for text in queries] for name, answer in answers.items()}
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in answers}
    for text in queries * ROUNDS:
        for name, answer in answers.items():
            cpu, wall = time.process_time(), time.perf_counter()
            answer(text, 10)
            spent[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    out: dict[str, Any] = {}
    for name, measured in spent.items():
        cpu, wall = (statistics.median(column) * 1000 for column in zip(*measured, strict=True))
        taus = [tau(*pair) for pair in zip(rankings["vermilion"], rankings[name], strict=True)]
        out[name] = {"cpu_ms": cpu, "ms": wall, "tau": statistics.fmean(taus), "worst": min(taus)}
    return out


def tau(first: Ranking, second: Ranking) -> float:
    """Kendall's tau-b of the scores of what both found (Kendall: The treatment of ties, 1945).

    Scores that agree to six digits are ties: one of the libraries counts in float32.
    """
    scores = dict(second)
    pairs = [(score, scores[id]) for id, score in first if id in scores]
    if len(pairs) < 2:
        return 1.0
    a, b = (np.sign(apart(np.array(column))) for column in zip(*pairs, strict=True))
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / size if size else 1.0


def apart(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The difference of each two; next to nothing is nothing."""
    differences: NDArray[np.float64] = scores[:, None] - scores[None, :]
    differences[np.abs(differences) <= 1e-6 * np.abs(scores).max()] = 0
    return differences
