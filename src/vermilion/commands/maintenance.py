"""The commands that look after a directory: `vermilion check`, `salvage` and `compact`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from vermilion.errors import DamagedError, NotFoundError

if TYPE_CHECKING:
    from vermilion.reports import Problem

CHECK = "Tell what is wrong with the files of a database"
SALVAGE = "Bring the readable records of a damaged database into a new one"
COMPACT = "Give room that deleted records left behind back to the disk"


def add_check_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `vermilion check`."""
    _add_path(parser)
    parser.add_argument(
        "--deep", action="store_true", help="read every record and compare the indexes with them"
    )


def check(arguments: argparse.Namespace) -> None:
    """Prints the problems, one a line. Raises DamagedError when there are any."""
    from vermilion.local.engine import LocalEngine  # loads SQLite: other commands need not wait

    engine = LocalEngine(_existing(arguments.path))
    try:
        problems = engine.check(arguments.deep)
    finally:
        engine.close()
    for problem in problems:
        print(_line(problem))
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise DamagedError(f"{count} in {arguments.path}")
    print(f"{arguments.path}: no problems")


def add_salvage_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `vermilion salvage`."""
    _add_path(parser)
    parser.add_argument("target", metavar="NEW_PATH", type=Path, help="a directory to be made")


def salvage(arguments: argparse.Namespace) -> None:
    """Prints what came out of each collection."""
    from vermilion.local.salvage import REPORT, salvage  # as above

    for one in salvage(arguments.path, arguments.target):
        print(f"{one.name}: {one.records} records, {one.lost} losses")
    print(f"What was lost, and all that is known of it: {arguments.target / REPORT}")


def add_compact_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `vermilion compact`."""
    _add_path(parser)


def compact(arguments: argparse.Namespace) -> None:
    """Compacts every collection of every database, and prints what each gave back."""
    from vermilion.local.engine import LocalEngine  # as above

    engine = LocalEngine(_existing(arguments.path))
    try:
        for name, bytes in engine.compact_all():
            print(f"{name}: {bytes / 1e6:,.1f} MB given back")
    finally:
        engine.close()


def _add_path(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", type=Path, help="the directory of the database")


def _existing(path: Path) -> Path:
    """Opening a directory would make one."""
    if not (path / "catalogue.db").is_file():
        raise NotFoundError(f"{path} holds no database")
    return path


def _line(problem: Problem) -> str:
    where = problem.name or problem.collection or "the catalogue"
    heals = " (made again by itself)" if problem.repairable else ""
    return f"{where}: {problem.kind}: {problem.detail}{heals}"
