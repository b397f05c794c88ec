"""What the benchmark of searches is about: 100,000 texts of WordNet, and queries with judgements.

The folder has `base.jsonl.gz` and `queries.jsonl.gz` (id, text "lemmas: gloss", metadata) and their
vectors, `base.f16.npy` and `queries.npy`. Without a folder there are made-up texts and vectors.
"""

from __future__ import annotations

import gzip
import json
import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vermilion.types import SparseVector

DIMENSION, VOCABULARY, LENGTH, TERMS, KINDS = 384, 30_000, 40, 60, 45


@dataclass(frozen=True)
class Corpus:
    """Records, and queries that belong together by place."""

    vectors: NDArray[np.float32]
    documents: list[str]
    metadatas: list[dict[str, Any]]
    query_vectors: NDArray[np.float32]
    query_texts: list[str]


def sparse(generator: np.random.Generator, terms: int) -> SparseVector:
    """A sparse vector whose components are as unequally frequent as words."""
    indices = np.unique(generator.zipf(1.2, terms) % VOCABULARY)
    return SparseVector(indices.tolist(), generator.random(len(indices)).tolist())


def query_sparse(generator: np.random.Generator, terms: int) -> SparseVector:
    """One with exactly so many components."""
    while len(found := sparse(generator, 3 * terms).indices) < terms:
        pass
    kept = sorted(generator.choice(found, terms, replace=False).tolist())
    return SparseVector(kept, generator.random(terms).tolist())


def corpus(folder: Path | None, rows: int) -> Corpus:
    """So many records, with a sparse vector each."""
    generator = np.random.default_rng(7)
    told = made_up(generator, rows) if folder is None else wordnet(folder, rows)
    for metadata in told.metadatas:
        metadata["terms"] = sparse(generator, TERMS)
    return told


def wordnet(folder: Path, rows: int) -> Corpus:
    """The first rows of the folder."""
    lines = read(folder / "base.jsonl.gz")[:rows]
    queries = read(folder / "queries.jsonl.gz")
    vectors = np.load(folder / "base.f16.npy", mmap_mode="r")[:rows].astype(np.float32)
    return Corpus(
        vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        [line["text"] for line in lines],
        [dict(line["metadata"]) for line in lines],
        np.load(folder / "queries.npy"),
        [" ".join(gloss(line).split()[:5]) for line in queries],
    )


def made_up(generator: np.random.Generator, rows: int) -> Corpus:
    """Random vectors, and texts of Zipf-distributed words."""

    def texts(count: int, length: int) -> list[str]:
        numbers = generator.zipf(1.3, (count, length)) % VOCABULARY
        return [" ".join(f"w{number}" for number in row) for row in numbers.tolist()]

    def vectors(count: int) -> NDArray[np.float32]:
        return generator.normal(size=(count, DIMENSION)).astype(np.float32)

    metadatas = [
        {"lexfile": f"kind {n % KINDS}", "definition_chars": n * 37 % 1000} for n in range(rows)
    ]
    return Corpus(vectors(rows), texts(rows, LENGTH), metadatas, vectors(200), texts(200, 5))


def read(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def gloss(line: dict[str, Any]) -> str:
    """The text of a synset without its lemmas."""
    text: str = line["text"].partition(": ")[2]
    return text


# ── judgements ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Judged:
    """Queries, and the ids each should find with their grades."""

    says: str
    queries: list[str]
    relevant: list[dict[str, int]]


def judged(folder: Path, rows: int, count: int) -> tuple[list[dict[str, Any]], list[Judged]]:
    """Synsets whose documents are to be their glosses, and three kinds of queries about them."""
    lines = read(folder / "base.jsonl.gz")[:rows]
    chooser = random.Random(5)
    return lines, [
        lemmas(lines, chooser, count),
        own_words(lines, chooser, count),
        neighbours(lines, read(folder / "queries.jsonl.gz"), count),
    ]


def lemmas(lines: list[dict[str, Any]], chooser: random.Random, count: int) -> Judged:
    """A lemma should find the glosses of all its senses."""
    senses: dict[str, dict[str, int]] = defaultdict(dict)
    for line in lines:
        for lemma in line["text"].partition(": ")[0].split(", "):
            senses[lemma][line["id"]] = 1
    chosen = chooser.sample(sorted(senses), count)
    return Judged("a lemma, its glosses", chosen, [senses[lemma] for lemma in chosen])


def own_words(lines: list[dict[str, Any]], chooser: random.Random, count: int) -> Judged:
    """Six words in a row should find the gloss that they are from."""
    queries, relevant = [], []
    for line in chooser.sample(lines, count):
        words = gloss(line).split()
        start = chooser.randrange(max(1, len(words) - 5))
        queries.append(" ".join(words[start : start + 6]))
        relevant.append({line["id"]: 1})
    return Judged("six words of a gloss, that gloss", queries, relevant)


def neighbours(lines: list[dict[str, Any]], others: list[dict[str, Any]], count: int) -> Judged:
    """A gloss that is not there should find its hypernym's, grade 2, and that one's others."""
    ids = {line["id"] for line in lines}
    below: dict[str, dict[str, int]] = defaultdict(dict)
    for line in lines:
        above = line["metadata"].get("hypernym")
        if above is not None:
            below[above][line["id"]] = 1
    queries, relevant = [], []
    for line in others:
        above = line["metadata"].get("hypernym")
        found = dict(below.get(above, {})) | ({above: 2} if above in ids else {})
        if found and len(queries) < count:
            queries.append(gloss(line))
            relevant.append(found)
    return Judged("another gloss, its hypernym's and siblings'", queries, relevant)
