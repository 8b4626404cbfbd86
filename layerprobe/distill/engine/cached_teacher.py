"""A teacher's outputs for all training images, computed once."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from layerprobe.layers.capture import Captured


class CachedTeacherFeatures:
    """A teacher's logits and features of all training images, where they were computed.

    Args:
        passes: what the teacher gave, batch by batch, from the first image to the last.
        images: how many there are.
    """

    def __init__(self, passes: Iterable[Captured], images: int) -> None:
        self._images = images
        self._logits: Tensor | None = None
        self._features: dict[str, Tensor] = {}
        start = 0
        for given in passes:
            if self._logits is None:
                self._logits = self._empty(given.logits)
                self._features = {name: self._empty(values) for name, values in given.features.items()}
            end = start + len(given.logits)
            self._logits[start:end] = given.logits
            for name, values in given.features.items():
                self._features[name][start:end] = values
            start = end

    def _empty(self, like: Tensor) -> Tensor:
        return torch.empty(self._images, *like.shape[1:], dtype=like.dtype, device=like.device)

    def outputs(self, positions: Tensor) -> Captured:
        """Logits and features of images by their position among the training images.

        Raises:
            ValueError: if there were no images.
        """
        if self._logits is None:
            raise ValueError("no image was shown to the teacher")
        positions = positions.to(self._logits.device)
        return Captured(self._logits[positions], {name: values[positions] for name, values in self._features.items()})
