"""Where and when a benchmark ran, for the files in results/."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """Date, machine, and how busy it is."""
    cpu = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{len(cpu)} cores of {cpu[0]}, {platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load": [round(load, 2) for load in os.getloadavg()],
    }


def report(result: dict[str, Any], path: Path | None) -> None:
    """Prints a result, and keeps it in a file with where it comes from."""
    print(json.dumps(result, indent=2))
    if path is not None:
        path.write_text(json.dumps({**machine(), **result}, indent=2) + "\n", encoding="utf-8")
