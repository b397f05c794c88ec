"""Draws a result of compare.py: how many times better than chromadb, and beside other stores.

    python benchmarks/compare_plot.py RESULT.json FOLDER

Writes FOLDER/NAME-chromadb.svg and, where other stores took part, FOLDER/NAME-others.svg. Both
follow the reader's light or dark mode.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from html import escape
from math import ceil, floor, log10
from pathlib import Path

from compare_rivals import RECALL, TEN, Figures
from compare_table import ROWS, merged, ratio
from figures import Figure, number

STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328; }
.small { font-size: 11px; fill: #59636e; }
.title { font-size: 14px; font-weight: 600; }
.paper { fill: #ffffff; } .grid { stroke: #d1d9e0; } .one { stroke: #59636e; }
.vermilion { fill: #d1442f; stroke: #d1442f; } .missed { fill: #e8a79d; }
.goal { stroke: #1f2328; stroke-width: 2; }
.chromadb { fill: #6e7781; stroke: #6e7781; } .zvec { fill: #0072b2; stroke: #0072b2; }
.qdrant-edge { fill: #008765; stroke: #008765; } .sqlite-vec { fill: #c47d00; stroke: #c47d00; }
.lancedb { fill: #a64d9a; stroke: #a64d9a; } .hollow { fill: none; stroke-width: 1.5; }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc; } .small { fill: #9198a1; } .paper { fill: #0d1117; }
  .grid { stroke: #2f363d; } .one { stroke: #9198a1; } .goal { stroke: #f0f6fc; }
  .vermilion { fill: #f4694f; stroke: #f4694f; } .missed { fill: #8a3d31; }
  .chromadb { fill: #9198a1; stroke: #9198a1; } .zvec { fill: #4ba3e3; stroke: #4ba3e3; }
  .qdrant-edge { fill: #2fc79d; stroke: #2fc79d; } .sqlite-vec { fill: #e8ac3a; stroke: #e8ac3a; }
  .lancedb { fill: #d68fcb; stroke: #d68fcb; } .hollow { fill: none; }
}
"""
WIDTH, LEFT, RIGHT, TOP, LINE = 880, 320, 90, 64, 24

# A sign for each system, drawn around a place; colour is not the only difference.
SIGNS: dict[str, Callable[[float, float], str]] = {
    "vermilion": lambda x, y: f'<circle cx="{x:.1f}" cy="{y}" r="6"',
    "chromadb": lambda x, y: f'<rect x="{x - 5:.1f}" y="{y - 5}" width="10" height="10"',
    "zvec": lambda x, y: f'<path d="M{x:.1f} {y - 7}l6.5 12h-13z"',
    "qdrant-edge": lambda x, y: f'<path d="M{x:.1f} {y - 7}l7 7l-7 7l-7 -7z"',
    "sqlite-vec": lambda x, y: f'<path d="M{x:.1f} {y + 7}l6.5 -12h-13z"',
    "lancedb": lambda x, y: f'<path d="M{x - 2:.1f} {y - 6}h4v4h4v4h-4v4h-4v-4h-4v-4h4z"',
}


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    place = f'x="{x:.1f}" y="{y}" text-anchor="{anchor}"'
    return f'<text {place} class="{kind}">{escape(words)}</text>'


class Axis:
    """A logarithmic axis from left to right."""

    def __init__(self, values: Iterable[float]) -> None:
        values = list(values)
        self.low, self.high = floor(log10(min(values))), ceil(log10(max(values)))

    def __call__(self, value: float) -> float:
        share = (log10(value) - self.low) / (self.high - self.low)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def drawn(self, bottom: float) -> list[str]:
        """The lines of the decades, with what they stand for."""
        parts = []
        for decade in range(self.low, self.high + 1):
            x, kind = self(10.0**decade), "one" if decade == 0 else "grid"
            line = f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 8}" y2="{bottom}" class="{kind}"/>'
            parts += [line, text(x, bottom + 16, f"{10.0**decade:g}×", "small", "middle")]
        return parts


def picture(parts: list[str], height: float, title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}"'
        f' height="{height}" role="img" aria-label="{escape(title)}"><style>{STYLE}</style>'
        f'<rect width="{WIDTH}" height="{height}" class="paper"/>'
        + text(16, 24, title, "title")
        + "".join(parts)
        + "</svg>\n"
    )


def bars(figures: Figures, rows: int) -> str:
    """How many times better than chromadb, with the goal that was set."""
    found = [(row, ratio(row, figures[row.name])) for row in ROWS if row.name in figures]
    shown = [(row, times) for row, times in found if times]
    axis = Axis([1.0, *(times for _, times in shown)])
    bottom = TOP + LINE * len(shown)
    parts = axis.drawn(bottom)
    for place, (row, times) in enumerate(shown):
        y = TOP + LINE * place
        middle = y + LINE / 2
        start, end = sorted((axis(1.0), axis(times)))
        missed = row.goal is not None and times < row.goal
        parts.append(text(16, middle + 4, row.label))
        parts.append(
            f'<rect x="{start:.1f}" y="{y + 5}" width="{end - start:.1f}" height="{LINE - 10}"'
            f' class="{"missed" if missed else "vermilion"}"/>'
        )
        parts.append(text(WIDTH - 16, middle + 4, f"{number(times)}×", "", "end"))
        if row.goal is not None:
            x = axis(row.goal)
            parts.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y + 2}" y2="{y + LINE - 2}" class="goal"/>'
            )
    says = "Wall time, or size; the upright stroke is the goal, pale bars are below it."
    parts.append(text(16, 42, says, "small"))
    return picture(parts, bottom + 28, f"Vermilion against chromadb, {rows:,} rows: times better")


def signs(figures: Figures, rows: int) -> str:
    """Every system's time in the ten works, as a multiple of vermilion's."""
    systems = list(figures["query"])
    strips = [(row, relative(figures[row], systems)) for work in TEN for row in work.rows]
    axis = Axis([times for _, strip in strips for times in strip.values()])
    bottom = TOP + 20 + (LINE + 4) * len(strips)
    parts = axis.drawn(bottom)
    labels = {row.name: row.label for row in ROWS}
    x = 16.0
    for system in systems:
        parts.append(SIGNS[system](x + 6, 42) + f' class="{system}"/>')
        parts.append(text(x + 18, 46, system))
        x += 36 + 7.2 * len(system)
    parts.append(text(axis(1.0) - 8, TOP + 8, "← faster than Vermilion", "small", "end"))
    parts.append(text(axis(1.0) + 8, TOP + 8, "slower →", "small"))
    for place, (row, strip) in enumerate(strips):
        y = TOP + 20 + (LINE + 4) * place + (LINE + 4) / 2
        parts.append(text(16, y + 4, labels[row].removeprefix("… ")))
        for system in reversed(strip):
            hollow = figures[row][system].get("recall", 1.0) < RECALL
            kind = f"{system} hollow" if hollow else system
            parts.append(SIGNS[system](axis(strip[system]), y) + f' class="{kind}"/>')
    says = "Wall time as a multiple of Vermilion's; hollow: a recall below 0.99."
    parts.append(text(16, bottom + 36, says, "small"))
    return picture(parts, bottom + 48, f"Vermilion beside other embedded stores, {rows:,} rows")


def relative(figures: dict[str, Figure], systems: list[str]) -> dict[str, float]:
    """Times of one work as multiples of vermilion's; of a load, rates are told, so the inverse."""
    times = {
        system: 1 / figures[system]["value"]
        if "value" in figures[system]
        else figures[system]["wall"]
        for system in systems
        if system in figures
    }
    return {system: time / times["vermilion"] for system, time in times.items()}


def main() -> None:
    """Draws what one result holds."""
    result, folder = Path(sys.argv[1]), Path(sys.argv[2])
    content = json.loads(result.read_text(encoding="utf-8"))
    figures, rows = merged(content), content["rows"]
    pictures = {"chromadb": bars(figures, rows)}
    if len(figures["query"]) > 2:
        pictures["others"] = signs(figures, rows)
    for name, drawn in pictures.items():
        path = folder / f"{result.stem}-{name}.svg"
        path.write_text(drawn, encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
