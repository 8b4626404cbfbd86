"""LogME against its definition: the evidence of a Gaussian, maximized by brute force."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from layerprobe.geometry.gram import gram_matrix
from layerprobe.geometry.logme import log_maximum_evidence
from tests.geometry.test_statistics import clouds


def maximum_evidence(features: np.ndarray, labels: np.ndarray) -> float:
    """max over alpha, beta of log N(y | 0, F F^T / alpha + I / beta), per image, averaged over classes."""
    f = features.astype("f8")
    found = []
    for label in np.unique(labels):
        y = (labels == label).astype("f8")

        def loss(logs: np.ndarray, y: np.ndarray = y) -> float:
            alpha, beta = np.exp(logs)
            covariance = f @ f.T / alpha + np.eye(len(f)) / beta
            return -float(multivariate_normal.logpdf(y, cov=covariance, allow_singular=True)) / len(f)

        starts = [(0.0, 0.0), (5.0, 2.0), (-3.0, 3.0), (10.0, 1.0)]
        found.append(-min(minimize(loss, start, method="Nelder-Mead", tol=1e-10).fun for start in starts))
    return float(np.mean(found))


@pytest.mark.parametrize(("n", "d", "classes"), [(30, 4, 3), (25, 25, 2), (20, 60, 2)])
def test_against_the_definition(n: int, d: int, classes: int) -> None:
    features, labels = clouds(n, d, classes, offset=0.5)
    features += np.random.default_rng(1).normal(size=features.shape).astype("f4")
    gram = gram_matrix([torch.from_numpy(features)], torch.from_numpy(labels), 100)
    assert log_maximum_evidence(gram) == pytest.approx(maximum_evidence(features, labels), rel=1e-5)


def test_features_that_tell_the_classes_apart_have_more_evidence() -> None:
    labels = torch.arange(90) % 3
    noise = torch.randn(90, 10, generator=torch.Generator().manual_seed(0))
    values = [
        log_maximum_evidence(gram_matrix([noise + step * torch.eye(3, 10)[labels]], labels, 90)) for step in (0, 2, 6)
    ]
    assert values == sorted(values)


def test_what_has_no_evidence() -> None:
    assert math.isnan(log_maximum_evidence(gram_matrix([torch.zeros(4, 3)], torch.tensor([0, 0, 1, 1]), 4)))
    assert math.isnan(log_maximum_evidence(gram_matrix([torch.ones(4, 3)], torch.zeros(4, dtype=torch.int64), 4)))
