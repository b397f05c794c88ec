"""What a query did and where the time went, and why a record is not in an answer."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from vermilion.engine import Column, Selection
from vermilion.local import planner
from vermilion.local.index import graph
from vermilion.local.indexer import Moment
from vermilion.local.matches import Matches
from vermilion.local.search import Wish, search
from vermilion.metadata import fields_of
from vermilion.query.where import DOCUMENT, ID, And, Condition, Filter
from vermilion.reports import Explanation, WhyNot
from vermilion.types import Effort

COLUMNS: tuple[Column, ...] = ("documents", "metadatas")


def explain(
    moment: Moment, wish: Wish, vectors: NDArray[np.float32], selection: Selection
) -> Explanation:
    """Answers the query and tells how."""
    planner.check_dimension(moment, vectors)
    marks = [perf_counter()]
    matches = planner.selected(moment, selection).with_vectors()
    marks.append(perf_counter())
    found = search(moment, wish._replace(audit=False), vectors, matches)
    marks.append(perf_counter())
    for one in found:
        moment.snapshot.records(moment.view.keys[one.nearest.slots], COLUMNS)
    marks.append(perf_counter())
    spent = np.diff(marks) * 1000
    sealed = moment.view.table.sealed
    return Explanation(
        records=moment.snapshot.head.rows,
        selected=int(np.count_nonzero(matches.settle())),
        in_segments=int(np.count_nonzero(moment.view.live[:sealed])),
        in_tail=int(np.count_nonzero(moment.view.live[sealed:])),
        courses=[one.course for one in found],
        milliseconds=dict(zip(("filter", "search", "records"), spent.tolist(), strict=True)),
        graph=_graph(moment, wish.effort.recall),
        filter=_filter(moment, selection, matches),
    )


def _filter(moment: Moment, selection: Selection, matches: Matches) -> str:
    """What was kept of the filter from earlier queries."""
    if selection.filter is None:
        return "none"
    if matches.known is None:
        return "evaluated"
    apart = matches.known.apart(moment.view)
    if apart is None:
        return "known"
    return "known, its records kept apart as " + ("codes" if apart.scan is None else "vectors")


def _graph(moment: Moment, recall: float) -> str:
    """Whether the large segments have a graph that serves, and if not, why."""
    if not any(graph.pays(len(segment)) for _, segment in moment.segments):
        return "none: no segment is large enough"
    if graph.package() is None:
        return "none: faiss is not installed (pip install 'vermilion[graph]')"
    if any(segment.leaves_graph for _, segment in moment.segments):
        return "not opened yet: the first searches of a process do without"
    if moment.lacks_graph:
        return "none yet: it is built in the background"
    graphs = [segment.graph for _, segment in moment.segments if segment.graph is not None]
    if not all(one.trust(recall).serves for one in graphs):
        return "not used: for these queries it does not reach the recall"
    return "ready"


def why_not(
    moment: Moment, wish: Wish, vector: NDArray[np.float32], selection: Selection, id: str
) -> WhyNot:
    """Why the record with this id is not among the k nearest that are selected."""
    planner.check_dimension(moment, vector[np.newaxis])
    key = moment.snapshot.keys_of([id]).get(id)
    if key is None:
        return WhyNot("unknown id")
    if selection.ids is not None and id not in selection.ids:
        return WhyNot("not among the ids")
    slot = int(np.flatnonzero(moment.view.mask(np.array([key])))[0])
    if selection.filter is not None:
        failing = _failing(moment, selection.filter, slot)
        if failing:
            return WhyNot("filter", failing)
    if moment.view.bare is not None and moment.view.bare[slot]:
        return WhyNot("no vector")
    matches = planner.selected(moment, selection).with_vectors()
    return _by_distance(moment, wish, vector, matches, slot)


def _by_distance(
    moment: Moment, wish: Wish, vector: NDArray[np.float32], matches: Matches, slot: int
) -> WhyNot:
    wish = wish._replace(audit=False)
    everything = wish._replace(k=int(np.count_nonzero(matches.settle())), effort=Effort(exact=True))
    order = search(moment, everything, vector[np.newaxis], matches)[0].nearest
    rank = int(np.flatnonzero(order.slots == slot)[0])
    last = min(wish.k, len(order.slots)) - 1
    told = float(order.distances[rank]), float(order.distances[last])
    found = search(moment, wish, vector[np.newaxis], matches)[0].nearest
    if slot in found.slots:
        return WhyNot("found", [], *told, rank)
    return WhyNot("farther" if rank > last else "missed", [], *told, rank)


def _failing(moment: Moment, filter: Filter, slot: int) -> list[str]:
    """The conditions that keep the record out, as text; none when it matches."""
    record = moment.snapshot.records(moment.view.keys[[slot]], COLUMNS)
    assert record.metadatas is not None and record.documents is not None
    stored = fields_of(record.metadatas[0] or {})
    fields = {**stored, DOCUMENT: record.documents[0], ID: record.ids[0]}
    return _told(filter, fields.get)


def _told(filter: Filter, record: Callable[[str], object]) -> list[str]:
    if filter.matches(record):
        return []
    if isinstance(filter, Condition):
        inverted = "not " if filter.operator.is_inverted else ""
        return [f"{inverted}{filter.field} {filter.operator.name} {filter.operand!r}"]
    if isinstance(filter, And):
        return [text for part in filter.parts for text in _told(part, record)]
    return [" or ".join(text for part in filter.parts for text in _told(part, record))]
