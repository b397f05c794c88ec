"""What a server refuses before an operation is reached, as the errors that clients read."""

from __future__ import annotations

from vermilion.errors import VermilionError
from vermilion.wire.faults import fault
from vermilion.wire.text import dumps

Headers = list[tuple[bytes, bytes]]


class Refusal(Exception):
    """A request that is not done: the status, the error, and headers that go with it."""

    def __init__(
        self, status: int, text: str, name: str = "ChromaError", headers: Headers | None = None
    ) -> None:
        super().__init__(text)
        self.status = status
        self.name = name
        self.headers = headers or []


def unknown_route() -> Refusal:
    """There is nothing at this path."""
    return Refusal(404, "There is no such route; /docs lists those there are", "NotFoundError")


def wrong_method(allowed: list[str]) -> Refusal:
    """There is something at this path, for other methods."""
    told = ", ".join(sorted({*allowed, "OPTIONS"} | ({"HEAD"} if "GET" in allowed else set())))
    return Refusal(405, f"Allowed are {told}", headers=[(b"allow", told.encode())])


def too_large(limit: int) -> Refusal:
    """The body is longer than the server takes."""
    return Refusal(413, f"The body is larger than {limit} bytes: send smaller batches")


def busy() -> Refusal:
    """There is no room for one more."""
    return Refusal(503, "The server is busy: try again", headers=[(b"retry-after", b"1")])


def too_slow(seconds: float) -> Refusal:
    """The body does not come."""
    return Refusal(408, f"The body was not complete after {seconds:g} seconds")


def took_too_long(seconds: float | None) -> Refusal:
    """What was asked for is not done in time."""
    return Refusal(
        503,
        f"The request took longer than {seconds:g} seconds; what it asked for may still be done",
    )


def wrong_type() -> Refusal:
    """The body says that it is something else than JSON."""
    return Refusal(415, "Expected request with `Content-Type: application/json`")


def wrong_encoding(name: str) -> Refusal:
    """The body is packed in a way that the server cannot unpack."""
    return Refusal(415, f"Content-Encoding {name!r} is not known: send gzip, zstd, deflate or none")


def answer_of(error: BaseException) -> tuple[int, bytes, Headers]:
    """The status, the body and the headers that tell an error."""
    if isinstance(error, Refusal):
        return error.status, dumps({"error": error.name, "message": str(error)}), error.headers
    status, form = fault(error)
    return status, dumps(form), []


def is_ours(error: BaseException) -> bool:
    """Whether an error is an answer, and not a fault of the server that the log has to show."""
    if isinstance(error, VermilionError):
        return error.code() < 500 or error.code() in (501, 503)
    return isinstance(error, Refusal)
