"""What `vermilion` exports, and what importing it costs."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import vermilion

EXPORTS = [
    "DEFAULT_DATABASE",
    "DEFAULT_TENANT",
    "AdminClient",
    "AsyncClient",
    "AsyncCollection",
    "AsyncEphemeralClient",
    "AsyncHttpClient",
    "AsyncPersistentClient",
    "Client",
    "CloudClient",
    "Collection",
    "DefaultEmbeddingFunction",
    "Documents",
    "EmbeddingFunction",
    "Embeddings",
    "EphemeralClient",
    "GetResult",
    "GroupBy",
    "HttpClient",
    "K",
    "Key",
    "Knn",
    "MinK",
    "PersistentClient",
    "QueryResult",
    "Rrf",
    "Schema",
    "Search",
    "Settings",
    "SparseVector",
    "SparseVectorIndexConfig",
    "VectorIndexConfig",
    "__version__",
    "install_as_chromadb",
    "list_backups",
    "register_embedding_function",
    "restore_backup",
    "verify_backup",
]


def test_the_list_of_public_names() -> None:
    assert vermilion.__all__ == EXPORTS
    assert all(hasattr(vermilion, name) for name in EXPORTS)


# What a process does without until it asks for it; what numpy loads by itself does not count.
OPENED_LATER = """
    paula onnxruntime greenlet httpx socket ssl asyncio http multiprocessing
    hashlib logging statistics random shutil tempfile argparse html inspect concurrent base64
    urllib.request email decimal fractions
    vermilion.api.admin vermilion.api.aio vermilion.api.servers vermilion.remote vermilion.wire
    vermilion.api.evaluation vermilion.api.frames vermilion.api.queries vermilion.api.schemas
    vermilion.query.ranks vermilion.query.search vermilion.schema.builder vermilion.reports
    vermilion.embeddings.minilm
    vermilion.embeddings.providers vermilion.migration vermilion.pipes vermilion.server
    vermilion.local.backup vermilion.local.checker vermilion.local.explain
    vermilion.local.ranking vermilion.local.salvage
"""
IMPORTED_LATER = f"{OPENED_LATER} apsw unicodedata vermilion.local"


def loaded(program: str, names: str) -> set[str]:
    """Which of these modules a new process has loaded after a program, and not by numpy alone."""

    def after(text: str) -> set[str]:
        code = f"{text}; import sys; print(*sys.modules)"
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        return set(run.stdout.split())

    return (after(program) - after("import numpy")) & set(names.split())


def test_importing_loads_no_database_no_model_runtime_and_no_network() -> None:
    assert not loaded("import vermilion", IMPORTED_LATER)


def test_opening_and_a_query_load_only_what_they_need(tmp_path: Path) -> None:
    client = vermilion.PersistentClient(str(tmp_path))
    client.create_collection("a1z", embedding_function=None).add(ids="a", embeddings=[1.0, 2.0])
    client.close()
    program = (
        f"import vermilion; client = vermilion.PersistentClient({str(tmp_path)!r}); "
        "notes = client.get_collection('a1z', embedding_function=None); "
        "assert notes.query(query_embeddings=[[1.0, 2.0]], n_results=1)['ids'] == [['a']]"
    )
    assert not loaded(program, OPENED_LATER)


def test_doors_that_are_loaded_later_are_told_of() -> None:
    assert set(EXPORTS) <= set(dir(vermilion))
    with pytest.raises(AttributeError, match="has no attribute 'NoSuchClient'"):
        _ = vermilion.NoSuchClient  # type: ignore[attr-defined]


def test_the_engine_has_named_tuples_for_what_no_user_holds() -> None:
    """A frozen dataclass takes five times as long to make, and opening a database makes dozens."""
    code = (
        "import sys, vermilion, vermilion.local.engine; from dataclasses import is_dataclass; "
        "print(*(thing.__name__ for name, module in sorted(sys.modules.items()) "
        "if name.startswith('vermilion.local.') for thing in vars(module).values() "
        "if isinstance(thing, type) and is_dataclass(thing) and thing.__module__ == name))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["Head"]


def test_parameters_have_the_places_that_callers_rely_on() -> None:
    places = {
        vermilion.Client: ["settings", "tenant", "database"],
        vermilion.EphemeralClient: ["settings", "tenant", "database"],
        vermilion.PersistentClient: ["path", "settings", "tenant", "database"],
        vermilion.AdminClient: ["settings"],
        vermilion.Collection.add: [
            "self", "ids", "embeddings", "metadatas", "documents", "images", "uris",
        ],
        vermilion.Collection.get: [
            "self", "ids", "where", "limit", "offset", "where_document", "include",
        ],
        vermilion.Collection.query: [
            "self", "query_embeddings", "query_texts", "query_images", "query_uris", "ids",
            "n_results", "where", "where_document", "include",
        ],
        vermilion.Collection.delete: ["self", "ids", "where", "where_document", "limit"],
        vermilion.Collection.modify: ["self", "name", "metadata", "configuration"],
        vermilion.Collection.peek: ["self", "limit"],
        vermilion.Collection.count: ["self", "read_level"],
    }  # fmt: skip
    places[vermilion.Collection.upsert] = places[vermilion.Collection.add]
    places[vermilion.Collection.update] = places[vermilion.Collection.add]
    for function, names in places.items():
        parameters = list(inspect.signature(function).parameters.values())
        positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        assert positional == names, function


def test_client_methods_have_the_places_that_callers_rely_on() -> None:
    kind = type(vermilion.EphemeralClient())
    create = [
        "self", "name", "schema", "configuration", "metadata", "embedding_function", "data_loader",
    ]  # fmt: skip
    places = {
        "create_collection": [*create, "get_or_create"],
        "get_or_create_collection": create,
        "get_collection": ["self", "name", "embedding_function", "data_loader"],
        "list_collections": ["self", "limit", "offset"],
        "set_tenant": ["self", "tenant", "database"],
    }
    for method, names in places.items():
        parameters = list(inspect.signature(getattr(kind, method)).parameters.values())
        assert [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD] == names
