"""Clients that take their time, or stop in the middle: the server gives up on them, and goes on."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from processes import Running, running
from served import HERE


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that has little patience."""
    folder = tmp_path_factory.mktemp("slow") / "database"
    options = ("--head-timeout", "0.3", "--keep-alive", "1", "--request-timeout", "0.5")
    with running(folder, *options) as server:
        yield server


def dripped(server: Running, *parts: bytes) -> bytes:
    """What the server says to who sends these parts slowly, until it closes the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        for part in parts:
            try:
                connection.sendall(part)
            except OSError:
                break
            time.sleep(0.05)
        said = b""
        try:
            while came := connection.recv(65536):
                said += came
        except ConnectionResetError:
            pass
        return said


def healthy(server: Running) -> bool:
    with server.client() as client:
        return client.get("/healthz").status_code == 200


def test_headers_that_come_byte_by_byte(server: Running) -> None:
    head = b"GET /api/v2/heartbeat HTTP/1.1\r\nhost: x\r\n"
    said = dripped(server, *(head[at : at + 1] for at in range(len(head))))
    assert said.startswith(b"HTTP/1.1 408 ")
    assert b"The headers were not complete after 0.3 seconds" in said
    assert healthy(server)


def test_headers_that_stop(server: Running) -> None:
    assert dripped(server, b"GET / HT").startswith(b"HTTP/1.1 408 ")
    assert dripped(server, *[b"\r\n"] * 40).startswith(b"HTTP/1.1 408 ")
    first = b"GET /api/v2/heartbeat HTTP/1.1\r\nhost: x\r\n\r\n"
    said = dripped(server, first, b"GET /api/v2/heartbeat HTTP/1.1\r\n")
    assert said.startswith(b"HTTP/1.1 200 ") and b"HTTP/1.1 408 " in said


def test_a_client_that_says_nothing(server: Running) -> None:
    assert dripped(server) == b""


def test_headers_without_end(server: Running) -> None:
    line = b"x-more: " + b"y" * 4_000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        said = b""
        try:
            for _ in range(10_000):
                connection.sendall(line)
            said = connection.recv(65536)
        except OSError:
            said = said or b"closed"
    assert said == b"closed" or said.startswith(b"HTTP/1.1 431 ")
    assert healthy(server)


def test_a_body_that_stops(server: Running) -> None:
    head = f"POST {HERE}/collections HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n".encode()
    assert dripped(server, head, b'{"name":').startswith(b"HTTP/1.1 408 ")
    chunked = f"POST {HERE}/collections HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    said = dripped(server, chunked.encode(), *[b"1\r\n \r\n"] * 20)
    assert said.startswith(b"HTTP/1.1 408 ")
    assert healthy(server)


@pytest.mark.parametrize("extra", [b"x: " + b"y" * 4_000 + b"\r\n", b"0;" + b"y" * 4_000])
def test_a_body_with_endless_things_beside_it(server: Running, extra: bytes) -> None:
    head = f"POST {HERE}/collections HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    with server.connection() as connection:
        connection.sendall(head.encode() + (b"0\r\n" if extra.startswith(b"x") else b""))
        with pytest.raises(ConnectionError):
            for _ in range(100_000):
                connection.sendall(extra)
    assert healthy(server)


def test_clients_that_go_away_in_the_middle(server: Running) -> None:
    head = f"POST {HERE}/collections HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n".encode()
    for sent in (head[:20], head, head + b'{"name":'):
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
                connection.sendall(sent)
    with server.client() as client:
        assert client.get(f"{HERE}/collections").json() == []


def test_requests_in_time_are_not_cut_off(server: Running) -> None:
    with server.client() as client:
        for _ in range(3):
            assert client.get("/api/v2/heartbeat").status_code == 200
            time.sleep(0.4)  # longer than headers may take, shorter than a connection may be idle
