"""A Gram matrix in strips against one in memory, and against the definitions in float64."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from layerprobe.geometry.catalogue import STATISTICS, members, needs_matrix
from layerprobe.geometry.gram import NotFiniteError, gram_matrix
from layerprobe.geometry.measure import measure
from layerprobe.geometry.neighbours import nearest_neighbours
from layerprobe.geometry.part_neighbours import neighbour_deviations
from layerprobe.geometry.parts import part_statistics
from layerprobe.geometry.resampling import draw_parts, score_deviations, summaries
from layerprobe.geometry.tiles import TiledGram, tiled_gram

IMAGES, FEATURES, WIDTH = 1300, 24, 10
ALL, HALF, LITTLE = 1e9, 1.1e7, 1.0
"""Bytes in which all features fit; two strips, but not the features; and less than the lowest strip takes."""


def _sample(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Three strips of images of twelve classes in no order, one with many images and one with few; some twins."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 11, (IMAGES,), generator=generator)
    labels[torch.randperm(IMAGES, generator=generator)[:9]] = 11
    features = torch.randn(12, FEATURES, generator=generator)[labels] + torch.randn(
        IMAGES, FEATURES, generator=generator
    )
    features[1100], labels[1100] = features[3], labels[3]
    return features + 2, labels


def _tiled(features: torch.Tensor, labels: torch.Tensor | None, memory: float) -> TiledGram:
    def columns() -> Iterator[torch.Tensor]:
        yield from features.split(WIDTH, dim=1)

    return tiled_gram(columns, labels, 50_000, memory)


@pytest.mark.parametrize("memory", [ALL, LITTLE])
def test_every_statistic_that_is_gathered_is_that_of_the_whole_matrix(memory: float) -> None:
    features, labels = _sample()
    tiled, whole = _tiled(features, labels, memory), gram_matrix(features.split(WIDTH, dim=1), labels, 50_000)
    for family in ("scores", "neighbours", "collapse"):
        assert not any(map(needs_matrix, members(family)))
        found, expected = measure(tiled, family), measure(whole, family)
        assert len(found) > 0 and found == pytest.approx(expected, rel=1e-12), family
    assert torch.equal(tiled.squares, whole.squares)


@pytest.mark.parametrize("memory", [ALL, LITTLE])
def test_deviations_are_those_of_the_whole_matrix_and_one_sweep_suffices(
    memory: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, labels = _sample()
    tiled, whole = _tiled(features, labels, memory), gram_matrix(features.split(WIDTH, dim=1), labels, 50_000)
    expected = {**score_deviations(whole, 8), **neighbour_deviations(whole, 8, 0)}
    tiled.gather(summaries(tiled, 8, 0))
    monkeypatch.setattr(TiledGram, "strips", None)
    found = score_deviations(tiled, 8)
    monkeypatch.undo()
    found |= neighbour_deviations(tiled, 8, 0)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert bool(values.isfinite().all()) and torch.allclose(found[name], values, rtol=1e-9, atol=1e-12), name


def test_the_parts_of_a_sample_in_strips_are_what_their_definitions_say() -> None:
    features, labels = _sample(1)
    drawn = draw_parts(labels, 2, 4, seed=1)
    found = part_statistics(_tiled(features, labels, LITTLE), drawn)
    for number, part in enumerate(drawn):
        for name, value in _definitions(features[part].double().numpy(), labels[part].numpy()).items():
            assert float(found[name][number]) == pytest.approx(value, rel=1e-4), name


def test_the_scores_of_a_sample_in_strips_are_what_their_definitions_say() -> None:
    features, labels = _sample(2)
    features[1100] += 0.5  # twins have a distance of zero in float32 alone
    found = measure(_tiled(features, labels, LITTLE))
    for name, value in _definitions(features.double().numpy(), labels.numpy()).items():
        assert found[name] == pytest.approx(value, rel=1e-5), name


def _definitions(f: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """In float64, from the features themselves."""
    lengths = np.linalg.norm(f, axis=1)
    cosines = np.abs(f @ f.T / np.outer(lengths, lengths))
    distances = np.sqrt(np.maximum(((f[:, None] - f[None]) ** 2).sum(axis=2), 0))
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    pairs = [cosines[np.ix_(rows, rows)][np.triu_indices(len(rows), 1)] for rows in classes]
    between = [cosines[np.ix_(a, b)].mean() for a in classes for b in classes if a is not b]
    spectra = [np.linalg.svd(f[rows] - f[rows].mean(axis=0), compute_uv=False) ** 2 for rows in classes]
    shares = [values[values > 1e-12 * values.max()] / values.sum() for values in spectra]
    return {
        "separation": float(np.mean([one.mean() for one in pairs]) - np.mean(between)),
        "min-intra-cosine": float(np.mean([one.min() for one in pairs])),
        "spectral-entropy": float(np.mean([-(p * np.log(p)).sum() for p in shares])),
        "class-gap": float(np.mean([distances[np.ix_(rows, labels != labels[rows[0]])].min() for rows in classes])),
        "feature-norm": float(np.mean([lengths[rows].mean() for rows in classes])),
    }


def test_parts_whose_nearest_images_are_not_drawn_look_at_all_others() -> None:
    """One class of all but four images, which are near one another: none of the four listed neighbours may be drawn."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.zeros(600, dtype=torch.int64)
    labels[:520] = 1
    features = torch.randn(600, 5, generator=generator)
    drawn = torch.zeros(2, 600, dtype=torch.bool)
    drawn[0, [1, 2, 550, 560]] = True
    drawn[1, [500, 519, 530, 531]] = True
    tiled, whole = _tiled(features, labels, ALL), gram_matrix(features.split(WIDTH, dim=1), labels, 50_000)
    found, expected = part_statistics(tiled, drawn), part_statistics(whole, drawn)
    for number, part in enumerate(drawn):
        definitions = _definitions(features[part].double().numpy(), labels[part].numpy())
        assert float(found["class-gap"][number]) == pytest.approx(definitions["class-gap"], rel=1e-5)
        assert float(found["class-gap"][number]) == pytest.approx(float(expected["class-gap"][number]), rel=1e-6)


def test_the_neighbours_of_a_sample_in_strips_are_the_nearest_images() -> None:
    features, _ = _sample(4)
    distances, rows = nearest_neighbours(_tiled(features, None, LITTLE), 5)
    exact = torch.cdist(features.double(), features.double()).fill_diagonal_(torch.inf)
    assert torch.allclose(distances[distances > 0], exact.topk(5, largest=False).values[distances > 0], rtol=1e-5)
    assert torch.allclose(exact.gather(1, rows), distances, rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize(("value", "says"), [(math.nan, "NaN in 1 of 1300"), (1e30, "values whose products exceed")])
@pytest.mark.parametrize("memory", [ALL, LITTLE])
def test_features_that_are_not_finite_are_refused_as_those_of_a_whole_matrix(
    value: float, says: str, memory: float
) -> None:
    features, labels = _sample()
    features[700, 3] = value
    with pytest.raises(NotFiniteError, match=says) as expected:
        gram_matrix(features.split(WIDTH, dim=1), labels, 50_000)
    with pytest.raises(NotFiniteError, match=says) as found:
        measure(_tiled(features, labels, memory))
    assert str(found.value) == str(expected.value)


def test_what_needs_the_matrix_says_so() -> None:
    assert {name for name, one in STATISTICS.items() if needs_matrix(one)} == {
        *(f"cluster-{name}" for name in ("separation", "information", "efficiency", "quality")),
        *("pca-90", "pca-95", "effective-rank", "participation-ratio", "alpha-req", "probe", "logme", "rankme"),
        *("lidar", "infonce"),
    }
