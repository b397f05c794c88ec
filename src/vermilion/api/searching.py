"""The half of a collection that scores and sums up: searches with ranks, and searches for texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vermilion.api.answers import QueryResult, SearchResult
from vermilion.api.following import Following, following
from vermilion.api.results import Cut, query_result, reported
from vermilion.api.sparse_embedder import SparseEmbedder
from vermilion.engine import Selection
from vermilion.errors import ArgumentValueError
from vermilion.names import check_field
from vermilion.query.where import ascending, parse
from vermilion.records import (
    as_list,
    check_include,
    check_lengths,
    check_n_results,
    document_column,
    id_column,
    id_list,
    vector_column,
    vector_rows,
)
from vermilion.types import Include, Mode, ReadLevel

if TYPE_CHECKING:
    from vermilion.query.search import Search
    from vermilion.reports import Facet, Summary


class Searching(Following):
    """What `Collection` inherits."""

    _sparse: SparseEmbedder

    def _query_words(
        self,
        embeddings: Any,
        texts: Any,
        ids: Any,
        n_results: int,
        where: Any,
        where_document: Any,
        include: Include,
        mode: Mode,
        cut: Cut,
    ) -> QueryResult:
        from vermilion.api import queries  # with the Search classes, which few programs need

        with naming("query"):
            asked = document_column(as_list(texts), optional=False)
            if asked is None:
                raise ArgumentValueError(f"query_texts must be provided with mode={mode!r}")
            vectors = vector_column(vector_rows(embeddings))
            check_lengths({"query_texts": asked, "query_embeddings": vectors})
            parse(where, where_document)
            wanted, k = check_include(include, distances=True), check_n_results(n_results)
            filter = queries.joined(query_ids(ids), where, where_document)
            rows = [None] * len(asked) if vectors is None else vectors.tolist()
            searches = [
                queries.free_text(str(text), k + cut.offset, filter, mode, row).select(
                    *queries.selected_for(wanted)
                )
                for text, row in zip(asked, rows, strict=True)
            ]
            self._keep_up()
            ready = queries.embedded(searches, self._embedder, self._sparse)
        ranked = self._engine().search(self._info.address, ready)
        hits = cut.of(queries.ranked_hits(ranked))
        return query_result(hits, reported(wanted), self._embedder).asked(asked)

    @following
    def search(
        self,
        searches: Search | str | Sequence[Search | str],
        read_level: ReadLevel = ReadLevel.INDEX_AND_WAL,
        *,
        n_results: int = 10,
        where: Any = None,
    ) -> SearchResult:
        """Answers one search or several, all of them of one moment.

        A text alone is a search for its meaning and its words: the best `n_results` records that
        match `where`, with document, metadata and score. In other searches, a text in a Knn is
        embedded by the collection's function, or by that of the sparse index it is for.
        """
        from vermilion.api import queries  # as above

        ReadLevel(read_level)
        count = check_n_results(n_results)
        mode: Mode = "hybrid" if self._embedder.has_function else "keyword"
        given = queries.search_list(searches)
        wanted = [
            queries.free_text(one, count, where, mode).select(*queries.SHOWN)
            if isinstance(one, str)
            else one
            for one in given
        ]
        self._keep_up()
        ready = queries.embedded(wanted, self._embedder, self._sparse)
        ranked = self._engine().search(self._info.address, ready)
        return queries.search_result(ready, ranked).asked([queries.text_of(one) for one in given])

    # ── what values there are ────────────────────────────────────────────────────────────────────

    def facets(
        self, keys: str | Sequence[str], where: Any = None, where_document: Any = None
    ) -> dict[str, list[Facet]]:
        """Returns for each metadata field its values with how many matching records have them.

        The most frequent come first. A list counts for each of its elements.
        """
        with naming("facets"):
            names = [
                check_field("keys", key) for key in ([keys] if isinstance(keys, str) else keys)
            ]
            selection = selected(None, where, where_document)
        found = self._engine().facets(self._info.address, names, selection)
        return dict(zip(names, found, strict=True))

    def distinct(self, key: str, where: Any = None, where_document: Any = None) -> list[Any]:
        """Returns the values of a metadata field that matching records have, ascending.

        Bools come before numbers, numbers before times, times before strings.
        """
        with naming("distinct"):
            name = check_field("key", key)
            selection = selected(None, where, where_document)
        [found] = self._engine().facets(self._info.address, [name], selection)
        return sorted((facet.value for facet in found), key=ascending)

    def summarize(
        self,
        key: str,
        by: str | None = None,
        where: Any = None,
        where_document: Any = None,
    ) -> list[Summary]:
        """Returns count, min, max, sum and avg of a numeric field, for each value of `by`.

        Without `by` there is one summary of all matching records. Those without a number count
        nowhere; those without `by` come last, with the value None.
        """
        with naming("summarize"):
            names = [check_field("key", key), None if by is None else check_field("by", by)]
            selection = selected(None, where, where_document)
        return self._engine().summarize(self._info.address, str(names[0]), names[1], selection)


# ── arguments ────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def naming(method: str) -> Iterator[None]:
    """Errors about arguments end with the method that was called; their type stays."""
    try:
        yield
    except Exception as error:
        if error.args:
            error.args = (f"{error.args[0]} in {method}.", *error.args[1:])
        raise


def selected(ids: Any, where: Any, where_document: Any) -> Selection:
    """Which records the arguments of a call name."""
    return Selection(None if ids is None else id_column(as_list(ids)), parse(where, where_document))


def query_ids(ids: Any) -> list[str] | None:
    """As for `get`, but the same id may stand twice and no id at all finds nothing."""
    if ids is None or (isinstance(ids, list) and not ids):
        return None if ids is None else []
    return list(dict.fromkeys(id_list(as_list(ids))))
