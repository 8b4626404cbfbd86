"""RankMe, alpha-ReQ, and the intervals of what needs no classes: formulas, known answers, and fresh samples."""

import math

import numpy as np
import pytest
import torch

from layerprobe.geometry.decay import decay_exponent
from layerprobe.geometry.dimensions import rankme, singular_shares, variance_spectrum
from layerprobe.geometry.gram import gram_matrix
from layerprobe.geometry.measure import measure
from layerprobe.geometry.part_neighbours import neighbour_deviations
from layerprobe.geometry.part_spectra import dimension_deviations, rankme_deviations
from layerprobe.records import Gram


def gram_of(features: np.ndarray) -> Gram:
    return gram_matrix([torch.from_numpy(features.astype("f4"))], torch.zeros(len(features), dtype=torch.int64), 1000)


def with_spectrum(n: int, variances: np.ndarray, seed: int = 0) -> np.ndarray:
    """Features whose covariance has exactly these eigenvalues, in a random basis."""
    generator = np.random.default_rng(seed)
    left = generator.normal(size=(n, len(variances)))
    left = np.linalg.qr(left - left.mean(axis=0))[0]
    right = np.linalg.qr(generator.normal(size=(len(variances), len(variances))))[0]
    return left * np.sqrt(variances * n) @ right


@pytest.mark.parametrize(("n", "d"), [(60, 20), (40, 150)])
def test_rankme_is_its_formula(n: int, d: int) -> None:
    features = np.random.default_rng(0).gamma(1, size=(n, d)).astype("f4")
    sigma = np.linalg.svd(features.astype("f8"), compute_uv=False)
    p = sigma / sigma.sum() + 1e-7
    assert rankme(singular_shares(gram_of(features))) == pytest.approx(math.exp(-(p * np.log(p)).sum()), rel=1e-4)


def test_rankme_of_white_noise_is_nearly_its_dimension_and_of_a_constant_one() -> None:
    noise = np.random.default_rng(0).normal(size=(4000, 16))
    assert rankme(singular_shares(gram_of(noise))) == pytest.approx(16, rel=0.01)
    assert rankme(singular_shares(gram_of(np.ones((30, 5))))) == pytest.approx(1, abs=0.01)
    assert math.isnan(rankme(singular_shares(gram_of(np.zeros((30, 5))))))


@pytest.mark.parametrize("alpha", [0.5, 1.0, 1.7])
@pytest.mark.parametrize("count", [40, 140])
def test_alpha_of_a_power_law_is_its_exponent(alpha: float, count: int) -> None:
    shares = variance_spectrum(gram_of(with_spectrum(200, np.arange(1, count + 1.0) ** -alpha)))
    assert decay_exponent(shares) == pytest.approx(alpha, abs=1e-3)


def test_alpha_is_weighted_least_squares_from_the_eleventh_eigenvalue_to_the_hundredth() -> None:
    shares = np.sort(np.random.default_rng(1).gamma(0.7, size=130))[::-1]
    shares /= shares.sum()
    k = np.arange(11, 101)
    slope, _ = np.polyfit(np.log(k), np.log(shares[10:100]), 1, w=np.sqrt(1 / k))  # polyfit squares its weights
    assert decay_exponent(torch.from_numpy(shares.copy())) == pytest.approx(-slope, rel=1e-9)
    changed = shares.copy()
    changed[:10], changed[100:] = 1, 1e-4
    assert decay_exponent(torch.from_numpy(changed)) == pytest.approx(-slope, rel=1e-9)


def test_alpha_needs_twenty_eigenvalues_that_are_no_rounding() -> None:
    assert math.isnan(decay_exponent(torch.full((19,), 1 / 19, dtype=torch.float64)))
    assert decay_exponent(torch.full((20,), 1 / 20, dtype=torch.float64)) == pytest.approx(0, abs=1e-12)
    rank_15 = np.random.default_rng(0).normal(size=(60, 15)) @ np.random.default_rng(1).normal(size=(15, 80))
    assert math.isnan(measure(gram_of(rank_15), "dimensions")["alpha-req"])
    assert math.isnan(measure(gram_of(np.ones((60, 30))), "dimensions")["alpha-req"])


FORMS = {
    "white": lambda generator, n: generator.normal(size=(n, 24)),
    "decaying": lambda generator, n: generator.normal(size=(n, 150)) * np.arange(1, 151) ** -0.7,
    "offset": lambda generator, n: np.maximum(generator.normal(size=(n, 12)) @ MIX + 0.5, 0),
}
MIX = np.random.default_rng(9).normal(size=(12, 60))


@pytest.mark.parametrize("form", FORMS)
def test_deviations_scatter_as_fresh_samples_do(form: str) -> None:
    """The mean of the squared deviations of a few samples against the spread over many."""
    generator, n = np.random.default_rng(3), 120
    names = ("effective-rank", "participation-ratio", "alpha-req", "rankme", "twonn", "mle")
    values, deviations = {name: [] for name in names}, {name: [] for name in names}
    for number in range(40):
        gram = gram_of(FORMS[form](generator, n))
        found = measure(gram, "dimensions") | measure(gram, "rankme") | measure(gram, "neighbours")
        drawn = {}
        if number < 6:
            for compute in (dimension_deviations, rankme_deviations, neighbour_deviations):
                drawn |= compute(gram, 20, 0)
        for name in names:
            values[name].append(found[name])
            deviations[name] += [drawn[name].square().mean()] if drawn else []
    for name in names:
        ratio = math.sqrt(np.mean(deviations[name])) / np.std(values[name])
        assert 0.6 < ratio < 2, (name, ratio)


def test_deviations_are_paired_between_layers_and_follow_the_seed() -> None:
    gram = gram_of(np.random.default_rng(0).normal(size=(60, 30)))
    for compute in (dimension_deviations, rankme_deviations, neighbour_deviations):
        first, again, other = compute(gram, 8, 0), compute(gram, 8, 0), compute(gram, 8, 1)
        assert all(torch.equal(first[name], again[name]) and len(first[name]) == 8 for name in first)
        assert not any(torch.equal(first[name], other[name]) for name in first)


def test_deviations_of_few_images_are_unknown_and_of_no_variance() -> None:
    assert neighbour_deviations(gram_of(np.eye(7)), 8, 0)["twonn"].isnan().all()
    assert neighbour_deviations(gram_of(np.eye(40, 3)), 8, 0)["mle"].shape == (8,)
    assert dimension_deviations(gram_of(np.ones((30, 4))), 8, 0)["effective-rank"].isnan().all()
