"""Nearest neighbours among the training images: which class they vote for."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from layerprobe.distill.full_precision import in_full_precision
from layerprobe.geometry.neighbours import elect
from layerprobe.records import Progress, silent
from layerprobe.settings.base import SettingsError

_QUERIES = 256
"""Images whose cosines with all others are held at a time."""


@in_full_precision
def classify_by_neighbours(
    train: Tensor,
    labels: Tensor,
    test: Tensor,
    neighbours: int = 20,
    temperature: float | None = 0.07,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> Tensor:
    """The class that the most similar training images vote for, by the cosine of their features.

    A vote weighs exp(cosine / temperature) (Wu, Xiong, Yu and Lin, CVPR 2018, section 3.4; Caron et al., ICCV 2021).
    Of classes that tie, the nearest neighbour's wins.

    Args:
        train: (n, D) float32 features of the training images.
        labels: (n,) their classes.
        test: (m, D) features of the images to classify.
        neighbours: k, how many vote.
        temperature: T of the votes' weights; None: every vote counts the same.
        device: where the cosines are computed.
        progress: told after every block of images.

    Returns:
        (m,) classes.

    Raises:
        SettingsError: if there are fewer than k training images.
    """
    if neighbours > len(train):
        raise SettingsError(
            f"<neighbours> is at most the number of training images, {len(train)}, not {neighbours}; ask for fewer"
        )
    known, labels = normalize(train.to(device), dim=1), labels.to(device)
    classes = torch.empty(len(test), dtype=torch.int64)
    for start in range(0, len(test), _QUERIES):
        queries = normalize(test[start : start + _QUERIES].to(device), dim=1)
        cosines, rows = (queries @ known.T).topk(neighbours, dim=1)
        # From the nearest's weight down, so that no temperature makes them overflow.
        weights = None if temperature is None else ((cosines - cosines[:, :1]).double() / temperature).exp()
        classes[start : start + len(queries)] = elect(labels[rows], weights).cpu()
        progress("neighbours found", start + len(queries), len(test))
    return classes
