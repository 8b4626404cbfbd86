"""How alike the images of a class look to a layer, and those of different classes: the intra- and inter-class cosines.

Source: section 3 of Cooper et al., arXiv 2511.14981.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from layerprobe.geometry.class_blocks import ClassBlocks
from layerprobe.geometry.classes import class_batches, class_members
from layerprobe.geometry.gram import STRIP, Lengths, cosines_from, distances_from, warn_of_zero_features
from layerprobe.geometry.strips import Strip, Summary, gathered
from layerprobe.records import AnyGram


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


def cosine_statistics(gram: AnyGram) -> CosineStatistics:
    """Intra-class and inter-class cosines of one layer.

    A class of one image has no pair: its intra-class values are NaN, and so are the means. With one class alone
    ``inter`` is NaN.
    """
    warn_of_zero_features(gram)
    members = class_members(gram.known_labels)
    sizes = torch.tensor([len(rows) for rows in members], dtype=torch.float64)
    classes = len(members)
    total = float(gathered(gram, WeightedCosines()))
    intra, minimum, within = torch.empty(3, classes, dtype=torch.float64)
    for places, rows in class_batches(members, lambda size: size**2):
        cosines = class_cosines(gram, rows)
        upper = torch.triu_indices(rows.shape[1], rows.shape[1], offset=1)
        pairs = cosines[:, upper[0], upper[1]]
        within[places] = cosines.mean(dim=(1, 2))
        intra[places] = pairs.mean(dim=1)
        minimum[places] = pairs.amin(dim=1) if pairs.shape[1] else torch.nan
    return CosineStatistics(
        intra=float(intra.mean()),
        min_intra=float(minimum.mean()),
        inter=(total - float(within.sum())) / (classes * (classes - 1)) if classes > 1 else math.nan,
        self_pairs=float(((1 - intra) / sizes).mean()),
    )


def summaries(gram: AnyGram) -> tuple[Summary, ...]:
    """What ``cosine_statistics`` gathers."""
    return ClassBlocks(), WeightedCosines()


def class_cosines(gram: AnyGram, rows: Tensor) -> Tensor:
    """(g, m, m) absolute cosines of the images of each of g whole classes of m images, (g, m)."""
    products = gram.within(rows)
    lengths = Lengths.of(gram)[rows]
    return cosines_from(distances_from(products, lengths, lengths), lengths, lengths)


@dataclass(frozen=True)
class WeightedCosines:
    """The sum over all pairs of classes, each with itself included, of the mean cosine between them: w^T A w with the
    weights w_i = 1 / n_c of the images of a class."""

    def begin(self, gram: AnyGram) -> Forms:
        """Gather it, from the first strip on."""
        labels = gram.known_labels
        _, own, counts = torch.unique(labels, return_inverse=True, return_counts=True)
        return Forms(1 / counts.double()[own][None])


class Forms:
    """The quadratic forms w^T A w of absolute cosines A, for several weights w.

    Args:
        weights: (R, n), of the type in which cosines are multiplied with them.
    """

    def __init__(self, weights: Tensor) -> None:
        self._weights = weights
        self._totals = torch.zeros(len(weights), dtype=torch.float64)

    def add(self, strip: Strip) -> None:
        """Take the next strip: twice what lies below its diagonal block."""
        own = self._weights[:, strip.rows]
        for first in range(0, strip.rows.stop, STRIP):
            columns = slice(first, first + STRIP)
            cosines = strip.cosines[:, columns].to(own.dtype)
            sums = ((self._weights[:, columns] @ cosines.T).double() * own).sum(dim=1)
            self._totals += sums if first == strip.start else 2 * sums

    def result(self) -> Tensor:
        """(R,) float64."""
        return self._totals


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
