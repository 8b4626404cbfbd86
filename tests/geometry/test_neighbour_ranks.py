"""Neighbourhoods of two layers: the papers' formulas on the features, known answers, and DADApy."""

import numpy as np
import pytest
import torch

from layerprobe.geometry.gram import gram_matrix
from layerprobe.geometry.half_draws import deviations_of_halves, halves_of
from layerprobe.geometry.neighbour_ranks import (
    NeighbourRanks,
    among,
    information_imbalance,
    mutual_neighbours,
    neighbour_ranks,
)
from layerprobe.geometry.pair_deviations import matrices_of_halves, matrix_range


def ranks_of(features: np.ndarray) -> NeighbourRanks:
    labels = torch.zeros(len(features), dtype=torch.int64)
    return neighbour_ranks(gram_matrix([torch.from_numpy(features.astype("f4"))], labels, 1000))


def order(features: np.ndarray) -> np.ndarray:
    distances = ((features[:, None] - features) ** 2).sum(axis=2)
    np.fill_diagonal(distances, -1)
    return distances.argsort(axis=1, kind="stable")[:, 1:]


@pytest.fixture(scope="module")
def layers() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    first = generator.normal(size=(80, 12))
    return [first, first[:, :6], np.maximum(first @ generator.normal(size=(12, 30)), 0), generator.normal(size=(80, 5))]


def test_both_are_their_formulas_on_the_features(layers: list[np.ndarray]) -> None:
    orders, found = [order(one) for one in layers], [ranks_of(one) for one in layers]
    overlap, imbalance = mutual_neighbours(found, found), information_imbalance(found, found)
    for a, first in enumerate(orders):
        for b, second in enumerate(orders):
            shared = [len({*first[i, :10]} & {*second[i, :10]}) / 10 for i in range(80)]
            ranks = [int(np.flatnonzero(second[i] == first[i, 0])[0]) + 1 for i in range(80)]
            assert float(overlap[a, b]) == pytest.approx(np.mean(shared))
            assert float(imbalance[a, b]) == pytest.approx(2 / 80 * np.mean(ranks))


def test_a_layer_and_itself_a_part_of_it_and_one_that_is_unrelated(layers: list[np.ndarray]) -> None:
    whole, part, *_ = (ranks_of(one) for one in layers)
    assert float(mutual_neighbours([whole], [whole])) == 1
    assert float(information_imbalance([whole], [whole])) == 2 / 80
    assert float(information_imbalance([whole], [part])) < float(information_imbalance([part], [whole]))
    one, other = (ranks_of(np.random.default_rng(seed).normal(size=(400, 5))) for seed in (1, 2))
    assert float(information_imbalance([one], [other])) == pytest.approx(1, abs=0.15)
    assert float(mutual_neighbours([one], [other])) == pytest.approx(10 / 399, abs=0.01)


def test_twins_and_few_images() -> None:
    twins = ranks_of(np.repeat(np.eye(4), 2, axis=0))
    assert twins.nearest[:, 0].tolist() == [1, 0, 3, 2, 5, 4, 7, 6]
    assert float(mutual_neighbours([twins], [twins])) == 1
    assert ranks_of(np.eye(3)).nearest.shape == (3, 2)


def test_against_dadapy(layers: list[np.ndarray]) -> None:
    peers = pytest.importorskip("dadapy._utils.metric_comparisons", exc_type=ImportError)
    first, second = (np.concatenate([np.arange(80)[:, None], order(one)], axis=1) for one in (layers[0], layers[2]))
    expected = peers._return_imbalance(first, second, np.random.default_rng(0))
    assert float(information_imbalance([ranks_of(layers[0])], [ranks_of(layers[2])])) == pytest.approx(expected)


def test_intervals_are_as_wide_as_the_values_scatter() -> None:
    """Of 30 samples of 60 images, against what the halves of each say on average."""
    weights = np.random.default_rng(0).normal(size=(8, 20))

    def sample(number: int) -> list[NeighbourRanks]:
        first = np.random.default_rng(number).normal(size=(60, 8))
        return [ranks_of(first), ranks_of(np.maximum(first @ weights, 0))]

    samples, drawn = [sample(number) for number in range(30)], halves_of(60, None, 40, 0)
    for compare in (mutual_neighbours, information_imbalance):
        values = np.stack([compare(one, one).numpy() for one in samples])
        halves = [torch.stack([*matrices_of_halves(one, one, compare, among, drawn)]) for one in samples]
        spread = np.mean([deviations_of_halves(one).std(dim=0).numpy() for one in halves], axis=0)
        apart = ~np.eye(2, dtype=bool)
        assert np.allclose(spread[apart], values.std(axis=0, ddof=1)[apart], rtol=0.4), compare
        found = matrix_range(torch.from_numpy(values[0]), halves[0], 0.9)
        assert torch.equal(found.low.diagonal(), found.high.diagonal())  # a layer and itself agree in every sample
