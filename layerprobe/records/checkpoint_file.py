"""What a checkpoint says of a training, beside the networks' tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerprobe.errors import FileError
from layerprobe.records.fields import Count
from layerprobe.records.parsing import parse
from layerprobe.records.runs import EpochMetrics

REMEDY = "start anew with --overwrite"


@dataclass(frozen=True)
class CheckpointState:
    """The state of a training after an epoch.

    Attributes:
        history: every epoch up to it.
        resumed_after: the epochs after which the run was stopped and went on.
        objective: of what is trained beside the student.
        optimizer: of the optimizer.
        schedule: of the learning rate's schedule.
        scaler: of float16's gradients; None: there is none.
    """

    history: tuple[EpochMetrics, ...]
    resumed_after: tuple[Count, ...]
    objective: Mapping[str, Any]
    optimizer: Mapping[str, Any]
    schedule: Mapping[str, Any]
    scaler: Mapping[str, Any] | None


def parse_checkpoint(state: Any, path: Path) -> CheckpointState:
    """The state of a training.

    Args:
        state: plain values and tensors.
        path: of the checkpoint, for messages.

    Raises:
        FileError: if a field is missing or wrong.
    """
    found = parse(CheckpointState, state, f"the checkpoint {path}", REMEDY)
    for number, metrics in enumerate(found.history, 1):
        if metrics.epoch != number:
            raise FileError(
                f"the checkpoint {path}: history[{number - 1}].epoch must be {number}, not {metrics.epoch}; {REMEDY}"
            )
    return found
