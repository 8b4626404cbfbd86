"""What a run trains on, what it is tested on, and what it holds out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from layerprobe.data.augmentation import AugmentedPixels
from layerprobe.data.catalogue import AUGMENTATIONS, NONE
from layerprobe.data.damaged import leave_out_damaged
from layerprobe.data.image_dataset import ImageDataset
from layerprobe.data.loading import Batch, EpochBatches, Pixels, batch_loader, decoded, split_holdout
from layerprobe.data.sampling import balanced_sample, uniform_sample
from layerprobe.errors import LayerprobeError
from layerprobe.records import Preprocessing, Progress, silent
from layerprobe.runtime.memory import free_memory
from layerprobe.settings.recipe import TrainingSettings

TEST_BATCH = 64
"""The least number of images that are tested at once: without gradients they take little memory."""


@dataclass(frozen=True)
class Images:
    """Loaders under one preprocessing; each gives this process's part.

    Attributes:
        train: training images, augmented, in an order of their own in every epoch.
        test: the test split; None: there is none, since the images have no labels.
        holdout: training images that are held out to choose an epoch; None: there are none.
        preprocessing: how pixels become a network's input.
    """

    train: DataLoader[Batch]
    test: DataLoader[Batch] | None
    holdout: DataLoader[Batch] | None
    preprocessing: Preprocessing

    @property
    def order(self) -> EpochBatches:
        """Which training images make up which batch."""
        order = self.train.batch_sampler
        if not isinstance(order, EpochBatches):
            raise TypeError("the loader was not made by load_images")
        return order

    def start_epoch(self, epoch: int) -> None:
        """Take the order and the augmentation of an epoch."""
        self.order.epoch = epoch
        if isinstance(self.train.dataset, AugmentedPixels):
            self.train.dataset.epoch = epoch

    @property
    def count(self) -> int:
        """How many training images there are."""
        return len(self._pixels)

    @property
    def labels(self) -> Tensor:
        """(images,) class labels of all training images, by position.

        Raises:
            LayerprobeError: if they have none.
        """
        if self._pixels.labels is None:
            raise LayerprobeError(f"the images of {self._pixels.dataset.name} have no labels")
        return self._pixels.labels

    def some(self, count: int) -> Batch:
        """The first training images, unshuffled and without augmentation.

        Raises:
            LayerprobeError: if an image can't be read.
        """
        return self._plain(range(min(count, len(self._pixels))))

    def in_order(self, count: int = 128) -> Iterator[Batch]:
        """All training images, unshuffled and without augmentation, in batches; the same in every process.

        Raises:
            LayerprobeError: if an image can't be read.
        """
        for start in range(0, len(self._pixels), count):
            yield self._plain(range(start, min(start + count, len(self._pixels))))

    @property
    def _pixels(self) -> Pixels:
        pixels = self.train.dataset
        if not isinstance(pixels, Pixels):
            raise TypeError("the loader was not made by load_images")
        return pixels

    def _plain(self, positions: range) -> Batch:
        batch = Pixels.__getitems__(self._pixels, positions)
        if isinstance(batch, LayerprobeError):
            raise batch
        return batch


def load_images(
    train: ImageDataset,
    test: ImageDataset | None,
    preprocessing: Preprocessing,
    training: TrainingSettings,
    progress: Progress = silent,
    share: tuple[int, int] = (0, 1),
    skip_damaged: bool = False,
    device: torch.device | None = None,
) -> Images:
    """Draw the samples, hold some out, and decode once what fits into memory.

    Which images are held out is the same whatever the seed; in which order the others come depends on it. Neither
    depends on the labels. A class-balanced sample (``train_samples``) is drawn by label, whatever the seed.

    Args:
        train: the training split.
        test: the test split; None: there is none.
        preprocessing: of both.
        training: samples, batch size, augmentation and seed.
        progress: called while images are decoded.
        share: this process and how many there are.
        skip_damaged: whether images that can't be read are left out.
        device: where the networks are. Decoded images are kept in the memory of a GPU if they take a quarter of what is
            free there or less, and their augmentation works there.

    Raises:
        LayerprobeError: if the two splits name other classes, a sample is too large, or nothing is left to train on.
    """
    if test and train.classes != test.classes:
        raise LayerprobeError(f"the training and test images of {train.name} have different classes")

    def rows_of(dataset: ImageDataset, samples: int | None) -> npt.NDArray[np.int64]:
        rows = _rows(dataset, samples)
        return leave_out_damaged(dataset, rows, training.workers, progress) if skip_damaged else rows

    train_rows = rows_of(train, training.train_samples)
    split = split_holdout(len(train_rows), training.holdout, seed=0)
    if len(split.train) < share[1]:
        raise LayerprobeError(f"{len(split.train)} training images for {share[1]} processes; start fewer processes")

    def loader(dataset: ImageDataset, rows: npt.NDArray[np.int64], what: str, learn: bool = False) -> DataLoader[Batch]:
        pixels = decoded(Pixels(dataset, rows, preprocessing), training.workers, progress=progress, what=what)
        if device and _fits(pixels, device) and (not learn or AUGMENTATIONS[training.augment].on_any_device):
            pixels = pixels.on(device)
        if learn and training.augment != NONE:
            pixels = AugmentedPixels(pixels, training.augment, training.seed)
        seed = training.seed if learn else None
        batch_size = training.batch_size if learn else max(training.batch_size, TEST_BATCH)
        return _loader(pixels, EpochBatches(len(rows), batch_size, seed, share, drop_small=learn), training, device)

    held_out = train_rows[split.holdout]
    return Images(
        train=loader(train, train_rows[split.train], "training images read", learn=True),
        test=loader(test, rows_of(test, training.test_samples), "test images read") if test else None,
        holdout=loader(train, held_out, "held-out images read") if len(held_out) else None,
        preprocessing=preprocessing,
    )


def _loader(
    pixels: Pixels, order: EpochBatches, training: TrainingSettings, device: torch.device | None
) -> DataLoader[Batch]:
    """Batches of images in an order, from this process where there is nothing to decode or to augment on the CPU."""
    on_host = pixels.device.type == "cpu"
    works_here = pixels.in_memory and not (on_host and isinstance(pixels, AugmentedPixels))
    pin = on_host and device is not None and device.type == "cuda"
    return batch_loader(pixels, order, 0 if works_here else training.workers, pin_memory=pin)


def _fits(pixels: Pixels, device: torch.device) -> bool:
    """Whether decoded images may lie on a device beside the networks."""
    return pixels.decoded is not None and device.type == "cuda" and pixels.decoded.nbytes <= free_memory(device) // 4


def _rows(dataset: ImageDataset, samples: int | None) -> npt.NDArray[np.int64]:
    if samples is None:
        return np.arange(len(dataset), dtype=np.int64)
    if dataset.labels is None:
        return uniform_sample(dataset, samples, seed=0).rows
    return balanced_sample(dataset.labels, samples, seed=0, num_classes=len(dataset.classes)).rows
