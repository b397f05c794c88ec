"""Directories that real releases of Chroma made, and what these releases said is in them.

The archives in data/chroma are made by scripts/make_chroma_fixtures.py.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

ARCHIVES = Path(__file__).parent / "data" / "chroma"
RELEASES = sorted(path.name.removesuffix(".tar.gz") for path in ARCHIVES.glob("*.tar.gz"))


def unpack(release: str, folder: Path) -> tuple[Path, dict[str, Any]]:
    """The directory of a release, and its collections by "tenant/database/name"."""
    with tarfile.open(ARCHIVES / f"{release}.tar.gz") as tar:
        tar.extractall(folder, filter="data")
    told = json.loads((folder / "expected.json").read_text("utf-8"))
    titles = {
        f"{one['tenant']}/{one['database']}/{one['name']}": one for one in told["collections"]
    }
    return folder / "data", titles


def rows_of(told: dict[str, Any]) -> dict[str, Any]:
    """What a release said of each record: vector, document, uri, metadata."""
    records = told["records"]
    empty = [None] * len(records["ids"])
    columns = (
        records["embeddings"],
        *(records[name] or empty for name in ("documents", "uris", "metadatas")),
    )
    return dict(zip(records["ids"], zip(*columns, strict=True), strict=True))
