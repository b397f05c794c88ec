"""Writes the tables in docs/ and the README that come from the code and from benchmarks/results/.

--check only tells whether they are current.

python scripts/make_docs.py [--check]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path

from vermilion import cli, errors
from vermilion.configuration import PARAMETERS, Hnsw
from vermilion.embeddings.lookup import register_all
from vermilion.embeddings.provider import Provider
from vermilion.embeddings.providers import PROVIDERS
from vermilion.embeddings.sparse import sparse_known_embedding_functions
from vermilion.pipes.command import ROWS as PIPES
from vermilion.query.where import DOCUMENT_OPERATORS, ID_OPERATORS, OPERATORS, SHORTHANDS, Operator
from vermilion.server.settings import ServerSettings
from vermilion.wire.table import OPERATIONS

DOCS = Path(__file__).parent.parent / "docs"
RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"
OPERANDS = {
    "scalar": "str, int, float, bool, date or datetime",
    "ordered": "int or float; date, datetime or the text of one",
    "scalars": "list of str, int, float, bool, date, datetime",
    "element": "str, int, float, bool, date or datetime",
    "text": "str, not empty",
    "pattern": "str, a regular expression",
    "piece": "str, not empty",
    "flag": "bool",
    "count": "int",
}


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    lines = [list(map(str, head)), ["---"] * len(list(head)), *(list(map(str, r)) for r in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def operators(rows: dict[str, Operator], *shorthands: str) -> str:
    """A table of filter operators."""
    told = [(row.name, OPERANDS[row.accepts], row.says, row.ours) for row in rows.values()]
    told += [(name, *SHORTHANDS[name], True) for name in shorthands]
    return table(
        ["operator", "operand", "matches a record whose value", "in Chroma"],
        [(f"`{name}`", takes, says, "" if ours else "yes") for name, takes, says, ours in told],
    )


def parameters() -> str:
    """The table of index parameters."""
    return table(
        ['`configuration["hnsw"]`', "default", "allowed", "`modify`", "old metadata key", "steers"],
        [
            (
                f"`{name}`",
                getattr(Hnsw(), name) or "processors",
                f"{row.low:g} to {row.high:g}",
                "yes" if row.mutable else "no",
                f"`{row.legacy}`",
                row.says,
            )
            for name, row in PARAMETERS.items()
        ],
    )


def error_classes() -> str:
    """The table of exceptions."""
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.VermilionError)
    ]
    return table(
        ["class", "is also", "status", "means"],
        [
            (
                f"`{kind.__name__}`",
                ", ".join(f"`{base.__name__}`" for base in kind.__bases__),
                kind.status,
                (kind.__doc__ or "").splitlines()[0],
            )
            for kind in dict.fromkeys(kinds)
        ],
    )


def commands() -> str:
    """The table of commands."""
    return table(
        ["command", "does"], [(f"`vermilion {row.name}`", row.purpose) for row in cli.COMMANDS]
    )


def pipes() -> str:
    """For every command of the pipes a table of its arguments."""
    rows = []
    for row in PIPES:
        parser = argparse.ArgumentParser(row[0])
        row[2](parser)
        rows += _arguments(row[0], row[1], parser)
    return table(["command", "argument", "is"], rows)


def _arguments(name: str, says: str, parser: argparse.ArgumentParser) -> list[tuple[str, str, str]]:
    rows = [(f"**`{name}`**", "", f"**{says}**")]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for kind, inner in action.choices.items():
                rows += _arguments(f"{name} {kind}", str(inner.description).rstrip("."), inner)
        elif not isinstance(action, argparse._HelpAction):
            flags = [f"`{one}`" for one in action.option_strings] or [f"`{action.metavar}`"]
            told = "\\|".join(map(str, action.choices)) if action.choices else ""
            told = f" `{told}`" if told else ""
            rows.append(("", f"{', '.join(flags)}{told}", str(action.help).replace("|", "\\|")))
    return rows


def providers() -> str:
    """The table of providers of embeddings."""
    return table(
        ["class", "stored as", "embeds with", "key from", "inputs a request", "address"],
        [
            (
                f"`{row.class_name}`",
                f"`{row.name}`",
                row.title + (" (texts and images)" if row.images else ""),
                " or ".join(f"`{name}`" for name in _key_variables(row)) or "no key",
                row.batch,
                f"`{row.override or 'base_url'}=`, `{row.variable}`",
            )
            for row in PROVIDERS
        ],
    )


def sparse_functions() -> str:
    """The table of functions that make sparse vectors."""
    register_all()
    kinds = sorted(sparse_known_embedding_functions.items())
    return table(
        ["class", "stored as", "is"],
        [
            (f"`{kind.__name__}`", f"`{name}`", (kind.__doc__ or "").splitlines()[0])
            for name, kind in kinds
        ],
    )


def _key_variables(row: Provider) -> list[str]:
    own = [one.default for one in row.parameters if one.name == "api_key_env_var" and one.default]
    return [name for name in (row.prefers, *own) if name]


def snippets() -> str:
    """How each function is made."""
    calls = [_call(row.class_name, row.example) for row in PROVIDERS if not row.retired]
    return "```python\n" + "\n".join(calls) + "\n```"


def _call(name: str, arguments: Mapping[str, object]) -> str:
    """A call as the formatter writes it: on one line, or with a line for each argument."""
    told = [f"{key}={value!r}".replace("'", '"') for key, value in arguments.items()]
    line = f"{name}({', '.join(told)})"
    return line if len(line) <= 100 else "\n".join([f"{name}(", *(f"    {x}," for x in told), ")"])


def routes() -> str:
    """The table of the HTTP API."""
    return table(
        ["method", "path", "does", "right", ""],
        [
            (
                row.method,
                f"`{row.path or '/'}`",
                row.says,
                row.right,
                "Vermilion's own" if row.ours else "",
            )
            for row in (kind.route for kind in OPERATIONS)
        ],
    )


def server_settings() -> str:
    """The table of the server's settings."""
    return table(
        ["setting", "default", "is", "in Chroma's files"],
        [
            (
                f"`{one.name}`",
                f"`{vars(ServerSettings())[one.name]}`" if vars(ServerSettings())[one.name] else "",
                one.metadata["says"],
                ", ".join(f"`{name}`" for name in one.metadata["others"]),
            )
            for one in fields(ServerSettings)
        ],
    )


def schema(name: str) -> str:
    """A .sql file of the package, comments and all."""
    text = (Path(cli.__file__).parent / "local" / name).read_text(encoding="utf-8")
    return f"```sql\n{text.strip()}\n```"


def result(name: str) -> str:
    """The tables that compare.py wrote beside its figures."""
    return (RESULTS / name).read_text(encoding="utf-8").strip()


# The README's rows of compare-100k.md, and what they are called there.
HEADLINE = {
    "load until durable and visible, batches of 1,000": "load, durable and searchable",
    "files after the load": "files after that",
    "open and first query, new process": "open and first query in a new process",
    "resident memory after that": "resident memory after that",
    "query, 10 nearest": "query, 10 nearest with documents",
    "… where equality": "… with a filter that came before, equality",
    "… where $and of ranges": "… with a filter that came before, three ranges",
    "… $contains, common": "… with `$contains`",
    "get 1 id": "get one id",
    "page of 1,000 at offset 90 %": "page of 1,000 at 90 %",
    "add 1": "add one record, durable",
}


def headline() -> str:
    """A few rows of the benchmark, wall times alone."""
    against = result("compare-100k.md").partition("### Beside")[0]
    cells = [line.split(" | ") for line in against.splitlines()]
    there = {row[0].removeprefix("| "): row[1:4] for row in cells if len(row) > 4}
    rows = [(HEADLINE[name], *map(_wall, there[name])) for name in HEADLINE]
    return table(["100,000 texts, 384 dimensions", "Vermilion", "Chroma 1.5.9", "ratio"], rows)


def _wall(cell: str) -> str:
    """The first of "wall / CPU unit", with the unit."""
    wall, _, cpu = cell.partition(" / ")
    return wall + cpu[len(cpu.rstrip(" abcdefghijklmnopqrstuvwxyz")) :] if cpu else wall


TABLES: dict[str, tuple[str, Callable[[], str]]] = {
    "metadata-operators": ("filters.md", lambda: operators(OPERATORS, *SHORTHANDS)),
    "document-operators": ("filters.md", lambda: operators(DOCUMENT_OPERATORS, "$not")),
    "id-operators": ("filters.md", lambda: operators(ID_OPERATORS, "$not")),
    "parameters": ("configuration.md", parameters),
    "errors": ("errors.md", error_classes),
    "commands": ("cli.md", commands),
    "pipes": ("pipes.md", pipes),
    "routes": ("http-api.md", routes),
    "server-settings": ("server.md", server_settings),
    "providers": ("embedding-functions.md", providers),
    "sparse-functions": ("embedding-functions.md", sparse_functions),
    "provider-snippets": ("embedding-functions.md", snippets),
    "store-schema": ("storage.md", lambda: schema("store.sql")),
    "wordnet": ("benchmarks.md", lambda: result("compare-100k.md")),
    "tenth": ("benchmarks.md", lambda: result("compare-10k.md")),
    "searches": ("benchmarks.md", lambda: result("search-100k.md")),
    "headline": ("../README.md", headline),
    "served": ("server.md", lambda: result("server-100k.md")),
    "workers": ("server.md", lambda: result("server-workers.md")),
    "bible": ("benchmarks.md", lambda: result("compare-bible.md")),
    "catalogue-schema": ("storage.md", lambda: schema("catalogue.sql")),
}


def with_tables(name: str, text: str) -> str:
    """The page with every table between its marks made anew."""
    for mark, (page, make) in TABLES.items():
        if page != name:
            continue
        start, end = f"<!-- {mark}: made by scripts/make_docs.py -->", f"<!-- end of {mark} -->"
        before, _, rest = text.partition(start)
        _, _, after = rest.partition(end)
        text = f"{before}{start}\n\n{make()}\n\n{end}{after}"
    return text


def main() -> int:
    """Writes or checks; 1 when --check finds a page that is out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, only tell")
    check = parser.parse_args().check
    stale = []
    for name in sorted({page for page, _ in TABLES.values()}):
        path = DOCS / name
        old = path.read_text(encoding="utf-8")
        new = with_tables(name, old)
        if new != old:
            stale.append(name)
            if not check:
                path.write_text(new, encoding="utf-8")
    if stale:
        print(f"{'out of date' if check else 'written'}: {', '.join(stale)}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
