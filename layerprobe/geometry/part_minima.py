"""The least cosines and distances of the classes, in many parts of one sample at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from layerprobe.geometry.classes import class_batches
from layerprobe.geometry.cosines import class_cosines
from layerprobe.geometry.gram import Lengths, distances_from
from layerprobe.geometry.nearest import listed_others
from layerprobe.geometry.strips import gathered
from layerprobe.records import AnyGram

_LISTS = (64, 4096, 10**9)
"""Pairs of a class that are looked at, most different first, until both of one are drawn: the first few mostly settle
it, but one image far from all others has a part in hundreds."""
_AT_ONCE = 2**22
"""Numbers that lie in memory together: 32 MB."""


def least_cosines_of_parts(gram: AnyGram, drawn: Tensor, members: Sequence[Tensor]) -> Tensor:
    """The least absolute cosine of two drawn images of every class, in every part.

    Args:
        gram: of the layer.
        drawn: (R, n) bool, which images belong to a part.
        members: row numbers of each class's images.

    Returns:
        (classes, R) float64; NaN where fewer than two images are drawn.
    """
    least = torch.empty(len(members), len(drawn), dtype=torch.float64)
    for places, rows in class_batches(members, lambda size: size**2 + _LISTS[0] * len(drawn)):
        upper = torch.triu_indices(rows.shape[1], rows.shape[1], offset=1)
        values = class_cosines(gram, rows)[:, upper[0], upper[1]]
        least[places] = _first_drawn(values, rows[:, upper], drawn)
    return least


def _first_drawn(values: Tensor, pairs: Tensor, drawn: Tensor) -> Tensor:
    """Of each class per part, (g, R), the least value, of (g, P), of a pair (g, 2, P) whose images are both drawn."""
    least = torch.full((len(values), len(drawn)), torch.nan, dtype=torch.float64)
    for count in _LISTS:
        missing = torch.nonzero(least.isnan())
        near = values.topk(min(count, values.shape[1]), largest=False)
        if len(missing) == 0 or near.values.shape[1] == 0:
            break
        listed = pairs.gather(2, near.indices[:, None].expand(-1, 2, -1))
        for some in torch.split(missing, max(_AT_ONCE // near.values.shape[1], 1)):
            own, draw = some.unbind(dim=1)
            both = drawn[draw[:, None], listed[own, 0]] & drawn[draw[:, None], listed[own, 1]]
            first = near.values[own, both.int().argmax(dim=1)]
            least[own, draw] = torch.where(both.any(dim=1), first, torch.nan)
    return least


def gaps_of_parts(gram: AnyGram, drawn: Tensor, members: Sequence[Tensor]) -> Tensor:
    """The least distance of a drawn image of every class to a drawn one of another class, in every part.

    Args:
        gram: of the layer.
        drawn: (R, n) bool, which images belong to a part.
        members: row numbers of each class's images.

    Returns:
        (classes, R) float64; NaN where no image of the class, or of all others, is drawn.
    """
    distances, others = gathered(gram, listed_others(gram))
    of_images = _nearest_drawn(distances, others, drawn.T.contiguous())
    own = torch.empty(len(drawn.T), dtype=torch.int64)
    gaps = torch.empty(len(members), len(drawn), dtype=torch.float64)
    for places, rows in class_batches(members, lambda size: size * len(drawn)):
        own[rows] = places[:, None]
        gaps[places] = of_images[rows].amin(dim=1)
    # Only an image with none of its nearest drawn, the last of which is nearer than the gap so far, may have a lesser.
    unsettled = drawn.T & of_images.isinf() & (distances[:, -1:] < gaps[own])
    for some in torch.split(torch.nonzero(unsettled), max(_AT_ONCE // len(own), 1)):
        image, draw = some.unbind(dim=1)
        least = _distances_to_others(gram, image).masked_fill_(~drawn[draw], torch.inf).amin(dim=1)
        gaps.view(-1).scatter_reduce_(0, own[image] * len(drawn) + draw, least, "amin")
    return torch.where(gaps.isinf(), torch.nan, gaps).sqrt()


def _distances_to_others(gram: AnyGram, images: Tensor) -> Tensor:
    """``|f_i - f_j|^2`` from some images i to images j of other classes, (m, n); infinite within a class."""
    lengths = Lengths.of(gram)
    distances = distances_from(gram.rows(images), lengths[images], lengths)
    return distances.masked_fill_(gram.known_labels[images, None] == gram.known_labels, torch.inf)


def _nearest_drawn(distances: Tensor, others: Tensor, drawn: Tensor) -> Tensor:
    """Of each drawn image per part, (n, R), the least of its listed distances (n, K) to a drawn one; else infinite.

    Args:
        distances: ascending.
        others: (n, K), the images that they lead to.
        drawn: (n, R).
    """
    least = torch.full(drawn.shape, torch.inf, dtype=torch.float64)
    for place in reversed(range(distances.shape[1])):
        least = torch.where(drawn[others[:, place]], distances[:, place, None], least)
    return least.masked_fill_(~drawn, torch.inf)
