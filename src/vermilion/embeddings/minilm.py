"""The default embedding model, all-MiniLM-L6-v2, which is part of the package and runs offline.

A batch of token ids goes through one of two networks that share one file of weights: plain numpy,
always there, or onnxruntime. minilm_data/NOTICE.md says where the weights come from.
"""

import json
import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain, groupby
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NamedTuple, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from vermilion.embeddings.wordpiece import WordPiece, read_vocabulary
from vermilion.errors import ArgumentValueError, DamagedError
from vermilion.forks import Lock
from vermilion.logs import log

Matrix = NDArray[np.float32]
Runtime = Literal["auto", "numpy", "onnx"]

DIMENSION = 384
MAX_TOKENS = 256

_DATA = Path(__file__).parent / "minilm_data"
# Another folder with the model's files, such as `vermilion models pull --to` makes.
VARIABLE = "VERMILION_MINILM_PATH"
_LAYERS, _HEADS = 6, 12
_HEAD_SIZE = DIMENSION // _HEADS
_EPSILON = 1e-12
# As many tokens as go through the network at once: the widest intermediate result, 1536 floats a
# token, then takes 3 MB and stays near the caches. Measured on 1,000 short texts with one thread
# on Zen 5, 2026-11: 256 to 1024 are within 5 % of each other, 2048 is slower.
_TOKENS_AT_ONCE = 512


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

    def _load(self) -> tuple[WordPiece, "Network"]:
        with self._lock:
            if self._parts is None:
                vocabulary = _read("vocab.txt").decode("utf-8")
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


class Network(Protocol):
    """The transformer: token ids in, one vector of any length above zero for each text out."""

    def embed(self, batch: Sequence[list[int]]) -> Matrix:
        """The vectors of a few texts whose token ids come in order of their number."""


def open_network(runtime: Runtime) -> Network:
    """The network for a runtime; `auto` is onnxruntime where it is installed, else numpy."""
    if runtime == "numpy":
        return NumpyNetwork(read_weights())
    onnxruntime = _import_onnxruntime()
    if onnxruntime is not None:
        return OnnxNetwork(onnxruntime)
    if runtime == "onnx":
        raise ArgumentValueError(
            "onnxruntime is not installed: install vermilion[onnx], or use the runtime "
            "'numpy', which needs nothing else and gives the same vectors"
        )
    return NumpyNetwork(read_weights())


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


class OnnxNetwork:
    """The graph model.onnx, whose constants are the same file of weights, run by onnxruntime."""

    def __init__(self, onnxruntime: ModuleType) -> None:
        check_weights()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = allowed_threads()
        # By default its threads wait for work in a busy loop, at the cost of everything else.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            str(data_folder() / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def embed(self, batch: Sequence[list[int]]) -> Matrix:
        """The vectors of a few texts, padded to the longest of them."""
        ids = np.zeros((len(batch), max(map(len, batch))), np.int64)
        mask = np.zeros_like(ids)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        vectors: Matrix = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return vectors


def allowed_threads() -> int:
    """How many threads onnxruntime may start; 0 leaves it to choose, one for each core.

    Left to choose, it pins threads to cores that a process confined to a few may not use.
    """
    if not hasattr(os, "sched_getaffinity"):
        return 0
    allowed = len(os.sched_getaffinity(0))
    return allowed if allowed < (os.cpu_count() or 1) else 0


class Affine(NamedTuple):
    """A weight and a bias: of a linear layer, or of a normalisation (then both are vectors)."""

    weight: Matrix
    bias: Matrix


class Layer(NamedTuple):
    """The six parts of a transformer layer, in the order of their use."""

    qkv: Affine
    mix: Affine
    norm1: Affine
    up: Affine
    down: Affine
    norm2: Affine


class Run(NamedTuple):
    """Texts of one length that lie next to each other among the tokens of a batch."""

    tokens: slice
    texts: int
    length: int


class NumpyNetwork:
    """The transformer in numpy, without any padding.

    The tokens of all texts of a batch form one matrix, whatever the lengths of the texts; only
    attention looks at texts, and there those of one length are computed together.
    """

    def __init__(self, weights: dict[str, NDArray[np.float16]]) -> None:
        # Half of the model is the table of words. It stays in its file, mapped, as float16; what
        # is left takes 43 MB in float32.
        self._words = weights["words"]
        self._places = _float32(weights["positions"]) + _float32(weights["token_type"])
        self._norm = _affine(weights, "norm")
        self._layers = [
            Layer(*(_affine(weights, f"layer{number}.{part}") for part in Layer._fields))
            for number in range(_LAYERS)
        ]

    def embed(self, batch: Sequence[list[int]]) -> Matrix:
        """The vectors of a few texts."""
        runs = list(find_runs([len(tokens) for tokens in batch]))
        x = _float32(self._words[np.fromiter(chain.from_iterable(batch), np.intp)])
        for run in runs:
            texts = x[run.tokens].reshape(run.texts, run.length, DIMENSION)
            texts += self._places[: run.length]
        normalise(x, self._norm)
        for layer in self._layers:
            x += linear(attention(linear(x, layer.qkv), runs), layer.mix)
            normalise(x, layer.norm1)
            raised = linear(x, layer.up)
            gelu(raised)
            x += linear(raised, layer.down)
            normalise(x, layer.norm2)
        means = [x[run.tokens].reshape(run.texts, run.length, -1).mean(axis=1) for run in runs]
        return np.concatenate(means)


def find_runs(lengths: Sequence[int]) -> Iterator[Run]:
    """The runs of equal lengths, where texts lie one after another.

    >>> list(find_runs([3, 3, 5]))
    [Run(tokens=slice(0, 6, None), texts=2, length=3), Run(tokens=slice(6, 11, None), texts=1, ...)]
    """
    start = 0
    for length, group in groupby(lengths):
        texts = len(list(group))
        yield Run(slice(start, start + texts * length), texts, length)
        start += texts * length


def linear(x: Matrix, layer: Affine) -> Matrix:
    """The linear layer applied to each row."""
    result = x @ layer.weight
    result += layer.bias
    return result


def normalise(x: Matrix, norm: Affine) -> None:
    """Normalises each row in place."""
    x -= x.mean(axis=1, keepdims=True)
    variance = np.einsum("ij,ij->i", x, x) / x.shape[1]
    x /= np.sqrt(variance + _EPSILON)[:, np.newaxis]
    x *= norm.weight
    x += norm.bias


def attention(qkv: Matrix, runs: Sequence[Run]) -> Matrix:
    """Twelve heads of scaled dot-product attention, from joined queries, keys and values."""
    context = np.empty((len(qkv), DIMENSION), np.float32)
    for run in runs:
        shape = (run.texts, run.length, 3, _HEADS, _HEAD_SIZE)
        query, key, value = qkv[run.tokens].reshape(shape).transpose(2, 0, 3, 1, 4)
        scores = query @ key.swapaxes(-1, -2)
        scores *= _HEAD_SIZE**-0.5
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=-1, keepdims=True)
        heads = context[run.tokens].reshape(run.texts, run.length, _HEADS, _HEAD_SIZE)
        np.matmul(scores, value, out=heads.swapaxes(1, 2))
    return context


# numpy has no error function, but a fast tanh. The exact gelu is x/2 (1 + erf(x/√2)), and here
# erf(x/√2) is tanh(x P(x²)) with a P of degree 6, fitted to make the largest error in gelu small:
# 7e-8, where the usual tanh form has 5e-4. Abramowitz and Stegun's 7.1.26 takes half as long again.
_GELU = (
    0.7978842683912609,
    0.03633414916997818,
    -3.3026740397996404e-05,
    -5.5273375078533144e-05,
    3.974069171170432e-06,
    -1.337831008777976e-07,
    1.8139250589837689e-09,
)
# Rows at a time, so that all steps happen in the cache of the core.
_GELU_ROWS = 32


def gelu(x: Matrix) -> None:
    """Applies the exact gelu, to float32 precision, in place."""
    for start in range(0, len(x), _GELU_ROWS):
        part = x[start : start + _GELU_ROWS]
        square = part * part
        inner = square * _GELU[-1]
        for coefficient in _GELU[-2:0:-1]:
            inner += coefficient
            inner *= square
        inner += _GELU[0]
        inner *= part
        np.tanh(inner, out=inner)
        inner += 1
        part *= inner
        part *= 0.5


def data_folder() -> Path:
    """Where the model's files are: those of the package, unless the environment names others."""
    return Path(os.environ.get(VARIABLE) or _DATA)


def read_weights() -> dict[str, NDArray[np.float16]]:
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
    contents = json.loads(_read("tensors.json"))
    path = data_folder() / contents["file"]
    size = path.stat().st_size if path.exists() else 0
    if size != contents["bytes"]:
        raise DamagedError(
            f"the weights of the default embedding model, {path}, are incomplete: "
            f"{size} bytes, not {contents['bytes']}; reinstall vermilion"
        )
    return contents


def _read(name: str) -> bytes:
    path = data_folder() / name
    if not path.exists():
        raise DamagedError(
            f"a file of the default embedding model, {path}, is missing; reinstall vermilion"
        )
    return path.read_bytes()


def _float32(tensor: NDArray[np.float16]) -> Matrix:
    return tensor.astype(np.float32)


def _affine(weights: dict[str, NDArray[np.float16]], name: str) -> Affine:
    return Affine(_float32(weights[f"{name}.weight"]), _float32(weights[f"{name}.bias"]))
