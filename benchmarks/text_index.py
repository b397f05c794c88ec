"""How long the trigram index takes to build and to ask, how large it is, how well it narrows.

    python benchmarks/text_index.py --texts FILE.jsonl.gz --count 100000 --join 1

Every answer is compared with a scan of all the texts, so the run fails if a document is missing.
Times are CPU time: that of building once, of looking up the best of several. The scan is over
strings in memory; that of a collection reads them from the store first. The fragments are random
parts of the texts, asked as needles; their columns hold medians.
"""

import argparse
import gzip
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from vermilion.local.blocks import Blocks, write_blocks
from vermilion.local.index.text import KIND, VERSION, TextPostings, build_text
from vermilion.query.where import DOCUMENT, DOCUMENT_OPERATORS, Condition

REPOSITORY = Path(__file__).parent.parent
SHIPPED_TEXTS = REPOSITORY / "src" / "vermilion" / "commands" / "demo_data" / "glosses.jsonl.gz"

QUESTIONS = [
    *(("$contains", needle) for needle in ("Montezuma", "photosynthesis", "zebra")),
    *(("$contains", needle) for needle in (" river ", "person who", " genus ")),
    *(("$contains", needle) for needle in (" of the ", " the ", "the", "ing")),
    *(("$regex", pattern) for pattern in ("gr[ae]y", "(?i)montezuma", "[Rr]iver.*Africa")),
    *(("$regex", pattern) for pattern in ("(river|lake) in (the )?\\w+", "genus \\w+ of")),
    *(("$regex", pattern) for pattern in ("(?i)the", "\\d{4}-\\d{4}")),
]


def main() -> None:
    """Builds, writes, opens and asks."""
    options = arguments()
    texts = read_texts(options.texts, options.count, options.join)
    characters = sum(map(len, texts)) / len(texts)
    print(f"{len(texts)} texts of {characters:.0f} characters")
    with tempfile.TemporaryDirectory() as folder:
        postings = build(texts, Path(folder, "text"))
    print(f"{'':42}{'matches':>9}{'candidates':>12}{'estimate':>10}{'ms':>8}{'scan ms':>9}")
    for name, operand in QUESTIONS:
        condition = Condition(DOCUMENT, DOCUMENT_OPERATORS[name], operand)
        report(f"{name} {operand!r}", [ask(postings, texts, condition)])
    for size in (4, 8, 16):
        fragments = random_fragments(texts, size, options.fragments)
        readings = [ask(postings, texts, fragment) for fragment in fragments]
        report(f"{len(fragments)} fragments of {size} characters", readings)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--texts", type=Path, default=SHIPPED_TEXTS, help="JSON lines with a text")
    parser.add_argument("--count", type=int, default=100_000, help="documents, at most")
    parser.add_argument("--join", type=int, default=1, help="texts a document")
    parser.add_argument("--fragments", type=int, default=50, help="random needles of each size")
    return parser.parse_args()


def read_texts(path: Path, count: int, join: int) -> list[str]:
    open_lines = gzip.open if path.suffix == ".gz" else open
    with open_lines(path, "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in islice(lines, count * join)]
    return [" ".join(texts[start : start + join]) for start in range(0, len(texts), join)]


def build(texts: list[str], path: Path) -> TextPostings:
    before = peak_memory()
    seconds, blocks = cpu_seconds(lambda: build_text(texts))
    print(f"built in {seconds:.2f} s with {peak_memory() - before:.0f} MB")
    write_blocks(path, KIND, VERSION, blocks)
    sizes = ", ".join(f"{name} {memoryview(block).nbytes:,}" for name, block in blocks.items())
    print(f"{path.stat().st_size / 1e6:.1f} MB: {sizes} bytes")
    seconds, postings = cpu_seconds(lambda: TextPostings(Blocks(path, KIND, VERSION)))
    print(f"opened and checked in {1000 * seconds:.1f} ms")
    return postings


def peak_memory() -> float:
    """The most memory that this process has had, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def cpu_seconds(run: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = run()
    return time.process_time() - start, result


def random_fragments(texts: list[str], size: int, count: int) -> list[Condition]:
    random = Random(size)
    fragments = []
    while len(fragments) < count:
        text = random.choice(texts)
        start = random.randrange(len(text))
        if start + size <= len(text):
            needle = text[start : start + size]
            fragments.append(Condition(DOCUMENT, DOCUMENT_OPERATORS["$contains"], needle))
    return fragments


def ask(postings: TextPostings, texts: list[str], condition: Condition) -> list[float]:
    """One reading: matches, candidates, estimate, milliseconds to look up and to scan."""
    test, operand = condition.operator.test, condition.operand
    scan, matches = cpu_seconds(lambda: {i for i, text in enumerate(texts) if test(text, operand)})
    candidates = postings.candidates(condition)
    lookup = min(cpu_seconds(lambda: postings.candidates(condition))[0] for _ in range(20))
    found = range(len(texts)) if candidates is None else candidates.tolist()
    assert matches <= set(found), f"{condition} misses {sorted(matches - set(found))}"
    return [len(matches), len(found), postings.estimate(condition), 1000 * lookup, 1000 * scan]


def report(name: str, readings: Sequence[list[float]]) -> None:
    columns = [median(column) for column in zip(*readings, strict=True)]
    print("{:42}{:9.0f}{:12.0f}{:10.0f}{:8.3f}{:9.1f}".format(name, *columns))


if __name__ == "__main__":
    main()
