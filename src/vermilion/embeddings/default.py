"""The default embedding function: all-MiniLM-L6-v2, which comes with the package."""

from __future__ import annotations

from typing import Any

from vermilion.embeddings.base import EmbeddingFunction, register_builtin
from vermilion.errors import ArgumentValueError
from vermilion.types import Documents, Embeddings, Space

MAX_TOKENS = 256


@register_builtin
class DefaultEmbeddingFunction(EmbeddingFunction[Documents]):
    """all-MiniLM-L6-v2: 384 dimensions, unit length, English, up to 256 tokens of each text.

    Works offline from the first call. Made from an empty configuration, so all are equal.
    """

    def __call__(self, input: Documents) -> Embeddings:
        """Returns one vector per text."""
        return _encoded(input)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))

    @staticmethod
    def name() -> str:
        """Returns "default"."""
        return "default"

    def get_config(self) -> dict[str, Any]:
        """Returns an empty dict."""
        return {}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> DefaultEmbeddingFunction:
        """Returns the function; there is nothing to configure."""
        return DefaultEmbeddingFunction()

    def max_tokens(self) -> int:
        """Returns how many tokens of a text count."""
        return MAX_TOKENS


@register_builtin
class ONNXMiniLM_L6_V2(EmbeddingFunction[Documents]):
    """The same model under its own name, with cosine as its space.

    `preferred_providers` is kept for collections that name it; the model runs on the CPU.
    """

    def __init__(self, preferred_providers: list[str] | None = None) -> None:
        if preferred_providers is not None:
            if not all(isinstance(provider, str) for provider in preferred_providers):
                raise ArgumentValueError("Preferred providers must be a list of strings")
            if len(set(preferred_providers)) != len(preferred_providers):
                raise ArgumentValueError("Preferred providers must be unique")
        self._preferred_providers = preferred_providers

    def __call__(self, input: Documents) -> Embeddings:
        """Returns one vector per text."""
        return _encoded(input)

    @staticmethod
    def name() -> str:
        """Returns "onnx_mini_lm_l6_v2"."""
        return "onnx_mini_lm_l6_v2"

    def get_config(self) -> dict[str, Any]:
        """Returns the providers that were asked for."""
        return {"preferred_providers": self._preferred_providers}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> ONNXMiniLM_L6_V2:
        """Returns the function that `get_config` described."""
        if unknown := sorted(set(config) - {"preferred_providers"}):
            raise ArgumentValueError(
                f"Config validation failed for schema 'onnx_mini_lm_l6_v2': unknown {unknown}, "
                "allowed is preferred_providers"
            )
        return ONNXMiniLM_L6_V2(config.get("preferred_providers"))

    def default_space(self) -> Space:
        """Returns "cosine"."""
        return "cosine"

    def max_tokens(self) -> int:
        """Returns how many tokens of a text count."""
        return MAX_TOKENS


def _encoded(texts: Documents) -> Embeddings:
    from vermilion.embeddings.minilm import shared  # programs with other models need none of it

    return list(shared().encode(texts)) if texts else []
