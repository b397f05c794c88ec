"""The keyword index: which documents have a word, how often, and how long each document is.

Words are runs of letters and digits of any script, with case and accents folded. Chinese, Japanese
and Korean are written without spaces, or with endings that change: there each two characters that
follow each other count as a word, and a single one that stands alone. Words are known by 64 bits of
their hash.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vermilion.local.blocks import Blocks, CacheDamaged
from vermilion.local.index.base import Change, Growable, Slots
from vermilion.local.index.columns import LOAD_ROWS
from vermilion.local.index.postings import GrowingPostings, read_run
from vermilion.local.rows import blake2b
from vermilion.local.snapshot import Snapshot
from vermilion.types import pages

Counts = NDArray[np.uint16]
Lists = Iterator[tuple[Slots, Counts]]

# More often than this a word does not count: BM25 is all but flat long before.
MOST = 2**16 - 1

# Han, Hiragana, Katakana, Hangul.
_JOINED = "\u1100-\u11ff\u3040-\u30ff\u3130-\u318f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
_JOINED += "\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = rf"[{_JOINED}]+|[^\W_{_JOINED}]+"  # re compiles both once, in 3 ms
_IS_JOINED = rf"[{_JOINED}]"
_ASCII_WORD = re.compile(r"[a-z0-9]+")


def words(text: str) -> list[str]:
    """The words of a text, in its order, as they are compared.

    >>> words("Über die Naïveté: 3.14 東京都"), words("é") == words("e\\u0301")
    (['uber', 'die', 'naivete', '3', '14', '東京', '京都'], True)
    """
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    found: list[str] = []
    for word in re.findall(_WORD, _folded(text)):
        if len(word) > 1 and re.match(_IS_JOINED, word):
            found += (word[place : place + 2] for place in range(len(word) - 1))
        else:
            found.append(word)
    return found


def _folded(text: str) -> str:
    """The text without case, accents and other differences that readers look past."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(one for one in parts if not unicodedata.combining(one))
    return unicodedata.normalize("NFKC", bare.casefold())


def word_hash(word: str) -> int:
    """64 bits that stand for the word."""
    code = word.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(code, digest_size=8).digest(), "little")


class Words:
    """The words of the tail's documents, in memory."""

    def __init__(self, base: int = 0) -> None:
        """`base` is the first slot."""
        self._base = base
        self._postings = GrowingPostings()
        self._lengths = Growable(np.int32)

    def apply(self, change: Change, snapshot: Snapshot) -> None:
        """Reads the documents of the new slots."""
        for page in pages(len(change.keys), LOAD_ROWS):
            self.append(change.first + page.start, snapshot.documents(change.keys[page]))

    def append(self, first: int, documents: Iterable[str | None]) -> None:
        """Adds the documents of new slots, from `first` on."""
        numbers: dict[str, int] = {}  # a word is hashed once for all of them
        terms: list[int] = []
        counts: list[int] = []
        sizes, lengths = [], []
        for document in documents:
            found = words(document) if document else []
            often = Counter(found)
            terms += [numbers.setdefault(word, len(numbers)) for word in often]
            counts += often.values()
            sizes.append(len(often))
            lengths.append(len(found))
        hashes = np.array([word_hash(word) for word in numbers], np.uint64)
        slots = np.repeat(np.arange(first, first + len(sizes)), sizes)
        values = np.minimum(np.array(counts, np.int64), MOST).astype(np.uint16)
        self._postings.append(hashes[np.array(terms, np.int64)], slots, values)
        self._lengths.append(np.array(lengths, np.int32))

    def of(self, term: int, length: int) -> Lists:
        """The slots below `length` whose document has the word, and how often."""
        return self._postings.of(term, length)

    def lengths(self, length: int) -> NDArray[np.int32]:
        """How many words the document of each slot below `length` has, from the base on."""
        return self._lengths.array(length - self._base)

    def blocks(self) -> dict[str, NDArray[Any] | bytes]:
        """All of it as the blocks of a file for `SealedWords`."""
        return {**self._postings.whole().blocks(), "lengths": self._lengths.array()}


class SealedWords:
    """The words of one segment's documents, read from a mapped file."""

    def __init__(self, blocks: Blocks, rows: int) -> None:
        """Takes the blocks that `build_words` made. Raises CacheDamaged."""
        self._run = read_run(blocks, rows)
        self.lengths: NDArray[np.int32] = blocks.array("lengths")
        if len(self.lengths) != rows:
            raise CacheDamaged(f"words: {len(self.lengths)} lengths of {rows} documents")

    def of(self, term: int) -> Lists:
        """The slots whose document has the word, and how often."""
        place = self._run.of(term)
        if place.stop > place.start:
            yield self._run.slots[place].astype(np.int64), self._run.values[place]


def build_words(documents: Iterable[str | None]) -> dict[str, NDArray[Any] | bytes]:
    """The words of the documents of slots 0, 1, … as blocks of a file."""
    growing, rows = Words(), 0
    stream = iter(documents)
    while page := list(islice(stream, LOAD_ROWS)):
        growing.append(rows, page)
        rows += len(page)
    return growing.blocks()
