"""Clients of one directory share an engine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# A client in a reference cycle is given back by the garbage collector, at any allocation: also at
# one of those that opening another directory makes.
COLLECTED_WHILE_OPENING = """
import gc, sys
from vermilion.api import sharing

class Holder: pass

def hold(path):
    holder = Holder()
    holder.itself, holder.lease = holder, sharing.lease_directory(path)

gc.disable()
hold(sys.argv[1] + "/first")
open_engine = sharing._local_engine
sharing._local_engine = lambda *arguments: (gc.collect(), open_engine(*arguments))[1]
sharing.lease_directory(sys.argv[1] + "/second")
"""


def test_a_client_collected_while_another_is_opened_does_not_deadlock(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", COLLECTED_WHILE_OPENING, str(tmp_path)], check=True, timeout=10
    )
