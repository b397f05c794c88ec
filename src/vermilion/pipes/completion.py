"""Completion of command lines in a shell: a script that shtab makes of the parser."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vermilion.errors import VermilionError
from vermilion.pipes.files import need

# Where each shell looks for the script of a command, below the home directory.
PLACES = {
    "bash": ".local/share/bash-completion/completions/{name}",
    "zsh": ".zfunc/_{name}",
    "tcsh": ".config/tcsh/completions/{name}.csh",
}
# What else the shell has to be told, once.
HINTS = {
    "bash": "a new shell completes {name}",
    "zsh": "with `fpath+=~/.zfunc; autoload -Uz compinit; compinit` in ~/.zshrc a new shell "
    "completes {name}",
    "tcsh": "with `source ~/{place}` in ~/.tcshrc a new shell completes {name}",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares --install-completion and --show-completion."""
    for flag, says in (
        ("--install-completion", "install the completion of a shell: bash, zsh or tcsh [$SHELL]"),
        ("--show-completion", "print the same, to be read by the shell"),
    ):
        parser.add_argument(
            flag, action=_Completion, nargs="?", choices=list(PLACES), metavar="SHELL", help=says
        )


class _Completion(argparse.Action):
    """Does it and ends, as --help does."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option: str | None = None,
    ) -> None:
        shell = str(values or Path(os.environ.get("SHELL", "bash")).name)
        if shell not in PLACES:
            parser.error(f"{option}: no completion for {shell}, only for {', '.join(PLACES)}")
        try:
            script: str = need("shtab").complete(parser, shell=shell)
        except VermilionError as error:
            parser.exit(1, f"{parser.prog}: error: {error}\n")
        if option == "--show-completion":
            sys.stdout.write(f"{script}\n")
        else:
            sys.stdout.write(f"{_install(script, shell, parser.prog)}\n")
        parser.exit()


def _install(script: str, shell: str, name: str) -> str:
    place = PLACES[shell].format(name=name)
    path = Path.home() / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script, encoding="utf-8")
    return f"{path} is written; {HINTS[shell].format(name=name, place=place)}"
