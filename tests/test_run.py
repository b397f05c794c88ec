"""`vermilion run` as a process of its own, with sockets and signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

import vermilion
from processes import Running, refused, running
from served import HERE
from vermilion.errors import UnreachableError
from vermilion.server import serving
from vermilion.server.protocol import Lookout
from vermilion.server.tokens import Token, sha256, written


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One server for the tests that leave it as it is."""
    with running(tmp_path_factory.mktemp("server") / "database") as server:
        yield server


def made(server: Running) -> str:
    with server.client() as client:
        body = {"name": "things", "get_or_create": True}
        return f"{HERE}/collections/{client.post(f'{HERE}/collections', json=body).json()['id']}"


# ── a life ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_what_was_written_is_there_after_a_stop(tmp_path: Path, name: int) -> None:
    rows = {"ids": ["a"], "embeddings": [[1]]}
    with running(tmp_path / "database") as server:
        path = made(server)
        with server.client() as client:
            assert client.post(f"{path}/add", json=rows).status_code == 201
        assert server.stop(name) == 0
        assert server.lines[-1] == "Vermilion has stopped"
    with running(tmp_path / "database") as server, server.client() as client:
        assert client.get(f"{path}/count").content == b"1"


def test_a_request_that_has_begun_is_finished_before_it_stops(tmp_path: Path) -> None:
    with running(tmp_path / "database") as server:
        path = made(server)
        body = b'{"ids":["a"],"embeddings":[[1]]}'
        head = f"POST {path}/add HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            connection.sendall(head.encode() + body[:10])
            with server.client() as client:  # the first part has arrived when this is answered
                client.get("/healthz")
            time.sleep(0.2)
            server.process.terminate()
            while True:  # nobody else gets in any more
                try:
                    socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
                except OSError:
                    break
            connection.sendall(body[10:])
            assert connection.recv(100).startswith(b"HTTP/1.1 201")
        assert server.process.wait(60) == 0


def test_connections_are_kept(server: Running) -> None:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.connect()
    kept = connection.sock
    for _ in range(3):
        connection.request("GET", "/api/v2/version?")
        assert connection.getresponse().read().startswith(b'"')
    assert connection.sock is kept
    connection.close()


def test_chunks_may_be_of_any_size(server: Running) -> None:
    path = made(server)
    head = f"POST {path}/get HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    chunks = [b"1\r\n%c\r\n" % byte for byte in b'{"ids": []}'] + [b"0\r\n\r\n"]
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        for part in (head.encode(), *chunks):
            connection.sendall(part)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")


# ── what it refuses to do ────────────────────────────────────────────────────────────────────────


def test_a_port_that_is_taken_is_told(server: Running, tmp_path: Path) -> None:
    told = refused("--path", str(tmp_path / "other"), "--port", str(server.port))
    assert f"Port {server.port} at 127.0.0.1 is taken by another program" in told
    assert not (tmp_path / "other").exists()


def test_a_public_address_needs_tokens_or_a_word(tmp_path: Path) -> None:
    told = refused("--path", str(tmp_path / "database"), "--host", "0.0.0.0", "--port", "0")
    assert "0.0.0.0 can be reached from other machines" in told
    assert not (tmp_path / "database").exists()
    with running(tmp_path / "one", "--host", "0.0.0.0", "--allow-unauthenticated") as server:
        assert httpx.get(f"{server.url}/healthz", trust_env=False).status_code == 200
    file = tmp_path / "tokens.toml"
    file.write_text(written(Token("me", sha256("secret"))))
    flags = ("--host", "0.0.0.0", "--auth-file", str(file))
    with running(tmp_path / "two", *flags) as server, server.client() as client:
        assert client.get(HERE, headers={"x-chroma-token": "secret"}).status_code == 200
        assert client.get(HERE, headers={"x-chroma-token": "other"}).status_code == 401


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config", "nowhere.toml"], "No such file"),
        (["--auth-file", "nowhere.toml"], "No such file"),
        (["--host", "no.such.host.invalid"], "is no address here"),
        (["--path", "/dev/null"], "cannot be opened as a directory"),
        (["--tls-cert", "nowhere.pem", "--tls-key", "nowhere.pem"], "No such file"),
        (["a.toml", "--config", "b.toml"], "One configuration file is enough"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_line(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = refused("--port", "0", *arguments)
    assert words in told
    assert len(told.splitlines()) == 1


# ── several processes ────────────────────────────────────────────────────────────────────────────


def children(pid: int) -> set[int]:
    """The processes below one, where the system tells."""
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    if not listed.exists():
        pytest.skip("the system does not list the children of a process")
    return set(map(int, listed.read_text().split()))


def test_processes_share_a_directory(tmp_path: Path) -> None:
    with running(tmp_path / "database", "--workers", "2") as server:
        path = made(server)

        def write(number: int) -> None:
            with server.client() as client:
                rows = {"ids": [f"{number}"], "embeddings": [[number, 1]]}
                assert client.post(f"{path}/add", json=rows).status_code == 201
                found = client.post(f"{path}/get", json={"ids": [f"{number}"]}).json()
                assert found["ids"] == [f"{number}"]

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(write, range(40)))
        with server.client() as client:
            assert client.get(f"{path}/count").content == b"40"
            page = client.get("/metrics").text
        assert 'vermilion_requests_total{operation="Add",status="201"} 40.0' in page
        assert server.stop() == 0


def test_a_process_that_dies_is_started_again(tmp_path: Path) -> None:
    with running(tmp_path / "database", "--workers", "2") as server:
        made(server)
        time.sleep(1.2)  # who dies at once is not started at once
        before = children(server.process.pid)
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        until = time.monotonic() + 30
        while len(children(server.process.pid) - {victim}) < 2 and time.monotonic() < until:
            time.sleep(0.05)
        assert len(children(server.process.pid) - {victim}) == 2
        for _ in range(100):
            with server.client() as client:
                try:
                    assert client.get("/api/v2/version").status_code == 200
                    break
                except OSError:
                    time.sleep(0.1)
        assert server.stop() == 0


def test_processes_end_with_the_one_that_began_them(tmp_path: Path) -> None:
    with running(tmp_path / "database", "--workers", "2") as server:
        made(server)
        workers = children(server.process.pid)
        server.process.kill()
        server.process.wait()
        until = time.monotonic() + 60
        while any(map(lives, workers)) and time.monotonic() < until:
            time.sleep(0.05)
        assert not any(map(lives, workers))


def lives(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


class Loop:
    """An event loop that only counts its turns."""

    def __init__(self) -> None:
        self.ready: list[Any] = []

    def call_soon(self, callback: Any, *arguments: Any) -> None:
        self.ready.append((callback, arguments))

    def turns(self) -> int:
        turns = 0
        while self.ready and turns < 100:
            callback, arguments = self.ready.pop()
            callback(*arguments)
            turns += 1
        return turns


def test_a_loop_stays_awake_for_a_moment_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vermilion.server.protocol.time.perf_counter", count().__next__)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    lookout, loop = Lookout(10.0), Loop()
    for _ in range(2):  # once more after it has slept
        for _ in range(3):
            lookout.answered(loop)  # type: ignore[arg-type]  # three answers are one reason
        assert len(loop.ready) == 1
        assert 9 <= loop.turns() <= 11
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    Lookout(10.0).answered(loop)  # type: ignore[arg-type]
    assert not loop.ready  # the client would have to wait for the only processor


@pytest.mark.parametrize(
    ("processors", "workers", "threads"), [(2, 1, 3), (2, 2, 1), (8, 2, 4), (2, 8, 1), (None, 1, 2)]
)
def test_workers_share_the_processors_for_scans(
    monkeypatch: pytest.MonkeyPatch, processors: int | None, workers: int, threads: int
) -> None:
    for name in ("cpu_count", "process_cpu_count"):
        monkeypatch.setattr(os, name, lambda: processors, raising=False)
    assert serving._scanning_threads(workers) == threads


# ── TLS and files ────────────────────────────────────────────────────────────────────────────────


def test_a_server_may_have_a_certificate(tmp_path: Path) -> None:
    authority = trustme.CA()
    made = authority.issue_cert("localhost", "127.0.0.1")
    key, chain = tmp_path / "key.pem", tmp_path / "chain.pem"
    made.private_key_pem.write_to_path(key)
    for part in made.cert_chain_pems:
        part.write_to_path(chain, append=True)
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    import ssl

    trusting = ssl.create_default_context(cafile=str(tmp_path / "authority.pem"))
    flags = ("--tls-cert", str(chain), "--tls-key", str(key))
    with running(tmp_path / "database", *flags) as server:
        assert server.url.startswith("https://")
        with server.client(verify=trusting) as client:
            assert client.get("/healthz").status_code == 200
        trusted = vermilion.Settings(chroma_server_ssl_verify=str(tmp_path / "authority.pem"))
        ours = vermilion.HttpClient("localhost", server.port, ssl=True, settings=trusted)
        assert ours.list_collections() == []
        with pytest.raises(UnreachableError, match="certificate verify failed"):
            vermilion.HttpClient("localhost", server.port, ssl=True)
        assert server.stop() == 0


def test_a_file_and_the_environment_are_read(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("port: 0\nallow_reset: true\nmax_batch_size: 7\n")
    database, variables = tmp_path / "database", {"CHROMA_MAX_BATCH_SIZE": "5"}
    with running(database, str(file), **variables) as server, server.client() as client:
        assert client.post("/api/v2/reset").content == b"true"
        assert client.get("/api/v2/pre-flight-checks").json()["max_batch_size"] == 5


# ── strangers ────────────────────────────────────────────────────────────────────────────────────

BODIES = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'"text"',
    b"NaN",
    b'{"ids":NaN}',
    b"\xff\xfe",
    b'{"ids":["\xff"]}',
    b'{"ids":["\\ud800"]}',
    b'{"ids":["\\u0000"]}',
    b"[" * 100_000,
    b'{"where":' * 50_000,
    b'{"where":' + b'{"$and":[' * 900 + b"]}" * 900 + b"}",
    b'{"limit":' + b"9" * 5_000 + b"}",
    b'{"limit":1e400}',
    b'{"ids":' + b"[" * 900 + b"]" * 900 + b"}",
    b'{"where":{"a":' + b"9" * 400 + b"}}",
    b'{"query_embeddings":[[1e400]]}',
    b'{"query_embeddings":[[' + b"1," * 70_000 + b"1]]}",
    b'{"where_document":{"$regex":"' + b"(a*)*" * 500 + b'"}}',
    b'{"where_document":{"$regex":"(?P<' + b"a" * 500 + b'"}}',
    json.dumps({"include": ["embeddings"] * 10_000}).encode(),
]


def test_strange_bodies_are_answered_and_do_no_harm(server: Running) -> None:
    path = made(server)
    with server.client() as client:
        for verb in ("add", "upsert", "update", "get", "query", "delete", "search", "count"):
            for body in BODIES:
                answer = client.post(f"{path}/{verb}", content=body)
                assert answer.status_code < 500 or answer.status_code == 501, (verb, body[:50])
                assert answer.headers["content-type"] == "application/json"
        assert client.get("/readyz").status_code == 200


REQUEST = b"POST %s/get HTTP/1.1\r\nhost: x\r\n"
STRANGE = [
    b"",
    b"\x00\x01\x02\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /%ff%fe HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET /api/v2/../../etc/passwd HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET /api/v2/tenants/%00 HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET /api/v2/tenants/%ff HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET http://x/api/v2 HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET /api/v2 HTTP/1.1\r\n" + b"x: " + b"y" * 500_000 + b"\r\n\r\n",
    b"GET /api/v2 HTTP/1.1\r\n" + b"x: y\r\n" * 20_000 + b"\r\n",
    b"GET /" + b"a" * 500_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
    REQUEST + b"content-length: 100\r\n\r\n{}",
    REQUEST + b"content-length: -1\r\n\r\n{}",
    REQUEST + b"content-length: 1\r\ncontent-length: 2\r\n\r\n{}",
    REQUEST + b"transfer-encoding: chunked\r\n\r\nzz\r\n{}",
    REQUEST + b"transfer-encoding: chunked\r\n\r\n5\r\n{}",
    REQUEST + b"content-length: 99999999999999999999\r\n\r\n{}",
    REQUEST + b"content-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}",
    REQUEST + b"upgrade: websocket\r\nconnection: upgrade\r\ncontent-length: 2\r\n\r\n{}",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
]


def test_what_is_no_http_does_no_harm(server: Running) -> None:
    path = made(server).encode()
    for request in STRANGE:
        answer = server.raw(request.replace(b"%s", path))
        assert b" 500 " not in answer[:20], (request[:60], answer[:300])
        head, _, body = answer.partition(b"\r\n\r\n")
        if b" 400 " in head[:20]:
            assert json.loads(body)["error"], "all errors have one form"
        with server.client() as client:
            assert client.get("/readyz").status_code == 200
    assert server.process.poll() is None


def test_half_a_request_is_not_done(server: Running) -> None:
    path = made(server)
    body = json.dumps({"ids": ["half"], "embeddings": [[1]]}).encode()
    head = f"POST {path}/upsert HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    for length in range(0, len(body), 7):
        server.raw(head, body[:length])
    with server.client() as client:
        assert client.post(f"{path}/get", json={"ids": ["half"]}).json()["ids"] == []
