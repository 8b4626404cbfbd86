"""Records to draw and to tabulate."""

import math
from dataclasses import replace
from pathlib import Path

import torch

from layerprobe.records import (
    EpochMetrics,
    Interval,
    Layer,
    LayerGeometry,
    Ranking,
    Run,
    Similarity,
)

LAYERS = tuple(Layer(index, f"layer{index}", "block", (16, 8, 8), 1000 * index) for index in range(5))


def geometry(layer: Layer) -> LayerGeometry:
    i = layer.index
    values = {"separation": 0.1 * i, "information": 2.0 - 0.1 * i, "efficiency": 1.0 + 0.1 * i}
    quality = values["separation"] + math.sqrt(values["information"] * values["efficiency"])
    intervals = {score: Interval(value - 0.05, value + 0.1) for score, value in values.items()}
    intervals["quality"] = Interval(math.nan, math.nan) if i == 4 else Interval(quality - 0.05, quality + 0.1)
    values |= {"dimension": 1024.0 - i, "depth": i / 4}
    return LayerGeometry(layer, {**values, "quality": math.nan if i == 4 else quality}, intervals, i / 4)


PROVENANCE = {
    "model": "net", "dataset": "photos", "split": "train", "rows": 60, "population": 900, "sample": {"per_class": 20},
    "resamples": 200, "level": 0.9, "seed": 0,
}  # fmt: skip
RANKING = Ranking(
    tuple(map(geometry, LAYERS)), "quality", ("layer1", "layer3"), PROVENANCE, ("layer2",), ("layer2", "layer4")
)


def measured(one: LayerGeometry) -> LayerGeometry:
    """A layer with what further figures show."""
    layer = one.layer
    generator = torch.Generator().manual_seed(layer.index)
    names = ("twonn", "mle", "pca-90", "pca-95", "effective-rank", "participation-ratio")
    spectrum, within, between = (
        torch.rand(count, generator=generator, dtype=torch.float64) for count in (20 - layer.index, 80, 80)
    )
    scores = ("quality", "quality-normalised", "separation", "information", "information-normalised", "efficiency")
    return replace(
        one,
        statistics={
            **one.statistics, **{name: float(number + layer.index + 1) for number, name in enumerate(names)}
        },
        arrays={
            "spectrum": spectrum / spectrum.sum(),
            "within_classes": within / within.sum(),
            "between_classes": between / between.sum(),
            "plane": torch.randn(60, 2, generator=generator, dtype=torch.float64),
            "plane_shares": torch.tensor([0.5, 0.25], dtype=torch.float64),
            **{f"at sizes {name}": torch.rand(3, 5, generator=generator, dtype=torch.float64) for name in scores},
        },
    )  # fmt: skip


def measured_ranking() -> Ranking:
    """A ranking with everything that figures show."""
    cka = torch.rand(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return replace(
        RANKING,
        geometries=tuple(map(measured, RANKING.geometries)),
        labels=torch.arange(60) % 3,
        classes=("ant", "bee", "cat"),
        sizes=(5, 10, 20),
        similarity=Similarity(LAYERS, LAYERS, ("net", "net"), cka, cka),
    )


def run(method: str = "feature-only", accuracies: list[float] | None = None, holdout: list[float] | None = None) -> Run:
    accuracies = accuracies or [40.0, 60.0]
    epochs = tuple(
        EpochMetrics(
            epoch=number + 1,
            losses={"features": 1.0 / (number + 1), "head_cross_entropy": 2.0 / (number + 1)},
            learning_rate=0.01,
            test_accuracy=accuracy,
            holdout_accuracy=holdout[number] if holdout else None,
            seconds=1.5,
        )
        for number, accuracy in enumerate(accuracies)
    )
    reached = not method.startswith("feature-only")
    return Run(Path("run"), Path("run/student.safetensors"), (), method, {}, epochs, reached, 83.0)
