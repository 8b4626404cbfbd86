"""How many directions a class's features spread over: the entropy of their spectrum.

Source: section 3 of Cooper et al., arXiv 2511.14981. The released code cuts the spectrum at the class-summed 95 %
dimension first, which keeps practically every component; here all are kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from layerprobe.geometry.class_blocks import ClassBlocks
from layerprobe.geometry.classes import class_batches, class_members
from layerprobe.geometry.strips import Strip, Summary
from layerprobe.records import AnyGram

_EXACT = 64
"""Largest part of a class whose spectrum is computed in every draw; that of larger ones is linearized."""


def spectrum_members(gram: AnyGram) -> list[Tensor]:
    """Row numbers of each class's images, in order of class, in the sample that the spectra are of.

    That is the second sample where the Gram matrix has one, with its images class after class.
    """
    if gram.class_blocks is None:
        return class_members(gram.known_labels)
    sizes = [len(block) for block in gram.class_blocks]
    return list(torch.split(torch.arange(sum(sizes)), sizes))


def spectrum_blocks(gram: AnyGram, places: Tensor, rows: Tensor) -> Tensor:
    """What the spectra of classes are computed from: inner products of their features, less any common vector.

    Args:
        gram: of the layer.
        places: (g,) of classes of equal size among ``spectrum_members``.
        rows: (g, m), their images there.

    Returns:
        (g, m, m) float64.
    """
    if gram.class_blocks is None:
        return gram.within(rows)
    return torch.stack([gram.class_blocks[place].double() for place in places.tolist()])


def double_centre(block: Tensor) -> Tensor:
    """Products of features centred on their own mean, from products of features: (..., n, n) both."""
    block = block - block.mean(dim=-2, keepdim=True)
    return block - block.mean(dim=-1, keepdim=True)


def spectral_entropy(spectrum: Tensor) -> float:
    """H = -sum_k p_k ln p_k with p_k = lambda_k / sum(lambda), in nats, from 0 to ln(number of values).

    NaN where there is no variance: identical images, or a single one.

    Examples:
        >>> round(spectral_entropy(torch.ones(8)), 4), round(spectral_entropy(torch.tensor([5.0, 0.0])), 4)
        (2.0794, 0.0)
    """
    total = spectrum.sum()
    if len(spectrum) == 0 or total <= 0:
        return float("nan")
    return float(torch.special.entr(spectrum / total).sum())


def spectral_entropies(blocks: Tensor, dimension: int) -> Tensor:
    """The spectral entropy of each of many sets of images.

    The squared singular values of features that are centred on their mean are the eigenvalues of the double-centred
    block of their inner products. All beyond the first min(m - 1, D) are zero but for rounding. Two images have one
    alone, and so the entropy zero.

    Args:
        blocks: (g, m, m) inner products of the features of m images each, less any common vector.
        dimension: D.

    Returns:
        (g,) float64; NaN where there is no variance.
    """
    images = blocks.shape[-1]
    blocks = double_centre(blocks)
    if images == 2:
        return torch.where(blocks.diagonal(dim1=-2, dim2=-1).sum(dim=-1) > 0, 0.0, torch.nan).double()
    values = torch.linalg.eigvalsh(blocks).flip(-1)[..., : min(images - 1, dimension)].clamp_min(0)
    total = values.sum(dim=-1)
    entropies: Tensor = torch.special.entr(values / total[..., None]).sum(dim=-1)
    return torch.where(total > 0, entropies, torch.nan)


def is_linearized(images: Tensor) -> Tensor:
    """Whether the spectrum of so many drawn images of a class is too expensive to be computed in every draw."""
    return images > _EXACT


def decomposed(gram: AnyGram, place: int, block: Tensor) -> tuple[Tensor, Tensor]:
    """The entropy of a class, and its influence function: what every image does to it.

    h_i = -n sum_k (ln p_k + H) p_k v_ki^2, v_k the k-th eigenvector of the class's centred block.

    Args:
        gram: of the layer.
        place: of the class among ``spectrum_members``.
        block: (n, n) products of its images.

    Returns:
        (), and (n,), float64.
    """
    kept = kept_decompositions(gram)
    if kept is not None and place in kept:
        return kept[place]
    values, vectors = torch.linalg.eigh(double_centre(block))
    values = values.clamp_min(0)
    p = values / values.sum()
    entropy: Tensor = torch.special.entr(p).sum()
    slope = torch.where(p > 0, p * (p.log() + entropy), 0.0)
    found = entropy, -len(block) * (vectors.square() @ slope)
    if kept is not None:
        kept[place] = found
    return found


@dataclass(frozen=True)
class Decompositions:
    """A place to keep what ``decomposed`` gives of each class, for what asks for it later; not gathered of strips."""

    def begin(self, gram: AnyGram) -> Decompositions:
        """Gather nothing."""
        return self

    def add(self, strip: Strip) -> None:
        """Gather nothing."""

    def result(self) -> dict[int, tuple[Tensor, Tensor]]:
        """What is known, by the place of a class: nothing so far."""
        return {}


def kept_decompositions(gram: AnyGram) -> dict[int, tuple[Tensor, Tensor]] | None:
    """The place to keep them; None where there is none."""
    kept: dict[int, tuple[Tensor, Tensor]] | None = getattr(gram, "found", {}).get(Decompositions())
    return kept


@dataclass(frozen=True)
class ClassEntropies:
    """How far the classes' features spread.

    Attributes:
        absolute: mean_c H_c, in nats.
        relative: mean_c H_c / ln(min(n_c - 1, D)), the share of the largest value that H_c can take; in [0, 1].
    """

    absolute: float
    relative: float


def largest_entropy(images: int, dimension: int) -> float:
    """ln(min(n_c - 1, D)): H_c of as many equal values as n_c centred features of D dimensions can have."""
    return math.log(max(min(images - 1, dimension), 1))


def class_entropies(gram: AnyGram) -> ClassEntropies:
    """The spectral entropy of each class's features, averaged over classes; n_c is that of the sample they are of.

    NaN where a class has no variance; ``relative`` is NaN too where a class can have one value only.
    """
    members = spectrum_members(gram)
    entropies, largest = torch.empty(2, len(members), dtype=torch.float64)
    for places, rows in class_batches(members, lambda size: size**2):
        blocks = spectrum_blocks(gram, places, rows)
        if rows.shape[1] > 2 * _EXACT and kept_decompositions(gram) is not None:
            found = [decomposed(gram, place, block)[0] for place, block in zip(places.tolist(), blocks, strict=True)]
            entropies[places] = torch.stack(found)
        else:
            entropies[places] = spectral_entropies(blocks, gram.dimension)
        largest[places] = largest_entropy(rows.shape[1], gram.dimension) or math.nan
    return ClassEntropies(float(entropies.mean()), float((entropies / largest).mean()))


def summaries(gram: AnyGram) -> tuple[Summary, ...]:
    """What ``class_entropies`` gathers."""
    return (ClassBlocks(),) if gram.class_blocks is None else ()


def absolute_entropy(entropies: ClassEntropies) -> float:
    """mean_c H_c, in nats."""
    return entropies.absolute


def relative_entropy(entropies: ClassEntropies) -> float:
    """mean_c H_c / ln(min(n_c - 1, D))."""
    return entropies.relative
