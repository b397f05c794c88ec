"""What a client raises when a server refuses, or answers what no server of Chroma answers."""

from __future__ import annotations

import json

import httpx
import pytest

from vermilion import errors
from vermilion.remote.engine import RemoteEngine
from vermilion.remote.target import Target
from vermilion.remote.transport import Threaded

URL = "http://localhost:8000/api/v2"


def engine(status: int, body: bytes, **headers: str) -> RemoteEngine:
    """The engine of a server that always answers the same."""
    answer = httpx.Response(status, content=body, headers=headers)
    return RemoteEngine(
        Threaded(Target(URL, retries=0), lambda: httpx.MockTransport(lambda _: answer))
    )


NAMED: list[tuple[int, str, str, type[Exception]]] = [
    (400, "InvalidArgumentError", "wrong", errors.ArgumentValueError),
    (
        400,
        "InvalidArgumentError",
        "Collection expecting embedding with dimension of 3, got 2",
        errors.DimensionError,
    ),
    (400, "InvalidArgumentError", "Database [x] does not exist", errors.UnknownDatabaseError),
    (404, "NotFoundError", "Collection [x] does not exist", errors.NotFoundError),
    (401, "AuthorizationError", "who are you", errors.AuthorizationError),
    (403, "AuthError", "Forbidden", errors.ChromaAuthError),
    (409, "UniqueConstraintError", "taken", errors.UniqueConstraintError),
    (429, "RateLimitError", "slowly", errors.RateLimitError),
    (500, "InternalError", "broken", errors.InternalError),
    # Chroma's servers name few errors: the status has to do.
    (401, "ChromaError", "Permission denied.", errors.AuthorizationError),
    (403, "ChromaError", "Reset is disabled by config", errors.ChromaAuthError),
    (409, "ChromaError", "Collection [x] already exists", errors.AlreadyExistsError),
    (413, "ChromaError", "length limit exceeded", errors.BatchSizeExceededError),
    (422, "ChromaError", "Failed to deserialize", errors.UnprocessableError),
    (429, "ChromaError", "Too many requests", errors.RateLimitError),
    (501, "ChromaError", "forking is unsupported", errors.UnsupportedError),
    (503, "Unavailable", "later", errors.InternalError),
]


@pytest.mark.parametrize(("status", "name", "text", "kind"), NAMED)
def test_an_error_has_the_class_that_an_engine_would_raise(
    status: int, name: str, text: str, kind: type[Exception]
) -> None:
    body = json.dumps({"error": name, "message": text}).encode()
    with pytest.raises(errors.VermilionError) as caught:
        engine(status, body, **{"chroma-trace-id": "42"}).version()
    assert type(caught.value) is kind
    assert (str(caught.value), caught.value.trace_id) == (text, "42")


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, b"", errors.NotFoundError),
        (404, b"<html>Not here</html>", errors.NotFoundError),
        (413, b"Payload too large", errors.BatchSizeExceededError),
        (429, b"You have been rate limited.", errors.RateLimitError),
        (502, b'["no", "map"]', errors.InternalError),
        (418, b"\xff\xfe", errors.VermilionError),
    ],
)
def test_an_answer_in_another_form_is_quoted(
    status: int, body: bytes, kind: type[Exception]
) -> None:
    with pytest.raises(errors.VermilionError) as caught:
        engine(status, body).version()
    assert type(caught.value) is kind
    assert f"{URL} answered with status {status}" in str(caught.value)
    assert (body.decode("utf-8", "replace") or "nothing") in str(caught.value)


def test_a_long_page_is_cut() -> None:
    with pytest.raises(errors.InternalError) as caught:
        engine(500, b"<p>" * 10_000).version()
    assert len(str(caught.value)) < 500


def test_a_redirection_tells_where_to() -> None:
    with pytest.raises(errors.VermilionError, match="to https://elsewhere.org/: go there"):
        engine(301, b"", location="https://elsewhere.org/").version()


@pytest.mark.parametrize("body", [b"<html>", b"", b"[]", b'{"name": 1}', b'"text"'])
def test_an_answer_that_makes_no_sense(body: bytes) -> None:
    with pytest.raises(errors.InternalError, match="GET /heartbeat cannot be read"):
        engine(200, body).heartbeat()
