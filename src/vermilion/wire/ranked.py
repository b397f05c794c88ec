"""The operation behind `Search`: scored records, by any expression of ranks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from vermilion.engine import Engine
from vermilion.errors import (
    ArgumentTypeError,
    InvalidArgumentError,
    UnprocessableError,
    UnsupportedError,
)
from vermilion.types import ReadLevel
from vermilion.wire.fields import ANYTHING, OBJECT, Field, Form, Kind, mismatch, one_of, read
from vermilion.wire.operation import COLLECTION, OnCollection, Received, Route, address_of

if TYPE_CHECKING:  # forty classes that few programs need
    from vermilion.search import Search as Request

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
class Search(OnCollection[Any]):
    """The answer to each search."""

    searches: tuple[Request, ...]

    route = Route(
        "POST", f"{COLLECTION}/search", "Scored records, by any expression of ranks", "read",
        {"type": "object"},
        body=(
            Field("searches", _SEARCHES, "What is looked for.", required=True),
            Field(
                "read_level", one_of(tuple(level.value for level in ReadLevel)),
                "Accepted for Chroma's clients: every read sees all that was written.",
            ),
        ),
        safe=True,
    )  # fmt: skip

    def body(self) -> Form:
        """See Operation."""
        return {"searches": [one.to_dict() for one in self.searches]}

    @classmethod
    def decode(cls, received: Received) -> Self:
        """See Operation."""
        forms = received.body["searches"]
        searches = (_read(form, f"searches[{place}]") for place, form in enumerate(forms))
        return cls(address_of(received.path), tuple(searches))

    def perform(self, engine: Engine) -> Any:
        """See Operation."""
        engine.get_collection_by_id(self.address)
        raise UnsupportedError("Search is not available in this release; use query")

    def to_json(self, answer: Any) -> Any:
        """See Operation."""
        return answer

    def from_json(self, form: Any) -> Any:
        """See Operation."""
        return form


def _read(form: Form, at: str) -> Request:
    from vermilion.search import Search as Request

    for knn in _knns(form["rank"]):
        if isinstance(knn.get("query"), str) and knn.get("key", "#embedding") != "#document":
            raise mismatch(f"{at}.rank.$knn.query", knn["query"], "a vector; texts are for clients")
    group = form["group_by"] or {}
    if bool(group.get("keys")) != (group.get("aggregate") is not None):
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
