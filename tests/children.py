"""Children of the test process: forked, with mounts or a user of their own."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path

NOBODY = 65534
_NEW_MOUNTS = 0x20000  # CLONE_NEWNS


def fork(action: Callable[[], object]) -> int:
    """Starts a child that does this and exits; with 0 when nothing was raised."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        signal.alarm(60)  # a child that waits for a lock nobody will free
        action()
        code = 0
    except BaseException:
        os.write(2, f"in the child: {traceback.format_exc()}\n".encode())
    finally:
        os._exit(code)


def succeeded(child: int) -> bool:
    return os.waitpid(child, 0)[1] == 0


def in_child(action: Callable[[], object]) -> bool:
    return succeeded(fork(action))


# ── what only a child may do to itself ───────────────────────────────────────────────────────────


def own_mounts() -> None:
    """From now on what this process mounts is seen by nobody else."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_MOUNTS):
        raise OSError(ctypes.get_errno(), "unshare")
    mount("--make-rprivate", "/")


def mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *arguments], check=True, stderr=subprocess.DEVNULL)


def mount_read_only(folder: Path) -> None:
    own_mounts()
    mount("--bind", folder, folder)
    mount("-o", "remount,bind,ro", folder)


def mount_small(folder: Path, size: str) -> None:
    own_mounts()
    mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder)


def become_nobody() -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


@cache
def can_mount() -> bool:
    """Whether a child may mount: as root, where the sandbox lets it."""

    def attempt() -> None:
        try:
            own_mounts()
        except (OSError, AttributeError, subprocess.CalledProcessError):
            os._exit(1)

    return hasattr(os, "fork") and in_child(attempt)
