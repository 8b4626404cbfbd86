"""The definitions of every statistic, in float64 NumPy straight from the formulas, without a Gram matrix."""

import math
from itertools import combinations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def statistics(features: Array, labels: npt.NDArray[np.int64], population: int) -> dict[str, float]:
    f = features.astype(np.float64).reshape(len(features), -1)
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]

    def a(i: int, j: int) -> float:
        return abs(float(f[i] @ f[j]) / math.sqrt(float(f[i] @ f[i]) * float(f[j] @ f[j])))

    inside = [[a(i, j) for i, j in combinations(rows, 2)] or [math.nan] for rows in classes]
    across = [
        np.mean([[a(i, j) for j in other] for i in rows]) for rows in classes for other in classes if other is not rows
    ]
    intra = float(np.mean([np.mean(pairs) for pairs in inside]))
    inter = float(np.mean(across))
    minimum = float(np.mean([min(pairs) for pairs in inside]))
    entropies, shares = [], []
    for rows in classes:
        values = np.linalg.svd(f[rows] - f[rows].mean(axis=0), compute_uv=False) ** 2
        most = min(len(rows) - 1, f.shape[1])
        if values.sum() <= 1e-20 * (f[rows] ** 2).sum():
            entropies.append(math.nan)
            shares.append(math.nan)
            continue
        p = values[values > 1e-14 * values.max()] / values.sum()
        entropies.append(float(-(p * np.log(p)).sum()))
        shares.append(entropies[-1] / math.log(most) if most > 1 else math.nan)
    gap = np.mean(
        [
            min(np.linalg.norm(f[i] - f[j]) for i in rows for j in range(len(f)) if j not in set(rows))
            for rows in classes
        ]
    )
    norm = np.mean([np.mean(np.linalg.norm(f[rows], axis=1)) for rows in classes])
    information = (1 - minimum) * float(np.mean(entropies)) / math.log(5)
    efficiency = float(2 * gap / norm * (population / math.pi) ** (1 / min(f.shape)))
    normalised = (1 - minimum) * float(np.mean(shares))
    return {
        "separation": intra - inter,
        "information": information,
        "efficiency": efficiency,
        "quality": intra - inter + math.sqrt(information * efficiency),
        "information-normalised": normalised,
        "quality-normalised": intra - inter + math.sqrt(normalised * efficiency),
        "sqrt-ie": math.sqrt(information * efficiency),
        "intra-cosine": intra,
        "inter-cosine": inter,
        "min-intra-cosine": minimum,
        "self-pairs": float(np.mean([(1 - np.mean(p)) / len(r) for p, r in zip(inside, classes, strict=True)])),
        "spectral-entropy": float(np.mean(entropies)),
        "relative-entropy": float(np.mean(shares)),
        "class-gap": float(gap),
        "feature-norm": float(norm),
        "dimension": float(features.shape[1]),
    }
