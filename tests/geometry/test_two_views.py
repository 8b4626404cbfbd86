"""LiDAR and InfoNCE: the papers' formulas in D dimensions, and known answers."""

import math

import numpy as np
import pytest
import torch

from layerprobe.geometry.gram import gram_matrix
from layerprobe.geometry.two_views import discriminant, info_nce, lidar, view_deviations
from layerprobe.records import Gram


def gram_of(views: np.ndarray) -> Gram:
    """Of (views, n, D) features."""
    features = torch.from_numpy(views.reshape(-1, views.shape[2]).astype("f4"))
    return gram_matrix([features], None, 1000)


def features(views: int, n: int, d: int, spread: float = 0.3) -> np.ndarray:
    generator = np.random.default_rng(0)
    images = generator.normal(size=(n, d)) * np.arange(1, d + 1) ** -0.5
    return (images + spread * generator.normal(size=(views, n, d)) + 1).astype("f4")


@pytest.mark.parametrize(("views", "n", "d"), [(2, 50, 12), (3, 40, 12), (2, 20, 60), (4, 25, 90)])
def test_lidar_is_its_formula(views: int, n: int, d: int) -> None:
    x = features(views, n, d).astype("f8")
    means = x.mean(axis=0)
    between = np.cov(means.T, bias=True)
    residuals = (x - means).reshape(-1, d)
    within = residuals.T @ residuals / (views * n) + 1e-4 * np.eye(d)
    values, vectors = np.linalg.eigh(within)
    root = vectors / np.sqrt(values) @ vectors.T
    eigenvalues = np.linalg.eigvalsh(root @ between @ root)[::-1][: min(n - 1, d)]
    analysis = discriminant(gram_of(x), views)
    found = analysis.eigenvalues.numpy()
    assert np.allclose(found, eigenvalues, rtol=2e-3, atol=2e-3 * eigenvalues[0])
    directions = root @ np.linalg.eigh(root @ between @ root)[1][:, ::-1][:, :5]  # the first ones stand clear
    along = ((means - means.mean(axis=0)) @ directions) ** 2, (((x - means) @ directions) ** 2).mean(axis=0)
    for ours, theirs in zip((analysis.means, analysis.within), along, strict=True):
        assert np.allclose(ours.numpy()[:, :5], theirs, rtol=2e-2, atol=2e-2 * theirs.max())
    p = eigenvalues / eigenvalues.sum() + 1e-7
    assert lidar(gram_of(x), views) == pytest.approx(math.exp(-(p * np.log(p)).sum()), rel=2e-3)


def test_lidar_counts_directions_that_tell_images_apart() -> None:
    x = features(2, 300, 6, spread=1.0)
    x[:, :, 4:] = np.random.default_rng(1).normal(size=(2, 300, 2))  # these say nothing of the image
    signal = np.random.default_rng(2).normal(size=(300, 4)) * 5
    x[:, :, :4] = signal + np.random.default_rng(3).normal(size=(2, 300, 4))
    assert lidar(gram_of(x)) == pytest.approx(4.2, abs=0.2)
    assert math.isnan(lidar(gram_of(np.ones((2, 10, 3)))))


def test_info_nce_is_its_formula() -> None:
    x = features(2, 30, 8, spread=0.5).astype("f8")
    first, second = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in x)
    logits = first @ second.T / 0.1
    losses = [np.log(np.exp(one).sum(axis=1)) - np.diag(one) for one in (logits, logits.T)]
    assert info_nce(gram_of(x)) == pytest.approx(1 - np.mean(losses) / math.log(30), rel=1e-4)


def test_info_nce_of_views_that_agree_and_of_unrelated_ones() -> None:
    generator = np.random.default_rng(0)
    noise = generator.normal(size=(2, 200, 400))
    assert info_nce(gram_of(np.stack([noise[0], noise[0]]))) > 0.99
    assert info_nce(gram_of(noise)) == pytest.approx(0, abs=0.05)
    assert math.isnan(info_nce(gram_of(np.zeros((2, 5, 3)))))


def test_deviations_are_as_wide_as_the_statistics_scatter() -> None:
    """Of 40 samples of 60 images, against what the draws of one sample say on average."""

    def sample(number: int) -> Gram:
        generator = np.random.default_rng(number)
        images = generator.normal(size=(60, 10)) * np.arange(1, 11) ** -0.5
        return gram_of((images + 0.3 * generator.normal(size=(2, 60, 10))).astype("f4"))

    grams = [sample(number) for number in range(40)]
    said = [view_deviations(gram, 80, 0) for gram in grams]
    for name, statistic in (("lidar", lidar), ("infonce", info_nce)):
        scatter = np.std([statistic(gram) for gram in grams], ddof=1)
        spread = np.mean([float(one[name].std()) for one in said])
        assert spread == pytest.approx(scatter, rel=0.35), name
    assert all(bool(one.isnan().all()) for one in view_deviations(None, 8, 0).values()) and math.isnan(lidar(None))
