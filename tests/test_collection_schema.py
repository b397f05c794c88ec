"""Schemas of collections: accepted, kept, given back, and honoured."""

from __future__ import annotations

from typing import Any

import pytest

from test_search_api import Initials
from vermilion.api.client import Client
from vermilion.embeddings.bm25 import ChromaBm25EmbeddingFunction
from vermilion.errors import InvalidArgumentError
from vermilion.query.search import Knn, Search
from vermilion.schema.builder import (
    BoolInvertedIndexConfig,
    Cmek,
    FloatInvertedIndexConfig,
    FtsIndexConfig,
    HnswIndexConfig,
    IntInvertedIndexConfig,
    Schema,
    SparseVectorIndexConfig,
    StringInvertedIndexConfig,
    VectorIndexConfig,
)

RESOURCE = "projects/p/locations/l/keyRings/r/cryptoKeys/k"


def off(*configs: Any, key: str | None = None) -> Schema:
    schema = Schema()
    for config in configs:
        schema.delete_index(config, key)
    return schema


def special() -> Schema:
    return off(IntInvertedIndexConfig(), key="page")


# ── the configuration ────────────────────────────────────────────────────────────────────────────


def test_the_vector_index_is_configured_by_the_schema(client: Client) -> None:
    index = VectorIndexConfig(
        space="cosine", embedding_function=Initials(), hnsw=HnswIndexConfig(ef_search=77)
    )
    made = client.create_collection("things", schema=Schema().create_index(index))
    for collection in (made, client.get_collection("things")):
        assert collection.configuration_json["hnsw"]["space"] == "cosine"
        assert collection.configuration_json["hnsw"]["ef_search"] == 77
        assert collection.configuration_json["embedding_function"]["name"] == "test-initials"
        types = collection.schema.keys["#embedding"].float_list
        assert types is not None and types.vector_index is not None
        config = types.vector_index.config
        assert (config.space, config.source_key) == ("cosine", "#document")
        assert config.hnsw is not None and config.hnsw.ef_search == 77
        assert isinstance(config.embedding_function, Initials)
    made.add("a", documents="east")
    assert client.get_collection("things").query(query_texts="east")["ids"] == [["a"]]


def test_a_space_alone_keeps_the_default_function(client: Client) -> None:
    schema = Schema().create_index(VectorIndexConfig(space="ip"))
    collection = client.create_collection("things", schema=schema)
    assert collection.configuration_json["embedding_function"]["name"] == "default"
    assert collection.configuration_json["hnsw"]["space"] == "ip"


def test_a_schema_without_a_function_takes_vectors_only(client: Client) -> None:
    schema = Schema().create_index(VectorIndexConfig(embedding_function=None))
    collection = client.create_collection("things", schema=schema)
    assert collection.configuration_json["embedding_function"] == {"type": "legacy"}
    with pytest.raises(ValueError, match="You must provide an embedding function"):
        collection.add("a", documents="text")


def test_changes_of_the_configuration_show_in_the_schema(client: Client) -> None:
    collection = client.create_collection("things", schema=special())
    collection.modify(configuration={"hnsw": {"ef_search": 55}})
    types = collection.schema.keys["#embedding"].float_list
    assert types is not None and types.vector_index is not None
    assert types.vector_index.config.hnsw == HnswIndexConfig(
        ef_construction=100,
        max_neighbors=16,
        ef_search=55,
        batch_size=100,
        sync_threshold=1000,
        resize_factor=1.2,
    )


def test_every_collection_has_a_schema(client: Client) -> None:
    schema = client.create_collection("things", configuration={"hnsw": {"space": "ip"}}).schema
    form = schema.serialize_to_json()
    assert form["defaults"]["int"] == {"int_inverted_index": {"enabled": True, "config": {}}}
    vectors = form["keys"]["#embedding"]["float_list"]["vector_index"]
    assert (vectors["enabled"], vectors["config"]["space"]) == (True, "ip")


@pytest.mark.parametrize(
    "more",
    [
        {"configuration": {"hnsw": {"space": "cosine"}}},
        {"embedding_function": Initials()},
        {"metadata": {"hnsw:space": "ip"}},
    ],
)
def test_either_the_schema_or_the_configuration(client: Client, more: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="Cannot set both collection config and schema"):
        client.create_collection("things", schema=special(), **more)
    assert client.count_collections() == 0
    client.create_collection("things", schema=Schema(), **more)


def test_an_existing_collection_keeps_its_schema(client: Client) -> None:
    client.create_collection("things", schema=special())
    again = client.get_or_create_collection("things", schema=Schema())
    assert again.schema.keys["page"] == special().keys["page"]


# ── filters ──────────────────────────────────────────────────────────────────────────────────────

ALL_OFF = (
    StringInvertedIndexConfig(),
    IntInvertedIndexConfig(),
    FloatInvertedIndexConfig(),
    BoolInvertedIndexConfig(),
)


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ({"a": 1}, "Int"),
        ({"a": 1.5}, "Float"),
        ({"a": "x"}, "Str"),
        ({"a": True}, "Bool"),
        ({"a": {"$in": [1, 2]}}, "Int"),
        ({"a": {"$contains": "x"}}, "Str"),
        ({"$or": [{"a": {"$ne": "x"}}, {"#id": "y"}]}, "Str"),
    ],
)
def test_what_is_not_indexed_cannot_be_filtered(client: Client, where: Any, told: str) -> None:
    collection = client.create_collection("things", schema=off(*ALL_OFF))
    for fill in (False, True):
        if fill:
            collection.add("1", [[1.0]], [{"a": 1}])
        for call in (
            lambda: collection.get(where=where),
            lambda: collection.query([[1.0]], where=where),
            lambda: collection.delete(where=where),
            lambda: collection.search(Search(where)),
            lambda: collection.explain([[1.0]], where=where),
            lambda: collection.why_not("1", [[1.0]], where=where),
        ):
            with pytest.raises(InvalidArgumentError) as refusal:
                call()
            words = f"Cannot filter using metadata key 'a' with type '{told}' because indexing is"
            assert words in str(refusal.value)
    assert collection.get(where={"#id": "1"})["ids"] == ["1"]


def test_one_key_may_differ_from_the_others(client: Client) -> None:
    schema = off(IntInvertedIndexConfig()).create_index(IntInvertedIndexConfig(), "b")
    schema.delete_index(StringInvertedIndexConfig(), "b")
    collection = client.create_collection("things", schema=schema)
    collection.add("1", [[1.0]], [{"a": 1, "b": 1}])
    assert collection.get(where={"b": 1})["ids"] == ["1"]
    assert collection.get(where={"a": "x"})["ids"] == []
    for where in ({"a": 1}, {"b": "x"}):
        with pytest.raises(InvalidArgumentError, match="indexing is disabled"):
            collection.get(where=where)


def test_texts_that_are_not_indexed_cannot_be_searched(client: Client) -> None:
    collection = client.create_collection("things", schema=off(FtsIndexConfig(), key="#document"))
    for call in (
        lambda: collection.get(where_document={"$contains": "x"}),
        lambda: collection.get(where={"#document": {"$regex": "x"}}),
        lambda: collection.search(Search(rank=Knn("x", "#document"))),
    ):
        with pytest.raises(InvalidArgumentError, match="FTS indexing is disabled"):
            call()


# ── sparse indexes and keys ──────────────────────────────────────────────────────────────────────


def test_sparse_indexes_come_back_with_their_functions(client: Client) -> None:
    config = SparseVectorIndexConfig(
        embedding_function=ChromaBm25EmbeddingFunction(k=1.5), source_key="title", bm25=True
    )
    schema = Schema().create_index(config, "one").create_index(SparseVectorIndexConfig(), "two")
    client.create_collection("things", schema=schema)
    given = client.get_collection("things").schema
    for key in ("one", "two"):
        assert given.keys[key] == schema.keys[key]


def test_a_key_for_encryption_is_kept(client: Client) -> None:
    client.create_collection("things", schema=Schema().set_cmek(Cmek.gcp(RESOURCE)))
    assert client.get_collection("things").schema.cmek == Cmek.gcp(RESOURCE)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (Schema().set_cmek(Cmek.gcp("bad")), "CMEK does not match expected pattern"),
        (Schema(keys={"#other": Schema().defaults}), "key '#other' is reserved"),
        (Schema(keys={"a": Schema().keys["#embedding"]}), "the vector index belongs to"),
        (Schema(defaults=Schema().keys["#embedding"]), "the vector index belongs to"),
        (
            Schema.deserialize_from_json(
                {
                    "keys": {
                        "#embedding": {
                            "float_list": {
                                "vector_index": {"enabled": True, "config": {"source_key": "a"}}
                            }
                        }
                    }
                }
            ),
            "the embedding is made of '#document', not of 'a'",
        ),
        (
            Schema().create_index(
                VectorIndexConfig(hnsw=HnswIndexConfig(max_neighbors=1)),
            ),
            "max_neighbors",
        ),
    ],
)
def test_what_no_collection_can_have_is_refused(client: Client, schema: Any, words: str) -> None:
    with pytest.raises(InvalidArgumentError) as refusal:
        client.create_collection("things", schema=schema)
    assert words in str(refusal.value)
    assert client.count_collections() == 0


def test_something_else_is_no_schema(client: Client) -> None:
    with pytest.raises(TypeError, match="Expected schema to be a Schema, got dict"):
        client.create_collection("things", schema={"keys": {}})


def test_a_partial_schema_leaves_the_rest_to_the_defaults(client: Client) -> None:
    schema = Schema.deserialize_from_json({"keys": {"a": {"int": {"int_inverted_index": {
        "enabled": False, "config": {}}}}}})  # fmt: skip
    collection = client.create_collection("things", schema=schema)
    assert collection.schema.defaults == client.create_collection("other").schema.defaults
    with pytest.raises(InvalidArgumentError, match="'a' with type 'Int'"):
        collection.get(where={"a": 1})
