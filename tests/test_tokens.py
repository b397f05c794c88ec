"""Tokens: who is let in, what they may do, and how the file of them changes."""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from served import HERE, NOBODY, Served, served
from vermilion.cli import main
from vermilion.errors import ArgumentValueError
from vermilion.server import guard
from vermilion.server.tokens import Token, new_secret, parse, scrypt, sha256, written

ROOT, WRITER, READER, OTHER = "root-token", "writer-token", "reader-token", "other-token"

FILE = "\n".join(
    [
        written(Token("root", sha256(ROOT), "*", ("*",), frozenset({"read", "write", "admin"}))),
        written(Token("writer", sha256(WRITER))),
        written(Token("reader", sha256(READER), rights=frozenset({"read"}))),
        written(Token("other", sha256(OTHER), "other", ("theirs",))),
        written(Token("person", scrypt("correct horse"), rights=frozenset({"read"}))),
    ]
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokens") / "tokens.toml"
    path.write_text(FILE)
    return path


@pytest.fixture
def server(file: Path) -> Iterator[Served]:
    with served(auth_file=str(file)) as server:
        root = bearer(ROOT)
        assert server.post("/api/v2/tenants", {"name": "other"}, headers=root).status_code == 200
        server.post("/api/v2/tenants/other/databases", {"name": "theirs"}, headers=root)
        server.post("/api/v2/tenants/other/databases", {"name": "not-theirs"}, headers=root)
        made = server.post(f"{HERE}/collections", {"name": "things"}, headers=bearer(WRITER))
        server.things = f"{HERE}/collections/{made.json()['id']}"  # type: ignore[attr-defined]
        yield server


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def basic(name: str, secret: str) -> dict[str, str]:
    packed = base64.b64encode(f"{name}:{secret}".encode()).decode()
    return {"authorization": f"Basic {packed}"}


# ── who ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "headers",
    [
        bearer(READER),
        {"authorization": f"bearer  {READER}"},
        {"x-chroma-token": READER},
        {"X-Chroma-Token": f"Bearer {READER}"},
        basic("reader", READER),
        basic("person", "correct horse"),
    ],
)
def test_every_way_to_show_a_token_is_good(server: Served, headers: dict[str, str]) -> None:
    for _ in range(2):  # the second time a password is remembered
        assert server.get(f"{HERE}/collections_count", headers=headers).content == b"1"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer(""),
        bearer("wrong"),
        bearer(sha256(READER)),
        {"x-chroma-token": "wrong"},
        {"x-chroma-token": "wrong", **bearer(READER)},
        {"authorization": READER},
        {"authorization": "Basic !"},
        {"authorization": "Digest x"},
        basic("reader", WRITER),
        basic("nobody", READER),
        basic("person", "wrong horse"),
        basic("person", ""),
    ],
)
def test_nothing_else_is_good(server: Served, headers: dict[str, str]) -> None:
    for path in (f"{HERE}/collections_count", "/api/v2/auth/identity", "/metrics"):
        answer = server.get(path, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (401, "AuthorizationError")
        assert "Bearer" in answer.headers["www-authenticate"]


def test_health_is_for_everybody(server: Served) -> None:
    for path in ("/healthz", "/readyz", "/openapi.json"):
        assert server.get(path).status_code == 200


@pytest.mark.parametrize(
    ("token", "identity"),
    [
        (ROOT, {"user_id": "root", "tenant": "*", "databases": ["*"]}),
        (
            READER,
            {"user_id": "reader", "tenant": "default_tenant", "databases": ["default_database"]},
        ),
        (OTHER, {"user_id": "other", "tenant": "other", "databases": ["theirs"]}),
    ],
)
def test_the_identity_tells_the_truth(
    server: Served, token: str, identity: dict[str, object]
) -> None:
    assert server.get("/api/v2/auth/identity", headers=bearer(token)).json() == identity


# ── what ─────────────────────────────────────────────────────────────────────────────────────────

THEIRS, NOT_THEIRS = (
    f"/api/v2/tenants/other/databases/{name}" for name in ("theirs", "not-theirs")
)
ROWS = {"ids": ["a"], "embeddings": [[1]]}
# Method, path, body; then who may do it.
RIGHTS = [
    ("GET", "{things}/count", None, {ROOT, WRITER, READER}),
    ("POST", "{things}/get", {}, {ROOT, WRITER, READER}),
    ("POST", "{things}/query", {"query_embeddings": [[1]]}, {ROOT, WRITER, READER}),
    ("POST", "{things}/add", ROWS, {ROOT, WRITER}),
    ("POST", "{things}/upsert", ROWS, {ROOT, WRITER}),
    ("POST", "{things}/update", ROWS, {ROOT, WRITER}),
    ("POST", "{things}/delete", {"ids": ["a"]}, {ROOT, WRITER}),
    ("PUT", "{things}", {"new_metadata": {"a": 1}}, {ROOT, WRITER}),
    ("POST", "{things}/fork", {"new_name": "copy"}, {ROOT, WRITER}),
    ("GET", f"{HERE}/collections", None, {ROOT, WRITER, READER}),
    ("POST", f"{HERE}/collections", {"name": "more", "get_or_create": True}, {ROOT, WRITER}),
    ("GET", f"{HERE}/collections/things", None, {ROOT, WRITER, READER}),
    ("DELETE", f"{HERE}/collections/things", None, {ROOT, WRITER}),
    ("GET", "/api/v2/collections/default_tenant:default_database:things", None,
     {ROOT, WRITER, READER}),
    ("GET", "/api/v2/tenants/default_tenant", None, {ROOT, WRITER, READER}),
    ("GET", HERE, None, {ROOT, WRITER, READER}),
    ("GET", f"{THEIRS}/collections", None, {ROOT, OTHER}),
    ("POST", f"{THEIRS}/collections", {"name": "more"}, {ROOT, OTHER}),
    ("GET", f"{NOT_THEIRS}/collections", None, {ROOT}),
    ("GET", NOT_THEIRS, None, {ROOT}),
    ("GET", "/api/v2/collections/other:not-theirs:things", None, {ROOT}),
    ("POST", f"{NOT_THEIRS}/collections", {"name": "more"}, {ROOT}),
    ("POST", "/api/v2/tenants", {"name": "more"}, {ROOT}),
    ("PATCH", "/api/v2/tenants/other", {"resource_name": "x"}, {ROOT}),
    ("POST", "/api/v2/tenants/other/databases", {"name": "more"}, {ROOT}),
    ("DELETE", THEIRS, None, {ROOT}),
    ("POST", "/api/v2/check", {}, {ROOT}),
    ("GET", "/metrics", None, {ROOT}),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "allowed"), RIGHTS)
@pytest.mark.parametrize("token", [ROOT, WRITER, READER, OTHER])
def test_a_token_is_good_for_what_it_says(
    server: Served, method: str, path: str, body: object, allowed: set[str], token: str
) -> None:
    path = path.format(things=server.things)  # type: ignore[attr-defined]
    request = {} if body is None else {"json": body}
    answer = server.ask(method, path, headers=bearer(token), **request)
    if token in allowed:
        assert answer.status_code in (200, 201, 404), answer.text
    else:
        assert (answer.status_code, answer.json()) == (
            403, {"error": "AuthError", "message": "Forbidden"},
        )  # fmt: skip


def test_every_route_asks_who_is_there(server: Served) -> None:
    from vermilion.wire.operation import API
    from vermilion.wire.table import OPERATIONS

    for kind in OPERATIONS:
        path = API + kind.route.path.format(
            tenant="default_tenant", database="default_database", collection_id=NOBODY,
            name="things", crn="default_tenant:default_database:things",
        )  # fmt: skip
        answer = server.ask(kind.route.method, path, json={})
        if kind.route.right == "anyone":  # that it lives is no secret
            assert answer.status_code == 200, kind
            continue
        assert answer.status_code == 401, kind
        # Someone else's token is no good for what lies in a database.
        if kind.route.right != "open":
            answer = server.ask(kind.route.method, path, json={}, headers=bearer(OTHER))
            assert answer.status_code in (403, 422), kind


def test_databases_of_others_are_not_listed(server: Served) -> None:
    answer = server.get("/api/v2/tenants/other/databases", headers=bearer(OTHER))
    assert [one["name"] for one in answer.json()] == ["theirs"]
    answer = server.get("/api/v2/tenants/other/databases", headers=bearer(ROOT))
    assert len(answer.json()) == 2


def test_what_may_not_be_read_is_refused_whether_it_exists_or_not(server: Served) -> None:
    for path in (NOT_THEIRS, "/api/v2/tenants/other/databases/nothing"):
        answer = server.get(f"{path}/collections/things", headers=bearer(OTHER))
        assert answer.status_code == 403


def test_a_large_body_is_not_read_for_a_stranger(server: Served) -> None:
    async def endless() -> object:
        while True:
            yield b" " * 1000

    answer = server.post(f"{NOT_THEIRS}/collections", content=endless(), headers=bearer(OTHER))
    assert answer.status_code == 403


# ── the file ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "LOOK_AGAIN", 0.0)


@pytest.mark.usefixtures("impatient")
def test_a_changed_file_is_read_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "tokens.toml"
    file.write_text(written(Token("one", sha256("first"))))
    with served(auth_file=str(file)) as server:
        assert server.get(HERE, headers=bearer("first")).status_code == 200
        file.write_text(written(Token("another", sha256("second"))))
        assert server.get(HERE, headers=bearer("first")).status_code == 401
        assert server.get(HERE, headers=bearer("second")).status_code == 200
        # One that makes no sense changes nothing, and is told once for each change.
        file.write_text("no tokens")
        assert server.get(HERE, headers=bearer("second")).status_code == 200
        assert "the last one stays" in caplog.text
        file.unlink()
        assert server.get(HERE, headers=bearer("second")).status_code == 200


def test_a_token_may_have_a_rate_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    slow = written(Token("slow", sha256("slow"))) + "rate_limit = 0.1\n"
    file.write_text(slow + written(Token("fast", sha256("fast"))))
    with served(auth_file=str(file), rate_burst=1) as server:
        assert server.get(HERE, headers=bearer("slow")).status_code == 200
        assert server.get(HERE, headers=bearer("slow")).status_code == 429
        for _ in range(3):
            assert server.get(HERE, headers=bearer("fast")).status_code == 200


GOOD = f'[[token]]\nname = "a"\nhash = "{sha256("x")}"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[token", "no TOML"),
        ("[other]\n", "nothing but"),
        ('[[token]]\nname = "a"\n', "its hash is none"),
        ('[[token]]\nname = "a"\nhash = "secret"\n', "its hash is none"),
        ('[[token]]\nname = "a"\nhash = "scrypt:zz:00"\n', "its hash is none"),
        (GOOD.replace('"a"', '"a:b"'), "without a colon"),
        (GOOD + 'rights = ["everything"]\n', "rights are read, write, admin"),
        (GOOD + 'rights = "read"\n', "expected a list"),
        (GOOD + "rate_limit = true\n", "rate_limit to be a number"),
        (GOOD + 'secret = "x"\n', "expected nothing but"),
        (GOOD + GOOD, "the same name"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(text: str, words: str) -> None:
    with pytest.raises(ArgumentValueError, match=words):
        parse(text)


def test_secrets_are_long_and_differ() -> None:
    assert len({new_secret() for _ in range(100)}) == 100
    assert len(new_secret()) > 40
    assert scrypt("the same") != scrypt("the same")


def test_a_command_makes_tokens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "tokens.toml"
    command = ["token", "reader", "--file", str(file), "--rights", "read", "--database", "one"]
    assert main(command) == 0
    secret = capsys.readouterr().out.strip()
    assert secret not in file.read_text()
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o640)  # for the group of the server
    assert main(["token", "second", "--file", str(file)]) == 0
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o640
    [first, second] = parse(file.read_text()).all
    assert first == Token("reader", sha256(secret), databases=("one",), rights=frozenset({"read"}))
    assert second.rights == {"read", "write"}
    capsys.readouterr()
    assert main(["token", "reader", "--file", str(file)]) == 1
    assert "same name" in capsys.readouterr().err
    assert main(["token", "third"]) == 0
    entry, _, secret = capsys.readouterr().out.rstrip().rpartition("\n")
    assert parse(entry).of_secret(secret) is not None
