"""Images grouped by a layer's features: k-means, from the Gram matrix; and how well separated the groups are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from layerprobe.geometry.gram import squared_distances
from layerprobe.records import Gram
from layerprobe.records.cautions import LEAST_FOR_INTERVALS

MOST = 20
"""The largest number of clusters that ``choose_clusters`` tries."""
_STARTS, _FIRST_STARTS = 10, 4
"""Seedings, of which the one with the least inertia is kept; while the number of clusters is being chosen, fewer."""
_STEPS = 100
"""Steps of Lloyd's algorithm after which it ends, converged or not."""
_ROWS = 256


@dataclass(frozen=True, eq=False)
class Clusters:
    """Images in groups.

    Attributes:
        labels: (n,) int64, 0 to k - 1, in the order of the first image of each.
        inertia: the sum of the squared distances of the images to the centres of their clusters.
        silhouette: the mean silhouette of the images, from -1 to 1; NaN where it was not asked for.
    """

    labels: Tensor
    inertia: float
    silhouette: float = math.nan

    @property
    def count(self) -> int:
        """k."""
        return int(self.labels.max()) + 1


def k_means(gram: Gram, count: int, seed: int = 0, starts: int = _STARTS) -> Clusters:
    """Group images by k-means, with the best of ten k-means++ seedings.

    The distances to the centres follow from the Gram matrix: |f_i - mu_c|^2 = G_ii - 2 / m sum_j G_ij + 1 / m^2
    sum_jl G_jl, j and l among the m images of c. So this is Lloyd's algorithm in the D dimensions of the features,
    without the features (Lloyd, IEEE Transactions on Information Theory 28, 1982; Arthur and Vassilvitskii, SODA 2007).
    A cluster that loses all its images takes the image farthest from its own centre.

    Args:
        gram: of the layer.
        count: k, from 1 to n.
        seed: of the seedings.
        starts: how many seedings are tried.

    Raises:
        ValueError: if there are fewer images than clusters.
    """
    if not 1 <= count <= gram.images:
        raise ValueError(f"{count} clusters of {gram.images} images")
    generator = torch.Generator().manual_seed(seed)
    centred = gram.centred.float()
    found = [_lloyd(centred, _seeding(gram, count, generator)) for _ in range(starts)]
    best = min(found, key=lambda one: one.inertia)
    return Clusters(_in_order(best.labels), best.inertia)


def choose_clusters(gram: Gram, seed: int = 0, most: int = MOST) -> Clusters:
    """Group images by k-means, with the number of clusters of highest mean silhouette: 2 to 20, the fewest of equal.

    Rousseeuw (Journal of Computational and Applied Mathematics 20, 1987). Numbers that leave a cluster with fewer than
    four images are passed over.

    Args:
        gram: of the layer.
        seed: of the seedings.
        most: the largest number that is tried.

    Raises:
        ValueError: if no number gives clusters that are large enough.
    """
    best: Clusters | None = None
    for count in range(2, min(most, gram.images // LEAST_FOR_INTERVALS) + 1):
        found = k_means(gram, count, seed, _FIRST_STARTS)
        if int(torch.bincount(found.labels, minlength=count).min()) < LEAST_FOR_INTERVALS:
            continue
        value = mean_silhouette(gram, found.labels)
        if best is None or value > best.silhouette:
            best = Clusters(found.labels, found.inertia, value)
    if best is None:
        raise ValueError(f"no number of clusters leaves {LEAST_FOR_INTERVALS} images in each")
    return best


def mean_silhouette(gram: Gram, labels: Tensor) -> float:
    """The mean over images of (b - a) / max(a, b): from -1 to 1, higher where clusters are better separated.

    a is the mean distance to the other images of the cluster, b the least mean distance to those of another cluster
    (Rousseeuw 1987). An image that is alone in its cluster has the silhouette 0. NaN with one cluster.
    """
    members = torch.nn.functional.one_hot(labels).double()
    sizes = members.sum(dim=0)
    if len(sizes) < 2:
        return math.nan
    total = 0.0
    for start in range(0, len(labels), _ROWS):
        rows = slice(start, start + _ROWS)
        sums = squared_distances(gram, rows).sqrt() @ members
        own = labels[rows, None]
        within = (sums.gather(1, own) / (sizes[own] - 1)).squeeze(1)
        between = (sums / sizes).scatter(1, own, torch.inf).amin(dim=1)
        values = (between - within) / torch.maximum(between, within)
        total += float(torch.where(sizes[own].squeeze(1) > 1, values.nan_to_num(0.0), 0.0).sum())
    return total / len(labels)


def _seeding(gram: Gram, count: int, generator: torch.Generator) -> Tensor:
    """Labels by the nearest of k images, each drawn with a chance that is its squared distance to those before it."""
    n = gram.images
    centre = int(torch.randint(n, (), generator=generator))
    nearest, labels = squared_distances(gram, torch.tensor([centre]))[0], torch.zeros(n, dtype=torch.int64)
    for number in range(1, count):
        chances = nearest.clamp_min(1e-300)  # where every image coincides with a centre, all are as good
        centre = int(torch.multinomial(chances / chances.sum(), 1, generator=generator))
        distances = squared_distances(gram, torch.tensor([centre]))[0]
        closer = distances < nearest
        closer[centre] = True
        labels[closer], nearest = number, torch.minimum(nearest, distances)
    return labels


def _lloyd(centred: Tensor, labels: Tensor) -> Clusters:
    """The clusters in which every image is in that of the nearest centre, from these labels on."""
    count = int(labels.max()) + 1
    for _ in range(_STEPS):
        nearest = _to_centres(centred, labels, count).min(dim=1)
        moved = _without_empty(nearest.indices, nearest.values, count)
        if torch.equal(moved, labels):
            break
        labels = moved
    own = _to_centres(centred, labels, count).gather(1, labels[:, None])
    return Clusters(labels, float(own.double().sum()))


def _to_centres(centred: Tensor, labels: Tensor, count: int) -> Tensor:
    """Squared distances of images to the centres of the clusters, (n, k)."""
    members = torch.nn.functional.one_hot(labels, count).to(centred.dtype)
    members /= members.sum(dim=0).clamp_min(1)
    along = centred @ members
    return centred.diagonal()[:, None] - 2 * along + (members * along).sum(dim=0)


def _without_empty(labels: Tensor, distances: Tensor, count: int) -> Tensor:
    """The labels, with an image in every cluster: the one farthest from its centre, of a cluster with several."""
    sizes = torch.bincount(labels, minlength=count)
    for empty in torch.nonzero(sizes == 0).flatten().tolist():
        far = int(torch.where(sizes[labels] > 1, distances, -torch.inf).argmax())
        sizes[labels[far]] -= 1
        labels[far], sizes[empty] = empty, 1
    return labels


def _in_order(labels: Tensor) -> Tensor:
    """The same clusters, numbered in the order of their first images."""
    numbers = {label: number for number, label in enumerate(dict.fromkeys(labels.tolist()))}
    return torch.tensor([numbers[label] for label in labels.tolist()])
