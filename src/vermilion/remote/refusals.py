"""What a server that refuses means: its answer becomes the error that an engine would raise."""

from __future__ import annotations

from typing import Any

from vermilion.errors import InvalidArgumentError, VermilionError
from vermilion.remote.connections import Answer
from vermilion.wire.faults import error_of
from vermilion.wire.text import loads


def refusal(answer: Answer, url: str) -> VermilionError:
    """The error for an answer that is none; `url` is the server's."""
    error = error_of(answer.status, _form(answer), _strange(answer, url))
    error.trace_id = answer.headers.get("chroma-trace-id")
    return error


def _form(answer: Answer) -> Any:
    """The JSON of the answer, or None: a proxy answers what it likes."""
    try:
        return loads(answer.body)
    except InvalidArgumentError:
        return None


def _strange(answer: Answer, url: str) -> str:
    if "location" in answer.headers:
        return f"The server at {url} sends its callers to {answer.headers['location']}: go there"
    text = answer.body[:200].decode("utf-8", "replace").strip()
    return (
        f"The server at {url} answered with status {answer.status} and {text or 'nothing'!r}: "
        "is this the address of a Chroma server?"
    )
