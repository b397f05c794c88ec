"""`tx emoji-clean`: texts without emoji."""

from __future__ import annotations

import argparse
from typing import Any

from vermilion.pipes import steps
from vermilion.pipes.files import need
from vermilion.pipes.lines import Record

TX = "Change texts: emoji-clean"
EMOJI_CLEAN = "Take emoji out of documents"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares `tx emoji-clean` and its arguments."""
    kinds = parser.add_subparsers(title="changes", metavar="CHANGE", required=True)
    emoji = kinds.add_parser("emoji-clean", help=EMOJI_CLEAN, description=f"{EMOJI_CLEAN}.")
    steps.add_arguments(emoji)
    emoji.add_argument("--metadata-clean", "-m", action="store_true", help="out of metadata, too")


def tx(arguments: argparse.Namespace) -> None:
    """Writes the records without emoji; embeddings stay as they are."""
    replace_emoji = need("emoji").replace_emoji

    def cleaned(value: Any) -> Any:
        if isinstance(value, list):
            return [cleaned(one) for one in value]
        return replace_emoji(value, "") if isinstance(value, str) else value

    def change(record: Record) -> list[Record]:
        record["text_chunk"] = cleaned(steps.text_of(record))
        if arguments.metadata_clean and record["metadata"]:
            metadata = steps.metadata_of(record)
            record["metadata"] = {key: cleaned(value) for key, value in metadata.items()}
        return [record]

    steps.run(arguments, "cleaned", change)
