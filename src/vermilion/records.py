"""The caller's columns, in every form they are accepted, checked once, become a Batch.

Checking happens here and nowhere else: engines take a `Batch` and trust it. Each `…_column`
function turns one argument into a plain list or array, or raises an error that says what was got
and what is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast, get_args

import numpy as np
from numpy.typing import NDArray

from vermilion.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    DuplicateIDError,
    InvalidArgumentError,
)
from vermilion.metadata import check_key as check_key
from vermilion.metadata import check_metadata as check_metadata
from vermilion.metadata import check_value as check_value
from vermilion.metadata import encodable
from vermilion.metadata import metadata_column as metadata_column
from vermilion.query.operators import plain
from vermilion.types import Mode, Records

MAX_DIMENSION = 65_535


@dataclass(frozen=True)
class Batch:
    """Checked rows, ready for an engine.

    `vectors` is float32 of shape (n, dimension), finite, or None when no row has one. Rows whose
    `has_vector` is False carry none; `has_vector=None` means all. Such rows change records, and new
    ones come of them only with `bare`: records that have no vector yet.
    A None cell of another column means "nothing given"; so does a None column. The columns in
    `clear` are emptied first in records that exist, whatever is then given for them. `made_by`
    is the function that made the vectors, see `switching.maker_of`; None for given ones.
    """

    ids: list[str]
    vectors: NDArray[np.float32] | None = None
    has_vector: NDArray[np.bool_] | None = None
    documents: Sequence[str | None] | None = None
    uris: Sequence[str | None] | None = None
    metadatas: Sequence[Mapping[str, Any] | None] | None = None
    clear: frozenset[str] = frozenset()
    made_by: str | None = None
    bare: bool = False

    @classmethod
    def of(cls, records: Records) -> Batch:
        """Rows that make the same records elsewhere."""
        some = records.has_vector is None or bool(records.has_vector.any())
        return cls(
            records.ids,
            records.vectors if some else None,
            records.has_vector,
            records.documents,
            records.uris,
            records.metadatas,
            bare=records.has_vector is not None,
        )

    def __len__(self) -> int:
        return len(self.ids)

    def have_vectors(self, rows: Sequence[int]) -> bool:
        """Whether each of these rows has a vector."""
        if self.vectors is None or self.has_vector is None:
            return self.vectors is not None
        return bool(self.has_vector[list(rows)].all())

    @property
    def dimension(self) -> int | None:
        """The number of dimensions of its vectors, or None when it has none."""
        return None if self.vectors is None else self.vectors.shape[1]


def picked(records: Records, places: Sequence[int]) -> Records:
    """The records at some places."""

    def cut(column: list[Any] | None) -> list[Any] | None:
        return None if column is None else [column[place] for place in places]

    there = None if records.has_vector is None else records.has_vector[places]
    return Records(
        [records.ids[place] for place in places],
        None if records.vectors is None else records.vectors[places],
        cut(records.documents),
        cut(records.uris),
        cut(records.metadatas),
        None if there is None or there.all() else there,
    )


class Columns(NamedTuple):
    """The caller's checked columns, before anything is embedded.

    `has_vector` as for `Batch`; it is None unless the caller said of a row that it has none.
    """

    ids: list[str]
    vectors: NDArray[np.float32] | None
    documents: list[str | None] | None
    images: list[NDArray[Any]] | None
    uris: list[str | None] | None
    metadatas: list[dict[str, Any] | None] | None
    has_vector: NDArray[np.bool_] | None = None

    def batch(
        self, vectors: NDArray[np.float32] | None, clear: frozenset[str] = frozenset()
    ) -> Batch:
        """These rows with the vectors that were given or computed for them."""
        if vectors is not None and len(vectors) != len(self.ids):
            raise InvalidArgumentError(
                "Inconsistent number of IDs, embeddings, documents, URIs and metadatas: "
                f"{len(self.ids)} ids, {len(vectors)} embeddings"
            )
        return Batch(
            self.ids,
            vectors,
            self.has_vector,
            documents=self.documents,
            uris=self.uris,
            metadatas=self.metadatas,
            clear=clear,
        )


def check_columns(
    ids: object,
    embeddings: object = None,
    metadatas: object = None,
    documents: object = None,
    images: object = None,
    uris: object = None,
) -> Columns:
    """Columns in any accepted form, checked.

    Raises ValueError, TypeError, DuplicateIDError or InvalidArgumentError.
    """
    sourceless = documents is None and uris is None
    given, there = (embeddings, None) if sourceless else some_rows(embeddings)
    vectors = vector_column(vector_rows(given))  # first: Chroma complains about them first
    if vectors is not None and there is not None:
        vectors = spread(vectors, there)
    many_ids, many_metadatas = as_list(ids), as_list(metadatas)
    many_documents, many_images, many_uris = as_list(documents), as_list(images), as_list(uris)
    check_lengths(
        {
            "ids": many_ids,
            "embeddings": vectors if there is None else there,
            "metadatas": many_metadatas,
            "documents": many_documents,
            "images": many_images,
            "uris": many_uris,
        }
    )
    return Columns(
        vectors=vectors,
        documents=document_column(
            many_documents, optional=vectors is not None or there is not None
        ),
        images=image_column(many_images),
        ids=id_column(many_ids),
        metadatas=metadata_column(many_metadatas),
        uris=uri_column(many_uris),
        has_vector=there,
    )


# ── shape ────────────────────────────────────────────────────────────────────────────────────────


def as_list(value: object) -> list[Any] | None:
    """One item stands for a list of one; None stays None."""
    if value is None or isinstance(value, list):
        return value
    return [value]


def check_lengths(columns: Mapping[str, Any]) -> None:
    """Raises ValueError unless the columns that are there are not empty and equally long."""
    lengths = {name: len(column) for name, column in columns.items() if column is not None}
    empty = [name for name, length in lengths.items() if not length and name != "embeddings"]
    if empty:
        raise ArgumentValueError(f"Non-empty lists are required for {empty}")
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        raise ArgumentValueError(f"Unequal lengths for fields: {told}")


# ── ids ──────────────────────────────────────────────────────────────────────────────────────────


def id_column(ids: list[Any] | None) -> list[str]:
    """The ids of a write: strings, not empty, each once."""
    out = id_list(ids)
    if len(set(out)) != len(out):
        raise DuplicateIDError(_duplicates(out))
    return out


def id_list(ids: list[Any] | None) -> list[str]:
    """Ids as strings; the same one may stand twice."""
    if not isinstance(ids, list):
        raise ArgumentValueError(f"Expected IDs to be a list, got {type(ids).__name__}")
    if not ids:
        raise ArgumentValueError("Expected IDs to be a non-empty list, got 0 IDs")
    if set(map(type, ids)) == {str} and all(map(str.isascii, ids)) and "" not in ids:
        return [*ids]
    for id in ids:
        if not isinstance(id, str):
            raise ArgumentValueError(f"Expected ID to be a str, got {id!r}")
        if not id:
            raise InvalidArgumentError("Empty ID, ID must have at least one character")
        encodable(id, "ID")
    return [plain(id) for id in ids]


def _duplicates(ids: list[str]) -> str:
    seen: set[str] = set()
    twice = list(dict.fromkeys(id for id in ids if id in seen or seen.add(id)))  # type: ignore[func-returns-value]  # a set's add is None
    if len(twice) < 10:
        return f"Expected IDs to be unique, found duplicates of: {', '.join(twice)}"
    shown = ", ".join([*twice[:5], "...", *twice[-5:]])
    return f"Expected IDs to be unique, found {len(twice)} duplicated IDs: {shown}"


# ── vectors ──────────────────────────────────────────────────────────────────────────────────────

_FORMS = (
    "Expected embeddings to be a list of floats or ints, a list of lists, a numpy array, or a "
    "list of numpy arrays, got "
)


def some_rows(value: Any) -> tuple[Any, NDArray[np.bool_] | None]:
    """Embeddings without those that are None, and which are there; None for all."""
    if not isinstance(value, list) or not any(row is None for row in value):
        return value, None
    given = [row for row in value if row is not None]
    if not all(isinstance(row, list) or np.ndim(row) for row in given):
        return value, None  # is refused as a whole
    return given or None, np.array([row is not None for row in value], np.bool_)


def spread(vectors: NDArray[np.float32], there: NDArray[np.bool_]) -> NDArray[np.float32]:
    """A row for each place, with the vectors in those that have one."""
    out = np.zeros((len(there), vectors.shape[1]), np.float32)
    out[there] = vectors
    return out


def vector_rows(value: object) -> Sequence[Any] | NDArray[Any] | None:
    """The rows of embeddings in any accepted form: what stands for one vector becomes one row."""
    if value is None:
        return None
    if not isinstance(value, list | str | bytes) and hasattr(value, "__array__"):
        array = np.asarray(value)
        if array.ndim not in (1, 2):
            raise ArgumentValueError(f"{_FORMS}an array of {array.ndim} dimensions")
        return array[np.newaxis] if array.ndim == 1 and array.size else array
    if not hasattr(value, "__len__"):
        raise ArgumentTypeError(f"{_FORMS}{type(value).__name__}, which has no len()")
    if not isinstance(value, list):
        raise ArgumentValueError(f"{_FORMS}{type(value).__name__}")
    if value and all(
        isinstance(item, int | float) and not isinstance(item, bool) for item in value
    ):
        return [value]
    for item in value:
        if not isinstance(item, list) and not (hasattr(item, "__array__") and np.ndim(item)):
            raise ArgumentValueError(f"{_FORMS}a list with {item!r} of {type(item).__name__}")
    return value


def vector_column(rows: Sequence[Any] | NDArray[Any] | None) -> NDArray[np.float32] | None:
    """Rows as one float32 array of shape (n, dimension), finite, or None."""
    if rows is None:
        return None
    if not len(rows):
        raise ArgumentValueError(
            "Expected Embeddings to be non-empty list or numpy array, got 0 embeddings"
        )
    matrix = _matrix(rows)
    if not matrix.shape[1]:
        raise ArgumentValueError(
            "Expected each embedding in the embeddings to be a 1-dimensional numpy array with at "
            "least 1 int/float value, got one with 0"
        )
    if matrix.shape[1] > MAX_DIMENSION:
        raise InvalidArgumentError(
            f"Expected embeddings of at most {MAX_DIMENSION} dimensions, got {matrix.shape[1]}"
        )
    with np.errstate(over="ignore"):  # what overflows float32 is reported below
        vectors = np.ascontiguousarray(matrix, dtype=np.float32)
    check_finite(vectors)
    return vectors


def check_finite(vectors: NDArray[np.float32]) -> None:
    """Raises InvalidArgumentError when a component is NaN or infinite as float32."""
    finite = np.isfinite(vectors)
    if not finite.all():
        row, place = np.argwhere(~finite)[0]
        raise ArgumentValueError(
            "Embeddings must not contain NaN or Infinity values: "
            f"embedding {row} has {vectors[row, place]} at index {place}"
        )


def _matrix(rows: Sequence[Any] | NDArray[Any]) -> NDArray[Any]:
    try:
        if isinstance(rows, np.ndarray):
            matrix = rows
        elif len(rows) == 1:
            matrix = np.asarray(rows[0])[np.newaxis]
        else:
            matrix = np.array([np.asarray(row) for row in rows])
    except ValueError:  # numpy's word for rows of different lengths
        raise _ragged(rows) from None
    if matrix.ndim != 2:
        raise ArgumentValueError(
            "Expected each embedding in the embeddings to be a 1-dimensional numpy array with at "
            f"least 1 int/float value, got one with {matrix.ndim - 1} dimensions"
        )
    if matrix.dtype.kind not in "fiu" or matrix.dtype.itemsize == 1:
        raise ArgumentValueError(
            "Expected each value in the embedding to be a int or float, got an array of "
            f"{matrix.dtype.name}; allowed are float16, float32, float64, int32 and int64"
        )
    return matrix


def _ragged(rows: Sequence[Any] | NDArray[Any]) -> InvalidArgumentError:
    shapes = {np.shape(row) for row in rows}
    if all(len(shape) == 1 for shape in shapes):
        sizes = sorted(shape[0] for shape in shapes)
        return ArgumentValueError(f"Inconsistent dimensions in provided embeddings: {sizes}")
    return ArgumentValueError(
        "Expected each embedding in the embeddings to be a 1-dimensional numpy array with at "
        f"least 1 int/float value, got rows of shapes {sorted(shapes)}"
    )


# ── documents, images, uris ──────────────────────────────────────────────────────────────────────


def document_column(documents: list[Any] | None, *, optional: bool) -> list[str | None] | None:
    """Documents as strings; None cells only where `optional`."""
    if documents is None:
        return None
    for document in documents:
        if document is None and optional:
            continue
        if not isinstance(document, str):
            raise ArgumentValueError(
                f"Expected document to be a str, got {document!r} of {type(document).__name__}"
            )
        encodable(document, "document")
    return [None if document is None else plain(document) for document in documents]


def image_column(images: list[Any] | None) -> list[NDArray[Any]] | None:
    """Images as arrays of at least two dimensions."""
    for image in images or ():
        if not isinstance(image, np.ndarray):
            raise ArgumentValueError(
                f"Expected image to be a numpy array, got {type(image).__name__}"
            )
        if image.ndim < 2:
            raise ArgumentValueError(
                f"Expected image to be a numpy array with 2 or more dimensions, got {image.ndim}"
            )
    return images


def uri_column(uris: list[Any] | None) -> list[str | None] | None:
    """Uris as strings or None."""
    if uris is None:
        return None
    for uri in uris:
        if uri is None:
            continue
        if not isinstance(uri, str):
            raise ArgumentTypeError(f"Expected URI to be a str or None, got {uri!r}")
        encodable(uri, "URI")
    return [None if uri is None else plain(uri) for uri in uris]


# ── numbers and include ──────────────────────────────────────────────────────────────────────────

INCLUDABLE = ("documents", "embeddings", "metadatas", "distances", "uris", "data")


def check_include(include: object, *, distances: bool) -> list[str]:
    """The columns a caller wants; `distances` tells whether that one may be asked for."""
    if not isinstance(include, list):
        raise ArgumentValueError(f"Expected include to be a list, got {type(include).__name__}")
    for item in include:
        if item not in INCLUDABLE:
            raise ArgumentValueError(
                f"Expected include item to be one of {', '.join(INCLUDABLE)}, got {item!r}"
            )
        if item == "distances" and not distances:
            raise ArgumentValueError("Include item cannot be one of distances, got distances")
    return [str(item) for item in include]


CLEARABLE = ("documents", "metadatas", "uris")


def check_clear(clear: object) -> frozenset[str]:
    """The columns that a change empties first."""
    if isinstance(clear, str) or not isinstance(clear, list | tuple | set | frozenset):
        raise ArgumentTypeError(f"Expected clear to be a list, got {clear!r}")
    for item in clear:
        if item not in CLEARABLE:
            raise ArgumentValueError(
                f"Expected clear item to be one of {', '.join(CLEARABLE)}, got {item!r}"
            )
    return frozenset(clear)


def check_n_results(n_results: object) -> int:
    """How many matches each query wants: at least one.

    Plain ValueError and TypeError, without any other base: callers compare the exact type.
    """
    if not isinstance(n_results, int) or isinstance(n_results, bool):
        raise ValueError(f"Expected requested number of results to be a int, got {n_results!r}")
    if n_results <= 0:
        raise TypeError(f"Number of requested results {n_results}, cannot be negative, or zero.")
    return n_results


_MODES = get_args(Mode)


def check_mode(mode: object) -> Mode:
    """How a text is looked for."""
    if mode not in _MODES:
        raise ArgumentValueError(f"Expected mode to be one of {', '.join(_MODES)}, got {mode!r}")
    return cast(Mode, mode)


def check_recall(recall: object) -> float:
    """The share of true neighbours that a query aims at: between 0 and 1."""
    if not isinstance(recall, int | float) or isinstance(recall, bool):
        raise ArgumentTypeError(f"Expected recall to be a number, got {recall!r}")
    if not 0 < recall <= 1:
        raise ArgumentValueError(f"Expected recall to be above 0 and at most 1, got {recall}")
    return float(recall)


def check_count(name: str, value: object) -> int | None:
    """A limit or an offset: None, or an integer that is not negative."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ArgumentTypeError(f"Expected {name} to be a non-negative integer, got {value!r}")
    if value < 0:
        raise ArgumentValueError(f"Expected {name} to be a non-negative integer, got {value}")
    return int(value)
