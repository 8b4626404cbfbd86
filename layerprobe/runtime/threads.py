"""How many threads PyTorch computes with, for the length of a block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread(small: bool = True) -> Iterator[None]:
    """Compute in one thread where the work is small: many short pieces wait longer for threads than these save.

    Args:
        small: whether it is; else nothing is changed.
    """
    threads = torch.get_num_threads()
    if small:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
