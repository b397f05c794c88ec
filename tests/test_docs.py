"""The documentation says what the code does: tables are made from it, and its code blocks run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from vermilion import cli, errors
from vermilion.configuration import PARAMETERS
from vermilion.query.operators import DOCUMENT_OPERATORS, OPERATORS, SHORTHANDS

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def run(code: str, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_tables_are_current() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "make_docs.py"), "--check"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_operator_parameter_error_and_command_is_documented() -> None:
    kinds = [name for name in dir(errors) if name.endswith(("Error", "Exception"))]
    for page, names in {
        "docs/filters.md": [*OPERATORS, *DOCUMENT_OPERATORS, *SHORTHANDS, "$and", "$or"],
        "docs/configuration.md": [*PARAMETERS, "space"],
        "docs/errors.md": kinds,
        "docs/cli.md": [f"vermilion {row.name}" for row in cli.COMMANDS],
    }.items():
        missing = [name for name in names if f"`{name}`" not in text(page)]
        assert missing == [], page


@pytest.mark.parametrize("number", range(len(BLOCK.findall(text("README.md")))))
def test_the_code_of_the_readme_runs(number: int, tmp_path: Path) -> None:
    run(BLOCK.findall(text("README.md"))[number], tmp_path)


def test_the_quick_start_prints_what_it_says(tmp_path: Path) -> None:
    code = BLOCK.findall(text("README.md"))[0]
    promised = re.search(r"# (\[\[.*\]\])", code)
    assert promised is not None
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == promised[1]


PRELUDE = """
import vermilion
client = vermilion.EphemeralClient()
collection = client.create_collection("books")
collection.add(ids=["1"], documents=["the whale"], metadatas=[{"year": 1851, "genre": "novel"}])
"""


@pytest.mark.parametrize(
    "page",
    ["clients", "filters", "search", "writing", "configuration", "storage"]
    + ["history", "recipes"],
)
def test_the_code_of_the_guides_runs(page: str, tmp_path: Path) -> None:
    for block in BLOCK.findall(text(f"docs/{page}.md")):
        run(PRELUDE + block, tmp_path)


SHELL = re.compile(r"```sh\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("number", range(len(SHELL.findall(text("docs/recipes.md")))))
def test_the_commands_of_the_recipes_run(number: int, tmp_path: Path) -> None:
    made = PRELUDE.replace("EphemeralClient()", 'PersistentClient("my_data")')
    subprocess.run([sys.executable, "-c", f"{made}\nclient.close()"], cwd=tmp_path, check=True)
    subprocess.run(
        ["bash", "-euo", "pipefail", "-c", SHELL.findall(text("docs/recipes.md"))[number]],
        cwd=tmp_path,
        check=True,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )


def test_the_tour_names_every_module_and_package_of_the_first_level() -> None:
    tour = text("README.md")
    source = ROOT / "src" / "vermilion"
    modules = {path.stem for path in source.glob("*.py")} - {"__init__", "__main__", "version"}
    packages = {f"{path.parent.name}/…" for path in source.glob("*/__init__.py")}
    assert sorted(name for name in modules | packages if f"`{name}`" not in tour) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_files_for_deployment_have_settings_that_exist() -> None:
    import tomllib

    from vermilion.server.settings import NAMES

    unit, image = text("deploy/vermilion.service"), text("deploy/Dockerfile")
    flags = re.findall(
        r'"?--([a-z-]+)', re.findall(r"^(?:CMD|ExecStart=).*", image + unit, re.M)[0]
    )
    flags += re.findall(r"vermilion run --([a-z-]+)", unit)
    assert set(flags) <= {name.replace("_", "-") for name in NAMES} | {"config"}
    variables = re.findall(r"VERMILION_([A-Z_]+)=", unit + image)
    assert {name.lower() for name in variables} <= set(NAMES)
    assert set(tomllib.loads(text("deploy/server.toml"))) <= set(NAMES)
