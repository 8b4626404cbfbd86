"""Differences over the seeds that two methods have."""

import math
from dataclasses import astuple

import numpy as np
import pytest
from scipy import stats

from layerprobe.report.grid.paired import paired_difference
from layerprobe.report.grid.spread import spread


@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_it_is_the_paired_t_test(seeds: int) -> None:
    generator = np.random.default_rng(seeds)
    method = dict(enumerate(generator.normal(80, 2, seeds).tolist()))
    reference = dict(enumerate(generator.normal(78, 2, seeds).tolist()))
    found = paired_difference({**method, 99: 1.0}, {**reference, 77: 100.0})

    differences = np.array([method[seed] - reference[seed] for seed in range(seeds)], dtype=np.float64)
    mean = differences.sum() / seeds
    error = np.sqrt(((differences - mean) ** 2).sum() / (seeds - 1)) / np.sqrt(seeds)
    assert (found.pairs, found.mean) == (seeds, pytest.approx(mean, rel=1e-12))
    assert found.p_value == pytest.approx(2 * stats.t.cdf(-abs(mean / error), seeds - 1), rel=1e-9)
    quantile = stats.t.ppf(0.975, seeds - 1)
    assert found.interval.low == pytest.approx(mean - quantile * error, rel=1e-9)
    assert found.interval.high == pytest.approx(mean + quantile * error, rel=1e-9)
    assert found.interval.level == 0.95

    peer = stats.ttest_rel(list(method.values()), list(reference.values()))
    assert found.p_value == pytest.approx(peer.pvalue, rel=1e-9)
    assert astuple(found.interval)[:2] == pytest.approx(tuple(peer.confidence_interval(0.95)), rel=1e-9)


def test_the_order_of_seeds_and_a_common_shift_change_nothing() -> None:
    method, reference = {2: 3.0, 0: 1.0, 1: 5.0}, {0: 0.0, 1: 1.0, 2: 2.0}
    found = paired_difference(method, reference)
    again = paired_difference(
        {seed: v + 7 for seed, v in sorted(method.items())}, {s: v + 7 for s, v in reference.items()}
    )
    assert again.mean == found.mean and again.p_value == pytest.approx(found.p_value)
    turned = paired_difference(reference, method)
    assert (turned.mean, turned.interval.low) == (-found.mean, -found.interval.high)


def test_fewer_than_two_pairs_have_no_test() -> None:
    none = paired_difference({0: 1.0}, {1: 2.0})
    assert none.pairs == 0 and all(map(math.isnan, (none.mean, none.p_value, none.interval.low, none.interval.high)))
    one = paired_difference({0: 1.0, 1: 5.0}, {1: 2.0})
    assert (one.pairs, one.mean) == (1, 3.0) and math.isnan(one.p_value) and math.isnan(one.interval.low)


@pytest.mark.parametrize("shift", [0.0, 0.1, 3.0])
def test_equal_differences_have_no_test(shift: float) -> None:
    reference = {0: 80.3, 1: 81.7, 2: 79.9}
    found = paired_difference({seed: value + shift for seed, value in reference.items()}, reference)
    assert found.mean == pytest.approx(shift) and found.pairs == 3
    assert math.isnan(found.p_value) and math.isnan(found.interval.high)


def test_spread_is_mean_and_sample_deviation() -> None:
    values = [70.0, 73.0, 71.5]
    found = spread(values)
    assert (found.mean, found.deviation) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    assert found.count == 3
    none = spread([])
    assert none.count == 0 and math.isnan(none.mean) and math.isnan(none.deviation)
