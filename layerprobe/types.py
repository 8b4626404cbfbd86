"""The frozen records that pass between rooms, and the shape of a progress callback."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerprobe.errors import LayerprobeError

if TYPE_CHECKING:
    import torch

Progress = Callable[[str, int, int], None]
"""Called as ``progress(what, done, total)`` while a long job runs."""

RANKING_FORMAT = "layerprobe-ranking"
RANKING_VERSION = 2


def silent(what: str, done: int, total: int) -> None:
    """The progress callback that shows nothing."""


@dataclass(frozen=True)
class Layer:
    """One generalized layer of a network.

    Attributes:
        index: position in execution order, from 0.
        name: dotted module path, e.g. ``layer3.6``; a later call of the same module is ``relu@2``, and
            the vector that enters the classifier ``fc`` is ``fc.input``.
        kind: ``block``, ``activation`` or ``feature`` (the flattened vector that enters the classifier).
        shape: output shape for one image, without the batch dimension.
        parameters: number of parameters used so far, this layer's included.
        folded: whether the layer sees the parts of an image as if they were images, like MobileViT's blocks; the first
            axis of ``shape`` is then the part. Known of a network at hand, not of a stored layer.
    """

    index: int
    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    folded: bool = field(default=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """What is stored of it as plain values, ready for JSON."""
        return {
            "index": self.index,
            "name": self.name,
            "kind": self.kind,
            "shape": list(self.shape),
            "parameters": self.parameters,
        }


@dataclass(frozen=True)
class StoredLayer:
    """A layer as it lies in a feature file.

    Attributes:
        layer: which layer, with the shape the network gave it.
        shape: stored shape of one image's features; other than ``layer.shape`` where they were reduced.
        reduction: what was done to the features, e.g. ``avg:64x64``; empty: nothing.
    """

    layer: Layer
    shape: tuple[int, ...]
    reduction: str = ""

    @property
    def dimension(self) -> int:
        """D, the number of stored features per image."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes a network's input.

    Attributes:
        image_size: height and width of the input in pixels.
        mean: per-channel mean that is subtracted, on the scale where pixels lie in [0, 1].
        std: per-channel standard deviation that is divided by.
        resize: the shorter side is resized to this many pixels before the centre crop; None: images that
            aren't ``image_size`` are resized to it directly, others are left exactly as they are.
        interpolation: ``bilinear`` or ``bicubic`` (or another PIL filter's name).
        source: why these values were chosen, for people.
    """

    image_size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: int | None = None
    interpolation: str = "bilinear"
    source: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; ``from_dict`` reads them back."""
        return {
            **asdict(self),
            "image_size": list(self.image_size),
            "mean": list(self.mean),
            "std": list(self.std),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Read what ``to_dict`` wrote."""
        return cls(
            image_size=(int(values["image_size"][0]), int(values["image_size"][1])),
            mean=tuple(float(value) for value in values["mean"]),
            std=tuple(float(value) for value in values["std"]),
            resize=values.get("resize"),
            interpolation=values.get("interpolation", "bilinear"),
            source=values.get("source", ""),
        )

    def describe(self) -> str:
        """One line for people."""
        height, width = self.image_size
        resize = f"resize {self.resize}, crop " if self.resize else ""
        mean, std = (" ".join(f"{value:g}" for value in values) for values in (self.mean, self.std))
        source = f" ({self.source})" if self.source else ""
        return f"{resize}{height}x{width} pixels, mean {mean}, std {std}{source}"


@dataclass(frozen=True)
class Gram:
    """The n x n Gram matrix of one layer's features, with what the statistics need beside it.

    The products are taken after the features are centred on their mean m, so that distances do not suffer
    cancellation; products of the uncentred features are restored with ``mean_products`` and ``mean_square``:
    ``<f_i, f_j> = centred_ij + mean_products_i + mean_products_j + mean_square``.

    Attributes:
        centred: (n, n) float64, inner products of the centred features.
        mean_products: (n,) float64, ``<f_i - m, m>``.
        mean_square: ``<m, m>``.
        squared_norms: (n,) float64, ``<f_i, f_i>``, summed directly, so that a zero is exactly zero.
        labels: (n,) int64 class labels.
        dimension: D, the number of features per image.
        population: N, the number of images in the split that the sample was drawn from.
    """

    centred: torch.Tensor
    mean_products: torch.Tensor
    mean_square: float
    squared_norms: torch.Tensor
    labels: torch.Tensor
    dimension: int
    population: int


@dataclass(frozen=True)
class Interval:
    """Where a score is expected to lie.

    Attributes:
        low: lower end.
        high: upper end.
        level: the share of samples whose interval is meant to hold the expected score, e.g. 0.9.
    """

    low: float
    high: float
    level: float = 0.9


@dataclass(frozen=True, eq=False)
class LayerMeasurement:
    """Everything that was computed of one layer.

    Attributes:
        layer: which layer.
        numbers: statistics by name.
        arrays: by name, float64: ``spectrum``, ``plane``, ``within_classes``, ... as the functions that compute them
            say; ``deviations NAME`` (R,) for every score that is resampled, ``at sizes NAME`` (sizes, draws) where
            asked for.
    """

    layer: Layer
    numbers: Mapping[str, float]
    arrays: Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class LayerGeometry:
    """What was measured of one layer.

    Attributes:
        layer: which layer.
        statistics: value by name: ``separation``, ``information``, ``efficiency``, ``quality`` and their parts.
        intervals: of the scores that have one, by name.
        top_share: the share of resamples in which the layer is among the chosen; None: not resampled.
    """

    layer: Layer
    statistics: Mapping[str, float]
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    top_share: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            **self.layer.to_dict(),
            "statistics": dict(self.statistics),
            "intervals": {name: asdict(interval) for name, interval in self.intervals.items()},
            "top_share": self.top_share,
        }


@dataclass(frozen=True)
class Ranking:
    """Layers with their statistics, in order of depth, and the ones that were chosen.

    Attributes:
        geometries: one per layer, in execution order.
        score: name of the statistic that the choice was made by.
        selected: names of the chosen layers, in order of depth.
        provenance: where the features came from (model, weights, data, sample), as the feature file says; and how the
            intervals were made (``resamples``, ``level``, ``seed``).
        undecided: names of layers that were not chosen, but whose score can't be told apart from the lowest that was.
        evenly_spread: names of as many layers, spread evenly over the blocks: the choice to compare with. Empty where
            there are fewer blocks.
    """

    geometries: tuple[LayerGeometry, ...]
    score: str
    selected: tuple[str, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    undecided: tuple[str, ...] = ()
    evenly_spread: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON: the content of a ranking file."""
        return {
            "format": RANKING_FORMAT,
            "format_version": RANKING_VERSION,
            "score": self.score,
            "selected": list(self.selected),
            "undecided": list(self.undecided),
            "evenly_spread": list(self.evenly_spread),
            "provenance": dict(self.provenance),
            "layers": [geometry.to_dict() for geometry in self.geometries],
        }

    @classmethod
    def load(cls, path: Path) -> Ranking:
        """Read a ranking file.

        Raises:
            LayerprobeError: if the file can't be read or isn't a ranking.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if values["format"] != RANKING_FORMAT or values["format_version"] != RANKING_VERSION:
                raise ValueError("another format")
            geometries = tuple(
                LayerGeometry(
                    layer=Layer(
                        index=row["index"],
                        name=row["name"],
                        kind=row["kind"],
                        shape=tuple(row["shape"]),
                        parameters=row["parameters"],
                    ),
                    statistics={key: _number(value) for key, value in row["statistics"].items()},
                    intervals={
                        key: Interval(**{end: _number(value) for end, value in ends.items()})
                        for key, ends in row["intervals"].items()
                    },
                    top_share=row["top_share"],
                )
                for row in values["layers"]
            )
            return cls(
                geometries,
                values["score"],
                tuple(values["selected"]),
                values["provenance"],
                tuple(values["undecided"]),
                tuple(values["evenly_spread"]),
            )
        except FileNotFoundError:
            raise LayerprobeError(f"no ranking file at {path}; `layerprobe rank FEATURES.h5` writes one") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LayerprobeError(
                f"{path} is not a layerprobe ranking of version {RANKING_VERSION} "
                f"({type(error).__name__}: {error}); `layerprobe rank FEATURES.h5` writes one"
            ) from None


def _number(value: float | None) -> float:
    """What JSON has null for."""
    return math.nan if value is None else value


@dataclass(frozen=True, eq=False)
class NetworkGeometry:
    """What figures show of one network.

    Attributes:
        ranking: its layers and the choice among them.
        measurements: of every layer, in execution order.
        labels: (n,) class labels of the images.
        classes: class names.
        sizes: images per class that ``at sizes`` arrays stand for.
        similarity: of its layers with each other; None: not computed.
    """

    ranking: Ranking
    measurements: tuple[LayerMeasurement, ...]
    labels: torch.Tensor
    classes: tuple[str, ...]
    sizes: tuple[int, ...] = ()
    similarity: Similarity | None = None


@dataclass(frozen=True, eq=False)
class Similarity:
    """Linear centred kernel alignment between the layers of one network, and those of the same or another one.

    Attributes:
        first: layers of the rows.
        second: layers of the columns.
        names: of the two networks.
        cka: (rows, columns) float64.
        debiased: the same without the bias of small samples.
        provenance: of the images: ``dataset``, ``split``, ``rows``.
    """

    first: tuple[Layer, ...]
    second: tuple[Layer, ...]
    names: tuple[str, str]
    cka: torch.Tensor
    debiased: torch.Tensor
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "first": [layer.to_dict() for layer in self.first],
            "second": [layer.to_dict() for layer in self.second],
            "names": list(self.names),
            "cka": self.cka.tolist(),
            "debiased": self.debiased.tolist(),
            "provenance": dict(self.provenance),
        }


@dataclass(frozen=True)
class EpochMetrics:
    """What one epoch of training gave.

    Attributes:
        epoch: from 1.
        losses: mean of every loss term over the epoch's images, by name.
        learning_rate: at the end of the epoch.
        test_accuracy: top-1 on the test split, in percent.
        holdout_accuracy: top-1 on the held-out training images, in percent; None where none are held out.
        seconds: wall time of the epoch, its evaluation included.
    """

    epoch: int
    losses: Mapping[str, float]
    learning_rate: float
    test_accuracy: float
    holdout_accuracy: float | None
    seconds: float


@dataclass(frozen=True)
class Run:
    """A finished training run: a folder with configuration, metrics and weights.

    Attributes:
        folder: where it lies.
        weights: the weights file in it.
        files: every file that the run wrote, checkpoints aside.
        method: name of the method, e.g. ``feature-only``.
        config: the resolved configuration, as in ``config.yaml``.
        epochs: metrics per epoch, in order.
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
    teacher_accuracy: float | None
    wall_seconds: float | None = None
    peak_memory: int | None = None
    resumed_after: tuple[int, ...] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)

    @property
    def last_accuracy(self) -> float:
        """Top-1 on the test split after the last epoch, in percent."""
        return self.epochs[-1].test_accuracy

    @property
    def chosen(self) -> EpochMetrics | None:
        """The first epoch that is best on the held-out training images; None where none are held out."""
        held_out = [epoch for epoch in self.epochs if epoch.holdout_accuracy is not None]
        return max(held_out, key=lambda epoch: epoch.holdout_accuracy or 0.0) if held_out else None

    @property
    def chosen_accuracy(self) -> float | None:
        """Test top-1 of the epoch that is best on the held-out training images; None where none are held out."""
        return self.chosen.test_accuracy if self.chosen else None

    @property
    def best_on_test(self) -> EpochMetrics:
        """The first epoch with the highest test top-1: an optimistic choice, since the test images made it."""
        return max(self.epochs, key=lambda epoch: epoch.test_accuracy)

    @property
    def best_on_test_accuracy(self) -> float:
        """Highest test top-1 over epochs: an optimistic figure, since the test images chose the epoch."""
        return self.best_on_test.test_accuracy

    @property
    def total_seconds(self) -> float:
        """Wall time from reading the first image to the end; of a run that was resumed, that of its epochs."""
        trained = sum(epoch.seconds for epoch in self.epochs)
        return trained if self.resumed_after or self.wall_seconds is None else self.wall_seconds

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON: the content of ``result.json``, without the configuration."""
        return {
            "method": self.method,
            "epochs": len(self.epochs),
            "test_accuracy_last_epoch": self.last_accuracy,
            "test_accuracy_epoch_chosen_on_holdout": self.chosen_accuracy,
            "test_accuracy_best_epoch_on_test": self.best_on_test_accuracy,
            "epoch_chosen_on_holdout": self.chosen.epoch if self.chosen else None,
            "holdout_accuracy_epoch_chosen_on_holdout": self.chosen.holdout_accuracy if self.chosen else None,
            "epoch_best_on_test": self.best_on_test.epoch,
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


@dataclass(frozen=True)
class Cell:
    """One run of a grid: a point in pairs x data sets x methods x layer choices x seeds.

    Attributes:
        pair: label of teacher and student, e.g. ``ResNet-56 to ResNet-20``.
        data: label of the data set.
        method: label of the method, with the form that sets it apart, e.g. ``feature-only, huber``.
        choice: how the teacher's layers were chosen, e.g. ``quality:4``; empty: the method's own way.
        seed: of the run.
        path: the run folder, relative to the grid's, with forward slashes.
    """

    pair: str
    data: str
    method: str
    choice: str
    seed: int
    path: str

    @property
    def label(self) -> str:
        """The method with its choice of layers, e.g. ``feature-only (quality:4)``."""
        return f"{self.method} ({self.choice})" if self.choice else self.method


@dataclass(frozen=True)
class CellResult:
    """What became of a cell.

    Attributes:
        cell: which.
        state: ``done``, ``running``, ``failed`` or ``waiting``.
        run: the finished run; None in any other state.
        reason: why it failed, in one line.
    """

    cell: Cell
    state: str
    run: Run | None = None
    reason: str = ""


@dataclass(frozen=True)
class GridResults:
    """A grid at some moment, finished or not.

    Attributes:
        title: what the grid is about.
        reference: label of the method, with its choice where it has several (see ``Cell``), that others are compared
            with; empty: none.
        results: of every cell, in the order of the grid file.
        provenance: versions, the grid file's text and hash, when it was read.
    """

    title: str
    reference: str
    results: tuple[CellResult, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Candidate:
    """A set of teacher layers that students were distilled from, with what was known of it before.

    Attributes:
        pair: label of teacher and student.
        layers: names of the teacher's layers, in order of depth.
        depth: mean position of these layers, from 0 (the first layer) to 1 (the last).
        scores: value by name, each known before any training; of several layers the mean.
        accuracies: what the students reached, top-1 of the last epoch in percent, by seed.
    """

    pair: str
    layers: tuple[str, ...]
    depth: float
    scores: Mapping[str, float]
    accuracies: Mapping[int, float]

    @property
    def accuracy(self) -> float:
        """Mean over seeds; NaN where no student is finished."""
        return sum(self.accuracies.values()) / len(self.accuracies) if self.accuracies else math.nan


@dataclass(frozen=True)
class Correlation:
    """How well the order by a score is the order by what students reach.

    Attributes:
        pair: label of teacher and student.
        group: which candidates: ``single layers`` or ``sets of 4``, ...
        score: its name.
        candidates: how many have both a score and an accuracy.
        spearman: rank correlation, from -1 to 1; NaN with fewer than three candidates, or where all have one value.
        kendall: tau-b, likewise.
        spearman_interval: of it.
        kendall_interval: of it.
    """

    pair: str
    group: str
    score: str
    candidates: int
    spearman: float
    kendall: float
    spearman_interval: Interval
    kendall_interval: Interval


@dataclass(frozen=True)
class Validation:
    """Whether scores tell which layers distil well.

    Attributes:
        title: what was validated.
        candidates: every set of layers, finished or not.
        correlations: one per pair, group of candidates and score.
        provenance: of the grid and of the scores.
    """

    title: str
    candidates: tuple[Candidate, ...]
    correlations: tuple[Correlation, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
