"""What a run trains on, what it is tested on, and what it holds out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader

from layerprobe.data.image_dataset import ImageDataset
from layerprobe.data.loading import Batch, Pixels, decoded, make_loader, split_holdout
from layerprobe.data.sampling import balanced_sample
from layerprobe.distill.config import Training
from layerprobe.errors import LayerprobeError
from layerprobe.types import Preprocessing, Progress, silent


@dataclass(frozen=True)
class Images:
    """Loaders under one preprocessing.

    Attributes:
        train: training images, shuffled anew in every epoch.
        test: the test split.
        holdout: training images that are held out to choose an epoch; None: there are none.
        preprocessing: how pixels become a network's input.
    """

    train: DataLoader[Batch]
    test: DataLoader[Batch]
    holdout: DataLoader[Batch] | None
    preprocessing: Preprocessing


def load_images(
    train: ImageDataset,
    test: ImageDataset,
    preprocessing: Preprocessing,
    training: Training,
    progress: Progress = silent,
) -> Images:
    """Draw the samples, hold some out, and decode once what fits into memory.

    Which images are held out, and in which order the others come, depends on the seed alone, never on the labels. A
    class-balanced ``train_samples`` is drawn by label, as its name says.

    Raises:
        LayerprobeError: if the two splits name other classes, a sample is too large, or nothing is left to train on.
    """
    if train.classes != test.classes:
        raise LayerprobeError(f"the training and test images of {train.name} have different classes")
    if not 0 <= training.holdout < 1:
        raise LayerprobeError(f"--holdout is a fraction from 0 to below 1, not {training.holdout}")
    train_rows = _rows(train, training.train_samples)
    split = split_holdout(len(train_rows), training.holdout, seed=0)

    def loader(dataset: ImageDataset, rows: npt.NDArray[np.int64], what: str, shuffle: bool) -> DataLoader[Batch]:
        pixels = Pixels(dataset, rows, preprocessing)
        pixels = decoded(pixels, training.workers, progress=progress, what=what)
        return make_loader(
            pixels,
            training.batch_size,
            workers=0 if pixels.in_memory else training.workers,
            shuffle=shuffle,
            generator=torch.Generator().manual_seed(training.seed) if shuffle else None,
            # A last batch of one image would have no batch statistics.
            drop_last=shuffle and len(rows) % training.batch_size == 1 and len(rows) > 1,
        )

    held_out = train_rows[split.holdout]
    return Images(
        train=loader(train, train_rows[split.train], "read training images", shuffle=True),
        test=loader(test, _rows(test, training.test_samples), "read test images", shuffle=False),
        holdout=loader(train, held_out, "read held-out images", shuffle=False) if len(held_out) else None,
        preprocessing=preprocessing,
    )


def _rows(dataset: ImageDataset, samples: int | None) -> npt.NDArray[np.int64]:
    if samples is None:
        return np.arange(len(dataset), dtype=np.int64)
    return balanced_sample(dataset.labels, samples, seed=0, num_classes=len(dataset.classes)).rows
