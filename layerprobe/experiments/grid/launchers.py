"""Who starts the workers of a grid: this process, others on this machine, or Slurm."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch

from layerprobe.errors import LayerprobeError
from layerprobe.files import check_writable
from layerprobe.settings.compare import CompareSettings

WORKER = "layerprobe.experiments.grid.worker"
"""The module that a worker process runs, with the grid's folder."""


@dataclass(frozen=True)
class Launch:
    """How to start workers.

    Attributes:
        folder: of the grid.
        jobs: how many workers.
        options: of the launcher, e.g. Slurm's ``timeout_min``.
    """

    folder: Path
    jobs: int = 1
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Launched:
    """What became of the workers.

    Attributes:
        left: what is left for the user to do, where they were only started; empty: they have ended.
        broken: what to say of workers that ended before their work did; empty: none did.
    """

    left: str = ""
    broken: str = ""


def start_local(launch: Launch, watch: Callable[[], None] = lambda: None, poll: float = 3.0) -> Launched:
    """Start workers on this machine, and wait for them. Cores and GPUs are divided among them.

    Args:
        launch: how many, and where.
        watch: called while they run.
        poll: seconds between two calls.
    """
    logs = launch.folder / "log"
    logs.mkdir(parents=True, exist_ok=True)
    gpus = torch.cuda.device_count()
    workers = [_start(launch, number, logs, gpus) for number in range(launch.jobs)]
    try:
        while any(worker.poll() is None for worker in workers):
            watch()
            _wait(workers, poll)
        watch()
    except BaseException:
        for worker in workers:
            worker.terminate()
        raise
    finally:
        for worker in workers:
            worker.wait()
    codes = [worker.returncode for worker in workers if worker.returncode]
    if not codes:
        return Launched()
    return Launched(
        broken=f"{len(codes)} of {len(workers)} workers ended early (exit code {codes[0]}); {logs} says more"
    )


def _wait(workers: Sequence[subprocess.Popen[bytes]], seconds: float) -> None:
    """Until the time is over, or all have ended."""
    end = time.monotonic() + seconds
    for worker in workers:
        with suppress(subprocess.TimeoutExpired):
            worker.wait(max(0.0, end - time.monotonic()))


def share_of_cores(jobs: int) -> int:
    """Threads of each of several workers on this machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // jobs)


def count_workers(settings: CompareSettings) -> int:
    """How many workers the settings ask for: on this machine ``per_device`` for each GPU, or for the CPU."""
    return settings.jobs if settings.per_device is None else settings.per_device * max(1, torch.cuda.device_count())


def _start(launch: Launch, number: int, logs: Path, gpus: int) -> subprocess.Popen[bytes]:
    """Start a worker as a process of its own, on one GPU of several.

    Workers on one device are processes, not threads. Each has random generators, an accelerator and a CUDA context of
    its own: what a cell draws doesn't depend on its neighbours, and a cell that brings its process down takes no other
    with it. While one prepares a step, the GPU works for the others.
    """
    environment = dict(os.environ)
    environment.setdefault("OMP_NUM_THREADS", str(share_of_cores(launch.jobs)))
    if gpus > 1:
        visible = environment.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(gpus)))).split(",")
        environment["CUDA_VISIBLE_DEVICES"] = visible[number % gpus]
    check_writable(logs / f"worker-{number}.log")
    with (logs / f"worker-{number}.log").open("ab") as log:
        beside = len(range(number % max(gpus, 1), launch.jobs, max(gpus, 1)))  # on its device, itself included
        command = [sys.executable, "-m", WORKER, str(launch.folder), str(beside)]
        return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def start_slurm(launch: Launch, watch: Callable[[], None] = lambda: None, cluster: str | None = None) -> Launched:
    """Submit an array of workers to Slurm, and come back at once.

    Args:
        launch: how many; the options are submitit's, e.g. ``timeout_min`` or ``slurm_partition``.
        watch: called once.
        cluster: of submitit; None: Slurm.

    Raises:
        LayerprobeError: if submitit isn't installed, there is no Slurm, or it refuses an option.
    """
    try:
        import submitit
    except ImportError:
        raise LayerprobeError(
            "--launcher slurm needs submitit: pip install 'layerprobe[slurm]', or take --launcher local"
        ) from None
    from layerprobe.experiments.grid.worker import run_worker

    try:
        executor = submitit.AutoExecutor(folder=launch.folder / "log", cluster=cluster or "slurm")
        executor.update_parameters(name="layerprobe", **{key: _number(text) for key, text in launch.options.items()})
        jobs = executor.map_array(run_worker, [str(launch.folder)] * launch.jobs)
    except (RuntimeError, TypeError, ValueError, NameError, OSError) as error:
        reason = " ".join(str(error).split())
        raise LayerprobeError(f"Slurm did not take the workers ({reason}); see --launcher-option") from error
    watch()
    workers = "worker" if len(jobs) == 1 else "workers"
    job = jobs[0].job_id.partition("_")[0]
    return Launched(left=f"submitted {len(jobs)} {workers} as {job}; `layerprobe report {launch.folder}`")


def _number(text: str) -> int | str:
    return int(text) if text.isdigit() else text


LAUNCHERS: Mapping[str, Callable[[Launch, Callable[[], None]], Launched]] = {"local": start_local, "slurm": start_slurm}
"""Every launcher by its name."""
