"""The scores of a layer with clusters in place of classes: S, I, E and Q where images have no labels."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from layerprobe.geometry.catalogue import CLUSTERS, resampled
from layerprobe.geometry.measure import Quantities, Values
from layerprobe.geometry.resampling import score_deviations
from layerprobe.records import Gram
from layerprobe.records.cautions import LEAST_FOR_INTERVALS

PREFIX = "cluster-"
"""How the name of a score begins whose classes are clusters."""


def clustered(gram: Gram, clusters: Tensor) -> Gram:
    """The Gram matrix with the clusters of its images for their labels; the spectra are those of the same images."""
    return replace(gram, labels=clusters, class_blocks=None)


def cluster_scores(gram: Gram, clusters: Tensor | None) -> Values:
    """The scores of a layer, whose classes are clusters, by the names of the scores.

    Args:
        gram: of the layer.
        clusters: (n,) int64, of the same images, found in one layer for all; None: there are none, and no scores.
    """
    if clusters is None:
        return {one.name: torch.tensor(torch.nan, dtype=torch.float64) for one in resampled()}
    return Quantities.of_gram(clustered(gram, clusters)).numbers(resampled())


def score_of(scores: Values, name: str) -> Tensor:
    """One of ``cluster_scores``."""
    return scores[name]


def cluster_deviations(gram: Gram, clusters: Tensor | None, resamples: int, seed: int) -> Values:
    """How far ``cluster_scores`` lie from what is expected, with the clusters as they are: (R,) each.

    Args:
        gram: of the layer.
        clusters: (n,) int64; None: there are none.
        resamples: R, a multiple of four.
        seed: of the draws.

    Returns:
        NaN where a cluster has fewer than four images.
    """
    names = [one.name for one in resampled(CLUSTERS)]
    if clusters is None or int(torch.bincount(clusters).min()) < LEAST_FOR_INTERVALS:
        return dict.fromkeys(names, torch.full((resamples,), torch.nan, dtype=torch.float64))
    found = score_deviations(clustered(gram, clusters), resamples, seed)
    return {name: found[name.removeprefix(PREFIX)] for name in names}
