"""The embedded vector stores that stand beside vermilion in compare.py, each behind the same calls.

Each is used as its own documentation has it: its own kind of index for cosine distance, and one on
those keys of metadata that the questions filter by. Where a recall of 0.99 is had for less than the
defaults cost, or only for more, that was chosen, on queries that are not asked here. Every answer
brings ids, documents, metadatas and distances into Python. SETTINGS says for each what was chosen,
and CANNOT what it has no call for.
"""

from __future__ import annotations

import importlib
import json
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

# Distribution, and the module that is imported.
PACKAGES = {
    "zvec": ("zvec", "zvec"),
    "qdrant-edge": ("qdrant-edge-py", "qdrant_edge"),
    "sqlite-vec": ("sqlite-vec", "sqlite_vec"),
    "lancedb": ("lancedb", "lancedb"),
}

SETTINGS = {
    "zvec": "HNSW with m 16, ef_construction 200, ef 100, which reaches a recall of 0.99 here at "
    "half the cost of its defaults (50, 500, 300); inverted index on filtered keys, for ranges "
    "where they are numbers; `optimize()` after the load; `flush()` after every later write",
    "qdrant-edge": "HNSW (m 16, ef_construct 100); payload index on filtered keys; `optimize()` "
    "after the load; `flush()` after every later write; ids are UUIDs of ours",
    "sqlite-vec": "no index, its search is exact; filtered keys are columns of the vector table; "
    "FTS5 with trigrams for $contains; WAL, a sync for each commit",
    "lancedb": "IVF_PQ, refined twentyfold, which it takes for a recall of 0.99; BTREE or BITMAP "
    "on filtered keys; `optimize()` after the load; it never syncs what it writes",
}

CANNOT = {
    "zvec": {"page late": "no offset"},
}

# What a store does, but not as the work is meant: it is shown and does not count.
BUT = {"lancedb": {"add 1": "not durable"}}

# What it does by other means, which is as good.
NOTES = {"qdrant-edge": {"page late": "by key"}}

# What a filter compares with, by the name of its operator.
COMPARISONS = {"$eq": "=", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}

Row = dict[str, Any]
Condition = tuple[str, str, Any]


@dataclass(frozen=True)
class Schema:
    """Keys of metadata with the Python type of their values, and those that are filtered by."""

    types: dict[str, type]
    filtered: list[str]

    @classmethod
    def of(cls, metadatas: Iterable[Row], filtered: Iterable[str]) -> Schema:
        """What these metadatas hold; a key may be missing in some."""
        types = {key: type(value) for row in metadatas for key, value in row.items()}
        return cls(types, sorted(filtered))

    def write(self, path: Path) -> None:
        """Keeps it, for processes that only read."""
        types = {key: kind.__name__ for key, kind in self.types.items()}
        path.write_text(json.dumps({"types": types, "filtered": self.filtered}), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Schema:
        """What `write` kept."""
        kept = json.loads(path.read_text(encoding="utf-8"))
        kinds = {kind.__name__: kind for kind in (str, int, float)}
        return cls({key: kinds[name] for key, name in kept["types"].items()}, kept["filtered"])


def conditions(where: Row | None) -> list[Condition]:
    """A filter of compare_questions.py as key, operator, value; all of them must hold."""
    if not where:
        return []
    (key, value), *others = where.items()
    assert not others, "one condition, or $and"
    if key == "$and":
        return [condition for one in value for condition in conditions(one)]
    return [(key, *(next(iter(value.items())) if isinstance(value, dict) else ("$eq", value)))]


def literal(value: Any) -> str:
    """A value in SQL's spelling."""
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)


def as_sql(where: Row | None) -> list[str]:
    """The conditions of a filter in SQL, as zvec, lancedb and sqlite-vec read it."""
    parts = []
    for key, operator, value in conditions(where):
        if operator == "$in":
            parts.append(f"{key} IN ({', '.join(map(literal, value))})")
        else:
            parts.append(f"{key} {COMPARISONS[operator]} {literal(value)}")
    return parts


def like(document: Row | None) -> list[str]:
    """`$contains` by LIKE, for stores without an index of substrings."""
    if not document:
        return []
    return [f"document LIKE '%{document['$contains']}%'"]


def answer(
    ids: list[str], documents: list[str], metadatas: list[Row], distances: list[float]
) -> Row:
    """What `query` of vermilion and chromadb gives, for one query."""
    return {
        "ids": [ids],
        "documents": [documents],
        "metadatas": [metadatas],
        "distances": [distances],
    }


class Peer(ABC):
    """One store in one folder, empty or as an earlier process left it."""

    def __init__(self, folder: Path, schema: Schema) -> None:
        self.folder = folder
        self.schema = schema
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, **columns: Any) -> None:
        """Inserts rows so that they are kept as well as this store keeps anything."""
        self.insert(**columns)
        self.flush()

    @abstractmethod
    def insert(
        self, ids: list[str], embeddings: np.ndarray, documents: list[str], metadatas: list[Row]
    ) -> None:
        """Inserts rows as a load does it."""

    def flush(self) -> None:  # noqa: B027  not all have something to do
        """Has what was written reach the disk."""

    def finish(self) -> None:  # noqa: B027
        """After a load: builds the indexes."""


class Zvec(Peer):
    """zvec: columns, HNSW, inverted indexes."""

    def __init__(self, folder: Path, schema: Schema) -> None:
        super().__init__(folder, schema)
        self._zvec = importlib.import_module("zvec")
        path = folder / "collection"
        opens = self._zvec.open if path.exists() else self._created
        self._collection = opens(str(path))

    def _created(self, path: str) -> Any:
        zvec = self._zvec
        kinds = {str: zvec.DataType.STRING, int: zvec.DataType.INT64, float: zvec.DataType.DOUBLE}
        fields = [zvec.FieldSchema("document", zvec.DataType.STRING)]
        for key, kind in self.schema.types.items():
            index = None
            if key in self.schema.filtered:
                index = zvec.InvertIndexParam(enable_range_optimization=kind is not str)
            fields.append(zvec.FieldSchema(key, kinds[kind], True, index))
        index = zvec.HnswIndexParam(zvec.MetricType.COSINE, m=16, ef_construction=200)
        vector = zvec.VectorSchema("vector", zvec.DataType.VECTOR_FP32, 384, index)
        return zvec.create_and_open(path, zvec.CollectionSchema("c", fields, [vector]))

    def insert(self, ids, embeddings, documents, metadatas):  # type: ignore[no-untyped-def]
        columns = zip(ids, embeddings, documents, metadatas, strict=True)
        done = self._collection.insert(
            [
                self._zvec.Doc(id, None, {"vector": vector}, {"document": text, **metadata})
                for id, vector, text, metadata in columns
            ]
        )
        assert all(status.ok() for status in done), "zvec refused a row"

    def flush(self) -> None:
        self._collection.flush()

    def finish(self) -> None:
        self._collection.flush()
        self._collection.optimize()

    def query(self, query_embeddings, n_results, where=None, where_document=None, **_):  # type: ignore[no-untyped-def]
        filters = " AND ".join([*as_sql(where), *like(where_document)]) or None
        breadth = self._zvec.HnswQueryParam(ef=100)
        query = self._zvec.Query("vector", vector=query_embeddings[0], param=breadth)
        found = list(self._collection.query(query, topk=n_results, filter=filters))
        documents = [doc.fields.pop("document") for doc in found]
        distances = [doc.score for doc in found]
        return answer(
            [doc.id for doc in found], documents, [doc.fields for doc in found], distances
        )

    def get(self, ids):  # type: ignore[no-untyped-def]
        found = self._collection.fetch(ids, include_vector=False)
        documents = [doc.fields.pop("document") for doc in found.values()]
        metadatas = [doc.fields for doc in found.values()]
        return {"ids": list(found), "documents": documents, "metadatas": metadatas}

    def count(self) -> int:
        return int(self._collection.stats.doc_count)


class QdrantEdge(Peer):
    """qdrant-edge: Qdrant's engine in the process."""

    def __init__(self, folder: Path, schema: Schema) -> None:
        super().__init__(folder, schema)
        self._qdrant = qdrant = importlib.import_module("qdrant_edge")
        path = str(folder)
        if any(folder.iterdir()):
            self._shard = qdrant.EdgeShard.load(path)
            return
        vectors = qdrant.EdgeVectorParams(384, qdrant.Distance.Cosine)
        self._shard = qdrant.EdgeShard.create(path, qdrant.EdgeConfig(vectors=vectors))
        kinds = qdrant.PayloadSchemaType
        indexes = {str: kinds.Keyword, int: kinds.Integer, float: kinds.Float}
        for key in schema.filtered:
            kind = indexes[schema.types[key]]
            self._shard.update(qdrant.UpdateOperation.create_field_index(key, kind))

    @staticmethod
    def _uuid(id: str) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_OID, id))

    def insert(self, ids, embeddings, documents, metadatas):  # type: ignore[no-untyped-def]
        rows = zip(ids, embeddings.tolist(), documents, metadatas, strict=True)
        points = [
            self._qdrant.Point(self._uuid(id), vector, {"id": id, "document": text, **metadata})
            for id, vector, text, metadata in rows
        ]
        self._shard.update(self._qdrant.UpdateOperation.upsert_points(points))

    def flush(self) -> None:
        self._shard.flush()

    def finish(self) -> None:
        self._shard.optimize()
        self._shard.flush()

    def _filter(self, where: Row | None, document: Row | None) -> Any:
        q = self._qdrant
        must = []
        for key, operator, value in conditions(where):
            if operator == "$in":
                must.append(q.FieldCondition(key, match=q.MatchAny(value)))
            elif operator == "$eq":
                must.append(q.FieldCondition(key, match=q.MatchValue(value)))
            else:
                bound = q.RangeFloat(**{operator[1:]: value})
                must.append(q.FieldCondition(key, range=bound))
        if document:
            substring = q.MatchSubstring(document["$contains"])
            must.append(q.FieldCondition("document", match=substring))
        return q.Filter(must=must) if must else None

    def query(self, query_embeddings, n_results, where=None, where_document=None, **_):  # type: ignore[no-untyped-def]
        q = self._qdrant
        request = q.QueryRequest(
            limit=n_results,
            query=q.Query.Nearest(np.asarray(query_embeddings[0]).tolist()),
            with_payload=True,
            filter=self._filter(where, where_document),
        )
        found = self._shard.query(request)
        rows = [point.payload for point in found]
        distances = [1 - point.score for point in found]
        return answer(*self._columns(rows), distances)

    @staticmethod
    def _columns(rows: list[Row]) -> tuple[list[str], list[str], list[Row]]:
        ids, documents = [row.pop("id") for row in rows], [row.pop("document") for row in rows]
        return ids, documents, rows

    @cache  # noqa: B019  a program that pages has the key from the page before
    def _key_at(self, offset: int) -> str:
        request = self._qdrant.ScrollRequest(limit=offset + 1, with_payload=False)
        return str(self._shard.scroll(request)[0][-1].id)

    def get(self, ids=None, limit=None, offset=None):  # type: ignore[no-untyped-def]
        if ids is None:
            scroll = self._qdrant.ScrollRequest
            request = scroll(offset=self._key_at(offset), limit=limit, with_payload=True)
            found, _ = self._shard.scroll(request)
        else:
            found = self._shard.retrieve([self._uuid(id) for id in ids], True, False)
        names = ("ids", "documents", "metadatas")
        return dict(zip(names, self._columns([one.payload for one in found]), strict=True))

    def count(self) -> int:
        return int(self._shard.count(self._qdrant.CountRequest(exact=True)))


class SqliteVec(Peer):
    """sqlite-vec: a virtual table of vectors beside an ordinary one."""

    def __init__(self, folder: Path, schema: Schema) -> None:
        super().__init__(folder, schema)
        sqlite = importlib.import_module("pysqlite3")  # the standard one may not load extensions
        self._db = sqlite.connect(str(folder / "records.db"), isolation_level=None)
        self._db.enable_load_extension(True)
        importlib.import_module("sqlite_vec").load(self._db)
        kinds = {str: "TEXT", int: "INTEGER", float: "FLOAT"}
        columns = "".join(f", {key} {kinds[schema.types[key]]}" for key in schema.filtered)
        self._db.executescript(f"""
            PRAGMA journal_mode=WAL;
            CREATE TABLE IF NOT EXISTS records
                (place INTEGER PRIMARY KEY, id TEXT UNIQUE, document TEXT, metadata TEXT);
            CREATE VIRTUAL TABLE IF NOT EXISTS vectors USING vec0
                (place INTEGER PRIMARY KEY, vector FLOAT[384] DISTANCE_METRIC=cosine{columns});
            CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5
                (document, content='records', content_rowid='place',
                 tokenize='trigram case_sensitive 1');
        """)

    def insert(self, ids, embeddings, documents, metadatas):  # type: ignore[no-untyped-def]
        (last,) = self._db.execute("SELECT coalesce(max(place), 0) FROM records").fetchone()
        places = range(last + 1, last + 1 + len(ids))
        rows = zip(places, ids, documents, map(json.dumps, metadatas), strict=True)
        filtered = self.schema.filtered
        vectors = [
            (place, vector, *(metadata[key] for key in filtered))
            for place, vector, metadata in zip(
                places, np.asarray(embeddings, np.float32), metadatas, strict=True
            )
        ]
        marks = ", ?" * len(filtered)
        names = "".join(f", {key}" for key in filtered)
        self._db.execute("BEGIN")
        self._db.executemany("INSERT INTO records VALUES (?, ?, ?, ?)", rows)
        self._db.executemany(
            f"INSERT INTO vectors (place, vector{names}) VALUES (?, ?{marks})", vectors
        )
        texts = zip(places, documents, strict=True)
        self._db.executemany("INSERT INTO words (rowid, document) VALUES (?, ?)", texts)
        self._db.execute("COMMIT")

    def query(self, query_embeddings, n_results, where=None, where_document=None, **_):  # type: ignore[no-untyped-def]
        parts = ["vector MATCH ?", "k = ?", *as_sql(where)]
        values = [np.asarray(query_embeddings[0], np.float32), n_results]
        if where_document:
            parts.append("place IN (SELECT rowid FROM words WHERE words MATCH ?)")
            values.append('"' + where_document["$contains"] + '"')
        nearest = f"SELECT place, distance FROM vectors WHERE {' AND '.join(parts)}"
        rows = self._db.execute(
            f"WITH nearest AS MATERIALIZED ({nearest}) SELECT id, document, metadata, distance"
            " FROM nearest JOIN records USING (place) ORDER BY distance",
            values,
        ).fetchall()
        ids, documents, metadatas, distances = map(list, zip(*rows, strict=True))
        return answer(ids, documents, list(map(json.loads, metadatas)), distances)

    def get(self, ids=None, limit=None, offset=None):  # type: ignore[no-untyped-def]
        if ids is None:
            values, rest = [limit, offset], "ORDER BY place LIMIT ? OFFSET ?"
        else:
            values, rest = [json.dumps(ids)], "WHERE id IN (SELECT value FROM json_each(?))"
        rows = self._db.execute(f"SELECT id, document, metadata FROM records {rest}", values)
        found, documents, metadatas = map(list, zip(*rows.fetchall(), strict=True))
        metadatas = list(map(json.loads, metadatas))
        return {"ids": found, "documents": documents, "metadatas": metadatas}

    def count(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM records").fetchone()[0])


class LanceDb(Peer):
    """lancedb: Lance files, IVF_PQ, scalar indexes."""

    REFINED = 20

    def __init__(self, folder: Path, schema: Schema) -> None:
        super().__init__(folder, schema)
        self._arrow = pa = importlib.import_module("pyarrow")
        database = importlib.import_module("lancedb").connect(str(folder))
        kinds = {str: pa.string(), int: pa.int64(), float: pa.float64()}
        columns = [("id", pa.string()), ("vector", pa.list_(pa.float32(), 384))]
        columns += [("document", pa.string())]
        columns += [(key, kinds[kind]) for key, kind in schema.types.items()]
        self._schema = pa.schema(columns)
        self._table = database.create_table("records", schema=self._schema, exist_ok=True)
        self._shown = ["id", "document", *schema.types]

    def insert(self, ids, embeddings, documents, metadatas):  # type: ignore[no-untyped-def]
        pa = self._arrow
        flat = pa.array(np.asarray(embeddings, np.float32).ravel())
        columns = [pa.array(ids), pa.FixedSizeListArray.from_arrays(flat, 384), pa.array(documents)]
        for key in self.schema.types:
            kind = self._schema.field(key).type
            columns.append(pa.array([metadata.get(key) for metadata in metadatas], kind))
        self._table.add(pa.Table.from_arrays(columns, schema=self._schema))

    def finish(self) -> None:
        self._table.create_index(metric="cosine")
        self._table.create_scalar_index("id")
        for key in self.schema.filtered:
            kind = "BITMAP" if self.schema.types[key] is str else "BTREE"
            self._table.create_scalar_index(key, index_type=kind)
        self._table.optimize()

    def query(self, query_embeddings, n_results, where=None, where_document=None, **_):  # type: ignore[no-untyped-def]
        search = self._table.search(np.asarray(query_embeddings[0], np.float32))
        search = search.distance_type("cosine").refine_factor(self.REFINED).limit(n_results)
        filters = " AND ".join([*as_sql(where), *like(where_document)])
        if filters:
            search = search.where(filters, prefilter=True)
        rows = search.select([*self._shown, "_distance"]).to_list()
        distances = [row.pop("_distance") for row in rows]
        return answer(*self._columns(rows), distances)

    @staticmethod
    def _columns(rows: list[Row]) -> tuple[list[str], list[str], list[Row]]:
        ids, documents = [row.pop("id") for row in rows], [row.pop("document") for row in rows]
        metadatas = [
            {key: value for key, value in row.items() if value is not None} for row in rows
        ]
        return ids, documents, metadatas

    def get(self, ids=None, limit=None, offset=None):  # type: ignore[no-untyped-def]
        search = self._table.search()
        if ids is None:
            search = search.limit(limit).offset(offset)
        else:
            search = search.where(f"id IN ({', '.join(map(literal, ids))})").limit(len(ids))
        rows = search.select(self._shown).to_list()
        names = ("ids", "documents", "metadatas")
        return dict(zip(names, self._columns(rows), strict=True))

    def count(self) -> int:
        return int(self._table.count_rows())


PEERS: dict[str, Callable[[Path, Schema], Any]] = {
    "zvec": Zvec,
    "qdrant-edge": QdrantEdge,
    "sqlite-vec": SqliteVec,
    "lancedb": LanceDb,
}


def version(system: str) -> str:
    """The release that is installed."""
    metadata = importlib.import_module("importlib.metadata")
    return str(metadata.version(PACKAGES[system][0]))
