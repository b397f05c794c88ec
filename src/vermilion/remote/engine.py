"""RemoteEngine: the engine that a server has, Vermilion's or Chroma's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Collection as AnyCollection
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from vermilion.configuration import Changes, Configuration
from vermilion.engine import EVERYTHING, CollectionInfo, Column, Selection
from vermilion.errors import (
    BatchTooLargeError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    UnsupportedError,
)
from vermilion.records import Batch
from vermilion.remote.refusals import refusal
from vermilion.remote.transport import Transport
from vermilion.types import (
    USUAL,
    Address,
    Database,
    Effort,
    Explanation,
    Facet,
    Hits,
    IndexingStatus,
    Order,
    Problem,
    Ranked,
    Records,
    Stats,
    Summary,
    UserIdentity,
    WhyNot,
    WriteResult,
)
from vermilion.where import And, Filter, beyond
from vermilion.wire import care, collections, metadata, ranked, records, system
from vermilion.wire.fields import U32
from vermilion.wire.operation import Operation
from vermilion.wire.system import PreFlight
from vermilion.wire.text import loads

if TYPE_CHECKING:
    from vermilion.search import Search

A = TypeVar("A")


class RemoteEngine:
    """See Engine for what every operation means.

    A server of Chroma does not count what a write did: there its numbers are 0.
    """

    def __init__(self, transport: Transport) -> None:
        """Speaks through the transport, which it closes in the end."""
        self._transport = transport
        self._limits: PreFlight | None = None
        self._extensions: frozenset[str] | None = None

    # ── the whole ────────────────────────────────────────────────────────────────────────────────

    def version(self) -> str:
        """See Engine.version."""
        return self._ask(system.Version())

    def heartbeat(self) -> int:
        """The time of the server in nanoseconds since 1970."""
        return self._ask(system.Heartbeat())

    def identity(self) -> UserIdentity:
        """Who the caller is to the server, and where they may go."""
        return self._ask(system.Identity())

    def max_batch_size(self) -> int:
        """See Engine.max_batch_size."""
        return self._preflight().max_batch_size

    def reset(self) -> None:
        """See Engine.reset. Raises an error unless the server allows it."""
        self._ask(system.Reset())

    def close(self) -> None:
        """See Engine.close."""
        self._transport.close()

    # ── tenants and databases ────────────────────────────────────────────────────────────────────

    def create_tenant(self, name: str) -> None:
        """See Engine.create_tenant."""
        self._ask(system.CreateTenant(name))

    def get_tenant(self, name: str) -> str:
        """See Engine.get_tenant."""
        return self._ask(system.GetTenant(name))

    def create_database(self, name: str, tenant: str) -> Database:
        """See Engine.create_database."""
        self._ask(system.CreateDatabase(tenant, name))
        return self.get_database(name, tenant)

    def get_database(self, name: str, tenant: str) -> Database:
        """See Engine.get_database."""
        return self._ask(system.GetDatabase(tenant, name))

    def delete_database(self, name: str, tenant: str) -> None:
        """See Engine.delete_database."""
        self._ask(system.DeleteDatabase(tenant, name))

    def list_databases(
        self, tenant: str, limit: int | None = None, offset: int | None = None
    ) -> list[Database]:
        """See Engine.list_databases."""
        return self._ask(system.ListDatabases(tenant, limit, offset))

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
        """See Engine.create_collection. A server of Chroma calls none new with get_or_create."""
        asked = collections.CreateCollection(
            tenant, database, name, configuration, metadata, schema, get_or_create, report=True
        )
        info, new = self._ask(asked)
        return info, not get_or_create or bool(new)

    def get_collection(self, name: str, tenant: str, database: str) -> CollectionInfo:
        """See Engine.get_collection."""
        return self._ask(collections.GetCollection(tenant, database, name))

    def get_collection_by_id(self, address: Address) -> CollectionInfo:
        """See Engine.get_collection_by_id."""
        return self._ask(collections.GetCollectionById(address))

    def list_collections(
        self, tenant: str, database: str, limit: int | None = None, offset: int | None = None
    ) -> list[CollectionInfo]:
        """See Engine.list_collections."""
        return self._ask(collections.ListCollections(tenant, database, limit, offset))

    def count_collections(self, tenant: str, database: str) -> int:
        """See Engine.count_collections."""
        return self._ask(collections.CountCollections(tenant, database))

    def modify_collection(
        self,
        address: Address,
        *,
        name: str | None = None,
        metadata: dict[str, Any] | None = None,
        replace_metadata: bool = False,
        configuration: Changes | None = None,
    ) -> CollectionInfo:
        """See Engine.modify_collection."""
        kept = metadata if replace_metadata else None
        asked = collections.ModifyCollection(
            address, name, kept, replace_metadata, configuration, report=True
        )
        return self._ask(asked) or self.get_collection_by_id(address)

    def fork_collection(self, address: Address, new_name: str) -> CollectionInfo:
        """See Engine.fork_collection."""
        return self._ask(collections.ForkCollection(address, new_name))

    def delete_collection(self, name: str, tenant: str, database: str) -> None:
        """See Engine.delete_collection."""
        self._ask(collections.DeleteCollection(tenant, database, name))

    # ── records ──────────────────────────────────────────────────────────────────────────────────

    def add(self, address: Address, batch: Batch) -> WriteResult:
        """See Engine.add."""
        # What leaves a key out is null here, and on the wire only updates have nulls.
        metadatas = batch.metadatas and [_without_nulls(one) for one in batch.metadatas]
        return self._write(records.Add, address, replace(batch, metadatas=metadatas))

    def upsert(self, address: Address, batch: Batch) -> WriteResult:
        """See Engine.upsert."""
        return self._write(records.Upsert, address, batch)

    def update(self, address: Address, batch: Batch) -> WriteResult:
        """See Engine.update."""
        return self._write(records.Update, address, batch)

    def _write(
        self,
        verb: Callable[..., Operation[WriteResult]],
        address: Address,
        batch: Batch,
    ) -> WriteResult:
        limits = self._preflight()
        if len(batch) > limits.max_batch_size:
            raise BatchTooLargeError(
                f"Batch size {len(batch)} exceeds maximum batch size {limits.max_batch_size} of "
                f"the server at {self._transport.target.url}: send it in pieces, which "
                "vermilion.batches.create_batches cuts"
            )
        if batch.clear:
            self._need("clear")
        self._allow("typed", metadata.beyond(batch.metadatas))
        packed = limits.supports_base64_encoding
        return self._ask(verb(address, batch, report=True, packed=packed))

    def delete(
        self,
        address: Address,
        selection: Selection,
        limit: int | None = None,
        *,
        secure: bool = False,
    ) -> WriteResult:
        """See Engine.delete."""
        if secure:
            self._need("secure")
        self._allow_filter(selection.filter)
        if selection.filter is None and (not selection.ids or limit is not None):
            # Servers want a filter here: one without conditions matches everything.
            selection = Selection(selection.ids, And(()))
        limit = None if limit is None else min(limit, U32)
        return self._ask(records.Delete(address, selection, limit, secure, report=True))

    def get(
        self,
        address: Address,
        selection: Selection = EVERYTHING,
        columns: AnyCollection[Column] = (),
        limit: int | None = None,
        offset: int | None = None,
        order_by: Sequence[Order] = (),
    ) -> Records:
        """See Engine.get."""
        if order_by:
            self._need("order_by")
        self._allow_filter(selection.filter)
        limit = None if limit is None else min(limit, U32)
        offset = None if offset is None else min(offset, U32)
        asked = records.Get(
            address,
            selection,
            tuple(columns),
            limit,
            offset,
            order_by=tuple(order_by),
            typed=True,
        )
        return self._ask(asked)

    def scan(
        self,
        address: Address,
        selection: Selection = EVERYTHING,
        columns: AnyCollection[Column] = (),
        rows: int = 1000,
    ) -> Iterator[Records]:
        """See Engine.scan. Which records there are is asked once; what they have, page by page."""
        ids = self.get(address, selection).ids
        for start in range(0, len(ids), rows):
            page = self.get(address, Selection(ids[start : start + rows]), columns)
            if page.ids:  # unless all of them were deleted meanwhile
                yield page

    def query(
        self,
        address: Address,
        vectors: NDArray[np.float32],
        k: int,
        selection: Selection = EVERYTHING,
        columns: AnyCollection[Column] = (),
        effort: Effort = USUAL,
    ) -> list[Hits]:
        """See Engine.query."""
        if effort.exact:
            self._need("exact")
        elif effort != USUAL:
            self._need("recall")
        self._allow_filter(selection.filter)
        asked = records.Query(
            address, vectors, min(k, U32), selection, effort, tuple(columns), typed=True
        )
        return self._ask(asked)

    def search(self, address: Address, searches: Sequence[Search]) -> list[Ranked]:
        """See Engine.search."""
        from vermilion.plans import DOCUMENT, SCORE, filter_of, leaves  # with many classes

        for search in searches:
            self._allow_filter(filter_of(search))
            if any(leaf.key == DOCUMENT for leaf in leaves(search.parts()[1])):
                self._need("keywords")
        scored = [one.select(*one.parts()[4].keys, SCORE) for one in searches]
        return self._ask(ranked.Search(address, tuple(scored), typed=True))

    def facets(
        self, address: Address, keys: Sequence[str], selection: Selection = EVERYTHING
    ) -> list[list[Facet]]:
        """See Engine.facets."""
        return self._ask_ours(ranked.Facets(address, tuple(keys), selection))

    def summarize(
        self, address: Address, key: str, by: str | None, selection: Selection = EVERYTHING
    ) -> list[Summary]:
        """See Engine.summarize."""
        return self._ask_ours(ranked.Summarize(address, key, by, selection))

    def explain(
        self,
        address: Address,
        vectors: NDArray[np.float32],
        k: int,
        selection: Selection = EVERYTHING,
        effort: Effort = USUAL,
    ) -> Explanation:
        """See Engine.explain."""
        return self._ask_ours(care.Explain(address, vectors, k, selection, effort))

    def why_not(
        self,
        address: Address,
        id: str,
        vector: NDArray[np.float32],
        k: int,
        selection: Selection = EVERYTHING,
        effort: Effort = USUAL,
    ) -> WhyNot:
        """See Engine.why_not."""
        rows = vector.reshape(1, -1)
        return self._ask_ours(care.ExplainAbsence(address, rows, k, selection, effort, id))

    # ── indexes ──────────────────────────────────────────────────────────────────────────────────

    def indexing_status(self, address: Address) -> IndexingStatus:
        """See Engine.indexing_status."""
        return self._ask(care.GetIndexingStatus(address))

    def flush(self, address: Address) -> None:
        """See Engine.flush."""
        self._ask_ours(care.Flush(address))

    def count(self, address: Address, selection: Selection = EVERYTHING) -> int:
        """See Engine.count."""
        if selection == EVERYTHING:
            return self._ask(ranked.Count(address))
        if self._can("count"):
            return self._ask(ranked.CountSelected(address, selection))
        return len(self.get(address, selection))

    # ── what a server of Chroma would not understand ─────────────────────────────────────────────

    def _allow_filter(self, filter: Filter | None) -> None:
        self._allow("filters", None if filter is None else beyond(filter))

    def _allow(self, extension: str, used: str | None) -> None:
        """Raises UnsupportedError where something is used that takes an extension it lacks."""
        if used is not None and not self._can(extension):
            raise UnsupportedError(
                f"The server at {self._transport.target.url} cannot do {extension!r} ({used}): it "
                "is one of Chroma, and only Vermilion's can"
            )

    # ── the files ────────────────────────────────────────────────────────────────────────────────

    def check(self, deep: bool = False) -> list[Problem]:
        """See Engine.check."""
        return self._ask_ours(care.Check(deep))

    def stats(self, address: Address) -> Stats:
        """See Engine.stats."""
        return self._ask_ours(care.GetStats(address))

    def compact(self, address: Address) -> int:
        """See Engine.compact."""
        return self._ask_ours(care.Compact(address))

    # ── speaking to the server ───────────────────────────────────────────────────────────────────

    def _ask(self, operation: Operation[A]) -> A:
        """What the server answers. Raises the error that a refusal means."""
        call = operation.call()
        answer = self._transport.send(call)
        if answer.status >= 300:
            raise refusal(answer, self._transport.target.url)
        try:
            return operation.from_json(loads(answer.body))
        except (InvalidArgumentError, KeyError, TypeError, ValueError) as error:
            raise InternalError(
                f"The answer of the server at {self._transport.target.url} to {call.method} "
                f"{call.path} cannot be read: {error!r}"
            ) from error

    def _preflight(self) -> PreFlight:
        """What the server says once of its limits."""
        if self._limits is None:
            self._limits = self._ask(system.PreFlightChecks())
        return self._limits

    # ── what only Vermilion's servers can do ─────────────────────────────────────────────────────

    def _ask_ours(self, operation: Operation[A]) -> A:
        self._need(operation.route.path.rpartition("/")[2])
        return self._ask(operation)

    def _need(self, what: str) -> None:
        """Raises UnsupportedError unless the server can do this."""
        if not self._can(what):
            raise UnsupportedError(
                f"The server at {self._transport.target.url} cannot do {what!r}: it is one of "
                "Chroma, and only Vermilion's can"
            )

    def _can(self, what: str) -> bool:
        if self._extensions is None:
            try:
                self._extensions = self._ask(care.GetExtensions())
            except NotFoundError:
                self._extensions = frozenset()
        return what in self._extensions


def _without_nulls(metadata: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if metadata is None:
        return None
    return {key: value for key, value in metadata.items() if value is not None} or None
