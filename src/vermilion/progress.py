"""A line on stderr that tells how far a long piece of work is."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any, Self

# Work that is done sooner shows nothing, unless a bar was asked for.
PATIENCE = 2.0
# Seconds between two looks of the line.
INTERVAL = 0.1


class Progress:
    """Counts up to `total`. To be used in a `with` block; threads may advance it.

    `asked` is whether to show it: None shows it on a terminal once the work takes long.
    """

    def __init__(self, total: int, label: str, asked: bool | None = None) -> None:
        self._total = total
        self._label = label
        self._shown = sys.stderr is not None and (
            asked if asked is not None else total > 1 and sys.stderr.isatty()
        )
        self._patience = 0.0 if asked else PATIENCE
        self._done = 0
        self._began = time.monotonic()
        self._wrote = 0.0
        self._width = 0
        self._guard = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        with self._guard:
            if self._width:
                self._write()
                sys.stderr.write("\n")

    def advance(self, steps: int = 1) -> None:
        """Counts steps that are done."""
        with self._guard:
            self._done += steps
            now = time.monotonic()
            due = now - self._began >= self._patience and now - self._wrote >= INTERVAL
            if self._shown and due:
                self._wrote = now
                self._write()

    def _write(self) -> None:
        line = self.line(time.monotonic() - self._began)
        sys.stderr.write(f"\r{line:{self._width}}")
        sys.stderr.flush()
        self._width = max(self._width, len(line))

    def line(self, seconds: float) -> str:
        """What is told after so many seconds."""
        share = self._done / self._total if self._total else 1.0
        left = f", {_clock(seconds / share - seconds)} left" if 0 < share < 1 else ""
        return f"{self._label}: {self._done:,} of {self._total:,} ({share:.0%}){left}"


def _clock(seconds: float) -> str:
    """Seconds as people write them.

    >>> _clock(3725.4)
    '1:02:05'
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
