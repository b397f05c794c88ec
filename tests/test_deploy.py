"""The files in deploy/, with the programs that they are for, where those are installed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import trustme

import vermilion
from processes import running

DEPLOY = Path(__file__).parents[1] / "deploy"
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
SYSTEMD = shutil.which("systemd-analyze")


@contextmanager
def nginx(folder: Path, upstream: int) -> Iterator[int]:
    """The port of an nginx with our site, of which only ports and paths are others."""
    assert NGINX is not None
    certificate = trustme.CA().issue_cert("localhost", "127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / "both.pem"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    site = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    for ours, here in {
        "server 127.0.0.1:8000;": f"server 127.0.0.1:{upstream};",
        "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        "/etc/ssl/vectors.example.org.pem": f"{folder}/both.pem",
        "/etc/ssl/private/vectors.example.org.key": f"{folder}/both.pem",
    }.items():
        assert site.count(ours) == 1, ours
        site = site.replace(ours, here)
    (folder / "site.conf").write_text(site, encoding="utf-8")
    places = "\n".join(
        f"{name}_temp_path {folder}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    whole = folder / "nginx.conf"
    whole.write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/errors;\nevents {{}}\n"
        f"http {{ access_log off; {places}\ninclude {folder}/site.conf; }}\n",
        encoding="utf-8",
    )
    process = subprocess.Popen([NGINX, "-e", f"{folder}/errors", "-c", str(whole)])
    try:
        while process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.01)
        assert process.poll() is None, (folder / "errors").read_text(encoding="utf-8")
        yield port
    finally:
        process.terminate()
        process.wait()


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
def test_the_site_for_nginx(tmp_path: Path) -> None:
    with running(tmp_path / "database") as server, nginx(tmp_path, server.port) as port:
        client = vermilion.HttpClient("127.0.0.1", port, ssl=True, settings=trusting())
        things = client.create_collection("things", embedding_function=None)
        ids = [str(number) for number in range(2_000)]
        things.add(ids=ids, embeddings=[[n, 1] for n in range(2_000)], documents=["text"] * 2_000)
        assert things.count() == 2_000
        assert things.query(query_embeddings=[[5, 1]], n_results=1)["ids"] == [["5"]]
        assert things.get()["documents"] == ["text"] * 2_000
        with httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=False) as plain:
            assert len(plain.get("/api/v2/heartbeat").headers["x-request-id"]) == 32
            assert plain.get("/metrics").status_code == 403


def trusting() -> vermilion.Settings:
    """Takes any certificate."""
    return vermilion.Settings(chroma_server_ssl_verify=False)


@pytest.mark.skipif(SYSTEMD is None, reason="systemd is not installed")
def test_the_unit_for_systemd(tmp_path: Path) -> None:
    assert SYSTEMD is not None
    unit = (DEPLOY / "vermilion.service").read_text(encoding="utf-8")
    program = str(Path(sys.executable).with_name("vermilion"))
    assert unit.count("/opt/vermilion/bin/vermilion") == 1
    unit = unit.replace("/opt/vermilion/bin/vermilion", program)
    (tmp_path / "vermilion.service").write_text(unit, encoding="utf-8")
    done = subprocess.run(
        [SYSTEMD, "verify", "--man=no", str(tmp_path / "vermilion.service")],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    told = [line for line in done.stderr.splitlines() if "vermilion.service" in line]
    assert told == []
