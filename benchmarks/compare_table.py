"""The table of compare.py: a row for each kind of work, with the goal that was set for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from compare_rivals import others, selectivity
from figures import Figure, number


def _milliseconds(figure: Figure) -> str:
    return f"{number(figure['wall'])} / {number(figure['cpu'])} ms"


def _rate(unit: str) -> Callable[[Figure], str]:
    return lambda figure: f"{number(figure['value'])} {unit}"


@dataclass(frozen=True)
class Row:
    """`show` writes a figure; `more` says that more is better; `goal` is the ratio aimed at."""

    name: str
    label: str
    goal: float | None = None
    show: Callable[[Figure], str] = _milliseconds
    more: bool = False


ROWS = [
    Row("load", "load until durable and visible, batches of 1,000", 20, _rate("rows/s"), True),
    Row("load first tenth", "… the first tenth", None, _rate("rows/s"), True),
    Row("load last tenth", "… the last tenth", None, _rate("rows/s"), True),
    Row("load complete", "load until every index is complete", 4, _rate("rows/s"), True),
    Row("load cpu", "processor time of the load, own process", None, _rate("s")),
    Row("builder cpu", "… of processes that build indexes", None, _rate("s")),
    Row("disk", "files after the load", 1 / 0.9, _rate("MB")),
    Row("query", "query, 10 nearest", 3),
    Row("equality", "… where equality", 30),
    Row("range", "… where $and of ranges", 30),
    Row("in", "… where $in", 30),
    Row("contains rare", "… $contains, rare", 30),
    Row("contains common", "… $contains, common", 15),
    Row("regex", "… $regex with a literal", 15),
    Row("correlated", "… where equality, correlated with the query", 30),
    Row("get 1", "get 1 id", 2),
    Row("get 100", "get 100 ids", 8),
    Row("get where", "get where equality, limit 10", 30),
    Row("page first", "page of 1,000 at offset 0"),
    Row("page late", "page of 1,000 at offset 90 %", 5),
    Row("count", "count", 20),
    Row("import", "import, new process"),
    Row("open", "open and first query, new process", 5),
    Row("memory", "resident memory after that", 1 / 0.6, _rate("MB")),
    Row("add 1", "add 1", 5),
    Row("upsert 1", "upsert 1, unchanged"),
    Row("upsert 100", "upsert 100, unchanged"),
    Row("upsert 1000", "upsert 1,000, unchanged"),
    Row("update 1", "update metadata of 1"),
    Row("update 100", "update metadata of 100"),
    Row("update 1000", "update metadata of 1,000"),
    Row("delete 1", "delete 1"),
    Row("delete 100", "delete 100"),
    Row("delete 1000", "delete 1,000"),
    Row("threads queries", "8 threads query beside 1 that writes", 3, _rate("queries/s"), True),
    Row("threads writes", "… what the writer gets done", 5, _rate("rows/s"), True),
    Row("collections", "200 small collections: what one of them takes, all four steps", 10),
    Row("collections create", "… create it"),
    Row("collections fill", "… add 10 rows, the first"),
    Row("collections query", "… first query"),
    Row("collections delete", "… delete it"),
]
STEPS = ("create", "fill", "query", "delete")


def ratio(row: Row, figures: dict[str, Figure]) -> float | None:
    """How many times better vermilion is; None when there is nothing to divide by."""
    key = "value" if "value" in figures["vermilion"] else "wall"
    ours, theirs = figures["vermilion"][key], figures["chromadb"][key]
    if not ours or not theirs:
        return None
    return float(ours / theirs if row.more else theirs / ours)


def cpu_ratio(figures: dict[str, Figure]) -> float | None:
    """The same of processor time, which a busy machine changes less; None where it is not told."""
    ours, theirs = (figures[system].get("cpu") for system in ("vermilion", "chromadb"))
    return float(theirs / ours) if ours and theirs else None


def markdown(content: dict[str, Any]) -> str:
    """The tables as Markdown, with a line that says where they come from."""
    figures = merged(content)
    versions = ", ".join(f"{system} {one}" for system, one in content["versions"].items())
    lines = [
        f"{content['rows']:,} rows, {content['date']}, {content['machine']}, Python"
        f" {content['python']}, {versions}. Load of the machine when the stages began and ended: "
        + ", ".join(f"{name} {one['load'][0]}–{one['load'][1]}" for name, one in _stages(content))
        + ".",
        "",
        "### Against chromadb",
        "",
        "| work | vermilion, wall / CPU | chromadb, wall / CPU | ratios of both | goal | recall |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    both = {"vermilion", "chromadb"}
    there = [row for row in ROWS if both <= figures.get(row.name, {}).keys()]
    lines += [_line(row, figures[row.name]) for row in there]
    return "\n".join([*lines, *others(figures), *selectivity(figures)]) + "\n"


def merged(content: dict[str, Any]) -> dict[str, dict[str, Figure]]:
    """The figures of all stages; two stages may have a part each of one work."""
    figures: dict[str, dict[str, Figure]] = {}
    for _, stage in _stages(content):
        for name, row in stage["figures"].items():
            figures.setdefault(name, {}).update(row)
    steps = [figures[f"collections {step}"] for step in STEPS if f"collections {step}" in figures]
    if steps:
        figures["collections"] = {
            system: _sum([one[system] for one in steps]) for system in steps[0]
        }
    return figures


def _sum(steps: list[Figure]) -> Figure:
    return {kind: sum(one[kind] for one in steps) for kind in ("wall", "cpu")}


def _stages(content: dict[str, Any]) -> list[tuple[str, Any]]:
    return list(content["stages"].items())


def _line(row: Row, figures: dict[str, Figure]) -> str:
    ours, theirs = figures["vermilion"], figures["chromadb"]
    times, cpu = ratio(row, figures), cpu_ratio(figures)
    both = "" if times is None else f"{number(times)}×" + (f" / {number(cpu)}×" if cpu else "")
    goal = "" if row.goal is None else f"{row.goal:.2g}×"
    missed = times is not None and row.goal is not None and times < row.goal
    recall = f"{ours['recall']:.3f}, {theirs['recall']:.3f}" if "recall" in ours else ""
    cells = [
        row.label,
        row.show(ours),
        row.show(theirs),
        both,
        f"{goal} **missed**" if missed else goal,
        recall,
    ]
    return "| " + " | ".join(cells) + " |"
