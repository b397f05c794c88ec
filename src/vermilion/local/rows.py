"""How records are written down: metadata as JSON, checksums, hashes of ids, runs of keys."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from zlib import crc32

import numpy as np
import orjson
from numpy.typing import NDArray

from vermilion.times import TIME_TAGS, time_form, time_of_form
from vermilion.types import TYPE_KEY, SparseVector

try:  # hashlib would load OpenSSL, which takes 5 ms
    from _blake2 import blake2b as blake2b
except ImportError:
    from hashlib import blake2b as blake2b


def _form(value: Any) -> Any:
    """The form of a value that JSON does not know: a sparse vector, a date, a time."""
    return value.to_dict() if isinstance(value, SparseVector) else time_form(value)


_encoder = json.JSONEncoder(
    ensure_ascii=False,
    allow_nan=False,
    separators=(",", ":"),
    default=_form,
)


def encode_metadata(metadata: Mapping[str, Any] | None) -> str | None:
    """Metadata as JSON; keys without a value are left out, and nothing at all is None."""
    if not metadata:
        return None
    present = {key: value for key, value in metadata.items() if value is not None}
    return _encoder.encode(present) if present else None


def decode_metadata(text: str | None) -> dict[str, Any] | None:
    """The metadata that `encode_metadata` wrote."""
    if text is None:
        return None
    metadata: dict[str, Any] = orjson.loads(text)
    # No key begins like the tag, so a dict with one is such a form.
    return _read(metadata) if TYPE_KEY in text else metadata


def _read(form: dict[str, Any]) -> dict[str, Any]:
    return {key: _value(value) for key, value in form.items()}


def _value(value: Any) -> Any:
    if isinstance(value, list):
        return [_value(element) for element in value]
    if not isinstance(value, dict):
        return value
    if TYPE_KEY not in value:
        return _read(value)
    return time_of_form(value) if value[TYPE_KEY] in TIME_TAGS else SparseVector.from_dict(value)


def merge_metadata(stored: str | None, changes: Mapping[str, Any]) -> str | None:
    """Stored metadata after an update: given keys are replaced, those given as None removed."""
    return encode_metadata({**(decode_metadata(stored) or {}), **changes})


def checksum(id: str, document: str | None, uri: str | None, metadata: str | None) -> int:
    """A CRC over the cells of a record, absent ones told from empty ones."""
    cells = (id, document, uri, metadata)
    shape = "".join("-" if cell is None else "+" for cell in cells)
    return crc32("\x1f".join((shape, *(cell or "" for cell in cells))).encode())


def hash_ids(ids: Iterable[str]) -> NDArray[np.int64]:
    """The hash of each id, see `hash_id`."""
    digests = b"".join([blake2b(id.encode(), digest_size=8).digest() for id in ids])
    return np.frombuffer(digests, ">i8").astype(np.int64)


def hash_id(id: str) -> int:
    """64 bits of the id as a signed integer. Equal hashes are told apart by the id itself."""
    return int.from_bytes(blake2b(id.encode(), digest_size=8).digest(), "big", signed=True)


def runs(keys: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Ascending keys as runs (first, last) of neighbours.

    >>> list(runs([1, 2, 3, 7, 9, 10]))
    [(1, 3), (7, 7), (9, 10)]
    """
    if isinstance(keys, range):
        if keys:
            yield keys[0], keys[-1]
        return
    start = last = None
    for key in keys:
        if start is None or last is None:
            start = key
        elif key != last + 1:
            yield start, last
            start = key
        last = key
    if start is not None and last is not None:
        yield start, last
