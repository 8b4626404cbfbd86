"""Rank correlations against their formulas, and what their intervals hold."""

import math

import numpy as np
import pytest

from layerprobe.experiments.statistics import (
    kendall,
    kendall_interval,
    spearman,
    spearman_difference,
    spearman_interval,
)
from layerprobe.records import Interval


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


def test_perfect_agreement_is_no_certainty() -> None:
    """By hand, of 5: z of 1 - 6 / 120 is 1.83178, less 1.96 sqrt((1 + 0.95^2 / 2) / 2) = 1.66963."""
    five = spearman_interval(1.0, 5)
    assert (five.low, five.high) == pytest.approx((math.tanh(1.83178 - 1.66963), 1.0), abs=1e-4)
    assert spearman_interval(1 - 1e-12, 5) == five  # 1 but for rounding
    for interval in (spearman_interval, kendall_interval):
        lows = [interval(1.0, count).low for count in (5, 6, 10, 20, 50)]
        assert lows == sorted(lows) and lows[0] > -1 and lows[-1] < 1
        assert interval(-1.0, 10) == Interval(-1.0, -interval(1.0, 10).low, 0.95)
        assert math.isnan(interval(1.0, 4).low)


@pytest.mark.parametrize("count", [5, 10, 20])
def test_perfect_agreement_is_rare_where_its_interval_begins(count: int) -> None:
    """Normal pairs of the rho, and of the tau, at the lower end agree throughout in about 2.5 % of samples."""
    generator = np.random.default_rng(0)
    by_rho = 2 * math.sin(math.pi / 6 * spearman_interval(1.0, count).low)
    by_tau = math.sin(math.pi / 2 * kendall_interval(1.0, count).low)
    assert by_rho == pytest.approx(by_tau)
    x, noise = generator.standard_normal((2, 10_000, count))
    y = by_rho * x + math.sqrt(1 - by_rho**2) * noise
    share = (x.argsort(axis=1) == y.argsort(axis=1)).all(axis=1).mean()
    assert 0.01 < share < 0.04


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


def naive_differences(score: list[float], reference: list[float], outcome: list[float], draws: int) -> list[float]:
    """The bootstrap as a loop, with the generator of the function."""
    found = []
    for drawn in np.random.default_rng(0).integers(len(outcome), size=(draws, len(outcome))):
        a, b, c = ([values[place] for place in drawn] for values in (score, reference, outcome))
        if min(len(set(a)), len(set(b)), len(set(c))) > 1:
            found.append(naive_spearman(a, c) - naive_spearman(b, c))
    return found


def test_a_difference_is_that_of_the_same_draws() -> None:
    score, reference, outcome = [1.0, 2, 2, 4, 5], [3.0, 3, 3, 3, 1], [1.0, 3, 2, 5, 4]  # draws are often constant
    found = spearman_difference(score, reference, outcome, resamples=100)
    expected = naive_differences(score, reference, outcome, 100)
    assert 50 < len(expected) < 100
    assert found.value == pytest.approx(naive_spearman(score, outcome) - naive_spearman(reference, outcome))
    assert (found.interval.low, found.interval.high) == pytest.approx(tuple(np.quantile(expected, [0.025, 0.975])))
    assert found == spearman_difference(score, reference, outcome, resamples=100)  # the seed is fixed
    other = spearman_difference(reference, score, outcome, resamples=100)
    assert (other.value, other.interval.low) == pytest.approx((-found.value, -found.interval.high))


def test_where_draws_can_not_tell_there_is_no_interval() -> None:
    few = spearman_difference([1, 2, 3, 4], [2, 1, 3, 4], [1, 2, 3, 4])
    alike = spearman_difference([1, 2, 3, 4, 5], [1, 4, 9, 16, 25], [1, 3, 2, 4, 5])
    constant = spearman_difference([1, 1, 1, 1, 1], [1, 4, 9, 16, 25], [1, 3, 2, 4, 5])
    rare = spearman_difference([1, 1, 1, 1, 2], [1, 1, 1, 2, 1], [1, 1, 2, 1, 1])
    assert few.value > 0 and alike.value == 0 and math.isnan(constant.value) and not math.isnan(rare.value)
    assert all(math.isnan(one.interval.low) for one in (few, alike, constant, rare))


def test_the_intervals_of_differences_hold_what_they_are_for() -> None:
    """Two scores that are normal with the outcome, correlated 0.8 and 0.5 with it and 0.6 with each other."""
    generator, n, draws = np.random.default_rng(0), 14, 250
    true = 6 / math.pi * (math.asin(0.8 / 2) - math.asin(0.5 / 2))
    held = 0
    for _ in range(draws):
        drawn = generator.multivariate_normal([0, 0, 0], [[1, 0.6, 0.8], [0.6, 1, 0.5], [0.8, 0.5, 1]], n)
        interval = spearman_difference(*drawn.T.tolist(), resamples=200).interval
        held += interval.low <= true <= interval.high
    assert 0.9 <= held / draws <= 0.99
