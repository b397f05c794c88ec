"""The literal strings that a regular expression cannot match without, found conservatively.

A small parser of the syntax of Rust's regex crate. Of every piece of a pattern it keeps either all
the strings the piece may match, as long as they are few, or else strings that each match has to
contain. What it does not fully understand makes it give up, and the caller looks everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import product
from typing import NamedTuple

# Shorter literals, in bytes of UTF-8, have no trigram and are left out.
SHORTEST = 3
# Strings that a piece may match, before they are no longer multiplied with those of its neighbour:
# four letters in either case are 16, and each is a look-up of some 10 µs.
MOST_STRINGS = 16
# Alternatives of one requirement, such as the branches of a|b|c.
MOST_ALTERNATIVES = 64
# Characters of one literal: more do not narrow any further.
LONGEST = 64
# Groups inside of groups. The regex engine allows 250, Python's stack less.
DEEPEST = 50

Alternatives = frozenset[str]

# The syntax, compiled when the first pattern is read: re keeps what it compiled.
_BOUNDS = r"\{\s*([0-9]{1,9})\s*(?:(,)\s*([0-9]{0,9})\s*)?\}"
_CODE_POINT = r"x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|[xuU]\{([0-9A-Fa-f]{1,6})\}"
_CHARACTER_CLASS = r"[dDsSwW]|[pP](?:\{[^}]*\}|[^{])"
_ASSERTION = r"b\{[A-Za-z-]+\}|b(?!\{)|[BAz<>]"
_NAME = r"\?P?<[^>]+>"
# Without x, which changes what a space means, and -u, which changes what a byte means.
_FLAGS = r"\?([imsURu]*)(?:-([imsUR]+))?([:)])"
_CONTROL = {"a": "\a", "f": "\f", "t": "\t", "n": "\n", "r": "\r", "v": "\v"}
_PUNCTUATION = frozenset(" !\"#$%&'()*+,-./:;=?@[\\]^_`{|}~")
# ASCII letters that other characters fold to; the test asks the regex engine about all of Unicode.
_FOLD_TOO = {"k": "\N{KELVIN SIGN}", "s": "\N{LATIN SMALL LETTER LONG S}"}


def utf8(text: str) -> bytes:
    """The bytes that literals and documents are compared by; lone surrogates are bytes like any."""
    return text.encode("utf-8", "surrogatepass")


@lru_cache(maxsize=256)
def required_literals(pattern: str) -> tuple[Alternatives, ...] | None:
    """Requirements that every match meets all of: it contains one of the strings of each.

    None when there are none, or when the pattern has anything in it that is not understood.

    >>> sorted(required_literals(r"gr[ae]y")[0])
    ['gray', 'grey']
    >>> required_literals(r"left.*(right|wrong) \\d+") == ({"left"}, {"right ", "wrong "})
    True
    >>> required_literals(r"\\w+|left") is None
    True
    """
    parser = _Parser(pattern)
    try:
        part = parser.alternation()
    except _Unsure:
        return None
    return part.requirements() or None if parser.at_end else None


# ── what is known of a piece ─────────────────────────────────────────────────────────────────────


class Part(NamedTuple):
    """Either `exact`, which has every string that the piece may match, or what a match needs."""

    exact: Alternatives | None
    needs: tuple[Alternatives, ...] = ()

    def requirements(self) -> tuple[Alternatives, ...]:
        """Sets of literals, of each of which a match contains one."""
        found = self.needs if self.exact is None else (self.exact,)
        # Once each: nested repetitions would double them at every level.
        return tuple(dict.fromkeys(one for one in found if _shortest(one) >= SHORTEST))


ANYTHING = Part(None)
EMPTY = Part(frozenset({""}))


def joined(parts: Iterable[Part]) -> Part:
    """One part after the other: neighbours that are exact become longer literals."""
    run = frozenset({""})
    needs: list[Alternatives] = []
    whole = True
    for part in parts:
        longer = _multiplied(run, part.exact)
        if longer is None:
            needs += [run, *part.needs]
            run = part.exact or frozenset({""})
            whole = False
        else:
            run = longer
    return Part(run) if whole else Part(None, Part(None, (*needs, run)).requirements())


def _multiplied(left: Alternatives, right: Alternatives | None) -> Alternatives | None:
    """Every string of one followed by every string of the other; None when that is too much."""
    if right is None or len(left) * len(right) > MOST_STRINGS:
        return None
    if max(map(len, left)) + max(map(len, right)) > LONGEST:
        return None
    return frozenset(first + second for first, second in product(left, right))


def either(branches: list[Part]) -> Part:
    """One of the branches."""
    if len(branches) == 1:
        return branches[0]
    exact = [branch.exact for branch in branches if branch.exact is not None]
    strings = frozenset[str]().union(*exact)
    if len(exact) == len(branches) and len(strings) <= MOST_STRINGS:
        return Part(strings)
    best = [max(branch.requirements(), key=_worth, default=None) for branch in branches]
    literals = frozenset[str]().union(*(one for one in best if one is not None))
    return (
        ANYTHING if None in best or len(literals) > MOST_ALTERNATIVES else Part(None, (literals,))
    )


def repeated(part: Part, low: int, high: int | None) -> list[Part]:
    """The part from `low` to `high` times, as parts of the sequence around it."""
    if high == 0:
        return [EMPTY]
    if low == 0:
        few = high == 1 and part.exact is not None and len(part.exact) < MOST_STRINGS
        return [Part((part.exact or frozenset()) | {""})] if few else [ANYTHING]
    least = joined([part] * min(low, LONGEST))
    if low == high and low <= LONGEST:
        return [least]
    # lo+ng: what stands before touches the first o, what follows touches the last.
    return [least, ANYTHING, least]


def _worth(literals: Alternatives) -> tuple[int, int]:
    return _shortest(literals), -len(literals)


def _shortest(literals: Alternatives) -> int:
    return min(len(utf8(literal)) for literal in literals)


# ── the parser ───────────────────────────────────────────────────────────────────────────────────


class _Unsure(Exception):
    """The pattern has something that this parser does not fully understand."""


class _Parser:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._place = 0
        self._depth = 0
        self._any_case = False

    @property
    def at_end(self) -> bool:
        return self._place == len(self._pattern)

    def alternation(self) -> Part:
        """Sequences between bars, up to the end of the group or of the pattern."""
        branches = [self._sequence()]
        while self._take("|"):
            branches.append(self._sequence())
        return either(branches)

    def _sequence(self) -> Part:
        parts: list[Part] = []
        while not self.at_end and self._peek() not in "|)":
            parts += self._repetition()
        return joined(parts)

    def _repetition(self) -> list[Part]:
        parts = [self._atom()]
        while (bounds := self._quantifier()) is not None:
            self._take("?")  # lazy or not, the same strings match
            parts = repeated(joined(parts), *bounds)
        return parts

    def _quantifier(self) -> tuple[int, int | None] | None:
        for sign, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._take(sign):
                return bounds
        if self._peek() != "{":
            return None
        low, comma, high = self._match(_BOUNDS).groups()
        if not comma:
            return int(low), int(low)
        return int(low), int(high) if high else None

    def _atom(self) -> Part:
        char = self._next()
        if char in "*+?{":
            raise _Unsure
        if char in "^$":
            return EMPTY
        if char == ".":
            return ANYTHING
        if char == "(":
            return self._group()
        if char == "[":
            return self._class()
        found = self._escape() if char == "\\" else char
        return self._characters([found]) if isinstance(found, str) else found

    def _group(self) -> Part:
        outer = self._any_case
        if self._peek() == "?" and not self._matches(_NAME):
            on, off, end = self._match(_FLAGS).groups()
            self._any_case = (outer or "i" in on) and "i" not in (off or "")
            if end == ")":  # holds until the group around it ends
                return EMPTY
        self._depth += 1
        if self._depth > DEEPEST:
            raise _Unsure
        part = self.alternation()
        if not self._take(")"):
            raise _Unsure
        self._depth -= 1
        self._any_case = outer
        return part

    def _class(self) -> Part:
        """The characters of a plain class; gives up on nested ones and on set operations."""
        few = not self._take("^")
        chars: list[str] = []
        if self._peek() == "]":  # "[]a]": not the end when it stands first
            raise _Unsure
        while not self._take("]"):
            low, high = self._range()
            few = few and bool(low) and ord(high) - ord(low) < MOST_STRINGS
            if few:
                chars += map(chr, range(ord(low), ord(high) + 1))
        return self._characters(chars) if few else ANYTHING

    def _range(self) -> tuple[str, str]:
        """The ends of the next range in a class, the same for one character, empty for others."""
        low = self._class_character()
        if self._peek() != "-" or self._peek(1) == "]":
            return low, low
        self._next()
        high = self._class_character()
        if not low or low > high or high == "-":  # "[+--]" is a set operation
            raise _Unsure
        return low, high

    def _class_character(self) -> str:
        """The next character of a class; empty for an escape that stands for many."""
        char = self._next()
        if char == "\\":
            found = self._escape()
            if found is EMPTY:
                raise _Unsure
            return found if isinstance(found, str) else ""
        operation = char in "&~-" and self._peek() == char
        if char in "[]" or operation:
            raise _Unsure
        return char

    def _escape(self) -> str | Part:
        """What follows a backslash: a character, a class of them, or a place between two."""
        if match := self._matches(_CODE_POINT):
            number = int(match[match.lastindex or 0], 16)
            if number > 0x10FFFF:
                raise _Unsure
            return chr(number)
        if self._matches(_CHARACTER_CLASS):
            return ANYTHING
        if self._matches(_ASSERTION):
            return EMPTY
        char = self._next()
        if char not in _PUNCTUATION and char not in _CONTROL:
            raise _Unsure
        return _CONTROL.get(char, char)

    def _characters(self, chars: list[str]) -> Part:
        """One of these characters, in either case if the flags say so."""
        if self._any_case:
            if not all(char.isascii() for char in chars):
                return ANYTHING
            chars = [other for char in chars for other in _folded(char)]
        strings = frozenset(chars)
        return Part(strings) if len(strings) <= MOST_STRINGS else ANYTHING

    def _peek(self, ahead: int = 0) -> str:
        """A character to come, or nothing at the end."""
        place = self._place + ahead
        return self._pattern[place : place + 1]

    def _next(self) -> str:
        if self.at_end:
            raise _Unsure
        self._place += 1
        return self._pattern[self._place - 1]

    def _take(self, char: str) -> bool:
        found = self._peek() == char
        self._place += found
        return found

    def _matches(self, syntax: str) -> re.Match[str] | None:
        match = re.compile(syntax).match(self._pattern, self._place)
        if match:
            self._place = match.end()
        return match

    def _match(self, syntax: str) -> re.Match[str]:
        match = self._matches(syntax)
        if match is None:
            raise _Unsure
        return match


def _folded(char: str) -> str:
    """The characters that match an ASCII character in either case."""
    lower = char.lower()
    return lower + char.upper() + _FOLD_TOO.get(lower, "")
