"""Whether a process lives, asked of the machine."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path


def place() -> str:
    """Where process numbers mean the same: this machine since it was started, and this container."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


def start_of(pid: int) -> int | None:
    """When a process was started, in the machine's own ticks since its start; None where that isn't known."""
    fields = _status(pid)
    return int(fields[19]) if fields else None


def lives(pid: int, start: int | None = None) -> bool:
    """Whether a process of this place lives.

    Args:
        pid: its number.
        start: when it was started, as ``start_of`` had it: numbers are given again. None: it isn't known.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        pass
    fields = _status(pid)
    if not fields:
        return True
    is_over = fields[0] in "ZX"  # it has ended, and whoever started it hasn't asked yet
    return not is_over and (start is None or int(fields[19]) == start)


def _status(pid: int) -> list[str]:
    """The fields of Linux's ``/proc/PID/stat`` from the third on; empty where there are none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()  # before that comes the program's name, which may hold anything
