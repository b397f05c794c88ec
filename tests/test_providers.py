"""Every provider of embeddings, asked for real over loopback: see providers_server.py."""

import ast
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vermilion.utils.embedding_functions as functions
from providers_server import KEY, Providers, serving, vector
from vermilion.api.client import Client
from vermilion.embeddings import transport
from vermilion.embeddings.lookup import config_to_embedding_function
from vermilion.embeddings.provider import REQUIRED, Provider
from vermilion.embeddings.providers import PROVIDERS, SPARSE_PROVIDERS
from vermilion.errors import EmbeddingError
from vermilion.query.ranks import Knn
from vermilion.query.search import Search
from vermilion.schema.builder import Schema
from vermilion.schema.config import SparseVectorIndexConfig
from vermilion.types import SparseVector

LIVE = [row for row in PROVIDERS if not row.retired]
KEYED = [row for row in LIVE if row.name not in ("ollama", "huggingface_server", "google_vertex")]
EACH = pytest.mark.parametrize("row", LIVE, ids=lambda row: row.name)
WITH_A_KEY = pytest.mark.parametrize("row", KEYED, ids=lambda row: row.name)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Providers]:
    monkeypatch.setattr(transport, "_pause", lambda *_: 0.0)
    monkeypatch.setenv("GOOGLE_VERTEX_ACCESS_TOKEN", KEY)
    for row in (*PROVIDERS, *SPARSE_PROVIDERS):
        for one in row.parameters:
            if one.name == "api_key_env_var" and one.default:
                monkeypatch.setenv(one.default, KEY)
        if row.prefers:
            monkeypatch.delenv(row.prefers, raising=False)
    with serving() as state:
        yield state
        transport.close()


def made(row: Provider, server: Providers, **more: Any) -> Any:
    """The function of a provider, asking the server of the test."""
    place = {row.override or "base_url": server.base(row.name)}
    return getattr(functions, row.class_name)(**{**row.example, **place, **more})


def task_of(row: Provider, *, query: bool) -> str | None:
    """What the example of a provider embeds for."""
    given = row.example
    if row.name == "chroma-cloud-qwen":
        return ""
    if row.name == "cohere":
        return "search_query" if query else "search_document"
    if query and given.get("query_config"):
        return str(next(iter(given["query_config"].values())))
    if query and given.get("query_task"):
        return str(given["query_task"])
    default = "RETRIEVAL_DOCUMENT" if row.name == "google_generative_ai" else None
    task = given.get("task_type") or given.get("task") or given.get("input_type") or default
    return None if task is None else str(task)


# ── asking ───────────────────────────────────────────────────────────────────────────────────────


@EACH
def test_each_text_gets_its_own_vector_however_many_there_are(
    row: Provider, server: Providers
) -> None:
    texts = [f"text {place}" for place in range(row.batch + 2)]
    found = made(row, server)(texts)
    task = task_of(row, query=False)
    assert np.array_equal(found, [vector(text, task) for text in texts])
    assert len(server.calls) == -(-len(texts) // row.batch)


@EACH
def test_a_query_is_embedded_for_its_task(row: Provider, server: Providers) -> None:
    found = made(row, server).embed_query(["where is it?"])
    assert np.array_equal(found, [vector("where is it?", task_of(row, query=True))])


@pytest.mark.parametrize("name", ["cohere", "voyageai", "google_gemini", "google_generative_ai"])
def test_without_a_query_task_queries_are_embedded_as_documents(
    name: str, server: Providers
) -> None:
    [row] = [row for row in PROVIDERS if row.name == name]
    function = made(row, server, query_task=None)
    assert np.array_equal(function.embed_query(["x"]), function(["x"]))
    assert "query_task" not in function.get_config()


def test_the_first_failure_ends_the_call(server: Providers) -> None:
    row = next(row for row in LIVE if row.name == "roboflow")
    server.instead += [(400, {}, '{"message": "no credit"}')] * 1000
    with pytest.raises(EmbeddingError, match="no credit"):
        made(row, server)([f"{number}" for number in range(1000)])
    assert len(server.calls) < 100


def test_azure_has_its_own_address_and_header(server: Providers) -> None:
    function = functions.OpenAIEmbeddingFunction(
        api_base=server.base("azure"), api_type="azure", api_version="2024-02-01",
        deployment_id="mine", model_name="text-embedding-3-small", dimensions=3,
    )  # fmt: skip
    assert np.array_equal(function(["x"]), [vector("x", dimension=3)])
    [call] = server.calls
    assert (call.headers["api-key"], call.query) == (KEY, {"api-version": ["2024-02-01"]})
    with pytest.raises(ValueError, match="deployment_id must be specified"):
        functions.OpenAIEmbeddingFunction(
            api_base="http://x", api_type="azure", api_version="2024-02-01"
        )


def test_openai_sends_what_it_was_given(server: Providers) -> None:
    function = functions.OpenAIEmbeddingFunction(
        api_base=server.base("openai"), organization_id="us", default_headers={"X-Team": "a"}
    )
    function(["x"])
    [call] = server.calls
    assert call.body == {"model": "text-embedding-ada-002", "input": ["x"]}
    assert (call.headers["openai-organization"], call.headers["x-team"]) == ("us", "a")


def test_an_old_address_of_ollama_is_cut_to_where_it_listens(server: Providers) -> None:
    function = functions.OllamaEmbeddingFunction(url="http://localhost:1/api/embeddings")
    assert function._request(["x"], False).url == "http://localhost:1/api/embed"


def test_a_gateway_of_cloudflare_has_an_address_of_its_own(server: Providers) -> None:
    function = functions.CloudflareWorkersAIEmbeddingFunction("@cf/m", "acc", gateway_id="gate")
    place = "https://gateway.ai.cloudflare.com/v1/acc/gate/workers-ai/@cf/m"
    assert function._request(["x"], False).url == place


def test_gemini_on_vertex_needs_no_key(server: Providers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEMINI_API_KEY")
    function = functions.GoogleGeminiEmbeddingFunction(
        vertexai=True, project="p", location="l", base_url=server.base("google_vertex")
    )
    assert np.array_equal(function(["x"]), [vector("x")])
    with pytest.raises(ValueError, match="project and location must be given"):
        functions.GoogleGeminiEmbeddingFunction(vertexai=True)


def test_the_place_can_be_told_by_the_environment(
    server: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERMILION_COHERE_BASE_URL", server.base("cohere"))
    function = functions.CohereEmbeddingFunction()
    assert np.array_equal(function(["x"]), [vector("x", "search_document")])
    assert "base_url" not in function.get_config()


# ── images ───────────────────────────────────────────────────────────────────────────────────────

PICTURE = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)


@pytest.mark.parametrize("row", [row for row in LIVE if row.images], ids=lambda row: row.name)
def test_an_image_goes_alone(row: Provider, server: Providers) -> None:
    found = made(row, server)([PICTURE, PICTURE])
    assert np.array_equal(found[0], found[1])
    assert len(server.calls) == 2


def test_texts_and_images_mix_where_the_provider_takes_both(server: Providers) -> None:
    mixed = made(next(row for row in LIVE if row.name == "jina"), server)([PICTURE, "x"])
    assert np.array_equal(mixed[1], vector("x", "retrieval.passage"))
    with pytest.raises(ValueError, match="texts or images, not both"):
        made(next(row for row in LIVE if row.name == "cohere"), server)([PICTURE, "x"])
    with pytest.raises(ValueError, match="embeds texts, got ndarray"):
        made(next(row for row in LIVE if row.name == "mistral"), server)([PICTURE])


# ── failing ──────────────────────────────────────────────────────────────────────────────────────


@WITH_A_KEY
def test_a_wrong_key_is_said_and_never_shown(
    row: Provider, server: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_KEY", "wrong-and-secret")
    function = made(row, server, api_key_env_var="THE_KEY")
    with pytest.raises(EmbeddingError, match="answered 401") as caught:
        function(["x"])
    assert (caught.value.provider, caught.value.provider_status) == (row.name, 401)
    assert "is not valid" in str(caught.value)
    assert "wrong-and-secret" not in str(caught.value) + repr(function)
    assert len(server.calls) == 1


@EACH
def test_what_may_be_over_in_a_moment_is_tried_again(row: Provider, server: Providers) -> None:
    server.instead += [(429, {"retry-after": "1"}, "{}"), (503, {}, "down")]
    assert len(made(row, server)(["x"])) == 1
    assert len(server.calls) == 3


@EACH
@pytest.mark.parametrize(
    ("instead", "said"),
    [
        ((200, {}, "[[["), "answered 200: [[["),
        ((200, {}, '{"data": [], "embeddings": []}'), "answered 200"),
        ((200, {}, "{}"), "cannot be read"),
        ((200, {}, "7"), "cannot be read"),
        ((400, {}, '{"detail": "too long"}'), "answered 400: too long"),
        ((404, {"content-type": "text/html"}, "<h1>gone</h1>"), "answered 404: <h1>gone</h1>"),
        ((302, {"location": "http://127.0.0.1:1/"}, ""), "answered 302: Found"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_was_not_asked_for_is_an_error(
    row: Provider, server: Providers, instead: Any, said: str
) -> None:
    server.instead.append(instead)
    with pytest.raises(EmbeddingError) as caught:
        made(row, server)(["x"])
    assert said in str(caught.value)


def test_after_three_tries_the_provider_is_believed(server: Providers) -> None:
    server.instead += [(503, {}, '{"error": "overloaded"}')] * 3
    with pytest.raises(EmbeddingError, match="ollama answered 503: overloaded"):
        made(next(row for row in LIVE if row.name == "ollama"), server)(["x"])
    assert len(server.calls) == 3


def test_nobody_there(server: Providers) -> None:
    function = functions.OllamaEmbeddingFunction(url="http://127.0.0.1:9")
    with pytest.raises(EmbeddingError, match="ollama: no answer"):
        function(["x"])


def test_a_pause_is_what_the_provider_asks_for() -> None:
    assert transport._pause(1, "7") == 7
    assert transport._pause(1, "100000") == transport.LONGEST_WAIT
    assert 0 < transport._pause(1, "Wed, 21 Oct 2026 07:28:00 GMT") < 2


def test_a_retired_provider_loads_and_says_so(server: Providers) -> None:
    function = config_to_embedding_function({"name": "google_palm", "config": {}})
    with pytest.raises(EmbeddingError, match="retired the PaLM API"):
        function(["x"])


# ── being remembered ─────────────────────────────────────────────────────────────────────────────


@EACH
def test_a_function_comes_back_from_what_is_stored(row: Provider, server: Providers) -> None:
    function = made(row, server)
    config = json.loads(json.dumps(function.get_config()))
    again = config_to_embedding_function({"name": function.name(), "config": config})
    assert again == function
    assert np.array_equal(again(["x"]), function(["x"]))
    function.validate_config_update(config, config)


@EACH
def test_no_key_is_ever_stored(row: Provider, server: Providers) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with_key = any(one.name == "api_key" for one in row.parameters)
        function = made(row, server, **({"api_key": KEY} if with_key else {}))
    assert KEY not in json.dumps(function.get_config()) + repr(function)


def test_a_key_given_directly_is_used_with_a_warning(
    server: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CHROMA_COHERE_API_KEY")
    with pytest.warns(DeprecationWarning, match="will not be persisted"):
        function = functions.CohereEmbeddingFunction(KEY, base_url=server.base("cohere"))
    assert len(function(["x"])) == 1
    with pytest.raises(ValueError, match="The CHROMA_COHERE_API_KEY environment variable is not"):
        functions.CohereEmbeddingFunction()


def test_which_variable_has_the_key(server: Providers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "usual")
    monkeypatch.setenv("MINE", "mine")
    usual = functions.OpenAIEmbeddingFunction()
    assert (usual.api_key, usual.get_config()["api_key_env_var"]) == ("usual", "OPENAI_API_KEY")
    mine = functions.OpenAIEmbeddingFunction(api_key_env_var="MINE")
    assert (mine.api_key, mine.get_config()["api_key_env_var"]) == ("mine", "MINE")


def test_headers_that_look_secret_are_sent_and_not_stored(server: Providers) -> None:
    function = functions.OpenAIEmbeddingFunction(
        api_base=server.base("openai"), default_headers={"X-Secret": "s", "X-Team": "a"}
    )
    function(["x"])
    assert server.calls[0].headers["x-secret"] == "s"
    assert function.get_config()["default_headers"] == {"X-Team": "a"}


def test_keys_as_javascript_writes_them_are_read(server: Providers) -> None:
    config = {"apiKeyEnvVar": "CHROMA_OPENAI_API_KEY", "modelName": "text-embedding-3-large"}
    function = config_to_embedding_function({"name": "openai", "config": config})
    assert function.get_config()["model_name"] == "text-embedding-3-large"


@pytest.mark.parametrize(
    ("name", "config", "said"),
    [
        ("openai", {"modl": "x"}, "unknown modl; allowed are model_name"),
        ("mistral", {}, "model is missing"),
        ("openai", {"dimensions": "3"}, "dimensions of OpenAIEmbeddingFunction to be of type int"),
        ("ollama", {"timeout": True}, "timeout of OllamaEmbeddingFunction"),
        ("ollama", {"url": "file:///etc/passwd"}, "Expected an http or https URL"),
    ],
)
def test_a_stored_config_is_checked(
    server: Providers, name: str, config: dict[str, Any], said: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=said):
        config_to_embedding_function({"name": name, "config": config})(["x"])


def test_a_model_is_changed_by_cloning(client: Client, server: Providers) -> None:
    row = next(row for row in LIVE if row.name == "cohere")
    notes = client.create_collection("notes", embedding_function=made(row, server))
    notes.modify(configuration={"embedding_function": made(row, server)})
    other = made(row, server, model_name="embed-v4.0")
    with pytest.raises(ValueError, match="model name cannot be changed .* Clone the collection"):
        notes.modify(configuration={"embedding_function": other})


def test_a_collection_uses_the_provider_it_remembers(client: Client, server: Providers) -> None:
    row = next(row for row in LIVE if row.name == "cohere")
    made_by = client.create_collection("notes", embedding_function=made(row, server))
    made_by.add(ids=["a", "b"], documents=["one", "two"])
    assert made_by.configuration_json["hnsw"]["space"] == "cosine"
    notes = client.get_collection("notes")
    found = notes.query(query_texts=["one"], include=["distances"])
    assert found["ids"][0] in (["a", "b"], ["b", "a"])
    assert server.calls[-1].body["input_type"] == "search_query"
    assert KEY not in json.dumps(notes.configuration_json)


def test_what_a_provider_refuses_leaves_nothing_written(client: Client, server: Providers) -> None:
    row = next(row for row in LIVE if row.name == "cohere")
    notes = client.create_collection("notes", embedding_function=made(row, server))
    server.instead.append((400, {}, '{"message": "no credit"}'))
    with pytest.raises(EmbeddingError, match="no credit"):
        notes.add(ids=["a"], documents=["one"])
    assert notes.count() == 0


# ── sparse ───────────────────────────────────────────────────────────────────────────────────────


def test_splade_answers_are_put_in_order(server: Providers) -> None:
    base = server.base("chroma-cloud-splade")
    function = functions.ChromaCloudSpladeEmbeddingFunction(base_url=base)
    assert function(["abba"]) == [SparseVector([97, 98], [2, 2])]
    told = functions.ChromaCloudSpladeEmbeddingFunction(include_tokens=True, base_url=base)
    assert told(["abba"]) == [SparseVector([97, 98], [2, 2], ["a", "b"])]
    many = [f"{number}" for number in range(250)]
    assert function.embed_query(many) == function(many)
    assert len(server.calls) == 2 + 2 * 3


def test_splade_fails_as_the_others_do(server: Providers, monkeypatch: pytest.MonkeyPatch) -> None:
    base = server.base("chroma-cloud-splade")
    function = functions.ChromaCloudSpladeEmbeddingFunction(base_url=base)
    server.instead += [(429, {}, "{}"), (503, {}, "")]
    assert len(function(["x"])) == 1
    server.instead.append((200, {}, '{"embeddings": [{"indices": [1, 1], "values": [1, 2]}]}'))
    with pytest.raises(EmbeddingError, match="chroma-cloud-splade answered 200: .* cannot be read"):
        function(["x"])
    monkeypatch.setenv("CHROMA_API_KEY", "wrong")
    with pytest.raises(EmbeddingError, match="answered 401") as caught:
        functions.ChromaCloudSpladeEmbeddingFunction(base_url=base)(["x"])
    assert "wrong" not in str(caught.value)


def test_a_collection_uses_the_splade_it_remembers(client: Client, server: Providers) -> None:
    function = functions.ChromaCloudSpladeEmbeddingFunction(
        base_url=server.base("chroma-cloud-splade")
    )
    schema = Schema().create_index(
        SparseVectorIndexConfig(source_key="#document", embedding_function=function), "letters"
    )
    client.create_collection("notes", schema=schema).add(ids=["a", "b"], documents=["xyz", "abc"])
    notes = client.get_collection("notes")
    found = notes.search(Search().rank(Knn(query="aa", key="letters")).limit(1).select("#id"))
    assert found["ids"] == [["b"]]
    assert KEY not in json.dumps(notes.configuration_json)


def test_what_javascript_stores_for_cohere_is_read(server: Providers) -> None:
    config = {"model_name": "embed-v4.0", "input_type": "classification", "truncate": "END"}
    stored = {**config, "embedding_type": "float", "image": False}
    stored["base_url"] = server.base("cohere")
    function = config_to_embedding_function({"name": "cohere", "config": stored})
    assert np.array_equal(function(["x"]), [vector("x", "classification")])
    assert server.calls[-1].body["truncate"] == "END"


# ── the table ────────────────────────────────────────────────────────────────────────────────────


@EACH
def test_the_schema_describes_the_config(row: Provider, server: Providers) -> None:
    schema, config = row.schema(), made(row, server).get_config()
    assert set(config) <= set(schema["properties"])
    assert set(schema["required"]) <= set(config)
    wanted = {one.name for one in row.all_parameters if one.default is REQUIRED and one.stored}
    assert set(schema["required"]) == wanted


def test_the_snippets_of_the_page_work(server: Providers, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parent.parent / "docs/embedding-functions.md").read_text("utf-8")
    text = page.split("<!-- provider-snippets")[1].split("```python\n")[1].split("```")[0]
    for row in LIVE:
        monkeypatch.setenv(row.variable, server.base(row.name))
    text = text.replace("http://localhost:8080/embed", server.base("huggingface_server"))
    address = next(row.example["api_base"] for row in LIVE if row.name == "baseten")
    text = text.replace(address, server.base("baseten"))
    calls = ast.parse(text).body
    assert len(calls) == len(LIVE)
    for call in calls:
        function = eval(ast.unparse(call), vars(functions))
        assert len(function(["a text"])) == 1
    assert len(server.calls) == len(LIVE)
