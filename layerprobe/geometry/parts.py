"""The parts of the scores, from many parts of one sample at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from layerprobe.geometry.class_blocks import ClassBlocks
from layerprobe.geometry.classes import class_batches, class_members
from layerprobe.geometry.cosines import Forms, class_cosines
from layerprobe.geometry.gram import norms
from layerprobe.geometry.nearest import listed_others
from layerprobe.geometry.part_entropies import class_entropies_of_parts
from layerprobe.geometry.part_minima import gaps_of_parts, least_cosines_of_parts
from layerprobe.geometry.spectrum import Decompositions, largest_entropy, spectrum_members
from layerprobe.geometry.strips import Summary, gathered
from layerprobe.records import AnyGram


def part_statistics(gram: AnyGram, drawn: Tensor, drawn_for_spectra: Tensor | None = None) -> dict[str, Tensor]:
    """What the scores are made of, of many parts of the sample.

    The entropy of more than 64 images of a class is linearized, see ``class_entropies_of_parts``.

    Args:
        gram: of the layer.
        drawn: (R, n) bool, true where an image belongs to a part.
        drawn_for_spectra: the same of the second sample, where the Gram matrix has one: (R, m), class after class.

    Returns:
        ``separation``, ``min-intra-cosine``, ``spectral-entropy``, ``relative-entropy``, ``class-gap`` and
        ``feature-norm`` as ``measure`` gives them, (R,) float64 each; ``relative-entropy`` is relative to the largest
        entropy of the whole class. NaN where a class has fewer than two drawn images.
    """
    members = class_members(gram.known_labels)
    if gram.class_blocks is not None and drawn_for_spectra is None:
        raise ValueError("the spectra are of a second sample: its parts must be drawn, too")
    entropies = class_entropies_of_parts(gram, drawn if drawn_for_spectra is None else drawn_for_spectra)
    largest = [largest_entropy(len(rows), gram.dimension) or math.nan for rows in spectrum_members(gram)]
    return {
        "separation": _separations(gram, drawn, members),
        "min-intra-cosine": least_cosines_of_parts(gram, drawn, members).mean(dim=0),
        "spectral-entropy": entropies.mean(dim=0),
        "relative-entropy": (entropies / torch.tensor(largest, dtype=torch.float64)[:, None]).mean(dim=0),
        "class-gap": gaps_of_parts(gram, drawn, members).mean(dim=0),
        "feature-norm": _mean_lengths(norms(gram), drawn, members),
    }


def summaries(gram: AnyGram, drawn: Tensor) -> tuple[Summary, ...]:
    """What ``part_statistics`` gathers."""
    return ClassBlocks(), Decompositions(), PartCosines(drawn), listed_others(gram)


def _separations(gram: AnyGram, drawn: Tensor, members: Sequence[Tensor]) -> Tensor:
    """Per part the mean over classes of intra-class cosines, less that over pairs of classes of those between them."""
    within, intra = (torch.zeros(len(drawn), dtype=torch.float64) for _ in range(2))
    for _, rows in class_batches(members, lambda size: size * max(size, len(drawn))):
        part = drawn[:, rows].transpose(0, 1).float()
        count = part.sum(dim=2).double()
        block = class_cosines(gram, rows).float()
        pairs = (torch.bmm(part, block).double() * part).sum(dim=2)
        alone = torch.bmm(part.double(), block.diagonal(dim1=1, dim2=2).double()[:, :, None]).squeeze(2)
        within += (pairs / count.square()).sum(dim=0)
        intra += ((pairs - alone) / (count * (count - 1))).sum(dim=0)
    classes = len(members)
    if classes == 1:
        return torch.full_like(intra, torch.nan)
    total: Tensor = gathered(gram, PartCosines(drawn))
    separations: Tensor = intra / classes - (total - within) / (classes * (classes - 1))
    return separations


@dataclass(frozen=True, eq=False)
class PartCosines:
    """Per part the sum over all pairs of classes, each with itself included, of the mean cosine between them.

    Attributes:
        drawn: (R, n) bool, true where an image belongs to a part.
    """

    drawn: Tensor

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PartCosines) and self.drawn is other.drawn

    def __hash__(self) -> int:
        return id(self.drawn)

    def begin(self, gram: AnyGram) -> Forms:
        """Gather it, from the first strip on: a quadratic form with the weights 1 / m_c of m_c drawn images."""
        weights = torch.zeros(self.drawn.shape)
        for _, rows in class_batches(class_members(gram.known_labels), lambda size: size * len(self.drawn)):
            part = self.drawn[:, rows].float()
            weights[:, rows.flatten()] = (part / part.sum(dim=2, keepdim=True)).flatten(1)
        return Forms(weights)


def _mean_lengths(lengths: Tensor, drawn: Tensor, members: Sequence[Tensor]) -> Tensor:
    """Per part the mean over classes of the mean length of the drawn images' features."""
    means = torch.zeros(len(drawn), dtype=torch.float64)
    for _, rows in class_batches(members, lambda size: size * len(drawn)):
        part = drawn[:, rows].transpose(0, 1).double()
        means += (torch.bmm(part, lengths[rows, None]).squeeze(2) / part.sum(dim=2)).sum(dim=0) / len(members)
    return means
