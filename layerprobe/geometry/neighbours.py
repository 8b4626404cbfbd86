"""Each image's nearest neighbours: intrinsic dimension and leave-one-out classification."""

from __future__ import annotations

import logging
import math

import torch
from torch import Tensor

from layerprobe.geometry.nearest import NearestImages
from layerprobe.geometry.strips import Summary, gathered
from layerprobe.records import AnyGram

_log = logging.getLogger(__name__)

NEIGHBOURS = 20
"""Neighbours of an image that the maximum-likelihood dimension looks at, fewer in small samples."""
VOTES = 10
"""Neighbours of an image that vote for its class."""

Neighbourhood = tuple[Tensor, Tensor]
"""Of every image the distances to its nearest neighbours, (n, k) float64, ascending, and their rows, (n, k) int64."""


def neighbourhood(gram: AnyGram) -> Neighbourhood:
    """The twenty nearest neighbours of every image, fewer in small samples; none (k = 0) of three images or fewer."""
    n = gram.images
    if n <= 3:
        return torch.empty(n, 0, dtype=torch.float64), torch.empty(n, 0, dtype=torch.int64)
    return nearest_neighbours(gram, min(NEIGHBOURS, n - 1))


def summaries(gram: AnyGram) -> tuple[Summary, ...]:
    """What ``neighbourhood`` gathers."""
    return (NearestImages(min(NEIGHBOURS, gram.images - 1)),) if gram.images > 3 else ()


def neighbour_distances(neighbours: Neighbourhood) -> Tensor:
    """(n, k) distances to the nearest neighbours, ascending."""
    return neighbours[0]


def voters(neighbours: Neighbourhood) -> Tensor:
    """(n, at most 10) rows of the nearest neighbours, nearest first."""
    return neighbours[1][:, :VOTES]


def nearest_neighbours(gram: AnyGram, count: int) -> Neighbourhood:
    """The nearest other images of every image.

    Args:
        gram: of the layer.
        count: k, how many; fewer than n.

    Returns:
        Distances, (n, k) float64, ascending, and the neighbours' rows, (n, k) int64.

    Raises:
        ValueError: if there are not that many other images.
    """
    n = gram.images
    if not 1 <= count < n:
        raise ValueError(f"{count} neighbours among {n} images")
    squares, rows = gathered(gram, NearestImages(count))
    return squares.sqrt(), rows


def twonn_dimension(distances: Tensor, discard: float = 0.1) -> float:
    """TwoNN: intrinsic dimension from the ratio of the distances to the first two neighbours.

    mu_i = r_2(i) / r_1(i) follows a Pareto law of exponent d where the density is constant up to the second neighbour:
    -ln(1 - F(mu)) = d ln mu. d is the slope of the line through the origin that fits the empirical F, k / n at the k-th
    smallest ratio, without the largest ratios (Facco, d'Errico, Rodriguez and Laio, Scientific Reports 7, 12140, 2017).

    Images with a twin (r_1 = 0) have no ratio and are left out; a warning says how many. In high dimension it
    underestimates: the boundary is everywhere.

    Args:
        distances: (n, k) ascending distances to the nearest neighbours, k at least 2.
        discard: share of the largest ratios that the fit leaves out.

    Returns:
        d, from 0; NaN where fewer than three images have a ratio, or all ratios are 1, or there are no neighbours.

    Examples:
        >>> generator = torch.Generator().manual_seed(0)
        >>> points = torch.rand(2000, 2, generator=generator, dtype=torch.float64)
        >>> nearest = torch.cdist(points, points).topk(3, largest=False).values[:, 1:]
        >>> round(twonn_dimension(nearest))
        2
    """
    if distances.shape[1] < 2:
        return math.nan
    first, second = distances[:, 0], distances[:, 1]
    ratios = (second / first)[first > 0]
    if (twins := len(first) - len(ratios)) > 0:
        _log.warning("%d of %d images have a twin at distance zero; TwoNN leaves them out", twins, len(first))
    if len(ratios) < 3:
        return math.nan
    kept = min(int(len(ratios) * (1 - discard)), len(ratios) - 1)  # F of the largest is 1, and its logarithm infinite
    x = ratios.log().sort().values[:kept]
    y = -torch.log1p(-torch.arange(1, kept + 1, dtype=torch.float64) / len(ratios))
    return float((x @ y) / (x @ x)) if float(x @ x) > 0 else math.nan


def mle_dimension(distances: Tensor) -> float:
    """Maximum-likelihood intrinsic dimension from the k nearest neighbours.

    1 / d = mean_i of mean_{j < k} ln(T_k(i) / T_j(i)): Levina and Bickel, NIPS 2004, equation 9, with the inverses
    averaged as MacKay and Ghahramani (2005) advise, since their mean is unbiased and that of the d_i is not.

    Neighbours at distance zero are left out.

    Args:
        distances: (n, k) ascending distances to the nearest neighbours, k at least 2.

    Returns:
        d, from 0; NaN where every neighbour of every image is equally far, or at distance zero, or there are none.

    Examples:
        >>> generator = torch.Generator().manual_seed(0)
        >>> points = torch.rand(3000, 2, generator=generator, dtype=torch.float64)
        >>> nearest = torch.cdist(points, points).topk(11, largest=False).values[:, 1:]
        >>> round(mle_dimension(nearest))
        2
    """
    farthest, nearer = distances[:, -1:], distances[:, :-1]
    logs = torch.where(nearer > 0, (farthest / nearer).log(), torch.nan)
    inverse = float(logs.nanmean(dim=1).nanmean())
    return 1 / inverse if inverse > 0 else math.nan


def knn_accuracy(neighbours: Tensor, labels: Tensor) -> float:
    """The share of images whose class most of their neighbours have; of classes that tie, the nearest's counts.

    Args:
        neighbours: (n, k) rows of the nearest images, nearest first.
        labels: (n,) class labels.

    Returns:
        Between 0 and 1; guessing gives one over the number of classes. NaN without neighbours.

    Examples:
        >>> knn_accuracy(torch.tensor([[1, 2], [0, 2], [1, 0]]), torch.tensor([0, 0, 1]))
        0.6666666666666666
    """
    if neighbours.shape[1] == 0:
        return math.nan
    return float((elect(labels[neighbours]) == labels).double().mean())


def elect(classes: Tensor, weights: Tensor | None = None) -> Tensor:
    """The class that most of an image's neighbours have; of classes that tie, the nearest neighbour's.

    Args:
        classes: (n, k) of the neighbours, nearest first; k at least 1.
        weights: (n, k) of their votes; None: every vote counts the same.

    Returns:
        (n,) classes.
    """
    same = classes[:, :, None] == classes[:, None, :]
    votes = same.sum(dim=2) if weights is None else (same * weights[:, None, :]).sum(dim=2)
    return classes.gather(1, votes.argmax(dim=1, keepdim=True)).squeeze(1)
