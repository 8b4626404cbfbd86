"""The difference between two methods over the seeds that both have."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from layerprobe.types import Interval

LEVEL = 0.95
"""Of the interval."""
_NOTHING = 1e-12
"""Deviations below this share of the largest value are rounding."""


@dataclass(frozen=True)
class PairedDifference:
    """How far a method is ahead of another one.

    Attributes:
        mean: of the differences; NaN without a pair.
        pairs: seeds that both have.
        p_value: of the two-sided paired t-test; NaN with fewer than two pairs, and where all differences are equal: the
            test says nothing then.
        interval: of the mean, by Student's t; NaN likewise.
    """

    mean: float
    pairs: int
    p_value: float
    interval: Interval

    def cells(self, name: str) -> dict[str, float | int]:
        """Its numbers under the keys of a column with ``interval``, with ``NAME_pairs`` and ``NAME_p``."""
        return {
            name: self.mean,
            f"{name}_low": self.interval.low,
            f"{name}_high": self.interval.high,
            f"{name}_pairs": self.pairs,
            f"{name}_p": self.p_value,
        }


def paired_difference(method: Mapping[int, float], reference: Mapping[int, float]) -> PairedDifference:
    """A method's values minus a reference's, seed by seed.

    With the n differences of the common seeds, their mean m and sample standard deviation s, ``t = m / (s / sqrt(n))``
    has Student's distribution with n - 1 degrees of freedom if the differences are normal and their mean is zero.

    Args:
        method: values by seed.
        reference: values by seed.

    Example:
        >>> found = paired_difference({0: 81.0, 1: 83.0, 2: 82.0, 3: 90.0}, {0: 80.0, 1: 80.0, 2: 80.0})
        >>> found.mean, found.pairs, round(found.p_value, 4)
        (2.0, 3, 0.0742)
    """
    from scipy import stats

    seeds = sorted(method.keys() & reference.keys())
    differences = [method[seed] - reference[seed] for seed in seeds]
    count = len(differences)
    mean = statistics.mean(differences) if differences else math.nan
    deviation = statistics.stdev(differences) if count > 1 else math.nan
    if count < 2 or deviation <= _NOTHING * max(max(abs(method[seed]), abs(reference[seed])) for seed in seeds):
        return PairedDifference(mean, count, math.nan, Interval(math.nan, math.nan, LEVEL))
    error = deviation / math.sqrt(count)
    half = float(stats.t.ppf((1 + LEVEL) / 2, count - 1)) * error
    p_value = 2 * float(stats.t.sf(abs(mean) / error, count - 1))
    return PairedDifference(mean, count, p_value, Interval(mean - half, mean + half, LEVEL))
