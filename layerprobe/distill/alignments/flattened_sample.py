"""Principal axes of whole flattened features: exact, from the images themselves or from their covariance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from layerprobe.distill.alignments.covariance import Covariance, leading_axes, split_by_group, where_float64_is
from layerprobe.distill.spatial import channels_first
from layerprobe.errors import LayerprobeError
from layerprobe.records import Layer
from layerprobe.runtime.memory import free_memory

_CHUNK = 2**24
"""Numbers that are float64 at a time."""


class FlattenedSample:
    """The flattened features of a layer, of groups of images that come in batches: their means and principal axes.

    Either the n x D features are kept, or a D x D covariance in float64 is summed for every group: whichever is smaller
    for the images that came so far. Axes of n kept images come from their n x n Gram, or from a D x D covariance where
    there are more images than features. All in float64; nothing is approximated.

    Args:
        layer: the teacher's.
        axes: how many axes of a group are wanted at most.
        groups: how many groups the images belong to, such as classes.
    """

    def __init__(self, layer: Layer, axes: int, groups: int = 1) -> None:
        self.dimension = math.prod(layer.shape)
        self._layer, self._most = layer, axes
        self._counts = [0] * groups
        self._kept: list[list[Tensor]] = [[] for _ in range(groups)]
        self._covariance: Covariance | None = None

    def add(self, features: Tensor, groups: Tensor | None = None) -> None:
        """Take in features (batch, ...) of the layer, and the group (batch,) of each image; None: all of the first.

        Raises:
            LayerprobeError: if there is too little memory for the axes of so many images.
        """
        flat = channels_first(features, self._layer.shape).flatten(1)
        self._check_memory(len(flat), flat)
        for group, members in split_by_group(flat, groups):
            self._counts[group] += len(members)
            if self._covariance is None:
                # A slice of a batch would keep all of it, and a tapped tensor may be written over.
                self._kept[group].append(members.clone())
            else:
                self._covariance.add(members, torch.full((len(members),), group, device=members.device))
        if self._covariance is None and self._kept_bytes(0, flat) > self._summed_bytes:
            self._sum()

    def count(self, group: int | None = None) -> int:
        """The images of a group, or of all, so far."""
        return sum(self._counts) if group is None else self._counts[group]

    def mean(self, group: int | None = None) -> Tensor:
        """(D,) float64 of a group; None: of all images. Zero without an image."""
        if self._covariance is not None:
            return self._covariance.mean(group)
        sums = [part.to(where_float64_is(part)).sum(dim=0, dtype=torch.float64) for part in self._parts(group)]
        return torch.stack(sums).sum(dim=0) / self.count(group) if sums else torch.zeros(self.dimension).double()

    def axes(self, count: int, group: int | None = None) -> Tensor:
        """Principal axes (D, count) float64 of a group, or of all images: see ``leading_axes``."""
        if self._covariance is not None:
            return self._covariance.axes(count, group)
        parts = self._parts(group)
        if self.count(group) <= self.dimension:
            return gram_axes(parts, count) if parts else torch.zeros(self.dimension, count, dtype=torch.float64)
        covariance = Covariance(self.dimension)
        for part in parts:
            covariance.add(part)
        return covariance.axes(count)

    def _parts(self, group: int | None) -> Sequence[Tensor]:
        return [part for kept in self._kept for part in kept] if group is None else self._kept[group]

    def _sum(self) -> None:
        """Sum the covariances of the groups, and let the features go."""
        self._covariance = Covariance(self.dimension, len(self._counts))
        for group, kept in enumerate(self._kept):
            while kept:
                part = kept.pop()
                self._covariance.add(part, torch.full((len(part),), group, device=part.device))

    def _kept_bytes(self, more: int, flat: Tensor) -> int:
        return (self.count() + more) * self.dimension * flat.element_size()

    @property
    def _summed_bytes(self) -> int:
        return 8 * len(self._counts) * self.dimension**2

    def _check_memory(self, more: int, flat: Tensor) -> None:
        """Of so many more images: their features or covariances, one decomposition, and the axes of every group."""
        images = self.count() + more
        smaller = min(images, self.dimension)
        found = min(self._most, smaller)
        held = min(self._kept_bytes(more, flat), self._summed_bytes)
        already = self._summed_bytes if self._covariance is not None else self._kept_bytes(0, flat)
        decomposed = 8 * (3 * smaller**2 + 2 * self.dimension * found)
        carried = 4 * self.dimension * min(len(self._counts) * found, max(images, found))
        needed, free = max(held - already, 0) + decomposed + carried, free_memory(where_float64_is(flat))
        if needed > free:
            raise LayerprobeError(
                f"the axes of flattened features must fit in memory: for {images} images of {self.dimension} features "
                f"of {self._layer.name!r} {needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB free; take deeper "
                "layers, fewer --train-samples, or --alignment geometry, the axes of channels"
            )


def gram_axes(parts: Sequence[Tensor], count: int) -> Tensor:
    """Principal axes of few vectors in many dimensions, from their Gram: X^T u / |X^T u| of its eigenvectors u.

    Args:
        parts: (n_i, D) each, rows of X before it is centred.
        count: how many.

    Returns:
        (D, count) float64: see ``leading_axes``.
    """
    rows = sum(map(len, parts))
    gram = torch.zeros(rows, rows, dtype=torch.float64, device=where_float64_is(parts[0]))
    for columns in _centred_columns(parts):
        gram.addmm_(columns, columns.T)
    variances, vectors = torch.linalg.eigh(gram)
    taken = min(count, rows)
    axes = torch.cat([columns.T @ vectors[:, rows - taken :] for columns in _centred_columns(parts)])
    lengths = axes.norm(dim=0).clamp_min(torch.finfo(axes.dtype).tiny)
    return leading_axes(variances, axes / lengths, count)


def _centred_columns(parts: Sequence[Tensor]) -> Iterator[Tensor]:
    """X less its mean, (n, d) float64 of so many columns at a time."""
    device, width = where_float64_is(parts[0]), max(_CHUNK // sum(map(len, parts)), 1)
    for start in range(0, parts[0].shape[1], width):
        columns = torch.cat([part[:, start : start + width] for part in parts]).to(device).double()
        yield columns - columns.mean(dim=0)
