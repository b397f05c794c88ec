"""Makes a second data set for compare.py: the verses of the King James Bible, embedded.

    PYTHONPATH=src python benchmarks/bible_data.py --out FOLDER [--verses FILE]

The text is in the public domain. It is read from the program `bible` of Debian's package
bible-kjv, or from a file that has its output, a verse a line: "Ge1:1 In the beginning ...". 600
verses, drawn by chance, are kept out of the base and become the queries. The vectors are those of
the default embedding function.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vermilion.embeddings.minilm import MiniLM

QUERIES = 600
ALL_VERSES = "gen1:1-rev22:21"
LINE = re.compile(r"(\d?[A-Za-z]+)(\d+):(\d+) (.+)")
FIRST_OF_THE_NEW_TESTAMENT = "Mat"


def verses(text: str) -> Iterator[dict[str, Any]]:
    """One record for each line, with what there is to filter by."""
    testament = "old"
    for line in text.splitlines():
        found = LINE.fullmatch(line.strip())
        if found is None:
            raise ValueError(f"not a verse: {line!r}")
        book, chapter, verse, words = found.groups()
        if book == FIRST_OF_THE_NEW_TESTAMENT:
            testament = "new"
        yield {
            "id": f"{book}-{chapter}-{verse}",
            "text": words,
            "metadata": {
                "book": book,
                "testament": testament,
                "chapter": int(chapter),
                "verse": int(verse),
                "chars": len(words),
                "words": len(words.split()),
            },
        }


def embedded(records: list[dict[str, Any]]) -> np.ndarray:
    """Vectors of the texts. Texts of one length go together, so that little is padded."""
    order = sorted(range(len(records)), key=lambda place: len(records[place]["text"]))
    vectors = np.empty((len(records), 384), np.float32)
    vectors[order] = MiniLM().encode([records[place]["text"] for place in order])
    return vectors


def main() -> None:
    """Writes base.jsonl.gz, base.f16.npy and queries.npy."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--verses", type=Path)
    options = parser.parse_args()
    if options.verses:
        text = options.verses.read_text(encoding="utf-8")
    else:
        command = ["bible", "-f", ALL_VERSES]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    records = list(verses(text))
    random.Random(1).shuffle(records)
    vectors = embedded(records)
    options.out.mkdir(parents=True, exist_ok=True)
    np.save(options.out / "queries.npy", vectors[:QUERIES])
    np.save(options.out / "base.f16.npy", vectors[QUERIES:].astype(np.float16))
    with gzip.open(options.out / "base.jsonl.gz", "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps(record) + "\n" for record in records[QUERIES:])
    print(f"{len(records) - QUERIES} records, {QUERIES} queries")


if __name__ == "__main__":
    main()
