"""Functions of another distribution: installed beside this package, found by their names."""

import subprocess
import sys
from pathlib import Path

MODULE = """
from vermilion.embeddings.base import EmbeddingFunction
from vermilion.embeddings.sparse import SparseEmbeddingFunction
from vermilion.types import SparseVector


class Dense(EmbeddingFunction):
    def __call__(self, input):
        return [[float(len(text))] for text in input]

    @staticmethod
    def name():
        return "elsewhere"

    def get_config(self):
        return {}

    @staticmethod
    def build_from_config(config):
        return Dense()


class Sparse(SparseEmbeddingFunction):
    def __call__(self, input):
        return [SparseVector([len(text)], [1.0]) for text in input]

    @staticmethod
    def name():
        return "elsewhere-sparse"

    def get_config(self):
        return {}

    @staticmethod
    def build_from_config(config):
        return Sparse()
"""
POINTS = """
[vermilion.embeddings]
elsewhere = elsewhere:Dense
elsewhere-sparse = elsewhere:Sparse
broken = elsewhere:Missing
openai = elsewhere:Dense
"""
PROGRAM = """
import sys
from vermilion.embeddings.lookup import (
    config_to_embedding_function, config_to_sparse_embedding_function
)
assert "elsewhere" not in sys.modules
print(config_to_embedding_function({"name": "elsewhere", "config": {}})(["abc"])[0].tolist())
print(config_to_sparse_embedding_function({"name": "elsewhere-sparse", "config": {}})(["abc"]))
from vermilion.embeddings.base import known_embedding_functions
print(known_embedding_functions["openai"].__name__)
"""


def test_an_installed_distribution_offers_its_functions(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.py").write_text(MODULE)
    folder = tmp_path / "elsewhere-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(POINTS)
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{PROGRAM}"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "[3.0]",
        "[SparseVector(indices=[3], values=[1.0], labels=None)]",
        "OpenAIEmbeddingFunction",
    ]
    assert "broken (elsewhere:Missing) cannot be used" in done.stderr
