"""Features to Gram matrix, and the distances, norms and cosines that every statistic is made of."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from itertools import chain

import torch
from torch import Tensor

from layerprobe.records import Gram

_log = logging.getLogger(__name__)

_CHUNK = 512
"""Rows that are multiplied at a time: fewer save more of the symmetric half, more keep the processors busier."""
_ROWS = 64
"""Rows that pointwise work is done on at a time, so that they stay in the cache."""
TOO_LARGE = "values whose products exceed float32"
_RESOLUTION = 5e-7
"""Of a squared distance, relative to the sum of both squared lengths: some units in the last place of float32."""


class NotFiniteError(ValueError):
    """A layer's features have no Gram matrix. The text says what they hold, and in how many images."""


def gram_matrix(
    columns: Iterable[Tensor], labels: Tensor | None, population: int, device: torch.device | None = None
) -> Gram:
    """Accumulate the Gram matrix of a layer from blocks of its feature columns.

    Every block is centred on its own column means, so the sum over blocks is the Gram matrix of globally centred
    features, whatever D is. Products are float32, everything from there on is float64. (The means are float32 too: the
    products are restored for the centre that was used, whether or not it is the mean to the last digit.) Memory is
    O(n^2) plus one block.

    Args:
        columns: blocks (n, d) of the n x D feature matrix; together they cover its D columns once.
        labels: (n,) integer class labels; None: the images have none.
        population: N, number of images in the split that the sample was drawn from.
        device: where the products are taken; default: the CPU.

    Raises:
        NotFiniteError: if features are infinite or NaN, or too large for their products.
        ValueError: if there is no block, or a block's number of rows isn't that of ``labels`` and of the others.

    Examples:
        >>> gram = gram_matrix([torch.tensor([[3.0], [0.0]]), torch.tensor([[4.0], [0.0]])], torch.tensor([0, 1]), 2)
        >>> norms(gram)
        tensor([5., 0.], dtype=torch.float64)
    """
    n, blocks = _count_images(columns, labels)
    centred = torch.zeros(n, n, dtype=torch.float64, device=device)
    mean_products = torch.zeros(n, dtype=torch.float64, device=device)
    squared_norms = torch.zeros(n, dtype=torch.float64, device=device)
    mean_square, dimension = 0.0, 0
    broken: set[str] = set()
    for block in blocks:
        if block.ndim != 2 or len(block) != n:
            raise ValueError(f"a block has shape {tuple(block.shape)}, expected ({n}, columns)")
        block = block.to(device=device, dtype=torch.float32)
        squares = torch.linalg.vecdot(block, block).double()
        squared_norms += squares
        if not math.isfinite(squares.sum()):
            broken |= _what_is_not_finite(block)
        if broken:  # what is left is only counted
            continue
        mean = block.mean(dim=0)
        block = block - mean
        _add_products(centred, block)
        mean_products += (block @ mean).double()
        mean_square += float(mean.double() @ mean.double())
        dimension += block.shape[1]
    _mirror(centred)
    if broken or not math.isfinite(centred.sum()):
        images = ~(squared_norms.isfinite() & centred.isfinite().all(dim=1))
        raise NotFiniteError(f"{' and '.join(sorted(broken or {TOO_LARGE}))} in {int(images.sum())} of {n} images")
    return Gram(
        centred=centred.cpu(),
        mean_products=mean_products.cpu(),
        mean_square=mean_square,
        squared_norms=squared_norms.cpu(),
        labels=None if labels is None else labels.cpu(),
        dimension=dimension,
        population=population,
    )


def _count_images(columns: Iterable[Tensor], labels: Tensor | None) -> tuple[int, Iterable[Tensor]]:
    """How many images there are, which the first block says where there are no labels; and all the blocks."""
    blocks = iter(columns)
    first = next(blocks, None)
    if first is None:
        raise ValueError("there are no features")
    return len(first) if labels is None else len(labels), chain([first], blocks)


def _what_is_not_finite(block: Tensor) -> set[str]:
    kinds = {"NaN": block.isnan(), "infinite values": block.isinf()}
    return {kind for kind, found in kinds.items() if bool(found.any())} or {TOO_LARGE}


def _add_products(total: Tensor, block: Tensor) -> None:
    """Add ``block @ block.T`` to the lower triangle of ``total``: half of the work of the whole product."""
    for start in range(0, len(block), _CHUNK):
        stop = start + _CHUNK
        total[start:stop, :stop] += block[start:stop] @ block[:stop].T


def _mirror(lower: Tensor) -> None:
    """Fill the upper triangle of a symmetric matrix, in place."""
    for start in range(0, len(lower), _CHUNK):
        stop = start + _CHUNK
        lower[:start, start:stop] = lower[start:stop, :start].T


def norms(gram: Gram) -> Tensor:
    """Euclidean norm of every image's features, |f_i| = sqrt(G_ii); (n,) float64."""
    return gram.squared_norms.sqrt()


def products(gram: Gram) -> Tensor:
    """``<f_i, f_j>`` of the features as they are, not centred; (n, n) float64."""
    return gram.centred + gram.mean_products + gram.mean_products[:, None] + gram.mean_square


def sub_gram(gram: Gram, rows: Tensor) -> Gram:
    """The Gram matrix of some of the images, centred on their own mean.

    Args:
        gram: of all images.
        rows: (m,) int64, which ones.
    """
    block = gram.centred[rows[:, None], rows]
    shift = block.mean(dim=1)  # <f_i - m, m' - m>, with m' the mean of these images
    squared, along = float(shift.mean()), float(gram.mean_products[rows].mean())
    return Gram(
        centred=block - shift - shift[:, None] + squared,
        mean_products=gram.mean_products[rows] - along + shift - squared,
        mean_square=gram.mean_square + 2 * along + squared,
        squared_norms=gram.squared_norms[rows],
        labels=None if gram.labels is None else gram.labels[rows],
        dimension=gram.dimension,
        population=gram.population,
    )


def absolute_cosines(gram: Gram) -> Tensor:
    """``a_ij = |cos(f_i, f_j)|``; (n, n) float64 in [0, 1].

    From 1 - cos = (|f_i - f_j|^2 - (|f_i| - |f_j|)^2) / (2 |f_i| |f_j|), with both differences from the centred
    matrix: the angles between features with a large common offset are small, and would drown in the rounding of
    <f_i, f_j> / (|f_i| |f_j|).

    The cosine with a feature vector of length zero counts as 0, as in ``torch.nn.functional.cosine_similarity``;
    a warning is logged.
    """
    lengths = norms(gram)
    some = lengths > 0
    if (zero := int((~some).sum())) > 0:
        _log.warning("%d of %d images have all-zero features; their cosines count as 0", zero, len(lengths))
    scale = torch.where(some, 1 / lengths, 0.0)
    # |f_i|^2 - |m|^2: of two of these the difference is precise where that of two squared lengths is not.
    squares = gram.centred.diagonal() + 2 * gram.mean_products
    cosines = torch.empty_like(gram.centred)
    for start in range(0, len(cosines), _ROWS):
        rows = slice(start, start + _ROWS)
        sums = (lengths[rows, None] + lengths).clamp_min_(1e-300)
        part = (squares[rows, None] - squares).div_(sums).square_()
        part.sub_(squared_distances(gram, rows)).mul_(scale / 2).mul_(scale[rows, None])
        torch.clamp(part.add_(1).abs_(), max=1, out=cosines[rows])
        if zero:
            cosines[rows].mul_(some).mul_(some[rows, None])
    return cosines


def squared_distances(gram: Gram, rows: Tensor | slice = slice(None)) -> Tensor:
    """``|f_i - f_j|^2``; (rows, n) float64, from the centred matrix, so that an offset costs no precision.

    What lies below the resolution of float32 products, 5e-7 of the two squared lengths, counts as zero: twins have
    distance zero, and distances below a thousandth of the features' spread are not told from it.

    Args:
        gram: the layer's Gram matrix.
        rows: images i; default: all.
    """
    squares = gram.centred.diagonal()
    sums = squares[rows, None] + squares
    distances = torch.add(sums, gram.centred[rows], alpha=-2)
    return distances.masked_fill_(distances <= sums.mul_(_RESOLUTION), 0.0)


def feature_count(gram: Gram) -> float:
    """D, the number of features per image."""
    return float(gram.dimension)
