"""The products of the images of each class, gathered from the strips of a Gram matrix."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from layerprobe.geometry.classes import class_members
from layerprobe.geometry.strips import Strip
from layerprobe.records import AnyGram


@dataclass(frozen=True)
class ClassBlocks:
    """The summary that holds them: sum over classes of n_c^2 numbers."""

    def begin(self, gram: AnyGram) -> StoredBlocks:
        """Gather them, from the first strip on."""
        return StoredBlocks(gram.known_labels)

    @staticmethod
    def memory(labels: Tensor) -> int:
        """Bytes that they take."""
        return 8 * int(torch.unique(labels, return_counts=True)[1].square().sum())


class StoredBlocks:
    """The blocks of all classes, one after another.

    Args:
        labels: (n,) class labels.
    """

    def __init__(self, labels: Tensor) -> None:
        self._members = class_members(labels)
        self._sizes = torch.tensor([len(rows) for rows in self._members])
        self._starts = self._sizes.square().cumsum(0) - self._sizes.square()
        self._class, self._place = torch.empty(2, len(labels), dtype=torch.int64)
        for number, rows in enumerate(self._members):
            self._class[rows], self._place[rows] = number, torch.arange(len(rows))
        self._values = torch.empty(int(self._sizes.square().sum()), dtype=torch.float64)

    def _block(self, number: int) -> Tensor:
        start, size = int(self._starts[number]), int(self._sizes[number])
        return self._values[start : start + size**2].view(size, size)

    def add(self, strip: Strip) -> None:
        """Take the next strip: what lies in a block, and its mirror image."""
        own = self._class[strip.rows]
        for number in torch.unique(own).tolist():
            rows = torch.nonzero(own == number).flatten()
            first = int(self._place[strip.start + rows[0]])
            last = first + len(rows)
            products = strip.products[rows[:, None], self._members[number][:last]]
            block = self._block(number)
            block[first:last, :last], block[:last, first:last] = products, products.T

    def result(self) -> StoredBlocks:
        """All of them."""
        return self

    def of(self, members: Tensor) -> Tensor:
        """(g, m, m) float64, of whole classes of equal size, (g, m)."""
        return torch.stack([self._block(number) for number in self._class[members[:, 0]].tolist()])
