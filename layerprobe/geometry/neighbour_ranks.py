"""How alike the neighbourhoods are that two layers give the same images: mutual nearest neighbours, and ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from layerprobe.geometry.gram import squared_distances
from layerprobe.records import Gram

SHARED = 10
"""Nearest neighbours whose overlap counts."""
_ROWS = 256


@dataclass(frozen=True, eq=False)
class NeighbourRanks:
    """The order of all other images by their distance from each image, in one layer.

    Attributes:
        ranks: (n, n) int32, the place of image j among the neighbours of image i, from 1; 0 for i itself. Images that
            are equally far are in the order of their rows.
        nearest: (n, k) int64, rows of the nearest images, nearest first.
    """

    ranks: Tensor
    nearest: Tensor


def neighbour_ranks(gram: Gram) -> NeighbourRanks:
    """What the comparison of neighbourhoods needs of a layer: 4 n^2 bytes, 100 MB for 5,000 images."""
    n = gram.images
    ranks, nearest = torch.empty(n, n, dtype=torch.int32), torch.empty(n, min(SHARED, n - 1), dtype=torch.int64)
    places = torch.arange(n, dtype=torch.int32)
    for start in range(0, n, _ROWS):
        rows = torch.arange(start, min(start + _ROWS, n))
        distances = squared_distances(gram, rows)
        distances[torch.arange(len(rows)), rows] = -1  # before a twin, whose distance is 0
        order = distances.argsort(dim=1, stable=True)
        nearest[rows] = order[:, 1 : nearest.shape[1] + 1]
        ranks[rows] = torch.empty_like(ranks[rows]).scatter_(1, order, places.expand(len(rows), n))
    return NeighbourRanks(ranks, nearest)


def among(found: NeighbourRanks, rows: Tensor) -> NeighbourRanks:
    """The order of some of the images alone.

    Args:
        found: of all images.
        rows: (m,) of those that are left.
    """
    order = found.ranks[rows][:, rows].argsort(dim=1)
    places = torch.arange(len(rows), dtype=torch.int32).expand(len(rows), -1)
    ranks = torch.empty_like(order, dtype=torch.int32).scatter_(1, order, places)
    return NeighbourRanks(ranks, order[:, 1 : min(SHARED, len(rows) - 1) + 1])


def mutual_neighbours(first: Sequence[NeighbourRanks], second: Sequence[NeighbourRanks]) -> Tensor:
    """The mean share of the ten nearest neighbours of an image that two layers have in common.

    Huh, Cheung, Wang and Isola (ICML 2024) call it mutual k-nearest-neighbour alignment, Doimo, Glielmo, Ansuini and
    Laio (NeurIPS 2020) neighbourhood overlap. Neighbours are the nearest by Euclidean distance, as there; Huh et al.
    take the cosine. By chance it is k / (n - 1).

    Returns:
        (first, second) float64, from 0 to 1.
    """
    return torch.stack([torch.stack([_shared(one, other) for other in second]) for one in first])


def _shared(first: NeighbourRanks, second: NeighbourRanks) -> Tensor:
    return (second.ranks.gather(1, first.nearest) <= second.nearest.shape[1]).double().mean()


def information_imbalance(first: Sequence[NeighbourRanks], second: Sequence[NeighbourRanks]) -> Tensor:
    """How little the distances in one layer say of those in another: 2 / n times the mean rank, in the second, of
    every image's nearest neighbour in the first.

    Glielmo, Zeni, Cheng, Csanyi and Laio (PNAS Nexus 1, 2022, equation 3). It isn't symmetric: the first layer may say
    all of the second, and the second little of the first.

    Returns:
        (first, second) float64: 2 / n where the nearest neighbours are the same, about 1 where the layers have nothing
        to do with each other, at most 2.
    """
    return torch.stack([torch.stack([_imbalance(one, other) for other in second]) for one in first])


def _imbalance(first: NeighbourRanks, second: NeighbourRanks) -> Tensor:
    return 2 * second.ranks.gather(1, first.nearest[:, :1]).double().mean() / len(second.ranks)
