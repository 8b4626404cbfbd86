"""How well a layer tells images apart whatever was done to them: LiDAR and InfoNCE, from several views of each."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from layerprobe.geometry.gram import norms, products
from layerprobe.geometry.spectrum import double_centre
from layerprobe.records import Gram

REGULARISER = 1e-4
"""delta, which Thilak et al. add to the variance within images in every direction."""
EPSILON = 1e-7
"""What they add to every share."""
_ROUNDING = 1e-6
"""Of the largest variance within images: directions with less are rounding of float32 products."""
TEMPERATURE = 0.1
"""Of the cosines in InfoNCE, as Skean et al. have it."""


def lidar(gram: Gram, views: int = 2) -> float:
    """exp of the entropy of the spectrum of Sigma_w^(-1/2) Sigma_b Sigma_w^(-1/2): the rank of discriminant analysis
    where every image is a class and its views are the members.

    Sigma_b is the covariance of the images' means over their views, Sigma_w the mean covariance of the views of an
    image, plus 1e-4 in every direction; p_k = lambda_k / sum(lambda) + 1e-7 (Thilak et al., ICLR 2024, equations 1 to
    4). The 1e-4 makes it depend on the scale of the features, as published.

    Args:
        gram: of all views of the images: those of the first view in order, then those of the second, and so on.
        views: how many there are, at least two.

    Returns:
        From 1 to min(n - 1, D), n images; NaN where all means are equal.
    """
    eigenvalues = discriminant_spectrum(gram, views)
    total = eigenvalues.sum()
    if not float(total) > 0:
        return math.nan
    return math.exp(float(torch.special.entr(eigenvalues / total + EPSILON).sum()))


def discriminant_spectrum(gram: Gram, views: int) -> Tensor:
    """The eigenvalues of Sigma_w^(-1) Sigma_b, descending, (min(n - 1, D),) float64.

    With the residuals' principal directions w_k, of variance s_k, and B the (n, D) centred means, these are the
    eigenvalues of the n x n matrix

        (sum_k (B w_k)(B w_k)^T / (s_k + delta) + (B B^T - sum_k (B w_k)(B w_k)^T) / delta) / n,

    whose parts all follow from the Gram matrix.
    """
    n, total = gram.images // views, gram.images
    kernel = double_centre(gram.centred)
    average = torch.eye(n, dtype=torch.float64).repeat(1, views) / views  # (n, V n): features to their means
    keep = torch.eye(total, dtype=torch.float64) - average.T @ average * views  # to what is left of them
    means, across = average @ kernel @ average.T, average @ kernel @ keep
    values, vectors = torch.linalg.eigh(keep @ kernel @ keep)
    rank = min(n * (views - 1), gram.dimension)
    values, vectors = values[-rank:].clamp_min(0), vectors[:, -rank:]
    known = values > _ROUNDING * values.max()
    values, along = values[known], across @ vectors[:, known] / values[known].sqrt()
    matrix = along / (values / total + REGULARISER) @ along.T
    if len(values) < gram.dimension:  # else the residuals span all directions, and nothing is left but rounding
        matrix = matrix + (means - along @ along.T) / REGULARISER
    found: Tensor = torch.linalg.eigvalsh(matrix / n).flip(0)[: min(n - 1, gram.dimension)].clamp_min(0)
    return found


def info_nce(gram: Gram) -> float:
    """How surely an image is known among all others by another view of it: 1 - loss / ln n, with the loss InfoNCE.

    The loss is the mean cross entropy of the softmax of cosines / 0.1, from the first view to the second and back (van
    den Oord, Li and Vinyals, 2018); ln n - loss bounds the mutual information of the views from below. Skean et al.
    (ICML 2025) measure the layers of a network by it, from the first view to the second alone.

    Args:
        gram: of both views of the images: those of the first in order, then those of the second.

    Returns:
        At most 1; near 0 by chance, below for confident errors. NaN with a single image, or all-zero features.
    """
    n = gram.images // 2
    lengths = norms(gram)
    if n < 2 or not bool((lengths > 0).all()):
        return math.nan
    cosines = products(gram)[:n, n:] / lengths[:n, None] / lengths[n:]
    right = torch.arange(n)
    both = [torch.nn.functional.cross_entropy(one / TEMPERATURE, right) for one in (cosines, cosines.T)]
    return 1 - float(sum(both)) / 2 / math.log(n)
