"""Images into batches of pixels, decoded in workers or once into memory."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from layerprobe.data.image_dataset import ImageDataset
from layerprobe.data.preprocessing import to_pixels
from layerprobe.data.transfers import to_device
from layerprobe.errors import LayerprobeError
from layerprobe.records import Preprocessing, Progress, silent

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """Some images.

    Attributes:
        pixels: (batch, 3, height, width) uint8.
        labels: (batch,) int64; None: the images have none.
        positions: (batch,) int64, the images' positions among the rows that were asked for.
    """

    pixels: Tensor
    labels: Tensor | None
    positions: Tensor

    @property
    def known_labels(self) -> Tensor:
        """(batch,) int64 class labels.

        Raises:
            ValueError: if the images have none.
        """
        if self.labels is None:
            raise ValueError("the images have no labels")
        return self.labels

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory (DataLoader calls this)."""
        labels = None if self.labels is None else self.labels.pin_memory()
        return Batch(self.pixels.pin_memory(), labels, self.positions.pin_memory())


class EpochBatches(Sampler[list[int]]):
    """Positions in batches, in an order of their own in every epoch, divided among processes.

    The order of an epoch depends on seed and epoch alone: a training that goes on later finds the same one. With
    several processes each takes its part of every batch, and together they see what one process with the sum of
    their batches would.

    Args:
        count: how many images there are.
        batch_size: images per batch of one process.
        seed: decides the orders; None: always from first to last.
        share: this process and how many there are.
        drop_small: leave out a last batch that gives a process less than 2 images: it would have no batch statistics.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        seed: int | None = None,
        share: tuple[int, int] = (0, 1),
        drop_small: bool = False,
    ) -> None:
        self.epoch = 0
        self._count, self._seed = count, seed
        self._process, self._processes = share
        self._together = batch_size * self._processes
        last = count % self._together
        self._used = count - last if drop_small and 0 < last < 2 * self._processes and last < count else count

    def __len__(self) -> int:
        return -(-self._used // self._together)

    def __iter__(self) -> Iterator[list[int]]:
        order = np.arange(self._count)
        if self._seed is not None:
            order = np.random.default_rng((self._seed, self.epoch)).permutation(self._count)
        for start in range(0, self._used, self._together):
            part = order[start : min(start + self._together, self._used)][self._process :: self._processes]
            if len(part):
                yield part.tolist()

    def sizes(self) -> list[int]:
        """Images of every batch, of all processes together."""
        return [min(self._together, self._used - start) for start in range(0, self._used, self._together)]

    @property
    def largest(self) -> int:
        """Images of the largest batch that one process takes."""
        return -(-min(self._together, self._used) // self._processes)


class Pixels(Dataset[Any]):
    """Pixels and labels of given rows of a data set.

    Args:
        dataset: the images.
        rows: (n,) which of them, in this order.
        preprocessing: their size.
        decoded: (n, 3, height, width) uint8, where they lie in memory already, that of a GPU perhaps.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        rows: npt.NDArray[np.int64],
        preprocessing: Preprocessing,
        decoded: Tensor | None = None,
    ) -> None:
        self.dataset = dataset
        self.rows = rows
        self.preprocessing = preprocessing
        self.labels = None if dataset.labels is None else torch.from_numpy(dataset.labels[rows])
        self.decoded = decoded

    @property
    def in_memory(self) -> bool:
        """Whether the images are decoded already."""
        return self.decoded is not None

    @property
    def device(self) -> torch.device:
        """Where batches come from: workers decode into the memory of the machine."""
        return torch.device("cpu") if self.decoded is None else self.decoded.device

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, positions: Sequence[int]) -> Batch | LayerprobeError:
        """A whole batch, or the error that stopped it: raised in a worker, it would come back as a traceback's text."""
        index = torch.as_tensor(positions)
        labels = None if self.labels is None else self.labels[index]
        if self.decoded is not None:
            return Batch(self.decoded[to_device(index, self.device)], labels, index)
        try:
            pixels = [self._pixels(int(self.rows[i])) for i in positions]
        except LayerprobeError as error:
            return error
        return Batch(torch.stack(pixels), labels, index)

    def only(self, positions: npt.NDArray[np.int64]) -> Pixels:
        """Some of these images, by their position among them; they are decoded anew."""
        return Pixels(self.dataset, self.rows[positions], self.preprocessing)

    def on(self, device: torch.device) -> Pixels:
        """The same images in the memory of a device; they are decoded already."""
        return Pixels(
            self.dataset, self.rows, self.preprocessing, None if self.decoded is None else self.decoded.to(device)
        )

    def _pixels(self, row: int) -> Tensor:
        return to_pixels(self.dataset.image(row, self.preprocessing.upright), self.preprocessing)


def make_loader(
    pixels: Pixels,
    batch_size: int,
    workers: int = 0,
    pin_memory: bool = False,
) -> DataLoader[Batch]:
    """A loader of whole batches, in order; iterate it through ``batches``."""
    return batch_loader(pixels, EpochBatches(len(pixels), batch_size), workers, pin_memory)


def batch_loader(
    images: Dataset[Any], order: EpochBatches, workers: int = 0, pin_memory: bool = False
) -> DataLoader[Any]:
    """A loader of given batches, as ``__getitems__`` of the images gives them; iterate ``Pixels`` through ``batches``.

    It has a generator of its own: a loader on the global one would shift every later random draw.
    """
    if workers > (cores := _cores()):
        _log.warning(
            "--workers %d on %d processor cores: more processes than cores seldom decode faster", workers, cores
        )
    return _QuietLoader(
        images,
        batch_sampler=order,
        generator=torch.Generator(),
        num_workers=workers,
        pin_memory=pin_memory,
        collate_fn=_as_it_is,
        worker_init_fn=_leave_interrupts,
    )


class _QuietLoader(DataLoader[Any]):
    """A loader that leaves it to ``batch_loader`` to say that there are more workers than cores."""

    def check_worker_number_rationality(self) -> None:
        """Say nothing: PyTorch's own warning takes six lines, in every epoch."""


def _cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _leave_interrupts(worker: int) -> None:
    """Have a worker leave Ctrl-C, which reaches a terminal's every process, to the process that it works for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _as_it_is(batch: Any) -> Any:
    return batch


def batches(loader: DataLoader[Batch]) -> Iterator[Batch]:
    """The loader's batches.

    Raises:
        LayerprobeError: if an image can't be read.
    """
    for batch in loader:
        if isinstance(batch, LayerprobeError):
            raise batch
        yield batch


def decoded(
    pixels: Pixels,
    workers: int = 0,
    limit_bytes: int = 2 * 2**30,
    progress: Progress = silent,
    what: str = "images read",
) -> Pixels:
    """Decode every image once into memory, where that takes no more than ``limit_bytes``; else change nothing.

    Raises:
        LayerprobeError: if an image can't be read.
    """
    height, width = pixels.preprocessing.image_size
    if pixels.in_memory or len(pixels) * 3 * height * width > limit_bytes:
        return pixels
    memory = torch.empty(len(pixels), 3, height, width, dtype=torch.uint8)
    done = 0
    for batch in batches(make_loader(pixels, 256, workers=workers)):
        memory[batch.positions] = batch.pixels
        done += len(batch.positions)
        progress(what, done, len(pixels))
    return Pixels(pixels.dataset, pixels.rows, pixels.preprocessing, memory)


@dataclass(frozen=True)
class HoldoutSplit:
    """Positions to train on and positions to hold out, both ascending."""

    train: npt.NDArray[np.int64]
    holdout: npt.NDArray[np.int64]


def split_holdout(count: int, fraction: float, seed: int) -> HoldoutSplit:
    """Hold a random fraction of ``count`` images out.

    The draw knows positions, never labels: labels must not decide which images a backbone sees.

    Raises:
        LayerprobeError: if nothing is left on one side.
    """
    held_out = round(count * fraction)
    if fraction and not 0 < held_out < count:
        raise LayerprobeError(f"--holdout {fraction} of {count} training images leaves none on one side")
    order = np.random.default_rng(seed).permutation(count)
    return HoldoutSplit(train=np.sort(order[held_out:]), holdout=np.sort(order[:held_out]))
