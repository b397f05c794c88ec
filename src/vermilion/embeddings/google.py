"""Google's embeddings: Gemini, Generative AI, Vertex AI, and PaLM, which is no more."""

from __future__ import annotations

import os
from typing import Any

from vermilion.embeddings.hosted import make_class
from vermilion.embeddings.provider import (
    KEY,
    Parameter,
    Provider,
    header,
    key_variable,
    model,
    no_key,
    optional_key,
    query_task,
)
from vermilion.embeddings.shapes import Items, Values, given, one_at, text_body
from vermilion.errors import ArgumentValueError

TOKEN_VARIABLE = "GOOGLE_VERTEX_ACCESS_TOKEN"


def access_token() -> str:
    """An OAuth token for Vertex AI: from the environment, or by google-auth from the machine."""
    if token := os.environ.get(TOKEN_VARIABLE):
        return token
    try:
        import google.auth
        import google.auth.transport.requests
    except ImportError:
        raise ArgumentValueError(
            f"Vertex AI needs an OAuth token: set {TOKEN_VARIABLE}, or `pip install google-auth "
            "requests` to use the machine's Google credentials"
        ) from None
    credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    credentials.refresh(google.auth.transport.requests.Request())
    return str(credentials.token)


def _google_model(values: Values) -> str:
    """The model's name as Google's paths have it."""
    return "models/" + str(values["model_name"]).removeprefix("models/")


def _google_text(values: Values, text: str, query: bool) -> dict[str, Any]:
    task = (values["query_task"] if query else None) or values["task_type"]
    dimension = values["dimension"]
    return {
        "content": {"parts": [{"text": text}]},
        **({"taskType": task} if task else {}),
        **({"outputDimensionality": dimension} if dimension else {}),
    }


def _instances(values: Values, items: Items, query: bool) -> dict[str, Any]:
    task = (values.get("query_task") if query else None) or values.get("task_type")
    named = {"task_type": task} if task else {}
    parameters = {"outputDimensionality": values.get("dimension")}
    return {
        "instances": [{"content": text, **named} for text in items],
        "parameters": given(parameters, tuple(parameters)),
    }


def _predictions(answer: Any) -> list[Any]:
    return [one["embeddings"]["values"] for one in answer["predictions"]]


def _gemini_body(values: Values, items: Items, query: bool) -> dict[str, Any]:
    if values["vertexai"]:
        return _instances(values, items, query)
    name = _google_model(values)
    return {"requests": [{"model": name, **_google_text(values, one, query)} for one in items]}


def _gemini_vectors(answer: Any) -> list[Any]:
    if "predictions" in answer:
        return _predictions(answer)
    return [one["values"] for one in answer["embeddings"]]


_VERTEX_PATH = "/projects/{%s}/locations/{%s}/publishers/google/models/{model_name}:predict"


def _gemini_url(row: Provider, values: Values, items: Items) -> str:
    if not values["vertexai"]:
        return f"{row.base_url(values)}/{_google_model(values)}:batchEmbedContents"
    base = row.base_url(values)
    if base == row.base:
        base = "https://{location}-aiplatform.googleapis.com/v1"
    return base + _VERTEX_PATH % ("project", "location")


def _gemini_check(values: Values) -> None:
    missing = [name for name in ("project", "location") if not values[name]]
    if values["vertexai"] and missing:
        raise ArgumentValueError(f"{' and '.join(missing)} must be given with vertexai=True")


def _bearer_token(values: Values) -> dict[str, str]:
    return {"Authorization": f"Bearer {access_token()}"}


GoogleGeminiEmbeddingFunction = make_class(
    Provider(
        names=("google_gemini", "google_genai", "google-gemini", "google-genai"),
        class_name="GoogleGeminiEmbeddingFunction",
        title="Google Gemini, or Vertex AI with `vertexai=True`",
        parameters=(
            model("gemini-embedding-001"),
            Parameter("task_type", if_set=True),
            Parameter("dimension", kind="integer", if_set=True, fixed=True),
            key_variable("GEMINI_API_KEY"),
            Parameter("vertexai", kind="boolean", fixed=True),
            Parameter("project", fixed=True),
            Parameter("location", fixed=True),
            query_task(),
        ),
        base="https://generativelanguage.googleapis.com/v1beta",
        path="",
        url=_gemini_url,
        auth=header("x-goog-api-key"),
        key=lambda values: "none" if values["vertexai"] else "required",
        headers=lambda values: _bearer_token(values) if values["vertexai"] else {},
        check=_gemini_check,
        asks=_gemini_body,
        reads=_gemini_vectors,
        batch=100,
        hosts=("-aiplatform.googleapis.com",),
        example={"task_type": "RETRIEVAL_DOCUMENT", "query_task": "RETRIEVAL_QUERY"},
    )
)

GoogleGenerativeAiEmbeddingFunction = make_class(
    Provider(
        names=("google_generative_ai",),
        class_name="GoogleGenerativeAiEmbeddingFunction",
        title="Google's Generative AI",
        parameters=(
            KEY,
            model("gemini-embedding-001"),
            Parameter("task_type", "RETRIEVAL_DOCUMENT", fixed=True),
            key_variable("GEMINI_API_KEY"),
            Parameter("dimension", kind="integer", if_set=True, fixed=True),
            query_task(),
        ),
        prefers="GOOGLE_API_KEY",
        base="https://generativelanguage.googleapis.com/v1beta",
        path="",
        url=lambda row, values, items: (
            f"{row.base_url(values)}/{_google_model(values)}:embedContent"
        ),
        auth=header("x-goog-api-key"),
        asks=lambda values, items, query: _google_text(values, items[0], query),
        reads=one_at("embedding", "values"),
        batch=1,
    )
)

GooglePalmEmbeddingFunction = make_class(
    Provider(
        names=("google_palm",),
        class_name="GooglePalmEmbeddingFunction",
        title="Google PaLM, which Google has switched off",
        parameters=(
            KEY,
            model("models/embedding-gecko-001"),
            key_variable("CHROMA_GOOGLE_PALM_API_KEY"),
        ),
        prefers="GOOGLE_API_KEY",
        base="https://generativelanguage.googleapis.com/v1beta3",
        path="/{model_name}:embedText",
        auth=header("x-goog-api-key"),
        key=optional_key,
        asks=text_body("text"),
        reads=one_at("embedding", "value"),
        batch=1,
        retired="Google has retired the PaLM API. Clone the collection with "
        "GoogleGeminiEmbeddingFunction, or pass embedding_function= to get_collection",
    )
)

GoogleVertexEmbeddingFunction = make_class(
    Provider(
        names=("google_vertex",),
        class_name="GoogleVertexEmbeddingFunction",
        title="Google Vertex AI, with the machine's Google credentials",
        parameters=(
            KEY,
            model("textembedding-gecko"),
            Parameter("project_id", "cloud-large-language-models", fixed=True),
            Parameter("region", "us-central1", fixed=True),
            key_variable("CHROMA_GOOGLE_VERTEX_API_KEY"),
        ),
        prefers="GOOGLE_API_KEY",
        base="https://{region}-aiplatform.googleapis.com/v1",
        path=_VERTEX_PATH % ("project_id", "region"),
        key=no_key,
        headers=_bearer_token,
        asks=_instances,
        reads=_predictions,
        batch=250,
        hosts=("-aiplatform.googleapis.com",),
        example={"model_name": "text-embedding-005", "project_id": "your-project"},
    )
)
