"""Disjoint halves of a sample, and what they say of how far a statistic scatters: what is common to label-free ones."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from layerprobe.geometry.resampling import draw_parts
from layerprobe.records import AnyGram


def halves(gram: AnyGram, resamples: int, seed: int) -> Tensor:
    """Pairs of disjoint halves of the images: of every class, where they have labels, else of all images.

    Returns:
        (R, n) bool: first R / 2 first halves, then their partners.
    """
    return halves_of(gram.images, gram.labels, resamples, seed)


def halves_of(images: int, labels: Tensor | None, resamples: int, seed: int) -> Tensor:
    """The same of so many images with these labels, (n,); None: they have none."""
    classes = torch.zeros(images, dtype=torch.int64) if labels is None else labels
    return draw_parts(classes, resamples // 2, 2, seed)


def deviations_of_halves(values: Tensor) -> Tensor:
    """How far a statistic lies from what is expected, from its values in ``halves``, (R,).

    Two disjoint halves are as good as two samples of n / 2 images. From n / 2 to n the spread falls by 1 / sqrt(2), as
    that of a mean does.
    """
    first, second = values.chunk(2)
    difference = math.sqrt(0.5) * (first - second) / math.sqrt(2)
    return torch.cat([difference, -difference])
