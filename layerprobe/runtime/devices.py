"""Which device a tensor lives on, from what the user typed."""

from __future__ import annotations

import os

import torch

from layerprobe.errors import LayerprobeError


def resolve_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps`` into a device that is there.

    ``auto`` takes a CUDA device if there is one, then Apple's MPS, then the CPU. ``auto`` and ``cuda`` without a number
    take the current CUDA device, which is another one in every process that ``torchrun`` starts.

    Args:
        name: as the settings have it.

    Raises:
        LayerprobeError: if this machine has no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind, _, number = name.partition(":")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise LayerprobeError(f"no device {name!r} here ({torch.cuda.device_count()} CUDA devices); try --device auto")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise LayerprobeError("no device 'mps' here; try --device auto")
    if kind == "cuda":
        return torch.device(kind, int(number) if number else torch.cuda.current_device())
    return torch.device(kind)


def is_main_process() -> bool:
    """Whether this process speaks for the others that ``accelerate launch`` or ``torchrun`` started with it."""
    return os.environ.get("RANK", "0") == "0"
