"""Augmentation: what it does to pixels, and that it comes back."""

from pathlib import Path

import numpy as np
import pytest
import torch

from layerprobe.data.augmentation import AugmentedPixels, crop_flip
from layerprobe.data.catalogue import AUGMENTATIONS
from layerprobe.data.datasets import open_dataset
from layerprobe.data.loading import EpochBatches, Pixels, batch_loader, batches, decoded
from layerprobe.errors import LayerprobeError
from layerprobe.records import Preprocessing

PREPROCESSING = Preprocessing((32, 24), (0.5,) * 3, (0.5,) * 3)


def augmented(photos: Path, name: str, seed: int = 0, memory: bool = True) -> AugmentedPixels:
    pixels = Pixels(open_dataset(str(photos)), np.arange(20), PREPROCESSING)
    return AugmentedPixels(decoded(pixels) if memory else pixels, name, seed)


def epoch(pixels: AugmentedPixels, number: int, batch_size: int = 6, workers: int = 0) -> torch.Tensor:
    pixels.epoch = number
    parts = list(batches(batch_loader(pixels, EpochBatches(20, batch_size, seed=1), workers)))
    order = torch.cat([part.positions for part in parts]).argsort()
    return torch.cat([part.pixels for part in parts])[order]


@pytest.mark.parametrize("name", ["crop-flip", "trivial"])
def test_draws_belong_to_image_and_epoch_whatever_the_batch_and_the_worker(photos: Path, name: str) -> None:
    first = epoch(augmented(photos, name), 0)
    assert torch.equal(first, epoch(augmented(photos, name), 0, batch_size=7))
    assert torch.equal(first, epoch(augmented(photos, name, memory=False), 0, workers=2))
    second = epoch(augmented(photos, name), 1)
    assert torch.equal(second, epoch(augmented(photos, name, memory=False), 1, workers=2))
    assert not torch.equal(first, second) and not torch.equal(first, epoch(augmented(photos, name, seed=1), 0))


def test_it_leaves_the_global_generator_alone(photos: Path) -> None:
    before = torch.get_rng_state()
    for name in AUGMENTATIONS:
        epoch(augmented(photos, name), 0)
    assert torch.equal(before, torch.get_rng_state())


def test_crops_and_flips_against_a_loop() -> None:
    pixels = torch.randint(1, 256, (50, 3, 16, 24), dtype=torch.uint8)
    draws = torch.randint(2**62, (50, 3))
    changed = crop_flip(pixels, draws)
    for image, (top, left, flip), result in zip(pixels, draws.tolist(), changed, strict=True):
        large = torch.zeros(3, 20, 30, dtype=torch.uint8)
        large[:, 2:18, 3:27] = image
        expected = large[:, top % 5 : top % 5 + 16, left % 7 : left % 7 + 24]
        assert torch.equal(result, expected.flip(2) if flip % 2 else expected)


def test_an_unknown_augmentation() -> None:
    with pytest.raises(LayerprobeError, match="no augmentation 'crop'; closest: 'crop-flip'"):
        AUGMENTATIONS.find("crop")
