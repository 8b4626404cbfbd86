"""A linear probe: multinomial logistic regression on frozen features, with its penalty chosen on training images."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import log_softmax, one_hot

from layerprobe.errors import LayerprobeError
from layerprobe.geometry.classes import class_members
from layerprobe.records import Progress, silent
from layerprobe.runtime.threads import one_thread

_log = logging.getLogger(__name__)

PENALTIES = tuple(10.0**exponent for exponent in range(1, -7, -1))
"""Weights of the squared coefficients that are tried, beside the mean cross entropy, from the strongest on."""
HOLDOUT = 0.2
"""The share of every class's training images on which the penalty is chosen."""
TOLERANCE = 1e-5
"""A fit has converged where no component of the gradient is larger."""
ITERATIONS = 2000
"""The most that a fit takes."""
_ROWS = 8192
"""Images that are multiplied at a time."""
_KEPT = 2**23
"""Numbers up to which standardized features are kept: 64 MB. More are standardized anew for every gradient."""
_SMALL = 2**26
"""Products of one gradient below which one thread is quicker than several."""


@dataclass(frozen=True, eq=False)
class LinearFit:
    """A linear classifier of features: ``features @ weight.T + bias`` are its logits.

    Attributes:
        weight: (classes, D) float64, for features as they are.
        bias: (classes,) float64.
        penalty: lambda.
        iterations: how many the last fit took.
        gradient: the largest component of its gradient at the end.
        holdout_accuracy: top-1 of the penalty on the held-out training images, between 0 and 1.
    """

    weight: Tensor
    bias: Tensor
    penalty: float
    iterations: int
    gradient: float
    holdout_accuracy: float

    def classify(self, features: Tensor) -> Tensor:
        """(n,) classes of (n, D) features."""
        parts = [(part.double() @ self.weight.T + self.bias).argmax(dim=1) for part in torch.split(features, _ROWS)]
        return torch.cat(parts)


def fit_probe(
    features: Tensor,
    labels: Tensor,
    classes: int,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> LinearFit:
    """Fit logistic regression to training images, and choose its penalty on a fifth of them.

    Features are standardized by the mean and deviation of the images that are fitted. The mean cross entropy plus
    lambda / 2 times the sum of the squared coefficients is minimized (L-BFGS); the intercepts have no penalty. Of
    ``PENALTIES`` the one is taken that classifies the held-out images best, the strongest of several. Then all
    training images are fitted. A class that has one image has none held out.

    Args:
        features: (n, D) float32 of the training images.
        labels: (n,) their classes.
        classes: how many there are.
        seed: of the draw of the held-out images.
        device: where it is computed.
        progress: told after every fit.

    Raises:
        LayerprobeError: if no class has two images, or all images have one class.
    """
    _check(labels)
    held_out = _draw_holdout(labels, seed)
    part, rest = _Problem(features, labels, ~held_out, classes, device), torch.nonzero(held_out).flatten()
    start, best = part.zeros(), (-1.0, PENALTIES[0], part.zeros())
    for number, penalty in enumerate(PENALTIES, start=1):
        start, _ = part.minimize(penalty, start)
        right = (part.unscaled(start).classify(features[rest]) == labels[rest]).double().mean().item()
        if right > best[0]:
            best = right, penalty, start
        progress("probes fitted", number, len(PENALTIES) + 1)
    accuracy, penalty, start = best
    whole = _Problem(features, labels, torch.ones_like(held_out), classes, device)
    end, iterations = whole.minimize(penalty, start)
    gradient = float(whole.loss(end, penalty)[1].abs().max())
    progress("probes fitted", len(PENALTIES) + 1, len(PENALTIES) + 1)
    if gradient > TOLERANCE:
        _log.warning(
            "the probe stopped after %d iterations with a gradient of %.1e, above %.0e: it may not be at its best",
            iterations, gradient, TOLERANCE,
        )  # fmt: skip
    if penalty in (PENALTIES[0], PENALTIES[-1]):
        _log.info("the probe's penalty %g is the end of those that are tried", penalty)
    fitted = whole.unscaled(end)
    return LinearFit(fitted.weight, fitted.bias, penalty, iterations, gradient, accuracy)


def _check(labels: Tensor) -> None:
    counts = torch.unique(labels, return_counts=True)[1]
    if len(counts) < 2 or int(counts.max()) < 2:
        raise LayerprobeError(
            f"a probe learns from two classes and two images of one at least, not from {len(labels)} of {len(counts)}; "
            "take more training images"
        )


def _draw_holdout(labels: Tensor, seed: int) -> Tensor:
    """(n,) bool: a fifth of every class's images, one at least where it has two."""
    generator = torch.Generator().manual_seed(seed)
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    for rows in class_members(labels):
        count = max(round(HOLDOUT * len(rows)), 1) if len(rows) > 1 else 0
        held_out[rows[torch.randperm(len(rows), generator=generator)[:count]]] = True
    return held_out


class _Problem:
    """Penalized cross entropy of some of the images, as a function of the classifier of their standardized features.

    A classifier is (classes, D + 1) float64, with the intercepts in the last column.
    """

    def __init__(
        self, features: Tensor, labels: Tensor, used: Tensor, classes: int, device: torch.device | str
    ) -> None:
        self.features, self.labels, self.classes = features, labels, classes
        self.device = torch.device("cpu") if torch.device(device).type == "mps" else device  # mps has no float64
        self.rows = torch.nonzero(used).flatten()
        total = torch.zeros(2, features.shape[1], dtype=torch.float64)
        for rows in torch.split(self.rows, _ROWS):
            total[0] += features[rows].double().sum(dim=0)
        self.mean = total[0] / len(self.rows)
        for rows in torch.split(self.rows, _ROWS):
            total[1] += (features[rows].double() - self.mean).square().sum(dim=0)
        deviation = (total[1] / len(self.rows)).sqrt()
        # A feature that is the same in all images, but for rounding, says nothing.
        self.scale = torch.where(deviation > 1e-6 * self.mean.abs(), 1 / deviation, 0.0)
        self.size = len(self.rows) * features.shape[1]
        self.kept = list(self._standardized()) if self.size <= _KEPT else None

    def zeros(self) -> Tensor:
        """The classifier that knows nothing."""
        return torch.zeros(self.classes, self.features.shape[1] + 1, dtype=torch.float64)

    def unscaled(self, classifier: Tensor) -> LinearFit:
        """The same classifier for features as they are."""
        weight = classifier[:, :-1] * self.scale
        return LinearFit(weight, classifier[:, -1] - weight @ self.mean, 0.0, 0, 0.0, 0.0)

    def loss(self, classifier: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
        """The loss, and its gradient by the classifier."""
        weight, bias = classifier[:, :-1].to(self.device), classifier[:, -1].to(self.device)
        loss = penalty / 2 * classifier[:, :-1].square().sum()
        gradient = penalty * classifier
        gradient[:, -1] = 0
        for inputs, labels in self.kept or self._standardized():
            logs = log_softmax(inputs @ weight.T + bias, dim=1)
            wrong = (logs.exp() - one_hot(labels, self.classes)) / len(self.rows)
            loss = loss - logs.gather(1, labels[:, None]).sum().cpu() / len(self.rows)
            gradient[:, :-1] += (wrong.T @ inputs).cpu()
            gradient[:, -1] += wrong.sum(dim=0).cpu()
        return loss, gradient

    def _standardized(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Standardized features, in float64 (in float32 the line search ends before it has converged), and labels."""
        mean, scale = self.mean.to(self.device), self.scale.to(self.device)
        for rows in torch.split(self.rows, _ROWS):
            inputs = self.features[rows].to(self.device).double()
            yield (inputs - mean) * scale, self.labels[rows].to(self.device)

    def minimize(self, penalty: float, start: Tensor) -> tuple[Tensor, int]:
        """The classifier of least loss, and the iterations that it took."""
        from scipy.optimize import minimize

        def value(flat: np.ndarray) -> tuple[float, np.ndarray]:
            loss, gradient = self.loss(torch.from_numpy(flat.reshape(start.shape)), penalty)
            return float(loss), gradient.numpy().ravel()

        options = {"maxiter": ITERATIONS, "maxfun": 2 * ITERATIONS, "gtol": TOLERANCE, "ftol": 0.0, "maxcor": 20}
        with one_thread(self.size * self.classes < _SMALL):
            found = minimize(value, start.numpy().ravel(), jac=True, method="L-BFGS-B", options=options)
        return torch.from_numpy(found.x.reshape(start.shape)), int(found.nit)
