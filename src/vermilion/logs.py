"""The log of the package. Few processes write to it, so `logging` is loaded when one does."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logging import Logger


def log() -> Logger:
    """The logger called "vermilion"."""
    from logging import getLogger  # it costs 3 ms

    return getLogger("vermilion")
