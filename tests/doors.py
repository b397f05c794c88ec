"""What the tests that go through the embedded doors share: collections, and tables of calls.

A table has rows. A row is a sentence, a call, and what comes of it: a value, or an error.
"""

import re
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, NamedTuple

import pytest

from vermilion.api.client import Client
from vermilion.api.collection import Collection
from vermilion.embeddings.base import EmbeddingFunction


class Raises(NamedTuple):
    """The class of an error, and words its text has to hold."""

    kind: type[BaseException]
    words: str


class Row(NamedTuple):
    """`chroma` says what Chroma does, where we do something else on purpose."""

    sentence: str
    call: Callable[[Any], object]
    outcome: object
    chroma: str = ""

    def check(self, subject: object) -> None:
        if isinstance(self.outcome, Raises):
            with pytest.raises(self.outcome.kind, match=re.escape(self.outcome.words)):
                self.call(subject)
        else:
            # The repr tells 1 from True and 1.0, and numpy's strings from plain ones.
            got = self.call(subject)
            got = str(got) if isinstance(got, dict) else repr(got)  # an answer's repr is a table
            assert got == repr(self.outcome), got


def each(*tables: Sequence[Row]) -> pytest.MarkDecorator:
    rows = [row for table in tables for row in table]
    return pytest.mark.parametrize("row", rows, ids=[row.sentence for row in rows])


class Colour(str, Enum):  # noqa: UP042  (it does not print as its value, unlike a StrEnum)
    RED = "red"


class Lengths(EmbeddingFunction[Any]):
    """Two numbers for each text or image; no name, so no collection remembers it."""

    def __call__(self, input: Any) -> Any:
        return [[float(len(item)), 1.0] for item in input]


def load(uris: Sequence[str | None]) -> list[str]:
    """A data loader."""
    return [f"<{uri}>" for uri in uris]


def empty(client: Client, **options: Any) -> Collection:
    """A collection without records, in a database that has no other of its name."""
    return client.create_collection("notes", **{"embedding_function": Lengths()} | options)


def filled(client: Client) -> Collection:
    """Four records on a line; the fourth has neither metadata nor a document."""
    collection = empty(client)
    collection.add(
        ids=["a", "b", "c", "d"],
        embeddings=[[1, 0], [2, 0], [3, 0], [4, 0]],
        metadatas=[
            {"n": 1, "x": 1.5, "word": "red", "yes": True, "list": ["red", "blue"]},
            {"n": 2, "x": 2.5, "word": "blue", "yes": False},
            {"n": 3, "word": "1"},
            None,
        ],
        documents=["one fish", "two fish", "Red (fish)", None],
    )
    return collection
