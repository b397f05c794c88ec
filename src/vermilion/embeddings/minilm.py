"""The default embedding model, all-MiniLM-L6-v2, which is part of the package and runs offline.

A batch of token ids goes through one of two networks that share one file of weights: plain numpy,
always there, or onnxruntime. minilm_data/NOTICE.md says where the weights come from.
"""

import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Literal, get_args

import numpy as np

from vermilion.embeddings import minilm_sources as sources
from vermilion.embeddings.minilm_networks import (
    DIMENSION,
    HiddenStateNetwork,
    Matrix,
    Network,
    NumpyNetwork,
    OnnxNetwork,
)
from vermilion.embeddings.wordpiece import WordPiece, read_vocabulary
from vermilion.errors import ArgumentValueError, DamagedError, VermilionError
from vermilion.forks import Lock
from vermilion.logs import log

Runtime = Literal["auto", "numpy", "onnx"]

MAX_TOKENS = 256

# As many tokens as go through the network at once: the widest intermediate result, 1536 floats a
# token, then takes 3 MB and stays near the caches. Measured on 1,000 short texts with one thread
# on Zen 5, 2026-11: 256 to 1024 are within 5 % of each other, 2048 is slower.
_TOKENS_AT_ONCE = 512
# "a sea animal", and how its vector begins: what a graph of unknown origin has to make of it. In
# float16 numbers differ by 1e-4, in 8 bits by up to 0.014.
KNOWN_TOKENS = [101, 1037, 2712, 4111, 102]
KNOWN_START = [-0.0159, 0.0571, 0.0129, 0.0423, -0.0535, -0.0164, 0.0473, -0.0280]
EXACT, ROUGH = 0.001, 0.02


class MiniLM:
    """Turns texts into unit vectors of 384 numbers, equal to those of the original model.

    The files are read at the first call. Several threads may call one instance at once.

    >>> MiniLM().encode(["a first text", "a second one"]).shape
    (2, 384)
    """

    def __init__(self, runtime: Runtime = "auto") -> None:
        if runtime not in get_args(Runtime):
            raise ValueError(f"runtime must be auto, numpy or onnx, not {runtime!r}")
        self._runtime = runtime
        self._lock = Lock()
        self._parts: tuple[WordPiece, Network] | None = None

    def encode(self, texts: Sequence[str], *, batch_size: int = 32) -> Matrix:
        """The vectors of the texts, one a row, in the order of the texts.

        Only the first 256 tokens of a text count. At most `batch_size` texts are computed at once,
        and fewer if they are long; what is computed together changes a vector by rounding only.
        """
        tokenizer, network = self._load()
        ids = [tokenizer.encode(text, MAX_TOKENS) for text in texts]
        vectors = np.empty((len(ids), DIMENSION), np.float32)
        for rows in batches([len(tokens) for tokens in ids], batch_size):
            vectors[rows] = network.embed([ids[row] for row in rows])
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    def _load(self) -> tuple[WordPiece, Network]:
        with self._lock:
            if self._parts is None:
                vocabulary = sources.read("vocab.txt").decode("utf-8")
                self._parts = WordPiece(read_vocabulary(vocabulary)), open_network(self._runtime)
            return self._parts


@lru_cache(maxsize=1)
def shared() -> MiniLM:
    """The instance that everyone in this process uses, so that the weights are loaded once."""
    return MiniLM()


def batches(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """The rows to compute together, shortest texts first, so that little padding is needed."""
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        padded = (len(batch) + 1) * lengths[row]
        if batch and (len(batch) >= batch_size or padded > _TOKENS_AT_ONCE):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def open_network(runtime: Runtime) -> Network:
    """The network for a runtime; `auto` is onnxruntime where it is installed, else numpy."""
    onnxruntime = None if runtime == "numpy" else _import_onnxruntime()
    if runtime == "onnx" and onnxruntime is None:
        raise ArgumentValueError(
            "onnxruntime is not installed: install vermilion[onnx], or use the runtime "
            "'numpy', which needs nothing else and gives the same vectors"
        )
    if not sources.has_weights():
        return _Elsewhere(onnxruntime).open()
    if onnxruntime is None:
        return NumpyNetwork(sources.read_weights())
    sources.check_weights()
    return OnnxNetwork(onnxruntime, sources.data_folder() / "model.onnx")


class _Elsewhere:
    """The first place other than the package that has the model; decided once in a process."""

    def __init__(self, onnxruntime: ModuleType | None) -> None:
        self._onnxruntime = onnxruntime
        self._tried: dict[str, str] = {}

    def open(self) -> Network:
        """The network. Raises NotFoundError with the places when none of them has it."""
        for path in sources.originals():
            if self._is_there(path):
                try:
                    return NumpyNetwork(sources.read_original(path))
                except (OSError, DamagedError) as error:
                    self._tried[str(path)] = str(error)
        network = self._graph(sources.chroma_graph(), EXACT)
        for path in sources.eight_bit_graphs():
            if network is None and (network := self._graph(path, ROUGH)) is not None:
                log().warning("the default embedding model has 8 bits a weight: %s", path)
        network = network or self._downloaded()
        if network is None:
            raise sources.nowhere(self._tried)
        return network

    def _is_there(self, path: Path) -> bool:
        there = path.is_file()
        if there:
            log().info("the default embedding model is taken from %s", path)
        else:
            self._tried[str(path)] = "is not there"
        return there

    def _graph(self, path: Path, off: float) -> Network | None:
        """The network of a graph that makes the right vector of a known text."""
        if self._onnxruntime is None:
            self._tried[str(path)] = "needs onnxruntime"
            return None
        if not self._is_there(path):
            return None
        try:
            network = HiddenStateNetwork(self._onnxruntime, path)
            vector = network.embed([KNOWN_TOKENS])[0]
        except Exception as error:  # onnxruntime has no base class for its errors
            self._tried[str(path)] = f"cannot be run: {error}"
            return None
        found = vector[: len(KNOWN_START)] / np.linalg.norm(vector)
        if vector.shape == (DIMENSION,) and np.allclose(found, KNOWN_START, rtol=0, atol=off):
            return network
        self._tried[str(path)] = "is another model"
        return None

    def _downloaded(self) -> Network | None:
        if self._onnxruntime is None:
            return None
        try:
            log().warning("the default embedding model is downloaded from %s", sources.ARCHIVE)
            return self._graph(sources.download(), EXACT)
        except VermilionError as error:
            self._tried[sources.ARCHIVE] = str(error)
            return None


@lru_cache(maxsize=1)
def _import_onnxruntime() -> ModuleType | None:
    """The module if it can be imported; asked once, so that a process never changes its mind."""
    # onnxruntime 1.29 and later report to their maker unless told not to before they are loaded.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError:
        log().debug("the default embedding model runs on numpy")
        return None
    log().debug("the default embedding model runs on onnxruntime %s", onnxruntime.__version__)
    module: ModuleType = onnxruntime
    return module
