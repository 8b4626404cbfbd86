"""Augmented views of images, as networks learn from without labels: another crop, other colours, perhaps a blur."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from layerprobe.data.loading import Pixels
from layerprobe.records import Preprocessing
from layerprobe.records.feature_header import AugmentedView

HOW = (
    "random crop of 20 to 100 % of the area, flip (0.5), colour jitter (0.8; brightness, contrast, saturation 0.4, hue "
    "0.1), grey (0.2), Gaussian blur (0.5), by torchvision"
)
"""As MoCo v2 has it (Chen, Fan, Girshick and He, arXiv 2003.04297); its blur fits 224 pixels, ours the image."""


class ViewedPixels(Pixels):
    """Images that are augmented, each as its row in the data set, the view and a seed decide, and nothing else.

    Args:
        pixels: the images as they are.
        number: of the view.
        seed: of the draws.
    """

    def __init__(self, pixels: Pixels, number: int, seed: int) -> None:
        super().__init__(pixels.dataset, pixels.rows, pixels.preprocessing)
        self.view = AugmentedView(number, seed, HOW)
        self._change = _augmentation(pixels.preprocessing)

    def only(self, positions: npt.NDArray[np.int64]) -> Pixels:
        """Some of these images, with the same done to each."""
        return ViewedPixels(super().only(positions), self.view.number, self.view.seed)

    def _pixels(self, row: int) -> Tensor:
        image = self.dataset.image(row, self.preprocessing.upright)
        drawn = np.random.default_rng((self.view.seed, self.view.number, row)).integers(2**62)
        # torchvision draws from the global generator; it is put back as it was.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(drawn))
            changed: Tensor = self._change(image)
        return changed


def _augmentation(preprocessing: Preprocessing) -> Any:
    """A function of an RGB image that gives (3, height, width) uint8 pixels."""
    from torchvision.transforms import v2

    height, width = preprocessing.image_size
    kernel = 2 * (min(height, width) // 20) + 1
    filter = v2.InterpolationMode[preprocessing.interpolation.upper()]
    return v2.Compose(
        [
            v2.RandomResizedCrop((height, width), scale=(0.2, 1.0), interpolation=filter),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            v2.RandomGrayscale(0.2),
            v2.RandomApply([v2.GaussianBlur(kernel, (0.1, 2.0))], p=0.5),
            v2.PILToTensor(),
        ]
    )
