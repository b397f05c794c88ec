"""Graphs over large segments: built beside the builder, believed as far as they were measured."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from children import in_child
from oracle import Oracle
from test_real_text import real_vectors
from test_segments import SCHEMA, check, home, real_batch, seal, segments_of
from vermilion.configuration import Hnsw
from vermilion.engine import EVERYTHING
from vermilion.local import grapher, search, segment
from vermilion.local.blocks import Blocks
from vermilion.local.builder import Builder
from vermilion.local.engine import LocalEngine
from vermilion.local.grapher import Grapher, build_graphs
from vermilion.local.index import graph, processor
from vermilion.local.index.graph import Recipe
from vermilion.local.segment import FOLDER
from vermilion.records import Batch
from vermilion.reports import Explanation
from vermilion.types import Address, Effort
from words import make, where

ROWS = 2000
pytest.importorskip("faiss")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of few rows get graphs, and nobody but the test starts a process."""
    monkeypatch.setattr(graph, "ROWS", 1000)
    monkeypatch.setattr(graph, "TOGETHER", 0)
    monkeypatch.setattr(search, "EXACT", 0)
    monkeypatch.setattr(segment, "BY_SIGNS", 0)
    monkeypatch.setattr(Builder, "start", lambda *_: None)


@pytest.fixture
def loaded(disk: LocalEngine, folder: Path) -> Iterator[tuple[Address, Oracle]]:
    """A collection in one segment that has a graph."""
    address, oracle = make(disk, space="cosine", schema=SCHEMA), Oracle("cosine")
    batch = real_batch(ROWS)
    assert disk.add(address, batch, named=True) == oracle.add(batch)
    seal(folder, address)
    build(folder, address)
    yield address, oracle


def build(folder: Path, address: Address, recipe: Recipe = Recipe(), space: Any = "cosine") -> None:  # noqa: B008
    build_graphs(home(folder, address), space, recipe)


def graphs(folder: Path, address: Address) -> list[Path]:
    return sorted((home(folder, address) / FOLDER).glob("*.graph*"))


def explain(engine: LocalEngine, address: Address, **how: Any) -> Explanation:
    return engine.explain(address, real_vectors(5, seed=77), 10, EVERYTHING, Effort(**how))


def plans(told: Explanation) -> set[str]:
    return {course.plan for course in told.courses}


@pytest.mark.parametrize("space", ["l2", "cosine", "ip"])
def test_a_graph_leads_to_the_nearest(disk: LocalEngine, folder: Path, space: Any) -> None:
    address, oracle = make(disk, space=space, schema=SCHEMA), Oracle(space)
    batch = real_batch(ROWS)
    disk.add(address, batch)
    oracle.add(batch)
    seal(folder, address, space)
    assert plans(explain(disk, address)) == {"codes"}
    assert explain(disk, address).graph.startswith("none yet")
    build(folder, address, space=space)
    assert plans(explain(disk, address)) == {"graph"}, "the open engine takes it up"
    assert explain(disk, address).graph == "ready"
    check(disk, address, oracle)


def test_many_queries_share_a_scan(
    disk: LocalEngine, loaded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, oracle = loaded
    monkeypatch.setattr(processor, "scans_codes_fast", lambda: True)
    monkeypatch.setattr(graph, "TOGETHER", 0.75)
    for count, plan in ((1, "graph"), (2, "graph"), (3, "codes"), (20, "codes")):
        vectors = real_vectors(count, seed=77)
        assert plans(disk.explain(address, vectors, 10, EVERYTHING, Effort())) == {plan}, count
    check(disk, address, oracle)


def test_where_codes_are_scanned_slowly_graphs_serve_smaller_segments_and_any_number_of_queries(
    disk: LocalEngine, loaded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "TOGETHER", 0.75)
    monkeypatch.setattr(graph, "ROWS", 2 * ROWS)
    monkeypatch.setattr(graph, "ROWS_IF_SLOW", ROWS)
    for fast, plan in ((False, "graph"), (True, "codes")):
        monkeypatch.setattr(processor, "scans_codes_fast", lambda fast=fast: fast)
        assert graph.pays(ROWS) is not fast
        assert graph.pays(2 * ROWS) and not graph.pays(ROWS - 1)
        assert plans(explain(disk, loaded[0])) == {plan}


def test_recall_over_many_queries(disk: LocalEngine, folder: Path, loaded: Any) -> None:
    address, _ = loaded
    queries = real_vectors(100, seed=5)
    exact = disk.query(address, queries, 10, effort=Effort(exact=True))
    found = disk.query(address, queries, 10)
    shares = [
        len(set(one.records.ids) & set(other.records.ids)) / 10
        for one, other in zip(exact, found, strict=True)
    ]
    assert np.mean(shares) >= 0.99


def test_filters_and_changes_beside_a_graph(disk: LocalEngine, folder: Path, loaded: Any) -> None:
    address, oracle = loaded
    change = real_batch(100, 600, seed=40)
    assert disk.upsert(address, change, named=True) == oracle.upsert(change)
    gone = where({"n": {"$gte": 1900}})
    assert disk.delete(address, gone).deleted == len(oracle.delete(gone))
    check(disk, address, oracle)


def test_where_most_neighbours_are_dead_the_codes_are_scanned(
    disk: LocalEngine, folder: Path, loaded: Any
) -> None:
    address, oracle = loaded
    [query] = queries = real_vectors(1, seed=77)
    near = disk.query(address, queries, 60)[0].records.ids
    near_it = where({"n": {"$in": [int(id.removeprefix("id")) for id in near]}})
    assert disk.delete(address, near_it).deleted == len(oracle.delete(near_it)) == 60
    [course] = disk.explain(address, queries, 10, EVERYTHING).courses
    assert course.plan == "codes"
    [hits] = disk.query(address, queries, 10)
    oracle.check_hits(hits, query, 10, EVERYTHING)


def test_a_graph_with_many_dead_nodes_is_built_anew(
    disk: LocalEngine, folder: Path, loaded: Any
) -> None:
    address, oracle = loaded
    [before] = graphs(folder, address)
    inode = before.stat().st_ino
    for bound, anew in ((100, False), (300, True)):
        some = where({"n": {"$lt": bound}})
        disk.delete(address, some)
        oracle.delete(some)
        seal(folder, address)  # publishes which rows are dead
        build(folder, address)
        assert (before.stat().st_ino != inode) == anew
    assert segments_of(folder, address) == [(ROWS, 300)]
    assert plans(explain(disk, address)) == {"graph"}
    check(disk, address, oracle)


def test_the_numbers_of_the_configuration_steer_it(
    disk: LocalEngine, folder: Path, loaded: Any
) -> None:
    address, _ = loaded
    [path] = graphs(folder, address)
    usual = path.stat()
    build(folder, address)
    assert path.stat().st_ino == usual.st_ino, "nothing is due"
    build(folder, address, Recipe(max_neighbors=32))
    assert path.stat().st_size > usual.st_size
    changed = path.stat().st_ino
    build(folder, address, Recipe(max_neighbors=32, ef_construction=20, threads=2))
    assert path.stat().st_ino != changed
    command = Grapher(folder, Hnsw(max_neighbors=5, ef_construction=7, num_threads=3))._command()
    assert command[-3:] == ["5", "7", "3"]


def test_a_search_becomes_wider_until_it_finds_enough() -> None:
    found = {}
    for recall in (0.9, 0.99):
        trust = graph.Trust(32, recall)
        for _ in range(40):
            trust.audited(10, 1)
        found[recall] = trust.width
    assert found[0.9] == 32 < found[0.99]
    trust = graph.Trust(320, 0.99)
    for number in range(1000):
        trust.audited(10, int(number % 10 == 9))
    assert trust.width == 320


def test_the_fewer_there_are_the_narrower_a_search_begins(
    disk: LocalEngine, folder: Path, loaded: Any
) -> None:
    [path] = graphs(folder, loaded[0])
    small = graph.SealedGraph(Blocks(path, graph.PART, graph.VERSION), ROWS)
    assert small.trust(0.99).width == 15, "320 by the root of 2,000 in a million"


def test_audits_notice_queries_that_the_graph_is_bad_at(
    disk: LocalEngine, folder: Path, loaded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, _ = loaded
    nodes = graph._nodes

    def the_worse_half(index: Any, query: Any, width: int, count: int) -> Any:
        """What a graph finds that is bad at these queries, however wide the search is."""
        return tuple(part[count:] for part in nodes(index, query, 2 * width, 2 * count))

    monkeypatch.setattr(graph, "_nodes", the_worse_half)
    disk.query(address, real_vectors(200, seed=78), 10)
    told = explain(disk, address)
    assert plans(told) == {"codes"}, "it is not believed any more"
    assert told.graph.startswith("not used")


def test_other_records_that_are_as_near_are_no_misses(disk: LocalEngine, folder: Path) -> None:
    address = make(disk, space="cosine")
    copies = np.tile(real_vectors(20, seed=3), (100, 1))
    disk.add(address, Batch([f"id{n}" for n in range(len(copies))], copies))
    seal(folder, address)
    build(folder, address)
    disk.query(address, real_vectors(200, seed=78), 10)
    assert plans(explain(disk, address)) == {"graph"}, "it is believed, and is not made wider"


@pytest.mark.parametrize("how", ["flipped", "cut", "emptied", "of another version"])
def test_a_damaged_graph_changes_no_answer_and_is_made_again(
    disk: LocalEngine, folder: Path, loaded: Any, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    address, oracle = loaded
    [path] = graphs(folder, address)
    content = bytearray(path.read_bytes())
    if how == "flipped":
        content[len(content) // 2] ^= 16
    elif how == "of another version":
        content[7] += 1
    path.unlink()
    path.write_bytes(content[: {"cut": len(content) - 7, "emptied": 0}.get(how, len(content))])
    other = LocalEngine(folder)
    with caplog.at_level(logging.WARNING, logger="vermilion"):
        check(other, address, oracle)
        assert plans(explain(other, address)) == {"codes"}
    assert len(caplog.records) == 1, "one line in the log, however often it is read"
    problems = other.check(deep=True)
    assert [one.repairable for one in problems] == [True]
    build(folder, address)
    assert plans(explain(other, address)) == {"graph"}
    check(other, address, oracle)
    assert other.check(deep=True) == []
    other.close()


def test_a_graph_of_other_vectors_is_found_by_the_deep_check(
    disk: LocalEngine, folder: Path, loaded: Any
) -> None:
    address, _ = loaded
    [path] = graphs(folder, address)
    other = LocalEngine(folder / "other")
    foreign = make(other, space="cosine")
    batch = real_batch(ROWS, seed=1000)
    other.add(foreign, batch)
    seal(folder / "other", foreign)
    build(folder / "other", foreign)
    other.close()
    [theirs] = graphs(folder / "other", foreign)
    os.replace(theirs, path)
    assert [one.repairable for one in disk.check(deep=True)] == [True]


def test_one_grapher_works_and_a_killed_one_is_replaced(
    disk: LocalEngine, folder: Path, loaded: Any
) -> None:
    address, _ = loaded
    [path] = graphs(folder, address)
    path.unlink()
    leftover = path.with_name(f"{path.name}.1.new")
    leftover.write_bytes(b"half")
    lock = home(folder, address) / grapher.LOCK
    code = (
        "import sys; from pathlib import Path; from vermilion.local.lock import try_lock\n"
        "with try_lock(Path(sys.argv[1])) as free: print(free, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "True\n"
        build(folder, address)
        assert graphs(folder, address) == [leftover], "another one is at work"
        os.kill(holder.pid, signal.SIGKILL)
    build(folder, address)
    assert graphs(folder, address) == [path], "and what it left behind is gone"


def test_a_segment_that_goes_meanwhile_gets_no_graph(
    disk: LocalEngine, folder: Path, loaded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, oracle = loaded
    [path] = graphs(folder, address)
    path.unlink()
    add = graph.GraphBuilding.add

    def merged_meanwhile(self: Any, *page: Any) -> None:
        add(self, *page)
        batch = real_batch(ROWS, start=ROWS)
        disk.add(address, batch)
        seal(folder, address)

    with monkeypatch.context() as patch:
        patch.setattr(graph.GraphBuilding, "add", merged_meanwhile)
        patch.setattr(grapher, "_due", _once(grapher._due))
        build(folder, address)
    assert graphs(folder, address) == []
    oracle.add(real_batch(ROWS, start=ROWS))
    check(disk, address, oracle)


def _once(due: Any) -> Any:
    answers = iter([True])
    return lambda *arguments: due(*arguments) if next(answers, False) else None


def test_a_process_builds_it_and_flush_waits(
    disk: LocalEngine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(graph, "ROWS", 1000)
    monkeypatch.setattr(segment, "BY_SIGNS", 0)
    monkeypatch.setattr(sys, "frozen", True, raising=False)  # so it builds in a thread
    address = make(disk, space="cosine")
    disk.add(address, real_batch(5000))
    disk.flush(address)
    assert explain(disk, address).graph == "ready"


def test_the_process_takes_its_arguments(folder: Path, disk: LocalEngine) -> None:
    address = make(disk, space="cosine")
    disk.add(address, real_batch(50))
    command = Grapher(home(folder, address), Hnsw())._command()
    subprocess.run([sys.executable, "-m", *command], check=True)
    assert (home(folder, address) / grapher.LOCK).exists()


def test_without_the_package_the_codes_are_scanned(
    folder: Path, loaded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, oracle = loaded
    monkeypatch.setattr(graph, "package", lambda: None)
    other = LocalEngine(folder)
    check(other, address, oracle)
    told = explain(other, address)
    assert plans(told) == {"codes"}
    assert "vermilion[graph]" in told.graph
    other.flush(address)
    other.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_the_child_of_a_fork_searches_the_graph(disk: LocalEngine, loaded: Any) -> None:
    address, _ = loaded
    queries = real_vectors(20, seed=6)
    before = [hits.records.ids for hits in disk.query(address, queries, 10)]

    def child() -> None:
        assert [hits.records.ids for hits in disk.query(address, queries, 10)] == before
        assert plans(explain(disk, address)) == {"graph"}

    assert in_child(child)


def test_securely_deleted_records_are_in_no_graph(
    disk: LocalEngine, folder: Path, loaded: Any
) -> None:
    address, _ = loaded
    disk.delete(address, where({"n": 5}), secure=True)
    assert graphs(folder, address) == []
