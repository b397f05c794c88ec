"""Batches: columns of records, cut to what one call of a client should carry."""

from __future__ import annotations

from typing import Any, TypeVar

from vermilion.api.client import Client
from vermilion.types import Documents, Embeddings, IDs, Metadatas, pages

Column = TypeVar("Column", bound=list[Any])

Cut = tuple[IDs, Embeddings | None, Metadatas | None, Documents | None]


def create_batches(
    api: Client,
    ids: IDs,
    embeddings: Embeddings | None = None,
    metadatas: Metadatas | None = None,
    documents: Documents | None = None,
) -> list[Cut]:
    """The columns in pieces of at most `api.get_max_batch_size()` records, in their order.

    Each piece is what `Collection.add` takes: `collection.add(*piece)`. No records, no pieces.
    """
    return [
        (ids[page], _cut(embeddings, page), _cut(metadatas, page), _cut(documents, page))
        for page in pages(len(ids), api.get_max_batch_size())
    ]


def _cut(column: Column | None, page: slice) -> Column | None:
    return None if column is None else column[page]  # type: ignore[return-value]  # a slice of it
