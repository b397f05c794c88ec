"""The transformer of all-MiniLM-L6-v2: token ids in, vectors out.

Plain numpy, or a graph that onnxruntime runs: ours, which makes vectors, or one as others export
it, which makes the hidden states of which vectors are the means.
"""

import os
from collections.abc import Iterator, Sequence
from itertools import chain, groupby
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
Half = NDArray[np.float16]

DIMENSION = 384
LAYERS, _HEADS = 6, 12
_HEAD_SIZE = DIMENSION // _HEADS
_EPSILON = 1e-12


class Network(Protocol):
    """The transformer: token ids in, one vector of any length above zero for each text out."""

    def embed(self, batch: Sequence[list[int]]) -> Matrix:
        """The vectors of a few texts whose token ids come in order of their number."""


class OnnxNetwork:
    """The graph model.onnx, whose constants are the same file of weights, run by onnxruntime."""

    def __init__(self, onnxruntime: ModuleType, graph: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = allowed_threads()
        # By default its threads wait for work in a busy loop, at the cost of everything else.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            str(graph), options, providers=["CPUExecutionProvider"]
        )

    def embed(self, batch: Sequence[list[int]]) -> Matrix:
        """The vectors of a few texts, padded to the longest of them."""
        ids, mask = _padded(batch)
        vectors: Matrix = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return vectors


class HiddenStateNetwork(OnnxNetwork):
    """A graph as others export it: its output is a row for each token."""

    def embed(self, batch: Sequence[list[int]]) -> Matrix:
        """The means of the rows of each text's own tokens."""
        ids, mask = _padded(batch)
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        wanted = {one.name for one in self._session.get_inputs()}
        inputs = {name: array for name, array in given.items() if name in wanted}
        hidden: Matrix = self._session.run(None, inputs)[0]
        means: Matrix = np.einsum("btd,bt->bd", hidden, mask) / mask.sum(axis=1, keepdims=True)
        return means.astype(np.float32)


def _padded(batch: Sequence[list[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Token ids side by side, and which of them are no padding."""
    ids = np.zeros((len(batch), max(map(len, batch))), np.int64)
    mask = np.zeros_like(ids)
    for row, tokens in enumerate(batch):
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return ids, mask


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
            for number in range(LAYERS)
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


def _float32(tensor: NDArray[np.float16]) -> Matrix:
    return tensor.astype(np.float32)


def _affine(weights: dict[str, NDArray[np.float16]], name: str) -> Affine:
    return Affine(_float32(weights[f"{name}.weight"]), _float32(weights[f"{name}.bias"]))
