"""Images that stay on a GPU are those that the CPU gives, augmentation included."""

from pathlib import Path

import numpy as np
import pytest
import torch

from layerprobe.data.augmentation import AugmentedPixels, crop_flip
from layerprobe.data.datasets import open_dataset
from layerprobe.data.loading import Batch, Pixels, batches, decoded
from layerprobe.distill.engine.images import load_images
from layerprobe.records import Preprocessing
from layerprobe.settings.recipe import TrainingSettings

PREPROCESSING = Preprocessing((32, 24), (0.5,) * 3, (0.5,) * 3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("augment", ["none", "crop-flip", "trivial"])
def test_batches_are_those_of_the_cpu(photos: Path, augment: str) -> None:
    splits = open_dataset(str(photos)), open_dataset(str(photos), "test")
    training = TrainingSettings(batch_size=4, augment=augment)
    found: dict[str, list[Batch]] = {}
    for name in ("cpu", "cuda"):
        images = load_images(*splits, PREPROCESSING, training, device=torch.device(name))
        images.start_epoch(2)
        found[name] = [*batches(images.train), *batches(images.test)]
    assert augment == "trivial" or all(batch.pixels.device.type == "cuda" for batch in found["cuda"])
    for ours, theirs in zip(found["cpu"], found["cuda"], strict=True):
        assert torch.equal(ours.pixels, theirs.pixels.cpu()) and torch.equal(ours.positions, theirs.positions)


def test_crops_are_taken_where_the_pixels_are() -> None:
    """The meta device, which any machine has, stands for a GPU: it refuses to meet tensors of the CPU."""
    pixels, draws = torch.zeros(4, 3, 16, 24, dtype=torch.uint8), torch.randint(2**62, (4, 3))
    changed = crop_flip(pixels.to("meta"), draws.to("meta"))
    assert changed.device.type == "meta" and changed.shape == pixels.shape


def test_images_that_are_on_a_device_are_augmented_there(photos: Path) -> None:
    pixels = decoded(Pixels(open_dataset(str(photos)), np.arange(8), PREPROCESSING)).on(torch.device("meta"))
    batch = AugmentedPixels(pixels, "crop-flip", seed=0).__getitems__([3, 1])
    assert isinstance(batch, Batch) and batch.pixels.device.type == "meta"
    assert torch.equal(batch.positions, torch.tensor([3, 1])) and batch.labels is not None
