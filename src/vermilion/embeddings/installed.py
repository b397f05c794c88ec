"""Embedding functions that run another library on this machine: thin, and imported when used.

Each takes the library's own objects as they come; what a collection remembers are plain values.
A library that is not installed is named, with how to get it, when the function is made.
"""

from __future__ import annotations

import inspect
import os
from functools import cache
from typing import Any, ClassVar

import numpy as np

from vermilion.embeddings.base import EmbeddingFunction, optional, register_builtin
from vermilion.embeddings.models import local_name
from vermilion.embeddings.shapes import is_image
from vermilion.errors import ArgumentValueError
from vermilion.offline import need_network, offline
from vermilion.types import Documents, Embeddings, Space

_PLAIN = (str, int, float, bool, type(None), list, dict)


class Remembered:
    """What these have in common: their configuration is their constructor's values."""

    fixed: ClassVar[tuple[str, ...]] = ()
    _values: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_values"][name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}") from None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's values."""
        return dict(self._values)

    @classmethod
    def build_from_config(cls, config: dict[str, Any]) -> Any:
        """Returns the function that `get_config` described."""
        cls.validate_config(config)
        kwargs = check_kwargs(config.get("kwargs") or {})
        rest = {name: value for name, value in config.items() if name != "kwargs"}
        return cls(**rest, **kwargs)

    @classmethod
    def validate_config(cls, config: dict[str, Any]) -> None:
        """Raises ValueError for a value that is missing, unknown or of the wrong type."""
        known = {
            name: one
            for name, one in inspect.signature(cls).parameters.items()
            if one.kind is not inspect.Parameter.VAR_KEYWORD
        }
        allowed = [*known, *(["kwargs"] if len(known) < _parameters(cls) else [])]
        if unknown := sorted(set(config) - set(allowed)):
            raise _invalid(cls, f"unknown {', '.join(unknown)}; allowed are {', '.join(allowed)}")
        for name, one in known.items():
            if name not in config and one.default is inspect.Parameter.empty:
                raise _invalid(cls, f"{name} is missing")
            if not _fits(config.get(name), str(one.annotation)):
                raise _invalid(cls, f"{name} is {config[name]!r}, expected {one.annotation}")

    def validate_config_update(
        self, old_config: dict[str, Any], new_config: dict[str, Any]
    ) -> None:
        """Raises ValueError when a value differs that vectors already depend on."""
        for name in self.fixed:
            if old_config.get(name) != new_config.get(name):
                raise ArgumentValueError(
                    f"The {name.replace('_', ' ')} cannot be changed after the embedding function "
                    f"has been initialized: it is {old_config.get(name)!r}, got "
                    f"{new_config.get(name)!r}. Use collection.reembed to change it"
                )

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__["_values"] == other.__dict__["_values"]

    def __hash__(self) -> int:
        return hash(type(self))


_KINDS: dict[str, Any] = {"str": str, "bool": bool, "int": int, "float": (int, float)}


def _parameters(kind: type) -> int:
    return len(inspect.signature(kind).parameters)


def _fits(value: Any, annotation: str) -> bool:
    """Whether a value is of one of the plain types that an annotation names; None always is."""
    kinds = [_KINDS[word] for word in annotation.split(" | ") if word in _KINDS]
    if value is None or not kinds:
        return True
    return isinstance(value, bool) == ("bool" in annotation) and isinstance(value, tuple(kinds))


def _invalid(kind: Any, what: str) -> ArgumentValueError:
    return ArgumentValueError(f"Config validation failed for schema {kind.name()!r}: {what}")


class InstalledFunction(Remembered, EmbeddingFunction[Any]):
    """A dense function of a library that is installed beside this package."""

    def default_space(self) -> Space:
        """Returns "cosine"."""
        return "cosine"


def check_kwargs(kwargs: dict[str, Any]) -> dict[str, Any]:
    """What goes on to a library, from a caller or from what a collection remembers.

    Raises ValueError for what cannot be remembered, and for what lets a model bring its own code.
    """
    for name, value in kwargs.items():
        if name == "trust_remote_code":
            raise ArgumentValueError(
                "trust_remote_code is not allowed: it would run code that comes with a model"
            )
        if not isinstance(value, _PLAIN):
            raise ArgumentValueError(f"Keyword argument {name} is not a primitive type: {value!r}")
    return kwargs


def hub_library(package: str, remedy: str) -> Any:
    """Imports a library that fetches models from Hugging Face, which it does not when offline."""
    if offline():
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    return optional(package, remedy)


# ── sentence-transformers ────────────────────────────────────────────────────────────────────────


@cache
def _sentence_transformer(model_name: str, device: str, kwargs: tuple[Any, ...]) -> Any:
    """A model, loaded once for all functions that name it."""
    library = hub_library("sentence_transformers", "pip install sentence_transformers")
    return library.SentenceTransformer(local_name(model_name), device=device, **dict(kwargs))


@register_builtin
class SentenceTransformerEmbeddingFunction(InstalledFunction):
    """A model of sentence-transformers, by name or from a folder."""

    def __init__(
        self,
        model_name: str = "all-MiniLM-L6-v2",
        device: str = "cpu",
        normalize_embeddings: bool = False,
        **kwargs: Any,
    ) -> None:
        """`kwargs` go to SentenceTransformer; plain values only, and no code of a model's own."""
        self._values = {
            "model_name": model_name,
            "device": device,
            "normalize_embeddings": normalize_embeddings,
            "kwargs": check_kwargs(kwargs),
        }
        self._model = _sentence_transformer(model_name, device, tuple(sorted(kwargs.items())))

    def __call__(self, input: Documents) -> Embeddings:
        """Returns one vector per text."""
        normalize = self._values["normalize_embeddings"]
        return list(
            self._model.encode(list(input), convert_to_numpy=True, normalize_embeddings=normalize)
        )

    @staticmethod
    def name() -> str:
        """Returns "sentence_transformer"."""
        return "sentence_transformer"


@register_builtin
class Text2VecEmbeddingFunction(InstalledFunction):
    """A model of text2vec."""

    fixed = ("model_name",)

    def __init__(self, model_name: str = "shibing624/text2vec-base-chinese") -> None:
        self._values = {"model_name": model_name}
        library = hub_library("text2vec", "pip install text2vec")
        self._model = library.SentenceModel(model_name_or_path=model_name)

    def __call__(self, input: Documents) -> Embeddings:
        """Returns one vector per text."""
        return list(self._model.encode(list(input), convert_to_numpy=True))

    @staticmethod
    def name() -> str:
        """Returns "text2vec"."""
        return "text2vec"


# The last release of this package calls what these had when it was made.
INSTRUCTOR = (
    'pip install InstructorEmbedding "sentence-transformers==2.2.2"'
    ' "transformers>=4.41,<4.46" "huggingface-hub<0.26"'
)


@register_builtin
class InstructorEmbeddingFunction(InstalledFunction):
    """A model of InstructorEmbedding, with an instruction for all texts."""

    fixed = ("model_name", "instruction")

    def __init__(
        self,
        model_name: str = "hkunlp/instructor-base",
        device: str = "cpu",
        instruction: str | None = None,
    ) -> None:
        self._values = {"model_name": model_name, "device": device, "instruction": instruction}
        library = hub_library("InstructorEmbedding", INSTRUCTOR)
        self._model = library.INSTRUCTOR(model_name, device=device)

    def __call__(self, input: Documents) -> Embeddings:
        """Returns one vector per text."""
        instruction = self._values["instruction"]
        texts = list(input) if instruction is None else [[instruction, text] for text in input]
        return list(self._model.encode(texts, convert_to_numpy=True))

    @staticmethod
    def name() -> str:
        """Returns "instructor"."""
        return "instructor"


# ── images and texts ─────────────────────────────────────────────────────────────────────────────


@register_builtin
class OpenCLIPEmbeddingFunction(InstalledFunction):
    """A CLIP model of open_clip: texts and images in one space, of unit length."""

    fixed = ("model_name", "checkpoint")

    def __init__(
        self,
        model_name: str = "ViT-B-32",
        checkpoint: str = "laion2b_s34b_b79k",
        device: str | None = "cpu",
    ) -> None:
        """`checkpoint` is a name that open_clip knows, or a file."""
        self._values = {"model_name": model_name, "checkpoint": checkpoint, "device": device}
        library = hub_library("open_clip", "pip install open-clip-torch")
        self._torch = optional("torch", "pip install torch")
        self._image = optional("PIL.Image", "pip install pillow").Image
        model, _, self._prepare = library.create_model_and_transforms(
            model_name=model_name, pretrained=checkpoint
        )
        self._model = model.to(device).eval()
        self._tokens = library.get_tokenizer(model_name=model_name)

    def __call__(self, input: Any) -> Embeddings:
        """Returns one vector per text or image."""
        return [self._one(item) for item in input]

    def _one(self, item: Any) -> Any:
        device = self._values["device"]
        with self._torch.no_grad():
            if is_image(item):
                pixels = self._prepare(self._image.fromarray(np.asarray(item)))
                features = self._model.encode_image(pixels.unsqueeze(0).to(device))
            elif isinstance(item, str):
                features = self._model.encode_text(self._tokens(item).to(device))
            else:
                raise ArgumentValueError(f"Expected a text or an image, got {type(item).__name__}")
            return (features / features.norm(dim=-1, keepdim=True)).squeeze().cpu().numpy()

    @staticmethod
    def name() -> str:
        """Returns "open_clip"."""
        return "open_clip"


# ── others' objects ──────────────────────────────────────────────────────────────────────────────


@register_builtin
class AmazonBedrockEmbeddingFunction(InstalledFunction):
    """A model of Amazon Bedrock, by a session of boto3, which signs and knows the region."""

    fixed = ("model_name",)

    def __init__(
        self, session: Any, model_name: str = "amazon.titan-embed-text-v1", **kwargs: Any
    ) -> None:
        """`kwargs` go to the session's `client`; plain values are remembered."""
        self._values = {
            "model_name": model_name,
            "session_args": {
                "region_name": session.region_name,
                "profile_name": session.profile_name,
            },
            "kwargs": check_kwargs(kwargs),
        }
        self._client = session.client(service_name="bedrock-runtime", **kwargs)

    def __call__(self, input: Documents) -> Embeddings:
        """Returns one vector per text, one request each."""
        need_network("Amazon Bedrock", self._client.meta.endpoint_url)
        return [self._one(text) for text in input]

    def _one(self, text: str) -> Any:
        import json

        answer = self._client.invoke_model(
            modelId=self._values["model_name"],
            body=json.dumps({"inputText": text}),
            accept="application/json",
            contentType="application/json",
        )
        return json.load(answer["body"])["embedding"]

    @staticmethod
    def name() -> str:
        """Returns "amazon_bedrock"."""
        return "amazon_bedrock"

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> AmazonBedrockEmbeddingFunction:
        """Returns the function that `get_config` described, with a session of the same region."""
        if unknown := sorted(set(config) - {"session_args", "model_name", "kwargs"}):
            raise _invalid(AmazonBedrockEmbeddingFunction, f"unknown {', '.join(unknown)}")
        boto3 = optional("boto3", "pip install boto3")
        session = boto3.Session(**(config.get("session_args") or {}))
        kwargs = check_kwargs(config.get("kwargs") or {})
        return AmazonBedrockEmbeddingFunction(session, config["model_name"], **kwargs)

    def default_space(self) -> Space:
        """Returns "l2"."""
        return "l2"


@register_builtin
class ChromaLangchainEmbeddingFunction(EmbeddingFunction[Any]):
    """An `Embeddings` object of LangChain. A collection cannot bring it back by itself."""

    def __init__(self, embedding_function: Any) -> None:
        """Takes what has `embed_documents` and `embed_query`."""
        self.embedding_function = embedding_function

    def embed_documents(self, documents: Any) -> Any:
        """Returns what LangChain's object gives for documents."""
        return self.embedding_function.embed_documents(documents)

    def embed_query(self, query: Any) -> Any:
        """Returns the vectors of many queries, or the one of a single text, as LangChain asks."""
        if isinstance(query, str):
            return self.embedding_function.embed_query(query)
        return [self.embedding_function.embed_query(one) for one in query]

    def embed_image(self, uris: list[str]) -> Any:
        """Returns what LangChain's object gives for images. Raises ValueError if it cannot."""
        if not hasattr(self.embedding_function, "embed_image"):
            raise ArgumentValueError("The provided embedding function does not support images")
        return self.embedding_function.embed_image(uris)

    def __call__(self, input: Any) -> Embeddings:
        """Returns one vector per document."""
        vectors: Embeddings = self.embed_documents(list(input))
        return vectors

    @staticmethod
    def name() -> str:
        """Returns "chroma_langchain"."""
        return "chroma_langchain"

    def get_config(self) -> dict[str, Any]:
        """Returns the class of LangChain's object, for people."""
        return {
            "embedding_function_class": type(self.embedding_function).__name__,
            "note": "pass embedding_function= to get_collection: it cannot be rebuilt",
        }

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> Any:
        """Raises ValueError: there is nothing to rebuild it from."""
        raise ArgumentValueError(
            "A LangChain embedding function cannot be rebuilt from what is stored "
            f"({config.get('embedding_function_class')}); pass embedding_function= to "
            "get_collection"
        )


# Collections of Chroma know it by another name.
register_builtin(ChromaLangchainEmbeddingFunction, "langchain")
