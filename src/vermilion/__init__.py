"""Vermilion, the embedding database that speaks Chroma.

import vermilion

client = vermilion.PersistentClient("my_data")
collection = client.get_or_create_collection("notes")
collection.add(ids=["1", "2"], documents=["hello world", "goodbye, moon"])
collection.query(query_texts=["greetings"], n_results=1)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vermilion.api.answers import GetResult, QueryResult
from vermilion.api.backups import list_backups, restore_backup, verify_backup
from vermilion.api.client import ephemeral_client as EphemeralClient
from vermilion.api.client import persistent_client as PersistentClient
from vermilion.api.collection import Collection
from vermilion.api.settings import Settings
from vermilion.compat.paths import install_as_chromadb
from vermilion.embeddings.base import EmbeddingFunction, register_embedding_function
from vermilion.embeddings.default import DefaultEmbeddingFunction
from vermilion.types import (
    DEFAULT_DATABASE,
    DEFAULT_TENANT,
    Documents,
    Embeddings,
    SparseVector,
)
from vermilion.version import __version__

if TYPE_CHECKING:  # who runs the program gets them by `__getattr__`
    from vermilion.api.admin import AdminClient
    from vermilion.api.aio import AsyncClient, AsyncCollection
    from vermilion.api.aio import async_ephemeral_client as AsyncEphemeralClient
    from vermilion.api.aio import async_http_client as AsyncHttpClient
    from vermilion.api.aio import async_persistent_client as AsyncPersistentClient
    from vermilion.api.servers import cloud_client as CloudClient
    from vermilion.api.servers import http_client as HttpClient
    from vermilion.api.servers import make_client as Client
    from vermilion.query.search import GroupBy, K, Key, Knn, MinK, Rrf, Search
    from vermilion.schema.builder import Schema, SparseVectorIndexConfig, VectorIndexConfig

# What many programs never ask for: doors to servers and for event loops, and the builders.
_LATER = {
    "AdminClient": ("api.admin", "AdminClient"),
    "AsyncClient": ("api.aio", "AsyncClient"),
    "AsyncCollection": ("api.aio", "AsyncCollection"),
    "AsyncEphemeralClient": ("api.aio", "async_ephemeral_client"),
    "AsyncHttpClient": ("api.aio", "async_http_client"),
    "AsyncPersistentClient": ("api.aio", "async_persistent_client"),
    "Client": ("api.servers", "make_client"),
    "CloudClient": ("api.servers", "cloud_client"),
    "HttpClient": ("api.servers", "http_client"),
    **{
        name: ("query.search", name)
        for name in ("GroupBy", "K", "Key", "Knn", "MinK", "Rrf", "Search")
    },
    **{
        name: ("schema.builder", name)
        for name in ("Schema", "SparseVectorIndexConfig", "VectorIndexConfig")
    },
}

__all__ = [
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


def __getattr__(name: str) -> Any:
    """Loads a door when it is first asked for (PEP 562)."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, theirs = _LATER[name]
    found = globals()[name] = getattr(import_module(f"{__name__}.{module}"), theirs)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
