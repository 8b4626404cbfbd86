"""k-NN against scikit-learn, and against the formula in float64."""

import math

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from layerprobe.evaluation.knn import classify_by_neighbours
from layerprobe.settings.base import SettingsError


def clusters(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Overlapping clusters of 7 classes in 6 dimensions."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(7, (count,), generator=generator)
    centres = torch.randn(7, 6, generator=torch.Generator().manual_seed(99))
    return centres[labels] + 1.2 * torch.randn(count, 6, generator=generator), labels


TRAIN, LABELS = clusters(400, 0)
TEST, _ = clusters(300, 1)  # more than one block of queries


def votes_by_formula(k: int, temperature: float | None) -> np.ndarray:
    """(m, classes) float64: sum over the k most similar of exp(cos / T)."""
    known, queries = (x.double().numpy() / np.linalg.norm(x.double().numpy(), axis=1)[:, None] for x in (TRAIN, TEST))
    votes = np.zeros((len(queries), 7))
    for row, query in enumerate(queries):
        cosines = known @ query
        for near in np.argsort(-cosines)[:k]:
            votes[row, LABELS[near]] += 1 if temperature is None else math.exp(cosines[near] / temperature)
    return votes


@pytest.mark.parametrize(("k", "temperature"), [(20, 0.07), (200, 0.07), (5, 1.0), (1, 0.01)])
def test_weighted_votes(k: int, temperature: float) -> None:
    found = classify_by_neighbours(TRAIN, LABELS, TEST, k, temperature)
    assert np.array_equal(found.numpy(), votes_by_formula(k, temperature).argmax(axis=1))
    peer = KNeighborsClassifier(
        k, metric="cosine", algorithm="brute", weights=lambda distances: np.exp((1 - distances) / temperature)
    ).fit(TRAIN.double().numpy(), LABELS.numpy())
    assert np.array_equal(found.numpy(), peer.predict(TEST.double().numpy()))


def test_plain_votes_and_ties() -> None:
    found = classify_by_neighbours(TRAIN, LABELS, TEST, 10, None).numpy()
    votes = votes_by_formula(10, None)
    tied = (votes == votes.max(axis=1, keepdims=True)).sum(axis=1) > 1
    peer = KNeighborsClassifier(10, metric="cosine", algorithm="brute").fit(TRAIN.numpy(), LABELS.numpy())
    assert 10 < tied.sum() < 200 and np.array_equal(found[~tied], peer.predict(TEST.numpy())[~tied])
    assert all(votes[row, found[row]] == votes[row].max() for row in np.flatnonzero(tied))
    # One vote for each of two classes: that of the nearest counts, whatever its number.
    two = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    for labels in ([0, 1], [1, 0]):
        assert classify_by_neighbours(two, torch.tensor(labels), torch.tensor([[3.0, 1.0]]), 2, None) == labels[0]


def test_the_length_of_features_doesnt_count_and_a_tiny_temperature_doesnt_overflow() -> None:
    scales = torch.rand(len(TEST), 1, generator=torch.Generator().manual_seed(2)) * 1e3 + 1e-3
    once = classify_by_neighbours(TRAIN, LABELS, TEST, 20, 0.07)
    assert torch.equal(once, classify_by_neighbours(5 * TRAIN, LABELS, TEST * scales, 20, 0.07))
    nearest = classify_by_neighbours(TRAIN, LABELS, TEST, 1, None)
    assert torch.equal(nearest, classify_by_neighbours(TRAIN, LABELS, TEST, 20, 1e-6))


def test_more_neighbours_than_images() -> None:
    with pytest.raises(SettingsError, match=r"neighbours is at most the number of training images, 400, not 401"):
        classify_by_neighbours(TRAIN, LABELS, TEST, 401)
