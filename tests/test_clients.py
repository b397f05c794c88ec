"""What the programs with other clients are installed from: pinned, and from nowhere in particular.

The programs themselves are run by tests/clients/run.py.
"""

import json
import re
from pathlib import Path

import pytest

CLIENTS = Path(__file__).parent / "clients"
EXAMPLES = CLIENTS.parent.parent / "examples" / "collections"
LOCKS = [
    CLIENTS / "python" / "chromadb.txt",
    CLIENTS / "python" / "chromadb-client.txt",
    CLIENTS / "javascript" / "package-lock.json",
    CLIENTS / "go" / "go.sum",
    CLIENTS / "rust" / "Cargo.lock",
    EXAMPLES / "go" / "go.sum",
]
# Cargo's own name for the usual index, whatever registry is asked, and funding links of packages.
INDEX = "registry+https://github.com/rust-lang/crates.io-index"
VERSIONS = {
    "chromadb": ("1.5.9", "python/chromadb.txt"),
    "chromadb-client": ("1.5.9", "python/chromadb-client.txt"),
    "chromadb (npm)": ("3.5.0", "javascript/package.json"),
    "chroma-go": ("v0.4.0", "go/go.mod"),
    "chroma (crate)": ("0.15.0", "rust/Cargo.toml"),
    "chromadb (crate)": ("2.3.0", "rust/Cargo.toml"),
}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_file_names_no_registry(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8").replace(INDEX, "")
    if lock.suffix == ".json":
        packages = json.loads(text)["packages"].values()
        assert not [package for package in packages if "resolved" in package]
        assert all("integrity" in package for package in packages if "name" not in package)
    else:
        assert "://" not in text


@pytest.mark.parametrize("lock", LOCKS[:2], ids=lambda path: path.name)
def test_every_python_package_is_pinned(lock: Path) -> None:
    lines = lock.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []


@pytest.mark.parametrize("name", VERSIONS)
def test_the_documented_version_is_the_pinned_one(name: str) -> None:
    version, file = VERSIONS[name]
    assert version in (CLIENTS / file).read_text(encoding="utf-8")
    for page in (CLIENTS / "README.md", CLIENTS.parent.parent / "docs" / "compatibility.md"):
        assert f"{version} |" in page.read_text(encoding="utf-8")


def test_both_go_modules_have_the_same_locks() -> None:
    assert (CLIENTS / "go" / "go.sum").read_text() == (EXAMPLES / "go" / "go.sum").read_text()
