"""Random histories of one collection: every engine answers as the oracle does.

On disk two engines have the directory open, as two processes would, and each step goes through
either of them. VERMILION_STATEFUL=5000 tries that many histories instead of a few.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run

from oracle import Oracle
from ranking_oracle import RankingOracle
from vermilion.engine import Selection
from vermilion.errors import (
    ArgumentValueError,
    DimensionError,
    IDAlreadyExistsError,
    NotFoundError,
)
from vermilion.local import builder, compactor, grapher, search
from vermilion.local.engine import LocalEngine
from vermilion.local.index import graph
from vermilion.local.index.graph import Recipe
from vermilion.local.segment import FOLDER
from vermilion.local.store import RECORDS
from vermilion.query.keys import K
from vermilion.query.ranks import Knn, Rrf
from vermilion.query.search import Search, Where
from vermilion.query.where import DOCUMENT, DOCUMENT_OPERATORS, ID_OPERATORS, OPERATORS, parse
from vermilion.records import CLEARABLE, Batch
from vermilion.reports import Problem
from vermilion.schema.builder import Schema, SparseVectorIndexConfig
from vermilion.types import DEFAULT_DATABASE, DEFAULT_TENANT, Address, SparseVector
from words import keep_filters_at_once, make

EXAMPLES = int(os.environ.get("VERMILION_STATEFUL", "60"))

# ── values: few of each, so that they meet again ─────────────────────────────────────────────────

IDS = [*"abcdefgh", "é", "東京", "nul\0", " "]
KEYS = ["x", "y", "clé", "x.y"]
FIELDS = [*KEYS, "x.x", "x.x.y", "y.x.y"]
DAY, NOON = date(2024, 2, 29), datetime(2024, 2, 29, 12)
EAST = NOON.replace(hour=21, tzinfo=timezone(timedelta(hours=9)))
TEXTS = ["2024-02-29", "", "a", "A b", "café", "東京 2024", "nul\0here", "a\nb", "1"]
PATTERNS = [r"^a", r"\w+", r"é", "x*", r"(?i)a b", r"\d", r"\x00", r"a.b", r"\b2024\b"]
KINDS: list[st.SearchStrategy[Any]] = [
    st.sampled_from(TEXTS),
    st.sampled_from([0, 1, -1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)]),
    st.sampled_from([0.0, -0.0, 1.0, 0.5, -1.5, 2.0**53, 2.0**63, -(2.0**63), 1e300]),
    st.booleans(),
    st.sampled_from([DAY, NOON, NOON.replace(hour=0), NOON.replace(tzinfo=UTC), EAST]),
]
SCALARS = st.one_of(KINDS)
LISTS = st.one_of([st.lists(kind, max_size=3) for kind in [*KINDS, SCALARS]])
FLAT = SCALARS | LISTS
# Paths that meet keys with dots.
NESTED = st.dictionaries(
    st.sampled_from(["x", "y", "x.y"]), FLAT | st.fixed_dictionaries({"y": FLAT}), max_size=2
)
VALUES = FLAT | NESTED
SPARSE = st.dictionaries(st.integers(0, 4), st.sampled_from([1.0, 0.1, -2.0]), max_size=3).map(
    lambda parts: SparseVector(sorted(parts), [parts[index] for index in sorted(parts)])
)
SCHEMA = Schema().create_index(SparseVectorIndexConfig(bm25=True), key="sparse")


def _metadata(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    plain = st.dictionaries(st.sampled_from(KEYS), values, min_size=1)
    mixed = st.builds(lambda one, sparse: {**one, "sparse": sparse}, plain, SPARSE)
    return st.none() | plain | mixed


METADATA, CHANGES = _metadata(VALUES), _metadata(st.none() | VALUES)
COMPONENTS = st.sampled_from([0.0, 0.0, -0.0, 1.0, 1.0, -1.0, 2.0, 0.1, -0.7, 3.5])
COLUMNS = st.sets(st.sampled_from(["vectors", "documents", "uris", "metadatas"]))
WINDOW = st.none() | st.integers(0, 6)


CLEARED = st.just(frozenset[str]()) | st.frozensets(st.sampled_from(CLEARABLE))


@st.composite
def batches(draw: Any, dimension: int, *, all_vectors: bool, changes: bool) -> Batch:
    """Rows with any of the columns; `changes` may delete keys of the metadata."""
    ids = draw(st.lists(st.sampled_from(IDS), min_size=1, max_size=8, unique=True))
    size = len(ids)

    def column(cells: st.SearchStrategy[Any]) -> Any:
        return draw(st.none() | st.lists(cells, min_size=size, max_size=size))

    vectors, has_vector = None, None
    if all_vectors or draw(st.booleans()):
        flat = st.lists(COMPONENTS, min_size=size * dimension, max_size=size * dimension)
        vectors = np.array(draw(flat), np.float32).reshape(size, dimension)
    if vectors is not None and not all_vectors:
        has_vector = draw(st.none() | st.lists(st.booleans(), min_size=size, max_size=size))
    return Batch(
        ids,
        vectors,
        None if has_vector is None else np.array(has_vector, np.bool_),
        column(st.none() | st.sampled_from(TEXTS)),
        column(st.none() | st.sampled_from(TEXTS)),
        column(CHANGES if changes else METADATA),
        draw(CLEARED) if changes else frozenset(),
    )


# ── filters: every operator, on every field it may stand on ──────────────────────────────────────

NUMBERS = KINDS[1] | KINDS[2]
OPERANDS: dict[str, st.SearchStrategy[Any]] = {
    "scalar": SCALARS,
    "element": SCALARS,
    "ordered": NUMBERS | KINDS[4] | st.sampled_from(["2024-02-29", "2024-02-29T12:00:00Z"]),
    "scalars": st.one_of(
        [st.lists(kind, min_size=1, max_size=4) for kind in (KINDS[0], NUMBERS, KINDS[3], SCALARS)]
    ),
    "flag": st.booleans(),
    "count": st.integers(0, 3),
    "piece": st.sampled_from(["a", "A", "É", "東京 2", "\0", "here", "b"]),
    "text": st.sampled_from(["a", "é", "東", "\0", "zz"]),
    "pattern": st.sampled_from(PATTERNS),
}


def _either(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Leaves, joined by $and, $or and $not to any depth."""
    return st.recursive(
        leaves,
        lambda parts: (
            st.builds(
                lambda name, some: {name: some},
                st.sampled_from(["$and", "$or"]),
                st.lists(parts, min_size=2, max_size=3),
            )
            | st.builds(lambda part: {"$not": part}, parts)
        ),
        max_leaves=6,
    )


@st.composite
def _leaves(draw: Any, fields: list[str | None], table: dict[str, Any]) -> Any:
    """One operator on one field; with no field it is about documents."""
    name = draw(st.sampled_from([*table]))
    expression = {name: draw(OPERANDS[table[name].accepts])}
    if draw(st.integers(0, 3)) == 3:
        expression = {"$not": expression}
    field = draw(st.sampled_from(fields))
    return expression if field is None else {field: expression}


WHERE = _either(
    _leaves(FIELDS, OPERATORS)
    | _leaves(FIELDS, OPERATORS)
    | _leaves([DOCUMENT], DOCUMENT_OPERATORS)
    | _leaves(["#id"], ID_OPERATORS)
    | st.sampled_from([{DOCUMENT: {"$contains": ""}}, {DOCUMENT: {"$exists": False}}])
)
WHERE_DOCUMENT = _either(_leaves([None], DOCUMENT_OPERATORS))
FILTERS = st.builds(parse, st.none() | WHERE, st.none() | WHERE_DOCUMENT)
SOME_IDS = st.none() | st.lists(st.sampled_from([*IDS, "missing"]), max_size=6)
SELECTIONS = st.builds(Selection, SOME_IDS, FILTERS)


# ── the machine ──────────────────────────────────────────────────────────────────────────────────


class Histories(RuleBasedStateMachine):
    """One collection in memory, beside its oracle."""

    def __init__(self) -> None:
        super().__init__()
        self.engines = self.open()
        self.oracle = Oracle("l2")
        self.address: Address
        self.asked: list[Selection] = []

    def open(self) -> list[LocalEngine]:
        return [LocalEngine()]

    def teardown(self) -> None:
        problems = [one for engine in self.engines for one in engine.check(deep=True)]
        self.close()
        assert [one for one in problems if not self.expects(one)] == []

    def expects(self, problem: Problem) -> bool:
        """Whether the machine did this damage itself."""
        return False

    def close(self) -> None:
        for engine in self.engines:
            engine.close()

    def some(self, data: st.DataObject) -> LocalEngine:
        return data.draw(st.sampled_from(self.engines), label="engine")

    def same(self, data: st.DataObject, method: str, *arguments: Any, **options: Any) -> None:
        """Both do it, with the same result or the same refusal."""
        write = getattr(self.some(data), method)
        try:
            expected = getattr(self.oracle, method)(*arguments, **options)
        except (DimensionError, ArgumentValueError, IDAlreadyExistsError) as error:
            with pytest.raises(type(error)):
                write(self.address, *arguments, **options)
        else:
            assert write(self.address, *arguments, **options, named=True) == expected

    def batch(self, data: st.DataObject, **how: bool) -> Batch:
        fits = st.just(self.oracle.dimension or 2) if self.oracle.rows else st.nothing()
        wanted = data.draw(fits | fits | fits | st.integers(1, 5), label="dimension")
        return data.draw(batches(wanted, **how), label="batch")

    @initialize(space=st.sampled_from(["l2", "cosine", "ip"]))
    def create(self, space: Any) -> None:
        self.oracle = Oracle(space)
        self.address = make(self.engines[0], space=space, schema=SCHEMA)

    @rule(data=st.data(), new_only=st.booleans())
    def add(self, data: st.DataObject, new_only: bool) -> None:
        batch = self.batch(data, all_vectors=True, changes=False)
        self.same(data, "add", batch, new_only=new_only)

    @rule(data=st.data(), all_vectors=st.booleans())
    def upsert(self, data: st.DataObject, all_vectors: bool) -> None:
        self.same(data, "upsert", self.batch(data, all_vectors=all_vectors, changes=True))

    @rule(data=st.data())
    def update(self, data: st.DataObject) -> None:
        self.same(data, "update", self.batch(data, all_vectors=False, changes=True))

    @rule(data=st.data(), selection=SELECTIONS, changes=CHANGES.filter(bool))
    def update_where(self, data: st.DataObject, selection: Selection, changes: Any) -> None:
        self.same(data, "update_where", selection, changes)

    @rule(data=st.data(), selection=SELECTIONS, limit=st.none() | st.integers(0, 3))
    def delete(self, data: st.DataObject, selection: Selection, limit: int | None) -> None:
        result = self.some(data).delete(self.address, selection, limit, named=True)
        gone = self.oracle.delete(selection, limit)
        assert result.ids.get("deleted", []) == gone
        assert result.deleted == len(gone)

    @rule(data=st.data(), selection=SELECTIONS, rows=st.integers(1, 4), columns=COLUMNS)
    def page(self, data: st.DataObject, selection: Selection, rows: int, columns: Any) -> None:
        """Page after page: all that is selected all the while, once, whatever goes meanwhile."""
        engine = self.some(data)
        before, told, after = self.oracle.selected(selection), list[str](), None
        gone = data.draw(st.none() | st.sampled_from(IDS), label="deleted after the first page")
        while True:
            page = engine.page(self.address, selection, columns, rows, after)
            told += page.records.ids
            self.check_columns(page.records.ids, page.records.metadatas, columns)
            if gone is not None:
                self.engines[-1].delete(self.address, Selection([gone]))
                self.oracle.delete(Selection([gone]))
                gone = None
            if page.next is None:
                break
            after = page.next
        assert len(told) == len(set(told))
        left = self.oracle.selected(selection)
        assert [id for id in told if id in left] == left
        assert set(told) <= set(before)

    @rule(data=st.data())
    def delete_all(self, data: st.DataObject) -> None:
        result = self.some(data).delete(self.address, Selection())
        assert result.deleted == len(self.oracle.delete(Selection()))

    @rule(data=st.data(), selection=SELECTIONS, columns=COLUMNS, limit=WINDOW, offset=WINDOW)
    def get(self, data: Any, selection: Selection, columns: Any, limit: Any, offset: Any) -> None:
        got = self.some(data).get(self.address, selection, columns, limit, offset)
        expected = self.oracle.get(selection, columns, limit, offset)
        assert repr(got.ids) == repr(expected.ids)
        for name in ("documents", "uris", "metadatas"):
            assert repr(getattr(got, name)) == repr(getattr(expected, name)), name
        assert (got.vectors is None) == (expected.vectors is None)
        if got.vectors is not None and expected.vectors is not None and got.ids:
            assert got.vectors.tobytes() == expected.vectors.tobytes()

    @rule(data=st.data(), selection=SELECTIONS)
    def count(self, data: st.DataObject, selection: Selection) -> None:
        counted = self.some(data).count(self.address, selection)
        assert counted == len(self.oracle.selected(selection))

    @rule(data=st.data(), selection=SELECTIONS, k=st.integers(1, 15), columns=COLUMNS)
    @precondition(lambda self: self.oracle.rows)
    def query(self, data: Any, selection: Selection, k: int, columns: Any) -> None:
        width = self.oracle.dimension or 0
        vector = st.lists(COMPONENTS, min_size=width, max_size=width)
        queries = np.array(data.draw(st.lists(vector, min_size=1, max_size=3)), np.float32)
        self.asked = [*self.asked[-3:], Selection(filter=selection.filter)]
        answers = self.some(data).query(self.address, queries, k, selection, columns)
        assert len(answers) == len(queries)
        for hits, query in zip(answers, queries, strict=True):
            self.oracle.check_hits(hits, query, k, selection)
            self.check_columns(hits.records.ids, hits.records.metadatas, columns)

    @rule(k=st.integers(1, 5))
    @precondition(lambda self: self.oracle.rows)
    def ask_again(self, k: int) -> None:
        """With filters that came before, of which something may be kept."""
        vector = np.ones(self.oracle.dimension or 0, np.float32)
        for engine in self.engines:
            for selection in self.asked:
                [hits] = engine.query(self.address, vector[np.newaxis], k, selection)
                self.oracle.check_hits(hits, vector, k, selection)

    def check_columns(self, ids: list[str], metadatas: Any, columns: Any) -> None:
        if "metadatas" in columns:
            assert metadatas == [self.oracle.rows[id].metadata for id in ids]
        else:
            assert metadatas is None

    @rule(data=st.data(), where=st.none() | WHERE, text=st.sampled_from(TEXTS), sparse=SPARSE)
    @precondition(lambda self: self.oracle.rows)
    def search(self, data: Any, where: Any, text: str, sparse: SparseVector) -> None:
        filter = None if where is None else Where.from_dict(where)
        width = self.oracle.dimension or 0
        dense = data.draw(st.lists(COMPONENTS, min_size=width, max_size=width))
        words, vectors = Knn(text, K.DOCUMENT, limit=4), Knn(sparse, "sparse", limit=4)
        all_three = [(text, K.DOCUMENT), (sparse, "sparse"), (dense, K.EMBEDDING)]
        everything = Rrf([Knn(*one, limit=4, default=9) for one in all_three])
        for rank in (None, words, vectors, everything):
            wanted = Search(filter, rank).limit(5)
            [ranked] = self.some(data).search(self.address, [wanted])
            told = zip(ranked.records.ids, ranked.scores.tolist(), strict=True)
            assert list(told) == RankingOracle(self.oracle, bm25=True).search(wanted)

    @rule(data=st.data(), space=st.sampled_from(["l2", "cosine", "ip"]))
    def recreate(self, data: st.DataObject, space: Any) -> None:
        self.some(data).delete_collection("things", DEFAULT_TENANT, DEFAULT_DATABASE)
        for engine in self.engines:
            with pytest.raises(NotFoundError):
                engine.count(self.address)
        self.oracle = Oracle(space)
        self.address = make(self.some(data), space=space, schema=SCHEMA)

    @invariant()
    def everybody_counts_the_same(self) -> None:
        for engine in self.engines:
            assert engine.count(self.address) == len(self.oracle.rows)


class HistoriesOnDisk(Histories):
    """The same on disk, where two engines share the directory and may be opened again."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="vermilion-"))
        super().__init__()

    def open(self) -> list[LocalEngine]:
        return [LocalEngine(self.folder, durability="normal") for _ in range(2)]

    @rule()
    def reopen(self) -> None:
        self.close()
        self.engines = self.open()

    @rule(data=st.data())
    def compact(self, data: st.DataObject) -> None:
        with patch.object(compactor, "ROWS", 3), patch.object(compactor, "NEGLIGIBLE", -1):
            self.some(data).compact(self.address)

    @rule(data=st.data(), selection=SELECTIONS)
    def delete_securely(self, data: st.DataObject, selection: Selection) -> None:
        result = self.some(data).delete(self.address, selection, secure=True)
        assert result.deleted == len(self.oracle.delete(selection))

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            shutil.rmtree(self.folder)


class HistoriesInSegments(HistoriesOnDisk):
    """The same with records sealed at any moment, and index files damaged at rest."""

    damaged = False

    def expects(self, problem: Problem) -> bool:
        return self.damaged and problem.repairable

    def collection(self) -> Path:
        return self.folder / "collections" / str(self.address.collection)

    @rule(tail=st.integers(1, 4))
    def seal(self, tail: int) -> None:
        if (self.collection() / RECORDS).exists():
            with patch.object(builder, "TAIL_ROWS", tail):
                builder.build(self.collection(), self.oracle.space)

    @rule()
    def build_graphs(self) -> None:
        """So few nodes are not searched; what the files do to everything else is the question."""
        if (self.collection() / RECORDS).exists():
            grapher.build_graphs(self.collection(), self.oracle.space, Recipe())

    @rule(data=st.data())
    def damage(self, data: st.DataObject) -> None:
        files = sorted(p for p in (self.collection() / FOLDER).glob("*") if p.stat().st_size)
        if files:
            self.damaged = True
            path = data.draw(st.sampled_from(files))
            content = bytearray(path.read_bytes())
            place = data.draw(st.integers(0, len(content) - 1))
            content[place] ^= 1 << data.draw(st.integers(0, 7))
            path.unlink()  # who has it mapped goes on with what was written
            path.write_bytes(content[: data.draw(st.integers(place, len(content)))])
            self.reopen()


MACHINES = {
    "memory": Histories,
    "disk": HistoriesOnDisk,
    "segments": HistoriesInSegments,
    "kept filters": HistoriesInSegments,
}


@pytest.mark.parametrize("name", MACHINES)
def test_any_history_leaves_what_the_oracle_says(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "segments":
        monkeypatch.setattr(search, "EXACT", 0)  # few records would not be asked of the codes
        monkeypatch.setattr(search, "FEW_BYTES", 0)
        monkeypatch.setattr(graph, "ROWS", 3)
    if name in ("segments", "kept filters"):
        keep_filters_at_once(monkeypatch)
    run(
        MACHINES[name],
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=30,
            deadline=None,
            print_blob=False,
            database=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
