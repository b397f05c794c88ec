"""What a Chroma directory says there is: tenants, databases, collections and how they are set up.

Every release kept the setup elsewhere: 0.4 in "hnsw:…" keys of the metadata, 0.5 and 0.6 there and
in a column beside them, 1.0 in that column with other names, later ones in the schema.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from vermilion.configuration import PARAMETERS, Configuration, for_new_collection
from vermilion.errors import InvalidArgumentError
from vermilion.migration.chroma_sqlite import ChromaSqlite
from vermilion.migration.hnsw import IDS, HnswFiles, dimension_of
from vermilion.types import DEFAULT_DATABASE, DEFAULT_TENANT
from vermilion.wire.schemas import schema_of

VECTORS, METADATA = "VECTOR", "METADATA"
# The names of 0.5 and 0.6 that are others today.
_OLD_NAMES = {"M": "max_neighbors"}


@dataclass(frozen=True)
class ChromaCollection:
    """A collection as the directory describes it; `notes` tell what could not be understood."""

    id: str
    tenant: str
    database: str
    name: str
    metadata: dict[str, Any] | None
    configuration: Configuration
    schema: dict[str, Any] | None
    dimension: int | None
    metadata_segment: str | None
    vector_segment: str | None
    notes: tuple[str, ...] = field(default=())

    @property
    def title(self) -> str:
        """How it is called in reports."""
        return f"{self.tenant}/{self.database}/{self.name}"


def read_databases(source: ChromaSqlite) -> list[tuple[str, str]]:
    """Every database, as tenant and name."""
    if not source.has("databases"):  # releases before there were any
        return [(DEFAULT_TENANT, DEFAULT_DATABASE)]
    return sorted(
        (str(tenant), str(name))
        for tenant, name in source.rows("select tenant_id, name from databases")
    )


def read_collections(source: ChromaSqlite) -> list[ChromaCollection]:
    """Every collection in the order of creation, also those of which only a segment is left."""
    segments = _segments(source)
    found = [_collection(source, row, segments) for row in _collection_rows(source)]
    known = {one.id for one in found}
    lost = {id for id in segments if id not in known}
    found += [_nameless(source, id, segments[id]) for id in sorted(lost)]
    used = {id for scopes in segments.values() for id in scopes.values()}
    owners = _owners(source, used)
    homes = {owner: segment for segment, owner in owners.items()}
    found = [_with_records(one, homes.get(one.id)) for one in found]
    orphans = _orphans(source, used, owners, {one.id for one in found})
    return [_with_index(source, one, used) for one in found] + orphans


def _owners(source: ChromaSqlite, used: set[str]) -> dict[str, str]:
    """From segments of records that the catalogue has lost to their collections.

    The queue tells: most of what was written last to a collection is among its records.
    """
    segments = _lost_segments(source, used)
    if not segments or not source.has("embeddings_queue"):
        return {}
    written: dict[str, set[str]] = {}
    for topic, id in source.rows("select distinct topic, id from embeddings_queue"):
        written.setdefault(str(topic).rpartition("/")[2], set()).add(str(id))
    pairs = []
    for segment in segments:
        ids = _ids_of(source, segment)
        common = {owner: len(ids & theirs) for owner, theirs in written.items()}
        pairs += [
            (count, segment, owner)
            for owner, count in common.items()
            if count > len(written[owner]) // 2
        ]
    owners: dict[str, str] = {}
    for _, segment, owner in sorted(pairs, reverse=True):
        if segment not in owners and owner not in owners.values():
            owners[segment] = owner
    return owners


def _with_records(one: ChromaCollection, segment: str | None) -> ChromaCollection:
    """The collection with the records that it must have had, where the catalogue has lost them."""
    if segment is None or one.metadata_segment is not None:
        return one
    notes = (*one.notes, "the catalogue has lost its records; those that the queue tells of it")
    return replace(one, metadata_segment=segment, notes=notes)


def _lost_segments(source: ChromaSqlite, used: set[str]) -> list[str]:
    rows = source.rows("select distinct segment_id from embeddings")
    return sorted({str(id) for (id,) in rows} - used)


def _ids_of(source: ChromaSqlite, segment: str) -> set[str]:
    rows = source.rows("select embedding_id from embeddings where segment_id = ?", (segment,))
    return {str(id) for (id,) in rows}


def _with_index(source: ChromaSqlite, one: ChromaCollection, used: set[str]) -> ChromaCollection:
    """The collection with the index that it must have had, where the catalogue has lost it."""
    if one.vector_segment is not None or one.metadata_segment is None:
        return one
    folder, dimension = _index_of(source, one.metadata_segment, used)
    notes = (*one.notes, "the catalogue has lost its index; the one with the same ids is taken")
    return replace(one, vector_segment=folder, dimension=one.dimension or dimension, notes=notes)


def _orphans(
    source: ChromaSqlite, known: set[str], owners: dict[str, str], named: set[str]
) -> list[ChromaCollection]:
    """Collections of the records whose segments the catalogue has lost, each with its index."""
    found = []
    for segment in _lost_segments(source, known):
        id = owners.get(segment, segment)
        if id in named:
            continue
        folder, dimension = _index_of(source, segment, known)
        notes = ("records that the catalogue has lost; so are their name and configuration",)
        found.append(
            ChromaCollection(
                id, DEFAULT_TENANT, DEFAULT_DATABASE, f"lost-{id}", None,
                Configuration(), None, dimension, segment, folder, notes,
            )
        )  # fmt: skip
    return found


def _index_of(source: ChromaSqlite, segment: str, known: set[str]) -> tuple[str | None, int | None]:
    """The folder, and the dimension, of the index that has most ids of a segment."""
    ids = _ids_of(source, segment)
    best: tuple[int, str | None, int | None] = (0, None, None)
    for path in sorted(source.directory.glob(f"*/{IDS}")):
        folder = path.parent
        if folder.name not in known:
            labels = HnswFiles(folder, 0, 2, cosine=False).labels
            common = len(ids & labels.keys())
            if common > max(best[0], len(labels) // 2):
                best = (common, folder.name, dimension_of(folder))
    return best[1:]


def _collection_rows(source: ChromaSqlite) -> Iterator[tuple[Any, ...]]:
    columns = [
        f"c.{name}" if source.has("collections", name) else "null"
        for name in ("id", "name", "dimension", "config_json_str", "schema_str")
    ]
    place, join = "null, null", ""
    if source.has("databases") and source.has("collections", "database_id"):
        place = "d.tenant_id, d.name"
        join = "left join databases d on d.id = c.database_id"
    return source.rows(
        f"select {place}, {', '.join(columns)} from collections c {join} order by c.rowid"
    )


def _segments(source: ChromaSqlite) -> dict[str, dict[str, str]]:
    """Of each collection its segments by what they are for."""
    found: dict[str, dict[str, str]] = {}
    for id, scope, collection in source.rows("select id, scope, collection from segments"):
        if collection is not None:
            found.setdefault(str(collection), {})[str(scope)] = str(id)
    return found


def _collection(
    source: ChromaSqlite, row: tuple[Any, ...], segments: dict[str, dict[str, str]]
) -> ChromaCollection:
    tenant, database, id, name, dimension, config, schema = row
    notes: list[str] = []
    if tenant is None and source.has("databases"):
        notes.append("its database is lost: it comes into the default one")
    metadata = _metadata(source, "collection_metadata", "collection_id", id)
    stored, function = _stored_configuration(config, schema, notes)
    mine = segments.get(id, {})
    old = _metadata(source, "segment_metadata", "segment_id", mine.get(VECTORS)) or {}
    legacy = {key: value for key, value in {**old, **(metadata or {})}.items()
              if key.startswith("hnsw:")}  # fmt: skip
    return ChromaCollection(
        id,
        tenant or DEFAULT_TENANT,
        database or DEFAULT_DATABASE,
        name,
        metadata,
        _configuration(stored, legacy, function, notes),
        _schema(schema, notes),
        dimension if isinstance(dimension, int) else None,
        mine.get(METADATA),
        mine.get(VECTORS),
        tuple(notes),
    )


def _nameless(source: ChromaSqlite, id: str, segments: dict[str, str]) -> ChromaCollection:
    """A collection of which the catalogue has lost everything but its segments."""
    vectors = segments.get(VECTORS)
    notes: list[str] = ["its name and configuration are lost"]
    metadata = _metadata(source, "collection_metadata", "collection_id", id)
    old = _metadata(source, "segment_metadata", "segment_id", vectors) or {}
    legacy = {key: value for key, value in {**old, **(metadata or {})}.items()
              if key.startswith("hnsw:")}  # fmt: skip
    configuration = _configuration({}, legacy, None, notes)
    return ChromaCollection(
        id, DEFAULT_TENANT, DEFAULT_DATABASE, f"lost-{id}", metadata, configuration, None, None,
        segments.get(METADATA), vectors, tuple(notes),
    )  # fmt: skip


def _metadata(
    source: ChromaSqlite, table: str, owner: str, id: str | None
) -> dict[str, Any] | None:
    if id is None:
        return None
    flag = "bool_value" if source.has(table, "bool_value") else "null"
    rows = source.rows(
        f"select key, str_value, int_value, float_value, {flag} from {table}"
        f" where {owner} = ? order by rowid",
        (id,),
    )
    found = {key: scalar(*cells) for key, *cells in rows}
    return {key: value for key, value in found.items() if value is not None} or None


def scalar(text: Any, integer: Any, number: Any, flag: Any) -> Any:
    """The one of the four columns of a metadata value that is given."""
    if flag is not None:
        return bool(flag)
    if text is not None:
        return text
    return number if integer is None else integer


# ── configuration ────────────────────────────────────────────────────────────────────────────────


def _stored_configuration(
    config: str | None, schema: str | None, notes: list[str]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The numbers and the distance that are stored, by today's names; and the function."""
    form = _json(config, "configuration", notes)
    index = form.get("vector_index") or form.get("hnsw_configuration") or {}
    function = form.get("embedding_function")
    if "hnsw_configuration" in form:
        # Written with the defaults, whatever the metadata asked for; only what differs was said.
        index = {_OLD_NAMES.get(key, key): value for key, value in index.items()}
        index = {key: value for key, value in index.items() if key in ("space", *PARAMETERS)}
        index.pop("ef_search", None)  # whose default was another one
    else:
        index = index.get("hnsw") or index.get("spann") or {}
    vectors = _vector_index(_json(schema, "schema", notes))
    if vectors:
        inner = vectors.get("hnsw") or {}
        index = {**inner, "space": vectors.get("space") or "l2"}
        function = vectors.get("embedding_function")
    index = {key: value for key, value in index.items() if key in ("space", *PARAMETERS)}
    index.pop("num_threads", None)  # of the machine that made the collection
    return index, function if isinstance(function, dict) else None


def _vector_index(schema: dict[str, Any]) -> dict[str, Any]:
    form: Any = schema
    for step in ("keys", "#embedding", "float_list", "vector_index", "config"):
        form = form.get(step) if isinstance(form, dict) else None
    return form if isinstance(form, dict) else {}


def _configuration(
    stored: dict[str, Any],
    legacy: dict[str, Any],
    function: dict[str, Any] | None,
    notes: list[str],
) -> Configuration:
    """What a collection of ours is made with; what it cannot have is noted and left out."""
    names = {row.legacy: name for name, row in PARAMETERS.items()} | {"hnsw:space": "space"}
    given = dict(stored)
    for key, value in legacy.items():
        if key in names:
            given[names[key]] = value
    for name in list(given):
        try:
            for_new_collection({"hnsw": {name: given[name]}}, None)
        except InvalidArgumentError as error:
            notes.append(f"{error}; the default is used")
            del given[name]
    given.pop("num_threads", None)
    if function is not None and not _is_function(function):
        notes.append("its embedding function is not understood and left out")
        function = None
    return for_new_collection({"hnsw": given}, None, function)


def _is_function(form: dict[str, Any]) -> bool:
    if form.get("type") != "known":
        return form.get("type") in ("legacy", "unknown")
    return isinstance(form.get("name"), str) and isinstance(form.get("config"), dict)


def _schema(text: str | None, notes: list[str]) -> dict[str, Any] | None:
    """The schema, where it says more than the configuration does."""
    form = _json(text, "schema", [])
    if not form:
        return None
    from vermilion.schema.builder import Schema  # forty classes that older directories do not need
    from vermilion.schema.rules import reconciled

    try:
        schema = Schema.deserialize_from_json(form)
        _, kept = reconciled(schema, Configuration())
        return kept if _says_more(form, schema_of(Configuration())) else None
    except (InvalidArgumentError, ValueError, TypeError, KeyError, AttributeError) as error:
        notes.append(f"its schema is not understood and left out: {error}")
        return None


def _says_more(form: dict[str, Any], usual: dict[str, Any]) -> bool:
    """Whether another index than the one of vectors differs from the usual.

    A directory lists every metadata key that it has seen, with the indexes it has by default.
    """
    defaults = {**form["defaults"], "float_list": None}
    if defaults != {**usual["defaults"], "float_list": None}:
        return True
    return any(
        types != usual["keys"].get(key, {kind: defaults.get(kind) for kind in types})
        for key, types in form["keys"].items()
        if key != "#embedding"
    )


def _json(text: str | None, what: str, notes: list[str]) -> dict[str, Any]:
    if not text:
        return {}
    try:
        form = json.loads(text)
    except ValueError:
        form = None
    if isinstance(form, dict):
        return form
    notes.append(f"its {what} cannot be read; the default is used")
    return {}
