"""Families of statistics by name: what ``layerprobe rank --statistics`` computes beside the scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from layerprobe.geometry.collapse import within_class_variability
from layerprobe.geometry.neighbours import knn_accuracy, mle_dimension, nearest_neighbours, twonn_dimension
from layerprobe.types import Gram

NEIGHBOURS = 20
"""Neighbours of an image that the maximum-likelihood dimension looks at, fewer in small samples."""
VOTES = 10
"""Neighbours of an image that vote for its class."""


def neighbour_statistics(gram: Gram) -> dict[str, float]:
    """``twonn``, ``mle`` (20 neighbours) and ``knn_accuracy`` (10, Euclidean); NaN with three images or fewer."""
    n = len(gram.labels)
    if n <= 3:
        return dict.fromkeys(("twonn", "mle", "knn_accuracy"), float("nan"))
    distances, rows = nearest_neighbours(gram, min(NEIGHBOURS, n - 1))
    return {
        "twonn": twonn_dimension(distances),
        "mle": mle_dimension(distances),
        "knn_accuracy": knn_accuracy(rows[:, :VOTES], gram.labels),
    }


def collapse_statistics(gram: Gram) -> dict[str, float]:
    """``nc1``, the within-class variability of neural collapse."""
    return {"nc1": within_class_variability(gram)}


FAMILIES: Mapping[str, Callable[[Gram], dict[str, float]]] = {
    "neighbours": neighbour_statistics,
    "collapse": collapse_statistics,
}
