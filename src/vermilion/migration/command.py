"""The command `vermilion migrate`."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from vermilion.errors import DamagedError, StorageError

if TYPE_CHECKING:  # other commands need not wait for them
    from vermilion.migration.moving import Moved, Progress, Report
    from vermilion.migration.places import Source

PURPOSE = "Bring everything from a directory or a server of Chroma, or back into one"
REPORT = "migration.jsonl"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `vermilion migrate`."""
    parser.add_argument(
        "source", metavar="SOURCE", help="a directory of Chroma, damaged or not; or a server's URL"
    )
    parser.add_argument(
        "target", metavar="DEST", help="a directory, made if need be; or a server's URL"
    )
    parser.add_argument(
        "--to",
        choices=("vermilion", "chroma"),
        default="vermilion",
        help="what DEST becomes; chroma: a new directory that Chroma 1.5 opens",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="read everything, write nothing, tell what there is"
    )
    parser.add_argument(
        "--verify",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="read back what was written and compare (default)",
    )
    for name, noun in (("tenant", "T"), ("database", "D"), ("collection", "NAME")):
        parser.add_argument(
            f"--{name}",
            metavar=noun,
            action="append",
            default=[],
            help=f"only this {name}; may be repeated",
        )
    taken = parser.add_mutually_exclusive_group()
    taken.add_argument(
        "--replace", action="store_true", help="take the place of collections of the same names"
    )
    taken.add_argument(
        "--skip-existing", action="store_true", help="leave collections of the same names as is"
    )
    parser.add_argument(
        "--report",
        metavar="FILE",
        type=Path,
        help=f"what was moved and what is lost, one JSON a line (default: {REPORT} in DEST)",
    )
    for end in ("source", "target"):
        parser.add_argument(
            f"--{end}-token-env",
            metavar="VARIABLE",
            help=f"the environment variable that holds the {end} server's token",
        )


def run(arguments: argparse.Namespace) -> None:
    """Moves, prints a line for each collection, and raises if anything is lost or failed."""
    from vermilion.migration.places import is_url, open_source, token_of

    token = token_of(arguments.source_token_env)
    source = open_source(arguments.source, arguments.tenant, token)
    with closing(source):
        report = _moved(arguments, source)
    file = arguments.report
    if file is None and not is_url(arguments.target) and not arguments.dry_run:
        file = Path(arguments.target) / REPORT if report.losses else None
    if file is not None:
        write_report(report, file)
    for one in report.collections:
        print(line(one))
    _tell(report, file)


def _moved(arguments: argparse.Namespace, source: Source) -> Report:
    from vermilion.migration import moving
    from vermilion.migration.places import is_url, open_target, token_of

    options = moving.Options(
        tuple(arguments.tenant),
        tuple(arguments.database),
        tuple(arguments.collection),
        dry_run=arguments.dry_run,
        verify=arguments.verify,
        replace=arguments.replace,
        skip_existing=arguments.skip_existing,
    )
    progress = _progress() if sys.stderr.isatty() else _nothing
    if arguments.dry_run:
        return moving.migrate(source, None, options, progress)
    if arguments.to == "chroma" and not is_url(arguments.target):
        from vermilion.migration.chroma_writer import write_chroma

        return write_chroma(source, Path(arguments.target), options, progress)
    target = open_target(arguments.target, token_of(arguments.target_token_env))
    with closing(target):
        return moving.migrate(source, target, options, progress)


def _nothing(title: str, rows: int) -> None:
    """Whoever reads a log has no use for progress."""


def _progress() -> Progress:
    last = 0

    def tell(title: str, rows: int) -> None:
        nonlocal last
        end = "\n" if rows < last else ""
        last = rows
        sys.stderr.write(f"{end}\r{title}: {rows:,} rows")
        sys.stderr.flush()

    return tell


def line(one: Moved) -> str:
    """What became of a collection, for people."""
    if one.error is not None:
        return f"{one.title}: not migrated: {one.error}"
    verified = ", verified" if one.verified else ""
    noted = f", {one.noted} remarks" if one.noted else ""
    return (
        f"{one.title}: {one.rows + one.lost} records, {one.rows} with vectors, "
        f"{one.lost} lost{noted}: {one.outcome}{verified}"
    )


def write_report(report: Report, file: Path) -> None:
    """Writes all that is known, one JSON a line."""
    try:
        with open(file, "w", encoding="utf-8") as out:
            forms = [{"kind": "collection", **asdict(one)} for one in report.collections]
            forms += [{"kind": "loss", **asdict(one)} for one in report.losses]
            for form in forms:
                out.write(json.dumps(form, ensure_ascii=False, default=repr) + "\n")
    except OSError as error:
        raise StorageError(f"The report cannot be written: {error}") from error


def _tell(report: Report, file: Path | None) -> None:
    """Raises what is wrong in one line; where a report was written, it says more."""
    where = f": see {file}" if file is not None else "; --report FILE tells more"
    failed, lost = len(report.failed), report.lost
    if failed:
        raise DamagedError(
            f"{failed} of {len(report.collections)} collections were not migrated, {lost} records "
            f"are lost{where}"
        )
    if report.losses:
        raise DamagedError(
            f"{lost} records are lost, and there are {len(report.losses) - lost} remarks{where}"
        )
