"""Collection: embeds what needs embedding, and asks the engine.

Method for method the collection that Chroma's users know: columns in, columns out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vermilion.api.answers import GetResult, QueryResult
from vermilion.api.evaluating import Evaluating
from vermilion.api.facts import CollectionFacts
from vermilion.api.following import following
from vermilion.api.iterating import Iterating
from vermilion.api.reembedding import Reembedding
from vermilion.api.remembering import Remembering
from vermilion.api.results import (
    check_cut,
    columns_for,
    get_result,
    query_result,
    reported,
)
from vermilion.api.row_writing import RowWriting
from vermilion.api.searching import Searching, naming, query_ids, selected
from vermilion.api.sparse_embedder import SparseEmbedder
from vermilion.api.syncing import Syncing
from vermilion.api.writing import Writing
from vermilion.configuration import for_change
from vermilion.embeddings.base import (
    check_change,
    check_signature,
    stored_form,
)
from vermilion.embeddings.cache import EmbeddingCache
from vermilion.embeddings.lookup import config_to_embedding_function
from vermilion.engine import CollectionInfo, Engine, Selection
from vermilion.errors import ArgumentTypeError, ArgumentValueError
from vermilion.names import check_collection_metadata, check_collection_name, check_order
from vermilion.query.where import parse
from vermilion.records import (
    as_list,
    check_count,
    check_include,
    check_lengths,
    check_mode,
    check_n_results,
    check_recall,
    document_column,
    id_list,
    image_column,
    uri_column,
    vector_column,
    vector_rows,
)
from vermilion.types import DataLoader, Effort, Include, Mode, ReadLevel

if TYPE_CHECKING:
    from vermilion.reports import Explanation, IndexingStatus, Stats, WhyNot


class Collection(
    CollectionFacts,
    Writing,
    RowWriting,
    Syncing,
    Iterating,
    Searching,
    Evaluating,
    Reembedding,
    Remembering,
):
    """A named set of records: id, embedding, document, metadata, uri.

    What its properties tell is of the moment it was fetched.
    """

    def __init__(
        self,
        engine: Callable[[], Engine],
        info: CollectionInfo,
        embedding_function: Any = None,
        data_loader: DataLoader | None = None,
        embedding_cache: EmbeddingCache | None = None,
    ) -> None:
        """Made by a client. `engine` gives the engine, or raises ClosedError."""
        self._engine = engine
        self._info = info
        self._function = embedding_function
        self._loader = data_loader
        self._cache = embedding_cache
        self._embedder = self._new_embedder()
        self._sparse = SparseEmbedder(info.schema)

    def get_model(self) -> CollectionInfo:
        """Returns all that is known of it."""
        return self._info

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Collection)
            and self._info == other._info
            and self._function == other._function
            and self._loader == other._loader
        )

    __hash__ = None  # type: ignore[assignment]  # it can be renamed

    # ── the files ────────────────────────────────────────────────────────────────────────────────

    def stats(self) -> Stats:
        """Returns how many records there are, and what they take on the disk."""
        return self._engine().stats(self._info.address)

    def compact(self) -> int:
        """Gives room that deleted records left back to the disk; returns how many bytes."""
        return self._engine().compact(self._info.address)

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    def get(
        self,
        ids: Any = None,
        where: Any = None,
        limit: int | None = None,
        offset: int | None = None,
        where_document: Any = None,
        include: Include = ["metadatas", "documents"],  # noqa: B006  (read, never written)
        *,
        order_by: str | Sequence[str] = (),
    ) -> GetResult:
        """Returns the records with these ids that match the filters, in the order of insertion.

        The filters come first, then `offset`, then `limit`. `order_by` names metadata fields, with
        "-" before one for the greatest first; records without the field come last.
        """
        with naming("get"):
            selection = selected(ids, where, where_document)
            wanted = check_include(include, distances=False)
            if "data" in wanted:
                self._embedder.check_loader()
            window = check_count("limit", limit), check_count("offset", offset)
            orders = check_order(order_by)
        records = self._engine().get(
            self._info.address, selection, columns_for(wanted), *window, orders
        )
        return get_result(records, reported(wanted), self._embedder)

    def peek(self, limit: int = 10) -> GetResult:
        """Returns the first records, embeddings included."""
        return self.get(limit=limit, include=["metadatas", "documents", "embeddings"])

    def count(
        self,
        read_level: ReadLevel = ReadLevel.INDEX_AND_WAL,
        *,
        where: Any = None,
        where_document: Any = None,
    ) -> int:
        """Returns how many records there are that match the filters.

        Every read level sees all that was written.
        """
        ReadLevel(read_level)
        with naming("count"):
            selection = selected(None, where, where_document)
        return self._engine().count(self._info.address, selection)

    @following
    def query(
        self,
        query_embeddings: Any = None,
        query_texts: Any = None,
        query_images: Any = None,
        query_uris: Any = None,
        ids: Any = None,
        n_results: int = 10,
        where: Any = None,
        where_document: Any = None,
        include: Include = ["metadatas", "documents", "distances"],  # noqa: B006  (only read)
        *,
        exact: bool = False,
        recall: float = 0.99,
        mode: Mode = "dense",
        offset: int = 0,
        max_distance: float | None = None,
    ) -> QueryResult:
        """Returns the nearest records to each query, one inner list per query, nearest first.

        Of the records with these `ids` (unknown ones are left aside) that match the filters, the
        n_results nearest, or all when there are fewer. Equal distances stay in insertion order.
        `exact` measures every one of them; otherwise `recall` is the share of the true neighbours
        that is aimed at in large collections.

        With mode="hybrid" the texts are looked for by their meaning and by their words, with
        mode="keyword" by their words alone; the distances are then the scores of `search`.

        `offset` leaves out the nearest so many, `max_distance` those that are farther.
        """
        cut = check_cut(offset, max_distance)
        if check_mode(mode) != "dense":
            return self._query_words(
                query_embeddings,
                query_texts,
                ids,
                n_results,
                where,
                where_document,
                include,
                mode,
                cut,
            )
        with naming("query"):
            vectors = self._query_vectors(query_embeddings, query_texts, query_images, query_uris)
            selection = Selection(query_ids(ids), parse(where, where_document))
            wanted = check_include(include, distances=True)
            if "data" in wanted:
                self._embedder.check_loader()
            k = check_n_results(n_results)
            effort = Effort(exact, check_recall(recall))
        columns = columns_for(wanted)
        hits = self._engine().query(
            self._info.address, vectors, k + cut.offset, selection, columns, effort
        )
        result = query_result(cut.of(hits), reported(wanted), self._embedder)
        return result.asked(as_list(query_texts))

    @following
    def explain(
        self,
        query_embeddings: Any = None,
        query_texts: Any = None,
        ids: Any = None,
        n_results: int = 10,
        where: Any = None,
        where_document: Any = None,
        *,
        exact: bool = False,
        recall: float = 0.99,
    ) -> Explanation:
        """Answers a query and tells how it was answered and where the time went."""
        with naming("explain"):
            vectors = self._query_vectors(query_embeddings, query_texts, None, None)
            selection = Selection(query_ids(ids), parse(where, where_document))
            k, effort = check_n_results(n_results), Effort(exact, check_recall(recall))
        return self._engine().explain(self._info.address, vectors, k, selection, effort)

    @following
    def why_not(
        self,
        id: str,
        query_embeddings: Any = None,
        query_texts: Any = None,
        ids: Any = None,
        n_results: int = 10,
        where: Any = None,
        where_document: Any = None,
    ) -> WhyNot:
        """Tells why a record is not in the answer to one query: which condition, which distance."""
        with naming("why_not"):
            vectors = self._query_vectors(query_embeddings, query_texts, None, None)
            if len(vectors) != 1:
                raise ArgumentValueError(f"Expected one query, got {len(vectors)}")
            selection = Selection(query_ids(ids), parse(where, where_document))
            [wanted], k = id_list(as_list(id)), check_n_results(n_results)
        return self._engine().why_not(self._info.address, wanted, vectors[0], k, selection)

    # ── indexes ──────────────────────────────────────────────────────────────────────────────────

    def get_indexing_status(self) -> IndexingStatus:
        """Returns how many records are in indexes. Answers are complete whatever it says."""
        return self._engine().indexing_status(self._info.address)

    def flush(self) -> None:
        """Waits until every index is complete, so that the next queries are as fast as they get."""
        self._engine().flush(self._info.address)

    def _query_vectors(
        self, embeddings: Any, texts: Any, images: Any, uris: Any
    ) -> NDArray[np.float32]:
        rows = vector_rows(embeddings)
        if rows is not None and texts is None and images is None and uris is None:
            vectors = vector_column(rows)
            assert vectors is not None
            return vectors
        columns = {
            "embeddings": rows,
            "documents": as_list(texts),
            "images": as_list(images),
            "uris": as_list(uris),
        }
        check_lengths(columns)
        vectors = vector_column(rows)
        documents = document_column(as_list(texts), optional=False)
        pictures, places = image_column(as_list(images)), uri_column(as_list(uris))
        if vectors is not None:
            return vectors
        self._keep_up()
        return self._embedder.query_vectors(documents, pictures, places)

    # ── changing the collection itself ───────────────────────────────────────────────────────────

    def modify(
        self,
        name: str | None = None,
        metadata: Any = None,
        configuration: Any = None,
    ) -> None:
        """Renames the collection, replaces its metadata as a whole, changes its configuration.

        Everything is checked first, and then all of it is changed, or nothing.
        """
        if name is not None:
            check_collection_name(name, "new_name")
        if metadata is not None and isinstance(metadata, dict) and "hnsw:space" in metadata:
            raise ArgumentValueError(
                "Changing the distance function of a collection once it is created is not "
                "supported; clone the collection instead"
            )
        self._info = self._engine().modify_collection(
            self._info.address,
            name=name,
            metadata=check_collection_metadata(metadata),
            replace_metadata=metadata is not None,
            configuration=None if configuration is None else self._changes(configuration),
        )
        self._embedder = self._new_embedder()

    def fork(self, new_name: str) -> Collection:
        """Returns a new collection with all that this one has at this moment.

        It has the same configuration, metadata and records; what is written to one of them later
        is not in the other. Others may write meanwhile. Raises AlreadyExistsError.
        """
        name = check_collection_name(new_name)
        info = self._engine().fork_collection(self._info.address, name)
        return Collection(self._engine, info, self._function, self._loader, self._cache)

    def _changes(self, configuration: Any) -> Any:
        if not isinstance(configuration, dict):
            raise ArgumentTypeError(f"Expected configuration to be a dict, got {configuration!r}")
        function = configuration.get("embedding_function")
        if function is None:
            return for_change(configuration)
        check_signature(function)
        stored = self._info.configuration.embedding_function
        if stored is not None and stored["type"] == "known":
            check_change(config_to_embedding_function(stored), function)
        changes = for_change(configuration, stored_form(function))
        self._function = function
        return changes
