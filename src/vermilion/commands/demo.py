"""The command `vermilion demo`: real texts are embedded, stored and asked about, with times."""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any

from vermilion.api.client import persistent_client
from vermilion.api.collection import Collection
from vermilion.embeddings.default import DefaultEmbeddingFunction
from vermilion.query.where import parse

PURPOSE = "Embed 3,000 dictionary entries, store them and ask about them"

_GLOSSES = Path(__file__).parent / "demo_data" / "glosses.jsonl.gz"
_COLLECTION = "vermilion_demo"
_STEP = 128  # entries embedded and stored at once: four times a second on two cores of 2026
_N_RESULTS = 5
_WIDEST_WORD = 22
_LINE_EVERY = 5.0  # seconds, where stderr is not a terminal

Gloss = dict[str, Any]  # id, text ("word, synonym: gloss") and metadata (lemma, lexfile, pos, …)


@dataclass(frozen=True)
class Question:
    """A question, asked of everything and then, if there is a filter, of what matches it."""

    text: str
    where: dict[str, Any] | None = None
    where_document: dict[str, Any] | None = None

    @property
    def filters(self) -> dict[str, Any]:
        """The filters as `Collection.query` takes them; empty when there is none."""
        both = {"where": self.where, "where_document": self.where_document}
        return {name: given for name, given in both.items() if given is not None}


QUESTIONS = (
    Question("a tiny insect that jumps and drinks blood"),
    Question("lives in the sea", where={"lexfile": "noun.animal"}),
    Question("sad and far from home", where={"pos": "n"}),
    Question("a feeling of being afraid", where={"pos": "v"}),
    Question("a bird", where_document={"$contains": "water"}),
)


@dataclass
class Times:
    """What was measured, in seconds, one entry a call."""

    embedding: list[float] = field(default_factory=list)
    storing: list[float] = field(default_factory=list)
    embedding_questions: list[float] = field(default_factory=list)
    searching: list[float] = field(default_factory=list)


# ── the command ──────────────────────────────────────────────────────────────────────────────────


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `vermilion demo`."""
    parser.epilog = (
        "The entries are from WordNet 3.1, Copyright 2011 by Princeton University. Their metadata "
        "to filter by: pos (n, v, a, s, r), lexfile (such as noun.animal), lemma, n_lemmas, "
        "n_pointers, n_examples, definition_chars, hypernym."
    )
    parser.add_argument(
        "--path",
        metavar="DIR",
        help="keep the data in this directory, and use what is there (default: a new one)",
    )
    parser.add_argument(
        "--limit", metavar="N", type=_positive, help="store only the first N entries"
    )
    parser.add_argument(
        "--question",
        metavar="TEXT",
        action="append",
        help="ask this instead of the prepared questions; may be repeated",
    )
    parser.add_argument(
        "--where",
        metavar="JSON",
        type=_json,
        help='filter by metadata, for example \'{"pos": "v"}\'',
    )
    parser.add_argument(
        "--where-document",
        metavar="JSON",
        type=_json,
        help='filter by text, for example \'{"$contains": "water"}\'',
    )


def run(arguments: argparse.Namespace) -> None:
    """Fills the directory, asks the questions and tells what it took."""
    questions = chosen_questions(arguments)
    path = arguments.path
    directory = Path(tempfile.mkdtemp(prefix="vermilion-demo-") if path is None else path)
    times = Times()
    with persistent_client(directory if path is None else path) as client:
        print(f"The data is kept in {directory}", flush=True)
        collection = client.get_or_create_collection(
            _COLLECTION, configuration={"hnsw": {"space": "cosine"}}
        )
        added = fill(collection, read_glosses(arguments.limit), times)
        count = collection.count()
        for question in questions:
            ask(collection, question, times)
    print_summary(directory, count, added, times)


def chosen_questions(arguments: argparse.Namespace) -> list[Question]:
    """The user's questions with the user's filters, or the prepared ones.

    Raises VermilionError for a filter that cannot be: better now than after the embedding.
    """
    where, where_document = arguments.where, arguments.where_document
    parse(where, where_document)
    if arguments.question:
        return [Question(text, where, where_document) for text in arguments.question]
    if where is None and where_document is None:
        return list(QUESTIONS)
    return [Question(prepared.text, where, where_document) for prepared in QUESTIONS]


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a number from 1 on, got {text!r}")
    return int(text)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON: {error}") from None


# ── filling the collection ───────────────────────────────────────────────────────────────────────


def read_glosses(limit: int | None = None) -> list[Gloss]:
    """The entries that come with the package, or the first of them."""
    with gzip.open(_GLOSSES, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in islice(lines, limit)]


def fill(collection: Collection, glosses: Sequence[Gloss], times: Times) -> int:
    """Embeds and stores those entries that are not there yet; returns how many they were."""
    present = set(collection.get(include=[])["ids"])
    missing = [gloss for gloss in glosses if gloss["id"] not in present]
    embed = DefaultEmbeddingFunction()
    embed(["The first call loads the model, which is not part of what is measured."])
    with Progress("Embedding", len(missing)) as progress:
        for start in range(0, len(missing), _STEP):
            step = missing[start : start + _STEP]
            texts = [gloss["text"] for gloss in step]
            with _timed(times.embedding):
                embeddings = embed(texts)
            with _timed(times.storing):
                collection.add(
                    ids=[gloss["id"] for gloss in step],
                    embeddings=embeddings,
                    documents=texts,
                    metadatas=[gloss["metadata"] for gloss in step],
                )
            progress.advance(len(step))
    return len(missing)


@contextmanager
def _timed(into: list[float]) -> Iterator[None]:
    start = time.perf_counter()
    yield
    into.append(time.perf_counter() - start)


class Progress:
    """Shows on stderr how far a task is: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, label: str, total: int) -> None:
        self._label = label
        self._total = total
        self._done = 0
        self._terminal = sys.stderr.isatty()
        self._start = self._shown = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._terminal and self._done:
            self._write("\n")

    def advance(self, count: int) -> None:
        """Tells that so many more are done."""
        self._done += count
        now = time.monotonic()
        rate = self._done / max(now - self._start, 1e-9)
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            self._write("\r" + f"{self._bar()}{self._state(rate)}".ljust(width)[:width])
        elif self._done == self._total or now - self._shown >= _LINE_EVERY:
            self._shown = now
            self._write(f"{self._label}: {self._state(rate)}\n")

    def _bar(self, cells: int = 24) -> str:
        full = cells * self._done // self._total
        return f"{self._label} [{'#' * full}{'.' * (cells - full)}] "

    def _state(self, rate: float) -> str:
        left = (self._total - self._done) / rate
        ending = f", {left:.0f} s left" if self._done < self._total else ""
        return f"{self._done:,} of {self._total:,}, {rate:,.0f}/s{ending}"

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


# ── asking ───────────────────────────────────────────────────────────────────────────────────────


def ask(collection: Collection, question: Question, times: Times) -> None:
    """Prints the nearest entries, of all and of those that match the question's filters."""
    with _timed(times.embedding_questions):
        vector = DefaultEmbeddingFunction()([question.text])
    answers = {}
    for filters in [{}, question.filters] if question.filters else [{}]:
        with _timed(times.searching):
            found = collection.query(vector, n_results=_N_RESULTS, **filters)
        answers[_title(filters)] = table_rows(found)
    print(f"\n{question.text}")
    print_tables(answers)


def _title(filters: dict[str, Any]) -> str:
    written = (f"{name}={json.dumps(given)}" for name, given in filters.items())
    return ", ".join(written) or "without a filter"


def table_rows(found: Any) -> list[tuple[str, ...]]:
    """Rank, distance, word, lexfile and gloss of the records that answer one query."""
    columns = (found["distances"][0], found["metadatas"][0], found["documents"][0])
    return [
        (
            str(rank),
            f"{distance:.3f}",
            shortened(metadata["lemma"], _WIDEST_WORD),
            metadata["lexfile"],
            document.partition(": ")[2],
        )
        for rank, (distance, metadata, document) in enumerate(zip(*columns, strict=True), 1)
    ]


def print_tables(answers: dict[str, list[tuple[str, ...]]]) -> None:
    """Prints tables below one header, with their columns in line, as wide as the terminal."""
    header = ("", "distance", "word", "lexfile", "gloss")
    every_row = [header, *(row for rows in answers.values() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*every_row, strict=True)]
    _print_row(header, widths)
    for title, rows in answers.items():
        print(f"  {title}{'' if rows else ': nothing matches'}")
        for row in rows:
            _print_row(row, widths)


def _print_row(row: tuple[str, ...], widths: list[int]) -> None:
    cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
    print(shortened("   " + "  ".join(cells).rstrip(), shutil.get_terminal_size().columns))


def shortened(text: str, width: int) -> str:
    """The text, or as much of its beginning as fits."""
    return text if len(text) <= width else f"{text[: width - 3].rstrip()}..."


# ── telling ──────────────────────────────────────────────────────────────────────────────────────


def print_summary(directory: Path, count: int, added: int, times: Times) -> None:
    """Prints where the data is, how large it is and what was measured."""
    size = sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
    print(f"\nData       {count:,} records in {directory}, {size / 1e6:.1f} MB")
    if added:
        _print_rate("Embedding", f"{added:,} texts", added, sum(times.embedding))
        _print_rate("Storing", f"{added:,} records", added, sum(times.storing))
    else:
        print("Embedding  nothing: an earlier run stored these records")
    embedding, searching = median(times.embedding_questions), median(times.searching)
    print(
        f"Asking     {(embedding + searching) * 1e3:.1f} ms a question in the median: "
        f"{embedding * 1e3:.1f} ms to embed it, {searching * 1e3:.1f} ms to search"
    )


def _print_rate(label: str, what: str, count: int, seconds: float) -> None:
    print(f"{label:10} {what} in {seconds:.1f} s, {count / seconds:,.0f} a second")
