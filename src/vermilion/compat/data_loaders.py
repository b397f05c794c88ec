"""Data loaders: they turn the uris of records into what an embedding function takes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vermilion.embeddings.base import optional
from vermilion.types import URI


class ImageLoader:
    """Reads image files, several at once. Needs Pillow, and raises ValueError without it.

    An image is an array of height × width × channels; a uri that is None gives None.
    """

    def __init__(self, max_workers: int = os.cpu_count() or 1) -> None:
        optional("PIL", "pip install pillow")
        self._max_workers = max_workers

    def __call__(self, uris: Sequence[URI | None]) -> list[NDArray[Any] | None]:
        """Returns one image for each uri, which is the path of a file."""
        with ThreadPoolExecutor(self._max_workers) as pool:
            return list(pool.map(_read, uris))


def _read(uri: URI | None) -> NDArray[Any] | None:
    if uri is None:
        return None
    from PIL import Image

    with Image.open(uri) as image:
        return np.array(image)


class ChromaLangchainPassthroughDataLoader:
    """Loads nothing: LangChain's embedding functions open images themselves."""

    def __call__(self, uris: Sequence[URI | None]) -> tuple[str, Sequence[URI | None]]:
        """Returns the uris as they are, marked as images."""
        return "images", uris
