"""Retrieval: whether the images most similar to one are of its class."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from layerprobe.distill.full_precision import in_full_precision
from layerprobe.records import Progress, silent

_QUERIES = 128
"""Queries that are sorted at a time."""


@in_full_precision
def average_precisions(
    features: Tensor, labels: Tensor, device: torch.device | str = "cpu", progress: Progress = silent
) -> Tensor:
    """The average precision of every image as a query among all others, which are ordered by their cosine with it.

    AP = sum over the ranks i of the images of the query's class of (precision among the first i) / (number of these
    images). Images of the same cosine come at once, as in scikit-learn's ``average_precision_score``. The query itself
    is not among the images.

    Args:
        features: (n, D) float32.
        labels: (n,) classes.
        device: where the cosines are computed.
        progress: told after every block of queries.

    Returns:
        (n,) float64, between 0 and 1; NaN where no other image has the query's class.
    """
    known, labels = normalize(features.to(device), dim=1), labels.to(device)
    found = torch.empty(len(features), dtype=torch.float64)
    for start in range(0, len(features), _QUERIES):
        rows = torch.arange(start, min(start + _QUERIES, len(features)), device=known.device)
        cosines = known[rows] @ known.T
        cosines[torch.arange(len(rows), device=known.device), rows] = -torch.inf
        ordered = cosines.sort(dim=1, descending=True)
        # The query is the last of its own row.
        relevant = (labels[ordered.indices] == labels[rows][:, None])[:, :-1]
        found[start : start + len(rows)] = _average_precisions(ordered.values[:, :-1], relevant).cpu()
        progress("queries answered", start + len(rows), len(features))
    return found


def _average_precisions(scores: Tensor, relevant: Tensor) -> Tensor:
    """Of rows in order of their scores, (queries, images): the average precision of each."""
    hits = relevant.cumsum(dim=1)
    ranks = torch.arange(1, scores.shape[1] + 1, device=scores.device)
    last_of_equals = torch.ones_like(relevant)
    last_of_equals[:, :-1] = scores[:, :-1] != scores[:, 1:]
    # Where equals end: the nearest such place from here on.
    ends = torch.where(last_of_equals, ranks - 1, scores.shape[1]).flip(1).cummin(dim=1).values.flip(1)
    precision = hits.double() / ranks
    return (precision.gather(1, ends) * relevant).sum(dim=1) / hits[:, -1]
