"""Engine: every operation there is, in one Protocol. Start reading here.

Arguments are typed and checked before they come (`Batch`, `Filter`, `Configuration`), answers are
columns and numpy arrays. There is no JSON here, no filter dicts and no embedding of text. What an
operation means, its order, its errors and its limits are said once: in these docstrings.

Every operation may raise StorageError (the disk), ClosedError (after `close`) and DamagedError.
"""

from __future__ import annotations

from collections.abc import Collection as AnyCollection
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from vermilion.configuration import Changes, Configuration
from vermilion.query.where import Filter
from vermilion.records import Batch
from vermilion.types import (
    USUAL,
    Address,
    Database,
    Effort,
    Hits,
    Order,
    Page,
    Ranked,
    Records,
    WriteResult,
)

if TYPE_CHECKING:  # classes that few programs need
    from vermilion.query.search import Search
    from vermilion.reports import (
        Call,
        Difference,
        Explanation,
        Facet,
        IndexingStatus,
        Problem,
        Stats,
        Summary,
        WhyNot,
    )

Column = Literal["vectors", "documents", "uris", "metadatas"]


@dataclass(frozen=True)
class CollectionInfo:
    """What is known of a collection at the moment it was asked for.

    `dimension` is None until the first vector is written. `schema` is the stored JSON of its
    index schema, or None.
    """

    id: UUID
    name: str
    tenant: str
    database: str
    configuration: Configuration
    metadata: dict[str, Any] | None
    dimension: int | None
    schema: dict[str, Any] | None = None

    @property
    def address(self) -> Address:
        """Where its records are."""
        return Address(self.tenant, self.database, self.id)


class Selection(NamedTuple):
    """Which records: those with these ids, and matching this filter. None means all.

    Ids that do not exist select nothing; an id named twice selects one record.
    """

    ids: list[str] | None = None
    filter: Filter | None = None


EVERYTHING = Selection()


class Engine(Protocol):
    """A database: tenants, databases, collections, records."""

    # ── the whole ────────────────────────────────────────────────────────────────────────────────

    def version(self) -> str:
        """The release of the engine."""
        ...

    def max_batch_size(self) -> int:
        """How many rows one write may carry."""
        ...

    def reset(self) -> None:
        """Deletes everything; the default tenant and database are there again."""
        ...

    def close(self) -> None:
        """Releases files, memory and threads. Closing twice is fine."""
        ...

    # ── tenants and databases ────────────────────────────────────────────────────────────────────

    def create_tenant(self, name: str) -> None:
        """Creates a tenant. Raises AlreadyExistsError."""
        ...

    def get_tenant(self, name: str) -> str:
        """Returns the name. Raises NotFoundError."""
        ...

    def create_database(self, name: str, tenant: str) -> Database:
        """Creates a database. Raises AlreadyExistsError, or NotFoundError for the tenant."""
        ...

    def get_database(self, name: str, tenant: str) -> Database:
        """Returns the database. Raises NotFoundError."""
        ...

    def delete_database(self, name: str, tenant: str) -> None:
        """Deletes a database with all its collections. Raises NotFoundError."""
        ...

    def list_databases(
        self, tenant: str, limit: int | None = None, offset: int | None = None
    ) -> list[Database]:
        """The databases of a tenant by name; none when the tenant does not exist."""
        ...

    # ── collections ──────────────────────────────────────────────────────────────────────────────

    def create_collection(
        self,
        name: str,
        tenant: str,
        database: str,
        *,
        configuration: Configuration,
        metadata: dict[str, Any] | None = None,
        schema: dict[str, Any] | None = None,
        get_or_create: bool = False,
    ) -> tuple[CollectionInfo, bool]:
        """Creates a collection; the flag tells whether it is new.

        With `get_or_create` an existing one of that name is returned as it is. Raises
        AlreadyExistsError, or InvalidArgumentError when the database does not exist.
        """
        ...

    def get_collection(self, name: str, tenant: str, database: str) -> CollectionInfo:
        """The collection of that name. Raises NotFoundError."""
        ...

    def get_collection_by_id(self, address: Address) -> CollectionInfo:
        """The collection with that id. Raises NotFoundError, also when it lives elsewhere."""
        ...

    def list_collections(
        self, tenant: str, database: str, limit: int | None = None, offset: int | None = None
    ) -> list[CollectionInfo]:
        """The collections of a database in the order they were created."""
        ...

    def count_collections(self, tenant: str, database: str) -> int:
        """How many collections the database has."""
        ...

    def modify_collection(
        self,
        address: Address,
        *,
        name: str | None = None,
        metadata: dict[str, Any] | None = None,
        replace_metadata: bool = False,
        configuration: Changes | None = None,
    ) -> CollectionInfo:
        """Renames, replaces the metadata as a whole, changes the configuration: all or nothing.

        Raises NotFoundError, or AlreadyExistsError when another collection has the new name.
        """
        ...

    def fork_collection(self, address: Address, new_name: str) -> CollectionInfo:
        """A new collection in the same database with everything this one has at one moment.

        That is its configuration, metadata, schema, and its records in their order. From then on
        the two have nothing to do with each other. Others may go on writing meanwhile. Raises
        NotFoundError, or AlreadyExistsError when a collection has the new name.
        """
        ...

    def switch_vectors(
        self, address: Address, staged: Address, function: dict[str, Any]
    ) -> list[str]:
        """Gives all records the vectors of another collection, and the collection its function.

        Both happen at one moment: who reads sees the old vectors or the new ones. `staged` has a
        record with the same id for each, whose uri is the `switching.source_stamp` of what its
        vector was made of. Where such a record is missing or is of something else, nothing changes,
        and some of those ids are returned; when it is done, none. Indexes are built anew. The new
        vectors may have another dimension.
        """
        ...

    def delete_collection(self, name: str, tenant: str, database: str) -> None:
        """Deletes a collection and its records. Raises NotFoundError."""
        ...

    # ── records ──────────────────────────────────────────────────────────────────────────────────
    # All raise NotFoundError when the collection does not exist (any more). A write is one
    # transaction: all of its rows or none, and durable when it returns. The next read sees it, in
    # this process and in every other. Vectors of another dimension than the collection's raise
    # DimensionError; the first vector written to a collection without records sets it.

    # If `named`, the result has the ids of what was inserted, updated and so on.

    def add(
        self, address: Address, batch: Batch, *, new_only: bool = False, named: bool = False
    ) -> WriteResult:
        """Inserts rows; rows whose id exists are skipped and stay as they are.

        With `new_only` such rows raise IDAlreadyExistsError, and nothing is inserted.
        """
        ...

    def upsert(self, address: Address, batch: Batch, *, named: bool = False) -> WriteResult:
        """Inserts rows, or updates those whose id exists, as `update` does."""
        ...

    def update(self, address: Address, batch: Batch, *, named: bool = False) -> WriteResult:
        """Changes the cells that are given; ids that do not exist are left out.

        A document, uri or vector is replaced. Metadata is merged key by key; None deletes a key, a
        dict replaces a dict as a whole.
        The batch's `clear` empties columns first: a document or uri is then gone unless given, and
        the metadata are those given. A record keeps its place in the order.
        """
        ...

    def update_where(
        self,
        address: Address,
        selection: Selection,
        changes: Mapping[str, Any],
        *,
        named: bool = False,
    ) -> WriteResult:
        """Merges these metadata into those of the selected records; None deletes a key.

        Which records are selected and what they become is of one moment. A server of Chroma is told
        record by record, in several requests.
        """
        ...

    def delete(
        self,
        address: Address,
        selection: Selection,
        limit: int | None = None,
        *,
        secure: bool = False,
        named: bool = False,
    ) -> WriteResult:
        """Deletes the selected records, at most `limit` of them, oldest first.

        With `secure` no file of the database holds a byte of their ids, documents, uris, metadata
        and vectors when the call returns. That writes the collection's file anew and waits for a
        bounded time for readers of earlier moments and for the building of indexes; StorageError
        says what is left to do if they stay.
        """
        ...

    def get(
        self,
        address: Address,
        selection: Selection = EVERYTHING,
        columns: AnyCollection[Column] = (),
        limit: int | None = None,
        offset: int | None = None,
        order_by: Sequence[Order] = (),
    ) -> Records:
        """The selected records by these fields, then in the order they were inserted.

        Types are ordered bool, number, time, string; what has no such field, or a list or a dict,
        comes last, ascending or descending.
        """
        ...

    def scan(
        self,
        address: Address,
        selection: Selection = EVERYTHING,
        columns: AnyCollection[Column] = (),
        rows: int = 1000,
        *,
        at: datetime | None = None,
        offset: int = 0,
    ) -> Iterator[Records]:
        """The selected records in the order they were inserted, so many at a time, from one on.

        All of one moment where the engine has the files; over HTTP, each page of its own, and never
        more than there were at first. For who reads on at once: as long as the iterator lives, the
        files keep what is overwritten.

        With `at` all records as they were then, for collections that keep their history. Raises
        NotFoundError when it does not reach back so far.
        """
        ...

    def page(
        self,
        address: Address,
        selection: Selection = EVERYTHING,
        columns: AnyCollection[Column] = (),
        rows: int = 1000,
        after: int | None = None,
    ) -> Page:
        """The first selected records that were inserted after the record with this key.

        One page after the other shows every record once that is selected all the while, whatever
        others write meanwhile, and holds nothing up between two pages. Each is of its own moment.
        The keys mean nothing to callers. A server of Chroma counts places instead: what is deleted
        between two pages has the next one leave as many records out.
        """
        ...

    def facets(
        self, address: Address, keys: Sequence[str], selection: Selection = EVERYTHING
    ) -> list[list[Facet]]:
        """For each field the values that selected records have, the most frequent first.

        Equally frequent ones ascend. A list counts once for each of its distinct elements; 1 and
        1.0 are one value.
        """
        ...

    def summarize(
        self, address: Address, key: str, by: str | None, selection: Selection = EVERYTHING
    ) -> list[Summary]:
        """Sums up the numbers of a field, for each value of the field `by`, which ascend.

        Records without `by`, or with a list in it, are a group of their own, the last; without a
        `by` all are one. Groups without a number are left out. Sums of ints are exact, others
        correctly rounded.
        """
        ...

    def query(
        self,
        address: Address,
        vectors: NDArray[np.float32],
        k: int,
        selection: Selection = EVERYTHING,
        columns: AnyCollection[Column] = (),
        effort: Effort = USUAL,
    ) -> list[Hits]:
        """For each row of `vectors`, its nearest min(k, selected) records.

        Ordered by distance, then insertion. The distance is squared Euclidean for l2, 1 - cosine
        for cosine (1 where a vector is zero), 1 - dot product for ip; float32. `effort` tells
        whether every record has to be measured, or which recall is enough.
        """
        ...

    def search(self, address: Address, searches: Sequence[Search]) -> list[Ranked]:
        """The answer to each search, all of them of one moment.

        The records that pass the filter are scored by the rank, grouped, ordered by score and then
        insertion, and cut to a page. Each Knn of the rank knows the scores of the `limit` nearest
        of them: the distance, as in `query`, for "#embedding"; 1 - dot product for a sparse field,
        of the records that share an index with the query; 1 - BM25 for a text and "#document".
        Others have its default, or none, and a record that one side of an operator does not know
        drops out. Without a rank the score is the place in the order of insertion. The columns are
        those selected, metadata cut to the selected fields.

        Raises InvalidArgumentError for what makes no sense: see `plans.plan`.
        """
        ...

    def explain(
        self,
        address: Address,
        vectors: NDArray[np.float32],
        k: int,
        selection: Selection = EVERYTHING,
        effort: Effort = USUAL,
    ) -> Explanation:
        """Answers a query and tells how: what was selected, measured, and where the time went."""
        ...

    def why_not(
        self,
        address: Address,
        id: str,
        vector: NDArray[np.float32],
        k: int,
        selection: Selection = EVERYTHING,
        effort: Effort = USUAL,
    ) -> WhyNot:
        """Why the record with this id is not in the answer to a query."""
        ...

    # ── history ──────────────────────────────────────────────────────────────────────────────────
    # Of collections whose configuration has one; others raise NotFoundError.

    def history(self, address: Address, limit: int | None = None) -> list[Call]:
        """The calls that wrote to the collection, the last one first."""
        ...

    def difference(self, address: Address, since: datetime, until: datetime) -> Difference:
        """Which records came, changed and went between two times."""
        ...

    def undo(self, address: Address, call: int | None = None) -> WriteResult:
        """Reverts a call, or the last one: what it touched is as it was before.

        Raises ConflictError, and changes nothing, when any of it is not as the call left it.
        """
        ...

    # ── indexes ──────────────────────────────────────────────────────────────────────────────────

    def indexing_status(self, address: Address) -> IndexingStatus:
        """How many records are in indexes; answers are complete whatever it says."""
        ...

    def flush(self, address: Address) -> None:
        """Waits until every index is complete."""
        ...

    def count(self, address: Address, selection: Selection = EVERYTHING) -> int:
        """How many records are selected."""
        ...

    # ── the files ────────────────────────────────────────────────────────────────────────────────

    def check(self, deep: bool = False) -> list[Problem]:
        """What is wrong with the files, of all tenants; nothing is changed.

        Catalogue and files agree, counters agree with tables, index files open. `deep` reads every
        record and compares checksums, ids and indexes as well: some seconds for 100,000 records.
        Others may write meanwhile: each collection is seen at one moment. Of one collection at most
        some hundred problems are told.
        """
        ...

    def stats(self, address: Address) -> Stats:
        """What a collection holds and takes on the disk. Reads the head of every page."""
        ...

    def compact(self, address: Address) -> int:
        """Packs the records, gives free room back; returns by how many bytes their file shrank.

        Others may read and write meanwhile. It happens by itself, some time after the file has
        become 1.5 times as large as what lives in it.
        """
        ...
