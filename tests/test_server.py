"""The server's own business: routes, headers, bodies, limits, what it tells of itself."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import re
import threading
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import zstandard

from served import HERE, NOBODY, Served, pieces, served
from vermilion.errors import ArgumentValueError
from vermilion.server.exchange import packed
from vermilion.server.settings import ServerSettings, settings_from


@pytest.fixture
def server() -> Iterator[Served]:
    with served() as server:
        yield server


# ── routes ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/api/v2/", 404),
        ("GET", "/api/v2/heartbeat/", 404),
        ("GET", "/api/v22", 404),
        ("GET", "/api/v2/collections", 404),
        ("POST", "/api/v2/heartbeat", 405),
        ("DELETE", "/api/v2/tenants/default_tenant", 405),
        ("POST", "/docs", 405),
        ("POST", "/api/v1/collections", 410),
        ("OPTIONS", "/api/v2/nothing", 404),
        ("GET", f"{HERE}/collections/{NOBODY}/nothing", 404),
        ("GET", f"{HERE}/collections/{NOBODY}/indexing_status", 404),
        ("GET", f"{HERE}/collections/x/indexing_status", 400),
        ("GET", "/api/v2/collections/a:b", 400),
        ("GET", "/api/v2/collections/a:b:c", 404),
        ("GET", f"{HERE}/collections?limit=-1", 400),
        ("GET", f"{HERE}/collections?limit=", 400),
        ("GET", f"{HERE}/collections?limit=99999999999999999999999", 400),
        ("GET", f"{HERE}/collections/{NOBODY}/count?read_level=", 400),
    ],
)
def test_what_is_refused_is_told_as_json(
    server: Served, method: str, path: str, status: int
) -> None:
    answer = server.ask(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.json().keys() == {"error", "message"}
    assert answer.headers["chroma-trace-id"] == answer.headers["x-request-id"]


def test_a_wrong_method_is_told_which_are_right(server: Served) -> None:
    answer = server.ask("DELETE", "/api/v2/heartbeat")
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


def test_head_answers_without_a_body(server: Served) -> None:
    answer = server.ask("HEAD", "/api/v2/version")
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) == len(server.get("/api/v2/version").content)


def test_names_in_paths_may_be_escaped(server: Served) -> None:
    assert server.post("/api/v2/tenants", {"name": "a/b ü%"}).status_code == 200
    assert server.get("/api/v2/tenants/a%2Fb%20%C3%BC%25").json()["name"] == "a/b ü%"


def test_a_collection_may_be_called_by_id(server: Served) -> None:
    path = server.made("by-id")
    assert server.get(f"{HERE}/collections/by-id").json()["id"] == path.rpartition("/")[2]


def test_a_collection_has_its_resource_name(server: Served) -> None:
    path = server.made("things")
    found = server.get("/api/v2/collections/default_tenant:default_database:things").json()
    assert path.endswith(found["id"])


def test_data_belong_to_their_tenant_and_database(server: Served) -> None:
    id = server.filled().rpartition("/")[2]
    assert server.post("/api/v2/tenants", {"name": "other"}).status_code == 200
    assert server.post("/api/v2/tenants/other/databases", {"name": "other"}).status_code == 200
    for place in ("other/databases/other", "default_tenant/databases/other", "no/databases/no"):
        there = f"/api/v2/tenants/{place}/collections/{id}"
        for verb, body in (
            ("get", {}),
            ("add", {"ids": ["z"], "embeddings": [[1, 1]]}),
            ("query", {"query_embeddings": [[1, 1]]}),
            ("delete", {"ids": ["a"]}),
            ("fork", {"new_name": "mine"}),
        ):
            assert server.post(f"{there}/{verb}", body).status_code == 404, (place, verb)
        assert server.ask("PUT", there, json={"new_name": "mine"}).status_code == 404
        assert server.get(f"{there}/count").status_code == 404
    assert server.get(f"{HERE}/collections/{id}/count").json() == 3


def test_a_database_of_an_unknown_tenant_is_not_made(server: Served) -> None:
    assert server.post("/api/v2/tenants/nobody/databases", {"name": "abc"}).status_code == 404
    assert server.get("/api/v2/tenants/nobody/databases").json() == []


def test_a_taken_name_is_told_as_such(server: Served) -> None:
    server.made("one")
    two = server.made("two")
    answer = server.ask("PUT", two, json={"new_name": "one"})
    assert (answer.status_code, answer.json()["message"]) == (
        409,
        "Collection [one] already exists",
    )


def test_lists_and_sparse_vectors_are_metadata_of_collections_too(server: Served) -> None:
    sparse = {"#type": "sparse_vector", "indices": [1, 5], "values": [0.5, 1.0]}
    server.made("things", metadata={"list": ["a", "b"], "sparse": sparse})
    found = server.get(f"{HERE}/collections/things").json()["metadata"]
    assert found == {"list": ["a", "b"], "sparse": sparse}


def test_all_metadata_go_when_all_are_null(server: Served) -> None:
    path = server.made("things", metadata={"a": 1})
    assert server.ask("PUT", path, json={"new_metadata": {"a": None}}).status_code == 200
    assert server.get(f"{HERE}/collections/things").json()["metadata"] is None


def test_deleted_counts_what_was_deleted(server: Served) -> None:
    path = server.filled()
    assert server.post(f"{path}/delete", {"ids": ["a", "nobody"]}).json() == {"deleted": 1}
    assert server.post(f"{path}/delete", {}).json() == {"deleted": 0}
    assert server.post(f"{path}/delete", {"where": {"n": 2}}).json() == {"deleted": 1}


def test_writes_report_when_they_are_asked_to(server: Served) -> None:
    path = server.filled()
    body = {"ids": ["a", "z"], "embeddings": [[1, 1], [2, 2]]}
    assert server.post(f"{path}/add", body | {"report": True}).json()["skipped"] == 1
    assert server.post(f"{path}/add", body).json() == {}


def test_nothing_to_write_is_written_to_a_collection_that_exists(server: Served) -> None:
    nothing = {"ids": [], "embeddings": []}
    assert server.post(f"{server.made()}/add", nothing).status_code == 201
    assert server.post(f"{HERE}/collections/{NOBODY}/add", nothing).status_code == 404


def test_a_query_finds_what_a_filter_leaves(server: Served) -> None:
    path = server.filled()
    asked = {"query_embeddings": [[0, 0], [3, 0]], "where": {"n": {"$gte": 1}}, "n_results": 5}
    found = server.post(f"{path}/query", asked).json()
    assert found["ids"] == [["a", "b"], ["b", "a"]]
    assert found["distances"] == [[1.0, 4.0], [1.0, 4.0]]
    assert server.post(f"{path}/query", {"query_embeddings": []}).json()["ids"] == []
    assert server.post(f"{path}/query", asked | {"ids": ["nobody"]}).json()["ids"] == [[], []]


def test_a_count_may_have_a_filter_and_a_read_level(server: Served) -> None:
    path = server.filled()
    assert server.post(f"{path}/count", {"where": {"n": 1}}).content == b"1"
    for level in ("index_and_wal", "index_only", "index_and_bounded_wal"):
        assert server.get(f"{path}/count?read_level={level}").content == b"3"


def test_a_fork_goes_its_own_way(server: Served) -> None:
    path = server.filled()
    answer = server.post(f"{path}/fork", {"new_name": "copy"})
    assert answer.status_code == 200
    copy = f"{HERE}/collections/{answer.json()['id']}"
    server.post(f"{copy}/delete", {"ids": ["a"]})
    assert (server.get(f"{path}/count").json(), server.get(f"{copy}/count").json()) == (3, 2)


def test_indexes_and_files_can_be_asked_about(server: Served) -> None:
    path = server.filled()
    assert server.get(f"{path}/indexing_status").json()["total_ops"] == 3
    assert server.post(f"{path}/flush").json() == {}
    assert server.get(f"{path}/stats").json()["rows"] == 3
    assert server.post(f"{path}/compact").json()["bytes"] >= 0
    assert server.post("/api/v2/check", {"deep": True}).json() == []
    asked = {"query_embeddings": [[1, 0]], "n_results": 1}
    assert server.post(f"{path}/explain", asked).json()["records"] == 3
    assert server.post(f"{path}/why_not", asked | {"id": "c"}).json()["reason"] == "farther"


# ── bodies ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/geo+json", ""])
def test_what_is_called_json_is_read(server: Served, kind: str) -> None:
    headers = {"content-type": kind} if kind else {}
    answer = server.post(f"{server.made()}/get", content=b"{}", headers=headers)
    assert answer.status_code == 200


def test_what_is_called_something_else_is_not(server: Served) -> None:
    answer = server.post(f"{server.made()}/get", content=b"{}", headers={"content-type": "text/x"})
    assert answer.status_code == 415


def test_bodies_may_come_in_pieces(server: Served) -> None:
    path = server.filled()
    answer = server.post(f"{path}/get", content=pieces(b'{"ids"', b': ["a"', b"]}"))
    assert answer.json()["ids"] == ["a"]


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("zstd", zstandard.ZstdCompressor().compress),
        ("identity", bytes),
    ],
)
def test_bodies_may_be_packed(server: Served, name: str, pack: Any) -> None:
    path = server.filled()
    body, headers = pack(b'{"ids": ["a"]}'), {"content-encoding": name}
    assert server.post(f"{path}/get", content=body, headers=headers).json()["ids"] == ["a"]


def test_what_cannot_be_unpacked_is_told(server: Served) -> None:
    path = f"{server.made()}/get"
    for name, body, status in (
        ("br", b"{}", 415),
        ("gzip", b"{}", 400),
        ("zstd", b"{}", 400),
        ("gzip", gzip.compress(b"{}")[:-9], 400),
    ):
        answer = server.post(path, content=body, headers={"content-encoding": name})
        assert answer.status_code == status, name


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_a_small_body_cannot_become_a_huge_one(name: str) -> None:
    huge = b" " * 2**22
    body = gzip.compress(huge) if name == "gzip" else zstandard.ZstdCompressor().compress(huge)
    with served(max_body_bytes=2**20) as server:
        path = f"{server.made()}/get"
        answer = server.post(path, content=body, headers={"content-encoding": name})
        assert answer.status_code == 413


def test_answers_to_other_machines_are_packed() -> None:
    with served() as near:
        path = near.made()
        rows = {"ids": ["a"], "embeddings": [[1]], "documents": ["long " * 500]}
        near.post(f"{path}/add", rows)
        far = Served(near.app, client=("192.0.2.1", 5))
        for accepted, given in (("gzip", "gzip"), ("gzip, zstd", "zstd"), ("identity", None)):
            answer = far.post(f"{path}/get", {}, headers={"accept-encoding": accepted})
            assert answer.headers.get("content-encoding") == given
            assert answer.json()["documents"] == ["long " * 500]
        answer = near.post(f"{path}/get", {}, headers={"accept-encoding": "gzip"})
        assert "content-encoding" not in answer.headers


def test_a_way_of_packing_may_be_ruled_out() -> None:
    assert packed(b"x" * 5000, b"gzip;q=0, *")[1] == b""


# ── limits ───────────────────────────────────────────────────────────────────────────────────────


def test_a_body_has_a_largest_size() -> None:
    with served(max_body_bytes=1000) as server:
        path = f"{server.made()}/get"
        for request in (
            {"content": b" " * 2000},
            {"content": pieces(b" " * 900, b" " * 900)},
        ):
            answer = server.post(path, **request)
            assert (answer.status_code, answer.json()["error"]) == (413, "ChromaError")


def test_all_bodies_together_have_a_largest_size() -> None:
    with served(max_bodies_bytes=1000) as server:
        path = f"{server.made()}/get"
        told: list[int] = []

        async def slowly() -> AsyncIterator[bytes]:
            yield b" " * 900
            for length in (200, 50):
                answer = await server.answer("POST", path, content=b" " * length + b"{}")
                told.append(answer.status_code)
            yield b" " * 900 + b"{}"

        assert server.post(path, content=slowly()).status_code == 200, "alone it always fits"
        assert told == [503, 200]
        assert server.post(path, content=b" " * 950 + b"{}").status_code == 200
        packed = {"content": gzip.compress(b" " * 5000 + b"{}")}
        assert server.post(path, **packed, headers={"content-encoding": "gzip"}).status_code == 200


def test_a_batch_has_a_largest_size_that_clients_are_told() -> None:
    with served(max_batch_size=2) as server:
        path = server.made()
        assert server.get("/api/v2/pre-flight-checks").json()["max_batch_size"] == 2
        rows = {"ids": ["a", "b", "c"], "embeddings": [[1], [1], [1]]}
        answer = server.post(f"{path}/add", rows)
        assert (answer.status_code, answer.json()["error"]) == (413, "BatchSizeExceededError")
        assert server.get(f"{path}/count").json() == 0


def test_a_question_has_a_largest_size() -> None:
    with served(max_queries=2, max_results=5) as server:
        path = server.filled()
        assert server.post(f"{path}/query", {"query_embeddings": [[1, 1]] * 3}).status_code == 400
        asked = {"query_embeddings": [[1, 1]], "n_results": 6}
        assert server.post(f"{path}/query", asked).status_code == 400


class Slow:
    """An engine whose count takes its time."""

    def __init__(self, server: Served) -> None:
        self.inside, self.go_on = threading.Event(), threading.Event()
        self._engine = server.app.engine
        server.app.engine = self  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def count(self, address: Any) -> int:
        self.inside.set()
        assert self.go_on.wait(30)
        return self._engine.count(address)


def test_who_waits_too_long_is_told() -> None:
    with served(request_timeout=0.05) as server:
        path = server.made()
        slow = Slow(server)
        answer = server.get(f"{path}/count")
        slow.go_on.set()
        assert answer.status_code == 503
        assert "longer than 0.05 seconds" in answer.json()["message"]


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async def endless() -> Any:
        while True:
            yield b" "
            await asyncio.sleep(0.01)

    with served(request_timeout=0.1) as server:
        answer = server.post(f"{server.made()}/get", content=endless())
    assert (answer.status_code, answer.json()["error"]) == (408, "ChromaError")


def test_who_comes_when_it_is_full_is_sent_away() -> None:
    with served(threads=1, backlog=0) as server:
        path = server.made()
        slow = Slow(server)
        first = threading.Thread(target=server.get, args=(f"{path}/count",))
        first.start()
        slow.inside.wait()
        answer = server.get(f"{path}/count")
        assert server.get("/api/v2/heartbeat").status_code == 200
        slow.go_on.set()
        first.join()
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert server.get(f"{path}/count").status_code == 200


def test_a_caller_has_a_rate() -> None:
    with served(rate_limit=0.5, rate_burst=2) as server:
        statuses = [server.get("/api/v2/version").status_code for _ in range(3)]
        assert statuses == [200, 200, 429]
        answer = server.get("/api/v2/version")
        assert answer.json()["error"] == "RateLimitError"
        assert 1 <= int(answer.headers["retry-after"]) <= 3
        other = Served(server.app, client=("192.0.2.7", 1))
        assert other.get("/api/v2/version").status_code == 200


def test_reset_has_to_be_allowed() -> None:
    with served(allow_reset=True) as server:
        server.made()
        assert server.post("/api/v2/reset").content == b"true"
        assert server.get(f"{HERE}/collections_count").content == b"0"


# ── web pages ────────────────────────────────────────────────────────────────────────────────────


def test_web_pages_of_other_origins_have_to_be_allowed() -> None:
    with served(cors_allow_origins=["https://app.example"]) as server:
        good, bad = {"origin": "https://app.example"}, {"origin": "https://evil.example"}
        answer = server.get("/api/v2/version", headers=good)
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        answer = server.get("/api/v2/version", headers=bad)
        assert "access-control-allow-origin" not in answer.headers
        ask = good | {"access-control-request-method": "POST"}
        answer = server.ask("OPTIONS", f"{HERE}/collections", headers=ask)
        assert (answer.status_code, answer.content) == (204, b"")
        assert "POST" in answer.headers["access-control-allow-methods"]
        assert "x-chroma-token" in answer.headers["access-control-allow-headers"]
        # A refusal can be read by the page, too.
        assert "access-control-allow-origin" in server.get("/nothing", headers=good).headers


def test_all_origins_may_be_allowed() -> None:
    with served(cors_allow_origins=["*"]) as server:
        answer = server.get("/api/v2/version", headers={"origin": "https://any.example"})
        assert answer.headers["access-control-allow-origin"] == "*"


# ── what it tells of itself ──────────────────────────────────────────────────────────────────────


def test_health_and_readiness(server: Served) -> None:
    assert server.get("/healthz").json() == {"status": "alive"}
    assert server.get("/readyz").json() == {"status": "ready"}
    server.app.ready = False
    assert server.get("/readyz").status_code == 503
    assert server.get("/healthz").status_code == 200


def test_a_request_keeps_the_id_it_comes_with(server: Served) -> None:
    answer = server.get("/api/v2/version", headers={"x-request-id": "mine-1"})
    assert answer.headers["x-request-id"] == "mine-1"
    for strange in ("x" * 200, "two\ttabs"):
        answer = server.get("/api/v2/version", headers={"x-request-id": strange})
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


def test_metrics_count_requests_by_operation_and_status(server: Served) -> None:
    server.get("/api/v2/version")
    server.get(f"{HERE}/collections/nothing")
    page = server.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain")
    assert 'vermilion_requests_total{operation="Version",status="200"} 1.0' in page.text
    assert 'vermilion_requests_total{operation="GetCollection",status="404"} 1.0' in page.text
    assert 'vermilion_request_seconds_count{operation="Version"} 1.0' in page.text


def test_metrics_can_be_switched_off() -> None:
    with served(metrics=False) as server:
        assert server.get("/metrics").status_code == 404


def lines(caplog: pytest.LogCaptureFixture, name: str) -> list[dict[str, Any]]:
    return [json.loads(one.message) for one in caplog.records if one.name == name]


def test_every_request_can_be_logged(caplog: pytest.LogCaptureFixture) -> None:
    with served(access_log=True) as server, caplog.at_level(logging.INFO, "vermilion.access"):
        server.get(f"{HERE}/collections/nothing?limit=1", headers={"x-request-id": "mine"})
    [line] = lines(caplog, "vermilion.access")
    assert (line["operation"], line["status"], line["id"]) == ("GetCollection", 404, "mine")
    assert (line["path"], line["client"]) == (f"{HERE}/collections/nothing", "127.0.0.1")


def test_slow_queries_are_logged_with_their_plan(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "vermilion.server"), served(slow_query_ms=1e-6) as server:
        path = server.filled()
        server.post(f"{path}/query", {"query_embeddings": [[1, 1]], "where": {"n": 1}})
    [line] = lines(caplog, "vermilion.server")
    assert (line["records"], line["selected"], line["plan"][0]["plan"]) == (3, 1, "exact")
    assert line["conditions"] == ["n $eq"]


def test_a_fault_is_logged_and_not_told(
    server: Served, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = server.made()

    def broken(*_: object) -> int:
        raise RuntimeError("a secret of the machine")

    monkeypatch.setattr(server.app.engine, "count", broken)
    answer = server.get(f"{path}/count", headers={"x-request-id": "mine"})
    assert (answer.status_code, answer.json()["error"]) == (500, "InternalError")
    assert "secret" not in answer.text
    assert "request mine" in caplog.text
    assert "a secret of the machine" in caplog.text


def test_the_documents_name_every_route(server: Served) -> None:
    document = server.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert (
        document["paths"][
            "/api/v2/tenants/{tenant}/databases/{database}/collections/{collection_id}/query"
        ]["post"]["operationId"]
        == "query"
    )
    page = server.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "/collections/{collection_id}/query" in page.text
    assert not re.findall(r"""(?:src|href)=["']?https?://""", page.text)


# ── settings ─────────────────────────────────────────────────────────────────────────────────────


def test_flags_beat_the_environment_which_beats_the_file(tmp_path: Any) -> None:
    file = tmp_path / "server.toml"
    file.write_text('port = 1\nhost = "one"\nworkers = 3\nunknown = 5\n')
    variables = {"VERMILION_PORT": "2", "CHROMA_HOST": "two", "ALLOW_RESET": "TRUE", "PATH": "x"}
    settings = settings_from({"port": 3, "host": None}, variables, file)
    assert (settings.port, settings.host, settings.workers) == (3, "two", 3)
    assert settings.allow_reset


def test_files_of_chroma_are_understood(tmp_path: Any) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        'port: 8001\nlisten_address: "0.0.0.0"\npersist_path: "./data"\nallow_reset: true\n'
        'max_payload_size_bytes: 1000\ncors_allow_origins: ["https://a.example"]\n'
        "open_telemetry:\n  service_name: x\n"
    )
    settings = settings_from({}, {"CHROMA_PERSIST_PATH": "elsewhere"}, file)
    assert settings == ServerSettings(
        port=8001,
        host="0.0.0.0",
        path="elsewhere",
        allow_reset=True,
        max_body_bytes=1000,
        cors_allow_origins=["https://a.example"],
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"port": "x"}, "port: expected int"),
        ({"port": "70000"}, "port: expected a number from 0 to 65535"),
        ({"workers": "0"}, "workers: expected at least 1"),
        ({"allow_reset": "perhaps"}, "allow_reset: expected bool"),
        ({"tls_cert": "a.pem"}, "tls_cert and tls_key belong together"),
        ({"durability": "none"}, "durability: expected full or normal"),
    ],
)
def test_settings_that_cannot_be_followed_are_refused(given: dict[str, str], words: str) -> None:
    variables = {f"VERMILION_{name.upper()}": value for name, value in given.items()}
    with pytest.raises(ArgumentValueError, match=words):
        settings_from({}, variables, None)
