"""What looks at all pairs of images looks at some rows of the lower triangle of the Gram matrix after the other.

A ``Summary`` says what is gathered, a ``Gathering`` takes strip after strip. Several summaries of one matrix share a
sweep: that matters where the matrix is too large to lie in memory, and its products are taken again in every sweep.
Strips always have the same rows, so that a summary is the same to the last bit wherever the matrix lies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from layerprobe.geometry.gram import STRIP, Lengths, cosines_from, distances_from
from layerprobe.records import AnyGram

_ROWS, _COLUMNS = 16, 2048
"""Of a tile that pointwise work is done on, so that it stays in the processor's cache, and in one thread: for larger
ones PyTorch has threads wait for one another after every operation."""


class Strip:
    """Rows of the lower triangle: products of images with those before them, and with one another.

    Args:
        start: the first row.
        products: (h, start + h) float64, of the centred features.
        lengths: of all images up to the last row.

    Attributes:
        rows: which images.
    """

    def __init__(self, start: int, products: Tensor, lengths: Lengths) -> None:
        self.start, self.products, self._lengths = start, products, lengths
        self.rows = slice(start, start + len(products))

    @cached_property
    def distances(self) -> Tensor:
        """(h, start + h) float64, squared distances."""
        return self._pointwise(self.products, distances_from)

    @cached_property
    def cosines(self) -> Tensor:
        """(h, start + h) float64, absolute cosines."""
        return self._pointwise(self.distances, cosines_from)

    def _pointwise(self, values: Tensor, compute: Callable[[Tensor, Lengths, Lengths], Tensor]) -> Tensor:
        found, own = torch.empty_like(values), self._lengths[self.rows]
        for first in range(0, values.shape[1], _COLUMNS):
            columns = slice(first, first + _COLUMNS)
            others = self._lengths[columns]
            for row in range(0, len(values), _ROWS):
                rows = slice(row, row + _ROWS)
                found[rows, columns] = compute(values[rows, columns], own[rows], others)
        return found


class Gathering(Protocol):
    """What has been gathered of the strips so far."""

    def add(self, strip: Strip) -> None:
        """Take the next strip."""

    def result(self) -> Any:
        """What all strips say."""


class Summary(Protocol):
    """Something that is gathered in a sweep. Two that are equal gather the same."""

    def begin(self, gram: AnyGram) -> Gathering:
        """Gather it of this Gram matrix, from the first strip on."""


def nothing(gram: AnyGram) -> tuple[Summary, ...]:
    """The summaries of what looks at no pair of images."""
    return ()


def sweep(gram: AnyGram, summaries: Sequence[Summary]) -> list[Any]:
    """Gather summaries of a Gram matrix in one sweep."""
    gatherings = [summary.begin(gram) for summary in summaries]
    for start, products in gram.strips(STRIP):
        stop = slice(start + len(products))
        strip = Strip(start, products, Lengths.of(gram)[stop])
        for gathering in gatherings:
            gathering.add(strip)
    return [gathering.result() for gathering in gatherings]


def gathered(gram: AnyGram, summary: Summary) -> Any:
    """A summary of a Gram matrix: what an earlier sweep found, else what a sweep finds now."""
    found: dict[Summary, Any] = getattr(gram, "found", {})
    return found[summary] if summary in found else sweep(gram, [summary])[0]
