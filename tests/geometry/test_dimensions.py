"""Linear dimension: known spectra, and a singular value decomposition."""

import math

import numpy as np
import pytest
import torch

from layerprobe.geometry.dimensions import effective_rank, participation_ratio, pca_dimension, variance_spectrum
from layerprobe.geometry.gram import gram_matrix
from layerprobe.records import Gram
from tests.geometry.test_statistics import clouds


def gram_of(features: np.ndarray, labels: np.ndarray) -> Gram:
    return gram_matrix([torch.from_numpy(features)], torch.from_numpy(labels), 1000)


@pytest.mark.parametrize(("n", "d"), [(30, 8), (30, 200), (25, 25), (12, 1000)])
def test_against_a_singular_value_decomposition(n: int, d: int) -> None:
    features, labels = clouds(n, d, 3, offset=3.0)
    shares = variance_spectrum(gram_of(features, labels))
    exact = features.astype("f8")
    values = np.linalg.svd(exact - exact.mean(axis=0), compute_uv=False)[: min(n - 1, d)] ** 2
    p = values / values.sum()
    assert np.allclose(shares, p, atol=1e-6)
    for variance in (0.9, 0.95):
        assert pca_dimension(shares, variance) == int(np.searchsorted(p.cumsum(), variance) + 1)
    assert effective_rank(shares) == pytest.approx(math.exp(-(p * np.log(p)).sum()), rel=1e-5)
    assert participation_ratio(shares) == pytest.approx(values.sum() ** 2 / (values**2).sum(), rel=1e-5)


def test_a_gaussian_of_known_covariance() -> None:
    features = np.random.default_rng(0).normal(size=(3000, 5)).astype("f4") * [1, 1, 1, 1, 0]
    shares = variance_spectrum(gram_of(features.astype("f4"), np.zeros(3000, np.int64)))
    assert pca_dimension(shares, 0.9) == 4
    assert effective_rank(shares) == pytest.approx(4, rel=0.01)
    assert participation_ratio(shares) == pytest.approx(4, rel=0.01)


@pytest.mark.parametrize("n", [1, 6])
def test_without_variance_there_is_no_dimension(n: int) -> None:
    shares = variance_spectrum(gram_of(np.ones((n, 4), np.float32), np.zeros(n, np.int64)))
    for value in (pca_dimension(shares, 0.9), effective_rank(shares), participation_ratio(shares)):
        assert math.isnan(value)
