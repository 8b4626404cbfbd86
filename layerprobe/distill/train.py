"""Trains a prepared run and writes its folder."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from torch.utils.data import DataLoader

from layerprobe.data.loading import Batch, Pixels
from layerprobe.distill.engine.accuracy import count_correct, percent
from layerprobe.distill.engine.checkpoints import LATEST, Checkpoints, Saved
from layerprobe.distill.engine.images import Images
from layerprobe.distill.engine.loop import train
from layerprobe.distill.engine.stored_teacher import StoredTeacherFeatures, open_stored
from layerprobe.distill.folder import WEIGHTS
from layerprobe.distill.prepare import PreparedRun
from layerprobe.distill.run_values import log_recipe, run_values
from layerprobe.distill.session import RunSession
from layerprobe.networks import Network
from layerprobe.records import EpochMetrics, Progress, Run
from layerprobe.records.adaptation import ADAPTED
from layerprobe.records.weights_header import CLASSES, PREPROCESSING
from layerprobe.runtime.environment import environment, peak_memory, start_measuring
from layerprobe.settings.run import DistillSettings
from layerprobe.version import __version__

_log = logging.getLogger(__name__)

OnEpoch = Callable[[EpochMetrics], None]


def train_prepared(session: RunSession, prepared: PreparedRun, on_epoch: OnEpoch | None, progress: Progress) -> Run:
    """Read the images, train, and write the folder.

    Args:
        session: the run's folder, device and images.
        prepared: the networks and what they are trained for.
        on_epoch: called with the metrics of every epoch.
        progress: called after every step.

    Raises:
        LayerprobeError: if the folder holds another run or is written by another process, an image can't be read, or
            the loss is lost.
    """
    started = time.perf_counter()
    start_measuring(session.accelerator.device)
    training = session.settings.training.resolved(prepared.student.name)
    log_recipe(prepared, training, session.processes)
    config = run_values(session, prepared, training)
    if session.folder.goes_on:
        session.folder.check_same(config)
    images = session.load_images(prepared.student.preprocessing, progress)
    with session.holding_folder(), _teacher_from_file(session, prepared, images) as ready:
        metadata = _weights_metadata(session, prepared.student)
        checkpoints = Checkpoints(session.folder.checkpoints, metadata)
        saved = _read_saved(session, checkpoints)
        teacher_accuracy = _teacher_accuracy(session, prepared.teacher, images) if prepared.teacher else None
        writing = _writing(session, on_epoch)
        begin = None if saved else partial(_begin, session, checkpoints, config)
        epochs = train(ready.setup, images, training, session.accelerator, writing, progress, checkpoints, saved, begin)
        run = _result(session, prepared, config, epochs, teacher_accuracy, time.perf_counter() - started, saved)
        if session.processes.is_main:
            session.folder.finish(run, prepared.setup.student, metadata)
        session.processes.wait()
        return run


def _writing(session: RunSession, on_epoch: OnEpoch | None) -> OnEpoch:
    """A function that writes an epoch's metrics into the folder, then calls ``on_epoch``."""

    def write(metrics: EpochMetrics) -> None:
        if session.processes.is_main:
            session.folder.add_epoch(metrics)
            if session.events:
                session.events.add(metrics)
        if on_epoch is not None:
            on_epoch(metrics)

    return write


def _read_saved(session: RunSession, checkpoints: Checkpoints) -> Saved | None:
    """The state to go on from, if there is one."""
    folder, processes = session.folder, session.processes
    if processes.is_main and folder.goes_on:
        checkpoints.tidy()
    processes.wait()
    saved = checkpoints.load(LATEST) if folder.goes_on else None
    processes.wait()
    if saved:
        history = saved.check().history
        _log.info("going on after epoch %d of %d", len(history), session.settings.training.epochs)
        if processes.is_main:
            folder.write_epochs(history)
    return saved


def _begin(session: RunSession, checkpoints: Checkpoints, config: Mapping[str, Any]) -> None:
    """Put a run that has made its first step in the place of the one that lay there."""
    if session.processes.is_main:
        checkpoints.remove()
        session.folder.start(config)
    session.processes.wait()


def _result(
    session: RunSession,
    prepared: PreparedRun,
    config: Mapping[str, Any],
    epochs: tuple[EpochMetrics, ...],
    teacher_accuracy: float | None,
    seconds: float,
    saved: Saved | None,
) -> Run:
    folder, weights, device = session.folder, WEIGHTS[config["command"]], session.accelerator.device
    return Run(
        folder=folder.path,
        weights=folder.path / weights,
        files=folder.files(weights),
        method=prepared.method,
        config=config,
        epochs=epochs,
        labels_reach_backbone=prepared.labels_reach_backbone,
        teacher_accuracy=teacher_accuracy,
        wall_seconds=seconds,
        peak_memory=peak_memory(device),
        resumed_after=_stops(saved),
        environment=environment(device, session.processes.count),
        setting=prepared.setting,
    )


def _stops(saved: Saved | None) -> tuple[int, ...]:
    """The epochs after which a run was stopped and went on."""
    if saved is None:
        return ()
    state = saved.check()
    return (*state.resumed_after, len(state.history))


@contextmanager
def _teacher_from_file(session: RunSession, prepared: PreparedRun, images: Images) -> Iterator[PreparedRun]:
    """For the length of a block, a run whose teacher's features come from a file, where the settings name one."""
    settings = session.settings
    path = settings.teacher_features if isinstance(settings, DistillSettings) else None
    if path is None or prepared.teacher is None:
        yield prepared
        return
    teacher, layers = prepared.teacher, prepared.setup.pairing.teacher
    with ExitStack() as stack:

        def stored(loader: DataLoader[Batch]) -> StoredTeacherFeatures:
            if not isinstance(pixels := loader.dataset, Pixels):
                raise TypeError("the loader was not made by load_images")
            return stack.enter_context(closing(open_stored(path, teacher, layers, pixels)))

        of_training = stored(images.train)
        held_out = stored(images.holdout) if images.holdout and not prepared.setup.has_classifier else None
        _log.info("the teacher's features come from %s", path)
        setup = replace(prepared.setup, teacher=None, stored_teacher=of_training, stored_holdout=held_out)
        yield replace(prepared, setup=setup)


def _weights_metadata(session: RunSession, student: Network) -> dict[str, str]:
    adapted = [asdict(one) for one in (*student.adapted_before, *student.adapted)]
    return {
        "layerprobe_version": __version__,
        "model": student.name,
        CLASSES: json.dumps(session.classes),
        PREPROCESSING: json.dumps(student.preprocessing.to_dict()),
        **({ADAPTED: json.dumps(adapted)} if adapted else {}),
    }


def _teacher_accuracy(session: RunSession, teacher: Network, images: Images) -> float | None:
    if images.test is None:
        return None
    if teacher.num_classes != len(session.classes) or not teacher.num_classes:
        has = f"{teacher.num_classes} classes" if teacher.num_classes else "no classifier"
        _log.info("the teacher has %s, the data %d classes: its accuracy is not measured", has, len(session.classes))
        return None
    device = session.accelerator.device
    counts = count_correct(teacher.module.to(device), images.test, images.preprocessing, device)
    return percent(session.processes.total(counts))
