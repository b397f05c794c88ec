"""ChromaBm25EmbeddingFunction: BM25 weights of English texts as sparse vectors, without a model.

A token's index is a hash of its stem, its value how much the text is about it. How rare a token is
among all texts is the index's business: `SparseVectorIndexConfig(bm25=True)`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from vermilion.embeddings.sparse import (
    SparseEmbeddingFunction,
    register_sparse_builtin,
)
from vermilion.errors import ArgumentValueError
from vermilion.types import SparseVector, SparseVectors

# The words of NLTK's English list; those with an apostrophe never meet a token.
_ENGLISH = """
    a about above after again against ain all am an and any are aren as at be because been before
    being below between both but by can couldn d did didn do does doesn doing don down during each
    few for from further had hadn has hasn have haven having he her here hers herself him himself
    his how i if in into is isn it its itself just ll m ma me mightn more most mustn my myself needn
    no nor not now o of off on once only or other our ours ourselves out over own re s same shan she
    should shouldn so some such t than that the their theirs them themselves then there these they
    this those through to too under until up ve very was wasn we were weren what when where which
    while who whom why will with won wouldn y you your yours yourself yourselves
"""
STOPWORDS = frozenset(_ENGLISH.split())

_SEPARATORS = re.compile(r"[^\w\s]+")
MASK = 0xFFFFFFFF


@register_sparse_builtin
class ChromaBm25EmbeddingFunction(SparseEmbeddingFunction[list[str]]):
    """BM25 weights of English texts, without a model.

    `k` and `b` are BM25's, `avg_doc_length` counts tokens.
    """

    def __init__(
        self,
        k: float = 1.2,
        b: float = 0.75,
        avg_doc_length: float = 256.0,
        token_max_length: int = 40,
        stopwords: Iterable[str] | None = None,
        include_tokens: bool = False,
    ) -> None:
        """With `include_tokens` the vectors' labels are the stems."""
        self.k = float(k)
        self.b = float(b)
        self.avg_doc_length = float(avg_doc_length)
        self.token_max_length = int(token_max_length)
        self.include_tokens = bool(include_tokens)
        self.stopwords = None if stopwords is None else list(stopwords)
        self._ignored = STOPWORDS if stopwords is None else frozenset(map(str.lower, stopwords))

    def __call__(self, input: list[str]) -> SparseVectors:
        """Returns the weights of each text."""
        return [self._weights(text) for text in input]

    def tokens(self, text: str) -> list[str]:
        """The stems of a text, in its order."""
        words = _SEPARATORS.sub(" ", text).lower().split()
        stems = (
            _stem(word).strip()
            for word in words
            if word not in self._ignored and len(word) <= self.token_max_length
        )
        return [stem for stem in stems if stem]

    def _weights(self, text: str) -> SparseVector:
        tokens = self.tokens(text)
        labels: dict[int, str] = {}
        for token in tokens:
            labels.setdefault(token_index(token), token)
        counts = Counter(map(token_index, tokens))
        indices = sorted(counts)
        length = 1 - self.b + self.b * len(tokens) / self.avg_doc_length
        return SparseVector(
            indices,
            [counts[i] * (self.k + 1) / (counts[i] + self.k * length) for i in indices],
            [labels[i] for i in indices] if self.include_tokens else None,
        )

    # ── as it is remembered ──────────────────────────────────────────────────────────────────────

    @staticmethod
    def name() -> str:
        """Returns the name under which collections remember the function."""
        return "chroma_bm25"

    def get_config(self) -> dict[str, Any]:
        """Returns its parameters; the stop words only where they are not the usual ones."""
        config: dict[str, Any] = {
            "k": self.k,
            "b": self.b,
            "avg_doc_length": self.avg_doc_length,
            "token_max_length": self.token_max_length,
            "include_tokens": self.include_tokens,
        }
        return config if self.stopwords is None else {**config, "stopwords": self.stopwords}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> ChromaBm25EmbeddingFunction:
        """Returns the function that `get_config` described."""
        ChromaBm25EmbeddingFunction.validate_config(config)
        return ChromaBm25EmbeddingFunction(**config)

    @staticmethod
    def validate_config(config: dict[str, Any]) -> None:
        """Raises ValueError for a parameter that there is not."""
        known = [*ChromaBm25EmbeddingFunction().get_config(), "stopwords"]
        if unknown := sorted(set(config) - set(known)):
            raise ArgumentValueError(
                f"Config validation failed for schema chroma_bm25: unknown {unknown}, allowed are "
                f"{', '.join(known)}"
            )

    def validate_config_update(
        self, old_config: dict[str, Any], new_config: dict[str, Any]
    ) -> None:
        """Every parameter may change; the vectors that are there keep their old weights."""
        self.validate_config(new_config)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and self.get_config() == other.get_config()

    __hash__ = None  # type: ignore[assignment]  # its parameters may be changed


# ── tokens ───────────────────────────────────────────────────────────────────────────────────────


@lru_cache(maxsize=1)
def _stemmer() -> Any:
    import snowballstemmer  # not with the package: few programs need it

    return snowballstemmer.stemmer("english")


# Stemming in Python takes 0.1 ms a word, and texts share most of theirs.
@lru_cache(maxsize=2**16)
def _stem(word: str) -> str:
    stem: str = _stemmer().stemWord(word)
    return stem


@lru_cache(maxsize=2**16)
def token_index(token: str) -> int:
    """The index of a token: the absolute value of its signed 32-bit MurmurHash3.

    >>> token_index("cat")
    1751422759
    """
    hashed = murmur3(token.encode())
    return MASK + 1 - hashed if hashed >> 31 else hashed


def murmur3(data: bytes) -> int:
    """MurmurHash3_x86_32 of the bytes with seed 0, unsigned."""
    whole = len(data) & ~3
    hashed = 0
    for start in range(0, whole, 4):
        hashed ^= _mixed(int.from_bytes(data[start : start + 4], "little"))
        hashed = (_rotated(hashed, 13) * 5 + 0xE6546B64) & MASK
    hashed ^= _mixed(int.from_bytes(data[whole:], "little"))
    hashed ^= len(data)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        hashed ^= hashed >> shift
        hashed = (hashed * factor) & MASK
    return hashed ^ (hashed >> 16)


def _mixed(block: int) -> int:
    return (_rotated((block * 0xCC9E2D51) & MASK, 15) * 0x1B873593) & MASK


def _rotated(number: int, bits: int) -> int:
    return ((number << bits) | (number >> (32 - bits))) & MASK
