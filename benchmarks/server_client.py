"""Requests by a Python client, one after the other, for server.py, under any interpreter.

    python server_client.py {chromadb,vermilion} PORT {query,get,add} BODIES PREFIX SECONDS

Prints as JSON how many there were, in how many microseconds, their latencies and the processor
time of this process. Of bodies with new records, "@ID" becomes an id that begins with PREFIX.
"""

from __future__ import annotations

import base64
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from itertools import count, cycle
from typing import Any

WARM = 20


def main() -> None:
    """Asks for so many seconds."""
    package, port, kind, file, prefix, seconds = sys.argv[1:]
    os.environ["ANONYMIZED_TELEMETRY"] = "False"
    client = importlib.import_module(package).HttpClient(port=int(port))
    collection = client.get_collection("wordnet", embedding_function=None)
    with open(file, encoding="utf-8") as lines:
        forms = cycle([arguments(json.loads(line)) for line in lines])
    ids = (f"{prefix}{number}" for number in count())
    call = getattr(collection, kind)

    def ask() -> None:
        form = next(forms)
        call(**(form | {"ids": [next(ids) for _ in form["ids"]]} if kind == "add" else form))

    for _ in range(WARM):
        ask()
    print(json.dumps(timed(ask, float(seconds))))


def arguments(form: dict[str, Any]) -> dict[str, Any]:
    """What a body says, as a client takes it."""
    if "embeddings" in form:
        import numpy as np

        form["embeddings"] = np.stack(
            [np.frombuffer(base64.b64decode(text), "<f4") for text in form["embeddings"]]
        )
    return form


def timed(ask: Callable[[], None], seconds: float) -> dict[str, float]:
    """Asks as often as it is answered."""
    start, used, latencies = time.perf_counter(), time.process_time(), []
    now = start
    while now - start < seconds:
        ask()
        before, now = now, time.perf_counter()
        latencies.append(now - before)
    latencies.sort()
    return {
        "requests": len(latencies),
        "microseconds": (now - start) * 1e6,
        "p50": latencies[len(latencies) // 2] * 1e6,
        "p99": latencies[len(latencies) * 99 // 100] * 1e6,
        "cpu": time.process_time() - used,
    }


if __name__ == "__main__":
    main()
