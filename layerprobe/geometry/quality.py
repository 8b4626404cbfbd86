"""Separation, information, efficiency and knowledge quality of a layer, from their parts.

Source: section 3 of Cooper et al., arXiv 2511.14981. Departures from the released code: separation averages over
distinct pairs only (the released value is larger by ``self-pairs``), and class spectra are not cut.

Each formula is one function, of one sample and of many parts of it alike: all tensors are float64, () or (R,). What
each takes is said in ``layerprobe.geometry.catalogue``, and ``layerprobe.geometry.measure`` puts them together.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def separation(intra: Tensor, inter: Tensor) -> Tensor:
    """S = mean_c intra_c - inter, in [-1, 1]. The released code's value is larger by ``self-pairs``.

    Args:
        intra: mean over classes of the mean absolute cosine between two images of the class.
        inter: mean absolute cosine between images of two classes.
    """
    return intra - inter


def information(min_intra: Tensor, entropy: Tensor) -> Tensor:
    """I = (1 - mean_c minintra_c) * mean_c H_c / ln 5.

    The constant ln 5 is the released code's. H grows with the logarithm of the images per class, so I and Q are
    comparable only between samples of the same size.

    Args:
        min_intra: mean over classes of the least absolute cosine between two images of the class.
        entropy: mean over classes of the spectral entropy, in nats.
    """
    return ((1 - min_intra) * entropy / math.log(5)).clamp_min(0)


def normalised_information(min_intra: Tensor, relative_entropy: Tensor) -> Tensor:
    """I_n = (1 - mean_c minintra_c) * mean_c (H_c / ln(min(n_c - 1, D))), in [0, 1].

    The released code's ln 5 replaced by the largest value that H_c can take, so that the sample's size matters less.

    Args:
        min_intra: mean over classes of the least absolute cosine between two images of the class.
        relative_entropy: mean over classes of the spectral entropy as a share of its largest value.
    """
    return ((1 - min_intra) * relative_entropy).clamp_min(0)


def efficiency(gap: Tensor, norm: Tensor, population: int, components: int) -> Tensor:
    """E = 2 * mean_c gap_c / mean_c norm_c * (N / pi)^(1 / r).

    Args:
        gap: mean over classes of the least distance to another class.
        norm: mean over classes of the mean feature length; 0 gives NaN.
        population: N, the images in the split that the sample was drawn from.
        components: r = min(n, D), the principal components that the sample can have.
    """
    correction: float = (population / math.pi) ** (1 / components)
    found = 2 * gap / norm * correction
    return torch.where(norm == 0, torch.nan, found).clamp_min(0)


def geometric_mean(information: Tensor, efficiency: Tensor) -> Tensor:
    """sqrt(I * E), Q without S."""
    return (information * efficiency).sqrt()


def quality(separation: Tensor, information: Tensor, efficiency: Tensor) -> Tensor:
    """Knowledge quality Q = S + sqrt(I * E); with I_n for I it is ``quality-normalised``.

    Examples:
        >>> quality(torch.tensor(0.5), torch.tensor(4.0), torch.tensor(1.0))
        tensor(2.5000)
    """
    return separation + geometric_mean(information, efficiency)


def relative_depth(place: int, layers: int) -> float:
    """The place of a layer among all of a network, from 0 (the first) to 1 (the last).

    Args:
        place: its index, from 0.
        layers: how many there are.

    Examples:
        >>> relative_depth(3, 7), relative_depth(0, 1)
        (0.5, 0.0)
    """
    return place / max(layers - 1, 1)
