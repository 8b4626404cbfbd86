"""How far each class stands from the others: the gap, and the length of the features it is measured against.

Source: section 3 of Cooper et al., arXiv 2511.14981.
"""

from __future__ import annotations

import torch

from layerprobe.geometry.classes import class_members
from layerprobe.geometry.gram import norms
from layerprobe.geometry.nearest import listed_others
from layerprobe.geometry.strips import Summary, gathered
from layerprobe.records import AnyGram


def mean_class_gap(gram: AnyGram) -> float:
    """mean_c of gap_c = min |f_i - f_j| over i in c and j not in c. NaN with one class alone."""
    if int(gram.known_labels.min()) == int(gram.known_labels.max()):
        return float("nan")
    nearest = gathered(gram, listed_others(gram))[0][:, 0]
    gaps = torch.stack([nearest[rows].min() for rows in class_members(gram.known_labels)])
    return float(gaps.sqrt().mean())


def summaries(gram: AnyGram) -> tuple[Summary, ...]:
    """What ``mean_class_gap`` gathers."""
    return (listed_others(gram),)


def mean_class_norm(gram: AnyGram) -> float:
    """mean_c of norm_c, the mean length |f_i| of the class's features."""
    lengths = norms(gram)
    means = [lengths[rows].mean() for rows in class_members(gram.known_labels)]
    return float(sum(means) / len(means))
