"""Several batches on their way at once: while one computes, others are checked and written."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from layerprobe.features.extraction.copies import copy_sharing_tensors

Item = TypeVar("Item")
Thing = TypeVar("Thing")

_MOST_NETWORKS = 4
"""Batches that compute at once on a CPU; each of them takes memory."""
_LEAST_BATCHES = 3
"""With one network: a batch that computes (a GPU copies it in the same queue), and two that are written."""


@contextmanager
def divide_cores(module: nn.Module, images: Tensor) -> Iterator[list[nn.Module]]:
    """Networks on the same tensors that compute side by side, each with its share of the threads.

    One thread per batch wastes nothing on dividing small operations among threads that then wait for each other, and
    the thread that converts and writes a batch keeps no other from computing. On another device than a CPU, or where a
    network can't be copied, it is alone.

    Args:
        module: the network, in evaluation mode.
        images: (batch, 3, height, width) on its device, to try a copy with.
    """
    networks, threads = [module], torch.get_num_threads()
    if images.device.type == "cpu":
        for _ in range(_count_networks(threads) - 1):
            if (copy := copy_sharing_tensors(module, images)) is None:
                break
            networks.append(copy)
    if len(networks) > 1:
        torch.set_num_threads(threads // len(networks))
    try:
        yield networks
    finally:
        torch.set_num_threads(threads)


def _count_networks(threads: int) -> int:
    """How many networks compute side by side: as many as leave the fewest threads idle; one is slow in any case."""
    counts = range(min(2, threads), min(_MOST_NETWORKS, threads) + 1)
    return max(counts, key=lambda count: (count * (threads // count), count))


class SharedPool(Generic[Thing]):
    """Things that threads take, use and give back."""

    def __init__(self, things: Sequence[Thing]) -> None:
        self.batches = len(things) if len(things) > 1 else _LEAST_BATCHES
        self._free: SimpleQueue[Thing] = SimpleQueue()
        for thing in things:
            self._free.put(thing)

    @contextmanager
    def take(self) -> Iterator[Thing]:
        """Wait until one is free, and have it to oneself."""
        thing = self._free.get()
        try:
            yield thing
        finally:
            self._free.put(thing)


def in_threads(work: Callable[[Item], None], items: Iterable[Item], threads: int) -> Generator[None, None, None]:
    """Do some work on every item in several threads; yields whenever one more is done.

    Items are asked for in the calling thread, few at a time. At the first error, in the order of the items, or when the
    generator is closed, no more of them are asked for; work that was begun is waited for, the rest is dropped. Until
    that error is seen, other threads go on.
    """
    pool = ThreadPoolExecutor(threads)
    begun: deque[Future[None]] = deque()
    try:
        for item in items:
            begun.append(pool.submit(work, item))
            if len(begun) > threads:
                begun.popleft().result()
                yield
        while begun:
            begun.popleft().result()
            yield
    finally:
        pool.shutdown(cancel_futures=True)
