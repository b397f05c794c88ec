"""The command `vermilion`: a table of subcommands, and how each of them may fail.

Exit codes: 0 done, 1 an error in one line on stderr, 2 a wrong command line, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, NoReturn

from vermilion.api import backups
from vermilion.commands import demo, maintenance, models
from vermilion.errors import VermilionError
from vermilion.migration import command as migration
from vermilion.pipes import command as pipes
from vermilion.pipes import completion
from vermilion.pipes.uri import redacted
from vermilion.server import command as server
from vermilion.version import __version__

FAILED, WRONG_USE, INTERRUPTED, BROKEN_PIPE = 1, 2, 130, 141


class Parser(argparse.ArgumentParser):
    """Shows no secret of a URI when a command line is wrong."""

    def error(self, message: str) -> NoReturn:
        """See argparse."""
        super().error(redacted(message))


class Command(NamedTuple):
    """One subcommand: what it is called, what it is for, its arguments and its work."""

    name: str
    purpose: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]


COMMANDS = (
    Command("demo", demo.PURPOSE, demo.add_arguments, demo.run),
    Command("run", server.RUN, server.add_run_arguments, server.run),
    Command("token", server.TOKEN, server.add_token_arguments, server.token),
    Command("check", maintenance.CHECK, maintenance.add_check_arguments, maintenance.check),
    Command("salvage", maintenance.SALVAGE, maintenance.add_salvage_arguments, maintenance.salvage),
    Command("compact", maintenance.COMPACT, maintenance.add_compact_arguments, maintenance.compact),
    Command("models", models.MODELS, models.add_arguments, models.run),
    Command("backup", backups.BACKUP, backups.add_backup_arguments, backups.backup),
    Command("backups", backups.BACKUPS, backups.add_backups_arguments, backups.backups),
    Command("restore", backups.RESTORE, backups.add_restore_arguments, backups.restore),
    Command("migrate", migration.PURPOSE, migration.add_arguments, migration.run),
    *(Command(*row) for row in pipes.ROWS),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code; a wrong one exits with 2, as argparse does.

    >>> main(["demo", "--limit", "200", "--question", "a songbird"])
    0
    """
    return _run(make_parser(), argv)


def cdp(argv: Sequence[str] | None = None) -> int:
    """Runs the command `cdp`: the pipes alone, under the name that Chroma's users know."""
    return _run(make_cdp_parser(), argv)


def _run(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> int:
    arguments = _parsed(parser, argv)
    if arguments.command is None:
        parser.print_help(sys.stderr)
        return WRONG_USE
    return _guarded(parser.prog, arguments.command, arguments)


def _parsed(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments, of which the file INF may stand behind flags, too.

    argparse of Python 3.11 looks for an optional argument only before the first flag.
    """
    arguments, rest = parser.parse_known_args(argv)
    late = rest == ["-"] or (len(rest) == 1 and not rest[0].startswith("-"))
    if late and getattr(arguments, "inf", "") is None:
        arguments.inf = rest[0]
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return arguments


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    return _parser("vermilion", "The embedding database that speaks Chroma.", COMMANDS)


def make_cdp_parser() -> argparse.ArgumentParser:
    """The parser of `cdp`."""
    rows = [Command(*row) for row in pipes.ROWS]
    return _parser("cdp", "Data pipes: records in and out of collections, as lines.", rows)


def _parser(prog: str, says: str, commands: Iterable[Command]) -> argparse.ArgumentParser:
    parser = Parser(prog, description=says)
    completion.add_arguments(parser)
    parser.add_argument("--version", action="version", version=f"vermilion {__version__}")
    parser.set_defaults(command=None)
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in commands:
        subparser = subparsers.add_parser(
            command.name, help=command.purpose, description=f"{command.purpose}."
        )
        command.add_arguments(subparser)
        subparser.set_defaults(command=command)
    return parser


def _guarded(prog: str, command: Command, arguments: argparse.Namespace) -> int:
    """Runs a command; what a user can do something about is told without a traceback."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What users type is echoed, and need not be printable in their own encoding.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: _complain(prog, "warning", message)
            command.run(arguments)
            sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # As in `vermilion demo | head`: Python would flush, and fail, once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except (VermilionError, OSError) as error:
        _complain(prog, "error", error)
        return FAILED
    return 0


def _complain(prog: str, kind: str, message: object) -> None:
    line = redacted(" ".join(str(message).split()))
    print(f"{prog}: {kind}: {line}", file=sys.stderr)
