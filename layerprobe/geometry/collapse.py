"""How far the classes have shrunk to points: neural collapse."""

from __future__ import annotations

import math

import torch

from layerprobe.geometry.classes import class_members
from layerprobe.records import Gram


def within_class_variability(gram: Gram) -> float:
    """NC1 = tr(Sigma_W Sigma_B^+) / C: the variability within classes relative to that between their means.

    Sigma_W is the mean over images of (f - mu_c)(f - mu_c)^T, Sigma_B the mean over classes of
    (mu_c - mu_G)(mu_c - mu_G)^T with mu_G the mean of all images, C the number of classes (Papyan, Han and Donoho, PNAS
    117(40), 2020, equations 1 to 3). The pseudoinverse lives in the span of the class means, so the trace comes from
    the Gram matrix alone.

    Returns:
        From 0 (every class a point) upwards; it falls as training goes on. NaN with one class, or where all class means
        coincide.
    """
    members = class_members(gram.known_labels)
    n, classes = gram.images, len(members)
    average = torch.zeros(classes, n, dtype=torch.float64)
    for number, rows in enumerate(members):
        average[number, rows] = 1 / len(rows)
    offsets = average - 1 / n
    to_images = offsets @ gram.centred
    # Sigma_B = A A^T with A = (mu_c - mu_G) / sqrt(C), so Sigma_B^+ = A (A^T A)^+2 A^T.
    products = to_images @ offsets.T / classes
    values, vectors = torch.linalg.eigh(products)
    large = values > 1e-9 * values.max().clamp_min(0)
    if classes < 2 or not bool((values > 0).any()):
        return math.nan
    own = torch.empty(n, dtype=torch.int64)
    for number, rows in enumerate(members):
        own[rows] = number
    deviations = (to_images - (to_images @ average.T)[:, own]) / math.sqrt(classes)
    scaled = (vectors[:, large].T @ deviations) / values[large, None]
    return float(scaled.square().sum() / n / classes)
