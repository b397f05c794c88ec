"""Where the user's caches are."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def user_caches() -> Path:
    """This package's folder among the user's caches; it may have to be made."""
    home = Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "vermilion"
    named = "LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"
    return Path(os.environ.get(named) or home / ".cache") / "vermilion"
