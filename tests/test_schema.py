"""The index schema: its forms, what may be switched on and off, and what is refused.

The forms were compared with those of chromadb 1.5.9 after the same calls.
"""

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from vermilion.query.keys import K
from vermilion.schema.builder import (
    DEFAULT_FUNCTION,
    BoolInvertedIndexConfig,
    Cmek,
    CmekProvider,
    FloatInvertedIndexConfig,
    FtsIndexConfig,
    HnswIndexConfig,
    IntInvertedIndexConfig,
    Schema,
    SpannIndexConfig,
    SparseVectorIndexConfig,
    StringInvertedIndexConfig,
    ValueTypes,
    VectorIndexConfig,
)

Form = dict[str, Any]

DEFAULT = {"type": "known", "name": "default", "config": {}}
KNOWN = {"type": "known", "name": "mine", "config": {"a": 1}}
RESOURCE = "projects/p/locations/l/keyRings/r/cryptoKeys/k"


class Mine:
    """An embedding function as far as a schema cares."""

    def __call__(self, input: list[str]) -> list[list[float]]:
        return [[1.0] for _ in input]

    @staticmethod
    def name() -> str:
        return "mine"

    def get_config(self) -> Form:
        return {"a": 1}

    def default_space(self) -> str:
        return "cosine"

    def supported_spaces(self) -> list[str]:
        return ["cosine", "l2"]


class Nameless:
    def __call__(self, input: list[str]) -> list[list[float]]:
        return [[1.0] for _ in input]


class Unsaid(Nameless):
    def name(self) -> str:
        raise NotImplementedError

    def get_config(self) -> Form:
        return {}


class Unsaying(Nameless):
    def name(self) -> Any:
        return NotImplemented

    def get_config(self) -> Any:
        return NotImplemented


def switch(enabled: bool, **config: Any) -> Form:
    return {"enabled": enabled, "config": config}


def vectors(enabled: bool, **config: Any) -> Form:
    return {"float_list": {"vector_index": switch(enabled, **config)}}


def sparse(**config: Any) -> Form:
    return {"sparse_vector": {"sparse_vector_index": switch(True, **config)}}


def inverted(value: str, enabled: bool) -> Form:
    return {value: {f"{value}_inverted_index": switch(enabled)}}


def default_form() -> Form:
    return {
        "defaults": {
            "string": {"fts_index": switch(False), "string_inverted_index": switch(True)},
            **vectors(False, space="l2", embedding_function=DEFAULT),
            "sparse_vector": {
                "sparse_vector_index": switch(False, embedding_function={"type": "unknown"})
            },
            **inverted("int", True),
            **inverted("float", True),
            **inverted("bool", True),
        },
        "keys": {
            "#document": {
                "string": {"fts_index": switch(True), "string_inverted_index": switch(False)}
            },
            "#embedding": vectors(
                True, space="l2", source_key="#document", embedding_function=DEFAULT
            ),
        },
    }


def test_a_new_schema_has_the_form_of_chromas() -> None:
    assert Schema().serialize_to_json() == default_form()


# ── vectors ──────────────────────────────────────────────────────────────────────────────────────

HNSW = {
    "ef_construction": 1,
    "max_neighbors": 2,
    "ef_search": 3,
    "num_threads": 4,
    "batch_size": 5,
    "sync_threshold": 6,
    "resize_factor": 1.5,
}
SPANN = {
    "search_nprobe": 1,
    "write_nprobe": 2,
    "ef_construction": 3,
    "ef_search": 4,
    "max_neighbors": 5,
    "reassign_neighbor_count": 6,
    "split_threshold": 7,
    "merge_threshold": 8,
}
LEGACY = {"type": "legacy"}

VECTORS: list[tuple[VectorIndexConfig, Form]] = [
    (VectorIndexConfig(), {"space": "l2", "embedding_function": DEFAULT}),
    (VectorIndexConfig(space="cosine"), {"space": "cosine", "embedding_function": DEFAULT}),
    (
        VectorIndexConfig(space="ip", embedding_function=None),
        {"space": "ip", "embedding_function": LEGACY},
    ),
    (VectorIndexConfig(embedding_function=None), {"embedding_function": LEGACY}),
    (VectorIndexConfig(embedding_function=Nameless()), {"embedding_function": LEGACY}),
    (VectorIndexConfig(embedding_function=Unsaid()), {"embedding_function": LEGACY}),
    (VectorIndexConfig(embedding_function=Unsaying()), {"embedding_function": LEGACY}),
    (
        VectorIndexConfig(embedding_function=Mine()),
        {"space": "cosine", "embedding_function": KNOWN},
    ),
    (
        VectorIndexConfig(embedding_function=Mine(), space="l2"),
        {"space": "l2", "embedding_function": KNOWN},
    ),
    (VectorIndexConfig(embedding_function=KNOWN), {"embedding_function": KNOWN}),
    (
        VectorIndexConfig(hnsw=HnswIndexConfig(ef_search=7)),
        {"space": "l2", "embedding_function": DEFAULT, "hnsw": {"ef_search": 7}},
    ),
    (
        VectorIndexConfig(hnsw=HnswIndexConfig()),
        {"space": "l2", "embedding_function": DEFAULT, "hnsw": {}},
    ),
    (
        VectorIndexConfig(hnsw=HNSW, spann=SPANN),
        {"space": "l2", "embedding_function": DEFAULT, "hnsw": HNSW, "spann": SPANN},
    ),
    (
        VectorIndexConfig(spann=SpannIndexConfig(search_nprobe=1, quantize=True)),
        {"space": "l2", "embedding_function": DEFAULT, "spann": {"search_nprobe": 1}},
    ),
]


@pytest.mark.parametrize(("config", "form"), VECTORS)
def test_a_vector_index_is_set_in_the_defaults_and_on_for_embeddings(
    config: VectorIndexConfig, form: Form
) -> None:
    expected = default_form()
    expected["defaults"] |= vectors(False, **form)
    expected["keys"]["#embedding"] = vectors(True, **form, source_key="#document")
    assert Schema().create_index(config).serialize_to_json() == expected


def test_the_embedding_key_always_has_the_document_as_its_source() -> None:
    keyed = Schema().create_index(VectorIndexConfig(source_key=K("abc"))).serialize_to_json()
    default = keyed["defaults"]["float_list"]["vector_index"]["config"]
    embedding = keyed["keys"]["#embedding"]["float_list"]["vector_index"]["config"]
    assert (default["source_key"], embedding["source_key"]) == ("abc", "#document")


def test_a_space_that_the_function_does_not_support_is_a_warning() -> None:
    schema = Schema().create_index(VectorIndexConfig(embedding_function=Mine(), space="ip"))
    with pytest.warns(UserWarning, match="space ip is not supported by mine"):
        form = schema.serialize_to_json()
    assert form["keys"]["#embedding"]["float_list"]["vector_index"]["config"]["space"] == "ip"


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────

UNKNOWN = {"embedding_function": {"type": "unknown"}}

KEYS: list[tuple[Schema, Form]] = [
    (Schema().create_index(FtsIndexConfig(), "#document"), {}),
    (
        Schema().delete_index(FtsIndexConfig(), K.DOCUMENT),
        {
            "#document": {
                "string": {"fts_index": switch(False), "string_inverted_index": switch(False)}
            }
        },
    ),
    (
        Schema().create_index(StringInvertedIndexConfig(), "a"),
        {"a": inverted("string", True)},
    ),
    (
        Schema().delete_index(StringInvertedIndexConfig(), K("a")),
        {"a": inverted("string", False)},
    ),
    (Schema().delete_index(IntInvertedIndexConfig(), "a"), {"a": inverted("int", False)}),
    (Schema().delete_index(FloatInvertedIndexConfig(), "a"), {"a": inverted("float", False)}),
    (Schema().delete_index(BoolInvertedIndexConfig(), "a"), {"a": inverted("bool", False)}),
    (
        Schema()
        .delete_index(StringInvertedIndexConfig(), "a")
        .create_index(IntInvertedIndexConfig(), "a"),
        {"a": inverted("string", False) | inverted("int", True)},
    ),
    (Schema().create_index(SparseVectorIndexConfig(), "sp"), {"sp": sparse(**UNKNOWN)}),
    (
        Schema().create_index(SparseVectorIndexConfig(bm25=True), "sp"),
        {"sp": sparse(**UNKNOWN, bm25=True)},
    ),
    (
        Schema().create_index(
            SparseVectorIndexConfig(embedding_function=Mine(), source_key="#document"), "sp"
        ),
        {"sp": sparse(embedding_function=KNOWN, source_key="#document")},
    ),
    (
        Schema().create_index(SparseVectorIndexConfig(embedding_function=Nameless()), "sp"),
        {"sp": sparse(**UNKNOWN)},
    ),
    (
        Schema()
        .create_index(SparseVectorIndexConfig(), "sp")
        .create_index(SparseVectorIndexConfig(bm25=False), "sp2"),
        {"sp": sparse(**UNKNOWN), "sp2": sparse(**UNKNOWN, bm25=False)},
    ),
]


@pytest.mark.parametrize(("schema", "keys"), KEYS)
def test_an_index_of_one_key_is_written_under_that_key(schema: Schema, keys: Form) -> None:
    expected = default_form()
    expected["keys"] |= keys
    assert schema.serialize_to_json() == expected


@pytest.mark.parametrize(
    ("config", "value"),
    [
        (IntInvertedIndexConfig(), "int"),
        (FloatInvertedIndexConfig(), "float"),
        (BoolInvertedIndexConfig(), "bool"),
    ],
)
def test_an_inverted_index_is_switched_for_all_keys(config: Any, value: str) -> None:
    off, on = default_form(), default_form()
    off["defaults"] |= inverted(value, False)
    schema = Schema().delete_index(config)
    assert schema.serialize_to_json() == off
    assert schema.create_index(config).serialize_to_json() == on


def test_schemas_can_be_asked_for_their_indexes() -> None:
    schema = Schema().delete_index(IntInvertedIndexConfig(), "page")
    assert schema.keys["page"] != ValueTypes()
    value = schema.keys["page"].int_value
    assert value is not None
    assert value.int_inverted_index is not None
    assert not value.int_inverted_index.enabled
    assert schema.keys["page"].string is None
    assert schema.defaults.boolean == Schema().defaults.boolean


def test_every_schema_has_its_own_keys() -> None:
    Schema().create_index(IntInvertedIndexConfig(), "a")
    assert sorted(Schema().keys) == ["#document", "#embedding"]


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "schema",
    [
        *[schema for schema, _ in KEYS],
        *[Schema().create_index(config) for config, _ in VECTORS],
        Schema().set_cmek(Cmek.gcp(RESOURCE)),
    ],
)
def test_what_was_written_is_read_back(schema: Schema) -> None:
    form = schema.serialize_to_json()
    again = Schema.deserialize_from_json(json.loads(json.dumps(form)))
    assert again.serialize_to_json() == form


def test_reading_twice_gives_equal_schemas() -> None:
    once = Schema.deserialize_from_json(Schema().serialize_to_json())
    assert Schema.deserialize_from_json(once.serialize_to_json()) == once


def test_what_a_form_does_not_mention_stays_unsaid() -> None:
    assert Schema.deserialize_from_json({}) == Schema(ValueTypes(), {}, None)
    form = {"defaults": {}, "keys": {"a": {"int": {}}, "b": inverted("bool", False)}}
    assert Schema.deserialize_from_json(form).serialize_to_json() == form


def test_a_vector_index_without_a_function_has_the_default_one() -> None:
    form = {"defaults": vectors(False), "keys": {}}
    read = Schema.deserialize_from_json(form).defaults.float_list
    assert read is not None
    assert read.vector_index is not None
    assert read.vector_index.config == VectorIndexConfig()
    assert read.vector_index.config.embedding_function == DEFAULT_FUNCTION


@pytest.mark.parametrize("function", [{"type": "legacy"}, {"type": "unknown"}, None])
def test_a_function_that_nobody_can_build_is_none(function: Form | None) -> None:
    form = {"keys": {"#embedding": vectors(True, space="ip", embedding_function=function)}}
    read = Schema.deserialize_from_json(form).keys["#embedding"].float_list
    assert read is not None
    assert read.vector_index is not None
    assert read.vector_index.config == VectorIndexConfig(space="ip", embedding_function=None)


def test_known_functions_are_built_by_the_caller() -> None:
    built = Mine()
    asked: list[Form] = []

    def build(form: Form) -> Mine:
        asked.append(form)
        return built

    form = Schema().create_index(VectorIndexConfig(embedding_function=Mine())).serialize_to_json()
    read = Schema.deserialize_from_json(form, build=build).keys["#embedding"].float_list
    assert read is not None
    assert read.vector_index is not None
    assert read.vector_index.config.embedding_function is built
    assert asked == [KNOWN, KNOWN]


@pytest.mark.parametrize(
    "form",
    [
        {"defaults": {}, "key_overrides": {"a": inverted("int", False)}},
        {"keys": {"a": {"#int": {"$int_inverted_index": switch(False)}}}},
        {"keys": {"a": {"int": {"int_inverted_index": {"enabled": False}}}}},
        {"keys": {"a": inverted("int", False)}, "source_attached_function_id": "x"},
    ],
)
def test_other_spellings_of_a_schema_are_read(form: Form) -> None:
    assert Schema.deserialize_from_json(form).serialize_to_json() == {
        "defaults": {},
        "keys": {"a": inverted("int", False)},
    }


def test_a_schema_can_be_copied_and_pickled() -> None:
    schema = Schema().create_index(VectorIndexConfig(space="ip", hnsw={"ef_search": 3}))
    assert copy.deepcopy(schema) == schema
    assert pickle.loads(pickle.dumps(schema)) == schema


# ── encryption ───────────────────────────────────────────────────────────────────────────────────


def test_a_customers_key_is_part_of_the_schema() -> None:
    schema = Schema().set_cmek(Cmek.gcp(RESOURCE))
    assert schema.serialize_to_json() == default_form() | {"cmek": {"gcp": RESOURCE}}
    assert schema.set_cmek(None).serialize_to_json() == default_form()


def test_a_customers_key_is_read_back() -> None:
    assert Cmek.from_dict(Cmek.gcp("r").to_dict()) == Cmek(CmekProvider.GCP, "r")
    assert CmekProvider.GCP.value == "gcp"


@pytest.mark.parametrize(
    ("resource", "valid"),
    [
        (RESOURCE, True),
        (f"{RESOURCE}/cryptoKeyVersions/1", True),
        ("bad", False),
        ("", False),
        (f"x{RESOURCE}", False),
        (f"{RESOURCE}\n", False),
        ("projects//locations/l/keyRings/r/cryptoKeys/k", False),
    ],
)
def test_the_name_of_a_customers_key_has_a_pattern(resource: str, valid: bool) -> None:
    assert Cmek.gcp(resource).validate_pattern() is valid


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────

V, SP, FTS, STR = (
    VectorIndexConfig,
    SparseVectorIndexConfig,
    FtsIndexConfig,
    StringInvertedIndexConfig,
)


def read(form: Any) -> Schema:
    return Schema.deserialize_from_json({"keys": {"a": form}})


REFUSALS: list[tuple[Callable[[], Any], str]] = [
    (lambda: Schema().create_index(), "Cannot enable all index types globally"),
    (lambda: Schema().create_index(key="a"), "Cannot enable all index types for key 'a'"),
    (lambda: Schema().create_index(1), "config must be one of"),  # type: ignore[arg-type]
    (lambda: Schema().create_index(HnswIndexConfig()), "config must be one of"),  # type: ignore[arg-type]
    (lambda: Schema().create_index(V(), "#embedding"), "special key '#embedding'"),
    (lambda: Schema().create_index(FTS(), K.EMBEDDING), "special key '#embedding'"),
    (lambda: Schema().create_index(key="#embedding"), "special key '#embedding'"),
    (lambda: Schema().create_index(STR(), "#document"), "special key '#document'"),
    (lambda: Schema().create_index(V(), "#document"), "special key '#document'"),
    (lambda: Schema().create_index(key="#document"), "Only FtsIndexConfig is allowed"),
    (lambda: Schema().create_index(STR(), "#id"), "key cannot begin with '#'"),
    (lambda: Schema().create_index(V(), "a"), "Vector index cannot be enabled on specific keys"),
    (lambda: Schema().create_index(FTS()), "FTS index can only be enabled on #document"),
    (lambda: Schema().create_index(FTS(), "a"), "FTS index can only be enabled on #document"),
    (lambda: Schema().create_index(SP()), "must be created on a specific key"),
    (lambda: Schema().create_index(SP(source_key="a"), "sp"), "If source_key is provided"),
    (lambda: Schema().delete_index(), "Cannot disable all indexes"),
    (lambda: Schema().delete_index(key="a"), "Cannot disable all index types for key 'a'"),
    (lambda: Schema().delete_index(1), "config must be one of"),  # type: ignore[arg-type]
    (lambda: Schema().delete_index(V(), "#embedding"), "Cannot modify #embedding"),
    (lambda: Schema().delete_index(key="#embedding"), "Cannot modify #embedding"),
    (lambda: Schema().delete_index(key="#document"), "special key '#document'"),
    (lambda: Schema().delete_index(STR(), "#document"), "special key '#document'"),
    (lambda: Schema().delete_index(STR(), "#x"), "key cannot begin with '#'"),
    (lambda: Schema().delete_index(V()), "Deleting vector index is not currently supported"),
    (lambda: Schema().delete_index(V(), "a"), "Deleting vector index is not currently supported"),
    (lambda: Schema().delete_index(SP(), "a"), "Deleting sparse vector index is not currently"),
    (lambda: Schema().delete_index(FTS()), "Deleting FTS index is only supported on #document"),
    (lambda: Schema().delete_index(FTS(), "a"), "Deleting FTS index is only supported"),
    (lambda: read({"text": {}}), "'text' is not a valid field for value types"),
    (lambda: read({"int": {"fts_index": {}}}), "'fts_index' is not a valid field for int"),
    (lambda: read({"int": {"int_inverted_index": {"on": 1}}}), "'on' is not a valid field"),
    (lambda: read({"int": {"int_inverted_index": {"enabled": 1}}}), "enabled must be a bool"),
    (lambda: read(vectors(True, bad=1)), "'bad' is not a valid field for VectorIndexConfig"),
    (lambda: read(vectors(True, hnsw={"m": 1})), "'m' is not a valid field for HnswIndexConfig"),
    (lambda: read(vectors(True, embedding_function={"type": "x"})), "Expected embedding_function"),
    (lambda: read(vectors(True, embedding_function={"type": "known"})), "Expected embedding_func"),
    (lambda: Cmek.from_dict({}), "Unsupported or missing CMEK provider"),
    (lambda: Cmek.from_dict({"aws": "r"}), "Unsupported or missing CMEK provider"),
    (lambda: Cmek.from_dict({"gcp": 1}), "CMEK gcp resource must be a string"),
]


@pytest.mark.parametrize(("attempt", "anchor"), REFUSALS)
def test_what_a_schema_cannot_say_is_a_value_error(attempt: Callable[[], Any], anchor: str) -> None:
    with pytest.raises(ValueError) as refusal:
        attempt()
    assert anchor in str(refusal.value)


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: Schema().create_index(STR(), 1),  # type: ignore[arg-type]
        lambda: Schema().set_cmek(1),  # type: ignore[arg-type]
        lambda: Schema.deserialize_from_json(1),  # type: ignore[arg-type]
        lambda: Schema.deserialize_from_json({"keys": [1]}),
    ],
)
def test_what_is_no_key_or_form_at_all_is_a_type_error(attempt: Callable[[], Any]) -> None:
    with pytest.raises(TypeError):
        attempt()
