"""The steps between two pipes, and what turns documents and data sets into records."""

from __future__ import annotations

import http.server
import io
import json
import re
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipe_commands import Cdp, lines, records, row, run
from vermilion.pipes.chunk import spans
from vermilion.pipes.functions import FUNCTIONS, make
from vermilion.pipes.options import assignments

HEADER = {"_collection": {"name": "x", "configuration": {"hnsw": {"space": "ip"}}}}


@pytest.fixture
def cdp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cdp:
    """The command, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return run


# ── id ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        (["--uuid"], r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"),
        (["-U"], r"[0-7][0-9A-HJKMNP-TV-Z]{25}"),
        (["-r"], r"[0-9a-f]{64}"),
        (["-e", "{{metadata.page}}-{{ text_chunk[:3] }}-{{id}}"], r"\d-doc-\d"),
        (["-e", "{{uuid()}}/{{ulid()}}/{{embedding|length}}"], r"\S{36}/\S{26}/2"),
    ],
)
def test_ids(cdp: Cdp, arguments: list[str], pattern: str) -> None:
    stream = lines(*(row(f"{n}", metadata={"page": n}, text_chunk="document") for n in range(3)))
    ids = [one["id"] for one in records(cdp("id", *arguments, stdin=stream))]
    assert len({*ids}) == 3
    assert all(re.fullmatch(pattern, id) for id in ids), ids
    if arguments == ["-U"]:
        assert ids == sorted(ids)


def test_templates_are_in_a_sandbox_and_name_what_is_missing(cdp: Cdp) -> None:
    for expression in ("{{ ''.__class__.__mro__ }}", "{{ nobody }}", "{{ metadata.none }}"):
        done = cdp("id", "-e", expression, stdin=lines(row("1", metadata={"a": 1})))
        assert done.returncode == 1
        assert "line 1: " in done.stderr


# ── meta ─────────────────────────────────────────────────────────────────────────────────────────


def test_times_in_templates(cdp: Cdp) -> None:
    stream = lines(row("1", metadata={"when": 86_400, "day": "2024-02-29T10:00:00"}))
    given = ["-a", "y={{ metadata.when|date('%Y') }}", "-a", "d='{{ metadata.day|date }}'"]
    (one,) = records(cdp("meta", *given, "-a", "now={{ '%Y' | now }}", stdin=stream))
    assert (one["metadata"]["y"], one["metadata"]["d"]) == (1970, "2024-02-29")
    assert one["metadata"]["now"] > 2023


def test_the_old_name_of_a_flag_warns(cdp: Cdp) -> None:
    done = cdp("meta", "-m", "a=1", stdin=lines(row("1")))
    assert records(done)[0]["metadata"] == {"a": 1}
    assert "warning: --meta is the old name of --attr" in done.stderr


# ── chunk ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "size", "overlap", "separator", "pieces"),
    [
        ("aa bb cc dd", 5, 0, " ", ["aa bb", "cc dd"]),
        ("aa bb cc dd", 5, 2, " ", ["aa bb", "bb cc", "cc dd"]),
        ("aaaaaaa bb", 3, 0, " ", ["aaa", "aaa", "a", "bb"]),
        ("aa\n\nbb\n", 10, 0, "\n", ["aa\n\nbb"]),
        ("abcdef", 4, 2, "", ["abcd", "cdef"]),
        ("", 4, 0, "\n", []),
        ("one", 9, 0, "\n", ["one"]),
    ],
)
def test_pieces(text: str, size: int, overlap: int, separator: str, pieces: list[str]) -> None:
    found = [text[start:stop] for start, stop in spans(text, size, overlap, separator)]
    assert found == pieces


def test_pieces_have_ids_metadata_and_places(cdp: Cdp) -> None:
    stream = lines(
        row("a", metadata={"k": 1}, text_chunk="one\ttwo", **HEADER), row("b", text_chunk=None)
    )
    first, second, last = records(cdp("chunk", "-s", "4", "-p", "\\t", "-a", stdin=stream))
    assert first == {
        "id": "a-0", "metadata": {"k": 1, "start_index": 0}, "embedding": None,
        "text_chunk": "one", **HEADER,
    }  # fmt: skip
    assert (second["id"], second["metadata"]["start_index"]) == ("a-1", 4)
    assert "_collection" not in second
    assert last["id"] == "b"


# ── tx, embed ────────────────────────────────────────────────────────────────────────────────────


def test_emoji_go(cdp: Cdp) -> None:
    stream = lines(row("1", text_chunk="a 👩‍👩‍👧 b ❤️ 🇩🇪 1", metadata={"k": "x😀", "n": 1}))
    (one,) = records(cdp("tx", "emoji-clean", stdin=stream))
    assert one["text_chunk"].split() == ["a", "b", "1"]
    assert one["metadata"]["k"] == "x😀"
    (one,) = records(cdp("tx", "emoji-clean", "-m", stdin=stream))
    assert one["metadata"] == {"k": "x", "n": 1}


def test_documents_are_embedded_and_the_collection_learns_by_what(cdp: Cdp) -> None:
    stream = lines(row("1", None, text_chunk="a cat", **HEADER), row("2", (1.0,)))
    one, two = records(cdp("embed", "--ef", "default", stdin=stream))
    assert len(one["embedding"]) == 384
    assert two["embedding"] is None
    told = one["_collection"]["configuration"]
    assert (told["hnsw"]["space"], told["embedding_function"]["name"]) == ("ip", "default")


def test_a_bare_description_goes_through_every_step(cdp: Cdp) -> None:
    for step in (["id", "-u"], ["meta", "-a", "a=1"], ["chunk", "-s", "9"], ["tx", "emoji-clean"]):
        assert records(cdp(*step, stdin=lines(HEADER))) == [HEADER]
    (one,) = records(cdp("embed", "--ef", "default", stdin=lines(HEADER)))
    assert list(one) == ["_collection"]


def test_functions_come_from_the_environment() -> None:
    environment = {
        "OPENAI_MODEL_NAME": "text-embedding-3-small", "OLLAMA_EMBED_URL": "http://localhost:9",
        "OLLAMA_MODEL_NAME": "all-minilm", "HF_MODEL_NAME": "some/model",
    }  # fmt: skip
    assert set(FUNCTIONS) == {"default", "openai", "cohere", "hf", "st", "gemini", "ollama"}
    ollama = make("ollama", environment).get_config()
    assert (ollama["model_name"], ollama["url"]) == ("all-minilm", "http://localhost:9")
    assert make("ollama", environment, "other").get_config()["model_name"] == "other"


def test_keys_are_read_from_a_file_that_is_named(
    cdp: Cdp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "# mine\nexport OPENAI_API_KEY='k=1'\nPATH=/nowhere\n"
    assert assignments(text) == {"OPENAI_API_KEY": "k=1", "PATH": "/nowhere"}
    (tmp_path / ".env").write_text(text, encoding="utf-8")
    monkeypatch.setenv("OPENAI_API_KEY", "")
    monkeypatch.delenv("OPENAI_API_KEY")
    import os

    path = os.environ["PATH"]
    cdp("embed", "--ef", "default", stdin="")
    assert "OPENAI_API_KEY" not in os.environ
    cdp("embed", "--env-file", ".env", "--ef", "default", stdin="")
    assert (os.environ["OPENAI_API_KEY"], os.environ["PATH"]) == ("k=1", path)


# ── imp ──────────────────────────────────────────────────────────────────────────────────────────


def pdf(*pages: str) -> bytes:
    """A PDF with a line on each page."""
    from pypdf import PdfWriter
    from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

    writer = PdfWriter()
    for text in pages:
        page = writer.add_blank_page(200, 200)
        content = DecodedStreamObject()
        content.set_data(f"BT /F1 12 Tf 20 100 Td ({text}) Tj ET".encode())
        font = DictionaryObject(
            {
                NameObject("/Type"): NameObject("/Font"),
                NameObject("/Subtype"): NameObject("/Type1"),
                NameObject("/BaseFont"): NameObject("/Helvetica"),
            }
        )
        fonts = DictionaryObject({NameObject("/F1"): font})
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
        page[NameObject("/Contents")] = writer._add_object(content)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def test_pages_of_pdf_files(cdp: Cdp, tmp_path: Path) -> None:
    (tmp_path / "papers" / "deep").mkdir(parents=True)
    (tmp_path / "papers" / "2401.02412.pdf").write_bytes(pdf("first page", "second page"))
    (tmp_path / "papers" / "deep" / "b.pdf").write_bytes(pdf("other"))
    (tmp_path / "papers" / ".hidden.pdf").write_bytes(pdf("hidden"))
    found = records(cdp("imp", "pdf", "papers/"))
    assert [one["text_chunk"].strip() for one in found] == ["first page", "second page", "other"]
    assert [one["metadata"] for one in found][:2] == [
        {"source": "papers/2401.02412.pdf", "page": 0},
        {"source": "papers/2401.02412.pdf", "page": 1},
    ]
    assert found[0].keys() == {"id", "metadata", "embedding", "text_chunk"}
    (tmp_path / "papers" / "bad.pdf").write_bytes(b"no pdf")
    assert cdp("imp", "pdf", "papers", "--glob", "bad.pdf").returncode == 1
    assert len(records(cdp("imp", "pdf", "papers", "--on-error", "skip"))) == 3


def test_text_files(cdp: Cdp, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.md").write_text("# A", encoding="utf-8")
    (tmp_path / "notes" / "b.txt").write_text("B", encoding="utf-8")
    assert [one["text_chunk"] for one in records(cdp("imp", "txt", "notes"))] == ["# A"]
    found = records(cdp("imp", "txt", ".", "-g", "*.txt", "-r"))
    assert [one["metadata"] for one in found] == [{"source": "notes/b.txt"}]
    assert cdp("imp", "txt", "missing").returncode == 1


def test_rows_of_csv_files(cdp: Cdp, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text(
        'Name,Resume\nAda,"line 1\nline 2"\nBob,"a, b"\n', encoding="utf-8"
    )
    first, second = records(cdp("imp", "csv", "people.csv"))
    assert first["text_chunk"] == "Name: Ada\nResume: line 1\nline 2"
    assert second["metadata"] == {"source": "people.csv", "row": 1}
    named = ["--meta-features", "Name", "--doc-feature", "Resume"]
    _, second = records(cdp("imp", "csv", "people.csv", *named))
    assert second["text_chunk"] == "a, b"
    assert second["metadata"] == {"source": "people.csv", "row": 1, "Name": "Bob"}
    assert "no column 'None'" in cdp("imp", "csv", "people.csv", "--doc-feature", "None").stderr
    (tmp_path / "odd.csv").write_text("a;b\n'1;1';2\n3\n", encoding="utf-8")
    odd = ["imp", "csv", "odd.csv", "-s", ";", "-q", "'"]
    assert "line 3: the row has not as many cells" in cdp(*odd).stderr
    assert records(cdp(*odd, "--on-error", "skip"))[0]["text_chunk"] == "a: 1;1\nb: 2"


SITE = {
    "/": '<title>Home</title><body><script>no</script>Hello <a href="/a#x">a</a>'
    '<a href="http://example.invalid/">out</a><a href="/missing">m</a></body>',
    "/a": '<body>Page A <a href="/">home</a><a href="b">b</a></body>',
    "/b": "<body>Page B</body>",
}


class Site(http.server.BaseHTTPRequestHandler):
    """Three pages."""

    def do_GET(self) -> None:
        text = SITE.get(self.path)
        self.send_response(404 if text is None else 200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write((text or "").encode())

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def test_pages_of_a_site(cdp: Cdp, site: str) -> None:
    (home,) = records(cdp("imp", "url", site))
    assert home["metadata"] == {"source": site, "title": "Home"}
    assert home["text_chunk"].startswith("Hello")
    assert "no" not in home["text_chunk"]
    deep = cdp("imp", "url", site, "-d", "3", "--on-error", "log")
    assert deep.returncode == 1
    assert "/missing: the server answered 404" in deep.stderr
    sources = [json.loads(line)["metadata"]["source"] for line in deep.stdout.splitlines()[:-1]]
    assert sources == [site, f"{site}a", f"{site}b"]
    window = ["--limit", "1", "--offset", "1", "-d", "2"]
    (one,) = records(cdp("imp", "url", site, *window))
    assert one["metadata"]["source"] == f"{site}a"


# ── data sets ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("place", ["set", "set.jsonl", "set.parquet", "set.jsonl.gz"])
def test_data_sets_in_files(cdp: Cdp, place: str) -> None:
    stream = lines(row("a", metadata={"n": 1}, text_chunk="text"), row("b"), row("c"))
    done = cdp("ds-put", f"file://{place}?split=test", "--doc-feature", "document", stdin=stream)
    assert done.returncode == 0, done.stderr
    found = records(cdp("ds-get", f"file://{place}?split=test&limit=2"))
    assert found == [row("a", metadata={"n": 1}, text_chunk="text"), row("b")]
    if place == "set":
        assert cdp("ds-get", "file://set").returncode == 1


def test_data_sets_as_the_hub_s_library_saves_them(cdp: Cdp, tmp_path: Path) -> None:
    import pyarrow

    table = pyarrow.table({"id": ["1"], "document": ["text"], "lang": ["en"], "x": [1]})
    (tmp_path / "saved" / "train").mkdir(parents=True)
    with pyarrow.ipc.new_stream(tmp_path / "saved/train/data-0.arrow", table.schema) as writer:
        writer.write_table(table)
    (one,) = records(cdp("ds-get", "file://saved", "--meta-features", "lang"))
    assert one == row("1", None, metadata={"lang": "en"}, text_chunk="text")


def test_the_hub_is_asked_through_its_library(cdp: Cdp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    done = cdp("ds-get", "hf://me/qna?split=test")
    assert (done.returncode, "pip install datasets" in done.stderr) == (1, True)
    asked: list[Any] = []

    class Dataset:
        @staticmethod
        def from_list(rows: list[Any]) -> Any:
            asked.append(rows)
            return types.SimpleNamespace(push_to_hub=lambda *a, **k: asked.append((a, k["split"])))

    def load_dataset(name: str, **options: Any) -> list[dict[str, Any]]:
        asked.append((name, options))
        return [{"id": "1", "document": "text", "embedding": [1.0], "page": 2}]

    library = types.SimpleNamespace(load_dataset=load_dataset, Dataset=Dataset)
    monkeypatch.setitem(sys.modules, "datasets", library)
    (one,) = records(cdp("ds-get", "hf://me/qna?split=test&meta_features=page", "--stream"))
    assert one == row("1", (1.0,), metadata={"page": 2}, text_chunk="text")
    assert asked == [("me/qna", {"split": "test", "streaming": True})]
    assert cdp("ds-put", "hf://me/new", "--private", stdin=lines(row("1"))).returncode == 0
    assert asked[-1] == (("me/new",), "train")


# ── the shell ────────────────────────────────────────────────────────────────────────────────────


def test_completion_is_shown_and_installed(cdp: Cdp, monkeypatch: pytest.MonkeyPatch) -> None:
    done = cdp("--show-completion", "bash")
    assert done.returncode == 0
    assert "emoji-clean" in done.stdout
    monkeypatch.setenv("HOME", str(Path.cwd()))
    assert "is written" in cdp("--install-completion", "bash").stdout
    installed = Path(".local/share/bash-completion/completions/cdp")
    assert "complete" in installed.read_text(encoding="utf-8")
    monkeypatch.setenv("SHELL", "/bin/fish")
    assert cdp("--show-completion").returncode == 2
