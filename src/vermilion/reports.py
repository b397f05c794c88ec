"""What looking closely tells: of values, changes, searches and the directory. Few programs ask."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from uuid import UUID

from vermilion.types import Course

# ── of the records ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Facet:
    """A value of a metadata field, and how many records have it."""

    value: str | int | float | bool | date
    count: int


@dataclass(frozen=True)
class Summary:
    """The numbers that a field has in one group of records, of those that have one.

    `value` is what the group has in common, or None for the records without it.
    """

    value: str | int | float | bool | date | None
    count: int
    min: int | float
    max: int | float
    sum: int | float

    @property
    def avg(self) -> float:
        """The mean."""
        return self.sum / self.count


@dataclass(frozen=True)
class Call:
    """A call that wrote to a collection which keeps its history: its number, when, and how much."""

    id: int
    made: datetime
    inserted: int
    updated: int
    deleted: int


@dataclass(frozen=True)
class Difference:
    """The ids of records that came, changed and went between two times."""

    added: list[str]
    updated: list[str]
    deleted: list[str]


# ── of a search ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Explanation:
    """What a query did: how many records there are and were selected, and where the time went.

    `graph` tells whether large segments have one, and if not, why. `filter` tells what was kept of
    it from earlier queries: "evaluated" when nothing was, "known" when it was known which records
    it lets through, which may also be "kept apart" from the others.
    """

    records: int
    selected: int
    in_segments: int
    in_tail: int
    courses: list[Course]
    milliseconds: dict[str, float]
    graph: str = ""
    filter: str = ""


@dataclass(frozen=True)
class WhyNot:
    """Why a record is not in an answer.

    `reason`: "unknown id", "not among the ids", "filter" (`failing` names the conditions),
    "no vector" (the record has none yet),
    "farther" (`distance` against that of the last answer, `rank` from 0), "missed" (near enough,
    and the index did not find it), or "found".
    """

    reason: str
    failing: list[str] = field(default_factory=list)
    distance: float | None = None
    last_distance: float | None = None
    rank: int | None = None


@dataclass(frozen=True)
class IndexingStatus:
    """How much of a collection is in sealed indexes; what is not is searched exactly."""

    num_indexed_ops: int
    num_unindexed_ops: int
    total_ops: int
    op_indexing_progress: float


# ── of the directory ─────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Problem:
    """Something in the directory that is not as it should be.

    `collection` is the id of the collection, or None for the catalogue and the directory itself.
    `kind` is "file", "counter", "record", "vector", "id", "log" or "index"; `repairable` tells
    whether it goes away by itself: index files are made again from the records.
    """

    collection: UUID | None
    name: str | None
    kind: str
    detail: str
    repairable: bool = False


@dataclass(frozen=True)
class Stats:
    """What a collection holds, and what it takes on the disk.

    `live_bytes` is about what its records would take in a new file, `reclaimable_bytes` what
    `compact` can give back. `tail_rows` have changed since the segments were built.
    """

    rows: int = 0
    tail_rows: int = 0
    segments: int = 0
    records_bytes: int = 0
    wal_bytes: int = 0
    index_bytes: int = 0
    live_bytes: int = 0
    reclaimable_bytes: int = 0
