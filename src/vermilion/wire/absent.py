"""Operations of Chroma Cloud that no single machine has: their routes answer so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn, Self

from vermilion.engine import Engine
from vermilion.errors import NotFoundError, UnsupportedError
from vermilion.wire.fields import FLAG, OBJECT, TEXT, Field, Form
from vermilion.wire.operation import COLLECTION, OnCollection, Received, Route, address_of

_OBJECT: Form = {"type": "object"}


@dataclass(frozen=True)
class _Absent(OnCollection[Any]):
    """What is not there. The collection has to exist all the same."""

    @classmethod
    def decode(cls, received: Received) -> Self:
        """See Operation."""
        return cls(address_of(received.path))

    def perform(self, engine: Engine) -> Any:
        """See Operation."""
        engine.get_collection_by_id(self.address)
        self.refuse()

    def refuse(self) -> NoReturn:
        """Says what is not there."""
        raise UnsupportedError("Attached functions are not supported: run them in your program")

    def to_json(self, answer: Any) -> Any:
        """See Operation."""
        return answer

    def from_json(self, form: Any) -> Any:
        """See Operation."""
        return form


@dataclass(frozen=True)
class CountForks(_Absent):
    """How many copies of a collection share its data: here copies share nothing."""

    route = Route(
        "GET", f"{COLLECTION}/fork_count", "Not supported: copies share nothing", "read", _OBJECT,
        safe=True,
    )  # fmt: skip

    def refuse(self) -> NoReturn:
        """See _Absent."""
        raise UnsupportedError("Forks are not counted: a fork shares nothing with its origin")


@dataclass(frozen=True)
class AttachFunction(_Absent):
    """Has a function run over everything that is written."""

    route = Route(
        "POST", f"{COLLECTION}/functions/attach", "Not supported", "write", _OBJECT,
        body=(
            Field("name", TEXT, "The name.", required=True),
            Field("function_id", TEXT, "The function.", required=True),
            Field("output_collection", TEXT, "Where its output goes.", required=True),
            Field("params", OBJECT, "Its parameters."),
        ),
    )  # fmt: skip


@dataclass(frozen=True)
class GetAttachedFunction(_Absent):
    """An attached function."""

    route = Route(
        "GET", f"{COLLECTION}/functions/{{name}}", "Not supported: there are none", "read", _OBJECT,
        safe=True,
    )  # fmt: skip

    def refuse(self) -> NoReturn:
        """See _Absent."""
        raise NotFoundError("Attached function not found")


@dataclass(frozen=True)
class DetachFunction(_Absent):
    """Stops an attached function."""

    route = Route(
        "POST", f"{COLLECTION}/attached_functions/{{name}}/detach", "Not supported", "write",
        _OBJECT,
        body=(Field("delete_output", FLAG, "Its output, too.", nullable=False, default=False),),
    )  # fmt: skip
