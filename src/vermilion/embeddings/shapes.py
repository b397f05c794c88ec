"""How providers want to be asked and how they answer: a handful of shapes, each a pure function.

`asks` functions make the body of a request of one batch, `reads` functions take the vectors out of
the answer. What differs between two providers of one shape is data: a field's name, a path.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vermilion.embeddings.base import optional
from vermilion.errors import ArgumentValueError

Values = Mapping[str, Any]
Items = Sequence[Any]
Asks = Callable[[Values, Items, bool], dict[str, Any]]
Reads = Callable[[Any], list[Any]]

# ── OpenAI's: {model, input} gives data[] with an index ──────────────────────────────────────────


def openai_body(model: str = "model_name", extras: Sequence[str] = ()) -> Asks:
    """The texts under "input", and of `extras` those that are set."""

    def asks(values: Values, items: Items, query: bool) -> dict[str, Any]:
        return {"model": values[model], "input": list(items), **given(values, extras)}

    return asks


def by_index(decode: Callable[[Any], Any] = lambda cell: floats(cell)) -> Reads:
    """data[].embedding in the order of data[].index, whatever order they came in."""

    def reads(answer: Any) -> list[Any]:
        rows = sorted(answer["data"], key=lambda row: row["index"])
        if [row["index"] for row in rows] != list(range(len(rows))):
            raise ValueError("its indexes are not 0, 1, 2, …")
        return [decode(row["embedding"]) for row in rows]

    return reads


def floats(cell: Any) -> Any:
    """A vector as numbers, or as little-endian float32 in base64."""
    return np.frombuffer(base64.b64decode(cell), "<f4") if isinstance(cell, str) else cell


def small_ints(cell: Any) -> NDArray[np.float32]:
    """A vector as int8 in base64; the numbers are taken as they are."""
    return np.frombuffer(base64.b64decode(cell), np.int8).astype(np.float32)


# ── a list in, a list out ────────────────────────────────────────────────────────────────────────


def list_body(field: str, model: str | None = None, extras: Sequence[str] = ()) -> Asks:
    """The texts under `field`, the model beside them where its parameter is named."""

    def asks(values: Values, items: Items, query: bool) -> dict[str, Any]:
        named = {} if model is None else {"model": values[model]}
        return {**named, field: list(items), **given(values, extras)}

    return asks


def at(*path: str) -> Reads:
    """The list of vectors at a path of keys; no path is the answer itself."""

    def reads(answer: Any) -> list[Any]:
        for key in path:
            answer = answer[key]
        if not isinstance(answer, list):
            raise ValueError(f"{'.'.join(path) or 'it'} is not a list")
        return answer

    return reads


# ── one text a call ──────────────────────────────────────────────────────────────────────────────


def text_body(field: str) -> Asks:
    """The one text under `field`."""
    return lambda values, items, query: {field: items[0]}


def one_at(*path: str) -> Reads:
    """The one vector at a path of keys."""
    inner = at(*path)
    return lambda answer: [inner(answer)]


# ── images ───────────────────────────────────────────────────────────────────────────────────────


def is_image(item: Any) -> bool:
    """Whether an input is an image: an array of at least two dimensions."""
    return isinstance(item, np.ndarray) and item.ndim >= 2


def encoded_image(image: NDArray[Any], format: str = "PNG") -> str:
    """An image as a file of that format, in base64. Needs Pillow."""
    import io

    optional("PIL", "pip install pillow")
    from PIL import Image

    pixels = np.asarray(image)
    if pixels.dtype != np.uint8:
        raise ArgumentValueError(f"Expected images of uint8, got {pixels.dtype}")
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format=format)
    return base64.b64encode(file.getvalue()).decode()


# ── all of them ──────────────────────────────────────────────────────────────────────────────────


def given(values: Values, names: Sequence[str]) -> dict[str, Any]:
    """Of these values those that are set."""
    return {name: values[name] for name in names if values.get(name) is not None}
