"""An answer's head goes with its body: what the transport is given, and what a client reads."""

import asyncio
import json
import socket
from pathlib import Path
from typing import Any, cast

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from processes import running
from vermilion.server.protocol import JOINED, BoundedProtocol, Whole

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


class Wire:
    """Remembers what is written to it."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written.append(data)

    def close(self) -> None:
        self.closed = True

    def get_write_buffer_size(self) -> int:
        return 7


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def whole(wire: Wire) -> Whole:
    return Whole(cast(Any, wire))


def test_head_and_body_are_one(wire: Wire, whole: Whole) -> None:
    for _ in range(2):
        whole.write(HEAD)
        assert not wire.written
        whole.write(b"{}")
        assert wire.written == [HEAD + b"{}"]
        wire.written.clear()


def test_a_body_may_look_like_a_head(wire: Wire, whole: Whole) -> None:
    whole.write(HEAD)
    whole.write(HEAD)
    assert wire.written == [HEAD * 2]


def test_long_bodies_are_not_copied(wire: Wire, whole: Whole) -> None:
    body = b"x" * (JOINED + 1)
    whole.write(HEAD)
    whole.write(body)
    assert wire.written[0] == HEAD and wire.written[1] is body


def test_what_has_no_body_is_flushed(wire: Wire, whole: Whole) -> None:
    whole.write(HEAD)
    whole.flush()
    whole.flush()
    assert wire.written == [HEAD]


def test_nothing_is_kept_when_it_closes(wire: Wire, whole: Whole) -> None:
    whole.write(HEAD)
    whole.close()
    assert wire.written == [HEAD] and wire.closed


def test_a_call_to_go_on_goes_at_once(wire: Wire, whole: Whole) -> None:
    whole.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert len(wire.written) == 1


def test_all_else_is_the_transport_itself(whole: Whole) -> None:
    assert whole.get_write_buffer_size() == 7


@pytest.mark.parametrize(("method", "body"), [(b"GET", b"{}"), (b"HEAD", b"")])
def test_connections_write_an_answer_at_once(method: bytes, body: bytes) -> None:
    class Connection(Wire, asyncio.Transport):
        def __init__(self) -> None:
            asyncio.Transport.__init__(self)
            Wire.__init__(self)

        def is_closing(self) -> bool:
            return self.closed

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if method == b"HEAD" else body})

    async def answered() -> list[bytes]:
        config = Config(app)
        config.load()
        protocol, connection = BoundedProtocol(config, ServerState(), {}), Connection()
        protocol.connection_made(connection)
        protocol.data_received(method + b" / HTTP/1.1\r\nhost: x\r\n\r\n")
        await asyncio.gather(*protocol.tasks)
        written = [*connection.written]  # before the end of the connection, which flushes
        protocol.connection_lost(None)
        return written

    [said] = asyncio.run(answered())
    assert said.startswith(b"HTTP/1.1 200 OK\r\n") and said.endswith(b"\r\n\r\n" + body)


def test_a_connection_goes_on_after_every_kind(tmp_path: Path) -> None:
    """HEAD, one that waits to be told to go on, an error, and what was asked before them."""
    url = b"/api/v2/tenants/default_tenant/databases/default_database/collections"
    asked = [
        b"HEAD /api/v2/version HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /api/v2/nothing HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /api/v2/version HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    ]
    with (
        running(tmp_path / "database") as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection,
    ):
        head = b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: 15\r\nexpect: 100-continue\r\n\r\n"
        connection.sendall(head % url)
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b'{"name":"note"}' + b"".join(asked))
        with connection.makefile("rb") as said:
            answers = said.read().split(b"HTTP/1.1 ")[1:]
    assert [answer[:3] for answer in answers] == [b"200", b"200", b"404", b"200"]
    bodies = [answer.split(b"\r\n\r\n", 1)[1] for answer in answers]
    assert bodies[1] == b"" and json.loads(bodies[0])["name"] == "note"
    assert json.loads(bodies[2])["error"] and json.loads(bodies[3])
