"""A distillation that kills its own process, forked from a server that has everything imported."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

from layerprobe.distill.run import distill_student
from layerprobe.records import EpochMetrics
from layerprobe.settings.run import DistillSettings


def run_until_killed(config: DistillSettings, moment: str, number: int) -> int | None:
    """Distil in another process until it kills itself; how that ended, -9 if it did.

    Args:
        config: what to distil.
        moment: ``epoch``, ``step``, ``before rename`` or ``after rename`` of a file.
        number: of the epoch, the step or the rename.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=_distill, args=(config, moment, number))
    process.start()
    process.join()
    return process.exitcode


def _distill(config: DistillSettings, moment: str, number: int) -> None:
    renamed: list[Path] = []
    rename = Path.rename

    def killing_rename(path: Path, target: Path) -> None:
        renamed.append(target)
        _kill_if(moment == "before rename" and len(renamed) == number)
        rename(path, target)
        _kill_if(moment == "after rename" and len(renamed) == number)

    def on_epoch(metrics: EpochMetrics) -> None:
        _kill_if(moment == "epoch" and metrics.epoch == number)

    def progress(what: str, done: int, total: int) -> None:
        _kill_if(moment == "step" and what == "training steps" and done == number)

    Path.rename = killing_rename  # type: ignore[assignment, method-assign]
    distill_student(config, on_epoch, progress)


def _kill_if(it_is_time: bool) -> None:
    if it_is_time:
        os.kill(os.getpid(), signal.SIGKILL)
