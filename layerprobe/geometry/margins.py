"""How far each class stands from the others: the gap, and the length of the features it is measured against.

Source: section 3 of Cooper et al., arXiv 2511.14981.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from layerprobe.geometry.classes import class_members
from layerprobe.geometry.gram import norms, squared_distances
from layerprobe.records import Gram

_ROWS = 64
"""Images whose distances are looked at together, so that they stay in the processor's cache."""


def distances_to_others(gram: Gram, rows: Tensor | slice) -> Tensor:
    """``|f_i - f_j|^2`` from images i of ``rows`` to images j of other classes, (rows, n); infinite within a class."""
    distances = squared_distances(gram, rows)
    return distances.masked_fill_(gram.known_labels[rows, None] == gram.known_labels, torch.inf)


def tiles_of_others(gram: Gram) -> Iterator[Tensor]:
    """``distances_to_others`` of all images in order, some rows at a time."""
    for start in range(0, gram.images, _ROWS):
        yield distances_to_others(gram, slice(start, start + _ROWS))


def mean_class_gap(gram: Gram) -> float:
    """mean_c of gap_c = min |f_i - f_j| over i in c and j not in c. NaN with one class alone."""
    if int(gram.known_labels.min()) == int(gram.known_labels.max()):
        return float("nan")
    nearest = torch.cat([distances.amin(dim=1) for distances in tiles_of_others(gram)])
    gaps = torch.stack([nearest[rows].min() for rows in class_members(gram.known_labels)])
    return float(gaps.sqrt().mean())


def mean_class_norm(gram: Gram) -> float:
    """mean_c of norm_c, the mean length |f_i| of the class's features."""
    lengths = norms(gram)
    means = [lengths[rows].mean() for rows in class_members(gram.known_labels)]
    return float(sum(means) / len(means))
