"""What a figure shows of a layer: distances within and between classes, and its plane of most variance."""

from __future__ import annotations

import torch
from scipy.sparse.linalg import eigsh
from torch import Tensor

from layerprobe.geometry.gram import squared_distances
from layerprobe.geometry.spectrum import double_centre
from layerprobe.records import Gram

_ROWS = 256
BINS = 80
LONGEST = 2.0
"""The histogram's end, in units of the root mean square distance; what is farther counts into the last bin."""


def distance_histograms(gram: Gram) -> dict[str, Tensor]:
    """How far apart images of one class are, and images of different classes.

    Returns:
        ``within_classes`` and ``between_classes``, (80,) float64 each: the share of such pairs whose distance, divided
        by the root mean square distance of all pairs, lies in each of 80 bins from 0 to 2. NaN without such pairs.
    """
    mean_square = 2 * gram.centred.diagonal().mean() * gram.images / (gram.images - 1)
    counts = {name: torch.zeros(BINS, dtype=torch.float64) for name in ("within_classes", "between_classes")}
    for start in range(0, gram.images, _ROWS):
        block = torch.arange(start, min(start + _ROWS, gram.images))
        distances = (squared_distances(gram, block) / mean_square).sqrt().clamp_max(LONGEST)
        later = torch.arange(gram.images) > block[:, None]
        same = gram.known_labels[block, None] == gram.known_labels
        counts["within_classes"] += torch.histc(distances[later & same], BINS, 0, LONGEST)
        counts["between_classes"] += torch.histc(distances[later & ~same], BINS, 0, LONGEST)
    return {name: count / count.sum() for name, count in counts.items()}


def principal_plane(gram: Gram) -> dict[str, Tensor]:
    """Every image's coordinates along the two principal components of most variance.

    Returns:
        ``plane``, (n, 2) float64, the larger extreme of either axis positive; ``plane_shares``, (2,): of the variance.
        Zeros and NaN where there is no variance.
    """
    kernel = double_centre(gram.centred)
    total = kernel.diagonal().sum()
    start = torch.linspace(1, 2, len(kernel), dtype=torch.float64)
    if len(kernel) > 2 and float(total) > 0:
        found = eigsh(kernel.numpy(), k=2, which="LA", v0=start.numpy())
        values, vectors = (torch.from_numpy(array) for array in found)
    else:
        values, vectors = torch.zeros(2, dtype=torch.float64), torch.zeros(len(kernel), 2, dtype=torch.float64)
    values, vectors = values.flip(0).clamp_min(0), vectors.flip(1)
    extreme = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True))
    signs = torch.where(extreme < 0, -1.0, 1.0)
    return {"plane": vectors * signs * values.sqrt(), "plane_shares": values / total}


def spectrum(shares: Tensor) -> dict[str, Tensor]:
    """The share of the variance along every principal component.

    Args:
        shares: from ``layerprobe.geometry.dimensions.variance_spectrum``.

    Returns:
        ``spectrum``: the shares.
    """
    return {"spectrum": shares}
