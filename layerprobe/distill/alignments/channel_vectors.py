"""Features as samples of channel vectors."""

from __future__ import annotations

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
