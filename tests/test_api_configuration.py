"""The configuration of a collection as typed dicts and as JSON, both ways."""

import json
from typing import Any

import pytest

from vermilion.compat import configuration as api
from vermilion.embeddings.base import EmbeddingFunction, known_embedding_functions
from vermilion.embeddings.default import DefaultEmbeddingFunction

DEFAULT = DefaultEmbeddingFunction()
STORED = {"type": "known", "name": "default", "config": {}}
LEGACY = {"type": "legacy"}


class Fixed(EmbeddingFunction[Any]):
    def __call__(self, input: Any) -> Any:
        return [[1.0] for _ in input]

    @staticmethod
    def name() -> str:
        return "fixed"

    def get_config(self) -> dict[str, Any]:
        return {}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> "Fixed":
        return Fixed()


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(known_embedding_functions, "fixed", raising=False)


@pytest.mark.parametrize(
    ("form", "loaded"),
    [
        ({}, {"hnsw": None, "spann": None, "embedding_function": None}),
        (
            {"hnsw": {"space": "cosine"}, "embedding_function": STORED},
            {"hnsw": {"space": "cosine"}, "spann": None, "embedding_function": DEFAULT},
        ),
        (
            {"spann": {"space": "ip"}, "embedding_function": LEGACY},
            {"hnsw": None, "spann": {"space": "ip"}, "embedding_function": None},
        ),
    ],
)
def test_loading(form: dict[str, Any], loaded: dict[str, Any]) -> None:
    assert api.load_collection_configuration_from_json(form) == loaded
    assert api.load_collection_configuration_from_json_str(json.dumps(form)) == loaded


def test_what_was_written_can_be_loaded() -> None:
    made: Any = {"hnsw": {"ef_search": 9}, "spann": None, "embedding_function": DEFAULT}
    form = api.collection_configuration_to_json(made)
    assert form == {"hnsw": {"ef_search": 9}, "spann": None, "embedding_function": STORED}
    assert json.loads(api.collection_configuration_to_json_str(made)) == form
    assert api.load_collection_configuration_from_json(form) == made


def test_no_function_is_written_as_legacy() -> None:
    form = {"hnsw": None, "spann": None, "embedding_function": LEGACY}
    assert api.create_collection_configuration_to_json({}) == form
    assert json.loads(api.create_collection_configuration_to_json_str({})) == form


def test_of_a_part_only_that_part_is_loaded() -> None:
    change = {"hnsw": {"ef_search": 9}}
    assert api.load_create_collection_configuration_from_json({}) == {}
    assert api.load_update_collection_configuration_from_json({}) == {}
    assert api.load_update_collection_configuration_from_json(change) == change
    assert api.load_update_collection_configuration_from_json_str(json.dumps(change)) == change


def test_a_change_is_written() -> None:
    form = {"hnsw": {"ef_search": 9}, "spann": None, "embedding_function": None}
    assert api.update_collection_configuration_to_json({"hnsw": {"ef_search": 9}}) == form
    assert api.update_collection_configuration_to_json({}) == {}
    assert api.update_collection_configuration_to_json_str({}) == "{}"


@pytest.mark.parametrize(
    ("function", "argument", "told"),
    [
        (api.load_collection_configuration_from_json, {"hnsw": {}, "spann": {}}, "cannot both"),
        (api.load_collection_configuration_from_json, {"hnsw": {"zz": 1}}, "unknown field"),
        (api.create_collection_configuration_to_json, {"hnsw": {"space": "zz"}}, "variant"),
        (api.load_update_collection_configuration_from_json, {"hnsw": {"space": "l2"}}, "unknown"),
        (api.update_collection_configuration_to_json, {"hnsw": {"space": "l2"}}, "unknown field"),
    ],
)
def test_what_cannot_be_set_is_refused(function: Any, argument: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        function(argument)


def test_old_metadata_becomes_configuration() -> None:
    create = api.create_collection_configuration_from_legacy_collection_metadata
    made: Any = create({"hnsw:space": "ip", "hnsw:M": 32, "x": 1})["hnsw"]
    assert (made["space"], made["max_neighbors"], made["ef_search"]) == ("ip", 32, 100)
    assert isinstance(made["num_threads"], int)
    update = api.update_collection_configuration_from_legacy_collection_metadata
    assert update({"hnsw:search_ef": 5, "x": 1}) == {"hnsw": {"ef_search": 5}}


def test_overwriting() -> None:
    old: Any = {"hnsw": {"space": "l2", "ef_search": 1}, "spann": None, "embedding_function": None}
    new = api.overwrite_collection_configuration(old, {"hnsw": {"ef_search": 9}})
    assert new == old | {"hnsw": {"space": "l2", "ef_search": 9}}
    assert api.overwrite_collection_configuration(old, {}) == old
    with_function = api.overwrite_collection_configuration(old, {"embedding_function": DEFAULT})
    assert with_function["embedding_function"] == DEFAULT
    with pytest.raises(ValueError, match="incompatible types: default and fixed"):
        api.overwrite_collection_configuration(with_function, {"embedding_function": Fixed()})


@pytest.mark.parametrize(
    ("given", "inside"),
    [(Fixed(), Fixed()), (DEFAULT, Fixed()), (None, Fixed()), (Fixed(), None)],
)
def test_functions_that_agree(given: Any, inside: Any) -> None:
    api.validate_embedding_function_conflict_on_create(given, inside)


@pytest.mark.parametrize("stored", [None, LEGACY, {"type": "known", "name": "fixed", "config": {}}])
def test_functions_that_may_be_used(stored: Any) -> None:
    api.validate_embedding_function_conflict_on_get(Fixed(), stored)


def test_functions_that_conflict() -> None:
    with pytest.raises(ValueError, match="Multiple embedding functions provided"):
        api.validate_embedding_function_conflict_on_create(Fixed(), DEFAULT)
    with pytest.raises(ValueError, match="An embedding function already exists.*default and fixed"):
        api.validate_embedding_function_conflict_on_get(Fixed(), STORED)
