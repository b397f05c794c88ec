"""`embed`: gives every document an embedding."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from itertools import islice
from typing import Any

from vermilion.embeddings.base import as_vectors, stored_form
from vermilion.errors import InvalidArgumentError
from vermilion.pipes import headers, options, steps
from vermilion.pipes.functions import add_function, make
from vermilion.pipes.lines import COLLECTION, Faults, Line, Record

EMBED = "Give every document an embedding"

BATCH = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `embed`."""
    options.add_environment(parser)
    steps.add_arguments(parser)
    add_function(parser, required=True)
    parser.add_argument("--model", metavar="NAME", help="the model, before that of the environment")
    options.add_batch_size(parser)
    options.add_features(parser)


def embed(arguments: argparse.Namespace) -> None:
    """Writes the records with embeddings; those without a document have none."""
    function = make(arguments.ef, os.environ, arguments.model)
    size = arguments.batch_size or BATCH

    def change(lines: Iterator[Line], faults: Faults) -> Iterator[Record]:
        header: Any = {"configuration": {"embedding_function": stored_form(function)}}
        while batch := [*islice(lines, size)]:
            for _, record in batch:
                if COLLECTION in record:
                    form = headers.checked(record.pop(COLLECTION))
                    header = headers.changed(form, function=stored_form(function))
            for record in _embedded(batch, function, faults):
                if header is not None:
                    record, header = {**record, COLLECTION: header}, None
                yield record

    steps.run_lines(arguments, "embedded", change, options.features_of(arguments))


def _embedded(batch: list[Line], function: Any, faults: Faults) -> Iterator[Record]:
    kept, texts = [], []
    for number, record in batch:
        try:
            text = steps.text_of(record)
        except InvalidArgumentError as error:
            faults.leave_out(number, error)
            continue
        kept.append(record)
        if text is not None:
            texts.append(text)
    vectors = iter(as_vectors(function(texts)) if texts else ())
    for record in kept:
        if steps.is_bare(record):
            record.clear()  # it only described the collection
        else:
            record["embedding"] = None if record["text_chunk"] is None else next(vectors)
        yield record
