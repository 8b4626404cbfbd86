"""Neighbours, intrinsic dimensions and k-NN accuracy against straightforward rewrites and references."""

import math

import numpy as np
import pytest
import torch
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from layerprobe.geometry.gram import gram_matrix
from layerprobe.geometry.measure import measure
from layerprobe.geometry.neighbours import knn_accuracy, mle_dimension, nearest_neighbours, twonn_dimension
from layerprobe.records import Gram


def gram_of(features: np.ndarray, labels: np.ndarray | None = None) -> Gram:
    labels = np.arange(len(features)) % 2 if labels is None else labels
    return gram_matrix([torch.from_numpy(features.astype(np.float32))], torch.from_numpy(labels), 1000)


def manifold(n: int, dimension: int, ambient: int, seed: int = 0) -> np.ndarray:
    """A uniform cube of some dimension, turned into a larger space."""
    generator = np.random.default_rng(seed)
    rotation = np.linalg.qr(generator.normal(size=(ambient, ambient)))[0][:dimension]
    return generator.uniform(size=(n, dimension)) @ rotation


@pytest.mark.parametrize(("n", "d"), [(40, 3), (300, 50), (600, 8)])
def test_neighbours_are_those_of_scikit_learn(n: int, d: int) -> None:
    features = np.random.default_rng(0).normal(size=(n, d)).astype(np.float32) + 5
    distances, rows = nearest_neighbours(gram_of(features), 7)
    expected, places = NearestNeighbors(n_neighbors=7).fit(features).kneighbors()
    assert np.allclose(distances, expected, rtol=1e-4)
    assert (rows.numpy() == places).mean() > 0.999


def test_twonn_is_the_fit_of_the_paper() -> None:
    features = manifold(500, 4, 20)
    distances, _ = nearest_neighbours(gram_of(features), 2)
    d = np.sort(np.linalg.norm(features[:, None] - features[None], axis=2), axis=1)
    ratios = np.sort(d[:, 2] / d[:, 1])[:450]
    x, y = np.log(ratios), -np.log(1 - np.arange(1, 451) / 500)
    assert twonn_dimension(distances) == pytest.approx(float((x @ y) / (x @ x)), rel=1e-4)


def test_mle_is_the_formula_of_the_paper() -> None:
    features = manifold(300, 3, 10)
    distances, _ = nearest_neighbours(gram_of(features), 12)
    d = np.sort(np.linalg.norm(features[:, None] - features[None], axis=2), axis=1)[:, 1:13]
    inverses = [np.mean([math.log(row[11] / row[j]) for j in range(11)]) for row in d]
    assert mle_dimension(distances) == pytest.approx(1 / float(np.mean(inverses)), rel=1e-4)


@pytest.mark.parametrize("dimension", [2, 3, 5])
def test_known_dimensions(dimension: int) -> None:
    distances, _ = nearest_neighbours(gram_of(manifold(2000, dimension, 30)), 20)
    assert twonn_dimension(distances) == pytest.approx(dimension, rel=0.1)
    assert mle_dimension(distances) == pytest.approx(dimension, rel=0.15)


def test_scale_and_rotation_do_not_matter() -> None:
    features = manifold(400, 3, 12)
    turned = 70 * features @ np.linalg.qr(np.random.default_rng(1).normal(size=(12, 12)))[0] + 4
    first, second = (nearest_neighbours(gram_of(one), 20)[0] for one in (features, turned))
    assert twonn_dimension(second) == pytest.approx(twonn_dimension(first), rel=1e-2)
    assert mle_dimension(second) == pytest.approx(mle_dimension(first), rel=1e-3)


def test_twins_are_left_out_and_reported(caplog: pytest.LogCaptureFixture) -> None:
    features = manifold(200, 2, 5).astype(np.float32)
    twins = np.concatenate([features, features[:10]])
    distances, _ = nearest_neighbours(gram_of(twins), 12)
    assert twonn_dimension(distances) == pytest.approx(2, rel=0.25)
    assert "20 of 210 images have a twin at distance zero" in caplog.text
    assert mle_dimension(distances) == pytest.approx(2, rel=0.25)


def test_no_dimension_where_there_is_none(caplog: pytest.LogCaptureFixture) -> None:
    constant = torch.zeros(10, 5, dtype=torch.float64)
    assert math.isnan(twonn_dimension(constant)) and math.isnan(mle_dimension(constant))
    alike = torch.ones(10, 5, dtype=torch.float64)
    assert math.isnan(twonn_dimension(alike)) and math.isnan(mle_dimension(alike))


@pytest.mark.parametrize("votes", [1, 5])
def test_knn_accuracy_is_that_of_scikit_learn(votes: int) -> None:
    generator = np.random.default_rng(0)
    labels = np.arange(60) % 2
    features = generator.normal(size=(60, 4)) + labels[:, None]
    _, rows = nearest_neighbours(gram_of(features, labels), votes)
    expected = cross_val_score(KNeighborsClassifier(votes), features, labels, cv=LeaveOneOut()).mean()
    assert knn_accuracy(rows, torch.from_numpy(labels)) == pytest.approx(expected)


def test_of_classes_that_tie_the_nearest_counts() -> None:
    labels = torch.tensor([0, 1, 1, 2, 2])
    assert knn_accuracy(torch.tensor([[1, 3, 2, 4]]).expand(5, 4), labels) == pytest.approx(0.4)
    assert knn_accuracy(torch.tensor([[3, 1, 2, 4]]).expand(5, 4), labels) == pytest.approx(0.4)
    assert knn_accuracy(torch.tensor([[3, 1, 0]]).expand(5, 3), labels) == pytest.approx(0.4)


def test_the_family_and_small_samples() -> None:
    found = measure(gram_of(manifold(50, 2, 6)), "neighbours")
    assert found.keys() == {"twonn", "mle", "knn"} and not any(map(math.isnan, found.values()))
    assert all(map(math.isnan, measure(gram_of(manifold(3, 2, 6)), "neighbours").values()))
    assert not math.isnan(measure(gram_of(manifold(5, 2, 6)), "neighbours")["mle"])
    with pytest.raises(ValueError, match="5 neighbours among 5 images"):
        nearest_neighbours(gram_of(manifold(5, 2, 6)), 5)


@pytest.mark.parametrize("dimension", [2, 6])
def test_against_scikit_dimension(dimension: int) -> None:
    peers = pytest.importorskip("skdim")
    features = manifold(1000, dimension, 20)
    distances, _ = nearest_neighbours(gram_of(features), 20)
    expected = peers.id.TwoNN(discard_fraction=0.1).fit(features).dimension_
    assert twonn_dimension(distances) == pytest.approx(expected, rel=1e-3)
    expected = peers.id.MLE(K=20).fit(features).dimension_
    assert mle_dimension(distances) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("dimension", [2, 6])
def test_against_dadapy(dimension: int) -> None:
    peers = pytest.importorskip("dadapy")
    features = manifold(1000, dimension, 20)
    distances, _ = nearest_neighbours(gram_of(features), 2)
    data = peers.Data(features)
    data.compute_distances(maxk=20)
    expected = data.compute_id_2NN(algorithm="base", mu_fraction=0.9)[0]
    assert twonn_dimension(distances) == pytest.approx(expected, rel=1e-3)
