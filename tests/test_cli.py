"""The command line as a user meets it: a process, its output, its exit code."""

import gzip
import io
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import vermilion
from vermilion import cli
from vermilion.commands import demo

DATA = Path(demo.__file__).parent / "demo_data"
FLEA = "a tiny insect that jumps and drinks blood"
# A shell in the background hands on that SIGINT is ignored; at a terminal it is not. And the
# progress is told at each step, so that the test knows when to interrupt.
INTERRUPTIBLE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from vermilion import cli
from vermilion.commands import demo
demo._LINE_EVERY = 0.0
sys.exit(cli.main())
"""


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What `vermilion ARGUMENTS` did."""
    return subprocess.run(
        [sys.executable, "-m", "vermilion", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "120"} | environment,
    )


def rows(out: str) -> list[list[str]]:
    """Rank, distance, word, lexfile and gloss of every answer printed."""
    lines = [line for line in out.splitlines() if re.match(r"   \d  \d", line)]
    return [re.split(r"  +", line.strip(), maxsplit=4) for line in lines]


def tables(out: str) -> list[tuple[str, list[list[str]]]]:
    """The title and the rows of each table printed."""
    titles_and_tables = re.split(r"^  (\S.*)\n", out, flags=re.MULTILINE)[1:]
    return [
        (title, rows(table))
        for title, table in zip(titles_and_tables[::2], titles_and_tables[1::2], strict=True)
    ]


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """The directory of a demo with 200 entries, and what was printed while it was made."""
    path = str(tmp_path_factory.mktemp("demo") / "new")
    done = command("demo", "--limit", "200", "--path", path)
    assert done.returncode == 0, done.stderr
    return path, done.stdout, done.stderr


# ── the demo ─────────────────────────────────────────────────────────────────────────────────────


def test_the_demo_stores_the_entries(first_run: tuple[str, str, str]) -> None:
    glosses = demo.read_glosses(200)
    with vermilion.PersistentClient(first_run[0]) as client:
        stored = client.get_collection("vermilion_demo").get(
            include=["documents", "metadatas", "embeddings"]
        )
    assert stored["ids"] == [gloss["id"] for gloss in glosses]
    assert stored["documents"] == [gloss["text"] for gloss in glosses]
    assert stored["metadatas"] == [gloss["metadata"] for gloss in glosses]
    vector = vermilion.DefaultEmbeddingFunction()([glosses[7]["text"]])[0]
    np.testing.assert_allclose(np.asarray(stored["embeddings"])[7], vector, atol=1e-5)


def test_the_demo_answers_each_question_without_and_with_its_filter(
    first_run: tuple[str, str, str],
) -> None:
    expected = []
    for question in demo.QUESTIONS:
        assert f"\n{question.text}\n" in first_run[1]
        expected += [
            "without a filter",
            *([demo._title(question.filters)] * bool(question.filters)),
        ]
    printed = tables(first_run[1])
    assert [title for title, _ in printed] == expected
    assert all(
        [row[0] for row in answers] == list("12345")[: len(answers)] for _, answers in printed
    )
    by_title = dict(printed)
    assert {row[3] for row in by_title['where={"lexfile": "noun.animal"}']} == {"noun.animal"}
    assert all(row[3].startswith("noun.") for row in by_title['where={"pos": "n"}'])
    assert all(row[3].startswith("verb.") for row in by_title['where={"pos": "v"}'])


def test_the_demo_tells_where_the_data_is_and_what_it_measured(
    first_run: tuple[str, str, str],
) -> None:
    path, out, progress = first_run
    assert f"The data is kept in {path}\n" in out
    assert re.search(rf"Data +200 records in {re.escape(path)}, \d+\.\d MB\n", out)
    assert re.search(r"Embedding +200 texts in \d+\.\d s, [\d,]+ a second\n", out)
    assert re.search(r"Storing +200 records in \d+\.\d s, [\d,]+ a second\n", out)
    assert re.search(r"Asking +\d+\.\d ms a question .* to embed it, \d+\.\d ms to search\n", out)
    assert re.fullmatch(r"(Embedding: [\d,]+ of 200, [\d,]+/s.*\n)+", progress)


def test_a_second_run_uses_what_is_there(first_run: tuple[str, str, str]) -> None:
    done = command("demo", "--limit", "200", "--path", first_run[0])
    assert (done.returncode, done.stderr) == (0, "")
    assert "Embedding  nothing: an earlier run stored these records\n" in done.stdout
    assert tables(done.stdout) == tables(first_run[1])


def test_a_run_with_more_entries_embeds_only_the_others(
    first_run: tuple[str, str, str], tmp_path: Path
) -> None:
    shutil.copytree(first_run[0], tmp_path / "copy")
    done = command("demo", "--limit", "230", "--path", str(tmp_path / "copy"))
    assert re.search(r"Data +230 records", done.stdout)
    assert re.search(r"Embedding +30 texts", done.stdout)


def test_own_questions_and_filters(first_run: tuple[str, str, str]) -> None:
    asked = ["--question", FLEA, "--question", "the moon", "--where", '{"pos": "v"}']
    done = command("demo", "--limit", "200", "--path", first_run[0], *asked, COLUMNS="160")
    printed = tables(done.stdout)
    assert [title for title, _ in printed] == ["without a filter", 'where={"pos": "v"}'] * 2
    assert printed[0][1][0][2:] == [
        "flea",
        "noun.animal",
        "any wingless bloodsucking parasitic insect noted for ability to leap",
    ]
    for answers in (printed[1][1], printed[3][1]):
        assert len(answers) == 5
        assert all(row[3].startswith("verb.") for row in answers)


def test_a_filter_on_the_text_and_one_that_nothing_matches(
    first_run: tuple[str, str, str],
) -> None:
    both = ["--where-document", '{"$contains": "bloodsucking"}', "--question", "a songbird"]
    found = tables(command("demo", "--limit", "200", "--path", first_run[0], *both).stdout)
    assert [row[2] for row in found[1][1]] == ["flea"]
    both[1] = '{"$contains": "no gloss says this"}'
    done = command("demo", "--limit", "200", "--path", first_run[0], *both)
    assert 'where_document={"$contains": "no gloss says this"}: nothing matches' in done.stdout
    assert done.returncode == 0


def test_rows_are_as_wide_as_the_terminal(first_run: tuple[str, str, str]) -> None:
    done = command("demo", "--limit", "200", "--path", first_run[0], COLUMNS="70")
    lines = [line for line in done.stdout.splitlines() if line.startswith("   ")]
    assert max(map(len, lines)) == 70
    assert any(line.endswith("...") for line in lines)


def test_without_a_path_a_new_directory_is_kept(tmp_path: Path) -> None:
    done = command("demo", "--limit", "3", TMPDIR=str(tmp_path))
    (made,) = tmp_path.glob("vermilion-demo-*")
    assert f"The data is kept in {made}\n" in done.stdout
    with vermilion.PersistentClient(made) as client:
        assert client.get_collection("vermilion_demo").count() == 3


def test_a_terminal_gets_a_bar_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "60")
    with demo.Progress("Embedding", 1_200) as progress:
        for _ in range(3):
            progress.advance(400)
    start, *states = terminal.getvalue().split("\r")
    assert start == ""
    assert [len(state.rstrip("\n")) for state in states] == [59] * 3
    assert states[0].startswith("Embedding [########................] 400 of 1,200, ")
    assert states[-1].endswith("\n")
    assert "#" * 24 in states[-1]


def test_no_progress_is_shown_where_there_is_nothing_to_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with demo.Progress("Embedding", 0):
        pass
    assert capsys.readouterr().err == ""


# ── the entries that come with the package ───────────────────────────────────────────────────────


def test_the_entries_are_many_and_of_many_kinds() -> None:
    glosses = demo.read_glosses()
    assert len({gloss["id"] for gloss in glosses}) == len(glosses) == 3_000
    assert all(set(gloss) == {"id", "text", "metadata"} for gloss in glosses)
    classes = Counter(gloss["metadata"]["lexfile"] for gloss in glosses)
    assert len(classes) >= 40
    assert classes["noun.animal"] > 100
    assert any("hypernym" not in gloss["metadata"] for gloss in glosses)


def test_the_file_is_small_and_has_no_time_in_it() -> None:
    packed = (DATA / "glosses.jsonl.gz").read_bytes()
    assert len(packed) < 300_000
    assert packed[4:8] == bytes(4)
    assert gzip.decompress(packed).endswith(b"}\n")


def test_the_licence_of_the_entries_is_there_in_full() -> None:
    licence = (DATA / "LICENSE-WordNet.txt").read_text(encoding="utf-8")
    assert "This software and database is being provided to you, the LICENSEE" in licence
    assert "WordNet 3.1 Copyright 2011 by Princeton University.  All rights reserved." in licence
    assert licence.endswith("Princeton University and LICENSEE agrees to preserve same.\n")


# ── the command line ─────────────────────────────────────────────────────────────────────────────


def test_without_a_command_it_prints_help_and_fails() -> None:
    done = command()
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: vermilion" in done.stderr
    for row in cli.COMMANDS:
        assert re.search(
            rf"^ +{row.name} +{re.escape(row.purpose[:30])}", done.stderr, re.MULTILINE
        )


def test_version() -> None:
    done = command("--version")
    assert (done.returncode, done.stdout) == (0, f"vermilion {vermilion.__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["frob"], "invalid choice: 'frob'"),
        (["demo", "--limit", "0"], "argument --limit: expected a number from 1 on, got '0'"),
        (["demo", "--limit", "many"], "argument --limit: expected a number from 1 on, got 'many'"),
        (["demo", "--where", "{pos"], "argument --where: '{pos' is not JSON"),
        (["demo", "--frob"], "unrecognized arguments: --frob"),
    ],
)
def test_a_wrong_command_line_exits_with_2(arguments: list[str], message: str) -> None:
    done = command(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--path", __file__], f"{Path(__file__).resolve()} is a file, not a directory"),
        (["--path", f"{__file__}/below"], "Not a directory"),
        (["--path", ""], "Expected path to name a directory, got an empty string"),
        (["--where", '{"$frob": 1}'], "Invalid where clause: expected a metadata field name"),
        (["--where", "[1]"], "Expected where to be a dict"),
    ],
)
def test_an_error_is_one_line_and_exits_with_1(arguments: list[str], message: str) -> None:
    done = command("demo", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("vermilion: error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_full_disk_behind_the_output_is_an_error(first_run: tuple[str, str, str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "vermilion", "demo", "--limit", "200", "--path", first_run[0]],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "No space left on device" in done.stderr


def test_a_reader_that_goes_away_ends_it_quietly(first_run: tuple[str, str, str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "vermilion", "demo", "--limit", "200", "--path", first_run[0]],
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (done.returncode, done.stderr) == (141, "")


def test_a_question_that_cannot_be_printed_is_escaped(first_run: tuple[str, str, str]) -> None:
    asked = ["--question", "a b\udcffrd \u6f22"]
    done = command(
        "demo", "--limit", "200", "--path", first_run[0], *asked, PYTHONIOENCODING="ascii"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "\na b\\udcffrd \\u6f22\n" in done.stdout


def test_a_warning_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "chroma.sqlite3").touch()
    done = command("demo", "--limit", "1", "--path", str(tmp_path))
    assert done.returncode == 0
    first, *_ = done.stderr.splitlines()
    assert first.startswith(f"vermilion: warning: {tmp_path} also holds a database of Chroma")


def test_ctrl_c_ends_it_quietly_and_keeps_what_is_stored(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, "demo", "--path", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        assert process.stderr.readline().startswith("Embedding: 128 of 3,000")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert "Traceback" not in process.stderr.read()
    with vermilion.PersistentClient(tmp_path) as client:
        kept = client.get_collection("vermilion_demo").count()
    assert kept >= 128
    assert kept % 128 == 0
