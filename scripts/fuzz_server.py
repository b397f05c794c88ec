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

import httpx

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance,response_headers_conformance"
)
# They answer 501 wherever there is a collection; the last one would empty the database.
ASIDE = "(fork_count|/functions/attach|/detach|/reset)$"
HERE = "/api/v2/tenants/default_tenant/databases/default_database/collections"
# Where requests go, so that most of them find something.
PLACE = """
[parameters]
tenant = "default_tenant"
database = "default_database"
collection_id = "{id}"
crn = "default_tenant:default_database:things"
"""


def main() -> int:
    """0 when nothing was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=50, help="for each operation")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "vermilion", "run", "--path", f"{folder}/database"]
        server = subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            found = re.search(r"http://\S+", server.stdout.readline())
            assert found is not None
            place = Path(folder, "schemathesis.toml")
            place.write_text(PLACE.format(id=fill(found[0])), encoding="utf-8")
            return ask(found[0], place, arguments.examples, arguments.seed)
        finally:
            server.terminate()
            server.wait()


def fill(url: str) -> str:
    """The id of a new collection with two records."""
    with httpx.Client(base_url=url, trust_env=False) as client:
        id: str = client.post(HERE, json={"name": "things"}).json()["id"]
        rows = {"ids": ["a", "b"], "embeddings": [[1, 0], [0, 1]], "documents": ["one", None]}
        client.post(f"{HERE}/{id}/add", json=rows).raise_for_status()
    return id


def ask(url: str, place: Path, examples: int, seed: int) -> int:
    """Runs schemathesis."""
    program = Path(sys.executable).with_name("schemathesis")
    return subprocess.run(
        [
            str(program), "--config-file", str(place), "run", f"{url}/openapi.json",
            "--checks", CHECKS,
            "--exclude-path-regex", ASIDE,
            "--max-examples", str(examples), "--seed", str(seed),
            "--continue-on-failure",
        ],
        cwd=place.parent,
    ).returncode  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
