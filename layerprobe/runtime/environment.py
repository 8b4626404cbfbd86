"""What a run was computed with, and what it took."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import Any

import accelerate
import torch
import torchvision

from layerprobe.version import __version__


def start_measuring(device: torch.device) -> None:
    """From here on the peak of a GPU's memory counts."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int | None:
    """Largest memory in bytes: allocated on a GPU, else resident of the whole process; None where it isn't known."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    status = Path("/proc/self/status")
    if status.is_file():
        # What getrusage says on Linux counts the process that started this one too.
        lines = (line.split() for line in status.read_text(encoding="utf-8").splitlines())
        return next((1024 * int(words[1]) for words in lines if words[:1] == ["VmHWM:"]), None)
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def environment(device: torch.device, processes: int) -> dict[str, Any]:
    """Device, threads, processes and versions."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "device": str(device),
        "device_name": name,
        "threads": torch.get_num_threads(),
        "processes": processes,
        "versions": {
            "layerprobe": __version__,
            "torch": str(torch.__version__),
            "torchvision": str(torchvision.__version__),
            "accelerate": str(accelerate.__version__),
            "python": platform.python_version(),
        },
    }
