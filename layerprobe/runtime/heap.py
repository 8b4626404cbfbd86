"""Memory that one training step frees and the next one takes again."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Of mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_NEVER = -1
_USUAL = 2**25
"""The largest block, in bytes, that glibc comes to take from its heap by itself; twice as much stays free there."""
_VARIABLES = (
    "MALLOC_TRIM_THRESHOLD_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_MMAP_MAX_",
    "MALLOC_TOP_PAD_",
    "GLIBC_TUNABLES",
)


@contextmanager
def keeping_freed_memory(device: torch.device) -> Iterator[None]:
    """Have the C library keep what is freed, for the length of a block, and hand it back to the system at the end.

    A step on a CPU frees all its activations at once, and glibc gives memory at the end of its heap back to the system:
    the next step would take every page anew. Afterwards glibc's thresholds are those that it comes to by itself where
    large blocks are freed, and stay there. Nothing is changed with another C library, where a variable of the
    environment sets one of these thresholds, or where the device is a GPU.

    Args:
        device: where the block computes.
    """
    if device.type != "cpu" or platform.libc_ver()[0] != "glibc" or any(name in os.environ for name in _VARIABLES):
        yield
        return
    libc = ctypes.CDLL(None)
    libc.malloc_trim.argtypes = [ctypes.c_size_t]
    libc.mallopt(_TRIM_THRESHOLD, _NEVER)
    # Before version 2.35 glibc takes no larger threshold than the usual one.
    if not libc.mallopt(_MMAP_THRESHOLD, 2**30):
        libc.mallopt(_MMAP_THRESHOLD, _USUAL)
    try:
        yield
    finally:
        libc.mallopt(_MMAP_THRESHOLD, _USUAL)
        libc.mallopt(_TRIM_THRESHOLD, 2 * _USUAL)
        libc.malloc_trim(0)
