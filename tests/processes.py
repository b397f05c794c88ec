"""Real `vermilion run` processes, each at a port of its own."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx


class Running:
    """A process that serves."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self.url, self.port = "", 0

    def wait_until_it_serves(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            found = re.search(r"(https?)://(\S+):(\d+)", line)
            if found:
                self.port = int(found[3])
                self.url = f"{found[1]}://127.0.0.1:{self.port}"
                return
        raise AssertionError(f"it does not serve: {self.process.communicate()}")

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, trust_env=False, **options)

    def connection(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def raw(self, *parts: bytes) -> bytes:
        """What is answered to these bytes before the connection ends, or nothing more comes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            try:
                for part in parts:
                    connection.sendall(part)
                connection.shutdown(socket.SHUT_WR)
                return b"".join(iter(lambda: connection.recv(65536), b""))
            except OSError:  # the server had enough
                return b""

    def stop(self, name: int = signal.SIGTERM) -> int:
        """Its exit status."""
        self.process.send_signal(name)
        out, _ = self.process.communicate(timeout=60)
        self.lines += out.splitlines()
        return self.process.returncode


@contextmanager
def running(path: Path, *flags: str, **variables: str) -> Iterator[Running]:
    """A server of a directory; it is killed if the test did not stop it."""
    command = [sys.executable, "-m", "vermilion", "run", "--path", str(path), "--port", "0"]
    server = Running(
        subprocess.Popen(
            [*command, *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **variables},
        )
    )
    try:
        server.wait_until_it_serves()
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
        server.process.communicate()


def refused(*arguments: str, **variables: str) -> str:
    """What `vermilion run` says when it does not serve."""
    done = subprocess.run(
        [sys.executable, "-m", "vermilion", "run", *arguments],
        capture_output=True, text=True, timeout=60, env={**os.environ, **variables},
    )  # fmt: skip
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    return done.stderr
