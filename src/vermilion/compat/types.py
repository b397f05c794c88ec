"""The long tail of `chromadb.api.types`: its typed dicts, constants and checks.

Nothing inside uses this module. Every check asks the one place that knows the rule, and returns
what Chroma's returns: the argument itself, or nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypedDict, TypeVar
from uuid import UUID

import numpy as np

from vermilion.errors import ArgumentValueError
from vermilion.metadata import check_field_value, check_metadata, metadata_column
from vermilion.query.where import parse, parse_where, parse_where_document
from vermilion.records import (
    as_list,
    check_columns,
    check_include,
    check_lengths,
    check_n_results,
    document_column,
    id_column,
    image_column,
    vector_column,
    vector_rows,
)
from vermilion.types import (
    Documents,
    Embedding,
    Embeddings,
    IDs,
    Images,
    Include,
    Metadatas,
    PyEmbeddings,
    SparseVector,
    SparseVectors,
    URIs,
    Where,
    WhereDocument,
)

# ── constants ────────────────────────────────────────────────────────────────────────────────────

STRING_VALUE_NAME = "string"
INT_VALUE_NAME = "int"
BOOL_VALUE_NAME = "bool"
FLOAT_VALUE_NAME = "float"
FLOAT_LIST_VALUE_NAME = "float_list"
SPARSE_VECTOR_VALUE_NAME = "sparse_vector"

FTS_INDEX_NAME = "fts_index"
VECTOR_INDEX_NAME = "vector_index"
SPARSE_VECTOR_INDEX_NAME = "sparse_vector_index"
STRING_INVERTED_INDEX_NAME = "string_inverted_index"
INT_INVERTED_INDEX_NAME = "int_inverted_index"
FLOAT_INVERTED_INDEX_NAME = "float_inverted_index"
BOOL_INVERTED_INDEX_NAME = "bool_inverted_index"
HNSW_INDEX_NAME = "hnsw_index"
SPANN_INDEX_NAME = "spann_index"

IncludeMetadataDocuments: Include = ["metadatas", "documents"]
IncludeMetadataDocumentsEmbeddings: Include = ["metadatas", "documents", "embeddings"]
IncludeMetadataDocumentsDistances: Include = ["metadatas", "documents", "distances"]
IncludeMetadataDocumentsEmbeddingsDistances: Include = [
    "metadatas",
    "documents",
    "embeddings",
    "distances",
]

# ── types ────────────────────────────────────────────────────────────────────────────────────────

T = TypeVar("T")
OneOrMany: TypeAlias = T | list[T]
Parameter = TypeVar("Parameter", Embedding, str, dict[str, Any])
InclusionExclusionOperator = Literal["$in", "$nin"]
ArrayContainsOperator = Literal["$contains", "$not_contains"]
MetadataListValue = list[str] | list[int] | list[float] | list[bool]


class Tenant(TypedDict):
    """A tenant, as `AdminClient.get_tenant` returns it."""

    name: str


class Database(TypedDict):
    """A database, as `AdminClient.get_database` returns it."""

    id: UUID
    name: str
    tenant: str


class IndexMetadata(TypedDict):
    """What an index says about itself."""

    dimensionality: int
    curr_elements: int
    total_elements_added: int
    time_created: float


class BaseRecordSet(TypedDict):
    """The columns that an embedding is, or can be made of."""

    embeddings: Embeddings | None
    documents: Documents | None
    images: Images | None
    uris: URIs | None


class InsertRecordSet(BaseRecordSet):
    """The columns of a write."""

    ids: IDs
    metadatas: Metadatas | None


class FilterSet(TypedDict):
    """Both filters of a read."""

    where: Where | None
    where_document: WhereDocument | None


class UpdateRequest(TypedDict):
    """The checked arguments of `Collection.update`."""

    ids: IDs
    embeddings: Embeddings | None
    metadatas: Metadatas | None
    documents: Documents | None
    uris: URIs | None


class AddRequest(TypedDict):
    """The checked and embedded arguments of `Collection.add`."""

    ids: IDs
    embeddings: Embeddings
    metadatas: Metadatas | None
    documents: Documents | None
    uris: URIs | None


class UpsertRequest(AddRequest):
    """The checked and embedded arguments of `Collection.upsert`."""


class GetRequest(TypedDict):
    """The checked arguments of `Collection.get`."""

    ids: IDs | None
    where: Where | None
    where_document: WhereDocument | None
    include: Include


class QueryRequest(TypedDict):
    """The checked and embedded arguments of `Collection.query`."""

    embeddings: Embeddings
    ids: IDs | None
    where: Where | None
    where_document: WhereDocument | None
    include: Include
    n_results: int


class DeleteRequest(TypedDict):
    """The checked arguments of `Collection.delete`."""

    ids: IDs | None
    where: Where | None
    where_document: WhereDocument | None


# ── one column ───────────────────────────────────────────────────────────────────────────────────


def validate_ids(ids: IDs) -> IDs:
    """Returns the ids of a write; raises ValueError or DuplicateIDError."""
    id_column(ids)
    return ids


def validate_embeddings(embeddings: Embeddings) -> Embeddings:
    """Returns the embeddings; raises ValueError."""
    vector_column([] if embeddings is None else vector_rows(embeddings))
    return embeddings


def validate_documents(documents: Documents, nullable: bool = False) -> None:
    """Raises ValueError unless these are texts, or None where `nullable`."""
    document_column(_filled("documents", documents), optional=nullable)


def validate_images(images: Images) -> None:
    """Raises ValueError unless these are arrays of two or more dimensions."""
    image_column(_filled("images", images))


def validate_metadata(metadata: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Returns the metadata of one record; raises ValueError or TypeError."""
    if metadata is not None:
        check_metadata(metadata)
    return metadata


def validate_update_metadata(metadata: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """As validate_metadata; a value of None removes its key."""
    return validate_metadata(metadata)


def validate_metadatas(metadatas: Metadatas) -> Metadatas:
    """Returns the metadata of several records; raises ValueError or TypeError."""
    metadata_column(_listed("metadatas", metadatas))
    return metadatas


def validate_sparse_vectors(vectors: SparseVectors) -> SparseVectors:
    """Returns the vectors, each of which was checked when it was made; raises ValueError."""
    for place, vector in enumerate(_filled("sparse vectors", vectors)):
        if not isinstance(vector, SparseVector):
            raise ArgumentValueError(
                f"Expected SparseVector instance at position {place}, got {type(vector).__name__}"
            )
    return vectors


def is_document(target: object) -> bool:
    """Returns whether this is one document."""
    return _passes(lambda: document_column([target], optional=False))


def is_image(target: object) -> bool:
    """Returns whether this is one image."""
    return _passes(lambda: image_column([target]))


def _passes(check: Callable[[], object]) -> bool:
    try:
        check()
    except ArgumentValueError:
        return False
    return True


def _listed(noun: str, column: object) -> list[Any]:
    if not isinstance(column, list):
        raise ArgumentValueError(f"Expected {noun} to be a list, got {column!r}")
    return column


def _filled(noun: str, column: object) -> list[Any]:
    listed = _listed(noun, column)
    check_lengths({noun: listed})
    return listed


# ── arguments of reads ───────────────────────────────────────────────────────────────────────────


def validate_where(where: Where) -> None:
    """Raises ValueError unless this is a metadata filter."""
    parse_where(where)


def validate_where_document(where_document: WhereDocument) -> None:
    """Raises ValueError unless this is a document filter."""
    parse_where_document(where_document)


def validate_filter_set(filter_set: FilterSet) -> None:
    """Raises ValueError unless both filters, where they are given, can be used."""
    parse(filter_set["where"], filter_set["where_document"])


def validate_include(include: Include, dissalowed: Include | None = None) -> None:
    """Raises ValueError unless these are columns, and none of the disallowed ones (sic)."""
    for item in check_include(include, distances=True):
        if item in (dissalowed or ()):
            raise ArgumentValueError(
                f"Include item cannot be one of {', '.join(dissalowed or ())}, got {item}"
            )


def validate_n_results(n_results: int) -> int:
    """Returns the number of results; raises ValueError or TypeError."""
    return check_n_results(n_results)


def validate_batch(batch: Sequence[Any], limits: Mapping[str, Any]) -> None:
    """Raises ValueError when the ids, which stand first, are more than limits["max_batch_size"]."""
    if len(batch[0]) > limits["max_batch_size"]:
        raise ArgumentValueError(
            f"Batch size {len(batch[0])} exceeds maximum batch size {limits['max_batch_size']}"
        )


# ── sets of columns ──────────────────────────────────────────────────────────────────────────────


def normalize_base_record_set(
    embeddings: Any = None, documents: Any = None, images: Any = None, uris: Any = None
) -> BaseRecordSet:
    """Returns the columns as lists; one item stands for a list of one."""
    return {
        "embeddings": normalize_embeddings(embeddings),
        "documents": as_list(documents),
        "images": as_list(images),
        "uris": as_list(uris),
    }


def normalize_insert_record_set(
    ids: Any,
    embeddings: Any,
    metadatas: Any = None,
    documents: Any = None,
    images: Any = None,
    uris: Any = None,
) -> InsertRecordSet:
    """Returns the columns as lists; one item stands for a list of one."""
    base = normalize_base_record_set(embeddings, documents, images, uris)
    return {**base, "ids": as_list(ids) or [], "metadatas": as_list(metadatas)}


def validate_base_record_set(record_set: BaseRecordSet) -> None:
    """Raises ValueError unless there is a column, all are equally long, and their cells are right.

    As for queries: documents cannot be None.
    """
    validate_record_set_contains_any(record_set, set(BaseRecordSet.__annotations__))
    check_lengths(record_set)
    vector_column(vector_rows(record_set["embeddings"]))
    document_column(record_set["documents"], optional=record_set["embeddings"] is not None)
    image_column(record_set["images"])


def validate_insert_record_set(record_set: InsertRecordSet) -> None:
    """Raises ValueError, TypeError or DuplicateIDError, as a write of these columns would."""
    check_columns(**record_set)


def get_default_embeddable_record_set_fields() -> set[str]:
    """Returns the columns that can be embedded."""
    return {"documents", "images", "uris"}


def validate_record_set_contains_any(record_set: BaseRecordSet, contains_any: set[str]) -> None:
    """Raises ValueError unless at least one of these columns is given."""
    if not _given(record_set, contains_any):
        raise ArgumentValueError(f"At least one of {_names(contains_any)} must be provided")


def validate_record_set_contains_one(record_set: BaseRecordSet, contains_one: set[str]) -> None:
    """Raises ValueError unless exactly one of these columns is given."""
    if len(_given(record_set, contains_one)) != 1:
        raise ArgumentValueError(f"Exactly one of {_names(contains_one)} must be provided")


def validate_record_set_for_embedding(
    record_set: BaseRecordSet, embeddable_fields: set[str] | None = None
) -> None:
    """Raises ValueError unless there is exactly one column to embed, and no embedding yet."""
    if record_set["embeddings"] is not None:
        raise ArgumentValueError("Attempting to embed a record that already has embeddings.")
    validate_record_set_contains_one(
        record_set, embeddable_fields or get_default_embeddable_record_set_fields()
    )


def _given(record_set: BaseRecordSet, names: Collection[str]) -> list[str]:
    columns: Mapping[str, Any] = dict(record_set)
    unknown = set(names) - columns.keys()
    if unknown:
        raise ArgumentValueError(
            f"Invalid field in contains: {_names(unknown)}, available fields: {', '.join(columns)}"
        )
    return [name for name in names if columns[name] is not None]


def _names(names: Collection[str]) -> str:
    return ", ".join(sorted(names))


# ── other forms of the same ──────────────────────────────────────────────────────────────────────


def normalize_embeddings(target: Any) -> Embeddings | None:
    """Returns one float32 array per embedding of any accepted form; raises ValueError."""
    vectors = vector_column(vector_rows(target))
    return None if vectors is None else list(vectors)


def normalize_metadata(metadata: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Returns the metadata with SparseVector objects for their tagged dicts."""
    return None if metadata is None else check_metadata(metadata)


def normalize_metadatas(metadatas: Any) -> list[dict[str, Any] | None] | None:
    """Returns the metadata of several records, or of one as a list."""
    return metadata_column(as_list(metadatas))


def serialize_metadata(metadata: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Returns the metadata as plain values: tagged dicts for SparseVector objects."""
    if metadata is None:
        return None
    return {
        key: value.to_dict() if isinstance(value, SparseVector) else value
        for key, value in metadata.items()
    }


def deserialize_metadata(metadata: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Returns the metadata that `serialize_metadata` wrote."""
    if metadata is None:
        return None
    return {key: check_field_value(key, value) for key, value in metadata.items()}


def convert_np_embeddings_to_list(embeddings: Embeddings) -> PyEmbeddings:
    """Returns lists of numbers for arrays."""
    return [embedding.tolist() for embedding in embeddings]


def convert_list_embeddings_to_np(embeddings: PyEmbeddings) -> Embeddings:
    """Returns float32 arrays for lists of numbers."""
    return [np.array(embedding, np.float32) for embedding in embeddings]


# Embeddings travel as base64 of little-endian float32.
_ON_THE_WIRE = np.dtype("<f4")


def pack_embedding_safely(embedding: Embedding) -> str:
    """Returns the base64 text of an embedding; what float32 cannot hold becomes infinite."""
    with np.errstate(over="ignore"):
        raw = np.asarray(embedding).astype(_ON_THE_WIRE).tobytes()
    return base64.b64encode(raw).decode("ascii")


def optional_embeddings_to_base64_strings(
    embeddings: Sequence[Embedding | None] | None,
) -> list[str | None] | None:
    """Returns the base64 texts of embeddings, and None for None."""
    if embeddings is None:
        return None
    return [None if one is None else pack_embedding_safely(one) for one in embeddings]


def optional_base64_strings_to_embeddings(
    b64_strings: Sequence[str | None] | None,
) -> list[list[float] | None] | None:
    """Returns lists of numbers for base64 texts, and None for None."""
    if b64_strings is None:
        return None
    return [
        None if text is None else np.frombuffer(base64.b64decode(text), _ON_THE_WIRE).tolist()
        for text in b64_strings
    ]
