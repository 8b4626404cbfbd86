"""Spectra of a second sample: of the formulas, of parts of both samples, and of the same images once more."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from layerprobe.geometry.catalogue import STATISTICS
from layerprobe.geometry.classes import class_members
from layerprobe.geometry.gram import gram_matrix, sub_gram
from layerprobe.geometry.measure import measure
from layerprobe.geometry.parts import part_statistics
from layerprobe.geometry.resampling import draw_parts, score_deviations
from layerprobe.records import Gram
from tests.geometry.test_resampling import clouds

OF_SPECTRA = {"spectral-entropy", "relative-entropy", "information", "information-normalised", "sqrt-ie"}
OF_SPECTRA |= {"quality", "quality-normalised"}


def blocks_of(features: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """What is kept of a second sample: float32 products of each class's features, centred on the class's mean."""
    members = class_members(labels)
    return tuple(gram_matrix([features[rows]], labels[rows], 1).centred.float() for rows in members)


def two_samples(first: int, second: int, classes: int, d: int) -> tuple[Gram, Gram, torch.Tensor, torch.Tensor]:
    """The Gram matrix of one sample, the same with the spectra of another, and the other's features and labels."""
    gram = gram_matrix([clouds(first, classes, d, seed=1)[0]], clouds(first, classes, d)[1], 1000)
    features, labels = clouds(second, classes, d, seed=2)
    return gram, replace(gram, class_blocks=blocks_of(features, labels)), features, labels


@pytest.mark.parametrize("d", [7, 90])
def test_against_the_formulas(d: int) -> None:
    """With fewer and with more features than images of a class, and classes of different size."""
    alone, gram, features, labels = two_samples(5, 40, 3, d)
    keep = torch.cat([torch.arange(40), 40 + torch.arange(25), 80 + torch.arange(11)])
    features, labels = features[keep], labels[keep]
    gram = replace(gram, class_blocks=blocks_of(features, labels))
    entropies, shares = [], []
    for label in range(3):
        of_class = features[labels == label].double().numpy()
        values = np.linalg.svd(of_class - of_class.mean(axis=0), compute_uv=False) ** 2
        p = values[values > 1e-12 * values.max()] / values.sum()
        entropies.append(-np.sum(p * np.log(p)))
        shares.append(entropies[-1] / math.log(min(len(of_class) - 1, d)))
    before, after = measure(alone), measure(gram)
    least, separation, efficiency = (before[name] for name in ("min-intra-cosine", "separation", "efficiency"))
    information = (1 - least) * np.mean(entropies) / math.log(5)
    normalised = (1 - least) * np.mean(shares)
    expected = {
        "spectral-entropy": np.mean(entropies),
        "relative-entropy": np.mean(shares),
        "information": information,
        "information-normalised": normalised,
        "sqrt-ie": math.sqrt(information * efficiency),
        "quality": separation + math.sqrt(information * efficiency),
        "quality-normalised": separation + math.sqrt(normalised * efficiency),
    }
    assert expected.keys() == OF_SPECTRA
    for name, value in after.items():
        assert value == pytest.approx(expected.get(name, before[name]), rel=1e-5), name
        assert (name in OF_SPECTRA) == (value != before[name]), name


def test_the_same_images_again_change_nothing() -> None:
    features, labels = clouds(30, 4, 50)
    gram = gram_matrix([features], labels, 1000)
    again = replace(gram, class_blocks=blocks_of(features, labels))
    for family in {entry.family for entry in STATISTICS.values()} - {""}:
        assert measure(again, family) == pytest.approx(measure(gram, family), rel=1e-6, nan_ok=True)


def test_parts_of_both_samples_are_drawn_apart() -> None:
    """The entropy of a part is that of its images of the second sample, the rest is that of those of the first."""
    _, gram, features, labels = two_samples(10, 30, 3, 20)
    drawn, second = draw_parts(gram.labels, 6, 2, seed=0), draw_parts(labels, 6, 2, seed=9)
    found = part_statistics(gram, drawn, second)
    for number in range(12):
        part = replace(
            sub_gram(gram, torch.nonzero(drawn[number]).flatten()),
            class_blocks=blocks_of(features[second[number]], labels[second[number]]),
        )
        expected = measure(part)
        for name in ("separation", "min-intra-cosine", "spectral-entropy", "class-gap", "feature-norm"):
            assert float(found[name][number]) == pytest.approx(expected[name], rel=1e-4), name
    with pytest.raises(ValueError, match="of a second sample"):
        part_statistics(gram, drawn)


def test_a_larger_second_sample_narrows_what_is_made_of_spectra_alone() -> None:
    """What isn't made of spectra has the deviations that it had; those of the entropy shrink with the sample."""
    alone, small, _, _ = two_samples(12, 12, 4, 60)
    large = two_samples(12, 60, 4, 60)[1]
    before, few, many = (score_deviations(gram, 200) for gram in (alone, small, large))
    for name in ("separation", "efficiency"):
        assert torch.equal(before[name], few[name]) and torch.equal(before[name], many[name])
    spread = [float((one["information-normalised"]).std()) for one in (few, many)]
    assert spread[1] < spread[0]


def test_smaller_samples_have_their_own_spectra() -> None:
    """A part of the first sample has no part of the second one to go with it."""
    gram = two_samples(10, 30, 3, 20)[1]
    assert sub_gram(gram, torch.arange(15)).class_blocks is None
