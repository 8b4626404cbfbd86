"""How the scores move with the number of images per class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from layerprobe.geometry.gram import class_members, sub_gram
from layerprobe.geometry.quality import measure
from layerprobe.records import Gram

SIZE_SCORES = ("quality", "quality_normalised", "separation", "information", "information_normalised", "efficiency")
DRAWS = 5


def scores_at_sizes(gram: Gram, sizes: Sequence[int], seed: int = 0) -> dict[str, Tensor]:
    """The scores of smaller samples out of this one.

    A small sample is drawn five times. Within a draw every size is a part of the next larger one, so that a curve shows
    the size, not the luck. The draws of large sizes share images, and scatter less than independent samples would.

    Args:
        gram: of all images.
        sizes: numbers of images per class.
        seed: of the draws; give every layer of one sample the same.

    Returns:
        ``quality``, ``quality_normalised``, ``separation``, ``information``, ``information_normalised`` and
        ``efficiency``, (sizes, 5) float64 each.

    Raises:
        ValueError: if a class has fewer images than asked for.
    """
    members = class_members(gram.labels)
    least = min(map(len, members))
    if not all(1 < size <= least for size in sizes):
        raise ValueError(f"sizes {list(sizes)} of classes with {least} images")
    generator = torch.Generator().manual_seed(seed)
    found = torch.empty(len(SIZE_SCORES), len(sizes), DRAWS, dtype=torch.float64)
    for draw in range(DRAWS):
        orders = [rows[torch.randperm(len(rows), generator=generator)] for rows in members]
        for number, size in enumerate(sizes):
            if draw and all(len(order) == size for order in orders):
                found[:, number, draw] = found[:, number, 0]  # the whole sample again
                continue
            scores = measure(sub_gram(gram, torch.cat([order[:size] for order in orders])))
            found[:, number, draw] = torch.tensor([scores[name] for name in SIZE_SCORES], dtype=torch.float64)
    return dict(zip(SIZE_SCORES, found, strict=True))
