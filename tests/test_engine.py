"""The contract of `engine.py`, method by method, on every engine."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from vermilion.configuration import Changes, Configuration, Hnsw
from vermilion.engine import EVERYTHING, Engine, Selection
from vermilion.errors import (
    AlreadyExistsError,
    ArgumentValueError,
    ClosedError,
    DimensionError,
    InvalidArgumentError,
    NotFoundError,
)
from vermilion.local.engine import LocalEngine
from vermilion.types import DEFAULT_DATABASE, DEFAULT_TENANT, Address, SparseVector, WriteResult
from words import ALL, HERE, PLAIN, cells, ids, make, names, numbered, rows, where

# ── the whole ────────────────────────────────────────────────────────────────────────────────────


def test_reset_leaves_the_defaults_and_nothing_else(engine: Engine) -> None:
    engine.create_tenant("acme")
    engine.create_database("shop", "acme")
    address = make(engine, tenant="acme", database="shop")
    engine.add(address, numbered(3))
    engine.reset()
    with pytest.raises(NotFoundError):
        engine.get_tenant("acme")
    with pytest.raises(NotFoundError):
        engine.count(address)
    assert [one.name for one in engine.list_databases(DEFAULT_TENANT)] == [DEFAULT_DATABASE]
    assert engine.count(make(engine)) == 0


def test_reset_brings_back_a_default_database_that_was_deleted(engine: Engine) -> None:
    id = engine.get_database(DEFAULT_DATABASE, DEFAULT_TENANT).id
    engine.delete_database(DEFAULT_DATABASE, DEFAULT_TENANT)
    engine.reset()
    assert engine.get_database(DEFAULT_DATABASE, DEFAULT_TENANT).id == id


def test_a_closed_engine_says_so(engine: Engine) -> None:
    address = make(engine)
    engine.add(address, numbered(1))
    engine.close()
    engine.close()
    calls: list[Callable[[], object]] = [
        engine.reset,
        lambda: engine.get_tenant(DEFAULT_TENANT),
        lambda: engine.create_tenant("acme"),
        lambda: engine.list_databases(DEFAULT_TENANT),
        lambda: engine.list_collections(*HERE),
        lambda: engine.get_collection("things", *HERE),
        lambda: make(engine, "others"),
        lambda: engine.delete_collection("things", *HERE),
        lambda: engine.add(address, numbered(1)),
        lambda: engine.get(address),
        lambda: engine.count(address),
        lambda: engine.delete(address, EVERYTHING),
    ]
    for call in calls:
        with pytest.raises(ClosedError):
            call()


# ── tenants and databases ────────────────────────────────────────────────────────────────────────


def test_a_tenant_is_created_once(engine: Engine) -> None:
    engine.create_tenant("acme")
    assert engine.get_tenant("acme") == "acme"
    with pytest.raises(AlreadyExistsError, match="already exists"):
        engine.create_tenant("acme")
    with pytest.raises(NotFoundError, match=r"Tenant \[nobody\] not found"):
        engine.get_tenant("nobody")


def test_databases_are_listed_by_name_in_pages(engine: Engine) -> None:
    engine.create_tenant("acme")
    for name in ("shop", "archive", "blog"):
        made = engine.create_database(name, "acme")
        assert engine.get_database(name, "acme") == made

    def listed(*window: int) -> list[str]:
        return [one.name for one in engine.list_databases("acme", *window)]

    assert listed() == ["archive", "blog", "shop"]
    assert listed(1, 1) == ["blog"]
    assert listed(0) == []
    assert engine.list_databases("nobody") == []


def test_a_database_needs_its_tenant_and_a_free_name(engine: Engine) -> None:
    with pytest.raises(NotFoundError, match="Tenant"):
        engine.create_database("shop", "nobody")
    engine.create_database("shop", DEFAULT_TENANT)
    with pytest.raises(AlreadyExistsError, match="already exists"):
        engine.create_database("shop", DEFAULT_TENANT)
    for call in (engine.get_database, engine.delete_database):
        with pytest.raises(NotFoundError, match=r"Database \[blog\] not found"):
            call("blog", DEFAULT_TENANT)


def test_a_database_takes_its_collections_with_it(engine: Engine) -> None:
    engine.create_database("shop", DEFAULT_TENANT)
    address, kept = make(engine, database="shop"), make(engine)
    engine.add(address, numbered(3))
    engine.add(kept, numbered(2))
    engine.delete_database("shop", DEFAULT_TENANT)
    with pytest.raises(NotFoundError):
        engine.get(address)
    assert engine.count(kept) == 2
    engine.create_database("shop", DEFAULT_TENANT)
    assert engine.count_collections(DEFAULT_TENANT, "shop") == 0


# ── collections ──────────────────────────────────────────────────────────────────────────────────


def test_a_collection_is_what_it_was_created_with(engine: Engine) -> None:
    configuration = Configuration(
        Hnsw(space="cosine", ef_search=50), {"type": "known", "name": "x", "config": {"n": 1}}
    )
    metadata = {"s": "é\0", "i": 2**60, "f": 1.0, "b": True, "l": [1, 2]}
    made, new = engine.create_collection(
        "things", *HERE, configuration=configuration, metadata=metadata
    )
    assert new
    assert (made.configuration, made.schema, made.dimension) == (configuration, None, None)
    assert repr(made.metadata) == repr(metadata)
    assert engine.get_collection("things", *HERE) == made
    assert engine.get_collection_by_id(made.address) == made
    assert engine.list_collections(*HERE) == [made]


def test_a_schema_is_kept_as_it_was_given(local_engine: LocalEngine) -> None:
    made, _ = local_engine.create_collection(
        "things", *HERE, configuration=Configuration(), schema={"keys": {}}
    )
    assert made.schema == {"keys": {}}
    assert local_engine.get_collection("things", *HERE) == made


def test_create_refuses_a_name_that_is_taken(engine: Engine) -> None:
    make(engine)
    with pytest.raises(AlreadyExistsError, match=r"Collection \[things\] already exists"):
        make(engine)


def test_get_or_create_returns_what_is_there_unchanged(engine: Engine) -> None:
    first, _ = engine.create_collection("things", *HERE, configuration=PLAIN, metadata={"a": 1})
    engine.add(first.address, rows("a"))
    again, new = engine.create_collection(
        "things",
        *HERE,
        configuration=Configuration(Hnsw(space="ip")),
        metadata={"b": 2},
        get_or_create=True,
    )
    assert not new
    assert (again.id, again.metadata, again.configuration) == (first.id, {"a": 1}, PLAIN)
    assert again.dimension == 2


def test_create_in_an_unknown_database_is_an_invalid_argument(engine: Engine) -> None:
    with pytest.raises(InvalidArgumentError, match="does not exist"):
        make(engine, database="blog")


def test_threads_that_get_or_create_one_name_get_one_collection(engine: Engine) -> None:
    with ThreadPoolExecutor(16) as pool:
        jobs = [pool.submit(make, engine, get_or_create=True) for _ in range(32)]
        assert len({job.result().collection for job in jobs}) == 1
    assert engine.count_collections(*HERE) == 1


def test_unknown_collections_are_not_found(engine: Engine) -> None:
    nowhere = Address(*HERE, uuid4())
    calls: list[Callable[[], object]] = [
        lambda: engine.get_collection("things", *HERE),
        lambda: engine.delete_collection("things", *HERE),
        lambda: engine.get_collection_by_id(nowhere),
        lambda: engine.modify_collection(nowhere, name="others"),
        lambda: engine.add(nowhere, numbered(1)),
        lambda: engine.upsert(nowhere, numbered(1)),
        lambda: engine.update(nowhere, numbered(1)),
        lambda: engine.delete(nowhere, EVERYTHING),
        lambda: engine.get(nowhere),
        lambda: engine.query(nowhere, np.zeros((1, 1), np.float32), 1),
        lambda: engine.count(nowhere),
    ]
    for call in calls:
        with pytest.raises(NotFoundError, match="does not exist"):
            call()


def test_a_collection_is_not_found_at_another_address(engine: Engine) -> None:
    engine.create_tenant("acme")
    engine.create_database("blog", "acme")
    engine.create_database("blog", DEFAULT_TENANT)
    address = make(engine)
    engine.add(address, numbered(1))
    for tenant, database in ((DEFAULT_TENANT, "blog"), ("acme", "blog"), ("acme", "nothing")):
        elsewhere = Address(tenant, database, address.collection)
        for call in (engine.get_collection_by_id, engine.get, engine.count):
            with pytest.raises(NotFoundError):
                call(elsewhere)


def test_equal_names_in_two_databases_are_two_collections(engine: Engine) -> None:
    engine.create_database("blog", DEFAULT_TENANT)
    here, there = make(engine), make(engine, database="blog")
    engine.add(here, rows("a"))
    engine.add(there, rows("a b c", [[1, 2, 3]] * 3))
    assert (engine.count(here), engine.count(there)) == (1, 3)
    engine.delete_collection("things", *HERE)
    assert engine.count(there) == 3


def test_collections_are_listed_as_they_were_created_in_pages(engine: Engine) -> None:
    for name in ("delta", "alpha", "charlie", "bravo"):
        make(engine, name)
    engine.delete_collection("alpha", *HERE)
    make(engine, "alpha")
    assert names(engine) == ["delta", "charlie", "bravo", "alpha"]
    assert names(engine, 2) == ["delta", "charlie"]
    assert names(engine, None, 3) == ["alpha"]
    assert names(engine, 2, 1) == ["charlie", "bravo"]
    assert names(engine, 0) == names(engine, 5, 9) == []
    assert engine.count_collections(*HERE) == 4
    assert engine.count_collections("nobody", "nothing") == 0


def test_modify_changes_what_is_given(engine: Engine) -> None:
    address = make(engine)
    changed = engine.modify_collection(
        address,
        name="others",
        metadata={"a": 1},
        replace_metadata=True,
        configuration=Changes({"ef_search": 7}, {"type": "legacy"}),
    )
    assert (changed.id, changed.name, changed.metadata) == (
        address.collection,
        "others",
        {"a": 1},
    )
    assert changed.configuration == Configuration(Hnsw(ef_search=7), {"type": "legacy"})
    assert engine.get_collection("others", *HERE) == changed
    kept = engine.modify_collection(address, name="others", metadata={"b": 1})
    assert kept == changed
    assert engine.modify_collection(address, replace_metadata=True).metadata is None


def test_modify_is_all_or_nothing(engine: Engine) -> None:
    address = make(engine)
    make(engine, "taken")
    before = engine.get_collection_by_id(address)
    with pytest.raises(AlreadyExistsError, match="already exists"):
        engine.modify_collection(
            address,
            name="taken",
            metadata={"a": 1},
            replace_metadata=True,
            configuration=Changes({"ef_search": 7}),
        )
    assert engine.get_collection_by_id(address) == before


@pytest.mark.parametrize("records", [0, 3])
@pytest.mark.parametrize("used", [False, True])
def test_a_deleted_collection_is_gone(engine: Engine, records: int, used: bool) -> None:
    address = make(engine)
    if records:
        engine.add(address, numbered(records))
    if used:
        assert engine.count(address) == records
    engine.delete_collection("things", *HERE)
    for call in (engine.get_collection_by_id, engine.count, engine.get):
        with pytest.raises(NotFoundError):
            call(address)
    with pytest.raises(NotFoundError):
        engine.add(address, numbered(1))
    assert engine.count(make(engine)) == 0


# ── records: writing ─────────────────────────────────────────────────────────────────────────────


def test_add_skips_ids_that_exist(engine: Engine) -> None:
    address = make(engine)
    first = rows("a b", documents=["one", None], uris=[None, "u"], metadatas=[{"n": 1}, None])
    assert engine.add(address, first) == WriteResult(inserted=2)
    again = rows("b c", [[7, 7], [8, 8]], documents=["other", "three"])
    assert engine.add(address, again) == WriteResult(inserted=1, skipped=1)
    records = engine.get(address, EVERYTHING, ALL)
    assert records.ids == ["a", "b", "c"]
    assert records.documents == ["one", None, "three"]
    assert records.uris == [None, "u", None]
    assert records.metadatas == [{"n": 1}, None, None]
    assert records.vectors is not None
    assert records.vectors.dtype == np.float32
    assert records.vectors.tolist() == [[0, 0], [1, 1], [8, 8]]


MERGES: list[tuple[Any, Any, Any]] = [
    ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
    ({"a": 1}, {"a": "x"}, {"a": "x"}),
    ({"a": 1}, {"a": 1.0}, {"a": 1.0}),
    ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
    ({"a": 1, "b": 2}, {"a": None}, {"b": 2}),
    ({"a": 1}, {"a": None}, None),
    ({"a": 1}, {"b": None}, {"a": 1}),
    ({"a": 1}, None, {"a": 1}),
    (None, {"a": 1}, {"a": 1}),
    (None, {"a": None}, None),
]


@pytest.mark.parametrize("method", ["update", "upsert"])
@pytest.mark.parametrize(("stored", "changes", "after"), MERGES)
def test_metadata_is_merged_key_by_key(
    engine: Engine, method: str, stored: Any, changes: Any, after: Any
) -> None:
    address = make(engine)
    engine.add(address, rows("a", metadatas=[stored]))
    result = getattr(engine, method)(address, cells("a", metadatas=[changes]))
    assert result.updated == (repr(stored) != repr(after))
    assert result.unchanged == 1 - result.updated
    assert repr(engine.get(address, columns=["metadatas"]).metadatas) == repr([after])


def test_none_leaves_a_document_and_a_uri_alone(engine: Engine) -> None:
    address = make(engine)
    engine.add(address, rows("a b", documents=["one", "two"], uris=["u", "v"]))
    engine.update(address, cells("a b", documents=[None, "2"], uris=["", None]))
    records = engine.get(address, EVERYTHING, ("documents", "uris"))
    assert (records.documents, records.uris) == (["one", "2"], ["", "v"])


def test_update_leaves_out_unknown_ids(engine: Engine) -> None:
    address = make(engine)
    assert engine.update(address, rows("x")) == WriteResult(missing=1)
    engine.add(address, rows("a"))
    result = engine.update(address, cells("x a y", documents=["1", "2", "3"]))
    assert result == WriteResult(updated=1, missing=2)
    assert engine.get(address).ids == ["a"]


def test_update_changes_only_the_vectors_that_are_given(engine: Engine) -> None:
    address = make(engine)
    engine.add(address, rows("a b"))
    some = rows("a b", [[5, 5], [6, 6]], has_vector=np.array([False, True]))
    assert engine.update(address, some) == WriteResult(updated=1, unchanged=1)
    vectors = engine.get(address, EVERYTHING, ("vectors",)).vectors
    assert vectors is not None
    assert vectors.tolist() == [[0, 0], [6, 6]]


def test_upsert_without_a_vector_needs_the_record(engine: Engine) -> None:
    address = make(engine)
    engine.add(address, rows("a"))
    with pytest.raises(ArgumentValueError, match="embeddings"):
        engine.upsert(address, cells("a b", documents=["1", "2"]))
    assert engine.get(address, EVERYTHING, ("documents",)).documents == [None]
    assert engine.upsert(address, cells("a", documents=["1"])) == WriteResult(updated=1)


def test_a_record_keeps_its_place_until_it_is_deleted(engine: Engine) -> None:
    address = make(engine)
    engine.add(address, rows("b a c"))
    engine.upsert(address, rows("d c", [[9, 9], [8, 8]]))
    assert engine.get(address, ids("d c a b")).ids == ["b", "a", "c", "d"]
    engine.delete(address, ids("b"))
    engine.add(address, rows("b"))
    assert engine.get(address).ids == ["a", "c", "d", "b"]


VALUES: list[Any] = [
    "",
    "nul\0 é 東京 \U0001f600",
    0,
    2**63 - 1,
    -(2**63),
    2**53 + 1,
    -0.0,
    5e-324,
    1.7976931348623157e308,
    0.1,
    True,
    ["a", "\0"],
    [1, 2**62],
    [1.0, -0.0],
    [False],
    SparseVector([1, 5], [0.5, 2.0], ["one", "five"]),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_come_back_as_they_went_in(engine: Engine, value: Any) -> None:
    address = make(engine)
    text = value if isinstance(value, str) else None
    batch = rows(["id\0é"], metadatas=[{"k": value}], documents=[text], uris=[text])
    engine.add(address, batch)
    records = engine.get(address, EVERYTHING, ALL)
    assert records.ids == ["id\0é"]
    assert repr(records.metadatas) == repr([{"k": value}])
    assert (records.documents, records.uris) == ([text], [text])


@pytest.mark.parametrize("method", ["add", "upsert", "update"])
def test_a_batch_that_fails_leaves_nothing(local_engine: LocalEngine, method: str) -> None:
    engine = local_engine
    address = make(engine)
    engine.add(address, numbered(50))
    # No door lets NaN through: the engine finds it when it comes to the last row.
    metadatas: list[Any] = [{"n": 1}] * 49 + [{"n": math.nan}]
    batch = numbered(50, start=0 if method == "update" else 25, metadatas=metadatas)
    with pytest.raises(ValueError, match="Out of range"):
        getattr(engine, method)(address, batch)
    after = engine.get(address, EVERYTHING, ALL)
    assert (after.ids, after.metadatas) == ([str(n) for n in range(50)], [None] * 50)
    engine.add(address, numbered(1, start=999))
    assert engine.get(address, offset=49).ids == ["49", "999"]


# ── records: dimensions ──────────────────────────────────────────────────────────────────────────


def test_the_first_vector_sets_the_dimension(engine: Engine) -> None:
    address = make(engine)
    engine.update(address, rows("missing", [[1, 2, 3]]))
    assert engine.get_collection_by_id(address).dimension is None
    engine.add(address, rows("a"))
    assert engine.get_collection_by_id(address).dimension == 2
    wrong = rows("b c", [[1, 2, 3]] * 2)
    for write in (engine.add, engine.upsert, engine.update):
        with pytest.raises(DimensionError, match="dimension of 2, got 3"):
            write(address, wrong)
    with pytest.raises(DimensionError, match="dimension of 2, got 3"):
        engine.query(address, np.zeros((1, 3), np.float32), 1)
    assert engine.count(address) == 1


def test_an_emptied_collection_takes_another_dimension(engine: Engine) -> None:
    address = make(engine)
    engine.add(address, rows("a b", metadatas=[{"n": 1}] * 2))
    engine.query(address, np.zeros((1, 2), np.float32), 1, where({"n": 1}))
    engine.delete(address, EVERYTHING)
    engine.add(address, rows("a", [[1, 2, 3]]))
    assert engine.get_collection_by_id(address).dimension == 3
    [hits] = engine.query(address, np.array([[1, 2, 3]], np.float32), 5)
    assert (hits.records.ids, hits.distances.tolist()) == (["a"], [0])


@pytest.mark.parametrize("dimension", [1, 385, 20_000, 65_535])
def test_dimensions_from_one_to_the_largest(engine: Engine, dimension: int) -> None:
    address = make(engine)
    vectors = np.eye(2, dimension, dtype=np.float32) if dimension > 1 else [[0], [1]]
    engine.add(address, rows("a b", vectors))
    [hits] = engine.query(address, np.array(vectors, np.float32)[1:], 2, columns=["vectors"])
    assert hits.records.ids == ["b", "a"]
    assert hits.records.vectors is not None
    assert hits.records.vectors.shape == (2, dimension)


# ── records: selecting ───────────────────────────────────────────────────────────────────────────


@pytest.fixture
def filled(engine: Engine) -> Address:
    """Ten records: n is their number, even ones have a document."""
    address = make(engine)
    documents = [f"number {n}" if n % 2 == 0 else None for n in range(10)]
    engine.add(address, numbered(10, documents=documents, metadatas=[{"n": n} for n in range(10)]))
    return address


SELECTIONS: list[tuple[Selection, str]] = [
    (EVERYTHING, "0123456789"),
    (Selection(ids=[]), ""),
    (ids("3 missing 1 3"), "13"),
    (where({"n": {"$gte": 7}}), "789"),
    (where(None, {"$contains": "number"}), "02468"),
    (where({"n": {"$lt": 5}}, {"$not_contains": "2"}), "0134"),
    (where({"#id": {"$in": ["9", "0"]}}), "09"),
    (where({"#id": {"$ne": "9"}}), "012345678"),
    (where({"nothing": {"$ne": 1}}), "0123456789"),
    (Selection(["1", "2", "3", "missing"], where({"n": {"$gt": 1}}).filter), "23"),
]


@pytest.mark.parametrize(("selection", "expected"), SELECTIONS)
def test_a_selection_means_the_same_to_every_method(
    engine: Engine, filled: Address, selection: Selection, expected: str
) -> None:
    wanted = list(expected)
    assert engine.get(filled, selection).ids == wanted
    assert engine.get(filled, selection, limit=2).ids == wanted[:2]
    assert engine.get(filled, selection, limit=2, offset=1).ids == wanted[1:3]
    assert engine.get(filled, selection, offset=20).ids == []
    assert engine.count(filled, selection) == len(wanted)
    [hits] = engine.query(filled, np.zeros((1, 1), np.float32), 20, selection)
    assert hits.records.ids == wanted
    assert hits.distances.tolist() == [float(id) ** 2 for id in wanted]
    assert engine.delete(filled, selection, limit=1).deleted == min(1, len(wanted))
    assert engine.delete(filled, selection).deleted == max(0, len(wanted) - 1)
    assert engine.count(filled) == 10 - len(wanted)


def test_delete_tells_how_many_ids_were_missing(engine: Engine, filled: Address) -> None:
    assert engine.delete(filled, ids("1 x y")) == WriteResult(deleted=1, missing=2)
    assert engine.delete(filled, where({"n": 2}), limit=0) == WriteResult()
    assert engine.delete(make(engine, "empty"), ids("x")) == WriteResult(missing=1)


@pytest.mark.parametrize("emptied", [False, True])
def test_no_records_are_empty_columns(engine: Engine, emptied: bool) -> None:
    address = make(engine)
    if emptied:
        engine.add(address, rows("a"))
        engine.delete(address, EVERYTHING)
    records = engine.get(address, EVERYTHING, ALL)
    assert records.ids == records.documents == records.uris == records.metadatas == []
    assert records.vectors is not None
    assert len(records.vectors) == 0
    assert engine.get(address).documents is None
    for hits in engine.query(address, np.zeros((3, 2), np.float32), 5, columns=ALL):
        assert hits.records.ids == hits.records.documents == []
        assert hits.distances.dtype == np.float32


def test_queries_are_answered_by_distance_then_insertion(engine: Engine) -> None:
    address = make(engine)
    engine.add(address, rows("far tie1 near tie2", [[9, 0], [2, 0], [1, 0], [0, 2]]))
    engine.upsert(address, rows("tie1", [[0, -2]], documents=["moved"]))
    queries = np.array([[0, 0], [9, 0]], np.float32)
    first, second = engine.query(address, queries, 3, columns=["documents"])
    assert first.records.ids == ["near", "tie1", "tie2"]
    assert first.records.documents == [None, "moved", None]
    assert first.distances.tolist() == [1, 4, 4]
    assert first.distances.dtype == np.float32
    assert second.records.ids == ["far", "near", "tie1"]


DISTANCES = [
    ("l2", [3, 4], [0, 0], 25),
    ("ip", [3, 4], [1, 1], -6),
    ("cosine", [3, 0], [0, 2], 1),
    ("cosine", [3, 0], [-2, 0], 2),
    ("cosine", [0, 0], [1, 0], 1),
    ("cosine", [1, 0], [0, 0], 1),
]


@pytest.mark.parametrize(("space", "vector", "query", "distance"), DISTANCES)
def test_distances(engine: Engine, space: Any, vector: Any, query: Any, distance: float) -> None:
    address = make(engine, space=space)
    engine.add(address, rows("a", [vector]))
    [hits] = engine.query(address, np.array([query], np.float32), 1)
    assert hits.distances.tolist() == [distance]


# ── many ─────────────────────────────────────────────────────────────────────────────────────────


def test_batches_have_no_limit(local_engine: LocalEngine) -> None:
    engine, many = local_engine, 100_001
    address = make(engine)
    batch = numbered(many, metadatas=[{"n": n % 7} for n in range(many)])
    assert engine.add(address, batch) == WriteResult(inserted=many)
    assert engine.count(address) == many
    page = engine.get(address, EVERYTHING, ("metadatas",), limit=40_000, offset=1)
    assert page.ids == [str(n) for n in range(1, 40_001)]
    assert page.metadatas == [{"n": n % 7} for n in range(1, 40_001)]
    every_other = Selection(ids=[str(n) for n in range(0, many, 2)])
    assert engine.get(address, every_other).ids == every_other.ids
    assert engine.delete(address, every_other) == WriteResult(deleted=50_001)
    assert engine.get(address, limit=3).ids == ["1", "3", "5"]
    assert engine.count(address, where({"n": 1})) == sum(n % 7 == 1 for n in range(1, many, 2))


@pytest.mark.parametrize("kind", [int, str, float])
def test_in_takes_forty_thousand_values(engine: Engine, kind: Any) -> None:
    address = make(engine)
    engine.add(address, numbered(50_000, metadatas=[{"n": kind(n)} for n in range(50_000)]))
    values = [kind(n) for n in range(10_000, 50_000)]
    assert engine.count(address, where({"n": {"$in": values}})) == 40_000
    assert engine.get(address, where({"n": {"$nin": values}}), limit=2).ids == ["0", "1"]
