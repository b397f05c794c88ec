"""Which slots a filter lets through, with documents read as late and as seldom as it gets.

Metadata is answered by columns at once. Of documents the text index tells which may match; only the
documents themselves decide. So a filter is known in two masks: what surely matches, and what may.
The slots between them are unsure, and are settled by whoever needs to know: a search asks about the
nearest ones, a page of `get` about the first ones, a count about all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from vermilion.local.index.base import Mask, Slots
from vermilion.local.index.text import Facts
from vermilion.local.indexer import Moment
from vermilion.types import pages
from vermilion.where import DOCUMENT, ID, And, Condition, Filter, Or, conditions

# Documents read from the store at a time.
DOCUMENTS = 4_096
# As many documents as it takes to find some matches are read in steps that grow: the first step,
# for each match that is wanted.
FIRST_STEP = 2

Texts = NDArray[np.object_]


class Matches:
    """The slots that match, as far as it is known; it learns from every document that is read."""

    def __init__(self, moment: Moment, possible: Mask, open_question: Node | None = None) -> None:
        """`possible` slots match, unless the open question says otherwise of them."""
        self._moment = moment
        self._question = open_question
        self._possible = possible
        if open_question is not None:
            self._unsure = open_question.unsure & possible

    def with_vectors(self) -> Matches:
        """Those of the slots whose record has a vector: who looks for neighbours starts here."""
        bare = self._moment.view.bare
        return (
            self if bare is None else Matches(self._moment, self._possible & ~bare, self._question)
        )

    @property
    def possible(self) -> Mask:
        """All that may match: an array that changes as documents are read."""
        return self._possible

    @property
    def unsure(self) -> int:
        """Of how many slots only the document can tell."""
        return 0 if self._question is None else int(np.count_nonzero(self._unsure))

    def settle(self) -> Mask:
        """Which slots match, once all documents that it takes are read."""
        if self._question is not None:
            self._settle(np.flatnonzero(self._unsure))
            self._question = None
        return self._possible

    def kept(self, slots: Slots) -> Mask:
        """Which of these slots match."""
        if self._question is not None:
            self._settle(slots[self._unsure[slots]])
        return self._possible[slots]

    def first(self, slots: Slots, count: int) -> Slots:
        """Where the first `count` matches are among these slots, as places in them."""
        found = np.empty(0, np.int64)
        start, step = 0, FIRST_STEP * count
        while start < len(slots) and len(found) < count:
            kept = start + np.flatnonzero(self.kept(slots[start : start + step]))
            found = np.concatenate((found, kept))
            start += step
            step = min(2 * step, DOCUMENTS)
        return found[:count]

    def _settle(self, slots: Slots) -> None:
        """Reads the documents of these unsure slots."""
        if self._question is None:
            return
        for page in pages(len(slots), DOCUMENTS):
            asked = slots[page]
            documents = self._moment.snapshot.documents(self._moment.view.keys[asked])
            texts = np.fromiter(documents, np.object_, len(asked))
            self._possible[asked] = self._question.test(asked, texts)
            self._unsure[asked] = False


def everything(moment: Moment, within: Mask) -> Matches:
    """All of these slots match."""
    return Matches(moment, within)


def matches(moment: Moment, filter: Filter, within: Mask) -> Matches:
    """Which of the slots in `within` match."""
    node = _node(moment, filter)
    open_question = node if any(one.field == DOCUMENT for one in conditions(filter)) else None
    return Matches(moment, node.possible & within, open_question)


# ── the filter, with what is known of each part ──────────────────────────────────────────────────


@dataclass(frozen=True)
class Node:
    """A part of a filter: which slots may match it, and of which it is not sure."""

    possible: Mask
    unsure: Mask

    def test(self, slots: Slots, texts: Texts) -> Mask:
        """Which of these slots match, given their documents."""
        return self.possible[slots]


@dataclass(frozen=True)
class _Document(Node):
    """A condition on the document. `learned` keeps what is found out, by base of its segment."""

    condition: Condition
    learned: Sequence[tuple[int, Facts]]

    def test(self, slots: Slots, texts: Texts) -> Mask:
        """See Node. What is settled already is not asked again."""
        result = self.possible[slots]
        asked = np.flatnonzero(self.unsure[slots])
        test, operand = self.condition.operator.test, self.condition.operand
        found = np.array([test(text, operand) for text in texts[asked]], np.bool_)
        result[asked] = found != self.condition.operator.negated
        for base, facts in self.learned:
            facts.learn(slots[asked] - base, found)
        return result


@dataclass(frozen=True)
class _All(Node):
    parts: Sequence[Node]

    def test(self, slots: Slots, texts: Texts) -> Mask:
        """See Node."""
        return reduce(np.logical_and, (part.test(slots, texts) for part in self.parts))


@dataclass(frozen=True)
class _Any(Node):
    parts: Sequence[Node]

    def test(self, slots: Slots, texts: Texts) -> Mask:
        """See Node."""
        return reduce(np.logical_or, (part.test(slots, texts) for part in self.parts))


def _node(moment: Moment, filter: Filter) -> Node:
    if isinstance(filter, Condition):
        return _leaf(moment, filter)
    parts = [_node(moment, part) for part in filter.parts]
    if not parts:
        return _sure(np.full(len(moment.view), isinstance(filter, And)))
    join = np.logical_and if isinstance(filter, And) else np.logical_or
    possible = reduce(join, (part.possible for part in parts))
    certain = reduce(join, (part.possible & ~part.unsure for part in parts))
    kind = _Any if isinstance(filter, Or) else _All
    return kind(possible, possible & ~certain, parts)


def _leaf(moment: Moment, condition: Condition) -> Node:
    if condition.field == DOCUMENT:
        return _document(moment, condition)
    if condition.field == ID:
        operand = condition.operand
        mask = with_ids(moment, operand if isinstance(operand, list) else [operand])
        return _sure(~mask if condition.operator.negated else mask)
    return _sure(_in_metadata(moment, condition))


def _sure(mask: Mask) -> Node:
    return Node(mask, np.zeros_like(mask))


def _in_metadata(moment: Moment, condition: Condition) -> Mask:
    assert moment.columns is not None, "the columns were not asked for"
    mask = moment.columns.matches(condition, len(moment.view))
    for base, segment in moment.segments:
        assert segment.columns is not None, "the columns were not asked for"
        mask[base : base + len(segment)] = segment.columns.matches(condition, len(segment))
    return mask


def with_ids(moment: Moment, ids: list[str]) -> Mask:
    """The living slots with these ids."""
    strings = [id for id in ids if isinstance(id, str)]
    keys = moment.snapshot.keys_of(strings)
    return moment.view.mask(np.fromiter(keys.values(), np.int64, len(keys)))


def _document(moment: Moment, condition: Condition) -> Node:
    """What the text index knows; of the tail it knows nothing."""
    negated = condition.operator.negated
    unsure = np.ones(len(moment.view), np.bool_)
    possible = np.ones(len(moment.view), np.bool_)
    learned = []
    for base, segment in moment.segments:
        assert segment.text is not None, "the text index was not asked for"
        facts = segment.text.facts(condition)
        here = slice(base, base + len(segment))
        # Unsure first: a thread that learns meanwhile writes it last.
        unsure[here] = facts.unsure
        possible[here] = ~facts.possible | unsure[here] if negated else facts.possible
        learned.append((base, facts))
    return _Document(possible, unsure, condition, learned)
