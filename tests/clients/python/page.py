"""Runs the page's Python blocks with `chromadb` itself, each on a server without collections.

    python page.py URL [NUMBER ...]

The page says `PersistentClient(path="test")  # or HttpClient()`: here both are the server at URL,
save where a block copies from a directory to a server. EVERY COLLECTION OF THAT SERVER'S DEFAULT
DATABASE IS DELETED.
"""

import contextlib
import functools
import io
import os
import runpy
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import chromadb
import numpy as np

EXAMPLES = Path(__file__).parents[3] / "examples" / "collections" / "python"
RUNNER = runpy.run_path(str(EXAMPLES / "run.py"))
COPIES_FROM_A_DIRECTORY = 17
COLUMNS = ["documents", "metadatas", "embeddings"]
URL = urlsplit(sys.argv[1])
http_client = functools.partial(chromadb.HttpClient, host=URL.hostname, port=URL.port)
client = http_client()

Check = Callable[[dict[str, Any], str], None]
CHECKS: dict[int, Check] = {}


def check(number: int) -> Callable[[Check], Check]:
    """What a block must leave behind: its names and what it printed are given."""
    return lambda function: CHECKS.setdefault(number, function)


@contextlib.contextmanager
def on_the_server(number: int) -> Iterator[None]:
    """Makes the page's clients clients of the server, in a fresh directory."""
    persistent, http = chromadb.PersistentClient, chromadb.HttpClient
    chromadb.HttpClient = http_client
    if number != COPIES_FROM_A_DIRECTORY:
        chromadb.PersistentClient = lambda path: http_client()
    before = Path.cwd()
    try:
        with tempfile.TemporaryDirectory() as directory:
            os.chdir(directory)
            yield
    finally:
        os.chdir(before)
        chromadb.PersistentClient, chromadb.HttpClient = persistent, http


def columns(name: str) -> dict[str, Any]:
    found = client.get_collection(name).get(include=COLUMNS)
    return {column: np.asarray(found[column]).tolist() for column in ["ids", *COLUMNS]}


def hnsw(name: str) -> dict[str, Any]:
    return client.get_collection(name).configuration_json["hnsw"]


@check(1)
def created(names: dict[str, Any], out: str) -> None:
    made = client.get_collection("test")
    assert (made.count(), made.metadata) == (0, None)
    assert made.configuration_json["embedding_function"]["name"] == "default"


@check(2)
def got_or_created(names: dict[str, Any], out: str) -> None:
    again = client.get_or_create_collection("test")
    assert (again.id, again.metadata) == (names["col"].id, {"key": "value"})


@check(3)
def configured(names: dict[str, Any], out: str) -> None:
    stored = hnsw("test")
    assert [stored[key] for key in ("space", "ef_construction", "max_neighbors")] == [
        "cosine",
        200,
        32,
    ]


@check(4)
def remembers_openai(names: dict[str, Any], out: str) -> None:
    stored = names["same_col"].configuration_json["embedding_function"]
    assert (stored["name"], stored["config"]["model_name"]) == ("openai", "text-embedding-3-small")


@check(5)
def reads_another_variable(names: dict[str, Any], out: str) -> None:
    assert names["ef"].get_config()["api_key_env_var"] == "MY_CUSTOM_OPENAI_KEY"


@check(6)
def remembers_own_function(names: dict[str, Any], out: str) -> None:
    client.create_collection("mine", embedding_function=names["MyEmbeddingFunction"]())
    mine = client.get_collection("mine")
    mine.add(ids=["1"], documents=["a text"])
    assert mine.get(include=["embeddings"])["embeddings"].tolist() == [[0.0, 0.0, 0.0]]
    stored = mine.configuration_json["embedding_function"]
    assert (stored["name"], stored["config"]) == ("my-embedding-function", {"model": "my-model-v1"})


@check(7)
def deleted(names: dict[str, Any], out: str) -> None:
    assert client.list_collections() == []


@check(8)
def listed(names: dict[str, Any], out: str) -> None:
    assert len(names["collections"]) == 10
    assert client.count_collections() == 12


@check(9)
def got(names: dict[str, Any], out: str) -> None:
    assert (names["col"].name, names["col"].metadata) == ("test", {"made": "before"})


@check(10)
def modified(names: dict[str, Any], out: str) -> None:
    (changed,) = client.list_collections()
    assert (changed.name, changed.metadata) == ("test2", {"key": "value"})


@check(11)
def counted(names: dict[str, Any], out: str) -> None:
    assert names["collections_count"] == 1


@check(12)
def peeked(names: dict[str, Any], out: str) -> None:
    peeked = names["col"].peek(limit=5)
    assert (peeked["documents"], names["col"].count()) == (["hello world", "hello chroma"], 2)


@check(13)
def queried_by_ids(names: dict[str, Any], out: str) -> None:
    block = (EXAMPLES / "13_query_by_ids.py").read_text(encoding="utf-8")
    found = eval(block, {"collection": names["collection"]})
    assert found["ids"][0][0] == "doc-2"
    assert sorted(found["ids"][0]) == ["doc-1", "doc-2", "doc-3"]


@check(14)
def shapes(names: dict[str, Any], out: str) -> None:
    made = client.create_collection("shapes")
    made.add(ids=["1"], embeddings=[[1.0]])
    for kind, result in (("GetResult", made.get()), ("QueryResult", made.query([[1.0]]))):
        assert sorted(names[kind].__annotations__) == sorted(result)


@check(15)
def iterated(names: dict[str, Any], out: str) -> None:
    lines = out.splitlines()
    assert lines[0] == "doc-1 a recipe for apple pie {'page': 1}"
    assert [line.split()[1] for line in lines[4:6]] == ["doc-4", "doc-2"]


@check(16)
def paged(names: dict[str, Any], out: str) -> None:
    assert out.count("'ids': [") == 100
    assert client.get_collection("local_collection").count() == 1000


@check(17)
def copied_to_the_server(names: dict[str, Any], out: str) -> None:
    source = names["collection"].get(include=COLUMNS)
    target = columns("remote_collection")
    assert (target["ids"], target["documents"]) == (["1", "2"], ["hello world", "hello ChromaDB"])
    assert target["metadatas"] == [{"a": 1}, {"b": 2}]
    assert np.array_equal(np.float32(target["embeddings"]), source["embeddings"])


@check(18)
def copied(names: dict[str, Any], out: str) -> None:
    assert columns("my_target_collection") == columns("my_source_collection")
    assert columns("my_target_collection")["ids"] == ["1", "2"]


@check(19)
def cloned(names: dict[str, Any], out: str) -> None:
    assert out.startswith("1000\n")
    assert (hnsw("test")["space"], hnsw("test1")["space"]) == ("l2", "cosine")
    source, clone = columns("test"), columns("test1")
    # Chroma gives back a cosine collection's vectors off by a rounding.
    assert np.allclose(source.pop("embeddings"), clone.pop("embeddings"), atol=1e-6)
    assert source == clone


@check(20)
def embedded_anew(names: dict[str, Any], out: str) -> None:
    anew = columns("openai_ef_collection")
    assert len(anew["ids"]) == 1000 and len(anew["embeddings"][0]) == 1536
    assert anew["documents"] == columns("default_ef_collection")["documents"]


@check(21)
def cloned_in_part(names: dict[str, Any], out: str) -> None:
    assert out.startswith("25\n")
    assert columns("test1")["ids"] == [f"match-{number}" for number in range(25)]
    assert (hnsw("test1")["space"], hnsw("test1")["max_neighbors"]) == ("cosine", 32)


@check(22)
def stripped(names: dict[str, Any], out: str) -> None:
    found = client.get_collection("test").get()["metadatas"]
    assert found == [{"title": f"title {n}", "author": "somebody"} for n in range(25)]


@check(23)
def ids_only(names: dict[str, Any], out: str) -> None:
    assert out == "['a', 'b', 'c']\n"


def main() -> None:
    chosen = [int(text) for text in sys.argv[2:]] or sorted(CHECKS)
    for number in chosen:
        for left in client.list_collections():
            client.delete_collection(left.name)
        printed = io.StringIO()
        with on_the_server(number), mock.patch.dict(os.environ):
            if number == 5:  # the client prefers OPENAI_API_KEY to the variable that it is told
                del os.environ["OPENAI_API_KEY"]
            names: dict[str, Any] = {}
            exec(RUNNER["PRELUDES"].get(number, ""), names)
            with contextlib.redirect_stdout(printed):
                names = runpy.run_path(str(RUNNER["example"](number)), names)
            CHECKS[number](names, printed.getvalue())
        print("ok", RUNNER["example"](number).stem, flush=True)


if __name__ == "__main__":
    main()
