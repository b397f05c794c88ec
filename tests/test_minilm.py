"""The default embedding model: its vectors, its tokens and its files.

data/minilm_reference.npz holds 200 WordNet glosses with the vectors that sentence-transformers
computes for them with the original float32 weights.
"""

import hashlib
import json
import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from vermilion.embeddings import minilm, minilm_networks, minilm_sources
from vermilion.embeddings.minilm import MiniLM
from vermilion.embeddings.wordpiece import WordPiece, read_vocabulary
from vermilion.errors import VermilionError

DATA = Path(minilm.__file__).parent / "minilm_data"
with np.load(Path(__file__).parent / "data" / "minilm_reference.npz") as reference:
    TEXTS: list[str] = reference["texts"].tolist()
    VECTORS: minilm_networks.Matrix = reference["vectors"].astype(np.float32)

ODD_TEXTS = [
    "",
    " \t\n",
    "\0",
    "\ud800 a lone surrogate \udfff",
    "👩‍👩‍👧 ❤️ 🇫🇷",
    "\U000e0fff\U0010ffff",
    "x" * 100_000,
    "漢" * 1_000,
    "[PAD] [PAD]",
]

# What the `tokenizers` library makes of each text with the model's own tokenizer.json.
TOKENS = [
    ("", ""),
    (" \t\r\n ", ""),
    ("Hello, World!", "hello , world !"),
    ("unaffable embeddings", "una ##ffa ##ble em ##bed ##ding ##s"),
    ("don't e-mail a/b", "don ' t e - mail a / b"),
    ("$5 + 1 ^ `~` |<=>|", "$ 5 + 1 ^ ` ~ ` | < = > |"),
    ("1,234.56", "1 , 234 . 56"),
    ("“quoted” – dash…", "“ quoted ” – dash …"),
    # accents, precomposed and combining, in either order
    ("naïve café résumé", "naive cafe resume"),
    ("e\u0301 \u0327\u0301a", "e a"),
    # lower case: the Turkish dotted I, no final sigma, the capital sharp s
    ("İstanbul ışık", "istanbul ı ##s ##ı ##k"),
    ("ΣΊΣΥΦΟΣ ΟΔΟΣ", "σ ##ι ##σ ##υ ##φ ##ο ##σ ο ##δ ##ο ##σ"),
    ("ẞ ß Ø đ", "ß ß ø đ"),
    ("H₂O x² ½ ™", "h₂o x ##² ½ ™"),
    # scripts: ideographs stand alone, also those for compatibility; Hangul and kana decompose
    ("你好，世界abc", "[UNK] [UNK] ， 世 [UNK] abc"),
    ("\uf900", "[UNK]"),
    ("한국어", "ᄒ ##ᅡ ##ᆫ ##ᄀ ##ᅮ ##ᆨ ##ᄋ ##ᅥ"),
    ("が", "か"),
    ("مَرْحَبا ،", "م ##ر ##ح ##ب ##ا ،"),
    ("हिन्दी", "ह ##ि ##न ##द ##ी"),
    ("😀 ok ❤️", "[UNK] ok [UNK]"),
    # control characters vanish, also where Python sees a space; odd spaces split
    ("a\x00b\x01c\x7fd\x85e", "abc ##de"),
    ("a\x1cb\x0bc d", "abc d"),
    ("f\u200bg\ufeffh \ufffd i", "f ##gh i"),
    ("a\u00a0b\u3000c\u2028d\u1680e", "a b c d e"),
    ("a\U000e0fffb", "[UNK]"),
    # special tokens, spelt out
    ("[SEP]", "[SEP]"),
    ("a[MASK]b [sep]", "a [MASK] b [ sep ]"),
    # the longest word
    ("x" * 100, "xx" + " ##xx" * 49),
    ("x" * 101, "[UNK]"),
]


@pytest.fixture(scope="module")
def vocabulary() -> list[str]:
    return read_vocabulary((DATA / "vocab.txt").read_text("utf-8"))


@pytest.fixture(scope="module")
def tokenizer(vocabulary: list[str]) -> WordPiece:
    return WordPiece(vocabulary)


@pytest.fixture(scope="module")
def model() -> MiniLM:
    return MiniLM("numpy")


@pytest.fixture(scope="module")
def onnx_model() -> MiniLM:
    pytest.importorskip("onnxruntime", reason="the extra vermilion[onnx] is not installed")
    return MiniLM("onnx")


def test_vectors_are_those_of_the_original_model(model: MiniLM) -> None:
    vectors = model.encode(TEXTS)
    assert vectors.shape == (200, 384)
    assert vectors.dtype == np.float32
    assert (vectors * VECTORS).sum(axis=1).min() > 0.999
    assert np.abs(vectors - VECTORS).max() < 1e-3
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(200), abs=1e-5)


def test_onnxruntime_gives_the_same_vectors_as_numpy(model: MiniLM, onnx_model: MiniLM) -> None:
    texts = TEXTS + ODD_TEXTS + [" ".join(TEXTS)]
    assert np.abs(model.encode(texts) - onnx_model.encode(texts)).max() < 1e-5


def test_a_vector_depends_neither_on_its_place_nor_on_its_batch(model: MiniLM) -> None:
    texts = [*TEXTS[:40], "", " ".join(TEXTS[:20])]
    alone = np.concatenate([model.encode([text]) for text in texts])
    for batch_size in (1, 7, 1000):
        together = model.encode(texts[::-1], batch_size=batch_size)[::-1]
        assert np.abs(together - alone).max() < 1e-5


def test_no_texts_give_no_vectors(model: MiniLM) -> None:
    vectors = model.encode([])
    assert vectors.shape == (0, 384)
    assert vectors.dtype == np.float32


@pytest.mark.parametrize("text", ODD_TEXTS, ids=ascii)
def test_odd_texts_have_unit_vectors(model: MiniLM, text: str) -> None:
    (vector,) = model.encode([text])
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_only_the_first_256_tokens_count(model: MiniLM, tokenizer: WordPiece) -> None:
    kept, longer = " ".join(["word"] * 254), " ".join(["word"] * 254 + ["ignored"])
    assert len(tokenizer.encode(longer)) == 256
    assert tokenizer.encode(longer) == tokenizer.encode(kept)
    first, second, shorter = model.encode([kept, longer, kept.removesuffix(" word")])
    assert np.abs(first - second).max() < 1e-5
    assert np.abs(first - shorter).max() > 1e-5


@pytest.mark.parametrize(("text", "tokens"), TOKENS, ids=[ascii(text[:20]) for text, _ in TOKENS])
def test_text_becomes_these_tokens(
    tokenizer: WordPiece, vocabulary: list[str], text: str, tokens: str
) -> None:
    numbers = tokenizer.encode(text)
    assert [vocabulary[number] for number in numbers] == ["[CLS]", *tokens.split(), "[SEP]"]


def test_a_limit_cuts_a_word_in_the_middle(tokenizer: WordPiece, vocabulary: list[str]) -> None:
    numbers = tokenizer.encode("unaffable embeddings", limit=4)
    assert [vocabulary[number] for number in numbers] == ["[CLS]", "una", "##ffa", "[SEP]"]


def test_threads_may_share_an_instance_that_is_not_loaded_yet(model: MiniLM) -> None:
    expected = model.encode(TEXTS[:50])
    fresh = MiniLM("numpy")
    with ThreadPoolExecutor(4) as pool:
        for vectors in pool.map(fresh.encode, [TEXTS[:50]] * 8):
            assert np.abs(vectors - expected).max() < 1e-5


def test_gelu_is_exact_to_float32_precision() -> None:
    x = np.linspace(-12, 12, 48_000, dtype=np.float32).reshape(100, 480)
    expected = [v / 2 * math.erfc(-v / math.sqrt(2)) for v in x.ravel().tolist()]
    minilm_networks.gelu(x)
    assert np.abs(x.ravel() - expected).max() < 1e-6


def test_the_weights_fit_their_table_of_contents() -> None:
    contents = json.loads((DATA / "tensors.json").read_text("utf-8"))
    weights = (DATA / contents["file"]).read_bytes()
    assert len(weights) == contents["bytes"]
    assert hashlib.sha256(weights).hexdigest() == contents["sha256"]
    assert all(row["offset"] % 64 == 0 for row in contents["tensors"])


def test_the_graph_is_small_because_it_refers_to_the_weights() -> None:
    graph = (DATA / "model.onnx").read_bytes()
    assert len(graph) < 200_000
    assert b"weights.f16" in graph


def test_a_missing_or_broken_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm_sources, "_DATA", tmp_path)
    with pytest.raises(VermilionError, match=r"vocab\.txt, is missing"):
        MiniLM().encode(["text"])
    for name in ("vocab.txt", "tensors.json"):
        (tmp_path / name).write_bytes((DATA / name).read_bytes())
    (tmp_path / "weights.f16").write_bytes(b"too short")
    with pytest.raises(VermilionError, match=r"incomplete: 9 bytes, not 44933376"):
        MiniLM().encode(["text"])


def test_without_onnxruntime_auto_is_numpy_and_onnx_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # makes its import fail
    minilm._import_onnxruntime.cache_clear()
    try:
        assert isinstance(minilm.open_network("auto"), minilm_networks.NumpyNetwork)
        with pytest.raises(VermilionError, match=r"vermilion\[onnx\]"):
            MiniLM("onnx").encode(["text"])
    finally:
        minilm._import_onnxruntime.cache_clear()


def test_an_unknown_runtime_is_refused() -> None:
    with pytest.raises(ValueError, match="auto, numpy or onnx, not 'torch'"):
        MiniLM("torch")  # type: ignore[arg-type]  # what a user might try


def test_the_shared_instance_is_one() -> None:
    assert minilm.shared() is minilm.shared()


def test_import_loads_neither_onnxruntime_nor_the_weights() -> None:
    program = (
        "import sys; from vermilion.embeddings import minilm; "
        "assert 'onnxruntime' not in sys.modules; "
        "assert minilm.shared()._parts is None"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_loading_onnxruntime_writes_nothing_and_starts_nothing(tmp_path: Path) -> None:
    """Newer releases of onnxruntime report to their maker unless they are told not to."""
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    code = (
        "import threading, os; from vermilion.embeddings.minilm import MiniLM;"
        "MiniLM('onnx').encode(['hello']); print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    environment = kept | {"HOME": str(tmp_path), "TMPDIR": str(tmp_path)}  # no CI: that mutes it
    done = subprocess.run(
        [sys.executable, "-B", "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.stdout == "1\n", done.stderr
    assert list(tmp_path.rglob("*")) == []
