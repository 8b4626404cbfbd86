"""A finished run's network on a data set."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np

from layerprobe.data.damaged import leave_out_damaged
from layerprobe.data.datasets import open_split
from layerprobe.data.loading import Pixels, make_loader
from layerprobe.data.sampling import balanced_sample
from layerprobe.distill.students import load_student, read_description, weights_path
from layerprobe.errors import LayerprobeError
from layerprobe.evaluation.confusion import confusion
from layerprobe.files import sha256
from layerprobe.models.weights_file import read_weights
from layerprobe.records import Evaluation, Progress, silent
from layerprobe.records.weights_header import parse_weights_header
from layerprobe.runtime.devices import resolve_device
from layerprobe.settings.data import DataSettings
from layerprobe.settings.evaluate import EvaluateSettings

_log = logging.getLogger(__name__)

TOP = 5


def evaluate(config: EvaluateSettings, progress: Progress = silent) -> Evaluation:
    """Classify images with the network that a run trained, under the run's own preprocessing.

    Raises:
        LayerprobeError: if the folder holds no run or no such weights, or the images have other classes.
    """
    settings, about = read_description(config.run)
    device = resolve_device(config.device)
    module = load_student(config.run, config.which, config.allow_code).to(device)
    preprocessing = about.preprocessing
    data = _data(config, settings.data)
    dataset = open_split(data, config.split)
    _check_classes(dataset.classes, weights_path(config.run, config.which, settings.command), config.run)
    _log.info("preprocessing: %s", preprocessing.describe())
    rows = np.arange(len(dataset), dtype=np.int64)
    if config.samples is not None:
        rows = balanced_sample(dataset.known_labels, config.samples, seed=0, num_classes=len(dataset.classes)).rows
    if data.skip_damaged:
        rows = leave_out_damaged(dataset, rows, config.workers, progress)
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


def _data(config: EvaluateSettings, of_run: DataSettings) -> DataSettings:
    """Which images; how they become the network's input comes with the run."""
    if config.data is not None:
        return config.data.replaced(skip_damaged=config.skip_damaged)
    skip = config.skip_damaged or of_run.skip_damaged
    return DataSettings(name=of_run.name, data_root=of_run.data_root, skip_damaged=skip)


def evaluated(config: EvaluateSettings) -> str:
    """Which weights are evaluated on which images: what the figure shows, in any form.

    Raises:
        LayerprobeError: if the folder holds no run or no such weights.
    """
    settings, _ = read_description(config.run)
    weights = sha256(weights_path(config.run, config.which, settings.command))
    data = config.data or settings.data
    return json.dumps([weights, data.name, str(data.data_root), config.split, config.samples])


def _check_classes(classes: tuple[str, ...], weights: Path, run: Path) -> None:
    """Refuse images whose classes are not the ones that the network was trained on."""
    known = parse_weights_header(read_weights(weights).metadata, weights).classes
    if known is not None and known != classes:
        raise LayerprobeError(
            f"{run} was trained on {len(known)} classes ({_first(known)}), the images have {len(classes)} "
            f"({_first(classes)}); --data names images of the same classes"
        )


def _first(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
