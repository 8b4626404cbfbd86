"""Images into batches of pixels, decoded in workers or once into memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from layerprobe.data.image_dataset import ImageDataset
from layerprobe.data.preprocessing import to_pixels
from layerprobe.errors import LayerprobeError
from layerprobe.types import Preprocessing, Progress, silent


@dataclass(frozen=True)
class Batch:
    """Some images.

    Attributes:
        pixels: (batch, 3, height, width) uint8.
        labels: (batch,) int64.
        positions: (batch,) int64, the images' positions among the rows that were asked for.
    """

    pixels: Tensor
    labels: Tensor
    positions: Tensor

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory (DataLoader calls this)."""
        return Batch(self.pixels.pin_memory(), self.labels.pin_memory(), self.positions.pin_memory())


class Pixels(Dataset[Any]):
    """Pixels and labels of given rows of a data set.

    Args:
        dataset: the images.
        rows: (n,) which of them, in this order.
        preprocessing: their size.
        decoded: (n, 3, height, width) uint8, where they lie in memory already.
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
        self.labels = torch.from_numpy(dataset.labels[rows])
        self._decoded = decoded

    @property
    def in_memory(self) -> bool:
        """Whether the images are decoded already."""
        return self._decoded is not None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, positions: Sequence[int]) -> Batch | LayerprobeError:
        """A whole batch, or the error that stopped it: raised in a worker, it would come back as a traceback's text."""
        index = torch.as_tensor(positions)
        if self._decoded is not None:
            return Batch(self._decoded[index], self.labels[index], index)
        try:
            pixels = [to_pixels(self.dataset.image(int(self.rows[i])), self.preprocessing) for i in positions]
        except LayerprobeError as error:
            return error
        return Batch(torch.stack(pixels), self.labels[index], index)


def make_loader(
    pixels: Pixels,
    batch_size: int,
    workers: int = 0,
    shuffle: bool = False,
    generator: torch.Generator | None = None,
    drop_last: bool = False,
    pin_memory: bool = False,
) -> DataLoader[Batch]:
    """A loader of whole batches; iterate it through ``batches``.

    Without a generator it has one of its own: a loader on the global one would shift every later random draw.
    """
    return DataLoader(
        pixels,
        batch_size=batch_size,
        shuffle=shuffle,
        generator=generator or torch.Generator(),
        num_workers=workers,
        drop_last=drop_last,
        pin_memory=pin_memory,
        collate_fn=_as_it_is,
    )


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
    pixels: Pixels, workers: int = 0, limit_bytes: int = 2 * 2**30, progress: Progress = silent, what: str = "read"
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
