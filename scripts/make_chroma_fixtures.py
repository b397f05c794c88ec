"""Makes tests/data/chroma: small directories of real Chroma releases, and what these answered.

    python scripts/make_chroma_fixtures.py FOLDER [RELEASE …]

Each release is installed from the package index into a venv of its own under FOLDER (Python 3.11),
fills a directory, and is then opened anew to tell all it holds. Both become one archive,
tests/data/chroma/RELEASE.tar.gz: `data/` and `expected.json`. The tests only read the archives.
Of the newest release comes, besides, how it says that it made its tables: a directory that it is
to open has to say the same (src/vermilion/migration/chroma_tables.json).
"""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

RELEASES = {
    "0.4.24": ["numpy<2"],
    "0.5.0": ["numpy<2"],
    "0.5.23": [],
    "0.6.3": [],
    "1.0.20": [],
    "1.5.9": [],
}
ROOT = Path(__file__).parent.parent
TARGET = ROOT / "tests" / "data" / "chroma"
TABLES = ROOT / "src" / "vermilion" / "migration" / "chroma_tables.json"
PLACES = [("default_tenant", "default_database"), ("acme", "books"), ("acme", "films")]


# ── outside: one archive after the other ─────────────────────────────────────────────────────────


def main(folder: Path, releases: list[str]) -> None:
    """Makes the archives of these releases."""
    TARGET.mkdir(parents=True, exist_ok=True)
    for release in releases:
        python = installed(folder / release, release)
        work = folder / f"{release}-work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        for step in ("fill", "tell"):  # two processes: what is told has been read from the disk
            command = [python, str(Path(__file__).resolve()), f"--{step}", str(work)]
            subprocess.run(command, check=True)
        archive = TARGET / f"{release}.tar.gz"
        with tarfile.open(archive, "w:gz", compresslevel=9) as tar:
            for name in ("data", "expected.json"):
                tar.add(work / name, name, filter=anonymous)
        if release == list(RELEASES)[-1]:
            keep_tables(work / "data" / "chroma.sqlite3")
        print(f"{archive.name}: {archive.stat().st_size:,} bytes")


def keep_tables(file: Path) -> None:
    """Writes down the table of migrations, in the order in which they were made."""
    with closing(sqlite3.connect(file)) as connection:
        rows = connection.execute(
            "select dir, version, filename, sql from migrations order by rowid"
        ).fetchall()
    TABLES.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def installed(venv: Path, release: str) -> str:
    """The interpreter of a venv with this release."""
    python = venv / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        packages = [f"chromadb=={release}", *RELEASES[release]]
        subprocess.run([str(python), "-m", "pip", "install", "-q", *packages], check=True)
    return str(python)


def anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """An entry that does not tell who made it."""
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime = 0
    return info


# ── inside: in the interpreter that has the release ──────────────────────────────────────────────


def connect(work: Path) -> Any:
    """What opens a client of any tenant and database there."""
    import chromadb
    from chromadb.config import Settings

    settings = Settings(
        anonymized_telemetry=False, is_persistent=True, persist_directory=str(work / "data")
    )
    return lambda tenant, database: chromadb.Client(settings, tenant, database), settings


def modern() -> bool:
    """Whether the release takes a configuration, lists and stored functions."""
    import chromadb

    return int(chromadb.__version__.split(".")[0]) >= 1


def fill(work: Path) -> None:
    """Writes collections of every kind."""
    from chromadb.api.client import AdminClient

    client, settings = connect(work)
    client(*PLACES[0])
    admin = AdminClient(settings)
    admin.create_tenant("acme")
    for tenant, database in PLACES[1:]:
        admin.create_database(database, tenant)
    home = client(*PLACES[0])
    fill_everything(home)
    fill_cosine(home)
    vectors_only = create(home, "inner-product", "ip", {"purpose": "queue only"})
    vectors_only.add(ids=["one", "two", "three"], embeddings=vectors(3, 5, 3))
    create(home, "empty-one", "l2", {"note": "nothing here"})
    create(home, "bare", "l2", None).add(ids=["x"], embeddings=[[0.5]], documents=["only one"])
    books = client(*PLACES[1])
    other = create(books, "everything", "l2", {"lang": "français"})
    other.add(
        ids=[f"book {n}" for n in range(30)],
        embeddings=vectors(11, 3, 30),
        documents=[f"The book no. {n}" for n in range(30)],
    )


def fill_everything(client: Any) -> None:
    """A segment on disk, rows after it in the queue, and every kind of value."""
    metadata = {"title": "Ünïcødé 日本語", "year": 1999, "share": 0.25, "active": True}
    collection = create(client, "everything", "l2", metadata)
    ids = [f"id-{n:02}" for n in range(42)] + ["日本", "🦊 fox", "with\nnewline"]
    documents = [f"Document {n} about {'cats' if n % 3 else 'dögs 犬'}." for n in range(45)]
    for start in range(0, 45, 9):
        rows = slice(start, start + 9)
        collection.add(
            ids=ids[rows],
            embeddings=vectors(start, 4, 9),
            documents=documents[rows],
            metadatas=[record_metadata(n) for n in range(start, start + 9)],
            uris=[f"file:///photos/{n}.png" for n in range(start, start + 9)],
        )
    collection.update(ids=["id-03"], embeddings=[[9.0, 8.0, 7.0, 6.5]])
    change = {"new": "yes"} | ({"number": None} if modern() else {})
    collection.update(ids=["id-04"], metadatas=[change])
    collection.update(ids=["id-08"], embeddings=vectors(8, 4, 1), documents=["Changed text"])
    collection.upsert(
        ids=["id-05", "late"],
        embeddings=vectors(77, 4, 2),
        documents=["Upserted over", "Upserted new"],
        metadatas=[{"number": 500}, {"number": 501}],
    )
    collection.delete(ids=["id-06", "id-20", "🦊 fox"])
    collection.add(ids=["id-06"], embeddings=vectors(99, 4, 1), documents=["Came back"])
    collection.delete(ids=["id-41"])


def fill_cosine(client: Any) -> None:
    """Vectors that the index keeps normalised, and documents without metadata."""
    function = None
    if modern():
        from chromadb.utils.embedding_functions import HuggingFaceEmbeddingServer

        function = HuggingFaceEmbeddingServer(url="http://localhost:8001/embed")
    collection = create(client, "cosine-space", "cosine", None, function)
    for start in range(0, 33, 11):
        collection.add(
            ids=[f"c{n}" for n in range(start, start + 11)],
            embeddings=vectors(500 + start, 6, 11),
            documents=[None if n % 4 == 0 else f"text {n}" for n in range(start, start + 11)]
            if modern()
            else [f"text {n}" for n in range(start, start + 11)],
        )
    collection.delete(ids=["c7", "c32"])


def record_metadata(n: int) -> dict[str, Any]:
    """Values of all kinds that the release knows."""
    made: dict[str, Any] = {
        "number": n,
        "weight": n / 3 + 0.125,
        "kind": ["pet", "song", "straße"][n % 3],
        "even": n % 2 == 0,
        "big": 2**53 + n,
    }
    if n % 5 == 0:
        made["only sometimes"] = ""
    if lists():
        made |= {"tags": [f"t{n % 4}", "ü"], "counts": [n, -1], "parts": [0.5, n / 7]}
        made |= {"flags": [True, n % 2 == 0]}
    return made


def lists() -> bool:
    """Whether metadata may hold lists."""
    import chromadb

    return tuple(map(int, chromadb.__version__.split(".")[:2])) >= (1, 5)


def create(
    client: Any, name: str, space: str, metadata: dict[str, Any] | None, function: Any = None
) -> Any:
    """A collection whose segment is written to the disk every 20 rows."""
    index = {"space": space, "batch_size": 10, "sync_threshold": 20}
    if modern():
        configuration = {"hnsw": {**index, "max_neighbors": 8}}
        return client.create_collection(
            name, metadata=metadata, configuration=configuration, embedding_function=function
        )
    old = {f"hnsw:{key}": value for key, value in index.items()} | {"hnsw:M": 8}
    return client.create_collection(
        name, metadata={**(metadata or {}), **old}, embedding_function=None
    )


def vectors(seed: int, dimension: int, count: int) -> list[list[float]]:
    """Reproducible vectors."""
    made = random.Random(seed)
    return [[made.uniform(-2, 2) for _ in range(dimension)] for _ in range(count)]


def tell(work: Path) -> None:
    """Writes what the release says its directory holds."""
    import chromadb

    client, _ = connect(work)
    told = []
    for tenant, database in PLACES:
        opened = client(tenant, database)
        found = opened.list_collections()
        listed = [str(one) if isinstance(one, str) else one.name for one in found]
        for name in sorted(listed):
            told.append(collection_of(opened, tenant, database, name))
    out = {"release": chromadb.__version__, "collections": told}
    text = json.dumps(out, ensure_ascii=False, indent=1)
    (work / "expected.json").write_text(text + "\n", encoding="utf-8")


def collection_of(client: Any, tenant: str, database: str, name: str) -> dict[str, Any]:
    """All that the release says of one collection."""
    collection = client.get_collection(name, embedding_function=None)
    got = collection.get(include=["embeddings", "documents", "metadatas", "uris"])
    rows = [[float(x) for x in row] for row in got["embeddings"]]
    queries = []
    for position in (0, len(rows) // 2) if rows else ():
        answer = collection.query(query_embeddings=[rows[position]], n_results=5)
        queries.append(
            {
                "vector": rows[position],
                "ids": answer["ids"][0],
                "distances": [float(x) for x in answer["distances"][0]],
            }
        )
    configuration = getattr(collection, "configuration_json", None) if modern() else None
    return {
        "tenant": tenant,
        "database": database,
        "name": name,
        "id": str(collection.id),
        "metadata": collection.metadata,
        "configuration": configuration,
        "records": {
            "ids": got["ids"],
            "embeddings": rows,
            "documents": got["documents"],
            "metadatas": got["metadatas"],
            "uris": got["uris"],
        },
        "queries": queries,
    }


if __name__ == "__main__":
    first, *rest = sys.argv[1:]
    if first in ("--fill", "--tell"):
        {"--fill": fill, "--tell": tell}[first](Path(rest[0]))
    else:
        main(Path(first), rest or list(RELEASES))
