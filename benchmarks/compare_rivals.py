"""More tables of compare.py: other stores in ten works, and our times by selectivity."""

from __future__ import annotations

from dataclasses import dataclass

from compare_peers import BUT, CANNOT, NOTES, SETTINGS
from figures import Figure, number

Figures = dict[str, dict[str, Figure]]

# Within this we call it level.
LEVEL = 1.05
# Who finds less is no rival, unless we find even less.
RECALL = 0.99


@dataclass(frozen=True)
class Work:
    """One of the ten, by the rows of figures that it consists of; all of them must be won."""

    label: str
    rows: tuple[str, ...]
    more: bool = False


TEN = [
    Work("load until every index is complete, rows/s", ("load complete",), True),
    Work("add 1, durable, ms", ("add 1",)),
    Work("query, 10 nearest with documents, ms", ("query",)),
    Work("… where equality", ("equality",)),
    Work("… where $and of ranges", ("range",)),
    Work("… where $in", ("in",)),
    Work("… $contains, rare; common", ("contains rare", "contains common")),
    Work("get 100 ids, ms", ("get 100",)),
    Work("page of 1,000 at offset 90 %, ms", ("page late",)),
    Work("open and first query, new process, ms", ("open",)),
]


def others(figures: Figures) -> list[str]:
    """A column for each system, the best in bold, and in how many works we are not behind."""
    systems = list(figures.get("query", {}))
    if len(systems) <= 2:
        return []
    lines = [
        "",
        "### Beside other embedded stores",
        "",
        "| work | " + " | ".join(systems) + " | best |",
        "| --- |" + " ---: |" * len(systems) + " --- |",
    ]
    works = [work for work in TEN if all(row in figures for row in work.rows)]
    won = 0
    for work in works:
        cells = [_cell(work, figures, system) for system in systems]
        level = all(not_behind(figures[row], row, work.more) for row in work.rows)
        won += level
        verdict = "we are level or ahead" if level else "we are **behind**"
        lines.append(f"| {work.label} | " + " | ".join(cells) + f" | {verdict} |")
    lines += [
        "",
        f"Level with (within 5 %) or ahead of the best in **{won} of {len(works)}**, where the best"
        f" is the fastest of those whose recall is at least {RECALL} or ours, and that do the work"
        " as it is meant. Wall time; the second number is processor time, where it says more.",
        "",
    ]
    lines += [f"- {system}: {SETTINGS[system]}." for system in systems if system in SETTINGS]
    return lines


def best(figures: dict[str, Figure], row: str, more: bool = False) -> str:
    """The fastest system that counts in a row."""
    ours = figures["vermilion"].get("recall", 1.0)
    able = {
        system: _value(figure)
        for system, figure in figures.items()
        if figure.get("recall", 1.0) >= min(RECALL, ours) and row not in BUT.get(system, {})
    }
    return max(able, key=lambda one: able[one]) if more else min(able, key=lambda one: able[one])


def not_behind(figures: dict[str, Figure], row: str, more: bool) -> bool:
    """Whether vermilion is the best, or nearly so."""
    ours, theirs = _value(figures["vermilion"]), _value(figures[best(figures, row, more)])
    return ours * LEVEL >= theirs if more else ours <= LEVEL * theirs


def _value(figure: Figure) -> float:
    return float(figure["value"] if "value" in figure else figure["wall"])


def _cell(work: Work, figures: Figures, system: str) -> str:
    return "; ".join(_entry(figures[row], row, system, work.more) for row in work.rows)


def _entry(figures: dict[str, Figure], row: str, system: str, more: bool) -> str:
    if system not in figures:
        return "– " + CANNOT.get(system, {}).get(row, "not asked")
    figure = figures[system]
    text = number(_value(figure))
    if best(figures, row, more) == system:
        text = f"**{text}**"
    if "cpu" in figure:
        text += f" / {number(figure['cpu'])}"
    if "recall" in figure:
        text += f" · {figure['recall']:.3f}"
    note = BUT.get(system, {}).get(row) or NOTES.get(system, {}).get(row)
    return f"{text} ({note})" if note else text


def selectivity(figures: Figures) -> list[str]:
    """Times and recall by the share of records that a filter lets through."""
    rows = {
        name.removeprefix("selectivity "): row["vermilion"]
        for name, row in figures.items()
        if name.startswith("selectivity ")
    }
    if not rows:
        return []
    kinds = ("random", "fresh", "near", "far")
    plain = rows["unfiltered"]
    lines = [
        "",
        "### By what a filter lets through",
        "",
        f"Without a filter: {_times(plain)}.",
        "",
        "| let through | random, the same filter | random, another each time | nearest to an anchor"
        " | farthest from it |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    for share in [name.split()[1] for name in rows if name.startswith("random ")]:
        cells = [_times(rows[f"{kind} {share}"], plain) for kind in kinds]
        lines.append(f"| {share.replace('.0%', '%').replace('%', ' %')} | {' | '.join(cells)} |")
    return lines


def _times(figure: Figure, plain: Figure | None = None) -> str:
    times = f" · {number(figure['wall'] / plain['wall'])}×" if plain else ""
    wall, cpu = number(figure["wall"]), number(figure["cpu"])
    return f"{wall} / {cpu} ms{times} · {figure['recall']:.3f}"
