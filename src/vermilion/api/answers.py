"""Answers: Chroma's dicts, which also give their records as hits, rows, tables and frames.

An answer is a dict with Chroma's keys and values, and equal to a plain dict that has them. What it
can do besides is in methods. `print` shows the dict, an interactive session and a notebook a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, overload

import numpy as np
from numpy.typing import NDArray

from vermilion.api.hits import HitList, as_html, as_text, heading, hit_list
from vermilion.api.reranking import Scorer, reranked
from vermilion.types import Included

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

Row = dict[str, Any]

# The columns of answers, and what each is called where one record is meant.
NAMES = {
    "embeddings": "embedding",
    "documents": "document",
    "uris": "uri",
    "data": "data",
    "metadatas": "metadata",
    "distances": "distance",
    "scores": "score",
}


class Answer(dict[str, Any]):
    """What `GetResult`, `QueryResult` and `SearchResult` have in common."""

    def __repr__(self) -> str:
        groups = self._groups()
        count = sum(map(len, groups))
        parts = [f"{type(self).__name__} of {count} record{'' if count == 1 else 's'}"]
        for name, group in zip(self._headings(), groups, strict=True):
            parts += [*([heading(name)] if name else []), as_text(group)]
        return "\n\n".join(parts)

    def __str__(self) -> str:
        return dict.__repr__(self)

    def _repr_html_(self) -> str:
        from html import escape  # as in hits.py

        parts = []
        for name, group in zip(self._headings(), self._groups(), strict=True):
            parts += [*([f"<p>{escape(heading(name))}</p>"] if name else []), as_html(group)]
        return "".join(parts)

    def to_pandas(self) -> pandas.DataFrame:
        """Returns a data frame with a row per record; needs the extra pandas.

        Metadata fields are columns of their own; "query" tells which query a record answers.
        """
        from vermilion.api import frames

        return frames.to_pandas(self._groups(), batch=self._batch)

    def to_polars(self) -> polars.DataFrame:
        """Returns a polars data frame, as `to_pandas` does; needs the extra polars.

        A field whose values are of several types is text, each as in JSON.
        """
        from vermilion.api import frames

        return frames.to_polars(self._groups(), batch=self._batch)

    def to_arrow(self) -> pyarrow.Table:
        """Returns an Arrow table, as `to_polars` does; needs the extra arrow."""
        from vermilion.api import frames

        return frames.to_arrow(self._groups(), batch=self._batch)

    # Whether there is a list of hits for each of several queries.
    _batch: ClassVar[bool] = True

    def _groups(self) -> list[HitList]:
        raise AssertionError("every kind of answer has its own")

    def _headings(self) -> list[str]:
        return [""]


class GetResult(Answer):
    """Aligned columns: row i is `ids[i]`, `documents[i]`, …; a column not asked for is None."""

    _batch = False

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, key: Literal["ids"]) -> list[str]: ...
        @overload
        def __getitem__(self, key: Literal["embeddings"]) -> NDArray[np.float64] | None: ...
        @overload
        def __getitem__(self, key: Literal["documents", "uris"]) -> list[str | None] | None: ...
        @overload
        def __getitem__(self, key: Literal["included"]) -> list[Included]: ...
        @overload
        def __getitem__(self, key: Literal["metadatas"]) -> list[dict[str, Any] | None] | None: ...
        @overload
        def __getitem__(self, key: str) -> Any: ...
        def __getitem__(self, key: str) -> Any: ...

    @property
    def hits(self) -> HitList:
        """The records, each with its columns as attributes."""
        return hit_list(self["ids"], {ours: self.get(name) for name, ours in NAMES.items()})

    def rows(self) -> list[Row]:
        """Returns the records as dicts, without what is None."""
        return [hit.to_dict() for hit in self.hits]

    def _groups(self) -> list[HitList]:
        return [self.hits]


class Found(Answer):
    """The answers to several queries or searches: one list per query in every column."""

    _asked: tuple[str | None, ...] | None = None
    _rerank_scores: list[list[float | None]] | None = None

    def asked(self, texts: Sequence[str | None] | None) -> Self:
        """Remembers the texts of the queries, which `rerank` needs, and returns the answer."""
        self._asked = None if texts is None else tuple(texts)
        return self

    @property
    def hits(self) -> list[HitList]:
        """For each query its records, best first, each with its columns as attributes."""
        return [self._hits(place) for place in range(len(self["ids"]))]

    def rows(self) -> list[list[Row]]:
        """Returns for each query its records as dicts, without what is None."""
        return [[hit.to_dict() for hit in hits] for hits in self.hits]

    def rerank(
        self, score: Scorer, query_texts: Sequence[str] | None = None, n_results: int | None = None
    ) -> Self:
        """Returns the answer in the order of another judge's scores, the greatest first.

        `score(query_text, documents)` is called once for each query and returns a number for each
        document, for example those of a cross-encoder:

            encoder = CrossEncoder("cross-encoder/ms-marco-MiniLM-L6-v2")
            found = notes.query(query_texts=["storms"], n_results=50)
            found.rerank(lambda text, documents: encoder.predict([(text, d) for d in documents]))

        The columns stay as they are and go with their records; the new scores are in the hits, as
        `rerank_score`. Equal scores keep their order, and records without a document come last.
        `query_texts` are needed where the queries were not texts. `n_results` cuts each answer.
        """
        texts = self._asked if query_texts is None else query_texts
        columns = {name: self.get(name) for name in ("ids", *NAMES)}
        chosen, scores = reranked(score, texts, columns, n_results)
        answer = type(self)(self | chosen).asked(texts)
        answer._rerank_scores = scores
        return answer

    def _hits(self, place: int) -> HitList:
        columns: dict[str, Any] = {}
        for name, ours in NAMES.items():
            column = self.get(name)
            columns[ours] = None if column is None else column[place]
        if self._rerank_scores is not None:
            columns["rerank_score"] = self._rerank_scores[place]
        return hit_list(self["ids"][place], columns)

    def _groups(self) -> list[HitList]:
        return self.hits

    def _headings(self) -> list[str]:
        if len(self["ids"]) == 1:
            return [""]
        texts: Sequence[str | None] = self._asked or [None] * len(self["ids"])
        return [
            f"query {place}" + ("" if text is None else f": {text}")
            for place, text in enumerate(texts)
        ]


class QueryResult(Found):
    """As GetResult, one level deeper: one inner list per query, best match first."""

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, key: Literal["ids"]) -> list[list[str]]: ...
        @overload
        def __getitem__(self, key: Literal["embeddings"]) -> list[NDArray[np.float64]] | None: ...
        @overload
        def __getitem__(
            self, key: Literal["documents", "uris"]
        ) -> list[list[str | None]] | None: ...
        @overload
        def __getitem__(self, key: Literal["included"]) -> list[Included]: ...
        @overload
        def __getitem__(
            self, key: Literal["metadatas"]
        ) -> list[list[dict[str, Any] | None]] | None: ...
        @overload
        def __getitem__(self, key: Literal["distances"]) -> list[list[float]] | None: ...
        @overload
        def __getitem__(self, key: str) -> Any: ...
        def __getitem__(self, key: str) -> Any: ...


SearchResultRow = Row


class SearchResult(Found):
    """The answers to the searches of one call, in aligned columns with one list per search.

    The keys are "ids", "documents", "embeddings", "metadatas", "scores" and "select", which tells
    what each search asked for; what it did not ask for is None.
    """
