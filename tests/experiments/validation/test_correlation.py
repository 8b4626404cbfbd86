"""Rank correlations against their formulas, and what their intervals hold."""

import math

import numpy as np
import pytest

from layerprobe.experiments.validation.correlation import kendall, kendall_interval, spearman, spearman_interval


def naive_spearman(x: list[float], y: list[float]) -> float:
    """Correlation of average ranks, written out."""

    def ranks(values: list[float]) -> np.ndarray:
        return np.array([sum(o < v for o in values) + (sum(o == v for o in values) + 1) / 2 for v in values])

    a, b = ranks(x) - ranks(x).mean(), ranks(y) - ranks(y).mean()
    return float((a * b).sum() / math.sqrt((a * a).sum() * (b * b).sum()))


def naive_kendall(x: list[float], y: list[float]) -> float:
    """Tau-b: (concordant - discordant) / sqrt(pairs not tied in x * pairs not tied in y)."""
    agree = untied_x = untied_y = 0
    for i in range(len(x)):
        for j in range(i):
            a, b = np.sign(x[i] - x[j]), np.sign(y[i] - y[j])
            agree += a * b
            untied_x += a != 0
            untied_y += b != 0
    return float(agree / math.sqrt(untied_x * untied_y))


@pytest.mark.parametrize("seed", range(5))
def test_they_are_their_formulas_with_ties(seed: int) -> None:
    generator = np.random.default_rng(seed)
    x, y = ([float(v) for v in generator.integers(0, 6, 12)] for _ in range(2))
    assert spearman(x, y) == pytest.approx(naive_spearman(x, y), abs=1e-12)
    assert kendall(x, y) == pytest.approx(naive_kendall(x, y), abs=1e-12)


def test_where_there_is_nothing_to_order_there_is_no_number() -> None:
    for x, y in (([], []), ([1, 2], [1, 2]), ([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [5, 5, 5])):
        assert math.isnan(spearman(x, y)) and math.isnan(kendall(x, y))
    for interval in (spearman_interval(math.nan, 10), kendall_interval(0.3, 4), spearman_interval(0.3, 4)):
        assert math.isnan(interval.low) and math.isnan(interval.high)


def test_intervals_by_hand() -> None:
    """rho = 0.6, n = 20: z = 0.69315 +- 1.96 sqrt(1.18 / 17); tau = 0.4: z = 0.42365 +- 1.96 sqrt(0.437 / 16)."""
    rho, tau = spearman_interval(0.6, 20), kendall_interval(0.4, 20)
    assert (rho.low, rho.high) == pytest.approx(
        (math.tanh(0.693147 - 0.516372), math.tanh(0.693147 + 0.516372)), abs=1e-5
    )
    assert (tau.low, tau.high) == pytest.approx(
        (math.tanh(0.423649 - 0.323915), math.tanh(0.423649 + 0.323915)), abs=1e-5
    )
    assert spearman_interval(1.0, 20).low == 1.0


def test_intervals_hold_what_they_are_for() -> None:
    """Of normal pairs with correlation r, Spearman's rho is 6 / pi asin(r / 2) and Kendall's tau 2 / pi asin(r)."""
    generator, r, n, draws = np.random.default_rng(0), 0.5, 15, 1000
    true = 6 / math.pi * math.asin(r / 2), 2 / math.pi * math.asin(r)
    held = np.zeros(2)
    for _ in range(draws):
        x, y = generator.multivariate_normal([0, 0], [[1, r], [r, 1]], n).T
        intervals = spearman_interval(spearman(x, y), n), kendall_interval(kendall(x, y), n)
        held += [one.low <= value <= one.high for one, value in zip(intervals, true, strict=True)]
    assert (held / draws >= 0.93).all() and (held / draws <= 0.98).all()
