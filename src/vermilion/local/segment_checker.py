"""Checks the segments of a collection against the records that they stand for.

Files are checked against their checksums as always when they are opened. Beyond that: dead bits and
log say together that every record is in one place, and columns, text and codes answer samples of
questions as the records themselves do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vermilion.local.blocks import Blocks, CacheDamaged
from vermilion.local.index import graph, sealed_vectors
from vermilion.local.index.base import Mask, Slots, distances
from vermilion.local.index.graph import SealedGraph
from vermilion.local.index.words import MOST, word_hash, words
from vermilion.local.segment import Segment, graph_path
from vermilion.local.snapshot import Keys, SegmentRow, Snapshot
from vermilion.metadata import fields_of
from vermilion.query.where import DOCUMENT, DOCUMENT_OPERATORS, OPERATORS, Condition
from vermilion.types import SparseVector, pages

PAGE = 2_000
# So many records of a segment lend their values and words as questions to all of them.
SAMPLE = 16
# Of so few dimensions the codes are too coarse to tell one vector from another.
LEAST_DIMENSIONS = 16


def check_segments(snapshot: Snapshot, indexes: Path, deep: bool) -> Iterator[str]:
    """What is wrong with the current segments, in words."""
    touched = snapshot.touched_since(snapshot.head.sealed)
    if touched is None:
        return  # the log does not reach back: nobody uses them, and they are built anew
    seen: list[Keys] = [snapshot.present(touched.keys)]
    complete = True
    for row in snapshot.segments():
        try:
            segment = _opened(indexes, row)
        except CacheDamaged as damage:
            complete = False
            yield str(damage)
            continue
        alive = ~row.dead & ~np.isin(segment.keys, touched.keys, assume_unique=True)
        seen.append(segment.keys[alive])
        try:
            led = _opened_graph(indexes, segment)
        except CacheDamaged as damage:
            yield str(damage)
            led = None
        if deep:
            yield from _check(snapshot, segment, alive)
            if led is not None:
                yield from _check_graph(snapshot, segment, led, alive)
    if deep and complete:
        yield from _check_cover(snapshot, np.concatenate(seen))


def _opened(indexes: Path, row: SegmentRow) -> Segment:
    segment = Segment(indexes, row.name)
    if len(segment) != len(row.dead):
        raise CacheDamaged(f"segment {row.name}: {len(segment)} keys, {len(row.dead)} dead bits")
    if (np.diff(segment.keys) <= 0).any():
        raise CacheDamaged(f"segment {row.name}: the keys are not ascending")
    codec = sealed_vectors.codec() is not None
    segment.open(vectors=codec, columns=True, text=True, sparse=True, words=True)
    return segment


def _opened_graph(indexes: Path, segment: Segment) -> SealedGraph | None:
    path = graph_path(indexes, segment.name)
    if graph.package() is None or not path.exists():
        return None
    return SealedGraph(Blocks(path, graph.PART, graph.VERSION).check(), len(segment))


def _check_cover(snapshot: Snapshot, seen: Keys) -> Iterator[str]:
    """Every record is in one segment, or among the changed ones."""
    keys, counts = np.unique(seen, return_counts=True)
    for key in keys[counts > 1][:3]:
        yield f"record {key} is current in more than one place"
    records = snapshot.all_keys()
    for key in np.setdiff1d(records, keys)[:3]:
        yield f"record {key} is in no segment, and the log does not name it"
    for key in np.setdiff1d(keys, records)[:3]:
        yield f"record {key} is gone, and a segment has it"


def _check(snapshot: Snapshot, segment: Segment, alive: Mask) -> Iterator[str]:
    slots = np.flatnonzero(alive)
    slots = slots[np.isin(segment.keys[slots], snapshot.present(segment.keys[slots]))]
    if not len(slots):
        return
    sample = slots[np.unique(np.linspace(0, len(slots) - 1, SAMPLE).astype(np.int64))]
    for condition in _about_metadata(snapshot, segment.keys[sample]):
        yield from _check_columns(snapshot, segment, slots, condition)
    for condition in _about_text(snapshot, segment.keys[sample]):
        yield from _check_text(snapshot, segment, slots, condition)
    yield from _check_words(snapshot, segment, sample)
    yield from _check_sparse(snapshot, segment, sample)
    yield from _check_codes(snapshot, segment, sample)


# ── columns and text ─────────────────────────────────────────────────────────────────────────────


def _about_metadata(snapshot: Snapshot, keys: Keys) -> list[Condition]:
    """Questions with the values of these records: what equals them, what contains them."""
    asked: dict[tuple[str, type], Condition] = {}
    for metadata in snapshot.metadatas(keys):
        for field, value in fields_of(metadata or {}).items():
            kind = (field, type(value))
            if isinstance(value, list) and value:
                asked.setdefault(kind, Condition(field, OPERATORS["$contains"], value[0]))
            elif isinstance(value, str | int | float | bool | date):
                asked.setdefault(kind, Condition(field, OPERATORS["$eq"], value))
            else:
                asked.setdefault(kind, Condition(field, OPERATORS["$exists"], True))
    return list(asked.values())[: 2 * SAMPLE]


def _about_text(snapshot: Snapshot, keys: Keys) -> list[Condition]:
    """Questions with words of these documents."""
    pieces = {
        document[len(document) // 2 :][:8] for document in snapshot.documents(keys) if document
    }
    contains = DOCUMENT_OPERATORS["$contains"]
    return [Condition(DOCUMENT, contains, piece) for piece in sorted(pieces)]


def _check_columns(
    snapshot: Snapshot, segment: Segment, slots: NDArray[np.int64], condition: Condition
) -> Iterator[str]:
    assert segment.columns is not None, "it was opened"
    mask = segment.columns.matches(condition, len(segment))
    for page in pages(len(slots), PAGE):
        some = slots[page]
        metadatas = snapshot.metadatas(segment.keys[some])
        for slot, metadata in zip(some.tolist(), metadatas, strict=True):
            if mask[slot] != condition.matches(fields_of(metadata or {}).get):
                yield f"segment {segment.name}: {condition.field} of record {segment.keys[slot]}"
                return


def _check_text(
    snapshot: Snapshot, segment: Segment, slots: NDArray[np.int64], condition: Condition
) -> Iterator[str]:
    assert segment.text is not None, "it was opened"
    candidates = segment.text.candidates(condition)
    if candidates is None:
        return
    others = np.setdiff1d(slots, candidates)
    for page in pages(len(others), PAGE):
        some = others[page]
        documents = snapshot.documents(segment.keys[some])
        for slot, document in zip(some.tolist(), documents, strict=True):
            if document is not None and condition.operator.test(document, condition.operand):
                yield f"segment {segment.name}: text of record {segment.keys[slot]}"
                return


# ── words and sparse vectors ─────────────────────────────────────────────────────────────────────


def _check_words(snapshot: Snapshot, segment: Segment, sample: Slots) -> Iterator[str]:
    """Every word of these documents is known to be in them, so often."""
    assert segment.words is not None, "it was opened"
    documents = snapshot.documents(segment.keys[sample])
    for slot, document in zip(sample.tolist(), documents, strict=True):
        found = words(document or "")
        right = segment.words.lengths[slot] == len(found)
        for word, often in Counter(found).items():
            right &= _listed(segment.words.of(word_hash(word)), slot) == min(often, MOST)
        if not right:
            yield f"segment {segment.name}: words of record {segment.keys[slot]}"
            return


def _check_sparse(snapshot: Snapshot, segment: Segment, sample: Slots) -> Iterator[str]:
    """Every component of these sparse vectors is known."""
    assert segment.sparse is not None, "it was opened"
    metadatas = snapshot.metadatas(segment.keys[sample])
    for slot, metadata in zip(sample.tolist(), metadatas, strict=True):
        for key, vector in (metadata or {}).items():
            if not isinstance(vector, SparseVector):
                continue
            values = np.array(vector.values).astype(np.float32).tolist()
            for index, value in zip(vector.indices, values, strict=True):
                if _listed(segment.sparse.of(key, index), slot) != value:
                    yield f"segment {segment.name}: {key} of record {segment.keys[slot]}"
                    return


def _listed(lists: Iterator[tuple[Slots, NDArray[Any]]], slot: int) -> float | None:
    """What the postings of a term say of a slot."""
    for slots, values in lists:
        place = int(np.searchsorted(slots, slot))
        if place < len(slots) and slots[place] == slot:
            return float(values[place])
    return None


# ── codes ────────────────────────────────────────────────────────────────────────────────────────


def _check_codes(snapshot: Snapshot, segment: Segment, sample: NDArray[np.int64]) -> Iterator[str]:
    """Codes are believed to be of these vectors when they are nearer to them than to others.

    A damaged code is the checksum's business; this finds codes of other records.
    """
    if segment.vectors is None or len(sample) < SAMPLE:
        return
    vectors = snapshot.vectors(segment.keys[sample])
    if vectors.shape[1] < LEAST_DIMENSIONS or vectors.shape[1] != segment.vectors.dimension:
        return  # of another dimension are the codes of records that have no vector
    space, told, true = segment.vectors.space, np.zeros(2), np.zeros(2)
    for place, slot in enumerate(sample.tolist()):
        allowed = np.zeros(len(segment), np.bool_)
        allowed[slot] = True
        for other in (0, 1):
            query = vectors[(place + other) % len(sample)]
            told[other] += segment.vectors.candidates(query, 1, allowed).estimates[0]
            true[other] += distances(space, vectors[place : place + 1], query)[0]
    if told[1] - told[0] < (true[1] - true[0]) / 2:
        yield f"segment {segment.name}: the codes are not of the vectors of its records"


def _check_graph(
    snapshot: Snapshot, segment: Segment, led: SealedGraph, alive: Mask
) -> Iterator[str]:
    """A graph is of these vectors when most lead to their own records."""
    slots = np.flatnonzero(alive)
    slots = slots[np.isin(segment.keys[slots], snapshot.present(segment.keys[slots]))]
    slots = slots[~np.isin(segment.keys[slots], snapshot.bare_keys(segment.keys[slots]))]
    if len(slots) < SAMPLE:
        return
    sample = slots[np.linspace(0, len(slots) - 1, SAMPLE).astype(np.int64)]
    if led.leads_to(sample, snapshot.vectors(segment.keys[sample])) < SAMPLE / 2:
        yield f"segment {segment.name}: the graph is not of the vectors of its records"
