"""The images of each class, and classes of equal size together, so that a thousand classes are not a thousand steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

_AT_ONCE = 2**22
"""Numbers that a batch of classes may take: 32 MB of float64."""


def class_members(labels: Tensor) -> list[Tensor]:
    """Row numbers of each class's images, one (n_c,) tensor per class that occurs, in order of class."""
    counts = torch.unique(labels, return_counts=True)[1]
    return list(torch.split(labels.argsort(stable=True), counts.tolist()))


def class_batches(members: Sequence[Tensor], cost: Callable[[int], int]) -> Iterator[tuple[Tensor, Tensor]]:
    """Classes of equal size, as many at a time as fit 32 MB; one at least.

    Args:
        members: row numbers of each class's images.
        cost: how many numbers the work on one class of m images takes, given m.

    Yields:
        The places of g classes of m images among ``members``, (g,) int64, and the row numbers of their images, (g, m).
    """
    sizes = torch.tensor([len(rows) for rows in members])
    for size in torch.unique(sizes).tolist():
        places = torch.nonzero(sizes == size).flatten()
        for some in torch.split(places, max(_AT_ONCE // max(cost(size), 1), 1)):
            yield some, torch.stack([members[place] for place in some.tolist()])
