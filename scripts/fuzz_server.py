"""Has schemathesis ask a server whatever its OpenAPI document allows, and things it does not.

pip install schemathesis; python scripts/fuzz_server.py [--examples 50] [--seed 1]

A server in a temporary directory is started for it. Answers of 501 are what the document says of
operations that only Chroma Cloud has.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance,response_headers_conformance"
)
# They answer 501 wherever there is a collection.
ABSENT = "(fork_count|/functions/attach|/detach)$"


def main() -> int:
    """0 when nothing was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=50, help="for each operation")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "vermilion", "run", "--path", f"{folder}/database"]
        server = subprocess.Popen(
            [*command, "--port", "0", "--allow-reset"], stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout is not None
            found = re.search(r"http://\S+", server.stdout.readline())
            assert found is not None
            return ask(found[0], arguments.examples, arguments.seed)
        finally:
            server.terminate()
            server.wait()


def ask(url: str, examples: int, seed: int) -> int:
    """Runs schemathesis."""
    program = Path(sys.executable).with_name("schemathesis")
    return subprocess.run(
        [
            str(program), "run", f"{url}/openapi.json", "--checks", CHECKS,
            "--exclude-path-regex", ABSENT, "--max-examples", str(examples), "--seed", str(seed),
            "--continue-on-failure",
        ]
    ).returncode  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
