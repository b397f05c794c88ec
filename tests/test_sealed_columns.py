"""Columns in a file answer like columns in memory, and both like the slow meaning of a filter."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vermilion.local.blocks import Blocks, CacheDamaged, write_blocks
from vermilion.local.index.columns import Columns
from vermilion.local.index.sealed_columns import PACK_BYTES, SealedColumns, build_columns
from vermilion.metadata import fields_of
from vermilion.query.where import OPERATORS, Condition
from vermilion.types import SparseVector

KIND, VERSION = "columns", 1
Metadata = dict[str, Any] | None


def seal(path: Path, metadatas: list[Metadata]) -> SealedColumns:
    """The columns of these slots after a round trip through a file."""
    blocks, values = build_columns(metadatas)
    write_blocks(path, KIND, VERSION, blocks, values)
    return SealedColumns(Blocks(path, KIND, VERSION))


def grow(metadatas: list[Metadata]) -> Columns:
    """The same in memory, learnt in two steps."""
    columns, half = Columns(), len(metadatas) // 2
    columns.append(0, metadatas[:half])
    columns.append(half, metadatas[half:])
    return columns


def meaning(metadatas: list[Metadata], condition: Condition, length: int) -> list[bool]:
    """The slow answer; slots that there are not have no metadata."""
    rows = [fields_of(metadata or {}) for metadata in metadatas] + [{}] * length
    return [condition.matches(row.get) for row in rows[:length]]


def condition(field: str, name: str, operand: Any) -> Condition:
    return Condition(field, OPERATORS[name], operand)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "columns"


@pytest.fixture(scope="module")
def shared_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sealed") / "columns"


# ── the same answers ─────────────────────────────────────────────────────────────────────────────

# Few, so that values meet; and at the edges of the types, and of what a float can tell apart.
EDGES = [n for edge in (2**7, 2**53) for n in range(edge - 1, edge + 3)]
INTS = st.integers(-1, 2) | st.sampled_from([*EDGES, -(2**53) - 1, -(2**63), 2**63 - 1])
FLOATS = st.sampled_from([0.0, -0.0, 1.0, 1.5, 2.0, 5e-324, -5e-324, 2.0**53, 2.0**63, -(2.0**63)])
TEXTS = st.sampled_from(["", "a", "b", "é\0", "\uffff", "😀"])
DAY, NOON = date(2024, 2, 29), datetime(2024, 2, 29, 12)
TIMES = st.sampled_from(
    [DAY, date.min, NOON, NOON.replace(hour=0), datetime.max]
    + [NOON.replace(tzinfo=UTC), NOON.replace(hour=21, tzinfo=timezone(timedelta(hours=9)))]
)
SCALARS = {str: TEXTS, int: INTS, float: FLOATS, bool: st.booleans(), date: TIMES}
LISTS = st.one_of([st.lists(values, max_size=4) for values in SCALARS.values()])
MIXED = st.lists(st.one_of(*SCALARS.values()), max_size=4)
SPARSE = st.just(SparseVector([1], [0.5]))
FLAT = st.one_of(*SCALARS.values(), LISTS, MIXED)
NESTED = st.dictionaries(st.sampled_from(["k", "a", "a.k"]), FLAT, max_size=2)
VALUES = st.one_of(FLAT, SPARSE, st.none(), NESTED)
METADATA = st.fixed_dictionaries({"k": VALUES}, optional={"ключ": VALUES, "k.a": FLAT})
# A few values over many slots: common terms, which have bits, and keys that most slots have.
REPEATED = st.lists(st.none() | METADATA, min_size=1, max_size=6).flatmap(
    lambda few: st.lists(st.sampled_from(few), min_size=30, max_size=150)
)
METADATAS = st.one_of(st.lists(st.none() | METADATA, max_size=40), REPEATED)

NUMBERS = st.one_of(INTS, FLOATS)
DATES = ["2024-02-29", "2024-02-29T12:00:00", "2024-02-29T12:00:00+00:00"]
ISO = st.sampled_from(DATES)
# What is answered by looking terms up.
TERMS = ("equal", "member")
OPERANDS = {
    "scalar": st.one_of(ISO, *SCALARS.values()),
    "element": st.one_of(*SCALARS.values()),
    "ordered": st.one_of(NUMBERS, TIMES, ISO),
    "scalars": st.one_of(
        [
            st.lists(values, min_size=1, max_size=30)
            for values in (TEXTS, NUMBERS, st.booleans(), st.one_of(ISO, *SCALARS.values()))
        ]
    ),
    "flag": st.booleans(),
    "count": st.integers(0, 4),
    "piece": st.sampled_from(["a", "b", "É", "\0"]),
    "pattern": st.sampled_from(["", "^a", "[ab]", r"\x00$", "(?i)É", "^.$"]),
}
FIELDS = st.sampled_from(["k", "k", "k", "ключ", "absent", "k.a", "k.k", "k.a.k"])
CONDITIONS = st.one_of(
    [
        st.builds(Condition, FIELDS, st.just(row), OPERANDS[row.accepts])
        for row in OPERATORS.values()
    ]
)


@settings(max_examples=400, deadline=None)
@given(METADATAS, st.lists(CONDITIONS, min_size=20, max_size=40), st.integers(-9, 9))
def test_a_file_answers_like_memory_and_like_the_filter(
    shared_path: Path, metadatas: list[Metadata], conditions: list[Condition], more: int
) -> None:
    sealed, grown = seal(shared_path, metadatas), grow(metadatas)
    length = max(0, len(metadatas) + more)
    for one in conditions:
        expected = meaning(metadatas, one, length)
        assert sealed.matches(one, length).tolist() == expected, one
        assert grown.matches(one, length).tolist() == expected, one


@settings(max_examples=200, deadline=None)
@given(METADATAS, st.lists(CONDITIONS, min_size=20, max_size=40))
def test_an_estimate_is_never_below_the_matches_and_exact_without_numbers(
    shared_path: Path, metadatas: list[Metadata], conditions: list[Condition]
) -> None:
    sealed = seal(shared_path, metadatas)
    for one in conditions:
        count = sum(meaning(metadatas, one, len(metadatas)))
        estimate = sealed.estimate(one)
        assert count <= estimate <= len(metadatas)
        operands = one.operand if isinstance(one.operand, list) else [one.operand]
        terms = all(
            isinstance(o, bool) or (isinstance(o, str) and o not in DATES) for o in operands
        )
        if one.operator.family == "element" or (terms and one.operator.family in TERMS):
            assert estimate == count


def test_no_metadata_at_all(path: Path) -> None:
    nothing: list[list[Metadata]] = [[], [None] * 5]
    for metadatas in nothing:
        sealed = seal(path, metadatas)
        assert sealed.matches(condition("a", "$eq", 1), 5).tolist() == [False] * 5
        assert sealed.matches(condition("a", "$ne", 1), 5).tolist() == [True] * 5
        assert sealed.estimate(condition("a", "$eq", 1)) == 0


@pytest.mark.parametrize("every", [1, 2, 3, 40])
def test_numbers_are_found_however_many_slots_have_one(path: Path, every: int) -> None:
    metadatas: list[Metadata] = [None if i % every else {"n": i - 500} for i in range(1000)]
    sealed = seal(path, metadatas)
    for name, operand in (("$gte", 0), ("$lt", -400.5), ("$ne", 0), ("$in", list(range(-99, 99)))):
        one = condition("n", name, operand)
        assert sealed.matches(one, 1000).tolist() == meaning(metadatas, one, 1000)


def test_in_unites_common_and_rare_strings(path: Path) -> None:
    metadatas: list[Metadata] = [{"s": "abc"[i % 3] if i else "rare"} for i in range(200)]
    sealed = seal(path, metadatas)
    for operand in (["a", "b"], ["b", "a", "rare", "b"], ["c", "absent"]):
        one = condition("s", "$in", operand)
        expected = meaning(metadatas, one, 200)
        assert sealed.matches(one, 200).tolist() == expected
        assert sealed.estimate(one) == sum(expected)


WIDTHS = [n for bits in (7, 15, 31) for n in (-(2**bits) - 1, -(2**bits), 2**bits - 1, 2**bits)]


@pytest.mark.parametrize("highest", [1, *WIDTHS, -(2**63), 2**63 - 1])
def test_integers_of_every_width_compare_with_any_number(path: Path, highest: int) -> None:
    metadatas: list[Metadata] = [{"n": highest}, {"n": 0}, {"n": highest}, {"other": 1}]
    sealed, grown = seal(path, metadatas), grow(metadatas)
    beyond = [*WIDTHS, 2**53 + 1, -(2**63), 2**63 - 1]
    conditions = [condition("n", "$in", beyond), condition("n", "$in", [*beyond, *range(40)])]
    for name in ("$eq", "$gt", "$gte", "$lt", "$lte"):
        conditions += [condition("n", name, number) for number in beyond]
        conditions += [condition("n", name, float(number)) for number in beyond]
    for one in conditions:
        expected = meaning(metadatas, one, len(metadatas))
        assert sealed.matches(one, len(metadatas)).tolist() == expected, one
        assert grown.matches(one, len(metadatas)).tolist() == expected, one


def test_floats_compare_with_integers_that_no_float_equals(path: Path) -> None:
    metadatas: list[Metadata] = [{"x": x} for x in (2.0**53, 2.0**53 + 2, 2.0**53 + 4, -(2.0**63))]
    sealed, grown = seal(path, metadatas), grow(metadatas)
    for name in ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte"):
        for operand in (2**53, 2**53 + 1, 2**53 + 3, 1 - 2**63, -(2**63), 2**63 - 1):
            one = condition("x", name, operand)
            assert sealed.matches(one, 4).tolist() == meaning(metadatas, one, 4), one
            assert grown.matches(one, 4).tolist() == meaning(metadatas, one, 4), one


@pytest.mark.parametrize("key", ["", "ключ", "pack 0", "key text", "a/b\0", "x" * 5_000])
def test_any_text_is_a_key(path: Path, key: str) -> None:
    sealed = seal(path, [{"a": 1}, {key: "here", "z": 2}])
    assert sealed.matches(condition(key, "$eq", "here"), 2).tolist() == [False, True]
    assert not sealed.matches(condition(key + "x", "$eq", "here"), 2).any()


def test_a_key_with_100_000_distinct_strings(path: Path) -> None:
    metadatas: list[Metadata] = [{"id": f"id-{i * 7919 % 100_000}"} for i in range(100_000)]
    sealed = seal(path, metadatas)
    for slot in (0, 1, 50_000, 99_999):
        one = condition("id", "$eq", f"id-{slot * 7919 % 100_000}")
        assert np.flatnonzero(sealed.matches(one, 100_000)).tolist() == [slot]
        assert sealed.estimate(one) == 1
    assert not sealed.matches(condition("id", "$eq", "id-"), 100_000).any()
    assert sealed.matches(condition("id", "$nin", ["id-1", "id-2"]), 100_000).sum() == 99_998


def test_thousands_of_keys_share_a_few_blocks(path: Path) -> None:
    metadatas: list[Metadata] = [{f"key {i}": i, f"text {i}": str(i)} for i in range(3_000)]
    blocks, values = build_columns(metadatas)
    assert len(blocks) < 10
    assert values == {"rows": 3_000}
    sealed = seal(path, metadatas)
    assert np.flatnonzero(sealed.matches(condition("key 77", "$eq", 77), 3_000)).tolist() == [77]
    assert np.flatnonzero(sealed.matches(condition("text 9", "$eq", "9"), 3_000)).tolist() == [9]


def test_arrays_lie_in_several_packs(path: Path) -> None:
    count = PACK_BYTES // 8 + 1
    metadatas: list[Metadata] = [{"a": i + 0.5, "b": -i - 0.5, "c": i % 7} for i in range(count)]
    sealed = seal(path, metadatas)
    assert len(build_columns(metadatas)[0]) == 4 + 3
    for key, operand, matches in (("a", 9, 9), ("b", -9, count - 9), ("c", 0, 0)):
        assert sealed.matches(condition(key, "$lt", operand), count).sum() == matches


# ── damage ───────────────────────────────────────────────────────────────────────────────────────

DAMAGED: list[Metadata] = [
    {"s": f"s{i % 40}", "n": i, "f": i / 7, "b": i % 3 == 0, "l": [i % 5, i % 7], "t": [str(i)]}
    if i % 4
    else {"rare": i}
    for i in range(300)
]
QUESTIONS = [
    condition("s", "$eq", "s7"),
    condition("s", "$nin", ["s1", "s2"]),
    condition("n", "$gt", 123.5),
    condition("f", "$lte", 20),
    condition("b", "$ne", True),
    condition("l", "$contains", 3),
    condition("t", "$not_contains", "77"),
    condition("rare", "$in", [4, 8, 9]),
]


def answers(path: Path) -> list[list[bool]] | None:
    """What the file says, or None when it is found damaged."""
    try:
        sealed = SealedColumns(Blocks(path, KIND, VERSION))
        return [sealed.matches(one, len(DAMAGED)).tolist() for one in QUESTIONS]
    except CacheDamaged:
        return None


def test_a_damaged_file_is_noticed_or_harmless(path: Path) -> None:
    seal(path, DAMAGED)
    right = answers(path)
    assert right == [meaning(DAMAGED, one, len(DAMAGED)) for one in QUESTIONS]
    whole = path.read_bytes()
    noticed = 0
    for place in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        found = answers(path)
        assert found in (None, right), place
        noticed += found is None
    assert noticed > 0.9 * len(whole) / 3  # the rest is padding


def test_a_truncated_file_is_noticed(path: Path) -> None:
    seal(path, DAMAGED)
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        assert answers(path) is None, length
