"""Features as samples of channel vectors: their mean, covariance and principal axes."""

from __future__ import annotations

import torch
from torch import Tensor

from layerprobe.distill.spatial import channels_first
from layerprobe.layers.discovery import is_channels_last


def channel_vectors(features: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The channels at every position of every image, (batch * positions, channels).

    Args:
        features: (batch, *shape): a map, tokens or vectors.
        shape: of one image's features.
    """
    ordered = channels_first(features, tokens=len(shape) == 2, channels_last=is_channels_last(shape))
    return ordered.flatten(2).transpose(1, 2).flatten(0, 1)


class Covariance:
    """Mean and covariance of vectors that come in batches, in float64."""

    def __init__(self, dimension: int) -> None:
        self._count = 0
        self._sum = torch.zeros(dimension, dtype=torch.float64)
        self._products = torch.zeros(dimension, dimension, dtype=torch.float64)

    def add(self, vectors: Tensor) -> None:
        """Take in vectors (count, dimension)."""
        vectors = vectors.double().cpu()
        self._count += len(vectors)
        self._sum += vectors.sum(dim=0)
        self._products += vectors.T @ vectors

    @property
    def mean(self) -> Tensor:
        """(dimension,) float64."""
        return self._sum / max(self._count, 1)

    def axes(self, count: int) -> Tensor:
        """The ``count`` principal axes of most variance as columns, (dimension, count) float64, of a definite sign.

        Where there are fewer dimensions the last columns are zero.
        """
        centred = self._products / max(self._count, 1) - torch.outer(self.mean, self.mean)
        vectors = torch.linalg.eigh(centred).eigenvectors.flip(1)[:, :count]
        extreme = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True))
        vectors = vectors * torch.where(extreme < 0, -1.0, 1.0)
        return torch.nn.functional.pad(vectors, (0, count - vectors.shape[1]))
