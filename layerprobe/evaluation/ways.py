"""The ways of evaluation that look at one layer's features: a value of every image, and how it was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from layerprobe.evaluation.knn import classify_by_neighbours
from layerprobe.evaluation.probe import LinearFit, fit_probe
from layerprobe.evaluation.retrieval import average_precisions
from layerprobe.records import Progress, silent
from layerprobe.settings.evaluate import LayerEvaluationSettings


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a way of evaluation sees of one layer.

    Attributes:
        train: (n, D) float32 features of the training images; empty for a way that doesn't learn.
        train_labels: (n,) their classes.
        test: (m, D) features of the images that it is tested on.
        test_labels: (m,) their classes. They are compared with what was predicted, and choose nothing.
        classes: how many there are.
        settings: neighbours, votes, seed.
        device: where it is computed.
        progress: told of it.
    """

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor
    classes: int
    settings: LayerEvaluationSettings
    device: torch.device | str = "cpu"
    progress: Progress = silent


@dataclass(frozen=True, eq=False)
class Verdict:
    """What a way of evaluation gives.

    Attributes:
        values: (m,) float64 of every image, from 0 to 1; NaN where it isn't defined.
        facts: how it was found, by name.
        fit: the probe that was fitted; None for other ways.
    """

    values: Tensor
    facts: Mapping[str, float | str] = field(default_factory=dict)
    fit: LinearFit | None = None


def knn(evidence: Evidence) -> Verdict:
    """Whether the neighbours among the training images vote for the image's class."""
    settings = evidence.settings
    temperature = settings.temperature if settings.votes == "weighted" else None
    classes = classify_by_neighbours(
        evidence.train,
        evidence.train_labels,
        evidence.test,
        settings.neighbours,
        temperature,
        evidence.device,
        evidence.progress,
    )
    facts = {"k": float(settings.neighbours), "votes": settings.votes}
    return Verdict(
        (classes == evidence.test_labels).double(), facts | ({"temperature": temperature} if temperature else {})
    )


def probe(evidence: Evidence) -> Verdict:
    """Whether a linear probe gives the image's class."""
    fit = fit_probe(
        evidence.train,
        evidence.train_labels,
        evidence.classes,
        evidence.settings.seed,
        evidence.device,
        evidence.progress,
    )
    facts = {
        "penalty": fit.penalty,
        "held-out accuracy (%)": 100 * fit.holdout_accuracy,
        "iterations": float(fit.iterations),
        "gradient": fit.gradient,
    }
    return Verdict((fit.classify(evidence.test) == evidence.test_labels).double(), facts, fit)


def retrieval(evidence: Evidence) -> Verdict:
    """The average precision of the image as a query among the other images that are evaluated."""
    values = average_precisions(evidence.test, evidence.test_labels, evidence.device, evidence.progress)
    left = int(values.isnan().sum())
    return Verdict(values, {"queries alone in their class": float(left)} if left else {})
