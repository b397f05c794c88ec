"""Writes that answer: reports, conflicts, ids that are made, changes by filter."""

from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest

from doors import empty, filled
from vermilion.api.client import Client
from vermilion.api.made_ids import content_id, uuid7
from vermilion.embeddings.bm25 import ChromaBm25EmbeddingFunction
from vermilion.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    DuplicateIDError,
    IDAlreadyExistsError,
)
from vermilion.schema.builder import Schema, SparseVectorIndexConfig
from vermilion.types import WriteResult

TWO: dict[str, Any] = {"ids": ["a", "z"], "embeddings": [[9, 0], [8, 0]]}


# ── reports ──────────────────────────────────────────────────────────────────────────────────────


def test_without_a_report_writes_answer_as_those_of_chroma(client: Client) -> None:
    collection = filled(client)
    assert collection.add(**TWO) is None
    assert collection.upsert(**TWO) is None
    assert collection.update(**TWO) is None
    assert collection.delete(["a", "nobody"]) == {"deleted": 1}


def test_a_report_of_an_add(client: Client) -> None:
    assert filled(client).add(**TWO, report=True) == WriteResult(
        inserted=1, skipped=1, ids={"inserted": ["z"], "skipped": ["a"]}
    )


def test_a_report_of_an_upsert(client: Client) -> None:
    collection = filled(client)
    given = {"ids": ["a", "b", "z"], "embeddings": [[9, 0], [2, 0], [8, 0]]}
    assert collection.upsert(**given, report=True) == WriteResult(
        inserted=1,
        updated=1,
        unchanged=1,
        ids={"inserted": ["z"], "updated": ["a"], "unchanged": ["b"]},
    )


def test_a_report_of_an_update(client: Client) -> None:
    collection = filled(client)
    changes = [{"n": 9}, {"n": 2}, {"n": 1}]
    assert collection.update(["a", "b", "z"], metadatas=changes, report=True) == WriteResult(
        updated=1,
        unchanged=1,
        missing=1,
        ids={"updated": ["a"], "unchanged": ["b"], "missing": ["z"]},
    )


def test_a_report_of_a_delete(client: Client) -> None:
    collection = filled(client)
    assert collection.delete(["c", "nobody", "a"], report=True) == WriteResult(
        deleted=2, missing=1, ids={"deleted": ["a", "c"], "missing": ["nobody"]}
    )
    assert collection.delete(where={"n": 2}, report=True) == WriteResult(
        deleted=1, ids={"deleted": ["b"]}
    )


def test_a_collection_without_records_reports_what_is_missing(client: Client) -> None:
    collection = empty(client)
    missing = WriteResult(missing=1, ids={"missing": ["a"]})
    assert collection.update("a", embeddings=[1, 0], report=True) == missing
    assert collection.delete("a", report=True) == missing


def test_reports_add_up() -> None:
    one = WriteResult(inserted=1, ids={"inserted": ["a"]}, made=["a"])
    two = WriteResult(inserted=1, skipped=1, ids={"inserted": ["b"], "skipped": ["c"]})
    assert one + two == WriteResult(
        inserted=2, skipped=1, ids={"inserted": ["a", "b"], "skipped": ["c"]}, made=["a"]
    )


# ── conflicts ────────────────────────────────────────────────────────────────────────────────────


def test_on_conflict_error_names_the_ids_and_writes_nothing(client: Client) -> None:
    collection = filled(client)
    with pytest.raises(IDAlreadyExistsError, match="exist already: a"):
        collection.add(**TWO, on_conflict="error")
    assert collection.ids() == ["a", "b", "c", "d"]


def test_on_conflict_error_names_ten_of_many(client: Client) -> None:
    collection = empty(client)
    given = {"ids": [f"n{n}" for n in range(12)], "embeddings": [[1, 0]] * 12}
    collection.add(**given, on_conflict="error")
    with pytest.raises(IDAlreadyExistsError, match="n8, n9 and 2 more$"):
        collection.add(**given, on_conflict="error")


def test_on_conflict_update_is_an_upsert(client: Client) -> None:
    collection = filled(client)
    report = collection.add(**TWO, on_conflict="update", report=True)
    assert isinstance(report, WriteResult)
    assert report.ids == {"inserted": ["z"], "updated": ["a"]}


def test_another_word_for_a_conflict_is_refused(client: Client) -> None:
    with pytest.raises(ArgumentValueError, match="one of skip, error, update, got 'ignore'"):
        filled(client).add(**TWO, on_conflict="ignore")  # type: ignore[arg-type]


# ── ids that are made ────────────────────────────────────────────────────────────────────────────


def test_ids_by_time_are_returned_in_the_order_of_the_rows(client: Client) -> None:
    collection = empty(client)
    made = collection.add(documents=["a", "bb", "ccc"], make_ids="uuid7")
    assert isinstance(made, list)
    assert collection.get()["ids"] == made == sorted(made)
    assert collection.get(ids=made[1])["documents"] == ["bb"]


def test_ids_by_time_are_of_version_7_and_ascend() -> None:
    made = [UUID(uuid7()) for _ in range(5000)]
    assert {(one.version, one.variant) for one in made} == {(7, "specified in RFC 4122")}
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_the_same_text_is_the_same_record(client: Client) -> None:
    collection = empty(client)
    made = collection.add(documents=["one", "two", "one"], make_ids="hash")
    assert made == [content_id("one"), content_id("two"), content_id("one")]
    assert collection.get()["documents"] == ["one", "two"]
    report = collection.add(documents=["two", "six"], make_ids="hash", report=True)
    assert isinstance(report, WriteResult)
    assert report.ids == {"inserted": [content_id("six")], "skipped": [content_id("two")]}
    assert report.made == [content_id("two"), content_id("six")]


def test_what_a_hash_is_made_of(client: Client) -> None:
    """These are stored: another form would be other records."""
    collection = empty(client)
    [text] = collection.add(documents="é", embeddings=[1, 0], make_ids="hash") or []
    [uri] = collection.add(uris="é", embeddings=[1, 0], make_ids="hash") or []
    [vector] = collection.add(embeddings=[1, 0], make_ids="hash") or []
    forms = ['["document", "é"]', '["uri", "é"]', '["embedding", "0000803f00000000"]']
    assert [text, uri, vector] == [sha256(form.encode()).hexdigest() for form in forms]


def test_an_upsert_by_hash_takes_the_last_of_equal_rows(client: Client) -> None:
    collection = empty(client)
    metadatas = [{"n": 1}, {"n": 2}]
    collection.upsert(documents=["one", "one"], metadatas=metadatas, make_ids="hash")
    assert collection.get()["metadatas"] == [{"n": 2}]


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        ({"documents": ["a"]}, ArgumentValueError, "Expected IDs to be a list"),
        ({"ids": ["a"], "documents": ["a"], "make_ids": "hash"}, ArgumentValueError, "got both"),
        ({"documents": ["a"], "make_ids": "uuid4"}, ArgumentValueError, "uuid7, hash, got 'uuid4'"),
        ({"make_ids": "hash"}, ArgumentValueError, "Non-empty lists are required"),
        (
            {"documents": ["a", "a"], "make_ids": "hash", "on_conflict": "error"},
            DuplicateIDError,
            "duplicates of",
        ),
    ],
)
def test_ids_that_cannot_be_made(
    client: Client, given: Any, kind: type[Exception], words: str
) -> None:
    collection = empty(client)
    with pytest.raises(kind, match=words):
        collection.add(**given)
    assert collection.count() == 0


# ── changes by filter ────────────────────────────────────────────────────────────────────────────


def test_update_where_changes_what_matches(client: Client) -> None:
    collection = filled(client)
    assert collection.update_where({"n": {"$gte": 2}}, set={"seen": True}, unset=["word"]) == 2
    assert collection.get()["metadatas"][1:3] == [  # type: ignore[index]
        {"n": 2, "x": 2.5, "yes": False, "seen": True},
        {"n": 3, "seen": True},
    ]
    assert collection.get(where={"seen": True})["ids"] == ["b", "c"]


def test_update_where_tells_what_was_so_already(client: Client) -> None:
    collection = filled(client)
    report = collection.update_where({"n": {"$lt": 3}}, set={"n": 2}, report=True)
    assert report == WriteResult(updated=1, unchanged=1, ids={"updated": ["a"], "unchanged": ["b"]})
    assert collection.update_where(where_document={"$contains": "whale"}, set={"n": 0}) == 0


@pytest.mark.parametrize(
    ("where", "changes", "kind", "words"),
    [
        (None, {"set": {"n": 1}}, ArgumentValueError, "where or where_document"),
        ({"n": 1}, {}, ArgumentValueError, "at least one key"),
        ({"n": 1}, {"set": {"n": 1}, "unset": ["n"]}, ArgumentValueError, "'n' in both"),
        ({"n": 1}, {"set": [1]}, ArgumentTypeError, "set to be a dict"),
        ({"n": 1}, {"unset": "n"}, ArgumentTypeError, "unset to be a list"),
        ({"n": 1}, {"set": {"n": {1}}}, ArgumentValueError, "metadata value"),
    ],
)
def test_changes_that_make_no_sense(
    client: Client, where: Any, changes: Any, kind: type[Exception], words: str
) -> None:
    collection = filled(client)
    before = collection.get()
    with pytest.raises(kind, match=words):
        collection.update_where(where, **changes)
    assert collection.get() == before


def test_update_where_makes_sparse_vectors_of_what_it_sets(client: Client) -> None:
    index = SparseVectorIndexConfig(
        embedding_function=ChromaBm25EmbeddingFunction(), source_key="word"
    )
    schema = Schema().create_index(index, key="sparse")
    collection = client.create_collection("sparse", schema=schema)
    collection.add(ids="a", embeddings=[1, 0], metadatas={"n": 1})
    collection.update_where({"n": 1}, set={"word": "whale"})
    [metadata] = collection.get()["metadatas"] or []
    assert metadata is not None
    assert len(metadata["sparse"].indices) == 1
