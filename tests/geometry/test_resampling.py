"""Half-samples against the scores of the images that they hold, one by one."""

import math

import numpy as np
import pytest
import torch

from layerprobe.geometry.gram import gram_matrix
from layerprobe.geometry.quality import measure
from layerprobe.geometry.resampling import SCORES, draw_halves, interval, resample_scores, top_shares
from layerprobe.types import Gram


def clouds(per_class: int, classes: int, d: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(classes).repeat_interleave(per_class)
    scales = torch.logspace(0, -1.5, d)
    centres = torch.randn(classes, d, generator=generator)
    return (centres[labels] + torch.randn(len(labels), d, generator=generator)) * scales + 0.5, labels


def brute_force(features: torch.Tensor, labels: torch.Tensor, drawn: torch.Tensor, components: int) -> dict[str, list]:
    scores: dict[str, list] = {name: [] for name in SCORES}
    for chosen in drawn:
        values = measure(gram_matrix([features[chosen]], labels[chosen], 1000))
        own = min(int(chosen.sum()), features.shape[1])
        e = values["efficiency"] * (1000 / math.pi) ** (1 / components - 1 / own)
        scores["separation"].append(values["separation"])
        scores["information"].append(values["information"])
        scores["efficiency"].append(e)
        scores["quality"].append(values["separation"] + math.sqrt(values["information"] * e))
    return scores


@pytest.mark.parametrize(("per_class", "classes", "d"), [(10, 3, 40), (25, 2, 5), (9, 4, 200), (30, 5, 8)])
def test_every_half_sample_has_the_scores_of_its_images(per_class: int, classes: int, d: int) -> None:
    features, labels = clouds(per_class, classes, d)
    drawn = draw_halves(labels, 20, seed=1)
    found = resample_scores(gram_matrix([features], labels, 1000), drawn)
    expected = brute_force(features, labels, drawn, min(features.shape))
    for name in SCORES:
        assert np.allclose(found[name], expected[name], rtol=1e-4, atol=1e-6), name


def test_classes_of_different_size_and_many_images() -> None:
    """More pairs than are listed; a class whose half is linearized keeps its level, and scatters as it should."""
    features, labels = clouds(160, 3, 30)
    keep = torch.cat([torch.arange(160), 160 + torch.arange(150), 320 + torch.arange(11)])
    features, labels = features[keep], labels[keep]
    drawn = draw_halves(labels, 100, seed=0)
    assert drawn.sum(dim=1).tolist() == [80 + 75 + 5] * 100
    found = resample_scores(gram_matrix([features], labels, 1000), drawn)
    expected = brute_force(features, labels, drawn, 30)
    for name in ("separation", "efficiency"):
        assert np.allclose(found[name], expected[name], rtol=1e-4, atol=1e-6), name
    for name in ("information", "quality"):
        assert float(found[name].std()) == pytest.approx(np.std(expected[name], ddof=1), rel=0.15), name
        assert np.corrcoef(found[name], expected[name])[0, 1] > 0.95, name


def test_draws_are_halves_without_replacement_and_repeatable() -> None:
    labels = torch.tensor([0, 1, 0, 1, 0, 1, 0, 2, 2, 2])
    drawn = draw_halves(labels, 50, seed=3)
    assert torch.equal(drawn, draw_halves(labels, 50, seed=3))
    assert not torch.equal(drawn, draw_halves(labels, 50, seed=4))
    for label, count in ((0, 2), (1, 1), (2, 1)):
        assert set(drawn[:, labels == label].sum(dim=1).tolist()) == {count}
    assert 0.4 < drawn[:, labels == 0].double().mean() < 0.6


def test_the_order_of_the_images_does_not_matter() -> None:
    features, labels = clouds(12, 3, 6)
    drawn = draw_halves(labels, 10, seed=0)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    first = resample_scores(gram_matrix([features], labels, 100), drawn)
    second = resample_scores(gram_matrix([features[order]], labels[order], 100), drawn[:, order])
    for name in SCORES:
        assert torch.allclose(first[name], second[name], rtol=1e-4)


def test_the_spread_of_half_samples_is_that_of_samples() -> None:
    """Of new samples of the same size: what an interval is for."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(4).repeat_interleave(40)
    centres = torch.randn(4, 10, generator=generator)

    def sample() -> Gram:
        return gram_matrix([centres[labels] + torch.randn(160, 10, generator=generator)], labels, 1000)

    truth = torch.tensor([measure(sample())["separation"] for _ in range(200)]).std()
    estimates = [resample_scores(sample(), draw_halves(labels, 100, seed))["separation"].std() for seed in range(10)]
    assert float(torch.stack(estimates).mean()) == pytest.approx(float(truth), rel=0.25)


def test_interval() -> None:
    halves = torch.arange(101, dtype=torch.float64) ** 2
    found = interval(10.0, halves, level=0.9)
    deviations = np.quantile(np.arange(101) ** 2.0 - np.mean(np.arange(101) ** 2.0), [0.05, 0.95])
    assert (found.low, found.high) == pytest.approx((10 - deviations[1], 10 - deviations[0]))
    assert found.level == 0.9
    broken = interval(1.0, torch.tensor([1.0, math.nan]))
    assert math.isnan(broken.low) and math.isnan(broken.high)


def test_top_shares() -> None:
    halves = {"a": torch.tensor([0.0, 2.0]), "b": torch.tensor([0.0, 0.0]), "c": torch.full((2,), math.nan)}
    # a deviates by -1 and +1 from its mean, so it has 0.5 and 2.5; b has 1 in both; c never counts.
    shares = top_shares(halves, {"a": 1.5, "b": 1.0, "c": math.nan}, top=1)
    assert shares == {"a": 0.5, "b": 0.5, "c": 0.0}
    assert top_shares(halves, {"a": 1.5, "b": 1.0, "c": math.nan}, top=2) == {"a": 1.0, "b": 1.0, "c": 0.0}


@pytest.mark.parametrize("sizes", [(1, 5), (2, 5), (3, 3)])
def test_classes_too_small_to_halve_have_no_interval(sizes: tuple[int, int]) -> None:
    features, _ = clouds(5, 2, 4)
    labels = torch.tensor([0] * sizes[0] + [1] * sizes[1])
    gram = gram_matrix([features[: len(labels)]], labels, 100)
    scores = resample_scores(gram, draw_halves(labels, 5, seed=0))
    assert all(bool(torch.isnan(scores[name]).all()) for name in ("separation", "information", "quality"))
    assert math.isnan(interval(0.5, scores["quality"]).low)


def test_one_class_alone_is_nan() -> None:
    features, _ = clouds(6, 2, 4)
    labels = torch.zeros(12, dtype=torch.int64)
    scores = resample_scores(gram_matrix([features], labels, 100), draw_halves(labels, 5, seed=0))
    assert bool(torch.isnan(scores["quality"]).all())
