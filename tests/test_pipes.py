"""The data pipes as Chroma's users know them: what their tool does wrong, done right."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

import vermilion
from pipe_commands import (
    Cdp,
    everything,
    filled,
    found_in,
    lines,
    of_the_page,
    records,
    row,
    run,
    shell,
)


@pytest.fixture
def cdp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cdp:
    """The command, in a folder that has a collection."""
    filled(tmp_path / "src")
    monkeypatch.chdir(tmp_path)
    return run


def count(path: Path, name: str) -> int:
    with vermilion.PersistentClient(path) as client:
        return client.get_collection(name).count()


def names(path: Path) -> list[str]:
    with vermilion.PersistentClient(path) as client:
        return [one.name for one in client.list_collections()]


# ── a collection goes through a pipe ─────────────────────────────────────────────────────────────


def test_the_second_pipeline_of_the_page_keeps_everything(tmp_path: Path) -> None:
    filled(tmp_path / "source_persist_dir", "target_collection")
    done = shell(of_the_page("18_copy_to_directory.sh"), tmp_path)
    assert done.returncode == 0, done.stderr
    before = everything(tmp_path / "source_persist_dir", "target_collection")
    assert everything(tmp_path / "target_persist_dir", "target_collection") == before
    assert before["configuration"]["hnsw"]["space"] == "cosine"


def test_the_embedding_function_goes_along(tmp_path: Path) -> None:
    function = vermilion.DefaultEmbeddingFunction()
    with vermilion.PersistentClient(tmp_path / "a") as client:
        made = client.create_collection("texts", embedding_function=function)
        made.add(ids=["1", "2"], documents=["a kitten", "a theorem"])
    assert shell("cdp export file://a/texts | cdp import file://b/texts --create", tmp_path)
    with vermilion.PersistentClient(tmp_path / "b") as client:
        copy = client.get_collection("texts")
        assert copy.query(query_texts=["small cat"], n_results=1)["ids"] == [["1"]]
        assert copy.configuration_json["embedding_function"]["name"] == "default"


def test_export_has_a_line_for_each_record(tmp_path: Path) -> None:
    filled(tmp_path / "src")
    assert shell("vermilion export file://src/qna | wc -l", tmp_path).stdout.strip() == "7"


def test_a_record_has_four_keys_in_their_order(cdp: Cdp) -> None:
    first, second, *_, last = records(cdp("export", "file://src/qna"))
    assert list(second) == ["id", "metadata", "embedding", "text_chunk"]
    assert second["embedding"] == [1.0, 1.5, 0.1]
    assert second["metadata"] == {
        "document_id": "1", "n": 1, "f": 0.333, "even": False, "tags": ["a", "b"],
    }  # fmt: skip
    assert (last["metadata"], last["text_chunk"]) == (None, None)
    assert first["uri"] == "file.txt"
    assert first["_collection"]["configuration"]["hnsw"]["space"] == "cosine"


def test_an_empty_collection_has_a_line_only_when_asked(cdp: Cdp, tmp_path: Path) -> None:
    with vermilion.PersistentClient(tmp_path / "src") as client:
        client.create_collection("empty", configuration={"hnsw": {"space": "ip"}})
    assert records(cdp("export", "file://src/empty")) == []
    (header,) = records(cdp("export", "file://src/empty", "--with-config"))
    assert list(header) == ["_collection"]
    assert cdp("import", "file://dst/empty", "--create", stdin=json.dumps(header)).returncode == 0
    made = everything(tmp_path / "dst", "empty")
    assert (made["ids"], made["configuration"]["hnsw"]["space"]) == ([], "ip")


def test_nothing_is_made_of_no_records(cdp: Cdp, tmp_path: Path) -> None:
    done = cdp("import", "file://dst/new", "--create", stdin="")
    assert done.returncode == 0
    assert "no records came" in done.stderr
    assert not (tmp_path / "dst").exists()


@pytest.mark.parametrize(
    ("arguments", "uri", "space"),
    [
        ([], "file://dst/new", "cosine"),
        (["--df", "ip"], "file://dst/new", "ip"),
        (["--df", "ip"], "file://dst/new?df=l2", "l2"),
    ],
)
def test_the_uri_wins_over_the_flag_and_the_flag_over_the_stream(
    cdp: Cdp, tmp_path: Path, arguments: list[str], uri: str, space: str
) -> None:
    stream = cdp("export", "file://src/qna").stdout
    assert cdp("import", uri, "--create", *arguments, stdin=stream).returncode == 0
    assert everything(tmp_path / "dst", "new")["configuration"]["hnsw"]["space"] == space


def test_every_step_passes_the_collection_on(tmp_path: Path) -> None:
    filled(tmp_path / "src")
    done = shell(
        "cdp export file://src/qna --limit 3 | cdp meta -a new=1 | cdp chunk -s 5"
        " | cdp tx emoji-clean -m | cdp id --ulid | cdp embed --ef default"
        " | cdp import file://dst/qna --create",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    made = everything(tmp_path / "dst", "qna")
    assert made["metadata"] == {"owner": "me"}
    assert made["configuration"]["hnsw"]["space"] == "cosine"
    assert made["configuration"]["embedding_function"]["name"] == "default"
    assert made["ids"] == sorted(made["ids"])
    assert {one["new"] for one in made["metadatas"]} == {1}
    assert all(len(one) <= 5 for one in made["documents"])


# ── what the peer's tool does wrong, by its number in the contract ───────────────────────────────


def test_1_export_and_import_need_no_extra(tmp_path: Path) -> None:
    filled(tmp_path / "src")
    hidden = ["jinja2", "pypdf", "bs4", "emoji", "zstandard", "tqdm", "shtab", "pyarrow", "pandas"]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({hidden})); "
        "from vermilion.cli import cdp; sys.exit(cdp())"
    )
    call = f'python -c "{code}"'
    done = shell(
        f"{call} --help && {call} export file://src/qna | {call} import file://dst/qna --create",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert count(tmp_path / "dst", "qna") == 7


def test_2_filters_are_applied_and_wrong_ones_refused(cdp: Cdp) -> None:
    found = records(cdp("export", "file://src/qna", "--where", '{"document_id": "3"}'))
    assert [one["id"] for one in found] == ["d3"]
    found = records(cdp("export", "file://src/qna", "-d", '{"$contains": "number 4"}'))
    assert [one["id"] for one in found] == ["d4"]
    for wrong in ('{"n": {"$frob": 1}}', "{n", "[1]"):
        done = cdp("export", "file://src/qna", "-m", wrong)
        assert (done.returncode, done.stdout) == (2, "")
        assert "argument --where/-m: " in done.stderr


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        (["--offset", "2"], ["d2", "d3", "d4", "d5", "d6"]),
        (["--offset", "9"], []),
        (["--limit", "2", "--offset", "5"], ["d5", "d6"]),
        (["--limit", "5", "--offset", "1", "--batch-size", "2"], ["d1", "d2", "d3", "d4", "d5"]),
        (["--limit", "0"], []),
        (["--offset", "2", "--where", '{"even": true}'], ["d4"]),
    ],
)
def test_3_offsets_and_limits_end(cdp: Cdp, arguments: list[str], ids: list[str]) -> None:
    found = records(cdp("export", "file://src/qna", *arguments))
    assert [one["id"] for one in found] == ids
    uri = f"file://src/qna?limit={len(ids)}"
    assert len(records(cdp("export", uri, "--limit", "1"))) == len(ids)


def test_4_a_file_has_what_a_pipe_has(cdp: Cdp, tmp_path: Path) -> None:
    written = cdp("export", "file://src/qna").stdout
    assert cdp("export", "file://src/qna", "--out", "f.jsonl").returncode == 0
    assert (tmp_path / "f.jsonl").read_text(encoding="utf-8") == written
    assert cdp("export", "file://src/qna", "--out", "f.jsonl", "--append").returncode == 0
    assert (tmp_path / "f.jsonl").read_text(encoding="utf-8").count("\n") == 14


def test_5_flat_lines_go_out_and_come_in(cdp: Cdp, tmp_path: Path) -> None:
    flat = cdp(
        "export", "file://src/qna", "--format", "jsonl", "--id-feature", "key",
        "--doc-feature", "text", "--embed-feature", "vector",
        "--meta-features", "n", "--meta-features", "even",
    )  # fmt: skip
    assert records(flat)[1] == {
        "text": "doc number 1 😀", "vector": [1.0, 1.5, 0.1], "key": "d1", "n": 1, "even": False,
    }  # fmt: skip
    done = cdp(
        "import", "file://dst/flat", "--create", "--id-feature", "key", "--doc-feature", "text",
        "--embed-feature", "vector", "-m", "n", stdin=flat.stdout,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    made = everything(tmp_path / "dst", "flat")
    assert made["ids"] == [f"d{n}" for n in range(7)]
    assert made["metadatas"] == [*({"n": n} for n in range(6)), None]
    assert made["documents"][1] == "doc number 1 😀"


def test_6_plain_records_are_accepted_and_get_the_usual_collection(
    cdp: Cdp, tmp_path: Path
) -> None:
    stream = lines(row("a"), row("b", metadata={"x": 1}))
    assert cdp("import", "file://dst/plain", "--create", stdin=stream).returncode == 0
    made = everything(tmp_path / "dst", "plain")
    assert (made["ids"], made["metadatas"]) == (["a", "b"], [None, {"x": 1}])
    assert made["configuration"]["hnsw"]["space"] == "l2"
    assert made["configuration"]["embedding_function"]["name"] == "default"


WRONG = {
    "dimension": (row("x", (1.0, 2.0, 3.0)), "expected an embedding of 2 dimensions, got 3"),
    "text": (row("x", ["1", "2"]), "expected the embedding to be a list of numbers"),
    "infinite": (row("x", [1e39, 1.0]), "must not contain NaN or Infinity"),
    "id": (row("", (1.0, 2.0)), "Empty ID"),
    "number": (row(5, (1.0, 2.0)), "Expected ID to be a str, got 5"),  # type: ignore[arg-type]  # the point
    "metadata": (row("x", metadata=[1]), "Expected metadata to be a dict"),
    "key": (row("x", metadata={"": 1}), "Metadata key cannot be empty"),
    "document": (row("x", text_chunk=7), "Expected document to be a str"),
    "nothing": (row("x", None), "there is neither an embedding nor a document"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_7_errors_have_a_line_and_an_exit_code_and_write_nothing(
    cdp: Cdp, tmp_path: Path, kind: str
) -> None:
    wrong, words = WRONG[kind]
    stream = lines(row("a"), row("b"), row("c"), wrong, row("d"))
    done = cdp("import", "file://dst/new", "--create", "--batch-size", "2", stdin=stream)
    assert done.returncode == 1
    assert "line 4: " in done.stderr
    assert words in done.stderr
    assert "2 records before" in done.stderr
    assert count(tmp_path / "dst", "new") == 2
    for policy, code in (("skip", 0), ("log", 1)):
        done = cdp("import", f"file://{policy}/new", "--create", "--on-error", policy, stdin=stream)
        assert (done.returncode, words in done.stderr) == (code, policy == "log")
        assert count(tmp_path / policy, "new") == 4


def test_8_an_offset_leaves_out_lines(cdp: Cdp, tmp_path: Path) -> None:
    stream = cdp("export", "file://src/qna").stdout
    done = cdp("import", "file://dst/part?limit=3", "--create", "--offset", "2", stdin=stream)
    assert done.returncode == 0, done.stderr
    made = everything(tmp_path / "dst", "part")
    assert made["ids"] == ["d2", "d3", "d4"]
    assert made["configuration"]["hnsw"]["space"] == "cosine"


def test_9_a_document_without_an_embedding_gets_one(cdp: Cdp, tmp_path: Path) -> None:
    stream = lines(row("a", None, text_chunk="a cat"), row("b", None, text_chunk="a law"))
    done = cdp("import", "file://dst/new", "--create", "--ef", "default", stdin=stream)
    assert done.returncode == 0, done.stderr
    with vermilion.PersistentClient(tmp_path / "dst") as client:
        found = client.get_collection("new").query(query_texts=["kitten"], n_results=1)
    assert (found["ids"], found["documents"]) == ([["a"]], [["a cat"]])


def test_9_without_a_function_the_document_is_stored(cdp: Cdp, tmp_path: Path) -> None:
    stream = lines(row("x", None, text_chunk="text"), row("y", [1, 2, 3], text_chunk="more"))
    assert cdp("import", "file://src/qna", stdin=stream).returncode == 0
    assert count(tmp_path / "src", "qna") == 9
    with vermilion.PersistentClient(tmp_path / "src") as client:
        qna = client.get_collection("qna")
        assert qna.get(where_document={"$contains": "text"}, ids=["x"])["documents"] == ["text"]
        found = qna.query(query_embeddings=[[1, 2, 3]], n_results=100)
        assert len(found["ids"][0]) == 8
    again = cdp("export", "file://src/qna").stdout
    assert cdp("import", "file://dst/qna", "--create", stdin=again).returncode == 0
    assert cdp("diff", "file://src/qna", "file://dst/qna").returncode == 0


def test_9_with_nothing_to_embed_the_line_is_named(cdp: Cdp, tmp_path: Path) -> None:
    done = cdp("import", "file://src/qna", stdin=lines(row("x", None)))
    assert done.returncode == 1
    assert "line 1: there is neither an embedding nor a document" in done.stderr
    assert count(tmp_path / "src", "qna") == 7


def test_chroma_gets_what_has_a_vector(cdp: Cdp, tmp_path: Path) -> None:
    cdp("import", "file://src/qna", stdin=lines(row("x", None, text_chunk="text")))
    done = cdp("export", "file://src/qna", "--to", "chroma", "--out", "chroma")
    assert done.returncode == 0
    assert (
        "1 × left out: a directory of Chroma cannot have a record without a vector" in done.stderr
    )
    assert cdp("export", "file://chroma/qna").stdout.count("\n") == 7


def test_10_a_missing_id_is_made(cdp: Cdp, tmp_path: Path) -> None:
    stream = lines(row(None), {"embedding": [3, 4]})
    assert cdp("import", "file://dst/new", "--create", stdin=stream).returncode == 0
    made = everything(tmp_path / "dst", "new")
    assert len({*made["ids"]}) == 2
    assert {len(id) for id in made["ids"]} == {36}


def test_11_a_hash_is_that_of_the_document_alone(cdp: Cdp) -> None:
    stream = lines(
        row("1", text_chunk="same"), row("2", text_chunk="other"), row("3", text_chunk="same")
    )
    ids = [one["id"] for one in records(cdp("id", "--doc-hash", stdin=stream))]
    assert ids[0] == ids[2] == hashlib.sha256(b"same").hexdigest()
    assert ids[1] == hashlib.sha256(b"other").hexdigest()


def test_12_a_path_is_cut_at_its_last_slash_and_reading_makes_nothing(
    cdp: Cdp, tmp_path: Path
) -> None:
    filled(tmp_path / "x" / "src" / "db", "src")
    uri = f"file://{tmp_path}/x/src/db/src"
    assert len(records(cdp("export", uri))) == 7
    assert sorted(path.name for path in tmp_path.iterdir()) == ["src", "x"]
    before = found_in(tmp_path)
    done = cdp("export", "file://missing/folder/qna")
    assert (done.returncode, "missing/folder holds no database" in done.stderr) == (1, True)
    assert cdp("export", "file://src/nothing").returncode == 1
    assert cdp("import", "file://missing/qna", stdin=lines(row("a"))).returncode == 1
    assert found_in(tmp_path) == before


def test_13_attributes_are_cut_at_the_first_sign_and_quotes_make_texts(cdp: Cdp) -> None:
    stream = lines(row("1", metadata={"old": "kept", "gone": 1}))
    given = ["-a", "q=a=b", "-a", "s='7'", "-a", "n=7", "-a", "x=1.5", "-a", "t=true"]
    templates = ["-a", "old={{ 'new' }}", "-a", "again={{ metadata.old }}", "-k", "gone"]
    (one,) = records(cdp("meta", *given, *templates, stdin=stream))
    assert one["metadata"] == {
        "old": "kept", "q": "a=b", "s": "7", "n": 7, "x": 1.5, "t": True, "again": "kept",
    }  # fmt: skip
    (one,) = records(cdp("meta", "-o", *templates, stdin=stream))
    assert one["metadata"] == {"old": "new", "again": "kept"}


def test_14_a_line_that_is_not_json_is_named(cdp: Cdp, tmp_path: Path) -> None:
    stream = lines(row("a"), row("b")) + "{not json\n" + lines(row("c"))
    for command in (["id", "--uuid"], ["chunk", "-s", "5"], ["meta", "-a", "x=1"]):
        done = cdp(*command, stdin=stream)
        assert done.returncode == 1
        assert "line 3 is not JSON" in done.stderr
        assert json.loads(done.stdout.splitlines()[-1]).keys() == {"_failed"}
        assert len(cdp(*command, "--on-error", "skip", stdin=stream).stdout.splitlines()) == 3
    done = cdp("import", "file://dst/new", "--create", "--batch-size", "1", stdin=stream)
    assert "line 3 is not JSON" in done.stderr
    assert done.stderr.count("\n") == 1
    assert count(tmp_path / "dst", "new") == 2


def test_15_records_keep_their_order(tmp_path: Path) -> None:
    ids = [f"r{n * 7919 % 1000:03d}" for n in range(1000)]
    with vermilion.PersistentClient(tmp_path / "src") as client:
        made = client.create_collection("many", embedding_function=None)
        made.add(ids=ids, embeddings=[[n, 1] for n in range(1000)])
    done = shell(
        "cdp export file://src/many -t 8 --batch-size 7 | cdp import file://dst/many --create -t 8"
        " --batch-size 11",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert everything(tmp_path / "dst", "many")["ids"] == ids


def test_17_no_secret_is_ever_printed(cdp: Cdp) -> None:
    secret = "hunter2"
    calls: list[tuple[str, ...]] = [
        ("export", f"http://__auth_token__:{secret}@127.0.0.1:1/x"),
        ("export", f"http://me:{secret}@host:port/x"),
        ("export", f"http://me:{secret}@host:1/x?frob=1"),
        ("export", f"ftp://me:{secret}@host/x"),
        ("export", "file://src/qna", "--frob", f"http://me:{secret}@host/x"),
        ("import", f"http://me:{secret}@127.0.0.1:1/x", "--create"),
        ("imp", "url", f"http://me:{secret}@127.0.0.1:1/x"),
    ]
    for call in calls:
        done = cdp(*call, stdin=lines(row("a")))
        assert done.returncode in (1, 2), call
        assert secret not in done.stdout + done.stderr, call
        assert "Traceback" not in done.stderr


# ── a command that fails ─────────────────────────────────────────────────────────────────────────


def test_a_part_is_not_taken_for_the_whole(tmp_path: Path) -> None:
    filled(tmp_path / "src")
    done = shell("cdp export file://src/none | cdp import file://dst/qna --create", tmp_path)
    assert done.returncode == 1
    assert "the command before this one failed: file://src/none: there is no coll" in done.stderr
    assert not (tmp_path / "dst").exists()


def test_a_reader_that_goes_away_ends_it_quietly(tmp_path: Path) -> None:
    filled(tmp_path / "src")
    done = shell("cdp export file://src/qna --quiet | head -1 | wc -l", tmp_path)
    assert (done.stdout.strip(), done.stderr) == ("1", "")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["export"], 2),
        (["export", "nothing"], 2),
        (["export", "file://src/qna?frob=1"], 2),
        (["export", "file://src/qna?limit=many"], 2),
        (["export", "file://src/qna", "--limit", "-2"], 2),
        (["import", "file://src/qna", "--df", "hamming"], 2),
        (["embed"], 2),
        (["chunk"], 2),
        (["meta", "-a", "nothing"], 2),
        (["id"], 1),
        (["id", "--uuid", "--ulid"], 1),
        (["id", "--expr", "{{"], 1),
        (["--help"], 0),
        (["import", "--help"], 0),
        ([], 2),
    ],
)
def test_exit_codes(cdp: Cdp, arguments: list[str], code: int) -> None:
    done = cdp(*arguments)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
