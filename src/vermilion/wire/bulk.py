"""Operations on all records of a selection: changing them, and reading them page by page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from vermilion.engine import EVERYTHING, Column, Engine, Selection
from vermilion.errors import InvalidArgumentError
from vermilion.types import Page, WriteResult
from vermilion.wire import metadata
from vermilion.wire.fields import NATURAL, OBJECT, Field, Form
from vermilion.wire.operation import COLLECTION, OnCollection, Received, Route, address_of
from vermilion.wire.records import INCLUDE, RECORDS, TELLING, WRITTEN, read_result, write_result
from vermilion.wire.rows import (
    LIMIT,
    SELECTION,
    columns_of,
    include_of,
    read_records,
    read_selection,
    write_records,
    write_selection,
)

# Of a page that is asked for without a limit.
ROWS = 1000


@dataclass(frozen=True)
class UpdateWhere(OnCollection[WriteResult]):
    """Merges metadata into those of the selected records."""

    selection: Selection
    changes: Form
    report: bool = True
    named: bool = False

    route = Route(
        "POST", f"{COLLECTION}/update_where", "Change the metadata of all records that match",
        "write", WRITTEN,
        body=(
            *SELECTION,
            Field("changes", OBJECT, "A value for each key; null deletes it.", required=True),
            *TELLING,
        ),
        safe=True, ours=True,
    )  # fmt: skip

    def body(self) -> Form:
        """See Operation."""
        [changes] = metadata.write([self.changes]) or [None]
        form = write_selection(self.selection) | {"changes": changes}
        return form | {"report": self.report, "named": self.named}

    @classmethod
    def decode(cls, received: Received) -> Self:
        """See Operation."""
        body = received.body
        [changes] = metadata.checked([body["changes"]]) or [None]
        if not changes:
            raise InvalidArgumentError("Expected changes to be a map that is not empty")
        address, selection = address_of(received.path), read_selection(body)
        return cls(address, selection, dict(changes), body["report"], body["named"])

    def perform(self, engine: Engine) -> WriteResult:
        """See Operation."""
        return engine.update_where(self.address, self.selection, self.changes, named=self.named)

    def to_json(self, answer: WriteResult) -> Any:
        """See Operation."""
        return write_result(answer, self.report, self.named)

    def from_json(self, form: Any) -> WriteResult:
        """See Operation."""
        return read_result(form)


@dataclass(frozen=True)
class GetPage(OnCollection[Page]):
    """The next selected records in the order of insertion."""

    selection: Selection = EVERYTHING
    columns: tuple[Column, ...] = ()
    rows: int = ROWS
    after: int | None = None

    route = Route(
        "POST", f"{COLLECTION}/page", "The records after those of the last page", "read",
        RECORDS | {"properties": RECORDS["properties"] | {"next": {"type": ["integer", "null"]}}},
        body=(
            *SELECTION, LIMIT, INCLUDE,
            Field("after", NATURAL, "What the last page called `next`."),
        ),
        safe=True, ours=True,
    )  # fmt: skip

    def body(self) -> Form:
        """See Operation."""
        form = write_selection(self.selection) | {"include": include_of(self.columns)}
        return form | {"limit": self.rows, "after": self.after}

    @classmethod
    def decode(cls, received: Received) -> Self:
        """See Operation."""
        body = received.body
        rows = ROWS if body["limit"] is None else body["limit"]
        if not rows:
            raise InvalidArgumentError("Expected limit to be at least 1, got 0")
        address, columns = address_of(received.path), columns_of(body["include"])
        return cls(address, read_selection(body), columns, rows, body["after"])

    def perform(self, engine: Engine) -> Page:
        """See Operation."""
        return engine.page(self.address, self.selection, self.columns, self.rows, self.after)

    def to_json(self, answer: Page) -> Any:
        """See Operation."""
        form = write_records(answer.records, include_of(self.columns), typed=True)
        return form | {"next": answer.next}

    def from_json(self, form: Any) -> Page:
        """See Operation."""
        return Page(read_records(form), form["next"])
