"""Every embedding function by its class name, to be imported where Chroma's users look for it."""

from __future__ import annotations

from vermilion.embeddings.base import (
    EmbeddingFunction,
    known_embedding_functions,
    register_embedding_function,
)
from vermilion.embeddings.bm25 import ChromaBm25EmbeddingFunction
from vermilion.embeddings.default import (
    DefaultEmbeddingFunction,
    ONNXMiniLM_L6_V2,
)
from vermilion.embeddings.google import (
    GoogleGeminiEmbeddingFunction,
    GoogleGenerativeAiEmbeddingFunction,
    GooglePalmEmbeddingFunction,
    GoogleVertexEmbeddingFunction,
)
from vermilion.embeddings.installed import (
    AmazonBedrockEmbeddingFunction,
    ChromaLangchainEmbeddingFunction,
    InstructorEmbeddingFunction,
    OpenCLIPEmbeddingFunction,
    SentenceTransformerEmbeddingFunction,
    Text2VecEmbeddingFunction,
)
from vermilion.embeddings.lookup import (
    config_to_embedding_function,
    config_to_sparse_embedding_function,
    get_builtins,
)
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
from vermilion.embeddings.providers import (
    ChromaCloudQwenEmbeddingFunction,
    ChromaCloudSpladeEmbeddingFunction,
    CloudflareWorkersAIEmbeddingFunction,
    CohereEmbeddingFunction,
    HuggingFaceEmbeddingFunction,
    HuggingFaceEmbeddingServer,
    NomicEmbeddingFunction,
    OllamaEmbeddingFunction,
    RoboflowEmbeddingFunction,
    TwelveLabsEmbeddingFunction,
)
from vermilion.embeddings.sparse import (
    SparseEmbeddingFunction,
    register_sparse_embedding_function,
    sparse_known_embedding_functions,
)
from vermilion.embeddings.sparse_models import (
    Bm25EmbeddingFunction,
    FastembedSparseEmbeddingFunction,
    HuggingFaceSparseEmbeddingFunction,
)

GoogleGenaiEmbeddingFunction = GoogleGeminiEmbeddingFunction

__all__ = [
    "EmbeddingFunction",
    "known_embedding_functions",
    "register_embedding_function",
    "DefaultEmbeddingFunction",
    "ONNXMiniLM_L6_V2",
    "GoogleGeminiEmbeddingFunction",
    "GoogleGenerativeAiEmbeddingFunction",
    "GooglePalmEmbeddingFunction",
    "GoogleVertexEmbeddingFunction",
    "GoogleGenaiEmbeddingFunction",
    "AmazonBedrockEmbeddingFunction",
    "ChromaLangchainEmbeddingFunction",
    "InstructorEmbeddingFunction",
    "OpenCLIPEmbeddingFunction",
    "SentenceTransformerEmbeddingFunction",
    "Text2VecEmbeddingFunction",
    "config_to_embedding_function",
    "config_to_sparse_embedding_function",
    "get_builtins",
    "BasetenEmbeddingFunction",
    "JinaEmbeddingFunction",
    "MistralEmbeddingFunction",
    "MorphEmbeddingFunction",
    "OpenAIEmbeddingFunction",
    "PerplexityEmbeddingFunction",
    "TogetherAIEmbeddingFunction",
    "VoyageAIEmbeddingFunction",
    "ChromaCloudQwenEmbeddingFunction",
    "CloudflareWorkersAIEmbeddingFunction",
    "CohereEmbeddingFunction",
    "HuggingFaceEmbeddingFunction",
    "HuggingFaceEmbeddingServer",
    "NomicEmbeddingFunction",
    "OllamaEmbeddingFunction",
    "RoboflowEmbeddingFunction",
    "OpenRouterEmbeddingFunction",
    "TwelveLabsEmbeddingFunction",
    "SparseEmbeddingFunction",
    "register_sparse_embedding_function",
    "sparse_known_embedding_functions",
    "Bm25EmbeddingFunction",
    "ChromaBm25EmbeddingFunction",
    "ChromaCloudSpladeEmbeddingFunction",
    "FastembedSparseEmbeddingFunction",
    "HuggingFaceSparseEmbeddingFunction",
]
