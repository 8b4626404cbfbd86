"""Metrics as TensorBoard's event files, where it is installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from layerprobe.distill.folder import EVENTS
from layerprobe.errors import LayerprobeError
from layerprobe.records import EpochMetrics


class EventFile:
    """Writes into the folder ``tensorboard`` of a run.

    Args:
        run: the run's folder.

    Raises:
        LayerprobeError: if TensorBoard isn't installed.
    """

    def __init__(self, run: Path) -> None:
        if find_spec("tensorboard") is None:
            raise LayerprobeError("--tensorboard needs TensorBoard, which isn't installed; `pip install tensorboard`")
        self._folder = run / EVENTS
        self._writer: Any = None

    def add(self, metrics: EpochMetrics) -> None:
        """Write one epoch."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder))
        values = {
            **{f"loss/{name}": value for name, value in metrics.losses.items()},
            **{f"loss of held-out images/{name}": value for name, value in metrics.holdout_losses.items()},
            "accuracy/test": metrics.test_accuracy,
            "accuracy/held-out": metrics.holdout_accuracy,
            "learning rate": metrics.learning_rate,
        }
        for name, value in values.items():
            if value is not None:
                self._writer.add_scalar(name, value, metrics.epoch)
        self._writer.flush()
