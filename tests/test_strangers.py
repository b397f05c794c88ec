"""What strangers can do to a server: pages in a browser, guessed passwords, bodies packed badly."""

from __future__ import annotations

import base64
import gzip
import socket
import time
from pathlib import Path

import pytest

from processes import Running, running
from served import HERE, Served, served
from vermilion.server import guard
from vermilion.server.tokens import Token, scrypt, sha256, written

FORM = {"content": b'{"name": "theirs"}'}  # without a type, as browsers send it without asking


# ── pages in a browser ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://server.evil.example"}, 403),
        ({"origin": "http://server", "sec-fetch-site": "same-site"}, 403),
        ({"origin": "https://evil.example", "sec-fetch-site": "cross-site"}, 403),
        ({"origin": "http://server"}, 200),
        # Behind a proxy the server does not know by which name it was called; the browser does.
        ({"origin": "https://db.example", "sec-fetch-site": "same-origin"}, 200),
        ({"origin": "https://app.example", "sec-fetch-site": "cross-site"}, 200),
    ],
)
def test_a_page_of_another_origin_changes_nothing(headers: dict[str, str], status: int) -> None:
    with served(cors_allow_origins=["https://app.example"]) as server:
        answer = server.post(f"{HERE}/collections", headers=headers, **FORM)
        assert answer.status_code == status, answer.text
        assert server.get(f"{HERE}/collections_count").json() == (status == 200)
        assert server.get("/api/v2/version", headers=headers).status_code == 200


# ── passwords ────────────────────────────────────────────────────────────────────────────────────


def basic(name: str, secret: str) -> dict[str, str]:
    packed = base64.b64encode(f"{name}:{secret}".encode()).decode()
    return {"authorization": f"Basic {packed}"}


def test_passwords_cannot_be_tried_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "TRIES", 2)
    monkeypatch.setattr(guard, "TRIES_A_SECOND", 1e-9)
    file = tmp_path / "tokens.toml"
    file.write_text(written(Token("me", scrypt("right"))) + written(Token("job", sha256("token"))))

    def ask(server: Served, name: str, secret: str) -> int:
        return server.get(f"{HERE}/collections", headers=basic(name, secret)).status_code

    with served(auth_file=str(file)) as server:
        assert ask(server, "me", "right") == 200
        assert ask(server, "nobody", "x") == 401
        answer = server.get(HERE, headers=basic("me", "wrong"))
        assert (answer.status_code, answer.json()["error"]) == (429, "RateLimitError")
        assert int(answer.headers["retry-after"]) >= 1
        assert ask(server, "me", "right") == 200, "what was right is remembered"
        assert ask(server, "job", "token") == 200, "a token cannot be guessed"
        networks = [Served(server.app, client=(host, 1)) for host in ("2001:db8::1", "2001:db8::2")]
        told = [ask(network, "me", "wrong") for network in networks for _ in range(2)]
        assert told == [401, 401, 429, 429], "both are of one network"


def test_an_unknown_name_costs_nothing_where_there_are_no_passwords(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vermilion.server.tokens.scrypt", None)
    file = tmp_path / "tokens.toml"
    file.write_text(written(Token("job", sha256("token"))))
    with served(auth_file=str(file)) as server:
        assert server.get(HERE, headers=basic("nobody", "x")).status_code == 401


# ── what is asked for ────────────────────────────────────────────────────────────────────────────


def test_a_body_is_packed_twice_at_most() -> None:
    with served() as server:
        path, body = f"{server.filled()}/get", b'{"ids": ["a"]}'
        for times, status in ((1, 200), (2, 200), (3, 415)):
            body = gzip.compress(body)
            headers = {"content-encoding": ", ".join(["gzip"] * times)}
            assert server.post(path, content=body, headers=headers).status_code == status


def test_a_large_answer_is_packed_too() -> None:
    with served() as near:
        path = near.made()
        rows = {"ids": ["a"], "embeddings": [[1]], "documents": ["long " * 50_000]}
        near.post(f"{path}/add", rows)
        far = Served(near.app, client=("192.0.2.1", 5))
        answer = far.post(f"{path}/get", {}, headers={"accept-encoding": "gzip"})
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.json()["documents"] == rows["documents"]


def test_the_number_of_searches_is_limited() -> None:
    with served(max_queries=2) as server:
        path = server.filled()
        assert server.post(f"{path}/search", {"searches": [{}] * 2}).status_code == 200
        answer = server.post(f"{path}/search", {"searches": [{}] * 3})
        assert (answer.status_code, answer.json()["error"]) == (400, "InvalidArgumentError")


# ── connections ──────────────────────────────────────────────────────────────────────────────────


def test_too_many_connections_are_turned_away(tmp_path: Path) -> None:
    with running(tmp_path / "database", "--max-connections", "2") as server:
        with server.connection() as one, server.connection() as two:
            for connection in (one, two):
                connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
                assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
            with server.connection() as three:
                assert three.recv(65536).startswith(b"HTTP/1.1 503 ")
        # The server hears of their end in its own time.
        assert any(_is_served(server) for _ in range(1_000))


def _is_served(server: Running) -> bool:
    with server.connection() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        try:
            return connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        except ConnectionResetError:
            return False


def test_an_answer_that_nobody_reads(tmp_path: Path) -> None:
    """Its client is given up; one that is slow takes longer than that, and gets all of it."""
    size = 64 * 100_000
    rows: dict[str, object] = {"ids": [str(n) for n in range(64)], "embeddings": [[1]] * 64}
    rows["documents"] = ["much text " * 10_000] * 64
    options = ("--answer-timeout", "1", "--keep-alive", "1")
    with running(tmp_path / "database", *options) as server, server.client() as client:
        made = client.post(f"{HERE}/collections", json={"name": "large"}).json()["id"]
        path = f"{HERE}/collections/{made}"
        assert client.post(f"{path}/add", json=rows).status_code == 201
        ask = f"POST {path}/get HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{{}}".encode()
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**14)
            deaf.connect(("127.0.0.1", server.port))
            deaf.sendall(ask)
            with pytest.raises(ConnectionError):
                for _ in range(1_000):
                    deaf.sendall(b"\r\n")
                    time.sleep(0.1)
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**14)
            slow.connect(("127.0.0.1", server.port))
            slow.settimeout(60)
            slow.sendall(ask)
            said = bytearray()
            while len(said) < size and (came := slow.recv(2**17)):
                said += came
                time.sleep(0.02 if len(said) % 2**17 < len(came) else 0)
        assert len(said) >= size
        assert client.get("/healthz").status_code == 200
