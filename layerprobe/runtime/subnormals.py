"""Numbers too small to matter, which a processor takes many times as long for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def flushing_subnormals() -> Iterator[None]:
    """Have float32 numbers below 1.2e-38 count as 0 on the CPU, for the length of a block.

    An attention that has settled gives gradients of that size to all that it leaves out, and convolutions of them take
    four times as long or more. It holds for this thread and for those that PyTorch starts from now on: a process that
    has computed in parallel before has its other threads already.
    """
    before = float(torch.tensor(1e-40) * 1) == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
