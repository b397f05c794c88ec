"""Ids that are made for records: by time, or of what the records say."""

from __future__ import annotations

import json
import os
import time
from typing import Literal, cast, get_args
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from vermilion import forks
from vermilion.errors import ArgumentValueError

MakeIds = Literal["uuid7", "hash"]

_guard = forks.Lock()
_last = 0


def uuid7() -> str:
    """A UUID of version 7 (RFC 9562): its order is that of time, within a process strictly.

    48 bits of milliseconds, then a counter of 12 bits that the fraction of the millisecond starts
    and that ids of the same moment go on with, then 62 random bits.
    """
    global _last
    nanoseconds = time.time_ns()
    with _guard:
        stamp = (nanoseconds // 1_000_000 << 12) | (nanoseconds % 1_000_000 * 4096 // 1_000_000)
        _last = stamp = max(stamp, _last + 1)
    random = int.from_bytes(os.urandom(8), "big") >> 2
    time_bits, counter = stamp >> 12, stamp & 0xFFF
    return str(UUID(int=time_bits << 80 | 7 << 76 | counter << 64 | 2 << 62 | random))


def content_id(
    document: str | None, uri: str | None = None, vector: NDArray[np.float32] | None = None
) -> str:
    """The SHA-256 of what a record says: of its document, else its uri, else its vector.

    Metadata does not count: the same text is the same record whatever is known of it. The hash is
    over the JSON ["document", text], ["uri", text] or ["embedding", hexadecimal float32 bytes].
    """
    from hashlib import sha256  # loads OpenSSL

    if document is not None:
        content = ["document", document]
    elif uri is not None:
        content = ["uri", uri]
    elif vector is not None:
        content = ["embedding", vector.astype("<f4").tobytes().hex()]
    else:
        raise ArgumentValueError(
            "Expected a document, a uri or an embedding to make an id of, got none of them"
        )
    return sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()


def check_make_ids(make_ids: object) -> MakeIds:
    """How ids are to be made."""
    if make_ids not in get_args(MakeIds):
        raise ArgumentValueError(
            f"Expected make_ids to be one of {', '.join(get_args(MakeIds))}, got {make_ids!r}"
        )
    return cast(MakeIds, make_ids)


def made_id(
    how: MakeIds, document: str | None, uri: str | None, vector: NDArray[np.float32] | None
) -> str:
    """An id for a record."""
    return uuid7() if how == "uuid7" else content_id(document, uri, vector)
