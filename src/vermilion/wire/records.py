"""Operations on records: writing, reading, counting."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vermilion.engine import EVERYTHING, Column, Engine, Selection
from vermilion.errors import InvalidArgumentError
from vermilion.names import check_order
from vermilion.records import CLEARABLE, Batch, check_recall
from vermilion.types import USUAL, Effort, Hits, Order, Records, WriteResult
from vermilion.wire import metadata
from vermilion.wire.fields import (
    COUNT,
    FLAG,
    NUMBER,
    OPTIONAL_TEXTS,
    TEXT,
    TEXTS,
    Field,
    Fields,
    Form,
    some_of,
)
from vermilion.wire.operation import (
    COLLECTION,
    A,
    OnCollection,
    Received,
    Route,
    address_of,
)
from vermilion.wire.rows import (
    INCLUDABLE,
    LIMIT,
    OFFSET,
    SELECTION,
    columns_of,
    firsts,
    include_of,
    merged,
    read_batch,
    read_hits,
    read_records,
    read_selection,
    write_batch,
    write_hits,
    write_records,
    write_selection,
)
from vermilion.wire.vectors import OPTIONAL_ROWS, ROWS, unpack_all, write_some

# ── writing ──────────────────────────────────────────────────────────────────────────────────────

_DOCUMENTS = Field("documents", OPTIONAL_TEXTS, "A text or null for each id.")
_URIS = Field("uris", OPTIONAL_TEXTS, "A text or null for each id.")
_METADATAS = Field("metadatas", metadata.OF_RECORDS, "A map or null for each id.")
_CHANGES = Field(
    "metadatas", metadata.CHANGES_OF_RECORDS, "A map or null for each id; null deletes a key."
)
_IDS = Field("ids", TEXTS, "The ids.", required=True)
_VECTORS = "A vector for each id, as numbers or as float32 bytes in base64."
_NULL = "Null, where `bare` is set, for a record that has none."
_CLEAR = Field("clear", some_of(CLEARABLE), "Columns that are emptied first.", ours=True)
_MADE_BY = Field("made_by", TEXT, "The function that made the vectors, as JSON.", ours=True)
_NEW_ONLY = Field(
    "new_only", FLAG, "Refuse all rows when any id exists.", nullable=False, default=False,
    ours=True,
)  # fmt: skip
_BARE = Field(
    "bare", FLAG, "Store records whose embedding is null; they have none yet.", nullable=False,
    default=False, ours=True,
)  # fmt: skip
REPORT = Field(
    "report", FLAG, "Tell in the answer what was done.", nullable=False, default=False, ours=True
)
NAMED = Field(
    "named", FLAG, "Tell the ids of each kind, too.", nullable=False, default=False, ours=True
)
# What the answer tells of a write: the counts if `report`, the ids as well if `named`.
TELLING = (REPORT, NAMED)
_REPORTED = tuple(WriteResult().counts())
WRITTEN: Form = {
    "type": "object",
    "properties": {name: {"type": "integer"} for name in _REPORTED}
    | {"ids": {"type": "object", "additionalProperties": {"type": "array"}}},
    "additionalProperties": False,
}


def _asked(**wishes: bool) -> Form:
    """The wishes that there are: servers of Chroma need not be sent what they do not know."""
    return {name: wish for name, wish in wishes.items() if wish}


def write_result(result: WriteResult, report: bool, named: bool) -> Form:
    """What is told of a write, as far as it was asked for."""
    told: Form = dict(result.counts()) if report else {}
    return told | ({"ids": result.ids} if named else {})


def read_result(form: Form) -> WriteResult:
    """What was done, as far as the server tells: one of Chroma tells nothing."""
    return WriteResult(
        **{name: form[name] for name in _REPORTED if name in form}, ids=form.get("ids", {})
    )


@dataclass(frozen=True)
class Write(OnCollection[WriteResult]):
    """A write of rows. `packed` sends vectors as base64, which not every server reads."""

    batch: Batch
    report: bool = False
    packed: bool = True
    named: bool = False

    def body(self) -> Form:
        """See Operation."""
        form = write_batch(self.batch, packed=self.packed)
        return form | _asked(report=self.report, named=self.named)

    def perform(self, engine: Engine) -> WriteResult:
        """See Operation."""
        if not self.batch.ids:  # nothing to write, and yet the collection has to exist
            engine.get_collection_by_id(self.address)
            return WriteResult()
        return self.write(engine)

    @abstractmethod
    def write(self, engine: Engine) -> WriteResult:
        """Asks the engine to write at least one row."""

    def to_json(self, answer: WriteResult) -> Any:
        """See Operation."""
        return write_result(answer, self.report, self.named)

    def from_json(self, form: Any) -> WriteResult:
        """See Operation."""
        return read_result(form)


def _told(received: Received) -> Form:
    return {one.name: received.body[one.name] for one in TELLING}


def _check_bare(body: Form) -> None:
    """Null stands for a vector only where that is asked for; else it is the error of Chroma."""
    if not body["bare"] and body["embeddings"] is not None:
        ROWS.check(body["embeddings"], "embeddings")


def _write_route(verb: str, says: str, status: int, body: Fields) -> Route:
    return Route(
        "POST", f"{COLLECTION}/{verb}", says, "write", WRITTEN, status, body, safe=verb != "add"
    )


@dataclass(frozen=True)
class Add(Write):
    """Inserts rows whose id is new."""

    new_only: bool = False

    route = _write_route(
        "add", "Insert records; those whose id exists stay as they are", 201,
        (
            _IDS, Field("embeddings", OPTIONAL_ROWS, f"{_VECTORS} {_NULL}", required=True),
            _DOCUMENTS, _URIS, _METADATAS, _NEW_ONLY, _MADE_BY, _BARE, *TELLING,
        ),
    )  # fmt: skip

    def body(self) -> Form:
        """See Operation."""
        return super().body() | _asked(new_only=self.new_only)

    @classmethod
    def decode(cls, received: Received) -> Self:
        """See Operation."""
        _check_bare(received.body)
        batch, new_only = firsts(read_batch(received.body)), received.body["new_only"]
        return cls(address_of(received.path), batch, **_told(received), new_only=new_only)

    def write(self, engine: Engine) -> WriteResult:
        """See Write."""
        return engine.add(self.address, self.batch, new_only=self.new_only, named=self.named)


@dataclass(frozen=True)
class Upsert(Write):
    """Inserts rows, or updates those whose id exists."""

    route = _write_route(
        "upsert", "Insert records, or update those whose id exists", 200,
        (
            _IDS, Field("embeddings", OPTIONAL_ROWS, f"{_VECTORS} New ids need one. {_NULL}"),
            _DOCUMENTS, _URIS, _CHANGES, _CLEAR, _MADE_BY, _BARE, *TELLING,
        ),
    )  # fmt: skip

    @classmethod
    def decode(cls, received: Received) -> Self:
        """See Operation."""
        address = address_of(received.path)
        _check_bare(received.body)
        return cls(address, merged(read_batch(received.body)), **_told(received))

    def write(self, engine: Engine) -> WriteResult:
        """See Write."""
        return engine.upsert(self.address, self.batch, named=self.named)


@dataclass(frozen=True)
class Update(Write):
    """Changes the cells that are given."""

    route = _write_route(
        "update", "Change what is given of records that exist", 200,
        (
            _IDS, Field("embeddings", OPTIONAL_ROWS, f"{_VECTORS} Null leaves one alone."),
            _DOCUMENTS, _URIS, _CHANGES, _CLEAR, _MADE_BY, *TELLING,
        ),
    )  # fmt: skip

    @classmethod
    def decode(cls, received: Received) -> Self:
        """See Operation."""
        address, body = address_of(received.path), received.body
        if body["embeddings"] == []:  # one of Chroma's clients means none at all by this
            body = body | {"embeddings": None}
        return cls(address, merged(read_batch(body)), **_told(received))

    def write(self, engine: Engine) -> WriteResult:
        """See Write."""
        return engine.update(self.address, self.batch, named=self.named)


@dataclass(frozen=True)
class Delete(OnCollection[WriteResult]):
    """Deletes the selected records."""

    selection: Selection
    limit: int | None = None
    secure: bool = False
    report: bool = False
    named: bool = False

    route = Route(
        "POST", f"{COLLECTION}/delete", "Delete records by ids, by filter, or by both", "write",
        {"type": "object", "properties": {"deleted": {"type": "integer"}},
         "required": ["deleted"]},
        body=(
            *SELECTION,
            Field("limit", COUNT, "At most so many, oldest first; only with a filter."),
            Field(
                "secure", FLAG, "Leave no byte of them in any file.", nullable=False,
                default=False, ours=True,
            ),
            *TELLING,
        ),
    )  # fmt: skip

    def body(self) -> Form:
        """See Operation."""
        form = write_selection(self.selection)
        if self.limit is not None:
            form["limit"] = self.limit
        return form | _asked(secure=self.secure, report=self.report, named=self.named)

    @classmethod
    def decode(cls, received: Received) -> Self:
        """See Operation."""
        body = received.body
        selection = read_selection(body)
        if body["limit"] is not None and selection.filter is None:
            raise InvalidArgumentError(
                "Validation error: limit, where: limit can only be specified when a where clause "
                "is provided"
            )
        if selection.ids == [] and selection.filter is None:
            raise InvalidArgumentError(
                "Validation error: ids, where: Either ids or where must be specified"
            )
        address = address_of(received.path)
        return cls(address, selection, body["limit"], body["secure"], **_told(received))

    def perform(self, engine: Engine) -> WriteResult:
        """See Operation. To select everything by saying nothing deletes nothing."""
        if self.selection == EVERYTHING:
            engine.get_collection_by_id(self.address)
            return WriteResult()
        return engine.delete(
            self.address, self.selection, self.limit, secure=self.secure, named=self.named
        )

    def to_json(self, answer: WriteResult) -> Any:
        """See Operation."""
        return {"deleted": answer.deleted} | write_result(answer, self.report, self.named)

    def from_json(self, form: Any) -> WriteResult:
        """See Operation."""
        return read_result(form)


# ── reading ──────────────────────────────────────────────────────────────────────────────────────

_ROWS_OF_TEXT: Form = {"anyOf": [{"type": "array"}, {"type": "null"}]}


def _columns(*more: str) -> Form:
    names = ("embeddings", "documents", "uris", "metadatas", *more)
    return {
        "type": "object",
        "properties": {
            "ids": {"type": "array"},
            **dict.fromkeys(names, _ROWS_OF_TEXT),
            "include": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["ids", *names, "include"],
    }


def _include(default: tuple[str, ...]) -> Field:
    return Field(
        "include", some_of(INCLUDABLE), "The columns to answer with.", nullable=False,
        default=[*default],
    )  # fmt: skip


RECORDS = _columns()
INCLUDE = _include(("documents", "metadatas"))
_ORDER_BY = Field("order_by", TEXTS, "Fields; '-' before one: the greatest first.", ours=True)


@dataclass(frozen=True)
class Get(OnCollection[Records]):
    """The selected records in the order they were inserted."""

    selection: Selection = EVERYTHING
    columns: tuple[Column, ...] = ()
    limit: int | None = None
    offset: int | None = None
    include: tuple[str, ...] | None = None  # as the answer repeats it; None: the columns' names
    order_by: tuple[Order, ...] = ()
    typed: bool = False  # as the answer has the metadata

    route = Route(
        "POST", f"{COLLECTION}/get", "Records by ids, by filter, by page", "read", RECORDS,
        body=(*SELECTION, LIMIT, OFFSET, _ORDER_BY, metadata.TYPED, INCLUDE),
        safe=True,
    )  # fmt: skip

    def body(self) -> Form:
        """See Operation."""
        form = write_selection(self.selection)
        form |= {"limit": self.limit, "offset": self.offset, "include": self._named()}
        names = [f"-{one.field}" if one.descending else one.field for one in self.order_by]
        return form | ({"order_by": names} if names else {}) | _asked(typed=self.typed)

    def _named(self) -> list[str]:
        return include_of(self.columns) if self.include is None else [*self.include]

    @classmethod
    def decode(cls, received: Received) -> Self:
        """See Operation."""
        body = received.body
        include = tuple(body["include"])
        return cls(
            address_of(received.path),
            read_selection(body),
            columns_of(include),
            body["limit"],
            body["offset"],
            include,
            tuple(check_order(body["order_by"] or [])),
            body["typed"],
        )

    def perform(self, engine: Engine) -> Records:
        """See Operation."""
        return engine.get(
            self.address, self.selection, self.columns, self.limit, self.offset, self.order_by
        )

    def to_json(self, answer: Records) -> Any:
        """See Operation."""
        return write_records(answer, self._named(), typed=self.typed)

    def from_json(self, form: Any) -> Records:
        """See Operation."""
        return read_records(form)


_QUERIES = Field("query_embeddings", ROWS, "A vector for each query.", required=True)
_N_RESULTS = Field("n_results", COUNT, "How many for each query.", default=10)
EXACT = Field(
    "exact", FLAG, "Measure every selected record.", nullable=False, default=False, ours=True
)
RECALL = Field(
    "recall", NUMBER, "The share of the true neighbours that is aimed at.", nullable=False,
    default=USUAL.recall, ours=True,
)  # fmt: skip
# What a question for neighbours is asked with.
QUESTION = (_QUERIES, _N_RESULTS, *SELECTION, EXACT, RECALL)


@dataclass(frozen=True)
class Question(OnCollection[A]):
    """What every question for neighbours has."""

    vectors: NDArray[np.float32]
    k: int
    selection: Selection = EVERYTHING
    effort: Effort = USUAL

    def body(self) -> Form:
        """See Operation."""
        form: Form = {"query_embeddings": np.ascontiguousarray(self.vectors), "n_results": self.k}
        effort = {} if self.effort == USUAL else self.effort._asdict()
        return form | write_selection(self.selection) | effort


def read_question(received: Received) -> Form:
    """The arguments that every question for neighbours has."""
    body = received.body
    return {
        "address": address_of(received.path),
        "vectors": unpack_all(body["query_embeddings"], "query_embeddings"),
        "k": body["n_results"],
        "selection": read_selection(body),
        "effort": Effort(body["exact"], check_recall(body["recall"])),
    }


@dataclass(frozen=True)
class Query(Question[list[Hits]]):
    """The nearest records to each vector."""

    columns: tuple[Column, ...] = ()
    include: tuple[str, ...] | None = None  # as for Get; distances are added
    typed: bool = False  # as for Get
    packed: bool = False  # the vectors are sent as base64

    route = Route(
        "POST", f"{COLLECTION}/query", "The nearest records to each of some vectors", "read",
        _columns("distances"),
        body=(*QUESTION, metadata.TYPED, _include(("documents", "metadatas", "distances"))),
        safe=True,
    )  # fmt: skip

    def body(self) -> Form:
        """See Operation."""
        form = super().body() | {"include": self._named()} | _asked(typed=self.typed)
        return form | {"query_embeddings": write_some(self.vectors, None, self.packed)}

    def _named(self) -> list[str]:
        if self.include is not None:
            return [*self.include]
        return [*include_of(self.columns), "distances"]

    @classmethod
    def decode(cls, received: Received) -> Self:
        """See Operation."""
        include, typed = tuple(received.body["include"]), received.body["typed"]
        return cls(
            **read_question(received), columns=columns_of(include), include=include, typed=typed
        )

    def perform(self, engine: Engine) -> list[Hits]:
        """See Operation."""
        if not len(self.vectors):
            engine.get_collection_by_id(self.address)
            return []
        return engine.query(
            self.address, self.vectors, self.k, self.selection, self.columns, self.effort
        )

    def to_json(self, answer: list[Hits]) -> Any:
        """See Operation."""
        return write_hits(answer, self._named(), typed=self.typed)

    def from_json(self, form: Any) -> list[Hits]:
        """See Operation."""
        return read_hits(form)
