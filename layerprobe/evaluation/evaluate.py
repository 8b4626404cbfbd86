"""A finished run's network on a data set."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from layerprobe.data.datasets import open_split
from layerprobe.data.loading import Pixels, make_loader
from layerprobe.data.sampling import balanced_sample
from layerprobe.distill.folder import CONFIG
from layerprobe.distill.students import load_student, weights_path
from layerprobe.errors import LayerprobeError
from layerprobe.evaluation.confusion import confusion
from layerprobe.models.weights import read_weights
from layerprobe.records import Evaluation, Preprocessing, Progress, silent
from layerprobe.runtime.devices import resolve_device
from layerprobe.settings.configuration import read_run_config
from layerprobe.settings.data import DataSettings
from layerprobe.settings.evaluate import EvaluateSettings

_log = logging.getLogger(__name__)

TOP = 5


def evaluate(config: EvaluateSettings, progress: Progress = silent) -> Evaluation:
    """Classify images with the network that a run trained, under the run's own preprocessing.

    Raises:
        LayerprobeError: if the folder holds no run or no such weights, or the images have other classes.
    """
    told = read_run_config(config.run / CONFIG)
    device = resolve_device(config.device)
    module = load_student(config.run, config.which).to(device)
    preprocessing = Preprocessing.from_dict(told["preprocessing"])
    data = config.data or _own_data(told["data"])
    dataset = open_split(data, config.split)
    _check_classes(dataset.classes, weights_path(config.run, config.which, told["command"]), config.run)
    _log.info("preprocessing: %s", preprocessing.describe())
    rows = np.arange(len(dataset), dtype=np.int64)
    if config.samples is not None:
        rows = balanced_sample(dataset.labels, config.samples, seed=0, num_classes=len(dataset.classes)).rows
    loader = make_loader(Pixels(dataset, rows, preprocessing), config.batch_size, config.workers)
    matrix, among = confusion(module, loader, preprocessing, device, len(dataset.classes), TOP, progress)
    return Evaluation(
        name=f"{config.run} ({config.which} weights)",
        dataset=dataset.name,
        split=dataset.split,
        classes=dataset.classes,
        confusion=matrix,
        top5=100 * among / len(rows) if len(dataset.classes) > TOP else None,
    )


def _own_data(values: Mapping[str, Any]) -> DataSettings:
    """The run's own images; size, mean and standard deviation come with its preprocessing."""
    return DataSettings(name=values["name"], data_root=values["data_root"])


def _check_classes(classes: tuple[str, ...], weights: Path, run: Path) -> None:
    """Refuse images whose classes are not the ones that the network was trained on."""
    stored = read_weights(weights).metadata.get("classes")
    known = tuple(json.loads(stored)) if stored else classes
    if known != classes:
        raise LayerprobeError(
            f"{run} was trained on {len(known)} classes ({_first(known)}), the images have {len(classes)} "
            f"({_first(classes)}); --data names images of the same classes"
        )


def _first(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
