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


def models_folder() -> Path:
    """Where models are that were fetched: VERMILION_MODELS, or among the user's caches."""
    root = os.environ.get("VERMILION_MODELS")
    return Path(root) if root else user_caches() / "models"
