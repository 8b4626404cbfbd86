"""How much memory a device has left."""

from __future__ import annotations

import os
from pathlib import Path

import torch

_MEMORY = Path("/proc/meminfo")
_UNKNOWN = 4 * 10**9
"""Bytes, where the system doesn't say."""


def free_memory(device: torch.device) -> int:
    """Bytes that could be taken: of a CUDA device, what PyTorch holds in reserve included; otherwise of the machine.

    Of the machine what the system keeps of files counts as free, where it says how much that is (Linux).
    """
    if device.type == "cuda":
        reserve = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + reserve)
    if _MEMORY.exists():
        sizes = dict(line.split(":", 1) for line in _MEMORY.read_text(encoding="utf-8").splitlines() if ":" in line)
        if "MemAvailable" in sizes:
            return int(sizes["MemAvailable"].split()[0]) * 1024
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows and macOS don't say
        return _UNKNOWN
