"""Where records come from and go to: servers, directories, files; and going on after an end."""

from __future__ import annotations

import io
import json
import os
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

import vermilion
from pipe_commands import Cdp, everything, filled, lines, of_the_page, records, row, run, shell
from processes import running
from vermilion.pipes import batches, files
from vermilion.pipes.uri import CollectionUri, collection_uri, dataset_uri, redacted


@pytest.fixture
def cdp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cdp:
    """The command, in a folder that has a collection."""
    filled(tmp_path / "src")
    monkeypatch.chdir(tmp_path)
    return run


# ── URIs ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "base", "name"),
    [
        ("http://localhost/a", "http://localhost:8000", "a"),
        ("https://h:9/proxy/api/a/", "https://h:9/proxy/api", "a"),
        ("http://[::1]:80/a%20b", "http://[::1]:80", "a b"),
        ("http://h", "http://h:8000", ""),
        ("file://chroma-data/qna", "chroma-data", "qna"),
        ("file://path/to/Data/qna", "path/to/Data", "qna"),
        ("file:///abs/dir/qna", "/abs/dir", "qna"),
        ("file:///x/src/db/src", "/x/src/db", "src"),
        ("file:///qna", "/", "qna"),
        ("file://./a/b%3F", "./a", "b?"),
    ],
)
def test_uris_of_collections(text: str, base: str, name: str) -> None:
    uri = collection_uri(text, {})
    assert (uri.base, uri.name, uri.headers) == (base, name, {})


@pytest.mark.parametrize(
    ("text", "environment", "headers"),
    [
        ("http://me:p%40ss@h/a", {}, {"Authorization": "Basic bWU6cEBzcw=="}),
        ("http://__auth_token__:T@h/a", {}, {"Authorization": "Bearer T"}),
        ("http://__x_chroma_token__:T@h/a", {}, {"X-Chroma-Token": "T"}),
        ("http://h/a", {"CHROMA_BASIC_AUTH": "me:p@ss"}, {"Authorization": "Basic bWU6cEBzcw=="}),
        ("http://h/a", {"CHROMA_TOKEN_AUTH": "T"}, {"Authorization": "Bearer T"}),
        ("http://h/a", {"CHROMA_XTOKEN_AUTH": "T"}, {"X-Chroma-Token": "T"}),
        ("http://__auth_token__:U@h/a", {"CHROMA_XTOKEN_AUTH": "T"}, {"Authorization": "Bearer U"}),
        ("file://d/a", {"CHROMA_TOKEN_AUTH": "T"}, {}),
    ],
)
def test_credentials(text: str, environment: dict[str, str], headers: dict[str, str]) -> None:
    uri = collection_uri(text, environment)
    assert uri.headers == headers
    assert not any(secret in f"{uri} {uri!r}" for secret in ("p@ss", "p%40ss", "bWU6", "T@"))


def test_options_of_uris() -> None:
    uri = collection_uri("file://d/a?limit=-1&upsert=true&create_collection=no&df=ip&tenant=t", {})
    assert uri.options == {
        "limit": -1, "upsert": True, "create_collection": False, "df": "ip", "tenant": "t",
    }  # fmt: skip
    hub = dataset_uri("hf://me/qna?split=test&stream=1&meta_features=a,b")
    assert (hub.name, hub.options["meta_features"]) == ("me/qna", ["a", "b"])
    assert isinstance(uri, CollectionUri)


def test_whatever_text_a_secret_is_in() -> None:
    assert redacted("a http://u:p@h/x, hf://k@n and mail me@h") == (
        "a http://***@h/x, hf://***@n and mail me@h"
    )


# ── directories ──────────────────────────────────────────────────────────────────────────────────


def test_the_collection_may_be_a_flag(cdp: Cdp) -> None:
    assert len(records(cdp("export", "file://src", "--collection", "qna"))) == 7
    assert len(records(cdp("export", "file://src/qna", "--collection", "other"))) == 7


def test_a_name_that_cannot_be_is_refused_before_a_directory_is_made(
    cdp: Cdp, tmp_path: Path
) -> None:
    done = cdp("import", "file://dst/x", "--create", stdin=lines(row("a")))
    assert (done.returncode, "Expected a name" in done.stderr) == (1, True)
    assert not (tmp_path / "dst").exists()


def test_a_database_of_chroma_is_not_written_to(cdp: Cdp, tmp_path: Path) -> None:
    (tmp_path / "chroma").mkdir()
    (tmp_path / "chroma" / "chroma.sqlite3").touch()
    done = cdp("import", "file://chroma/new", "--create", stdin=lines(row("a")))
    assert done.returncode == 1
    assert "holds a database of Chroma (chroma.sqlite3), which is only read" in done.stderr
    assert [path.name for path in (tmp_path / "chroma").iterdir()] == ["chroma.sqlite3"]


def test_upserts_change_and_adds_do_not(cdp: Cdp, tmp_path: Path) -> None:
    stream = lines(
        row("d1", (9.0, 9.0, 9.0), text_chunk="new"), row("e", (1.0, 1.0, 1.0)),
        row("e", (2.0, 2.0, 2.0)),
    )  # fmt: skip
    done = cdp("import", "file://src/qna", stdin=stream)
    assert "imported 2 records" in done.stderr
    assert "1 new, 2 there already" in done.stderr
    made = everything(tmp_path / "src", "qna")
    assert (made["documents"][1], made["embeddings"][-1]) == ("doc number 1 😀", [1, 1, 1])
    done = cdp("import", "file://src/qna?upsert=true", stdin=stream)
    assert "1 changed" in done.stderr or "2 changed" in done.stderr
    made = everything(tmp_path / "src", "qna")
    assert (made["documents"][1], made["embeddings"][-1]) == ("new", [2, 2, 2])


def test_a_collection_that_exists_keeps_its_distance_and_says_so(cdp: Cdp, tmp_path: Path) -> None:
    stream = cdp("export", "file://src/qna").stdout.replace('"cosine"', '"l2"')
    done = cdp("import", "file://src/qna", stdin=stream)
    assert done.returncode == 0
    assert "warning: the collection qna exists and measures by cosine, not by l2" in done.stderr


def test_other_tenants_and_databases(cdp: Cdp, tmp_path: Path) -> None:
    settings = vermilion.Settings(is_persistent=True, persist_directory=str(tmp_path / "dst"))
    with vermilion.AdminClient(settings) as admin:
        admin.create_tenant("them")
        admin.create_database("theirs", "them")
    there = "file://dst/qna?tenant=them&database=theirs"
    assert cdp("copy", "file://src/qna", there).returncode == 0
    assert cdp("diff", "file://src/qna", there).returncode == 0
    assert cdp("stats", "file://dst/qna").returncode == 1


# ── files ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "name", ["f.jsonl", "f.jsonl.gz", "f.jsonl.zst", "f.parquet", "f.csv", "f.csv.gz", "f.csv.zst"]
)
def test_a_collection_goes_through_every_kind_of_file(cdp: Cdp, tmp_path: Path, name: str) -> None:
    assert cdp("export", "file://src/qna", "--out", name, "--batch-size", "3").returncode == 0
    done = cdp("import", "file://dst/qna", name, "--create")
    assert done.returncode == 0, done.stderr
    before, after = (everything(tmp_path / place, "qna") for place in ("src", "dst"))
    if "csv" in name:  # which has no place for it
        del before["metadata"], before["configuration"], after["metadata"], after["configuration"]
    assert after == before


@pytest.mark.parametrize("name", ["f.jsonl.gz", "f.jsonl.zst", "f.parquet"])
def test_damaged_files_are_named(cdp: Cdp, tmp_path: Path, name: str) -> None:
    assert cdp("export", "file://src/qna", "--out", name).returncode == 0
    whole = (tmp_path / name).read_bytes()
    for wrong in (whole[: len(whole) // 2], b"x" * 100):
        (tmp_path / name).write_bytes(wrong)
        done = cdp("import", "file://dst/new", "--create", name)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr


def test_tables_go_through_pipes(tmp_path: Path) -> None:
    filled(tmp_path / "src")
    done = shell(
        "cdp export file://src/qna --format parquet | cdp import file://dst/qna --create"
        " --format parquet && cdp diff file://src/qna file://dst/qna",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr


def test_columns_of_metadata(cdp: Cdp) -> None:
    done = cdp(
        "export", "file://src/qna", "--format", "csv", "--meta-features", "n", "--limit", "1"
    )
    assert (
        done.stdout
        == 'id,text_chunk,embedding,uri,n\nd0,doc number 0 😀,"[0.0,1.5,0.1]",file.txt,0\n'
    )


def test_embeddings_may_stay_behind(cdp: Cdp) -> None:
    found = records(cdp("export", "file://src/qna", "--no-embeddings"))
    assert {one["embedding"] for one in found} == {None}


def test_a_stream_with_a_mark_at_its_start_is_read(cdp: Cdp, tmp_path: Path) -> None:
    (tmp_path / "bom.jsonl").write_text("\ufeff" + lines(row("a")) + "\n", encoding="utf-8")
    assert cdp("import", "file://dst/new", "--in", "bom.jsonl", "--create").returncode == 0
    assert everything(tmp_path / "dst", "new")["ids"] == ["a"]


@pytest.mark.parametrize(
    "arguments",
    [["f.jsonl", "--create"], ["--create", "f.jsonl"], ["--create", "--in", "f.jsonl"]],
)
def test_the_file_may_stand_anywhere(cdp: Cdp, tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "f.jsonl").write_text(lines(row("a")), encoding="utf-8")
    done = cdp("import", "file://dst/new", *arguments)
    assert done.returncode == 0, done.stderr
    assert records(cdp("id", "--expr", "b", "f.jsonl"))[0]["id"] == "b"
    assert records(cdp("id", "--expr", "c", "-", stdin=lines(row("a"))))[0]["id"] == "c"
    assert cdp("import", "file://dst/new", "f.jsonl", "g.jsonl").returncode == 2
    assert cdp("import", "file://dst/new", "f.jsonl", "--in", "g.jsonl").returncode == 1


def test_what_a_stream_says_of_its_collection_is_checked(cdp: Cdp, tmp_path: Path) -> None:
    for header in (
        [1],
        {"configuration": {"hnsw": {"space": "hamming"}}},
        {"configuration": {"embedding_function": {"type": "known", "name": 1, "config": {}}}},
        {"metadata": {"a": {"b": 1}}},
        {"schema": {"defaults": 1, "keys": {}}},
    ):
        done = cdp(
            "import", "file://dst/new", "--create", stdin=lines(row("a", _collection=header))
        )
        assert done.returncode == 1, header
        assert "Traceback" not in done.stderr
    with vermilion.PersistentClient(tmp_path / "dst") as client:
        assert client.count_collections() == 0


# ── going on ─────────────────────────────────────────────────────────────────────────────────────


def test_an_import_goes_on(cdp: Cdp, tmp_path: Path) -> None:
    texts = [row(f"{n}", None, text_chunk=f"text {n}") for n in range(4)]
    first = ["import", "file://dst/new", "--create"]
    assert cdp(*first, stdin=lines(*texts[:3]) + "cut").returncode == 1
    assert cdp(*first, "--batch-size", "1", stdin=lines(*texts[:3]) + "cut").returncode == 1
    done = cdp(*first, "--resume", stdin=lines(*texts))
    assert "1 new, 3 there already" in done.stderr
    assert everything(tmp_path / "dst", "new")["ids"] == ["0", "1", "2", "3"]
    assert "no id, by which --resume" in cdp(*first, "--resume", stdin=lines(row(None))).stderr


@pytest.mark.parametrize("format", ["record", "jsonl"])
def test_an_export_goes_on(cdp: Cdp, tmp_path: Path, format: str) -> None:
    call = ["export", "file://src/qna", "--out", "f.jsonl", "--format", format]
    assert cdp(*call).returncode == 0
    whole = (tmp_path / "f.jsonl").read_bytes()
    for size in (0, 10, whole.index(b"\n") + 1, len(whole) - 5, len(whole)):
        (tmp_path / "f.jsonl").write_bytes(whole[:size])
        done = cdp(*call, "--resume")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "f.jsonl").read_bytes() == whole
    (tmp_path / "f.jsonl").write_bytes(whole[:-5])
    with vermilion.PersistentClient(tmp_path / "src") as client:
        client.get_collection("qna").delete(ids=["d0"])
    assert "cannot be continued: its line 6 is record 'd5'" in cdp(*call, "--resume").stderr
    assert cdp("export", "file://src/qna", "--resume").returncode == 1


def test_a_copy_goes_on(cdp: Cdp, tmp_path: Path) -> None:
    assert cdp("copy", "file://src/qna", "file://dst/qna", "--limit", "3").returncode == 0
    assert cdp("copy", "file://src/qna", "file://dst/qna").returncode == 1
    done = cdp("copy", "file://src/qna", "file://dst/qna", "--resume")
    assert "4 new, 3 there already" in done.stderr
    assert everything(tmp_path / "dst", "qna") == everything(tmp_path / "src", "qna")


def test_differences(cdp: Cdp, tmp_path: Path) -> None:
    assert cdp("copy", "file://src/qna", "file://dst/qna").returncode == 0
    with vermilion.PersistentClient(tmp_path / "dst") as client:
        copy = client.get_collection("qna")
        copy.delete(ids=["d0"])
        copy.update(ids=["d1"], documents=["x"], embeddings=[[0, 0, 0]])
        copy.add(ids=["new"], embeddings=[[1, 1, 1]])
    done = cdp("diff", "file://src/qna", "file://dst/qna")
    assert done.returncode == 1
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"id": "d1", "change": "changed", "in": ["embedding", "text_chunk"]},
        {"id": "new", "change": "added"},
        {"id": "d0", "change": "removed"},
    ]


def test_stats(cdp: Cdp) -> None:
    (told,) = records(cdp("stats", "file://src/qna"))
    assert (told["records"], told["documents"], told["metadatas"], told["uris"]) == (7, 6, 6, 1)
    assert (told["dimension"], told["configuration"]["hnsw"]["space"]) == (3, "cosine")


# ── as much as there is ──────────────────────────────────────────────────────────────────────────


def test_a_stream_without_an_end_is_read_as_far_as_needed(tmp_path: Path) -> None:
    done = shell(
        """yes '{"embedding": [1, 2]}' | cdp import file://dst/new --create --limit 10""", tmp_path
    )
    assert "imported 10 records" in done.stderr


def test_memory_does_not_grow_with_the_records(
    cdp: Cdp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "BATCH_BYTES", 100_000)

    def peak(count: int) -> int:
        text = lines(
            *(row(f"{count}-{n}", (float(n), 1.0), text_chunk="x" * 200) for n in range(count))
        )
        (tmp_path / "in.jsonl").write_text(text, encoding="utf-8")
        del text
        tracemalloc.start()
        try:
            cdp("import", f"file://dst/n{count}", "--create", "--in", "in.jsonl")
            cdp("export", f"file://dst/n{count}", "--batch-size", "100", "--out", "out.jsonl")
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(100)  # what is loaded once
    assert peak(12_000) < peak(5_000) + 400_000  # from 4,096 on segments are built


# ── what is told ──────────────────────────────────────────────────────────────────────────────────


def test_a_terminal_is_shown_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for library in (None, sys.modules.get("tqdm")):
        monkeypatch.setattr(sys, "stderr", Terminal())
        monkeypatch.setattr(sys, "stdout", io.StringIO())
        monkeypatch.setattr(files, "_LINE_EVERY", -1.0)
        with monkeypatch.context() as patch:
            if library is None:
                patch.setitem(sys.modules, "tqdm", None)
            meter = files.Meter("copied", total=3)
            meter.advance(2)
            meter.advance()
            meter.finish(": 3 new")
            shown = sys.stderr.getvalue()  # type: ignore[attr-defined]
        assert ("\rcopied 2 records" in shown) == (library is None)
        assert shown.endswith("s: 3 new\n")
        assert "copied 3 records in 0.0 s" in shown
    quiet = files.Meter("copied", quiet=True)
    quiet.advance(5)
    quiet.finish()


# ── servers ──────────────────────────────────────────────────────────────────────────────────────


def test_the_first_pipeline_of_the_page_keeps_everything(tmp_path: Path) -> None:
    filled(tmp_path / "path" / "to_local_data", "local_collection")
    script = of_the_page("17_copy_to_server.sh")
    with running(tmp_path / "served") as server:
        there = f"http://127.0.0.1:{server.port}/remote_collection"
        done = shell(script.replace("remote_chromadb:port", f"127.0.0.1:{server.port}"), tmp_path)
        assert done.returncode == 0, done.stderr
        assert shell(f"cdp export {there} | wc -l", tmp_path).stdout.strip() == "7"
        back = shell(
            f'cdp export {there} --offset 2 --limit 2 -m \'{{"n": {{"$gt": 0}}}}\'', tmp_path
        )
        assert [one["id"] for one in records(back)] == ["d3", "d4"]
        server.stop()
    after = everything(tmp_path / "served", "remote_collection")
    assert after == everything(tmp_path / "path" / "to_local_data", "local_collection")


def test_servers_that_ask_who_it_is(tmp_path: Path) -> None:
    filled(tmp_path / "src")
    made = shell("vermilion token me --file tokens.toml", tmp_path)
    assert made.returncode == 0, made.stderr
    token = made.stdout.split()[-1]
    with running(tmp_path / "served", "--auth-file", str(tmp_path / "tokens.toml")) as server:
        call = "cdp import http://{}127.0.0.1:{}/qna --create < f.jsonl"
        assert shell("cdp export file://src/qna > f.jsonl", tmp_path).returncode == 0
        refused = shell(call.format("__auth_token__:wrong@", server.port), tmp_path)
        assert (refused.returncode, "wrong" in refused.stderr) == (1, False)
        for user in ("__auth_token__", "__x_chroma_token__"):
            done = shell(call.format(f"{user}:{token}@", server.port), tmp_path)
            assert done.returncode == 0, done.stderr
        done = shell(call.format("", server.port), tmp_path, CHROMA_XTOKEN_AUTH=token)
        assert done.returncode == 0, done.stderr


CHROMA = os.environ.get("CHROMA_SERVER_URL", "")


@pytest.fixture
def chroma() -> Iterator[str]:
    """A collection to be made at a real server of Chroma, which whoever runs the tests names."""
    if not CHROMA:
        pytest.skip("CHROMA_SERVER_URL names no server of Chroma")
    name = f"pipes_{os.getpid()}"
    yield f"{CHROMA.rstrip('/')}/{name}"
    with vermilion.HttpClient(CHROMA) as client:
        client.delete_collection(name)


def test_a_collection_goes_to_a_server_of_chroma_and_back(
    cdp: Cdp, tmp_path: Path, chroma: str
) -> None:
    assert cdp("export", "file://src/qna", "--out", "f.jsonl").returncode == 0
    assert cdp("import", chroma, "--create", "--in", "f.jsonl", "--df", "l2").returncode == 0
    assert len(records(cdp("export", chroma, "--where", '{"even": true}'))) == 3
    assert cdp("copy", chroma, "file://back/qna").returncode == 0
    before, after = (everything(tmp_path / place, "qna") for place in ("src", "back"))
    assert after.pop("configuration")["hnsw"] == before.pop("configuration")["hnsw"] | {
        "space": "l2"
    }
    assert after == before
