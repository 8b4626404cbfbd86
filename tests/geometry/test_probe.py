"""The kernel-ridge probe predicts what ridge regression in feature space predicts."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneOut, cross_val_predict

from layerprobe.geometry.gram import gram_matrix
from layerprobe.geometry.probe import PENALTIES, _first_half, probe_accuracy
from tests.geometry.test_statistics import clouds


def primal_accuracy(features: np.ndarray, labels: np.ndarray, seed: int) -> float:
    """Straight from the definition: ridge in D dimensions, its penalty chosen by leaving images out one by one."""
    first = _first_half(torch.from_numpy(labels), seed).numpy()
    exact, wanted = features.astype("f8"), np.eye(labels.max() + 1)[labels]
    right = 0
    for train, test in ((first, ~first), (~first, first)):
        x, y = exact[train], wanted[train]
        values = np.linalg.eigvalsh((x - x.mean(axis=0)) @ (x - x.mean(axis=0)).T).clip(0)
        penalties = [penalty * values.mean() for penalty in PENALTIES]
        errors = [((cross_val_predict(Ridge(p), x, y, cv=LeaveOneOut()) - y) ** 2).sum() for p in penalties]
        fit = Ridge(penalties[int(np.argmin(errors))]).fit(x, y)
        right += int((fit.predict(exact[test]).argmax(axis=1) == labels[test]).sum())
    return right / len(labels)


@pytest.mark.parametrize(("n", "d", "classes"), [(60, 5, 3), (50, 120, 4), (33, 10, 2)])
def test_against_ridge_regression(n: int, d: int, classes: int) -> None:
    features, labels = clouds(n, d, classes, offset=1.0)
    features += 2 * np.random.default_rng(1).normal(size=features.shape).astype("f4")
    gram = gram_matrix([torch.from_numpy(features)], torch.from_numpy(labels), 100)
    for seed in (0, 1):
        assert probe_accuracy(gram, seed) == primal_accuracy(features, labels, seed)


def test_halves_hold_half_of_every_class() -> None:
    labels = torch.tensor([0] * 10 + [1] * 7 + [2] * 3 + [3])
    first = _first_half(labels, 0)
    assert [int(first[labels == label].sum()) for label in range(4)] == [5, 4, 1, 1]


def test_separable_and_random_labels() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 4
    noise = torch.randn(400, 20, generator=generator)
    centres = 10 * torch.eye(4, 20)
    assert probe_accuracy(gram_matrix([noise + centres[labels]], labels, 400)) == 1
    assert 0.12 < probe_accuracy(gram_matrix([noise], labels, 400)) < 0.38


def test_what_has_no_accuracy() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    assert math.isnan(probe_accuracy(gram_matrix([torch.ones(4, 3)], labels, 4)))
    assert math.isnan(probe_accuracy(gram_matrix([torch.randn(4, 3)], torch.zeros(4, dtype=torch.int64), 4)))
    assert math.isnan(probe_accuracy(gram_matrix([torch.randn(2, 3)], torch.tensor([0, 1]), 4)))
