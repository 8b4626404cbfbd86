"""Features as samples of channel vectors."""

from __future__ import annotations

from torch import Tensor

from layerprobe.distill.spatial import Places


def channel_vectors(places: Places) -> Tensor:
    """The channels at every place of every image, (batch * places, channels).

    Args:
        places: what one side of a pair compares, at its own size.
    """
    return places.vectors.transpose(1, 2).flatten(0, 1)
