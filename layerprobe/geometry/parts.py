"""The parts of the scores, from many parts of one sample at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from layerprobe.geometry.gram import absolute_cosines, class_members, norms, squared_distances
from layerprobe.geometry.spectrum import double_centre, largest_entropy, spectrum_blocks
from layerprobe.records import Gram

_NEAREST = 128
"""Pairs of images of different classes that are looked at: that both of one are drawn is as good as certain."""
_LISTS = (64, 4096, 10**9)
"""Pairs that are looked at, nearest first, until both of one are drawn: the first few mostly settle it, but one image
far from all others has a part in hundreds."""
_EXACT = 64
"""Largest part of a class whose spectrum is computed in every draw; that of larger ones is linearized."""


def part_statistics(gram: Gram, drawn: Tensor, drawn_for_spectra: Tensor | None = None) -> dict[str, Tensor]:
    """What the scores are made of, of many parts of the sample.

    The entropy of more than 64 images is linearized: H + (mean of h_i over the drawn images), with H that of the class,
    h_i = -n sum_k (ln p_k + H) p_k v_ki^2 its influence function, v_k the k-th eigenvector of the class's
    Gram block. Its level is then that of the whole class; its spread agrees with that of exact parts within a few
    tenths, and is a minor part of that of Q.

    Args:
        gram: of the layer.
        drawn: (R, n) bool, true where an image belongs to a part.
        drawn_for_spectra: the same of the second sample, where the Gram matrix has one: (R, m), class after class.

    Returns:
        ``separation``, ``min-intra-cosine``, ``spectral-entropy``, ``relative-entropy``, ``class-gap`` and
        ``feature-norm`` as ``measure`` gives them, (R,) float64 each; ``relative-entropy`` is relative to the largest
        entropy of the whole class. NaN where a class has fewer than two drawn images.
    """
    members = class_members(gram.labels)
    cosines = absolute_cosines(gram)
    lengths = norms(gram)
    entropies, largest = [], []
    for block, part in zip(spectrum_blocks(gram), _parts_of_classes(gram, drawn, drawn_for_spectra), strict=True):
        entropies.append(_entropies(block, gram.dimension, part))
        largest.append(largest_entropy(len(block), gram.dimension) or math.nan)
    return {
        "separation": _separations(cosines, drawn, members),
        "min-intra-cosine": _mean([_least_cosine(cosines, drawn, rows) for rows in members]),
        "spectral-entropy": _mean(entropies),
        "relative-entropy": _mean([values / most for values, most in zip(entropies, largest, strict=True)]),
        "class-gap": _mean([_gap(gram, drawn, rows) for rows in members]),
        "feature-norm": _mean([_masked_mean(lengths[rows], drawn[:, rows]) for rows in members]),
    }


def _parts_of_classes(gram: Gram, drawn: Tensor, drawn_for_spectra: Tensor | None) -> Sequence[Tensor]:
    """Of each class, (R, n_c), which images of the sample that its spectrum is of belong to a part."""
    if gram.class_blocks is None:
        return [drawn[:, rows] for rows in class_members(gram.labels)]
    if drawn_for_spectra is None:
        raise ValueError("the spectra are of a second sample: its parts must be drawn, too")
    return torch.split(drawn_for_spectra, [len(block) for block in gram.class_blocks], dim=1)


def _mean(of_classes: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(of_classes)).mean(dim=0)


def _separations(cosines: Tensor, drawn: Tensor, members: Sequence[Tensor]) -> Tensor:
    """Per part the mean over classes of intra-class cosines, less that over pairs of classes of those between them."""
    weights = torch.zeros(drawn.shape)
    for rows in members:
        weights[:, rows] = drawn[:, rows] / drawn[:, rows].sum(dim=1, keepdim=True)
    # With weights 1 / m_c the quadratic form sums the means between all ordered pairs of classes, itself included.
    total = ((weights @ cosines.float()).double() * weights).sum(dim=1)
    within = torch.zeros_like(total)
    intra = torch.zeros_like(total)
    for rows in members:
        block, part = cosines[rows[:, None], rows].float(), drawn[:, rows].float()
        count = part.sum(dim=1).double()
        pairs = ((part @ block).double() * part).sum(dim=1)
        within += pairs / count.square()
        intra += (pairs - (part.double() @ block.diagonal().double())) / (count * (count - 1))
    classes = len(members)
    if classes == 1:
        return torch.full_like(total, torch.nan)
    return intra / classes - (total - within) / (classes * (classes - 1))


def _least_cosine(cosines: Tensor, drawn: Tensor, rows: Tensor) -> Tensor:
    """Per part the least absolute cosine of two drawn images of a class."""
    upper = torch.triu_indices(len(rows), len(rows), offset=1)
    first, second = rows[upper[0]], rows[upper[1]]
    return _first_drawn(cosines[first, second], first, second, drawn)


def _gap(gram: Gram, drawn: Tensor, rows: Tensor) -> Tensor:
    """Per part the least distance of a drawn image of a class to a drawn one of another class."""
    distances = squared_distances(gram, rows)
    distances[:, rows] = torch.inf
    # As many pairs as there are rows up to it are no farther than the limit: a pass is faster than sorting millions.
    nearest = distances.min(dim=1).values.sort().values
    near = torch.nonzero(distances <= nearest[min(_NEAREST, len(nearest)) - 1])
    gaps = _first_drawn(distances[near[:, 0], near[:, 1]], rows[near[:, 0]], near[:, 1], drawn)
    for number in torch.nonzero(torch.isnan(gaps)).flatten().tolist():
        part = distances[drawn[number, rows]][:, drawn[number]]
        gaps[number] = part.min() if part.isfinite().any() else torch.nan
    return gaps.sqrt()


def _first_drawn(values: Tensor, first: Tensor, second: Tensor, drawn: Tensor) -> Tensor:
    """Per part the least value of a listed pair whose two images are both drawn; NaN without such a pair."""
    least = torch.full((len(drawn),), torch.nan, dtype=torch.float64)
    for count in _LISTS:
        missing = torch.isnan(least)
        near = values.topk(min(count, len(values)), largest=False)
        if not bool(missing.any()) or len(near.values) == 0:
            break
        both = drawn[missing][:, first[near.indices]] & drawn[missing][:, second[near.indices]]
        least[missing] = torch.where(both.any(dim=1), near.values[both.int().argmax(dim=1)], torch.nan)
    return least


def _entropies(block: Tensor, dimension: int, part: Tensor) -> Tensor:
    """Per part, (R, n_c), the spectral entropy of a class's drawn images."""
    counts = part.sum(dim=1)
    entropies = torch.empty(len(part), dtype=torch.float64)
    large = counts > _EXACT
    if bool(large.any()):
        entropies[large] = _linearized_entropies(block, part[large])
    for count in torch.unique(counts[~large]).tolist():
        same = counts == count
        entropies[same] = _exact_entropies(block, dimension, part[same])
    return entropies


def _exact_entropies(block: Tensor, dimension: int, part: Tensor) -> Tensor:
    chosen = torch.nonzero(part)[:, 1].reshape(len(part), -1)
    blocks = double_centre(block[chosen[:, :, None], chosen[:, None, :]])
    values = torch.linalg.eigvalsh(blocks).flip(1)[:, : min(chosen.shape[1] - 1, dimension)].clamp_min(0)
    p = values / values.sum(dim=1, keepdim=True)
    entropies: Tensor = torch.special.entr(p).sum(dim=1)
    return torch.where(values.sum(dim=1) > 0, entropies, torch.nan)


def _linearized_entropies(block: Tensor, part: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(double_centre(block))
    values = values.clamp_min(0)
    p = values / values.sum()
    entropy: Tensor = torch.special.entr(p).sum()
    slope = torch.where(p > 0, p * (p.log() + entropy), 0.0)
    influence = -len(block) * (vectors.square() @ slope)
    return entropy + _masked_mean(influence, part)


def _masked_mean(values: Tensor, part: Tensor) -> Tensor:
    """(R,) means of values (m,) over the drawn images, part (R, m)."""
    means: Tensor = part.double() @ values.double() / part.sum(dim=1)
    return means
