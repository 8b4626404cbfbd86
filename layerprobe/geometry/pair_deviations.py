"""How far a comparison of two layers would scatter if other images were drawn: computed anew in disjoint halves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from layerprobe.geometry.half_draws import deviations_of_halves
from layerprobe.records.geometry import ValueRange

Prepared = TypeVar("Prepared")


def matrices_of_halves(
    first: Sequence[Prepared],
    second: Sequence[Prepared],
    compare: Callable[[Sequence[Prepared], Sequence[Prepared]], Tensor],
    restrict: Callable[[Prepared, Tensor], Prepared],
    halves: Tensor,
) -> Iterator[Tensor]:
    """The comparison of every layer of one sequence with every layer of another, in each half of the images.

    Args:
        first: what the comparison needs of the layers of the rows.
        second: of those of the columns.
        compare: gives the (first, second) matrix.
        restrict: makes of a layer's what it is of some images alone, given their (m,) rows.
        halves: (R, n) bool, as ``half_draws.halves_of`` gives them.

    Yields:
        (first, second) float64 of one half after another.
    """
    for half in halves:
        rows = half.nonzero()[:, 0]
        ours = [restrict(one, rows) for one in first]
        yield compare(ours, ours if second is first else [restrict(one, rows) for one in second])


def matrix_range(values: Tensor, of_halves: Tensor, level: float) -> ValueRange:
    """An interval for every value of a comparison.

    Args:
        values: (first, second), of all images.
        of_halves: (R, first, second), of ``matrices_of_halves``.
        level: the share of samples whose interval is meant to hold the expected value.
    """
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=values.dtype)
    low, high = torch.quantile(deviations_of_halves(of_halves), tails, dim=0)
    return ValueRange(values - high, values - low, level, len(of_halves))
