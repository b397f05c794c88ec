"""install_as_chromadb: every path and name of the table, and programs written for Chroma."""

import importlib
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import vermilion
from vermilion.compat.paths import CHROMA_VERSION, TABLE, _Unknown, entries, install_as_chromadb

# ── the table ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", TABLE)
def test_every_row_names_something_of_ours(path: str) -> None:
    for theirs, home in entries(path).items():
        assert resolve_name(home) is not None, theirs


@pytest.mark.parametrize("path", TABLE)
def test_every_name_stands_once_in_its_module(path: str) -> None:
    names = [name.partition("=")[0] for _, many in TABLE[path] for name in many.split()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("path", TABLE)
def test_every_module_has_a_parent_with_room_for_it(path: str) -> None:
    parent, _, name = path.rpartition(".")
    assert not parent or name not in entries(parent)


def test_the_index_names_are_those_of_the_schema() -> None:
    from vermilion.compat import types as api_types
    from vermilion.schema.types import ROWS

    constants = {value for name, value in vars(api_types).items() if name.endswith("_NAME")}
    assert {row.index for row in ROWS} | {row.json for row in ROWS} <= constants


# ── installed in this process ────────────────────────────────────────────────────────────────────


@pytest.fixture
def chromadb() -> Iterator[Any]:
    install_as_chromadb()
    try:
        yield importlib.import_module("chromadb")
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "chromadb"]:
            del sys.modules[name]
        sys.meta_path[:] = [one for one in sys.meta_path if not isinstance(one, _Unknown)]


@pytest.mark.parametrize("path", TABLE)
def test_every_path_imports_with_every_name(chromadb: Any, path: str) -> None:
    module = importlib.import_module(path)
    assert [name for name in entries(path) if not hasattr(module, name)] == []
    assert importlib.util.find_spec(path) is not None


def test_the_ways_to_import(chromadb: Any) -> None:
    import chromadb.api.types
    import chromadb.utils.embedding_functions as embedding_functions
    from chromadb import Collection, Documents, EmbeddingFunction, Embeddings
    from chromadb.api.models.Collection import Collection as TheSame

    assert Collection is TheSame is vermilion.Collection
    assert embedding_functions.DefaultEmbeddingFunction is vermilion.DefaultEmbeddingFunction
    assert importlib.import_module("chromadb.config").Settings is vermilion.Settings
    assert chromadb.api.types.Documents is Documents
    assert (EmbeddingFunction, Embeddings) == (vermilion.EmbeddingFunction, vermilion.Embeddings)


def test_a_star_brings_names_and_no_modules(chromadb: Any) -> None:
    brought: dict[str, Any] = {}
    exec("from chromadb import *", brought)
    assert brought["Search"] is chromadb.Search
    assert not {"api", "config", "types", "utils"} & brought.keys()


def test_versions_are_told_apart(chromadb: Any) -> None:
    assert chromadb.__version__ == CHROMA_VERSION == "1.5.9"
    assert vermilion.__version__ != CHROMA_VERSION


def test_where_is_a_type_here_and_a_class_there(chromadb: Any) -> None:
    from chromadb.api import SearchWhere
    from chromadb.api import Where as Type
    from chromadb.execution.expression import Where as Class

    assert Class is SearchWhere is not Type


def test_twice_is_fine(chromadb: Any) -> None:
    finders = len(sys.meta_path)
    install_as_chromadb()
    assert importlib.import_module("chromadb") is chromadb
    assert len(sys.meta_path) == finders


def test_what_is_not_there(chromadb: Any) -> None:
    with pytest.raises(ModuleNotFoundError, match="Vermilion stands in for chromadb") as caught:
        importlib.import_module("chromadb.something_unknown")
    assert caught.value.name == "chromadb.something_unknown"
    with pytest.raises(AttributeError, match="'chromadb' has no attribute 'something_unknown'"):
        _ = chromadb.something_unknown
    with pytest.raises(ImportError, match="something_unknown"):
        exec("from chromadb import something_unknown")
    with pytest.raises(ModuleNotFoundError, match="^No module named 'nowhere'$"):
        importlib.import_module("nowhere")


# ── not installed, or too late ───────────────────────────────────────────────────────────────────


def test_another_chromadb_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = ModuleType("chromadb")
    theirs.__file__ = "/site-packages/chromadb/__init__.py"
    monkeypatch.setitem(sys.modules, "chromadb", theirs)
    with pytest.raises(RuntimeError, match="from /site-packages.*before the first import") as told:
        install_as_chromadb()
    assert "top of the program" in str(told.value)
    assert sys.modules["chromadb"] is theirs
    assert "chromadb.config" not in sys.modules


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_importing_vermilion_installs_nothing_and_opens_no_row() -> None:
    program = """
import sys, vermilion
print([m for m in sys.modules if m.startswith("chromadb") or m == "vermilion.compat.types"])
"""
    assert run(program) == "[]"


def test_a_fresh_process_opens_no_database() -> None:
    program = """
import sys, vermilion
vermilion.install_as_chromadb()
import chromadb.utils.embedding_functions as functions
from chromadb.api.models.Collection import Collection
print([m for m in ("PIL", "onnxruntime", "vermilion.local.engine") if m in sys.modules])
"""
    assert run(program) == "[]"


# ── programs written for Chroma ──────────────────────────────────────────────────────────────────


@pytest.fixture
def collection(chromadb: Any, tmp_path: Path) -> Iterator[Any]:
    with chromadb.PersistentClient(path=tmp_path) as client:
        yield client.create_collection("notes", embedding_function=None)


def test_add_ignores_what_exists_and_upsert_merges(collection: Any) -> None:
    collection.add(ids=["b", "a"], embeddings=[[1, 0], [0, 1]], metadatas=[{"n": 1}, {"m": 2}])
    collection.add(ids="b", embeddings=[[5, 5]], metadatas={"n": 9})
    collection.upsert(ids="a", embeddings=[[0, 2]], metadatas={"m": None, "k": "new"})
    got = collection.get(include=["metadatas", "embeddings"])
    assert got["ids"] == ["b", "a"]
    assert got["metadatas"] == [{"n": 1}, {"k": "new"}]
    assert got["embeddings"].tolist() == [[1, 0], [0, 2]]
    assert got["documents"] is None


def test_distances_and_shapes_of_a_query(collection: Any) -> None:
    collection.add(ids=["a", "b"], embeddings=[[0, 0], [3, 4]], documents=["x", "y"])
    found = collection.query(query_embeddings=[[0, 0]], n_results=5)
    assert found["ids"] == [["a", "b"]]
    assert found["distances"] == [[0.0, 25.0]]
    assert found["documents"] == [["x", "y"]]
    assert found["included"] == ["metadatas", "documents", "distances"]


def test_negative_operators_match_records_without_the_key(collection: Any) -> None:
    collection.add(ids=["a", "b"], embeddings=[[0, 0], [1, 1]], metadatas=[{"k": 1}, None])
    assert collection.get(where={"k": {"$ne": 1}})["ids"] == ["b"]


def test_delete_tells_how_many(collection: Any) -> None:
    collection.add(ids=["a", "b"], embeddings=[[0, 0], [1, 1]])
    assert collection.delete(ids=["a", "missing"])["deleted"] == 1


def test_except_clauses_still_work(chromadb: Any, collection: Any, tmp_path: Path) -> None:
    from chromadb.errors import DuplicateIDError, InvalidArgumentError, NotFoundError

    with pytest.raises(ValueError, match=r"to be a list.* in add\.$"):
        collection.add(ids=None, embeddings=[[1, 2]])
    with pytest.raises(DuplicateIDError, match=r"duplicates of: a in add\.$"):
        collection.add(ids=["a", "a"], embeddings=[[1, 2], [3, 4]])
    with pytest.raises(InvalidArgumentError, match="dimension"):
        collection.add(ids=["a"], embeddings=[[1, 2]])
        collection.add(ids=["b"], embeddings=[[1, 2, 3]])
    with (
        chromadb.PersistentClient(path=tmp_path) as client,
        pytest.raises(NotFoundError, match=r"Collection \[none\] does not exist"),
    ):
        client.get_collection("none")


def test_an_embedding_function_of_ones_own_comes_back(chromadb: Any, tmp_path: Path) -> None:
    from chromadb.utils.embedding_functions import (
        known_embedding_functions,
        register_embedding_function,
    )

    @register_embedding_function
    class Lengths(chromadb.EmbeddingFunction):
        def __call__(self, input: list[str]) -> Any:
            return [np.array([len(text), 1.0]) for text in input]

        @staticmethod
        def name() -> str:
            return "lengths"

        def get_config(self) -> dict[str, Any]:
            return {}

        @staticmethod
        def build_from_config(config: dict[str, Any]) -> "Lengths":
            return Lengths()

    try:
        with chromadb.PersistentClient(path=tmp_path) as client:
            client.create_collection("texts", embedding_function=Lengths())
            again = client.get_collection("texts")
            again.add(ids=["a", "b"], documents=["four", "longer"])
            assert again.query(query_texts=["five"], n_results=1)["ids"] == [["a"]]
            stored = {"type": "known", "name": "lengths", "config": {}}
            assert again.configuration_json["embedding_function"] == stored
    finally:
        del known_embedding_functions["lengths"]


def test_settings_choose_the_database(chromadb: Any, tmp_path: Path) -> None:
    from chromadb.config import Settings, System

    settings = Settings(is_persistent=True, persist_directory=str(tmp_path), allow_reset=True)
    with chromadb.Client(settings) as client:
        client.create_collection("kept", embedding_function=None)
    system = System(settings)
    system.start()
    with chromadb.RustClient(tmp_path) as client:
        assert client.count_collections() == 1
        system.reset_state()
        assert client.count_collections() == 0
    system.stop()
    system.stop()


def test_a_system_is_reset_only_if_the_settings_allow_it(chromadb: Any) -> None:
    from chromadb.config import Settings, System
    from chromadb.errors import AuthorizationError

    with pytest.raises(AuthorizationError, match="allow_reset=True"):
        System(Settings()).reset_state()


def test_configure_replaces_the_settings_that_are_asked_for(chromadb: Any) -> None:
    chromadb.configure(allow_reset=True)
    assert chromadb.get_settings().allow_reset
    chromadb.configure()
    assert not chromadb.get_settings().allow_reset


def test_where_a_token_travels(chromadb: Any) -> None:
    from chromadb.auth.token_authn import TokenTransportHeader

    assert chromadb.TokenTransportHeader is TokenTransportHeader
    assert TokenTransportHeader("X-Chroma-Token") == TokenTransportHeader.X_CHROMA_TOKEN
    assert TokenTransportHeader.AUTHORIZATION == "Authorization"


def test_attached_functions_are_refused_with_what_to_use_instead(chromadb: Any) -> None:
    from chromadb.api.functions import STATISTICS_FUNCTION
    from chromadb.utils import statistics

    notes = chromadb.EphemeralClient().create_collection("notes")
    assert STATISTICS_FUNCTION.value == "statistics"
    assert statistics.get_statistics_fn_name(notes) == "notes_stats"
    with pytest.raises(NotImplementedError, match="only supported when connecting .* facets"):
        statistics.attach_statistics_function(notes, "out")
    with pytest.raises(NotImplementedError, match="collection 'notes'"):
        statistics.get_statistics(notes, "out")
    chromadb.EphemeralClient().delete_collection("notes")
