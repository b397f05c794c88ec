"""A server on loopback that answers as the providers of embeddings do.

A vector is a pure function of the text and the task, so a test can tell whether the order is kept
and what a query was embedded for. Each provider's own rules are kept: who may ask, which fields
there have to be, how many inputs one request carries. OpenAI's form is answered in reversed order,
which its `index` allows.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

KEY = "sesame-1234567890"


def vector(text: str, task: str | None = None, dimension: int = 6) -> list[float]:
    """Small integers, which every encoding carries exactly."""
    digest = hashlib.sha256(f"{task or ''}|{text}".encode()).digest()
    return [float(byte % 100 - 50) for byte in digest[:dimension]]


class Refused(Exception):
    """What the provider does not take: a status and its words."""


@dataclass
class Call:
    """A request as it came."""

    path: str
    query: dict[str, list[str]]
    headers: Mapping[str, str]
    body: Any

    def texts(self, field: str, most: int) -> list[str]:
        texts: list[str] = self.body[field]
        if not 0 < len(texts) <= most or not all(isinstance(one, str) for one in texts):
            raise Refused(400, f"{field}: between 1 and {most} texts")
        return texts

    def allow(self, got: str | None, wanted: str) -> None:
        if got != wanted:
            raise Refused(401, f"the key {got} is not valid")

    def bearer(self) -> None:
        self.allow(self.headers.get("authorization"), f"Bearer {KEY}")


Answer = Callable[[Call, "re.Match[str]"], Any]


def openai(task: Callable[[Any], str | None] = lambda body: None, most: int = 2048) -> Answer:
    def answer(call: Call, match: re.Match[str]) -> Any:
        if "api-key" in call.headers:
            call.allow(call.headers["api-key"], KEY)
        else:
            call.bearer()
        body = call.body
        texts = [_text(item) for item in body["input"]]
        if len(texts) > most:
            raise Refused(400, f"at most {most} inputs")
        rows = [vector(text, task(body), body.get("dimensions") or 6) for text in texts]
        cells = [_encoded(row, body.get("encoding_format")) for row in rows]
        kind = {"object": "embedding"}
        data = [{**kind, "index": place, "embedding": cell} for place, cell in enumerate(cells)]
        told = {"id": "answer", "object": "list", "usage": {"prompt_tokens": 1, "total_tokens": 1}}
        return {**told, "model": body["model"], "data": data[::-1]}

    return answer


def _text(item: Any) -> str:
    """An input as one text: an image is named by its bytes."""
    if isinstance(item, str):
        return item
    return item["text"] if "text" in item else "image " + item["image"][-40:]


def _encoded(row: list[float], form: str | None) -> Any:
    if form == "base64":
        return base64.b64encode(np.array(row, "<f4").tobytes()).decode()
    return row


def perplexity(call: Call, match: re.Match[str]) -> Any:
    answer = openai(most=512)(call, match)
    for row in answer["data"]:
        row["embedding"] = base64.b64encode(np.array(row["embedding"], np.int8).tobytes()).decode()
    return answer


def cohere(call: Call, match: re.Match[str]) -> Any:
    call.bearer()
    task = call.body["input_type"]
    if task == "image":
        [image] = call.body["images"]
        if not image.startswith("data:image/png;base64,"):
            raise Refused(400, "images are data URLs")
        return {"embeddings": [vector("image " + image[-40:], task)]}
    texts = call.texts("texts", 96)
    told = {"id": "x", "texts": texts, "response_type": "embeddings_floats", "meta": {}}
    return {**told, "embeddings": [vector(one, task) for one in texts]}


def listed(field: str, most: int, path: tuple[str, ...], keyed: bool = True) -> Answer:
    """A list in, a list out."""

    def answer(call: Call, match: re.Match[str]) -> Any:
        if keyed:
            call.bearer()
        task = call.body.get("task_type")
        found: Any = [vector(one, task) for one in call.texts(field, most)]
        for key in reversed(path):
            found = {key: found}
        return found

    return answer


def gemini(call: Call, match: re.Match[str]) -> Any:
    call.allow(call.headers.get("x-goog-api-key"), KEY)
    requests = call.body["requests"]
    if len(requests) > 100 or any(one["model"] != match[1] for one in requests):
        raise Refused(400, "at most 100 requests, all of the model in the path")
    return {"embeddings": [{"values": _google(one)} for one in requests]}


def generative(call: Call, match: re.Match[str]) -> Any:
    call.allow(call.headers.get("x-goog-api-key"), KEY)
    return {"embedding": {"values": _google(call.body)}}


def _google(request: Any) -> list[float]:
    dimension = request.get("outputDimensionality") or 6
    return vector(request["content"]["parts"][0]["text"], request.get("taskType"), dimension)


def vertex(call: Call, match: re.Match[str]) -> Any:
    call.bearer()
    if len(call.body["instances"]) > 250:
        raise Refused(400, "at most 250 instances")
    rows = [vector(one["content"], one.get("task_type")) for one in call.body["instances"]]
    return {"predictions": [{"embeddings": {"values": row}} for row in rows]}


def roboflow(call: Call, match: re.Match[str]) -> Any:
    call.allow(call.query.get("api_key", [None])[0], KEY)
    if match[1] == "text":
        return {"embeddings": [vector(call.body["text"])]}
    base64.b64decode(call.body["image"]["value"], validate=True)
    return {"embeddings": [vector("image")]}


def qwen(call: Call, match: re.Match[str]) -> Any:
    call.allow(call.headers.get("x-chroma-token"), KEY)
    if call.headers.get("x-chroma-embedding-model") != "Qwen/Qwen3-Embedding-0.6B":
        raise Refused(400, "no such model")
    task = call.body["instructions"]
    return {"embeddings": [vector(one, task) for one in call.texts("texts", 1000)]}


def splade(call: Call, match: re.Match[str]) -> Any:
    call.allow(call.headers.get("x-chroma-token"), KEY)
    if call.headers.get("x-chroma-embedding-model") != "prithivida/Splade_PP_en_v1":
        raise Refused(400, "no such model")
    if not {"texts", "task", "target", "fetch_tokens"} <= set(call.body):
        raise Refused(400, "a field is missing")
    told = {"true": True, "false": False}[call.body["fetch_tokens"]]
    return {"embeddings": [_sparse(one, told) for one in call.texts("texts", 100)]}


def _sparse(text: str, told: bool) -> dict[str, Any]:
    """The letters of a text, by number, in descending order."""
    letters = sorted(set(text), reverse=True)
    row = {"indices": [ord(x) for x in letters], "values": [text.count(x) for x in letters]}
    return {**row, "labels": letters} if told else row


def twelve_labs(call: Call, match: re.Match[str]) -> Any:
    call.allow(call.headers.get("x-api-key"), KEY)
    if call.body["input_type"] != "text":
        raise Refused(400, "texts only")
    return {"data": [{"embedding": vector(call.body["text"]["input_text"])}]}


def bedrock(call: Call, match: re.Match[str]) -> Any:
    signed = r"AWS4-HMAC-SHA256 Credential=.+/bedrock/aws4_request, SignedHeaders=.+, Signature=.+"
    if not re.fullmatch(signed, call.headers.get("authorization", "")):
        raise Refused(403, "not signed")
    return {"embedding": vector(call.body["inputText"])}


# The base URL that a provider is given, the path that it then asks, and who answers.
ROUTES: dict[str, tuple[str, str, Answer]] = {
    "openai": ("/openai/v1", "/embeddings", openai()),
    "morph": ("/morph/v1", "/embeddings", openai()),
    "baseten": ("/baseten/v1", "/embeddings", openai()),
    "together_ai": ("/together/v1", "/embeddings", openai(most=100)),
    "mistral": ("/mistral/v1", "/embeddings", openai(most=100)),
    "jina": ("/jina/v1", "/embeddings", openai(lambda body: body.get("task"))),
    "voyageai": ("/voyage/v1", "/embeddings", openai(lambda body: body["input_type"], 1000)),
    "perplexity": ("/pplx/v1", "/embeddings", perplexity),
    "cohere": ("/cohere/v1", "/embed", cohere),
    "ollama": ("/ollama", "/api/embed", listed("input", 512, ("embeddings",), keyed=False)),
    "nomic": ("/nomic/v1", "/embedding/text", listed("texts", 400, ("embeddings",))),
    "cloudflare_workers_ai": (
        "/cf/v4",
        "/accounts/[^/]+/ai/run/@cf/.+",
        listed("text", 100, ("result", "data")),
    ),
    "huggingface": (
        "/hf/models",
        "/sentence-transformers/[^/]+/pipeline/feature-extraction",
        listed("inputs", 32, ()),
    ),
    "huggingface_server": ("/tei/embed", "", listed("inputs", 32, (), keyed=False)),
    "roboflow": ("/roboflow", "/clip/embed_(text|image)", roboflow),
    "chroma-cloud-qwen": ("/qwen", "", qwen),
    "openrouter": ("/router/api/v1", "/embeddings", openai(most=100)),
    "twelvelabs": ("/twelve/v1.3/embed-v2", "", twelve_labs),
    "chroma-cloud-splade": ("/splade", "/embed_sparse", splade),
    "google_gemini": ("/gemini/v1beta", "/(models/[^/:]+):batchEmbedContents", gemini),
    "google_generative_ai": ("/genai/v1beta", "/(models/[^/:]+):embedContent", generative),
    "google_vertex": (
        "/vertex/v1",
        "/projects/[^/]+/locations/[^/]+/publishers/google/models/[^/]+:predict",
        vertex,
    ),
    "amazon_bedrock": ("/bedrock", "/model/amazon.titan-embed-text-v1/invoke", bedrock),
    "azure": ("/azure", "/openai/deployments/mine/embeddings", openai()),
}


@dataclass
class Providers:
    """The running server: what it was asked, and what it is to answer instead, one at a time."""

    url: str
    calls: list[Call] = field(default_factory=list)
    instead: list[tuple[int, dict[str, str], str]] = field(default_factory=list)

    def base(self, provider: str) -> str:
        return self.url + ROUTES[provider][0]


@contextmanager
def serving() -> Iterator[Providers]:
    """A server of its own for the time of the block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    state = Providers(f"http://127.0.0.1:{server.server_port}")
    server.state = state  # type: ignore[attr-defined]  # where the handler finds it
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Says nothing."""

    def do_POST(self) -> None:
        state: Providers = self.server.state  # type: ignore[attr-defined]
        raw = self.rfile.read(int(self.headers["content-length"]))
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        call = Call(unquote(parts.path), parse_qs(parts.query), headers, json.loads(raw))
        state.calls.append(call)
        if state.instead:
            self._send(*state.instead.pop(0))
            return
        status, content = _answer(call)
        self._send(status, {}, json.dumps(content))

    def _send(self, status: int, headers: dict[str, str], text: str) -> None:
        content = text.encode()
        self.send_response(status)
        for name, value in ({"content-type": "application/json"} | headers).items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _answer(call: Call) -> tuple[int, Any]:
    for base, path, answer in ROUTES.values():
        if match := re.fullmatch(base + path, call.path):
            try:
                return 200, answer(call, match)
            except Refused as refused:
                status, words = refused.args
                return status, {"error": {"message": words}}
            except (KeyError, TypeError, ValueError) as error:
                return 400, {"error": {"message": repr(error)}}
    return 404, {"error": {"message": f"no route {call.path}"}}
