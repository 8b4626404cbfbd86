"""The nearest images of every image, gathered from the strips of a Gram matrix."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from layerprobe.geometry.strips import Strip
from layerprobe.records import AnyGram

Nearest = tuple[Tensor, Tensor]
"""Of every image the squared distances to the nearest, (n, k) float64, ascending, and their rows, (n, k) int64. Where
there are fewer than k, the others are infinitely far, and their rows say nothing."""

_LARGE, _LISTED, _MOST, _OF_CLASS = 8192, (16, 4), 24, 512
"""In samples of more than 8,192 images sixteen nearest images of other classes at least, in others four; as many as all
images of a class have 512 of, but no more than 24."""

_FIRST = 2048
"""Images whose nearest are all looked for; of the others only those that are nearer than these."""


@dataclass(frozen=True)
class NearestImages:
    """The ``count`` nearest other images of every image."""

    count: int

    def begin(self, gram: AnyGram) -> RunningNearest:
        """Gather them, from the first strip on."""
        return RunningNearest(torch.arange(gram.images), self.count)


@dataclass(frozen=True)
class NearestOthers:
    """The ``count`` nearest images of other classes of every image."""

    count: int

    def begin(self, gram: AnyGram) -> RunningNearest:
        """Gather them, from the first strip on."""
        return RunningNearest(gram.known_labels, self.count)


def listed_others(gram: AnyGram) -> NearestOthers:
    """The nearest images of other classes, as many of every image as several statistics need.

    In a part of the sample an image's nearest drawn one is nearly always among them. Large classes have so many images
    that it hardly matters where it isn't, but of a large sample the products with all images are then taken again.
    """
    least = int(torch.unique(gram.known_labels, return_counts=True)[1].min())
    fewest = _LISTED[0] if gram.images > _LARGE else _LISTED[1]
    return NearestOthers(min(max(_OF_CLASS // least, fewest), _MOST, gram.images))


class RunningNearest:
    """The nearest images among those of the strips so far.

    Args:
        groups: (n,), images of one group are no neighbours.
        count: k, how many are kept of every image.
    """

    def __init__(self, groups: Tensor, count: int) -> None:
        self._groups, self._count = groups, count
        self._distances = torch.full((len(groups), count), torch.inf, dtype=torch.float64)
        self._images = torch.zeros(len(groups), count, dtype=torch.int64)

    def add(self, strip: Strip) -> None:
        """Take the next strip: neighbours of its images among all before, and they as neighbours of those."""
        same = self._groups[strip.rows, None] == self._groups[: strip.rows.stop]
        distances = strip.distances.masked_fill(same, torch.inf)
        first = distances[:, : max(_FIRST, self._count)]
        count = min(self._count, first.shape[1])
        self._distances[strip.rows, :count], self._images[strip.rows, :count] = first.topk(count, dim=1, largest=False)
        rest, before = distances[:, first.shape[1] :], distances[:, : strip.start]
        row, other = torch.nonzero(rest < self._distances[strip.rows, -1:], as_tuple=True)
        self._merge(row + strip.start, rest[row, other], other + first.shape[1])
        row, image = torch.nonzero(before < self._distances[: strip.start, -1], as_tuple=True)
        self._merge(image, before[row, image], row + strip.start)

    def _merge(self, images: Tensor, distances: Tensor, others: Tensor) -> None:
        """Images that may have nearer neighbours than those that are kept: (P,) images, distances, and to which."""
        if not len(images):
            return
        order = images.argsort(stable=True)
        changed, own, counts = torch.unique_consecutive(images[order], return_inverse=True, return_counts=True)
        place = self._count + torch.arange(len(order)) - (counts.cumsum(0) - counts)[own]
        table = torch.full((len(changed), self._count + int(counts.max())), torch.inf, dtype=torch.float64)
        rows = torch.zeros(table.shape, dtype=torch.int64)
        table[:, : self._count], rows[:, : self._count] = self._distances[changed], self._images[changed]
        table[own, place], rows[own, place] = distances[order], others[order]
        near = table.topk(self._count, dim=1, largest=False)
        self._distances[changed], self._images[changed] = near.values, rows.gather(1, near.indices)

    def result(self) -> Nearest:
        """The nearest of all."""
        return self._distances, self._images
