"""The Python blocks of the Collections page: their text, and what each must leave behind."""

import ast
import hashlib
import os
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vermilion
from providers_server import KEY, Providers, serving, vector

FOLDER = Path(__file__).parent.parent / "examples" / "collections" / "python"
RUNNER = runpy.run_path(str(FOLDER / "run.py"))
run = RUNNER["run"]

# Of the text as it stands on the page, which is the file without its first line.
SHA256 = {
    "01_create": "217b7ce3dac358068b838c69611afc1a081853f76c286d1d17f988b38fdadb0f",
    "02_get_or_create": "ce7355727d4435d4285010b76b41ae93c3c25fca70c52c820679ddb44a5a4928",
    "03_custom_hnsw": "1aa6f66d9ee4b900acdbfaebb03e5f8e465039e917cc099cf18f06d70c7c9d04",
    "04_openai_embedding_function": (
        "19a80eb1d64ad163913fb29c0583980253232770e7c3efbbd86f73a0c85a27b9"
    ),
    "05_openai_api_key_variable": (
        "ece6dd404834cbb312c135a177d3bdf9544bc7e6afe85975efa3cfa5488a5198"
    ),
    "06_custom_embedding_function": (
        "fe7829c5a18eebf9b3c80043d590b9b911f226cbf2415ca3360f2740d3ae96d1"
    ),
    "07_delete": "8698193f42f84243bda0242a05c48206fd84c54e8eed49abe95f8f94496d34f0",
    "08_list": "dfc0ff460659999abae47f746d37a37a5825433aaf3bf7febeb0c80f02c6b7d4",
    "09_get": "b8c36adb5eb3bc7ff167974950fb27d61bc0488b1692f94cd43ba09acfc5a00b",
    "10_modify": "bce20793905604db4711c237234150f3e061923d3bd47273a81131e913c43a2a",
    "11_count_collections": "5eec01f5bded42272fa8113b3e7be45d0d2a8faf6bf0cad56f44ebd710fba32a",
    "12_convenience": "2153bfd8435eb7d0d84b65d3d7003d819a3c65a84d0e08be1ae0124dd88071a4",
    "13_query_by_ids": "833f7d241101e3250b285cc849b16a8f22cdafe692895850cbfc6faa8e83ffa3",
    "14_result_types": "5f3a70b10b034734252c302896fffdb7fabeea72525fa821230436e928d3b291",
    "15_results": "6b59a562a579674b20ac459abf26f13f9a02517c3e56f9ceb96c97e137f6fd6c",
    "16_iterate": "ca18fa884820f5e570151dfe45bf58f93730a49886b41f24276061e840a80a50",
    "17_copy_to_server": "a0da25c78999a7a0956af2e3bc7a7b4e520aaf9ed35ec2de0eff6a3e3194419f",
    "18_copy_to_directory": "783b268600e9bb3058358546ff4e2f506705f333c11bcbfe977fe3ce417b4374",
    "19_clone": "32d0450fcabb992cf267d3b3ee9c924df0ccfd37178470dedadba0af6af5e156",
    "20_change_embedding_function": (
        "3719b4511ef62fae14f828c1b716d964eb1780bad955f17a445425b4ef15e0fb"
    ),
    "21_clone_subset": "b33f3163397925ca548e4204b28bec69dac6a78f9a4e5b6fb2fee417f2045b10",
    "22_strip_metadata": "3457926a1b3f41d523e0b40e9c7e601c0e24a6017b21eda47df42c0eecc24098",
    "23_ids_only": "0126ba70da773f7d4b0fa1ccebd7cf2b0a034a054f71e53737145414fc245a9b",
}


def collection(directory: Path, name: str, database: str = "test") -> vermilion.Collection:
    """A collection that an example left on disk."""
    return vermilion.PersistentClient(directory / database).get_collection(name)


def columns(source: vermilion.Collection) -> dict[str, Any]:
    """All records of a collection as plain lists."""
    found: dict[str, Any] = dict(source.get(include=["documents", "metadatas", "embeddings"]))
    return found | {"embeddings": found["embeddings"].tolist()}


# ── the files ────────────────────────────────────────────────────────────────────────────────────


def test_every_block_of_the_page_is_here_once() -> None:
    assert sorted(SHA256) == sorted(path.stem for path in FOLDER.glob("[0-9]*.py"))
    assert [int(name[:2]) for name in SHA256] == list(range(1, 24))


@pytest.mark.parametrize("name", SHA256)
def test_the_text_is_that_of_the_page(name: str) -> None:
    heading, _, block = (FOLDER / f"{name}.py").read_text(encoding="utf-8").partition("\n")
    assert heading.startswith(f"# {int(name[:2])}. ")
    assert hashlib.sha256(block.encode()).hexdigest() == SHA256[name]


def test_the_table_has_a_row_for_each_with_its_heading() -> None:
    table = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    for name in SHA256:
        heading = (FOLDER / f"{name}.py").read_text(encoding="utf-8").partition("\n")[0]
        title = heading.partition(". ")[2]
        assert f"| {int(name[:2])} | {title} | [Python](python/{name}.py)" in table


def names_used(name: str) -> set[str]:
    """Every name and attribute that the code of an example mentions; comments do not count."""
    tree = ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
    mentioned = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return mentioned | {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def test_every_example_has_a_test_of_its_own() -> None:
    tested = {int(number) for name in globals() for number in re.findall(r"^test_(\d\d)_", name)}
    assert tested == set(range(1, 24))


@pytest.fixture
def openai(monkeypatch: pytest.MonkeyPatch) -> Iterator[Providers]:
    """A server that answers as OpenAI does, for the examples that ask it."""
    with serving() as server:
        monkeypatch.setenv("VERMILION_OPENAI_BASE_URL", server.base("openai"))
        yield server


# ── what each leaves behind ──────────────────────────────────────────────────────────────────────


def test_01_creates_an_empty_collection_with_the_default_function(tmp_path: Path) -> None:
    assert run(1, tmp_path) == ""
    made = collection(tmp_path, "test")
    assert (made.count(), made.metadata) == (0, None)
    assert made.configuration_json["embedding_function"]["name"] == "default"


def test_02_gets_what_its_first_run_created(tmp_path: Path) -> None:
    run(2, tmp_path)
    first = collection(tmp_path, "test")
    run(2, tmp_path)
    again = collection(tmp_path, "test")
    assert (again.id, again.metadata) == (first.id, {"key": "value"})


def test_03_stores_the_configuration(tmp_path: Path) -> None:
    run(3, tmp_path)
    hnsw = collection(tmp_path, "test").configuration_json["hnsw"]
    assert (hnsw["space"], hnsw["ef_construction"], hnsw["max_neighbors"]) == ("cosine", 200, 32)


def test_04_remembers_the_function_on_a_server(
    tmp_path: Path, openai: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    then = "same_col.add(ids=['1'], documents=['x']); print(same_col.peek()['embeddings'].tolist())"
    assert run(4, tmp_path, then) == f"{[vector('x')]}\n"
    made = collection(tmp_path, "with_openai_ef", "server")
    assert made.configuration_json["embedding_function"]["name"] == "openai"


def test_05_takes_the_key_from_the_named_variable(
    tmp_path: Path, openai: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_CUSTOM_OPENAI_KEY", KEY)
    said = run(5, tmp_path, "print(ef(['x'])[0].tolist(), ef.get_config()['api_key_env_var'])")
    assert said == f"{vector('x')} MY_CUSTOM_OPENAI_KEY\n"


def test_06_registers_a_function_that_collections_remember(tmp_path: Path) -> None:
    then = """
import chromadb
client = chromadb.PersistentClient(path="test")
client.create_collection("mine", embedding_function=MyEmbeddingFunction())
mine = client.get_collection("mine")
mine.add(ids=["1"], documents=["a text"])
print(mine.get(include=["embeddings"])["embeddings"].tolist())
"""
    assert run(6, tmp_path, then) == "[[0.0, 0.0, 0.0]]\n"
    assert collection(tmp_path, "mine").configuration_json["embedding_function"] == {
        "type": "known",
        "name": "my-embedding-function",
        "config": {"model": "my-model-v1"},
    }


def test_07_deletes_the_collection(tmp_path: Path) -> None:
    run(7, tmp_path)
    assert vermilion.PersistentClient(tmp_path / "test").list_collections() == []


def test_08_lists_the_first_page() -> None:
    out = run(8, then="print([one.name for one in collections])")
    assert ast.literal_eval(out) == [f"collection-{number:02}" for number in range(10)]


def test_09_gets_the_collection() -> None:
    assert run(9, then="print(col.name, col.metadata)") == "test {'made': 'before'}\n"


def test_10_changes_name_and_metadata(tmp_path: Path) -> None:
    run(10, tmp_path)
    (changed,) = vermilion.PersistentClient(tmp_path / "test").list_collections()
    assert (changed.name, changed.metadata) == ("test2", {"key": "value"})


def test_11_counts_the_collections() -> None:
    assert run(11, then="print(collections_count)") == "1\n"


def test_12_peeks_and_counts() -> None:
    out = run(12, then="print(col.peek(limit=5)['documents'], col.count())")
    assert out == "['hello world', 'hello chroma'] 2\n"


def test_13_queries_only_among_the_ids(tmp_path: Path) -> None:
    assert run(13, tmp_path) == ""
    block = (FOLDER / "13_query_by_ids.py").read_text(encoding="utf-8")
    found = eval(block, {"collection": collection(tmp_path, "test")})
    assert found["ids"][0][0] == "doc-2"
    assert sorted(found["ids"][0]) == ["doc-1", "doc-2", "doc-3"]  # doc-4 would be the nearest


def test_14_results_have_the_keys_of_their_types() -> None:
    out = run(14, then="print([sorted(t.__annotations__) for t in (GetResult, QueryResult)])")
    made = vermilion.EphemeralClient().create_collection("test_14")
    made.add(ids=["1"], embeddings=[[1.0]])
    results = made.get(), made.query([[1.0]])
    assert ast.literal_eval(out) == [sorted(result) for result in results]


def test_15_prints_every_record_and_the_nearest_three() -> None:
    lines = run(15).splitlines()
    assert lines[0] == "doc-1 a recipe for apple pie {'page': 1}"
    assert [line.split()[0] for line in lines[:4]] == ["doc-1", "doc-2", "doc-3", "doc-4"]
    nearest = [line.split(maxsplit=3) for line in lines[4:]]
    assert [row[0] for row in nearest] == ["0", "0", "0"]
    assert [row[1] for row in nearest[:2]] == ["doc-4", "doc-2"]
    distances = [float(row[2]) for row in nearest]
    assert distances == sorted(distances)


def test_16_sees_every_record_once_in_batches_of_ten() -> None:
    batches = [ast.literal_eval(ids) for ids in re.findall(r"'ids': (\[.*?\])", run(16))]
    assert [len(batch) for batch in batches] == [10] * 100
    assert [id for batch in batches for id in batch] == [str(number) for number in range(1000)]


def test_17_copies_to_a_server(tmp_path: Path) -> None:
    run(17, tmp_path)
    copied = columns(collection(tmp_path, "remote_collection", "server"))
    original = columns(collection(tmp_path, "local_collection", "my_local_data"))
    assert copied["ids"] == ["1", "2"]
    assert copied == original


def test_18_copies_everything_to_the_other_directory(tmp_path: Path) -> None:
    run(18, tmp_path)
    target = columns(collection(tmp_path, "my_target_collection", "target"))
    assert target == columns(collection(tmp_path, "my_source_collection", "source"))
    assert target["ids"] == ["1", "2"]
    assert target["documents"] == ["hello world", "hello ChromaDB"]
    assert target["metadatas"] == [{"a": 1}, {"b": 2}]


def test_19_clones_into_another_distance(tmp_path: Path) -> None:
    assert run(19, tmp_path).startswith("1000\n")
    source, clone = collection(tmp_path, "test"), collection(tmp_path, "test1")
    spaces = [one.configuration_json["hnsw"]["space"] for one in (source, clone)]
    assert spaces == ["l2", "cosine"]
    assert columns(clone) == columns(source)


def test_20_embeds_every_document_with_the_other_function(
    tmp_path: Path, openai: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    run(20, tmp_path)
    cloned = collection(tmp_path, "openai_ef_collection")
    assert cloned.count() == 1000
    last = cloned.get(ids=["999"], include=["embeddings"])["embeddings"]
    assert np.array_equal(last, [vector("document 999")])
    assert cloned.configuration_json["embedding_function"]["name"] == "openai"


def test_20_with_the_address_as_an_argument(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = RUNNER["example"](20).read_text(encoding="utf-8")
    block = text.replace('3-small")', '3-small", api_base=os.environ["ADDRESS"])')
    assert block != text
    (tmp_path / "block.py").write_text(block, encoding="utf-8")
    monkeypatch.setitem(run.__globals__, "example", lambda _: tmp_path / "block.py")
    with serving() as server:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("ADDRESS", server.base("openai"))
        run(20, tmp_path)
        cloned = collection(tmp_path, "openai_ef_collection")
        assert cloned.count() == 1000
        # The address is stored: whoever opens the collection asks there, too.
        found = cloned.query(query_texts=["document 999"], n_results=1)
        assert found["distances"][0][0] == pytest.approx(0, abs=1e-6)
    told = cloned.configuration_json["embedding_function"]["config"]["api_base"]
    assert told == server.base("openai")


@pytest.mark.skipif("OPENAI_API_KEY" not in os.environ, reason="there is no key for OpenAI")
def test_20_for_real(tmp_path: Path) -> None:
    run(20, tmp_path)
    made = collection(tmp_path, "openai_ef_collection")
    assert (made.count(), made.fingerprint().dimension) == (1000, 1536)


def test_21_clones_what_matches_both_filters(tmp_path: Path) -> None:
    assert run(21, tmp_path).startswith("25\n")
    assert collection(tmp_path, "test").count() == 1027
    clone = collection(tmp_path, "test1")
    hnsw = clone.configuration_json["hnsw"]
    assert (hnsw["space"], hnsw["max_neighbors"]) == ("cosine", 32)
    copied = columns(clone)
    assert copied["ids"] == [f"match-{number}" for number in range(25)]
    assert copied["documents"] == [f"a chosen document {number}" for number in range(25)]
    assert copied["metadatas"] == [{"metadata_key": "value"}] * 25


def test_22_strips_every_value(tmp_path: Path) -> None:
    run(22, tmp_path)
    metadatas = collection(tmp_path, "test").get()["metadatas"]
    assert metadatas == [{"title": f"title {n}", "author": "somebody"} for n in range(25)]


def test_23_prints_the_ids() -> None:
    assert run(23) == "['a', 'b', 'c']\n"
