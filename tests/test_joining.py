"""Indexes of documents and metadata, joined from parts, are what is made of all records at once."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vermilion.local.blocks import Blocks, write_blocks
from vermilion.local.index import joining, text, words
from vermilion.local.index.columns import Columns
from vermilion.local.index.postings import Run, joined, make_run
from vermilion.local.index.sealed_columns import SealedColumns, build_columns, join_columns
from vermilion.local.index.sparse import SealedSparse, SparseLists, join_sparse
from vermilion.types import SparseVector

WORDS = [
    "a",
    "A",
    "to",
    "the",
    "naïve",
    "東京都",
    "seven77",
    "longer-than",
    "abcdefghijk",
    "\n",
    ".",
]
DOCUMENTS = st.lists(
    st.none() | st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join), max_size=30
)
SPARSE = st.dictionaries(st.integers(0, 5), st.floats(-2, 2, width=32)).map(
    lambda values: SparseVector(sorted(values), [values[index] for index in sorted(values)])
)
VALUES = st.one_of(
    st.booleans(),
    st.integers(-300, 300),
    st.integers(2**33, 2**33 + 2),
    st.floats(-3, 3),
    st.sampled_from(["", "x", "y", "é", "東"]),
    st.lists(st.sampled_from(["p", "q", 1, 2.5, True]), max_size=3),
    st.dictionaries(st.sampled_from("uv"), st.integers(0, 2), max_size=2),
    SPARSE,
)
METADATAS = st.lists(
    st.none() | st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), VALUES, max_size=3),
    max_size=30,
)
CUTS = st.lists(st.integers(0, 30), max_size=3)


@pytest.fixture(params=[1, 7, joining.PLACES])
def places(request: pytest.FixtureRequest) -> Any:
    """How many elements are put at a time."""
    with patch.object(joining, "PLACES", request.param):
        yield


def parts(rows: list[Any], cuts: list[int]) -> list[tuple[int, list[Any]]]:
    """The rows cut at some places, each part with the number of its first row."""
    ends = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    return [(low, rows[low:high]) for low, high in pairwise(ends)]


def sealed(folder: Path, kind: str, blocks: Any, values: Any = None) -> Blocks:
    write_blocks(folder / kind, kind, 1, blocks, values)
    return Blocks(folder / kind, kind, 1)


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        np.array_equal(one[name], other[name]) and one[name].dtype == other[name].dtype
        for name in one
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("joining")


@pytest.mark.usefixtures("places")
def test_long_lists_are_put_in_portions() -> None:
    random = np.random.default_rng(1)
    runs: list[tuple[int, Run]] = []
    for base in (0, 40, 90):
        pairs = np.unique(random.integers(0, 3_000, 200))
        runs.append((base, make_run((pairs // 30).astype(np.uint64), pairs % 30, pairs % 7)))
    whole = joined(runs)
    for term in range(100):
        expected = [
            (slot + base, value)
            for base, run in runs
            for slot, value in zip(
                run.slots[run.of(term)].tolist(), run.values[run.of(term)].tolist(), strict=True
            )
        ]
        place = whole.of(term)
        assert expected == list(
            zip(whole.slots[place].tolist(), whole.values[place].tolist(), strict=True)
        )


@given(DOCUMENTS, CUTS)
def test_trigrams(folder: Path, documents: list[str | None], cuts: list[int]) -> None:
    whole = text.build_text(documents)
    pieces = [text.read_text(part) for _, part in parts(documents, cuts)] or [text.read_text([])]
    assert same(text.join_text(pieces), whole)
    files = [
        text.TextPostings(sealed(folder, f"text{number}", text.join_text([piece])))
        for number, piece in enumerate(pieces)
    ]
    assert same(text.join_text([*files[:1], *pieces[1:]]), whole)
    assert same(text.join_text(files), whole)


@pytest.mark.parametrize("gap", [0, 1, 127, 128, 4_095, 4_096, 131_072, 140_000])
def test_trigrams_far_from_the_start(gap: int) -> None:
    documents = ["abc", *gap * [None], "abcd", "bcd", *gap * [None], "abcd"]
    whole = text.build_text(documents)
    for cut in (1, gap + 1, gap + 2, gap + 3):
        pieces = [text.read_text(documents[:cut]), text.read_text(documents[cut:])]
        assert same(text.join_text(pieces), whole)


def test_too_many_documents_are_refused() -> None:
    with patch.object(text, "MOST_DOCUMENTS", 2), pytest.raises(ValueError, match="3 documents"):
        text.join_text([text.read_text(["a"]), text.read_text(["b", "c"])])


@given(DOCUMENTS, CUTS)
def test_words(folder: Path, documents: list[str | None], cuts: list[int]) -> None:
    whole = words.build_words(documents)
    pieces = [(len(p), words.read_words(p)) for _, p in parts(documents, cuts)]
    if not pieces:
        return
    assert same(words.join_words([piece for _, piece in pieces]), whole)
    files = [
        words.SealedWords(sealed(folder, f"words{number}", words.join_words([piece])), rows)
        for number, (rows, piece) in enumerate(pieces)
    ]
    assert same(words.join_words(files), whole)


@given(st.lists(st.none() | st.text("ab1 _\x00Éé東京-", max_size=20), max_size=10))
def test_words_of_many_documents_are_those_of_each(documents: list[str | None]) -> None:
    growing = words.read_words(documents)
    each = [words.words(one) if one else [] for one in documents]
    assert growing.lengths(len(documents)).tolist() == [len(found) for found in each]
    for word in {word for found in each for word in found}:
        [(slots, counts)] = growing.of(words.word_hash(word), len(documents))
        expected = [(slot, found.count(word)) for slot, found in enumerate(each) if word in found]
        assert list(zip(slots.tolist(), counts.tolist(), strict=True)) == expected


@given(METADATAS, CUTS)
def test_metadata(folder: Path, metadatas: list[Any], cuts: list[int]) -> None:
    whole, values = build_columns(metadatas)
    pieces: list[tuple[int, Columns | SealedColumns]] = []
    lists: list[tuple[int, SparseLists | SealedSparse]] = []
    for number, (base, rows) in enumerate(parts(metadatas, cuts)):
        columns, sparse = Columns(), SparseLists()
        columns.append(0, rows)
        sparse.append(0, rows)
        if number % 2:
            pieces.append((base, columns))
            lists.append((base, sparse))
        else:
            file = sealed(folder, f"columns{number}", *build_columns(rows))
            pieces.append((base, SealedColumns(file)))
            file = sealed(folder, f"sparse{number}", *join_sparse([(0, sparse)]))
            lists.append((base, SealedSparse(file, len(rows))))
    blocks, joined_values = join_columns(pieces, len(metadatas))
    assert same(blocks, whole)
    assert values == joined_values
    sparse = SparseLists()
    sparse.append(0, metadatas)
    blocks, values = join_sparse([(0, sparse)])
    others, joined_values = join_sparse(lists)
    assert same(others, blocks)
    assert values == joined_values
