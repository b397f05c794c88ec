"""VERMILION_OFFLINE: nothing of the package speaks to another machine."""

import doctest

import pytest

import vermilion
import vermilion.utils.embedding_functions as functions
from providers_server import serving, vector
from vermilion import offline
from vermilion.embeddings import transport
from vermilion.errors import OfflineError


@pytest.fixture(autouse=True)
def silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(offline.VARIABLE, "1")
    monkeypatch.setenv("CHROMA_COHERE_API_KEY", "sesame-1234567890")


def test_a_provider_is_not_asked() -> None:
    with pytest.raises(OfflineError, match=r"cohere at https://api.cohere.com was not asked, beca"):
        functions.CohereEmbeddingFunction()(["x"])


def test_a_provider_on_this_machine_is() -> None:
    with serving() as server:
        function = functions.CohereEmbeddingFunction(base_url=server.base("cohere"))
        assert function(["x"])[0].tolist() == vector("x", "search_document")
        transport.close()


def test_a_server_is_not_asked() -> None:
    with pytest.raises(OfflineError, match=r"https://example.org:8000 was not asked"):
        vermilion.HttpClient(host="https://example.org:8000")


def test_the_default_model_needs_nobody() -> None:
    assert len(functions.DefaultEmbeddingFunction()(["x"])) == 1


@pytest.mark.parametrize("value", ["", "0", "false", "No"])
def test_what_means_no(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(offline.VARIABLE, value)
    assert not offline.offline()


def test_examples() -> None:
    assert doctest.testmod(offline).failed == 0
