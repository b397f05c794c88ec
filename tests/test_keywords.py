"""What keyword search takes for the same word, in many scripts."""

from __future__ import annotations

import doctest
from pathlib import Path
from unittest.mock import patch

import pytest

from vermilion.api.client import Client, persistent_client
from vermilion.local import builder, segment
from vermilion.local.index import words as indexed
from vermilion.local.index.words import words, words_to_find

# A document, what finds it, and what does not.
FOUND: list[tuple[str, list[str], list[str]]] = [
    ("Café", ["cafe", "CAFÉ", "cafe\u0301"], ["caf"]),
    ("die Straße", ["STRASSE", "straße", "strasse"], ["strase"]),
    ("Ångström's naïveté", ["angstrom", "NAIVETE"], ["ngstrom"]),
    ("Łódź, Ørsted, Đorđe, Æsop", ["lodz", "orsted", "dorde", "aesop"], ["odz"]),
    ("東京都の夜", ["東京", "京都", "東京都", "夜", "都"], ["京東"]),
    ("ガス", ["ガス", "ｶﾞｽ"], ["カス"]),
    ("我喜欢猫", ["猫", "喜欢"], ["狗"]),
    ("서울에서", ["서울", "울"], ["부산"]),
    ("Москва и Ёлка", ["москва", "МОСКВА", "елка"], ["моск"]),
    ("Ελλάδα, ΣΊΣΥΦΟΣ", ["ελλαδα", "σίσυφος", "ΣΙΣΥΦΟΣ"], ["ελλ"]),
    ("Diyarbakır ve İstanbul", ["DIYARBAKIR", "diyarbakır", "istanbul", "ISTANBUL"], ["stanbul"]),
    ("हिन्दी भाषा", ["हिन्दी", "भाषा"], ["हिन", "द"]),
    ("ภาษาไทย", ["ไทย", "ภาษา"], ["ลาว"]),
    ("שָׁלוֹם", ["שלום"], ["של"]),
    ("مُحَمَّد", ["محمد"], ["حمد"]),
    ("to the moon 🚀🌕 👍🏽 🇨🇭", ["🚀", "🌕", "👍", "🇨🇭"], ["🇩🇪", "👎"]),
    ("ﬁne Ⅳ ＡＢＣ", ["fine", "iv", "abc"], ["ﬁ"]),
    ("snake_case x²", ["snake", "case", "x2"], ["snakecase"]),
]


@pytest.mark.parametrize(("document", "finds", "misses"), FOUND, ids=[row[0] for row in FOUND])
def test_what_readers_take_for_the_same_is_found(
    client: Client, document: str, finds: list[str], misses: list[str]
) -> None:
    collection = client.create_collection("texts", embedding_function=None)
    collection.add(ids=["it", "other"], embeddings=[[1], [2]], documents=[document, "another one"])
    for text in finds:
        assert collection.query(query_texts=text, mode="keyword")["ids"] == [["it"]], text
    for text in misses:
        assert collection.query(query_texts=text, mode="keyword")["ids"] == [[]], text


def test_a_document_finds_itself() -> None:
    for document, _, _ in FOUND:
        assert set(words_to_find(document)) <= set(words(document))


def test_what_is_not_written_has_no_words() -> None:
    for text in ("", " ", "—…!?", "\u200b\ufe0f", "\u0301", "_", "\ud800"):
        assert words(text) == []


def test_the_examples_in_the_module_hold() -> None:
    assert doctest.testmod(indexed).failed == 0


def test_indexes_with_words_of_another_kind_are_made_anew(tmp_path: Path) -> None:
    older = patch.dict(segment.VERSIONS, words=1), patch.object(indexed, "_AS_OTHERS", {})
    with persistent_client(tmp_path) as client, older[0], older[1]:
        notes = client.create_collection("notes", embedding_function=None)
        notes.add(ids=["a", "b"], embeddings=[[1], [2]], documents=["Diyarbakır", "else"])
        with patch.object(builder, "TAIL_ROWS", 1):
            builder.build(tmp_path / "collections" / str(notes.id), "l2")
    with persistent_client(tmp_path) as client:
        notes = client.get_collection("notes")
        assert notes.query(query_texts="diyarbakir", mode="keyword")["ids"] == [["a"]]
