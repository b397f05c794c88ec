"""Everything a program does with a server, through Chroma's own Python packages.

    python client.py URL vermilion|chroma [search]

Runs once with the sync client and once with the async one, in the environment of `chromadb` or of
`chromadb-client`. The second argument says which server it talks to: a few answers are better here.
The third says that it has the Search API.
"""

import asyncio
import inspect
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import chromadb
import numpy as np
from chromadb import Documents, EmbeddingFunction, Embeddings
from chromadb.errors import ChromaError, InvalidArgumentError, NotFoundError
from chromadb.utils.embedding_functions import register_embedding_function

URL, SERVER, *MORE = sys.argv[1:]
OURS = SERVER == "vermilion"
VECTORS = json.loads((Path(__file__).parent.parent / "vectors.json").read_text(encoding="utf-8"))
TEXTS = [text for text in VECTORS if text != "climate"]

IDS = [f"id-{number}" for number in range(8)]
# Nearest to [0, 1, 0] is id-0; the squared distance of id-n is n * n.
EMBEDDINGS = [[float(number), 1.0, 0.0] for number in range(8)]
NAMES = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"]
DOCUMENTS = [f"the {name} letter" for name in NAMES]
METADATAS: list[dict[str, Any]] = [
    {
        "n": n,
        "half": n / 2,
        "even": n % 2 == 0,
        "word": ["even", "odd"][n % 2],
        "tags": [n, 100],
    }
    for n in range(8)
]


@register_embedding_function
class FixedVectors(EmbeddingFunction[Documents]):
    """Real vectors of a few texts: what the page calls a custom embedding function."""

    def __init__(self) -> None: ...

    def __call__(self, input: Documents) -> Embeddings:
        return [np.array(VECTORS[text], np.float32) for text in input]

    @staticmethod
    def name() -> str:
        return "fixed-vectors"

    def get_config(self) -> dict[str, Any]:
        return {"texts": len(VECTORS)}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> "FixedVectors":
        assert config == {"texts": len(VECTORS)}
        return FixedVectors()


async def done(answer: Any) -> Any:
    """The answer of either client: the async one's calls have to be awaited."""
    return await answer if inspect.isawaitable(answer) else answer


async def raises(kind: type[BaseException], part: str, call: Any) -> None:
    """The call fails with that exception and a message that holds the part."""
    try:
        await done(call())
    except kind as error:
        assert part in str(error), f"{part!r} is not in {error!r}"
    else:
        raise AssertionError(f"no {kind.__name__} that says {part!r}")


async def system(client: Any) -> None:
    for left in await done(client.list_collections()):  # of a run that failed
        if left.name.startswith("py-"):
            await done(client.delete_collection(left.name))
    assert await done(client.heartbeat()) > 1_700_000_000 * 10**9
    assert (await done(client.get_version())).count(".") >= 2
    assert await done(client.get_max_batch_size()) >= 5461
    identity = await done(client.get_user_identity())
    assert identity.tenant == "default_tenant"
    assert identity.databases == ["default_database"]


async def create(client: Any) -> Any:
    made = await done(
        client.create_collection(
            "py-main",
            metadata={"title": "main", "year": 2026, "share": 0.5, "open": True},
            configuration={"hnsw": {"space": "l2", "ef_construction": 200, "max_neighbors": 32}},
            embedding_function=None,
        )
    )
    assert (made.name, made.tenant, made.database) == (
        "py-main",
        "default_tenant",
        "default_database",
    )
    assert made.metadata == {"title": "main", "year": 2026, "share": 0.5, "open": True}
    hnsw = made.configuration_json["hnsw"]
    assert (hnsw["space"], hnsw["ef_construction"], hnsw["max_neighbors"]) == ("l2", 200, 32)
    assert await done(made.count()) == 0
    await raises(ChromaError, "already exists", lambda: client.create_collection("py-main"))
    await raises(ChromaError, "name", lambda: client.create_collection("a b"))
    same = await done(client.get_or_create_collection("py-main", embedding_function=None))
    assert (same.id, same.metadata) == (made.id, made.metadata)
    again = await done(client.get_collection("py-main", embedding_function=None))
    assert (again.id, again.configuration_json) == (made.id, made.configuration_json)
    return again


async def fill(collection: Any) -> None:
    await done(
        collection.add(ids=IDS, embeddings=EMBEDDINGS, documents=DOCUMENTS, metadatas=METADATAS)
    )
    assert await done(collection.count()) == 8
    await done(collection.add(ids=IDS[:1], embeddings=[[9.0, 9.0, 9.0]], documents=["another"]))
    everything = await done(collection.get(include=["documents", "metadatas", "embeddings"]))
    assert everything["ids"] == IDS
    assert everything["documents"] == DOCUMENTS, "add must not overwrite"
    assert everything["metadatas"] == METADATAS
    assert [type(row["half"]) for row in everything["metadatas"]] == [float] * 8
    assert np.array_equal(everything["embeddings"], EMBEDDINGS)
    await raises(
        InvalidArgumentError,
        "dimension of 3, got 2",
        lambda: collection.add(ids=["x"], embeddings=[[1.0, 2.0]]),
    )
    some = await done(collection.get(ids=["id-5", "id-1", "nobody"], include=[]))
    assert (some["ids"], some["documents"], some["metadatas"]) == (["id-1", "id-5"], None, None)
    peeked = await done(collection.peek(limit=3))
    assert peeked["ids"] == IDS[:3] and np.array_equal(peeked["embeddings"], EMBEDDINGS[:3])


WHERE: list[tuple[dict[str, Any], list[int]]] = [
    ({"n": 3}, [3]),
    ({"n": {"$eq": 3}}, [3]),
    ({"n": {"$ne": 3}}, [0, 1, 2, 4, 5, 6, 7]),
    ({"n": {"$gt": 5}}, [6, 7]),
    ({"n": {"$gte": 5}}, [5, 6, 7]),
    ({"half": {"$lt": 1.0}}, [0, 1]),
    ({"half": {"$lte": 1.0}}, [0, 1, 2]),
    ({"even": True}, [0, 2, 4, 6]),
    ({"word": {"$in": ["odd", "other"]}}, [1, 3, 5, 7]),
    ({"n": {"$nin": [0, 1, 2, 3]}}, [4, 5, 6, 7]),
    ({"tags": {"$contains": 4}}, [4]),
    ({"tags": {"$not_contains": 4}}, [0, 1, 2, 3, 5, 6, 7]),
    ({"$and": [{"n": {"$gt": 1}}, {"even": True}]}, [2, 4, 6]),
    ({"$or": [{"n": 0}, {"$and": [{"word": "odd"}, {"half": {"$gt": 3.0}}]}]}, [0, 7]),
    ({"nothing": "at all"}, []),
]
WHERE_DOCUMENT: list[tuple[dict[str, Any], list[int]]] = [
    ({"$contains": "eta"}, [1, 5, 6, 7]),
    ({"$not_contains": "eta"}, [0, 2, 3, 4]),
    ({"$regex": "the [a-d]"}, [0, 1, 3]),
    ({"$not_regex": "the [a-d]"}, [2, 4, 5, 6, 7]),
    ({"$or": [{"$contains": "gamma"}, {"$contains": "delta"}]}, [2, 3]),
    ({"$and": [{"$contains": "eta"}, {"$not_contains": "h"}]}, []),
]


async def filters(collection: Any) -> None:
    for where, expected in WHERE:
        found = await done(collection.get(where=where, include=[]))
        assert found["ids"] == [IDS[n] for n in expected], (where, found["ids"])
        nearest = await done(
            collection.query(query_embeddings=[[0.0, 1.0, 0.0]], where=where, include=["distances"])
        )
        assert nearest["ids"] == [[IDS[n] for n in expected]], (where, nearest["ids"])
        assert nearest["distances"] == [[float(n * n) for n in expected]]
    for where_document, expected in WHERE_DOCUMENT:
        found = await done(collection.get(where_document=where_document, include=[]))
        assert found["ids"] == [IDS[n] for n in expected], (where_document, found["ids"])
    both = await done(
        collection.get(ids=IDS[:6], where={"even": False}, where_document={"$contains": "eta"})
    )
    assert both["ids"] == ["id-1", "id-5"]


async def pages(collection: Any) -> None:
    seen = []
    for offset in range(0, 10, 3):
        page = await done(collection.get(limit=3, offset=offset))
        seen.append(page["ids"])
    assert seen == [IDS[:3], IDS[3:6], IDS[6:], []]
    page = await done(collection.get(where={"even": True}, limit=2, offset=1, include=[]))
    assert page["ids"] == ["id-2", "id-4"]


async def query(collection: Any) -> None:
    found = await done(
        collection.query(query_embeddings=[[0.0, 1.0, 0.0], [7.0, 1.0, 0.0]], n_results=2)
    )
    assert found["ids"] == [["id-0", "id-1"], ["id-7", "id-6"]]
    assert found["distances"] == [[0.0, 1.0], [0.0, 1.0]]
    assert found["documents"] == [DOCUMENTS[:2], [DOCUMENTS[7], DOCUMENTS[6]]]
    assert found["metadatas"] == [METADATAS[:2], [METADATAS[7], METADATAS[6]]]
    assert found["embeddings"] is None
    among = await done(
        collection.query(
            query_embeddings=[[0.0, 1.0, 0.0]], ids=["id-6", "id-4", "id-5"], include=["embeddings"]
        )
    )
    assert among["ids"] == [["id-4", "id-5", "id-6"]]
    assert np.array_equal(among["embeddings"][0], EMBEDDINGS[4:7])
    assert (among["documents"], among["metadatas"], among["distances"]) == (None, None, None)
    everything = await done(collection.query(query_embeddings=[[0.0, 1.0, 0.0]], n_results=100))
    assert everything["ids"] == [IDS]
    unknown = {"query_embeddings": [[0.0, 1.0, 0.0]], "ids": ["nobody", "id-3"]}
    if OURS:
        assert (await done(collection.query(**unknown)))["ids"] == [["id-3"]]
    else:
        await raises(ChromaError, "finding id", lambda: collection.query(**unknown))
    await raises(
        InvalidArgumentError,
        "dimension of 3, got 1",
        lambda: collection.query(query_embeddings=[[1.0]]),
    )


async def change(collection: Any) -> None:
    await done(
        collection.update(
            ids=["id-0", "nobody"],
            embeddings=[EMBEDDINGS[0], EMBEDDINGS[1]],
            documents=["a new text", "nothing"],
            metadatas=[{"n": 100, "even": None, "new": "yes"}, {"n": 1}],
        )
    )
    (row,) = (await done(collection.get(ids=["id-0"])))["metadatas"]
    assert row == {"n": 100, "new": "yes", "half": 0.0, "word": "even", "tags": [0, 100]}
    await done(
        collection.upsert(
            ids=["id-1", "id-8"],
            embeddings=[[1.0, 1.0, 1.0], [8.0, 1.0, 0.0]],
            documents=["changed", "ünï ☃ 漢字"],
            metadatas=[{"n": 101}, {"n": 8}],
        )
    )
    assert await done(collection.count()) == 9
    changed = await done(
        collection.get(ids=["id-1", "id-8"], include=["documents", "metadatas", "embeddings"])
    )
    assert changed["documents"] == ["changed", "ünï ☃ 漢字"]
    assert changed["metadatas"] == [METADATAS[1] | {"n": 101}, {"n": 8}]
    assert np.array_equal(changed["embeddings"], [[1.0, 1.0, 1.0], [8.0, 1.0, 0.0]])


async def modify(client: Any, collection: Any) -> Any:
    await done(collection.modify(name="py-renamed", metadata={"title": "renamed"}))
    assert (collection.name, collection.metadata) == ("py-renamed", {"title": "renamed"})
    await done(collection.modify(configuration={"hnsw": {"ef_search": 77}}))
    renamed = await done(client.get_collection("py-renamed", embedding_function=None))
    assert (renamed.id, renamed.metadata) == (collection.id, {"title": "renamed"})
    assert renamed.configuration_json["hnsw"]["ef_search"] == 77
    await raises(NotFoundError, "does not exist", lambda: client.get_collection("py-main"))
    return renamed


async def copy(client: Any, collection: Any) -> None:
    """As the page does it: page by page, here into another distance."""
    target = await done(
        client.create_collection(
            "py-copy", configuration={"hnsw": {"space": "ip"}}, embedding_function=None
        )
    )
    columns = ["documents", "metadatas", "embeddings"]
    for offset in range(0, await done(collection.count()), 4):
        batch = await done(collection.get(include=columns, limit=4, offset=offset))
        await done(target.add(**{name: batch[name] for name in ["ids", *columns]}))
    before, after = [await done(one.get(include=columns)) for one in (collection, target)]
    for name in ["ids", "documents", "metadatas"]:
        assert before[name] == after[name]
    assert np.array_equal(before["embeddings"], after["embeddings"])
    nearest = await done(target.query(query_embeddings=[[1.0, 0.0, 0.0]], n_results=2))
    assert (nearest["ids"], nearest["distances"]) == ([["id-8", "id-7"]], [[-7.0, -6.0]])


async def delete(client: Any, collection: Any) -> None:
    await done(collection.delete(ids=["id-8", "id-0"]))
    assert (await done(collection.get(include=[])))["ids"] == IDS[1:]
    await done(collection.delete(where={"n": {"$gte": 6}}))
    assert (await done(collection.get(include=[])))["ids"] == ["id-2", "id-3", "id-4", "id-5"]
    await done(collection.delete(where_document={"$contains": "eta"}))
    assert (await done(collection.get(include=[])))["ids"] == ["id-2", "id-3", "id-4"]
    nearest = await done(collection.query(query_embeddings=[[0.0, 1.0, 0.0]]))
    assert nearest["ids"] == [["id-2", "id-3", "id-4"]]
    await raises(ValueError, "", lambda: collection.delete())
    names = {one.name for one in await done(client.list_collections())}
    assert {"py-renamed", "py-copy"} <= names
    assert await done(client.count_collections()) == len(names)
    assert len(await done(client.list_collections(limit=1, offset=1))) == 1
    for name in ("py-renamed", "py-copy"):
        await done(client.delete_collection(name))
    await raises(NotFoundError, "does not exist", lambda: client.delete_collection("py-copy"))
    await raises(NotFoundError, "does not exist", collection.count)
    assert await done(client.count_collections()) == len(names) - 2


async def leftovers(client: Any) -> None:
    """Records without metadata have none; in Chroma, lists of deleted collections come back."""
    made = await done(client.create_collection("py-new", embedding_function=None))
    await done(made.add(ids=IDS, embeddings=EMBEDDINGS))
    if OURS:
        assert (await done(made.get()))["metadatas"] == [None] * len(IDS)
    await done(client.delete_collection("py-new"))


async def texts(client: Any, function: EmbeddingFunction[Documents] | None) -> None:
    """Documents and query texts, embedded by a function that the server remembers."""
    chosen = {"embedding_function": function} if function else {}
    made = await done(client.create_collection("py-texts", **chosen))
    await done(made.add(ids=list("abcd"), documents=TEXTS))
    # The later call resolves the function from what the server stored.
    again = await done(client.get_collection("py-texts"))
    stored = again.configuration_json["embedding_function"]
    assert (stored["type"], stored["name"]) == ("known", function.name() if function else "default")
    found = await done(
        again.query(query_texts=["climate"], n_results=2, include=["documents", "distances"])
    )
    assert found["documents"] == [
        ["climate change and the climate", "the weather of the coming century"]
    ]
    expected = [
        np.sum(np.subtract(VECTORS["climate"], VECTORS[text]) ** 2)
        for text in found["documents"][0]
    ]
    assert np.allclose(found["distances"][0], expected, atol=2e-3), (found["distances"], expected)
    await done(again.update(ids=["a"], documents=["climate"]))
    assert (await done(again.query(query_texts=["climate"], n_results=1)))["ids"] == [["a"]]
    await done(client.delete_collection("py-texts"))


async def search(client: Any) -> None:
    """The Search API: Chroma's own single node does not have it."""
    from chromadb import K, Knn, Search

    made = await done(client.create_collection("py-search", embedding_function=None))
    await done(made.add(ids=IDS, embeddings=EMBEDDINGS, documents=DOCUMENTS, metadatas=METADATAS))
    wanted = Search().where(K("even") == True).rank(Knn(query=[0.0, 1.0, 0.0])).limit(2)  # noqa: E712
    wanted = wanted.select(K.DOCUMENT, K.SCORE, "n")
    if "search" in MORE:
        found = await done(made.search(wanted))
        assert found["ids"] == [["id-0", "id-2"]], found
        assert found["scores"] == [[0.0, 4.0]]
        assert found["documents"] == [[DOCUMENTS[0], DOCUMENTS[2]]]
        assert found["metadatas"] == [[{"n": 0}, {"n": 2}]]
    else:
        await raises(ChromaError, "Search", lambda: made.search(wanted))
    await done(client.delete_collection("py-search"))


async def fork(client: Any) -> None:
    """A copy by the server: Chroma's own single node does not have it."""
    made = await done(client.create_collection("py-fork", embedding_function=None))
    await done(made.add(ids=IDS, embeddings=EMBEDDINGS, documents=DOCUMENTS, metadatas=METADATAS))
    if OURS:
        forked = await done(made.fork("py-forked"))
        await done(made.delete(ids=IDS[:4]))
        assert (await done(forked.get(include=[])))["ids"] == IDS
        assert (await done(forked.query(query_embeddings=[[0.0, 1.0, 0.0]], n_results=1)))[
            "ids"
        ] == [["id-0"]]
        await done(client.delete_collection("py-forked"))
    else:
        await raises(ChromaError, "unsupported", lambda: made.fork("py-forked"))
    await done(client.delete_collection("py-fork"))


async def databases(admin: chromadb.api.AdminAPI, host: str, port: int) -> None:
    """Tenants and databases: collections of one are not seen in another."""
    tenant = f"py-tenant-{uuid4()}"  # there is no way to delete one
    admin.create_tenant(tenant)
    assert admin.get_tenant(tenant)["name"] == tenant
    admin.create_database("py-database", tenant=tenant)
    assert [row["name"] for row in admin.list_databases(tenant=tenant)] == ["py-database"]
    inside = chromadb.HttpClient(host=host, port=port, tenant=tenant, database="py-database")
    inside.create_collection("py-inside", embedding_function=None)
    outside = chromadb.HttpClient(host=host, port=port)
    assert "py-inside" not in {one.name for one in outside.list_collections()}
    await raises(NotFoundError, "does not exist", lambda: outside.get_collection("py-inside"))
    assert [one.name for one in inside.list_collections()] == ["py-inside"]
    admin.delete_database("py-database", tenant=tenant)
    await raises(
        NotFoundError, "not found", lambda: admin.get_database("py-database", tenant=tenant)
    )


async def run(client: Any) -> None:
    """The whole life of a few collections."""
    await system(client)
    collection = await create(client)
    await fill(collection)
    await filters(collection)
    await pages(collection)
    await query(collection)
    await change(collection)
    collection = await modify(client, collection)
    await copy(client, collection)
    await delete(client, collection)
    await leftovers(client)
    await texts(client, FixedVectors())
    if find_spec("chromadb.is_thin_client") is None:
        await texts(client, None)
    await search(client)
    await fork(client)


def main() -> None:
    """Sync, then async."""
    address = urlsplit(URL)
    host, port = address.hostname or "localhost", address.port or 80
    asyncio.run(run(chromadb.HttpClient(host=host, port=port)))
    admin = chromadb.AdminClient(
        chromadb.Settings(
            chroma_api_impl="chromadb.api.fastapi.FastAPI",
            chroma_server_host=host,
            chroma_server_http_port=port,
        )
    )
    asyncio.run(databases(admin, host, port))

    async def asynchronous() -> None:
        await run(await chromadb.AsyncHttpClient(host=host, port=port))

    asyncio.run(asynchronous())


if __name__ == "__main__":
    main()
