"""How much memory a device has left."""

from __future__ import annotations

import os
from pathlib import Path

import torch

_MEMORY = Path("/proc/meminfo")
_UNKNOWN = 4 * 10**9
"""Bytes, where the system doesn't say."""


_CONTEXTS = 0.05
"""What is left of a GPU's memory that several processes share, for their CUDA contexts."""


def share_gpu(processes: int) -> None:
    """Have this process take no more of the memory of its GPU than it may, as one of so many processes there.

    One that needs more runs out of memory by itself, whatever the others take. Without a GPU, or alone, nothing is
    limited.
    """
    if processes > 1 and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction((1 - _CONTEXTS) / processes)


def free_memory(device: torch.device) -> int:
    """Bytes that could be taken: of a CUDA device, what PyTorch holds in reserve included; otherwise of the machine.

    Of a GPU that processes share it is what is left of this one's share. Of the machine what the system keeps of files
    counts as free, where it says how much that is (Linux).
    """
    if device.type == "cuda":
        reserved, (free, total) = torch.cuda.memory_reserved(device), torch.cuda.mem_get_info(device)
        share = getattr(torch.cuda, "get_per_process_memory_fraction", lambda device: 1.0)(device)  # since PyTorch 2.8
        free = min(free, int(share * total) - reserved)
        return max(int(free + reserved - torch.cuda.memory_allocated(device)), 0)
    if _MEMORY.exists():
        sizes = dict(line.split(":", 1) for line in _MEMORY.read_text(encoding="utf-8").splitlines() if ":" in line)
        if "MemAvailable" in sizes:
            return int(sizes["MemAvailable"].split()[0]) * 1024
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows and macOS don't say
        return _UNKNOWN
