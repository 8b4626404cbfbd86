"""What training and testing a student gives."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerprobe.records.fields import From0, Number, Percent, Positive, Text

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class EpochMetrics:
    """What one epoch of training gave.

    Attributes:
        epoch: from 1.
        losses: mean of every loss term over the epoch's images, by name.
        learning_rate: at the end of the epoch.
        test_accuracy: top-1 on the test split, in percent; None where the network has no classifier.
        holdout_accuracy: top-1 on the held-out training images, in percent; None where none are held out, too.
        seconds: wall time of the epoch, its evaluation included.
        holdout_losses: mean of every loss term over the held-out training images, by name, where the network has no
            classifier; else empty.
    """

    epoch: Positive
    losses: Mapping[Text, Number]
    learning_rate: From0
    test_accuracy: Percent | None
    holdout_accuracy: Percent | None
    seconds: From0
    holdout_losses: Mapping[Text, Number] = field(default_factory=dict)

    @property
    def loss(self) -> float:
        """The sum of the loss terms."""
        return sum(self.losses.values())

    @property
    def holdout_loss(self) -> float | None:
        """The sum of the loss terms on the held-out training images; None where it wasn't computed."""
        return sum(self.holdout_losses.values()) if self.holdout_losses else None

    @property
    def holdout_score(self) -> float | None:
        """How good the epoch is on the held-out training images, higher for better: their top-1, else less their loss.

        None where none are held out.
        """
        if self.holdout_accuracy is not None or self.holdout_loss is None:
            return self.holdout_accuracy
        return -self.holdout_loss


@dataclass(frozen=True)
class Run:
    """A finished training run: a folder with configuration, metrics and weights.

    Attributes:
        folder: where it lies.
        weights: the weights file in it.
        files: every file that the run wrote, checkpoints aside.
        method: name of the method, e.g. ``feature-only``.
        setting: in which the method was used, e.g. ``paper``; empty: it is the same in all.
        config: the resolved configuration, as in ``config.yaml``.
        epochs: metrics per epoch, in order.
        labels_reach_backbone: whether labels have any influence on the student's backbone.
        teacher_accuracy: top-1 of the teacher on the test split in percent; None without a teacher, or where
            its classes are not the data's.
        wall_seconds: from reading the first image to the end of training; of the last part of a run that was resumed.
        peak_memory: largest memory in bytes: of the GPU where there is one, else resident memory of the process.
        resumed_after: the epochs after which the run was stopped and went on.
        environment: what it was computed with: device, threads, processes, versions.
    """

    folder: Path
    weights: Path
    files: tuple[Path, ...]
    method: str
    config: Mapping[str, Any]
    epochs: tuple[EpochMetrics, ...]
    labels_reach_backbone: bool
    teacher_accuracy: float | None
    wall_seconds: float | None = None
    peak_memory: int | None = None
    resumed_after: tuple[int, ...] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)
    setting: str = ""

    @property
    def outcome(self) -> str:
        """What it came to in a few words: the last epoch's top-1, or its loss where there is no classifier."""
        last = self.epochs[-1]
        if last.test_accuracy is None:
            return f"loss {last.loss:.4g}"
        return f"top-1 {last.test_accuracy:.2f} %"

    @property
    def label(self) -> str:
        """The method with its setting, e.g. ``sp, paper``."""
        return ", ".join(filter(None, (self.method, self.setting)))

    @property
    def last_accuracy(self) -> float | None:
        """Top-1 on the test split after the last epoch, in percent; None where the network has no classifier."""
        return self.epochs[-1].test_accuracy

    @property
    def chosen(self) -> EpochMetrics | None:
        """The first epoch that is best on the held-out training images; None where none are held out."""
        scores = [-math.inf if epoch.holdout_score is None else epoch.holdout_score for epoch in self.epochs]
        best = max(range(len(scores)), key=scores.__getitem__)
        return None if self.epochs[best].holdout_score is None else self.epochs[best]

    @property
    def chosen_accuracy(self) -> float | None:
        """Test top-1 of the epoch that is best on the held-out training images; None where none are held out."""
        return self.chosen.test_accuracy if self.chosen else None

    @property
    def best_on_test(self) -> EpochMetrics | None:
        """The first epoch with the highest test top-1: an optimistic choice, since the test images made it."""
        tested = [epoch for epoch in self.epochs if epoch.test_accuracy is not None]
        return max(tested, key=lambda epoch: epoch.test_accuracy or 0.0) if tested else None

    @property
    def best_on_test_accuracy(self) -> float | None:
        """Highest test top-1 over epochs: an optimistic figure, since the test images chose the epoch."""
        return self.best_on_test.test_accuracy if self.best_on_test else None

    @property
    def total_seconds(self) -> float:
        """Wall time from reading the first image to the end; of a run that was resumed, that of its epochs."""
        trained = sum(epoch.seconds for epoch in self.epochs)
        return trained if self.resumed_after or self.wall_seconds is None else self.wall_seconds

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON: the content of ``result.json``, without the configuration."""
        return {
            "method": self.method,
            "setting": self.setting,
            "labels_reach_backbone": self.labels_reach_backbone,
            "epochs": len(self.epochs),
            "test_accuracy_last_epoch": self.last_accuracy,
            "test_accuracy_epoch_chosen_on_holdout": self.chosen_accuracy,
            "test_accuracy_best_epoch_on_test": self.best_on_test_accuracy,
            "epoch_chosen_on_holdout": self.chosen.epoch if self.chosen else None,
            "holdout_accuracy_epoch_chosen_on_holdout": self.chosen.holdout_accuracy if self.chosen else None,
            "epoch_best_on_test": self.best_on_test.epoch if self.best_on_test else None,
            "teacher_accuracy": self.teacher_accuracy,
            "seconds": sum(epoch.seconds for epoch in self.epochs),
            "epoch_seconds": [epoch.seconds for epoch in self.epochs],
            "wall_seconds": self.wall_seconds,
            "peak_memory_bytes": self.peak_memory,
            "resumed_after_epochs": list(self.resumed_after),
            "environment": dict(self.environment),
        }


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How good a trained network is on some images.

    Attributes:
        name: of what was evaluated.
        dataset: name of the data set.
        split: of it.
        classes: class names.
        confusion: (classes, classes) int64, images of class i (row) that are taken for class j (column).
        top5: share of images whose class is among the five largest logits, in percent; None with fewer than 6 classes.
    """

    name: str
    dataset: str
    split: str
    classes: tuple[str, ...]
    confusion: torch.Tensor
    top5: float | None

    @property
    def images(self) -> int:
        """How many images there were."""
        return int(self.confusion.sum())

    @property
    def top1(self) -> float:
        """Share of images that are classified correctly, in percent."""
        return 100 * int(self.confusion.diagonal().sum()) / self.images

    @property
    def per_class(self) -> tuple[float, ...]:
        """Share of every class's images that are classified correctly, in percent; NaN for a class without images."""
        counts = self.confusion.sum(dim=1)
        return tuple((100 * self.confusion.diagonal().double() / counts).tolist())

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "name": self.name,
            "dataset": self.dataset,
            "split": self.split,
            "images": self.images,
            "top1": self.top1,
            "top5": self.top5,
            "classes": list(self.classes),
            "confusion": self.confusion.tolist(),
        }
