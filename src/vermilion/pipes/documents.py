"""`imp pdf`, `imp txt`, `imp csv`, `imp url`: documents as records."""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from vermilion.errors import InvalidArgumentError, NotFoundError
from vermilion.pipes import options, steps
from vermilion.pipes.files import Meter, need, reading, told_downstream
from vermilion.pipes.inputs import add_faults
from vermilion.pipes.lines import Faults, Record
from vermilion.pipes.tables import LONGEST_CELL

IMP = "Turn documents into records: pdf, txt, csv or url"
PDF = "One record for each page of PDF files"
TXT = "One record for each text file"
CSV = "One record for each row of a CSV file"
URL = "One record for each page of a web site"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the kinds of documents and their arguments."""
    kinds = parser.add_subparsers(title="kinds", metavar="KIND", required=True)
    for name, says, add, make in (
        ("pdf", PDF, _add_pdf, pdf_records),
        ("txt", TXT, _add_txt, txt_records),
        ("csv", CSV, _add_csv, csv_records),
        ("url", URL, _add_url, _url_records),
    ):
        kind = kinds.add_parser(name, help=says, description=f"{says}.")
        add(kind)
        options.add_batch_size(kind, "-b")
        add_faults(kind)
        kind.set_defaults(make=make)


def imp(arguments: argparse.Namespace) -> None:
    """Writes the records."""
    faults, meter = Faults(arguments.on_error), Meter("read", quiet=arguments.quiet)
    make: Callable[[argparse.Namespace, Faults], Iterator[Record]] = arguments.make
    with told_downstream():
        steps.write(make(arguments, faults), meter)
        meter.finish()
        faults.finish()


def record(text: str, metadata: dict[str, Any]) -> Record:
    """A document that nobody has given an id or an embedding yet."""
    return {"id": None, "metadata": metadata, "embedding": None, "text_chunk": text}


# ── files of a folder ────────────────────────────────────────────────────────────────────────────


def _add_folder(parser: argparse.ArgumentParser, glob: str) -> None:
    parser.add_argument("folder", metavar="DIR", type=Path, help="a folder, or one file")
    parser.add_argument("--glob", "-g", default=glob, help=f"which files [{glob}]")
    parser.add_argument(
        "--recursive", "-r", action="store_true", help="in all folders below, whatever --glob says"
    )


def _add_pdf(parser: argparse.ArgumentParser) -> None:
    _add_folder(parser, "**/[!.]*.pdf")


def _add_txt(parser: argparse.ArgumentParser) -> None:
    _add_folder(parser, "**/[!.]*.md")


def _files(arguments: argparse.Namespace) -> list[Path]:
    folder: Path = arguments.folder
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise NotFoundError(f"{folder}: there is no such folder")
    find = folder.rglob if arguments.recursive else folder.glob
    return sorted(path for path in find(arguments.glob) if path.is_file())


def pdf_records(arguments: argparse.Namespace, faults: Faults) -> Iterator[Record]:
    """A record for each page, with `source` and `page`, which counts from 0."""
    pypdf = need("pypdf")
    for number, path in enumerate(_files(arguments), 1):
        try:
            pages = pypdf.PdfReader(path).pages
            texts = [page.extract_text() for page in pages]
        except (pypdf.errors.PyPdfError, OSError, ValueError, KeyError, TypeError) as error:
            faults.leave_out(number, InvalidArgumentError(f"file {path}: {error}"))
            continue
        for place, text in enumerate(texts):
            yield record(text, {"source": str(path), "page": place})


def txt_records(arguments: argparse.Namespace, faults: Faults) -> Iterator[Record]:
    """A record for each file, with `source`."""
    for number, path in enumerate(_files(arguments), 1):
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            faults.leave_out(number, InvalidArgumentError(f"file {path}: {error}"))
            continue
        yield record(text, {"source": str(path)})


# ── rows ─────────────────────────────────────────────────────────────────────────────────────────


def _add_csv(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a file with a line of names; - is stdin")
    parser.add_argument(
        "--doc-feature", metavar="COL", help="the column with the document [all, as lines]"
    )
    parser.add_argument(
        "--meta-features", action="append", default=[], metavar="COL", help="columns for metadata"
    )
    parser.add_argument("--delimiter", "-s", default=",", help="between columns [,]")
    parser.add_argument("--quotechar", "-q", default='"', help='around cells ["]')


def csv_records(arguments: argparse.Namespace, faults: Faults) -> Iterator[Record]:
    """A record for each row, with `source`, `row`, which counts from 0, and the columns named."""
    csv.field_size_limit(LONGEST_CELL)
    delimiter = arguments.delimiter.replace("\\t", "\t")
    with reading(arguments.file) as raw:
        stream = io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")
        rows = csv.DictReader(stream, delimiter=delimiter, quotechar=arguments.quotechar)
        _check_columns(arguments, rows.fieldnames or [])
        place = -1
        while True:
            place += 1
            try:
                row = next(rows)
                made = _of_row(arguments, row, place)
            except StopIteration:
                return
            except (csv.Error, UnicodeDecodeError, InvalidArgumentError) as error:
                faults.leave_out(rows.line_num, error)
                if isinstance(error, UnicodeDecodeError):
                    return  # the rest of the file cannot be told apart
                continue
            yield made


def _check_columns(arguments: argparse.Namespace, there: Any) -> None:
    for name in (arguments.doc_feature, *arguments.meta_features):
        if name is not None and name not in there:
            raise InvalidArgumentError(
                f"{arguments.file} has no column {name!r}, only {', '.join(there)}"
            )


def _of_row(arguments: argparse.Namespace, row: dict[Any, Any], place: int) -> Record:
    if None in row or None in row.values():
        raise InvalidArgumentError("the row has not as many cells as there are columns")
    if arguments.doc_feature is None:
        text = "\n".join(f"{name}: {cell}" for name, cell in row.items())
    else:
        text = row[arguments.doc_feature]
    named = {name: row[name] for name in arguments.meta_features}
    return record(text, {"source": arguments.file, "row": place, **named})


# ── web pages ────────────────────────────────────────────────────────────────────────────────────


def _add_url(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", metavar="URL", help="where to begin; other hosts are not visited")
    parser.add_argument(
        "--max-depth", "-d", type=options.count(1), default=1,
        help="1: the page alone, 2: and what it links to, … [1]",
    )  # fmt: skip
    options.add_window(parser, "pages")


def _url_records(arguments: argparse.Namespace, faults: Faults) -> Iterator[Record]:
    from vermilion.pipes import web  # with httpx

    limit = options.limit_of(arguments.limit)
    pages = web.pages(arguments.url, arguments.max_depth, faults)
    stop = None if limit is None else arguments.offset + limit
    for address, title, text in islice(pages, arguments.offset, stop):
        yield record(text, {"source": address, **({"title": title} if title else {})})
