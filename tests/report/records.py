"""Records to draw and to tabulate."""

import math
from pathlib import Path

from layerprobe.types import EpochMetrics, Interval, Layer, LayerGeometry, Ranking, Run

LAYERS = tuple(Layer(index, f"layer{index}", "block", (16, 8, 8), 1000 * index) for index in range(5))


def geometry(layer: Layer) -> LayerGeometry:
    i = layer.index
    values = {"separation": 0.1 * i, "information": 2.0 - 0.1 * i, "efficiency": 1.0 + 0.1 * i}
    quality = values["separation"] + math.sqrt(values["information"] * values["efficiency"])
    intervals = {score: Interval(value - 0.05, value + 0.1) for score, value in values.items()}
    intervals["quality"] = Interval(math.nan, math.nan) if i == 4 else Interval(quality - 0.05, quality + 0.1)
    values["dimension"] = 1024.0 - i
    return LayerGeometry(layer, {**values, "quality": math.nan if i == 4 else quality}, intervals, i / 4)


PROVENANCE = {
    "model": "net", "dataset": "photos", "split": "train", "rows": 60, "population": 900, "sample": {"per_class": 20},
    "resamples": 200, "level": 0.9, "seed": 0,
}  # fmt: skip
RANKING = Ranking(tuple(map(geometry, LAYERS)), "quality", ("layer1", "layer3"), PROVENANCE, ("layer2",))


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
    return Run(Path("run"), Path("run/student.safetensors"), (), method, {}, epochs, 83.0)
