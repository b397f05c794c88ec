"""Vermilion, the embedding database that speaks Chroma.

import vermilion

client = vermilion.PersistentClient("my_data")
collection = client.get_or_create_collection("notes")
collection.add(ids=["1", "2"], documents=["hello world", "goodbye, moon"])
collection.query(query_texts=["greetings"], n_results=1)
"""

from vermilion.admin import AdminClient
from vermilion.aio import AsyncClient, AsyncCollection
from vermilion.aio import async_ephemeral_client as AsyncEphemeralClient
from vermilion.aio import async_http_client as AsyncHttpClient
from vermilion.aio import async_persistent_client as AsyncPersistentClient
from vermilion.answers import GetResult, QueryResult
from vermilion.backups import list_backups, restore_backup, verify_backup
from vermilion.client import ephemeral_client as EphemeralClient
from vermilion.client import persistent_client as PersistentClient
from vermilion.collection import Collection
from vermilion.compat import install_as_chromadb
from vermilion.embeddings.base import EmbeddingFunction, register_embedding_function
from vermilion.embeddings.default import DefaultEmbeddingFunction
from vermilion.servers import cloud_client as CloudClient
from vermilion.servers import http_client as HttpClient
from vermilion.servers import make_client as Client
from vermilion.settings import Settings
from vermilion.types import (
    DEFAULT_DATABASE,
    DEFAULT_TENANT,
    Documents,
    Embeddings,
    SparseVector,
)
from vermilion.version import __version__

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
