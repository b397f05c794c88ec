"""The part of the local engine that takes in whole collections, and gives them out: forks, backups
and bundles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from vermilion.engine import CollectionInfo
from vermilion.errors import AlreadyExistsError, NotFoundError, StorageError, UnknownDatabaseError
from vermilion.local.catalogue import Catalogue
from vermilion.local.collection import LocalCollection
from vermilion.local.copier import copy_collection
from vermilion.local.folders import Folders
from vermilion.local.handles import Handles
from vermilion.local.store import Store
from vermilion.types import Address

if TYPE_CHECKING:  # what a backup takes, few programs need
    from vermilion.local.backup import BackupPoint, KeptCollection


class Keeping:
    """What `LocalEngine` inherits."""

    _catalogue: Catalogue
    _handles: Handles
    _folders: Folders | None
    _discard: Callable[[UUID], None]
    _changing: Callable[[Address], AbstractContextManager[LocalCollection]]
    _with_dimension: Callable[[CollectionInfo], CollectionInfo]

    # ── forks ───────────────────────────────────────────────────────────────────────────────────

    def fork_collection(self, address: Address, new_name: str) -> CollectionInfo:
        """See Engine.fork_collection."""
        with self._changing(address) as collection:
            info = self._with_dimension(self._catalogue.get_collection_by_id(address))
            self._catalogue.need_free_name(new_name, info.tenant, info.database)
            made = replace(info, id=uuid4(), name=new_name, dimension=None)
            store = collection.store()
            if store is None:
                made, _ = self._catalogue.create_collection(made, False)
            elif self._folders is None:
                copied = Store.in_memory(str(made.id))
                store.copy_to(copied)
                self._catalogue.adopt_collection(made, lambda: self._handles.adopt(made, copied))
            else:
                folder = self._folders.of(address.collection)
                self._adopt(made, lambda draft: copy_collection(store, folder, draft))
        return self._with_dimension(made)

    def every_database(self) -> list[tuple[str, str]]:
        """The tenant and the name of every database."""
        return self._catalogue.every_database()

    # ── backups ──────────────────────────────────────────────────────────────────────────────────

    def back_up(self, target: Path, keep: int | None = None) -> BackupPoint:
        """Adds a point to a folder of backups, and leaves the last `keep` of them there."""
        from vermilion.local.backup import back_up

        return back_up(self._catalogue, self._handles, target, keep)

    def restore(
        self,
        source: Path,
        at: str | datetime | None = None,
        names: Sequence[str] | None = None,
        *,
        replace: bool = False,
    ) -> list[CollectionInfo]:
        """Adds the collections of a point, or those with these names; each whole or not at all.

        With `replace` they take the place of collections of their names. Raises NotFoundError, or
        AlreadyExistsError, before anything is restored.
        """
        from vermilion.local.backup import kept_at

        databases, collections = kept_at(source, at)
        if names is not None:
            known = {one.info.name for one in collections}
            unknown = [name for name in names if name not in known]
            if unknown:
                raise NotFoundError(f"The backup has no collection [{unknown[0]}]")
            collections = [one for one in collections if one.info.name in names]
            databases = [[one.info.tenant, one.info.database] for one in collections]
        if not replace:
            for one in collections:
                self._need_free(one.info)
        self._make_databases(databases)
        return [self._restored(source, one, replace) for one in collections]

    def _restored(self, source: Path, kept: KeptCollection, replace: bool) -> CollectionInfo:
        from vermilion.local.backup import write_files

        def fill(folder: Path) -> None:
            write_files(source, kept, folder)

        return self._adopt(self._new(kept.info), fill if kept.files else None, replace=replace)

    # ── bundles ──────────────────────────────────────────────────────────────────────────────────

    def save_bundle(self, address: Address, path: Path) -> None:
        """Writes a collection to a new file. Raises StorageError when there is such a file."""
        from vermilion.local import bundle

        with self._handles.using(address) as collection:
            info = self._catalogue.get_collection_by_id(address)
            bundle.save(info, collection.store() or Store.in_memory(info.name), path)

    def load_bundle(
        self, path: Path, name: str | None, tenant: str, database: str
    ) -> CollectionInfo:
        """Adds the collection of a file, under this name or its own. Raises AlreadyExistsError."""
        from vermilion.local import bundle

        found: list[CollectionInfo] = []
        id = uuid4()
        with self._on_disk().filling(
            id, lambda folder: found.append(bundle.load(path, folder))
        ) as settle:
            [info] = found
            made = replace(
                info,
                id=id,
                name=name or info.name,
                tenant=tenant,
                database=database,
                dimension=None,
            )
            self._catalogue.adopt_collection(made, settle)
        return made

    # ── taking one in ────────────────────────────────────────────────────────────────────────────

    def _adopt(
        self, info: CollectionInfo, fill: Callable[[Path], Any] | None, *, replace: bool = False
    ) -> CollectionInfo:
        """A new collection, whose folder `fill` fills: all of it or nothing."""
        folders = self._on_disk()
        if fill is None:
            replaced = self._catalogue.adopt_collection(info, lambda: None, replace=replace)
        else:
            try:
                with folders.filling(info.id, fill) as settle:
                    replaced = self._catalogue.adopt_collection(info, settle, replace=replace)
            except BaseException:
                folders.remove(info.id, told=True)
                raise
        for id in replaced:
            self._discard(id)
        return info

    def _new(self, info: CollectionInfo) -> CollectionInfo:
        """The collection with its own id, or another one where that was used here before."""
        known, deleted = self._catalogue.ids()
        used = info.id in known | deleted or self._on_disk().of(info.id).exists()
        return replace(info, id=uuid4() if used else info.id, dimension=None)

    def _need_free(self, info: CollectionInfo) -> None:
        with suppress(UnknownDatabaseError, NotFoundError):
            self._catalogue.need_free_name(info.name, info.tenant, info.database)

    def _make_databases(self, databases: Sequence[Sequence[str]]) -> None:
        for tenant, name in databases:
            with suppress(AlreadyExistsError):
                self._catalogue.create_tenant(tenant)
            with suppress(AlreadyExistsError):
                self._catalogue.create_database(name, tenant)

    def _on_disk(self) -> Folders:
        if self._folders is None:
            raise StorageError(
                "Into a database in memory nothing can be restored: restore into a directory, and "
                "copy_to from there"
            )
        return self._folders
