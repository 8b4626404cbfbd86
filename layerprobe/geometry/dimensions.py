"""How many directions a layer's features fill, whatever the classes: from the spectrum of all images."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from layerprobe.geometry.gram import products
from layerprobe.geometry.spectrum import double_centre, spectral_entropy
from layerprobe.records import Gram

RANKME_EPSILON = 1e-7
"""What Garrido et al. add to every share of RankMe."""


def variance_spectrum(gram: Gram) -> Tensor:
    """The share of the variance along every principal component, descending.

    Returns:
        (min(n - 1, D),) float64, sum 1; NaN where all images have the same features.
    """
    values: Tensor = torch.linalg.eigvalsh(double_centre(gram.centred)).flip(0)
    values = values[: min(len(values) - 1, gram.dimension)].clamp_min(0)
    return values / values.sum()


def pca_dimension(shares: Tensor, variance: float) -> float:
    """The least number of principal components that hold this share of the variance; NaN without variance.

    Args:
        shares: from ``variance_spectrum``.
        variance: the share, between 0 and 1.

    Examples:
        >>> pca_dimension(torch.tensor([0.6, 0.3, 0.1]), 0.8)
        2.0
    """
    if len(shares) == 0 or bool(shares.isnan().any()):
        return math.nan
    # Rounding may leave the sum of all shares a little below 1.
    reached = shares.cumsum(0) >= variance - 1e-12
    return float(reached.int().argmax() + 1) if bool(reached.any()) else float(len(shares))


def effective_rank(shares: Tensor) -> float:
    """exp(H), H the entropy of the shares of variance: from 1 to the number of components; NaN without variance.

    Roy and Vetterli (EUSIPCO 2007) define it with shares of singular values; here they are squared, as in the entropy
    of the classes, so that it is the number of equally strong components with that entropy of the variance.

    Examples:
        >>> round(effective_rank(torch.full((4,), 0.25)), 6)
        4.0
    """
    return math.exp(spectral_entropy(shares)) if not bool(shares.isnan().any()) else math.nan


def participation_ratio(shares: Tensor) -> float:
    """(sum lambda)^2 / sum lambda^2: from 1 to the number of components; NaN without variance.

    Less than the effective rank: strong components count for more (Gao et al., bioRxiv 214262, 2017).

    Examples:
        >>> participation_ratio(torch.tensor([0.5, 0.5, 0.0]))
        2.0
    """
    return float(1 / shares.square().sum()) if len(shares) else math.nan


def singular_shares(gram: Gram) -> Tensor:
    """The singular values of the features as they are, not centred, as shares of their sum, descending.

    Returns:
        (min(n, D),) float64, sum 1; NaN where all features are zero.
    """
    values: Tensor = torch.linalg.eigvalsh(products(gram)).flip(0)[: gram.dimension].clamp_min(0).sqrt()
    return values / values.sum()


def rankme(shares: Tensor) -> float:
    """exp(-sum_k p_k ln p_k) with p_k = sigma_k / sum(sigma) + 1e-7: from 1 to min(n, D); NaN where features are zero.

    Garrido, Balestriero, Najman and LeCun (ICML 2023, equation 1): the effective rank of Roy and Vetterli (EUSIPCO
    2007), of features that are not centred. The singular values are not squared, unlike in ``effective_rank``.

    Args:
        shares: from ``singular_shares``.

    Examples:
        >>> round(rankme(torch.full((4,), 0.25, dtype=torch.float64)), 4)
        4.0
    """
    if bool(shares.isnan().any()):
        return math.nan
    return math.exp(float(torch.special.entr(shares + RANKME_EPSILON).sum()))
