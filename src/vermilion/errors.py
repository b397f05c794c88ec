"""Every exception: its HTTP status, its name on the wire, and the moment it can happen.

    VermilionError (also exported as ChromaError)
    ├── InvalidArgumentError            the request cannot be understood or is not allowed
    │   ├── ArgumentValueError          … and it is a ValueError, too
    │   ├── ArgumentTypeError           … and it is a TypeError, too
    │   ├── DimensionError              … also an InvalidDimensionException
    │   ├── UnprocessableError          the JSON of a request has another shape than it should
    │   └── UnknownDatabaseError        … also a NotFoundError
    ├── DuplicateIDError                one call names the same id twice
    ├── NotFoundError                   tenant, database or collection does not exist
    ├── ConflictError                   it would undo what somebody else has done since
    ├── UniqueConstraintError
    │   └── AlreadyExistsError          … also an InternalError, as embedded Chroma raises
    ├── AuthorizationError, ChromaAuthError, RateLimitError, QuotaError
    ├── UnsupportedError                the server cannot do this; also a NotImplementedError
    └── InternalError                   something broke that is not the caller's fault
        ├── StorageError                the disk is full, read-only, locked or gone
        ├── UnreachableError            no server answers; also a ConnectionError and a ValueError
        │   └── ServerTimeoutError      … or not in time; also a TimeoutError
        ├── BatchTooLargeError          … for the server; also a BatchSizeExceededError, ValueError
        ├── ClosedError                 the client was closed; also a RuntimeError
        ├── DamagedError                stored bytes are not what was written
        └── EmbeddingError              a provider of embeddings failed

The names and statuses are those of Chroma, so that existing `except` clauses keep working. Where
Chroma raises a less helpful class than it could, ours derives from both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class VermilionError(Exception):
    """Anything that Vermilion raises on purpose, apart from ValueError and TypeError."""

    status = 400
    label = "ChromaError"  # what name() answers
    wire = "ChromaError"  # the "error" field of an HTTP answer
    trace_id: str | None = None

    def code(self) -> int:
        """Returns the HTTP status that belongs to this error."""
        return self.status

    def message(self) -> str:
        """Returns the text of this error."""
        return ", ".join(map(str, self.args))

    @classmethod
    def name(cls) -> str:
        """Returns the short name of this error."""
        return cls.label


ChromaError = VermilionError


# ── the request is wrong ─────────────────────────────────────────────────────────────────────────


class InvalidArgumentError(VermilionError):
    """An argument cannot be understood or is not allowed."""

    label = "InvalidArgument"
    wire = "InvalidArgumentError"


class ArgumentValueError(InvalidArgumentError, ValueError):
    """An argument has the right type and an impossible value."""


class ArgumentTypeError(InvalidArgumentError, TypeError):
    """An argument has a type that cannot be used here."""


class InvalidDimensionException(VermilionError):
    """A vector has the wrong number of dimensions."""

    label = "InvalidDimension"
    wire = "InvalidDimension"


class DimensionError(InvalidArgumentError, InvalidDimensionException):
    """A vector does not have the dimension of its collection."""


class FunctionChangedError(InvalidArgumentError):
    """The collection has got another embedding function since the vectors were made."""


class UnprocessableError(InvalidArgumentError):
    """The JSON of a request has another shape than it should."""

    status = 422
    wire = "ChromaError"


class DuplicateIDError(VermilionError):
    """One call names the same id more than once."""

    label = "DuplicateID"
    wire = "DuplicateID"


class InvalidUUIDError(VermilionError):
    """A collection id is not a UUID."""

    label = "InvalidUUID"
    wire = "InvalidUUID"


class InvalidHTTPVersion(VermilionError):
    """The client speaks an HTTP version that the server does not."""

    label = "InvalidHTTPVersion"
    wire = "InvalidHTTPVersion"


class BatchSizeExceededError(VermilionError):
    """A batch is larger than a server accepts."""

    status = 413
    label = wire = "BatchSizeExceededError"


# ── the thing is not there, or is already ────────────────────────────────────────────────────────


class NotFoundError(VermilionError):
    """The tenant, database or collection does not exist."""

    status = 404
    label = wire = "NotFoundError"


class UnknownDatabaseError(InvalidArgumentError, NotFoundError):
    """A collection cannot be created, because its database does not exist."""

    status = 400
    label = "InvalidArgument"
    wire = "InvalidArgumentError"


class IDAlreadyExistsError(VermilionError):
    """A record with this id is already in the collection."""

    status = 409
    label = wire = "IDAlreadyExists"


def client_closed() -> ClosedError:
    """Somebody asks a client after it was closed."""
    return ClosedError("This client was closed; make a new one to go on")


def ids_exist(ids: Sequence[str]) -> IDAlreadyExistsError:
    """The error for an `add` of only new records, some of which exist."""
    more = f" and {len(ids) - 10} more" if len(ids) > 10 else ""
    return IDAlreadyExistsError(
        f"Nothing was added, because records with these ids exist already: "
        f"{', '.join(ids[:10])}{more}"
    )


class ConflictError(VermilionError):
    """A call cannot be undone, since a later one has changed the same records."""

    status = 409
    label = wire = "ConflictError"


class UniqueConstraintError(VermilionError):
    """The name is taken."""

    status = 409
    label = wire = "UniqueConstraintError"


# ── the caller may not ───────────────────────────────────────────────────────────────────────────


class ChromaAuthError(VermilionError):
    """The caller is not allowed to do this."""

    status = 403
    label = wire = "AuthError"

    def message(self) -> str:
        """Returns a fixed text, so that a refusal tells nothing."""
        return "Forbidden"


class AuthorizationError(VermilionError):
    """The caller is unknown, or the operation is switched off."""

    status = 401
    label = wire = "AuthorizationError"


class RateLimitError(VermilionError):
    """Too many requests."""

    status = 429
    label = wire = "RateLimitError"


class QuotaError(VermilionError):
    """A quota is used up."""

    label = wire = "QuotaError"


# ── the machine ──────────────────────────────────────────────────────────────────────────────────


class InternalError(VermilionError):
    """Something broke that is not the caller's fault."""

    status = 500
    label = wire = "InternalError"


class EmbeddingError(InternalError):
    """A provider of embeddings could not be reached, refused, or answered something else."""

    status = 502

    def __init__(self, provider: str, provider_status: int | None, words: str) -> None:
        """`provider_status` is the HTTP status of the provider's answer, None without one."""
        said = "" if provider_status is None else f" answered {provider_status}"
        super().__init__(f"Embedding provider {provider}{said}: {words}")
        self.provider = provider
        self.provider_status = provider_status
        self.words = words

    def __reduce__(self) -> Any:
        return type(self), (self.provider, self.provider_status, self.words)


class AlreadyExistsError(UniqueConstraintError, InternalError):
    """The tenant, database or collection exists already."""

    status = 409
    label = "UniqueConstraintError"
    wire = "ChromaError"


class StorageError(InternalError):
    """The directory cannot be read or written: full, read-only, not a directory, gone."""


class BatchTooLargeError(BatchSizeExceededError, InternalError, ValueError):
    """A batch is larger than the server accepts; nothing of it was written."""

    status = 413


class UnreachableError(InternalError, ConnectionError, ValueError):
    """No server answers, or the connection to it broke."""

    status = 503

    def __init__(self, text: str, *, sent: bool = True) -> None:
        """`sent` tells whether the server may have received the request."""
        super().__init__(text)
        self.sent = sent


class OfflineError(UnreachableError):
    """VERMILION_OFFLINE is set, and this would have spoken to another machine."""


class ServerTimeoutError(UnreachableError, TimeoutError):
    """The server was silent for too long."""

    status = 504


class DamagedError(InternalError):
    """Stored bytes are not what was written."""


class UnsupportedError(VermilionError, NotImplementedError):
    """The server cannot do this."""

    status = 501


class ClosedError(InternalError, RuntimeError):
    """The client, or the directory it had open, was closed."""


class VersionMismatchError(VermilionError):
    """The directory was written by a newer release than this one."""

    status = 500
    label = wire = "VersionMismatchError"


# What the "error" field of an HTTP answer means to a client.
error_types: dict[str, type[VermilionError]] = {
    kind.wire: kind
    for kind in (
        InvalidDimensionException,
        InvalidArgumentError,
        IDAlreadyExistsError,
        DuplicateIDError,
        InvalidUUIDError,
        InvalidHTTPVersion,
        ChromaAuthError,
        AuthorizationError,
        NotFoundError,
        ConflictError,
        UniqueConstraintError,
        BatchSizeExceededError,
        VersionMismatchError,
        InternalError,
        RateLimitError,
        QuotaError,
        VermilionError,
    )
}
