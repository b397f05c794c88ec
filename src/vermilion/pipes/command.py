"""The commands of the pipes: a row each, for `vermilion` and for `cdp`."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from vermilion.pipes import (
    chunk,
    clean,
    copying,
    datasets,
    documents,
    embed,
    export,
    identify,
    load,
    meta,
)

Row = tuple[
    str,
    str,
    Callable[[argparse.ArgumentParser], None],
    Callable[[argparse.Namespace], None],
]

ROWS: tuple[Row, ...] = (
    ("export", export.EXPORT, export.add_arguments, export.export),
    ("import", load.IMPORT, load.add_arguments, load.load),
    ("embed", embed.EMBED, embed.add_arguments, embed.embed),
    ("chunk", chunk.CHUNK, chunk.add_arguments, chunk.chunk),
    ("id", identify.ID, identify.add_arguments, identify.identify),
    ("meta", meta.META, meta.add_arguments, meta.meta),
    ("tx", clean.TX, clean.add_arguments, clean.tx),
    ("imp", documents.IMP, documents.add_arguments, documents.imp),
    ("ds-get", datasets.GET, datasets.add_get_arguments, datasets.get),
    ("ds-put", datasets.PUT, datasets.add_put_arguments, datasets.put),
    ("copy", copying.COPY, copying.add_copy_arguments, copying.copy),
    ("stats", copying.STATS, copying.add_stats_arguments, copying.stats),
    ("diff", copying.DIFF, copying.add_diff_arguments, copying.diff),
)
