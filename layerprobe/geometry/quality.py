"""Separation, information, efficiency and knowledge quality of a layer.

Source: section 3 of Cooper et al., arXiv 2511.14981. Departures from the released code: separation averages over
distinct pairs only (the released value is larger by ``self_pairs``), and class spectra are not cut.
"""

from __future__ import annotations

import math

from layerprobe.geometry.cosines import cosine_statistics
from layerprobe.geometry.margins import mean_class_gap, mean_class_norm
from layerprobe.geometry.spectrum import class_entropies
from layerprobe.records import Gram


def information(min_intra: float, entropy: float) -> float:
    """I = (1 - mean_c minintra_c) * mean_c H_c / ln 5.

    The constant ln 5 is the released code's. H grows with the logarithm of the images per class, so I and Q are
    comparable only between samples of the same size.

    Args:
        min_intra: mean over classes of the least absolute cosine between two images of the class.
        entropy: mean over classes of the spectral entropy, in nats.
    """
    return (1 - min_intra) * entropy / math.log(5)


def normalised_information(min_intra: float, relative_entropy: float) -> float:
    """I_n = (1 - mean_c minintra_c) * mean_c (H_c / ln(min(n_c - 1, D))), in [0, 1].

    The released code's ln 5 replaced by the largest value that H_c can take, so that the sample's size matters less.

    Args:
        min_intra: mean over classes of the least absolute cosine between two images of the class.
        relative_entropy: mean over classes of the spectral entropy as a share of its largest value.
    """
    return (1 - min_intra) * relative_entropy


def efficiency(gap: float, norm: float, population: int, components: int) -> float:
    """E = 2 * mean_c gap_c / mean_c norm_c * (N / pi)^(1 / r).

    Args:
        gap: mean over classes of the least distance to another class.
        norm: mean over classes of the mean feature length; 0 gives NaN.
        population: N, the images in the split that the sample was drawn from.
        components: r = min(n, D), the principal components that the sample can have.
    """
    if norm == 0:
        return math.nan
    correction: float = (population / math.pi) ** (1 / components)
    return 2 * gap / norm * correction


def quality(separation: float, information: float, efficiency: float) -> float:
    """Knowledge quality Q = S + sqrt(I * E); with I_n for I it is ``quality_normalised``.

    Example:
        >>> quality(0.5, 4.0, 1.0)
        2.5
    """
    return separation + math.sqrt(information * efficiency)


def measure(gram: Gram) -> dict[str, float]:
    """Every score of one layer, with its parts, by name.

    Returns:
        ``separation``, ``information``, ``efficiency``, ``quality``; ``information_normalised``, ``quality_normalised``
        and ``sqrt_ie``, sqrt(I E); their parts ``intra_cosine``, ``inter_cosine``, ``min_intra_cosine``,
        ``spectral_entropy``, ``relative_entropy``, ``class_gap``, ``feature_norm``, ``dimension`` (D); and
        ``self_pairs``, the term that turns separation into the released code's. NaN where a value is undefined.
    """
    cosines = cosine_statistics(gram)
    entropies = class_entropies(gram)
    gap, norm = mean_class_gap(gram), mean_class_norm(gram)
    components = min(len(gram.labels), gram.dimension)
    i = information(cosines.min_intra, entropies.absolute)
    i_n = normalised_information(cosines.min_intra, entropies.relative)
    e = efficiency(gap, norm, gram.population, components)
    return {
        "separation": cosines.separation,
        "information": i,
        "efficiency": e,
        "quality": quality(cosines.separation, i, e),
        "information_normalised": i_n,
        "quality_normalised": quality(cosines.separation, i_n, e),
        "sqrt_ie": math.sqrt(i * e),
        "intra_cosine": cosines.intra,
        "inter_cosine": cosines.inter,
        "min_intra_cosine": cosines.min_intra,
        "self_pairs": cosines.self_pairs,
        "spectral_entropy": entropies.absolute,
        "relative_entropy": entropies.relative,
        "class_gap": gap,
        "feature_norm": norm,
        "dimension": float(gram.dimension),
    }
