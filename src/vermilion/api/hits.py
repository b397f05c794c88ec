"""Records as people like them: a `Hit` has what is known of one, and lists of hits show as tables.

What comes from a database may hold anything: in a terminal nothing of it is a control character,
and on a page nothing of it is markup.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class Hit:
    """A record of an answer. What was not asked for, or is not there, is None.

    `distance` is what `query` measured, `score` what `search` did: lower is better. `rerank_score`
    is what the function of `rerank` said: higher is better.
    """

    id: str
    document: str | None = None
    metadata: dict[str, Any] | None = None
    distance: float | None = None
    score: float | None = None
    rerank_score: float | None = None
    uri: str | None = None
    data: Any = field(default=None, compare=False)
    embedding: Any = field(default=None, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Returns what there is, by name."""
        return {name: told for name in NAMES if (told := getattr(self, name)) is not None}


NAMES = tuple(one.name for one in fields(Hit))


class HitList(list[Hit]):
    """The hits of one query, best first, or of a `get`."""

    def __repr__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        return as_html(self)


def hit_list(ids: Sequence[str], columns: Mapping[str, Any]) -> HitList:
    """The hits of aligned columns, by the names that a hit has for them; None is no column."""
    given = {name: column for name, column in columns.items() if column is not None}
    return HitList(
        Hit(id, **{name: column[place] for name, column in given.items()})
        for place, id in enumerate(ids)
    )


# ── as tables ────────────────────────────────────────────────────────────────────────────────────

# No table has more rows, no cell of a page more characters, no column of a terminal is narrower.
MOST_ROWS, MOST_CHARACTERS, NARROWEST = 50, 300, 12
_SHOWN_NUMBERS = 3


def as_text(hits: Sequence[Hit]) -> str:
    """A table for a terminal, as wide as that is."""
    from shutil import get_terminal_size  # as in local/drafts.py

    if not hits:
        return "no records"
    width = get_terminal_size((100, 24)).columns
    names = _names(hits)
    rows = [[_printable(_cell(hit, name)) for name in names] for hit in hits[:MOST_ROWS]]
    widths = _widths([[_cells(text) for text in row] for row in [[*names], *rows]], width)

    def line(row: Iterable[str]) -> str:
        told = (_padded(text, size) for text, size in zip(row, widths, strict=True))
        return "  ".join(told).rstrip()

    rules = ["─" * size for size in widths]
    return "\n".join([line(names), line(rules), *map(line, rows), *_rest(hits)])


def as_html(hits: Sequence[Hit]) -> str:
    """A table for a page; every text is escaped."""
    names = _names(hits)
    rows = [[_printable(_cell(hit, name)) for name in names] for hit in hits[:MOST_ROWS]]
    return "".join(
        [
            "<table><thead>",
            _html_row("th", names),
            "</thead><tbody>",
            *(_html_row("td", row) for row in rows),
            "</tbody></table>",
            *(f"<p>{_escaped(text)}</p>" for text in _rest(hits)),
        ]
    )


def _escaped(text: str) -> str:
    from html import escape  # with a table of two thousand names

    return escape(text)


def heading(text: str) -> str:
    """A line over a table, without control characters and not too long."""
    return _printable(_shortened(text))


def _rest(hits: Sequence[Hit]) -> list[str]:
    return [f"… and {len(hits) - MOST_ROWS} more"] if len(hits) > MOST_ROWS else []


def _html_row(tag: str, row: Iterable[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{_escaped(text)}</{tag}>" for text in row) + "</tr>"


def _names(hits: Sequence[Hit]) -> list[str]:
    """The columns that are not empty."""
    return [
        name
        for name in NAMES
        if name == "id" or any(getattr(hit, name) is not None for hit in hits[:MOST_ROWS])
    ]


def _cell(hit: Hit, name: str) -> str:
    value = getattr(hit, name)
    return "" if value is None else _AS_CELL.get(name, str)(value)


def _metadata(value: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={told!r}" for key, told in value.items())


def _embedding(value: Sequence[float]) -> str:
    shown = ", ".join(f"{number:.4g}" for number in value[:_SHOWN_NUMBERS])
    return f"[{shown}]" if len(value) <= _SHOWN_NUMBERS else f"[{shown}, … {len(value)}]"


def _number(value: float) -> str:
    return f"{value:.4f}"


def _loaded(value: Any) -> str:
    return f"<{type(value).__name__}>"


_AS_CELL: Mapping[str, Callable[[Any], str]] = {
    "metadata": _metadata,
    "embedding": _embedding,
    "distance": _number,
    "score": _number,
    "rerank_score": _number,
    "data": _loaded,
}

# ── how wide a text is ───────────────────────────────────────────────────────────────────────────


def _printable(text: str) -> str:
    """The text on one line; what a terminal would obey is written as Python writes it."""
    text = _shortened(text)
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def _shortened(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"


def _cells(text: str) -> int:
    """How many cells of a terminal it takes: Chinese characters take two, accents none."""
    if text.isascii():
        return len(text)
    return sum(_cells_of(one) for one in text)


def _cells_of(character: str) -> int:
    from unicodedata import combining, east_asian_width  # a library of a megabyte

    if combining(character):
        return 0
    return 2 if east_asian_width(character) in "WF" else 1


def _widths(table: list[list[int]], total: int) -> list[int]:
    """How wide each column is: the widest give way until all fit, as far as they can."""
    widths = [max(column) for column in zip(*table, strict=True)]
    over = sum(widths) + 2 * (len(widths) - 1) - total
    while over > 0 and max(widths) > NARROWEST:
        widths[widths.index(max(widths))] -= 1
        over -= 1
    return widths


def _padded(text: str, size: int) -> str:
    width = _cells(text)
    if width <= size:
        return text + " " * (size - width)
    kept, used = [], 1  # the ellipsis
    for one in text:
        used += _cells_of(one)
        if used > size:
            break
        kept.append(one)
    told = "".join(kept) + "…"
    return told + " " * (size - _cells(told))
