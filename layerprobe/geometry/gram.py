"""Features to Gram matrix, and the distances, norms and cosines that every statistic is made of."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from layerprobe.records import AnyGram, Gram

_log = logging.getLogger(__name__)

STRIP = 512
"""Rows that are multiplied at a time: fewer save more of the symmetric half, more keep the processors busier."""
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
    sums = ColumnSums(n, device)
    for block in blocks:
        if (features := sums.add(block)) is not None:
            add_products(centred, features)
    _mirror(centred)
    if sums.broken or not math.isfinite(centred.sum()):
        raise not_finite(sums.broken or {TOO_LARGE}, sums.squared_norms.isfinite() & centred.isfinite().all(dim=1))
    return Gram(
        centred=centred.cpu(),
        mean_products=sums.mean_products.cpu(),
        mean_square=sums.mean_square,
        squared_norms=sums.squared_norms.cpu(),
        labels=None if labels is None else labels.cpu(),
        dimension=sums.dimension,
        population=population,
    )


class ColumnSums:
    """What is summed over blocks of a layer's feature columns beside the products of two images.

    Args:
        n: how many images there are.
        device: where the sums are taken.

    Attributes:
        squared_norms: (n,) float64, of the features as they are.
        mean_products: (n,) float64, the products of the centred features with their mean.
        mean_square: the squared length of the mean.
        dimension: how many columns there were; those after the first that are not finite don't count.
        broken: what features hold that are not finite; empty: all are.
    """

    def __init__(self, n: int, device: torch.device | None) -> None:
        self.squared_norms = torch.zeros(n, dtype=torch.float64, device=device)
        self.mean_products = torch.zeros(n, dtype=torch.float64, device=device)
        self.mean_square, self.dimension = 0.0, 0
        self.broken: set[str] = set()

    def add(self, block: Tensor) -> Tensor | None:
        """Take a block (n, d); give it on the device, float32 and centred, or None once features are not finite.

        Raises:
            ValueError: if it doesn't have n rows.
        """
        n = len(self.squared_norms)
        if block.ndim != 2 or len(block) != n:
            raise ValueError(f"a block has shape {tuple(block.shape)}, expected ({n}, columns)")
        block = block.to(device=self.squared_norms.device, dtype=torch.float32)
        squares = torch.linalg.vecdot(block, block).double()
        self.squared_norms += squares
        if not math.isfinite(squares.sum()):
            self.broken |= _what_is_not_finite(block)
        if self.broken:  # what is left is only counted
            return None
        mean = block.mean(dim=0)
        block = block - mean
        self.mean_products += (block @ mean).double()
        self.mean_square += float(mean.double() @ mean.double())
        self.dimension += block.shape[1]
        return block


def not_finite(kinds: Collection[str], finite: Tensor) -> NotFiniteError:
    """What is said of a layer without a Gram matrix, given what it holds and which images are finite, (n,) bool."""
    return NotFiniteError(f"{' and '.join(sorted(kinds))} in {int((~finite).sum())} of {len(finite)} images")


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


def add_products(total: Tensor, block: Tensor, first: int = 0) -> None:
    """Add rows of the lower triangle of ``block @ block.T``, half of the work of the whole product.

    Args:
        total: (rows, first + rows or more), those rows from ``first`` on.
        block: (n, d).
        first: a multiple of ``STRIP``, so that every product is taken alike, however many rows there are.
    """
    for start in range(first, first + len(total), STRIP):
        stop = min(start + STRIP, first + len(total))
        total[start - first : stop - first, :stop] += block[start:stop] @ block[:stop].T


def _mirror(lower: Tensor) -> None:
    """Fill the upper triangle of a symmetric matrix, in place."""
    for start in range(0, len(lower), STRIP):
        stop = start + STRIP
        lower[:start, start:stop] = lower[start:stop, :start].T


def norms(gram: AnyGram) -> Tensor:
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


@dataclass(frozen=True, eq=False)
class Lengths:
    """Of images what their distances and cosines take beside the products of two of them, (..., m) float64.

    Attributes:
        squares: |f_i - m|^2, with m the mean of all.
        offsets: |f_i|^2 - |m|^2: of two of these the difference is precise where that of two squared lengths is not.
        norms: |f_i|.
    """

    squares: Tensor
    offsets: Tensor
    norms: Tensor

    @classmethod
    def of(cls, gram: AnyGram) -> Lengths:
        """Those of all images."""
        return cls(gram.squares, gram.squares + 2 * gram.mean_products, norms(gram))

    def __getitem__(self, images: Tensor | slice) -> Lengths:
        return Lengths(self.squares[images], self.offsets[images], self.norms[images])


def distances_from(products: Tensor, first: Lengths, second: Lengths) -> Tensor:
    """``|f_i - f_j|^2`` of images i of the first and j of the second, from their products: all (..., m, k).

    From centred products, so that an offset costs no precision. What lies below the resolution of float32 products,
    5e-7 of the two squared lengths, counts as zero: twins have distance zero, and distances below a thousandth of the
    features' spread are not told from it.
    """
    sums = first.squares[..., :, None] + second.squares[..., None, :]
    distances = torch.add(sums, products, alpha=-2)
    return distances.masked_fill_(distances <= sums.mul_(_RESOLUTION), 0.0)


def cosines_from(distances: Tensor, first: Lengths, second: Lengths) -> Tensor:
    """``a_ij = |cos(f_i, f_j)|`` in [0, 1] of images i of the first and j of the second: all (..., m, k).

    From 1 - cos = (|f_i - f_j|^2 - (|f_i| - |f_j|)^2) / (2 |f_i| |f_j|), with both differences from centred features:
    the angles between features with a large common offset are small, and would drown in the rounding of
    <f_i, f_j> / (|f_i| |f_j|).

    The cosine with a feature vector of length zero counts as 0, as in ``torch.nn.functional.cosine_similarity``.
    """
    ours, theirs = ((one.norms > 0) for one in (first, second))
    scales = [torch.where(some, 1 / one.norms, 0.0) for some, one in ((ours, first), (theirs, second))]
    sums = (first.norms[..., :, None] + second.norms[..., None, :]).clamp_min_(1e-300)
    part = (first.offsets[..., :, None] - second.offsets[..., None, :]).div_(sums).square_()
    part.sub_(distances).mul_((scales[1] / 2)[..., None, :]).mul_(scales[0][..., :, None])
    part.add_(1).abs_().clamp_(max=1)
    if not (bool(ours.all()) and bool(theirs.all())):
        part.mul_(theirs[..., None, :]).mul_(ours[..., :, None])
    return part


def warn_of_zero_features(gram: AnyGram) -> None:
    """Say how many images have cosines that count as 0."""
    if (zero := int((gram.squared_norms == 0).sum())) > 0:
        _log.warning("%d of %d images have all-zero features; their cosines count as 0", zero, gram.images)


def squared_distances(gram: Gram, rows: Tensor | slice = slice(None)) -> Tensor:
    """``|f_i - f_j|^2``; (rows, n) float64, see ``distances_from``.

    Args:
        gram: the layer's Gram matrix.
        rows: images i; default: all.
    """
    lengths = Lengths.of(gram)
    return distances_from(gram.centred[rows], lengths[rows], lengths)


def feature_count(gram: AnyGram) -> float:
    """D, the number of features per image."""
    return float(gram.dimension)
