"""OpenAI's embeddings, and those of providers that speak as OpenAI does."""

from __future__ import annotations

from typing import Any

from vermilion.embeddings.hosted import make_class
from vermilion.embeddings.provider import (
    KEY,
    REQUIRED,
    Parameter,
    Provider,
    key_variable,
    model,
    query_task,
)
from vermilion.embeddings.shapes import (
    Items,
    Values,
    by_index,
    encoded_image,
    is_image,
    openai_body,
    small_ints,
)
from vermilion.errors import ArgumentValueError

# ── OpenAI, also as Azure serves it ──────────────────────────────────────────────────────────────

_SECRET_HEADERS = ("authorization", "cookie", "key", "secret", "token")


def _public_headers(headers: dict[str, str] | None) -> dict[str, str] | None:
    """The headers that a collection may remember: none that looks like a secret."""
    if headers is None:
        return None
    return {
        name: value
        for name, value in headers.items()
        if not any(word in name.lower() for word in _SECRET_HEADERS)
    }


def _is_azure(values: Values) -> bool:
    return bool(values["api_type"] == "azure")


def _openai_check(values: Values) -> None:
    missing = [name for name in ("api_version", "deployment_id", "api_base") if not values[name]]
    if _is_azure(values) and missing:
        raise ArgumentValueError(f"{', '.join(missing)} must be specified for Azure OpenAI")


def _openai_body(values: Values, items: Items, query: bool) -> dict[str, Any]:
    extras = ("dimensions",) if "text-embedding-3" in values["model_name"] else ()
    return openai_body(extras=extras)(values, items, query)


def _openai_url(row: Provider, values: Values, items: Items) -> str:
    base = row.base_url(values)
    if _is_azure(values):
        return base + "/openai/deployments/{deployment_id}/embeddings?api-version={api_version}"
    return base + row.path


def _openai_headers(values: Values) -> dict[str, str]:
    organization = values["organization_id"]
    named = {"OpenAI-Organization": organization} if organization else {}
    return {**(values["default_headers"] or {}), **named}


OpenAIEmbeddingFunction = make_class(
    Provider(
        names=("openai",),
        class_name="OpenAIEmbeddingFunction",
        title="OpenAI, or Azure OpenAI with `api_type='azure'`",
        parameters=(
            KEY,
            model("text-embedding-ada-002"),
            Parameter("organization_id"),
            Parameter("api_base"),
            Parameter("api_type"),
            Parameter("api_version"),
            Parameter("deployment_id"),
            Parameter("default_headers", kind="object", stores=_public_headers),
            Parameter("dimensions", kind="integer"),
            key_variable("CHROMA_OPENAI_API_KEY"),
        ),
        prefers="OPENAI_API_KEY",
        base="https://api.openai.com/v1",
        path="/embeddings",
        override="api_base",
        url=_openai_url,
        headers=_openai_headers,
        auth=lambda values, key: (
            {"api-key": key} if _is_azure(values) else {"Authorization": f"Bearer {key}"}
        ),
        check=_openai_check,
        asks=_openai_body,
        reads=by_index(),
        batch=2048,
        hosts=(".openai.com", ".openai.azure.com", ".cognitiveservices.azure.com"),
        example={"model_name": "text-embedding-3-small"},
    )
)

# ── others that speak as OpenAI does ─────────────────────────────────────────────────────────────

MorphEmbeddingFunction = make_class(
    Provider(
        names=("morph",),
        class_name="MorphEmbeddingFunction",
        title="Morph",
        parameters=(
            KEY,
            model("morph-embedding-v2"),
            Parameter("api_base", "https://api.morphllm.com/v1"),
            Parameter("encoding_format", "float"),
            key_variable("MORPH_API_KEY"),
        ),
        base="https://api.morphllm.com/v1",
        path="/embeddings",
        override="api_base",
        asks=openai_body(extras=("encoding_format",)),
        reads=by_index(),
        batch=128,
    )
)

BasetenEmbeddingFunction = make_class(
    Provider(
        names=("baseten",),
        class_name="BasetenEmbeddingFunction",
        title="a model deployed at Baseten",
        parameters=(
            Parameter("api_key", REQUIRED, stored=False),
            Parameter("api_base", REQUIRED),
            key_variable("CHROMA_BASETEN_API_KEY"),
        ),
        prefers="BASETEN_API_KEY",
        base="{api_base}",
        path="/embeddings",
        override="api_base",
        # The deployment has one model; the name is there for the form's sake.
        asks=lambda values, items, query: {
            "model": "baseten-embedding-model",
            "input": list(items),
        },
        reads=by_index(),
        batch=128,
        hosts=(".baseten.co",),
        example={
            "api_key": None,
            "api_base": "https://model-x.api.baseten.co/environments/production/sync/v1",
        },
    )
)

TogetherAIEmbeddingFunction = make_class(
    Provider(
        names=("together_ai", "together-ai"),
        class_name="TogetherAIEmbeddingFunction",
        title="Together AI",
        parameters=(model(), KEY, key_variable("CHROMA_TOGETHER_AI_API_KEY")),
        prefers="TOGETHER_API_KEY",
        base="https://api.together.xyz/v1",
        path="/embeddings",
        asks=openai_body(),
        reads=by_index(),
        batch=100,
        example={"model_name": "BAAI/bge-base-en-v1.5"},
    )
)

MistralEmbeddingFunction = make_class(
    Provider(
        names=("mistral",),
        class_name="MistralEmbeddingFunction",
        title="Mistral",
        parameters=(model(name="model"), key_variable("MISTRAL_API_KEY")),
        base="https://api.mistral.ai/v1",
        path="/embeddings",
        asks=openai_body(model="model"),
        reads=by_index(),
        batch=100,
        example={"model": "mistral-embed"},
    )
)

_JINA_EXTRAS = ("task", "late_chunking", "truncate", "dimensions", "embedding_type", "normalized")


def _jina_body(values: Values, items: Items, query: bool) -> dict[str, Any]:
    body = openai_body(extras=_JINA_EXTRAS)(values, items, query)
    if any(map(is_image, items)):
        body["input"] = [
            {"image": encoded_image(item)} if is_image(item) else {"text": item} for item in items
        ]
    return {**body, **(values["query_config"] or {})} if query else body


JinaEmbeddingFunction = make_class(
    Provider(
        names=("jina",),
        class_name="JinaEmbeddingFunction",
        title="Jina AI",
        parameters=(
            KEY,
            model("jina-embeddings-v2-base-en"),
            key_variable("CHROMA_JINA_API_KEY"),
            Parameter("task"),
            Parameter("late_chunking", kind="boolean"),
            Parameter("truncate", kind="boolean"),
            Parameter("dimensions", kind="integer"),
            Parameter("embedding_type"),
            Parameter("normalized", kind="boolean"),
            Parameter("query_config", kind="object"),
        ),
        prefers="JINA_API_KEY",
        base="https://api.jina.ai/v1",
        path="/embeddings",
        asks=_jina_body,
        reads=by_index(),
        batch=512,
        images="mixed",
        example={
            "model_name": "jina-embeddings-v3",
            "task": "retrieval.passage",
            "query_config": {"task": "retrieval.query"},
        },
    )
)


def _voyage_body(values: Values, items: Items, query: bool) -> dict[str, Any]:
    task = (values["query_task"] if query else None) or values["input_type"]
    return {
        "model": values["model_name"],
        "input": list(items),
        "input_type": task,
        "truncation": values["truncation"],
    }


VoyageAIEmbeddingFunction = make_class(
    Provider(
        names=("voyageai",),
        class_name="VoyageAIEmbeddingFunction",
        title="Voyage AI",
        parameters=(
            KEY,
            model("voyage-large-2"),
            key_variable("CHROMA_VOYAGE_API_KEY"),
            Parameter("input_type"),
            Parameter("truncation", True, kind="boolean"),
            query_task(),
        ),
        prefers="VOYAGE_API_KEY",
        base="https://api.voyageai.com/v1",
        path="/embeddings",
        asks=_voyage_body,
        reads=by_index(),
        batch=1000,
        example={"model_name": "voyage-3.5", "input_type": "document", "query_task": "query"},
    )
)

PerplexityEmbeddingFunction = make_class(
    Provider(
        names=("perplexity",),
        class_name="PerplexityEmbeddingFunction",
        title="Perplexity",
        parameters=(
            KEY,
            model("pplx-embed-v1-0.6b"),
            key_variable("PERPLEXITY_API_KEY"),
            Parameter("dimensions", kind="integer"),
        ),
        base="https://api.perplexity.ai/v1",
        path="/embeddings",
        asks=openai_body(extras=("dimensions",)),
        reads=by_index(small_ints),
        batch=512,
    )
)

# Chroma has no function of this name in Python; its Go client stores it.
_ROUTER_EXTRAS = ("dimensions", "user", "encoding_format", "input_type", "provider")

OpenRouterEmbeddingFunction = make_class(
    Provider(
        names=("openrouter",),
        class_name="OpenRouterEmbeddingFunction",
        title="OpenRouter",
        parameters=(
            model(),
            KEY,
            key_variable("OPENROUTER_API_KEY"),
            Parameter("dimensions", kind="integer", if_set=True, fixed=True),
            Parameter("user", if_set=True),
            Parameter("encoding_format", if_set=True),
            Parameter("input_type", if_set=True),
            Parameter("provider", kind="object", if_set=True),
        ),
        base="https://openrouter.ai/api/v1",
        path="/embeddings",
        asks=openai_body(extras=_ROUTER_EXTRAS),
        reads=by_index(),
        batch=100,
        leaves_out=("insecure",),
        example={"model_name": "openai/text-embedding-3-small"},
    )
)
