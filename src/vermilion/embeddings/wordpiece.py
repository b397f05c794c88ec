"""The tokenizer of BERT-uncased models: text becomes the ids of words and parts of words.

It agrees with the `tokenizers` library on everything but code points that are newer than the
Unicode tables of one of the two; tests/test_minilm.py has the table of tricky cases.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

# White_Space of Unicode, without the control characters that BERT drops rather than splits at.
# Python's \s is wider: it has \x1c to \x1f, which join their neighbours here.
_RAW_WORD = re.compile("[^ \t\n\r\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
# As in the original, these names count as one token wherever a text spells them out.
_SPECIAL = re.compile(r"(\[(?:PAD|UNK|CLS|SEP|MASK)\])")
_IDEOGRAPHS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
# Not Cn: a code point that Python's tables do not know yet is an unknown letter, not a control.
_CONTROL = ("Cc", "Cf", "Co", "Cs")
_MAX_WORD = 100
# English text repeats few words often. Longer raw words are rarely met twice, and a cache of them
# could grow large; at this size it takes 7 MB when every word has the full length.
_CACHED_WORDS = 16_384
_MAX_CACHED_WORD = 32


class WordPiece:
    """Splits text into the tokens of a vocabulary, by the rules of BERT-uncased.

    >>> WordPiece(vocabulary).encode("Hello")
    [101, 7592, 102]
    """

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self._ids = {token: number for number, token in enumerate(vocabulary)}
        self._longest = max(map(len, vocabulary))
        self._start, self._end, self._unknown = (self._ids[t] for t in ("[CLS]", "[SEP]", "[UNK]"))
        self._cached_ids = lru_cache(maxsize=_CACHED_WORDS)(self._raw_word_ids)

    def encode(self, text: str, limit: int = 256) -> list[int]:
        """The ids of the tokens between [CLS] and [SEP], at most `limit` with these two.

        Reads no more of the text than it needs.
        """
        ids = [self._start]
        for match in _RAW_WORD.finditer(text):
            word = match.group()
            short = len(word) <= _MAX_CACHED_WORD
            ids.extend(self._cached_ids(word) if short else self._raw_word_ids(word))
            if len(ids) >= limit:
                break
        del ids[limit - 1 :]
        ids.append(self._end)
        return ids

    def _raw_word_ids(self, raw: str) -> tuple[int, ...]:
        ids: list[int] = []
        for part in _SPECIAL.split(raw):
            if _SPECIAL.fullmatch(part):
                ids.append(self._ids[part])
            else:
                for word in normalised(part).split(" "):
                    ids.extend(self._pieces(word))
        return tuple(ids)

    def _pieces(self, word: str) -> Sequence[int]:
        """The longest token that starts the word, then the longest that starts the rest, …"""
        if len(word) > _MAX_WORD:
            return [self._unknown]
        ids, start = [], 0
        while start < len(word):
            for end in range(min(len(word), start + self._longest), start, -1):
                piece = word[start:end] if start == 0 else "##" + word[start:end]
                if piece in self._ids:
                    break
            else:
                return [self._unknown]
            ids.append(self._ids[piece])
            start = end
        return ids


def normalised(text: str) -> str:
    """The text in lower case without accents, each mark and ideograph between spaces."""
    cleaned = "".join(map(_clean, text))
    # The whole text at once: decomposition may change the order of combining marks.
    return "".join(map(_fold, unicodedata.normalize("NFD", cleaned)))


@lru_cache(maxsize=8_192)
def _clean(character: str) -> str:
    """Nothing for a control character, spaces around an ideograph."""
    if character == "\ufffd" or unicodedata.category(character) in _CONTROL:
        return ""
    code = ord(character)
    ideograph = any(first <= code <= last for first, last in _IDEOGRAPHS)
    return f" {character} " if ideograph else character


@lru_cache(maxsize=8_192)
def _fold(character: str) -> str:
    """Nothing for an accent, spaces around punctuation, else the character in lower case.

    One character at a time, unlike `str.lower`, so that a final sigma stays an ordinary one.
    """
    category = unicodedata.category(character)
    if category == "Mn":
        return ""
    ascii_symbol = character in "$+<=>^`|~"
    return f" {character} " if ascii_symbol or category[0] == "P" else character.lower()


def read_vocabulary(lines: str) -> list[str]:
    """The tokens of a vocabulary file, one a line; a token's number is that of its line."""
    return lines.removesuffix("\n").split("\n")
