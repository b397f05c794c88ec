"""The trigram index: its candidates hold every document that matches, whatever the question."""

from __future__ import annotations

import gzip
import json
import string
import tempfile
from collections.abc import Iterable
from itertools import repeat
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import vermilion
from vermilion.errors import ArgumentValueError
from vermilion.local.blocks import Blocks, CacheDamaged, write_blocks
from vermilion.local.index import literals, text
from vermilion.local.index.literals import required_literals
from vermilion.local.index.text import KIND, VERSION, TextPostings, build_text
from vermilion.query.where import DOCUMENT, DOCUMENT_OPERATORS, OPERATORS, Condition, pattern


def contains(needle: str) -> Condition:
    return Condition(DOCUMENT, DOCUMENT_OPERATORS["$contains"], needle)


def regex(pattern: str) -> Condition:
    return Condition(DOCUMENT, DOCUMENT_OPERATORS["$regex"], pattern)


def postings_of(documents: Iterable[str | None], chunk: int = text.CHUNK) -> TextPostings:
    """Built, written and opened."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "text")
        with patch.object(text, "CHUNK", chunk):
            write_blocks(path, KIND, VERSION, build_text(documents))
        return TextPostings(Blocks(path, KIND, VERSION))


def found(postings: TextPostings, condition: Condition) -> list[int] | None:
    slots = postings.candidates(condition)
    return None if slots is None else slots.tolist()


def check(postings: TextPostings, documents: list[str | None], condition: Condition) -> None:
    """The candidates are ascending slots, as many as estimated at most, and none is missing."""
    slots = postings.candidates(condition)
    estimate = postings.estimate(condition)
    assert estimate <= len(documents)
    if slots is None:
        assert estimate == len(documents)
        return
    assert slots.dtype == np.int64
    assert (np.diff(slots) > 0).all()
    assert len(slots) <= estimate
    test = condition.operator.test
    matches = {slot for slot, one in enumerate(documents) if test(one, condition.operand)}
    assert matches <= set(slots.tolist())


# ── strategies: few tokens, so that documents and questions meet ─────────────────────────────────

TOKENS = [
    *("abc", "ab", "ba", "c", "kas", "KAS", "\N{KELVIN SIGN}as", "\N{LATIN SMALL LETTER LONG S}"),
    *("é", "É", "東京", "東", "😀", "\0", " ", "\n", "-", "]", "{", "&&", "42", "\ud800"),
]
CLEAN = TOKENS[:-1]  # a regular expression has no lone surrogates, nor has what it is asked about


def texts(tokens: list[str]) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(tokens), max_size=8).map("".join)


def corpora(tokens: list[str]) -> st.SearchStrategy[list[str | None]]:
    return st.lists(st.none() | texts(tokens) | texts(tokens), max_size=12)


CHUNKS = st.sampled_from([1, 5, 40, text.CHUNK])

ATOMS = [
    *(".", "^", "$", r"\A", r"\z", r"\b", r"\B", r"\<", r"\b{start}", r"\d", r"\w", r"\S", r"\pL"),
    *(r"\p{Greek}", r"\PN", r"\x61", r"\x{6771}", r"\u6771", r"\U0001F600", r"\u{1F600}", r"\n"),
    *(r"\-", r"\]", r"\{", r"\ ", "[ab]", "[a-c]", "[^a]", "[kK]", "[é東]", r"[\x61-b]", "[-a]"),
    *("[a-]", "[]a]", "[[:alpha:]c]", "[a-c&&[^b]]", "[a-c--b]", "[a-c~~b]", r"[\w&&a]", "[ab[c]]"),
    *(
        "[a&]",
        "[--a]",
        "[a-b-c]",
        "[+--]",
        "[^-a]",
        r"[\d-]",
        r"[a\]b]",
        "(?i)",
        "(?-i)",
        "(?s)",
        "(?m)",
        "(?U)",
        "(?u)",
    ),
    *("(?x)", "(?is-m)", "(?-u)", "(?R)", "(?x) a b # c\n", "()", "(?:)", r"\Q", r"\1", "#"),
]
GROUPS = ["({})", "(?:{})", "(?P<n>{})", "(?<m>{})", "(?i:{})", "(?s-i:{})", "(?x:{})", "(?i-u:{})"]
QUANTIFIERS = [
    *("?", "*", "+", "??", "*?", "+?", "{0}", "{1}", "{2}", "{0,}", "{1,}", "{0,1}", "{2,3}"),
    *("{1,2}?", "{ 2 }", "{2, 3}", "{0,2}", "{70}", "**", "+?*"),
]


def larger(patterns: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return (
        st.lists(patterns, min_size=2, max_size=4).map("".join)
        | st.lists(patterns, min_size=2, max_size=3).map("|".join)
        | st.builds(str.format, st.sampled_from(GROUPS), patterns)
        | st.builds("({}){}".format, patterns, st.sampled_from(QUANTIFIERS))
        | st.builds(str.__add__, patterns, st.sampled_from(QUANTIFIERS))
    )


WORDS = st.sampled_from(CLEAN).map(lambda token: token.replace("{", r"\{"))
PATTERNS = st.recursive(WORDS | WORDS | st.sampled_from(ATOMS), larger, max_leaves=8)
NOISE = st.text(r"abk()|[]{}?*+.^$\-&~ixs:<>,012dpwb#é ", max_size=12)


def compiles(operand: str) -> bool:
    try:
        pattern(operand)
    except ArgumentValueError:
        return False
    return True


# ── the index against the meaning of the operators ───────────────────────────────────────────────


@given(corpora(TOKENS), texts(TOKENS), CHUNKS)
def test_candidates_hold_every_document_that_has_the_needle(
    documents: list[str | None], needle: str, chunk: int
) -> None:
    assume(needle)
    check(postings_of(documents, chunk), documents, contains(needle))


@given(corpora(CLEAN), PATTERNS | NOISE, CHUNKS)
def test_candidates_hold_every_document_that_matches_the_pattern(
    documents: list[str | None], operand: str, chunk: int
) -> None:
    assume(operand and compiles(operand))
    check(postings_of(documents, chunk), documents, regex(operand))


@given(st.lists(st.text(max_size=30), max_size=8), st.data())
def test_any_part_of_a_document_finds_it(documents: list[str], data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from(documents or ["nothing"]))
    start = data.draw(st.integers(0, len(whole)))
    needle = whole[start : data.draw(st.integers(start, len(whole)))]
    check(postings_of(documents), list(documents), contains(needle or "x"))


@given(PATTERNS | NOISE, texts(CLEAN))
def test_each_match_contains_the_required_literals(operand: str, document: str) -> None:
    """Asked for literals of any length, so that most patterns have some."""
    assume(compiles(operand))
    with patch.object(literals, "SHORTEST", 1):
        required = required_literals.__wrapped__(operand) or ()
    for match in pattern(operand).find_iter(document):
        for alternatives in required:
            assert any(literal in match.as_str() for literal in alternatives)


def test_real_texts_are_found_by_their_parts() -> None:
    path = Path(vermilion.__file__).parent / "commands" / "demo_data" / "glosses.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        documents: list[str | None] = [json.loads(line)["text"] for line in lines]
    documents[5] = None
    postings = postings_of(documents, 10_000)
    for slot in range(0, len(documents), 50):
        document = documents[slot] or "nothing"
        for needle in (document[:12], document[5:9], document):
            check(postings, documents, contains(needle))


# ── the index by example ─────────────────────────────────────────────────────────────────────────

DOCUMENTS = ["a river runs", None, "", "River\0bed", "東京 and 京都", "no", "the river's bed"]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (contains("river"), [0, 6]),
        (contains("River"), [3]),
        (contains("riverbed"), []),
        (contains("r\0b"), [3]),
        (contains("東"), [4]),
        (contains("no"), None),
        (contains("é"), None),
        (contains("\ud800 is in no document"), []),
        (regex("[Rr]iver"), [0, 3, 6]),
        (regex("(?i)RIVER.bed"), [3, 6]),
        (regex("river.*bed"), [6]),
        (regex("runs|京都"), [0, 4]),
        (regex("runs|no"), None),
        (regex(r"\w+"), None),
    ],
)
def test_candidates(condition: Condition, expected: list[int] | None) -> None:
    assert found(postings_of(DOCUMENTS), condition) == expected


def test_a_negated_operator_has_the_candidates_of_its_opposite() -> None:
    condition = Condition(DOCUMENT, DOCUMENT_OPERATORS["$not_contains"], "river")
    assert found(postings_of(DOCUMENTS), condition) == [0, 6]


def test_a_condition_on_metadata_is_refused() -> None:
    with pytest.raises(ValueError, match="not about documents"):
        postings_of(DOCUMENTS).candidates(Condition("key", OPERATORS["$eq"], "river"))


@pytest.mark.parametrize("documents", [[], [None], ["", None], ["ab", "é"]])
def test_documents_without_a_trigram(documents: list[str | None]) -> None:
    postings = postings_of(documents)
    assert found(postings, contains("abc")) == []
    assert found(postings, contains("ab")) is None
    assert postings.estimate(contains("abc")) == 0
    assert postings.estimate(contains("ab")) == len(documents)


def test_documents_far_apart() -> None:
    def documents() -> Iterable[str | None]:
        for gap in (0, 1, 127, 128, 4_095, 4_096, 131_071, 131_072, 140_000):
            yield from repeat(None, gap)
            yield "needle"

    expected = [slot for slot, document in enumerate(documents()) if document]
    assert found(postings_of(documents()), contains("needle")) == expected


@given(st.lists(st.integers(0, text.MOST_DOCUMENTS - 1), min_size=1, unique=True).map(sorted))
def test_any_slots_are_encoded_and_decoded(slots: list[int]) -> None:
    gaps = np.diff(np.array(slots), prepend=-1) - 1
    written, ends = text._written(gaps.astype(np.int32))
    assert text._decoded(written).tolist() == slots
    assert ends[-1] == len(written)


def test_a_document_longer_than_a_chunk_is_found_everywhere() -> None:
    documents = ["short", "".join(map(str, range(1_000))), "short"]
    postings = postings_of(documents, 64)
    for number in range(100, 1_000):
        assert found(postings, contains(f"{number}")) == [1]
    assert found(postings, contains("short")) == [0, 2]


def test_common_words_take_a_byte_for_each_document() -> None:
    blocks = build_text("needle" for _ in range(10_000))
    assert len(blocks["postings"]) == 4 * 10_000


def test_too_many_documents_are_refused() -> None:
    with patch.object(text, "MOST_DOCUMENTS", 2), pytest.raises(ValueError, match="3 documents"):
        build_text(["a", "b", "c"])


def test_a_damaged_byte_is_noticed_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "text"
    write_blocks(path, KIND, VERSION, build_text(["a river runs", None, "", "東京", "river"]))
    intact = path.read_bytes()
    noticed = 0
    for place in range(len(intact)):
        damaged = bytearray(intact)
        damaged[place] ^= 0xFF
        path.unlink()
        path.write_bytes(damaged)
        try:
            postings = TextPostings(Blocks(path, KIND, VERSION))
        except CacheDamaged:
            noticed += 1
        else:
            assert found(postings, contains("river")) == [0, 4]
            assert found(postings, contains("東京")) == [3]
    # All but the padding between blocks, which are at multiples of 64 bytes.
    assert noticed > len(intact) - 5 * 64


# ── literals by example ──────────────────────────────────────────────────────────────────────────


def cases(letters: str) -> set[str]:
    """Every way to write these letters in either case."""
    return {
        first + rest
        for first in (letters[0].lower(), letters[0].upper())
        for rest in (cases(letters[1:]) if letters[1:] else {""})
    }


@pytest.mark.parametrize(
    ("operand", "expected"),
    [
        ("river", [{"river"}]),
        ("^river$", [{"river"}]),
        (r"\briver\b{end}", [{"river"}]),
        ("a{3}", [{"aaa"}]),
        ("(ab){2}c", [{"ababc"}]),
        ("gr[ae]y", [{"gray", "grey"}]),
        ("colou?r", [{"color", "colour"}]),
        ("b[a-c]d", [{"bad", "bbd", "bcd"}]),
        ("[^a]bcd", [{"bcd"}]),
        ("[^-a]bcd", [{"bcd"}]),
        ("[-a]bcd", [{"-bcd", "abcd"}]),
        ("[a&-]bcd", [{"abcd", "&bcd", "-bcd"}]),
        ("[a-b-d]bcd", [{"abcd", "bbcd", "-bcd", "dbcd"}]),
        (r"[\]\x61\-]bcd", [{"]bcd", "abcd", "-bcd"}]),
        (r"[a\d]bcd", [{"bcd"}]),
        ("river|brook", [{"river", "brook"}]),
        ("a (river|brook)s", [{"a rivers", "a brooks"}]),
        ("left.*right", [{"left"}, {"right"}]),
        (r"(left\d|other\d) right", [{"left", "other"}, {" right"}]),
        ("(river)+ bed", [{"river"}, {"river bed"}]),
        ("(river){2,3}", [{"riverriver"}]),
        ("lo+ng", [{"ong"}]),
        ("(left|right)?river", [{"leftriver", "rightriver", "river"}]),
        ("(left)*river", [{"river"}]),
        (r"(?P<year>19\d\d)-river", [{"-river"}]),
        (r"\x41\x{42}\u0043\u{44}\U00000045", [{"ABCDE"}]),
        (r"a\.b\\c\tд", [{"a.b\\c\tд"}]),
        (r"\pLiver\P{Greek}", [{"iver"}]),
        ("(?i)abc", [cases("abc")]),
        ("(?i:abc)def", [{one + "def" for one in cases("abc")}]),
        ("(?i)abc(?-i)DEF", [{one + "DEF" for one in cases("abc")}]),
        ("((?i)ab)cde", [{one + "cde" for one in cases("ab")}]),
        ("(?i)1[b]2", [{"1b2", "1B2"}]),
        ("(?i)rué bed", [{" " + one for one in cases("bed")}]),
        ("(?sm-i)a.river", [{"river"}]),
        ("x" * 100, [{"x" * 64}, {"x" * 36}]),
    ],
)
def test_required_literals(operand: str, expected: list[set[str]]) -> None:
    pattern(operand)
    assert [set(alternatives) for alternatives in required_literals(operand) or ()] == expected


@pytest.mark.parametrize(
    "operand",
    [
        *("", "ab", r"\w+", ".*", "[a-z]{10}", "river|ok", "river|", "(river)?", "(river){0,2}"),
        *("(river){0}", "r.i.v.e.r", "[^r]", "[rivers]"),
        # not understood, so not narrowed
        *("(?x)river bed", "(?-u)river", "(?x-i:river)", "[[:alpha:]]river", "[a-c&&b]river"),
        *(
            "[a-c--b]river",
            "[a~~b]river",
            "[]a]river",
            "[a[b]]river",
            "[--a]river",
            "[+--]river",
            "(" * 60 + "river" + ")" * 60,
        ),
        # not for the engine to accept either
        *("(river", "river)", "*river", "[river", "river{", "river{2", r"\Qriver", r"river\1"),
        *("(?=river)", "(?<!x)river(", r"\x4", r"\x{110000}river", "[z-a]river", r"[\d-z]river"),
        *("river\\", "river{99999999999}", r"[\b]river", "(?z)river", r"\e"),
    ],
)
def test_patterns_without_required_literals(operand: str) -> None:
    assert required_literals(operand) is None


def test_nested_repetitions_do_not_multiply() -> None:
    assert required_literals("(" * 40 + "river." + ")+" * 40) == ({"river"},)


def test_the_number_of_literals_is_bounded() -> None:
    named = [f"river{number}" for number in range(literals.MOST_ALTERNATIVES)]
    assert required_literals("|".join(named)) == (set(named),)
    assert required_literals("|".join([*named, "brook"])) is None
    for alternatives in required_literals("(?i)the quick brown fox [a-f][a-f]jumps") or ():
        assert len(alternatives) <= literals.MOST_STRINGS


def test_case_folds_as_in_the_regex_engine() -> None:
    """Over all of Unicode: an ASCII character in any case is what the engine takes it for."""
    everything = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)]))
    for char in string.ascii_letters + string.digits:
        (alternatives,) = required_literals(f"(?i){char}00") or ()
        matched = {match.as_str() for match in pattern(f"(?i){char}").find_iter(everything)}
        assert {literal[0] for literal in alternatives} == matched
