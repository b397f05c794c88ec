"""Operations on indexes and files, and on how a query was answered: most are Vermilion's own."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self
from uuid import UUID

from vermilion.engine import Engine
from vermilion.errors import InvalidArgumentError
from vermilion.reports import Explanation, IndexingStatus, Problem, Stats, WhyNot
from vermilion.types import Course
from vermilion.wire.fields import FLAG, TEXT, Field, Form
from vermilion.wire.operation import (
    COLLECTION,
    NOTHING,
    A,
    OnCollection,
    Operation,
    Plain,
    Received,
    Route,
    Silent,
    address_of,
)
from vermilion.wire.records import QUESTION, Question, read_question
from vermilion.wire.settings import EMBEDDING_FUNCTION

_OBJECT: Form = {"type": "object"}

# The routes, by their last step, and the fields of bodies that Chroma's servers do not know;
# "bare" has records without a vector, "keywords" is a search for a text's words, "packed" are
# vectors of queries as base64, "filters" is what filters have beyond Chroma's, and "typed" also
# tells that metadata may hold times, dicts and any lists.
EXTENSIONS = frozenset(
    {
        "bare", "check", "clear", "compact", "count", "difference", "exact", "explain",
        "extensions", "facets", "filters", "flush", "history", "keywords", "made_by", "named",
        "new_only", "order_by", "packed", "page", "past", "recall", "report", "secure", "stats",
        "summarize", "switch", "ttl", "typed", "undo", "update_where", "why_not",
    }
)  # fmt: skip


@dataclass(frozen=True)
class _OfCollection(OnCollection[A]):
    """An operation whose only argument is the collection."""

    @classmethod
    def decode(cls, received: Received) -> Self:
        """See Operation."""
        return cls(address_of(received.path))


@dataclass(frozen=True)
class GetExtensions(Plain[frozenset[str]]):
    """What the server can do that Chroma's cannot; there this route does not exist."""

    route = Route(
        "GET", "/extensions", "What this server can do that Chroma's cannot", "open",
        {"type": "array", "items": {"type": "string"}}, safe=True, ours=True,
    )  # fmt: skip

    def perform(self, engine: Engine) -> frozenset[str]:
        """See Operation."""
        return EXTENSIONS

    def to_json(self, answer: frozenset[str]) -> Any:
        """See Operation."""
        return sorted(answer)

    def from_json(self, form: Any) -> frozenset[str]:
        """See Operation."""
        return frozenset(map(str, form))


@dataclass(frozen=True)
class GetIndexingStatus(_OfCollection[IndexingStatus]):
    """How many records are in indexes."""

    route = Route(
        "GET", f"{COLLECTION}/indexing_status", "How much of a collection is in indexes", "read",
        {
            "type": "object",
            "properties": {
                "op_indexing_progress": {"type": "number"},
                "num_unindexed_ops": {"type": "integer"},
                "num_indexed_ops": {"type": "integer"},
                "total_ops": {"type": "integer"},
            },
        },
        safe=True,
    )  # fmt: skip

    def perform(self, engine: Engine) -> IndexingStatus:
        """See Operation."""
        return engine.indexing_status(self.address)

    def to_json(self, answer: IndexingStatus) -> Any:
        """See Operation."""
        return vars(answer)

    def from_json(self, form: Any) -> IndexingStatus:
        """See Operation."""
        return IndexingStatus(
            form["num_indexed_ops"],
            form["num_unindexed_ops"],
            form["total_ops"],
            form["op_indexing_progress"],
        )


@dataclass(frozen=True)
class Flush(_OfCollection[None], Silent[None]):
    """Waits until every index is complete."""

    route = Route(
        "POST", f"{COLLECTION}/flush", "Wait until every index is complete", "write", NOTHING,
        safe=True, patient=True, ours=True,
    )  # fmt: skip

    def perform(self, engine: Engine) -> None:
        """See Operation."""
        engine.flush(self.address)

    def from_json(self, form: Any) -> None:
        """See Operation."""


@dataclass(frozen=True)
class GetStats(_OfCollection[Stats]):
    """What a collection holds and takes on the disk."""

    route = Route(
        "GET", f"{COLLECTION}/stats", "What a collection holds and takes on the disk", "read",
        _OBJECT, safe=True, ours=True,
    )  # fmt: skip

    def perform(self, engine: Engine) -> Stats:
        """See Operation."""
        return engine.stats(self.address)

    def to_json(self, answer: Stats) -> Any:
        """See Operation."""
        return vars(answer)

    def from_json(self, form: Any) -> Stats:
        """See Operation."""
        return Stats(**form)


@dataclass(frozen=True)
class Compact(_OfCollection[int]):
    """Gives room back to the disk."""

    route = Route(
        "POST", f"{COLLECTION}/compact", "Give room of deleted records back to the disk", "write",
        {"type": "object", "properties": {"bytes": {"type": "integer"}}},
        safe=True, patient=True, ours=True,
    )  # fmt: skip

    def perform(self, engine: Engine) -> int:
        """See Operation."""
        return engine.compact(self.address)

    def to_json(self, answer: int) -> Any:
        """See Operation."""
        return {"bytes": answer}

    def from_json(self, form: Any) -> int:
        """See Operation."""
        return int(form["bytes"])


@dataclass(frozen=True)
class Check(Operation[list[Problem]]):
    """What is wrong with the files of all tenants."""

    deep: bool = False

    route = Route(
        "POST", "/check", "What is wrong with the files", "admin",
        {"type": "array", "items": _OBJECT},
        body=(Field("deep", FLAG, "Read every record.", nullable=False, default=False),),
        safe=True, patient=True, ours=True,
    )  # fmt: skip

    def body(self) -> Form:
        """See Operation."""
        return {"deep": self.deep}

    @classmethod
    def decode(cls, received: Received) -> Self:
        """See Operation."""
        return cls(received.body["deep"])

    def perform(self, engine: Engine) -> list[Problem]:
        """See Operation."""
        return engine.check(self.deep)

    def to_json(self, answer: list[Problem]) -> Any:
        """See Operation."""
        return [asdict(one) for one in answer]

    def from_json(self, form: Any) -> list[Problem]:
        """See Operation."""
        return [
            Problem(**one | {"collection": one["collection"] and UUID(one["collection"])})
            for one in form
        ]


@dataclass(frozen=True)
class Explain(Question[Explanation]):
    """How a query is answered."""

    route = Route(
        "POST", f"{COLLECTION}/explain", "How a query is answered, and where its time goes", "read",
        _OBJECT, body=QUESTION, safe=True, ours=True,
    )  # fmt: skip

    @classmethod
    def decode(cls, received: Received) -> Self:
        """See Operation."""
        return cls(**read_question(received))

    def perform(self, engine: Engine) -> Explanation:
        """See Operation."""
        if not len(self.vectors):
            raise InvalidArgumentError("Expected query_embeddings to have at least one vector")
        return engine.explain(self.address, self.vectors, self.k, self.selection, self.effort)

    def to_json(self, answer: Explanation) -> Any:
        """See Operation."""
        return vars(answer) | {"courses": [one._asdict() for one in answer.courses]}

    def from_json(self, form: Any) -> Explanation:
        """See Operation."""
        return Explanation(**form | {"courses": [Course(**one) for one in form["courses"]]})


@dataclass(frozen=True)
class ExplainAbsence(Question[WhyNot]):
    """Why a record is not in an answer; `vectors` has one row."""

    id: str = ""

    route = Route(
        "POST", f"{COLLECTION}/why_not", "Why a record is not in the answer to a query", "read",
        _OBJECT, body=(Field("id", TEXT, "The record.", required=True), *QUESTION),
        safe=True, ours=True,
    )  # fmt: skip

    def body(self) -> Form:
        """See Operation."""
        return super().body() | {"id": self.id}

    @classmethod
    def decode(cls, received: Received) -> Self:
        """See Operation."""
        asked = read_question(received)
        if len(asked["vectors"]) != 1:
            raise InvalidArgumentError(f"Expected one query, got {len(asked['vectors'])}")
        return cls(**asked, id=received.body["id"])

    def perform(self, engine: Engine) -> WhyNot:
        """See Operation."""
        return engine.why_not(
            self.address, self.id, self.vectors[0], self.k, self.selection, self.effort
        )

    def to_json(self, answer: WhyNot) -> Any:
        """See Operation."""
        return vars(answer)

    def from_json(self, form: Any) -> WhyNot:
        """See Operation."""
        return WhyNot(**form)


@dataclass(frozen=True)
class SwitchVectors(OnCollection[list[str]]):
    """Gives all records new vectors at once, which are staged in another collection."""

    staged: UUID
    function: Form

    route = Route(
        "POST", f"{COLLECTION}/switch", "Take the vectors of a collection where they are staged",
        "write",
        {
            "type": "object",
            "properties": {"missing": {"type": "array", "items": {"type": "string"}}},
        },
        body=(
            Field("staged", TEXT, "The id of that collection, in the same database.",
                  required=True),
            Field("embedding_function", EMBEDDING_FUNCTION, "What made them.", required=True),
        ),
        safe=True, patient=True, ours=True,
    )  # fmt: skip

    def body(self) -> Form:
        """See Operation."""
        return {"staged": str(self.staged), "embedding_function": self.function}

    @classmethod
    def decode(cls, received: Received) -> Self:
        """See Operation."""
        body = received.body
        staged = address_of({**received.path, "collection_id": body["staged"]})
        return cls(address_of(received.path), staged.collection, body["embedding_function"])

    def perform(self, engine: Engine) -> list[str]:
        """See Operation."""
        staged = self.address._replace(collection=self.staged)
        return engine.switch_vectors(self.address, staged, self.function)

    def to_json(self, answer: list[str]) -> Any:
        """See Operation."""
        return {"missing": answer}

    def from_json(self, form: Any) -> list[str]:
        """See Operation."""
        return [str(id) for id in form["missing"]]
