"""Operations on the past of collections that keep their history, which only Vermilion's do."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Self

from vermilion.engine import EVERYTHING, Column, Engine
from vermilion.errors import InvalidArgumentError
from vermilion.reports import Call, Difference
from vermilion.types import Records, WriteResult
from vermilion.wire.fields import COUNT, TEXT, Field, Form, some_of
from vermilion.wire.operation import COLLECTION, OnCollection, Received, Route, address_of
from vermilion.wire.records import read_result, write_result
from vermilion.wire.rows import (
    INCLUDABLE,
    columns_of,
    include_of,
    read_records,
    write_records,
)

_OBJECT: Form = {"type": "object"}
_LIMIT = Field("limit", COUNT, "At most so many.", nullable=False, default=100)
_OFFSET = Field("offset", COUNT, "Leave out so many first.", nullable=False, default=0)
# A page that the server holds in memory for one request.
MOST_ROWS = 10_000


def _time(name: str, says: str) -> Field:
    return Field(name, TEXT, f"{says} (ISO 8601, with its zone).", required=True)


def _read_time(body: Form, name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(body[name])
        if moment.tzinfo is None:
            raise ValueError
        moment.timestamp()
    except (ValueError, OverflowError):
        raise InvalidArgumentError(
            f"{name}: expected a time such as 2026-11-23T10:30:00+00:00, got {body[name]!r}"
        ) from None
    return moment


@dataclass(frozen=True)
class History(OnCollection[list[Call]]):
    """The calls that wrote to a collection, the last one first."""

    limit: int | None = None

    route = Route(
        "POST", f"{COLLECTION}/history", "The calls that wrote to a collection, last first", "read",
        {"type": "array", "items": _OBJECT},
        body=(Field("limit", COUNT, "At most so many."),), safe=True, ours=True,
    )  # fmt: skip

    def body(self) -> Form:
        """See Operation."""
        return {"limit": self.limit}

    @classmethod
    def decode(cls, received: Received) -> Self:
        """See Operation."""
        return cls(address_of(received.path), received.body["limit"])

    def perform(self, engine: Engine) -> list[Call]:
        """See Operation."""
        return engine.history(self.address, self.limit)

    def to_json(self, answer: list[Call]) -> Any:
        """See Operation."""
        return [asdict(one) | {"made": one.made.isoformat()} for one in answer]

    def from_json(self, form: Any) -> list[Call]:
        """See Operation."""
        return [Call(**one | {"made": datetime.fromisoformat(one["made"])}) for one in form]


@dataclass(frozen=True)
class Past(OnCollection[Records]):
    """A page of the records as they were at some time."""

    at: datetime
    columns: tuple[Column, ...] = ()
    limit: int = 100
    offset: int = 0

    route = Route(
        "POST", f"{COLLECTION}/past", "A page of the records as they were at some time", "read",
        _OBJECT,
        body=(
            _time("at", "When"), _LIMIT, _OFFSET,
            Field(
                "include", some_of(INCLUDABLE), "The columns to answer with.", nullable=False,
                default=["documents", "metadatas"],
            ),
        ),
        safe=True, ours=True,
    )  # fmt: skip

    def body(self) -> Form:
        """See Operation."""
        return {
            "at": self.at.isoformat(),
            "limit": self.limit,
            "offset": self.offset,
            "include": include_of(self.columns),
        }

    @classmethod
    def decode(cls, received: Received) -> Self:
        """See Operation."""
        body = received.body
        return cls(
            address_of(received.path),
            _read_time(body, "at"),
            columns_of(tuple(body["include"])),
            min(max(1, body["limit"]), MOST_ROWS),
            body["offset"],
        )

    def perform(self, engine: Engine) -> Records:
        """See Operation."""
        pages = engine.scan(
            self.address, EVERYTHING, self.columns, self.limit, at=self.at, offset=self.offset
        )
        return next(pages, Records([]))

    def to_json(self, answer: Records) -> Any:
        """See Operation."""
        return write_records(answer, include_of(self.columns), typed=True)

    def from_json(self, form: Any) -> Records:
        """See Operation."""
        return read_records(form)


@dataclass(frozen=True)
class Differ(OnCollection[Difference]):
    """Which records came, changed and went between two times."""

    since: datetime
    until: datetime

    route = Route(
        "POST", f"{COLLECTION}/difference", "Which records came, changed and went between times",
        "read", _OBJECT, body=(_time("since", "From when"), _time("until", "Until when")),
        safe=True, ours=True,
    )  # fmt: skip

    def body(self) -> Form:
        """See Operation."""
        return {"since": self.since.isoformat(), "until": self.until.isoformat()}

    @classmethod
    def decode(cls, received: Received) -> Self:
        """See Operation."""
        since, until = (_read_time(received.body, name) for name in ("since", "until"))
        return cls(address_of(received.path), since, until)

    def perform(self, engine: Engine) -> Difference:
        """See Operation."""
        return engine.difference(self.address, self.since, self.until)

    def to_json(self, answer: Difference) -> Any:
        """See Operation."""
        return asdict(answer)

    def from_json(self, form: Any) -> Difference:
        """See Operation."""
        return Difference(**form)


@dataclass(frozen=True)
class Undo(OnCollection[WriteResult]):
    """Reverts a call, or the last one."""

    call_id: int | None = None

    route = Route(
        "POST", f"{COLLECTION}/undo", "Revert a call, or the last one", "write", _OBJECT,
        body=(Field("call", COUNT, "Its id; without one the last."),), ours=True,
    )  # fmt: skip

    def body(self) -> Form:
        """See Operation."""
        return {"call": self.call_id}

    @classmethod
    def decode(cls, received: Received) -> Self:
        """See Operation."""
        return cls(address_of(received.path), received.body["call"])

    def perform(self, engine: Engine) -> WriteResult:
        """See Operation."""
        return engine.undo(self.address, self.call_id)

    def to_json(self, answer: WriteResult) -> Any:
        """See Operation."""
        return write_result(answer, True, False)

    def from_json(self, form: Any) -> WriteResult:
        """See Operation."""
        return read_result(form)
