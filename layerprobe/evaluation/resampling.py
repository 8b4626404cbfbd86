"""How far a mean over images would lie elsewhere with other images: the bootstrap."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from layerprobe.records import Estimate
from layerprobe.settings.evaluate import LayerEvaluationSettings

_AT_ONCE = 2**22
"""Draws that are held at a time."""


def estimate_mean(values: Tensor, resamples: int = 1000, level: float = 0.9, seed: int = 0) -> Estimate:
    """A mean over images, with a percentile interval of the bootstrap (Efron and Tibshirani 1993, chapter 13).

    The same seed draws the same images of every tensor of one length.

    Args:
        values: (n,) float64, one of each image; images whose value is NaN are left out.
        resamples: how often as many images are drawn with replacement; 0: there is no interval.
        level: the share of the means that the interval holds.
        seed: of the draws.

    Returns:
        The mean and the ends of its interval; NaN where no image has a value, the ends also without resamples.
    """
    values = values[~values.isnan()]
    if not len(values):
        return Estimate(math.nan, math.nan, math.nan, 0)
    mean = values.mean().item()
    if not resamples:
        return Estimate(mean, math.nan, math.nan, len(values))
    generator = torch.Generator().manual_seed(seed)
    step = max(_AT_ONCE // len(values), 1)
    means = [
        values[torch.randint(len(values), (min(step, resamples - done), len(values)), generator=generator)].mean(dim=1)
        for done in range(0, resamples, step)
    ]
    tail = (1 - level) / 2
    ends = torch.quantile(torch.cat(means), torch.tensor([tail, 1 - tail], dtype=torch.float64))
    return Estimate(mean, float(ends[0]), float(ends[1]), len(values))


def estimate_percent(shares: Tensor, settings: LayerEvaluationSettings) -> Estimate:
    """The mean in percent of values from 0 to 1, with the interval that settings ask for."""
    return estimate_mean(100 * shares, settings.resamples, settings.level, settings.seed)
