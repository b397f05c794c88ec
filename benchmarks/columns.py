"""What metadata columns cost, in a file and in memory: size, opening, one filter of each operator.

    PYTHONPATH=src python benchmarks/columns.py [--rows 1000000] [--keys 5000]

The rows are synthetic, with eight keys; 55 % of the rows have the eighth. The first question to a
key also pays for the checksums of what it touches; the other times, in milliseconds, are the best
of fifteen. Then the same for many keys, each in few rows.
"""

import argparse
import gc
import random
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from timeit import repeat
from typing import Any

from vermilion.local.blocks import Blocks, write_blocks
from vermilion.local.index.columns import Columns
from vermilion.local.index.sealed_columns import SealedColumns, build_columns
from vermilion.query.where import Condition, parse_where

KIND, VERSION = "columns", 1

FILTERS: list[dict[str, Any]] = [
    {"topic": "topic 3"},
    {"topic": {"$ne": "topic 3"}},
    {"topic": {"$in": ["topic 1", "topic 2", "topic 5"]}},
    {"author": "author 77"},
    {"author": {"$in": [f"author {number}" for number in range(300)]}},
    {"page": "page 4711"},
    {"public": True},
    {"tags": {"$contains": "tag 7"}},
    {"tags": {"$not_contains": "tag 7"}},
    {"year": 1990},
    {"year": {"$gt": 1990}},
    {"year": {"$in": [1990, 1991, 1995]}},
    {"year": {"$in": list(range(1900, 1960))}},
    {"score": {"$lte": 0.3}},
    {"bytes": {"$gte": 2**39}},
    {"bytes": {"$exists": True}},
    {"tags": {"$size": 3}},
    {"topic": {"$regex": "[37]$"}},
    {"author": {"$starts_with": "author 77"}},
    {"page": {"$starts_with": "page 4711"}},
    {"page": {"$icontains": "E 4711"}},
]


def rows(count: int) -> Iterator[dict[str, Any]]:
    """Metadata like that of documents."""
    draw = random.Random(1)
    for number in range(count):
        row = {
            "topic": f"topic {draw.randrange(10)}",
            "author": f"author {draw.randrange(50_000)}",
            "page": f"page {number}",
            "public": draw.random() < 0.5,
            "tags": [f"tag {draw.randrange(40)}" for _ in range(3)],
            "year": draw.randrange(1900, 2030),
            "score": draw.random(),
        }
        yield row if draw.random() > 0.55 else {**row, "bytes": draw.randrange(2**40)}


def rows_of_many_keys(count: int, keys: int) -> Iterator[dict[str, Any]]:
    """Each key is in a few rows, by turns a number and a string."""
    for number in range(count):
        names = ((number * 8 + one) % keys for one in range(8))
        yield {f"key {name}": number if name % 2 else f"value {number % 9}" for name in names}


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--keys", type=int, default=5_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "columns")
        compare(path, lambda: rows(options.rows), options.rows, FILTERS)
        filters: list[dict[str, Any]] = [{"key 7": {"$gt": 5}}, {"key 8": "value 1"}]
        count = options.rows // 10
        print(f"\n{options.keys:,} keys, {count:,} rows")
        compare(path, lambda: rows_of_many_keys(count, options.keys), count, filters)


def compare(
    path: Path, make: Callable[[], Iterator[Any]], count: int, filters: list[dict[str, Any]]
) -> None:
    """Builds both kinds of columns and asks them the same."""
    memory = in_memory(make)
    start = perf_counter()
    for _ in make():
        pass
    made = perf_counter()
    blocks, values = build_columns(make())
    write_blocks(path, KIND, VERSION, blocks, values)
    seconds = perf_counter() - made - (made - start)  # without the making of the rows
    print(f"file: {path.stat().st_size / 1e6:.1f} MB, built in {seconds:.1f} s")
    opening = min(repeat(lambda: SealedColumns(Blocks(path, KIND, VERSION)), number=1, repeat=9))
    print(f"opened in {1000 * opening:.2f} ms")
    print(f"{'':44}{'memory':>9}{'file':>9}{'first':>9}{'matches':>10}{'estimate':>10}")
    for where in filters:
        condition = parse_where(where)
        assert isinstance(condition, Condition)
        sealed = SealedColumns(Blocks(path, KIND, VERSION))
        start = perf_counter()
        found = sealed.matches(condition, count)
        first = perf_counter() - start
        assert (found == memory.matches(condition, count)).all()
        times = (milliseconds(one, condition, count) for one in (memory, sealed))
        print(
            f"{str(where)[:42]:44}{next(times):9.3f}{next(times):9.3f}{1000 * first:9.2f}"
            f"{found.sum():10}{sealed.estimate(condition):10}"
        )


def in_memory(make: Callable[[], Iterator[Any]]) -> Columns:
    """Columns in memory; prints what they weigh."""
    tracemalloc.start()
    columns = Columns()
    columns.append(0, make())
    gc.collect()
    print(f"memory: {tracemalloc.get_traced_memory()[0] / 1e6:.1f} MB")
    tracemalloc.stop()
    return columns


def milliseconds(columns: Columns | SealedColumns, condition: Condition, count: int) -> float:
    return 1000 * min(repeat(lambda: columns.matches(condition, count), number=1, repeat=15))


if __name__ == "__main__":
    main()
