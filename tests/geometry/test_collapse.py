"""NC1 against the definition with explicit covariances and a pseudoinverse."""

import math

import numpy as np
import pytest
import torch

from layerprobe.geometry.collapse import within_class_variability
from layerprobe.geometry.gram import gram_matrix
from layerprobe.geometry.measure import measure


def nc1(features: np.ndarray, labels: np.ndarray) -> float:
    return within_class_variability(
        gram_matrix([torch.from_numpy(features.astype(np.float32))], torch.from_numpy(labels), 100)
    )


def definition(features: np.ndarray, labels: np.ndarray) -> float:
    f = features.astype(np.float32).astype(np.float64)
    classes = np.unique(labels)
    means, whole = np.stack([f[labels == c].mean(axis=0) for c in classes]), f.mean(axis=0)
    between = sum(np.outer(mean - whole, mean - whole) for mean in means) / len(classes)
    deviations = np.concatenate([f[labels == c] - mean for c, mean in zip(classes, means, strict=True)])
    within = deviations.T @ deviations / len(f)
    return float(np.trace(within @ np.linalg.pinv(between, rcond=1e-9)) / len(classes))


@pytest.mark.parametrize(
    ("n", "d", "classes", "offset"), [(30, 200, 3, 0), (60, 3, 5, 3), (40, 12, 2, 50), (25, 25, 4, 1)]
)
def test_against_the_definition(n: int, d: int, classes: int, offset: float) -> None:
    generator = np.random.default_rng(0)
    labels = np.concatenate([np.arange(classes), generator.integers(0, classes, n - classes)])
    features = generator.normal(size=(classes, d))[labels] + 0.5 * generator.normal(size=(n, d)) + offset
    assert nc1(features, labels) == pytest.approx(definition(features, labels), rel=1e-4)


def test_classes_that_are_points_have_collapsed() -> None:
    labels = np.arange(12) % 3
    points = np.random.default_rng(0).normal(size=(3, 5))[labels]
    assert nc1(points, labels) == pytest.approx(0, abs=1e-9)
    spread = points + 0.1 * np.random.default_rng(1).normal(size=points.shape)
    wider = points + 0.3 * np.random.default_rng(1).normal(size=points.shape)
    assert 0 < nc1(spread, labels) < nc1(wider, labels)


def test_no_value_without_two_classes() -> None:
    features = np.random.default_rng(0).normal(size=(10, 4))
    assert math.isnan(nc1(features, np.zeros(10, dtype=np.int64)))
    assert math.isnan(nc1(np.ones((10, 4)), np.arange(10) % 2))
    gram = gram_matrix([torch.from_numpy(features.astype(np.float32))], torch.arange(10) % 2, 100)
    assert measure(gram, "collapse").keys() == {"nc1"}
