"""Intrinsic dimension from nearest neighbours, in many halves of one sample at once."""

from __future__ import annotations

import torch
from torch import Tensor

from layerprobe.geometry.half_draws import deviations_of_halves, halves
from layerprobe.geometry.nearest import NearestImages
from layerprobe.geometry.neighbours import NEIGHBOURS, mle_dimension, nearest_neighbours, twonn_dimension
from layerprobe.geometry.strips import Summary
from layerprobe.records import AnyGram

_LISTED = 4 * NEIGHBOURS
"""Nearest neighbours of an image that are looked at: that fewer than twenty of eighty lie in a half does not happen."""


def neighbour_deviations(gram: AnyGram, resamples: int, seed: int) -> dict[str, Tensor]:
    """How far ``twonn`` and ``mle`` lie from what is expected, (R,) each.

    A half has neighbours farther apart than the whole, and so perhaps another dimension; only the difference of two
    halves counts.

    Args:
        gram: of the layer.
        resamples: R, a multiple of four.
        seed: of the draws; give every layer of one sample the same.

    Returns:
        NaN with fewer than eight images, whose halves have no two neighbours to compare.
    """
    drawn = halves(gram, resamples, seed)
    images = int(drawn[0].sum())
    if images < 4:
        return dict.fromkeys(("twonn", "mle"), torch.full((len(drawn),), torch.nan, dtype=torch.float64))
    distances, rows = nearest_neighbours(gram, min(_LISTED, gram.images - 1))
    found = [_dimensions(distances[part], part[rows[part]], min(NEIGHBOURS, images - 1)) for part in drawn]
    twonn, mle = torch.tensor(found, dtype=torch.float64).unbind(dim=1)
    return {"twonn": deviations_of_halves(twonn), "mle": deviations_of_halves(mle)}


def summaries(gram: AnyGram, resamples: int, seed: int) -> tuple[Summary, ...]:
    """What ``neighbour_deviations`` gathers."""
    return (NearestImages(min(_LISTED, gram.images - 1)),) if gram.images >= 8 else ()


def _dimensions(distances: Tensor, present: Tensor, count: int) -> tuple[float, float]:
    """Of a half, from the ascending distances (m, K) of its images and which of them lead to images of the half."""
    order = torch.argsort((~present).to(torch.uint8), dim=1, stable=True)[:, :count]
    nearest = distances.gather(1, order).masked_fill(~present.gather(1, order), torch.nan)
    complete = nearest[~nearest.isnan().any(dim=1)]
    return twonn_dimension(complete[complete[:, 0] > 0]), mle_dimension(complete)  # twins were warned of already
