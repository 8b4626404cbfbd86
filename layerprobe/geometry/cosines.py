"""How alike the images of a class look to a layer, and those of different classes: the intra- and inter-class cosines.

Source: section 3 of Cooper et al., arXiv 2511.14981.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from layerprobe.geometry.gram import absolute_cosines, class_members
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
    members = class_members(gram.labels)
    sizes = torch.tensor([len(rows) for rows in members], dtype=torch.float64)
    one_hot = torch.stack([(gram.labels == gram.labels[rows[0]]).double() for rows in members])
    between = (one_hot @ cosines @ one_hot.T) / (sizes[:, None] * sizes[None, :])
    classes = len(members)
    inter = (between.sum() - between.trace()) / (classes * (classes - 1)) if classes > 1 else torch.tensor(torch.nan)
    intra, minimum = [], []
    for rows in members:
        upper = torch.triu_indices(len(rows), len(rows), offset=1)
        pairs = cosines[rows[:, None], rows[None, :]][upper[0], upper[1]]
        intra.append(pairs.mean())
        minimum.append(pairs.min() if len(pairs) else pairs.new_tensor(torch.nan))
    per_class = torch.stack(intra)
    return CosineStatistics(
        intra=float(per_class.mean()),
        min_intra=float(torch.stack(minimum).mean()),
        inter=float(inter),
        self_pairs=float(((1 - per_class) / sizes).mean()),
    )


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
