"""Who may change a configuration cannot have keys sent to a host of his."""

from typing import Any

import pytest

import vermilion.utils.embedding_functions as functions
from vermilion.embeddings import trust
from vermilion.embeddings.lookup import config_to_embedding_function


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CHROMA_OPENAI_API_KEY", "CHROMA_BASETEN_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(name, "sesame")
    monkeypatch.setenv("GOOGLE_VERTEX_ACCESS_TOKEN", "sesame")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv(trust.VARIABLE, raising=False)
    monkeypatch.setattr(trust, "_told", set())


def request_of(name: str, **config: Any) -> Any:
    """What a function made of what is stored would send."""
    return config_to_embedding_function({"name": name, "config": config})._request(["x"], False)


@pytest.mark.parametrize(
    "base",
    [
        "https://api.openai.com/v1",
        "https://mine.openai.azure.com",
        "http://localhost:8000/v1",
        "http://127.0.0.1/v1",
        "http://[::1]:8000",
    ],
)
def test_the_providers_own_hosts_and_this_machine_are_believed(base: str) -> None:
    assert request_of("openai", api_base=base).url.startswith(base)


@pytest.mark.parametrize(
    "base",
    [
        "https://evil.example/v1",
        "http://api.openai.com/v1",  # not encrypted
        "https://api.openai.com.evil.example",
        "https://api.openai.com@evil.example/",
        "https://evil.example#.openai.com",
        "https://evil.example\\.openai.com",
        "https://api.openai.com:8443",
        "http://127.0.0.1.evil.example",
        "http://localhost.evil.example",
    ],
)
def test_other_hosts_get_no_key(base: str) -> None:
    with pytest.raises(ValueError, match=r"the key was not sent there.*TRUSTED_EMBEDDING_HOSTS"):
        request_of("openai", api_base=base)


def test_a_region_is_no_way_to_another_host() -> None:
    assert request_of("google_vertex", region="europe-west1", project_id="p")
    for region in ("evil.example/", "evil.example#", "evil.example?x="):
        with pytest.raises(ValueError, match="key was not sent"):
            request_of("google_vertex", region=region, project_id="p")


def test_the_program_may_say_so_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(trust.VARIABLE, "gpu:8000, other.example")
    assert request_of("openai", api_base="http://gpu:8000/v1")
    with pytest.raises(ValueError, match="VERMILION_TRUSTED_EMBEDDING_HOSTS=gpu:9000"):
        request_of("openai", api_base="http://gpu:9000/v1")
    monkeypatch.setenv(trust.VARIABLE, "*")
    assert request_of("openai", api_base="http://gpu:9000/v1")


def test_a_variable_for_the_provider_says_so_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERMILION_OPENAI_BASE_URL", "https://proxy.example/v1")
    assert request_of("openai", api_base="https://proxy.example/v1")
    assert request_of("openai").url == "https://proxy.example/v1/embeddings"


def test_what_the_program_has_made_itself_is_believed_for_that_provider() -> None:
    functions.OpenAIEmbeddingFunction(api_base="https://proxy.example/v1")
    assert request_of("openai", api_base="https://proxy.example/v1")
    with pytest.raises(ValueError, match="key was not sent"):
        request_of("baseten", api_base="https://proxy.example/v1")


def test_without_a_key_there_is_nothing_to_keep() -> None:
    assert request_of("ollama", url="http://gpu:11434").url == "http://gpu:11434/api/embed"
    assert request_of("huggingface_server", url="http://gpu:8080/embed")


def test_baseten_has_a_host_for_each_model() -> None:
    assert request_of("baseten", api_base="https://model-x.api.baseten.co/v1")
