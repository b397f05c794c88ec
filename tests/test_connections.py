"""A connection that nobody is between: what it sends and what it makes of answers, as bytes."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from vermilion.errors import ArgumentValueError
from vermilion.remote.connections import JOINED, Answer, Broken, Direct, Silent, Unconnected
from vermilion.remote.target import Target
from vermilion.wire.operation import Call

READ = Call("POST", "/get", b"{}", safe=True)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n42"
TWO = b"2\r\n42\r\n0\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


Said = bytes | tuple[bytes, ...] | None


class Server:
    """Answers requests with these bytes, a tuple in pieces; None: it closes the connection."""

    def __init__(self, answers: list[Said], *, deaf: bool = False) -> None:
        self.requests: list[bytes] = []
        self.pieces = 0
        self.connections = 0
        self._answers = answers
        self._deaf = deaf
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):  # closed at the end of the test
            while self._answers:
                line, _ = self._listener.accept()
                self.connections += 1
                with line:
                    while self._answers and (self._deaf or self._request(line)):
                        answer = self._answers.pop(0)
                        if answer is None:
                            break
                        pieces = answer if isinstance(answer, tuple) else (answer,)
                        for number, piece in enumerate(pieces):
                            time.sleep(0.02 * min(number, 1))
                            line.sendall(piece)
                        if b"close" in pieces[0]:
                            break

    def _request(self, line: socket.socket) -> bool:
        """Whether one more came."""
        data = b""
        while True:
            piece = line.recv(10_000_000)
            if not piece:
                return False
            self.pieces += 1
            data += piece
            head, end, body = data.partition(b"\r\n\r\n")
            wanted = [one for one in head.split(b"\r\n") if one.startswith(b"Content-Length")]
            if end and len(body) >= (int(wanted[0].split()[1]) if wanted else 0):
                self.requests.append(data)
                return True


@contextmanager
def serving(*answers: Said, deaf: bool = False) -> Iterator[Server]:
    server = Server([*answers], deaf=deaf)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def connected(port: int, path: str = "/api/v2", **options: float) -> Iterator[Direct]:
    target = Target(f"http://127.0.0.1:{port}{path}", **options)  # type: ignore[arg-type]
    line = Direct(target, {"X-Chroma-Token": "secret"}, None)
    try:
        yield line
    finally:
        line.close()


# ── what is sent ─────────────────────────────────────────────────────────────────────────────────


def test_a_small_request_leaves_as_one_piece() -> None:
    with serving(OK, OK) as server, connected(server.port) as line:
        assert line.exchange(READ) == Answer(200, {"content-length": "2"}, b"42")
        line.exchange(Call("GET", "/a%2Fb?limit=1"))
    head = f"Host: 127.0.0.1:{server.port}\r\nX-Chroma-Token: secret\r\n".encode()
    assert server.requests == [
        b"POST /api/v2/get HTTP/1.1\r\n" + head + b"Content-Length: 2\r\n\r\n{}",
        b"GET /api/v2/a%2Fb?limit=1 HTTP/1.1\r\n" + head + b"\r\n",
    ]
    assert (server.pieces, server.connections) == (2, 1)


def test_a_large_body_arrives_whole() -> None:
    body = bytes(range(256)) * 4096 * 8
    assert len(body) > JOINED
    with serving(OK) as server, connected(server.port) as line:
        assert line.exchange(Call("POST", "/add", body)).status == 200
    assert server.requests[0].endswith(b"\r\n\r\n" + body)


def test_a_server_may_be_below_a_path() -> None:
    with serving(OK) as server, connected(server.port, "/a b/é/api/v2") as line:
        line.exchange(READ)
    assert server.requests[0].startswith(b"POST /a%20b/%C3%A9/api/v2/get HTTP/1.1")


@pytest.mark.parametrize("value", ["a\r\nX-Admin: yes", "a\nb", "\x00", "sécret"])
def test_headers_cannot_be_smuggled_in(value: str) -> None:
    with pytest.raises(ArgumentValueError, match="header 'X-Token' cannot be sent"):
        Direct(Target("http://localhost/api/v2"), {"X-Token": value}, None)


# ── what comes back ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}", b"{}"),
        (CHUNKED + b"1\r\n4\r\n1\r\n2\r\n0\r\n\r\n", b"42"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"42"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\nX: 1\r\nX: 2\r\nContent-Length: 2\r\n\r\n42", b"42"),
        (b"HTTP/1.1 200 OK\r\nX: 1\r\n Content-Length: 9\r\nContent-Length: 2\r\n\r\n42", b"42"),
        (b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n42", b"42"),
        (CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 1\r\n\r\n") + TWO, b"42"),
        (b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n42", b"42"),
        (
            b"HTTP/1.1 200 OK\r\nCONTENT-ENCODING: gzip\r\nContent-Length: %d\r\n\r\n%s"
            % (len(gzip.compress(b"42")), gzip.compress(b"42")),
            b"42",
        ),
    ],
)  # fmt: skip
def test_answers_come_in_many_forms(answer: bytes, body: bytes) -> None:
    with serving(answer, OK) as server, connected(server.port) as line:
        assert line.exchange(READ).body == body
        assert line.exchange(READ).body == b"42"
    assert server.connections == 1 + (b"close" in answer)


def _answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nX-Request-Id: a\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


@pytest.mark.parametrize("body", [b"", b"x" * 2**18, b"x" * 3_000_000], ids=len)
def test_answers_may_be_large(body: bytes) -> None:
    with serving(_answer(body), OK) as server, connected(server.port) as line:
        answer = line.exchange(READ)
        assert (answer.status, answer.headers["x-request-id"], answer.body) == (200, "a", body)
        assert line.exchange(READ).body == b"42"


@pytest.mark.parametrize("at", [1, 12, 17, len(OK) - 4, len(OK) - 3, len(OK) - 1])
@pytest.mark.parametrize("whole", [OK, CHUNKED + TWO], ids=["known", "chunked"])
def test_answers_may_come_in_pieces(whole: bytes, at: int) -> None:
    with serving((whole[:at], whole[at:]), OK) as server, connected(server.port) as line:
        assert line.exchange(READ).body == b"42"
        assert line.exchange(READ).body == b"42"
    assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\nConnection: close\r\n\r\n42",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n42",
        b"what is this? close\r\n\r\n",
        None,
    ],
)
def test_half_an_answer_is_none(answer: bytes | None) -> None:
    with serving(answer) as server, connected(server.port) as line, pytest.raises(Broken):
        line.exchange(READ)


def test_the_answer_to_a_body_that_was_refused_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def hung_up(line: socket.socket, data: bytes) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("vermilion.remote.connections._send_all", hung_up)
    refused = b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
    with serving(refused, deaf=True) as server, connected(server.port) as line:
        assert line.exchange(Call("POST", "/add", b"{}")).status == 413


# ── when it ends ─────────────────────────────────────────────────────────────────────────────────


def _closed_meanwhile(line: Direct) -> None:
    """Waits until the server has closed the connection."""
    assert line._line.sock.recv(1, socket.MSG_PEEK) == b""


def _not_at_all(line: Direct) -> None: ...


@pytest.mark.parametrize(
    ("answer", "meanwhile", "options", "connections"),
    [
        (OK, _not_at_all, {}, 1),
        (OK, _not_at_all, {"keepalive_seconds": 0.0}, 2),
        (OK.replace(b"OK", b"It will close"), _closed_meanwhile, {}, 2),
    ],
)
def test_what_was_closed_meanwhile_is_connected_anew(
    answer: bytes,
    meanwhile: Callable[[Direct], None],
    options: dict[str, float],
    connections: int,
) -> None:
    with serving(answer, OK) as server, connected(server.port, **options) as line:
        assert line.exchange(READ).body == b"42"
        meanwhile(line)
        assert line.exchange(Call("POST", "/add", b"{}")).body == b"42"
    assert server.connections == connections


def test_silence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with connected(port, timeout=0.05) as line, pytest.raises(Silent):
            line.exchange(READ)


def test_nobody_takes_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with connected(port) as line, pytest.raises(Unconnected) as caught:
        line.exchange(READ)
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
