"""How the scores move with the number of images per class."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from layerprobe.geometry.catalogue import resampled
from layerprobe.geometry.classes import class_members
from layerprobe.geometry.gram import sub_gram
from layerprobe.geometry.measure import Quantities, Values
from layerprobe.records import Gram

DRAWS = 5
"""How often a small sample is drawn."""


def scores_at_sizes(gram: Gram, sizes: Sequence[int], seed: int = 0) -> Values:
    """The scores of smaller samples out of this one.

    A small sample is drawn five times. Within a draw every size is a part of the next larger one, so that a curve shows
    the size, not the luck. The draws of large sizes share images, and scatter less than independent samples would.

    Args:
        gram: of all images.
        sizes: numbers of images per class.
        seed: of the draws; give every layer of one sample the same.

    Returns:
        (sizes, 5) float64 of every statistic that has an interval, by name.

    Raises:
        ValueError: if a class has fewer images than asked for.
    """
    members = class_members(gram.known_labels)
    least = min(map(len, members))
    if not all(1 < size <= least for size in sizes):
        raise ValueError(f"sizes {list(sizes)} of classes with {least} images")
    generator = torch.Generator().manual_seed(seed)
    scores = resampled()
    found = torch.empty(len(scores), len(sizes), DRAWS, dtype=torch.float64)
    for draw in range(DRAWS):
        orders = [rows[torch.randperm(len(rows), generator=generator)] for rows in members]
        for number, size in enumerate(sizes):
            if draw and all(len(order) == size for order in orders):
                found[:, number, draw] = found[:, number, 0]  # the whole sample again
                continue
            part = Quantities.of_gram(sub_gram(gram, torch.cat([order[:size] for order in orders])))
            found[:, number, draw] = torch.stack(list(part.numbers(scores).values()))
    return dict(zip((entry.name for entry in scores), found, strict=True))
