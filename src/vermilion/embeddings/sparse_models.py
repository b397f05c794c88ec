"""Sparse embedding functions that run another library on this machine: thin, loaded when used.

As in `installed`: what a collection remembers are the constructor's plain values.
"""

from __future__ import annotations

import importlib
import warnings
from typing import Any

from vermilion.embeddings.installed import Remembered, check_kwargs, hub_library
from vermilion.embeddings.sparse import SparseEmbeddingFunction, register_sparse_builtin
from vermilion.errors import ArgumentValueError
from vermilion.types import SparseVector, SparseVectors

TASKS = ("document", "query")


class SparseModel(Remembered, SparseEmbeddingFunction[Any]):
    """What these have in common: a task for documents, and maybe another one for queries."""

    def __call__(self, input: Any) -> SparseVectors:
        """Returns one sparse vector per text."""
        return self._encode(list(input), self._values["task"])

    def embed_query(self, input: Any) -> SparseVectors:
        """Returns one sparse vector per query; as for documents unless query_config says more."""
        task = (self._values["query_config"] or {}).get("task") or self._values["task"]
        return self._encode(list(input), task)

    def _encode(self, texts: list[str], task: str | None) -> SparseVectors:
        raise AssertionError("each of them has its own")


def _check_tasks(task: str | None, query_config: dict[str, Any] | None) -> None:
    if query_config is not None and set(query_config) - {"task"}:
        raise ArgumentValueError(f"Expected query_config to be {{'task': …}}, got {query_config!r}")
    for one in (task, (query_config or {}).get("task")):
        if one is not None and one not in TASKS:
            raise ArgumentValueError(f"Expected task to be one of {', '.join(TASKS)}, got {one!r}")


def _given(values: dict[str, Any], *names: str) -> dict[str, Any]:
    """Of these values those that are set, and the keyword arguments."""
    set_ones = {name: values[name] for name in names if values[name] is not None}
    return {**set_ones, **values["kwargs"]}


def _vector(indices: Any, values: Any) -> SparseVector:
    """A vector with its indices ascending and without zeros."""
    pairs = sorted(
        (int(index), float(value)) for index, value in zip(indices, values, strict=True) if value
    )
    return SparseVector([index for index, _ in pairs], [value for _, value in pairs])


# ── sentence-transformers ────────────────────────────────────────────────────────────────────────


@register_sparse_builtin
class HuggingFaceSparseEmbeddingFunction(SparseModel):
    """A sparse model of sentence-transformers, by name or from a folder."""

    def __init__(
        self,
        model_name: str,
        device: str,
        task: str | None = "document",
        query_config: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """`kwargs` go to SparseEncoder; plain values only, and no code of a model's own."""
        _check_tasks(task, query_config)
        self._values = {
            "model_name": model_name,
            "device": device,
            "task": task,
            "query_config": query_config,
            "kwargs": check_kwargs(kwargs),
        }
        library = hub_library("sentence_transformers", "pip install sentence_transformers")
        self._model = library.SparseEncoder(model_name, device=device, **kwargs)

    def _encode(self, texts: list[str], task: str | None) -> SparseVectors:
        encode = self._model.encode_query if task == "query" else self._model.encode_document
        rows = [row.coalesce() for row in encode(texts, convert_to_sparse_tensor=True)]
        return [_vector(row.indices()[0].tolist(), row.values().tolist()) for row in rows]

    @staticmethod
    def name() -> str:
        """Returns "huggingface_sparse"."""
        return "huggingface_sparse"


# ── fastembed ────────────────────────────────────────────────────────────────────────────────────


class _Fastembed(SparseModel):
    """A model of fastembed, which tells documents from queries by its method."""

    _model: Any

    def _encode(self, texts: list[str], task: str | None) -> SparseVectors:
        encode = self._model.query_embed if task == "query" else self._model.embed
        return [_vector(row.indices.tolist(), row.values.tolist()) for row in encode(texts)]


@register_sparse_builtin
class FastembedSparseEmbeddingFunction(_Fastembed):
    """A sparse model of fastembed, run by onnxruntime."""

    def __init__(
        self,
        model_name: str,
        task: str | None = "document",
        cache_dir: str | None = None,
        threads: int | None = None,
        cuda: bool | None = None,
        device_ids: list[int] | None = None,
        lazy_load: bool | None = None,
        query_config: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """`kwargs` go to SparseTextEmbedding; plain values only."""
        _check_tasks(task, query_config)
        self._values = {
            "model_name": model_name,
            "task": task,
            "query_config": query_config,
            "cache_dir": cache_dir,
            "threads": threads,
            "cuda": cuda,
            "device_ids": device_ids,
            "lazy_load": lazy_load,
            "kwargs": check_kwargs(kwargs),
        }
        library = hub_library("fastembed", "pip install fastembed")
        settings = ("cache_dir", "threads", "cuda", "device_ids", "lazy_load")
        self._model = library.SparseTextEmbedding(model_name, **_given(self._values, *settings))

    @staticmethod
    def name() -> str:
        """Returns "fastembed_sparse"."""
        return "fastembed_sparse"


@register_sparse_builtin
class Bm25EmbeddingFunction(_Fastembed):
    """BM25 by fastembed, which fetches lists of stop words; ChromaBm25EmbeddingFunction does not.

    Its query weights differ from its documents' with `query_config={"task": "query"}` only.
    """

    def __init__(
        self,
        avg_len: float | None = None,
        task: str | None = "document",
        cache_dir: str | None = None,
        k: float | None = None,
        b: float | None = None,
        language: str | None = None,
        token_max_length: int | None = None,
        disable_stemmer: bool | None = None,
        specific_model_path: str | None = None,
        query_config: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """`kwargs` go to fastembed's Bm25; plain values only."""
        _check_tasks(task, query_config)
        warnings.warn(
            "Bm25EmbeddingFunction is deprecated: use ChromaBm25EmbeddingFunction, which needs no "
            "other package and no download",
            DeprecationWarning,
            stacklevel=2,
        )
        self._values = {
            "task": task,
            "query_config": query_config,
            "cache_dir": cache_dir,
            "k": k,
            "b": b,
            "avg_len": avg_len,
            "language": language,
            "token_max_length": token_max_length,
            "disable_stemmer": disable_stemmer,
            "specific_model_path": specific_model_path,
            "kwargs": check_kwargs(kwargs),
        }
        hub_library("fastembed", "pip install fastembed")
        library = importlib.import_module("fastembed.sparse.bm25")
        settings = [name for name in self._values if name not in ("task", "query_config", "kwargs")]
        self._model = library.Bm25("Qdrant/bm25", **_given(self._values, *settings))

    @staticmethod
    def name() -> str:
        """Returns "bm25"."""
        return "bm25"
