"""What a run does, as values for its ``config.yaml`` and as lines for the log."""

from __future__ import annotations

import logging
from typing import Any

import torch

from layerprobe.distill.engine.schedules import describe
from layerprobe.distill.prepare import PreparedRun
from layerprobe.distill.session import RunSession
from layerprobe.runtime.process_group import ProcessGroup, describe_processes
from layerprobe.settings.configuration import plugin_hashes
from layerprobe.settings.recipe import TrainingSettings
from layerprobe.version import __version__

_log = logging.getLogger(__name__)


def run_values(session: RunSession, prepared: PreparedRun, training: TrainingSettings) -> dict[str, Any]:
    """Everything that a run does, as ``config.yaml`` holds it.

    Args:
        session: the run's settings and processes.
        prepared: the networks and what they are trained for.
        training: how to train, with what depends on the student filled in.

    Raises:
        LayerprobeError: if the file of a plug-in is not there.
    """
    setup = prepared.setup
    plugins = plugin_hashes(session.settings)
    return {
        **session.settings.replaced(training=training).configuration(),
        **prepared.resolved,
        "preprocessing": prepared.student.preprocessing.to_dict(),
        "recipe": describe(training),
        **describe_processes(session.processes, (setup.student, setup.objective)),
        **({"plugins": plugins} if plugins else {}),
        "versions": {"layerprobe": __version__, "torch": str(torch.__version__)},
    }


def log_recipe(prepared: PreparedRun, training: TrainingSettings, processes: ProcessGroup) -> None:
    """Log how images are prepared and how the student is trained."""
    _log.info("preprocessing: %s", prepared.student.preprocessing.describe())
    epochs = "1 epoch" if training.epochs == 1 else f"{training.epochs} epochs"
    _log.info("peak learning rate %g, %s, batch %d", training.lr, epochs, training.batch_size)
    _log.info("%s, augmentation %s", describe(training), training.augment)
    if training.backbone_lr_factor != 1:
        rate = (training.lr or 0.0) * training.backbone_lr_factor
        new = " with ".join(map(repr, prepared.setup.new_modules))
        _log.info("the backbone's peak learning rate is %g; the classifier %s has the full one", rate, new)
    if processes.count > 1:
        for key, value in describe_processes(processes, (prepared.setup.student,)).items():
            _log.info("%s: %s", key.replace("_", " "), value)
