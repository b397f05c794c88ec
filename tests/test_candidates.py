"""Candidates by codes and by signs: believed only as far as they are right, over any segments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from test_real_text import real_vectors
from test_segments import seal
from vermilion.local import search, segment
from vermilion.local.blocks import Blocks, write_blocks
from vermilion.local.builder import Builder
from vermilion.local.engine import LocalEngine
from vermilion.local.index import processor
from vermilion.local.index.base import distances
from vermilion.local.index.levels import Levels
from vermilion.local.index.sealed_vectors import Ahead, SealedVectors, coded, directed
from vermilion.local.index.signs import SealedSigns, Signer, _packed, _Signs, build_signs
from vermilion.local.segment import BY_SIGNS
from vermilion.records import Batch
from vermilion.types import Address, Space
from words import make, where

ROWS = 6_000
SPACES: list[Space] = ["l2", "cosine", "ip"]
PARTS = ("signs", "squares", "scales")


@pytest.fixture(autouse=True)
def no_other_builder(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is built here is not joined by a process beside the test."""
    monkeypatch.setattr(Builder, "start", lambda *_: None)


def line(random: np.random.Generator) -> Any:
    """All on one line, far apart: the codes of such rows are off by many times that."""
    return np.arange(ROWS, dtype=np.float32)[:, None] * np.ones(8, np.float32)


def walk(random: np.random.Generator) -> Any:
    return np.cumsum(random.normal(size=(ROWS, 16)), axis=0)


def clusters(random: np.random.Generator) -> Any:
    centres = np.repeat(random.normal(size=(ROWS // 50, 64)), 50, axis=0)
    return centres + 0.05 * random.normal(size=(ROWS, 64))


def near_duplicates(random: np.random.Generator) -> Any:
    return np.repeat(random.normal(size=(ROWS // 4, 64)), 4, axis=0) + 1e-4 * random.normal(
        size=(ROWS, 64)
    )


def of_all_lengths(random: np.random.Generator) -> Any:
    return random.normal(size=(ROWS, 40)) * np.exp(random.normal(size=(ROWS, 1)))


# And of how many the nearest has to be found: where a processor scans codes by rounded tables, it
# is not by chance how far off those on a line are.
KINDS = {line: 0.97, walk: 0.999, clusters: 0.999, near_duplicates: 0.999, of_all_lengths: 0.999}


@pytest.fixture(params=["codes", "signs", "levels"])
def by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What candidates are found by, whatever the processor."""
    search_by(monkeypatch, request.param)
    return str(request.param)


def search_by(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.setattr(processor, "scans_codes_fast", lambda: what != "levels")
    monkeypatch.setattr(segment, "BY_SIGNS", 10**6 if what == "signs" else 0)
    monkeypatch.setattr(segment, "TOGETHER", 10**6)
    monkeypatch.setattr(segment, "SIFTED_FROM", 0)


def filled(engine: LocalEngine, folder: Path, space: Space, rows: NDArray[np.float32]) -> Address:
    """Three segments, of very different sizes."""
    address = make(engine, space=space)
    for start, end in ((0, 4_200), (4_200, 5_400), (5_400, ROWS)):
        numbers = range(start, end)
        metadatas = [{"n": n} for n in numbers]
        engine.add(address, Batch([str(n) for n in numbers], rows[start:end], metadatas=metadatas))
        seal(folder, address, space)
    return address


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("space", ["l2", "ip"])
def test_nearest_neighbours_are_found_whatever_the_rows_are_like(
    disk: LocalEngine, folder: Path, by: str, space: Space, kind: Any
) -> None:
    random = np.random.default_rng(4)
    rows = kind(random).astype(np.float32)
    address = filled(disk, folder, space, rows)
    asked = rows[random.choice(ROWS, 120, replace=False)]
    for k, least in ((1, KINDS[kind]), (10, KINDS[kind] - 0.004)):
        right = 0
        for hits, query in zip(disk.query(address, asked, k), asked, strict=True):
            farthest = np.partition(distances(space, rows, query), k - 1)[k - 1]
            right += int(np.count_nonzero(hits.distances <= farthest))
        assert right >= least * k * len(asked)


@pytest.mark.parametrize("share", [0.02, 0.2, 0.3, 0.7, 1.0])
def test_masked_or_not_the_answer_is_the_same(
    disk: LocalEngine, folder: Path, monkeypatch: pytest.MonkeyPatch, share: float, by: str
) -> None:
    monkeypatch.setattr(search, "EXACT", 0)
    rows = real_vectors(ROWS, seed=8)
    address = filled(disk, folder, "cosine", rows)
    allowed = np.arange(ROWS) % 1_000 < 1_000 * share
    right = 0
    some = where({"n": {"$in": np.flatnonzero(allowed).tolist()}})
    queries = real_vectors(20, seed=9)
    for hits, query in zip(disk.query(address, queries, 10, some), queries, strict=True):
        measured = distances("cosine", rows[allowed], query)
        farthest = np.partition(measured, 9)[9]
        right += int(np.count_nonzero(hits.distances <= farthest))
        assert len(hits.records.ids) == 10
    assert right >= 0.99 * 10 * len(queries)


@pytest.mark.parametrize("share", [0.2, 0.4, 0.7])
def test_a_filter_may_let_through_what_is_far_from_the_query(
    disk: LocalEngine, folder: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    search_by(monkeypatch, "codes")
    rows = real_vectors(ROWS, seed=11)
    order = np.argsort(distances("cosine", rows, rows[0]))
    address = filled(disk, folder, "cosine", rows[order])
    some = where({"n": {"$gte": int(ROWS * (1 - share))}})
    right = 0
    for query in rows[order[:30]]:
        [hits] = disk.query(address, query[np.newaxis], 10, some)
        measured = distances("cosine", rows[order[int(ROWS * (1 - share)) :]], query)
        right += int(np.count_nonzero(hits.distances <= np.partition(measured, 9)[9]))
        assert len(hits.records.ids) == 10
    assert right >= 0.99 * 10 * 30
    another = where({"n": {"$gt": int(ROWS * (1 - share)) - 1}})  # of which nothing is kept
    [course] = disk.explain(address, rows[order[:1]], 10, another).courses
    assert course.plan == "codes" and course.measured < share * ROWS


# ── signs ────────────────────────────────────────────────────────────────────────────────────────


def signs_of(folder: Path, space: Space, rows: NDArray[np.float32]) -> SealedSigns:
    write_blocks(folder / "signs", "signs", 1, *build_signs(space, rows))
    return SealedSigns(Blocks(folder / "signs", "signs", 1))


@pytest.mark.parametrize("by", ["signs", "levels"])
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("dimension", [1, 7, 64, 65, 384])
def test_signs_estimate_distances(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, space: Space, dimension: int, by: str
) -> None:
    search_by(monkeypatch, by)
    random = np.random.default_rng(dimension)
    rows = random.normal(size=(3_000, dimension)).astype(np.float32)
    signs = signs_of(tmp_path, space, rows)
    off, spreads = [], []
    for query in random.normal(size=(20, dimension)).astype(np.float32):
        found = signs.candidates(query, len(rows), None)
        assert sorted(found.slots.tolist()) == list(range(len(rows)))
        assert (np.diff(found.estimates) >= 0).all()
        assert found.horizon == np.inf
        off.append(found.estimates - distances(space, rows[found.slots], query))
        spreads.append(found.spread)
    told = np.sqrt(np.mean(np.square(off)))
    # In one dimension a direction is a sign already, and no other coordinate evens out an error.
    most = 4 if space == "ip" or by == "levels" else 1.4
    assert told < 1e-6 or (0.2 if dimension == 1 else 0.7) < np.mean(spreads) / told < most
    assert by == "signs" or told < 0.15 * np.std(distances(space, rows, rows[0]))
    best = signs.candidates(rows[5], 50, np.arange(len(rows)) % 2 == 1)
    assert len(best.slots) == 50
    assert 5 in best.slots or dimension == 1 or space == "ip"


@pytest.mark.parametrize("by", ["signs", "levels"])
@pytest.mark.parametrize("share", [1.0, 0.5, 0.05])
def test_the_signs_of_a_query_leave_few_rows_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float, by: str
) -> None:
    """No row beyond the horizon is nearer than it says, but for one of fifty."""
    search_by(monkeypatch, by)
    rows, queries = real_vectors(20_000, seed=3), real_vectors(30, seed=4)
    signs = signs_of(tmp_path, "cosine", rows)
    products: list[int] = []
    few = Levels.products if by == "levels" else _Signs.products

    def counted(self: Any, *rest: Any) -> Any:
        products.append(len(rest[0]) if by == "levels" else len(self.scales))
        return few(self, *rest)

    monkeypatch.setattr(Levels if by == "levels" else _Signs, "products", counted)
    allowed = np.random.default_rng(5).random(len(rows)) < share
    nearer = total = 0
    for query in queries:
        found = signs.candidates(query, signs.first, None if share == 1 else allowed)
        assert len(found.slots) == signs.first and allowed[found.slots].all()
        true = distances("cosine", rows, query)
        beyond = allowed.copy()
        beyond[found.slots] = False
        near = true < found.horizon - 3 * found.spread
        total += int(np.count_nonzero(near & allowed))
        nearer += int(np.count_nonzero(near & beyond))
    assert total > 5 * len(queries)
    assert nearer <= total / 50
    assert max(products) < len(rows) / 10


@pytest.mark.parametrize("dimension", [1, 64, 65, 384, 1_000])
def test_signs_that_differ_are_counted(dimension: int) -> None:
    random = np.random.default_rng(dimension)
    rows = random.normal(size=(300, dimension)).astype(np.float32)
    centre = np.zeros(dimension, np.float32)
    blocks, _ = build_signs("ip", rows, centre)
    signs = _Signs("ip", *(blocks[name] for name in PARTS), centre)  # type: ignore[arg-type]
    for query in (rows[0], -rows[0], random.normal(size=dimension)):
        differing = signs.differing(_packed(query[np.newaxis] > 0)[0])
        np.testing.assert_array_equal(differing, ((rows > 0) != (query > 0)).sum(axis=1))


@pytest.mark.parametrize("space", SPACES)
def test_rough_estimates_are_as_rough_as_is_said(space: Space) -> None:
    rows = real_vectors(3_000, seed=3)
    blocks, values = build_signs(space, rows)
    signs = _Signs(space, *(blocks[name] for name in PARTS), blocks["centre"])  # type: ignore[arg-type]
    told = []
    for query in real_vectors(20, seed=4):
        asked = signs.asked(query)
        off = signs.rough_estimates(asked) - distances(space, rows, query)
        known = values["spread"] * asked.length
        said = np.hypot(known, asked.roughness(float(signs.scales.mean())))
        assert known < 0.75 * said
        told.append(np.sqrt(np.mean(np.square(off))) / said)
    assert 0.9 < np.mean(told) < 1.1


def test_levels_are_taken_over_from_a_file_that_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = real_vectors(3_000, seed=3)
    files = {}
    for what in ("signs", "levels"):
        (tmp_path / what).mkdir()
        search_by(monkeypatch, what)
        signs_of(tmp_path / what, "cosine", rows[:2_000])
        files[what] = Blocks(tmp_path / what / "signs", "signs", 1)
    assert "levels" in files["levels"] and "levels" not in files["signs"]

    def merged(what: str) -> dict[str, Any]:
        signer = Signer("cosine", files[what].array("centre"), len(rows))
        signer.take(files[what])
        signer.add(directed("cosine", rows[2_000:]))
        return signer.sealed(rows)[0]

    taken = merged("levels")
    anew = build_signs("cosine", rows, files["levels"].array("centre"))[0]
    for name in ("signs", "squares", "scales", "levels", "steps"):
        np.testing.assert_array_equal(taken[name], anew[name])
    assert "levels" not in merged("signs"), "there is nothing to make the first ones of"
    search_by(monkeypatch, "signs")
    assert "levels" not in merged("levels"), "no use for them here"


def test_where_codes_are_scanned_slowly_single_queries_go_by_signs(
    disk: LocalEngine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "scans_codes_fast", lambda: False)
    monkeypatch.setattr(segment, "BY_SIGNS", 0)
    monkeypatch.setattr(segment, "SIFTED_FROM", 4_000)
    rows = real_vectors(ROWS, seed=10)
    address = filled(disk, folder, "cosine", rows)
    asked: list[tuple[str, int]] = []
    for kind in (SealedSigns, SealedVectors):
        scan = kind.candidates

        def noted(self: Any, *rest: Any, scan: Any = scan, name: str = kind.__name__) -> Any:
            asked.append((name, len(self)))
            return scan(self, *rest)

        monkeypatch.setattr(kind, "candidates", noted)
    disk.query(address, rows[:1], 3)
    large = [name for name, size in asked if size == 4_200]
    small = [name for name, size in asked if size < 4_000]
    assert set(large) == {"SealedSigns"} and set(small) == {"SealedVectors"}
    asked.clear()
    disk.query(address, rows[: segment.TOGETHER], 3)
    assert "SealedSigns" not in {name for name, _ in asked}, "so many share a scan of the codes"


@pytest.mark.parametrize("rows", [np.zeros((3, 4)), np.full((2, 4), 1e25), np.eye(4)[:1]])
@pytest.mark.parametrize("space", SPACES)
def test_signs_of_rows_without_any_spread(tmp_path: Path, space: Space, rows: Any) -> None:
    signs = signs_of(tmp_path, space, rows.astype(np.float32))
    assert len(signs.candidates(np.ones(4, np.float32), 2, None).slots) == min(2, len(rows))


def test_the_first_queries_load_no_codes(
    disk: LocalEngine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = real_vectors(ROWS, seed=10)
    address = filled(disk, folder, "cosine", rows)
    loaded: list[int] = []
    load = SealedVectors.__init__

    def counted(self: SealedVectors, blocks: Blocks) -> None:
        load(self, blocks)
        loaded.append(len(self))

    monkeypatch.setattr(SealedVectors, "__init__", counted)
    other = LocalEngine(folder)
    for _ in range(BY_SIGNS):
        [hits] = other.query(address, rows[:1], 3)
        assert hits.records.ids[0] == "0"
        assert loaded == []
    while sum(loaded) < ROWS:  # in the background
        [hits] = other.query(address, rows[:1], 3)
        assert hits.records.ids[0] == "0"
    other.close()
    loaded.clear()
    many = LocalEngine(folder)
    many.query(address, rows[: BY_SIGNS + 1], 3)
    assert sum(loaded) == ROWS, "so many at once are worth it"
    many.close()


def test_signs_that_do_not_settle_a_query_are_not_asked_again(
    disk: LocalEngine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records about equally near: the first answer measures all, the next one goes by codes.

    With the usual number of candidates it is a near thing whether signs settle it.
    """
    monkeypatch.setattr(processor, "scans_codes_fast", lambda: True)
    monkeypatch.setattr(SealedSigns, "most", SealedSigns.first)
    random = np.random.default_rng(6)
    rows = random.normal(size=(ROWS, 256)).astype(np.float32)
    address = filled(disk, folder, "cosine", rows)
    query = random.normal(size=(1, 256)).astype(np.float32)
    for plan in ("exact", "codes"):
        explanation = disk.explain(address, query, 10)
        assert explanation.courses[0].plan == plan


def test_codes_are_scanned_for_all_queries_at_once() -> None:
    random = np.random.default_rng(0)
    codes = coded("cosine", random.normal(size=(2_000, 16)).astype(np.float32))
    if codes is None:
        pytest.skip("the package that makes codes is not installed")
    scans: list[int] = []
    scan = codes.candidates_of

    def counted(queries: Any, *rest: Any) -> Any:
        scans.append(len(queries))
        return scan(queries, *rest)

    codes.candidates_of = counted  # type: ignore[method-assign]
    queries = [*random.normal(size=(40, 16)).astype(np.float32)]
    allowed = random.random(2_000) < 0.5
    ahead = Ahead(codes, queries)
    found = [ahead.candidates(query, 20, allowed) for query in queries]
    assert scans == [32, 8]
    for query, one in zip(queries, found, strict=True):
        alone = scan([query], 20, allowed)[0]
        assert one.slots.tolist() == alone.slots.tolist()
        assert np.allclose(one.estimates, alone.estimates, atol=1e-6)
    ahead.candidates(queries[3], 80, allowed)  # one that wants more is scanned for alone
    ahead.candidates(queries[3], 20, None)
    assert scans[2:] == [1, 1]


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="Linux says what there is")
def test_the_processor_is_known() -> None:
    words = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    fast = {"avx512_vnni", "avx512vbmi"} <= words or "asimddp" in words
    assert processor.scans_codes_fast() is fast
