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


TEN = [
    Work("load until every index is complete, rows/s / CPU", ("load complete",)),
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
    works = [work for work in TEN if all(row in figures for row in work.rows)]
    lines = [
        "",
        "### Beside other embedded stores",
        "",
        "| work | " + " | ".join(systems) + " | vermilion, by wall / CPU |",
        "| --- |" + " ---: |" * len(systems) + " --- |",
    ]
    kept = {"wall": 0, "cpu": 0}
    for work in works:
        verdicts = []
        for by in kept:
            level = all(not_behind(costs(figures, row, by)) for row in work.rows)
            kept[by] += level
            verdicts.append("in front" if level else "**behind**")
        cells = ["; ".join(_entry(figures, row, one) for row in work.rows) for one in systems]
        lines.append(f"| {work.label} | {' | '.join(cells)} | {' / '.join(verdicts)} |")
    lines += [
        "",
        f"Vermilion is level with (within 5 %) or ahead of the best in **{kept['wall']} of"
        f" {len(works)}** by wall time and in **{kept['cpu']}** by processor time. The best is the"
        f" fastest of those that have a recall of {RECALL}, or ours, and do the work as meant.",
        "",
    ]
    lines += [f"- {system}: {SETTINGS[system]}." for system in systems if system in SETTINGS]
    return lines


def costs(figures: Figures, row: str, by: str) -> dict[str, float]:
    """What a work costs each system that does it well enough: wall or processor time."""
    ours = figures[row]["vermilion"].get("recall", 1.0)
    return {
        system: _cost(figures, row, system, by)
        for system, figure in figures[row].items()
        if figure.get("recall", 1.0) >= min(RECALL, ours) and row not in BUT.get(system, {})
    }


def _cost(figures: Figures, row: str, system: str, by: str) -> float:
    figure = figures[row][system]
    if "value" not in figure:
        return float(figure[by])
    # Of the load, a rate is told, and apart from it what it took of the processors.
    return 1 / figure["value"] if by == "wall" else load_cpu(figures, system)


def load_cpu(figures: Figures, system: str) -> float:
    """Processor seconds of a load, those of processes that build indexes included."""
    parts = (figures.get(name, {}).get(system) for name in ("load cpu", "builder cpu"))
    return float(sum(part["value"] for part in parts if part))


def not_behind(cost: dict[str, float]) -> bool:
    """Whether vermilion is the best, or nearly so."""
    return cost["vermilion"] <= LEVEL * min(cost.values())


def _entry(figures: Figures, row: str, system: str) -> str:
    if system not in figures[row]:
        return "– " + CANNOT.get(system, {}).get(row, "not asked")
    figure, cost = figures[row][system], costs(figures, row, "wall")
    text = number(figure["value"] if "value" in figure else figure["wall"])
    if system in cost and cost[system] == min(cost.values()):
        text = f"**{text}**"
    if "value" in figure:
        text += f" / {number(load_cpu(figures, system))} s"
    else:
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
