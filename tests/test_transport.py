"""How requests reach a server: connections, patience, retries. On threads and on an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from vermilion import bridge
from vermilion.errors import ArgumentValueError, ServerTimeoutError, UnreachableError
from vermilion.remote import transport
from vermilion.remote.connections import Answer
from vermilion.remote.target import Target, server_url
from vermilion.remote.transport import OnLoop, Threaded, Transport
from vermilion.wire.operation import Call

READ = Call("POST", "/get", b"{}", safe=True)
WRITE = Call("POST", "/add", b"{}")
NEAR = "http://localhost:8000/api/v2"
FAR = "https://example.org/api/v2"

Handler = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(params=[Threaded, OnLoop])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited before sending again; nobody really waits."""
    seen: list[float] = []
    monkeypatch.setattr(Threaded, "_pause", lambda self, seconds: seen.append(seconds))
    monkeypatch.setattr(OnLoop, "_pause", lambda self, seconds: seen.append(seconds))
    return seen


def send(sender: Transport, call: Call) -> Answer:
    if isinstance(sender, Threaded):
        return sender.send(call)
    return asyncio.run(bridge.run(sender.send, call))


def answering(kind: Any, handler: Handler, **options: Any) -> Transport:
    made: Transport = kind(Target(**{"url": NEAR} | options), lambda: httpx.MockTransport(handler))
    return made


def one_after_the_other(*steps: Any) -> tuple[Handler, list[httpx.Request]]:
    """A server that does a step for each request: an answer, or an error of the connection."""
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        step = steps[len(seen) - 1]
        if isinstance(step, Exception):
            raise step
        return step if isinstance(step, httpx.Response) else httpx.Response(step)

    return handler, seen


# ── retries ──────────────────────────────────────────────────────────────────────────────────────


def test_an_answer_is_an_answer_whatever_its_status(kind: Any, pauses: list[float]) -> None:
    for status in (200, 201, 400, 404, 409, 413, 500):
        handler, seen = one_after_the_other(httpx.Response(status, content=b"[1]"))
        answer = send(answering(kind, handler), READ)
        assert (answer.status, answer.body, len(seen)) == (status, b"[1]", 1)
    assert pauses == []


@pytest.mark.parametrize("call", [READ, WRITE])
def test_what_did_not_reach_the_server_is_sent_again(
    kind: Any, call: Call, pauses: list[float]
) -> None:
    refused = httpx.ConnectError("refused")
    handler, seen = one_after_the_other(refused, refused, 200)
    assert send(answering(kind, handler), call).status == 200
    assert len(seen) == 3
    assert 0.05 <= pauses[0] <= 0.15 and 0.1 <= pauses[1] <= 0.3


def test_nobody_is_asked_for_ever(kind: Any, pauses: list[float]) -> None:
    handler, seen = one_after_the_other(*[httpx.ConnectError("refused")] * 4)
    with pytest.raises(UnreachableError, match="Could not connect to a Chroma server") as caught:
        send(answering(kind, handler), READ)
    assert len(seen) == 4
    assert not caught.value.sent
    assert "vermilion run --path my_data --port 8000" in str(caught.value)
    assert isinstance(caught.value, ConnectionError)
    assert isinstance(caught.value, ValueError)


def test_a_broken_connection_repeats_only_what_is_safe(kind: Any, pauses: list[float]) -> None:
    broken = httpx.ReadError("reset by peer")
    handler, seen = one_after_the_other(broken, 200)
    assert send(answering(kind, handler), READ).status == 200
    handler, seen = one_after_the_other(broken)
    with pytest.raises(UnreachableError, match="Whether the server did it is not known") as caught:
        send(answering(kind, handler), WRITE)
    assert caught.value.sent
    assert len(seen) == 1


def test_silence_ends_a_request_and_is_not_asked_again(kind: Any, pauses: list[float]) -> None:
    handler, seen = one_after_the_other(httpx.ReadTimeout("silence"))
    with pytest.raises(
        ServerTimeoutError, match="silent for 120 seconds after POST /get"
    ) as caught:
        send(answering(kind, handler), READ)
    assert isinstance(caught.value, TimeoutError)
    assert len(seen) == 1


@pytest.mark.parametrize("call", [READ, WRITE])
@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_says_when_to_come_back(
    kind: Any, call: Call, status: int, pauses: list[float]
) -> None:
    busy = httpx.Response(status, headers={"Retry-After": "7"})
    handler, seen = one_after_the_other(busy, busy, 200)
    assert send(answering(kind, handler), call).status == 200
    assert pauses == [7.0, 7.0]


def test_what_the_server_says_last_is_the_answer(kind: Any, pauses: list[float]) -> None:
    handler, seen = one_after_the_other(429, 429, 429, 429)
    assert send(answering(kind, handler), WRITE).status == 429
    assert len(seen) == 4
    handler, seen = one_after_the_other(httpx.Response(503, headers={"Retry-After": "3600"}))
    assert send(answering(kind, handler), READ).status == 503
    handler, seen = one_after_the_other(429)
    assert send(answering(kind, handler, retries=0), READ).status == 429


def test_a_gateway_without_its_server_repeats_only_what_is_safe(
    kind: Any, pauses: list[float]
) -> None:
    handler, _ = one_after_the_other(502, 503, 504, 200)
    assert send(answering(kind, handler), READ).status == 200
    handler, seen = one_after_the_other(503)
    assert send(answering(kind, handler), WRITE).status == 503
    assert len(seen) == 1


# ── requests ─────────────────────────────────────────────────────────────────────────────────────


def test_what_a_request_carries(kind: Any) -> None:
    handler, seen = one_after_the_other(200, 200)
    send(answering(kind, handler, headers={"X-Chroma-Token": "secret"}), WRITE)
    send(answering(kind, handler, url=FAR, timeout=None), Call("GET", "/a%2Fb?limit=1"))
    near, far = seen
    assert (near.method, str(near.url), near.content) == ("POST", f"{NEAR}/add", b"{}")
    assert near.headers["host"] == "localhost:8000"
    assert near.headers["x-chroma-token"] == "secret"
    assert near.headers["content-type"] == "application/json"
    assert near.headers["user-agent"].startswith("vermilion/")
    assert near.headers["accept-encoding"] == "identity"
    assert far.headers["accept-encoding"] == "gzip"
    assert far.url.raw_path == b"/api/v2/a%2Fb?limit=1"
    assert near.extensions["timeout"]["read"] == 120
    assert far.extensions["timeout"]["read"] is None


def test_a_secret_is_not_shown() -> None:
    assert "secret" not in repr(Target(NEAR, {"Authorization": "Bearer secret"}))


def test_a_patient_call_waits_as_long_as_it_takes(kind: Any) -> None:
    handler, seen = one_after_the_other(200)
    send(answering(kind, handler), Call("POST", "/compact", patient=True))
    assert seen[0].extensions["timeout"]["read"] is None
    assert seen[0].extensions["timeout"]["connect"] == 10


# ── connections ──────────────────────────────────────────────────────────────────────────────────


class Line(httpx.MockTransport):
    """A connection that notes when it is closed."""

    closed = False

    def close(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.closed = True


def test_threads_share_connections_that_are_free() -> None:
    lines: list[Line] = []
    barrier = threading.Barrier(3)

    def handler(request: httpx.Request) -> httpx.Response:
        barrier.wait(60)
        return httpx.Response(200)

    def connect() -> Line:
        lines.append(Line(handler))
        return lines[-1]

    sender = Threaded(Target(NEAR), connect)
    for _ in range(2):
        threads = [threading.Thread(target=sender.send, args=[READ]) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(lines) == 3
    sender.close()
    sender.close()
    assert all(line.closed for line in lines)


def test_tasks_wait_for_a_free_connection() -> None:
    lines: list[Line] = []
    running = most = 0

    async def handler(request: httpx.Request) -> httpx.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return httpx.Response(200)

    def connect() -> Line:
        lines.append(Line(handler))
        return lines[-1]

    async def main() -> None:
        sender = OnLoop(Target(NEAR, max_connections=10), connect)
        calls = [bridge.run(sender.send, READ) for _ in range(300)]
        assert {answer.status for answer in await asyncio.gather(*calls)} == {200}
        await bridge.run(sender.close)

    asyncio.run(main())
    assert len(lines) == most == 10
    assert all(line.closed for line in lines)


def test_a_cancelled_request_closes_its_connection() -> None:
    lines: list[Line] = []

    async def main() -> None:
        reached, forever = asyncio.Event(), asyncio.Event()

        async def handler(request: httpx.Request) -> httpx.Response:
            reached.set()
            if len(lines) == 1:
                await forever.wait()
            return httpx.Response(200)

        def connect() -> Line:
            lines.append(Line(handler))
            return lines[-1]

        sender = OnLoop(Target(NEAR, max_connections=1), connect)
        task = asyncio.create_task(bridge.run(sender.send, READ))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert lines[0].closed
        assert (await bridge.run(sender.send, READ)).status == 200

    asyncio.run(main())
    assert len(lines) == 2


def test_a_client_goes_on_in_another_event_loop() -> None:
    handler, _ = one_after_the_other(200, 200)
    sender = answering(OnLoop, handler)
    assert [send(sender, READ).status for _ in range(2)] == [200, 200]


# ── sockets ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def port() -> Iterator[int]:
    """A server that answers every second request and cuts the connection at the others."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_serve, args=[listener], daemon=True).start()
        yield listener.getsockname()[1]


def _serve(listener: socket.socket) -> None:
    served = 0
    with contextlib.suppress(OSError):  # closed at the end of the test
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.recv(10_000)
                served += 1
                if served % 2 == 0:
                    head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
                    connection.sendall(head + b"42")


def test_a_cut_connection(kind: Any, port: int, pauses: list[float]) -> None:
    sender = kind(Target(server_url("127.0.0.1", port, False)))
    assert send(sender, READ).body == b"42"
    with pytest.raises(UnreachableError, match="broke in POST /add"):
        send(sender, WRITE)
    assert send(sender, READ).body == b"42"


def test_nobody_listens(kind: Any, pauses: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(UnreachableError, match=f"at http://127.0.0.1:{port}/api/v2: .*refused"):
        send(kind(Target(server_url("127.0.0.1", port, False))), WRITE)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_a_child_of_a_fork_makes_connections_of_its_own() -> None:
    lines: list[Line] = []
    handler, _ = one_after_the_other(200, 200)

    def connect() -> Line:
        lines.append(Line(handler))
        return lines[-1]

    sender = Threaded(Target(NEAR), connect)
    sender.send(READ)
    child = os.fork()
    if not child:
        code = 1
        try:
            sender.send(READ)
            code = 0 if len(lines) == 2 and lines[0].closed else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not lines[0].closed


# ── where it is ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arguments", "url"),
    [
        (("localhost", 8000, False), "http://localhost:8000/api/v2"),
        (("example.org", "443", True), "https://example.org:443/api/v2"),
        (("::1", 8000, False), "http://[::1]:8000/api/v2"),
        (("http://h:1234", 8000, False), "http://h:1234/api/v2"),
        (("https://h/prefix/", 8000, False), "https://h/prefix/api/v2"),
        (("https://h/prefix/api/v2", 8000, False), "https://h/prefix/api/v2"),
    ],
)
def test_the_address_of_a_server(arguments: tuple[Any, Any, Any], url: str) -> None:
    assert server_url(*arguments) == url


@pytest.mark.parametrize(
    ("host", "port", "words"),
    [
        ("h/prefix", 8000, "Invalid URL"),
        ("ftp://h", 8000, "Unrecognized protocol - 'ftp'"),
        ("http://", 8000, "Invalid URL"),
        ("http://h?x=1", 8000, "no ?"),
        ("", 8000, "Expected host"),
        ("h", "abc", "Expected port"),
        ("h", 0, "from 1 to 65535"),
    ],
)
def test_what_is_no_address(host: str, port: Any, words: str) -> None:
    with pytest.raises(ArgumentValueError) as caught:
        server_url(host, port, False)
    assert words in str(caught.value)


def test_the_environment_names_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", "inside.org")
    assert transport._proxy(FAR) == "http://proxy:3128"
    assert transport._proxy("https://inside.org:8000/api/v2") is None
    monkeypatch.delenv("HTTPS_PROXY")
    assert transport._proxy(FAR) is None


def test_certificates_are_checked_unless_told_otherwise() -> None:
    import ssl

    context = transport._certificates(Target(FAR, verify=False))
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)
    context = transport._certificates(Target(FAR))
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    with pytest.raises(FileNotFoundError):
        transport._certificates(Target(FAR, verify="no_such_file.pem"))
