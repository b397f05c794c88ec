"""What filters and metadata have beyond Chroma: in every operation, over every engine.

`test_where` has the meaning of each operator, `test_stateful` random histories.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vermilion
from served import Served, served
from test_segments import seal
from vermilion.api.client import Client
from vermilion.api.collection import Collection
from vermilion.errors import ArgumentValueError, InvalidArgumentError
from vermilion.local.salvage import salvage
from vermilion.query.ranks import Knn
from vermilion.query.search import GroupBy, K, MinK, Search
from vermilion.query.where import negation, parse
from vermilion.reports import Facet
from vermilion.schema.builder import IntInvertedIndexConfig, Schema, StringInvertedIndexConfig
from vermilion.types import Address, SparseVector

DAY, NOON = date(2024, 2, 29), datetime(2024, 2, 29, 12, 0, 0, 5)
EAST = NOON.replace(tzinfo=timezone(timedelta(hours=9)))

ROWS: dict[str, dict[str, Any] | None] = {
    "a": {"author": {"name": "Ada", "born": {"year": 1815}}, "tags": ["sea", 1], "at": DAY},
    "b": {"author": {"name": "Bob"}, "tags": [], "at": NOON, "n": 1},
    "c": {"author.name": "Cäcilie", "author": {"name": "x"}, "tags": ["sea", "air"], "n": 2.0},
    "d": {"author": "Dan", "at": EAST, "n": "three"},
    "e": None,
    "f": {"author": {}, "at": "2024-02-29", "s": SparseVector([1], [1.0])},
}
DOCUMENTS = ["Red fish", "two fish", "", None, "fish, RED", "sea"]

ANSWERS: list[tuple[dict[str, Any], str]] = [
    ({"author.name": "Ada"}, "a"),
    ({"author.name": {"$istarts_with": "cä"}}, "c"),
    ({"author.name": "x"}, ""),
    ({"author.born.year": {"$lt": 1900}}, "a"),
    ({"author": {"$exists": True}}, "abcdf"),
    ({"author.name": {"$exists": False}}, "def"),
    ({"author": "Dan"}, "d"),
    ({"s": {"$exists": True}}, "f"),
    ({"tags": {"$size": 2}}, "ac"),
    ({"tags": {"$size": 0}}, "b"),
    ({"tags": {"$all": ["sea", 1]}}, "a"),
    ({"tags": {"$not": {"$contains": "sea"}}}, "bdef"),
    ({"n": {"$in": [1.0, "three"]}}, "bd"),
    ({"n": {"$nin": [2, "three"]}}, "abef"),
    ({"n": {"$between": [1, 2]}}, "bc"),
    ({"n": {"$gte": 1, "$lt": 2}, "tags": {"$exists": True}}, "b"),
    ({"n": {"$regex": "^th"}}, "d"),
    ({"at": {"$gt": DAY}}, "bd"),
    ({"at": {"$between": ["2024-02-29", "2024-02-29T04:00:00Z"]}}, "ad"),
    ({"at": NOON.replace(tzinfo=UTC)}, "b"),
    ({"at": "2024-02-29"}, "af"),
    ({"at": {"$in": [DAY, EAST]}}, "ad"),
    ({"$not": {"$or": [{"author.name": "Ada"}, {"n": {"$exists": True}}]}}, "ef"),
    ({"#document": {"$icontains": "red"}}, "ae"),
    ({"#document": {"$ends_with": "fish", "$starts_with": "two"}}, "b"),
    ({"#document": {"$exists": False}}, "d"),
    ({"#document": {"$contains": ""}}, "abcef"),
]


def filled(client: Client, **options: Any) -> Collection:
    collection = client.create_collection("notes", embedding_function=None, **options)
    vectors = [[float(number), 1.0] for number in range(len(ROWS))]
    rows: Any = {"metadatas": [*ROWS.values()], "documents": DOCUMENTS}
    collection.add(ids=[*ROWS], embeddings=vectors, **rows)
    return collection


def check_all(collection: Collection) -> None:
    for where, expected in ANSWERS:
        got = collection.get(where=where)
        assert "".join(got["ids"]) == expected, where
        assert repr(got["metadatas"]) == repr([ROWS[id] for id in expected])
        found = collection.query(query_embeddings=[[0.0, 1.0]], where=where, include=["metadatas"])
        assert found["ids"] == [[*expected]], where
        assert repr(found["metadatas"]) == repr([[ROWS[id] for id in expected]])
        assert collection.count(where=where) == len(expected)
        search = Search().where(where).rank(Knn(query=[0.0, 1.0])).select(K.METADATA)
        ranked = collection.search(search)
        assert ranked["ids"] == [[*expected]], where
        assert repr(ranked["metadatas"]) == repr([[ROWS[id] for id in expected]])
        asked = {"query_embeddings": [[0.0, 1.0]], "where": where}
        assert collection.explain(**asked).selected == len(expected)
        reasons = {id: collection.why_not(id, **asked).reason for id in ROWS}
        assert reasons == {id: "found" if id in expected else "filter" for id in ROWS}, where


def test_every_operation_knows_every_operator(client: Client) -> None:
    check_all(filled(client))


def test_a_file_says_the_same(tmp_path: Path) -> None:
    with vermilion.PersistentClient(tmp_path / "db") as client:
        collection = filled(client)
        seal(tmp_path / "db", Address(collection.tenant, collection.database, collection.id), "l2")
        assert collection.stats().segments == 1
        check_all(collection)
        assert client.check(deep=True) == []
        check_all(collection.fork("copy"))
    assert all(one.lost == 0 for one in salvage(tmp_path / "db", tmp_path / "saved"))
    with vermilion.PersistentClient(tmp_path / "saved") as client:
        check_all(client.get_collection("notes", embedding_function=None))


def test_what_matches_is_deleted(client: Client) -> None:
    collection = filled(client)
    for where, expected in (({"author.born": {"$exists": True}}, 1), ({"at": {"$gte": DAY}}, 2)):
        assert collection.delete(where=where)["deleted"] == expected
    assert collection.get()["ids"] == ["c", "e", "f"]


# ── fields of dicts, and times, as fields ────────────────────────────────────────────────────────


def test_order_and_counts(client: Client) -> None:
    collection = filled(client)
    by_name = collection.get(order_by=["-author.name"])["ids"]
    assert by_name == ["c", "b", "a", "d", "e", "f"]
    assert collection.get(order_by="at")["ids"] == ["a", "d", "b", "f", "c", "e"]
    found = collection.facets(["author.name", "at", "tags"])
    assert found["author.name"] == [Facet(name, 1) for name in ("Ada", "Bob", "Cäcilie")]
    assert found["at"] == [
        Facet(DAY, 1), Facet(EAST.astimezone(UTC), 1), Facet(NOON, 1), Facet("2024-02-29", 1)
    ]  # fmt: skip
    assert found["tags"] == [Facet("sea", 2), Facet(1, 1), Facet("air", 1)]
    assert collection.distinct("author.born.year") == [1815]
    [summary] = collection.summarize("author.born.year", by="at")
    assert (summary.value, summary.sum) == (DAY, 1815)


def test_searches_select_and_group_by_paths(client: Client) -> None:
    collection = filled(client)
    chosen = Search().where(K("at").exists()).select("author.name", "author.born", "at")
    assert collection.search(chosen)["metadatas"] == [
        [
            {"author.name": "Ada", "author.born": {"year": 1815}, "at": DAY},
            {"author.name": "Bob", "at": NOON},
            {"at": EAST},
            {"at": "2024-02-29"},
        ]
    ]
    ranked = Search().rank(Knn(query=[0.0, 1.0])).select(K.SCORE)
    grouped = ranked.group_by(GroupBy(["author.name"], MinK(["at"], 1)))
    assert collection.search(grouped)["ids"] == [["a", "b", "c", "d"]]


def test_keys_write_it_all(client: Client) -> None:
    collection = filled(client)
    for where, expected in (
        (K("author.name").starts_with("a", any_case=True) | K("n").between(2, 3), "ac"),
        (~K("at").exists() & ~K.DOCUMENT.icontains("RED"), "c"),
        (K("tags").contains_all(["sea"]) & ~(K("tags").size(2) & K("at").exists()), "c"),
        (K("at") >= NOON, "b"),
        (K("author.name").ends_with("b") | K("n").regex("^t"), "bd"),
    ):
        assert "".join(collection.search(Search(where))["ids"][0]) == expected


def test_updates_merge_by_the_outermost_key(client: Client) -> None:
    collection = filled(client)
    collection.update(ids=["a", "b"], metadatas=[{"author": {"name": "Eve"}}, {"author": None}])
    got = collection.get(ids=["a", "b"])["metadatas"]
    assert got == [
        {"author": {"name": "Eve"}, "tags": ["sea", 1], "at": DAY},
        {"tags": [], "at": NOON, "n": 1},
    ]
    assert collection.get(where={"author.born.year": {"$exists": True}})["ids"] == []
    collection.upsert(ids=["a"], embeddings=[[0.0, 0.0]], metadatas=[{"author.name": "Flat"}])
    assert collection.get(where={"author.name": "Eve"})["ids"] == []
    assert collection.get(where={"author.name": "Flat"})["ids"] == ["a"]


def test_an_index_that_is_switched_off_is_missed(client: Client) -> None:
    schema = Schema().delete_index(StringInvertedIndexConfig(), "author.name")
    schema = schema.delete_index(IntInvertedIndexConfig(), "at")
    collection = filled(client, schema=schema)
    for where in ({"author.name": {"$starts_with": "A"}}, {"at": {"$gt": DAY}}):
        with pytest.raises(InvalidArgumentError, match="indexing is disabled"):
            collection.get(where=where)
    assert collection.get(where={"author.name": {"$exists": True}})["ids"] == ["a", "b", "c"]
    assert collection.get(where={"n": {"$exists": True}})["ids"] == ["b", "c", "d"]


# ── places of errors ─────────────────────────────────────────────────────────────────────────────


def test_an_error_names_the_place_and_the_method(client: Client) -> None:
    collection = filled(client)
    bad: Any = {"$and": [{"n": 1}, {"year": {"$between": [1, 2, 3]}}]}
    told = r"^where\.\$and\[1\]\.year\.\$between: Expected two values, got 3 in get\.$"
    with pytest.raises(ArgumentValueError, match=told):
        collection.get(where=bad)
    with pytest.raises(ArgumentValueError, match=r"^where_document\.\$not\.\$icontains: "):
        collection.delete(where_document={"$not": {"$icontains": 1}})
    assert collection.count() == len(ROWS)


EXPRESSIONS = st.recursive(
    st.sampled_from([one for one, _ in ANSWERS]),
    lambda parts: st.one_of(
        st.builds(lambda part: {"$not": part}, parts),
        st.builds(lambda a, b: {"$and": [a, b]}, parts, parts),
        st.builds(lambda a, b: {"$or": [a, b]}, parts, parts),
    ),
    max_leaves=4,
)


@given(EXPRESSIONS)
def test_not_is_the_complement_however_deep(where: dict[str, Any]) -> None:
    filter, turned = parse(where), parse({"$not": where})
    assert filter is not None and turned is not None
    for row in ROWS.values():
        record = (row or {}).get
        assert turned.matches(record) == negation(filter).matches(record)
        assert turned.matches(record) != filter.matches(record)


# ── other clients ────────────────────────────────────────────────────────────────────────────────

TAGGED = {"#type": "datetime", "value": "2024-02-29T12:00:00+09:00"}


def by_wire(server: Served) -> str:
    path = server.made()
    metadatas = [{"a": {"b": 1, "c": [1, 2.5]}, "t": TAGGED}, {"a.b": 1, "m": [1, "x"], "e": []}]
    rows = {"ids": ["x", "y"], "embeddings": [[1], [2]], "metadatas": metadatas}
    assert server.post(f"{path}/add", rows).status_code == 201
    return path


def test_other_clients_write_and_filter() -> None:
    with served() as server:
        path = by_wire(server)
        for where, expected in (
            ({"a.b": {"$exists": True}}, ["x", "y"]),
            ({"a": {"$exists": True}}, ["x"]),
            ({"t": {"$lte": "2024-02-29T03:00:00Z"}}, ["x"]),
            ({"t": TAGGED}, ["x"]),
            ({"a.b": {"$gte": 1, "$not": {"$gt": 1}}}, ["x", "y"]),
            ({"m": {"$in": [1, "x"]}}, []),
            ({"#document": {"$contains": ""}}, []),
        ):
            assert server.post(f"{path}/get", {"where": where}).json()["ids"] == expected, where
        everything = server.post(f"{path}/get", {"where_document": {"$not_contains": ""}})
        assert everything.json()["ids"] == ["x", "y"]


def test_they_get_what_they_understand_unless_they_ask() -> None:
    plain = [
        {"t": "2024-02-29T12:00:00+09:00", "a.b": 1, "a.c": [1.0, 2.5]},
        {"a.b": 1, "m": ["1", "x"]},
    ]
    typed = [{"a": {"b": 1, "c": [1, 2.5]}, "t": TAGGED}, {"a.b": 1, "m": [1, "x"], "e": []}]
    search = {"searches": [{"select": {"keys": ["#metadata"]}}]}
    query = {"query_embeddings": [[1]]}
    with served() as server:
        path = by_wire(server)
        for verb, body, nested in (
            ("get", {}, False),
            ("query", query, True),
            ("search", search, True),
        ):
            for more, expected in (({}, plain), ({"typed": True}, typed)):
                got = server.post(f"{path}/{verb}", {**body, **more}).json()["metadatas"]
                assert got == ([expected] if nested else expected), verb


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ({"a": 1, "b": 2}, "Invalid where clause"),
        ({"$and": [{"a": 1, "b": 2}, {"c": 1}]}, "Invalid where clause: where.$and[0]: Expected"),
        ({"a": {"$between": [1]}}, "Invalid where clause: where.a.$between: Expected two values"),
        ({"a": {"$gt": "x"}}, "Invalid where clause: where.a.$gt: Expected operand value"),
        ({"a": {"$regex": "("}}, "Regex syntax errror"),
    ],
)
def test_a_server_tells_what_is_wrong(where: Any, told: str) -> None:
    with served() as server:
        answer = server.post(f"{server.made()}/get", {"where": where})
        assert answer.status_code == 400
        assert answer.json()["message"].startswith(told)
