"""The checks and forms of chromadb.api.types: what each returns, and what each refuses."""

from typing import Any

import numpy as np
import pytest

from vermilion.compat import types as api
from vermilion.errors import DuplicateIDError
from vermilion.types import SparseVector

ONE = np.array([1.0, 2.0], np.float32)
IMAGE = np.zeros((2, 2))
SPARSE = SparseVector([1], [0.5])
TAGGED = {"#type": "sparse_vector", "indices": [1], "values": [0.5]}


def columns(**given: Any) -> Any:
    return dict.fromkeys(("embeddings", "documents", "images", "uris")) | given


def rows(**given: Any) -> Any:
    return columns(ids=["a"], metadatas=None) | given


# ── checks that return their argument ────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("check", "argument"),
    [
        (api.validate_ids, ["a", "b"]),
        (api.validate_embeddings, [ONE]),
        (api.validate_metadata, {"a": 1, "b": None}),
        (api.validate_metadata, None),
        (api.validate_update_metadata, {"a": None}),
        (api.validate_metadatas, [{"a": 1}, None]),
        (api.validate_sparse_vectors, [SPARSE]),
        (api.validate_n_results, 3),
    ],
)
def test_what_is_right_comes_back_itself(check: Any, argument: Any) -> None:
    assert check(argument) is argument


@pytest.mark.parametrize(
    ("check", "argument"),
    [
        (api.validate_documents, ["a"]),
        (api.validate_images, [IMAGE]),
        (api.validate_where, {"a": {"$in": [1, 2]}}),
        (api.validate_where_document, {"$contains": "x"}),
        (api.validate_include, ["documents", "distances"]),
        (api.validate_filter_set, {"where": None, "where_document": {"$contains": "x"}}),
        (api.validate_base_record_set, columns(documents=["a"], uris=["u"])),
        (api.validate_insert_record_set, rows(embeddings=[ONE], documents=[None])),
        (api.validate_record_set_for_embedding, columns(images=[IMAGE])),
    ],
)
def test_the_other_checks_return_nothing(check: Any, argument: Any) -> None:
    assert check(argument) is None


# ── checks that refuse ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("check", "argument", "told"),
    [
        (api.validate_ids, None, "Expected IDs to be a list"),
        (api.validate_ids, [], "non-empty list"),
        (api.validate_ids, [1], "Expected ID to be a str"),
        (api.validate_embeddings, None, "0 embeddings"),
        (api.validate_embeddings, [], "0 embeddings"),
        (api.validate_embeddings, [["x"]], "int or float"),
        (api.validate_documents, "a", "Expected documents to be a list"),
        (api.validate_documents, [], "Non-empty lists are required"),
        (api.validate_documents, [None], "Expected document to be a str"),
        (api.validate_images, [], "Non-empty lists are required"),
        (api.validate_images, [ONE], "Expected image to be a numpy array"),
        (api.validate_metadata, {}, "non-empty dict"),
        (api.validate_metadata, {"chroma:document": "x"}, "reserved key"),
        (api.validate_update_metadata, {"a": ()}, "Expected metadata value"),
        (api.validate_metadatas, {"a": 1}, "Expected metadatas to be a list"),
        (api.validate_sparse_vectors, SPARSE, "to be a list"),
        (api.validate_sparse_vectors, [], "Non-empty lists are required"),
        (api.validate_sparse_vectors, [1], "Expected SparseVector instance at position 0"),
        (api.validate_where, {}, "where to have exactly one operator"),
        (api.validate_where, {"a": None}, "Expected where value"),
        (api.validate_where_document, {"$contains": ""}, "where document"),
        (api.validate_filter_set, {"where": {}, "where_document": None}, "where"),
        (api.validate_include, ("documents",), "Expected include to be a list"),
        (api.validate_include, ["ids"], "Expected include item"),
        (api.validate_base_record_set, columns(), "At least one of documents, embeddings, images"),
        (api.validate_base_record_set, columns(documents=["a"], uris=["u", "v"]), "Unequal"),
        (api.validate_base_record_set, columns(documents=[None]), "Expected document"),
        (api.validate_insert_record_set, rows(documents=["a", "b"]), "Unequal lengths"),
        (api.validate_record_set_for_embedding, columns(embeddings=[ONE]), "already has"),
        (api.validate_record_set_for_embedding, columns(), "Exactly one of documents, images"),
        (api.validate_record_set_for_embedding, columns(documents=["a"], uris=["u"]), "Exactly"),
    ],
)
def test_what_is_wrong_is_a_value_error(check: Any, argument: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        check(argument)


def test_ids_twice() -> None:
    with pytest.raises(DuplicateIDError, match="duplicates of: a"):
        api.validate_ids(["a", "a"])


def test_no_results_is_a_type_error_and_nothing_else() -> None:
    with pytest.raises(TypeError) as caught:
        api.validate_n_results(0)
    assert caught.type is TypeError


def test_none_is_a_document_only_where_allowed() -> None:
    api.validate_documents(["a", None], nullable=True)  # type: ignore[list-item]


def test_columns_that_may_not_be_included() -> None:
    with pytest.raises(ValueError, match="Include item cannot be one of documents, uris, got uris"):
        api.validate_include(["uris"], dissalowed=["documents", "uris"])


def test_a_batch_fits_or_not() -> None:
    batch = (["a", "b"], None, None, None, None)
    api.validate_batch(batch, {"max_batch_size": 2})
    with pytest.raises(ValueError, match="Batch size 2 exceeds maximum batch size 1"):
        api.validate_batch(batch, {"max_batch_size": 1})


def test_which_columns_are_given() -> None:
    record_set = columns(embeddings=[ONE], documents=["a"])
    api.validate_record_set_contains_any(record_set, {"images", "documents"})
    api.validate_record_set_contains_one(record_set, {"images", "documents"})
    api.validate_record_set_for_embedding(columns(documents=["a"], uris=["u"]), {"uris"})
    with pytest.raises(ValueError, match="At least one of images must"):
        api.validate_record_set_contains_any(record_set, {"images"})
    with pytest.raises(ValueError, match="Exactly one of documents, embeddings must"):
        api.validate_record_set_contains_one(record_set, {"embeddings", "documents"})
    with pytest.raises(ValueError, match="Invalid field in contains: zzz, available fields: "):
        api.validate_record_set_contains_any(record_set, {"zzz"})


# ── other forms ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("function", "argument", "result"),
    [
        (api.is_document, "a", True),
        (api.is_document, 1, False),
        (api.is_image, IMAGE, True),
        (api.is_image, ONE, False),
        (api.is_image, [[1]], False),
        (api.normalize_embeddings, None, None),
        (api.normalize_metadata, None, None),
        (api.normalize_metadata, {"v": TAGGED}, {"v": SPARSE}),
        (api.normalize_metadatas, None, None),
        (api.normalize_metadatas, {"a": 1}, [{"a": 1}]),
        (api.normalize_metadatas, [{"v": TAGGED}, None], [{"v": SPARSE}, None]),
        (api.serialize_metadata, None, None),
        (api.serialize_metadata, {"v": SPARSE, "a": [1]}, {"v": TAGGED, "a": [1]}),
        (api.deserialize_metadata, None, None),
        (api.deserialize_metadata, {"v": TAGGED, "a": [1]}, {"v": SPARSE, "a": [1]}),
        (api.convert_np_embeddings_to_list, [ONE], [[1.0, 2.0]]),
        (api.optional_embeddings_to_base64_strings, None, None),
        (api.optional_embeddings_to_base64_strings, [ONE, None], ["AACAPwAAAEA=", None]),
        (api.optional_base64_strings_to_embeddings, None, None),
        (api.optional_base64_strings_to_embeddings, ["AACAPwAAAEA=", None], [[1.0, 2.0], None]),
        (api.pack_embedding_safely, np.array([1, 2]), "AACAPwAAAEA="),
        (api.pack_embedding_safely, np.array([1e300, 2]), "AACAfwAAAEA="),
    ],
)
def test_forms(function: Any, argument: Any, result: Any) -> None:
    assert function(argument) == result


@pytest.mark.parametrize("form", [[1, 2], [[1, 2]], ONE, [ONE], np.array([[1.0, 2.0]])])
def test_embeddings_in_every_form_become_one(form: Any) -> None:
    (embedding,) = api.normalize_embeddings(form) or []
    assert embedding.dtype == np.float32
    assert embedding.tolist() == [1, 2]


def test_lists_become_arrays() -> None:
    (embedding,) = api.convert_list_embeddings_to_np([[1.0, 2.0]])
    assert embedding.tolist() == [1, 2]


def test_one_of_each_becomes_a_list_of_one() -> None:
    made = api.normalize_insert_record_set("a", None, {"k": 1}, "d", IMAGE, "u")
    assert made == rows(metadatas=[{"k": 1}], documents=["d"], images=[IMAGE], uris=["u"])
    assert api.normalize_base_record_set(documents="d") == columns(documents=["d"])


def test_what_can_be_embedded() -> None:
    assert api.get_default_embeddable_record_set_fields() == {"documents", "images", "uris"}
