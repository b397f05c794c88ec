"""Functions that run another library, with that library: tiny models with made-up weights.

Each is skipped where its library is not installed, as it is not by the project's own extras: they
take gigabytes. What is made up are the weights; what loads and runs them is the real code.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vermilion.utils.embedding_functions as functions
from vermilion.api.client import Client

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(autouse=True)
def silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def tiny_bert(folder: Path, kind: str) -> str:
    """A BERT of one layer that knows the letters, in a folder."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    pytest.importorskip("sentence_transformers")
    torch.manual_seed(0)
    folder.mkdir()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*special, *LETTERS, *[f"##{letter}" for letter in LETTERS]]
    (folder / "vocab.txt").write_text("\n".join(words))
    sizes = {"hidden_size": 16, "intermediate_size": 16, "max_position_embeddings": 32}
    config = transformers.BertConfig(
        vocab_size=len(words), num_hidden_layers=1, num_attention_heads=2, **sizes
    )
    getattr(transformers, kind)(config).save_pretrained(folder)
    tokens = tokenizers.BertWordPieceTokenizer(str(folder / "vocab.txt"))
    names = {f"{word[1:-1].lower()}_token": word for word in special}
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokens._tokenizer, **names
    ).save_pretrained(folder)
    return str(folder)


def again(function: Any) -> Any:
    """The function as a collection brings it back."""
    return type(function).build_from_config(json.loads(json.dumps(function.get_config())))


def test_sentence_transformers(tmp_path: Path, client: Client) -> None:
    folder = tiny_bert(tmp_path / "bert", "BertModel")
    function = functions.SentenceTransformerEmbeddingFunction(folder, normalize_embeddings=True)
    vectors = np.array(function(["abc", "xyz"]))
    assert vectors.shape == (2, 16)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert np.array_equal(again(function)(["abc", "xyz"]), vectors)
    notes = client.create_collection("notes", embedding_function=function)
    notes.add(ids=["a", "b"], documents=["abc", "xyz"])
    found = client.get_collection("notes").query(query_texts=["xyz"], n_results=1)
    assert found["ids"] == [["b"]]


def test_sparse_models_of_sentence_transformers(tmp_path: Path) -> None:
    folder = tiny_bert(tmp_path / "bert", "BertForMaskedLM")
    function = functions.HuggingFaceSparseEmbeddingFunction(folder, device="cpu")
    [one, other] = function(["abc", "xyz"])
    assert one != other and one.indices == sorted(one.indices) and all(one.values)
    assert again(function)(["abc"]) == function(["abc"]) == function.embed_query(["abc"])


def test_text2vec(tmp_path: Path) -> None:
    pytest.importorskip("text2vec")
    function = functions.Text2VecEmbeddingFunction(tiny_bert(tmp_path / "bert", "BertModel"))
    assert np.array(function(["abc", "xyz"])).shape == (2, 16)
    assert np.array_equal(again(function)(["abc"]), function(["abc"]))


def tiny_t5(folder: Path) -> str:
    """A model as those of InstructorEmbedding are: a T5 of one layer, a mean, a dense layer."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    modules = pytest.importorskip("sentence_transformers").models
    torch.manual_seed(0)
    words = ["<pad>", "</s>", "<unk>", " ", *LETTERS]
    pieces = tokenizers.models.Unigram([(word, -1.0) for word in words], unk_id=2)
    tokens = tokenizers.Tokenizer(pieces)
    tokens.post_processor = tokenizers.processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokens,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    config = transformers.T5Config(vocab_size=len(words), **sizes)
    transformers.T5EncoderModel(config).save_pretrained(folder)
    layers = {
        "1_Pooling": modules.Pooling(16, pooling_mode="mean"),
        "2_Dense": modules.Dense(16, 8, bias=False, activation_function=torch.nn.Identity()),
        "3_Normalize": modules.Normalize(),
    }
    listed = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}
    ]
    for place, (path, layer) in enumerate(layers.items(), 1):
        (folder / path).mkdir()
        layer.save(str(folder / path))
        kind = f"sentence_transformers.models.{type(layer).__name__}"
        listed.append({"idx": place, "name": str(place), "path": path, "type": kind})
    (folder / "modules.json").write_text(json.dumps(listed))
    lengths = {"max_seq_length": 64, "do_lower_case": False}
    (folder / "sentence_bert_config.json").write_text(json.dumps(lengths))
    return str(folder)


@pytest.mark.filterwarnings("ignore")  # theirs, of a package that ended in 2023
def test_instructor(tmp_path: Path) -> None:
    library = pytest.importorskip("InstructorEmbedding")
    if not pytest.importorskip("sentence_transformers").__version__.startswith("2."):
        pytest.skip("its last release runs with sentence-transformers 2.2.2")
    folder = tiny_t5(tmp_path / "t5")
    model = library.INSTRUCTOR(folder, device="cpu")
    function = functions.InstructorEmbeddingFunction(folder, instruction="tell it")
    vectors = np.array(function(["abc", "xyz"]))
    assert vectors.shape == (2, 8)
    assert np.array_equal(vectors, model.encode([["tell it", "abc"], ["tell it", "xyz"]]))
    assert np.array_equal(again(function)(["abc", "xyz"]), vectors)
    plain = functions.InstructorEmbeddingFunction(folder)
    assert np.array_equal(plain(["abc"]), model.encode(["abc"]))
    assert not np.array_equal(plain(["abc"]), vectors[:1]), "the instruction counts"


def test_open_clip(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    library = pytest.importorskip("open_clip")
    vision = {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16}
    text = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    config = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}
    (tmp_path / "tiny-clip.json").write_text(json.dumps(config))
    library.add_model_config(tmp_path)
    weights = tmp_path / "weights.pt"
    torch.save(library.create_model("tiny-clip").state_dict(), weights)
    function = functions.OpenCLIPEmbeddingFunction("tiny-clip", str(weights))
    picture = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    vectors = np.array(function(["a cat", picture]))
    assert vectors.shape == (2, 16)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.array_equal(again(function)([picture]), vectors[1:])


@pytest.fixture
def stopwords(tmp_path: Path) -> str:
    """What fastembed's BM25 would otherwise fetch."""
    pytest.importorskip("fastembed")
    (tmp_path / "english.txt").write_text("the\na\nof\n")
    return str(tmp_path)


@pytest.mark.filterwarnings("ignore:Bm25EmbeddingFunction is deprecated:DeprecationWarning")
def test_bm25_of_fastembed(stopwords: str) -> None:
    function = functions.Bm25EmbeddingFunction(
        specific_model_path=stopwords, query_config={"task": "query"}
    )
    [document] = function(["the quick brown fox of the hill"])
    [query] = function.embed_query(["the quick"])
    assert len(document.indices) == 4
    assert set(query.indices) < set(document.indices)
    assert query.values == [1.0] and document.values != [1.0]
    assert again(function)(["the quick brown fox of the hill"]) == [document]


def test_sparse_models_of_fastembed(stopwords: str) -> None:
    function = functions.FastembedSparseEmbeddingFunction(
        "Qdrant/bm25", specific_model_path=stopwords
    )
    [document] = function(["the quick brown fox"])
    assert len(document.indices) == 3
    assert again(function)(["the quick brown fox"]) == [document]
