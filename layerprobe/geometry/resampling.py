"""How far the scores of a layer would scatter if other images were drawn: from disjoint parts of the sample.

A bootstrap draws images twice, and twins have distance zero: class gaps and neighbour distances break. The spread of
half-samples about the whole (subsampling) suits means, but not minima: the least cosine and the gap of a class often
survive the halving, so that their spread comes out too small. Two *disjoint* halves, though, are as good as two samples
of n/2 images: the variance of their difference is twice that of the statistic at n/2, whatever the statistic.

What is left is the step from n/2 to n. A mean gains a factor 1 / sqrt(2). Of a minimum (and of the entropy of few
images in many dimensions) the spread falls more slowly, and ever more slowly as n grows: the gain lies between that
from quarters to halves, sd(n/2) / sd(n/4), which is measured, and none; their geometric mean is taken. So the parts of
the scores get their own factors, and the scores are put together from the parts. Where the spectra are of a second
sample, its parts are drawn apart from those of the first, as the samples themselves were: the entropy then scatters
independently of the other parts of a score.

The spread of a least value is estimated from the sample that it is the least of: a sample that has a close pair by
chance has a low least value *and* halves that differ much, since some have the pair; one without has a high value and
halves that hardly differ. So an interval that is symmetric about the value misses on one side. The deviations are
skewed for it: see ``_skewness``. The coverage of the resulting intervals was measured: see the documentation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from layerprobe.geometry.catalogue import resampled
from layerprobe.geometry.classes import class_batches, class_members
from layerprobe.geometry.measure import Quantities, Values
from layerprobe.geometry.parts import part_statistics
from layerprobe.geometry.parts import summaries as part_summaries
from layerprobe.geometry.strips import Summary
from layerprobe.records import AnyGram, Interval

_LEAST = ("min-intra-cosine", "class-gap")
"""Means over classes of a least value."""
_SLOW = (*_LEAST, "spectral-entropy", "relative-entropy")
"""Statistics whose spread falls more slowly than that of a mean."""
_LARGEST_SKEWNESS = 2 / 3 * 1.14
"""Of the deviations of one class's least value. A studentized mean of n values of skewness -g has the quantiles
z + g (2 z^2 + 1) / (6 sqrt(n)) (Johnson 1978): a curvature of 2 g / 3 for n = 1. A least value far from any bound has
g = 1.14 (Gumbel). It was preferred to 0.9 after both had been tried on synthetic distributions and seven layers of a
network; between 0.7 and 1 it matters little."""


def draw_parts(labels: Tensor, pairs: int, divisor: int, seed: int) -> Tensor:
    """Draw pairs of disjoint parts of the images, each with ``n_c // divisor`` images of every class.

    Every layer of one sample must be given the same draws: differences between layers are then paired.

    Args:
        labels: (n,) class labels.
        pairs: P.
        divisor: 2: halves; 4: quarters.
        seed: of the draws.

    Returns:
        (2 P, n) bool, true where an image is drawn: first the P first parts, then their partners.
    """
    members = class_members(labels)
    numbers = torch.rand(pairs * len(labels), generator=torch.Generator().manual_seed(seed))
    of_classes = torch.split(numbers, [pairs * len(rows) for rows in members])
    drawn = torch.zeros(2, pairs, len(labels), dtype=torch.bool)
    for places, rows in class_batches(members, lambda images: images * pairs):
        order = torch.stack([of_classes[place].reshape(pairs, -1) for place in places.tolist()], dim=1).argsort(dim=2)
        size = rows.shape[1] // divisor
        drawn[0][:, rows] = order < size
        drawn[1][:, rows] = (order >= size) & (order < 2 * size)
    return drawn.flatten(0, 1)


def score_deviations(gram: AnyGram, resamples: int = 200, seed: int = 0) -> Values:
    """How far the scores of a sample like this one lie from what is expected at its size.

    Args:
        gram: of the layer.
        resamples: R, a multiple of four: as many half-samples are drawn, and half as many quarters.
        seed: of the draws; give every layer of one sample the same.

    Returns:
        (R,) float64 of every statistic that has an interval, by name. What is expected is the sample's score less one
        of them, one as good as another. NaN where a class has fewer than four images.
        With fewer than eight the gain of minima can't be measured, and counts as none.
    """
    drawn = _draw_all_parts(gram.known_labels, resamples, seed)
    blocks = gram.class_blocks
    second = None if blocks is None else _draw_all_parts(_labels_of(blocks), resamples, seed + 2)
    parts = part_statistics(gram, drawn, second)
    halves, classes = 2 * (resamples // 2), len(class_members(gram.known_labels))
    base = {name: values[:1] for name, values in parts.items()}
    moved = {name: values[0] + _deviations(name, values, halves, classes) for name, values in parts.items()}
    expected, scores = _scores(base, gram), _scores(moved, gram)
    return {name: scores[name] - expected[name] for name in scores}


def summaries(gram: AnyGram, resamples: int = 200, seed: int = 0) -> tuple[Summary, ...]:
    """What ``score_deviations`` gathers."""
    return part_summaries(gram, _draw_all_parts(gram.known_labels, resamples, seed))


def _draw_all_parts(labels: Tensor, resamples: int, seed: int) -> Tensor:
    """The whole sample, its halves and its quarters: (1 + R + R / 2, n) bool; the same tensor for the same labels."""
    return _drawn_parts(labels.numpy().tobytes(), resamples, seed)


@lru_cache(maxsize=2)
def _drawn_parts(content: bytes, resamples: int, seed: int) -> Tensor:
    """All layers of a sample have the same draws: they are drawn once."""
    labels = torch.frombuffer(bytearray(content), dtype=torch.int64)
    halves = draw_parts(labels, resamples // 2, 2, seed)
    quarters = draw_parts(labels, resamples // 4, 4, seed + 1)
    return torch.cat([torch.ones(1, len(labels), dtype=torch.bool), halves, quarters])


def _labels_of(class_blocks: Sequence[Tensor]) -> Tensor:
    """Class labels of the second sample, whose images lie class after class."""
    return torch.arange(len(class_blocks)).repeat_interleave(torch.tensor([len(block) for block in class_blocks]))


def _deviations(name: str, values: Tensor, halves: int, classes: int) -> Tensor:
    """Of one statistic, (R,), from its values in the whole sample, in all halves, then in all quarters."""
    whole, of_halves = values[0], values[1 : halves + 1]
    difference, smaller = _differences(of_halves), _differences(values[halves + 1 :])
    factor = math.sqrt(0.5)
    if name in _SLOW:
        measured = float(difference.square().mean().sqrt() / smaller.square().mean().sqrt())
        factor = math.sqrt(min(max(measured, factor), 1.0)) if math.isfinite(measured) else 1.0
    deviations = factor * torch.cat([difference, -difference])
    return _skewed(deviations, _skewness(whole, of_halves, classes)) if name in _LEAST else deviations


def _skewness(whole: Tensor, halves: Tensor, classes: int) -> float:
    """How much farther a mean of least values lies above its expectation, in spreads estimated with it, than below.

    The least of m values goes as m^(-1/a): a half has a quarter of the pairs, and so a least value larger by 2^(2/a).
    For a = 1 (values spread evenly down to a bound, as absolute cosines about 0) what the halves differ by doesn't
    depend on the least value, and there is nothing to mend; for large a (a gap in many dimensions) there is most.
    Between them it goes as 1 - 1/a. The mean of independent values of several classes has 1 / sqrt(classes) of it.
    """
    bound = float(torch.log2(halves.mean() / whole)) / 2
    return _LARGEST_SKEWNESS * max(1 - bound, 0.0) / math.sqrt(classes)


def _skewed(deviations: Tensor, skewness: float) -> Tensor:
    """Deviations d with root mean square s and a skewness k: s (exp(k d / s) - 1) / k, nearly d + k d^2 / (2 s)."""
    spread = deviations.square().mean().sqrt()
    if skewness == 0 or spread == 0:
        return deviations
    return spread * torch.expm1(skewness * deviations / spread) / skewness


def _differences(values: Tensor) -> Tensor:
    """Of each pair of parts, scaled to the spread of one of them."""
    first, second = values.chunk(2)
    return (first - second) / math.sqrt(2)


def _scores(parts: Mapping[str, Tensor], gram: AnyGram) -> Values:
    """The scores from their parts, (R,) each, with the exponent 1 / r of the whole sample.

    Parts that were moved may give values below zero, where no score lies: they count as zero.
    """
    components = min(gram.images, gram.dimension)
    return Quantities({**parts, "population": gram.population, "components": components}).numbers(resampled())


def interval(value: float, deviations: Tensor, level: float = 0.9) -> Interval:
    """An interval for the score that is expected of samples of this size.

    Args:
        value: the score of the sample.
        deviations: (R,) from ``score_deviations``.
        level: the share of samples whose interval is meant to hold the expected score.

    Returns:
        The value less the quantiles of the deviations; NaN where those are NaN.
    """
    tail = (1 - level) / 2
    low, high = torch.quantile(deviations, torch.tensor([tail, 1 - tail], dtype=deviations.dtype)).tolist()
    return Interval(value - high, value - low, level)


def top_shares(deviations: Mapping[str, Tensor], values: Mapping[str, float], top: int) -> dict[str, float]:
    """The share of resamples in which each layer is among the ``top`` layers with the highest score.

    Args:
        deviations: of each layer, (R,), drawn alike in all layers.
        values: the scores of the sample, by layer.
        top: k.
    """
    scores = torch.stack([values[name] - deviations[name] for name in deviations])
    ranks = torch.nan_to_num(scores, nan=-torch.inf).argsort(dim=0, descending=True).argsort(dim=0)
    shares = ((ranks < top) & ~torch.isnan(scores)).double().mean(dim=1)
    return dict(zip(deviations, shares.tolist(), strict=True))
