"""The spectral entropies of the classes, in many parts of one sample at once."""

from __future__ import annotations

import torch
from torch import Tensor

from layerprobe.geometry.classes import class_batches
from layerprobe.geometry.spectrum import double_centre, spectral_entropies, spectrum_blocks, spectrum_members
from layerprobe.records import Gram

_EXACT = 64
"""Largest part of a class whose spectrum is computed in every draw; that of larger ones is linearized."""
_AT_ONCE = 2**22
"""Numbers of parts' blocks that lie in memory together: 32 MB."""


def class_entropies_of_parts(gram: Gram, drawn: Tensor) -> Tensor:
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
        entropies[places] = _entropies(blocks, gram.dimension, drawn[:, rows].transpose(0, 1))
    return entropies


def _entropies(blocks: Tensor, dimension: int, parts: Tensor) -> Tensor:
    """Of classes of equal size, from their blocks (g, m, m), per part, (g, R, m), the entropy: (g, R)."""
    counts = parts.sum(dim=2)
    entropies = torch.empty(counts.shape, dtype=torch.float64)
    large = counts > _EXACT
    for number in torch.nonzero(large.any(dim=1)).flatten().tolist():
        entropies[number, large[number]] = _linearized(blocks[number], parts[number, large[number]])
    for count in torch.unique(counts[~large]).tolist():
        for own in torch.split(torch.nonzero(counts == count), max(_AT_ONCE // max(count, 1) ** 2, 1)):
            classes, draws = own.unbind(dim=1)
            entropies[classes, draws] = _exact(blocks, dimension, classes, parts[classes, draws])
    return entropies


def _exact(blocks: Tensor, dimension: int, classes: Tensor, parts: Tensor) -> Tensor:
    """(P,) entropies of as many parts (P, m) of equally many images, of the classes (P,) that each belongs to."""
    chosen = torch.nonzero(parts)[:, 1].reshape(len(parts), -1)
    return spectral_entropies(blocks[classes[:, None, None], chosen[:, :, None], chosen[:, None, :]], dimension)


def _linearized(block: Tensor, part: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(double_centre(block))
    values = values.clamp_min(0)
    p = values / values.sum()
    entropy: Tensor = torch.special.entr(p).sum()
    slope = torch.where(p > 0, p * (p.log() + entropy), 0.0)
    influence = -len(block) * (vectors.square() @ slope)
    means: Tensor = part.double() @ influence / part.sum(dim=1)
    return entropy + means
