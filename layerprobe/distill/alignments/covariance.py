"""Mean, covariance and principal axes of vectors that come in batches, and of groups of them."""

from __future__ import annotations

import torch
from torch import Tensor

_CHUNK = 2**19
"""Numbers that are float64 at a time."""


class Covariance:
    """Means and covariances of vectors that come in batches, in float64 on the device where the vectors are.

    Sums are taken about the mean of the first batch, so that features far from zero lose no digits. (A device that has
    no float64, as Apple's, leaves them to the CPU.)

    Args:
        dimension: D, of a vector.
        groups: how many groups the vectors belong to, such as classes; the statistics of all vectors follow from those
            of the groups.
    """

    def __init__(self, dimension: int, groups: int = 1) -> None:
        self.dimension = dimension
        self.counts = [0] * groups
        self._origin = torch.zeros(dimension, dtype=torch.float64)
        self._sums = torch.zeros(groups, dimension, dtype=torch.float64)
        self._products = torch.zeros(groups, dimension, dimension, dtype=torch.float64)

    def add(self, vectors: Tensor, groups: Tensor | None = None) -> None:
        """Take in vectors (count, D), and the group (count,) of each; None: all are of the first group."""
        device = where_float64_is(vectors)
        if not any(self.counts) and len(vectors):
            self._origin = vectors.to(device).mean(dim=0, dtype=torch.float64)
            self._sums, self._products = self._sums.to(device), self._products.to(device)
        for group, members in split_by_group(vectors.to(device), groups):
            self.counts[group] += len(members)
            rows = max(_CHUNK // self.dimension, 1)
            for start in range(0, len(members), rows):
                part = members[start : start + rows]
                centred = part.to(torch.float64, copy=True).sub_(self._origin)
                self._sums[group] += centred.sum(dim=0)
                self._products[group].addmm_(centred.T, centred)

    def mean(self, group: int | None = None) -> Tensor:
        """(D,) float64 of a group; None: of all vectors. Zero without a vector."""
        count, sums, _ = self._of(group)
        return self._origin + sums / max(count, 1) if count else torch.zeros_like(sums)

    def axes(self, count: int, group: int | None = None) -> Tensor:
        """Principal axes of a group, or of all vectors: see ``leading_axes``."""
        vectors, sums, products = self._of(group)
        centre = sums / max(vectors, 1)
        variances, found = torch.linalg.eigh(products / max(vectors, 1) - torch.outer(centre, centre))
        return leading_axes(variances, found, count)

    def _of(self, group: int | None) -> tuple[int, Tensor, Tensor]:
        if group is None:
            return sum(self.counts), self._sums.sum(dim=0), self._products.sum(dim=0)
        return self.counts[group], self._sums[group], self._products[group]


def leading_axes(variances: Tensor, vectors: Tensor, count: int) -> Tensor:
    """The ``count`` eigenvectors of the largest eigenvalues, as columns, each with its largest entry positive.

    Args:
        variances: (m,) eigenvalues of a covariance or Gram matrix, ascending.
        vectors: (D, m) their eigenvectors as axes of the D features; the last columns at least.
        count: how many.

    Returns:
        (D, count). An axis along which the sample doesn't vary, or that there isn't, is zero: it would be any.
    """
    vectors = vectors.flip(1)[:, :count]
    size = max(len(variances), len(vectors))
    known = variances.flip(0)[: vectors.shape[1]] > variances[-1] * size * torch.finfo(variances.dtype).eps
    extreme = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True))
    vectors = torch.where(known, vectors * torch.where(extreme < 0, -1.0, 1.0), 0.0)
    return torch.nn.functional.pad(vectors, (0, count - vectors.shape[1]))


def where_float64_is(vectors: Tensor) -> torch.device:
    """The device of the vectors, or the CPU where it can't compute in float64."""
    return torch.device("cpu") if vectors.device.type == "mps" else vectors.device


def split_by_group(vectors: Tensor, groups: Tensor | None) -> list[tuple[int, Tensor]]:
    """The vectors of every group that has some, in their order; all belong to group 0 where there are no groups."""
    if groups is None:
        return [(0, vectors)]
    groups = groups.to(vectors.device)
    found, counts = torch.unique(groups, return_counts=True)
    ends = counts.cumsum(dim=0).tolist()
    ordered, starts = vectors[groups.argsort(stable=True)], [0, *ends[:-1]]
    return [(group, ordered[a:b]) for group, a, b in zip(found.tolist(), starts, ends, strict=True)]
