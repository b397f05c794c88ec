"""Operations that score and sum up: searches by ranks, values and their counts, sums by group."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from vermilion.engine import EVERYTHING, Engine, Selection
from vermilion.errors import ArgumentTypeError, InvalidArgumentError, UnprocessableError
from vermilion.query.where import INT64
from vermilion.reports import Facet, Summary
from vermilion.types import Ranked, ReadLevel
from vermilion.wire import metadata
from vermilion.wire.fields import (
    ANYTHING,
    OBJECT,
    TEXT,
    TEXTS,
    Field,
    Form,
    Kind,
    mismatch,
    one_of,
    read,
)
from vermilion.wire.operation import COLLECTION, OnCollection, Received, Route, address_of
from vermilion.wire.rows import (
    NAMES,
    SELECTION,
    cells,
    read_records,
    read_selection,
    write_selection,
)

if TYPE_CHECKING:  # forty classes that few programs need
    from vermilion.query.search import Search as Request

SCORE = "#score"

_PARTS = (
    Field("filter", OBJECT, "Only records that match; a `where`."),
    Field("rank", ANYTHING, "How records are scored: $knn, $val, and arithmetic of them."),
    Field("group_by", OBJECT, "`keys` and `aggregate`."),
    Field("limit", OBJECT, "`offset` and `limit`."),
    Field("select", OBJECT, "`keys`: the columns."),
)


def _searches(value: Any, at: str) -> Any:
    if not isinstance(value, list):
        raise mismatch(at, value, "a sequence")
    return [read(_PARTS, one, f"{at}[{place}]") for place, one in enumerate(value)]


_SEARCHES = Kind(
    _searches,
    {
        "type": "array",
        "items": {"type": "object", "properties": {one.name: one.schema for one in _PARTS}},
    },
)


@dataclass(frozen=True)
class Search(OnCollection[list[Ranked]]):
    """The answer to each search."""

    searches: tuple[Request, ...]
    typed: bool = False  # as the answer has the metadata

    route = Route(
        "POST", f"{COLLECTION}/search", "Scored records, by any expression of ranks", "read",
        {"type": "object"},
        body=(
            Field("searches", _SEARCHES, "What is looked for.", required=True),
            Field(
                "read_level", one_of(tuple(level.value for level in ReadLevel)),
                "Accepted for Chroma's clients: every read sees all that was written.",
            ),
            metadata.TYPED,
        ),
        safe=True,
    )  # fmt: skip

    def body(self) -> Form:
        """See Operation."""
        form = {"searches": [one.to_dict() for one in self.searches]}
        return form | ({"typed": True} if self.typed else {})

    @classmethod
    def decode(cls, received: Received) -> Self:
        """See Operation."""
        forms = received.body["searches"]
        searches = (_read(form, f"searches[{place}]") for place, form in enumerate(forms))
        return cls(address_of(received.path), tuple(searches), received.body["typed"])

    def perform(self, engine: Engine) -> list[Ranked]:
        """See Operation."""
        if not self.searches:
            engine.get_collection_by_id(self.address)
            return []
        return engine.search(self.address, self.searches)

    def to_json(self, answer: list[Ranked]) -> Any:
        """See Operation."""
        selects = [sorted(one.parts()[4].keys) for one in self.searches]
        form: Form = {"ids": [one.records.ids for one in answer]}
        for column, name in NAMES.items():
            form[name] = [cells(one.records, column) for one in answer]
        form["metadatas"] = [metadata.write(one, typed=self.typed) for one in form["metadatas"]]
        if not any(form["uris"]):  # which no client of Chroma knows
            del form["uris"]
        form["scores"] = [
            one.scores if SCORE in select else None
            for one, select in zip(answer, selects, strict=True)
        ]
        return form | {"select": selects}

    def from_json(self, form: Any) -> list[Ranked]:
        """See Operation. A score that was not selected is 0."""
        names = ("ids", *NAMES.values())
        return [
            Ranked(
                read_records({n: form[n][place] for n in names if form.get(n) is not None}),
                np.array(scores or np.zeros(len(form["ids"][place])), dtype=np.float32),
            )
            for place, scores in enumerate(form["scores"])
        ]


def _read(form: Form, at: str) -> Request:
    from vermilion.query.search import Search as Request

    for knn in _knns(form["rank"]):
        if isinstance(knn.get("query"), str) and knn.get("key", "#embedding") != "#document":
            raise mismatch(f"{at}.rank.$knn.query", knn["query"], "a vector; texts are for clients")
    group = form["group_by"] or {}
    if not group.get("keys") and group.get("aggregate") is None:
        form = form | {"group_by": None}  # one of Chroma's clients sends both, empty
    elif not group.get("keys") or group.get("aggregate") is None:
        raise InvalidArgumentError(
            f"Validation error: {at}.group_by: group_by keys and aggregate must both be specified "
            "or both be omitted"
        )
    if form["rank"] is not None and not (isinstance(form["rank"], dict) and form["rank"]):
        raise InvalidArgumentError(f"Validation error: {at}.rank: expected one expression")
    try:
        return Request.from_dict({name: value for name, value in form.items() if value is not None})
    except ArgumentTypeError as error:
        raise UnprocessableError(f"Failed to deserialize the JSON body: {at}: {error}") from None
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"Validation error: {at}: {error}") from None


def _knns(rank: object) -> Iterator[Form]:
    """Every $knn in the form of a rank."""
    if isinstance(rank, list):
        for one in rank:
            yield from _knns(one)
    elif isinstance(rank, dict):
        for name, one in rank.items():
            if name == "$knn" and isinstance(one, dict):
                yield one
            else:
                yield from _knns(one)


# ── what values there are ────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Facets(OnCollection[list[list[Facet]]]):
    """For each field its values, and how many selected records have them."""

    keys: tuple[str, ...]
    selection: Selection = EVERYTHING

    route = Route(
        "POST", f"{COLLECTION}/facets", "The values of metadata fields with their counts", "read",
        {"type": "array"},
        body=(Field("keys", TEXTS, "The fields.", required=True), *SELECTION), safe=True, ours=True,
    )  # fmt: skip

    def body(self) -> Form:
        """See Operation."""
        return {"keys": [*self.keys], **write_selection(self.selection)}

    @classmethod
    def decode(cls, received: Received) -> Self:
        """See Operation."""
        body = received.body
        return cls(address_of(received.path), tuple(body["keys"]), read_selection(body))

    def perform(self, engine: Engine) -> list[list[Facet]]:
        """See Operation."""
        return engine.facets(self.address, self.keys, self.selection)

    def to_json(self, answer: list[list[Facet]]) -> Any:
        """See Operation."""
        return [[vars(facet) for facet in facets] for facets in answer]

    def from_json(self, form: Any) -> list[list[Facet]]:
        """See Operation."""
        return [
            [Facet(metadata.read_value(facet["value"]), facet["count"]) for facet in facets]
            for facets in form
        ]


@dataclass(frozen=True)
class Summarize(OnCollection[list[Summary]]):
    """Count, least, greatest and sum of a field's numbers, for each value of another field."""

    key: str
    by: str | None = None
    selection: Selection = EVERYTHING

    route = Route(
        "POST", f"{COLLECTION}/summarize", "Count, min, max and sum of a field, by group", "read",
        {"type": "array"},
        body=(
            Field("key", TEXT, "The field.", required=True),
            Field("by", TEXT, "The field that makes the groups."),
            *SELECTION,
        ),
        safe=True, ours=True,
    )  # fmt: skip

    def body(self) -> Form:
        """See Operation."""
        return {"key": self.key, "by": self.by, **write_selection(self.selection)}

    @classmethod
    def decode(cls, received: Received) -> Self:
        """See Operation."""
        body = received.body
        return cls(address_of(received.path), body["key"], body["by"], read_selection(body))

    def perform(self, engine: Engine) -> list[Summary]:
        """See Operation."""
        return engine.summarize(self.address, self.key, self.by, self.selection)

    def to_json(self, answer: list[Summary]) -> Any:
        """See Operation."""
        return [vars(summary) | {"sum": _sized(summary.sum)} for summary in answer]

    def from_json(self, form: Any) -> list[Summary]:
        """See Operation."""
        return [
            Summary(**summary | {"sum": int(sum) if isinstance(sum, str) else sum, "value": value})
            for summary in form
            for sum, value in ((summary["sum"], metadata.read_value(summary["value"])),)
        ]


def _sized(sum: int | float) -> int | float | str:
    """A sum as it is written: one that no JSON number of 64 bits holds becomes a text."""
    return str(sum) if isinstance(sum, int) and sum not in INT64 else sum


# ── counting ─────────────────────────────────────────────────────────────────────────────────────


def _read_level(value: Any, _: str) -> Any:
    try:
        return ReadLevel(value)
    except ValueError:
        raise InvalidArgumentError(
            f"Failed to deserialize query string: read_level: unknown variant `{value}`, expected "
            f"one of {', '.join(f'`{level.value}`' for level in ReadLevel)}"
        ) from None


_READ_LEVEL = Field(
    "read_level",
    Kind(_read_level, {"type": "string", "enum": [level.value for level in ReadLevel]}),
    "Accepted for Chroma's clients: every read sees all that was written.",
)


@dataclass(frozen=True)
class Count(OnCollection[int]):
    """How many records there are."""

    route = Route(
        "GET", f"{COLLECTION}/count", "How many records there are", "read", {"type": "integer"},
        query=(_READ_LEVEL,), safe=True,
    )  # fmt: skip

    @classmethod
    def decode(cls, received: Received) -> Self:
        """See Operation."""
        return cls(address_of(received.path))

    def perform(self, engine: Engine) -> int:
        """See Operation."""
        return engine.count(self.address)

    def to_json(self, answer: int) -> Any:
        """See Operation."""
        return answer

    def from_json(self, form: Any) -> int:
        """See Operation."""
        return int(form)


@dataclass(frozen=True)
class CountSelected(Count):
    """How many records are selected."""

    selection: Selection = EVERYTHING

    route = Route(
        "POST", f"{COLLECTION}/count", "How many records match", "read", {"type": "integer"},
        body=SELECTION, safe=True, ours=True,
    )  # fmt: skip

    def body(self) -> Form:
        """See Operation."""
        return write_selection(self.selection)

    @classmethod
    def decode(cls, received: Received) -> Self:
        """See Operation."""
        return cls(address_of(received.path), read_selection(received.body))

    def perform(self, engine: Engine) -> int:
        """See Operation."""
        return engine.count(self.address, self.selection)
