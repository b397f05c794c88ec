"""Brings collections from one place to another: each of them whole or not at all.

A collection is filled under another name, read back and compared, and gets its name at the end. So
a migration that was interrupted is simply started again: what is there and equal is left as it is,
and what an interrupted one left behind is removed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vermilion.engine import EVERYTHING, CollectionInfo, Engine
from vermilion.errors import (
    AlreadyExistsError,
    DamagedError,
    InvalidArgumentError,
    NotFoundError,
    UnsupportedError,
    VermilionError,
)
from vermilion.migration.chroma_dir import Loss
from vermilion.migration.places import ALL, Described, Source, title
from vermilion.names import check_collection_name
from vermilion.records import Batch, picked
from vermilion.types import Records

PAGE = 1000
_DRAFT = ".migrating-"
_LONGEST = 480

Outcome = Literal["migrated", "counted", "already there", "failed"]


@dataclass(frozen=True)
class Options:
    """What is wanted of a migration; empty names mean all."""

    tenants: Sequence[str] = ()
    databases: Sequence[str] = ()
    collections: Sequence[str] = ()
    dry_run: bool = False
    verify: bool = True
    replace: bool = False
    skip_existing: bool = False

    def wants(self, collection: Described) -> bool:
        """Whether a collection is among those that were named."""
        named = (
            (self.tenants, collection.tenant),
            (self.databases, collection.database),
            (self.collections, collection.name),
        )
        return all(not names or name in names for names, name in named)


EVERYTHING_WANTED = Options()


@dataclass
class Moved:
    """What became of one collection; `lost` counts records, `noted` everything else."""

    title: str
    outcome: Outcome = "failed"
    source_id: str = ""
    target_id: str | None = None
    rows: int = 0
    lost: int = 0
    noted: int = 0
    verified: bool = False
    error: str | None = None


@dataclass
class Report:
    """What became of a migration."""

    collections: list[Moved] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)

    @property
    def failed(self) -> list[Moved]:
        """The collections that are not there."""
        return [one for one in self.collections if one.outcome == "failed"]

    @property
    def lost(self) -> int:
        """How many records could not be brought out."""
        return sum(one.lost for one in self.collections)


Progress = Callable[[str, int], object]


def migrate(
    source: Source,
    target: Engine | None,
    options: Options = EVERYTHING_WANTED,
    progress: Progress = lambda title, rows: None,
) -> Report:
    """Moves what is wanted; without a target, or in a dry run, it is only read and counted.

    A collection that cannot be moved does not keep others from it. Raises NotFoundError when
    nothing has the names that were given.
    """
    wanted, databases = wanted_of(source, options)
    if target is not None and not options.dry_run:
        _make_databases(target, databases)
    report = Report(losses=source.losses)
    for collection in wanted:
        before = len(source.losses)
        moved = _Mover(source, target, options, progress, collection).run()
        told = source.losses[before:]
        moved.lost = sum(loss.lost for loss in told)
        moved.noted = len(told) - moved.lost
        report.collections.append(moved)
    return report


def wanted_of(source: Source, options: Options) -> tuple[list[Any], list[tuple[str, str]]]:
    """The collections that are wanted, and the databases, also empty ones when all of one is.

    Raises NotFoundError when nothing has the names that were given.
    """
    wanted = [one for one in source.collections() if options.wants(one)]
    if not wanted and (options.tenants or options.databases or options.collections):
        raise NotFoundError("Nothing in the source has these names")
    databases = {(one.tenant, one.database) for one in wanted}
    if not options.collections:
        databases |= {
            (tenant, name)
            for tenant, name in source.databases()
            if tenant in (options.tenants or (tenant,)) and name in (options.databases or (name,))
        }
    return wanted, sorted(databases)


def _make_databases(target: Engine, databases: list[tuple[str, str]]) -> None:
    for tenant, name in databases:
        with suppress(AlreadyExistsError):
            target.create_tenant(tenant)
        with suppress(AlreadyExistsError):
            target.create_database(name, tenant)


class _Mover:
    """Moves one collection."""

    def __init__(
        self,
        source: Source,
        target: Engine | None,
        options: Options,
        progress: Progress,
        collection: Any,
    ) -> None:
        self._source = source
        self._target = target
        self._options = options
        self._progress = progress
        self._collection = collection
        self._digests = _Digests()
        self._moved = Moved(title(collection), source_id=str(collection.id))

    def run(self) -> Moved:
        """Moves it, and tells in one line why not."""
        try:
            self._run()
        except (AlreadyExistsError, InvalidArgumentError, DamagedError) as error:
            self._moved.outcome, self._moved.error = "failed", str(error)
        return self._moved

    def _run(self) -> None:
        moved, target = self._moved, self._target
        if target is None or self._options.dry_run:
            self._read(None, None)
            moved.outcome = "counted"
            return
        check_collection_name(self._collection.name)
        there = self._existing(target)
        if there is not None and not self._options.replace:
            self._compare_existing(target, there)
            moved.outcome, moved.target_id = "already there", str(there.id)
            return
        draft = self._draft(target)
        try:
            self._read(target, draft)
            if self._options.verify:
                self._verify(target, draft)
            if there is not None:
                target.delete_collection(there.name, there.tenant, there.database)
            target.modify_collection(draft.address, name=self._collection.name)
        except BaseException:
            with suppress(VermilionError):  # what went wrong first is what is told
                target.delete_collection(draft.name, draft.tenant, draft.database)
            raise
        moved.outcome, moved.target_id = "migrated", str(draft.id)

    def _existing(self, target: Engine) -> CollectionInfo | None:
        one = self._collection
        with suppress(NotFoundError):
            return target.get_collection(one.name, one.tenant, one.database)
        return None

    def _compare_existing(self, target: Engine, there: CollectionInfo) -> None:
        """Raises AlreadyExistsError unless it is what would be moved."""
        if self._options.skip_existing:
            return
        self._read(None, None)
        same = there.metadata == self._collection.metadata and self._equals(target, there)
        if not same:
            raise AlreadyExistsError(
                f"{self._moved.title} exists in the target, and is not the same: --replace puts "
                "the source's in its place, --skip-existing leaves it"
            )
        self._moved.verified = True

    def _draft(self, target: Engine) -> CollectionInfo:
        """An empty collection under another name; one of an interrupted migration is removed."""
        one = self._collection
        name = f"{one.name[:_LONGEST]}{_DRAFT}{str(one.id)[:8]}"
        with suppress(NotFoundError):
            target.delete_collection(name, one.tenant, one.database)
        made, _ = target.create_collection(
            name,
            one.tenant,
            one.database,
            configuration=one.configuration,
            metadata=one.metadata,
            schema=one.schema,
        )
        return made

    def _read(self, target: Engine | None, draft: CollectionInfo | None) -> None:
        """Reads the source, and writes it into the draft if there is one."""
        rows = PAGE if target is None else min(PAGE, target.max_batch_size())
        for page in self._source.records(self._collection, rows):
            if target is not None and draft is not None:
                page = self._add(target, draft, page)
            self._digests.add(page)
            self._moved.rows += len(page)
            self._progress(self._moved.title, self._moved.rows)

    def _add(self, target: Engine, draft: CollectionInfo, page: Records) -> Records:
        """Writes the page; returns what of it the target can have."""
        try:
            target.add(draft.address, Batch.of(page))
            return page
        except UnsupportedError:  # a server of Chroma
            if page.has_vector is None:
                raise
        for place in np.flatnonzero(~page.has_vector):
            what = "a server of Chroma cannot have a record without a vector"
            self._source.losses.append(
                Loss(title(self._collection), what, page.ids[place], lost=True)
            )
        there = picked(page, np.flatnonzero(page.has_vector).tolist())
        if there.ids:
            target.add(draft.address, Batch.of(there))
        return there

    def _verify(self, target: Engine, draft: CollectionInfo) -> None:
        if not self._equals(target, draft):
            raise DamagedError(
                f"{self._moved.title}: what was read back is not what was written; nothing of it "
                "was kept"
            )
        self._moved.verified = True

    def _equals(self, target: Engine, info: CollectionInfo) -> bool:
        """Whether a collection has the records that were read from the source."""
        found = _Digests()
        for page in target.scan(info.address, EVERYTHING, ALL, PAGE):
            found.add(page)
        # A server of Chroma normalises vectors in cosine spaces: there they are near.
        exact = hasattr(target, "every_database") or info.configuration.hnsw.space != "cosine"
        return self._digests.equals(found, with_vectors=exact)


class _Digests:
    """What some records are, in 16 bytes a record."""

    def __init__(self) -> None:
        self._cells = bytearray()
        self._vectors = bytearray()

    def add(self, page: Records) -> None:
        """Takes in a page."""
        assert page.embeddings is not None
        empty = [None] * len(page)
        columns = zip(
            page.ids,
            page.documents or empty,
            page.uris or empty,
            page.metadatas or empty,
            page.embeddings,
            strict=True,
        )
        for id, document, uri, metadata, vector in columns:
            cells = json.dumps([id, document, uri, metadata], sort_keys=True, default=repr)
            self._cells += blake2b(cells.encode(), digest_size=8).digest()
            both = cells.encode() + (b"" if vector is None else vector.tobytes())
            self._vectors += blake2b(both, digest_size=8).digest()

    def equals(self, other: _Digests, *, with_vectors: bool) -> bool:
        """Whether both have the same records, in whatever order."""
        if with_vectors:
            return bool(np.array_equal(_sorted(self._vectors), _sorted(other._vectors)))
        return bool(np.array_equal(_sorted(self._cells), _sorted(other._cells)))


def _sorted(digests: bytearray) -> NDArray[np.uint64]:
    return np.sort(np.frombuffer(digests, np.uint64))
