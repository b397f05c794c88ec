"""What vendors' own SDKs send, and what we send: the same, where the SDK is installed.

Both ask the same server. The project's extras do not install the SDKs, which take up to 200 MB
each: `pip install openai cohere mistralai ollama google-genai together voyageai perplexityai
boto3` in an environment of its own, and these tests run there.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

import vermilion.utils.embedding_functions as functions
from providers_server import KEY, Providers, serving, vector
from vermilion.embeddings import transport

# Not every SDK closes its connections.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
TEXTS = ["one", "another"]


class Pair(NamedTuple):
    """How an SDK is asked, our function, and what only the SDK says, which changes no vector."""

    sdk: str
    ask: Callable[[Any, Providers], Any]
    ours: Callable[[Providers], Any]
    extras: tuple[str, ...] = ()
    auth: str = "authorization"


def openai(sdk: Any, server: Providers) -> Any:
    client = sdk.OpenAI(api_key=KEY, base_url=server.base("openai"))
    return client.embeddings.create(model="text-embedding-3-small", input=TEXTS, dimensions=3)


def azure(sdk: Any, server: Providers) -> Any:
    client = sdk.AzureOpenAI(
        api_key=KEY, azure_endpoint=server.base("azure"), azure_deployment="mine",
        api_version="2024-02-01",
    )  # fmt: skip
    return client.embeddings.create(model="text-embedding-3-small", input=TEXTS)


def cohere(sdk: Any, server: Providers) -> Any:
    client = sdk.Client(KEY, base_url=server.base("cohere").removesuffix("/v1"))
    return client.embed(texts=TEXTS, model="embed-english-v3.0", input_type="search_document")


def mistral(sdk: Any, server: Providers) -> Any:
    kind = getattr(sdk, "Mistral", None)
    if kind is None:  # since its second release
        from mistralai.client import Mistral as kind
    client = kind(api_key=KEY, server_url=server.base("mistral").removesuffix("/v1"))
    return client.embeddings.create(model="mistral-embed", inputs=TEXTS)


def ollama(sdk: Any, server: Providers) -> Any:
    return sdk.Client(host=server.base("ollama")).embed(model="m", input=TEXTS)


def gemini(sdk: Any, server: Providers) -> Any:
    base = server.base("google_gemini").removesuffix("/v1beta")
    place = {"base_url": base, "api_version": "v1beta"}
    client = sdk.Client(api_key=KEY, http_options=place)
    config = {"task_type": "RETRIEVAL_DOCUMENT", "output_dimensionality": 3}
    return client.models.embed_content(model="gemini-embedding-001", contents=TEXTS, config=config)


def together(sdk: Any, server: Providers) -> Any:
    base = server.base("together_ai").removesuffix("/v1")
    client = sdk.Together(api_key=KEY, base_url=base)
    return client.embeddings.create(model="m", input=TEXTS)


def voyage(sdk: Any, server: Providers) -> Any:
    client = sdk.Client(api_key=KEY, base_url=server.base("voyageai"))
    return client.embed(TEXTS, model="voyage-3.5", input_type="document")


def perplexity(sdk: Any, server: Providers) -> Any:
    base = server.base("perplexity").removesuffix("/v1")
    client = sdk.Perplexity(api_key=KEY, base_url=base)
    return client.embeddings.create(model="pplx-embed-v1-0.6b", input=TEXTS)


PAIRS = {
    "openai": Pair(
        "openai", openai,
        lambda server: functions.OpenAIEmbeddingFunction(
            model_name="text-embedding-3-small", api_base=server.base("openai"), dimensions=3
        ),
        ("encoding_format",),
    ),
    "azure": Pair(
        "openai", azure,
        lambda server: functions.OpenAIEmbeddingFunction(
            model_name="text-embedding-3-small", api_base=server.base("azure"), api_type="azure",
            api_version="2024-02-01", deployment_id="mine",
        ),
        ("encoding_format",), "api-key",
    ),
    "cohere": Pair(
        "cohere", cohere,
        lambda server: functions.CohereEmbeddingFunction(
            model_name="embed-english-v3.0", base_url=server.base("cohere")
        ),
        ("stream", "embedding_types"),
    ),
    "mistral": Pair(
        "mistralai", mistral,
        lambda server: functions.MistralEmbeddingFunction(
            model="mistral-embed", base_url=server.base("mistral")
        ),
    ),
    "ollama": Pair(
        "ollama", ollama,
        lambda server: functions.OllamaEmbeddingFunction(
            model_name="m", url=server.base("ollama")
        ),
    ),
    "gemini": Pair(
        "google.genai", gemini,
        lambda server: functions.GoogleGeminiEmbeddingFunction(
            task_type="RETRIEVAL_DOCUMENT", dimension=3, base_url=server.base("google_gemini")
        ),
        auth="x-goog-api-key",
    ),
    "together": Pair(
        "together", together,
        lambda server: functions.TogetherAIEmbeddingFunction(
            model_name="m", base_url=server.base("together_ai")
        ),
    ),
    "voyage": Pair(
        "voyageai", voyage,
        lambda server: functions.VoyageAIEmbeddingFunction(
            model_name="voyage-3.5", input_type="document", base_url=server.base("voyageai")
        ),
        ("encoding_format",),
    ),
    "perplexity": Pair(
        "perplexity", perplexity,
        lambda server: functions.PerplexityEmbeddingFunction(
            base_url=server.base("perplexity")
        ),
    ),
}  # fmt: skip


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Providers]:
    for name in ("OPENAI", "COHERE", "VOYAGE"):
        monkeypatch.setenv(f"CHROMA_{name}_API_KEY", KEY)
        monkeypatch.delenv(f"{name}_API_KEY", raising=False)
    for name in ("MISTRAL", "GEMINI", "TOGETHER", "PERPLEXITY"):
        monkeypatch.setenv(f"{name}_API_KEY", KEY)
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)
    with serving() as state:
        yield state
        transport.close()


def without(body: Any, extras: tuple[str, ...]) -> Any:
    """A body without what is null, and without what only the SDK says."""
    if isinstance(body, list):
        return [without(one, extras) for one in body]
    if not isinstance(body, dict):
        return body
    dropped = {"role", *extras}  # Gemini's "role" of a text that is embedded
    return {
        key: without(value, extras)
        for key, value in body.items()
        if value is not None and key not in dropped
    }


@pytest.mark.parametrize("name", PAIRS)
def test_we_send_what_the_sdk_sends(name: str, server: Providers) -> None:
    pair = PAIRS[name]
    sdk = pytest.importorskip(pair.sdk)
    pair.ask(sdk, server)
    [theirs] = server.calls
    server.calls.clear()
    pair.ours(server)(TEXTS)
    [mine] = server.calls
    assert (mine.path, mine.query) == (theirs.path, theirs.query)
    assert mine.headers.get(pair.auth) == theirs.headers.get(pair.auth)
    assert without(mine.body, ()) == without(theirs.body, pair.extras)


def test_bedrock_signs_by_boto3(server: Providers) -> None:
    boto3 = pytest.importorskip("boto3")
    session = boto3.Session(
        region_name="eu-central-1", aws_access_key_id="me", aws_secret_access_key=KEY
    )
    function = functions.AmazonBedrockEmbeddingFunction(
        session, endpoint_url=server.base("amazon_bedrock")
    )
    assert np.array_equal(function(TEXTS), [vector(text) for text in TEXTS])
    assert KEY not in str(function.get_config())
