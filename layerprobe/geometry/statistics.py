"""Families of statistics by name: what ``layerprobe rank --statistics`` computes beside the scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from layerprobe.geometry.collapse import within_class_variability
from layerprobe.geometry.dimensions import effective_rank, participation_ratio, pca_dimension, variance_spectrum
from layerprobe.geometry.logme import log_maximum_evidence
from layerprobe.geometry.neighbours import knn_accuracy, mle_dimension, nearest_neighbours, twonn_dimension
from layerprobe.geometry.probe import probe_accuracy
from layerprobe.geometry.views import distance_histograms, principal_plane
from layerprobe.records import Gram

Values = dict[str, Tensor]
"""Numbers (0-d) and arrays by name, float64."""

NEIGHBOURS = 20
"""Neighbours of an image that the maximum-likelihood dimension looks at, fewer in small samples."""
VOTES = 10
"""Neighbours of an image that vote for its class."""


def neighbour_statistics(gram: Gram) -> Values:
    """``twonn``, ``mle`` (20 neighbours) and ``knn_accuracy`` (10, Euclidean); NaN with three images or fewer."""
    n = len(gram.labels)
    if n <= 3:
        return numbers(dict.fromkeys(("twonn", "mle", "knn_accuracy"), float("nan")))
    distances, rows = nearest_neighbours(gram, min(NEIGHBOURS, n - 1))
    return numbers(
        {
            "twonn": twonn_dimension(distances),
            "mle": mle_dimension(distances),
            "knn_accuracy": knn_accuracy(rows[:, :VOTES], gram.labels),
        }
    )


def dimension_statistics(gram: Gram) -> Values:
    """``pca_90``, ``pca_95``, ``effective_rank``, ``participation_ratio``, and the ``spectrum`` that they describe."""
    shares = variance_spectrum(gram)
    return {
        **numbers(
            {
                "pca_90": pca_dimension(shares, 0.9),
                "pca_95": pca_dimension(shares, 0.95),
                "effective_rank": effective_rank(shares),
                "participation_ratio": participation_ratio(shares),
            }
        ),
        "spectrum": shares,
    }


def numbers(values: Mapping[str, float]) -> Values:
    """Numbers as 0-d tensors."""
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}


FAMILIES: Mapping[str, Callable[[Gram], Values]] = {
    "neighbours": neighbour_statistics,
    "collapse": lambda gram: numbers({"nc1": within_class_variability(gram)}),
    "dimensions": dimension_statistics,
    "probe": lambda gram: numbers({"probe_accuracy": probe_accuracy(gram)}),
    "logme": lambda gram: numbers({"logme": log_maximum_evidence(gram)}),
}
"""What a table can show of a layer."""

VIEWS: Mapping[str, Callable[[Gram], Values]] = {"distances": distance_histograms, "plane": principal_plane}
"""What only a figure can show."""
