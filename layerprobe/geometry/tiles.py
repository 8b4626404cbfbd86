"""A Gram matrix that is too large to lie in memory: its products are taken strip by strip, as often as it is swept."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from layerprobe.geometry.class_blocks import ClassBlocks, StoredBlocks
from layerprobe.geometry.gram import STRIP, TOO_LARGE, ColumnSums, add_products, not_finite
from layerprobe.geometry.strips import Summary, sweep
from layerprobe.records import AnyGram

Columns = Callable[[], Iterable[Tensor]]
"""Reads a layer's n x D feature matrix in blocks of columns (n, d), from the first on, whenever it is called."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TiledGram(AnyGram):
    """The Gram matrix of a layer whose (n, n) products are never in memory together.

    Attributes:
        blocks: gives the centred features in blocks of columns (n, d), float32, on the device.
        height: rows whose products are taken from the blocks together, a multiple of ``STRIP``.
        device: where they are taken.
        lengths: (n,) float64, what ``squares`` gives; filled in the first sweep.
        found: what has been gathered in sweeps.
    """

    blocks: Columns
    height: int
    device: torch.device | None
    lengths: Tensor
    found: dict[Summary, Any] = field(default_factory=dict)

    @property
    def squares(self) -> Tensor:
        """(n,) float64, the squared lengths of the centred features; in a sweep, those up to the present strip."""
        return self.lengths

    def gather(self, summaries: Sequence[Summary]) -> None:
        """Gather in one sweep what statistics will ask for."""
        lacking = [one for one in dict.fromkeys(summaries) if one not in self.found]
        if lacking:
            self.found.update(zip(lacking, sweep(self, lacking), strict=True))

    def strips(self, height: int) -> Iterator[tuple[int, Tensor]]:
        """The lower triangle in strips, as ``Gram.strips``.

        Raises:
            NotFiniteError: after the last strip, if features were too large for their products.
        """
        finite = torch.ones(self.images, dtype=torch.bool)
        for start, lower in self._tall_strips():
            for first in range(0, len(lower), height):
                products = lower[first : first + height, : start + first + height]
                here = slice(start + first, start + first + len(products))
                self.lengths[here] = products[:, here].diagonal()
                if not math.isfinite(products.sum()):
                    finite[here] &= products.isfinite().all(dim=1)
                    finite[: here.stop] &= products.isfinite().all(dim=0)
                if bool(finite.all()):
                    yield here.start, products
        if not bool(finite.all()):
            raise not_finite({TOO_LARGE}, finite)

    def _tall_strips(self) -> Iterator[tuple[int, Tensor]]:
        """As high as the memory permits: features may have to be read for each."""
        for start in range(0, self.images, self.height):
            stop = min(start + self.height, self.images)
            lower = torch.zeros(stop - start, stop, dtype=torch.float64, device=self.device)
            for block in self.blocks():
                add_products(lower, block, start)
            yield start, lower.cpu()

    def rows(self, images: Tensor) -> Tensor:
        """(m, n): the products of some images with all."""
        return sum((block[images] @ block.T).double().cpu() for block in self.blocks())  # type: ignore[return-value]

    def within(self, members: Tensor) -> Tensor:
        """(g, m, m): of whole classes, (g, m), the products of the images of each."""
        self.gather([ClassBlocks()])
        blocks: StoredBlocks = self.found[ClassBlocks()]
        return blocks.of(members)


def tiled_gram(
    columns: Columns,
    labels: Tensor | None,
    population: int,
    memory: float,
    device: torch.device | None = None,
    class_blocks: tuple[Tensor, ...] | None = None,
) -> TiledGram:
    """Prepare the Gram matrix of a layer without keeping it.

    A first pass over the columns takes their means, and the lengths of the images. Features that fit a half of the
    memory stay there, in float32; others are read again for every strip, which is then as high as the memory permits.

    Args:
        columns: reads the feature matrix.
        labels: (n,) integer class labels; None: the images have none.
        population: N, the number of images in the split that the sample was drawn from.
        memory: bytes that features and a strip may take.
        device: where the products are taken; default: the CPU.
        class_blocks: of a second sample, as in ``Gram``.

    Raises:
        NotFiniteError: if features are infinite or NaN.
        ValueError: if there is no block, or a block's number of rows isn't that of the others.
    """
    sums: ColumnSums | None = None
    kept: list[Tensor] | None = []
    for block in columns():
        sums = sums or ColumnSums(len(block), device)
        centred = sums.add(block)
        del block
        if centred is None:
            kept = None
        elif kept is not None:
            kept.append(centred)
            kept = kept if sum(one.nbytes for one in kept) <= memory / 2 else None
    if sums is None:
        raise ValueError("there are no features")
    n = len(sums.squared_norms)
    if sums.broken:
        raise not_finite(sums.broken, sums.squared_norms.isfinite())
    height = STRIP if kept else max(int(memory / 2 / 8 / n) // STRIP, 1) * STRIP
    return TiledGram(
        mean_products=sums.mean_products.cpu(),
        mean_square=sums.mean_square,
        squared_norms=sums.squared_norms.cpu(),
        labels=None if labels is None else labels.cpu(),
        dimension=sums.dimension,
        population=population,
        class_blocks=class_blocks,
        blocks=(lambda: kept) if kept else lambda: _centred(columns, device),
        height=min(height, -(-n // STRIP) * STRIP),
        device=device,
        lengths=torch.full((n,), torch.nan, dtype=torch.float64),
    )


def _centred(columns: Columns, device: torch.device | None) -> Iterator[Tensor]:
    for block in columns():
        block = block.to(device=device, dtype=torch.float32)
        yield block - block.mean(dim=0)
