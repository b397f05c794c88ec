"""Our clients against our server: a real process, and what the wire leaves to the client."""

from __future__ import annotations

import asyncio
import os
import runpy
import threading
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import in_process
import vermilion
from vermilion.engine import Engine
from vermilion.errors import BatchTooLargeError, UnsupportedError
from vermilion.local.engine import LocalEngine
from vermilion.query.search import Search, Where
from vermilion.remote.engine import RemoteEngine
from vermilion.remote.target import Target
from vermilion.remote.transport import Threaded
from words import HERE, cells, ids, make, numbered, rows, where

RUNNER = runpy.run_path(
    str(Path(__file__).parent.parent / "examples" / "collections" / "python" / "run.py")
)

# ── a process ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server in a process of its own."""
    with RUNNER["server"](tmp_path_factory.mktemp("database")) as environment:
        yield f"http://127.0.0.1:{environment['CHROMA_SERVER_HTTP_PORT']}"


def test_threads_share_a_client(url: str) -> None:
    with vermilion.HttpClient(url) as client:
        notes = client.create_collection("shared", embedding_function=None)
        threads = [threading.Thread(target=notes.add, args=[[f"{n}"], [[n, 1]]]) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert notes.count() == 20
        assert notes.query([[7, 1]], n_results=1, exact=True)["ids"] == [["7"]]
        assert notes.stats().rows == 20
        assert client.check() == []


def test_hundreds_of_requests_wait_without_threads(url: str) -> None:
    async def main() -> None:
        async with vermilion.AsyncHttpClient(url) as client:
            notes = await client.create_collection("awaited", embedding_function=None)
            before = threading.active_count()
            await asyncio.gather(*[notes.add([f"{n}"], [[n, 1]]) for n in range(300)])
            found = await asyncio.gather(*[notes.query([[n, 1]], n_results=1) for n in range(300)])
            assert [one["ids"] for one in found] == [[[f"{n}"]] for n in range(300)]
            assert threading.active_count() == before
            assert await notes.why_not("7", [[8, 1]], n_results=1)
            copy = await notes.fork("copied")
            assert await copy.count() == 300

    asyncio.run(main())


def test_a_function_that_embeds_works_in_a_thread(url: str) -> None:
    async def main() -> None:
        here = threading.get_ident()
        seen = []

        class Noting(vermilion.EmbeddingFunction[Any]):
            def __call__(self, input: Any) -> Any:
                seen.append(threading.get_ident())
                return [[float(len(text)), 1.0] for text in input]

        async with vermilion.AsyncHttpClient(url) as client:
            notes = await client.create_collection("texts", embedding_function=Noting())
            await notes.add(ids=["a", "b"], documents=["one", "three"])
            assert (await notes.query(query_texts=["two"], n_results=1))["ids"] == [["a"]]
        assert len(seen) == 2
        assert here not in seen

    asyncio.run(main())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_the_child_of_a_fork_goes_on(url: str) -> None:
    with vermilion.HttpClient(url) as client:
        notes = client.create_collection("forked", embedding_function=None)
        notes.add(["parent"], [[1.0]])
        child = os.fork()
        if not child:
            code = 1
            try:
                notes.add(["child"], [[2.0]])
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert notes.get()["ids"] == ["parent", "child"]


# ── what a server can do ─────────────────────────────────────────────────────────────────────────


@pytest.fixture
def plain() -> Iterator[Engine]:
    """A server that knows nothing of ours and reads no base64."""
    local = LocalEngine()
    with in_process.reached("remote", local) as reached:
        assert isinstance(reached, RemoteEngine)
        inner = reached._transport._connect()  # type: ignore[attr-defined]
        yield RemoteEngine(Threaded(Target(in_process.TARGET.url), lambda: Plain(inner)))


class Plain(httpx.BaseTransport):
    """A connection to a server that is not ours."""

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self._inner = inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/extensions"):
            return httpx.Response(404)
        if request.url.path.endswith("/pre-flight-checks"):
            return httpx.Response(200, json={"max_batch_size": 10})
        assert b'embeddings":["' not in request.content
        return self._inner.handle_request(request)


def test_vectors_go_as_numbers_where_base64_is_not_read(plain: Engine) -> None:
    address = make(plain)
    vectors = np.random.default_rng(1).standard_normal((3, 5)).astype(np.float32)
    plain.add(address, rows("a b c", vectors.tolist()))
    got = plain.get(address, columns=("vectors",)).vectors
    assert got is not None
    assert (got == vectors).all()
    assert [hits.records.ids[0] for hits in plain.query(address, vectors, 1)] == ["a", "b", "c"]


def test_vectors_of_queries_go_as_base64_where_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bytes] = []
    handle = in_process.Connection.handle_request

    def noted(self: in_process.Connection, request: httpx.Request) -> httpx.Response:
        sent.append(request.read())
        return handle(self, request)

    monkeypatch.setattr(in_process.Connection, "handle_request", noted)
    with in_process.reached("remote", LocalEngine()) as remote:
        address = make(remote)
        remote.add(address, rows("a", [[1.0, 2.0]]))
        [hits] = remote.query(address, np.array([[1, 2]], np.float32), 1)
    assert hits.records.ids == ["a"]
    assert b'"query_embeddings":["AACAPwAAAEA="]' in sent[-1]


def test_a_batch_is_refused_before_it_is_sent(plain: Engine) -> None:
    address = make(plain)
    with pytest.raises(BatchTooLargeError, match="Batch size 11 exceeds maximum batch size 10"):
        plain.add(address, numbered(11))
    assert plain.count(address) == 0


@pytest.mark.parametrize(
    ("filter", "told"),
    [
        ({"n": {"$exists": True}}, r"'filters' \(\$exists on 'n'\)"),
        ({"n": {"$not": {"$gt": 1}}}, r"\$not on 'n'"),
        ({"n": date(2024, 2, 29)}, r"a time as the operand of \$eq on 'n'"),
        ({"#document": {"$icontains": "x"}}, r"\$icontains on '#document'"),
    ],
)
def test_a_filter_that_the_server_does_not_know_is_named(
    plain: Engine, filter: Any, told: str
) -> None:
    address = make(plain)
    plain.add(address, rows("a"))
    for call in (
        lambda: plain.get(address, where(filter)),
        lambda: plain.count(address, where(filter)),
        lambda: plain.delete(address, where(filter)),
        lambda: plain.query(address, np.ones((1, 2), np.float32), 1, where(filter)),
        lambda: plain.search(address, [Search(Where.from_dict(filter))]),
    ):
        with pytest.raises(UnsupportedError, match=told):
            call()
    assert plain.count(address) == 1


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"a": 1}, r"'typed' \(a dict in 'k'\)"),
        (date(2024, 2, 29), "a date in 'k'"),
        ([1, "a"], "a mixed list in 'k'"),
        ([], "an empty list in 'k'"),
        ([date(2024, 2, 29)], "times in 'k'"),
    ],
)
def test_metadata_that_the_server_does_not_store_are_named(
    plain: Engine, value: Any, told: str
) -> None:
    address = make(plain)
    for verb in (plain.add, plain.upsert, plain.update):
        with pytest.raises(UnsupportedError, match=told):
            verb(address, rows("a", metadatas=[{"k": value}]))
    assert plain.count(address) == 0


def test_what_can_be_spelled_out_is_sent(plain: Engine) -> None:
    address = make(plain)
    plain.add(address, rows("a b", metadatas=[{"n": 1, "l": ["x", "y"]}, {"n": 2}]))
    for filter in (
        {"n": {"$between": [0, 1]}, "l": {"$all": ["x", "y"]}},
        {"n": {"$in": ["z", 1]}},
        {"n": {"$not": {"$eq": 2}}},
    ):
        assert plain.get(address, where(filter)).ids == ["a"]


def test_what_the_server_does_not_know_is_not_asked_of_it(plain: Engine) -> None:
    address = make(plain)
    plain.add(address, rows("a"))
    for call in (
        lambda: plain.flush(address),
        lambda: plain.check(),
        lambda: plain.delete(address, ids("a"), secure=True),
        lambda: plain.update(address, cells("a", clear=frozenset({"documents"}))),
        lambda: plain.add(address, rows("b"), new_only=True),
        lambda: plain.add(address, rows("b"), named=True),
        lambda: plain.upsert(address, rows("b"), named=True),
        lambda: plain.update(address, rows("a"), named=True),
        lambda: plain.delete(address, ids("a"), named=True),
        lambda: plain.update_where(address, ids("a"), {"n": 1}, named=True),
    ):
        with pytest.raises(UnsupportedError, match="it is one of Chroma"):
            call()
    assert plain.count(address) == plain.count(address, ids("a b")) == 1
    assert plain.get_collection("things", *HERE).id == address.collection


def test_pages_are_counted_where_keys_are_not_told(plain: Engine) -> None:
    address = make(plain)
    plain.add(address, numbered(7))
    told, after = list[str](), None
    while True:
        page = plain.page(address, rows=3, after=after)
        told += page.records.ids
        if page.next is None:
            break
        after = page.next
    assert told == [*"0123456"]


def test_what_matches_is_changed_record_by_record_in_batches(plain: Engine) -> None:
    address = make(plain)
    for start in (0, 10):
        plain.add(address, numbered(10, start, metadatas=[{"n": 1}] * 10))
    plain.add(address, numbered(1, 20))
    done = plain.update_where(address, where({"n": 1}), {"n": None, "m": 2})
    assert done.updated == 20
    found = plain.get(address, columns=("metadatas",)).metadatas
    assert found == [{"m": 2}] * 20 + [None]
