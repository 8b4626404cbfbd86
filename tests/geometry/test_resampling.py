"""Half-samples against the scores of the images that they hold, one by one."""

import math

import numpy as np
import pytest
import torch

from layerprobe.geometry.catalogue import resampled
from layerprobe.geometry.gram import gram_matrix
from layerprobe.geometry.measure import measure
from layerprobe.geometry.parts import part_statistics
from layerprobe.geometry.resampling import draw_parts, interval, score_deviations, top_shares
from layerprobe.records import Gram


def clouds(per_class: int, classes: int, d: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(classes).repeat_interleave(per_class)
    scales = torch.logspace(0, -1.5, d)
    centres = torch.randn(classes, d, generator=generator)
    return (centres[labels] + torch.randn(len(labels), d, generator=generator)) * scales + 0.5, labels


SCORES = tuple(score.name for score in resampled())
PARTS = ("separation", "min-intra-cosine", "spectral-entropy", "class-gap", "feature-norm")


def brute_force(features: torch.Tensor, labels: torch.Tensor, drawn: torch.Tensor) -> dict[str, list[float]]:
    measured = [measure(gram_matrix([features[chosen]], labels[chosen], 1000)) for chosen in drawn]
    return {name: [values[name] for values in measured] for name in PARTS}


@pytest.mark.parametrize(("per_class", "classes", "d"), [(10, 3, 40), (25, 2, 5), (9, 4, 200), (30, 5, 8)])
@pytest.mark.parametrize("divisor", [2, 4])
def test_every_part_has_the_statistics_of_its_images(per_class: int, classes: int, d: int, divisor: int) -> None:
    features, labels = clouds(per_class, classes, d)
    drawn = draw_parts(labels, 10, divisor, seed=1)
    found = part_statistics(gram_matrix([features], labels, 1000), drawn)
    expected = brute_force(features, labels, drawn)
    for name in PARTS:
        assert np.allclose(found[name], expected[name], rtol=1e-4, atol=1e-6), name


def test_classes_of_different_size_and_many_images() -> None:
    """More pairs than are listed; a class of which many are drawn is linearized: it scatters as it should."""
    features, labels = clouds(160, 3, 30)
    keep = torch.cat([torch.arange(160), 160 + torch.arange(150), 320 + torch.arange(11)])
    features, labels = features[keep], labels[keep]
    drawn = draw_parts(labels, 50, 2, seed=0)
    assert drawn.sum(dim=1).tolist() == [80 + 75 + 5] * 100
    found = part_statistics(gram_matrix([features], labels, 1000), drawn)
    expected = brute_force(features, labels, drawn)
    for name in PARTS:
        if name != "spectral-entropy":
            assert np.allclose(found[name], expected[name], rtol=1e-4, atol=1e-6), name
    entropies = found["spectral-entropy"].numpy(), np.array(expected["spectral-entropy"])
    assert np.std(entropies[0]) == pytest.approx(np.std(entropies[1]), rel=0.15)
    assert np.corrcoef(*entropies)[0, 1] > 0.95


def test_many_classes_of_many_sizes_with_images_far_from_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """In small batches: of a far image none of the listed neighbours may be drawn, and of 25 images no listed pair."""
    for module in ("classes", "part_entropies", "part_minima"):
        monkeypatch.setattr(f"layerprobe.geometry.{module}._AT_ONCE", 700)
    monkeypatch.setattr("layerprobe.geometry.nearest._MOST", 2)
    monkeypatch.setattr("layerprobe.geometry.part_minima._LISTS", (3, 20, 10**9))
    generator = torch.Generator().manual_seed(4)
    sizes = torch.randint(8, 26, (30,), generator=generator)
    labels = torch.arange(30).repeat_interleave(sizes)[torch.randperm(int(sizes.sum()), generator=generator)]
    features = torch.randn(30, 12, generator=generator)[labels] + torch.randn(len(labels), 12, generator=generator)
    features[::40] *= 20
    drawn = draw_parts(labels, 8, 4, seed=0)
    found = part_statistics(gram_matrix([features], labels, 1000), drawn)
    expected = brute_force(features, labels, drawn)
    for name in PARTS:
        assert np.allclose(found[name], expected[name], rtol=1e-4, atol=1e-6), name


def test_the_whole_is_a_part() -> None:
    features, labels = clouds(70, 2, 12)
    gram = gram_matrix([features], labels, 1000)
    found, expected = part_statistics(gram, torch.ones(1, 140, dtype=torch.bool)), measure(gram)
    for name in PARTS:
        assert float(found[name]) == pytest.approx(expected[name], rel=1e-5), name


def test_draws_are_disjoint_parts_of_every_class_and_repeatable() -> None:
    labels = torch.tensor([0, 1, 0, 1, 0, 1, 0, 2, 2, 2, 0])
    drawn = draw_parts(labels, 50, 2, seed=3)
    assert torch.equal(drawn, draw_parts(labels, 50, 2, seed=3))
    assert not torch.equal(drawn, draw_parts(labels, 50, 2, seed=4))
    first, second = drawn.chunk(2)
    assert not (first & second).any()
    for label, count in ((0, 2), (1, 1), (2, 1)):
        for part in (first, second):
            assert set(part[:, labels == label].sum(dim=1).tolist()) == {count}
    assert 0.3 < drawn[:, labels == 0].double().mean() < 0.5
    assert set(draw_parts(labels, 5, 4, seed=0).sum(dim=1).tolist()) == {1}


def test_the_order_of_the_images_does_not_matter() -> None:
    features, labels = clouds(12, 3, 6)
    drawn = draw_parts(labels, 10, 2, seed=0)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    first = part_statistics(gram_matrix([features], labels, 100), drawn)
    second = part_statistics(gram_matrix([features[order]], labels[order], 100), drawn[:, order])
    for name in PARTS:
        assert torch.allclose(first[name], second[name], rtol=1e-4)


def test_intervals_cover_the_expected_score_and_miss_on_both_sides() -> None:
    """300 samples of Gaussian classes; the expected scores are known from 600 others.

    With deviations that aren't skewed the expected score lies below 45 intervals of efficiency and above 5, below 29
    and above 2 of quality.
    """
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(4).repeat_interleave(24)
    centres = torch.randn(4, 20, generator=generator)

    def sample() -> Gram:
        return gram_matrix([centres[labels] + torch.randn(96, 20, generator=generator)], labels, 1000)

    others = [measure(sample()) for _ in range(600)]
    below, above = dict.fromkeys(SCORES, 0), dict.fromkeys(SCORES, 0)
    truth = {name: np.mean([one[name] for one in others]) for name in SCORES}
    for seed in range(300):
        gram = sample()
        values, deviations = measure(gram), score_deviations(gram, 60, seed)
        for name in SCORES:
            found = interval(values[name], deviations[name])
            below[name] += truth[name] < found.low
            above[name] += truth[name] > found.high
    for name in SCORES:
        misses = below[name] + above[name]
        assert 12 <= misses <= 50, (name, below, above)
        assert abs(below[name] - above[name]) < 3 * math.sqrt(misses), (name, below, above)


@pytest.mark.parametrize("classes", [2, 5])
def test_deviations_follow_their_formula(classes: int) -> None:
    """Efficiency's, in NumPy: the spread from n/2 to n, and the skewness of the least distances."""
    features, labels = clouds(12, classes, 9)
    gram = gram_matrix([features], labels, 1000)
    draws = [torch.ones(1, len(labels), dtype=torch.bool), draw_parts(labels, 20, 2, 3), draw_parts(labels, 10, 4, 4)]
    whole, halves, quarters = (part_statistics(gram, drawn) for drawn in draws)

    def differences(name: str, parts: dict[str, torch.Tensor]) -> np.ndarray:
        first, second = np.split(parts[name].numpy(), 2)
        return (first - second) / math.sqrt(2)

    gap, length = float(whole["class-gap"]), float(whole["feature-norm"])
    half, quarter = differences("class-gap", halves), differences("class-gap", quarters)
    factor = math.sqrt(np.clip(np.sqrt(np.mean(half**2) / np.mean(quarter**2)), math.sqrt(0.5), 1))
    spread = factor * np.sqrt(np.mean(half**2))
    largest = 2 / 3 * 1.14
    skewness = largest * (1 - math.log2(float(halves["class-gap"].mean()) / gap) / 2) / math.sqrt(classes)
    assert 0 < skewness < largest / math.sqrt(classes)
    moved = gap + spread * np.expm1(skewness * factor * np.concatenate([half, -half]) / spread) / skewness
    lengths = differences("feature-norm", halves) * math.sqrt(0.5)
    expected = 2 * moved / (length + np.concatenate([lengths, -lengths])) - 2 * gap / length
    found = score_deviations(gram, 40, seed=3)["efficiency"].numpy() / (1000 / math.pi) ** (1 / 9)
    assert np.allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_deviations_of_means_are_symmetric_and_all_are_repeatable() -> None:
    features, labels = clouds(16, 3, 10)
    gram = gram_matrix([features], labels, 1000)
    deviations = score_deviations(gram, 40, seed=5)
    assert torch.equal(deviations["quality"], score_deviations(gram, 40, seed=5)["quality"])
    assert not torch.equal(deviations["quality"], score_deviations(gram, 40, seed=6)["quality"])
    first, second = deviations["separation"].chunk(2)
    assert len(first) == 20 and torch.allclose(first, -second)


def test_interval() -> None:
    deviations = torch.arange(-50, 51, dtype=torch.float64) ** 3
    found = interval(10.0, deviations, level=0.9)
    quantiles = np.quantile(np.arange(-50, 51) ** 3.0, [0.05, 0.95])
    assert (found.low, found.high) == pytest.approx((10 - quantiles[1], 10 - quantiles[0]))
    assert found.level == 0.9
    broken = interval(1.0, torch.tensor([1.0, math.nan]))
    assert math.isnan(broken.low) and math.isnan(broken.high)


def test_top_shares() -> None:
    deviations = {"a": torch.tensor([-1.0, 1.0]), "b": torch.zeros(2), "c": torch.full((2,), math.nan)}
    values = {"a": 1.5, "b": 1.0, "c": math.nan}
    assert top_shares(deviations, values, top=1) == {"a": 0.5, "b": 0.5, "c": 0.0}
    assert top_shares(deviations, values, top=2) == {"a": 1.0, "b": 1.0, "c": 0.0}


@pytest.mark.parametrize("sizes", [(1, 5), (2, 5), (3, 3)])
def test_classes_too_small_to_halve_have_no_interval(sizes: tuple[int, int]) -> None:
    features, _ = clouds(5, 2, 4)
    labels = torch.tensor([0] * sizes[0] + [1] * sizes[1])
    deviations = score_deviations(gram_matrix([features[: len(labels)]], labels, 100), 8)
    assert all(bool(torch.isnan(deviations[name]).all()) for name in ("separation", "information", "quality"))
    assert math.isnan(interval(0.5, deviations["quality"]).low)


@pytest.mark.parametrize("per_class", [4, 7])
def test_classes_too_small_to_quarter_have_one(per_class: int) -> None:
    features, labels = clouds(per_class, 3, 6)
    deviations = score_deviations(gram_matrix([features], labels, 100), 40)
    assert all(bool(torch.isfinite(deviations[name]).all()) for name in SCORES)
    assert float(deviations["quality"].std()) > 0


def test_one_class_alone_is_nan() -> None:
    features, _ = clouds(6, 2, 4)
    labels = torch.zeros(12, dtype=torch.int64)
    deviations = score_deviations(gram_matrix([features], labels, 100), 8)
    assert bool(torch.isnan(deviations["quality"]).all())
