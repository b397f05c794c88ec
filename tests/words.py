"""What tests say: an embedding function that is instant and offline, and makers of small things."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from vermilion.configuration import Configuration, Hnsw
from vermilion.embeddings.base import EmbeddingFunction, register_embedding_function
from vermilion.engine import Column, Engine, Selection
from vermilion.local import filter_cache
from vermilion.local.filter_cache import FilterCache, KnownFilter
from vermilion.query.where import parse
from vermilion.records import Batch
from vermilion.schema.builder import Schema
from vermilion.types import DEFAULT_DATABASE, DEFAULT_TENANT, Address, Space

HERE = DEFAULT_TENANT, DEFAULT_DATABASE
PLAIN = Configuration()
ALL: tuple[Column, ...] = ("vectors", "documents", "uris", "metadatas")


def keep_filters_at_once(patch: pytest.MonkeyPatch) -> None:
    """Has all that is kept of filters kept at their second use, by the thread that asks."""

    def code(cache: FilterCache, known: KnownFilter) -> bool:
        cache._code(known)
        return True

    patch.setattr(filter_cache, "ROW_BYTES", 2**20)
    patch.setattr(filter_cache, "APART_AT", 2)
    patch.setattr(filter_cache, "APART_ROWS", 10**9)
    patch.setattr(filter_cache, "SHARE", 1.0)
    patch.setattr(FilterCache, "code", code)


@register_embedding_function
class WordLengths(EmbeddingFunction[list[str]]):
    """How long the first four words of a text are."""

    def __call__(self, input: list[str]) -> Any:
        return [[float(len(word)) for word in (text.split() + [""] * 4)[:4]] for text in input]

    @staticmethod
    def name() -> str:
        return "word-lengths"

    def get_config(self) -> dict[str, Any]:
        return {}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> WordLengths:
        return WordLengths()


def make(
    engine: Engine,
    name: str = "things",
    space: Space = "l2",
    *,
    tenant: str = DEFAULT_TENANT,
    database: str = DEFAULT_DATABASE,
    get_or_create: bool = False,
    schema: Schema | None = None,
) -> Address:
    """A collection of this name."""
    configuration = Configuration(Hnsw(space=space))
    info, _ = engine.create_collection(
        name,
        tenant,
        database,
        configuration=configuration,
        get_or_create=get_or_create,
        schema=None if schema is None else schema.serialize_to_json(),
    )
    return info.address


def rows(ids: str | Sequence[str], vectors: Any = None, **columns: Any) -> Batch:
    """Rows with these ids, "a b c" for three; without vectors each has its number twice."""
    ids = ids.split() if isinstance(ids, str) else list(ids)
    given = [[i, i] for i in range(len(ids))] if vectors is None else vectors
    return Batch(ids, np.array(given, np.float32), **columns)


def cells(ids: str, **columns: Any) -> Batch:
    """Rows without vectors."""
    return Batch(ids.split(), **columns)


def numbered(count: int, start: int = 0, **columns: Any) -> Batch:
    """Rows "0", "1", …, each with its number as its vector."""
    numbers = np.arange(start, start + count)
    return Batch([str(n) for n in numbers.tolist()], numbers.astype(np.float32)[:, None], **columns)


def ids(text: str) -> Selection:
    """The records with these ids."""
    return Selection(ids=text.split())


def where(where: Any = None, document: Any = None) -> Selection:
    """The records that match."""
    return Selection(filter=parse(where, document))


def names(engine: Engine, *window: int | None) -> list[str]:
    return [info.name for info in engine.list_collections(*HERE, *window)]
