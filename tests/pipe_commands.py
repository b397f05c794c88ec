"""What the tests of the pipes share: the commands as processes, and a collection to move."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import vermilion
from vermilion import cli
from vermilion.api import sharing

# The pipelines of Chroma's page on collections, as they stand there.
PAGE = Path(__file__).parent.parent / "examples" / "collections" / "shell"

Done = subprocess.CompletedProcess[str]
Cdp = Callable[..., Done]


def environment() -> dict[str, str]:
    """Where `cdp` and `vermilion` are those of this interpreter."""
    folder = str(Path(sys.executable).parent)
    return os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "200"}


def shell(script: str, folder: Path, **variables: str) -> Done:
    """What bash made of a pipeline."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", script],
        cwd=folder, capture_output=True, text=True, env=environment() | variables, timeout=120,
    )  # fmt: skip


def of_the_page(name: str) -> str:
    """A pipeline of the page."""
    return (PAGE / name).read_text(encoding="utf-8")


def run(*arguments: str, stdin: str = "") -> Done:
    """What `cdp` did, in this process."""
    streams = [io.TextIOWrapper(io.BytesIO(text.encode()), "utf-8") for text in (stdin, "", "")]
    kept = sys.stdin, sys.stdout, sys.stderr
    sys.stdin, sys.stdout, sys.stderr = streams
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            code = cli.cdp(arguments)
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.stdin, sys.stdout, sys.stderr = kept
        sharing.forget_all()
    out, err = (_written(stream) for stream in streams[1:])
    return subprocess.CompletedProcess(arguments, code, out, err)


def _written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    raw = stream.buffer
    assert isinstance(raw, io.BytesIO)
    return raw.getvalue().decode()


def records(done: Done) -> list[dict[str, Any]]:
    """The records that a command wrote."""
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def lines(*rows: dict[str, Any]) -> str:
    """Records as a stream."""
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def row(id: str | None, embedding: Any = (1.0, 2.0), **parts: Any) -> dict[str, Any]:
    """A record."""
    vector = list(embedding) if isinstance(embedding, tuple) else embedding
    return {"id": id, "metadata": None, "embedding": vector, "text_chunk": None} | parts


def filled(path: Path, name: str = "qna", **options: Any) -> None:
    """Seven records with everything that a record may have, in a cosine collection."""
    given = {
        "configuration": {"hnsw": {"space": "cosine", "max_neighbors": 8}},
        "metadata": {"owner": "me"},
        "embedding_function": None,
    } | options
    with vermilion.PersistentClient(path) as client:
        collection = client.create_collection(name, **given)
        collection.add(
            ids=[f"d{n}" for n in range(7)],
            embeddings=[[n, 1.5, 0.1] for n in range(7)],
            documents=[f"doc number {n} 😀" for n in range(6)] + [None],
            metadatas=[
                {"document_id": str(n), "n": n, "f": 0.333, "even": n % 2 == 0, "tags": ["a", "b"]}
                for n in range(6)
            ]
            + [None],
            uris=["file.txt", *[None] * 6],
        )


def everything(path: Path, name: str) -> dict[str, Any]:
    """All that a collection holds, and what it is."""
    with vermilion.PersistentClient(path) as client:
        collection = client.get_collection(name)
        got: dict[str, Any] = dict(
            collection.get(include=["embeddings", "documents", "metadatas", "uris"])
        )
        got["embeddings"] = got["embeddings"].tolist()
        return got | {
            "metadata": collection.metadata,
            "configuration": collection.configuration_json,
        }


def found_in(folder: Path) -> set[Path]:
    """All files, but for those that SQLite has while it reads."""
    return {path for path in folder.rglob("*") if not path.name.endswith(("-shm", "-wal"))}
