"""Runs one example of this folder as its reader would, in a fresh working directory.

    python examples/collections/run.py 16

Several of the page's blocks presume something: a collection that exists, or a variable called
`collection`. PRELUDES makes what they presume, in the same process and just before the block.
Numbers 5 and 20 need a key for OpenAI, in MY_CUSTOM_OPENAI_KEY and OPENAI_API_KEY.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

FOLDER = Path(__file__).parent

COLLECTION_TEST = """
import chromadb

chromadb.PersistentClient(path="test").create_collection("test", metadata={"made": "before"})
"""

TWELVE_COLLECTIONS = """
import chromadb

client = chromadb.PersistentClient(path="test")
for number in range(12):
    client.create_collection(f"collection-{number:02}")
"""

VARIABLE_COLLECTION = """
import chromadb

collection = chromadb.PersistentClient(path="test").create_collection("test")
collection.add(
    ids=["doc-1", "doc-2", "doc-3", "doc-4"],
    documents=[
        "a recipe for apple pie",
        "the weather of the coming century",
        "how to repair a bicycle",
        "climate change and the climate",
    ],
    metadatas=[{"page": 1}, {"page": 2}, {"page": 3}, {"page": 4}],
)
"""

TYPES = """
from typing import List, Optional, TypedDict, Union

import numpy as np
from chromadb.api.types import (
    ID, URI, Document, Embeddings, IDs, Include, Loadable, Metadata, PyEmbeddings, URIs
)
from numpy.typing import NDArray
"""

# 25 records match both filters of the block; of the others each fails one of them.
SUBSET = """
import chromadb

chromadb.PersistentClient(path="test").create_collection("test").add(
    ids=[f"match-{i}" for i in range(25)] + ["other-value", "other-text"],
    documents=[f"a chosen document {i}" for i in range(25)] + ["another document", "a text"],
    metadatas=[{"metadata_key": "value"} for _ in range(25)]
    + [{"metadata_key": "another"}, {"metadata_key": "value"}],
)
"""

UNTIDY_METADATA = """
import chromadb

chromadb.PersistentClient(path="test").create_collection("test").add(
    ids=[f"{i}" for i in range(25)],
    embeddings=[[i, 1.0] for i in range(25)],
    metadatas=[{"title": f"  title {i} ", "author": "somebody\\t"} for i in range(25)],
)
"""

MY_COLLECTION = """
import chromadb

chromadb.PersistentClient(path="test").create_collection("my_collection").add(
    ids=["a", "b", "c"], embeddings=[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
)
"""

PRELUDES = {
    7: COLLECTION_TEST,
    8: TWELVE_COLLECTIONS,
    9: COLLECTION_TEST,
    10: COLLECTION_TEST,
    13: VARIABLE_COLLECTION,
    14: TYPES,
    15: VARIABLE_COLLECTION,
    21: SUBSET,
    22: UNTIDY_METADATA,
    23: MY_COLLECTION,
}

# The names that a prelude leaves are there for the block, and those of the block for what follows.
PROGRAM = """
import os, runpy, sys
import vermilion

directory, prelude, example, then = sys.argv[1:]
os.chdir(directory)
vermilion.install_as_chromadb()
names = {}
exec(prelude, names)
names = runpy.run_path(example, names)
exec(then, names)
"""


def example(number: int) -> Path:
    """The file of an example. Raises LookupError when there is none of that number."""
    for path in FOLDER.glob(f"{number:02}_*.py"):
        return path
    raise LookupError(f"there is no example {number}")


def run(number: int, directory: Path | None = None, then: str = "") -> str:
    """Runs an example in the directory, or a temporary one, and returns what it printed.

    `then` is Python that runs after the block and sees its names. Raises CalledProcessError when
    anything fails; a warning counts as a failure.
    """
    if directory is None:
        with tempfile.TemporaryDirectory() as fresh:
            return run(number, Path(fresh), then)
    path = example(number).resolve()
    arguments = [str(directory), PRELUDES.get(number, ""), str(path), then]
    # The page passes a key directly, which works and is warned about.
    allowed = "ignore:Direct api_key:DeprecationWarning"
    command = [sys.executable, "-W", "error", "-W", allowed, "-c", PROGRAM, *arguments]
    needed = server(directory) if "HttpClient" in path.read_text("utf-8") else nullcontext({})
    with needed as more:
        environment = {**os.environ, **more}
        return subprocess.run(
            command, stdout=subprocess.PIPE, text=True, check=True, env=environment
        ).stdout


@contextmanager
def server(directory: Path) -> Iterator[dict[str, str]]:
    """A server of a database in the directory; what leads clients to it is in the environment."""
    command = [sys.executable, "-m", "vermilion", "run", "--port", "0", "--path"]
    with subprocess.Popen(
        [*command, str(directory / "server")], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline()
            yield {"CHROMA_SERVER_HTTP_PORT": address.rpartition(":")[2].strip()}
        finally:
            process.terminate()


def main(arguments: Sequence[str]) -> int:
    """Prints what the examples with these numbers print."""
    if not arguments or not all(argument.isdecimal() for argument in arguments):
        print("usage: python run.py NUMBER...", file=sys.stderr)
        return 2
    for number in map(int, arguments):
        try:
            print(run(number), end="")
        except (LookupError, subprocess.CalledProcessError) as error:
            print(f"example {number} did not run: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
