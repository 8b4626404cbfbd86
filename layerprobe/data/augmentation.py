"""Random changes to training images: drawn per image and epoch, whatever the batch, the worker or the process."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from layerprobe.data.catalogue import AUGMENTATIONS
from layerprobe.data.loading import Batch, Pixels
from layerprobe.data.transfers import to_device
from layerprobe.errors import LayerprobeError

Change = Callable[[Tensor, Tensor], Tensor]
"""Called with pixels, (batch, 3, height, width) uint8, and random draws, (batch, 3) whole numbers below 2^62, both on
one device."""


def unchanged(pixels: Tensor, draws: Tensor) -> Tensor:
    """The images as they are."""
    return pixels


def crop_flip(pixels: Tensor, draws: Tensor) -> Tensor:
    """A crop of the image's own size from the image with black borders of an eighth of it; then a flip, or none.

    At 32 pixels these are the borders of 4 that CIFAR is trained with.
    """
    height, width = pixels.shape[2:]
    vertical, horizontal = height // 8, width // 8
    padded = pad(pixels, (horizontal, horizontal, vertical, vertical))
    rows = draws[:, :1] % (2 * vertical + 1) + torch.arange(height, device=pixels.device)
    columns = torch.arange(width, device=pixels.device)
    columns = torch.where(draws[:, 2:] % 2 == 1, columns.flip(0), columns) + draws[:, 1:2] % (2 * horizontal + 1)
    image = torch.arange(len(pixels), device=pixels.device)
    channel = torch.arange(pixels.shape[1], device=pixels.device)
    return padded[image[:, None, None, None], channel[:, None, None], rows[:, None, :, None], columns[:, None, None, :]]


def trivial(pixels: Tensor, draws: Tensor) -> Tensor:
    """One random operation of random strength per image (TrivialAugmentWide).

    Source: Müller and Hutter 2021, arXiv 2103.10158; the operations are torchvision's.
    """
    from torchvision.transforms import TrivialAugmentWide

    change = TrivialAugmentWide()
    # torchvision draws from the global generator; it is put back as it was.
    with torch.random.fork_rng(devices=[]):
        changed = []
        for image, seed in zip(pixels, draws[:, 0].tolist(), strict=True):
            torch.manual_seed(seed)
            changed.append(change(image))
    return torch.stack(changed)


class AugmentedPixels(Pixels):
    """Images that are changed anew in every epoch; set ``epoch`` before each.

    Args:
        pixels: the images as they are.
        augmentation: a key of ``AUGMENTATIONS``.
        seed: with the epoch and an image's position it decides what is done to the image.
    """

    def __init__(self, pixels: Pixels, augmentation: str, seed: int) -> None:
        super().__init__(pixels.dataset, pixels.rows, pixels.preprocessing, pixels.decoded)
        self.epoch = 0
        self._change: Change = AUGMENTATIONS[augmentation].load()
        self._seed = seed
        self._draws: tuple[int, Tensor] | None = None

    def __getitems__(self, positions: Sequence[int]) -> Batch | LayerprobeError:
        """A batch, each image changed; or the error that stopped it."""
        batch = super().__getitems__(positions)
        if isinstance(batch, LayerprobeError):
            return batch
        draws = to_device(self._of_epoch()[batch.positions], batch.pixels.device)
        return Batch(self._change(batch.pixels, draws), batch.labels, batch.positions)

    def _of_epoch(self) -> Tensor:
        if self._draws is None or self._draws[0] != self.epoch:
            # The 1 keeps these draws apart from those of the images' order.
            generator = np.random.default_rng((self._seed, self.epoch, 1))
            self._draws = self.epoch, torch.from_numpy(generator.integers(2**62, size=(len(self), 3)))
        return self._draws[1]
