"""The indexes: exact answers whatever is stored, and the same digits however they are found."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vermilion.configuration import Configuration
from vermilion.engine import EVERYTHING, Selection
from vermilion.errors import DamagedError
from vermilion.local import indexer, snapshot, transaction
from vermilion.local.collection import LocalCollection
from vermilion.local.index.base import Change, Growable, distances
from vermilion.local.index.columns import Columns
from vermilion.local.index.slots import SlotTable, View
from vermilion.local.index.vectors import MEASURE_ROWS, FlatVectors
from vermilion.local.indexer import Indexer, Needs
from vermilion.local.snapshot import Touched
from vermilion.local.store import Store
from vermilion.local.transaction import Transaction
from vermilion.query.where import OPERATORS, Condition
from vermilion.records import Batch
from vermilion.types import Effort, Space
from words import cells, ids, numbered, rows, where

SPACES: list[Space] = ["l2", "cosine", "ip"]
quick = settings(deadline=None, database=None, print_blob=False)


class Stored:
    """What an index reads of a snapshot: key n is row n."""

    def __init__(self, vectors: Any = None, metadatas: Any = None) -> None:
        self._vectors, self._metadatas = vectors, metadatas

    def vectors(self, keys: NDArray[np.int64]) -> Any:
        return self._vectors[keys]

    def metadatas(self, keys: NDArray[np.int64]) -> Any:
        return [self._metadatas[key] for key in keys]


def new_slots(count: int, first: int = 0) -> Change:
    keys = np.arange(first, first + count)
    return Change(first, keys, np.full(count, -1), np.zeros(count, np.bool_))


def flat(space: Space, vectors: NDArray[np.float32]) -> FlatVectors:
    index = FlatVectors(space, vectors.shape[1])
    index.apply(new_slots(len(vectors)), Stored(vectors))  # type: ignore[arg-type]
    return index


def exact(space: Space, vectors: NDArray[Any], query: NDArray[Any]) -> NDArray[np.float64]:
    a, b = vectors.astype(np.float64), query.astype(np.float64)
    if space == "l2":
        return ((a - b) ** 2).sum(axis=1)
    if space == "ip":
        return 1 - a @ b
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b)
    return 1 - np.divide(a @ b, lengths, out=np.zeros(len(a)), where=lengths > 0)


def check_nearest(
    space: Space, vectors: NDArray[np.float32], query: NDArray[np.float32], k: int, **how: Any
) -> None:
    """The answer is that of measuring every row: by distance as float32, then by key."""
    slots = how.get("slots", np.arange(len(vectors)))
    [found] = flat(space, vectors).search(query[np.newaxis], k, slots, slots)
    measured = distances(space, vectors[slots], query)
    order = np.lexsort((slots, measured))[:k]
    assert found.slots.tolist() == slots[order].tolist()
    assert found.distances.tobytes() == measured[order].tobytes()


# ── distances ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("dimension", [1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 33, 100, 384, 1537])
def test_a_distance_does_not_depend_on_the_rows_beside_it(space: Space, dimension: int) -> None:
    random = np.random.default_rng(dimension)
    query = random.standard_normal(dimension, dtype=np.float32)
    for count in (1, 2, 3, 5, 8, 33, 257):
        vectors = random.standard_normal((count, dimension), dtype=np.float32)
        together = distances(space, vectors, query)
        alone = [distances(space, vectors[i : i + 1], query)[0] for i in range(count)]
        assert together.tobytes() == np.array(alone).tobytes()
        shuffled = random.permutation(count)
        assert distances(space, vectors[shuffled], query).tobytes() == together[shuffled].tobytes()


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_distances_are_those_of_float64(space: Space, scale: float) -> None:
    random = np.random.default_rng(1)
    vectors = (random.standard_normal((500, 96)) * scale).astype(np.float32)
    query = vectors[0] + np.float32(scale) * random.standard_normal(96).astype(np.float32)
    true = exact(space, vectors, query)
    size = 1.0 if space == "cosine" else 1 + float(np.abs(true).max())
    assert np.abs(distances(space, vectors, query) - true).max() <= 1e-6 * size


def test_a_vector_is_at_distance_zero_of_itself_and_of_its_direction() -> None:
    random = np.random.default_rng(2)
    for dimension in (1, 3, 384):
        vector = random.standard_normal(dimension, dtype=np.float32)
        assert distances("l2", vector[np.newaxis], vector) == 0
        for scale in (1e-25, 1e-15, 1e-3, 1, 1e3, 1e15, 1e20):
            scaled = (vector * scale).astype(np.float32)[np.newaxis]
            assert distances("cosine", scaled, vector)[0] == pytest.approx(0, abs=3e-7)


def test_a_zero_vector_has_no_direction() -> None:
    vectors = np.array([[0, 0], [1, 0], [1e-25, 0]], np.float32)
    assert distances("cosine", vectors, vectors[0]).tolist() == [1, 1, 1]
    assert distances("cosine", vectors, vectors[1]).tolist() == [1, 0, 0]


# ── the flat index ───────────────────────────────────────────────────────────────────────────────


def awkward(random: np.random.Generator, name: str, shape: tuple[int, int]) -> Any:
    """Vectors that make rounding errors matter."""
    plain = random.standard_normal(shape)
    if name == "few values":
        plain = random.integers(-1, 2, shape).astype(np.float64)
    if name == "nearly equal":
        plain = 1 + 1e-6 * plain
    if name == "far away":
        plain = 1e4 + plain
    if name == "of all lengths":
        plain *= 10.0 ** random.integers(-18, 6, (shape[0], 1))
    if name == "tiny":
        plain *= 1e-25
    if name == "small":
        plain *= 1e-5
    if name == "huge":
        plain *= 1e18
    if name == "some zero":
        plain[random.random(shape[0]) < 0.3] = 0
    return plain.astype(np.float32)


KINDS = [
    "plain",
    "few values",
    "nearly equal",
    "far away",
    "of all lengths",
    "tiny",
    "small",
    "huge",
    "some zero",
]


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dimension", [1, 2, 17, 128])
def test_nearest_is_exact(space: Space, kind: str, dimension: int) -> None:
    random = np.random.default_rng(3)
    vectors = awkward(random, kind, (MEASURE_ROWS * 5, dimension))
    for query in (vectors[7], awkward(random, kind, (1, dimension))[0], np.zeros_like(vectors[0])):
        for k in (1, 10, 300, len(vectors), len(vectors) + 5):
            check_nearest(space, vectors, query, k)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("count", [5, MEASURE_ROWS * 4])
def test_nearest_among_some_slots(space: Space, count: int) -> None:
    random = np.random.default_rng(4)
    vectors = awkward(random, "few values", (count, 6))
    for share in (0.0, 0.1, 0.5, 1.0):
        slots = np.flatnonzero(random.random(count) <= share)
        check_nearest(space, vectors, vectors[0], 10, slots=slots)


@pytest.mark.parametrize("space", SPACES)
def test_ties_are_ordered_by_key_and_not_by_slot(space: Space) -> None:
    vectors = np.ones((1_000, 3), np.float32)
    keys = np.random.default_rng(5).permutation(1_000)
    [found] = flat(space, vectors).search(vectors[:1], 20, np.arange(1_000), keys)
    assert keys[found.slots].tolist() == list(range(20))


@pytest.mark.parametrize("space", SPACES)
def test_a_hundred_thousand_times_the_same_vector(space: Space) -> None:
    vectors = np.tile(np.array([0.1, -0.7, 3.0], np.float32), (100_000, 1))
    vectors[77_777] = [9, 9, 9]
    for query in (vectors[0], np.array([1, 2, 3], np.float32)):
        check_nearest(space, vectors, query, 5)
        check_nearest(space, vectors, query, 99_999)


@pytest.mark.parametrize("space", SPACES)
def test_queries_together_and_one_by_one_have_the_same_digits(space: Space) -> None:
    random = np.random.default_rng(6)
    vectors = awkward(random, "plain", (3_000, 48))
    queries = awkward(random, "plain", (37, 48))
    index, slots = flat(space, vectors), np.arange(3_000)
    together = index.search(queries, 10, slots, slots)
    for query, found in zip(queries, together, strict=True):
        [alone] = index.search(query[np.newaxis], 10, slots, slots)
        assert found.slots.tolist() == alone.slots.tolist()
        assert found.distances.tobytes() == alone.distances.tobytes()


def test_vectors_that_were_kept_are_copied_and_not_read() -> None:
    vectors = np.arange(20, dtype=np.float32).reshape(10, 2)
    index = flat("l2", vectors[:4])
    kept = np.array([True, False, True])
    change = Change(4, np.array([1, 2, 9]), np.array([1, 2, 0]), kept)
    index.apply(change, Stored(-vectors))  # type: ignore[arg-type]
    found = index.search(np.zeros((1, 2), np.float32), 9, np.arange(7), np.arange(7))[0]
    measured = dict(zip(found.slots.tolist(), found.distances.tolist(), strict=True))
    assert (measured[4], measured[5], measured[6]) == (2**2 + 3**2, 4**2 + 5**2, 1)


def test_slices_stay_as_they_were_while_rows_are_appended() -> None:
    rows = Growable(np.int64, 2)
    slices = []
    for size in (0, 3, 1, 7, 100, 2):
        rows.append(np.full((size, 2), size))
        slices.append((rows.array(), rows.array().copy()))
    assert len(rows) == 113
    assert all((one == copy).all() for one, copy in slices)


# ── the metadata columns ─────────────────────────────────────────────────────────────────────────

EDGES = [0, 1, 2**53, 2**62, 2**63]
INTS = st.builds(
    lambda edge, step, sign: max(-(2**63), min(2**63 - 1, sign * edge + step)),
    st.sampled_from(EDGES),
    st.integers(-2, 2),
    st.sampled_from([-1, 1]),
)
FLOATS = st.builds(
    lambda number, up: float(np.nextafter(float(number), np.inf if up else -np.inf)),
    INTS,
    st.booleans(),
) | st.sampled_from([*map(float, EDGES), 0.5, -0.0, 1e300, -1e300, 5e-324])
TEXTS = st.sampled_from(["", "a", "b", "1", "é", "\0"])
VALUES = INTS | FLOATS | TEXTS | st.booleans()
LISTS = st.one_of([st.lists(one, min_size=1, max_size=3) for one in (INTS, FLOATS, TEXTS)])
OPERANDS: dict[str, Any] = {
    "scalar": VALUES,
    "element": VALUES,
    "ordered": INTS | FLOATS,
    "flag": st.booleans(),
    "count": st.integers(0, 3),
    "piece": TEXTS.filter(bool),
    "pattern": TEXTS,
    "scalars": st.one_of([st.lists(one, min_size=1, max_size=4) for one in (INTS | FLOATS, TEXTS)]),
}
CONDITIONS = st.sampled_from(sorted(OPERATORS)).flatmap(
    lambda name: OPERANDS[OPERATORS[name].accepts].map(
        lambda operand: Condition("k", OPERATORS[name], operand)
    )
)


@quick
@given(st.lists(st.none() | VALUES | LISTS, max_size=40), st.lists(CONDITIONS, min_size=1))
def test_columns_say_what_the_operators_mean(values: list[Any], conditions: list[Any]) -> None:
    metadatas = [{"other": 1} if value is None else {"k": value} for value in values]
    columns, half = Columns(), len(values) // 2
    for change in (new_slots(half), new_slots(len(values) - half, half)):
        columns.apply(change, Stored(metadatas=metadatas))  # type: ignore[arg-type]
    for condition in conditions:
        expected = [condition.matches(metadata.get) for metadata in metadatas]
        assert columns.matches(condition, len(values)).tolist() == expected
        assert columns.matches(condition, half).tolist() == expected[:half]


NUMBERS = [
    *(sign * edge + step for edge in EDGES for step in (-1, 0, 1) for sign in (1, -1)),
    *(sign * float(edge) for edge in EDGES for sign in (1, -1)),
    *(float(np.nextafter(float(edge), side)) for edge in EDGES for side in (-np.inf, np.inf)),
    0.5,
    -2.5,
    1e300,
    -1e300,
]


@pytest.mark.parametrize("name", ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin"])
def test_integers_and_floats_are_compared_exactly(name: str) -> None:
    stored = [number for number in NUMBERS if -(2**63) <= number < 2**63]
    columns = Columns()
    metadatas = [{"k": number} for number in stored]
    columns.apply(new_slots(len(stored)), Stored(metadatas=metadatas))  # type: ignore[arg-type]
    for operand in NUMBERS:
        if isinstance(operand, int) and operand not in range(-(2**63), 2**63):
            continue
        many = OPERATORS[name].accepts == "scalars"
        condition = Condition("k", OPERATORS[name], [operand] if many else operand)
        expected = [condition.matches(metadata.get) for metadata in metadatas]
        assert columns.matches(condition, len(stored)).tolist() == expected, operand


# ── slots ────────────────────────────────────────────────────────────────────────────────────────

KEYS = st.lists(st.integers(0, 30), unique=True, max_size=6)


def sorted_array(keys: Any) -> NDArray[np.int64]:
    return np.array(sorted(keys), np.int64)


@quick
@given(
    st.integers(0, 8),
    st.lists(st.tuples(st.integers(0, 3), KEYS, KEYS, KEYS), max_size=12),
)
def test_views_of_every_moment_stay_right(start: int, steps: list[Any]) -> None:
    """A model: which keys there are. Each view must go on saying what it said at first."""
    present, next_key = set(range(start)), start
    table = SlotTable(sorted_array(present))
    moments = [(View(0, np.ones(start, np.bool_), table), frozenset(present))]
    for seq, (fresh, changed, vectors, deleted) in enumerate(steps, 1):
        new = set(range(next_key, next_key + fresh))
        next_key += fresh
        gone = present & set(deleted)
        touched = new | gone | (present & set(changed)) | (present & set(vectors))
        moved = new | gone | (present & set(vectors))
        present = (present | new) - gone
        change, live = table.advance(
            Touched(sorted_array(touched), sorted_array(moved)),
            sorted_array(present & touched),
            moments[-1][0].live,
        )
        moments.append((View(seq, live, table), frozenset(present)))
        check_change(change, touched & present, moved, next_key - fresh)
    for view, keys in moments:
        check_view(view, keys)


def check_change(change: Change, expected: set[int], moved: set[int], next_key: int) -> None:
    assert change.keys.tolist() == sorted(expected)
    assert (change.replaces < 0).tolist() == [key >= next_key for key in change.keys]
    assert change.vector_kept.tolist() == [key not in moved for key in change.keys]
    assert (change.replaces < change.first).all()


def check_view(view: View, keys: frozenset[int]) -> None:
    assert view.ordered.tolist() == sorted(keys)
    assert sorted(view.keys[view.living].tolist()) == sorted(keys)
    asked = np.arange(-1, 40)
    mask = view.mask(asked)
    assert sorted(view.keys[mask].tolist()) == sorted(keys)
    slots = view.table.slots(sorted_array(keys), len(view))
    assert view.keys[slots].tolist() == sorted(keys)
    assert view.live[slots].all()


# ── the indexer ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with Store.creating(tmp_path / "records.db", "things", 1):
        pass
    store = Store.open(tmp_path / "records.db", "things", "normal")
    yield store
    store.close()


def keys_seen(reader: Indexer) -> list[int]:
    with reader.reading(Needs(vectors=True, columns=True)) as moment:
        assert moment.columns is not None
        assert len(moment.view) <= 2 * moment.snapshot.head.rows + indexer.DEAD_SLOTS
        return moment.view.ordered.tolist()


def test_a_reader_that_is_behind_the_log_starts_over(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction, "LOG_ENTRIES", 5)
    reader = Indexer(store, "l2")
    with store.writing() as writer:
        writer.add(numbered(3))
    assert keys_seen(reader) == [1, 2, 3]
    for number in range(30):
        with store.writing() as writer:
            writer.update(cells("1", documents=[str(number)]))
    with store.reading() as snapshot:
        assert 0 < snapshot.head.floor < snapshot.head.seq == 31
        assert snapshot.touched_since(snapshot.head.floor - 1) is None
        assert snapshot.touched_since(snapshot.head.floor) is not None
    assert keys_seen(reader) == [1, 2, 3]


def test_dead_slots_are_given_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexer, "DEAD_SLOTS", 10)
    reader = Indexer(store, "l2")
    with store.writing() as writer:
        writer.add(numbered(10, metadatas=[{"n": n} for n in range(10)]))
    for number in range(200):
        with store.writing() as writer:
            writer.update(cells(str(number % 10), metadatas=[{"n": number}]))
        assert keys_seen(reader) == list(range(1, 11))


class Given:
    """A place that has its store from the beginning."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(self) -> Store:
        return self._store

    def creating(self, dimension: int | None) -> AbstractContextManager[Transaction]:
        return self._store.writing()

    def dimension_changes(self, old: int | None, new: int) -> None:
        assert old != new


@pytest.mark.parametrize("columns", [False, True])
def test_vectors_of_another_dimension_replace_the_index(columns: bool) -> None:
    store = Store.in_memory("things")
    collection = LocalCollection(Configuration(), Given(store))
    selection = where({"n": 1}) if columns else EVERYTHING
    for vector in ([1, 2], [1, 2, 3], [1]):
        collection.add(rows("a b", [vector, vector], metadatas=[{"n": 1}, None]))
        [hits] = collection.query(np.array([vector], np.float32), 5, selection, (), Effort())
        assert hits.records.ids == (["a"] if columns else ["a", "b"])
        collection.delete(EVERYTHING, None)
    collection.close()


def test_a_filtered_delete_and_the_next_read_share_one_history() -> None:
    store = Store.in_memory("things")
    collection = LocalCollection(Configuration(), Given(store))
    collection.add(numbered(20, metadatas=[{"n": n} for n in range(20)]))
    for bound in (15, 10, 5):
        assert collection.delete(where({"n": {"$gte": bound}}), None).deleted == 5
        assert collection.count(where({"n": {"$gte": 0}})) == bound
        collection.upsert(rows("0", [[9]], metadatas=[{"n": 0}]))
    assert collection.get(Selection(filter=None, ids=None), (), None, 1).ids == ["1", "2", "3", "4"]
    assert collection.get(ids("4 0"), (), None, None).ids == ["0", "4"]
    collection.close()


def test_vectors_come_out_in_pieces_of_any_size(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.arange(30, dtype=np.float32).reshape(10, 3)
    with store.writing() as transaction:
        transaction.add(Batch([str(n) for n in range(10)], rows))
    for size in (1, 12, 40, 10**6):
        monkeypatch.setattr(snapshot, "PIECE_BYTES", size)
        with store.reading() as moment:
            assert (moment.vectors(np.array([7, 1, 10])) == rows[[6, 0, 9]]).all()
            assert moment.vectors(np.empty(0, np.int64)).shape == (0, 3)
            with pytest.raises(DamagedError):
                moment.vectors(np.array([3, 99]))
