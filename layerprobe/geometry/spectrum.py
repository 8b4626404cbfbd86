"""How many directions a class's features spread over: the entropy of their spectrum.

Source: section 3 of Cooper et al., arXiv 2511.14981. The released code cuts the spectrum at the class-summed 95 %
dimension first, which keeps practically every component; here all are kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from layerprobe.geometry.gram import class_members
from layerprobe.records import Gram


def spectrum_blocks(gram: Gram) -> Iterator[Tensor]:
    """What the spectrum of each class is computed from: inner products of its features, less any common vector.

    Yields:
        (n_c, n_c) float64 for each class, in order: of the second sample where the Gram matrix has one.
    """
    if gram.class_blocks is not None:
        yield from (block.double() for block in gram.class_blocks)
    else:
        yield from (gram.centred[rows[:, None], rows] for rows in class_members(gram.labels))


def class_spectrum(block: Tensor, dimension: int) -> Tensor:
    """Squared singular values of one class's features centred on the class mean, descending.

    They are the eigenvalues of the double-centred Gram block of the class.

    Args:
        block: (n_c, n_c) from ``spectrum_blocks``.
        dimension: D.

    Returns:
        (min(n_c - 1, D),) float64: the values beyond that are zero but for rounding.
    """
    values: Tensor = torch.linalg.eigvalsh(double_centre(block)).flip(0)
    return values[: min(len(block) - 1, dimension)].clamp_min(0)


def double_centre(block: Tensor) -> Tensor:
    """Products of features centred on their own mean, from products of features: (..., n, n) both."""
    block = block - block.mean(dim=-2, keepdim=True)
    return block - block.mean(dim=-1, keepdim=True)


def spectral_entropy(spectrum: Tensor) -> float:
    """H = -sum_k p_k ln p_k with p_k = lambda_k / sum(lambda), in nats, from 0 to ln(number of values).

    NaN where there is no variance: identical images, or a single one.

    Examples:
        >>> round(spectral_entropy(torch.ones(8)), 4), round(spectral_entropy(torch.tensor([5.0, 0.0])), 4)
        (2.0794, 0.0)
    """
    total = spectrum.sum()
    if len(spectrum) == 0 or total <= 0:
        return float("nan")
    return float(torch.special.entr(spectrum / total).sum())


@dataclass(frozen=True)
class ClassEntropies:
    """How far the classes' features spread.

    Attributes:
        absolute: mean_c H_c, in nats.
        relative: mean_c H_c / ln(min(n_c - 1, D)), the share of the largest value that H_c can take; in [0, 1].
    """

    absolute: float
    relative: float


def largest_entropy(images: int, dimension: int) -> float:
    """ln(min(n_c - 1, D)): H_c of as many equal values as n_c centred features of D dimensions can have."""
    return math.log(max(min(images - 1, dimension), 1))


def class_entropies(gram: Gram) -> ClassEntropies:
    """The spectral entropy of each class's features, averaged over classes; n_c is that of the sample they are of.

    NaN where a class has no variance; ``relative`` is NaN too where a class can have one value only.
    """
    entropies, shares = [], []
    for block in spectrum_blocks(gram):
        entropy, most = (
            spectral_entropy(class_spectrum(block, gram.dimension)),
            largest_entropy(len(block), gram.dimension),
        )
        entropies.append(entropy)
        shares.append(entropy / most if most > 0 else math.nan)
    return ClassEntropies(sum(entropies) / len(entropies), sum(shares) / len(shares))


def absolute_entropy(entropies: ClassEntropies) -> float:
    """mean_c H_c, in nats."""
    return entropies.absolute


def relative_entropy(entropies: ClassEntropies) -> float:
    """mean_c H_c / ln(min(n_c - 1, D))."""
    return entropies.relative
