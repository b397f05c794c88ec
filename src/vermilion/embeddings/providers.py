"""The providers of embeddings: a row each. Classes, stored names, docs and tests come of it.

The wire formats are the providers' own, as their documentation has them; the parameters and their
defaults are those of Chroma's functions of the same names. `batch` is the provider's limit where
one is documented, else what is asked for at a time.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from vermilion.embeddings.google import (
    GoogleGeminiEmbeddingFunction,
    GoogleGenerativeAiEmbeddingFunction,
    GooglePalmEmbeddingFunction,
    GoogleVertexEmbeddingFunction,
)
from vermilion.embeddings.hosted import make_class, make_sparse_class
from vermilion.embeddings.openai_like import (
    BasetenEmbeddingFunction,
    JinaEmbeddingFunction,
    MistralEmbeddingFunction,
    MorphEmbeddingFunction,
    OpenAIEmbeddingFunction,
    OpenRouterEmbeddingFunction,
    PerplexityEmbeddingFunction,
    TogetherAIEmbeddingFunction,
    VoyageAIEmbeddingFunction,
)
from vermilion.embeddings.provider import (
    KEY,
    REQUIRED,
    Parameter,
    Provider,
    header,
    key_variable,
    model,
    no_key,
    optional_key,
    query_task,
)
from vermilion.embeddings.shapes import (
    Items,
    Values,
    at,
    encoded_image,
    given,
    is_image,
    list_body,
    text_body,
)
from vermilion.types import Space, SparseVector

# ── a list in, a list out ────────────────────────────────────────────────────────────────────────

_COHERE_SPACES: dict[str, tuple[Space, ...]] = {
    "embed-english-v2.0": ("cosine",),
    "embed-english-light-v2.0": ("cosine",),
    "embed-multilingual-v2.0": ("ip",),
}


def _cohere_body(values: Values, items: Items, query: bool) -> dict[str, Any]:
    if any(map(is_image, items)):
        images = [f"data:image/png;base64,{encoded_image(item)}" for item in items]
        return {"model": values["model_name"], "images": images, "input_type": "image"}
    task = (values["query_task"] if query else None) or values["input_type"] or "search_document"
    body = {"model": values["model_name"], "texts": list(items), "input_type": task}
    return {**body, **given(values, ("truncate",))}


CohereEmbeddingFunction = make_class(
    Provider(
        names=("cohere",),
        class_name="CohereEmbeddingFunction",
        title="Cohere",
        parameters=(
            KEY,
            model("large"),
            key_variable("CHROMA_COHERE_API_KEY"),
            query_task(),
            Parameter("input_type", if_set=True, keyword_only=True),
            Parameter("truncate", if_set=True, keyword_only=True),
        ),
        leaves_out=("embedding_type", "image"),
        prefers="COHERE_API_KEY",
        base="https://api.cohere.com/v1",
        path="/embed",
        asks=_cohere_body,
        reads=at("embeddings"),
        batch=96,
        images="either",
        space=lambda values: _COHERE_SPACES.get(values["model_name"], ("cosine", "l2", "ip")),
        example={"model_name": "embed-english-v3.0", "query_task": "search_query"},
    )
)


def _origin(row: Provider, values: Values, items: Items) -> str:
    """Where Ollama listens: old configurations name a path of its API as well."""
    base = row.base_url(values)
    if base.endswith("/api/embeddings"):
        base = f"{urlsplit(base).scheme}://{urlsplit(base).netloc}"
    return base + row.path


OllamaEmbeddingFunction = make_class(
    Provider(
        names=("ollama",),
        class_name="OllamaEmbeddingFunction",
        title="a model served by Ollama",
        parameters=(
            Parameter("url", "http://localhost:11434"),
            model("chroma/all-minilm-l6-v2-f32"),
            Parameter("timeout", 60, kind="integer"),
        ),
        base="http://localhost:11434",
        path="/api/embed",
        override="url",
        url=_origin,
        key=no_key,
        asks=list_body("input", "model_name"),
        reads=at("embeddings"),
        batch=512,
        example={"model_name": "nomic-embed-text"},
    )
)


def _nomic_body(values: Values, items: Items, query: bool) -> dict[str, Any]:
    body = list_body("texts", "model", ("task_type",))(values, items, query)
    return {**body, **(values["query_config"] or {})} if query else body


NomicEmbeddingFunction = make_class(
    Provider(
        names=("nomic",),
        class_name="NomicEmbeddingFunction",
        title="Nomic",
        parameters=(
            model(name="model"),
            Parameter("task_type", REQUIRED),
            Parameter("query_config", REQUIRED, kind="object", nullable=True),
            key_variable("NOMIC_API_KEY"),
        ),
        base="https://api-atlas.nomic.ai/v1",
        path="/embedding/text",
        asks=_nomic_body,
        reads=at("embeddings"),
        batch=100,
        example={
            "model": "nomic-embed-text-v1.5",
            "task_type": "search_document",
            "query_config": {"task_type": "search_query"},
        },
    )
)


def _cloudflare_url(row: Provider, values: Values, items: Items) -> str:
    if values["gateway_id"] and row.base_url(values) == row.base:
        place = "https://gateway.ai.cloudflare.com/v1/{account_id}/{gateway_id}/workers-ai"
        return place + "/{model_name}"
    return row.base_url(values) + row.path


CloudflareWorkersAIEmbeddingFunction = make_class(
    Provider(
        names=("cloudflare_workers_ai", "cloudflare-worker-ai", "cloudflare-workers-ai"),
        class_name="CloudflareWorkersAIEmbeddingFunction",
        title="Cloudflare Workers AI",
        parameters=(
            model(),
            Parameter("account_id", REQUIRED),
            KEY,
            key_variable("CHROMA_CLOUDFLARE_API_KEY"),
            Parameter("gateway_id"),
        ),
        prefers="CLOUDFLARE_API_KEY",
        base="https://api.cloudflare.com/client/v4",
        path="/accounts/{account_id}/ai/run/{model_name}",
        url=_cloudflare_url,
        asks=list_body("text"),
        reads=at("result", "data"),
        batch=100,
        hosts=("gateway.ai.cloudflare.com",),
        example={"model_name": "@cf/baai/bge-m3", "account_id": "your-account"},
    )
)

HuggingFaceEmbeddingFunction = make_class(
    Provider(
        names=("huggingface",),
        class_name="HuggingFaceEmbeddingFunction",
        title="Hugging Face's inference providers",
        parameters=(
            KEY,
            model("sentence-transformers/all-MiniLM-L6-v2"),
            key_variable("CHROMA_HUGGINGFACE_API_KEY"),
        ),
        prefers="HUGGINGFACE_API_KEY",
        base="https://router.huggingface.co/hf-inference/models",
        path="/{model_name}/pipeline/feature-extraction",
        asks=list_body("inputs"),
        reads=at(),
        batch=32,
    )
)

HuggingFaceEmbeddingServer = make_class(
    Provider(
        names=("huggingface_server", "huggingface-server"),
        class_name="HuggingFaceEmbeddingServer",
        title="a text-embeddings-inference server of your own",
        parameters=(Parameter("url", REQUIRED, fixed=True), key_variable(None), KEY),
        prefers="HUGGINGFACE_API_KEY",
        base="{url}",
        path="",
        override="url",
        key=optional_key,
        asks=list_body("inputs"),
        reads=at(),
        batch=32,
        example={"url": "http://localhost:8080/embed"},
    )
)

QWEN_INSTRUCTIONS = {
    "nl_to_code": {
        "documents": "",
        "query": "Given a question about coding, retrieval code or passage that can solve "
        "user's question",
    }
}


def _cloud_url(row: Provider, values: Values, items: Items) -> str:
    """Chroma Cloud's clients have a variable of their own for the base."""
    return (os.environ.get("CHROMA_EMBED_URL") or row.base_url(values)).rstrip("/") + row.path


def _qwen_body(values: Values, items: Items, query: bool) -> dict[str, Any]:
    task, instructions = values["task"], values["instructions"] or {}
    of_task = instructions.get(task, {}) if task else {}
    return {"instructions": of_task.get("query" if query else "documents", ""), "texts": [*items]}


ChromaCloudQwenEmbeddingFunction = make_class(
    Provider(
        names=("chroma-cloud-qwen", "chroma_cloud"),
        class_name="ChromaCloudQwenEmbeddingFunction",
        title="Chroma Cloud's Qwen3",
        parameters=(
            model(name="model"),
            Parameter("task", REQUIRED, nullable=True, fixed=True),
            Parameter("instructions", QWEN_INSTRUCTIONS, kind="object", fixed=True),
            key_variable("CHROMA_API_KEY"),
        ),
        base="https://embed.trychroma.com",
        path="",
        url=_cloud_url,
        variables=("CHROMA_EMBED_URL",),
        auth=header("x-chroma-token"),
        headers=lambda values: {"x-chroma-embedding-model": values["model"]},
        asks=_qwen_body,
        reads=at("embeddings"),
        batch=100,
        example={"model": "Qwen/Qwen3-Embedding-0.6B", "task": None},
    )
)

# ── sparse vectors ───────────────────────────────────────────────────────────────────────────────


def _splade_body(values: Values, items: Items, query: bool) -> dict[str, Any]:
    tokens = "true" if values["include_tokens"] else "false"
    return {"texts": [*items], "task": "", "target": "", "fetch_tokens": tokens}


def _sparse_vectors(answer: Any) -> list[Any]:
    return [_sparse_vector(row) for row in answer["embeddings"]]


def _sparse_vector(row: Any) -> SparseVector:
    """A vector with its indices ascending, whatever order they came in."""
    order = sorted(range(len(row["indices"])), key=row["indices"].__getitem__)
    labels = row.get("labels")
    return SparseVector(
        [row["indices"][place] for place in order],
        [row["values"][place] for place in order],
        None if labels is None else [labels[place] for place in order],
    )


ChromaCloudSpladeEmbeddingFunction = make_sparse_class(
    Provider(
        names=("chroma-cloud-splade",),
        class_name="ChromaCloudSpladeEmbeddingFunction",
        title="Chroma Cloud's SPLADE, as sparse vectors",
        parameters=(
            key_variable("CHROMA_API_KEY"),
            model("prithivida/Splade_PP_en_v1", name="model"),
            Parameter("include_tokens", False, kind="boolean", fixed=True),
        ),
        base="https://embed.trychroma.com",
        path="/embed_sparse",
        url=_cloud_url,
        variables=("CHROMA_EMBED_URL",),
        auth=header("x-chroma-token"),
        headers=lambda values: {"x-chroma-embedding-model": values["model"]},
        asks=_splade_body,
        reads=_sparse_vectors,
        batch=100,
    )
)

# ── one input a call ─────────────────────────────────────────────────────────────────────────────


def _roboflow_url(row: Provider, values: Values, items: Items) -> str:
    return row.base_url(values) + ("/clip/embed_image" if is_image(items[0]) else row.path)


def _roboflow_body(values: Values, items: Items, query: bool) -> dict[str, Any]:
    if is_image(items[0]):
        return {"image": {"type": "base64", "value": encoded_image(items[0], "JPEG")}}
    return text_body("text")(values, items, query)


RoboflowEmbeddingFunction = make_class(
    Provider(
        names=("roboflow",),
        class_name="RoboflowEmbeddingFunction",
        title="CLIP served by Roboflow",
        parameters=(
            KEY,
            Parameter("api_url", "https://infer.roboflow.com"),
            key_variable("CHROMA_ROBOFLOW_API_KEY"),
        ),
        prefers="ROBOFLOW_API_KEY",
        base="https://infer.roboflow.com",
        path="/clip/embed_text",
        override="api_url",
        url=_roboflow_url,
        key_param="api_key",
        asks=_roboflow_body,
        reads=at("embeddings"),
        batch=1,
        hosts=(".roboflow.com",),
        images="mixed",
    )
)


def _twelve_labs_body(values: Values, items: Items, query: bool) -> dict[str, Any]:
    text = {"input_text": items[0]}
    return {"input_type": "text", "model_name": values["model_name"], "text": text}


# Chroma has no function of this name in Python; its Go client stores it.
TwelveLabsEmbeddingFunction = make_class(
    Provider(
        names=("twelvelabs",),
        class_name="TwelveLabsEmbeddingFunction",
        title="Twelve Labs, of texts",
        parameters=(KEY, model("marengo3.0"), key_variable("TWELVE_LABS_API_KEY")),
        base="https://api.twelvelabs.io/v1.3/embed-v2",
        path="",
        auth=header("x-api-key"),
        asks=_twelve_labs_body,
        reads=lambda answer: [answer["data"][0]["embedding"]],
        batch=1,
        leaves_out=("insecure", "audio_embedding_option"),
    )
)

# ── the table ────────────────────────────────────────────────────────────────────────────────────

PROVIDERS = tuple(
    kind.provider
    for kind in (
        OpenAIEmbeddingFunction,
        GoogleGeminiEmbeddingFunction,
        GoogleGenerativeAiEmbeddingFunction,
        GoogleVertexEmbeddingFunction,
        GooglePalmEmbeddingFunction,
        CohereEmbeddingFunction,
        CloudflareWorkersAIEmbeddingFunction,
        HuggingFaceEmbeddingFunction,
        HuggingFaceEmbeddingServer,
        JinaEmbeddingFunction,
        MistralEmbeddingFunction,
        MorphEmbeddingFunction,
        OllamaEmbeddingFunction,
        NomicEmbeddingFunction,
        RoboflowEmbeddingFunction,
        TogetherAIEmbeddingFunction,
        VoyageAIEmbeddingFunction,
        BasetenEmbeddingFunction,
        PerplexityEmbeddingFunction,
        ChromaCloudQwenEmbeddingFunction,
        OpenRouterEmbeddingFunction,
        TwelveLabsEmbeddingFunction,
    )
)
SPARSE_PROVIDERS = (ChromaCloudSpladeEmbeddingFunction.provider,)
