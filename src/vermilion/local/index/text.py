"""The trigram index: which documents of a sealed segment may hold a text or match a pattern.

For each three bytes of UTF-8 that occur, the slots of the documents that have them. Documents that
hold a text have all of its trigrams, so the slots that all their postings share are a superset of
the answer; the documents themselves decide.

Postings are ascending slots written as gaps, a byte for most:

    0ddddddd            go 1 + d slots on, and there is a slot
    1llddddd            (read as 128 + 32 × level + digit) go digit × 2^(7 + 5 × level) on

Each byte says by itself how far it leads, so a table, a sum and a mask decode a list: 4 µs for a
rare trigram, 0.1 ms for one in half of 100,000 glosses of 97 characters. Their lists take 9.1 MB;
as LEB128 9.0 MB, but 15 µs for a rare one; as 16-bit slots and bitmaps 13.0 MB, as plain 32-bit
slots 31.7 MB, both faster where verifying takes a hundred times longer anyway.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vermilion import forks
from vermilion.local.blocks import Blocks
from vermilion.local.index.base import Mask, Slots
from vermilion.local.index.joining import joint, portions, put, sizes_of
from vermilion.local.index.literals import SHORTEST, Alternatives, required_literals, utf8
from vermilion.query.where import Condition

KIND = "text"
VERSION = 1

# Bytes of text whose trigrams are sorted at a time, in some 60 bytes of memory for each. Four times
# as many took 20 % longer and 241 MB instead of 94.
CHUNK = 2**20
# A list is worth intersecting with when it has at most this many bytes for each candidate: a byte
# costs 3 ns to decode and mark, a candidate 1 µs or more to read and verify. 1,500 random needles
# took 1,580 µs each with the rarest list alone, 680 with two lists, 520 with those of this rule and
# 550 with a rule ten times as generous.
WORTH = 100

# So many conditions a segment remembers, in at most so many bytes.
MOST_FACTS = 16
FACTS_BYTES = 8 * 2**20

TRIGRAMS = 2**24
MOST_DOCUMENTS = 2**27

_LEVELS = (7, 12, 17, 22)
# How far each byte leads.
_STEPS = np.concatenate(
    [np.arange(1, 129), *(np.arange(32) << shift for shift in _LEVELS)], dtype=np.int32
)

Numbers = NDArray[np.int64]
Bytes = NDArray[np.uint8]


# ── building ─────────────────────────────────────────────────────────────────────────────────────


def build_text(documents: Iterable[str | None]) -> dict[str, NDArray[Any] | bytes]:
    """The blocks of the postings of these documents, whose slots are 0, 1, 2, …

    The documents may come from an iterator: only a chunk of them is held at a time.
    """
    return join_text([read_text(documents)])


class Lists(NamedTuple):
    """Encoded postings of some documents: ascending trigrams, how many bytes each has, the bytes.

    A list starts at the first of these documents, unless it goes on where another one ends.
    """

    documents: int
    trigrams: NDArray[np.uint32]
    sizes: Numbers
    postings: Bytes


def read_text(documents: Iterable[str | None]) -> Lists:
    """The postings of documents, which may come from an iterator."""
    builder = _Builder()
    for document in documents:
        builder.add(document)
    return builder.lists()


class _Builder:
    def __init__(self) -> None:
        self._count = 0
        self._pieces: list[bytes] = []
        self._slots: list[int] = []
        self._waiting = 0
        self._runs: list[Lists] = []
        # For each trigram the slot after its last one, where its next gap starts. Memory is only
        # taken for the pages of it that are used.
        self._resume = np.zeros(TRIGRAMS, np.int32)

    def add(self, document: str | None) -> None:
        """Takes the document of the next slot, in pieces that share two bytes if it is long."""
        text = utf8(document) if document else b""
        for start in range(0, len(text) - 2, CHUNK):
            piece = text[start : start + CHUNK + 2]
            self._pieces.append(piece)
            self._slots.append(self._count)
            self._waiting += len(piece)
            if self._waiting >= CHUNK:
                self._end_chunk()
        self._count += 1

    def lists(self) -> Lists:
        """Everything that was added, merged."""
        _check_number(self._count)
        self._end_chunk()
        return _end_to_end(self._count, self._runs)

    def _end_chunk(self) -> None:
        if self._pieces:
            self._runs.append(_encoded(_occurrences(self._pieces, self._slots), self._resume))
        self._pieces, self._slots, self._waiting = [], [], 0


def _check_number(documents: int) -> None:
    if documents > MOST_DOCUMENTS:
        raise ValueError(f"{documents} documents are more than {MOST_DOCUMENTS}")


def _occurrences(pieces: list[bytes], slots: list[int]) -> NDArray[np.uint64]:
    """Every trigram with every slot it occurs in, as trigram << 32 | slot, ascending and unique."""
    text = np.frombuffer(b"".join(pieces), np.uint8)
    lengths = np.fromiter(map(len, pieces), np.int64, len(pieces))
    slot = np.repeat(np.array(slots, np.uint32), lengths)
    # Three bytes are of one piece when the first and the last are. Pieces of one document that
    # follow each other make some trigrams twice: they share two bytes.
    inside = slot[:-2] == slot[2:]
    pairs = _codes(text)
    pairs <<= np.uint64(32)
    pairs |= slot[:-2]
    pairs = pairs[inside]
    pairs.sort()
    unique: NDArray[np.uint64] = pairs[np.append(True, pairs[1:] != pairs[:-1])]
    return unique


def _codes(text: Bytes) -> NDArray[np.uint64]:
    """The trigram that starts at each byte but the last two."""
    codes = text[:-2].astype(np.uint64)
    for following in (text[1:-1], text[2:]):
        codes <<= np.uint64(8)
        codes |= following
    return codes


def _encoded(pairs: NDArray[np.uint64], resume: NDArray[np.int32]) -> Lists:
    """The postings of one chunk; `resume` says where each list stands, and is moved on."""
    trigrams = (pairs >> np.uint64(32)).astype(np.uint32)
    slots = pairs.astype(np.uint32).astype(np.int32)
    starts = np.flatnonzero(np.append(True, trigrams[1:] != trigrams[:-1]))
    lasts = np.append(starts[1:], len(pairs)) - 1
    gaps = np.empty_like(slots)
    gaps[1:] = slots[1:] - slots[:-1] - 1
    own = trigrams[starts]
    gaps[starts] = slots[starts] - resume[own]
    resume[own] = slots[lasts] + 1
    written, ends = _written(gaps)
    ends = ends[lasts]
    return Lists(0, own, np.diff(ends, prepend=0), written)


def _written(gaps: NDArray[np.int32]) -> tuple[Bytes, Numbers]:
    """The bytes of the gaps, and where those of each end.

    A gap of -1 writes nothing: a document that was cut in two has its slot already.
    """
    counts = (gaps >= 0).astype(np.int8)
    wide = np.flatnonzero(gaps > 127)
    beyond = gaps[wide]
    digits = [(beyond >> shift) & 31 for shift in _LEVELS]
    counts[wide] += np.add.reduce([digit > 0 for digit in digits], dtype=np.int8)
    ends = np.cumsum(counts, dtype=np.int64)
    written = np.empty(ends[-1] if len(ends) else 0, np.uint8)
    some = np.flatnonzero(counts)
    written[ends[some] - 1] = gaps[some] & 127
    place = ends[wide] - 2
    for level, digit in enumerate(digits):  # the highest stands first
        used = digit > 0
        written[place[used]] = 128 + 32 * level + digit[used]
        place -= used
    return written, ends


def _end_to_end(documents: int, runs: list[Lists]) -> Lists:
    """The lists of all runs, each of which goes on where those of the runs before it end."""
    if not runs:
        return Lists(
            documents, np.empty(0, np.uint32), np.empty(0, np.int64), np.empty(0, np.uint8)
        )
    whole = joint([(run.trigrams, run.sizes) for run in runs])
    postings = np.empty(whole.starts[-1], np.uint8)
    for run, firsts in zip(runs, whole.firsts, strict=True):
        put(postings, firsts, run.postings, np.cumsum(run.sizes) - run.sizes, run.sizes)
    return Lists(documents, whole.terms, sizes_of(whole.starts), postings)


# ── joining ──────────────────────────────────────────────────────────────────────────────────────


def join_text(parts: Sequence[Lists | TextPostings]) -> dict[str, NDArray[Any] | bytes]:
    """The blocks of the postings of all parts, whose documents follow each other."""
    lists = [part if isinstance(part, Lists) else part.lists() for part in parts]
    whole = lists[0] if len(lists) == 1 else _joined(lists)
    # A trigram that cannot be stands last, so that each list ends where the next one starts.
    starts = np.concatenate(([0], np.cumsum(whole.sizes)))
    return {
        "documents": np.array([whole.documents], np.int64),
        "trigrams": np.append(whole.trigrams, np.uint32(TRIGRAMS)),
        "starts": starts.astype(np.uint32 if len(whole.postings) < 2**32 else np.uint64),
        "postings": whole.postings,
    }


def _joined(parts: list[Lists]) -> Lists:
    """Only the first gap of each list is another one when other documents come before it."""
    resume = np.zeros(TRIGRAMS, np.int32)  # as the builder has it
    documents, heads, bodies = 0, [], []
    for part in parts:
        begins = np.cumsum(part.sizes) - part.sizes
        lengths, gaps = _first_gaps(part, begins)
        written, ends = _written(documents + gaps - resume[part.trigrams])
        heads.append(Lists(0, part.trigrams, np.diff(ends, prepend=0), written))
        bodies.append((begins + lengths, part.sizes - lengths))
        resume[part.trigrams] = documents + _spans(part, begins)
        documents += part.documents
        _check_number(documents)
    sizes = [head.sizes + left for head, (_, left) in zip(heads, bodies, strict=True)]
    whole = joint(list(zip((part.trigrams for part in parts), sizes, strict=True)))
    postings = np.empty(whole.starts[-1], np.uint8)
    for part, head, body, firsts in zip(parts, heads, bodies, whole.firsts, strict=True):
        put(postings, firsts, head.postings, np.cumsum(head.sizes) - head.sizes, head.sizes)
        put(postings, firsts + head.sizes, part.postings, *body)
    return Lists(documents, whole.terms, sizes_of(whole.starts), postings)


def _first_gaps(part: Lists, begins: Numbers) -> tuple[Numbers, NDArray[np.int32]]:
    """How many bytes the first gap of each list has, and how far it leads."""
    lengths = np.zeros(len(begins), np.int64)
    gaps = np.full(len(begins), -1, np.int32)
    going = np.arange(len(begins))
    while len(going):
        digits = part.postings[begins[going] + lengths[going]]
        lengths[going] += 1
        gaps[going] += _STEPS[digits]
        going = going[digits >= 128]
    return lengths, gaps


def _spans(part: Lists, begins: Numbers) -> Numbers:
    """The slot after the last one of each list."""
    spans = np.empty(len(begins), np.int64)
    for some, count in portions(part.sizes):
        first = int(begins[some.start])
        steps = _STEPS.take(part.postings[first : first + count])
        spans[some] = np.add.reduceat(steps, begins[some] - first)
    return spans


# ── asking ───────────────────────────────────────────────────────────────────────────────────────


class Facts(NamedTuple):
    """What is known of a positive condition: which slots may match, and which are not sure to.

    Documents of a segment never change, so what was once read of them stays true, and is kept.
    """

    possible: Mask
    unsure: Mask

    def learn(self, slots: Slots, matched: Mask) -> None:
        """Takes what the documents of these slots said; slots outside of the segment are left."""
        here = (slots >= 0) & (slots < len(self.unsure))
        # In this order: who reads "unsure" before "possible" gets either the old facts or the new.
        self.possible[slots[here]] = matched[here]
        self.unsure[slots[here]] = False


class TextPostings:
    """The postings of a segment, as `build_text` made them."""

    def __init__(self, blocks: Blocks) -> None:
        """Raises CacheDamaged when a block is not what was written."""
        self._facts: dict[tuple[str, str], Facts] = {}
        self._guard = forks.Lock()
        self._documents = int(blocks.array("documents")[0])
        self._trigrams: NDArray[np.uint32] = blocks.array("trigrams")
        self._starts: NDArray[Any] = blocks.array("starts")
        self._postings: Bytes = blocks.array("postings")

    def lists(self) -> Lists:
        """The postings, as they can be joined with others."""
        return Lists(
            self._documents,
            self._trigrams[:-1],
            sizes_of(self._starts),
            self._postings,
        )

    def facts(self, condition: Condition) -> Facts:
        """What is known of a condition, negation aside; it learns, and the next call gets it."""
        key = condition.operator.family, condition.operator.pattern(condition.operand)
        most = max(1, min(MOST_FACTS, FACTS_BYTES // (2 * self._documents + 1)))
        with self._guard:
            facts = self._facts.pop(key, None) or self._facts_of(condition)
            self._facts[key] = facts  # last, as the one that was used last
            while len(self._facts) > most:
                del self._facts[next(iter(self._facts))]
        return facts

    def _facts_of(self, condition: Condition) -> Facts:
        candidates = self.candidates(condition)
        if candidates is None:
            return Facts(np.ones(self._documents, np.bool_), np.ones(self._documents, np.bool_))
        possible = np.zeros(self._documents, np.bool_)
        possible[candidates] = True
        # Who has a trigram holds the text that is this trigram.
        exact = (
            condition.operator.family == "substring" and len(utf8(condition.operand)) == SHORTEST
        )
        return Facts(possible, np.zeros_like(possible) if exact else possible.copy())

    def estimate(self, condition: Condition) -> int:
        """No fewer slots than `candidates` gives, without reading the postings."""
        requirements = _requirements(condition)
        if requirements is None:
            return self._documents
        return min(self._documents, *(self._bound(literals) for literals in requirements))

    def candidates(self, condition: Condition) -> Slots | None:
        """Ascending slots, all that match a condition on the document among them.

        Negation is left to the caller: the candidates are those of the positive condition. None
        when every document has to be looked at, as for a needle of less than three bytes.
        """
        requirements = _requirements(condition)
        if requirements is None:
            return None
        bounds = {literals: self._bound(literals) for literals in requirements}
        found: Slots | None = None
        for literals in sorted(bounds, key=bounds.__getitem__):
            if found is None:
                found = self._holding_one(literals)
            elif bounds[literals] <= WORTH * len(found):
                found = self._common(found, self._holding_one(literals))
        return found

    def _bound(self, literals: Alternatives) -> int:
        """At least as many slots as hold one of the literals: each has a byte in every list."""
        return sum(min(map(_length, self._lists(literal))) for literal in literals)

    def _holding_one(self, literals: Alternatives) -> Slots:
        if len(literals) == 1:
            return self._holding(*literals)
        mask = np.zeros(self._documents, np.bool_)
        for literal in literals:
            mask[self._holding(literal)] = True
        return np.flatnonzero(mask)

    def _holding(self, literal: str) -> Slots:
        """Slots that have the rarest trigrams of the literal."""
        first, *others = sorted(self._lists(literal), key=_length)
        found = _decoded(self._postings[first])
        for other in others:
            if _length(other) > WORTH * len(found):
                break
            found = self._common(found, _decoded(self._postings[other]))
        return found

    def _lists(self, literal: str) -> list[slice]:
        """Where the postings of its trigrams are; empty for one that never occurs."""
        # Of the type of the array that is searched: numpy would convert all of it otherwise.
        codes = np.sort(_codes(np.frombuffer(utf8(literal), np.uint8)).astype(np.uint32))
        codes = codes[np.append(True, codes[1:] != codes[:-1])]  # np.unique takes 7 ms to import
        places = np.searchsorted(self._trigrams, codes)
        places[self._trigrams[places] != codes] = len(self._trigrams) - 1
        ends = np.minimum(places + 1, len(self._trigrams) - 1)
        starts, ends = self._starts[places], self._starts[ends]
        return [slice(*pair) for pair in zip(starts.tolist(), ends.tolist(), strict=True)]

    def _common(self, left: Slots, right: Slots) -> Slots:
        # A mask takes 2.5 ns for each slot of both, a binary search 12 ns for each on the left.
        mask = np.zeros(self._documents, np.bool_)
        mask[right] = True
        return left[mask[left]]


def _requirements(condition: Condition) -> tuple[Alternatives, ...] | None:
    if condition.operator.family in ("regex", "prefix"):
        return required_literals(condition.operator.pattern(condition.operand))
    if condition.operator.family == "substring":
        needle: str = condition.operand
        return (frozenset({needle}),) if len(utf8(needle)) >= SHORTEST else None
    raise ValueError(f"{condition.operator.name} on {condition.field} is not about documents")


def _length(place: slice) -> int:
    length: int = place.stop - place.start
    return length


def _decoded(postings: Bytes) -> Slots:
    """The slots of one list."""
    slots: Slots = np.cumsum(_STEPS.take(postings), dtype=np.int64)[postings < 128] - 1
    return slots
