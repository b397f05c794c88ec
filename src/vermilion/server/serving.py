"""Processes that serve: sockets, workers, and how all of it stops.

One process serves by itself. With several, this one only starts them: each binds the port for
itself (SO_REUSEPORT), so that the system spreads connections over them, and stops when the pipe
from its parent closes, however the parent ends.
"""

from __future__ import annotations

import errno
import ipaddress
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from vermilion.engine import Engine
from vermilion.errors import ArgumentValueError, StorageError
from vermilion.server.guard import Guard
from vermilion.server.settings import MIB, ServerSettings

log = logging.getLogger("vermilion.server")

# How many threads the library has that scans codes.
SCANNING = "RAYON_NUM_THREADS"
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
_WORKER = "import sys; from vermilion.server.serving import work; work(sys.stdin)"


def serve(settings: ServerSettings, say: Callable[[str], None]) -> None:
    """Serves until a signal says to stop. Raises ArgumentValueError, StorageError, OSError."""
    addresses = _addresses(settings.host)
    _check_public(settings, addresses)
    os.environ.setdefault(SCANNING, str(_scanning_threads(settings.workers)))
    with ExitStack() as stack:
        port, sockets = _bound(addresses, settings.port)
        stack.callback(_close, sockets)
        settings = replace(settings, port=port)
        scheme = "https" if settings.tls_cert else "http"
        shown = f"[{settings.host}]" if ":" in settings.host else settings.host
        where = f"{scheme}://{shown}:{port}"
        told = f"Vermilion serves {settings.path} at {where}"
        if settings.workers == 1:
            _run(_server(settings, open_engine(settings), lambda: say(told)), sockets)
        else:
            # What is wrong with the directory and the tokens is told once.
            open_engine(settings).close()
            Guard(settings)
            told += f" with {settings.workers} processes"
            _run_workers(settings, addresses, sockets, lambda: say(told))
    say("Vermilion has stopped")


def _scanning_threads(workers: int) -> int:
    """A worker's share of the processors; if it is the only one, one more.

    They work together for a tenth of a millisecond and sleep again: one to spare is the sooner
    awake. On two processors a query alone takes 5 % less than with two, 32 at once take 3 % more.
    Two workers answer a sixth more queries with one thread each than with two.
    """
    processors = int(getattr(os, "process_cpu_count", os.cpu_count)() or 1)
    return processors + 1 if workers == 1 else max(1, processors // workers)


def open_engine(settings: ServerSettings) -> Engine:
    """The engine that the settings name."""
    from vermilion.local.engine import LocalEngine

    durability: Any = settings.durability
    limit = settings.memory_limit * MIB or None
    return LocalEngine(Path(settings.path), durability=durability, memory_limit=limit)


# ── sockets ──────────────────────────────────────────────────────────────────────────────────────


def _addresses(host: str) -> list[tuple[int, str]]:
    """The family and the number of every address that a host has."""
    try:
        found = socket.getaddrinfo(host or None, None, type=socket.SOCK_STREAM,
                                   flags=socket.AI_PASSIVE)  # fmt: skip
    except OSError as error:
        raise ArgumentValueError(f"host: {host!r} is no address here: {error.strerror}") from None
    return list(dict.fromkeys((family, str(where[0])) for family, _, _, _, where in found))


def _check_public(settings: ServerSettings, addresses: list[tuple[int, str]]) -> None:
    public = [where for _, where in addresses if not ipaddress.ip_address(where).is_loopback]
    if public and not settings.auth_file and not settings.allow_unauthenticated:
        raise ArgumentValueError(
            f"{public[0]} can be reached from other machines, and without an auth file everybody "
            "may read and delete everything: pass --auth-file (`vermilion token` makes one), or "
            "--allow-unauthenticated where the network itself is closed"
        )


def _bound(addresses: list[tuple[int, str]], port: int) -> tuple[int, list[socket.socket]]:
    """A socket for each address, all with one port, which nobody else has."""
    sockets: list[socket.socket] = []
    for family, where in addresses:
        try:
            sockets.append(_socket(family, where, port, shared=False))
        except OSError as error:
            if sockets and family == socket.AF_INET6:  # a machine without IPv6
                continue
            raise StorageError(_told(where, port, error)) from None
        port = sockets[-1].getsockname()[1]
    return port, sockets


def _socket(family: int, where: str, port: int, *, shared: bool) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((where, port))
    except OSError:
        made.close()
        raise
    return made


def _close(sockets: list[socket.socket]) -> None:
    for one in sockets:
        one.close()


def _told(where: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} at {where} is taken by another program: stop it, or pass --port"
    return f"Cannot listen at {where}, port {port}: {error.strerror}"


# ── one process ──────────────────────────────────────────────────────────────────────────────────


def _server(settings: ServerSettings, engine: Engine, ready: Callable[[], None]) -> Any:
    """A uvicorn server over the application; `ready` is called when it can be reached."""
    import uvicorn

    from vermilion.server.app import create_app
    from vermilion.server.protocol import bounded

    try:
        app = create_app(engine, settings)
    except BaseException:
        engine.close()
        raise
    config = uvicorn.Config(
        app,
        http=bounded(settings),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=int(settings.keep_alive),
        timeout_graceful_shutdown=int(settings.stop_timeout),
        ssl_certfile=settings.tls_cert or None,
        ssl_keyfile=settings.tls_key or None,
    )

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready()

    return Server(config)


def _run(server: Any, sockets: list[socket.socket]) -> None:
    for name in (signal.SIGTERM, signal.SIGINT):
        # The server raises the signal that stopped it once more when it is done.
        signal.signal(name, lambda *_: None)
    server.run(sockets)


# ── several processes ────────────────────────────────────────────────────────────────────────────


def _run_workers(
    settings: ServerSettings,
    addresses: list[tuple[int, str]],
    sockets: list[socket.socket],
    ready: Callable[[], None],
) -> None:
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    for one in sockets:
        one.close()
    # Bound, and not listening: nobody else gets the port while workers come and go.
    held = [_socket(family, where, settings.port, shared=True) for family, where in addresses]
    with tempfile.TemporaryDirectory(prefix="vermilion-metrics-") as metrics, ExitStack() as stack:
        stack.callback(_close, held)
        workers = [_Worker(settings, metrics) for _ in range(settings.workers)]
        try:
            for worker in workers:
                worker.wait()
            ready()
            while not stop.wait(0.2):
                for worker in workers:
                    worker.keep()
        finally:
            _stop(workers, settings.stop_timeout)


class _Worker:
    """One process of several, started again when it dies."""

    def __init__(self, settings: ServerSettings, metrics: str) -> None:
        self._settings = settings
        self._metrics = metrics
        self._begun = 0.0
        self.process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        self._begun = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-c", _WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, MULTIPROCESS: self._metrics},
            start_new_session=True,  # Ctrl-C is for the parent, which tells its workers
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(asdict(self._settings)) + "\n")
        process.stdin.flush()
        return process

    def wait(self) -> None:
        """Waits until it can be reached. Raises StorageError when it cannot."""
        assert self.process.stdout is not None
        if not self.process.stdout.readline():
            raise StorageError("A process could not start; what it has said stands above")

    def keep(self) -> None:
        """Starts it again if it has died, and not more often than once a second."""
        status = self.process.poll()
        if status is not None and time.monotonic() - self._begun > 1:
            log.error(
                "Worker %d died with status %d and is started again", self.process.pid, status
            )
            from prometheus_client.multiprocess import mark_process_dead

            mark_process_dead(self.process.pid, self._metrics)  # type: ignore[no-untyped-call]  # theirs
            self.process = self._start()


def _stop(workers: list[_Worker], seconds: float) -> None:
    for worker in workers:
        with suppress(OSError):
            worker.process.terminate()
    until = time.monotonic() + seconds + 5
    for worker in workers:
        try:
            worker.process.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()


def work(pipe: Any) -> None:
    """What a worker does: its settings come first in the pipe, whose end tells it to stop."""
    settings = ServerSettings(**json.loads(pipe.readline()))
    start_logging(settings)
    sockets = [
        _socket(family, where, settings.port, shared=True)
        for family, where in _addresses(settings.host)
    ]
    server = _server(settings, open_engine(settings), lambda: print("ready", flush=True))

    def watch() -> None:
        pipe.read()
        server.should_exit = True

    threading.Thread(target=watch, daemon=True).start()
    _run(server, sockets)


def start_logging(settings: ServerSettings) -> None:
    """Logs go to stderr; those of requests are JSON, a line each.

    uvicorn's warnings are about what strangers send, a line each time.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for name, level in (("vermilion", logging.INFO), ("uvicorn", logging.ERROR)):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
    plain = logging.StreamHandler()
    plain.setFormatter(logging.Formatter("%(message)s"))
    requests = logging.getLogger("vermilion.access")
    requests.handlers, requests.propagate = [plain], False
