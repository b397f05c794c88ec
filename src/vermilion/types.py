"""The nouns that users see: what goes in, what comes out, in Chroma's own words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import Enum
from typing import Any, Literal, NamedTuple, Protocol, TypedDict
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from vermilion.errors import ArgumentValueError

DEFAULT_TENANT = "default_tenant"
DEFAULT_DATABASE = "default_database"

# ── columns ──────────────────────────────────────────────────────────────────────────────────────

ID = str
IDs = list[ID]
Document = str
Documents = list[Document]
URI = str
URIs = list[URI]
Vector = NDArray[np.float32]
Embedding = Vector
Embeddings = list[Embedding]
PyVector = Sequence[float] | Sequence[int]
PyEmbedding = PyVector
PyEmbeddings = list[PyEmbedding]
ImageDType = np.uint | np.int64 | np.float64
Image = NDArray[Any]
Images = list[Image]
Embeddable = Documents | Images
Loadable = list[Image | None]


class DataLoader(Protocol):
    """Turns uris into what an embedding function takes, for example images."""

    def __call__(self, uris: Sequence[URI | None]) -> Any:
        """Returns one item for each uri."""
        ...


TYPE_KEY = "#type"
SPARSE_VECTOR_TYPE_VALUE = "sparse_vector"


@dataclass
class SparseVector:
    """A vector of which only the components that are not zero are written down.

    `indices` are strictly ascending and not negative, `values` as many numbers; `labels` may name
    each component (they travel as "tokens").
    """

    indices: list[int]
    values: list[float]
    labels: list[str] | None = None

    def __post_init__(self) -> None:
        for name, column in (("indices", self.indices), ("values", self.values)):
            if not isinstance(column, list):
                raise ArgumentValueError(
                    f"Expected SparseVector {name} to be a list, got {type(column).__name__}"
                )
        if len(self.indices) != len(self.values):
            raise ArgumentValueError(
                "SparseVector indices and values must have the same length, "
                f"got {len(self.indices)} indices and {len(self.values)} values"
            )
        self._check_indices()
        self._check_values()
        self._check_labels()

    def _check_indices(self) -> None:
        for place, index in enumerate(self.indices):
            if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < 2**32:
                raise ArgumentValueError(
                    f"SparseVector indices must be integers from 0 to 2**32-1, "
                    f"got {index!r} at position {place}"
                )
            if place and index <= self.indices[place - 1]:
                raise ArgumentValueError(
                    "SparseVector indices must be sorted in strictly ascending order "
                    f"(no duplicates), got {index} after {self.indices[place - 1]}"
                )

    def _check_values(self) -> None:
        for place, value in enumerate(self.values):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ArgumentValueError(
                    f"SparseVector values must be numbers, got {value!r} at position {place}"
                )
            if not np.isfinite(value):
                raise ArgumentValueError(
                    f"SparseVector values must be finite, got {value!r} at position {place}"
                )

    def _check_labels(self) -> None:
        if self.labels is None:
            return
        if not isinstance(self.labels, list) or len(self.labels) != len(self.indices):
            raise ArgumentValueError("SparseVector labels must be a list as long as indices")

    def to_dict(self) -> dict[str, Any]:
        """Returns the form that is stored and sent, tagged with "#type"."""
        out: dict[str, Any] = {
            TYPE_KEY: SPARSE_VECTOR_TYPE_VALUE,
            "indices": self.indices,
            "values": self.values,
        }
        if self.labels is not None:
            out["tokens"] = self.labels
        return out

    @classmethod
    def from_dict(cls, form: Mapping[str, Any]) -> SparseVector:
        """Returns the vector that `to_dict` wrote; raises ValueError when the tag is missing."""
        if form.get(TYPE_KEY) != SPARSE_VECTOR_TYPE_VALUE:
            raise ArgumentValueError(
                f'Expected {TYPE_KEY}="{SPARSE_VECTOR_TYPE_VALUE}", got {form.get(TYPE_KEY)!r}'
            )
        return cls(list(form["indices"]), list(form["values"]), form.get("tokens"))


SparseVectors = list[SparseVector]

# ── metadata and filters ─────────────────────────────────────────────────────────────────────────

Scalar = str | int | float | bool
# A datetime is a date, too. Lists and dicts hold these, dicts also each other.
MetadataValue = Scalar | date | Sequence[Any] | Mapping[str, Any] | SparseVector | None
Metadata = Mapping[str, MetadataValue]
Metadatas = list[Metadata]
UpdateMetadata = Mapping[str, MetadataValue]
CollectionMetadata = dict[str, Any]
UpdateCollectionMetadata = dict[str, Any]
LiteralValue = str | int | float | bool
LogicalOperator = Literal["$and", "$or"]
WhereOperator = Literal["$gt", "$gte", "$lt", "$lte", "$ne", "$eq"]
OperatorExpression = dict[str, Any]
Where = dict[str, Any]
WhereDocumentOperator = Literal["$contains", "$not_contains", "$regex", "$not_regex", "$and", "$or"]
WhereDocument = dict[str, Any]
Space = Literal["l2", "cosine", "ip"]

# How a text is looked for: by its meaning, its words, or both.
Mode = Literal["dense", "keyword", "hybrid"]


class Order(NamedTuple):
    """Records are ordered by this metadata field."""

    field: str
    descending: bool = False


# What `add` does with a row whose id exists.
OnConflict = Literal["skip", "error", "update"]

# What survives a power cut: every call that returned, or all but the last few.
Durability = Literal["full", "normal"]

# ── results ──────────────────────────────────────────────────────────────────────────────────────

Included = Literal["documents", "embeddings", "metadatas", "distances", "uris", "data"]
Include = list[Included]


class DeleteResult(TypedDict):
    """How many records are gone."""

    deleted: int


class ReadLevel(str, Enum):  # noqa: UP042  (Chroma's bases: format() gives the name)
    """How fresh a read must be. The embedded engine always reads everything."""

    INDEX_AND_WAL = "index_and_wal"
    INDEX_ONLY = "index_only"
    INDEX_AND_BOUNDED_WAL = "index_and_bounded_wal"


# ── the catalogue ────────────────────────────────────────────────────────────────────────────────


class UserIdentity(NamedTuple):
    """Who the caller is, and where they may go."""

    user_id: str
    tenant: str | None = None
    databases: list[str] | None = None
    attributes: dict[str, Any] | None = None


@dataclass(frozen=True)
class Database:
    """A named group of collections that belongs to a tenant."""

    id: UUID
    name: str
    tenant: str


class Address(NamedTuple):
    """Where a collection lives: every operation on records carries it."""

    tenant: str
    database: str
    collection: UUID


@dataclass(frozen=True)
class WriteResult:
    """What a write did, in numbers of records.

    `skipped`: `add` found the id taken. `missing`: `update` or `delete` found no such id.
    `unchanged`: the record was already as asked, so nothing was written. `ids` has, where that was
    asked for, the ids of each of these kinds that has any; `made` those that were made, a row each.
    """

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: int = 0
    missing: int = 0
    deleted: int = 0
    ids: dict[str, list[str]] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, ids: Mapping[str, list[str]], *, named: bool) -> WriteResult:
        """The counts of the ids of each kind; if `named`, with the ids."""
        counts = {kind: len(some) for kind, some in ids.items()}
        return cls(**counts, ids={kind: some for kind, some in ids.items() if some and named})  # type: ignore[arg-type]  # the kinds are the counted fields

    def counts(self) -> dict[str, int]:
        """How many there are of each kind."""
        return {name: told for name, told in vars(self).items() if isinstance(told, int)}

    def __add__(self, other: WriteResult) -> WriteResult:
        """What both of them did, one after the other."""
        theirs = other.counts()
        counts = {name: told + theirs[name] for name, told in self.counts().items()}
        kinds = [kind for kind in counts if kind in self.ids or kind in other.ids]
        ids = {kind: self.ids.get(kind, []) + other.ids.get(kind, []) for kind in kinds}
        return WriteResult(**counts, ids=ids, made=self.made + other.made)


def with_none(
    vectors: NDArray[Any] | None, has_vector: NDArray[np.bool_] | None
) -> NDArray[Any] | list[NDArray[Any] | None] | None:
    """Vectors, as a list with None for those that are not there if there are such."""
    if vectors is None or has_vector is None:
        return vectors
    return [vector if there else None for vector, there in zip(vectors, has_vector, strict=True)]


@dataclass(frozen=True)
class Records:
    """Rows of a collection in aligned columns; a column that was not asked for is None.

    `vectors` is float32 of shape (n, dimension). Rows whose `has_vector` is False are of bare
    records, which have none; `has_vector=None` means that all have one.
    """

    ids: list[str]
    vectors: NDArray[np.float32] | None = None
    documents: list[str | None] | None = None
    uris: list[str | None] | None = None
    metadatas: list[dict[str, Any] | None] | None = None
    has_vector: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def embeddings(self) -> NDArray[np.float32] | list[Vector | None] | None:
        """The vectors, as a list with None for each bare record if there is one."""
        return with_none(self.vectors, self.has_vector)


class Page(NamedTuple):
    """Some records in the order of insertion, and after which key the next page begins.

    `next` is None on the last page.
    """

    records: Records
    next: int | None


@dataclass(frozen=True)
class Record:
    """One record of a collection; what was not asked for, or is not there, is None."""

    id: str
    document: str | None = None
    metadata: dict[str, Any] | None = None
    embedding: Vector | None = field(default=None, compare=False)
    uri: str | None = None


class Effort(NamedTuple):
    """How sure a search has to be.

    `exact`: every selected record is measured. Otherwise `recall`, between 0 and 1, is the share of
    the true neighbours that is aimed at; the search widens until its own measurements say so.
    """

    exact: bool = False
    recall: float = 0.99


USUAL = Effort()


class Course(NamedTuple):
    """How one query went.

    `plan` is "exact" where every selected record was measured, "codes" where codes suggested the
    candidates, "graph" where in large segments a graph did, "nothing" where there was nothing to
    search. `measured` counts vectors that were compared with the query, `rounds` how often more
    candidates were asked for, and `error` is how far off the codes may have been, as a distance.
    """

    plan: Literal["nothing", "exact", "codes", "graph"]
    measured: int
    rounds: int = 0
    error: float = 0.0


class Hits(NamedTuple):
    """The answer to one query vector: rows, nearest first, and a float32 distance for each."""

    records: Records
    distances: NDArray[np.float32]


class Ranked(NamedTuple):
    """The answer to one search: rows, best first, and a float32 score for each."""

    records: Records
    scores: NDArray[np.float32]


def pages(total: int, size: int) -> Iterator[slice]:
    """Cuts range(total) into slices of at most `size`.

    >>> list(pages(5, 2))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))
