"""How well a linear classifier tells the classes apart: kernel ridge regression on one half, tested on the other."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from layerprobe.geometry.classes import class_members
from layerprobe.records import Gram

PENALTIES = tuple(10.0**exponent for exponent in range(-7, 4))
"""Ridge penalties that are tried, in units of the mean squared length of the centred features of a training half."""


def probe_accuracy(gram: Gram, seed: int = 0) -> float:
    """Accuracy of a linear probe on images that it was not fitted to.

    Ridge regression with an intercept to one-hot labels, in its kernel form: its predictions are those of the primal
    problem in D dimensions. The sample is halved within classes; each half is predicted by the fit to the other. The
    penalty is the one of ``PENALTIES`` with the least squared leave-one-out error inside the training half (PRESS:
    Allen, Technometrics 16(1), 1974), so that no tested image has a part in it.

    Args:
        gram: of the layer.
        seed: of the halves.

    Returns:
        Between 0 and 1; NaN with one class, or where a half has no variance.
    """
    first = _first_half(gram.known_labels, seed)
    halves = torch.nonzero(first).flatten(), torch.nonzero(~first).flatten()
    if min(map(len, halves)) < 2 or int(gram.known_labels.min()) == int(gram.known_labels.max()):
        return math.nan
    return (_right(gram, *halves) + _right(gram, *reversed(halves))) / gram.images


def _first_half(labels: Tensor, seed: int) -> Tensor:
    """(n,) bool: half of every class; of classes with an odd number the larger part goes to either side in turn."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.zeros(len(labels), dtype=torch.bool)
    for number, rows in enumerate(class_members(labels)):
        count = (len(rows) + number % 2) // 2
        first[rows[torch.randperm(len(rows), generator=generator)[:count]]] = True
    return first


def _right(gram: Gram, train: Tensor, test: Tensor) -> float:
    """How many of the test images the fit to the training images gets right."""
    kernel = gram.centred[train[:, None], train]
    mean = kernel.mean(dim=0)
    values, vectors = torch.linalg.eigh(kernel - mean - mean[:, None] + mean.mean())
    values = values.clamp_min(0)
    if not float(values.sum()) > 0:
        return math.nan
    classes, targets = torch.unique(gram.known_labels, return_inverse=True)
    wanted = torch.nn.functional.one_hot(targets[train], len(classes)).double()
    intercept = wanted.mean(dim=0)
    projected = vectors.T @ (wanted - intercept)
    scale = float(values.mean())
    penalty = min(PENALTIES, key=lambda p: _left_out_error(values, vectors, projected, wanted, p * scale)) * scale
    coefficients = vectors @ (projected / (values + penalty)[:, None])
    across = gram.centred[test[:, None], train]
    across = across - across.mean(dim=1, keepdim=True) - mean + mean.mean()
    predicted = (across @ coefficients + intercept).argmax(dim=1)
    return float((predicted == targets[test]).sum())


def _left_out_error(values: Tensor, vectors: Tensor, projected: Tensor, wanted: Tensor, penalty: float) -> float:
    """Squared error of predicting each training image from all others: residual / (1 - leverage)."""
    shrink = values / (values + penalty)
    residual = wanted - wanted.mean(dim=0) - vectors @ (shrink[:, None] * projected)
    # The intercept has a leverage of 1 / n on every image.
    left = 1 - vectors.square() @ shrink - 1 / len(wanted)
    return float((residual / left.clamp_min(1e-9)[:, None]).square().sum())
