"""Ten thousand records of real text: loaded, filtered, queried, and the same in a new process.

Texts and metadata are the glosses that come with the package, taken several times; vectors are
those of real glosses, mixed, so that they lie as real ones do.
"""

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vermilion
from oracle import Oracle
from vermilion.engine import Selection
from vermilion.query.where import parse
from vermilion.records import check_columns
from vermilion.types import Hits, Records

ROWS = 10_000
GLOSSES = Path(vermilion.__file__).parent / "commands" / "demo_data" / "glosses.jsonl.gz"
WHERES: list[tuple[Any, Any]] = [
    (None, None),
    ({"pos": "v"}, None),
    ({"$and": [{"definition_chars": {"$gt": 80}}, {"n_lemmas": {"$gte": 2}}]}, None),
    ({"lexfile": {"$in": ["noun.animal", "noun.food"]}}, {"$contains": "the"}),
    ({"hypernym": {"$ne": "nothing"}}, {"$regex": r"\bwater\b"}),
]

IN_A_NEW_PROCESS = """
import json, sys
import numpy as np
import vermilion

path, queries, wheres = sys.argv[1:]
collection = vermilion.PersistentClient(path).get_collection("glosses", embedding_function=None)
print(json.dumps([
    collection.query(
        query_embeddings=np.load(queries), where=where, where_document=where_document, n_results=7,
        include=["distances"],
    )
    for where, where_document in json.loads(wheres)
]))
"""


def real_rows() -> dict[str, Any]:
    with gzip.open(GLOSSES, "rt", encoding="utf-8") as file:
        glosses = [json.loads(line) for line in file]
    taken = [glosses[row % len(glosses)] for row in range(ROWS)]
    return {
        "ids": [f"{row}-{gloss['id']}" for row, gloss in enumerate(taken)],
        "documents": [gloss["text"] for gloss in taken],
        "metadatas": [gloss["metadata"] for gloss in taken],
        "embeddings": real_vectors(ROWS, seed=1),
    }


def real_vectors(count: int, seed: int) -> Any:
    with np.load(Path(__file__).parent / "data" / "minilm_reference.npz") as reference:
        real = reference["vectors"].astype(np.float32)
    random = np.random.default_rng(seed)
    mixed = np.zeros((count, real.shape[1]), np.float32)
    for weight in (0.6, 0.3, 0.2):
        mixed += np.float32(weight) * real[random.integers(0, len(real), count)]
    return mixed / np.linalg.norm(mixed, axis=1, keepdims=True)


@pytest.mark.parametrize("space", ["l2", "cosine", "ip"])
def test_ten_thousand_real_records_answer_as_the_oracle_does(tmp_path: Path, space: Any) -> None:
    rows, queries = real_rows(), real_vectors(3, seed=2)
    with vermilion.PersistentClient(tmp_path / "database") as client:
        collection = client.create_collection(
            "glosses", configuration={"hnsw": {"space": space}}, embedding_function=None
        )
        collection.add(**rows)
        assert collection.count() == ROWS

    oracle = Oracle(space)
    columns = check_columns(**rows)
    oracle.add(columns.batch(columns.vectors))
    np.save(tmp_path / "queries.npy", queries)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            IN_A_NEW_PROCESS,
            str(tmp_path / "database"),
            str(tmp_path / "queries.npy"),
            json.dumps(WHERES),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    for (where, where_document), answer in zip(WHERES, json.loads(done.stdout), strict=True):
        selection = Selection(filter=parse(where, where_document))
        assert oracle.selected(selection), "a filter that matches nothing proves nothing"
        for query, ids, distances in zip(queries, answer["ids"], answer["distances"], strict=True):
            hits = Hits(Records(ids), np.array(distances, np.float32))
            oracle.check_hits(hits, query, 7, selection)
