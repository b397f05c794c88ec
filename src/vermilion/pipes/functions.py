"""The embedding functions that --ef names, made from the environment."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

Environment = Mapping[str, str]


def _default(environment: Environment, model: str | None) -> Any:
    from vermilion.embeddings.default import DefaultEmbeddingFunction

    return DefaultEmbeddingFunction()


def _openai(environment: Environment, model: str | None) -> Any:
    from vermilion.embeddings.openai_like import OpenAIEmbeddingFunction

    name = model or environment.get("OPENAI_MODEL_NAME", "text-embedding-ada-002")
    return OpenAIEmbeddingFunction(model_name=name, api_key_env_var="OPENAI_API_KEY")


def _cohere(environment: Environment, model: str | None) -> Any:
    from vermilion.embeddings.providers import CohereEmbeddingFunction

    name = model or environment.get("COHERE_MODEL_NAME")
    return CohereEmbeddingFunction(
        api_key_env_var="COHERE_API_KEY", **({"model_name": name} if name else {})
    )


def _hf(environment: Environment, model: str | None) -> Any:
    from vermilion.embeddings.providers import HuggingFaceEmbeddingFunction

    name = model or environment.get("HF_MODEL_NAME")
    return HuggingFaceEmbeddingFunction(
        api_key_env_var="HF_TOKEN", **({"model_name": name} if name else {})
    )


def _st(environment: Environment, model: str | None) -> Any:
    from vermilion.embeddings.installed import SentenceTransformerEmbeddingFunction

    normalize = environment.get("ST_NORMALIZE", "").lower() in ("true", "1", "yes")
    return SentenceTransformerEmbeddingFunction(
        model or environment.get("ST_MODEL_NAME", "all-MiniLM-L6-v2"),
        environment.get("ST_DEVICE", "cpu"),
        normalize,
    )


def _gemini(environment: Environment, model: str | None) -> Any:
    from vermilion.embeddings.google import GoogleGeminiEmbeddingFunction

    name = model or environment.get("GEMINI_MODEL_NAME", "gemini-embedding-001")
    return GoogleGeminiEmbeddingFunction(
        model_name=name, task_type=environment.get("GEMINI_TASK_TYPE")
    )


def _ollama(environment: Environment, model: str | None) -> Any:
    from vermilion.embeddings.providers import OllamaEmbeddingFunction

    given = {
        "model_name": model or environment.get("OLLAMA_MODEL_NAME"),
        "url": environment.get("OLLAMA_EMBED_URL"),
    }
    return OllamaEmbeddingFunction(**{key: value for key, value in given.items() if value})


FUNCTIONS: dict[str, Callable[[Environment, str | None], Any]] = {
    "default": _default,
    "openai": _openai,
    "cohere": _cohere,
    "hf": _hf,
    "st": _st,
    "gemini": _gemini,
    "ollama": _ollama,
}


def make(name: str, environment: Environment, model: str | None = None) -> Any:
    """The embedding function of that name. Raises ValueError when a key or a library is missing."""
    return FUNCTIONS[name](environment, model)


def add_function(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Declares the embedding function."""
    parser.add_argument(
        "--ef", choices=list(FUNCTIONS), required=required, help="the embedding function"
    )
