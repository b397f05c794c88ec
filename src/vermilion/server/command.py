"""The commands `vermilion run` and `vermilion token`."""

from __future__ import annotations

import argparse
import getpass
import os
import stat
import sys
from contextlib import suppress
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from vermilion.errors import ArgumentValueError
from vermilion.server.settings import KINDS, ServerSettings, environment, settings_from
from vermilion.types import DEFAULT_DATABASE, DEFAULT_TENANT

RUN = "Serve a database over HTTP, to Chroma's clients and ours"
TOKEN = "Make a token for a server's callers, and its entry in the file of tokens"


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `vermilion run`: a flag for every setting."""
    parser.add_argument("file", metavar="CONFIG", nargs="?", type=Path, help="a TOML or YAML file")
    parser.add_argument("--config", metavar="CONFIG", type=Path, help="the same")
    for one in fields(ServerSettings):
        _add_flag(parser, one)


def _add_flag(parser: argparse.ArgumentParser, one: Field[Any]) -> None:
    name, kind, says = "--" + one.name.replace("_", "-"), KINDS[one.name], one.metadata["says"]
    if kind is bool:
        parser.add_argument(name, action=argparse.BooleanOptionalAction, default=None, help=says)
    elif kind is list:
        parser.add_argument(name, action="append", metavar="ORIGIN", help=says)
    else:
        shown = f"{says} [{one.default}]" if one.default not in ("", 0) else says
        parser.add_argument(name, type=kind, metavar=kind.__name__.upper(), help=shown)


def run(arguments: argparse.Namespace) -> None:
    """Serves until it is told to stop."""
    file = arguments.config or arguments.file
    if arguments.config and arguments.file:
        raise ArgumentValueError("One configuration file is enough")
    flags = {one.name: getattr(arguments, one.name) for one in fields(ServerSettings)}
    settings = settings_from(flags, environment(), file)
    try:
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ArgumentValueError(
            f"{error.name} is not installed: pip install 'vermilion[server]'"
        ) from None
    from vermilion.server import serving

    serving.start_logging(settings)
    serving.serve(settings, lambda line: print(line, flush=True))


def add_token_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `vermilion token`."""
    parser.add_argument("name", metavar="NAME", help="whose token it is; logs show it")
    parser.add_argument("--file", type=Path, help="where the entry is added; else it is printed")
    parser.add_argument("--tenant", default=DEFAULT_TENANT, help="the tenant, or * for all")
    parser.add_argument(
        "--database", action="append", metavar="NAME", help="a database, or * for all of them"
    )
    parser.add_argument(
        "--rights", default="read,write", help="of read, write and admin [read,write]"
    )
    parser.add_argument(
        "--password", action="store_true", help="ask for a password instead of making a token"
    )


def token(arguments: argparse.Namespace) -> None:
    """Prints the secret, which is kept nowhere, and writes its entry."""
    from vermilion.server import tokens

    if arguments.password:
        secret = getpass.getpass("Password: ") if sys.stdin.isatty() else input()
        hash = tokens.scrypt(secret)
    else:
        secret = tokens.new_secret()
        hash = tokens.sha256(secret)
    made = tokens.Token(
        arguments.name,
        hash,
        arguments.tenant,
        tuple(arguments.database or [DEFAULT_DATABASE]),
        frozenset(one.strip() for one in arguments.rights.split(",")),
    )
    entry = tokens.written(made)
    before = ""
    if arguments.file is not None and arguments.file.exists():
        before = arguments.file.read_text(encoding="utf-8").rstrip() + "\n\n"
    tokens.parse(before + entry)  # a name that is taken, or a right that is none, is told here
    if arguments.file is not None:
        _replace(arguments.file, before + entry)
    else:
        print(entry)
    if not arguments.password:
        print(secret)


def _replace(path: Path, text: str) -> None:
    """Servers that read the file see the old one or the new one, and may still read it."""
    draft = path.with_name(path.name + ".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    if path.exists() and os.name == "posix":
        before = path.stat()
        with suppress(PermissionError):  # a file of somebody else, whose group we are not in
            os.chown(draft, before.st_uid, before.st_gid)
        draft.chmod(stat.S_IMODE(before.st_mode))
    draft.replace(path)
