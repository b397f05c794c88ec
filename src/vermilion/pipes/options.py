"""Arguments that commands have in common: how they are declared, and how a URI overrides them.

What is wrong with one of them is a wrong command line: exit code 2, and no secret in the message.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from vermilion.configuration import SPACES
from vermilion.engine import Selection
from vermilion.errors import ArgumentValueError
from vermilion.pipes.lines import Features
from vermilion.pipes.uri import CollectionUri, DatasetUri, collection_uri, dataset_uri

T = TypeVar("T")

# What an environment file may set: nothing that steers another program.
ENVIRONMENT = (
    "OPENAI_API_KEY", "OPENAI_MODEL_NAME", "COHERE_API_KEY", "COHERE_MODEL_NAME", "HF_TOKEN",
    "HF_MODEL_NAME", "ST_MODEL_NAME", "ST_DEVICE", "ST_NORMALIZE", "GEMINI_API_KEY",
    "GEMINI_MODEL_NAME", "GEMINI_TASK_TYPE", "OLLAMA_MODEL_NAME", "OLLAMA_EMBED_URL",
    "CHROMA_BASIC_AUTH", "CHROMA_TOKEN_AUTH", "CHROMA_XTOKEN_AUTH",
)  # fmt: skip


def checked(read: Callable[[str], T]) -> Callable[[str], T]:
    """As argparse wants it: what the reader refuses is a wrong argument."""

    def argument(text: str) -> T:
        try:
            return read(text)
        except (ValueError, TypeError) as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return argument


# ── numbers ──────────────────────────────────────────────────────────────────────────────────────


def count(least: int) -> Callable[[str], int]:
    """A whole number, not smaller than `least`."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise ArgumentValueError(f"expected a number from {least} on, got {text!r}")
        return number

    return checked(read)


def add_window(parser: argparse.ArgumentParser, what: str = "records") -> None:
    """Declares which of the records are meant."""
    parser.add_argument(
        "--limit", type=count(-1), default=-1, help=f"at most so many {what} [-1: all]"
    )
    parser.add_argument(
        "--offset", type=count(0), default=0, help=f"leave out so many {what} at the start [0]"
    )


def add_batch_size(parser: argparse.ArgumentParser, *names: str) -> None:
    """Declares how many records go together."""
    parser.add_argument(
        *names, "--batch-size", dest="batch_size", type=count(1), metavar="N",
        help="records that go together [as many as some megabytes hold]",
    )  # fmt: skip


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Declares a flag that is accepted: order is always kept."""
    parser.add_argument(
        "--max-threads", "-t", type=count(1), default=1, help="accepted; order is always kept"
    )


def wish(uri: CollectionUri | DatasetUri, arguments: argparse.Namespace, name: str) -> Any:
    """What the URI says, or else the flag."""
    if name in uri.options:
        return uri.options[name]
    return getattr(arguments, {"create_collection": "create"}.get(name, name))


def limit_of(number: int) -> int | None:
    """A limit, where -1 means none."""
    return None if number < 0 else number


# ── URIs ─────────────────────────────────────────────────────────────────────────────────────────


def add_uri(parser: argparse.ArgumentParser) -> None:
    """Declares the collection that is meant."""
    parser.add_argument(
        "uri", metavar="URI", type=_uri,
        help="http(s)://[user:password@]host[:8000]/collection or file://directory/collection",
    )  # fmt: skip
    parser.add_argument("--collection", metavar="NAME", help="the collection, if not in the URI")


def add_dataset(parser: argparse.ArgumentParser) -> None:
    """Declares the data set that is meant."""
    parser.add_argument(
        "uri", metavar="URI", type=checked(dataset_uri), help="hf://user/name or file://name"
    )


_uri = checked(lambda text: collection_uri(text, os.environ))


def add_second_uri(parser: argparse.ArgumentParser) -> None:
    """Declares a second collection."""
    parser.add_argument("other", metavar="URI", type=_uri, help="the other collection")


# ── what the parts are called ────────────────────────────────────────────────────────────────────


def add_features(
    parser: argparse.ArgumentParser, *short: str, document: str = "text_chunk"
) -> None:
    """Declares under which keys the parts of a record are found."""
    told = (("embed", "embedding", "the embedding"), ("id", "id", "the id"))
    for name, default, part in (*told, ("doc", document, "the document")):
        parser.add_argument(
            f"--{name}-feature", default=default, metavar="KEY", help=f"key of {part} [{default}]"
        )
    parser.add_argument(
        "--meta-features", *short, action="append", metavar="KEY", help="metadata keys [all]"
    )


def features_of(arguments: argparse.Namespace, uri: DatasetUri | None = None) -> Features:
    """The names that a command was given."""
    names = ("id_feature", "doc_feature", "embed_feature", "meta_features")
    given = [
        getattr(arguments, name) if uri is None else wish(uri, arguments, name) for name in names
    ]
    wanted = given[3]
    return Features(given[0], given[1], given[2], None if wanted is None else tuple(wanted))


# ── filters and distances ────────────────────────────────────────────────────────────────────────


def _filter(name: str) -> Callable[[str], dict[str, Any]]:
    """A filter in JSON, checked here: a wrong one is a wrong command line."""

    def read(text: str) -> dict[str, Any]:
        import orjson

        from vermilion.query.where import parse

        try:
            form = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise ArgumentValueError(f"{text!r} is not JSON: {error.msg}") from None
        parse(**{"where": None, name: form})
        if not isinstance(form, dict):
            raise ArgumentValueError(f"expected an object, got {text!r}")
        return form

    return checked(read)


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Declares which records are meant by what they hold."""
    parser.add_argument(
        "--where", "-m", type=_filter("where"), metavar="JSON", help="a filter on metadata"
    )
    parser.add_argument(
        "--where-document", "-d", type=_filter("where_document"), metavar="JSON",
        help="a filter on documents",
    )  # fmt: skip


def selection_of(arguments: argparse.Namespace) -> Selection:
    """The records that match the filters."""
    from vermilion.query.where import parse

    return Selection(None, parse(arguments.where, arguments.where_document))


def add_space(parser: argparse.ArgumentParser) -> None:
    """Declares the distance of a new collection."""
    parser.add_argument(
        "--df", choices=SPACES, help="distance of a new collection [that of the stream, or l2]"
    )


# ── the environment ──────────────────────────────────────────────────────────────────────────────


def add_environment(parser: argparse.ArgumentParser) -> None:
    """Declares a file of variables."""
    parser.add_argument(
        "--env-file", metavar="FILE", type=_load_environment,
        help="a file such as .env with keys of embedding functions; before the URI",
    )  # fmt: skip


def _load_environment(name: str) -> str:
    """Sets the variables of the file that are ours and not set yet."""
    try:
        text = Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise argparse.ArgumentTypeError(f"{name}: {error}") from None
    for key, value in assignments(text).items():
        if key in ENVIRONMENT:
            os.environ.setdefault(key, value)
    return name


def assignments(text: str) -> Mapping[str, str]:
    """The lines KEY=value of an environment file.

    >>> assignments('# keys\\nexport HF_TOKEN="abc"\\n')
    {'HF_TOKEN': 'abc'}
    """
    found = {}
    for line in text.splitlines():
        key, equals, value = line.strip().removeprefix("export ").partition("=")
        value = value.strip()
        if equals and not key.startswith("#"):
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
            found[key.strip()] = value[1:-1] if quoted else value
    return found
