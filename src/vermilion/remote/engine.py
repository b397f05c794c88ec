"""RemoteEngine: the engine that a server has, Vermilion's or Chroma's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Collection as AnyCollection
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vermilion.configuration import Changes, Configuration
from vermilion.engine import EVERYTHING, CollectionInfo, Column, Selection
from vermilion.errors import (
    BatchTooLargeError,
)
from vermilion.query.where import And
from vermilion.records import Batch
from vermilion.remote.asking import Asking
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
    UserIdentity,
    WriteResult,
    pages,
)
from vermilion.wire import bulk, care, collections, metadata, past, ranked, records, system
from vermilion.wire.fields import U32
from vermilion.wire.operation import Operation

if TYPE_CHECKING:
    from vermilion.query.search import Search

# A server of Chroma is told of so many records at once.
ROWS = 1000


class RemoteEngine(Asking):
    """See Engine for what every operation means.

    A server of Chroma does not count what a write did: there its numbers are 0.
    """

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
        for wish in configuration.lifetimes_json():
            self._need(wish)
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
        for wish in () if configuration is None else configuration.lifetimes:
            self._need(wish)
        kept = metadata if replace_metadata else None
        asked = collections.ModifyCollection(
            address, name, kept, replace_metadata, configuration, report=True
        )
        return self._ask(asked) or self.get_collection_by_id(address)

    def fork_collection(self, address: Address, new_name: str) -> CollectionInfo:
        """See Engine.fork_collection."""
        return self._ask(collections.ForkCollection(address, new_name))

    def switch_vectors(
        self, address: Address, staged: Address, function: dict[str, Any]
    ) -> list[str]:
        """See Engine.switch_vectors."""
        return self._ask_ours(care.SwitchVectors(address, staged.collection, function))

    def delete_collection(self, name: str, tenant: str, database: str) -> None:
        """See Engine.delete_collection."""
        self._ask(collections.DeleteCollection(tenant, database, name))

    # ── records ──────────────────────────────────────────────────────────────────────────────────

    def add(
        self, address: Address, batch: Batch, *, new_only: bool = False, named: bool = False
    ) -> WriteResult:
        """See Engine.add."""
        self._need("new_only", new_only)
        # What leaves a key out is null here, and on the wire only updates have nulls.
        metadatas = batch.metadatas and [_without_nulls(one) for one in batch.metadatas]
        verb = partial(records.Add, new_only=new_only)
        return self._write(verb, address, replace(batch, metadatas=metadatas), named)

    def upsert(self, address: Address, batch: Batch, *, named: bool = False) -> WriteResult:
        """See Engine.upsert."""
        return self._write(records.Upsert, address, batch, named)

    def update(self, address: Address, batch: Batch, *, named: bool = False) -> WriteResult:
        """See Engine.update."""
        return self._write(records.Update, address, batch, named)

    def update_where(
        self,
        address: Address,
        selection: Selection,
        changes: Mapping[str, Any],
        *,
        named: bool = False,
    ) -> WriteResult:
        """See Engine.update_where."""
        if self._can("update_where"):
            asked = bulk.UpdateWhere(address, selection, dict(changes), named=named)
            return self._ask(asked)
        self._need("named", named)
        ids = self.get(address, selection).ids
        for page in pages(len(ids), min(ROWS, self.max_batch_size())):
            some = ids[page]
            self.update(address, Batch(some, metadatas=[changes] * len(some)))
        return WriteResult(updated=len(ids))

    def _write(
        self,
        verb: Callable[..., Operation[WriteResult]],
        address: Address,
        batch: Batch,
        named: bool,
    ) -> WriteResult:
        self._need("named", named)
        limits = self._preflight()
        if len(batch) > limits.max_batch_size:
            raise BatchTooLargeError(
                f"Batch size {len(batch)} exceeds maximum batch size {limits.max_batch_size} of "
                f"the server at {self._transport.target.url}: send it in pieces, which "
                "vermilion.compat.batches.create_batches cuts"
            )
        self._need("bare", batch.bare)
        self._need("clear", bool(batch.clear))
        self._need("typed", metadata.beyond(batch.metadatas))
        if batch.made_by is not None and not self._can("made_by"):
            batch = replace(batch, made_by=None)
        packed = limits.supports_base64_encoding
        return self._ask(verb(address, batch, report=True, packed=packed, named=named))

    def delete(
        self,
        address: Address,
        selection: Selection,
        limit: int | None = None,
        *,
        secure: bool = False,
        named: bool = False,
    ) -> WriteResult:
        """See Engine.delete."""
        self._need("secure", secure)
        self._need("named", named)
        self._need_filter(selection.filter)
        if selection.filter is None and (not selection.ids or limit is not None):
            # Servers want a filter here: one without conditions matches everything.
            selection = Selection(selection.ids, And(()))
        limit = None if limit is None else min(limit, U32)
        return self._ask(records.Delete(address, selection, limit, secure, True, named))

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
        self._need_filter(selection.filter)
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
        *,
        at: datetime | None = None,
        offset: int = 0,
    ) -> Iterator[Records]:
        """See Engine.scan. Ends after as many records as there were when it began."""
        if at is not None:
            yield from self._past(address, columns, rows, at, offset)
            return
        left = self.count(address)  # who writes what is read into the same collection ends, too
        after: int | None = offset
        if self._can("page"):
            after = self._key_before(address, selection, offset) if offset else 0
        while after is not None and left > 0:
            page = self.page(address, selection, columns, min(rows, left), after)
            if page.records.ids:
                yield page.records
            after, left = page.next, left - len(page.records)

    def _key_before(self, address: Address, selection: Selection, offset: int) -> int | None:
        """What a page begins after that leaves so many records out; None when there are no more."""
        after: int | None = 0
        while offset and after is not None:
            page = self.page(address, selection, (), min(offset, ROWS), after)
            after, offset = page.next, offset - len(page.records)
        return after

    def _past(
        self,
        address: Address,
        columns: AnyCollection[Column],
        rows: int,
        at: datetime,
        offset: int,
    ) -> Iterator[Records]:
        while True:
            page = self._ask_ours(past.Past(address, at, tuple(columns), rows, offset))
            if not page.ids:
                return
            yield page
            offset += len(page.ids)

    def history(self, address: Address, limit: int | None = None) -> list[Call]:
        """See Engine.history."""
        return self._ask_ours(past.History(address, limit))

    def difference(self, address: Address, since: datetime, until: datetime) -> Difference:
        """See Engine.difference."""
        return self._ask_ours(past.Differ(address, since, until))

    def undo(self, address: Address, call: int | None = None) -> WriteResult:
        """See Engine.undo."""
        return self._ask_ours(past.Undo(address, call))

    def page(
        self,
        address: Address,
        selection: Selection = EVERYTHING,
        columns: AnyCollection[Column] = (),
        rows: int = 1000,
        after: int | None = None,
    ) -> Page:
        """See Engine.page."""
        if self._can("page"):
            return self._ask(bulk.GetPage(address, selection, tuple(columns), rows, after))
        start = after or 0
        found = self.get(address, selection, columns, rows, start)
        return Page(found, start + rows if len(found) == rows else None)

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
        self._need_filter(selection.filter)
        asked = records.Query(
            address, vectors, min(k, U32), selection, effort, tuple(columns), typed=True,
            packed=self._can("packed"),
        )  # fmt: skip
        return self._ask(asked)

    def search(self, address: Address, searches: Sequence[Search]) -> list[Ranked]:
        """See Engine.search."""
        from vermilion.query.plans import DOCUMENT, SCORE, filter_of, leaves  # with many classes

        for search in searches:
            self._need_filter(filter_of(search))
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


def _without_nulls(metadata: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if metadata is None:
        return None
    return {key: value for key, value in metadata.items() if value is not None} or None
