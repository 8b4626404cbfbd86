"""Clusters from a Gram matrix: k-means and silhouettes of the features themselves, and scores with known classes."""

import math

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

from layerprobe.geometry.cluster_scores import cluster_deviations, cluster_scores
from layerprobe.geometry.clusters import choose_clusters, k_means, mean_silhouette
from layerprobe.geometry.gram import gram_matrix
from layerprobe.records import Gram
from tests.helpers.geometry_oracle import statistics


def groups(count: int, n: int = 120, spread: float = 4.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    centres, labels = generator.normal(size=(count, 12)) * spread, np.arange(n) % count
    return (centres[labels] + generator.normal(size=(n, 12)) + 5).astype("f4"), labels


def gram_of(features: np.ndarray) -> Gram:
    return gram_matrix([torch.from_numpy(features)], torch.zeros(len(features), dtype=torch.int64), 1000)


@pytest.mark.parametrize("count", [2, 4, 7])
def test_k_means_finds_as_little_inertia_as_scikit_learn_and_is_converged(count: int) -> None:
    features, _ = groups(5, spread=1.0)
    found = k_means(gram_of(features), count)
    labels = found.labels.numpy()
    assert found.count == count and labels[0] == 0
    centres = np.stack([features[labels == c].astype("f8").mean(axis=0) for c in range(count)])
    distances = ((features[:, None] - centres) ** 2).sum(axis=2)
    assert (distances.argmin(axis=1) == labels).all()
    assert found.inertia == pytest.approx(distances.min(axis=1).sum(), rel=1e-4)
    assert found.inertia <= KMeans(count, n_init=10, random_state=0).fit(features).inertia_ * 1.02


@pytest.mark.parametrize("count", [3, 6])
def test_the_number_of_highest_silhouette_is_that_of_separate_groups(count: int) -> None:
    features, labels = groups(count)
    found = choose_clusters(gram_of(features))
    assert np.array_equal(found.labels.numpy(), labels)
    assert found.silhouette == pytest.approx(silhouette_score(features, labels), abs=1e-5)
    assert torch.equal(choose_clusters(gram_of(features)).labels, found.labels)


def test_silhouettes_of_single_images_and_of_one_cluster() -> None:
    features, labels = groups(3, n=30)
    labels[0] = 3
    value = mean_silhouette(gram_of(features), torch.from_numpy(labels))
    assert value == pytest.approx(silhouette_score(features, labels), abs=1e-5)
    assert math.isnan(mean_silhouette(gram_of(features), torch.zeros(30, dtype=torch.int64)))


def test_images_that_coincide_and_samples_too_small_for_clusters() -> None:
    same = gram_of(np.ones((12, 3), np.float32))
    assert k_means(same, 5).labels.unique().tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="no number of clusters leaves 4 images in each"):
        choose_clusters(gram_of(groups(2, n=7)[0]))
    with pytest.raises(ValueError, match="9 clusters of 7 images"):
        k_means(gram_of(groups(2, n=7)[0]), 9)


def test_scores_of_clusters_are_those_of_labels_where_both_are_the_same() -> None:
    features, labels = groups(3, n=36)
    oracle = statistics(features, labels, 1000)
    gram = gram_of(features)
    clusters = choose_clusters(gram).labels
    found = cluster_scores(gram, clusters)
    for name in ("separation", "information", "efficiency", "quality"):
        assert float(found[name]) == pytest.approx(oracle[name], rel=1e-5)
    deviations = cluster_deviations(gram, clusters, 8, 0)
    assert deviations["cluster-quality"].shape == (8,) and not deviations["cluster-quality"].isnan().any()


def test_without_clusters_or_with_tiny_ones_nothing_is_claimed() -> None:
    gram = gram_of(groups(3, n=36)[0])
    assert math.isnan(float(cluster_scores(gram, None)["quality"]))
    assert cluster_deviations(gram, None, 8, 0)["cluster-quality"].isnan().all()
    tiny = torch.tensor([0] * 33 + [1] * 3)
    assert cluster_deviations(gram, tiny, 8, 0)["cluster-quality"].isnan().all()
