"""Vermilion, the embedding database that speaks Chroma.

import vermilion

client = vermilion.PersistentClient("my_data")
collection = client.get_or_create_collection("notes")
collection.add(ids=["1", "2"], documents=["hello world", "goodbye, moon"])
collection.query(query_texts=["greetings"], n_results=1)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vermilion.answers import GetResult, QueryResult
from vermilion.backups import list_backups, restore_backup, verify_backup
from vermilion.client import ephemeral_client as EphemeralClient
from vermilion.client import persistent_client as PersistentClient
from vermilion.collection import Collection
from vermilion.compat import install_as_chromadb
from vermilion.embeddings.base import EmbeddingFunction, register_embedding_function
from vermilion.embeddings.default import DefaultEmbeddingFunction
from vermilion.settings import Settings
from vermilion.types import (
    DEFAULT_DATABASE,
    DEFAULT_TENANT,
    Documents,
    Embeddings,
    SparseVector,
)
from vermilion.version import __version__

if TYPE_CHECKING:  # who runs the program gets them by `__getattr__`
    from vermilion.admin import AdminClient
    from vermilion.aio import AsyncClient, AsyncCollection
    from vermilion.aio import async_ephemeral_client as AsyncEphemeralClient
    from vermilion.aio import async_http_client as AsyncHttpClient
    from vermilion.aio import async_persistent_client as AsyncPersistentClient
    from vermilion.servers import cloud_client as CloudClient
    from vermilion.servers import http_client as HttpClient
    from vermilion.servers import make_client as Client

# The doors to servers and for event loops, which many programs never open.
_LATER = {
    "AdminClient": ("admin", "AdminClient"),
    "AsyncClient": ("aio", "AsyncClient"),
    "AsyncCollection": ("aio", "AsyncCollection"),
    "AsyncEphemeralClient": ("aio", "async_ephemeral_client"),
    "AsyncHttpClient": ("aio", "async_http_client"),
    "AsyncPersistentClient": ("aio", "async_persistent_client"),
    "Client": ("servers", "make_client"),
    "CloudClient": ("servers", "cloud_client"),
    "HttpClient": ("servers", "http_client"),
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


def __getattr__(name: str) -> Any:
    """Loads a door when it is first asked for (PEP 562)."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, theirs = _LATER[name]
    found = globals()[name] = getattr(import_module(f"{__name__}.{module}"), theirs)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
