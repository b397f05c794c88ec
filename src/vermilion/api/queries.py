"""Searches as callers write them become searches that engines can answer; and their answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vermilion.api.answers import SearchResult
from vermilion.api.embedder import Embedder
from vermilion.api.sparse_embedder import SparseEmbedder
from vermilion.errors import ArgumentTypeError
from vermilion.query.keys import Form, Key, Where, type_name
from vermilion.query.plans import URI, change_leaves, leaves
from vermilion.query.ranks import Knn, Rank, Rrf
from vermilion.query.search import Search
from vermilion.types import Hits, Mode, Ranked, Records, SparseVector

EMBEDDING, DOCUMENT = Key.EMBEDDING.name, Key.DOCUMENT.name

# ── what comes in ────────────────────────────────────────────────────────────────────────────────

# A search in words and meaning looks at so many neighbours of each kind, or three times as many as
# are wanted: what only one of them finds can still come first.
NEIGHBOURS = 50
# How much less a later place counts, the smaller the more. Rrf's usual 60 is for many long lists;
# of two, a small one finds more, by names, by words and by sentences (docs/search.md).
FUSION_K = 3
# The rank of what one of the two has not found: so far behind that it counts for nothing.
NOWHERE = 1_000_000
# What a search for a text shows.
SHOWN = (Key.DOCUMENT, Key.METADATA, Key.SCORE)


def search_list(searches: object) -> list[Any]:
    """The searches of one call; one that stands alone becomes a list."""
    given = [searches] if isinstance(searches, Search | str | dict) else searches
    if not isinstance(given, Sequence):
        raise ArgumentTypeError(
            f"searches must be a Search, a text, or a list of them, got {type_name(searches)}"
        )
    for one in given:
        if not isinstance(one, Search | str | dict):
            raise ArgumentTypeError(
                f"searches must be a Search, a text, or a list of them, got {type_name(one)} in it"
            )
    return [Search.from_dict(one) if isinstance(one, dict) else one for one in given]


def free_text(
    text: str, n_results: int, where: Where | Form | None, mode: Mode, dense: Any = None
) -> Search:
    """The search for a text, in both modes fused by ranks; `dense` may be its vector."""
    query = text if dense is None else dense
    if mode == "dense":
        rank: Rank = Knn(query, EMBEDDING, n_results)
    elif mode == "keyword":
        rank = Knn(text, DOCUMENT, n_results)
    else:
        limit = max(NEIGHBOURS, 3 * n_results)
        both = ((query, EMBEDDING), (text, DOCUMENT))
        rank = Rrf([Knn(*one, limit, NOWHERE, return_rank=True) for one in both], FUSION_K)
    return Search(where, rank).limit(n_results)


def text_of(search: Search | str) -> str | None:
    """The text that is looked for; of several the first."""
    if isinstance(search, str):
        return search
    texts = (leaf.query for leaf in leaves(search.parts()[1]))
    return next((text for text in texts if isinstance(text, str)), None)


def joined(ids: list[str] | None, where: Form | None, where_document: Form | None) -> Form | None:
    """The filters of a query, which were parsed already, as one `where`."""
    parts = [] if where is None else [where]
    if where_document is not None:
        parts.append(_about_documents(where_document))
    if ids is not None:
        parts.append({Key.ID.name: {"$in": ids or [""]}})  # nobody has the empty id
    return {"$and": parts} if parts else None


def _about_documents(where: Form) -> Form:
    [(name, operand)] = where.items()
    if name in ("$and", "$or"):
        return {name: [_about_documents(part) for part in operand]}
    return {DOCUMENT: {name: operand}}


_KEY_OF: dict[str, Key | str] = {
    "documents": Key.DOCUMENT,
    "embeddings": Key.EMBEDDING,
    "metadatas": Key.METADATA,
    "uris": URI,
    "data": URI,
}


def selected_for(include: Sequence[str]) -> list[Key | str]:
    """What a search selects where a query has this `include`."""
    return [_KEY_OF[name] for name in include if name in _KEY_OF]


def embedded(
    searches: Sequence[Search], embedder: Embedder, sparse: SparseEmbedder
) -> list[Search]:
    """The searches, where texts that are to be found by vectors are vectors.

    All texts for one field are embedded at once. Texts about "#document" stay texts.
    """
    texts: dict[str, dict[str, None]] = {}
    for search in searches:
        for leaf in leaves(search.parts()[1]):
            if isinstance(leaf.query, str) and leaf.key != DOCUMENT:
                texts.setdefault(leaf.key, {})[leaf.query] = None
    vectors = {
        key: dict(zip(some, _vectors(key, [*some], embedder, sparse), strict=True))
        for key, some in texts.items()
    }
    return [_with_vectors(search, vectors) for search in searches] if texts else [*searches]


def _vectors(
    key: str, texts: list[str], embedder: Embedder, sparse: SparseEmbedder
) -> list[list[float]] | list[SparseVector]:
    if key != EMBEDDING:
        return sparse.query(key, texts)
    rows: list[list[float]] = embedder.query_vectors(texts, None, None).tolist()
    return rows


def _with_vectors(search: Search, vectors: dict[str, dict[str, Any]]) -> Search:
    rank = search.parts()[1]
    if rank is None:
        return search

    def change(leaf: Knn) -> Knn:
        if not isinstance(leaf.query, str) or leaf.key == DOCUMENT:
            return leaf
        vector = vectors[leaf.key][leaf.query]
        return Knn(vector, leaf.key, leaf.limit, leaf.default, leaf.return_rank)

    return search.rank(change_leaves(rank, change))


# ── what goes out ────────────────────────────────────────────────────────────────────────────────


def search_result(searches: Sequence[Search], ranked: Sequence[Ranked]) -> SearchResult:
    """What `search` returns."""
    selects = [search.parts()[4].keys for search in searches]
    found = [one.records for one in ranked]
    return SearchResult(
        ids=[records.ids for records in found],
        documents=[records.documents for records in found],
        embeddings=[None if records.vectors is None else _lists(records) for records in found],
        metadatas=[records.metadatas for records in found],
        scores=[
            one.scores.tolist() if Key.SCORE.name in select else None
            for one, select in zip(ranked, selects, strict=True)
        ],
        select=[sorted(select) for select in selects],
    )


def _lists(records: Records) -> list[list[float] | None]:
    rows = [] if records.embeddings is None else records.embeddings
    return [None if row is None else row.tolist() for row in rows]


def ranked_hits(ranked: Sequence[Ranked]) -> list[Hits]:
    """Answers to searches as those to queries: a score is a distance, too."""
    return [Hits(one.records, one.scores) for one in ranked]
