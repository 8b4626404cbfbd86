"""How far each class stands from the others: the gap, and the length of the features it is measured against.

Source: section 3 of Cooper et al., arXiv 2511.14981.
"""

from __future__ import annotations

from layerprobe.geometry.gram import class_members, norms, squared_distances
from layerprobe.records import Gram


def mean_class_gap(gram: Gram) -> float:
    """mean_c of gap_c = min |f_i - f_j| over i in c and j not in c. NaN with one class alone."""
    if int(gram.labels.min()) == int(gram.labels.max()):
        return float("nan")
    gaps = []
    for rows in class_members(gram.labels):
        distances = squared_distances(gram, rows)
        distances[:, rows] = float("inf")
        gaps.append(distances.min().sqrt())
    return float(sum(gaps) / len(gaps))


def mean_class_norm(gram: Gram) -> float:
    """mean_c of norm_c, the mean length |f_i| of the class's features."""
    lengths = norms(gram)
    means = [lengths[rows].mean() for rows in class_members(gram.labels)]
    return float(sum(means) / len(means))
