"""Errors on the wire: an exception becomes a status and a JSON form, and that an exception."""

from __future__ import annotations

from typing import Any

from vermilion.errors import (
    AlreadyExistsError,
    ArgumentValueError,
    AuthorizationError,
    BatchSizeExceededError,
    ChromaAuthError,
    DimensionError,
    FunctionChangedError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    RateLimitError,
    UnknownDatabaseError,
    UnprocessableError,
    UnsupportedError,
    VermilionError,
    error_types,
)
from vermilion.wire.fields import Form

FORM: Form = {
    "type": "object",
    "properties": {"error": {"type": "string"}, "message": {"type": "string"}},
    "required": ["error", "message"],
}


def fault(error: BaseException) -> tuple[int, Form]:
    """The status and the body that tell an error; what is not ours is told without its text."""
    if isinstance(error, VermilionError):
        return error.code(), {"error": error.wire, "message": error.message()}
    return 500, {"error": InternalError.wire, "message": "Internal error; the server's log has it"}


# Where the server names no error of its own, as Chroma's does for most.
_BY_STATUS: dict[int, type[VermilionError]] = {
    401: AuthorizationError,
    403: ChromaAuthError,
    404: NotFoundError,
    409: AlreadyExistsError,
    413: BatchSizeExceededError,
    422: UnprocessableError,
    429: RateLimitError,
    501: UnsupportedError,
}
# Words of a text that tell more than its name does.
_BY_WORDS: dict[str, type[InvalidArgumentError]] = {
    "expecting embedding with dimension": DimensionError,
    "Inconsistent dimensions": DimensionError,
    "Database [": UnknownDatabaseError,
    "embedding function of the collection was changed": FunctionChangedError,
}


def error_of(status: int, form: Any, otherwise: str) -> VermilionError:
    """The error that an answer tells; `otherwise` is its text where the answer has none."""
    named = form if isinstance(form, dict) else {}
    text = str(named.get("message") or otherwise)
    kind = error_types.get(str(named.get("error")), VermilionError)
    if kind is VermilionError:
        usual = InternalError if status >= 500 else VermilionError
        kind = _BY_STATUS.get(status, usual)
    elif kind is InvalidArgumentError:
        told = (better for words, better in _BY_WORDS.items() if words in text)
        kind = next(told, ArgumentValueError)  # a ValueError, as the embedded engine raises
    return kind(text)
