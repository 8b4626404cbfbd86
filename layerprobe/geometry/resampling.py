"""How the scores of a layer scatter when the images are drawn again: half-samples of the Gram matrix.

A bootstrap draws images twice, and a pair of twins has distance zero: class gaps and neighbour distances break. So half
of each class's images are drawn, without replacement. Of any statistic that is a mean over n images, a half-sample
scatters about the whole sample exactly as the whole sample scatters about the truth: (1 / (n/2) - 1 / n) = 1 / n
(half-sampling: McCarthy 1969; subsampling: Politis, Romano and Wolf 1999). So no factor rescales the spread.

The scores also drift with the number of images: entropy grows, minima fall. An interval is for the score *at the size
of the whole sample*, so only the spread of the half-samples is used, not their level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from layerprobe.geometry.gram import absolute_cosines, class_members, norms, squared_distances
from layerprobe.geometry.quality import efficiency, information
from layerprobe.geometry.spectrum import double_centre
from layerprobe.types import Gram, Interval

SCORES = ("separation", "information", "efficiency", "quality")

_NEAREST = 128
"""Pairs that are listed, nearest first: that both images of one of them are drawn is as good as certain."""
_EXACT = 64
"""Largest half of a class whose spectrum is computed in every half-sample; of larger ones the change is linearized."""


def draw_halves(labels: Tensor, resamples: int, seed: int) -> Tensor:
    """Draw half of each class's images (rounded down) in each resample, without replacement.

    Every layer of one sample must be given the same draws: differences between layers are then paired.

    Args:
        labels: (n,) class labels.
        resamples: R.
        seed: of the draws.

    Returns:
        (R, n) bool, true where an image is drawn.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.zeros(resamples, len(labels), dtype=torch.bool)
    for rows in class_members(labels):
        order = torch.rand(resamples, len(rows), generator=generator).argsort(dim=1)
        drawn[:, rows] = order < len(rows) // 2
    return drawn


def resample_scores(gram: Gram, drawn: Tensor) -> dict[str, Tensor]:
    """S, I, E and Q of every resample.

    Efficiency keeps the exponent 1 / r of the whole sample. The entropy of a class of which more than 64 images are
    drawn is linearized: H + (mean of h_i over the drawn images), with h_i = -n sum_k (ln p_k + H) p_k v_ki^2 its
    influence function, v_k the k-th eigenvector of the class's Gram block. Its level is then that of the whole class;
    its spread agrees with exact half-samples within a few tenths, and it is a minor part of that of Q.

    Args:
        gram: of the layer.
        drawn: (R, n) bool from ``draw_halves``.

    Returns:
        By name, (R,) float64 each. NaN where a class has fewer than two drawn images.
    """
    members = class_members(gram.labels)
    cosines = absolute_cosines(gram)
    intra, inter = _cosine_means(cosines, drawn, members)
    least = torch.stack([_least_cosine(cosines, drawn, rows) for rows in members]).mean(dim=0)
    del cosines
    gap = torch.stack([_gap(gram, drawn, rows) for rows in members]).mean(dim=0)
    entropy = torch.stack([_entropies(gram, drawn, rows) for rows in members]).mean(dim=0)
    lengths = norms(gram)
    length = torch.stack([_masked_mean(lengths[rows], drawn[:, rows]) for rows in members]).mean(dim=0)
    separation = intra - inter
    i = torch.tensor([information(a, b) for a, b in zip(least.tolist(), entropy.tolist(), strict=True)])
    components = min(len(gram.labels), gram.dimension)
    pairs = zip(gap.tolist(), length.tolist(), strict=True)
    e = torch.tensor([efficiency(a, b, gram.population, components) for a, b in pairs])
    return {
        "separation": separation,
        "information": i.double(),
        "efficiency": e.double(),
        "quality": separation + (i * e).double().sqrt(),
    }


def interval(value: float, resampled: Tensor, level: float = 0.9) -> Interval:
    """An interval for a score at the size of the whole sample.

    Args:
        value: the score of the whole sample.
        resampled: (R,) the score of every half-sample.
        level: the share of samples whose interval is meant to hold the expected score.

    Returns:
        The value less the quantiles of the half-samples' deviations from their mean, as in the basic bootstrap. NaN
        where the score is NaN in a resample.
    """
    if bool(torch.isnan(resampled).any()):
        return Interval(float("nan"), float("nan"), level)
    deviation = resampled - resampled.mean()
    tail = (1 - level) / 2
    low, high = torch.quantile(deviation, torch.tensor([tail, 1 - tail], dtype=deviation.dtype)).tolist()
    return Interval(value - high, value - low, level)


def top_shares(resampled: Mapping[str, Tensor], values: Mapping[str, float], top: int) -> dict[str, float]:
    """The share of resamples in which each layer is among the ``top`` layers with the highest score.

    Args:
        resampled: of each layer, (R,) the score of every half-sample, drawn alike in all layers.
        values: the scores of the whole sample: the half-samples' deviations from their mean are added to them.
        top: k.
    """
    names = list(resampled)
    scores = torch.stack([resampled[name] - resampled[name].mean() + values[name] for name in names])
    ranks = torch.nan_to_num(scores, nan=-torch.inf).argsort(dim=0, descending=True).argsort(dim=0)
    shares = (ranks < top).double().mean(dim=1)
    return dict(zip(names, shares.tolist(), strict=True))


def _cosine_means(cosines: Tensor, drawn: Tensor, members: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Per resample the mean over classes of intra-class cosines, and over pairs of classes of those between them."""
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
    return intra / classes, (total - within) / (classes * (classes - 1))


def _least_cosine(cosines: Tensor, drawn: Tensor, rows: Tensor) -> Tensor:
    """Per resample the least absolute cosine of two drawn images of a class."""
    upper = torch.triu_indices(len(rows), len(rows), offset=1)
    first, second = rows[upper[0]], rows[upper[1]]
    values = cosines[first, second]
    near = values.topk(min(_NEAREST, len(values)), largest=False).indices
    least = _first_drawn(values[near], first[near], second[near], drawn)
    for resample in torch.nonzero(torch.isnan(least)).flatten().tolist():
        kept = values[drawn[resample, first] & drawn[resample, second]]
        least[resample] = kept.min() if len(kept) else torch.nan
    return least


def _gap(gram: Gram, drawn: Tensor, rows: Tensor) -> Tensor:
    """Per resample the least distance of a drawn image of a class to a drawn one of another class."""
    distances = squared_distances(gram, rows)
    distances[:, rows] = torch.inf
    # As many pairs as there are rows up to it are no farther than the limit: a pass is faster than sorting millions.
    nearest = distances.min(dim=1).values.sort().values
    near = torch.nonzero(distances <= nearest[min(_NEAREST, len(nearest)) - 1])
    gaps = _first_drawn(distances[near[:, 0], near[:, 1]], rows[near[:, 0]], near[:, 1], drawn)
    for resample in torch.nonzero(torch.isnan(gaps)).flatten().tolist():
        part = distances[drawn[resample, rows]][:, drawn[resample]]
        gaps[resample] = part.min() if part.isfinite().any() else torch.nan
    return gaps.sqrt()


def _first_drawn(values: Tensor, first: Tensor, second: Tensor, drawn: Tensor) -> Tensor:
    """Per resample the least value of a listed pair whose two images are both drawn; NaN without such a pair."""
    if len(values) == 0:
        return torch.full((len(drawn),), torch.nan, dtype=torch.float64)
    values, order = values.sort()
    both = drawn[:, first[order]] & drawn[:, second[order]]
    return torch.where(both.any(dim=1), values[both.int().argmax(dim=1)], torch.nan)


def _entropies(gram: Gram, drawn: Tensor, rows: Tensor) -> Tensor:
    """Per resample the spectral entropy of a class's drawn images."""
    part = drawn[:, rows]
    if int(part[0].sum()) > _EXACT:
        return _linearized_entropies(gram, part, rows)
    chosen = rows[torch.nonzero(part)[:, 1].reshape(len(part), -1)]
    blocks = double_centre(gram.centred[chosen[:, :, None], chosen[:, None, :]])
    values = torch.linalg.eigvalsh(blocks).flip(1)[:, : min(chosen.shape[1] - 1, gram.dimension)].clamp_min(0)
    p = values / values.sum(dim=1, keepdim=True)
    entropies: Tensor = torch.special.entr(p).sum(dim=1)
    return torch.where(values.sum(dim=1) > 0, entropies, torch.nan)


def _linearized_entropies(gram: Gram, part: Tensor, rows: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(double_centre(gram.centred[rows[:, None], rows]))
    values = values.clamp_min(0)
    p = values / values.sum()
    entropy: Tensor = torch.special.entr(p).sum()
    slope = torch.where(p > 0, p * (p.log() + entropy), 0.0)
    influence = -len(rows) * (vectors.square() @ slope)
    return entropy + _masked_mean(influence, part)


def _masked_mean(values: Tensor, part: Tensor) -> Tensor:
    """(R,) means of values (m,) over the drawn images, part (R, m)."""
    means: Tensor = part.double() @ values.double() / part.sum(dim=1)
    return means
