"""What LangChain, LlamaIndex and Haystack do with a vector store, through their own packages.

    python frameworks.py FRAMEWORK URL vermilion|chroma

Runs twice: with the `chromadb` that the package was written for, as a client of the server, and in
this process on a directory, where for "vermilion" the name `chromadb` is Vermilion. The vectors are
made from the texts by a rule, so that every answer is known beforehand.
"""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

FRAMEWORK, URL, SERVER, *_ = sys.argv[1:]
# The second run is a process of its own, since a package is imported once.
EMBEDDED = URL == "embedded"
if EMBEDDED and SERVER == "vermilion":
    import vermilion

    vermilion.install_as_chromadb()

import chromadb  # noqa: E402  # after the name may have been taken

COUNT = 20


def vector(text: str) -> list[float]:
    """A place on a line: the squared distance of "text 4" and "text 7" is 9."""
    return [float(text.split()[-1]), 1.0, 0.0]


def client(folder: str) -> Any:
    """The client that the framework is given."""
    if EMBEDDED:
        return chromadb.PersistentClient(folder)
    return chromadb.HttpClient(host="127.0.0.1", port=urlsplit(URL).port or 0)


def langchain(folder: str) -> None:
    """langchain-chroma's `Chroma`."""
    from langchain_chroma import Chroma
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings

    class Line(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [vector(text) for text in texts]

        def embed_query(self, text: str) -> list[float]:
            return vector(text)

    def texts(found: list[Any]) -> list[str]:
        return [document.page_content for document in found]

    store = Chroma("letters", Line(), client=client(folder))
    ids = store.add_documents(
        [Document(f"text {n}", metadata={"n": n, "odd": n % 2 == 1}) for n in range(COUNT)]
    )
    assert texts(store.similarity_search("text 3", k=1)) == ["text 3"]
    scored = store.similarity_search_with_score("text 4", k=2, filter={"odd": True})
    assert sorted((d.page_content, score) for d, score in scored) == [("text 3", 1), ("text 5", 1)]
    some = store.similarity_search("text 9", k=2, where_document={"$contains": "text 1"})
    assert texts(some) == ["text 10", "text 11"]
    assert texts(store.similarity_search_by_vector(vector("text 4"), k=1)) == ["text 4"]
    diverse = store.max_marginal_relevance_search("text 3", k=2, fetch_k=6, lambda_mult=0.1)
    assert texts(diverse)[0] == "text 3" and len(diverse) == 2
    retriever = store.as_retriever(search_kwargs={"k": 1, "filter": {"n": {"$gte": 7}}})
    assert texts(retriever.invoke("text 0")) == ["text 7"]
    assert texts(asyncio.run(store.asimilarity_search("text 8", k=1))) == ["text 8"]

    assert texts(store.get_by_ids(ids[:2])) == ["text 0", "text 1"]
    page = store.get(where={"n": {"$gt": 15}}, limit=2, offset=1, include=["embeddings"])
    assert page["embeddings"].tolist() == [vector("text 17"), vector("text 18")]
    store.update_document(ids[0], Document("text 100", metadata={"n": 100}))
    assert texts(store.similarity_search("text 99", k=1)) == ["text 100"]
    store.delete(ids[1:])
    assert store.get()["ids"] == ids[:1]
    store.reset_collection()
    assert store.get()["ids"] == []
    store.delete_collection()
    cosine = Chroma.from_texts(
        ["text 1"],
        Line(),
        client=client(folder),
        collection_name="cosine",
        collection_configuration={"hnsw": {"space": "cosine"}},
    )
    [(_, relevance)] = cosine.similarity_search_with_relevance_scores("text 1")
    assert abs(relevance - 1) < 1e-6


def llamaindex(folder: str) -> None:
    """llama-index's `ChromaVectorStore`."""
    from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
    from llama_index.core.vector_stores import (
        FilterOperator,
        MetadataFilter,
        MetadataFilters,
        VectorStoreQuery,
    )
    from llama_index.vector_stores.chroma import ChromaVectorStore

    collection = client(folder).get_or_create_collection("nodes")
    store = ChromaVectorStore(chroma_collection=collection)

    def node(n: int) -> TextNode:
        source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"book {n // 5}")}
        text = f"text {n}"
        metadata = {"n": n, "kind": "odd" if n % 2 else "even"}
        return TextNode(
            id_=f"node {n}",
            text=text,
            metadata=metadata,
            embedding=vector(text),
            relationships=source,
        )

    def query(*filters: MetadataFilter, **arguments: Any) -> list[str]:
        wanted = MetadataFilters(filters=list(filters)) if filters else None
        asked = VectorStoreQuery(similarity_top_k=2, filters=wanted, **arguments)
        return list(store.query(asked).ids or [])

    store.add([node(n) for n in range(COUNT)])
    assert query(query_embedding=[3.1, 1.0, 0.0]) == ["node 3", "node 4"]
    above = MetadataFilter(key="n", value=5, operator=FilterOperator.GT)
    odd = MetadataFilter(key="kind", value="odd")
    assert query(above, odd, query_embedding=vector("text 0")) == ["node 7", "node 9"]
    either = MetadataFilter(key="n", value=[2, 6], operator=FilterOperator.IN)
    assert query(either) == ["node 2", "node 6"]
    assert len(query(query_embedding=vector("text 3"), mode="mmr")) == 2
    found = store.get_nodes(node_ids=["node 1"])
    assert [(one.text, one.metadata["n"]) for one in found] == [("text 1", 1)]
    store.delete("book 0")
    assert collection.count() == COUNT - 5
    store.delete_nodes(node_ids=["node 5", "node 6"])
    assert collection.count() == COUNT - 7
    store.clear()
    assert collection.count() == 0


def haystack(folder: str) -> None:
    """chroma-haystack's `ChromaDocumentStore`."""
    from haystack import Document
    from haystack_integrations.components.retrievers.chroma import ChromaEmbeddingRetriever
    from haystack_integrations.document_stores.chroma import ChromaDocumentStore

    def filters(operator: str, value: int) -> dict[str, Any]:
        return {"field": "meta.n", "operator": operator, "value": value}

    if EMBEDDED:
        store = ChromaDocumentStore("documents", persist_path=folder)
    else:
        store = ChromaDocumentStore("documents", host="127.0.0.1", port=urlsplit(URL).port)
    documents = [
        Document(id=f"{n}", content=f"text {n}", meta={"n": n}, embedding=vector(f"text {n}"))
        for n in range(COUNT)
    ]
    assert store.write_documents(documents) == COUNT == store.count_documents()
    assert [one.id for one in store.filter_documents(filters(">", 17))] == ["18", "19"]
    [kept] = store.filter_documents(filters("==", 3))
    assert (kept.content, kept.meta, list(kept.embedding or [])) == ("text 3", {"n": 3}, [3, 1, 0])
    retriever = ChromaEmbeddingRetriever(store, top_k=2)
    answer = retriever.run(vector("text 4"), filters=filters(">=", 4))["documents"]
    assert [one.content for one in answer] == ["text 4", "text 5"]
    assert store.update_by_filter(filters("<", 2), {"seen": True}) == 2
    assert store.count_documents_by_filter(filters("<", 2)) == 2
    assert store.delete_by_filter(filters("<", 2)) == 2
    store.delete_documents(["5"])
    assert store.count_documents() == COUNT - 3


FRAMEWORKS: dict[str, Callable[[str], None]] = {
    "langchain": langchain,
    "llamaindex": llamaindex,
    "haystack": haystack,
}

if __name__ == "__main__":
    ours = "install_as_chromadb" in vars(sys.modules.get("vermilion", sys))
    assert ours == (EMBEDDED and SERVER == "vermilion")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        FRAMEWORKS[FRAMEWORK](scratch)
    if not EMBEDDED:
        again = [sys.executable, __file__, FRAMEWORK, "embedded", SERVER]
        sys.exit(subprocess.run(again, check=False).returncode)
