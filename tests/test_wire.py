"""The wire: what one end sends the other understands, and what is no request is refused."""

from __future__ import annotations

import base64
import json
import math
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vermilion.configuration import Changes, Configuration, Hnsw
from vermilion.engine import CollectionInfo, Selection
from vermilion.errors import (
    AlreadyExistsError,
    ArgumentValueError,
    DimensionError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    UnknownDatabaseError,
    UnprocessableError,
    VermilionError,
)
from vermilion.metadata import MAX_NESTING
from vermilion.query.where import And, Filter, Or, parse
from vermilion.records import Batch
from vermilion.reports import Explanation, Facet, IndexingStatus, Problem, Stats, Summary, WhyNot
from vermilion.types import (
    Address,
    Course,
    Database,
    Effort,
    Hits,
    Page,
    Records,
    SparseVector,
    UserIdentity,
    WriteResult,
)
from vermilion.wire import (
    bulk,
    care,
    collections,
    fields,
    metadata,
    ranked,
    records,
    rows,
    settings,
    system,
    text,
)
from vermilion.wire.faults import error_of, fault
from vermilion.wire.operation import Operation
from vermilion.wire.table import OPERATIONS, Routes

ROUTES = Routes()
HERE = Address("a tenant/with ünicode?", "some+database", UUID(int=5))

# ── both ends ────────────────────────────────────────────────────────────────────────────────────


def received(sent: Operation[Any]) -> Operation[Any]:
    """What the other end makes of a request."""
    call = sent.call()
    path, _, query = call.path.partition("?")
    found = ROUTES.find(call.method, path)
    assert found is not None, call
    kind, parts = found
    return kind.receive(parts, query, call.body or b"")


def told(value: Any) -> Any:
    """A value that can be compared, arrays and all."""
    if isinstance(value, np.ndarray):
        return value.dtype.name, value.shape, value.tolist()
    if isinstance(value, dict):
        return {key: told(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value).__name__, [told(one) for one in value]
    if isinstance(value, SparseVector):
        return "sparse", value.indices, list(map(float, value.values)), value.labels
    if hasattr(value, "__dataclass_fields__"):
        return type(value).__name__, told(vars(value))
    return type(value).__name__, value


def answered(request: Operation[Any], answer: Any) -> Any:
    """An answer as it comes back from the other end."""
    return request.from_json(text.loads(text.dumps(request.to_json(answer))))


names = st.text(alphabet="abcXYZ019._-", min_size=1, max_size=9).map(lambda middle: f"a{middle}z")
names = names.filter(lambda name: ".." not in name)
words = st.text(max_size=12).filter(lambda text: text.isascii() or text.isprintable())
ints = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(allow_nan=False, allow_infinity=False)
float32s = st.floats(width=32, allow_nan=False, allow_infinity=False)
keys = words.filter(lambda key: key and key[0] not in "#$" and key != "chroma:document")
sparse = st.dictionaries(st.integers(0, 2**32 - 1), floats, min_size=1, max_size=4).map(
    lambda parts: SparseVector(sorted(parts), [parts[index] for index in sorted(parts)])
)
times = st.dates() | st.datetimes() | st.datetimes(timezones=st.just(UTC))
scalars = st.one_of(words, ints, floats, st.booleans())
flat = st.one_of(
    scalars,
    times,
    *(st.lists(kind, max_size=3) for kind in (words, ints, floats, st.booleans(), times)),
    st.lists(scalars | times, max_size=3),
)
nested = st.dictionaries(
    keys | st.sampled_from(["indices", "values"]),
    flat | st.dictionaries(keys, flat, max_size=2),
    max_size=3,
)
values = st.one_of(flat, sparse, nested)
metadatas = st.none() | st.dictionaries(keys, values, min_size=1, max_size=4)
changes = st.none() | st.dictionaries(keys, st.none() | values, min_size=1, max_size=4)
addresses = st.builds(Address, words.filter(bool), words.filter(bool), st.uuids())


@st.composite
def batches(draw: st.DrawFn, metadata: st.SearchStrategy[Any], vectors: bool = True) -> Batch:
    ids = draw(st.lists(words.filter(bool), min_size=1, max_size=4, unique=True))
    n = len(ids)
    column = st.none() | st.lists(st.none() | words, min_size=n, max_size=n)
    dimension = draw(st.integers(1, 3))
    row = st.lists(float32s, min_size=dimension, max_size=dimension)
    matrix = np.array(draw(st.lists(row, min_size=n, max_size=n)), np.float32)
    return Batch(
        ids,
        matrix if vectors or draw(st.booleans()) else None,
        None,
        draw(column),
        draw(column),
        draw(st.none() | st.lists(metadata, min_size=n, max_size=n)),
    )


def filters() -> st.SearchStrategy[Filter]:
    number = st.one_of(st.integers(-5, 5), floats)
    leaf = st.one_of(
        st.builds(lambda key, one: parse({key: one}), keys, scalars),
        st.builds(lambda key, one: parse({key: {"$gte": one}}), keys, number | times),
        st.builds(lambda key, one: parse({key: {"$not": {"$lt": one}}}), keys, number),
        st.builds(lambda key, one: parse({key: {"$in": one}}), keys, st.lists(times, min_size=1)),
        st.builds(lambda key, one: parse({key: {"$exists": one}}), keys, st.booleans()),
        st.builds(lambda key, one: parse({key: {"$icontains": one}}), keys, words.filter(bool)),
        st.builds(
            lambda key, some: parse({key: {"$nin": some}}), keys, st.lists(words, min_size=1)
        ),
        st.builds(lambda one: parse(None, {"$contains": one}), words.filter(bool)),
        st.builds(lambda one: parse({"#id": {"$in": [one]}}), words),
        st.just(parse(None, {"$not_regex": "a+b?"})),
    )
    return st.recursive(
        leaf,
        lambda parts: st.builds(
            lambda kind, some: kind(tuple(some)), st.sampled_from([And, Or]), st.lists(parts)
        ),
        max_leaves=5,
    )


ids_lists = st.none() | st.lists(words, max_size=3, unique=True)
selections = st.builds(Selection, ids_lists, st.none() | filters())
counts = st.none() | st.integers(0, 2**32 - 1)


@given(addresses, batches(metadatas), st.booleans(), st.booleans())
def test_an_add_arrives_as_it_was_sent(
    address: Address, batch: Batch, report: bool, packed: bool
) -> None:
    sent = records.Add(address, batch, report, packed)
    assert told(vars(received(sent)) | {"packed": packed}) == told(vars(sent))


@given(
    addresses, batches(changes, vectors=False), st.sampled_from([records.Update, records.Upsert])
)
def test_changes_arrive_as_they_were_sent(address: Address, batch: Batch, kind: Any) -> None:
    sent = kind(address, batch)
    assert told(vars(received(sent))) == told(vars(sent))


@given(addresses, selections, counts, counts)
def test_a_get_arrives_as_it_was_sent(
    address: Address, selection: Selection, limit: int | None, offset: int | None
) -> None:
    sent = records.Get(
        address, selection, ("vectors", "uris"), limit, offset, ("uris", "embeddings")
    )
    assert told(vars(received(sent))) == told(vars(sent))


@given(
    addresses,
    selections,
    st.lists(st.lists(float32s, min_size=2, max_size=2), min_size=1),
    st.booleans(),
)
def test_a_query_arrives_as_it_was_sent(
    address: Address, selection: Selection, vectors: list[list[float]], packed: bool
) -> None:
    matrix = np.array(vectors, np.float32)
    effort = Effort(True, 0.5)
    sent = records.Query(
        address, matrix, 7, selection, effort, ("documents",), ("documents",), packed=packed
    )
    assert told(vars(received(sent))) == told(vars(replace(sent, packed=False)))


@given(filters())
def test_a_filter_is_written_as_what_is_read_as_it(filter: Filter) -> None:
    form = rows.write_filter(filter)
    assert rows.read_filters(text.loads(text.dumps(form)), None) == filter


REQUESTS: list[Operation[Any]] = [
    system.Heartbeat(),
    system.HeartbeatAlias(),
    system.Version(),
    system.Healthcheck(),
    system.PreFlightChecks(),
    system.Identity(),
    system.Reset(),
    system.CreateTenant("three"),
    system.GetTenant("a/b c%2F"),
    system.UpdateTenant("tenant", "resource"),
    system.ListDatabases("tenant", 3, None),
    system.CreateDatabase("tenant", "database"),
    system.GetDatabase("tenant", "database"),
    system.DeleteDatabase("tenant", "database"),
    collections.CreateCollection(
        "tenant", "database", "name",
        Configuration(Hnsw(space="ip", ef_search=7), {"type": "known", "name": "x", "config": {}}),
        {"a": 1, "b": 1.0, "l": ["x"]}, None, True, True,
    ),
    collections.CreateCollection("tenant", "database", "name", Configuration()),
    collections.GetCollection("tenant", "database", "by-id"),
    collections.GetCollectionById(HERE),
    collections.GetCollectionByCrn("tenant", "database", "name"),
    collections.ListCollections("tenant", "database", None, 0),
    collections.CountCollections("tenant", "database"),
    collections.ModifyCollection(HERE, "new", {"a": 1}, True, Changes({"ef_search": 9}), True),
    collections.ModifyCollection(HERE, None, None, True),
    collections.ModifyCollection(HERE),
    collections.DeleteCollection("tenant", "database", "name"),
    collections.ForkCollection(HERE, "new"),
    records.Delete(HERE, Selection(["a"], parse({"n": 1})), 3, True, True),
    ranked.Count(HERE),
    ranked.CountSelected(HERE, Selection(["a"])),
    care.GetIndexingStatus(HERE),
    care.Flush(HERE),
    care.GetStats(HERE),
    care.Compact(HERE),
    care.Check(True),
    care.Explain(HERE, np.ones((1, 2), np.float32), 3),
    care.ExplainAbsence(HERE, np.ones((1, 2), np.float32), 3, id="x"),
    records.Add(HERE, Batch(["a"], np.ones((1, 2), np.float32)), named=True, new_only=True),
    bulk.UpdateWhere(HERE, Selection(["a"]), {"k": None, "n": 1}, named=True),
    bulk.GetPage(HERE, Selection(["a"]), ("documents",), 7, 2**40),
]  # fmt: skip


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda one: type(one).__name__)
def test_a_request_arrives_as_it_was_sent(request_: Operation[Any]) -> None:
    assert told(vars(received(request_))) == told(vars(request_))
    assert type(received(request_)) is type(request_)


def test_every_operation_is_found_by_its_route() -> None:
    for kind in OPERATIONS:
        path = kind.route.path
        for name in ("tenant", "database", "collection_id", "name", "crn"):
            path = path.replace(f"{{{name}}}", f"some-{name}")
        found = ROUTES.find(kind.route.method, path)
        assert found is not None
        assert found[0] is kind


def test_what_is_ours_alone_is_told() -> None:
    ours = {kind.route.path.rpartition("/")[2] for kind in OPERATIONS if kind.route.ours}
    ours |= {one.name for kind in OPERATIONS for one in kind.route.body or () if one.ours}
    ours |= {one.name for one in settings.LIFETIMES}
    # What a search, a filter and the vectors of a query may be, which are no fields of their own.
    assert ours | {"keywords", "filters", "packed"} == care.EXTENSIONS


INFO = CollectionInfo(
    uuid4(), "name", "tenant", "database",
    Configuration(Hnsw(space="cosine", ef_search=9), {"type": "legacy"}), {"a": 1, "b": 1.5}, 3,
)  # fmt: skip
ROWS = Records(
    ["a", "b"],
    np.array([[0.1, 1e-40], [1e20, -3]], np.float32),
    ["x", None],
    None,
    [{"i": 1, "f": 1.0, "s": SparseVector([1], [0.5])}, None],
)
TYPED: dict[str, Any] = {
    "map": {"indices": [1], "values": {"a": [1, 2.0, date(2024, 2, 29)]}},
    "day": date(2024, 2, 29),
    "noon": datetime(2024, 2, 29, 12, tzinfo=UTC),
    "none": [],
}
ANSWERS: list[tuple[Operation[Any], Any]] = [
    (system.Heartbeat(), 2**62 + 1),
    (system.Version(), "1.2.3"),
    (system.PreFlightChecks(), system.PreFlight(5, True)),
    (system.Identity(), UserIdentity("me", "tenant", ["database"])),
    (system.GetTenant("tenant"), "tenant"),
    (system.ListDatabases("tenant"), [Database(uuid4(), "database", "tenant")]),
    (collections.GetCollectionById(HERE), INFO),
    (collections.CreateCollection("t", "d", "n", Configuration(), report=True), (INFO, True)),
    (collections.CreateCollection("t", "d", "n", Configuration()), (INFO, None)),
    (collections.ModifyCollection(HERE, report=True), INFO),
    (collections.ModifyCollection(HERE), None),
    (records.Add(HERE, Batch(["a"]), True), WriteResult(1, 2, 3, 4, 5, 6)),
    (records.Delete(HERE, Selection(["a"])), WriteResult(deleted=3)),
    (
        records.Delete(HERE, Selection(["a"]), report=True, named=True),
        WriteResult(deleted=1, missing=1, ids={"deleted": ["a"], "missing": ["b"]}),
    ),
    (bulk.UpdateWhere(HERE, Selection(["a"]), {"n": 1}), WriteResult(1, 2, 3, 4, 5, 6)),
    (bulk.GetPage(HERE, columns=("vectors", "documents", "metadatas")), Page(ROWS, 2**40)),
    (bulk.GetPage(HERE), Page(Records([]), None)),
    (records.Get(HERE, columns=("vectors", "documents", "metadatas")), ROWS),
    (records.Get(HERE), Records([])),
    (records.Get(HERE, columns=("metadatas",), typed=True), Records(["a"], metadatas=[TYPED])),
    (ranked.Facets(HERE, ("k",)), [[Facet(TYPED["day"], 2), Facet("x", 1)]]),
    (ranked.Summarize(HERE, "k"), [Summary(TYPED["noon"], 1, 2, 3, 2**64)]),
    (
        records.Query(HERE, np.ones((2, 2), np.float32), 2, columns=("vectors", "documents")),
        [
            Hits(Records(["a"], ROWS.vectors[:1], ["x"]), np.array([0.1], np.float32)),
            Hits(Records([], np.empty((0, 0), np.float32), []), np.empty(0, np.float32)),
        ],
    ),
    (ranked.Count(HERE), 3),
    (care.GetIndexingStatus(HERE), IndexingStatus(1, 2, 3, 0.5)),
    (care.GetStats(HERE), Stats(1, 2, 3, 4, 5, 6, 7, 8)),
    (care.Compact(HERE), 5),
    (care.Check(), [Problem(uuid4(), "n", "file", "gone", True), Problem(None, None, "x", "y")]),
    (
        care.Explain(HERE, np.ones((1, 1), np.float32), 1),
        Explanation(5, 4, 3, 2, [Course("codes", 3, 1, 0.5)], {"search": 1.5}),
    ),
    (
        care.ExplainAbsence(HERE, np.ones((1, 1), np.float32), 1, id="x"),
        WhyNot("filter", ["n"], 1.0, 2.0, 3),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "answer"), ANSWERS, ids=lambda one: type(one).__name__)
def test_an_answer_arrives_as_it_was_given(request_: Operation[Any], answer: Any) -> None:
    assert told(answered(request_, answer)) == told(answer)


# ── numbers ──────────────────────────────────────────────────────────────────────────────────────


def test_floats_have_a_point_or_an_exponent_and_ints_have_none() -> None:
    written = text.dumps({"i": 1, "f": 1.0, "big": 1e22, "v": np.array([1, 0.1], np.float32)})
    assert written == b'{"i":1,"f":1.0,"big":1e+22,"v":[1.0,0.1]}'


@given(floats)
def test_doubles_keep_all_their_digits(value: float) -> None:
    assert text.loads(text.dumps(value)) == value


def test_distances_that_are_no_numbers_are_null() -> None:
    query = records.Query(HERE, np.ones((1, 1), np.float32), 1)
    hits = [Hits(Records(["a"]), np.array([math.inf], np.float32))]
    assert query.to_json(hits)["distances"][0].tolist() == [math.inf]
    assert b'"distances":[[null]]' in text.dumps(query.to_json(hits))
    assert math.isnan(answered(query, hits)[0].distances[0])


# ── what is read leniently ───────────────────────────────────────────────────────────────────────


def written(verb: str, **body: Any) -> Batch:
    kind, parts = ROUTES.find("POST", f"/tenants/t/databases/d/collections/{UUID(int=1)}/{verb}")
    return kind.receive(parts, "", json.dumps(body).encode()).batch


def packed(*numbers: float) -> str:
    return base64.b64encode(np.array(numbers, "<f4").tobytes()).decode()


def test_numbers_and_base64_may_be_mixed() -> None:
    batch = written("add", ids=["a", "b"], embeddings=[[1, 2.5], packed(3, 4)])
    assert batch.vectors.tolist() == [[1, 2.5], [3, 4]]


def test_the_first_of_equal_ids_is_added() -> None:
    batch = written(
        "add", ids=["a", "b", "a"], embeddings=[[1], [2], [3]], documents=["x", "y", "z"]
    )
    assert (batch.ids, batch.vectors.tolist()) == (["a", "b"], [[1], [2]])
    assert batch.documents == ["x", "y"]


def test_changes_of_equal_ids_come_one_after_the_other() -> None:
    batch = written(
        "update",
        ids=["a", "b", "a", "a"],
        embeddings=[[1], [2], [3], None],
        documents=["x", None, None, None],
        metadatas=[{"k": 1, "l": 1}, None, {"k": None}, {"m": 2}],
    )
    assert (batch.ids, batch.vectors.tolist()) == (["a", "b"], [[3], [2]])
    assert batch.documents == ["x", None]
    assert batch.metadatas == [{"k": None, "l": 1, "m": 2}, None]


def test_no_embeddings_in_an_update_are_none_at_all() -> None:
    assert written("update", ids=["a"], embeddings=[], documents=["x"]).vectors is None


def test_rows_without_a_vector_are_told() -> None:
    batch = written("update", ids=["a", "b"], embeddings=[None, [5]])
    assert batch.has_vector.tolist() == [False, True]
    assert batch.vectors.tolist() == [[0], [5]]


def test_metadata_are_read_as_chroma_reads_them() -> None:
    batch = written(
        "add",
        ids=["a", "b", "c"],
        embeddings=[[1], [1], [1]],
        metadatas=[{}, {"big": 2**63}, {"s": {"indices": [1], "values": [0.5]}}],
    )
    assert repr(batch.metadatas) == repr(
        [None, {"big": float(2**63)}, {"s": SparseVector([1], [0.5])}]
    )


KEPT: dict[str, Any] = {"mixed": [1, 2.5, "x"], "none": [], "map": {"a": {"b": 1}}}
TAGGED: dict[str, Any] = {"#type": "datetime", "value": "2024-02-29T12:00:00+09:00"}


def test_metadata_are_kept_beyond_what_chroma_reads() -> None:
    given = {**KEPT, "time": TAGGED, "sparse": {"#type": "map", "indices": [], "values": 1}}
    batch = written("add", ids=["a"], embeddings=[[1]], metadatas=[given])
    time = datetime(2024, 2, 29, 12, tzinfo=timezone(timedelta(hours=9)))
    kept = {**KEPT, "time": time, "sparse": {"indices": [], "values": 1}}
    assert repr(batch.metadatas) == repr([kept])


@given(st.dictionaries(keys, values, max_size=4))
def test_a_client_of_chroma_gets_nothing_else_than_chroma_has(stored: dict[str, Any]) -> None:
    [plain] = metadata.write([stored], typed=False) or []
    for key, value in (plain or {}).items():
        kinds = {type(one) for one in (value if isinstance(value, list) else [value])}
        assert len(kinds) == 1 and kinds <= {str, int, float, bool, SparseVector}, (key, value)


def test_a_client_of_chroma_gets_metadata_that_it_understands() -> None:
    stored = {
        "n": 1,
        "map": {"a": {"b": [1, 2.5]}, "c": {}, "d": "x"},
        "map.d": 2,
        "none": [],
        "mixed": [1, "x", True, date(2024, 2, 29)],
        "day": date(2024, 2, 29),
        "times": [datetime(2024, 2, 29, 12, tzinfo=UTC)],
    }
    plain = {
        "n": 1,
        "map.d": 2,
        "mixed": ["1", "x", "true", "2024-02-29"],
        "day": "2024-02-29",
        "times": ["2024-02-29T12:00:00+00:00"],
        "map.a.b": [1.0, 2.5],
    }
    assert metadata.write([stored, {"none": []}, None], typed=False) == [plain, None, None]
    same = {"n": 1, "s": SparseVector([1], [0.5])}
    assert metadata.write([same], typed=False) == [same]


def test_a_default_configuration_leaves_the_say_to_old_metadata() -> None:
    def space(hnsw: dict[str, Any], metadata: dict[str, Any] | None) -> str:
        kind, parts = ROUTES.find("POST", "/tenants/t/databases/d/collections")
        body = {"name": "abc", "configuration": {"hnsw": hnsw}, "metadata": metadata}
        return kind.receive(parts, "", json.dumps(body).encode()).configuration.hnsw.space

    assert space({"space": "l2"}, {"hnsw:space": "cosine"}) == "cosine"
    assert space({"space": "ip"}, {"hnsw:space": "cosine"}) == "ip"
    assert space({"space": "l2", "ef_search": 7}, {"hnsw:space": "cosine"}) == "l2"
    assert space({}, None) == "l2"


# ── what is refused ──────────────────────────────────────────────────────────────────────────────

DEEP: Any = 1
for _ in range(MAX_NESTING + 1):
    DEEP = {"k": DEEP}
ADD = {"ids": ["a"], "embeddings": [[1.0]]}
REFUSED: list[tuple[str, dict[str, Any], int, str]] = [
    ("add", {"ids": ["a"]}, 422, "missing field `embeddings`"),
    ("add", ADD | {"ids": [1]}, 422, "ids[0]: invalid type: number `1`, expected a string"),
    ("add", ADD | {"embeddings": [["x"]]}, 422, "expected a number"),
    ("add", ADD | {"embeddings": [[True]]}, 422, "expected a number"),
    ("add", ADD | {"embeddings": [None]}, 422, "embeddings[0]: invalid type: null"),
    ("add", ADD | {"metadatas": [{"k": None}]}, 422, "metadatas[0].k: invalid type: null"),
    ("add", ADD | {"metadatas": [{"k": {"a": None}}]}, 422, "metadatas[0].k.a: invalid type: nu"),
    ("add", ADD | {"metadatas": [{"k": [1, [1]]}]}, 422, "metadatas[0].k[1]: invalid type: sequ"),
    ("add", ADD | {"metadatas": [{"k": [1, None]}]}, 422, "metadatas[0].k[1]: invalid type: null"),
    ("add", ADD | {"metadatas": [{"k": {"#type": "x"}}]}, 422, "metadatas[0].k: invalid type: map"),
    ("add", ADD | {"metadatas": [{"k": {"#type": None}}]}, 422, "metadatas[0].k: invalid type"),
    ("add", ADD | {"metadatas": [{"k": TAGGED | {"value": "1"}}]}, 422, "a tagged date or dateti"),
    ("add", ADD | {"metadatas": [{"k": [TAGGED | {"a": 1}]}]}, 422, "metadatas[0].k[0]: invalid t"),
    ("add", ADD | {"metadatas": [{"k": {"$a": 1}}]}, 400, "Metadata key cannot start with '#'"),
    ("add", ADD | {"metadatas": [{"k": DEEP}]}, 422, "k.k.k.k.k: invalid type: map"),
    ("add", ADD | {"metadatas": [{"$k": 1}]}, 400, "Metadata key cannot start with '#' or '$'"),
    ("add", ADD | {"metadatas": [{"chroma:document": "x"}]}, 400, "reserved key"),
    ("add", ADD | {"metadatas": [{"s": {"indices": [2, 1], "values": [1, 1]}}]}, 400, "index 0"),
    ("add", ADD | {"metadatas": [{"s": {"indices": [], "values": None}}]}, 422, "metadatas[0].s"),
    ("add", ADD | {"embeddings": [[]]}, 400, "at least 1 dimension"),
    ("add", ADD | {"embeddings": [[1e39]]}, 400, "must not contain NaN or Infinity"),
    ("add", ADD | {"embeddings": [""]}, 400, "at least 1 dimension"),
    ("add", ADD | {"embeddings": ["AAAA"]}, 400, "3 bytes cannot be converted to f32"),
    ("add", ADD | {"embeddings": ["!!!"]}, 400, "Invalid base64 string"),
    ("add", ADD | {"embeddings": ["AADAfw=="]}, 400, "at embedding index 0: NaN"),
    ("add", ADD | {"embeddings": [[1.0] * 70_000]}, 400, "at most 65535 dimensions"),
    ("get", {"include": None}, 422, "include: invalid type: null"),
    ("get", {"include": ["data"]}, 422, "unknown variant `data`"),
    ("get", {"limit": -1}, 422, "limit: invalid type"),
    ("get", {"limit": 1.5}, 422, "limit: invalid type"),
    ("get", {"where": []}, 422, "where: invalid type: sequence"),
    ("get", {"where": {"a": {"$gt": "x"}}}, 400, "Invalid where clause"),
    ("get", {"where": {"a": {"$in": []}}}, 400, "Invalid where clause"),
    ("get", {"where_document": {"$regex": "("}}, 400, "Regex syntax errror"),
    ("query", {"query_embeddings": ["AAA"]}, 400, "Invalid base64 string"),
    ("query", {"query_embeddings": [1]}, 422, "query_embeddings[0]: invalid type: number"),
    ("query", {"query_embeddings": [[1]], "recall": 2}, 400, "recall"),
    ("delete", {"ids": [], "where": None}, 400, "Either ids or where"),
    ("delete", {"ids": ["a"], "limit": 1}, 400, "limit can only be specified"),
]  # fmt: skip


@pytest.mark.parametrize(("verb", "body", "status", "words"), REFUSED)
def test_what_is_no_request_is_refused(
    verb: str, body: dict[str, Any], status: int, words: str
) -> None:
    kind, parts = ROUTES.find("POST", f"/tenants/t/databases/d/collections/{UUID(int=1)}/{verb}")
    with pytest.raises(InvalidArgumentError) as raised:
        kind.receive(parts, "", json.dumps(body).encode())
    assert raised.value.code() == status
    assert words in str(raised.value)


def test_a_configuration_cannot_make_clients_run_code() -> None:
    function = {"type": "known", "name": "x", "config": {"kwargs": {"trust_remote_code": True}}}
    kind, parts = ROUTES.find("POST", "/tenants/t/databases/d/collections")
    body = {"name": "abc", "configuration": {"embedding_function": function}}
    with pytest.raises(InvalidArgumentError, match="trust_remote_code"):
        kind.receive(parts, "", json.dumps(body).encode())


def test_a_filter_may_not_be_deeper_than_it_can_be_evaluated() -> None:
    where: dict[str, Any] = {"a": 1}
    for _ in range(99):
        where = {"$and": [where]}
    assert rows.read_filters(where, None) is not None
    for _ in range(500):
        where = {"$or": [where]}
    with pytest.raises(InvalidArgumentError, match="Invalid where clause"):
        rows.read_filters(where, None)


@given(st.recursive(st.none() | scalars, lambda s: st.lists(s) | st.dictionaries(words, s)))
def test_no_json_breaks_the_reading_of_bodies(form: Any) -> None:
    for kind in OPERATIONS:
        for name in [one.name for one in kind.route.body or ()]:
            body = {"ids": ["a"], "name": "abc", "query_embeddings": [[1]], "new_name": "abc"}
            body |= {"embeddings": [[1]], "searches": [], "id": "x", name: form}
            try:
                parts = {"tenant": "t", "database": "d", "collection_id": str(HERE.collection)}
                kind.receive(parts, "", text.dumps(body))
            except VermilionError:
                pass


# ── errors ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "error",
    [
        ArgumentValueError("no"),
        UnprocessableError("no"),
        DimensionError("Collection expecting embedding with dimension of 3, got 2"),
        UnknownDatabaseError("Database [x] does not exist"),
        NotFoundError("Collection [x] does not exist"),
        AlreadyExistsError("Collection [x] already exists"),
        InternalError("broken"),
    ],
)
def test_an_error_is_the_same_at_the_other_end(error: VermilionError) -> None:
    status, form = fault(error)
    again = error_of(status, json.loads(json.dumps(form)), "nothing")
    assert isinstance(again, type(error))  # or a class that says more
    assert str(again) == str(error)


def test_what_is_not_ours_is_told_without_its_text() -> None:
    status, form = fault(RuntimeError("a secret"))
    assert status == 500
    assert "secret" not in str(form)


def test_the_schema_of_a_field_says_what_its_check_does() -> None:
    for kind in OPERATIONS:
        for one in kind.route.body or ():
            allowed = json.dumps(one.schema)
            assert ('"null"' in allowed) or one.required or not one.nullable, (kind, one)
            assert isinstance(one, fields.Field)
