"""The spectral entropies of the classes, in many parts of one sample at once."""

from __future__ import annotations

import torch
from torch import Tensor

from layerprobe.geometry.classes import class_batches
from layerprobe.geometry.spectrum import (
    decomposed,
    is_linearized,
    spectral_entropies,
    spectrum_blocks,
    spectrum_members,
)
from layerprobe.records import AnyGram

_AT_ONCE = 2**22
"""Numbers of parts' blocks that lie in memory together: 32 MB."""


def class_entropies_of_parts(gram: AnyGram, drawn: Tensor) -> Tensor:
    """The spectral entropy of the drawn images of every class.

    The entropy of more than 64 images is linearized: H + (mean of h_i over the drawn images), with H that of the class,
    h_i = -n sum_k (ln p_k + H) p_k v_ki^2 its influence function, v_k the k-th eigenvector of the class's
    Gram block. Its level is then that of the whole class; its spread agrees with that of exact parts within a few
    tenths, and is a minor part of that of Q.

    Args:
        gram: of the layer.
        drawn: (R, m) bool, which images of the sample that the spectra are of belong to a part.

    Returns:
        (classes, R) float64; NaN without variance, or where fewer than two images are drawn.
    """
    members = spectrum_members(gram)
    entropies = torch.empty(len(members), len(drawn), dtype=torch.float64)
    for places, rows in class_batches(members, lambda size: size * max(size, len(drawn))):
        blocks = spectrum_blocks(gram, places, rows)
        parts = drawn[:, rows].transpose(0, 1)
        counts = parts.sum(dim=2)
        large = is_linearized(counts)
        found = _exact_entropies(blocks, gram.dimension, parts, torch.where(large, 0, counts))
        for number in torch.nonzero(large.any(dim=1)).flatten().tolist():
            entropy, influence = decomposed(gram, int(places[number]), blocks[number])
            part = parts[number, large[number]]
            found[number, large[number]] = entropy + part.double() @ influence / part.sum(dim=1)
        entropies[places] = found
    return entropies


def _exact_entropies(blocks: Tensor, dimension: int, parts: Tensor, counts: Tensor) -> Tensor:
    """Of classes of equal size, from their blocks (g, m, m), per part, (g, R, m), the entropy: (g, R).

    Args:
        blocks: products of their images.
        dimension: D.
        parts: which images are drawn.
        counts: (g, R), how many; 0 where the entropy is not asked for, and is NaN.
    """
    entropies = torch.full(counts.shape, torch.nan, dtype=torch.float64)
    for count in torch.unique(counts[counts > 0]).tolist():
        for own in torch.split(torch.nonzero(counts == count), max(_AT_ONCE // max(count, 1) ** 2, 1)):
            classes, draws = own.unbind(dim=1)
            entropies[classes, draws] = _exact(blocks, dimension, classes, parts[classes, draws])
    return entropies


def _exact(blocks: Tensor, dimension: int, classes: Tensor, parts: Tensor) -> Tensor:
    """(P,) entropies of as many parts (P, m) of equally many images, of the classes (P,) that each belongs to."""
    chosen = torch.nonzero(parts)[:, 1].reshape(len(parts), -1)
    return spectral_entropies(blocks[classes[:, None, None], chosen[:, :, None], chosen[:, None, :]], dimension)
