"""Runs in an interpreter that has Chroma: prints as JSON what it finds in a directory.

python chroma_reader.py DIRECTORY < [["tenant", "database", "collection"], …]
"""

import json
import sys
from typing import Any

import chromadb


def tell(path: str, tenant: str, database: str, name: str) -> dict[str, Any]:
    client = chromadb.PersistentClient(path, tenant=tenant, database=database)
    collection = client.get_collection(name, embedding_function=None)
    got = collection.get(include=["embeddings", "documents", "metadatas", "uris"])
    vectors = [[float(x) for x in row] for row in got["embeddings"]]
    nearest = None
    if vectors:
        answer = collection.query(query_embeddings=[vectors[-1]], n_results=1)
        nearest = [answer["ids"][0][0], float(answer["distances"][0][0])]
    return {
        "id": str(collection.id),
        "metadata": collection.metadata,
        "configuration": collection.configuration_json,
        "records": {
            "ids": got["ids"],
            "embeddings": vectors,
            "documents": got["documents"],
            "metadatas": got["metadatas"],
            "uris": got["uris"],
        },
        "count": collection.count(),
        "nearest": nearest,
    }


if __name__ == "__main__":
    places = json.load(sys.stdin)
    print(json.dumps([tell(sys.argv[1], *place) for place in places]))
