"""The half of a collection that changes what embeds it: new vectors while the old ones serve."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vermilion.api.copying import Copying
from vermilion.api.embedder import Embedder
from vermilion.api.following import Following
from vermilion.api.searching import naming
from vermilion.configuration import Configuration, Hnsw
from vermilion.embeddings.base import check_signature, stored_form
from vermilion.engine import CollectionInfo, Column, Engine, Selection
from vermilion.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    NotFoundError,
    UnsupportedError,
)
from vermilion.progress import Progress
from vermilion.records import Batch
from vermilion.switching import maker_of, source_stamp
from vermilion.types import Records, pages

SOURCES: tuple[Column, ...] = ("documents", "uris")
STAMPS: tuple[Column, ...] = ("uris",)
# So many records are embedded, and then safe, at a time.
PAGE = 500
# So often records that were written meanwhile are embedded, too, before giving up.
ROUNDS = 100


class Reembedding(Copying, Following):
    """What `Collection` inherits."""

    def reembed(
        self, embedding_function: Any, into: str | None = None, *, progress: bool | None = None
    ) -> Self:
        """Has another function make all vectors anew, of the documents or what uris lead to.

        The old vectors answer until all new ones are there; then the collection has the new
        vectors and remembers the new function, at one moment. What is written meanwhile is in it.
        The dimension may be another one. A call that was interrupted, or whose process died, is
        repeated and goes on where it was: finished vectors are kept in a collection beside this
        one, whose name ends in ".reembedding-…".

        With `into` this collection stays as it is, and a new one of that name is returned.
        `progress` shows a bar on stderr; by default where that is a terminal and it takes long.
        """
        with naming("reembed"):
            if embedding_function is None:
                raise ArgumentTypeError("Expected an embedding function, got None")
            check_signature(embedding_function)
            if into is not None:
                return self.clone(into, embedding_function=embedding_function)
            form = stored_form(embedding_function)
            _warn_of_space(self._info, embedding_function)
        embedder = Embedder(embedding_function, None, self._loader, self._cache)
        _Work(self._engine(), self._info, embedder, form, progress).run()
        self._refresh(embedding_function)
        return self

    def _refresh(self, function: Any) -> None:
        """Takes over what the collection is now, and has this function embed from now on."""
        self._info = self._engine().get_collection_by_id(self._info.address)
        self._function = function
        self._embedder = self._new_embedder()


class _Work:
    """New vectors for one collection: staged beside it, then switched to."""

    def __init__(
        self,
        engine: Engine,
        info: CollectionInfo,
        embedder: Embedder,
        form: dict[str, Any],
        progress: bool | None,
    ) -> None:
        self._engine = engine
        self._info = info
        self._embedder = embedder
        self._form = form
        self._progress = progress

    def run(self) -> None:
        """Stages what is missing until the engine has switched."""
        draft = self._draft()
        try:
            missing = self._switch(draft)
        except UnsupportedError:
            self._remove(draft)
            raise UnsupportedError(
                "The server cannot switch vectors in place, only Vermilion's can: pass "
                'reembed(…, into="another_name"), then delete this collection and rename that one'
            ) from None
        if missing:
            self._stage(draft, self._engine.get(self._info.address).ids)
        for _ in range(ROUNDS):
            missing = self._switch(draft)
            if not missing:
                self._remove(draft)
                return
            self._stage(draft, missing)
        raise ArgumentValueError(
            f"Documents changed faster than they could be embedded, {ROUNDS} times in a row. The "
            "old vectors serve on, and nothing is lost: call reembed again when less is written"
        )

    def _switch(self, draft: CollectionInfo) -> list[str]:
        try:
            return self._engine.switch_vectors(self._info.address, draft.address, self._form)
        except NotFoundError:
            # Another process has worked on the same, and is done.
            info = self._engine.get_collection_by_id(self._info.address)
            if maker_of(info.configuration.embedding_function) != maker_of(self._form):
                raise
            return []

    def _draft(self) -> CollectionInfo:
        """Where vectors are staged: found again by the collection's id and the function."""
        from hashlib import sha256  # loads OpenSSL

        maker = maker_of(self._form)
        told = f"{self._info.id} {maker}"
        stamp = sha256(told.encode()).hexdigest()[:16]
        name = f"{self._info.name[:450]}.reembedding-{stamp}"
        place = (name, self._info.tenant, self._info.database)
        if maker is None:  # without a name one function cannot be told from another
            with suppress(NotFoundError):
                self._engine.delete_collection(*place)
        space = self._info.configuration.hnsw.space
        configuration = Configuration(Hnsw(space=space), None)
        return self._engine.create_collection(
            *place, configuration=configuration, get_or_create=True
        )[0]

    def _remove(self, draft: CollectionInfo) -> None:
        with suppress(NotFoundError):
            self._engine.delete_collection(draft.name, draft.tenant, draft.database)

    def _stage(self, draft: CollectionInfo, ids: Sequence[str]) -> None:
        """Embeds those of the records that are not staged as they are now."""
        with Progress(len(ids), f"Embedding {self._info.name}", self._progress) as bar:
            for page in pages(len(ids), PAGE):
                self._stage_page(draft, list(ids[page]))
                bar.advance(len(ids[page]))

    def _stage_page(self, draft: CollectionInfo, ids: list[str]) -> None:
        records = self._engine.get(self._info.address, Selection(ids), SOURCES)
        staged = self._engine.get(draft.address, Selection(records.ids), STAMPS)
        known = dict(zip(staged.ids, staged.uris or (), strict=True))
        rows = [
            (id, document, uri)
            for id, document, uri in _sources(records)
            if known.get(id) != source_stamp(document, uri)
        ]
        if rows:
            stamps = [source_stamp(document, uri) for _, document, uri in rows]
            batch = Batch([id for id, _, _ in rows], self._vectors(rows), uris=stamps)
            self._engine.upsert(draft.address, batch)

    def _vectors(self, rows: list[tuple[str, str | None, str | None]]) -> NDArray[np.float32]:
        """One vector for each: of its document, else of what its uri leads to."""
        able = self._embedder.can_load
        bare = [id for id, text, uri in rows if text is None and (uri is None or not able)]
        if bare:
            raise ArgumentValueError(
                f"Record {bare[0]!r} has nothing that could be embedded anew: it needs a document, "
                "or a uri and the collection a data loader. The old vectors serve on"
            )
        inputs = [uri if document is None else document for _, document, uri in rows]
        loaded = [place for place, row in enumerate(rows) if row[1] is None]
        if loaded:
            data = self._embedder.load([rows[place][2] for place in loaded])
            for place, one in zip(loaded, data, strict=True):
                inputs[place] = one
        vectors = self._embedder.embed(inputs)
        if len(vectors) != len(rows):
            raise ArgumentValueError(
                f"Expected one vector for each of {len(rows)} inputs, got {len(vectors)}"
            )
        return vectors


def _warn_of_space(info: CollectionInfo, function: Any) -> None:
    """The distance of a collection stays, and may not be one that suits the new vectors."""
    spaces = getattr(function, "supported_spaces", lambda: [info.configuration.hnsw.space])()
    if info.configuration.hnsw.space not in spaces:
        warnings.warn(
            f"The space {info.configuration.hnsw.space} of collection {info.name} is not supported "
            f"by the embedding function, which names {', '.join(spaces)}: clone the collection "
            'with configuration={"hnsw": {"space": …}} and this function instead',
            UserWarning,
            stacklevel=3,
        )


def _sources(records: Records) -> list[tuple[str, str | None, str | None]]:
    return list(zip(records.ids, records.documents or (), records.uris or (), strict=True))
