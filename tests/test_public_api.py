"""What `vermilion` exports, and what importing it costs."""

import inspect
import subprocess
import sys

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
    "HttpClient",
    "PersistentClient",
    "QueryResult",
    "Settings",
    "SparseVector",
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


def test_importing_loads_no_database_no_model_runtime_and_no_network() -> None:
    heavy = ["apsw", "paula", "onnxruntime", "greenlet", "httpx", "orjson"]
    heavy += ["socket", "ssl", "asyncio", "http", "multiprocessing"]
    code = f"import sys, vermilion; print([name for name in {heavy} if name in sys.modules])"
    before = f"import sys, numpy; print([name for name in {heavy} if name in sys.modules])"
    out = [
        subprocess.run(
            [sys.executable, "-c", text], capture_output=True, text=True, check=True
        ).stdout
        for text in (before, code)
    ]
    assert out[0] == out[1]


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
