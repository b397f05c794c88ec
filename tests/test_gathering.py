"""Queries that come at the same time are asked together, and answered as if each were alone."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import httpx

from served import HERE, NOBODY, Served, served
from vermilion.server.exchange import REQUESTS


def without_patience(monkeypatch: Any) -> None:
    """One call at a time in a thread, however long it takes."""
    monkeypatch.setattr("vermilion.server.gathering.QUICK", 0)
    monkeypatch.setattr("vermilion.gathering.PATIENCE", 60)
    monkeypatch.setattr("vermilion.gathering.AT_ONCE", 1)


class Watched:
    """An engine that notes how many vectors each query has, and may be made to wait."""

    def __init__(self, server: Served, *, hold: int = 0) -> None:
        self.sizes: list[int] = []
        self.go_on = threading.Event()
        self._hold = hold
        self._engine = server.app.engine
        server.app._gathering._engine = self  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def query(self, address: Any, vectors: Any, *rest: Any) -> Any:
        self.sizes.append(len(vectors))
        if len(self.sizes) <= self._hold:
            assert self.go_on.wait(30)
        return self._engine.query(address, vectors, *rest)


def asked_at_once(
    server: Served, watched: Watched, first: dict[str, Any], *others: dict[str, Any],
    path: str,
) -> list[httpx.Response]:  # fmt: skip
    """Answers to queries of which the first is held up until all others have come."""

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=server.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            tasks = [asyncio.create_task(client.post(f"{path}/query", json=first))]
            while not watched.sizes:
                await asyncio.sleep(0.001)
            for body in others:
                tasks.append(asyncio.create_task(client.post(f"{path}/query", json=body)))
            while server.app._inside <= len(others):
                await asyncio.sleep(0.001)
            watched.go_on.set()
            return await asyncio.gather(*tasks)

    return asyncio.run(ask())


def near(x: float, **more: Any) -> dict[str, Any]:
    return {"query_embeddings": [[x, 0]], "n_results": 2, **more}


def test_queries_that_wait_become_one_call(monkeypatch: Any) -> None:
    without_patience(monkeypatch)
    bodies = [near(1), near(3), near(2.9), {"query_embeddings": [[1, 0], [3, 0]], "n_results": 2}]
    with served() as server:
        path = server.filled()
        alone = [server.post(f"{path}/query", body).json() for body in bodies]
        watched = Watched(server, hold=1)
        answers = asked_at_once(server, watched, *bodies, path=path)
        assert [answer.json() for answer in answers] == alone
        assert watched.sizes == [1, 4]


def test_queries_that_differ_in_more_than_their_vectors_do_not(monkeypatch: Any) -> None:
    without_patience(monkeypatch)
    bodies = [
        near(1),
        near(3, where={"n": 1}),
        near(3, where={"n": 2}),
        near(3, where={"n": 1}),
        near(3, ids=["c"]),
        near(3, include=["documents"]),
        {"query_embeddings": [[3, 0]], "n_results": 1},
    ]
    with served() as server:
        path = server.filled()
        alone = [server.post(f"{path}/query", body).json() for body in bodies]
        watched = Watched(server, hold=1)
        answers = asked_at_once(server, watched, *bodies, path=path)
        assert [answer.json() for answer in answers] == alone
        assert sorted(watched.sizes) == [1, 1, 1, 1, 1, 2]


def test_each_gets_its_own_error(monkeypatch: Any) -> None:
    without_patience(monkeypatch)
    with served() as server:
        path = server.filled()
        watched = Watched(server, hold=1)
        wrong = {"query_embeddings": [[1, 2, 3]]}
        answers = asked_at_once(server, watched, near(1), wrong, near(3), wrong, path=path)
        assert [answer.status_code for answer in answers] == [200, 400, 200, 400]
        assert "dimension" in answers[1].json()["message"]
        nowhere = f"{HERE}/collections/{NOBODY}"
        assert server.post(f"{nowhere}/query", near(1)).status_code == 404
        server.app._pool.shutdown()
        assert all(line.is_empty for line in server.app._gathering._lines.values())


def test_a_slow_query_holds_up_the_others_only_for_a_moment() -> None:
    with served() as server:
        path = server.filled()
        watched = Watched(server, hold=1)

        async def ask() -> None:
            transport = httpx.ASGITransport(app=server.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
                first = asyncio.create_task(client.post(f"{path}/query", json=near(1)))
                while not watched.sizes:
                    await asyncio.sleep(0.001)
                answer = await client.post(f"{path}/query", json=near(3))
                assert answer.json()["ids"] == [["c", "b"]]
                assert not first.done()
                watched.go_on.set()
                assert (await first).json()["ids"] == [["a", "b"]]

        asyncio.run(ask())


def test_who_waits_too_long_is_told() -> None:
    with served(request_timeout=0.05) as server:
        path = server.filled()
        watched = Watched(server, hold=1)
        answer = server.post(f"{path}/query", near(1))
        watched.go_on.set()
        assert answer.status_code == 503
        assert "longer than 0.05 seconds" in answer.json()["message"]


def test_large_queries_are_asked_alone() -> None:
    with served() as server:
        path = server.filled()
        watched = Watched(server)
        assert server.post(f"{path}/query", {**near(1), "n_results": 1_000}).status_code == 200
        many = {"query_embeddings": [[1, 0]] * 100, "n_results": 1}
        assert len(server.post(f"{path}/query", many).json()["ids"]) == 100
        none: dict[str, Any] = {"query_embeddings": []}
        assert server.post(f"{path}/query", none).json()["ids"] == []
        assert watched.sizes == []


class Noting:
    """An engine that notes whether the thread of the event loop was asked."""

    def __init__(self, server: Served) -> None:
        self.inside: list[bool] = []
        self._engine = server.app.engine
        server.app._gathering._engine = self  # type: ignore[assignment]

    def query(self, *arguments: Any) -> Any:
        self.inside.append("request" not in threading.current_thread().name)
        return self._engine.query(*arguments)


def test_who_asks_while_the_server_stops_is_told() -> None:
    with served() as server:
        path = server.filled()
        server.app._pool.shutdown()
        assert server.post(f"{path}/query", near(1)).status_code == 500
        assert all(line.is_empty for line in server.app._gathering._lines.values())


def test_a_query_that_will_be_quick_needs_no_thread(monkeypatch: Any) -> None:
    monkeypatch.setattr("vermilion.server.gathering.QUICK", 60)
    with served() as server:
        path = server.filled()
        noting = Noting(server)

        def ask(**more: Any) -> bool:  # whether the thread of the event loop was asked
            assert server.post(f"{path}/query", near(3, **more)).status_code == 200
            return noting.inside.pop()

        assert [ask(), ask(), ask()] == [False, True, True]
        assert ask(where={"n": 2}) is False  # may take long
        assert ask(ids=["c"]) is False
        assert ask() is True
        server.post(f"{path}/upsert", {"ids": ["a"], "embeddings": [[1, 0]]})
        assert [ask(), ask()] == [False, True]  # there was something to catch up with
        wrong = server.post(f"{path}/query", {"query_embeddings": [[1, 2, 3]]})
        assert wrong.status_code == 400
        monkeypatch.setattr("vermilion.server.gathering.QUICK", 0)
        assert [ask(), ask(), ask()] == [True, False, False]  # the first was slow


def test_a_query_that_is_alone_waits_for_nobody(monkeypatch: Any) -> None:
    monkeypatch.setattr("vermilion.server.gathering.QUICK", 60)
    with served() as server:
        path = server.filled()
        assert server.post(f"{path}/query", near(3)).status_code == 200  # the next will be quick
        body = json.dumps(near(3)).encode()
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": body}

        async def send(message: Any) -> None:
            sent.append(message)

        async def waits(*requests: object) -> bool:  # whether others have a turn before the answer
            scope = {
                "type": "http",
                "method": "POST",
                "path": f"{path}/query",
                "query_string": b"",
                "headers": [(b"content-type", b"application/json")],
                "state": {REQUESTS: requests},
            }
            begun = server.app(scope, receive, send)
            try:
                begun.send(None)
            except StopIteration:
                return False
            begun.close()
            return True

        async def ask() -> list[bool]:
            return [await waits(1), await waits(1, 2)]

        assert asyncio.run(ask()) == [False, True]
        assert json.loads(sent[1]["body"])["ids"][0][0] == "c"
