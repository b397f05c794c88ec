"""A new SQLite file with all rows of Chroma's tables that a damaged one still holds.

First the trees of the tables are followed; then the leaves that no tree leads to any more are
told apart by what their rows look like. Free pages are left out: they hold what was deleted.
Indexes tell which records and which metadata keys there were, also where their rows are lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import apsw

from vermilion.migration.pages import Pages, Row

# The tables that hold what users wrote, with the columns of the latest release, and what makes a
# row of them unique.
LAYOUTS: dict[str, tuple[str, ...]] = {
    "tenants": ("id",),
    "databases": ("id", "name", "tenant_id"),
    "collections": ("id", "name", "dimension", "database_id", "config_json_str", "schema_str"),
    "collection_metadata": (
        "collection_id", "key", "str_value", "int_value", "float_value", "bool_value",
    ),
    "segments": ("id", "type", "scope", "collection"),
    "segment_metadata": (
        "segment_id", "key", "str_value", "int_value", "float_value", "bool_value",
    ),
    "max_seq_id": ("segment_id", "seq_id"),
    "embeddings": ("id", "segment_id", "embedding_id", "seq_id", "created_at"),
    "embedding_metadata": (
        "id", "key", "string_value", "int_value", "float_value", "bool_value",
    ),
    "embedding_metadata_array": (
        "id", "key", "string_value", "int_value", "float_value", "bool_value",
    ),
    "embeddings_queue": (
        "seq_id", "created_at", "operation", "topic", "id", "vector", "encoding", "metadata",
    ),
}  # fmt: skip
# In a recovered file: the metadata keys that records had, as the indexes tell.
KEYS = "known_keys"
_UNIQUE = {
    "tenants": "id",
    "databases": "id",
    "collections": "id",
    "collection_metadata": "collection_id, key",
    "segments": "id",
    "segment_metadata": "segment_id, key",
    "max_seq_id": "segment_id",
    "embeddings": "segment_id, embedding_id",
    "embedding_metadata": "id, key",
}
# Their first column is the rowid, which the record leaves out.
_NUMBERED = ("embeddings", "embeddings_queue")
_TOPIC = "persistent://"


@dataclass
class Recovered:
    """What became of a damaged file; `flaw` is what SQLite said of it.

    `tables` are those that may have lost rows.
    """

    flaw: str
    rows: dict[str, int] = field(default_factory=dict)
    strays: int = 0
    broken: int = 0
    tables: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        found = sum(self.rows.values())
        return (
            f"chroma.sqlite3 is damaged ({self.flaw}): {found} rows were read page by page, "
            f"{self.strays} of them from pages that no table leads to; "
            f"{self.broken} rows or pages cannot be read"
        )


def recover(source: Path, target: Path, flaw: str) -> Recovered:
    """Fills the new file `target`; the source is only read."""
    pages = Pages(source)
    connection = apsw.Connection(str(target))
    told = Recovered(flaw)
    try:
        connection.pragma("synchronous", "off")
        with connection:
            _create(connection)
            _fill(connection, pages, told)
    finally:
        connection.close()
        pages.close()
    told.broken = pages.broken
    return told


def _create(connection: apsw.Connection) -> None:
    for table, columns in LAYOUTS.items():
        kinds = [f"{name}{_kind(table, name)}" for name in columns]
        connection.execute(f"create table {table} ({', '.join(kinds)})")
        if table in _UNIQUE:
            connection.execute(f"create unique index {table}_one on {table} ({_UNIQUE[table]})")
    connection.execute(f"create table {KEYS} (id, key, unique (id, key))")
    connection.execute("create index array_ids on embedding_metadata_array (id)")


def _kind(table: str, column: str) -> str:
    """Records keep 1.0 as 1: what a column is declared as makes it a float again."""
    if column == "float_value":
        return " real"
    return " integer primary key" if table in _NUMBERED and column == LAYOUTS[table][0] else ""


def _fill(connection: apsw.Connection, pages: Pages, told: Recovered) -> None:
    seen: set[int] = set()
    roots = dict(_roots(pages))
    told.tables |= LAYOUTS.keys() - roots.keys()
    for name, root in roots.items():
        before = pages.broken
        for number in pages.leaves(root):
            seen.add(number)
            if name in LAYOUTS:
                for row in pages.rows(number):
                    _put(connection, told, name, row)
        if pages.broken > before:
            told.tables.add(name)
    skipped = seen | pages.free()
    rest = [number for number in range(1, pages.count + 1) if number not in skipped]
    for number in rest:
        _put_strays(connection, told, list(pages.rows(number)))
    for number in rest:  # rows say more, so they come first
        for entry in pages.entries(number):
            _put_entry(connection, entry)


def _roots(pages: Pages) -> Iterator[tuple[str, int]]:
    """Each table's name and its first page, as far as the schema can be read."""
    for leaf in pages.leaves(1):
        for row in pages.rows(leaf):
            match row.values:
                case ["table", str(name), str(), int(root), *_] if root > 1:
                    yield name, root


def _put_strays(connection: apsw.Connection, told: Recovered, rows: list[Row]) -> None:
    """The rows of a leaf that no tree leads to."""
    names = [_guess(row) for row in rows]
    keys = [tuple(row.values[:2]) for row in rows if len(row.values) == 6]
    lists = len(set(keys)) < len(keys)  # one key of one record more than once
    for name, row in zip(names, rows, strict=True):
        if name == "embedding_metadata" and lists:
            name = "embedding_metadata_array"
        if name is not None and _put(connection, told, name, row):
            told.strays += 1


def _put_entry(connection: apsw.Connection, entry: list[Any]) -> None:
    """What an index says of a record whose row is lost."""
    match entry:
        case [str(segment), str(id), int(key)] if _is_uuid(segment):
            connection.execute(
                # Collections and segments have metadata, of which indexes look the same.
                "insert or ignore into embeddings (id, segment_id, embedding_id, seq_id)"
                " select ?1, ?2, ?3, 0 where"
                " ?2 in (select id from segments where scope = 'METADATA')"
                " or not exists (select 1 from segments)"
                " and ?2 not in (select collection_id from collection_metadata)",
                (key, segment, id),
            )
        case [int(key), str(name), int()]:
            connection.execute(f"insert or ignore into {KEYS} values (?, ?)", (key, name))


def _put(connection: apsw.Connection, told: Recovered, table: str, row: Row) -> bool:
    values = _fitted(table, row)
    if values is None:
        return False
    columns = LAYOUTS[table]
    if table in _NUMBERED:
        names, bound = columns, values
    else:
        names, bound = ("rowid", *columns), [row.rowid, *values]
    marks = ", ".join("?" * len(bound))
    connection.execute(
        f"insert or ignore into {table} ({', '.join(names)}) values ({marks})", bound
    )
    new = bool(connection.changes())
    told.rows[table] = told.rows.get(table, 0) + new
    return new


def _fitted(table: str, row: Row) -> list[Any] | None:
    """The values in the order of the layout; None for what is no row of the table."""
    values = list(row.values)
    if table in _NUMBERED:
        values[:1] = [row.rowid]
    if table in ("collections", "segments"):  # older releases had a topic in them
        place = LAYOUTS[table].index("dimension" if table == "collections" else "collection")
        if _is_topic(values, place):
            del values[place]
    width = len(LAYOUTS[table])
    values = (values + [None] * width)[:width]
    return values if SHAPES[table](values) else None


def _is_topic(values: list[Any], place: int) -> bool:
    return len(values) > place and str(values[place]).startswith(_TOPIC)


def _guess(row: Row) -> str | None:
    """Which table a row without one belongs to."""
    widths = len(row.values)
    for table, needed in _NEEDED.items():
        if needed.least <= widths <= needed.most and _fitted(table, row) is not None:
            return table
    return None


# ── what rows look like ──────────────────────────────────────────────────────────────────────────


class _Width(NamedTuple):
    least: int
    most: int


# The tables whose rows are told by their looks, the most particular first.
_NEEDED = {
    "embeddings_queue": _Width(7, 8),
    "embeddings": _Width(5, 5),
    "collections": _Width(4, 7),
    "segments": _Width(4, 5),
    "databases": _Width(3, 3),
    "max_seq_id": _Width(2, 2),
    "collection_metadata": _Width(5, 6),
    "embedding_metadata": _Width(5, 6),
}


def _is_uuid(value: object) -> bool:
    try:
        return isinstance(value, str) and UUID(value).int >= 0
    except ValueError:
        return False


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    return value is None or isinstance(value, int | float)


def _maybe_text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_count(value: object) -> bool:
    return isinstance(value, int | bytes)


def _all(*tests: Callable[[object], bool]) -> Callable[[list[Any]], bool]:
    def fits(values: list[Any]) -> bool:
        return all(test(value) for test, value in zip(tests, values, strict=True))

    return fits


def _anything(_: object) -> bool:
    return True


_VALUES = (_maybe_text, _is_number, _is_number, _is_number)
SHAPES: dict[str, Callable[[list[Any]], bool]] = {
    "tenants": _all(_is_text),
    "databases": _all(_is_uuid, _is_text, _is_text),
    "collections": _all(_is_uuid, _is_text, _is_number, _is_uuid, _maybe_text, _maybe_text),
    "collection_metadata": _all(_is_uuid, _is_text, *_VALUES),
    "segments": _all(_is_uuid, lambda kind: str(kind).startswith("urn:"), _is_text, _maybe_text),
    "segment_metadata": _all(_is_uuid, _is_text, *_VALUES),
    "max_seq_id": _all(_is_uuid, _is_count),
    "embeddings": _all(_is_count, _is_uuid, _is_text, _is_count, _anything),
    "embedding_metadata": _all(lambda id: isinstance(id, int), _is_text, *_VALUES),
    "embedding_metadata_array": _all(lambda id: isinstance(id, int), _is_text, *_VALUES),
    "embeddings_queue": _all(
        _is_count,
        _anything,
        lambda operation: operation in (0, 1, 2, 3),
        lambda topic: str(topic).startswith(_TOPIC),
        _is_text,
        lambda vector: vector is None or isinstance(vector, bytes),
        _maybe_text,
        _maybe_text,
    ),
}
