"""The keyword index: which documents have a word, how often, and how long each document is.

Words are runs of letters and digits of any script, with case and accents folded; an emoji is one,
too. Chinese, Japanese and Korean, Thai, Lao, Khmer and Burmese are written without spaces, or with
endings that change: there each two characters that follow each other count as a word. In documents
each one alone does as well, so that a query of one character finds something. A word is known by 64
bits: its UTF-8 where eight bytes hold it, a hash of it otherwise.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vermilion.local.blocks import Blocks, CacheDamaged
from vermilion.local.index.base import Change, Growable, Slots
from vermilion.local.index.columns import LOAD_ROWS
from vermilion.local.index.postings import GrowingPostings, Run, joined, read_run
from vermilion.local.rows import blake2b
from vermilion.local.snapshot import Snapshot
from vermilion.types import pages

Counts = NDArray[np.uint16]
Lists = Iterator[tuple[Slots, Counts]]

# More often than this a word does not count: BM25 is all but flat long before.
MOST = 2**16 - 1

# Han, Hiragana, Katakana, Hangul; Thai, Lao, Burmese, Khmer.
_JOINED = "\u1100-\u11ff\u3040-\u30ff\u3130-\u318f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
_JOINED += "\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
_JOINED += "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
# The vowel signs of India's scripts, which are no letters to Python.
_SIGNS = "".join(chr(n) for n in range(0x900, 0xE00) if unicodedata.category(chr(n))[0] == "M")
# Flags are pairs of letters. Colours of skin and what joins signs are looked past.
_EMOJI = "[\U0001f1e6-\U0001f1ff]{2}|"
_EMOJI += (
    "[\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001f1e5\U0001f200-\U0001f3fa\U0001f400-\U0001faff]"
)
_WORD = rf"[{_JOINED}]+|(?:[^\W_{_JOINED}]|[{_SIGNS}])+|{_EMOJI}"  # re compiles both once, in 3 ms
_IS_JOINED = rf"[{_JOINED}]"
_ASCII_WORD = re.compile(r"[a-z0-9]+")
# The same, byte by byte.
_IN_WORDS = np.zeros(256, np.bool_)
_IN_WORDS[list(b"abcdefghijklmnopqrstuvwxyz0123456789")] = True

# Words of so many bytes are their own hash. Of eight bytes, those that belong to a shorter one.
SHORT = 8
_KEPT = np.array([2 ** (8 * length) - 1 for length in range(SHORT + 1)], np.uint64)

# Letters that readers take for others, though Unicode does not take them apart.
_LIKE = {"ı": "i", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ħ": "h", "ŧ": "t"}
_LIKE |= {"æ": "ae", "œ": "oe", "ŋ": "n"}
_AS_OTHERS = str.maketrans(_LIKE)


def words(text: str) -> list[str]:
    """The words of a document, in its order, as they are compared.

    >>> words("Über die Naïveté: 3.14 東京都"), words("é") == words("e\\u0301")
    (['uber', 'die', 'naivete', '3', '14', '東京', '京都', '東', '京', '都'], True)
    """
    return _words(text, alone=True)


def words_to_find(text: str) -> list[str]:
    """The words that a query for the text looks for.

    >>> words_to_find("東京都"), words_to_find("都")
    (['東京', '京都'], ['都'])
    """
    return _words(text, alone=False)


def _words(text: str, *, alone: bool) -> list[str]:
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    found: list[str] = []
    for word in re.findall(_WORD, _folded(text)):
        if len(word) > 1 and re.match(_IS_JOINED, word):
            found += (word[place : place + 2] for place in range(len(word) - 1))
            found += word if alone else ()
        else:
            found.append(word)
    return found


def _folded(text: str) -> str:
    """The text without case, accents and other differences that readers look past."""
    parts = unicodedata.normalize("NFKD", text.casefold().translate(_AS_OTHERS))
    bare = "".join(one for one in parts if not _is_accent(one))
    return unicodedata.normalize("NFKC", bare.casefold())


def _is_accent(character: str) -> bool:
    """Whether it is a mark that may be left out, as accents and the points of Hebrew and Arabic.

    Those of India's and Thailand's scripts and of kana make other letters; Unicode's classes of
    marks tell them apart: 7 to 9 are such signs, 84 to 132 such vowels and tones.
    """
    kind = unicodedata.combining(character)
    return kind == 1 or 10 <= kind < 84 or kind > 132


def word_hash(word: str) -> int:
    """64 bits that stand for the word."""
    return _hash(word.encode("utf-8", "surrogatepass"))


def _hash(code: bytes) -> int:
    if len(code) > SHORT:
        code = blake2b(code, digest_size=8).digest()
    return int.from_bytes(code, "little")


# ── the words of many documents ──────────────────────────────────────────────────────────────────


Terms = NDArray[np.uint64]


def _occurrences(documents: Sequence[str | None]) -> tuple[Terms, Slots, NDArray[np.int32]]:
    """Every word of the documents, with the number of its document; how many words each has."""
    plain = [place for place, one in enumerate(documents) if one and one.isascii()]
    terms, sizes = _plain([documents[place] or "" for place in plain])
    lengths = np.zeros(len(documents), np.int32)
    lengths[plain] = sizes
    found = [terms]
    slots = [np.repeat(np.array(plain, np.int64), sizes)]
    numbers: dict[str, int] = {}  # a word is hashed once for all of them
    for place, one in enumerate(documents):
        if one and not one.isascii():
            hashes = [
                numbers.get(word) or numbers.setdefault(word, word_hash(word))
                for word in words(one)
            ]
            found.append(np.array(hashes, np.uint64))
            slots.append(np.full(len(hashes), place))
            lengths[place] = len(hashes)
    return np.concatenate(found), np.concatenate(slots), lengths


def _plain(documents: list[str]) -> tuple[Terms, NDArray[np.int64]]:
    """The words of documents in ASCII, one document after the other; how many each has.

    As `words` has them, without an object for every word: that takes a third of the time.
    """
    ends = np.cumsum(np.fromiter(map(len, documents), np.int64, len(documents)) + 1)
    # Behind the end stands as much as is read at once.
    text = ("\n" + "\n".join([*documents, "\n" * SHORT])).lower().encode("ascii")
    inside = _IN_WORDS[np.frombuffer(text, np.uint8)]
    edges = np.flatnonzero(inside[1:] != inside[:-1]) + 1
    starts, lengths = edges[::2], edges[1::2] - edges[::2]
    heads = np.ndarray(len(text) - SHORT + 1, "<u8", text, strides=(1,))
    terms = heads[starts] & _KEPT[np.minimum(lengths, SHORT)]
    known: dict[bytes, int] = {}
    for place in np.flatnonzero(lengths > SHORT).tolist():
        code = text[starts[place] : starts[place] + lengths[place]]
        terms[place] = known.get(code) or known.setdefault(code, _hash(code))
    return terms, np.diff(np.searchsorted(starts, ends + 1), prepend=0)


def _counted(terms: Terms, slots: Slots) -> Run:
    """The postings of words that occur: each word with each slot once, and how often."""
    order = np.argsort(terms)
    ordered = terms[order]
    new = np.concatenate(([True], ordered[1:] != ordered[:-1]))[: len(terms)]
    ranks = np.cumsum(new) - 1
    pairs = np.sort(ranks << 32 | slots[order])
    firsts = np.flatnonzero(np.concatenate(([True], pairs[1:] != pairs[:-1]))[: len(pairs)])
    counts = np.diff(firsts, append=len(pairs))
    held = pairs[firsts] >> 32
    return Run(
        ordered[new],
        np.searchsorted(held, np.arange(np.count_nonzero(new) + 1)),
        (pairs[firsts] & (2**32 - 1)).astype(np.uint32),
        np.minimum(counts, MOST).astype(np.uint16),
    )


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
        terms, places, lengths = _occurrences(list(documents))
        self._postings.add(_counted(terms, first + places))
        self._lengths.append(lengths)

    def of(self, term: int, length: int) -> Lists:
        """The slots below `length` whose document has the word, and how often."""
        return self._postings.of(term, length)

    def lengths(self, length: int) -> NDArray[np.int32]:
        """How many words the document of each slot below `length` has, from the base on."""
        return self._lengths.array(length - self._base)

    def whole(self) -> tuple[Run, NDArray[np.int32]]:
        """All postings as one run, and all lengths."""
        return self._postings.whole(), self._lengths.array()


class SealedWords:
    """The words of one segment's documents, read from a mapped file."""

    def __init__(self, blocks: Blocks, rows: int) -> None:
        """Takes the blocks that `build_words` made. Raises CacheDamaged."""
        self._run = read_run(blocks, rows)
        self.lengths: NDArray[np.int32] = blocks.array("lengths")
        if len(self.lengths) != rows:
            raise CacheDamaged(f"words: {len(self.lengths)} lengths of {rows} documents")

    def whole(self) -> tuple[Run, NDArray[np.int32]]:
        """All postings as one run, and all lengths."""
        return self._run, self.lengths

    def of(self, term: int) -> Lists:
        """The slots whose document has the word, and how often."""
        place = self._run.of(term)
        if place.stop > place.start:
            yield self._run.slots[place].astype(np.int64), self._run.values[place]


def build_words(documents: Iterable[str | None]) -> dict[str, NDArray[Any] | bytes]:
    """The words of the documents of slots 0, 1, … as blocks of a file."""
    return join_words([read_words(documents)])


def read_words(documents: Iterable[str | None]) -> Words:
    """The words of the documents of slots 0, 1, …, which may come from an iterator."""
    growing, rows = Words(), 0
    stream = iter(documents)
    while page := list(islice(stream, LOAD_ROWS)):
        growing.append(rows, page)
        rows += len(page)
    return growing


def join_words(parts: Sequence[Words | SealedWords]) -> dict[str, NDArray[Any] | bytes]:
    """The words of all parts, whose slots follow each other, as blocks of a file."""
    runs, lengths = zip(*(part.whole() for part in parts), strict=True)
    bases = accumulate(map(len, lengths[:-1]), initial=0)
    run = joined(list(zip(bases, runs, strict=True)))
    return {**run.blocks(), "lengths": np.concatenate(lengths)}
