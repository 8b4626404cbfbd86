"""How alike the images of a class look to a layer, and those of different classes: the intra- and inter-class cosines.

Source: section 3 of Cooper et al., arXiv 2511.14981.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from layerprobe.geometry.classes import class_batches, class_members
from layerprobe.geometry.gram import absolute_cosines
from layerprobe.records import Gram


@dataclass(frozen=True)
class CosineStatistics:
    """Means over absolute cosines a_ij, all in [0, 1].

    Attributes:
        intra: mean over classes of the mean over distinct pairs in the class.
        min_intra: mean over classes of the least a_ij over distinct pairs in the class.
        inter: mean over ordered pairs of different classes of the mean between them.
        self_pairs: mean over classes of (1 - intra_c) / n_c: what counting each image as its own pair,
            as the authors' released code does, adds to ``intra``.
    """

    intra: float
    min_intra: float
    inter: float
    self_pairs: float


def cosine_statistics(gram: Gram) -> CosineStatistics:
    """Intra-class and inter-class cosines of one layer.

    A class of one image has no pair: its intra-class values are NaN, and so are the means. With one class alone
    ``inter`` is NaN.
    """
    cosines = absolute_cosines(gram)
    members = class_members(gram.known_labels)
    sizes = torch.tensor([len(rows) for rows in members], dtype=torch.float64)
    between = _class_sums(_class_sums(cosines, members).T.contiguous(), members) / (sizes[:, None] * sizes)
    classes = len(members)
    inter = (between.sum() - between.trace()) / (classes * (classes - 1)) if classes > 1 else torch.tensor(torch.nan)
    intra, minimum = torch.empty(2, classes, dtype=torch.float64)
    for places, rows in class_batches(members, lambda size: size**2):
        upper = torch.triu_indices(rows.shape[1], rows.shape[1], offset=1)
        pairs = cosines[rows[:, upper[0]], rows[:, upper[1]]]
        intra[places] = pairs.mean(dim=1)
        minimum[places] = pairs.amin(dim=1) if pairs.shape[1] else torch.nan
    return CosineStatistics(
        intra=float(intra.mean()),
        min_intra=float(minimum.mean()),
        inter=float(inter),
        self_pairs=float(((1 - intra) / sizes).mean()),
    )


def _class_sums(values: Tensor, members: Sequence[Tensor]) -> Tensor:
    """Sums over the images of each class: (n, k) to (classes, k)."""
    sums = values.new_zeros(len(members), values.shape[1])
    own = torch.arange(len(members)).repeat_interleave(torch.tensor([len(rows) for rows in members]))
    return sums.index_add_(0, own[torch.cat(list(members)).argsort()], values)


def intra_cosine(cosines: CosineStatistics) -> float:
    """mean_c intra_c."""
    return cosines.intra


def inter_cosine(cosines: CosineStatistics) -> float:
    """inter."""
    return cosines.inter


def min_intra_cosine(cosines: CosineStatistics) -> float:
    """mean_c minintra_c."""
    return cosines.min_intra


def self_pairs(cosines: CosineStatistics) -> float:
    """mean_c (1 - intra_c) / n_c."""
    return cosines.self_pairs
