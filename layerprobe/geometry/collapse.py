"""How far the classes have shrunk to points: neural collapse."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from layerprobe.geometry.classes import class_members
from layerprobe.geometry.strips import Strip, Summary, gathered
from layerprobe.records import AnyGram


def within_class_variability(gram: AnyGram) -> float:
    """NC1 = tr(Sigma_W Sigma_B^+) / C: the variability within classes relative to that between their means.

    Sigma_W is the mean over images of (f - mu_c)(f - mu_c)^T, Sigma_B the mean over classes of
    (mu_c - mu_G)(mu_c - mu_G)^T with mu_G the mean of all images, C the number of classes (Papyan, Han and Donoho, PNAS
    117(40), 2020, equations 1 to 3). The pseudoinverse lives in the span of the class means, so the trace comes from
    the Gram matrix alone.

    Returns:
        From 0 (every class a point) upwards; it falls as training goes on. NaN with one class, or where all class means
        coincide.
    """
    members = class_members(gram.known_labels)
    n, classes = gram.images, len(members)
    average = torch.zeros(classes, n, dtype=torch.float64)
    for number, rows in enumerate(members):
        average[number, rows] = 1 / len(rows)
    offsets = average - 1 / n
    sums: Tensor = gathered(gram, ClassSums())
    to_images = sums / torch.tensor([len(rows) for rows in members])[:, None] - sums.sum(dim=0) / n
    # Sigma_B = A A^T with A = (mu_c - mu_G) / sqrt(C), so Sigma_B^+ = A (A^T A)^+2 A^T.
    products = to_images @ offsets.T / classes
    values, vectors = torch.linalg.eigh(products)
    large = values > 1e-9 * values.max().clamp_min(0)
    if classes < 2 or not bool((values > 0).any()):
        return math.nan
    own = torch.empty(n, dtype=torch.int64)
    for number, rows in enumerate(members):
        own[rows] = number
    deviations = (to_images - (to_images @ average.T)[:, own]) / math.sqrt(classes)
    scaled = (vectors[:, large].T @ deviations) / values[large, None]
    return float(scaled.square().sum() / n / classes)


def summaries(gram: AnyGram) -> tuple[Summary, ...]:
    """What ``within_class_variability`` gathers."""
    return (ClassSums(),)


@dataclass(frozen=True)
class ClassSums:
    """Of every class the sum of its images' products with every image, (classes, n) float64."""

    def begin(self, gram: AnyGram) -> RunningSums:
        """Gather it, from the first strip on."""
        return RunningSums(torch.unique(gram.known_labels, return_inverse=True)[1])


class RunningSums:
    """The sums over the strips so far.

    Args:
        groups: (n,), of which class every image is, from 0.
    """

    def __init__(self, groups: Tensor) -> None:
        self._groups = groups
        self._sums = torch.zeros(int(groups.max()) + 1, len(groups), dtype=torch.float64)

    def add(self, strip: Strip) -> None:
        """Take the next strip: its images with all before, and those with it."""
        self._sums[:, : strip.rows.stop].index_add_(0, self._groups[strip.rows], strip.products)
        before = strip.products[:, : strip.start].T
        self._sums[:, strip.rows].index_add_(0, self._groups[: strip.start], before)

    def result(self) -> Tensor:
        """The sums over all."""
        return self._sums
