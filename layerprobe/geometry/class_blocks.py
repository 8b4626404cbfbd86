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
        members = class_members(labels)
        sizes = torch.tensor([len(rows) for rows in members])
        squares = sizes.square()
        self._starts = squares.cumsum(0) - squares
        self._class, self._place = torch.empty(2, len(labels), dtype=torch.int64)
        self._members = torch.zeros(len(members), int(sizes.max()), dtype=torch.int64)
        for number, rows in enumerate(members):
            self._class[rows], self._place[rows] = number, torch.arange(len(rows))
            self._members[number, : len(rows)] = rows
        self._sizes = sizes
        self._values = torch.empty(int(squares.sum()), dtype=torch.float64)

    def add(self, strip: Strip) -> None:
        """Take the next strip: what lies in a block, and its mirror image."""
        own = self._class[strip.rows]
        others, place = self._members[own], self._place[strip.rows, None]
        column = torch.arange(others.shape[1])
        row, column = torch.nonzero((column <= place) & (column < self._sizes[own, None]), as_tuple=True)
        values = strip.products[row, others[row, column]]
        start, size, place = self._starts[own[row]], self._sizes[own[row]], place[row, 0]
        self._values[start + place * size + column] = values
        self._values[start + column * size + place] = values

    def result(self) -> StoredBlocks:
        """All of them."""
        return self

    def of(self, members: Tensor) -> Tensor:
        """(g, m, m) float64, of whole classes of equal size, (g, m)."""
        size = members.shape[1]
        starts = self._starts[self._class[members[:, 0]]].tolist()
        return torch.stack([self._values[start : start + size**2].view(size, size) for start in starts])
