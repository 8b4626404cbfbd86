"""Training runs: from settings to a run folder with metrics and weights."""

from __future__ import annotations

from layerprobe.distill.prepare import prepare_distillation, prepare_training
from layerprobe.distill.session import RunSession
from layerprobe.distill.train import OnEpoch, train_prepared
from layerprobe.records import Progress, Run, silent
from layerprobe.runtime.lack_of_memory import explaining_lack_of_memory
from layerprobe.runtime.subnormals import flushing_subnormals
from layerprobe.settings.run import DistillSettings, TrainSettings


@explaining_lack_of_memory
@flushing_subnormals()
def train_model(settings: TrainSettings, on_epoch: OnEpoch | None = None, progress: Progress = silent) -> Run:
    """Train a network with cross entropy; its weights go to ``model.safetensors`` in the run folder.

    Raises:
        LayerprobeError: if the input is wrong, the run folder exists, or the loss diverges.
    """
    session = RunSession(settings)
    if finished := session.read_finished_run():
        return finished
    return train_prepared(session, prepare_training(session, settings), on_epoch, progress)


@explaining_lack_of_memory
@flushing_subnormals()
def distill_student(settings: DistillSettings, on_epoch: OnEpoch | None = None, progress: Progress = silent) -> Run:
    """Train a student with a teacher; its weights go to ``student.safetensors`` in the run folder.

    Both networks see the same input: the teacher's preprocessing.

    Raises:
        LayerprobeError: if the input is wrong, the method can't use such a teacher, the run folder exists, or the loss
            diverges.
    """
    session = RunSession(settings)
    if finished := session.read_finished_run():
        return finished
    return train_prepared(session, prepare_distillation(session, settings), on_epoch, progress)
