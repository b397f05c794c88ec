"""All functions of Chroma's by their names: what each takes, keeps, and asks the environment for.

The facts are in data/embedding-functions.json. Libraries that run models stand in the way as fakes
that know no more than how they are called; test_local_models.py has the real ones.
"""

import importlib
import inspect
import json
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

import vermilion.utils.embedding_functions as functions
from vermilion.embeddings.lookup import (
    config_to_embedding_function,
    config_to_sparse_embedding_function,
    get_builtins,
    register_all,
)

FACTS = json.loads((Path(__file__).parent / "data/embedding-functions.json").read_text("utf-8"))
EACH = pytest.mark.parametrize("facts", FACTS, ids=lambda facts: facts["class"])
LIBRARIES = ("sentence_transformers", "text2vec", "InstructorEmbedding", "open_clip", "torch")
LIBRARIES += ("fastembed", "fastembed.sparse", "fastembed.sparse.bm25", "boto3")
# What has to be given.
GIVEN: dict[str, Any] = {
    "session": SimpleNamespace(region_name="eu-1", profile_name="me", client=MagicMock()),
    "api_base": "https://model-x.api.baseten.co/v1",
    "model_name": "a-model",
    "model": "a-model",
    "account_id": "acc",
    "url": "http://localhost:8080/embed",
    "task_type": "search_document",
    "query_config": None,
    "task": None,
    "device": "cpu",
    "embedding_function": MagicMock(),
    "api_key": None,
}


@pytest.fixture(autouse=True)
def libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LIBRARIES:
        monkeypatch.setitem(sys.modules, name, MagicMock(name=name, __path__=[]))
    clip = sys.modules["open_clip"]
    clip.create_model_and_transforms.return_value = (MagicMock(),) * 3
    sys.modules["boto3"].Session.side_effect = lambda **_: GIVEN["session"]


def made(facts: dict[str, Any], **more: Any) -> Any:
    """The function with nothing given that need not be."""
    required = {one["name"] for one in facts["params"] if "default" not in one}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return getattr(functions, facts["class"])(
            **{name: GIVEN[name] for name in required}, **more
        )


def keys(monkeypatch: pytest.MonkeyPatch, facts: dict[str, Any]) -> str | None:
    """Sets the variable that has the key, if there is one; returns its name."""
    for name in facts["env"]:
        monkeypatch.delenv(name, raising=False)
    defaults = {one["name"]: one.get("default") for one in facts["params"]}
    variable = defaults.get("api_key_env_var")
    if variable is not None:
        monkeypatch.setenv(variable, "sesame")
    monkeypatch.setenv("GOOGLE_VERTEX_ACCESS_TOKEN", "sesame")
    return None if variable is None else str(variable)


def test_all_of_them_are_there() -> None:
    dense = [name for facts in FACTS if facts["kind"] == "dense" for name in facts["registered"]]
    sparse = [name for facts in FACTS if facts["kind"] == "sparse" for name in facts["registered"]]
    assert (len(dense), len(sparse)) == (29, 5)
    assert {facts["class"] for facts in FACTS} <= get_builtins()


@EACH
def test_names_and_parameters_are_chromas(facts: dict[str, Any]) -> None:
    register_all()
    kind = getattr(functions, facts["class"])
    known = functions.known_embedding_functions
    if facts["kind"] == "sparse":
        known = functions.sparse_known_embedding_functions
    assert all(known[name] is kind for name in facts["registered"])
    got = [
        (one.name, None if one.default is inspect.Parameter.empty else one.default)
        for one in inspect.signature(kind).parameters.values()
        if one.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]
    assert [name for name, _ in got] == [one["name"] for one in facts["params"]]
    for (name, default), one in zip(got, facts["params"], strict=True):
        assert default == one.get("default") or name == "instructions"


@EACH
def test_what_collections_keep_is_chromas(
    facts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys(monkeypatch, facts)
    function = made(facts)
    config = function.get_config()
    assert {key for key in facts["config"] if not key.endswith("?")} == set(config)
    assert json.loads(json.dumps(config)) == config
    if facts["class"] == "ChromaLangchainEmbeddingFunction":
        return  # cannot be rebuilt, and says so
    build = config_to_embedding_function
    if facts["kind"] == "sparse":
        build = config_to_sparse_embedding_function
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        again = build({"name": facts["registered"][0], "config": config})
    assert again.get_config() == config
    function.validate_config_update(config, config)


@EACH
def test_what_vectors_depend_on_cannot_be_changed(
    facts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys(monkeypatch, facts)
    function = made(facts)
    config = function.get_config()
    for name in facts["fixed"]:
        with pytest.raises(ValueError, match="cannot be changed"):
            function.validate_config_update(config, {**config, name: "another"})


@EACH
def test_spaces_are_chromas(facts: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    if facts["kind"] == "dense":
        keys(monkeypatch, facts)
        assert made(facts).default_space() == facts["space"]


@EACH
def test_keys_come_from_chromas_variables(
    facts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = keys(monkeypatch, facts)
    if variable is None or facts["class"] in ("GoogleVertexEmbeddingFunction",):
        return  # the key is not asked for
    assert made(facts).get_config()["api_key_env_var"] == variable
    for preferred in set(facts["env"]) - {variable}:
        monkeypatch.setenv(preferred, "preferred")
        assert made(facts).get_config()["api_key_env_var"] == preferred
        monkeypatch.delenv(preferred)
    monkeypatch.delenv(variable)
    if facts["class"] != "GooglePalmEmbeddingFunction":
        with pytest.raises(ValueError, match=f"{variable} environment variable is not set"):
            made(facts)


@EACH
def test_a_config_with_an_unknown_key_is_refused(
    facts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys(monkeypatch, facts)
    if facts["class"] in ("DefaultEmbeddingFunction", "ChromaLangchainEmbeddingFunction"):
        return  # other clients store more of the first; the second cannot be rebuilt
    kind = getattr(functions, facts["class"])
    config = {**made(facts).get_config(), "surprise": 1}
    with pytest.raises(ValueError, match="surprise"):
        kind.build_from_config(config)


@pytest.mark.parametrize(
    "name", ["SentenceTransformerEmbeddingFunction", "HuggingFaceSparseEmbeddingFunction"]
)
def test_no_model_brings_code_of_its_own(name: str) -> None:
    [facts] = [one for one in FACTS if one["class"] == name]
    with pytest.raises(ValueError, match="trust_remote_code is not allowed"):
        made(facts, trust_remote_code=True)
    config = {**made(facts).get_config(), "kwargs": {"trust_remote_code": True}}
    with pytest.raises(ValueError, match="trust_remote_code is not allowed"):
        getattr(functions, name).build_from_config(config)


def test_the_modules_of_sparse_ones_have_chromas_paths() -> None:
    compat = importlib.import_module("vermilion.compat.paths")
    for name in ("bm25", "chroma_bm25", "chroma_cloud_splade", "fastembed_sparse"):
        assert f"{name}_embedding_function" in compat._FUNCTION_MODULES
    assert "huggingface_sparse_embedding_function" in compat._FUNCTION_MODULES


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastembed", None)
    with pytest.raises(ValueError, match="fastembed python package is not .* `pip install fastem"):
        functions.FastembedSparseEmbeddingFunction("m")
