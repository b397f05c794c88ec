"""Fills the caches in which other clients look for the default model, from the model we ship.

    python tests/clients/model.py PYTHON_AND_GO_DIRECTORY JAVASCRIPT_DIRECTORY

Chroma's clients download all-MiniLM-L6-v2 when they first embed a text. This writes what they would
find after that: the same weights as an ONNX graph with the inputs and the output that they expect,
and the tokenizer. Needs vermilion and onnx.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper
from onnx.external_data_helper import load_external_data_for_model

from vermilion.embeddings import minilm

SOURCE = Path(minilm.__file__).parent / "minilm_data"
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
OUTPUT = "last_hidden_state"
SPECIAL = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
TOKENIZER_CONFIG = {
    "tokenizer_class": "BertTokenizer",
    "do_lower_case": True,
    "model_max_length": 512,
    **{f"{name}_token": token for name, token in SPECIAL.items()},
}
CONFIG = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "hidden_size": 384,
    "intermediate_size": 1536,
    "num_attention_heads": 12,
    "num_hidden_layers": 6,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "vocab_size": 30522,
    "pad_token_id": 0,
}


def main() -> None:
    """Writes both directories."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("python_and_go", type=Path)
    parser.add_argument("javascript", type=Path)
    arguments = parser.parse_args()
    model = hidden_state_model().SerializeToString()
    files = text_files()
    for folder, name in (
        (arguments.python_and_go, "model.onnx"),
        (arguments.javascript, "onnx/model.onnx"),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(model)
        for file, text in files.items():
            (folder / file).write_text(text, encoding="utf-8")


def hidden_state_model() -> onnx.ModelProto:
    """Our graph with every token's vector as its output instead of their mean.

    Python and Go pad every text to 256 tokens. The graph cuts off the columns that are padding in
    all texts and puts zeros there at the end, which changes no mean and saves most of the time.
    """
    model = onnx.load(SOURCE / "model.onnx", load_external_data=False)
    load_external_data_for_model(model, str(SOURCE))
    for tensor in model.graph.initializer:
        tensor.ClearField("data_location")
        tensor.ClearField("external_data")
    graph = model.graph
    hidden = trim_to_last_layer(graph)
    for user in graph.node:
        for place, name in enumerate(user.input):
            if name in INPUTS:
                user.input[place] = f"{name}_trimmed"
    after = [
        node("Shape", hidden, output="length", start=1, end=2),
        node("Sub", "padded", "length", output="missing"),
        node("Concat", "no_pads", "missing", "no_pad", output="pads", axis=0),
        node("Pad", hidden, "pads", output=OUTPUT),
    ]
    nodes = [*trimming(), *graph.node, *after]
    del graph.node[:], graph.input[:], graph.output[:]
    graph.node.extend(nodes)
    used = {name for each in nodes for name in each.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    for name, value in {"no_pads": [0, 0, 0, 0], "no_pad": [0], "zero": [0], "one": [1]}.items():
        graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [len(value)], value))
    shape: list[str | int] = ["batch", "sequence"]
    graph.input.extend(
        helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in INPUTS
    )
    graph.output.append(
        helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [*shape, CONFIG["hidden_size"]])
    )
    onnx.checker.check_model(model)
    return model


def node(operator: str, *inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    """A node with one output that is also its name."""
    return helper.make_node(operator, inputs, [output], output, **attributes)


def trim_to_last_layer(graph: onnx.GraphProto) -> str:
    """Drops the pooling, which begins with the last MatMul; returns what that multiplied."""
    last = max(place for place, found in enumerate(graph.node) if found.op_type == "MatMul")
    hidden = graph.node[last].input[1]
    made = next(place for place, found in enumerate(graph.node) if hidden in found.output)
    del graph.node[made + 1 :]
    return hidden


def trimming() -> list[onnx.NodeProto]:
    """Nodes that cut ids and mask down to the longest text."""
    cut = [
        node("Slice", name, "zero", "longest", "one", output=f"{name}_trimmed")
        for name in INPUTS[:2]
    ]
    return [
        node("ReduceSum", "attention_mask", "one", output="lengths", keepdims=0),
        node("ReduceMax", "lengths", output="longest", keepdims=1),
        node("Shape", "input_ids", output="padded", start=1, end=2),
        *cut,
    ]


def text_files() -> dict[str, str]:
    """The small files beside the model."""
    vocabulary = (SOURCE / "vocab.txt").read_text(encoding="utf-8")
    special = {f"{name}_token": token for name, token in SPECIAL.items()}
    return {
        "vocab.txt": vocabulary,
        "config.json": json.dumps(CONFIG),
        "special_tokens_map.json": json.dumps(special),
        "tokenizer_config.json": json.dumps(TOKENIZER_CONFIG),
        "tokenizer.json": json.dumps(tokenizer(vocabulary.splitlines())),
    }


def tokenizer(tokens: list[str]) -> dict[str, Any]:
    """The WordPiece tokenizer in the form that the `tokenizers` library and its kin read."""
    ids = {token: number for number, token in enumerate(tokens)}
    added = [
        {
            "id": ids[token],
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for token in SPECIAL.values()
    ]
    cls, text, sep = (
        {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
    )
    second = [
        {"Sequence": {"id": "B", "type_id": 1}},
        {"SpecialToken": {"id": "[SEP]", "type_id": 1}},
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": sorted(added, key=lambda row: ids[row["content"]]),
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [cls, text, sep],
            "pair": [cls, text, sep, *second],
            "special_tokens": {
                token: {"id": token, "ids": [ids[token]], "tokens": [token]}
                for token in ("[CLS]", "[SEP]")
            },
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": ids,
        },
    }


if __name__ == "__main__":
    main()
