"""Which slots a filter lets through, with documents read as late and as seldom as it gets.

Metadata is answered by columns at once. Of documents the text index tells which may match; only the
documents themselves decide. So a filter is known in two masks: what surely matches, and what may.
The slots between them are unsure, and are settled by whoever needs to know: a search asks about the
nearest ones, a page of `get` about the first ones, a count about all.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from vermilion.local.filter_cache import KnownFilter, Now
from vermilion.local.index.base import Mask, Slots
from vermilion.local.index.text import Facts
from vermilion.local.indexer import Moment
from vermilion.query.where import DOCUMENT, ID, And, Condition, Filter, Or, conditions
from vermilion.types import pages

# Documents read from the store at a time.
DOCUMENTS = 4_096
# As many documents as it takes to find some matches are read in steps that grow: the first step,
# for each match that is wanted.
FIRST_STEP = 2

Texts = NDArray[np.object_]


class Matches:
    """The slots that match, as far as it is known; it learns from every document that is read."""

    def __init__(
        self,
        moment: Moment,
        possible: Mask,
        open_question: Node | None = None,
        *,
        counts: tuple[int, ...] | None = None,
        known: KnownFilter | None = None,
    ) -> None:
        """`possible` slots match, unless the open question says otherwise of them.

        Where there is none, `counts` tells how many of each segment match, if that is known, and
        `known` what is kept of the filter from earlier queries.
        """
        self._moment = moment
        self._question = open_question
        self._possible = possible
        self._counts = counts
        self.known = known
        if open_question is not None and open_question.unsure is not None:
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
    def counts(self) -> tuple[int, ...]:
        """How many slots of each segment may match."""
        if self._counts is not None:
            return self._counts
        return self._moment.view.table.counts(self._possible)

    @property
    def tail(self) -> Slots:
        """The slots of the tail that may match."""
        sealed = self._moment.view.table.sealed
        if len(self._possible) == sealed:
            return _NO_SLOTS
        if self._possible is self._moment.view.live:
            return self._moment.view.tail
        return sealed + np.flatnonzero(self._possible[sealed:])

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


_NO_SLOTS = np.empty(0, np.int64)


def everything(moment: Moment) -> Matches:
    """Every record matches."""
    return Matches(moment, moment.view.live, counts=moment.view.counts)


def those_of(moment: Moment, ids: list[str]) -> Matches:
    """The records with these ids match."""
    return Matches(moment, with_ids(moment, ids))


def matches(moment: Moment, filter: Filter, ids: list[str] | None = None) -> Matches:
    """The records that match the filter, or those with these ids that do."""
    if ids is None:
        known = moment.filters.look_up(filter)
        if known is not None:
            now = known.now(moment.view) or _now(moment, filter, known)
            return Matches(moment, now.possible, counts=now.counts, known=known)
    node = _node(moment, filter)
    open_question = node if any(one.field == DOCUMENT for one in conditions(filter)) else None
    within = moment.view.live if ids is None else with_ids(moment, ids)
    return Matches(moment, node.possible & within, open_question)


def _now(moment: Moment, filter: Filter, known: KnownFilter) -> Now:
    """What a filter that comes again lets through at this moment."""
    view, sealed = moment.view, moment.view.table.sealed
    mask = known.in_segments(view)
    if mask is None:
        mask = _node(moment, filter).possible
        known.learn(mask[:sealed])
    elif len(view) > sealed:
        tail = _node(moment._replace(segments=()), filter).possible[sealed:]
        mask = np.concatenate((mask, tail))
    possible = mask & view.live
    now = Now(view, possible, view.table.counts(possible))
    known.settle(now)
    return now


# ── the filter, with what is known of each part ──────────────────────────────────────────────────


class Node:
    """A part of a filter: which slots may match it, and of which it is not sure, if of any."""

    def __init__(self, possible: Mask, unsure: Mask | None) -> None:
        self.possible = possible
        self.unsure = unsure

    def test(self, slots: Slots, texts: Texts) -> Mask:
        """Which of these slots match, given their documents."""
        return self.possible[slots]


class _Document(Node):
    """A condition on the document. `learned` keeps what is found out, by base of its segment."""

    def __init__(
        self,
        possible: Mask,
        unsure: Mask,
        condition: Condition,
        learned: Sequence[tuple[int, Facts]],
    ) -> None:
        super().__init__(possible, unsure)
        self.condition = condition
        self.learned = learned

    def test(self, slots: Slots, texts: Texts) -> Mask:
        """See Node. What is settled already is not asked again."""
        assert self.unsure is not None, "only documents can tell"
        result = self.possible[slots]
        asked = np.flatnonzero(self.unsure[slots])
        test, operand = self.condition.operator.test, self.condition.operand
        found = np.array([test(text, operand) for text in texts[asked]], np.bool_)
        result[asked] = found != self.condition.operator.negated
        for base, facts in self.learned:
            facts.learn(slots[asked] - base, found)
        return result


class _Join(Node):
    """Several parts, of which all or any must match."""

    def __init__(self, possible: Mask, unsure: Mask, parts: Sequence[Node]) -> None:
        super().__init__(possible, unsure)
        self.parts = parts


class _All(_Join):
    def test(self, slots: Slots, texts: Texts) -> Mask:
        """See Node."""
        return reduce(np.logical_and, (part.test(slots, texts) for part in self.parts))


class _Any(_Join):
    def test(self, slots: Slots, texts: Texts) -> Mask:
        """See Node."""
        return reduce(np.logical_or, (part.test(slots, texts) for part in self.parts))


def _node(moment: Moment, filter: Filter) -> Node:
    if isinstance(filter, Condition):
        return _leaf(moment, filter)
    parts = [_node(moment, part) for part in filter.parts]
    if not parts:
        return Node(np.full(len(moment.view), isinstance(filter, And)), None)
    join = np.logical_and if isinstance(filter, And) else np.logical_or
    possible = reduce(join, (part.possible for part in parts))
    if all(part.unsure is None for part in parts):
        return Node(possible, None)
    certain = reduce(join, (_certain(part) for part in parts))
    kind = _Any if isinstance(filter, Or) else _All
    return kind(possible, possible & ~certain, parts)


def _certain(node: Node) -> Mask:
    return node.possible if node.unsure is None else node.possible & ~node.unsure


def _leaf(moment: Moment, condition: Condition) -> Node:
    if condition.field == DOCUMENT:
        return _document(moment, condition)
    if condition.field == ID:
        operand = condition.operand
        mask = with_ids(moment, operand if isinstance(operand, list) else [operand])
        return Node(~mask if condition.operator.negated else mask, None)
    return Node(_in_metadata(moment, condition), None)


def _in_metadata(moment: Moment, condition: Condition) -> Mask:
    assert moment.columns is not None, "the columns were not asked for"
    masks = []
    for _, segment in moment.segments:
        assert segment.columns is not None, "the columns were not asked for"
        masks.append(segment.columns.matches(condition, len(segment)))
    sealed = sum(map(len, masks))
    if sealed < len(moment.view) or not masks:
        masks.append(moment.columns.matches(condition, len(moment.view))[sealed:])
    return masks[0] if len(masks) == 1 else np.concatenate(masks)


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
