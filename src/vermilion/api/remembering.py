"""The half of a collection that looks back, where the configuration has {"history": "7d"}."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from vermilion.api.searching import naming
from vermilion.engine import EVERYTHING, CollectionInfo, Column, Engine
from vermilion.errors import ArgumentTypeError, ArgumentValueError
from vermilion.records import Batch, check_count
from vermilion.times import instant
from vermilion.types import DEFAULT_DATABASE, DEFAULT_TENANT, DataLoader, Records, WriteResult

if TYPE_CHECKING:
    from vermilion.reports import Call, Difference

    Moment = datetime | str | timedelta | Call

ALL: tuple[Column, ...] = ("vectors", "documents", "uris", "metadatas")
PAGE = 1000


class Remembering:
    """What `Collection` inherits."""

    _engine: Callable[[], Engine]
    _info: CollectionInfo
    _function: Any
    _loader: DataLoader | None

    def history(self, limit: int | None = 100) -> list[Call]:
        """Returns the calls that wrote to the collection, the last one first.

        Raises NotFoundError for a collection that keeps no history.
        """
        with naming("history"):
            count = check_count("limit", limit)
        return self._engine().history(self._info.address, count)

    def at(self, time: Moment) -> Self:
        """Returns the collection as it was: everything of it can be read, and nothing written.

        `time` is a datetime, a text such as "2026-11-23T10:30" (both of this machine's zone unless
        they name one), a timedelta ago, or a call of `history`, meaning right after it. The records
        of that time are copied into a directory of its own, which goes with the handle.

        Raises NotFoundError when the history does not reach back so far.
        """
        with naming("at"):
            moment = as_moment(time)
        pages = self._engine().scan(self._info.address, EVERYTHING, ALL, PAGE, at=moment)
        shelf = _Shelf()
        info = shelf.fill(self._info, pages)
        made: Any = type(self)
        past: Self = made(shelf.engine, info, self._function, self._loader)
        return past

    def diff(self, since: Moment, until: Moment | None = None) -> Difference:
        """Returns the ids of records that came, changed and went between two times.

        Without `until`, up to now. Times are as in `at`.
        """
        with naming("diff"):
            first = as_moment(since)
            last = datetime.now(UTC) + timedelta(days=1) if until is None else as_moment(until)
            if first > last:
                raise ArgumentValueError(f"Expected since to be before until, got {first}, {last}")
        return self._engine().difference(self._info.address, first, last)

    def undo(self, call: Call | int | None = None) -> WriteResult:
        """Reverts a call of `history`, or the last one; that is a call, too, and can be undone.

        What it inserted is deleted, what it changed or deleted is as it was before, in its old
        place. Raises ConflictError, and changes nothing, when any of it is not as the call left it.
        """
        from vermilion.reports import Call

        with naming("undo"):
            id = call.id if isinstance(call, Call) else check_count("call", call)
        return self._engine().undo(self._info.address, id)


class _Shelf:
    """A directory of its own for records of the past, removed when nobody holds it any more."""

    def __init__(self) -> None:
        import shutil  # as in local/drafts.py
        import tempfile

        self._path = Path(tempfile.mkdtemp(prefix="vermilion-"))
        weakref.finalize(self, shutil.rmtree, self._path, ignore_errors=True)
        self._opened: Engine | None = None

    def fill(self, info: CollectionInfo, pages: Iterator[Records]) -> CollectionInfo:
        """Writes the records down; what the past was configured to keep or to end is over."""
        from vermilion.local.engine import LocalEngine  # loads SQLite

        engine = LocalEngine(self._path, durability="normal")
        try:
            made, _ = engine.create_collection(
                info.name,
                DEFAULT_TENANT,
                DEFAULT_DATABASE,
                configuration=replace(info.configuration, history=None, ttl=None),
                metadata=info.metadata,
                schema=info.schema,
            )
            for page in pages:
                engine.add(made.address, Batch.of(page))
            engine.flush(made.address)
            found = engine.get_collection_by_id(made.address)
        finally:
            engine.close()
        self._opened = LocalEngine(self._path, read_only=True)
        return found

    def engine(self) -> Engine:
        """The engine, which refuses to write."""
        assert self._opened is not None, "filled before it is used"
        return self._opened


def as_moment(time: object) -> datetime:
    """A time that a caller gives, with its zone."""
    from vermilion.reports import Call

    if isinstance(time, Call):
        return time.made
    if isinstance(time, timedelta):
        return datetime.now(UTC) - time
    if not isinstance(time, str | datetime):
        raise ArgumentTypeError(
            f"Expected a datetime, a text, a timedelta or a call of history, got {time!r}"
        )
    return instant(time)
