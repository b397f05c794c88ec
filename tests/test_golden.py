"""Answers recorded from chromadb 1.5.9, replayed in their order: ours have to be the same.

`must` is what clients depend on, `should` is fidelity; `peer-limit` is what that server refuses or
gets wrong, where only a status of ours is asked for that is no fault.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from served import Served, served

RECORDED = Path(__file__).parent / "data" / "golden-http.jsonl"
PAIRS = [json.loads(line) for line in RECORDED.read_text("utf-8").splitlines()]

# How a value is matched by its kind.
KINDS = {
    "{{any}}": lambda got: True,
    "{{int}}": lambda got: type(got) is int,
    "{{string}}": lambda got: isinstance(got, str),
    "{{uuid}}": lambda got: str(UUID(got)) == got,
}


def filled_in(value: Any, known: dict[str, str]) -> Any:
    """The value with ${name} replaced."""
    if isinstance(value, str):
        return re.sub(r"\$\{(\w+)\}", lambda found: known[found[1]], value)
    if isinstance(value, list):
        return [filled_in(one, known) for one in value]
    if isinstance(value, dict):
        return {key: filled_in(one, known) for key, one in value.items()}
    return value


def same(expected: Any, got: Any, *, typed: bool = False) -> bool:
    """Whether an answer is as expected; ints and floats differ where `typed`."""
    if isinstance(expected, str) and expected in KINDS:
        return bool(KINDS[expected](got))
    if isinstance(expected, dict):
        return (
            isinstance(got, dict)
            and expected.keys() == got.keys()
            and all(
                same(one, got[key], typed=typed or key in ("metadata", "metadatas"))
                for key, one in expected.items()
            )
        )
    if isinstance(expected, list):
        return (
            isinstance(got, list)
            and len(got) == len(expected)
            and all(same(*pair, typed=typed) for pair in zip(expected, got, strict=True))
        )
    if isinstance(expected, float) and isinstance(got, float):
        return got == pytest.approx(expected, rel=1e-5, abs=1e-5)
    return type(got) is type(expected) and got == expected or (
        not typed and {type(got), type(expected)} == {int, float} and got == expected
    )  # fmt: skip


def asked(server: Served, pair: dict[str, Any], known: dict[str, str]) -> Any:
    request: dict[str, Any] = {}
    if "request_raw" in pair:
        request["content"] = filled_in(pair["request_raw"], known).encode()
        request["headers"] = pair["request_headers"]
    elif "request" in pair:
        request["json"] = filled_in(pair["request"], known)
    return server.ask(pair["method"], filled_in(pair["path"], known), **request)


def test_answers_are_those_of_chroma() -> None:
    """One test for all of them: each goes on where the last one ended."""
    known = {"run": "1"}
    with served() as server:
        for pair in PAIRS:
            answer = asked(server, pair, known)
            told = f"{pair['name']}: {answer.status_code} {answer.text}"
            if pair["tier"] == "peer-limit":
                assert answer.status_code in (200, 201, 404, 501), told
                continue
            assert answer.status_code == pair["status"], told
            assert answer.headers["content-type"] == "application/json", told
            assert answer.content == answer.content.strip(), told
            if pair["response_kind"] == "json":
                assert same(filled_in(pair["response"], known), answer.json()), told
            for name, key in pair.get("capture", {}).items():
                known[name] = answer.json()[key]
    assert len(PAIRS) > 90
