"""The part of the local engine that looks after files: checks them, measures them, packs them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from vermilion.engine import CollectionInfo
from vermilion.errors import NotFoundError
from vermilion.local.catalogue import Catalogue
from vermilion.local.collection import LocalCollection
from vermilion.local.folders import Folders
from vermilion.local.handles import Handles
from vermilion.local.store import RECORDS
from vermilion.types import Address

if TYPE_CHECKING:
    from vermilion.reports import Problem, Stats


class Tending:
    """What `LocalEngine` inherits."""

    _catalogue: Catalogue
    _handles: Handles
    _folders: Folders | None
    _changing: Callable[[Address], AbstractContextManager[LocalCollection]]

    def check(self, deep: bool = False) -> list[Problem]:
        """See Engine.check."""
        from vermilion.reports import Problem

        damage = self._catalogue.damage() if deep else []
        found = [Problem(None, None, "file", text) for text in damage]
        for info in self._catalogue.every_collection():
            try:
                found += self._check(info, deep)
            except NotFoundError:  # deleted since
                continue
        return found + self._lost()

    def _check(self, info: CollectionInfo, deep: bool) -> list[Problem]:
        from vermilion.reports import Problem

        if self._folders is not None and self._folders.lacks_records(info.id):
            self._catalogue.get_collection_by_id(info.address)
            detail = f"{self._folders.of(info.id) / RECORDS} is missing"
            return [Problem(info.id, info.name, "file", detail)]
        with self._handles.using(info.address) as collection:
            return [Problem(info.id, info.name, *finding) for finding in collection.check(deep)]

    def _lost(self) -> list[Problem]:
        """Collections whose folders are there, and that the catalogue has forgotten."""
        from vermilion.reports import Problem

        if self._folders is None:
            return []
        found = self._folders.ids()  # before the catalogue, which is told of everything first
        known, deleted = self._catalogue.ids()
        strays = {id: self._folders.of(id) for id in found - known - deleted}
        places = {id: place for id, place in strays.items() if place.exists()}
        places |= self._folders.lost()
        detail = "the catalogue has lost this collection; salvage brings out what is in {}"
        return [
            Problem(id, None, "file", detail.format(place)) for id, place in sorted(places.items())
        ]

    def stats(self, address: Address) -> Stats:
        """See Engine.stats."""
        with self._handles.using(address) as collection:
            return collection.stats()

    def compact(self, address: Address) -> int:
        """See Engine.compact."""
        with self._changing(address) as collection:
            return collection.compact()

    def compact_all(self) -> list[tuple[str, int]]:
        """Compacts every collection of every database; the name and the bytes of each."""
        infos = self._catalogue.every_collection()
        return [(info.name, self.compact(info.address)) for info in infos]
