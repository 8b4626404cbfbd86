"""What several seeds gave: mean, sample standard deviation and how many there were."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """Values of several seeds in three numbers.

    Attributes:
        mean: NaN of no values.
        deviation: sample standard deviation, with n - 1 below the root; NaN of fewer than two values.
        count: how many values.
    """

    mean: float
    deviation: float
    count: int

    def cells(self, name: str) -> dict[str, float | int]:
        """Its numbers under the keys of a column with ``spread``.

        Examples:
            >>> spread([1.0, 3.0]).cells("top1")
            {'top1': 2.0, 'top1_std': 1.4142135623730951, 'top1_n': 2}
        """
        return {name: self.mean, f"{name}_std": self.deviation, f"{name}_n": self.count}


def spread(values: Iterable[float | None]) -> Spread:
    """Mean, sample standard deviation and count of those values that there are.

    Examples:
        >>> spread([70.0])
        Spread(mean=70.0, deviation=nan, count=1)
    """
    known = [value for value in values if value is not None]
    return Spread(
        mean=statistics.mean(known) if known else math.nan,
        deviation=statistics.stdev(known) if len(known) > 1 else math.nan,
        count=len(known),
    )
