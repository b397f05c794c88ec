"""Makes the texts of `vermilion demo` from a file of WordNet 3.1 glosses.

    python scripts/make_glosses.py base.jsonl.gz

Each line of the source is {"id", "text", "metadata"}, one synset: its words, a colon, its gloss.
The first 50,000 are a uniform sample of WordNet, of which every 16th or 17th is taken. The same
source gives the same bytes with the same zlib.
"""

import argparse
import gzip
import json
import sys
from itertools import islice
from pathlib import Path
from typing import Any

TARGET = (
    Path(__file__).parent.parent
    / "src"
    / "vermilion"
    / "commands"
    / "demo_data"
    / "glosses.jsonl.gz"
)
SAMPLE = 50_000
KEPT = 3_000
LARGEST = 300_000  # bytes; everyone who installs the package downloads them


def main() -> None:
    """Reads the source, takes the slice and writes the package data."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source", type=Path, help="base.jsonl.gz, one WordNet synset a line")
    glosses = evenly(read(parser.parse_args().source, SAMPLE), KEPT)
    packed = pack(glosses)
    if len(packed) > LARGEST:
        sys.exit(f"{len(packed):,} bytes are too many to ship; at most {LARGEST:,}")
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_bytes(packed)
    classes = {gloss["metadata"]["lexfile"] for gloss in glosses}
    print(f"{len(glosses):,} glosses of {len(classes)} classes, {len(packed):,} bytes")


def read(path: Path, count: int) -> list[dict[str, Any]]:
    """The first glosses of the file; exits when it holds fewer."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        glosses = [json.loads(line) for line in islice(lines, count)]
    if len(glosses) < count:
        sys.exit(f"{path} holds {len(glosses):,} glosses, not {count:,}")
    return glosses


def evenly(glosses: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """So many of the glosses, at equal distances from the first on."""
    return [glosses[place * len(glosses) // count] for place in range(count)]


def pack(glosses: list[dict[str, Any]]) -> bytes:
    """The glosses as compressed lines of JSON, without the time in the header."""
    lines = (
        json.dumps(
            {"id": gloss["id"], "text": gloss["text"], "metadata": gloss["metadata"]},
            ensure_ascii=False,
            separators=(",", ":"),
        )
        for gloss in glosses
    )
    return gzip.compress("".join(f"{line}\n" for line in lines).encode(), 9, mtime=0)


if __name__ == "__main__":
    main()
