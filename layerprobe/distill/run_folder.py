"""The run folder: configuration first, metrics as they come, weights and result at the end."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from layerprobe.errors import LayerprobeError
from layerprobe.models.weights import save_weights
from layerprobe.types import EpochMetrics, Run

CONFIG, METRICS, RESULT = "config.yaml", "metrics.csv", "result.json"


class RunFolder:
    """Writes one run.

    Args:
        path: the folder; it is made when the configuration is written.
        overwrite: whether a run that lies there may be replaced.

    Raises:
        LayerprobeError: if the folder holds something and may not be overwritten, or is a file.
    """

    def __init__(self, path: Path, overwrite: bool) -> None:
        self.path = path
        if path.exists() and not path.is_dir():
            raise LayerprobeError(f"{path} is a file; --output names the run folder to make")
        if path.is_dir() and any(path.iterdir()) and not overwrite:
            raise LayerprobeError(f"{path} exists and is not empty; --overwrite replaces the run in it")

    def start(self, config: Mapping[str, Any]) -> None:
        """Write the resolved configuration; an older run's results are removed."""
        self.path.mkdir(parents=True, exist_ok=True)
        for stale in (METRICS, RESULT):
            (self.path / stale).unlink(missing_ok=True)
        text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
        (self.path / CONFIG).write_text(text, encoding="utf-8")

    def add_epoch(self, metrics: EpochMetrics) -> None:
        """Append one epoch to the metrics."""
        row = {
            "epoch": metrics.epoch,
            "test_accuracy": metrics.test_accuracy,
            "holdout_accuracy": metrics.holdout_accuracy,
            "learning_rate": metrics.learning_rate,
            "seconds": round(metrics.seconds, 3),
            **{f"loss_{name}": value for name, value in metrics.losses.items()},
        }
        path = self.path / METRICS
        new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)

    def files(self, weights: str) -> tuple[Path, ...]:
        """Every file of a finished run whose weights have this name."""
        return tuple(self.path / name for name in (CONFIG, METRICS, weights, RESULT))

    def finish(self, run: Run, model: nn.Module, metadata: dict[str, str]) -> None:
        """Write the weights, then the result: a folder with a result is complete."""
        save_weights(model, run.weights, metadata)
        (self.path / RESULT).write_text(json.dumps(run.to_dict(), indent=1) + "\n", encoding="utf-8")
